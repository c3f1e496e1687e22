"""Speakers and settings as a model knows them: what they may be called, and statistics of what was heard of them."""

from __future__ import annotations

import os
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from emovox.errors import ProfileError
from emovox.types import Float32Array, Float64Array
from emovox.writing import home_folder

#: The setting that is no profile: the recordings at hand.
AUTO = "auto"
#: Longest name, in characters and in bytes of UTF-8.
_LONGEST, _LONGEST_BYTES = 64, 200
#: What no file may be called on Windows, whatever its ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def check_name(name: str, kind: str = "speaker") -> str:
    """Make sure that a name can be a file's name everywhere, and return it in Unicode's composed form (NFC).

    Raises
    ------
    ProfileError
        It cannot, or it is a setting's and means something else.

    Examples
    --------
    >>> check_name("anna-2"), check_name("Zoe\u0308"), check_name("田中")
    ('anna-2', 'Zoë', '田中')
    """
    name = composed(name)
    if not is_name(name):
        raise ProfileError(
            f"a {kind} cannot be called {name!r}: use up to {_LONGEST} letters and digits of any script, - and _, "
            "beginning with a letter or digit, and no word that Windows keeps for itself"
        )
    if kind == "setting" and name.lower() == AUTO:
        raise ProfileError(f"a setting cannot be called {name!r}: that means the recordings at hand, take another name")
    return name


def is_name(text: str) -> bool:
    """Tell whether a text can be a name: nothing in it can be taken for a path."""
    text = composed(text)
    fitting = 0 < len(text) <= _LONGEST and len(text.encode("utf-8", "replace")) <= _LONGEST_BYTES
    if not fitting or text.lower() in _RESERVED:
        return False
    kinds = [unicodedata.category(one) for one in text]
    first = kinds[0][0] == "L" or kinds[0] == "Nd"
    # Letters, marks and decimal digits: many scripts write vowels as marks.
    return first and all(kind[0] in "LM" or kind == "Nd" or one in "-_" for kind, one in zip(kinds, text, strict=True))


def composed(text: str) -> str:
    """Return a text in Unicode's composed form: file systems may give back another one."""
    return unicodedata.normalize("NFC", text)


def default_folder() -> Path:
    """Return the folder of the user's profiles, or what the environment variable EMOVOX_PROFILES says."""
    if "EMOVOX_PROFILES" in os.environ:
        return Path(os.environ["EMOVOX_PROFILES"])
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "emovox" / "profiles"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    return (Path(base) if base else home_folder() / ".local" / "share") / "emovox" / "profiles"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and variance of the axes of the utterances that were heard: one level of a baseline.

    Attributes
    ----------
    count : int
        Utterances heard; 0: nothing is known.
    mean, variance : ndarray of float64, shape (r,)
        Of their axes, see :class:`emovox.model.file.Model`; the variance is divided by `count`.

    Examples
    --------
    >>> first, then = Statistics.of([[0.0, 2.0]]), Statistics.of([[2.0, 2.0], [4.0, 5.0]])
    >>> both = first.merged(then)
    >>> both.count, both.mean.tolist(), both.variance.round(3).tolist()
    (3, [2.0, 3.0], [2.667, 2.0])
    """

    count: int
    mean: Float64Array
    variance: Float64Array

    @classmethod
    def of(cls, axes: ArrayLike) -> Statistics:
        """Compute the statistics of some utterances' axes, shape (n, r)."""
        rows = np.asarray(axes, dtype=np.float64)
        if not len(rows):
            return cls.nothing(rows.shape[1])
        return cls(len(rows), rows.mean(axis=0), rows.var(axis=0))

    @classmethod
    def nothing(cls, width: int) -> Statistics:
        """Return the statistics of no utterances, of so many axes."""
        return cls(0, np.zeros(width), np.zeros(width))

    def merged(self, other: Statistics) -> Statistics:
        """Return the statistics of both together, as if all utterances had been heard at once.

        Source
        ------
        T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance", 1983.
        """
        count = self.count + other.count
        if not count:
            return self
        share, apart = other.count / count, other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * apart**2
        return Statistics(count, self.mean + share * apart, variance)

    def packed(self) -> Float32Array:
        """Return one level of a model's input ``baseline``, shape (1 + 2 r,)."""
        return np.concatenate([[self.count], self.mean, self.variance]).astype(np.float32)
