"""A waveform and its short-time spectra, computed once for all low-level descriptors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emovox.audio.preprocess import WINDOWS, frame, window
from emovox.types import RATE, Float32Array

__all__ = ["SHORTEST", "WINDOWS", "Analysis", "Float32Array", "Stft", "frame", "padded", "window"]

#: Shortest input of encoders and of models of samples, in samples (0.3 s); shorter clips are padded with zeros.
SHORTEST = 3 * RATE // 10

_BLOCK = 1 << 14  # samples transformed at a time


def padded(samples: Float32Array) -> Float32Array:
    """Pad a clip shorter than 0.3 s with zeros on both sides.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.

    Returns
    -------
    ndarray of float32, shape (max(n_samples, 4800),)

    Examples
    --------
    >>> import numpy as np
    >>> padded(np.ones(1600, dtype=np.float32)).shape, padded(np.ones(8000, dtype=np.float32)).shape
    ((4800,), (8000,))
    """
    lack = max(0, SHORTEST - len(samples))
    return np.pad(samples, (lack // 2, lack - lack // 2)) if lack else samples


class Stft(NamedTuple):
    """Parameters of a short-time Fourier transform (STFT), in the order of :meth:`Analysis.magnitude`.

    Attributes
    ----------
    length, hop : int, default 2048 and 512
        Frame length and step in samples: 128 ms and 32 ms at 16 kHz.
    shape : str, default "hann"
        Window function, see :func:`emovox.audio.preprocess.window`.
    n_fft : int, optional
        Transform length, at least `length`; the default is `length` itself.

    Examples
    --------
    >>> Stft(400, 160, n_fft=512).bins
    257
    """

    length: int = 2048
    hop: int = 512
    shape: str = "hann"
    n_fft: int | None = None

    @property
    def size(self) -> int:
        """Transform length in samples."""
        return self.n_fft or self.length

    @property
    def bins(self) -> int:
        """Number of frequency bins, from 0 Hz to half the sampling rate."""
        return self.size // 2 + 1


class Analysis:
    """A mono waveform with its short-time spectra, each computed at most once and shared by all descriptors.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal, nominally in [-1, 1].
    rate : int, default 16000
        Sampling rate in Hz.

    Examples
    --------
    >>> import numpy as np
    >>> analysis = Analysis(np.zeros(16000, dtype=np.float32))
    >>> analysis.magnitude(2048, 512).shape
    (1025, 32)
    """

    def __init__(self, samples: Float32Array, rate: int = RATE) -> None:
        self.samples = np.ascontiguousarray(samples, dtype=np.float32)
        self.rate = rate
        self._magnitudes: dict[Stft, Float32Array] = {}
        self._powers: dict[Stft, Float32Array] = {}

    def magnitude(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float32Array:
        """Compute the magnitude of the short-time Fourier transform.

        Parameters
        ----------
        length, hop : int
            Frame length and step in samples.
        shape : str, default "hann"
            Window function, see :func:`window`.
        n_fft : int, optional
            Transform length, at least `length`; the default is `length` itself.

        Returns
        -------
        ndarray of float32, shape (n_fft // 2 + 1, n_frames)
            Frame ``t`` is centred on sample ``t * hop`` (zero padding at the ends).  Read-only.
        """
        key = Stft(length, hop, shape, n_fft or length)
        if key not in self._magnitudes:
            frames, taper = frame(self.samples, length, hop), window(shape, length)
            magnitude = np.empty((len(frames), key.bins), dtype=np.float32)
            # Small buffers, used again and again, keep the intermediate results in the processor's cache.
            step = max(1, _BLOCK // key.size)
            padded = np.zeros((step, key.size))
            spectrum = np.empty((step, key.bins), dtype=np.complex64)
            for i in range(0, len(frames), step):
                rows = frames[i : i + step]
                np.multiply(rows, taper, out=padded[: len(rows), :length])
                # numpy's type stubs do not know that the result may be stored in single precision.
                np.fft.rfft(padded[: len(rows)], axis=1, out=spectrum[: len(rows)])  # type: ignore[arg-type]
                np.abs(spectrum[: len(rows)], out=magnitude[i : i + step])
            magnitude.setflags(write=False)
            # Frames stay contiguous in memory; the view has frequency first, as filter banks need it.
            self._magnitudes[key] = magnitude.T
        return self._magnitudes[key]

    def power(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float32Array:
        """Compute the power spectrum: the square of :meth:`magnitude`, shape (n_fft // 2 + 1, n_frames)."""
        key = Stft(length, hop, shape, n_fft or length)
        if key not in self._powers:
            power = np.square(self.magnitude(*key))
            power.setflags(write=False)
            self._powers[key] = power
        return self._powers[key]
