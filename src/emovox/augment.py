"""Speech in noise, made from clean speech: for training and for measuring what noise does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emovox.errors import InputError
from emovox.types import Float


def mix(samples: Float, noise: Float, snr: float, rng: np.random.Generator) -> Float:
    """Add noise at a given signal-to-noise ratio.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Clean speech.
    noise : ndarray of float32, shape (n_noise,)
        Noise.  A stretch that begins at random is taken from it; a noise that is too short is repeated.
    snr : float
        Ratio of the mean power of all of the speech, pauses included, to that of the noise, in dB.
    rng : numpy.random.Generator
        Decides where the noise begins.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Speech in noise, scaled down as a whole where it would exceed full scale.

    Raises
    ------
    InputError
        The speech or the stretch of noise is silent, so that no ratio exists.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> tone = np.sin(np.arange(8000, dtype=np.float32)) / 4
    >>> hiss = coloured_noise(8000, rng)
    >>> added = mix(tone, hiss, 20, rng) - tone
    >>> round(float(10 * np.log10(np.mean(tone**2) / np.mean(added**2))), 2)
    20.0
    """
    stretch = _stretch(noise, len(samples), rng)
    signal_power, noise_power = _power(samples), _power(stretch)
    if not signal_power or not noise_power:
        silent = "noise" if signal_power else "speech"
        raise InputError(f"no mixture has a signal-to-noise ratio of {snr:g} dB: the {silent} is silent")
    mixed = samples + stretch * np.float32(np.sqrt(signal_power / noise_power) * 10 ** (-snr / 20))
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32, copy=False)


def babble(voices: Sequence[Float], n_samples: int, rng: np.random.Generator, talkers: int = 6) -> Float:
    """Let several people talk at once.

    Parameters
    ----------
    voices : sequence of ndarray of float32, each of shape (n,)
        Recordings to choose from; silent ones are left out.
    n_samples : int
        Length of the result.
    rng : numpy.random.Generator
        Chooses the voices, without repeating one where there are enough, and where each begins.
    talkers : int, default 6
        Number of voices at any time.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Sum of voices of equal mean power, with a mean power of about 1: to be mixed, not heard as it is.

    Raises
    ------
    InputError
        There is no voice that is not silent.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> babble([np.ones(10, dtype=np.float32)], 4, rng, talkers=4).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    audible = [voice for voice in voices if _power(voice)]
    if not audible:
        raise InputError(f"babble needs voices: none of the {len(voices)} given has any sound")
    chosen = rng.choice(len(audible), size=talkers, replace=talkers > len(audible))
    total = np.zeros(n_samples, dtype=np.float32)
    for index in chosen:
        voice = audible[index]
        total += _stretch(voice, n_samples, rng) / np.float32(np.sqrt(_power(voice) * talkers))
    return total


def coloured_noise(n_samples: int, rng: np.random.Generator, exponent: float = 0.0) -> Float:
    """Make noise whose power density falls with frequency as ``1 / f ** exponent``.

    Parameters
    ----------
    n_samples : int
        Length of the result, at least 2: one sample has no spectrum but its mean.
    rng : numpy.random.Generator
        Source of the noise.
    exponent : float, default 0
        0 is white noise, 1 pink (-3 dB an octave), 2 brown (-6 dB an octave).

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Gaussian noise of mean 0 and mean power 1.

    Examples
    --------
    >>> import numpy as np
    >>> noise = coloured_noise(16000, np.random.default_rng(0), exponent=1)
    >>> round(float(np.mean(noise**2)), 4)
    1.0
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.arange(len(spectrum))
    spectrum[0] = 0
    spectrum[1:] *= frequency[1:] ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, n_samples)
    noise /= np.sqrt(np.mean(np.square(noise)))
    return noise.astype(np.float32)


def _power(samples: Float) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def _stretch(noise: Float, n_samples: int, rng: np.random.Generator) -> Float:
    """Take a stretch that begins at random, going round where the noise ends."""
    if len(noise) > n_samples:
        begin = int(rng.integers(len(noise) - n_samples + 1))
        return noise[begin : begin + n_samples]
    if not len(noise):
        return np.zeros(n_samples, dtype=np.float32)
    return np.resize(np.roll(noise, -int(rng.integers(len(noise)))), n_samples)
