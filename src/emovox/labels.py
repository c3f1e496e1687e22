"""Common emotion labels, and their synonyms in corpora."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Common labels: the eight emotions of RAVDESS, in its order.
COMMON: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

#: Synonyms and corpus codes of the common labels.
SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "ang": "angry",
    "calmness": "calm",
    "disgusted": "disgust",
    "dis": "disgust",
    "fear": "fearful",
    "fea": "fearful",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
    "ps": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}


def as_seen(text: str) -> str:
    """Return a text as its reader sees it, so that texts that look the same are the same.

    Parameters
    ----------
    text : str
        Any text: a label, a speaker, the name of a column.

    Returns
    -------
    str
        In Unicode's composed form (NFC), without characters that cannot be seen (zero-width space, byte order mark,
        soft hyphen, marks of direction; the joiners U+200C and U+200D stay, because scripts need them), each run of
        blanks one space, none at the ends.  Upper and lower case are kept.

    Source: Unicode Standard Annex 15, https://unicode.org/reports/tr15.

    Examples
    --------
    >>> as_seen(" Zoe\u0308\u200b\u00a0 B. ") == "Zo\u00eb B."
    True
    """
    if not text.isascii():
        seen = (letter for letter in text if letter in "\u200c\u200d" or unicodedata.category(letter) != "Cf")
        text = unicodedata.normalize("NFC", "".join(seen))
    return " ".join(text.split())


def canonical(label: str) -> str:
    """Map a label of a corpus to the common label; labels without a counterpart are kept.

    Parameters
    ----------
    label : str
        Any spelling, such as ``"Fear"``, ``"ps"``, ``"boredom"``.

    Returns
    -------
    str
        A member of :data:`COMMON` if there is one, else the label as :func:`as_seen`, in lower case with underscores
        for blanks.

    Examples
    --------
    >>> canonical("Fear"), canonical("ps"), canonical("boredom")
    ('fearful', 'surprised', 'boredom')
    """
    word = as_seen(label).lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(word, word)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: common ones first, in the order of :data:`COMMON`, then the others by name.

    Examples
    --------
    >>> ordered(["boredom", "sad", "neutral"])
    ('neutral', 'sad', 'boredom')
    """
    present = set(labels)
    return tuple(name for name in COMMON if name in present) + tuple(sorted(present - set(COMMON)))
