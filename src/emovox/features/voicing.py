"""What the vocal folds do: fundamental frequency and voicing; jitter, shimmer, harmonics-to-noise ratio; formants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError
from emovox.features.spectral import Analysis, frame
from emovox.types import RATE, Float32Array

Array = NDArray[np.float64]
Int = NDArray[np.intp]

_DEPTH = 8  # samples on either side used to interpolate the autocorrelation
_FINE = 64  # steps per sample at which it is interpolated
_BLOCK = 32  # frames transformed together: few enough to stay in the processor's cache


@dataclass(frozen=True)
class PitchOptions:
    """Settings of the pitch tracker; the defaults are those of Praat's autocorrelation method.

    Attributes
    ----------
    floor, ceiling : float, default 75 and 600
        Range of F0 in Hz.  A frame is three periods of the floor long (40 ms).
    hop : float, default 0.01
        Step between frames in seconds.
    silence : float, default 0.03
        Frames whose peak is below about this fraction of the recording's peak are unvoiced.
    voicing : float, default 0.45
        Voicing threshold: smallest normalised autocorrelation of a voiced frame, in [0, 1].
    octave_cost : float, default 0.01
        Bonus of a candidate per octave, so that the highest of equally strong candidates wins.
    jump_cost : float, default 0.35
        Cost of a jump by one octave from a frame to the next one 10 ms later.
    voicing_cost : float, default 0.14
        Cost of a change between voiced and unvoiced.
    candidates : int, default 7
        Voiced candidates per frame.
    """

    floor: float = 75.0
    ceiling: float = 600.0
    hop: float = 0.01
    silence: float = 0.03
    voicing: float = 0.45
    octave_cost: float = 0.01
    jump_cost: float = 0.35
    voicing_cost: float = 0.14
    candidates: int = 7

    def __post_init__(self) -> None:
        if not 20 <= self.floor < self.ceiling <= RATE / 8:
            raise FeatureError(
                f"pitch from {self.floor:g} to {self.ceiling:g} Hz: choose a range within 20 and {RATE // 8} Hz"
            )


class PitchTrack(NamedTuple):
    """F0 over time.

    Attributes
    ----------
    f0 : ndarray of float32, shape (n_frames,)
        Fundamental frequency in Hz, 0 in unvoiced frames.
    strength : ndarray of float32, shape (n_frames,)
        Normalised autocorrelation at the period (of the strongest candidate in unvoiced frames), in [0, 1]:
        1 for a periodic sound, 0 in silence.
    times : ndarray of float64, shape (n_frames,)
        Centres of the frames in seconds: 0, 0.01, 0.02, ...
    """

    f0: Float32Array
    strength: Float32Array
    times: Array

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Which frames are voiced."""
        return self.f0 > 0


@dataclass(frozen=True, eq=False)
class Correlogram:
    """Short-time power spectra and autocorrelations, from which F0, harmonics and formants are estimated.

    Attributes
    ----------
    power : ndarray of float32, shape (n_frames, n_fft // 2 + 1)
        Power spectra of the Hann-windowed frames, relative to the recording's peak; 0 in silent frames.
    correlation : ndarray of float32, shape (n_frames, n_lags)
        Autocorrelation by lag in samples, divided by that of the window: 1 at lag 0; 0 in silent frames.
    level : ndarray of float32, shape (n_frames,)
        Peak around the centre of the frame, relative to the recording's peak.
    rate, hop, n_fft : int
        Sampling rate in Hz, step between frames and length of the transform in samples.
    """

    power: Float32Array
    correlation: Float32Array
    level: Float32Array
    rate: int
    hop: int
    n_fft: int

    @property
    def times(self) -> Array:
        """Centres of the frames in seconds."""
        return np.arange(len(self.level), dtype=np.float64) * (self.hop / self.rate)


@lru_cache(maxsize=8)
def _window(length: int, n_fft: int, n_lags: int) -> tuple[Float32Array, Float32Array]:
    """Return a symmetric Hann window and the inverse of its autocorrelation."""
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(shape, n_fft)) ** 2)[:n_lags]
    return shape.astype(np.float32), (correlation[0] / correlation).astype(np.float32)


def correlogram(analysis: Analysis, options: PitchOptions | None = None) -> Correlogram:
    """Compute the normalised autocorrelation of every frame that is not silent.

    Parameters
    ----------
    analysis : Analysis
        The waveform.
    options : PitchOptions, optional
        Range, step and silence threshold.

    Returns
    -------
    Correlogram
        ``1 + n_samples // hop`` frames; frame ``t`` is centred on sample ``t * hop``.

    Notes
    -----
    Frames too weak for any candidate to exceed the silence threshold are skipped; their values are 0.

    Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
    ratio of a sampled sound", Proc. Inst. Phonetic Sciences, Univ. of Amsterdam 17, 1993, equations 8 and 9.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    >>> bool(abs(correlogram(Analysis(tone)).correlation[50, 80] - 1) < 1e-3)
    True
    """
    options = options or PitchOptions()
    rate, hop = analysis.rate, round(options.hop * analysis.rate)
    period = int(rate / options.floor)
    length = 3 * period // 2 * 2
    n_fft = 1 << (length + length // 2 - 1).bit_length()
    n_lags = period + 2 + _DEPTH + 1
    shape, weight = _window(length, n_fft, n_lags)

    centred = analysis.samples - analysis.samples.mean() if len(analysis.samples) else analysis.samples
    peak = np.abs(centred).max(initial=0.0)
    frames = frame(centred / peak if peak > 0 else centred, length, hop)
    middle = frames[:, (length - period) // 2 : (length + period) // 2]
    level = np.maximum(middle.max(axis=1), -middle.min(axis=1))
    power = np.zeros((len(frames), n_fft // 2 + 1), dtype=np.float32)
    correlation = np.zeros((len(frames), n_lags), dtype=np.float32)
    sounding = np.flatnonzero(_silence_strength(level, options) < 1 + 2 * options.voicing_cost)
    for start in range(0, len(sounding), _BLOCK):
        rows = sounding[start : start + _BLOCK]
        block = frames[rows]
        spectrum = np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * shape, n_fft, axis=1)
        power[rows] = spectrum.real**2 + spectrum.imag**2
        raw = np.fft.irfft(power[rows], axis=1)[:, :n_lags]
        correlation[rows] = raw * weight / np.maximum(raw[:, :1], np.finfo(np.float32).tiny)
    return Correlogram(power, correlation, level, rate, hop, n_fft)


def _silence_strength(level: Float32Array, options: PitchOptions) -> Float32Array:
    """Return the strength of the unvoiced candidate: the voicing threshold, and more in weak frames."""
    excess = np.maximum(0, 2 - level * np.float32((1 + options.voicing) / options.silence))
    return np.asarray(options.voicing + excess, dtype=np.float32)


@lru_cache(maxsize=1)
def _kernels() -> Float32Array:
    """Return sinc functions under a raised cosine, one for each fraction of a sample, (_FINE, 2 * _DEPTH)."""
    distance = np.arange(_FINE)[:, None] / _FINE - np.arange(1 - _DEPTH, _DEPTH + 1)
    shape = np.sinc(distance) * (0.5 + 0.5 * np.cos(np.pi / (_DEPTH + 1) * distance))
    # Equal sums: otherwise the ripple between the fractions would shift the flat peaks of low, pure tones.
    return np.asarray(shape / shape.sum(axis=1, keepdims=True), dtype=np.float32)


def _refined(correlation: Float32Array, rows: Int, position: Array) -> tuple[Array, Array]:
    """Refine peaks between samples: return position and height.

    A parabola is fitted to the interpolated values at the position and half a sample before and after it.
    """
    fine = np.rint(position * _FINE).astype(np.intp)
    taps = np.arange(1 - _DEPTH, _DEPTH + 1)
    left, here, right = (
        np.einsum("ij,ij->i", correlation[rows[:, None], (place // _FINE)[:, None] + taps], _kernels()[place % _FINE])
        for place in (fine - _FINE // 2, fine, fine + _FINE // 2)
    )
    bend = np.maximum(2 * here.astype(np.float64) - left - right, 1e-12)
    shift = np.clip(0.5 * (right - left) / bend, -1, 1)
    return fine / _FINE + shift / 2, here + 0.25 * (right - left) * shift


def _candidates(gram: Correlogram, options: PitchOptions) -> tuple[Array, Array]:
    """Return frequency and strength of the strongest peaks of each autocorrelation.

    Both have shape (n_frames, 1 + candidates); the first column is the unvoiced candidate, missing candidates are 0.
    """
    lowest = max(_DEPTH, int(gram.rate / options.ceiling))
    highest = gram.correlation.shape[1] - _DEPTH - 1
    centre = gram.correlation[:, lowest:highest]
    before = gram.correlation[:, lowest - 1 : highest - 1]
    after = gram.correlation[:, lowest + 1 : highest + 1]
    rows, lags = np.nonzero((centre > 0.5 * options.voicing) & (centre > before) & (centre >= after))
    here, left, right = centre[rows, lags].astype(np.float64), before[rows, lags], after[rows, lags]
    rough = lowest + lags + 0.5 * (right - left) / (2 * here - left - right)
    position, strength = _refined(gram.correlation, rows, rough)
    strength = np.where(strength > 1, 1 / strength, strength)  # as Praat: more than 1 is an error of the same size
    frequency = gram.rate / position

    inside = frequency <= options.ceiling
    rows, frequency, strength = rows[inside], frequency[inside], strength[inside]
    merit = strength + options.octave_cost * np.log2(frequency)
    order = np.lexsort((-merit, rows))
    rows = rows[order]
    rank = 1 + np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank <= options.candidates
    frequencies = np.zeros((len(centre), 1 + options.candidates))
    strengths = np.zeros_like(frequencies)
    frequencies[rows[kept], rank[kept]] = frequency[order][kept]
    strengths[rows[kept], rank[kept]] = strength[order][kept]
    return frequencies, strengths


def _best_path(frequencies: Array, strengths: Array, level: Float32Array, options: PitchOptions) -> Int:
    """Choose one candidate per frame by dynamic programming (Viterbi), from strengths and transition costs."""
    octave = np.log2(frequencies, out=np.zeros_like(frequencies), where=frequencies > 0)
    merit = strengths - options.octave_cost * (np.log2(options.ceiling) - octave)
    merit[frequencies == 0] = -np.inf
    merit[:, 0] = _silence_strength(level, options)
    cost = options.jump_cost * np.abs(octave[:-1, :, None] - octave[1:, None, :])
    cost[:, 0, :] = cost[:, :, 0] = options.voicing_cost
    cost[:, 0, 0] = 0
    gain = merit[1:, None, :] - (0.01 / options.hop) * cost  # costs are stated for frames 10 ms apart

    origin = np.zeros(frequencies.shape, dtype=np.intp)
    score = merit[0]
    for step, origins in zip(gain, origin[1:], strict=True):
        total = step + score[:, None]
        total.argmax(axis=0, out=origins)
        score = total.max(axis=0)
    path = [int(score.argmax())]
    for origins_of in reversed(origin[1:].tolist()):
        path.append(origins_of[path[-1]])
    return np.array(path[::-1], dtype=np.intp)


def follow(gram: Correlogram, options: PitchOptions | None = None) -> PitchTrack:
    """Track F0: find the best path through the candidates of a correlogram.

    Parameters
    ----------
    gram : Correlogram
        Made by :func:`correlogram` with the same options.
    options : PitchOptions, optional
        Thresholds and costs.

    Returns
    -------
    PitchTrack
        F0, strength and time of each frame.

    Examples
    --------
    >>> import numpy as np
    >>> follow(correlogram(Analysis(np.zeros(1600, dtype=np.float32)))).voiced.any()
    np.False_
    """
    options = options or PitchOptions()
    frequencies, strengths = _candidates(gram, options)
    # In a run of frames without candidates there is no choice: its first frame represents all.
    periodic = frequencies[:, 1] > 0
    undecided = periodic | np.concatenate(([True], periodic[:-1]))
    chosen = np.zeros(len(periodic), dtype=np.intp)
    chosen[undecided] = _best_path(frequencies[undecided], strengths[undecided], gram.level[undecided], options)
    rows = np.arange(len(chosen))
    strength = np.where(chosen > 0, strengths[rows, chosen], strengths[:, 1])
    return PitchTrack(frequencies[rows, chosen].astype(np.float32), strength.astype(np.float32), gram.times)


def track(signal: Analysis | Float32Array, options: PitchOptions | None = None) -> PitchTrack:
    """Track the fundamental frequency.

    Parameters
    ----------
    signal : Analysis or ndarray of float32, shape (n_samples,)
        The waveform; bare samples are taken to be at 16 kHz.
    options : PitchOptions, optional
        Range, thresholds and costs.

    Returns
    -------
    PitchTrack
        ``f0`` in Hz (0 where unvoiced), ``strength`` in [0, 1] and ``times`` in seconds, every 10 ms.

    Raises
    ------
    FeatureError
        The range of F0 is empty or outside 20 Hz to 2 kHz.

    Notes
    -----
    Independent of the gain.  Source: Boersma (1993), see :func:`correlogram`;
    ``docs/prosody.md`` gives the agreement with Praat.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 220 * np.arange(8000) / 16000).astype(np.float32)
    >>> f0, strength, times = track(tone)
    >>> float(np.median(f0).round(1)), float(np.median(strength).round(2))
    (220.0, 1.0)
    """
    analysis = signal if isinstance(signal, Analysis) else Analysis(signal)
    return follow(correlogram(analysis, options), options)


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
        F0 in Hz (0 where unvoiced) and equidistant times in seconds, see `emovox.features.voicing.track`.

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
