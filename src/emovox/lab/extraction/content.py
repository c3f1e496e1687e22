"""What clips sound like to a comparison: a digest of the decoded samples, found once and kept."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from emovox import audio
from emovox.errors import EmovoxError
from emovox.lab.extraction.cache import code_version
from emovox.lab.extraction.extraction import Stretch, by_file
from emovox.storage import cache_folder, file_digest, replacing
from emovox.types import RATE, Float32Array, Unread

#: Bytes that a model card keeps of the digest of each clip.
SHORT = 4


@dataclass(frozen=True)
class Heard:
    """A clip that was listened to.

    Attributes
    ----------
    digest : str
        Digest of its content, 16 hexadecimal digits; empty where it holds digital silence only or cannot be read.
    duration : float
        Length in seconds, of what there is.
    recording : str
        Digest of the bytes of its file.
    problem : str
        Why it cannot be read; empty if it can.
    partly : str
        What of it cannot be read, where the rest can; empty if all can.
    """

    digest: str
    duration: float
    recording: str = ""
    problem: str = ""
    partly: str = ""


class Content:
    """Digest of sound that comes block by block, at 16 kHz and 16 bits, without digital silence at its ends.

    Copies in any lossless format have the same digest as the original, also with zeros before or after it; so have
    stretches of different names.  What was encoded with loss, made louder, trimmed of sound or recorded again has
    another.

    Examples
    --------
    >>> content = Content()
    >>> content.update(np.zeros(10, dtype=np.float32))
    >>> content.digest()
    ''
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._begun = False
        self._zeros = 0

    def update(self, samples: Float32Array) -> None:
        """Take the next samples."""
        levels = np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2")
        sound = np.flatnonzero(levels)
        if not len(sound):
            self._zeros += len(levels)
            return
        if self._begun:
            self._hash.update(bytes(2 * (self._zeros + int(sound[0]))))
        self._hash.update(levels[sound[0] : sound[-1] + 1].tobytes())
        self._begun, self._zeros = True, len(levels) - 1 - int(sound[-1])

    def digest(self) -> str:
        """Return 16 hexadecimal digits; nothing for silence."""
        return self._hash.hexdigest()[:16] if self._begun else ""


def listen(
    stretches: Sequence[Stretch],
    jobs: int = -1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    folder: Path | None = None,
) -> list[Heard]:
    """Find the digests of clips; each file is decoded once, and never again until it changes.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds; an infinite end is the recording's own.
    jobs : int, default -1
        Processes; -1 is one a core.
    progress : callable, optional
        Called with ("content", done, total).
    folder : Path, optional
        Where the digests are kept; the default is the user's cache.

    Returns
    -------
    list of Heard
        One entry a stretch.
    """
    folder = (folder or cache_folder()) / "content"
    results: dict[int, Heard] = {}
    batches = by_file(stretches, jobs)
    work = (delayed(_listen)([stretches[one] for one in batch], folder) for batch in batches)
    for batch, found in zip(batches, Parallel(n_jobs=jobs, return_as="generator")(work), strict=True):
        results.update(zip(batch, found, strict=True))
        progress("content", len(results), len(stretches))
    return [results[number] for number in range(len(stretches))]


def _listen(batch: Sequence[Stretch], folder: Path) -> list[Heard]:
    """Listen to some stretches, in a worker process."""
    results: list[Heard] = []
    for path, same in itertools.groupby(batch, key=lambda one: one[0]):
        results += _of_file(path, [(float(start), float(end)) for _, start, end in same], folder)
    return results


def _of_file(path: Path, spans: list[tuple[float, float]], folder: Path) -> list[Heard]:
    """Listen to stretches of one file."""
    try:
        recording = file_digest(path)[:16]
    except OSError as error:
        return [Heard("", 0.0, "", f"{path} cannot be read: {error.strerror}")] * len(spans)
    entry = folder / recording[:2] / f"{recording}-{code_version()}.json"
    try:
        kept = json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    missing = [span for span in dict.fromkeys(spans) if str(span) not in kept]
    for span in missing:
        if span == (0.0, math.inf):
            kept[str(span)] = _whole(path)
    pieces = [span for span in missing if span != (0.0, math.inf)]
    for number, sound in audio.stretches(path, pieces) if pieces else ():
        content = Content()
        if isinstance(sound, EmovoxError):
            kept[str(pieces[number])] = ["", 0.0, str(sound).replace(str(path), "{file}")]
        else:
            content.update(sound.samples)
            kept[str(pieces[number])] = [content.digest(), sound.duration, "", *_untold(sound.unread)]
    if missing:
        with replacing(entry, unique=True) as part:
            part.write_text(json.dumps(kept), encoding="utf-8")
    found = (kept[str(span)] for span in spans)
    return [
        Heard(digest, length, recording, *(one.replace("{file}", str(path)) for one in told))
        for digest, length, *told in found
    ]


def _untold(unread: Sequence[Unread]) -> list[str]:
    """Say what could not be read of a clip, if anything."""
    return ["{file} cannot be read " + "; ".join(map(str, unread))] if unread else []


def _whole(path: Path) -> list[str | float]:
    """Listen to a whole file, in memory that does not grow with it."""
    content, length = Content(), 0
    blocks = audio.blocks(path)
    try:
        for block in blocks:
            content.update(block.samples)
            length += len(block.samples)
    except EmovoxError as error:
        return ["", length / RATE, str(error).replace(str(path), "{file}")]
    return [content.digest(), length / RATE, "", *_untold(blocks.unread)]


def packed(digests: Sequence[str]) -> str:
    """Pack the digests of the clips that a model was trained on, for its card: 5.3 characters a clip.

    A foreign clip is taken for one of `n` with a probability of n / 4.3e9.

    Examples
    --------
    >>> known = unpacked(packed(["00112233445566ff", "ffeeddccbbaa9988"]))
    >>> [one[:8] in known for one in ("ffeeddccbbaa9988", "0123456789abcdef")]
    [True, False]
    """
    short = sorted({bytes.fromhex(one)[:SHORT] for one in digests if one})
    return base64.b64encode(b"".join(short)).decode()


def unpacked(text: str) -> frozenset[str]:
    """Return the first 8 hexadecimal digits of the digests that :func:`packed` packed."""
    data = base64.b64decode(text)
    return frozenset(data[at : at + SHORT].hex() for at in range(0, len(data), SHORT))
