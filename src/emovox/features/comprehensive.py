"""The comprehensive set: every kind of statistic over timbre, voice and rhythm that helps a classic model.

Six views of one clip, each a block of features:

``cepstrum``    statistics of 26 MFCC over all, voiced, unvoiced and loud frames, and of their change
``shape``       statistics of loudness, spectral balance and spectral moments, and of their change
``prosodic``    the prosodic set as it is
``modulation``  how fast each of 20 mel bands rises and falls (the rhythm of syllables, tremor)
``course``      how the first, ..., last fifth of the clip differs from the whole
``covariance``  which timbre movements go together (log-Euclidean covariance)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emovox.features import functionals, prosody
from emovox.features.analysis import Analysis, Float
from emovox.features.prosody import SHORT, Descriptors
from emovox.features.spectral import decibels, delta, mel_spectrogram, mfcc

MELS, CEPSTRA = 64, 26
#: Frames softer than the loudest by more than this, in dB, are pauses.
PAUSE = 30.0
#: Edges of the modulation bands in Hz: phrases, syllables (4 to 8 Hz), tremor and roughness.
MODULATION = (0.5, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 13.0, 20.0, 35.0)
MODULATED_BANDS = 20
FIFTHS = 5
#: Coefficients of the covariance: their own number, as many deltas, and the energy.
JOINT = 13
#: Added to the covariance's diagonal, in dB squared: one digital step of a flat contour has no logarithm.
RIDGE = 0.1

_SHAPE_ROWS = ("energy", "loudness", "alpha_ratio", "hammarberg", "slope_0_500", "slope_500_1500", "flux")
_MOMENTS = ("centroid", "bandwidth", "rolloff", "flatness")
SHAPE = _SHAPE_ROWS + _MOMENTS

Mask = NDArray[np.bool_]


def comprehensive(analysis: Analysis) -> Float:
    """Compute the whole set.

    Parameters
    ----------
    analysis : Analysis
        A waveform, best with the silence around the speech trimmed.

    Returns
    -------
    ndarray of float32, shape (n_features,)
        In the order of :func:`names`; finite.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    >>> len(comprehensive(Analysis(noise))) == len(names())
    True
    """
    found = prosody.descriptors(analysis)
    level = decibels(mel_spectrogram(analysis, SHORT, MELS, 50.0, 8000.0))
    cepstrum = mfcc(level, CEPSTRA)
    shape = np.concatenate([np.stack([found[name] for name in _SHAPE_ROWS]), moments(analysis)])
    active = found["energy"] > found["energy"].max() - PAUSE
    blocks = (
        _cepstrum_block(cepstrum, found, active),
        _shape_block(shape, active),
        functionals.prosodic_from(found, analysis),
        modulation(level),
        course(np.concatenate([cepstrum[:JOINT], shape])),
        covariance(np.concatenate([cepstrum[:JOINT], delta(cepstrum[:JOINT]), found["energy"][None]])),
    )
    return np.concatenate(blocks).astype(np.float32)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the features, ``block_row_statistic``."""
    cepstra = tuple(f"mfcc{i}" for i in range(CEPSTRA))
    parts: list[str] = []
    for where, statistics in _CEPSTRUM_STATISTICS:
        parts += [f"cepstrum_{where}_{row}_{one}" for one in statistics for row in cepstra]
    for where, statistics in _SHAPE_STATISTICS:
        parts += [f"shape_{where}_{row}_{one}" for one in statistics for row in SHAPE]
    parts += [f"prosodic_{name}" for name in functionals.prosodic_names()]
    bands = len(MODULATION) - 1
    parts += [f"modulation_band{b}_{MODULATION[m]:g}hz" for b in range(MODULATED_BANDS) for m in range(bands)]
    parts += [f"course_{part + 1}_{row}" for part in range(FIFTHS) for row in cepstra[:JOINT] + SHAPE]
    joint = [*cepstra[:JOINT], *(f"delta{i}" for i in range(JOINT)), "energy"]
    parts += [f"covariance_{joint[i]}_{joint[j]}" for i, j in zip(*np.triu_indices(len(joint)), strict=True)]
    return tuple(parts)


_CEPSTRUM_STATISTICS = (
    ("all", ("mean", "sd", "p10", "p50", "p90")),
    ("voiced", ("mean", "sd")),
    ("unvoiced", ("mean",)),
    ("loud", ("mean",)),
    ("delta", ("sd", "size")),
    ("delta2", ("sd",)),
)
_SHAPE_STATISTICS = (
    ("all", ("mean", "sd", "p5", "p25", "p50", "p75", "p95")),
    ("active", ("mean", "sd", "p10", "p50", "p90")),
    ("delta", ("sd", "size")),
)


def _summary(rows: Float, statistics: tuple[str, ...], mask: Mask | None = None) -> Float:
    """Apply statistics to the chosen frames of each row, or to all frames when almost none are chosen."""
    chosen = rows if mask is None or mask.sum() < 4 else rows[:, mask]
    percentiles = [float(name[1:]) for name in statistics if name[0] == "p"]
    ranked = iter(np.percentile(chosen, percentiles, axis=1) if percentiles else ())
    simple = {"mean": lambda: chosen.mean(axis=1), "sd": lambda: chosen.std(axis=1), "size": lambda: np.abs(chosen).mean(axis=1)}
    return np.concatenate([next(ranked) if name[0] == "p" else simple[name]() for name in statistics])


def _cepstrum_block(cepstrum: Float, found: Descriptors, active: Mask) -> Float:
    voiced = found.voiced
    masks = {"voiced": voiced, "unvoiced": active & ~voiced, "loud": found["energy"] >= np.percentile(found["energy"], 75)}
    rows = {"delta": delta(cepstrum), "delta2": delta(cepstrum, order=2)}
    return np.concatenate(
        [_summary(rows.get(where, cepstrum), which, masks.get(where)) for where, which in _CEPSTRUM_STATISTICS]
    )


def _shape_block(shape: Float, active: Mask) -> Float:
    rows, masks = {"delta": delta(shape)}, {"active": active}
    return np.concatenate(
        [_summary(rows.get(where, shape), which, masks.get(where)) for where, which in _SHAPE_STATISTICS]
    )


def moments(analysis: Analysis) -> Float:
    """Describe each frame's spectrum as a distribution of power over frequency.

    Returns
    -------
    ndarray of float32, shape (4, n_frames)
        Natural logarithms of the centroid, the bandwidth and the 85 % roll-off frequency in Hz, and of the flatness
        (geometric over arithmetic mean of the power).  None depends on the gain.
    """
    power = analysis.power(*SHORT) + np.float32(1e-10)
    frequency = np.linspace(0, analysis.rate / 2, len(power), dtype=np.float32)[:, None]
    total = power.sum(axis=0)
    centroid = (frequency * power).sum(axis=0) / total
    bandwidth = np.sqrt((np.square(frequency - centroid) * power).sum(axis=0) / total)
    rolloff = frequency[(np.cumsum(power, axis=0) >= 0.85 * total).argmax(axis=0), 0]
    flatness = np.log(power).mean(axis=0) - np.log(total / len(power))
    return np.stack([np.log(centroid + 1), np.log(bandwidth + 1), np.log(rolloff + 1), flatness])


def modulation(level: Float) -> Float:
    """Measure how fast each part of the spectrum rises and falls.

    Parameters
    ----------
    level : ndarray of float32, shape (64, n_frames)
        Level in mel bands in dB, every 10 ms.

    Returns
    -------
    ndarray of float32, shape (20 * 9,)
        Logarithm of the power of the level's fluctuation in nine bands of modulation frequency, for each of 20 groups
        of mel bands.

    Notes
    -----
    Source: S. Greenberg, B. Kingsbury, "The modulation spectrogram", ICASSP 1997.
    """
    groups = np.array_split(np.arange(len(level)), MODULATED_BANDS)
    bands = np.stack([level[group].mean(axis=0) for group in groups])
    bands -= bands.mean(axis=1, keepdims=True)
    frames = bands.shape[1]
    n_fft = max(512, 1 << (frames - 1).bit_length())
    taper = np.hanning(frames + 2)[1:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(bands * taper, n_fft, axis=1))) / frames
    edges = np.rint(np.array(MODULATION) * n_fft / 100).astype(int)
    found = np.stack([power[:, low:high].mean(axis=1) for low, high in zip(edges[:-1], edges[1:], strict=True)], axis=1)
    return np.log(found + 1e-3).ravel()


def course(rows: Float) -> Float:
    """Say how each fifth of the clip differs from the whole: shape (5 * n_rows,), zeros where a fifth is empty."""
    whole = rows.mean(axis=1)
    parts = np.array_split(rows, FIFTHS, axis=1)
    return np.concatenate([part.mean(axis=1) - whole if part.shape[1] else np.zeros_like(whole) for part in parts])


def covariance(rows: Float) -> Float:
    """Map the covariance of contours to a space where straight lines make sense.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, n_frames)
        Contours in dB.

    Returns
    -------
    ndarray of float64, shape (n * (n + 1) / 2,)
        Upper triangle of the matrix logarithm; off-diagonal values times the square root of 2, so that the Euclidean
        distance of two vectors is the log-Euclidean distance of the covariances.

    Notes
    -----
    Source: V. Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion tensors", Magnetic
    Resonance in Medicine 56(2), 2006.
    """
    matrix = np.cov(rows.astype(np.float64)) if rows.shape[1] > 1 else np.zeros((len(rows), len(rows)))
    values, vectors = np.linalg.eigh(matrix + RIDGE * np.eye(len(rows)))
    logarithm = (vectors * np.log(np.maximum(values, RIDGE))) @ vectors.T
    upper = np.triu_indices(len(rows))
    return np.asarray(logarithm[upper] * np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0)))
