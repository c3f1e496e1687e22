"""How probable speech is in a stream, frame by frame, by Silero's network; the stream is centred and levelled first."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import AudioError
from emovox.session import open_session
from emovox.types import RATE, Float32Array, Waveform

#: Where the network lies.
_SILERO = Path(__file__).parent / "silero"

#: Samples before a frame that the network sees with it, fixed by the network.
CONTEXT = 64

#: Frames given to the network at a time at most: bounds the memory of a long piece, 16 s.
_BLOCK = 512

#: Frames that are heard again where the level rises far, 0.5 s.
_AGAIN = 16
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


@lru_cache(maxsize=1)
def _session() -> Any:
    """Load the network, once for all streams of the process; it keeps no state and may be used by many threads."""
    return open_session(_SILERO / "silero_vad_16k_sequence.onnx", "the speech detector in the package")


class SpeechProbability:
    """Speech probability of one stream, frame by frame, from samples in pieces of any size.

    The level of the stream and an offset in it change nothing: the network hears it centred and levelled, by what has
    come so far (:class:`Centre`, :class:`Level`).  Nor does the cut into pieces, not even the last bit.  The state is
    35 kB a stream; the network itself is shared by all streams.

    Parameters
    ----------
    level : bool, default True
        Whether to bring the stream to a level; False for sound that has been brought to one.

    Attributes
    ----------
    centred : ndarray of float32, shape (n_samples,)
        What was heard with the last call: whole frames, at the end the rest, without the offset.

    Source
    ------
    Silero Team, Silero VAD 6.2.3, https://github.com/snakers4/silero-vad (MIT); the 16 kHz network that takes a
    sequence of frames.

    Examples
    --------
    >>> import numpy as np
    >>> stream = SpeechProbability()
    >>> stream.push(np.zeros(1300, dtype=np.float32)).shape  # two frames of 512, and a rest that waits
    (2,)
    >>> stream.finish().shape
    (1,)
    """

    def __init__(self, *, level: bool = True) -> None:
        self._network, self._levels = _session(), level
        self.reset()

    def reset(self) -> None:
        """Forget the stream, as if new."""
        self._hidden = self._cell = np.zeros((1, 1, 128), dtype=np.float32)
        self._centre, self._level = Centre(), Level() if self._levels else None
        self._past = np.zeros(CONTEXT, dtype=np.float32)  # context of the frames that may be heard again, and they
        self._heard = 0
        self.centred: Float32Array = np.empty(0, dtype=np.float32)

    @property
    def heard(self) -> int:
        """Number of samples pushed so far."""
        return self._heard

    def push(self, samples: ArrayLike) -> Float32Array:
        """Take the next samples of the stream.

        Parameters
        ----------
        samples : array_like of float32, shape (n_samples,)
            Mono at 16 kHz, nominally in [-1, 1].  Any number of them, none included.

        Returns
        -------
        ndarray of float32, shape (n_frames,)
            Probability in [0, 1] of each frame of 32 ms that these samples complete.

        Raises
        ------
        AudioError
            Samples of another shape, or some that are not finite numbers; the stream is as it was before.
        """
        piece = np.asarray(samples, dtype=np.float32)
        if piece.ndim != 1:
            raise AudioError(f"samples of shape {piece.shape}: expected mono, (n_samples,); average the channels")
        if not np.isfinite(piece).all():
            raise AudioError("samples that are not finite numbers (NaN or infinity): check what records them")
        self._heard += len(piece)
        self.centred = self._centre.push(piece)
        return self._advance(self.centred)

    def finish(self) -> Float32Array:
        """End the stream: the probability of the frame that is not full, silence after it, shape (0,) or (1,)."""
        self.centred = self._centre.finish()
        return self._advance(np.pad(self.centred, (0, -len(self.centred) % FRAME)))

    def _advance(self, frames: Float32Array) -> Float32Array:
        """Run the network over whole frames, one after the other in one array."""
        if not len(frames):
            return frames
        count = len(frames) // FRAME
        gains, rises = self._level.push(frames.reshape(-1, FRAME)) if self._level else (np.ones(count), [])
        sound = np.concatenate([self._past, frames])
        windows = np.lib.stride_tricks.sliding_window_view(sound, CONTEXT + FRAME)[::FRAME]
        done = known = len(windows) - count
        found = []
        for place in (known + rise for rise in rises):
            found += self._run(windows[done:place], gains[done - known : place - known])
            self._hidden = self._cell = np.zeros_like(self._hidden)
            again = windows[max(0, place - _AGAIN) : place]
            self._run(again, np.full(len(again), gains[place - known]))
            done = place
        found += self._run(windows[done:], gains[done - known :])
        self._past = sound[-(CONTEXT + min(len(windows), _AGAIN) * FRAME) :].copy()
        return np.concatenate(found)

    def _run(self, frames: Float32Array, gains: NDArray[np.float64]) -> list[Float32Array]:
        """Run the network over frames with their context, each multiplied by its gain."""
        found = []
        for begin in range(0, len(frames), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            scaled = (frames[block] * gains[block, np.newaxis]).astype(np.float32)
            inputs = {"input": scaled, "h": self._hidden, "c": self._cell}
            one, self._hidden, self._cell = self._network.run(["speech_probs", "hn", "cn"], inputs)
            found.append(np.asarray(one, dtype=np.float32))
        return found


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
