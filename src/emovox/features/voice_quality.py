"""Voice quality: glottal pulses, jitter, shimmer, harmonics-to-noise ratio (HNR) and levels of harmonics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox.types import Float32Array

Array = NDArray[np.float64]
Int = NDArray[np.intp]

#: Praat's limits: shortest and longest period (s), largest ratio of neighbouring periods and of amplitudes.
SHORTEST, LONGEST, PERIOD_FACTOR, AMPLITUDE_FACTOR = 1e-4, 0.02, 1.3, 1.6

_REACH = (0.8, 1.25)  # the next pulse is searched for at 0.8 to 1.25 periods from this one
_GROUPS = (50, 100)  # periods in samples; pulses of similar period are matched together
_ROUNDS = 2  # matching rounds; a third changes no correlation with Praat by more than 0.01


class _Chains(NamedTuple):
    """Initial pulses: from the middle of each voiced segment, one chain forwards and one backwards."""

    times: Array  # (n_pulses,) first estimate of the time of each pulse, s
    stretch: Int  # (n_pulses,) which voiced segment
    direction: Int  # (n_pulses,) 1 or -1
    first: Int  # (n_pulses,) index of the first pulse of its chain


class Perturbation(NamedTuple):
    """Differences between neighbouring periods (jitter) or amplitudes (shimmer).

    Attributes
    ----------
    times : ndarray of float64, shape (n_pairs,)
        Time between the two members of each pair of neighbours, in seconds.
    change : ndarray of float64, shape (n_pairs,)
        Absolute difference of the two.
    size : ndarray of float64, shape (n_pairs,)
        Mean of the two.
    mean : float
        Mean period or amplitude over the whole recording, 0 if there is none.
    """

    times: Array
    change: Array
    size: Array
    mean: float

    @property
    def local(self) -> float:
        """Mean difference divided by the mean over the whole recording, Praat's "local"; 0 without pairs."""
        return float(self.change.mean() / self.mean) if len(self.change) and self.mean > 0 else 0.0

    def around(self, times: Array, width: float = 0.04) -> Float32Array:
        """Compute the mean difference divided by the mean, over the pairs within `width` seconds around each time.

        Returns
        -------
        ndarray of float32, shape (n_times,)
            Ratios; 0 where there is no pair.
        """
        first = np.searchsorted(self.times, times - width / 2)
        stop = np.searchsorted(self.times, times + width / 2)
        sums = np.zeros((2, len(self.times) + 1))
        np.cumsum([self.change, self.size], axis=1, out=sums[:, 1:])
        change, size = sums[:, stop] - sums[:, first]
        ratio = np.divide(change, size, out=np.zeros_like(size), where=stop > first)
        return np.asarray(ratio, dtype=np.float32)


def _stretches(voiced: NDArray[np.bool_]) -> tuple[Int, Int]:
    """Return first and last + 1 frame of each voiced segment."""
    edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    return edges[::2], edges[1::2]


def _chains(
    samples: Float32Array, rate: int, f0: Array, times: Array, low: Array, high: Array, bounds: tuple[Int, Int]
) -> tuple[Array, _Chains]:
    """Place pulses by the phase of F0, from the largest peak near the middle of each voiced segment."""
    anchors, places, parts = [], [], []
    count = 0
    for number, (begin, end, left, right) in enumerate(zip(*bounds, low, high, strict=True)):
        middle = (left + right) / 2
        half = 0.5 / float(np.interp(middle, times[begin:end], f0[begin:end]))
        start = max(0, int((middle - half) * rate))
        anchor = (start + int(np.abs(samples[start : int((middle + half) * rate)]).argmax())) / rate
        knots = np.concatenate(([left], times[begin:end], [right]))
        speed = np.concatenate((f0[begin : begin + 1], f0[begin:end], f0[end - 1 : end]))
        phase = np.concatenate(([0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(knots))))
        origin = float(np.interp(anchor, knots, phase))
        for direction, periods in ((1, phase[-1] - origin), (-1, origin)):
            wanted = origin + direction * np.arange(int(periods) + 1)
            places.append(np.interp(wanted, phase, knots))
            parts.append((number, direction, count, len(wanted)))
            count += len(wanted)
        anchors.append(anchor)
    stretch, direction_of, first, length = np.array(parts).T
    return np.array(anchors), _Chains(
        np.concatenate(places), *(np.repeat(part, length) for part in (stretch, direction_of, first))
    )


def _match(signal: Float32Array, energy: Array, centre: Int, direction: Int, period: Array) -> tuple[Array, Array]:
    """Find the lag at which one period of the signal around `centre` is most similar to the next one.

    Returns lag in samples and correlation there; the period itself and -1 where the correlation has no maximum.
    """
    half = np.rint(period / 2).astype(np.intp)
    start = (period * _REACH[0]).astype(np.intp) - 1
    stop = np.ceil(period * _REACH[1]).astype(np.intp) + 1
    width, n_lags = int(half.max()), int((stop - start).max()) + 1
    span = np.arange(-width, width + 1)
    here = signal[centre[:, None] + direction[:, None] * span] * (np.abs(span) <= half[:, None])
    reach = start[:, None] + np.arange(-width, width + n_lags)
    there = signal[centre[:, None] + direction[:, None] * reach]
    windows = np.lib.stride_tricks.sliding_window_view(there, 2 * width + 1, axis=1)
    product = np.einsum("nlw,nw->nl", windows, here)
    lags = start[:, None] + np.arange(n_lags)
    middle = centre[:, None] + direction[:, None] * lags
    own = energy[centre + half + 1] - energy[centre - half]
    other = energy[middle + half[:, None] + 1] - energy[middle - half[:, None]]
    similarity = product / np.sqrt(np.maximum(own[:, None] * other, np.finfo(np.float32).tiny))

    left, inner, right = similarity[:, :-2], similarity[:, 1:-1], similarity[:, 2:]
    is_peak = (inner >= left) & (inner >= right) & (lags[:, 1:-1] < stop[:, None])
    best = np.where(is_peak, inner, -1).argmax(axis=1)
    rows = np.arange(len(best))
    a, b, c = left[rows, best], inner[rows, best], right[rows, best]
    bend = 2 * b - a - c
    shift = np.divide(c - a, 2 * bend, out=np.zeros_like(bend), where=bend > 0)
    height = np.where(is_peak[rows, best], b + 0.25 * (c - a) * shift, -1)
    return np.where(height > -1, lags[rows, best + 1] + shift, period), height


def pulses(samples: Float32Array, rate: int, f0: Float32Array, times: Array) -> Array:
    """Estimate one glottal pulse per period of the voiced segments.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    rate : int
        Sampling rate in Hz.
    f0, times : ndarray, shape (n_frames,)
        F0 in Hz (0 where unvoiced) and equidistant times in seconds, see `emovox.features.pitch.track`.

    Returns
    -------
    ndarray of float64, shape (n_pulses,)
        Times in seconds, ascending.

    Notes
    -----
    Praat's "To PointProcess (periodic, cc)": from the largest peak near the middle of a voiced segment, the
    next pulse is where one period of the signal correlates best with the one before it.  Praat proceeds
    pulse by pulse; here all pulses are first placed by the phase of F0 and matched with their neighbours at once, and
    the matching is repeated from the improved positions, which gives nearly the same periods.

    Source: the manual page "Sound & Pitch: To PointProcess (cc)" of Praat, P. Boersma, D. Weenink.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.cos(2 * np.pi * 100 * np.arange(8000) / 16000).astype(np.float32)
    >>> frames = np.arange(51) / 100
    >>> found = pulses(tone, 16000, np.full(51, 100.0, dtype=np.float32), frames)
    >>> bool(np.allclose(np.diff(found)[1:-1], 0.01, atol=1e-5))
    True
    """
    voiced = f0 > 0
    if not voiced.any():
        return np.empty(0)
    bounds = _stretches(voiced)
    step = float(times[1] - times[0]) if len(times) > 1 else 0.01
    end = len(samples) / rate
    low = np.maximum((bounds[0] - 0.5) * step, 0)
    high = np.minimum((bounds[1] - 0.5) * step, end)
    pitch = f0.astype(np.float64)
    anchors, chains = _chains(samples, rate, pitch, times, low, high, bounds)

    margin = 4 * int(rate / pitch[voiced].min())
    padded = np.pad(samples / np.abs(samples).max(), margin)  # correlations do not depend on the level
    energy = np.concatenate(([0.0], np.cumsum(np.square(padded, dtype=np.float64))))
    places = chains.times
    lag, similarity = np.empty_like(places), np.empty_like(places)
    for _ in range(_ROUNDS):
        period = rate / np.interp(places, times[voiced], pitch[voiced])
        centre = np.rint(places * rate).astype(np.intp) + margin
        for rows in _similar(period):
            lag[rows], similarity[rows] = _match(padded, energy, centre[rows], chains.direction[rows], period[rows])
        steps = np.concatenate(([0.0], np.cumsum(lag / rate)))
        reached = anchors[chains.stretch] + chains.direction * (steps[1:] - steps[chains.first])
        places = np.clip(reached - chains.direction * lag / rate, 0, end)
    inside = (reached >= low[chains.stretch]) & (reached <= high[chains.stretch])
    kept = similarity > np.where(inside, 0.3, 0.7)  # Praat's thresholds, within and at the end of a segment
    return np.sort(np.concatenate((anchors, reached[kept])))


def _similar(period: Array) -> list[Int]:
    """Group pulses by their period, to avoid padding short periods to the longest."""
    group = np.digitize(period, _GROUPS)
    return [rows for number in range(len(_GROUPS) + 1) if len(rows := np.flatnonzero(group == number))]


def _periodic(points: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the intervals between pulses, and whether each two neighbouring ones are two regular periods."""
    periods = np.diff(points)
    regular = (periods >= SHORTEST) & (periods <= LONGEST)
    before, after = periods[:-1], periods[1:]
    similar = np.maximum(before, after) <= PERIOD_FACTOR * np.minimum(before, after)
    return periods, regular[:-1] & regular[1:] & similar


def jitter(points: Array) -> Perturbation:
    """Compute jitter: the differences of neighbouring periods.

    Parameters
    ----------
    points : ndarray of float64, shape (n_pulses,)
        Times of the glottal pulses in seconds.

    Returns
    -------
    Perturbation
        In seconds; ``.local`` is Praat's "jitter (local)" with periods from 0.1 to 20 ms whose neighbours
        differ by a factor of at most 1.3.

    Examples
    --------
    >>> import numpy as np
    >>> round(jitter(np.cumsum([0, 10e-3, 10.2e-3, 10e-3, 10.2e-3])).local, 4)
    0.0198
    """
    periods, pairs = _periodic(points)
    regular = np.zeros(len(periods), dtype=bool)
    regular[:-1] |= pairs
    regular[1:] |= pairs
    before, after = periods[:-1][pairs], periods[1:][pairs]
    mean = float(periods[regular].mean()) if regular.any() else 0.0
    return Perturbation(points[1:-1][pairs], np.abs(after - before), (before + after) / 2, mean)


def _amplitudes(samples: Float32Array, rate: int, points: Array, before: Array, after: Array) -> Array:
    """Return the RMS around each pulse, under a Hann window from 0.2 periods before to 0.2 after it."""
    centre = points * rate
    reach = int(0.2 * rate * max(before.max(), after.max())) + 2
    index = np.rint(centre).astype(np.intp)[:, None] + np.arange(-reach, reach + 1)
    offset = index - centre[:, None]
    relative = np.abs(offset / np.where(offset < 0, (0.2 * rate * before)[:, None], (0.2 * rate * after)[:, None]))
    weight = np.where(relative < 1, 0.5 + 0.5 * np.cos(np.pi * relative), 0)
    windowed = weight * np.pad(samples, reach + 1)[np.clip(index + reach + 1, 0, len(samples) + 2 * reach + 1)]
    return np.asarray(np.sqrt(np.square(windowed).sum(axis=1) / np.square(weight).sum(axis=1)))


def shimmer(samples: Float32Array, rate: int, points: Array) -> Perturbation:
    """Compute shimmer: the differences of the amplitudes of neighbouring periods.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    rate : int
        Sampling rate in Hz.
    points : ndarray of float64, shape (n_pulses,)
        Times of the glottal pulses in seconds.

    Returns
    -------
    Perturbation
        In units of the samples; ``.local`` is Praat's "shimmer (local)", with the limits of :func:`jitter`
        and amplitudes that differ by a factor of at most 1.6.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.cos(2 * np.pi * 100 * np.arange(8000) / 16000).astype(np.float32)
    >>> shimmer(tone, 16000, np.arange(50) / 100).local < 1e-6
    True
    """
    periods, pairs = _periodic(points)
    times = points[1:-1][pairs]
    if len(times) == 0:
        return Perturbation(times, times, times, 0.0)
    amplitude = _amplitudes(samples, rate, times, periods[:-1][pairs], periods[1:][pairs])
    before, after, distance = amplitude[:-1], amplitude[1:], np.diff(times)
    kept = (distance >= SHORTEST) & (distance <= LONGEST) & (np.minimum(before, after) > 0)
    kept &= np.maximum(before, after) <= AMPLITUDE_FACTOR * np.minimum(before, after)
    before, after = before[kept], after[kept]
    middle = (times[:-1] + times[1:])[kept] / 2
    return Perturbation(middle, np.abs(after - before), (before + after) / 2, float(amplitude.mean()))


def hnr(strength: Float32Array) -> Float32Array:
    """Compute the harmonics-to-noise ratio (HNR) from the normalised autocorrelation.

    Parameters
    ----------
    strength : ndarray of float32
        Normalised autocorrelation at the period, in [0, 1].

    Returns
    -------
    ndarray of float32
        ``10 log10(r / (1 - r))`` in dB, for r limited to the range from 0.001 to 0.9999: -30 to 40 dB.

    Notes
    -----
    Source: Boersma (1993), equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> hnr(np.array([0.5, 0.99], dtype=np.float32)).round(1).tolist()
    [0.0, 20.0]
    """
    r = np.clip(strength.astype(np.float64), 1e-3, 0.9999)
    return (10 * np.log10(r / (1 - r))).astype(np.float32)


def harmonic_level(power: Float32Array, spacing: float, f0: Float32Array, number: Int) -> Float32Array:
    """Measure the level of harmonics.

    Parameters
    ----------
    power : ndarray of float32, shape (n_frames, n_bins)
        Power spectra.
    spacing : float
        Spacing of the bins in Hz.
    f0 : ndarray of float32, shape (n_frames,)
        Fundamental frequency in Hz.
    number : ndarray of int, shape (n_frames,) or (n_frames, n)
        Number of the harmonic, 1 for the fundamental.

    Returns
    -------
    ndarray of float32, shape of `number`
        In dB: the maximum of the three bins around the harmonic's frequency, at most the last but one bin.

    Examples
    --------
    >>> import numpy as np
    >>> power = np.ones((1, 257), dtype=np.float32)
    >>> power[0, 20] = 100
    >>> f0 = np.array([312.5], dtype=np.float32)
    >>> harmonic_level(power, 31.25, f0, np.array([[1, 2]])).round(1).tolist()
    [[0.0, 20.0]]
    """
    frequency = f0.reshape(-1, *[1] * (number.ndim - 1)) * number
    centre = np.clip(np.rint(frequency / spacing).astype(np.intp), 1, power.shape[1] - 2)
    rows = np.arange(len(power)).reshape(-1, *[1] * (number.ndim - 1))
    level = np.maximum(np.maximum(power[rows, centre - 1], power[rows, centre]), power[rows, centre + 1])
    return np.asarray(10 * np.log10(np.maximum(level, np.float32(1e-12))), dtype=np.float32)
