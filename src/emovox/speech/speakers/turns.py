"""Utterances cut where the speaker changes, with stretches where two speak at once, and the voice of each piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emovox.session import open_session
from emovox.speech.speakers import encoder
from emovox.types import RATE, Float32Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Who cuts utterances: see :func:`pieces`.
TurnFinder = Callable[[Float32Array, int, Sequence[tuple[int, int]]], "list[Piece]"]
#: Samples from one frame of the network to the next, and where the middle of the first one lies.
_STEP, _CENTRE = 270, 495
#: Least samples that the network takes.
_LEAST = 4000
#: From this class on two speak: nobody; one of three; two of three.
_TWO = 4
#: A change that does not last so many frames, 0.2 s, is none.
_SHORTEST = 12
#: Most of a piece that is encoded, in samples: the middle 6 s.
_HEARD = 6 * RATE


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of an utterance in which nobody else begins or ends to speak, as far as can be heard.

    Attributes
    ----------
    start, end : int
        First sample in the recording, and the one after the last.
    both : bool
        Whether two speak at once.
    utterance : int
        Number of the utterance; pieces of the same one follow each other without a pause.
    voice : ndarray of float32, shape (192,)
        See :func:`emovox.speech.speakers.encoder.voices`.
    """

    start: int
    end: int
    both: bool
    utterance: int
    voice: Float32Array

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start) / RATE


def pieces(samples: Float32Array, offset: int, utterances: Sequence[tuple[int, int]], first: int = 0) -> list[Piece]:
    """Cut the utterances of a stretch of a recording where the speaker changes.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        The stretch at 16 kHz, best some 10 s of it.
    offset : int
        Where it begins in the recording, in samples.
    utterances : sequence of pair of int
        Where they begin and end in the recording, in samples, in order, all inside the stretch.
    first : int, default 0
        Number of the first of them.

    Returns
    -------
    list of Piece
        In order of time; together they are the utterances.

    Source
    ------
    A. Plaquet and H. Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization", Interspeech
    2023.
    """
    classes = _classes(samples)
    found = []
    for number, (begin, end) in enumerate(utterances, first):
        low, high = (max(0, (place - offset - _CENTRE) // _STEP) for place in (begin, end))
        changes, kinds = _runs(classes[low : high + 1])
        inner = [int(offset + _CENTRE + (low + change) * _STEP) for change in changes]
        edges = [begin, *(place for place in inner if begin < place < end), end]
        for left, right, kind in zip(edges, edges[1:], kinds, strict=False):
            voice = _voice(samples, left - offset, right - offset)
            found.append(Piece(left, right, bool(kind >= _TWO), number, voice))
    return found


def _classes(samples: Float32Array) -> NDArray[np.intp]:
    """Return the most probable class of each frame: nobody, one of three speakers, or two of them."""
    padded = np.pad(samples, (0, max(0, _LEAST - len(samples))))
    found: NDArray[np.intp] = _session().run(None, {"samples": padded[np.newaxis]})[0].argmax(axis=1)
    return found


def _runs(classes: NDArray[np.intp]) -> tuple[list[int], list[int]]:
    """Return where the class of frames changes, and the class of each run; pauses and short changes are none."""
    spoken = np.flatnonzero(classes)
    if not len(spoken):
        return [], [1]
    frames = np.arange(len(classes))
    after = np.clip(np.searchsorted(spoken, frames), 0, len(spoken) - 1)
    kinds = classes[spoken[after]].copy()
    while True:
        starts = np.flatnonzero(np.diff(kinds, prepend=-1))
        lengths = np.diff(starts, append=len(kinds))
        shortest = int(lengths.argmin())
        if len(lengths) == 1 or lengths[shortest] >= _SHORTEST:
            return starts[1:].tolist(), kinds[starts].tolist()
        sides = [side for side in (shortest - 1, shortest + 1) if 0 <= side < len(lengths)]
        longer = max(sides, key=lambda side: lengths[side])
        kinds[starts[shortest] : starts[shortest] + lengths[shortest]] = kinds[starts[longer]]


def _voice(samples: Float32Array, begin: int, end: int) -> Float32Array:
    """Encode a piece, at least 0.3 s around it and at most the middle of it."""
    middle = (begin + end) // 2
    half = min(max(end - begin, encoder.LEAST), _HEARD) // 2 + 1
    part = samples[max(0, middle - half) : middle + half]
    part = np.pad(part, (0, max(0, encoder.LEAST - len(part))))
    voice: Float32Array = encoder.voices(part, [(0, len(part))])[0]
    return voice


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the network, once a process: all threads share it."""
    return open_session(Path(__file__).with_name("turns.onnx"), "the network of speakers turns")
