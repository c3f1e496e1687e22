"""Sound of any rate and number of channels to 16 kHz mono, piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emovox.audio.channels import Downmix
from emovox.audio.decode import checked_rate, to_float
from emovox.errors import AudioError
from emovox.types import RATE, Float32Array

#: Largest sample accepted.  Full scale is 1, integers stored as float reach 2**31; from about 1e16 on, powers
#: summed over a spectrum no longer fit float32.
LOUDEST = 1e12


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
