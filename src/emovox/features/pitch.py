"""Source and filter of a voice: pitch and voicing (the autocorrelation method of Boersma, 1993), and formants (LPC)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError
from emovox.features.analysis import Analysis, frame
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
