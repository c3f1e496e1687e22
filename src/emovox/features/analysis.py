"""One waveform and the short-time spectra that all descriptors share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError

Float = NDArray[np.float32]

#: Window shapes by name; all periodic (DFT-even), as scipy.signal.get_window makes them with fftbins=True.
WINDOWS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}


@lru_cache(maxsize=32)
def window(name: str, length: int) -> Float:
    """Make a window as a sum of cosines.

    Parameters
    ----------
    name : {"hann", "hamming", "blackman", "rectangular"}
        Shape of the window.
    length : int
        Number of samples.

    Returns
    -------
    ndarray of float32, shape (length,)
        Periodic window with values in [0, 1]; read-only, because it is cached.

    Raises
    ------
    FeatureError
        The name is not known.

    Examples
    --------
    >>> window("hann", 4).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if name not in WINDOWS:
        raise FeatureError(f"unknown window {name!r}: choose one of {', '.join(WINDOWS)}")
    phase = 2 * np.pi * np.arange(length) / length
    shape = sum((-1) ** k * weight * np.cos(k * phase) for k, weight in enumerate(WINDOWS[name]))
    result = np.asarray(shape, dtype=np.float32)
    result.setflags(write=False)
    return result


def frame(samples: Float, length: int, hop: int, *, center: bool = True) -> Float:
    """Cut a signal into overlapping frames without copying it.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    length, hop : int
        Frame length and step in samples.
    center : bool, default True
        Pad with ``length // 2`` zeros on both sides, so that frame ``t`` is centred on sample ``t * hop`` and a
        signal shorter than one frame still gives one.

    Returns
    -------
    ndarray of float32, shape (n_frames, length)
        Read-only view.  ``n_frames = 1 + n_samples // hop`` when centred and ``length`` is even.

    Examples
    --------
    >>> import numpy as np
    >>> frame(np.arange(6, dtype=np.float32), 4, 2, center=False).tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    """
    padded = np.pad(samples, length // 2) if center else samples
    if len(padded) < length:
        padded = np.pad(padded, (0, length - len(padded)))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


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
