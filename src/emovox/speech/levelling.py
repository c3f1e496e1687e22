"""What a detector of speech hears: the sound without its offset, at one level, by what has come so far alone."""

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
