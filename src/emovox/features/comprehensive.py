"""The comprehensive set: every kind of statistic over timbre, voice and rhythm that helps a classic model.

Five views of one clip, each a block of features:

functionals     of 26 MFCC, loudness, spectral balance and moments: over ``all``, ``active``, ``voiced``, ``unvoiced``
                and ``loud`` frames, and of their ``change`` and ``curvature``
``prosodic``    the prosodic set as it is
``modulation``  how fast each of 20 mel bands rises and falls (the rhythm of syllables, tremor)
``course``      how the first, ..., last fifth of the clip differs from the whole
``covariance``  which timbre movements go together (log-Euclidean covariance)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from emovox.features import functionals, prosody
from emovox.features.analysis import Analysis
from emovox.features.prosody import SHORT, Descriptors
from emovox.features.spectral import decibels, delta, mel_spectrogram, mfcc
from emovox.types import Float32Array

#: Mel bands from which the cepstrum is computed.
MELS = 64
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

#: Frames that a view needs; with fewer it would describe an accident.
FEWEST = 4


@dataclass(frozen=True)
class _View:
    """Which functionals of which contours, over which frames."""

    name: str
    rows: tuple[str, ...]
    which: tuple[str, ...]


CEPSTRA = tuple(f"mfcc_{i}" for i in range(26))
SHAPE = (
    *("energy", "loudness", "alpha_ratio", "hammarberg", "slope_0_500", "slope_500_1500", "flux"),
    *("centroid", "bandwidth", "rolloff", "flatness"),
)
_VIEWS = (
    _View("all", CEPSTRA, ("mean", "sd", "p10", "p50", "p90")),
    _View("voiced", CEPSTRA, ("mean", "sd")),
    _View("unvoiced", CEPSTRA, ("mean",)),
    _View("loud", CEPSTRA, ("mean",)),
    _View("change", CEPSTRA, ("sd",)),
    _View("change_size", CEPSTRA, ("mean",)),
    _View("curvature", CEPSTRA, ("sd",)),
    _View("all", SHAPE, ("mean", "sd", "p5", "p25", "p50", "p75", "p95")),
    _View("active", SHAPE, ("mean", "sd", "p10", "p50", "p90")),
    _View("change", SHAPE, ("sd",)),
    _View("change_size", SHAPE, ("mean",)),
)


def comprehensive(analysis: Analysis) -> Float32Array:
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
    cepstrum = mfcc(level, len(CEPSTRA))
    shape = np.concatenate([np.stack([found[name] for name in SHAPE[:-4]]), moments(analysis)])
    contours = np.concatenate([cepstrum, shape])
    blocks = (
        *_functionals(contours, found),
        functionals.prosodic_of(found),
        modulation(level),
        course(np.concatenate([cepstrum[:JOINT], shape])),
        covariance(np.concatenate([cepstrum[:JOINT], delta(cepstrum[:JOINT]), found["energy"][None]])),
    )
    return np.concatenate(blocks).astype(np.float32)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the features, block first.

    Examples
    --------
    >>> names()[0], names()[-1]
    ('all_mfcc_0_mean', 'covariance_energy_energy')
    """
    parts = [f"{view.name}_{name}" for view in _VIEWS for name in functionals.summary_names(view.rows, view.which)]
    parts += [f"prosodic_{name}" for name in functionals.prosodic_names()]
    bands = [f"{low:g}_{high:g}hz" for low, high in pairwise(MODULATION)]
    parts += [f"modulation_{group}_{band}" for group in range(MODULATED_BANDS) for band in bands]
    parts += [f"course_{part}_{row}" for part in range(FIFTHS) for row in (*CEPSTRA[:JOINT], *SHAPE)]
    joint = [*CEPSTRA[:JOINT], *(f"delta_{i}" for i in range(JOINT)), "energy"]
    parts += [f"covariance_{joint[i]}_{joint[j]}" for i, j in zip(*np.triu_indices(len(joint)), strict=True)]
    return tuple(parts)


def _functionals(contours: Float32Array, found: Descriptors) -> list[Float32Array]:
    """Apply every view's functionals; a view of hardly any frames is taken over all of them."""
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
    places = {name: place for place, name in enumerate((*CEPSTRA, *SHAPE))}
    result = []
    for view in _VIEWS:
        rows = derived.get(view.name, contours)[[places[name] for name in view.rows]]
        mask = masks.get(view.name)
        enough = mask is not None and mask.sum() >= FEWEST
        result.append(functionals.summarise(rows, view.which, mask if enough else None))
    return result


def moments(analysis: Analysis) -> Float32Array:
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


def modulation(level: Float32Array) -> Float32Array:
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
    found = np.stack([power[:, low:high].mean(axis=1) for low, high in pairwise(edges)], axis=1)
    return np.log(found + 1e-3).ravel()


def course(rows: Float32Array) -> Float32Array:
    """Say how each fifth of the clip differs from the whole: shape (5 * n_rows,), zeros where a fifth is empty."""
    whole = rows.mean(axis=1)
    parts = np.array_split(rows, FIFTHS, axis=1)
    return np.concatenate([part.mean(axis=1) - whole if part.shape[1] else np.zeros_like(whole) for part in parts])


def covariance(rows: Float32Array) -> Float32Array:
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
