"""Offset and level of a stream: evened out before a detector listens; by level, where sound begins and fades."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from emovox.types import RATE, Float32Array

#: Samples that share one probability of speech and one gain: 32 ms, fixed by the network.
FRAME = 512
#: Corner frequency, in Hz, below which sound is taken for an offset: far under any voice.
_CORNER = 3.0
#: Root mean square to which the loudest frame is brought, chosen on actors 1 to 12 of ``benchmarks/conversation.py``.
_TARGET = 0.1
#: Decibels a second by which the level to which this refers falls when what follows is softer.
_RELEASE = 0.5
#: Rise of the level, in dB, after which what was heard before it was heard far too loud.
_RISE = 12.0
#: Level below which there is nothing to bring up: digital silence.
_SILENT = 1e-8
#: Samples that share a level, 8 ms.
STEP = 128
#: Share of the loudest power at which sound begins (30 dB below) and at which it has faded (31 dB below).
_BEGUN, _FADED = 10**-3.0, 10**-3.1


class Centre:
    """Takes the offset (DC) off a stream, in whole frames; how the stream is cut changes nothing.

    The offset is the mean of the first frame, and from there on a running mean with a time constant of 53 ms.

    Examples
    --------
    >>> centre = Centre()
    >>> centre.push(np.full(1000, 0.25, dtype=np.float32)).shape, bool(centre.finish().max() < 1e-9)
    ((512,), True)
    """

    def __init__(self) -> None:
        kept = math.exp(-2 * math.pi * _CORNER / RATE)
        self._fall = kept ** np.arange(1, FRAME + 1)
        self._rise = (1 - kept) / self._fall
        self._mean: float | None = None
        self._rest: Float32Array = np.empty(0, dtype=np.float32)

    def push(self, samples: Float32Array) -> Float32Array:
        """Take the next samples, shape (n,), and return the frames that they complete, one after the other."""
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // FRAME * FRAME
        self._rest = waiting[whole:].copy()
        return self._centred(waiting[:whole].reshape(-1, FRAME)).ravel()

    def finish(self) -> Float32Array:
        """End the stream: what no frame was full of, shape (n,)."""
        rest, self._rest = self._rest, self._rest[:0]
        return self._centred(rest[np.newaxis])[0] if len(rest) else rest

    def _centred(self, frames: Float32Array) -> Float32Array:
        """Subtract the running mean from frames that follow each other, shape (n_frames, at most FRAME)."""
        size = frames.shape[1]
        # The recursion written out for a frame: cumulative sums are taken one by one, so that rounding is always alike.
        sums = np.cumsum(frames * self._rise[:size], axis=1)
        before = np.empty((len(frames), 1))
        for number, frame in enumerate(frames):
            if self._mean is None:
                self._mean = float(frame.mean(dtype=np.float64))
            before[number] = self._mean
            self._mean = float(self._fall[size - 1] * (self._mean + sums[number, -1]))
        return np.asarray(frames - self._fall[:size] * (before + sums), dtype=np.float32)


class Level:
    """Says frame by frame by what to multiply a stream so that its loudest sound has one level.

    The reference is the loudest frame so far, and falls by 0.5 dB a second, so that soft speech is heard again some
    time after a bang.  Where sound begins, its level is known in the frame in which it does; what was heard before it,
    noise brought up to the level of speech, is to be heard again as soft as it is beside it.

    Examples
    --------
    >>> level = Level()
    >>> noise, speech = np.full((3, 512), 1e-4), np.full((2, 512), 0.1)
    >>> gains, rises = level.push(np.concatenate([noise, speech]).astype(np.float32))
    >>> gains.round(1).tolist(), rises
    ([1000.0, 1000.0, 1000.0, 1.0, 1.0], [0, 3])
    """

    def __init__(self) -> None:
        self._fall = 10 ** (-_RELEASE * FRAME / RATE / 20)
        self._rise = 10 ** (_RISE / 20)
        self._loudest = self._known = _SILENT

    def push(self, frames: Float32Array) -> tuple[NDArray[np.float64], list[int]]:
        """Take the next frames, shape (n_frames, FRAME).

        Returns
        -------
        gains : ndarray of float64, shape (n_frames,)
            What to multiply each frame by.
        rises : list of int
            Frames before which what was heard is to be heard again, with their gain.
        """
        gains, rises = np.empty(len(frames)), []
        for number, power in enumerate(np.square(frames, dtype=np.float64).mean(axis=1).tolist()):
            self._loudest = max(math.sqrt(power), self._loudest * self._fall, _SILENT)
            self._known = max(self._known * self._fall, _SILENT)
            if self._loudest > self._rise * self._known:
                self._known = self._loudest
                rises.append(number)
            gains[number] = _TARGET / self._loudest
        return gains, rises


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
        self._began = first + int(np.argmax(level >= loudest * _BEGUN))
        self._loudest, self._watched = loudest, now
        return self._began * STEP

    def end(self, sample: int, heard: int) -> int:
        """Say where the sound has faded that a detector heard up to `sample`: the sample after a step's last."""
        pause, now = sample // STEP, heard // STEP
        self._watch(now)
        first, last = max(self._began + 1, pause - self._reach), min(pause + self._reach, now)
        loud = np.flatnonzero(self._smooth(first, last) >= (self._loudest or 0.0) * _FADED)
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
