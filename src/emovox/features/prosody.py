"""Low-level descriptors every 10 ms: F0, voice quality, formants, loudness and spectral balance.

``docs/prosody.md`` gives formulas, units and the agreement with Praat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emovox.features import voicing
from emovox.features.spectral import Analysis, Stft, decibels, mel_bank, mel_spectrogram, mfcc, window
from emovox.features.voicing import FormantOptions, formants
from emovox.types import Float32Array

Array = NDArray[np.float64]

#: STFT for loudness and spectral shape: 25 ms Hann windows every 10 ms, shared with MFCC and log-mel.
SHORT = Stft(400, 160, "hann", 512)

#: Descriptors that are defined in voiced frames only; 0 in the others.
VOICED = (
    "f0",
    "hnr",
    "jitter",
    "shimmer",
    "h1_h2",
    "formant_1",
    "formant_2",
    "formant_3",
    "bandwidth_1",
    "bandwidth_2",
    "bandwidth_3",
    "amplitude_1",
    "amplitude_2",
    "amplitude_3",
)

#: Descriptors that are defined in every frame.
EVERYWHERE = (
    "voicing",
    "energy",
    "loudness",
    "alpha_ratio",
    "hammarberg",
    "slope_0_500",
    "slope_500_1500",
    "flux",
    "mfcc_1",
    "mfcc_2",
    "mfcc_3",
    "mfcc_4",
)

_BANDS = (26, 20.0, 8000.0)  # number of mel bands, lowest and highest frequency in Hz
_FLOOR = np.float32(1e-10)  # of the power in a bin: a hundredth of the rounding noise of 16 bits


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Low-level descriptors of one recording.

    Attributes
    ----------
    values : ndarray of float32, shape (n_descriptors, n_frames)
        One row for each of `names`; finite.
    times : ndarray of float64, shape (n_frames,)
        Centres of the frames in seconds: 0, 0.01, 0.02, ...
    jitter_local, shimmer_local : float
        Praat's jitter (local) and shimmer (local) of the whole recording, as ratios; 0 if no frame is voiced.
    """

    values: Float32Array
    times: Array
    jitter_local: float
    shimmer_local: float

    #: The rows, those of voiced frames first.
    names = VOICED + EVERYWHERE

    def __getitem__(self, name: str) -> Float32Array:
        """Return the row of that name, shape (n_frames,)."""
        row: Float32Array = self.values[self.names.index(name)]
        return row

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Which frames are voiced."""
        return self["f0"] > 0


def energy(analysis: Analysis) -> Float32Array:
    """Compute the energy of each frame.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.

    Returns
    -------
    ndarray of float32, shape (n_frames,)
        Mean square under a 25 ms Hann window every 10 ms, in dB relative to full scale: -3 for a sine of amplitude
        1, at least -120.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    >>> round(float(energy(Analysis(tone))[50]), 2)
    -3.01
    """
    power = analysis.power(*SHORT)
    total = 2 * power.sum(axis=0) - power[0] - power[-1]
    full_scale = SHORT.size * float(np.square(window(SHORT.shape, SHORT.length)).sum())
    return _level(total / full_scale)


def _level(power: Float32Array) -> Float32Array:
    """Express power in dB, at least -120."""
    return np.asarray(10 * np.log10(np.maximum(power, np.float32(1e-12))), dtype=np.float32)


@lru_cache(maxsize=4)
def _equal_loudness(rate: int) -> Float32Array:
    """Return equal-loudness weights of mel powers, scaled so that a 1 kHz sine of amplitude 1 has its level, -3 dB."""
    bank = mel_bank(rate, SHORT.size, *_BANDS)
    frequency = bank @ np.linspace(0, rate / 2, SHORT.bins) / bank.sum(axis=1)
    omega = (2 * np.pi * frequency) ** 2
    curve = (omega + 56.8e6) * omega**2 / ((omega + 6.3e6) ** 2 * (omega + 0.38e9))
    curve /= bank.max(axis=1)  # undo the equal areas of the bands: loudness depends on the power of each
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 10) / rate).astype(np.float32)
    reference = mel_spectrogram(Analysis(tone, rate), SHORT, *_BANDS)[:, 5]
    weights: Float32Array = (curve * 0.5 / np.cbrt(reference * curve).mean() ** 3).astype(np.float32)
    return weights[:, None]


def loudness(analysis: Analysis) -> Float32Array:
    """Compute the perceived loudness of each frame, in decibels.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.

    Returns
    -------
    ndarray of float32, shape (n_frames,)
        ``30 log10`` of the mean over 26 mel bands of the cube root of the band's power, weighted by an equal-loudness
        curve: -3 dB for a 1 kHz sine of amplitude 1, at least -120.  A gain in dB adds to it.

    Notes
    -----
    Source: H. Hermansky, "Perceptual linear predictive (PLP) analysis of speech", J. Acoust. Soc. Am. 87(4),
    1990 (equal-loudness curve and cube-root power law).  The logarithm is ours: the distance to the microphone then
    adds a constant instead of changing the scale.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    >>> quiet, loud = loudness(Analysis(0.01 * tone))[50], loudness(Analysis(0.1 * tone))[50]
    >>> round(float(loud - quiet), 2)
    20.0
    """
    return _loudness(mel_spectrogram(analysis, SHORT, *_BANDS), analysis.rate)


def _loudness(mel: Float32Array, rate: int) -> Float32Array:
    """Compute the loudness from the powers in mel bands."""
    bands = mel * _equal_loudness(rate)
    root = np.maximum(np.cbrt(bands).mean(axis=0), np.float32(1e-4))
    return np.asarray(30 * np.log10(root), dtype=np.float32)


def _bins(rate: int, low: float, high: float) -> slice:
    """Return the bins of :data:`SHORT` from `low` up to, not including, `high` Hz."""
    spacing = rate / SHORT.size
    return slice(int(np.ceil(low / spacing)), int(np.ceil(high / spacing)))


@lru_cache(maxsize=4)
def _regression(rate: int) -> Float32Array:
    """Return the weights of levels in dB that give their slopes up to 500 and from 500 to 1500 Hz, in dB/kHz."""
    weights = np.zeros((2, _bins(rate, 0, 1500).stop), dtype=np.float32)
    for row, (low, high) in zip(weights, ((rate / SHORT.size, 500), (500, 1500)), strict=True):
        inside = _bins(rate, low, high)
        frequency = np.arange(inside.start, inside.stop) * (rate / SHORT.size / 1000)
        centred = frequency - frequency.mean()
        row[inside] = centred / np.square(centred).sum()
    return weights


def spectral_balance(analysis: Analysis) -> Float32Array:
    """Compute alpha ratio, Hammarberg index, spectral slopes and spectral flux of each frame.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.

    Returns
    -------
    ndarray of float32, shape (5, n_frames)
        Alpha ratio (power from 1 to 5 kHz over that from 50 Hz to 1 kHz, dB), Hammarberg index (strongest bin
        below 2 kHz over strongest from 2 to 5 kHz, dB), slopes of the level from 0 to 500 Hz and from 500 to
        1500 Hz (dB/kHz), and spectral flux (Euclidean distance between the magnitude spectra of this and the previous
        frame, each scaled to unit length: 0 to the square root of 2; 0 in the first frame).

    Notes
    -----
    All are independent of the gain.  Source: F. Eyben et al., "The Geneva minimalistic acoustic parameter set
    (GeMAPS) for voice research and affective computing", IEEE Trans. Affective Computing 7(2), 2016.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    >>> alpha, hammarberg, *_ = spectral_balance(Analysis(tone))[:, 50]
    >>> bool(alpha < -50), bool(hammarberg > 50)
    (True, True)
    """
    rate = analysis.rate
    power = analysis.power(*SHORT) + _FLOOR
    alpha = power[_bins(rate, 1000, 5000)].sum(axis=0) / power[_bins(rate, 50, 1000)].sum(axis=0)
    hammarberg = power[_bins(rate, 0, 2000)].max(axis=0) / power[_bins(rate, 2000, 5000)].max(axis=0)
    weights = _regression(rate)
    slopes = weights @ np.log10(power[: weights.shape[1]]) * np.float32(10)

    spectrum = analysis.magnitude(*SHORT).T
    length = np.sqrt(np.square(spectrum).sum(axis=1))
    cosine = np.einsum("ij,ij->i", spectrum[1:], spectrum[:-1])
    cosine /= np.maximum(length[1:] * length[:-1], np.finfo(np.float32).tiny)
    flux = np.zeros_like(length)
    flux[1:] = np.sqrt(np.maximum(0, 2 - 2 * cosine)) * (length[1:] * length[:-1] > 0)
    return np.stack([10 * np.log10(alpha), 10 * np.log10(hammarberg), *slopes, flux])


def _voice(
    analysis: Analysis, gram: voicing.Correlogram, track: voicing.PitchTrack
) -> tuple[Float32Array, float, float]:
    """Compute the descriptors of :data:`VOICED`, and jitter and shimmer of the whole recording."""
    samples, rate = analysis.samples, analysis.rate
    rows = np.zeros((len(VOICED), len(track.f0)), dtype=np.float32)
    voiced = np.flatnonzero(track.voiced)
    if len(voiced) == 0:
        return rows, 0.0, 0.0
    f0, times = track.f0[voiced], track.times[voiced]
    samples = samples - samples.mean()
    points = voicing.pulses(samples, rate, track.f0, track.times)
    jitter = voicing.jitter(points)
    shimmer = voicing.shimmer(samples, rate, points)

    power = gram.power[voiced]
    frequency, bandwidth = formants(power, rate, FormantOptions(count=3))
    nearest = np.maximum(1, np.rint(frequency / f0[:, None])).astype(np.intp)
    numbers = np.concatenate((np.broadcast_to([1, 2], (len(f0), 2)), nearest), axis=1)
    level = voicing.harmonic_level(power, rate / gram.n_fft, f0, numbers)
    amplitude = np.where(frequency > 0, level[:, 2:] - level[:, :1], 0)
    parts = (f0, voicing.hnr(track.strength[voiced]), jitter.around(times), shimmer.around(times))
    rows[:, voiced] = [*parts, level[:, 0] - level[:, 1], *frequency.T, *bandwidth.T, *amplitude.T]
    return rows, jitter.local, shimmer.local


def descriptors(analysis: Analysis, options: voicing.PitchOptions | None = None) -> Descriptors:
    """Compute all low-level descriptors of a recording.

    Parameters
    ----------
    analysis : Analysis
        The waveform, at 16 kHz, and its shared spectra.
    options : PitchOptions, optional
        Range and thresholds of F0; the step is always 10 ms.

    Returns
    -------
    Descriptors
        ``1 + n_samples // 160`` frames of 26 descriptors; ``docs/prosody.md`` lists their units.

    Examples
    --------
    >>> import numpy as np
    >>> buzz = np.sign(np.sin(2 * np.pi * 150 * np.arange(16000) / 16000)).astype(np.float32)
    >>> found = descriptors(Analysis(buzz))
    >>> found.values.shape, round(float(np.median(found["f0"])))
    ((26, 101), 150)
    """
    options = options or voicing.PitchOptions()
    gram = voicing.correlogram(analysis, options)
    track = voicing.follow(gram, options)
    voice, jitter, shimmer = _voice(analysis, gram, track)
    mel = mel_spectrogram(analysis, SHORT, *_BANDS)
    cepstrum = mfcc(decibels(mel), 5)[1:]
    everywhere = np.stack(
        [track.strength, energy(analysis), _loudness(mel, analysis.rate), *spectral_balance(analysis), *cepstrum]
    )
    return Descriptors(np.concatenate((voice, everywhere)), track.times, jitter, shimmer)
