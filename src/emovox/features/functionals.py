"""Functionals: statistics over the frames of low-level descriptors, one vector per clip.

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
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError
from emovox.features import prosody
from emovox.features.analysis import Analysis
from emovox.features.pitch import PitchOptions
from emovox.types import Float32Array

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
