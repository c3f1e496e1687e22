"""One waveform and the short-time spectra that all descriptors share."""

from __future__ import annotations

import numpy as np

from emovox.preprocess import WINDOWS, frame, window
from emovox.types import Float

__all__ = ["WINDOWS", "Analysis", "Float", "frame", "window"]


class Analysis:
    """A mono waveform with its short-time spectra, each computed once and shared by every descriptor.

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

    def __init__(self, samples: Float, rate: int = 16000) -> None:
        self.samples = np.ascontiguousarray(samples, dtype=np.float32)
        self.rate = rate
        self._magnitudes: dict[tuple[int, int, str, int], Float] = {}
        self._powers: dict[tuple[int, int, str, int], Float] = {}

    def magnitude(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float:
        """Magnitude of the short-time Fourier transform.

        Parameters
        ----------
        length, hop : int
            Frame length and step in samples.
        shape : str, default "hann"
            Window, see :func:`window`.
        n_fft : int, optional
            Transform length, at least `length`; the default is `length` itself.

        Returns
        -------
        ndarray of float32, shape (n_fft // 2 + 1, n_frames)
            Frame ``t`` is centred on sample ``t * hop`` (zero padding at the ends).
        """
        key = (length, hop, shape, n_fft or length)
        if key not in self._magnitudes:
            frames = frame(self.samples, length, hop) * window(shape, length)
            # Laid out frequency first, because every filter bank multiplies from the left.
            self._magnitudes[key] = np.abs(np.fft.rfft(frames, n=key[3], axis=1)).T
        return self._magnitudes[key]

    def power(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float:
        """Power spectrum: the square of :meth:`magnitude`, shape (n_fft // 2 + 1, n_frames)."""
        key = (length, hop, shape, n_fft or length)
        if key not in self._powers:
            self._powers[key] = np.square(self.magnitude(length, hop, shape, n_fft))
        return self._powers[key]
