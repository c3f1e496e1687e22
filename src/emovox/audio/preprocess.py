"""What may be done with a recording before it is analysed: noise, level, silence at both ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from emovox.errors import FeatureError, InputError, did_you_mean
from emovox.types import RATE, Float32Array, Waveform

Level = Literal["none", "peak", "loudness"]


@dataclass(frozen=True)
class PreprocessOptions:
    """Which steps clean a waveform, and how strongly; they run in the order of the attributes.

    Attributes
    ----------
    dc : bool, default True
        Remove the constant offset.
    denoise : bool, default False
        Reduce stationary noise.
    denoise_floor : float, default -15
        Lowest gain of noise reduction in dB, 0 or less.
    trim : bool, default False
        Cut silence off both ends.
    trim_threshold : float, default 40
        What counts as silence: this many dB below the loudest 20 ms.
    trim_margin : float, default 0.1
        Silence kept on either side, in seconds.
    level : {"peak", "loudness", "none"}, default "peak"
        What is brought to a fixed level.
    peak : float, default -1
        Largest absolute sample after peak normalisation, in dBFS.
    loudness : float, default -23
        Loudness after loudness normalisation, in LUFS.

    Raises
    ------
    InputError
        A value is out of its range.

    Examples
    --------
    >>> PreprocessOptions(level="loudness").loudness
    -23.0
    """

    dc: bool = True
    denoise: bool = False
    denoise_floor: float = -15.0
    trim: bool = False
    trim_threshold: float = 40.0
    trim_margin: float = 0.1
    level: Level = "peak"
    peak: float = -1.0
    loudness: float = -23.0

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise InputError(f"unknown level {self.level!r}: choose one of {', '.join(get_args(Level))}")
        for name, low, high in (
            ("denoise_floor", -100, 0),
            ("trim_threshold", 1, 200),
            ("trim_margin", 0, 60),
            ("peak", -60, 0),
            ("loudness", -60, 0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}: expected a number from {low} to {high}")


#: What is expected of an option, by its type.
_KINDS = {bool: "true or false", float: "a number", str: "a word"}


def options_of(given: Mapping[str, Any]) -> PreprocessOptions:
    """Convert a mapping from a recipe or a model file; the error names the key and the value."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(PreprocessOptions)}
    for key, value in given.items():
        if key not in kinds:
            raise FeatureError(f"unknown preprocessing option {key!r}: {did_you_mean(key, kinds)}")
        wanted = (int, float) if kinds[key] is float else kinds[key]
        if not isinstance(value, wanted) or isinstance(value, bool) != (kinds[key] is bool):
            raise FeatureError(f"preprocessing option {key}={value!r} is not possible: give {_KINDS[kinds[key]]}")
    return PreprocessOptions(**given)


def preprocess(waveform: Waveform, options: PreprocessOptions | Mapping[str, Any] | None = None) -> Waveform:
    """Clean a waveform: DC removal, noise reduction, trimming, level normalisation, in this order.

    Parameters
    ----------
    waveform : Waveform
        Speech at 16 kHz.  It is not changed.
    options : PreprocessOptions or mapping of str, optional
        Which steps; the defaults where none are given.

    Returns
    -------
    Waveform
        Cleaned speech; `start` moves with what is trimmed.

    Examples
    --------
    >>> import numpy as np
    >>> waveform = Waveform(np.array([0.25, 0.75, 0.5], dtype=np.float32))
    >>> preprocess(waveform, PreprocessOptions(peak=0)).samples.tolist()
    [-1.0, 1.0, 0.0]
    """
    options = options if isinstance(options, PreprocessOptions) else options_of(options or {})
    samples, offset = waveform.samples, 0
    if options.dc:
        samples = remove_dc(samples)
    if options.denoise:
        samples = reduce_noise(samples, options.denoise_floor)
    if options.trim:
        samples, offset = trim_silence(samples, options.trim_threshold, options.trim_margin)
    if options.level == "peak":
        samples = normalise_peak(samples, options.peak)
    elif options.level == "loudness":
        samples = normalise_loudness(samples, options.loudness)
    return Waveform(samples, waveform.start + offset / RATE)


def remove_dc(samples: Float32Array) -> Float32Array:
    """Subtract the mean.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Signal of mean 0 (to rounding).

    Examples
    --------
    >>> import numpy as np
    >>> remove_dc(np.array([0.25, 0.75], dtype=np.float32)).tolist()
    [-0.25, 0.25]
    """
    return samples - samples.mean() if len(samples) else samples


def normalise_peak(samples: Float32Array, level: float = PreprocessOptions.peak) -> Float32Array:
    """Scale so that the largest absolute sample has a given level.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    level : float, default -1
        Level of the peak in dBFS.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Scaled signal; silence is given back as it is.

    Examples
    --------
    >>> import numpy as np
    >>> normalise_peak(np.array([0.25, -0.5], dtype=np.float32), 0).tolist()
    [0.5, -1.0]
    """
    peak = max(samples.max(initial=0), -samples.min(initial=0))
    # Divided first: the reciprocal of a very small peak would not be finite.
    return samples / peak * np.float32(10 ** (level / 20)) if peak > 0 else samples


def normalise_loudness(samples: Float32Array, level: float = PreprocessOptions.loudness) -> Float32Array:
    """Scale to a given loudness.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    level : float, default -23
        Loudness in LUFS, see :func:`loudness`.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Scaled signal, which may exceed full scale; a signal too soft to have a loudness is given back as it is.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(16000, dtype=np.float32))
    >>> round(loudness(normalise_loudness(tone, -30)), 3)
    -30.0
    """
    measured = loudness(samples)
    return samples if np.isinf(measured) else samples * np.float32(10 ** ((level - measured) / 20))


def loudness(samples: Float32Array) -> float:
    """Measure the integrated loudness of mono speech.

    Mean square of the K-weighted signal over 400 ms blocks that overlap by 75 %, averaged over the blocks above
    -70 LUFS and then over those no more than 10 LU below that average.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.  Less than 400 ms makes a single block.

    Returns
    -------
    float
        Loudness in LUFS; minus infinity where no block is above -70 LUFS.  Content above 8 kHz, which a signal
        at 16 kHz has not, would count in a recording of higher rate.

    Notes
    -----
    Source: Recommendation ITU-R BS.1770-4 (2015), annex 1.  Its filters are applied with zero phase, which the
    mean squares of blocks hardly notice.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 997 / 16000 * np.arange(16000)).astype(np.float32)
    >>> round(loudness(tone), 2)
    -3.01
    """
    weighted = _k_weighted(samples)
    hop = RATE // 10
    steps = np.square(weighted[: len(weighted) // hop * hop]).reshape(-1, hop).mean(axis=1, dtype=np.float64)
    if len(steps) < 4:
        steps = np.square(weighted).mean(keepdims=True, dtype=np.float64) if len(weighted) else steps
        blocks = steps
    else:
        blocks = (steps[:-3] + steps[1:-2] + steps[2:-1] + steps[3:]) / 4
    blocks = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if not len(blocks):
        return -np.inf
    blocks = blocks[blocks > 0.1 * blocks.mean()]
    return float(10 * np.log10(blocks.mean()) - 0.691)


def trim_silence(
    samples: Float32Array,
    threshold: float = PreprocessOptions.trim_threshold,
    margin: float = PreprocessOptions.trim_margin,
) -> tuple[Float32Array, int]:
    """Cut silence off both ends.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    threshold : float, default 40
        A 20 ms frame counts as silence when its level is this many dB below that of the loudest frame.
    margin : float, default 0.1
        What to keep of the silence on either side, in seconds.

    Returns
    -------
    trimmed : ndarray of float32, shape (n_kept,)
        View of the part that is kept: everything, where there is no sound at all.
    offset : int
        Number of samples cut off the beginning.

    Examples
    --------
    >>> import numpy as np
    >>> signal = np.concatenate([np.zeros(8000), np.ones(1600), np.zeros(8000)]).astype(np.float32)
    >>> kept, offset = trim_silence(signal, margin=0)
    >>> len(kept), offset
    (1920, 7840)
    """
    hop = RATE // 100
    steps = np.square(np.pad(samples, (0, -len(samples) % hop + hop))).reshape(-1, hop).sum(axis=1)
    frames = steps[:-1] + steps[1:]
    loud = np.flatnonzero(frames > frames.max(initial=0) * 10 ** (-threshold / 10))
    if not len(loud):
        return samples, 0
    kept = round(margin * RATE)
    begin, end = max(0, loud[0] * hop - kept), min(len(samples), (loud[-1] + 2) * hop + kept)
    return samples[begin:end], int(begin)


#: Noise reduction: frames of 32 ms in steps of half a frame, with the square root of the Hann window both ways.
NOISE_FRAME = 512
#: The quantile of a frequency's power over time that stands for its noise.
NOISE_QUANTILE = 0.3
#: Weight of the past in the a priori signal-to-noise ratio.
NOISE_MEMORY = 0.95


def reduce_noise(samples: Float32Array, floor: float = PreprocessOptions.denoise_floor) -> Float32Array:
    """Reduce noise that changes little over the recording, with a Wiener filter.

    In each frequency the noise power is a low quantile of the signal's power over time: speech leaves every
    frequency free part of the time.  Each frame gets the Wiener gain ``xi / (1 + xi)``, where the a priori
    signal-to-noise ratio ``xi`` follows the decision-directed rule, which holds down musical noise, as does the
    floor under the gain.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.  Some seconds are needed to tell noise from speech.
    floor : float, default -15
        Lowest gain in dB, 0 or less.  0 changes nothing.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Signal with no more energy than before, in any frequency.

    Notes
    -----
    Sources: Scalart and Filho, "Speech enhancement based on a priori signal to noise estimation", ICASSP 1996
    (the gain); Ephraim and Malah, IEEE Trans. ASSP 32(6), 1984, eq. 51 (the decision-directed rule); Stahl,
    Fischer and Bippus, "Quantile based noise estimation for spectral subtraction and Wiener filtering", ICASSP
    2000 (the noise power).

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 32000).astype(np.float32)
    >>> bool(np.std(reduce_noise(noise)) < 0.3 * np.std(noise))
    True
    """
    hop = NOISE_FRAME // 2
    taper = np.sqrt(window("hann", NOISE_FRAME)).astype(np.float32).astype(np.float32)
    padded = np.pad(samples, (hop, hop + -len(samples) % hop))
    spectra = np.fft.rfft(frame(padded, NOISE_FRAME, hop, center=False) * taper, axis=1)
    gains = np.maximum(_wiener_gains(np.square(np.abs(spectra))), np.float32(10 ** (floor / 20)))
    cleaned = np.fft.irfft(spectra * gains, axis=1) * taper
    return _overlap_add(cleaned)[hop : hop + len(samples)]


def _wiener_gains(power: Float32Array) -> Float32Array:
    """Compute the gain of each frame and frequency from the power spectra, shape (n_frames, n_bins)."""
    rank = int(NOISE_QUANTILE * (len(power) - 1))
    # Power of noise is exponentially distributed: its quantile q is its mean times -log(1 - q).
    noise = np.partition(power, rank, axis=0)[rank] / -np.log1p(-NOISE_QUANTILE).astype(np.float32)
    # Where there is none (digital silence, an empty band) the floor keeps the ratio finite and the gain at 1.
    posterior = power / np.maximum(noise, max(1e-14 * power.max(), np.finfo(np.float32).tiny))
    fresh = np.maximum(posterior - 1, 0)
    gains = np.empty_like(power)
    # Before the first frame there is no past: it is taken to have been like the first.
    past = fresh[0].copy()
    fresh *= np.float32(1 - NOISE_MEMORY)
    for gain, new, ratio in zip(gains, fresh, posterior, strict=True):
        prior = np.float32(NOISE_MEMORY) * past + new
        np.divide(prior, 1 + prior, out=gain)
        past = np.square(gain) * ratio
    return gains


#: The K-weighting of ITU-R BS.1770-4, tables 1 and 2: coefficients (b, a) at 48 kHz of the filter that stands for
#: the head and of the high-pass.
K_FILTERS = (
    (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1.0, -1.69065929318241, 0.73248077421585),
    ),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
#: Length of the K-weighting's impulse response at 16 kHz; half of it, 128 ms, is five periods of its lowest corner.
K_TAPS = 4096


@lru_cache(maxsize=1)
def _k_response() -> Float32Array:
    """Compute the frequency response of the K-weighting, made linear-phase, for transforms of two taps' length."""
    # The published digital filter is evaluated where our frequencies lie: nothing is redesigned for 16 kHz.
    delay = np.exp(-2j * np.pi * np.linspace(0, RATE / 2, K_TAPS // 2 + 1) / 48000)
    magnitude = np.ones(len(delay))
    for b, a in K_FILTERS:
        magnitude *= np.abs(np.polyval(b[::-1], delay) / np.polyval(a[::-1], delay))
    taps = np.roll(np.fft.irfft(magnitude), K_TAPS // 2)
    return np.fft.rfft(taps, 2 * K_TAPS).astype(np.complex64)


def _k_weighted(samples: Float32Array) -> Float32Array:
    """Filter with the K-weighting, block by block; the result is in step with the input."""
    padded = np.pad(samples, (0, K_TAPS // 2 + -(len(samples) + K_TAPS // 2) % K_TAPS))
    spectra = np.fft.rfft(padded.reshape(-1, K_TAPS), 2 * K_TAPS, axis=1)
    filtered = _overlap_add(np.fft.irfft(spectra * _k_response(), axis=1))
    return filtered[K_TAPS // 2 : K_TAPS // 2 + len(samples)]


def _overlap_add(frames: NDArray[np.floating]) -> Float32Array:
    """Add up frames, shape (n_frames, length), each half a frame later than the one before."""
    half = frames.shape[1] // 2
    result = np.zeros((len(frames) + 1, half), dtype=np.float32)
    result[:-1] += frames[:, :half]
    result[1:] += frames[:, half:]
    return result.ravel()


#: Window shapes by name; all periodic (DFT-even), as scipy.signal.get_window makes them with fftbins=True.
WINDOWS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}


@lru_cache(maxsize=32)
def window(name: str, length: int) -> NDArray[np.float64]:
    """Make a window as a sum of cosines.

    Parameters
    ----------
    name : {"hann", "hamming", "blackman", "rectangular"}
        Shape of the window.
    length : int
        Number of samples.

    Returns
    -------
    ndarray of float64, shape (length,)
        Periodic window with values in [0, 1]; read-only, because it is cached.  In double precision, because
        rounding the window spreads a little of every strong frequency over all others.

    Raises
    ------
    FeatureError
        The name is not known.

    Examples
    --------
    >>> window("hann", 4).round(6).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if name not in WINDOWS:
        raise FeatureError(f"unknown window {name!r}: choose one of {', '.join(WINDOWS)}")
    phase = 2 * np.pi * np.arange(length) / length
    shape = sum((-1) ** k * weight * np.cos(k * phase) for k, weight in enumerate(WINDOWS[name]))
    result = np.asarray(shape, dtype=np.float64)
    result.setflags(write=False)
    return result


def frame(samples: Float32Array, length: int, hop: int, *, center: bool = True) -> Float32Array:
    """Cut a signal into overlapping frames without copying it.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    length, hop : int
        Frame length and step in samples.
    center : bool, default True
        Pad with ``length // 2`` zeros on both sides, so that frame ``t`` is centred on sample ``t * hop`` and
        a signal shorter than one frame still gives one.

    Returns
    -------
    ndarray of float32, shape (n_frames, length)
        Read-only view.  ``n_frames = 1 + n_samples // hop`` when centred and ``length`` is even.

    Examples
    --------
    >>> import numpy as np
    >>> frame(np.arange(6, dtype=np.float32), 4, 2, center=False).tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    """
    padded = np.pad(samples, length // 2) if center else samples
    if len(padded) < length:
        padded = np.pad(padded, (0, length - len(padded)))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
