"""Formants by linear prediction (LPC) from power spectra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError
from emovox.types import Float32Array

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FormantOptions:
    """Settings of the formant analysis; the defaults are those of Praat for a woman's voice.

    Attributes
    ----------
    ceiling : float, default 5500
        Upper limit of the analysed spectrum in Hz; at most half the sampling rate.
    order : int, default 10
        Number of poles: two for each formant below the ceiling.
    emphasis : float, default 50
        Frequency in Hz above which pre-emphasis raises the spectrum by 6 dB per octave.
    count : int, default 3
        Number of formants to return, at most half of `order`.
    """

    ceiling: float = 5500.0
    order: int = 10
    emphasis: float = 50.0
    count: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.order // 2:
            raise FeatureError(
                f"{self.count} formants from order {self.order}: choose 1 to {self.order // 2}, or a higher order"
            )


@lru_cache(maxsize=8)
def _transform(n_bins: int, order: int, emphasis: float) -> Array:
    """Return the matrix that maps a power spectrum to the autocorrelation after pre-emphasis.

    `emphasis` is a fraction of the sampling rate.
    """
    angle = np.linspace(0, np.pi, n_bins)
    weight = np.abs(1 - np.exp(-2 * np.pi * emphasis - 1j * angle)) ** 2
    weight[1:-1] *= 2
    matrix: Array = weight[:, None] * np.cos(np.outer(angle, np.arange(order + 1)))
    matrix.setflags(write=False)
    return matrix


def _predictors(correlation: Array) -> Array:
    """Compute prediction polynomials by the Levinson-Durbin recursion, for all frames at once.

    Autocorrelations and polynomials have shape (n_frames, order + 1); the first coefficient is 1.
    """
    order = correlation.shape[1] - 1
    polynomial = np.zeros_like(correlation)
    polynomial[:, 0] = 1
    error = correlation[:, 0].copy()
    for m in range(1, order + 1):
        reflection = -np.einsum("ij,ij->i", polynomial[:, :m], correlation[:, m:0:-1]) / error
        polynomial[:, 1 : m + 1] += reflection[:, None] * polynomial[:, m - 1 :: -1][:, :m]
        error *= 1 - reflection**2
    return polynomial


def _roots(polynomial: Array) -> NDArray[np.complex128]:
    """Compute the roots of many polynomials as the eigenvalues of their companion matrices."""
    order = polynomial.shape[1] - 1
    companion = np.zeros((len(polynomial), order, order))
    companion[:, 0] = -polynomial[:, 1:]
    companion[:, np.arange(1, order), np.arange(order - 1)] = 1
    return np.linalg.eigvals(companion).astype(np.complex128, copy=False)


def formants(
    power: Float32Array, rate: int, options: FormantOptions | None = None
) -> tuple[Float32Array, Float32Array]:
    """Estimate the lowest formants of each frame.

    Parameters
    ----------
    power : ndarray of float32, shape (n_frames, n_bins)
        Power spectra from 0 Hz to half the sampling rate, of voiced frames under a smooth window.
    rate : int
        Sampling rate in Hz.
    options : FormantOptions, optional
        Ceiling, order, emphasis and number of formants.

    Returns
    -------
    frequency, bandwidth : ndarray of float32, shape (n_frames, count)
        In Hz, in ascending order of frequency; 0 where a frame has fewer formants.

    Raises
    ------
    FeatureError
        The ceiling is above half the sampling rate.

    Notes
    -----
    The spectrum below the ceiling is treated as that of a signal sampled at twice the ceiling, which replaces
    resampling.  Its inverse transform is the autocorrelation; formants are the poles of the prediction filter that are
    at least 50 Hz away from 0 and from the ceiling.

    Source: J. Makhoul, "Spectral linear prediction: properties and applications", IEEE Trans. ASSP 23(3),
    1975 (selective linear prediction); J. Markel, A. Gray, "Linear Prediction of Speech", 1976 (formants
    from poles).

    Examples
    --------
    >>> import numpy as np
    >>> z = np.exp(-2j * np.pi * np.arange(513) / 1024)
    >>> pole = np.exp(-np.pi * 100 / 16000 + 2j * np.pi * 700 / 16000)
    >>> power = 1 / np.abs((1 - pole * z) * (1 - pole.conj() * z)) ** 2
    >>> frequency, _ = formants(power[None].astype(np.float32), 16000, FormantOptions(8000, 2, 1e4, 1))
    >>> frequency.round().tolist()
    [[700.0]]
    """
    options = options or FormantOptions()
    if options.ceiling > rate / 2:
        raise FeatureError(f"formants up to {options.ceiling:g} Hz: choose a ceiling of at most {rate / 2:g} Hz")
    spacing = rate / 2 / (power.shape[1] - 1)
    n_bins = 1 + round(options.ceiling / spacing)
    ceiling = spacing * (n_bins - 1)
    transform = _transform(n_bins, options.order, options.emphasis / (2 * ceiling))
    correlation = power[:, :n_bins].astype(np.float64) @ transform  # in float32 some poles would be unstable
    correlation[:, 0] = correlation[:, 0] * (1 + 1e-9) + 1e-30  # makes the spectrum of a silent frame white
    poles = _roots(_predictors(correlation / correlation[:, :1]))

    frequency = np.angle(poles) * (ceiling / np.pi)
    bandwidth = -np.log(np.maximum(np.abs(poles), 1e-6)) * (2 * ceiling / np.pi)
    frequency[(frequency < 50) | (frequency > ceiling - 50)] = np.inf
    lowest = np.argsort(frequency, axis=1)[:, : options.count]
    frequency, bandwidth = (np.take_along_axis(values, lowest, axis=1) for values in (frequency, bandwidth))
    found = np.isfinite(frequency)
    return np.where(found, frequency, 0).astype(np.float32), np.where(found, bandwidth, 0).astype(np.float32)
