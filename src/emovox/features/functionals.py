"""Low-level descriptors by name with their definitions, and the functionals over them.

:func:`summarise` applies any of the functionals below to any descriptors.  :func:`prosodic` computes the compact
``prosodic`` set, which ``docs/prosody.md`` describes.

=================== ================================================================================
``mean`` ``sd``     mean and standard deviation
``cov``             coefficient of variation: standard deviation over magnitude of the mean
``skewness``        third standardised moment
``kurtosis``        fourth standardised moment, 3 for a normal distribution
``min`` ``max``     extremes
``range``           maximum minus minimum
``p20``             any percentile from ``p0`` to ``p100``, interpolated linearly
``p20_80``          any difference of two percentiles, here the 80th minus the 20th
``slope``           of the regression line, per second
``rise_mean``       mean, and ``rise_sd`` standard deviation, of the slope per second where it rises
``fall_mean``       mean, and ``fall_sd`` standard deviation, of the slope per second where it falls, positive
=================== ================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError
from emovox.features import prosody, spectral, voicing
from emovox.features.prosody import SHORT, Descriptors
from emovox.features.spectral import Analysis, Stft, decibels, delta, mel_spectrogram, mfcc
from emovox.features.voicing import PitchOptions
from emovox.types import RATE, Float32Array

_HOP = 160  # samples: 10 ms

#: Mel bands from which the MFCC of the comprehensive set are computed.
MELS = 64
#: Frames more than this below the loudest one, in dB, count as pauses.
PAUSE = 30.0
#: Edges of the modulation bands in Hz: phrases, syllables (4 to 8 Hz), tremor and roughness.
MODULATION = (0.5, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 13.0, 20.0, 35.0)
#: Groups of mel bands in the modulation spectrum.
MODULATION_GROUPS = 20
#: Equal parts of a clip in :func:`trajectory`.
SEGMENTS = 5
#: MFCC in the covariance, beside as many deltas and the energy.
COVARIANCE_MFCC = 13
#: Added to the diagonal of the covariance, in dB squared: constant contours would have no logarithm.
RIDGE = 0.1
#: Fewest frames of a subset; statistics over fewer are taken over all frames instead.
MIN_FRAMES = 4


@dataclass(frozen=True)
class _Block:
    """Which functionals of which contours, over which subset of the frames."""

    subset: str
    contours: tuple[str, ...]
    which: tuple[str, ...]


CEPSTRA = tuple(f"mfcc_{i}" for i in range(26))
SHAPE = (
    *("energy", "loudness", "alpha_ratio", "hammarberg", "slope_0_500", "slope_500_1500", "flux"),
    *("centroid", "bandwidth", "rolloff", "flatness"),
)
_BLOCKS = (
    _Block("all", CEPSTRA, ("mean", "sd", "p10", "p50", "p90")),
    _Block("voiced", CEPSTRA, ("mean", "sd")),
    _Block("unvoiced", CEPSTRA, ("mean",)),
    _Block("loud", CEPSTRA, ("mean",)),
    _Block("change", CEPSTRA, ("sd",)),
    _Block("change_size", CEPSTRA, ("mean",)),
    _Block("curvature", CEPSTRA, ("sd",)),
    _Block("all", SHAPE, ("mean", "sd", "p5", "p25", "p50", "p75", "p95")),
    _Block("active", SHAPE, ("mean", "sd", "p10", "p50", "p90")),
    _Block("change", SHAPE, ("sd",)),
    _Block("change_size", SHAPE, ("mean",)),
)


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    """Return names that count from 1, zero-padded so that they sort: ``mel_001``, ..., ``mel_128``."""
    width = max(2, len(str(count))) if count > 9 else 1
    return tuple(f"{stem}_{i:0{width}d}" for i in range(1, count + 1))


def classic_names(**_: object) -> tuple[str, ...]:
    """Return the 193 names of :func:`classic`."""
    pitches = tuple(f"chroma_{name}" for name in spectral.PITCH_CLASSES)
    others = _numbered("mel", 128) + _numbered("contrast", 7) + _numbered("tonnetz", 6)
    return _numbered("mfcc", 40) + pitches + others


def classic(analysis: Analysis, *, window: str, frame_length: int, hop_length: int) -> Float32Array:
    """Compute the 193 features of many tutorials: means over time of 40 MFCC, chroma, mel powers, contrast and tonnetz.

    Parameters
    ----------
    analysis : Analysis
        A preprocessed waveform.
    window : str
        Window function, see :func:`emovox.audio.preprocess.window`.
    frame_length, hop_length : int
        Frame length and step in samples.

    Returns
    -------
    ndarray of float32, shape (193,)

    Examples
    --------
    >>> import numpy as np
    >>> classic(Analysis(np.ones(16000, dtype=np.float32)), window="hann", frame_length=2048, hop_length=512).shape
    (193,)
    """
    # At least 2048 points: 128 mel bands need that frequency resolution, also of shorter (zero-padded) frames.
    stft = Stft(frame_length, hop_length, window, _n_fft(frame_length, 2048))
    mel = spectral.mel_spectrogram(analysis, stft, n_mels=128)
    chroma = spectral.chroma(analysis, stft)
    parts = (
        spectral.mfcc(spectral.decibels(mel), n_mfcc=40),
        chroma,
        mel,
        spectral.contrast(analysis, stft),
        spectral.tonnetz(chroma),
    )
    return np.concatenate([part.mean(axis=1) for part in parts])


def _n_fft(frame_length: int, minimum: int) -> int:
    """Return the next power of two, and at least `minimum`."""
    return max(minimum, 1 << (frame_length - 1).bit_length())


def logmel_names(*, n_mels: int, **_: object) -> tuple[str, ...]:
    """Return the names of :func:`logmel`, the lowest band first."""
    return _numbered("logmel", n_mels)


def logmel(
    analysis: Analysis,
    *,
    window: str,
    frame_length: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float,
) -> Float32Array:
    """Compute a log-mel spectrogram.

    Parameters
    ----------
    analysis : Analysis
        A preprocessed waveform.
    window : str
        Window function, see :func:`emovox.audio.preprocess.window`.
    frame_length, hop_length : int
        Frame length and step in samples.
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Range of the bands in Hz.

    Returns
    -------
    ndarray of float32, shape (n_frames, n_mels)
        Power in dB, floored at 80 dB below the maximum of the clip.

    Examples
    --------
    >>> import numpy as np
    >>> analysis = Analysis(np.ones(16000, dtype=np.float32))
    >>> logmel(analysis, window="hann", frame_length=400, hop_length=160, n_mels=64, fmin=20.0, fmax=8000.0).shape
    (101, 64)
    """
    stft = Stft(frame_length, hop_length, window, _n_fft(frame_length, 512))
    return spectral.decibels(spectral.mel_spectrogram(analysis, stft, n_mels, fmin, fmax)).T


def sequence_names(*, n_mfcc: int, **_: object) -> tuple[str, ...]:
    """Return the names of :func:`sequence`."""
    cepstrum = _numbered("mfcc", n_mfcc)
    deltas = tuple(f"{order}_{name}" for order in ("delta", "delta2") for name in cepstrum)
    return (*cepstrum, *deltas, "log_f0", "energy", "voicing")


def sequence(
    analysis: Analysis,
    *,
    window: str,
    frame_length: int,
    n_mels: int,
    n_mfcc: int,
    pitch_floor: float,
    pitch_ceiling: float,
) -> Float32Array:
    """Compute low-level descriptors every 10 ms: MFCC with first and second derivatives, F0, energy and voicing.

    Parameters
    ----------
    analysis : Analysis
        A preprocessed waveform.
    window : str
        Window function of the MFCC, see :func:`emovox.audio.preprocess.window`.
    frame_length : int
        Frame length of the MFCC in samples.
    n_mels, n_mfcc : int
        Number of mel bands (from 20 Hz to 8 kHz) and of cepstral coefficients.
    pitch_floor, pitch_ceiling : float
        Range of F0 in Hz.

    Returns
    -------
    ndarray of float32, shape (n_frames, 3 * n_mfcc + 3)
        The last three are F0 in octaves above 27.5 Hz (0 where unvoiced), energy in dB relative to full scale, and
        the normalised autocorrelation at the period in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> options = {"frame_length": 400, "n_mels": 40, "n_mfcc": 13, "pitch_floor": 75.0, "pitch_ceiling": 600.0}
    >>> sequence(Analysis(np.ones(16000, dtype=np.float32)), window="hann", **options).shape
    (101, 42)
    """
    stft = Stft(frame_length, _HOP, window, _n_fft(frame_length, 512))
    mel = spectral.mel_spectrogram(analysis, stft, n_mels, fmin=20.0)
    cepstrum = spectral.mfcc(spectral.decibels(mel), n_mfcc)
    track = voicing.track(analysis, voicing.PitchOptions(pitch_floor, pitch_ceiling, hop=_HOP / RATE))
    octaves = np.log2(np.where(track.voiced, track.f0, 27.5) / 27.5)
    voice = np.stack([octaves, prosody.energy(analysis), track.strength])
    return np.concatenate([cepstrum, spectral.delta(cepstrum), spectral.delta(cepstrum, 2), voice]).T


def comprehensive(analysis: Analysis) -> Float32Array:
    """Compute functionals of spectral descriptors, the prosodic set, modulation, trajectory and covariance.

    ================ =============================================================================================
    functionals      of 26 MFCC, loudness, spectral balance and spectral moments: over ``all``, ``active`` (no pauses),
                     ``voiced``, ``unvoiced`` and ``loud`` frames, and of their delta (``change``, and its magnitude
                     ``change_size``) and second delta (``curvature``)
    ``prosodic``     :func:`emovox.features.functionals.prosodic`
    ``modulation``   :func:`modulation`
    ``course``       :func:`trajectory`
    ``covariance``   :func:`covariance` of 13 MFCC, their deltas and the energy
    ================ =============================================================================================

    Parameters
    ----------
    analysis : Analysis
        A preprocessed waveform, preferably with leading and trailing silence trimmed.

    Returns
    -------
    ndarray of float32, shape (n_features,)
        In the order of :func:`comprehensive_names`; finite.  The names begin with the first column of the table.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    >>> len(comprehensive(Analysis(noise))) == len(comprehensive_names())
    True
    """
    found = prosody.descriptors(analysis)
    level = decibels(mel_spectrogram(analysis, SHORT, MELS, 50.0, 8000.0))
    cepstrum = mfcc(level, len(CEPSTRA))
    shape = np.concatenate([np.stack([found[name] for name in SHAPE[:-4]]), moments(analysis)])
    contours = np.concatenate([cepstrum, shape])
    few = cepstrum[:COVARIANCE_MFCC]
    blocks = (
        *_functionals(contours, found),
        prosodic_of(found),
        modulation(level),
        trajectory(np.concatenate([few, shape])),
        covariance(np.concatenate([few, delta(few), found["energy"][None]])),
    )
    return np.concatenate(blocks).astype(np.float32)


@lru_cache(maxsize=1)
def comprehensive_names() -> tuple[str, ...]:
    """Return the names of :func:`comprehensive`.

    Examples
    --------
    >>> comprehensive_names()[0], comprehensive_names()[-1]
    ('all_mfcc_0_mean', 'covariance_energy_energy')
    """
    parts = [f"{block.subset}_{name}" for block in _BLOCKS for name in summary_names(block.contours, block.which)]
    parts += [f"prosodic_{name}" for name in prosodic_names()]
    bands = [f"{low:g}_{high:g}hz" for low, high in pairwise(MODULATION)]
    parts += [f"modulation_{group}_{band}" for group in range(MODULATION_GROUPS) for band in bands]
    # "course" is older than the word trajectory; the names of features that are in use stay.
    parts += [f"course_{part}_{row}" for part in range(SEGMENTS) for row in (*CEPSTRA[:COVARIANCE_MFCC], *SHAPE)]
    joint = [*CEPSTRA[:COVARIANCE_MFCC], *(f"delta_{i}" for i in range(COVARIANCE_MFCC)), "energy"]
    parts += [f"covariance_{joint[i]}_{joint[j]}" for i, j in zip(*np.triu_indices(len(joint)), strict=True)]
    return tuple(parts)


def _functionals(contours: Float32Array, found: Descriptors) -> list[Float32Array]:
    """Apply the functionals of every block; a subset of too few frames is replaced by all frames."""
    energy = found["energy"]
    active = energy > energy.max() - PAUSE
    masks = {
        "active": active,
        "voiced": found.voiced,
        "unvoiced": active & ~found.voiced,
        "loud": energy >= np.percentile(energy, 75),
    }
    change = delta(contours)
    derived = {"change": change, "change_size": np.abs(change), "curvature": delta(contours, order=2)}
    row_of = {name: row for row, name in enumerate((*CEPSTRA, *SHAPE))}
    result = []
    for block in _BLOCKS:
        rows = derived.get(block.subset, contours)[[row_of[name] for name in block.contours]]
        mask = masks.get(block.subset)
        enough = mask is not None and mask.sum() >= MIN_FRAMES
        result.append(summarise(rows, block.which, mask if enough else None))
    return result


def moments(analysis: Analysis) -> Float32Array:
    """Compute spectral centroid, bandwidth, roll-off and flatness of each frame.

    Parameters
    ----------
    analysis : Analysis
        A preprocessed waveform.

    Returns
    -------
    ndarray of float32, shape (4, n_frames)
        Natural logarithms of the centroid, the bandwidth and the 85 % roll-off frequency in Hz, and of the flatness
        (geometric over arithmetic mean of the power).  Independent of the gain.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    >>> round(float(np.exp(moments(Analysis(tone))[0, 50])))
    1001
    """
    power = analysis.power(*SHORT) + np.float32(1e-10)
    frequency = np.linspace(0, analysis.rate / 2, len(power), dtype=np.float32)[:, None]
    total = power.sum(axis=0)
    centroid = (frequency * power).sum(axis=0) / total
    bandwidth = np.sqrt((np.square(frequency - centroid) * power).sum(axis=0) / total)
    rolloff = frequency[(np.cumsum(power, axis=0) >= 0.85 * total).argmax(axis=0), 0]
    flatness = np.log(power).mean(axis=0) - np.log(total / len(power))
    return np.stack([np.log(centroid + 1), np.log(bandwidth + 1), np.log(rolloff + 1), flatness])


def modulation(level: Float32Array) -> Float32Array:
    """Compute a modulation spectrum: how fast the level in each part of the spectrum fluctuates.

    Parameters
    ----------
    level : ndarray of float32, shape (64, n_frames)
        Log-mel spectrogram in dB, every 10 ms.

    Returns
    -------
    ndarray of float32, shape (20 * 9,)
        Natural logarithm of the power of the level's fluctuation in nine bands of modulation frequency from 0.5 to
        35 Hz, for each of 20 groups of mel bands; the groups are the outer order.

    Notes
    -----
    Source: S. Greenberg, B. Kingsbury, "The modulation spectrogram", ICASSP 1997.

    Examples
    --------
    >>> import numpy as np
    >>> tremor = np.sin(2 * np.pi * 5 * np.arange(200) / 100) * np.ones((64, 1))  # 5 Hz: between 4.5 and 6.5
    >>> int(modulation(tremor.astype(np.float32)).reshape(20, 9)[0].argmax())
    4
    """
    groups = np.array_split(np.arange(len(level)), MODULATION_GROUPS)
    bands = np.stack([level[group].mean(axis=0) for group in groups])
    bands -= bands.mean(axis=1, keepdims=True)
    frames = bands.shape[1]
    n_fft = _n_fft(frames, 512)
    taper = np.hanning(frames + 2)[1:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(bands * taper, n_fft, axis=1))) / frames
    edges = np.rint(np.array(MODULATION) * n_fft / 100).astype(int)
    found = np.stack([power[:, low:high].mean(axis=1) for low, high in pairwise(edges)], axis=1)
    return np.log(found + 1e-3).ravel()


def trajectory(contours: Float32Array) -> Float32Array:
    """Compute how the mean over each fifth of a clip differs from the mean over the whole.

    Parameters
    ----------
    contours : ndarray of float32, shape (n_descriptors, n_frames)
        Low-level descriptors; at least one frame.

    Returns
    -------
    ndarray of float32, shape (5 * n_descriptors,)
        All descriptors of the first fifth, then those of the second, ...; 0 for a fifth without frames.

    Examples
    --------
    >>> import numpy as np
    >>> trajectory(np.arange(5, dtype=np.float32)[None]).tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    whole = contours.mean(axis=1)
    parts = np.array_split(contours, SEGMENTS, axis=1)
    return np.concatenate([part.mean(axis=1) - whole if part.shape[1] else np.zeros_like(whole) for part in parts])


def covariance(contours: Float32Array) -> Float32Array:
    """Compute the matrix logarithm of the covariance of contours, as a vector.

    Parameters
    ----------
    contours : ndarray of float32, shape (n_descriptors, n_frames)
        Low-level descriptors in dB.

    Returns
    -------
    ndarray of float64, shape (n_descriptors * (n_descriptors + 1) / 2,)
        Upper triangle, row by row; off-diagonal values times the square root of 2, so that the Euclidean distance of
        two vectors is the log-Euclidean distance of the two covariances.

    Notes
    -----
    Source: V. Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion tensors", Magnetic
    Resonance in Medicine 56(2), 2006.

    Examples
    --------
    >>> import numpy as np
    >>> constant = np.zeros((2, 100), dtype=np.float32)  # only the ridge of 0.1 remains
    >>> covariance(constant).round(2).tolist()
    [-2.3, 0.0, -2.3]
    """
    size = len(contours)
    matrix = np.cov(contours.astype(np.float64)) if contours.shape[1] > 1 else np.zeros((size, size))
    values, vectors = np.linalg.eigh(matrix + RIDGE * np.eye(size))
    logarithm = (vectors * np.log(np.maximum(values, RIDGE))) @ vectors.T
    upper = np.triu_indices(size)
    return np.asarray(logarithm[upper] * np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0)))


def _prosodic(analysis: Analysis, *, pitch_floor: float, pitch_ceiling: float) -> Float32Array:
    return prosodic(analysis, voicing.PitchOptions(pitch_floor, pitch_ceiling))


#: Function that names the features of a set, from all its parameters.
NAMES: dict[str, Callable[..., tuple[str, ...]]] = {
    "classic193": classic_names,
    "prosodic": lambda **_: prosodic_names(),
    "comprehensive": comprehensive_names,
    "logmel": logmel_names,
    "sequence": sequence_names,
}
#: Function that computes a set, from an Analysis and all its parameters.
COMPUTE: dict[str, Callable[..., Float32Array]] = {
    "classic193": classic,
    "prosodic": _prosodic,
    "comprehensive": comprehensive,
    "logmel": logmel,
    "sequence": sequence,
}


Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Functionals for melody and loudness: level, spread, trend, rises and falls.
COMPACT = (
    "mean",
    "sd",
    "p20",
    "p50",
    "p80",
    "p20_80",
    "slope",
    "rise_mean",
    "rise_sd",
    "fall_mean",
    "fall_sd",
)

_PEAK_DEPTH = 3.0  # dB by which the loudness must fall for a peak to count


class _Contours:
    """Contours with a mask, and the intermediate results that functionals share; each is computed at most once."""

    def __init__(self, values: NDArray[np.floating], mask: Mask, step: float) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.mask = mask
        self.step = step

    @cached_property
    def count(self) -> NDArray[np.intp]:
        """Number of selected frames, (n_rows,); 1 where none is, so that means over no frames are 0."""
        return np.asarray(np.maximum(self.mask.sum(axis=1), 1), dtype=np.intp)

    def average(self, values: NDArray[np.floating]) -> Array:
        """Mean over the selected frames, of values that are 0 in the others."""
        return np.asarray(values.sum(axis=1) / self.count)

    @cached_property
    def mean(self) -> Array:
        return self.average(self.values * self.mask)

    @cached_property
    def centred(self) -> Array:
        return np.asarray((self.values - self.mean[:, None]) * self.mask)

    @cached_property
    def sd(self) -> Array:
        return np.sqrt(self.average(np.square(self.centred)))

    def moment(self, order: int) -> Array:
        """Standardised moment, 0 for a constant."""
        return _ratio(self.average(self.centred**order), self.sd**order)

    @cached_property
    def ascending(self) -> Array:
        """Values in ascending order, those not selected last; 0 in rows without a selected frame."""
        values = np.where(self.mask, self.values, np.inf)
        values[~self.mask.any(axis=1)] = 0
        return np.sort(values, axis=1)

    def percentile(self, percent: float) -> Array:
        """Percentile, interpolated linearly as numpy does."""
        rank = percent / 100 * (self.count - 1)
        below = np.floor(rank).astype(np.intp)
        rows = np.arange(len(below))
        low = self.ascending[rows, below]
        high = self.ascending[rows, np.minimum(below + 1, self.count - 1)]
        return np.asarray(low + (high - low) * (rank - below))

    @cached_property
    def slope(self) -> Array:
        """Slope of the regression line, per second; 0 where fewer than two frames are selected."""
        times = np.arange(self.values.shape[1]) * self.step
        times = (times - self.average(times * self.mask)[:, None]) * self.mask
        return _ratio((times * self.centred).sum(axis=1), np.square(times).sum(axis=1))

    @cached_property
    def steepness(self) -> _Contours:
        """Slope per second of the regression line through five frames, where all five are selected."""
        x, inside = self.values, self.mask
        slope = (2 * (x[:, 4:] - x[:, :-4]) + x[:, 3:-1] - x[:, 1:-3]) / (10 * self.step)
        ends = inside[:, 4:] & inside[:, :-4] & inside[:, 3:-1] & inside[:, 1:-3]
        return _Contours(slope, ends & inside[:, 2:-2], self.step)

    @cached_property
    def rise(self) -> _Contours:
        slopes = self.steepness
        return _Contours(slopes.values, slopes.mask & (slopes.values > 0), self.step)

    @cached_property
    def fall(self) -> _Contours:
        slopes = self.steepness
        return _Contours(-slopes.values, slopes.mask & (slopes.values < 0), self.step)


def _ratio(above: Array, below: Array) -> Array:
    """Divide; 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


_FUNCTIONALS: dict[str, Callable[[_Contours], Array]] = {
    "mean": lambda c: c.mean,
    "sd": lambda c: c.sd,
    # The divisor is limited, because the mean may be close to 0.
    "cov": lambda c: _ratio(c.sd, np.maximum(np.abs(c.mean), 1e-6 * c.sd)),
    "skewness": lambda c: c.moment(3),
    "kurtosis": lambda c: c.moment(4),
    "min": lambda c: c.percentile(0),
    "max": lambda c: c.percentile(100),
    "range": lambda c: c.percentile(100) - c.percentile(0),
    "slope": lambda c: c.slope,
    "rise_mean": lambda c: c.rise.mean,
    "rise_sd": lambda c: c.rise.sd,
    "fall_mean": lambda c: c.fall.mean,
    "fall_sd": lambda c: c.fall.sd,
}


def _functional(name: str) -> Callable[[_Contours], Array]:
    """Return the function for the name of a functional."""
    if name in _FUNCTIONALS:
        return _FUNCTIONALS[name]
    match = re.fullmatch(r"p(\d{1,3})(?:_(\d{1,3}))?", name)
    percents = [int(number) for number in match.groups() if number] if match else []
    if not percents or max(percents) > 100:
        raise FeatureError(
            f"unknown functional {name!r}: choose from {', '.join(_FUNCTIONALS)}, p0 to p100, p20_80 and the like"
        )
    if len(percents) == 1:
        return lambda c: c.percentile(percents[0])
    return lambda c: c.percentile(percents[1]) - c.percentile(percents[0])


def summarise(
    contours: Float32Array, which: Sequence[str] = COMPACT, mask: Mask | None = None, step: float = 0.01
) -> Float32Array:
    """Apply functionals to low-level descriptors.

    Parameters
    ----------
    contours : ndarray of float32, shape (n_descriptors, n_frames)
        Finite values; at least one frame.
    which : sequence of str
        Names of functionals, see the table of the module.
    mask : ndarray of bool, shape (n_frames,) or (n_descriptors, n_frames), optional
        Frames to use; the default is all of them.
    step : float, default 0.01
        Time between frames in seconds.

    Returns
    -------
    ndarray of float32, shape (n_descriptors * len(which),)
        All functionals of the first descriptor, then those of the second, ...; finite, 0 where no frame is selected.

    Raises
    ------
    FeatureError
        A functional is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> contours = np.array([[1, 2, 3, 90], [0, 1, 2, 90]], dtype=np.float32)
    >>> summarise(contours, ("mean", "range"), mask=contours < 10).tolist()
    [2.0, 2.0, 1.0, 2.0]
    """
    functionals = [_functional(name) for name in which]
    everywhere = np.ones(contours.shape, dtype=bool)
    rows = _Contours(contours, everywhere if mask is None else everywhere & mask, step)
    return np.stack([functional(rows) for functional in functionals], axis=1).ravel().astype(np.float32)


def summary_names(names: Sequence[str], which: Sequence[str] = COMPACT) -> tuple[str, ...]:
    """Return the names of the values of :func:`summarise`.

    Examples
    --------
    >>> summary_names(("f0", "energy"), ("mean", "p20"))
    ('f0_mean', 'f0_p20', 'energy_mean', 'energy_p20')
    """
    return tuple(f"{name}_{functional}" for name in names for functional in which)


@dataclass(frozen=True)
class _Part:
    """Which functionals of which descriptors, over which frames."""

    frames: str  # "all", "voiced", "unvoiced", or "positive": where the descriptor is more than 0
    names: tuple[str, ...]
    which: tuple[str, ...] = ("mean", "sd")
    tag: str = ""  # added to the descriptor's name where it is not used over all frames only

    @property
    def features(self) -> tuple[str, ...]:
        return summary_names([name + self.tag for name in self.names], self.which)


_SHAPE = ("alpha_ratio", "hammarberg", "slope_0_500", "slope_500_1500", "flux")
_CEPSTRUM = ("mfcc_1", "mfcc_2", "mfcc_3", "mfcc_4")

_PARTS = (
    _Part("voiced", ("f0_semitones",), COMPACT),
    _Part("all", ("loudness",), COMPACT),
    _Part("positive", ("jitter", "shimmer")),
    _Part("voiced", ("hnr", "h1_h2")),
    _Part("positive", ("formant_1", "formant_2", "formant_3", "bandwidth_1", "bandwidth_2", "bandwidth_3")),
    _Part("voiced", ("amplitude_1", "amplitude_2", "amplitude_3")),
    _Part("voiced", _SHAPE + _CEPSTRUM, tag="_voiced"),
    _Part("unvoiced", _SHAPE, ("mean",), tag="_unvoiced"),
    _Part("all", ("flux", *_CEPSTRUM)),
)

_RHYTHM = (
    "voiced_rate",
    "voiced_fraction",
    "voiced_length_mean",
    "voiced_length_sd",
    "gap_length_mean",
    "gap_length_sd",
    "loudness_peak_rate",
)

_OVERALL = ("level", "jitter_local", "shimmer_local")

#: Values of clips without voiced frames, where 0 is impossible: an F0 between those of men and women (156 Hz), and the
#: formants of a uniform vocal tract of 17.5 cm with typical bandwidths.
_WITHOUT_VOICE = {
    "f0_semitones_mean": 30.0,
    "f0_semitones_p20": 30.0,
    "f0_semitones_p50": 30.0,
    "f0_semitones_p80": 30.0,
    "formant_1_mean": 500.0,
    "formant_2_mean": 1500.0,
    "formant_3_mean": 2500.0,
    "bandwidth_1_mean": 150.0,
    "bandwidth_2_mean": 250.0,
    "bandwidth_3_mean": 350.0,
}


def prosodic_names() -> tuple[str, ...]:
    """Return the names of the values of :func:`prosodic`.

    Examples
    --------
    >>> names = prosodic_names()
    >>> len(names), names[0], names[-1]
    (91, 'f0_semitones_mean', 'shimmer_local')
    """
    return (*(name for part in _PARTS for name in part.features), *_RHYTHM, *_OVERALL)


def _speech(voiced: Mask) -> slice:
    """Return the frames from the first to the last voiced one, or all if none is voiced."""
    frames = np.flatnonzero(voiced)
    return slice(int(frames[0]), int(frames[-1]) + 1) if len(frames) else slice(0, len(voiced))


def _frames(part: _Part, rows: Float32Array, voiced: Mask) -> Mask:
    """Return the mask of the frames that a part uses."""
    if part.frames == "positive":
        return rows > 0
    everywhere = np.ones_like(voiced)
    chosen = {"all": everywhere, "voiced": voiced, "unvoiced": ~voiced}[part.frames]
    # Spectral shape is defined in every frame: where no frame is of the kind in the tag, all are used.
    return everywhere if part.tag and not chosen.any() else chosen


def _peaks(contour: Float32Array, depth: float) -> int:
    """Count the peaks after each of which a contour falls by at least `depth`, and rises as much before the next."""
    count, rising = 0, True
    extreme = -np.inf
    for value in contour.tolist():
        if rising:
            extreme = max(extreme, value)
            if value <= extreme - depth:
                count, rising, extreme = count + 1, False, value
        else:
            extreme = min(extreme, value)
            if value >= extreme + depth:
                rising, extreme = True, value
    return count


def _rhythm(voiced: Mask, loudness: Float32Array, step: float) -> list[float]:
    """Return the features named in :data:`_RHYTHM`: rates per second and lengths in seconds."""
    edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    lengths, gaps = (edges[1::2] - edges[::2]) * step, (edges[2::2] - edges[1:-1:2]) * step
    duration = len(voiced) * step
    moments = [float(moment(part)) if len(part) else 0.0 for part in (lengths, gaps) for moment in (np.mean, np.std)]
    smooth = np.convolve(np.pad(loudness, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    peaks = _peaks(smooth, _PEAK_DEPTH) / duration
    return [len(lengths) / duration, float(voiced.mean()), *moments, peaks]


def prosodic(analysis: Analysis, options: PitchOptions | None = None) -> Float32Array:
    """Compute 91 functionals of prosody and voice quality, similar to eGeMAPS.

    Parameters
    ----------
    analysis : Analysis
        The waveform, at 16 kHz, and its shared spectra.
    options : PitchOptions, optional
        Range and thresholds of F0 tracking.

    Returns
    -------
    ndarray of float32, shape (91,)
        Named by :func:`prosodic_names`; finite.  Everything is measured from the first to the last voiced frame, so
        that leading and trailing silence have no effect, or over the whole recording if no frame is voiced.  In that
        case features of the voice are 0, except F0 (30 semitones above 27.5 Hz), formants (500, 1500 and 2500 Hz) and
        bandwidths (150, 250 and 350 Hz).

    Notes
    -----
    Source: F. Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and
    affective computing", IEEE Trans. Affective Computing 7(2), 2016.  The selection is similar, the values differ:
    ``docs/prosody.md`` defines each.

    Examples
    --------
    >>> import numpy as np
    >>> buzz = np.sign(np.sin(2 * np.pi * 110 * np.arange(16000) / 16000)).astype(np.float32)
    >>> features = dict(zip(prosodic_names(), prosodic(Analysis(buzz))))
    >>> round(float(features["f0_semitones_mean"]), 1), float(features["voiced_fraction"])
    (24.0, 1.0)
    """
    return prosodic_of(prosody.descriptors(analysis, options))


def prosodic_of(found: prosody.Descriptors) -> Float32Array:
    """Compute :func:`prosodic` from descriptors that are already computed."""
    speech = _speech(found.voiced)
    values, voiced = found.values[:, speech], found.voiced[speech]
    rows = dict(zip(found.names, values, strict=True))
    rows["f0_semitones"] = 12 * np.log2(np.where(voiced, rows["f0"], 27.5) / np.float32(27.5))
    step = float(found.times[1] - found.times[0]) if len(found.times) > 1 else 0.01
    parts = []
    for part in _PARTS:
        contours = np.stack([rows[name] for name in part.names])
        parts.append(summarise(contours, part.which, _frames(part, contours, voiced), step))
    level = 10 * np.log10(np.mean(10 ** (rows["energy"].astype(np.float64) / 10)))
    rest = [*_rhythm(voiced, rows["loudness"], step), level, found.jitter_local, found.shimmer_local]
    features = np.concatenate((*parts, np.array(rest, dtype=np.float32)))
    if not voiced.any():
        for name, value in _WITHOUT_VOICE.items():
            features[_COLUMN[name]] = value
    return features


_COLUMN = {name: column for column, name in enumerate(prosodic_names())}
