"""Frames and their spectra, each computed once; the descriptors of the spectrum.

Descriptors are float32 of shape (n_features, n_frames).  The definitions are those of librosa 0.11 with its
defaults, so that features of published recipes can be reproduced; ``docs/features.md`` states the agreement.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox.audio.preprocess import WINDOWS, frame, window
from emovox.errors import FeatureError
from emovox.types import RATE, Float32Array

__all__ = ["WINDOWS", "Analysis", "Float32Array", "Stft", "frame", "window"]


_BLOCK = 1 << 14  # samples transformed at a time


class Stft(NamedTuple):
    """Parameters of a short-time Fourier transform (STFT), in the order of :meth:`Analysis.magnitude`.

    Attributes
    ----------
    length, hop : int, default 2048 and 512
        Frame length and step in samples: 128 ms and 32 ms at 16 kHz.
    shape : str, default "hann"
        Window function, see :func:`emovox.audio.preprocess.window`.
    n_fft : int, optional
        Transform length, at least `length`; the default is `length` itself.

    Examples
    --------
    >>> Stft(400, 160, n_fft=512).bins
    257
    """

    length: int = 2048
    hop: int = 512
    shape: str = "hann"
    n_fft: int | None = None

    @property
    def size(self) -> int:
        """Transform length in samples."""
        return self.n_fft or self.length

    @property
    def bins(self) -> int:
        """Number of frequency bins, from 0 Hz to half the sampling rate."""
        return self.size // 2 + 1


class Analysis:
    """A mono waveform with its short-time spectra, each computed at most once and shared by all descriptors.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal, nominally in [-1, 1].
    rate : int, default 16000
        Sampling rate in Hz.

    Examples
    --------
    >>> import numpy as np
    >>> analysis = Analysis(np.zeros(16000, dtype=np.float32))
    >>> analysis.magnitude(2048, 512).shape
    (1025, 32)
    """

    def __init__(self, samples: Float32Array, rate: int = RATE) -> None:
        self.samples = np.ascontiguousarray(samples, dtype=np.float32)
        self.rate = rate
        self._magnitudes: dict[Stft, Float32Array] = {}
        self._powers: dict[Stft, Float32Array] = {}

    def magnitude(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float32Array:
        """Compute the magnitude of the short-time Fourier transform.

        Parameters
        ----------
        length, hop : int
            Frame length and step in samples.
        shape : str, default "hann"
            Window function, see :func:`window`.
        n_fft : int, optional
            Transform length, at least `length`; the default is `length` itself.

        Returns
        -------
        ndarray of float32, shape (n_fft // 2 + 1, n_frames)
            Frame ``t`` is centred on sample ``t * hop`` (zero padding at the ends).  Read-only.
        """
        key = Stft(length, hop, shape, n_fft or length)
        if key not in self._magnitudes:
            frames, taper = frame(self.samples, length, hop), window(shape, length)
            magnitude = np.empty((len(frames), key.bins), dtype=np.float32)
            # Small buffers, used again and again, keep the intermediate results in the processor's cache.
            step = max(1, _BLOCK // key.size)
            padded = np.zeros((step, key.size))
            spectrum = np.empty((step, key.bins), dtype=np.complex64)
            for i in range(0, len(frames), step):
                rows = frames[i : i + step]
                np.multiply(rows, taper, out=padded[: len(rows), :length])
                # numpy's type stubs do not know that the result may be stored in single precision.
                np.fft.rfft(padded[: len(rows)], axis=1, out=spectrum[: len(rows)])  # type: ignore[arg-type]
                np.abs(spectrum[: len(rows)], out=magnitude[i : i + step])
            magnitude.setflags(write=False)
            # Frames stay contiguous in memory; the view has frequency first, as filter banks need it.
            self._magnitudes[key] = magnitude.T
        return self._magnitudes[key]

    def power(self, length: int, hop: int, shape: str = "hann", n_fft: int | None = None) -> Float32Array:
        """Compute the power spectrum: the square of :meth:`magnitude`, shape (n_fft // 2 + 1, n_frames)."""
        key = Stft(length, hop, shape, n_fft or length)
        if key not in self._powers:
            power = np.square(self.magnitude(*key))
            power.setflags(write=False)
            self._powers[key] = power
        return self._powers[key]


#: STFT of published recipes: 128 ms Hann windows every 32 ms at 16 kHz.
CLASSIC = Stft()

#: Names of the pitch classes, in the order of :func:`chroma`.
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_A0 = 27.5  # Hz; octaves of pitch are counted from here
_TINY = np.finfo(np.float32).tiny


def _frozen(values: NDArray[np.float64]) -> Float32Array:
    """Store a filter bank as read-only float32, because it is cached."""
    result = np.ascontiguousarray(values, dtype=np.float32)
    result.setflags(write=False)
    return result


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def _hz_to_mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


@lru_cache(maxsize=32)
def mel_bank(rate: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None) -> Float32Array:
    """Compute a mel filter bank: triangular filters, equally wide on Slaney's mel scale and of equal area.

    Parameters
    ----------
    rate, n_fft : int
        Sampling rate in Hz and transform length in samples.
    n_mels : int, default 128
        Number of bands.
    fmin, fmax : float
        Range in Hz; the default is 0 to half the sampling rate.

    Returns
    -------
    ndarray of float32, shape (n_mels, n_fft // 2 + 1)
        Weights of the power spectrum; read-only.

    Raises
    ------
    FeatureError
        A band is too narrow to contain a frequency bin, or the range is empty.

    Notes
    -----
    Source: M. Slaney, Auditory Toolbox, Interval Research technical report 1998-010; the same numbers as
    ``librosa.filters.mel``.

    Examples
    --------
    >>> mel_bank(16000, 2048).shape
    (128, 1025)
    """
    top = rate / 2 if fmax is None else fmax
    if not 0 <= fmin < top <= rate / 2:
        raise FeatureError(f"mel bands from {fmin:g} to {top:g} Hz: choose a range within 0 and {rate / 2:g} Hz")
    edges = _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(top), n_mels + 2))
    ramps = np.subtract.outer(edges, np.arange(n_fft // 2 + 1) * rate / n_fft)
    widths = np.diff(edges)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    if (empty := int(np.sum(~weights.any(axis=1)))) > 0:
        raise FeatureError(
            f"n_mels={n_mels} leaves {empty} bands without any of the {n_fft // 2 + 1} frequencies: "
            "use fewer bands or a longer frame"
        )
    return _frozen(weights * (2 / (edges[2:] - edges[:-2]))[:, None])


def mel_spectrogram(
    analysis: Analysis, stft: Stft = CLASSIC, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> Float32Array:
    """Compute a mel spectrogram (power).

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.
    stft : Stft
        Short-time transform; 128 ms Hann windows every 32 ms by default.
    n_mels, fmin, fmax
        See :func:`mel_bank`.

    Returns
    -------
    ndarray of float32, shape (n_mels, n_frames)
        Power in each band, non-negative, of samples in [-1, 1].

    Notes
    -----
    Source: ``librosa.feature.melspectrogram``.

    Examples
    --------
    >>> import numpy as np
    >>> mel_spectrogram(Analysis(np.ones(16000, dtype=np.float32))).shape
    (128, 32)
    """
    bank = mel_bank(analysis.rate, stft.size, n_mels, fmin, fmax)
    return bank @ analysis.power(*stft)


def decibels(power: Float32Array, top_db: float | None = 80.0) -> Float32Array:
    """Express power in decibels, ``10 log10(max(power, 1e-10))``.

    Parameters
    ----------
    power : ndarray of float32
        Non-negative values of any shape.
    top_db : float or None, default 80
        Values more than this below the maximum are raised to that limit, so that digital silence does not dominate
        the scale.  None keeps them.

    Returns
    -------
    ndarray of float32
        Same shape; at least -100 dB.

    Notes
    -----
    Source: ``librosa.power_to_db``.

    Examples
    --------
    >>> import numpy as np
    >>> decibels(np.array([1.0, 0.5, 0.0], dtype=np.float32)).round(2)
    array([  0.  ,  -3.01, -80.  ], dtype=float32)
    """
    level = np.log10(np.maximum(power, np.float32(1e-10)))
    level *= np.float32(10)
    return level if top_db is None else np.maximum(level, level.max() - np.float32(top_db))


@lru_cache(maxsize=32)
def _dct(n_out: int, n_in: int) -> Float32Array:
    """Return the first rows of the orthonormal type-2 discrete cosine transform (DCT-II)."""
    basis = np.cos(np.pi / n_in * np.outer(np.arange(n_out), np.arange(n_in) + 0.5)) * np.sqrt(2 / n_in)
    basis[0] /= np.sqrt(2)
    return _frozen(basis)


def mfcc(mel_level: Float32Array, n_mfcc: int = 40) -> Float32Array:
    """Compute mel-frequency cepstral coefficients (MFCC).

    Parameters
    ----------
    mel_level : ndarray of float32, shape (n_mels, n_frames)
        Mel spectrogram in decibels: ``decibels(mel_spectrogram(analysis))``.
    n_mfcc : int, default 40
        Number of coefficients, at most ``n_mels``.  The first is proportional to the mean level.

    Returns
    -------
    ndarray of float32, shape (n_mfcc, n_frames)
        Orthonormal DCT-II of each frame's level, without liftering.

    Raises
    ------
    FeatureError
        `n_mfcc` exceeds the number of mel bands.

    Notes
    -----
    Source: S. Davis, P. Mermelstein, IEEE Trans. ASSP 28(4), 1980; ``librosa.feature.mfcc``.

    Examples
    --------
    >>> import numpy as np
    >>> mfcc(np.full((128, 3), -20, dtype=np.float32), 1).round(1)
    array([[-226.3, -226.3, -226.3]], dtype=float32)
    """
    if n_mfcc > len(mel_level):
        raise FeatureError(f"n_mfcc={n_mfcc} exceeds the {len(mel_level)} mel bands: use more bands")
    return _dct(n_mfcc, len(mel_level)) @ mel_level


@lru_cache(maxsize=8)
def _derivative_kernel(width: int, order: int) -> Float32Array:
    """Return the Savitzky-Golay weights of the `order`-th derivative of a polynomial fitted to `width` points."""
    powers = np.vander(np.arange(width) - width // 2, order + 1, increasing=True).astype(np.float64)
    return _frozen(np.linalg.pinv(powers)[order] * float(order))  # order! is order for 1 and 2


def delta(features: Float32Array, order: int = 1, width: int = 9) -> Float32Array:
    """Compute deltas: derivatives over time by a Savitzky-Golay filter.

    Parameters
    ----------
    features : ndarray of float32, shape (n_features, n_frames)
        Contours.
    order : {1, 2}, default 1
        First or second derivative: the slope of a line, or the curvature of a parabola.
    width : int, default 9
        Number of frames in the fit, odd.  A shorter contour uses the largest odd number of frames that it has; with
        fewer than 3 frames the result is 0.

    Returns
    -------
    ndarray of float32, shape (n_features, n_frames)
        Change per frame (per frame squared for order 2); near the ends, the value of the first or last full fit.

    Notes
    -----
    Source: A. Savitzky, M. Golay, Analytical Chemistry 36(8), 1964; ``librosa.feature.delta``, which refuses
    contours shorter than `width`.

    Examples
    --------
    >>> import numpy as np
    >>> delta(np.arange(0, 24, 2, dtype=np.float32)[None, :]).round(4).tolist()
    [[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    n_frames = features.shape[1]
    width = min(width, n_frames - (n_frames + 1) % 2)
    if width < 3:
        return np.zeros_like(features)
    inner = np.lib.stride_tricks.sliding_window_view(features, width, axis=1) @ _derivative_kernel(width, order)
    # A polynomial of degree `order` has a constant derivative of that order, also in the edge frames.
    return np.pad(inner, ((0, 0), (width // 2, width // 2)), mode="edge")


def _peaks(magnitude: Float32Array, rate: int) -> tuple[Float32Array, Float32Array]:
    """Return frequency and magnitude of the spectral peaks from 150 to 4000 Hz, by parabolic interpolation."""
    spectra = np.ascontiguousarray(magnitude.T)
    spacing = rate / (2 * (spectra.shape[1] - 1))
    low = max(1, int(np.ceil(150 / spacing)))
    high = min(int(np.ceil(4000 / spacing)), spectra.shape[1] - 1)
    if high <= low:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    centre, left, right = spectra[:, low:high], spectra[:, low - 1 : high - 1], spectra[:, low + 1 : high + 1]
    threshold = np.float32(0.1) * spectra.max(axis=1, keepdims=True)
    found = np.flatnonzero((centre > left) & (centre >= right) & (centre > threshold))
    frames, bins = np.divmod(found, high - low)
    bins += low
    places, flat = frames * spectra.shape[1] + bins, spectra.ravel()
    height, before, after = flat[places], flat[places - 1], flat[places + 1]
    slope = (after - before) / 2
    bend = (after + before) - 2.0 * height.astype(np.float64)
    shift = np.divide(-slope, bend, out=np.zeros_like(bend), where=np.abs(slope) < np.abs(bend))
    return ((bins + shift) * spacing).astype(np.float32), (height + 0.5 * slope * shift).astype(np.float32)


def tuning(analysis: Analysis, stft: Stft = CLASSIC) -> float:
    """Estimate the tuning: the deviation from equal temperament at A4 = 440 Hz.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.
    stft : Stft
        Short-time transform.

    Returns
    -------
    float
        Mode of the deviations of the stronger half of the spectral peaks, in semitones: a multiple of 0.01 in
        [-0.5, 0.5); 0 without any peak.

    Notes
    -----
    Source: ``librosa.estimate_tuning`` (peaks of the magnitude between 150 and 4000 Hz above a tenth of the
    frame's maximum, parabolic interpolation).

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 * 2 ** (0.25 / 12) * np.arange(16000) / 16000)
    >>> abs(tuning(Analysis(tone.astype(np.float32))) - 0.25) < 0.03
    True
    """
    frequency, height = _peaks(analysis.magnitude(*stft), analysis.rate)
    if len(frequency) == 0:
        return 0.0
    strong = frequency[height >= np.median(height)]
    deviation = np.mod(12 * np.log2(strong / np.float32(_A0)), 1.0)
    deviation[deviation >= 0.5] -= 1.0
    counts, edges = np.histogram(deviation, np.linspace(-0.5, 0.5, 101))
    return float(edges[np.argmax(counts)])


@lru_cache(maxsize=128)
def chroma_bank(rate: int, n_fft: int, deviation: float = 0.0) -> Float32Array:
    """Compute a chroma filter bank, which maps the spectrum to the twelve pitch classes.

    Parameters
    ----------
    rate, n_fft : int
        Sampling rate in Hz and transform length in samples.
    deviation : float, default 0
        Tuning in semitones, see :func:`tuning`.

    Returns
    -------
    ndarray of float32, shape (12, n_fft // 2 + 1)
        Weights of the magnitude spectrum, C first: Gaussians a semitone apart, each frequency's weights scaled to
        unit Euclidean length and then emphasised around 880 Hz (five octaves above A0; standard deviation
        two octaves).  Read-only.

    Notes
    -----
    Source: D. Ellis, "Chroma feature analysis and synthesis", Columbia University, 2007; the same numbers as
    ``librosa.filters.chroma``.

    Examples
    --------
    >>> bank = chroma_bank(16000, 2048)
    >>> PITCH_CLASSES[bank[:, round(440 / (16000 / 2048))].argmax()]
    'A'
    """
    frequency = np.arange(1, n_fft // 2 + 2) * rate / n_fft
    semitones = 12 * np.log2(frequency / (_A0 * 2 ** (deviation / 12)))
    # 0 Hz has no pitch: placed 1.5 octaves below the first bin, it spreads over all classes.
    semitones = np.concatenate(([semitones[0] - 18], semitones))
    spread = np.maximum(np.diff(semitones), 1.0)
    semitones = semitones[:-1]
    distance = np.remainder(np.subtract.outer(semitones, np.arange(12)).T + 6, 12) - 6
    weights = np.exp(-0.5 * (2 * distance / spread) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((semitones / 12 - 5) / 2) ** 2)
    return _frozen(np.roll(weights, -3, axis=0))


def _normalised(features: Float32Array, length: Float32Array) -> Float32Array:
    """Divide frames by their norms; silent frames are not changed."""
    return np.divide(features, length, out=features.copy(), where=length >= _TINY)


def chroma(analysis: Analysis, stft: Stft = CLASSIC) -> Float32Array:
    """Compute a chromagram: the strength of the twelve pitch classes, after estimating the tuning.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.
    stft : Stft
        Short-time transform.

    Returns
    -------
    ndarray of float32, shape (12, n_frames)
        In [0, 1], C first; the maximum of each frame is 1 (0 in silent frames).

    Notes
    -----
    Source: ``librosa.feature.chroma_stft(S=magnitude)``, as published recipes call it; librosa's default is the
    power spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    >>> PITCH_CLASSES[chroma(Analysis(tone)).mean(axis=1).argmax()]
    'A'
    """
    bank = chroma_bank(analysis.rate, stft.size, tuning(analysis, stft))
    raw = bank @ analysis.magnitude(*stft)
    return _normalised(raw, raw.max(axis=0))


@lru_cache(maxsize=32)
def _octaves(rate: int, n_fft: int, fmin: float, n_bands: int) -> tuple[tuple[int, int, int], ...]:
    """Return first bin, last bin + 1 and size of the 2 % quantile of each octave band, the lowest from 0 Hz."""
    edges = [0.0, *(fmin * 2.0**k for k in range(n_bands + 1))]
    if edges[-2] >= rate / 2:
        raise FeatureError(
            f"spectral contrast of {n_bands} octaves from {fmin:g} Hz exceeds {rate / 2:g} Hz: lower either"
        )
    frequency = np.arange(n_fft // 2 + 1) * rate / n_fft
    bands = []
    for k, (low, high) in enumerate(pairwise(edges)):
        first = int(np.searchsorted(frequency, low, "left"))
        stop = int(np.searchsorted(frequency, high, "right"))
        first = max(first - 1, 0) if k else first  # librosa's bands reach one bin below their edge ...
        stop = len(frequency) if k == n_bands else stop
        tail = max(1, int(np.rint(0.02 * (stop - first))))
        stop = stop if k == n_bands else stop - 1  # ... and end one bin below their upper edge, except the last
        if stop <= first:
            raise FeatureError(f"the band from {low:g} to {high:g} Hz has no frequency: use a longer frame")
        bands.append((first, stop, tail))
    return tuple(bands)


def contrast(analysis: Analysis, stft: Stft = CLASSIC, fmin: float = 200.0, n_bands: int = 6) -> Float32Array:
    """Compute the spectral contrast: the level difference between peaks and valleys in octave bands.

    Parameters
    ----------
    analysis : Analysis
        The waveform and its shared spectra.
    stft : Stft
        Short-time transform.
    fmin : float, default 200
        Upper edge of the lowest band, in Hz.
    n_bands : int, default 6
        Number of octaves above `fmin`; the last reaches up to half the sampling rate.

    Returns
    -------
    ndarray of float32, shape (n_bands + 1, n_frames)
        ``10 log10`` of the mean of the largest 2 % of the magnitudes over that of the smallest 2 % (one bin
        at least), each floored at 80 dB below the clip's largest.

    Raises
    ------
    FeatureError
        A band lies above half the sampling rate or contains no frequency.

    Notes
    -----
    Source: D.-N. Jiang et al., "Music type classification by spectral contrast feature", ICME 2002;
    ``librosa.feature.spectral_contrast(S=magnitude)``.

    Examples
    --------
    >>> import numpy as np
    >>> contrast(Analysis(np.ones(16000, dtype=np.float32))).shape
    (7, 32)
    """
    spectra = analysis.magnitude(*stft).T
    bands = _octaves(analysis.rate, stft.size, fmin, n_bands)
    valleys = np.empty((len(bands), len(spectra)), dtype=np.float32)
    peaks = np.empty_like(valleys)
    for k, (first, stop, tail) in enumerate(bands):
        ordered = np.sort(spectra[:, first:stop], axis=1)
        valleys[k] = ordered[:, :tail].mean(axis=1)
        peaks[k] = ordered[:, -tail:].mean(axis=1)
    return decibels(peaks) - decibels(valleys)


@lru_cache(maxsize=1)
def _tonnetz_basis() -> Float32Array:
    """Return the projection of pitch classes on three circles: fifths, minor thirds, major thirds."""
    angle = np.outer(np.repeat([7 / 6, 3 / 2, 2 / 3], 2), np.arange(12)) * np.pi
    angle[::2] -= np.pi / 2
    return _frozen(np.repeat([1, 1, 0.5], 2)[:, None] * np.cos(angle))


def tonnetz(chroma: Float32Array) -> Float32Array:
    """Compute tonal centroids (tonnetz): the mean of the pitch classes on three circles of harmonic relations.

    Parameters
    ----------
    chroma : ndarray of float32, shape (12, n_frames)
        Non-negative strengths of the pitch classes.

    Returns
    -------
    ndarray of float32, shape (6, n_frames)
        Sine and cosine on the circle of fifths, of minor thirds (both in [-1, 1]) and of major thirds (in
        [-0.5, 0.5]); 0 for a silent frame.

    Notes
    -----
    Source: C. Harte, M. Sandler, M. Gasser, "Detecting harmonic change in musical audio", 2006;
    ``librosa.feature.tonnetz(chroma=chroma)``.  By default librosa uses a constant-Q chromagram
    instead.

    Examples
    --------
    >>> import numpy as np
    >>> only_c = np.eye(12, 1, dtype=np.float32)
    >>> tonnetz(only_c).ravel().round(3).tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0, 0.5]
    """
    return _tonnetz_basis() @ _normalised(chroma, np.abs(chroma).sum(axis=0))
