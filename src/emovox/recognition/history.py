"""What is kept of a stream: its last samples, and how probably they are speech."""

from __future__ import annotations

import numpy as np

from emovox.speech.vad import FRAME
from emovox.types import RATE, Float32Array, Waveform


class History:
    """The last samples of a stream and how probably they are speech, found by their place in it.

    Examples
    --------
    >>> history = History()
    >>> history.append(np.arange(5, dtype=np.float32), np.empty(0))
    >>> history.drop(2)
    >>> history.stretch(1, 4).samples.tolist(), history.end
    ([2.0, 3.0], 5)
    """

    def __init__(self) -> None:
        self._samples = np.empty(RATE, dtype=np.float32)
        self._begin = 0
        self._size = 0
        self._speech = np.empty(0, dtype=np.float32)  # of the frames from the one that _begin lies in

    @property
    def told(self) -> int:
        """Where the frames end whose probability is known; at the end of the stream the last one is not full."""
        return (self._begin // FRAME + len(self._speech)) * FRAME

    @property
    def end(self) -> int:
        """How many samples have been appended in all."""
        return self._begin + self._size

    @property
    def nbytes(self) -> int:
        """How much memory is held, in bytes."""
        return self._samples.nbytes

    def append(self, piece: Float32Array, speech: Float32Array) -> None:
        """Add the next samples, shape (n,), and the probabilities of the frames that they complete."""
        self._speech = np.concatenate([self._speech, speech])
        size = self._size + len(piece)
        if size > len(self._samples):
            grown = np.empty(max(size, 2 * len(self._samples)), dtype=np.float32)
            grown[: self._size] = self._samples[: self._size]
            self._samples = grown
        self._samples[self._size : size] = piece
        self._size = size

    def drop(self, before: int) -> None:
        """Forget what lies before a place."""
        count = min(max(0, before - self._begin), self._size)
        # Numpy copies through a buffer where source and target overlap.
        self._samples[: self._size - count] = self._samples[count : self._size]
        self._speech = self._speech[(self._begin + count) // FRAME - self._begin // FRAME :]
        self._begin, self._size = self._begin + count, self._size - count

    def stretch(self, begin: int, end: int) -> Waveform:
        """Return what is known between two places: a copy."""
        first = max(begin, self._begin)
        samples = self._samples[first - self._begin : end - self._begin].copy()
        frames = first // FRAME, -(-end // FRAME)
        return Waveform(samples, first / RATE, speech=self.speech(*frames) if end <= self.told else None)

    def speech(self, first: int, last: int) -> Float32Array:
        """Return the probabilities of the frames of the stream from number `first` to before `last`: a copy."""
        begin = self._begin // FRAME
        return self._speech[first - begin : last - begin].copy()
