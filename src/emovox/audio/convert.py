"""Samples of any type, rate and number of channels to 16 kHz mono, piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import AudioError
from emovox.types import RATE, Float32Array, Float64Array

#: Sampling rates that a recording may have, in Hz.
MIN_RATE, MAX_RATE = 1_000, 768_000

#: Largest sample accepted.  Full scale is 1, integers stored as float reach 2**31; from about 1e16 on, powers
#: summed over a spectrum no longer fit float32.
LOUDEST = 1e12


#: Seconds of sound by which channels are compared at a time.
BLOCK = 0.05

#: Channels with a correlation below this are one sound upside down: their mean would cancel.  In the first moments,
#: where any two voices may happen to go against each other, it takes more, less by so much for each block as loud as
#: the rest.
OPPOSITE, DOUBT = -0.5, 0.05

#: Two channels hold different voices where their sound and its envelope are less alike than this.
UNLIKE, UNLIKE_ENVELOPE = 0.3, 0.7

#: Two channels are compared when both are within this of each other in energy, and after so many blocks.
QUIETER, ENOUGH = 1e-3, 40

#: More channels than these are averaged as they are: an array of microphones.
MOST = 16


def checked_rate(rate: float, name: str) -> int:
    """Return a sampling rate in Hz that is a whole number from 1000 to 768000.

    Examples
    --------
    >>> checked_rate(44100.0, "call.wav")
    44100
    """
    if not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(
            f"{name} has a sampling rate of {rate:g} Hz: expected a whole number from {MIN_RATE} to "
            f"{MAX_RATE}, correct it or convert the recording"
        )
    return int(rate)


def to_float(samples: NDArray[Any], name: str) -> Float32Array:
    """Bring samples of any common type to float32 with full scale 1.

    Examples
    --------
    >>> to_float(np.array([0, 192], dtype=np.uint8), "call.wav").tolist()
    [-1.0, 0.5]
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        # What float32 cannot hold becomes infinite, which is found, with its place, when samples are checked.
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return samples.astype(np.float32) / np.float32(128) - np.float32(1)
    if kind == "i" and size in (2, 4):
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * size - 1))
    raise AudioError(f"{name} has samples of type {samples.dtype}: expected float, int16, int32 or uint8")


class Converter:
    """Bring sound that goes on to 16 kHz mono, from pieces of any size: files and streams alike.

    What is kept from piece to piece is the state of the resampling filter; the cut into pieces changes nothing.

    Parameters
    ----------
    rate : float, default 16000
        Sampling rate of what comes, in Hz, a whole number from 1000 to 768000.
    channels : int, default 1
        Number of channels of what comes; they are averaged, one that is another one upside down turned over first.
    name : str
        What to call the sound in an error.
    origin : float, default 0
        Seconds of the recording before the first piece, for errors.
    channel : int, optional
        The channel that is wanted, the first is 1; the default is the mean of all.

    Attributes
    ----------
    notes : list of str
        What there is to say about the channels: grows as they are heard.

    Raises
    ------
    AudioError
        The rate is out of its range, or there is no such channel.

    Examples
    --------
    >>> import numpy as np
    >>> converter = Converter(rate=8000, channels=2)
    >>> sum(len(converter.push(np.zeros((100, 2)))) for _ in range(80)) + len(converter.finish())
    16000
    """

    def __init__(
        self,
        rate: float = RATE,
        channels: int = 1,
        name: str = "the stream",
        origin: float = 0.0,
        channel: int | None = None,
    ) -> None:
        if channels < 1:
            raise AudioError(f"{name} cannot have {channels} channels: expected 1 or more")
        self.rate, self.channels, self.name = checked_rate(rate, name), channels, name
        self._mix = Downmix(self.rate, channels, channel, name)
        self.notes = self._mix.notes
        self._origin, self._frames = origin, 0
        self._resampler: Any = None
        if self.rate != RATE:
            import soxr  # recordings at 16 kHz need none

            self._resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="float32", quality="HQ")

    def push(self, samples: ArrayLike) -> Float32Array:
        """Take the next samples.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) of one channel, or (n_samples, n_channels)
            Floating-point numbers with full scale 1, or 16-bit, 32-bit or unsigned 8-bit integers; any number of
            them, none included.

        Returns
        -------
        ndarray of float32, shape (n,)
            What there is to give at 16 kHz by now: the filter holds the last few milliseconds back.

        Raises
        ------
        AudioError
            Samples of another shape or type, or some that are not finite numbers; the converter is as it was before.
        """
        piece = np.asarray(samples)
        if piece.ndim == 1 and self.channels == 1:
            piece = piece[:, np.newaxis]
        if piece.ndim != 2 or piece.shape[1] != self.channels:
            promised = f"{self.channels} channel" + "s" * (self.channels > 1)
            raise AudioError(
                f"{self.name} gave samples of shape {piece.shape}, and {promised} were promised: "
                f"expected (n_samples{', ' + str(self.channels) if self.channels > 1 else ''})"
            )
        chunk = to_float(piece, self.name)
        # Written so that a comparison with NaN, which is never true, ends in the error.
        if not (chunk.max(initial=0) <= LOUDEST and chunk.min(initial=0) >= -LOUDEST):
            frame, channel = np.argwhere(~(np.abs(chunk) <= LOUDEST))[0]
            raise AudioError(
                f"{self.name} has a sample of {chunk[frame, channel]:g} at "
                f"{self._origin + (self._frames + frame) / self.rate:.3f} s: samples must be finite numbers with full "
                "scale 1, export it again"
            )
        self._frames += len(chunk)
        return self._resampled(self._mix.push(chunk))

    def finish(self) -> Float32Array:
        """End the sound: what the filter held back, shape (n,)."""
        return self._resampled(self._mix.finish(), last=True)

    def _resampled(self, mono: Float32Array, last: bool = False) -> Float32Array:
        if self._resampler is None:
            return mono
        return np.asarray(self._resampler.resample_chunk(mono, last=last), np.float32)


class Downmix:
    """Mix what comes into one channel.

    A channel that is another one upside down (a swapped wire, a karaoke effect) is turned over before the mean is
    taken: together they would cancel and leave nothing but noise.  The decision is taken for each 50 ms by all that has
    been heard so far, those included, so that cutting the sound into other pieces changes nothing.

    Parameters
    ----------
    rate : int
        Sampling rate in Hz.
    channels : int
        Number of channels.
    channel : int, optional
        The channel that is wanted, the first is 1; the default is the mean of all.
    name : str
        What to call the sound in an error.

    Attributes
    ----------
    notes : list of str
        What there is to say about the channels.

    Raises
    ------
    AudioError
        There is no such channel.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=1600).astype(np.float32)
    >>> mix = Downmix(16000, 2)
    >>> bool(np.allclose(mix.push(np.stack([x, -x], axis=1)), x))
    True
    >>> mix.notes
    ['channel 2 is upside down, and was turned over before the channels were mixed']
    """

    def __init__(self, rate: int, channels: int, channel: int | None = None, name: str = "the sound") -> None:
        if channel is not None and not 1 <= channel <= channels:
            there = "one channel" if channels == 1 else f"{channels} channels"
            raise AudioError(f"{name} has {there}: there is no channel {channel}")
        self.notes: list[str] = []
        self._channel, self._channels = channel, channels
        self._compare = channel is None and 1 < channels <= MOST
        self._size = max(1, round(BLOCK * rate))
        self._rest = np.empty((0, channels), np.float32)
        self._gram = np.zeros((channels, channels))
        self._energy = np.zeros(2)  # of the blocks, and its squares
        self._signs = np.ones(channels, np.float32)
        self._moments = np.zeros(6)  # number, sums, squares and product of the envelopes of two channels

    def push(self, samples: Float32Array) -> Float32Array:
        """Take samples, shape (n, n_channels); return what is mixed by now, shape (m,)."""
        if self._channel is not None:
            return samples[:, self._channel - 1]
        if self._channels == 1:
            return samples[:, 0]
        if not self._compare:
            return np.asarray(samples.mean(axis=1))
        waiting = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(waiting) // self._size * self._size
        self._rest = waiting[whole:].copy()
        return self._mixed(waiting[:whole], self._size)

    def finish(self) -> Float32Array:
        """End the sound: what was held back, shape (n,)."""
        rest, self._rest = self._rest, self._rest[:0]
        mixed = self._mixed(rest, max(1, len(rest)))
        if self._compare and self._different():
            self.notes.append("its two channels hold different voices: --channels each judges them one by one")
        return mixed

    def _mixed(self, samples: Float32Array, size: int) -> Float32Array:
        """Mix whole blocks."""
        if not len(samples):
            return np.empty(0, np.float32)
        blocks = samples.reshape(-1, size, self._channels)
        centred = (blocks - blocks.mean(axis=1, keepdims=True)).astype(np.float64)
        grams = centred.transpose(0, 2, 1) @ centred
        self._measure(grams, size)
        sums = self._gram + np.cumsum(grams, axis=0)
        heard = np.trace(np.concatenate([self._gram[np.newaxis], sums[:-1]]), axis1=1, axis2=2) > 0
        self._gram = sums[-1]
        power = np.trace(grams, axis1=1, axis2=2)
        energy = self._energy + np.cumsum(np.stack([power, power**2], axis=1), axis=0)
        self._energy = energy[-1]
        signs = _signs(sums, energy[:, 0] ** 2 / np.maximum(energy[:, 1], np.finfo(float).tiny))
        before = np.concatenate([self._signs[np.newaxis], signs[:-1]])
        before = np.where(heard[:, np.newaxis], before, signs)
        self._signs = signs[-1]
        if (signs > 0).all() and (before > 0).all():
            return np.asarray(samples.mean(axis=1))
        self._note(signs)
        # A change of sign is spread over a tenth of the block, so that it makes no click.
        ramp = np.minimum(1, np.arange(size, dtype=np.float32) * 10 / size)[:, np.newaxis]
        gains = before[:, np.newaxis] + (signs - before)[:, np.newaxis] * ramp
        return np.asarray((blocks * gains).reshape(len(samples), -1).mean(axis=1), np.float32)

    def _note(self, signs: Float32Array) -> None:
        for channel in np.flatnonzero((signs < 0).any(axis=0)):
            text = f"channel {channel + 1} is upside down, and was turned over before the channels were mixed"
            if text not in self.notes:
                self.notes.append(text)

    def _measure(self, grams: Float64Array, size: int) -> None:
        """Add blocks to what is known of the envelopes of two channels."""
        if self._channels == 2:
            first, second = np.sqrt(np.maximum(0, grams[:, 0, 0] / size)), np.sqrt(np.maximum(0, grams[:, 1, 1] / size))
            products = (np.ones_like(first), first, second, first**2, second**2, first * second)
            self._moments += [product.sum() for product in products]

    def _different(self) -> bool:
        """Tell whether two channels hold different voices."""
        count, first, second, first2, second2, both = self._moments
        energies = self._gram.diagonal()
        if self._channels != 2 or count < ENOUGH or energies.min() <= QUIETER * energies.max():
            return False
        alike = abs(self._gram[0, 1]) / np.sqrt(energies[0] * energies[1])
        spread = np.sqrt(max(0.0, count * first2 - first**2) * max(0.0, count * second2 - second**2))
        together = (count * both - first * second) / spread if spread > 0 else 1.0
        return bool(alike < UNLIKE and together < UNLIKE_ENVELOPE)


def _signs(sums: Float64Array, blocks: Float64Array) -> Float32Array:
    """Tell which channels are others upside down, shape (n_blocks, n_channels): -1 for those, 1 for others.

    `blocks` is how many blocks the sums are made of, those that are softer than others counted as less.
    """
    energies = np.diagonal(sums, axis1=1, axis2=2)
    loudest = energies.argmax(axis=1)
    cross = sums[np.arange(len(sums)), loudest]
    scale = np.sqrt(energies * energies.max(axis=1, keepdims=True))
    limit = np.minimum(OPPOSITE, DOUBT * blocks - 1)[:, np.newaxis]
    signs = np.where(cross < limit * scale, np.float32(-1), np.float32(1))
    return signs * signs[:, :1]  # by the first channel, because which is the loudest may change
