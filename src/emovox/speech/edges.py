"""Where the sound of speech begins and fades, more finely than a detector with long frames tells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from emovox.types import RATE, Float32Array

#: Samples that share a level, 8 ms.
STEP = 128
#: Share of the loudest power at which sound begins (30 dB below) and at which it has faded (31 dB below).
_RISE, _FALL = 10**-3.0, 10**-3.1


class Edges:
    """Moves the boundaries of speech in one stream by its level, in steps of 8 ms.

    How the stream is cut into pieces changes nothing; what is kept does not grow with time.

    Parameters
    ----------
    reach : float
        How far a boundary may move, in seconds: a beginning back, an end back or on.
    late : float
        How long after a boundary it may be asked for, in seconds.

    Examples
    --------
    >>> sound = np.zeros(16000, dtype=np.float32)
    >>> sound[4096:8192] = 0.5
    >>> edges = Edges(reach=0.2, late=0.5)
    >>> edges.push(sound)
    >>> edges.begin(5120, heard=6000)
    4096
    >>> edges.end(9000, heard=16000)
    8320
    """

    def __init__(self, reach: float, late: float) -> None:
        self._reach = round(reach * RATE / STEP)
        self._kept = math.ceil((reach + late) * RATE / STEP) + 16
        self._rest: Float32Array = np.empty(0, dtype=np.float32)
        self._levels = np.zeros(2)  # power of each step, from step _first on: two of silence before the stream
        self._first = -2
        self._began = 0  # step in which the segment that is going on began
        self._ended = 0  # step in which the segment before it ended
        self._loudest: float | None = None  # in the segment that is going on
        self._watched = 0

    def push(self, samples: Float32Array) -> None:
        """Take the next samples, shape (n,); boundaries may then be asked for that are heard in them."""
        self._watch(self._first + len(self._levels))
        drop = max(0, len(self._levels) - self._kept)
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:].copy()
        power = np.square(samples[:whole].reshape(-1, STEP), dtype=np.float64).sum(axis=1)
        self._levels = np.concatenate([self._levels[drop:], power])
        self._first += drop

    def begin(self, sample: int, heard: int) -> int:
        """Say where the sound begins that a detector heard from `sample` on: the first sample of a step."""
        onset, now = sample // STEP, heard // STEP
        first = max(onset - self._reach, self._ended)
        level = self._smooth(first, now)
        loudest = level[onset - first :].max(initial=0.0)
        self._began = first + int(np.argmax(level >= loudest * _RISE))
        self._loudest, self._watched = loudest, now
        return self._began * STEP

    def end(self, sample: int, heard: int) -> int:
        """Say where the sound has faded that a detector heard up to `sample`: the sample after a step's last."""
        pause, now = sample // STEP, heard // STEP
        self._watch(now)
        first, last = max(self._began + 1, pause - self._reach), min(pause + self._reach, now)
        loud = np.flatnonzero(self._smooth(first, last) >= (self._loudest or 0.0) * _FALL)
        self._ended = first + (int(loud[-1]) if len(loud) else 0)
        self._loudest = None
        return min(self._ended * STEP, heard)

    def _watch(self, now: int) -> None:
        """Note how loud the segment that is going on has become by a step."""
        if self._loudest is not None:
            self._loudest = max(self._loudest, self._smooth(self._watched, now).max(initial=0.0))
            self._watched = now

    def _smooth(self, begin: int, end: int) -> NDArray[np.float64]:
        """Power over three steps, up to each of those from `begin` to `end`."""
        power = self._levels[begin - self._first - 2 : max(begin, end) - self._first]
        return np.asarray(power[2:] + power[1:-1] + power[:-2])
