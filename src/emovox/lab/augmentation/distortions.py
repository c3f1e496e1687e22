"""Single distortions of speech: gain, clipping, reverberation, band limits, telephone, codecs, speed and pitch."""

from __future__ import annotations

import io
from typing import Any, Literal, get_args

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from emovox.errors import InputError
from emovox.types import RATE, Float32Array

Codec = Literal["mp3", "opus", "vorbis", "gsm"]

#: Sampling rate and settings of each codec: MP3 at 32 kbit/s, Opus and Vorbis at about 20, GSM 6.10 at 13.
CODECS: dict[str, tuple[int, dict[str, Any]]] = {
    "mp3": (
        RATE,
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.85, "bitrate_mode": "CONSTANT"},
    ),
    "opus": (RATE, {"format": "OGG", "subtype": "OPUS", "compression_level": 0.9}),
    "vorbis": (RATE, {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.9}),
    "gsm": (RATE // 2, {"format": "WAV", "subtype": "GSM610"}),
}
#: Delay of MP3 encoder and decoder in samples, for files that do not state it (low bit rates).
MP3_DELAY = 576 + 529

#: Volume of the room in cubic metres, distance from mouth to microphone in metres, speed of sound in m/s.
VOLUME, DISTANCE, SOUND = 50.0, 1.0, 343.0

#: Time stretching: hop of the frames, which are twice as long, and largest shift of a frame, in samples.
HOP, SEARCH = 320, 128


def gain(samples: Float32Array, decibels: float) -> Float32Array:
    """Amplify or attenuate.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    decibels : float
        Gain in dB; negative attenuates.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Scaled signal, which may exceed full scale.

    Examples
    --------
    >>> import numpy as np
    >>> gain(np.array([0.5, -0.25], dtype=np.float32), -20).round(4).tolist()
    [0.05000000074505806, -0.02500000037252903]
    """
    return samples * np.float32(10 ** (decibels / 20))


def clip(samples: Float32Array, level: float) -> Float32Array:
    """Clip the peaks, as an overdriven microphone or converter does.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    level : float
        Clipping threshold in dB relative to the largest absolute sample, from -100 to 0; 0 changes nothing.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Clipped signal, not amplified.

    Raises
    ------
    InputError
        The level is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> clip(np.array([0.1, 0.5, -1], dtype=np.float32), -20 * np.log10(2)).round(3).tolist()
    [0.10000000149011612, 0.5, -0.5]
    """
    _check("level", level, -100, 0)
    limit = np.abs(samples).max(initial=0) * np.float32(10 ** (level / 20))
    return np.clip(samples, -limit, limit)


def room(rt60: float, drr: float, rng: np.random.Generator) -> Float32Array:
    """Generate the impulse response of a small room.

    The direct sound, then reflections with the statistics of the image sources of a shoebox room: at time ``t`` after
    emission their density is ``4 pi c^3 t^2 / V`` per second, and their amplitude falls with ``1 / t`` and with the
    absorption of the walls; sparse and strong at first, dense noise after about 40 ms.

    Parameters
    ----------
    rt60 : float
        Reverberation time in s, from 0.01 to 10: the time in which the reflections decay by 60 dB.
    drr : float
        Direct-to-reverberant ratio: energy of the direct sound over that of all reflections, in dB.
    rng : numpy.random.Generator
        Source of times and signs of the reflections.

    Returns
    -------
    ndarray of float32, shape (n_taps,)
        Impulse response at 16 kHz, `rt60` long.  The direct sound is 1, at the first sample.

    Raises
    ------
    InputError
        The reverberation time is out of its range.

    Notes
    -----
    Source: J. Allen and D. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979;
    H. Kuttruff, "Room Acoustics", section 4.2 (the density of reflections).

    Examples
    --------
    >>> import numpy as np
    >>> response = room(0.3, 6, np.random.default_rng(0))
    >>> len(response), float(response[0])
    (4800, 1.0)
    >>> round(float(10 * np.log10(1 / np.sum(response[1:] ** 2))), 3)
    6.0
    """
    _check("rt60", rt60, 0.01, 10)
    time = np.arange(1, round(rt60 * RATE), dtype=np.float32) / np.float32(RATE)
    expected = 4 * np.pi * SOUND**3 / VOLUME / RATE * np.square(time + np.float32(DISTANCE / SOUND))
    dense = np.minimum(expected, 1)
    decay = np.exp(np.float32(-3 * np.log(10) / rt60) * time) / np.sqrt(dense)
    strength = rng.standard_normal(len(time), dtype=np.float32)
    strength *= (rng.random(len(time), dtype=np.float32) < dense) * decay
    energy = float(np.sum(np.square(strength))) or 1.0
    response = np.empty(len(time) + 1, dtype=np.float32)
    response[0] = 1
    response[1:] = strength * np.float32(10 ** (-drr / 20) / np.sqrt(energy))
    return response


def convolve(samples: Float32Array, response: Float32Array) -> Float32Array:
    """Filter with an impulse response.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    response : ndarray of float32, shape (n_taps,)
        Impulse response at the same rate.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Filtered signal, cut to the length of the input.

    Examples
    --------
    >>> import numpy as np
    >>> convolve(np.array([1, 2, 3], dtype=np.float32), np.array([1, 1], dtype=np.float32)).round(5).tolist()
    [1.0, 3.0, 5.0]
    """
    size = fast_length(len(samples) + len(response) - 1)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return _inverse(spectrum, size)[: len(samples)]


def reverberate(samples: Float32Array, rt60: float, drr: float, rng: np.random.Generator) -> Float32Array:
    """Add the reverberation of a small room.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    rt60, drr : float
        Reverberation time in s and direct-to-reverberant ratio in dB, see :func:`room`.
    rng : numpy.random.Generator
        Source of the impulse response.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Reverberant signal of the same mean power, aligned with the input.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(16000, dtype=np.float32))
    >>> reverberant = reverberate(tone, 0.3, 6, np.random.default_rng(0))
    >>> round(float(np.mean(reverberant**2)), 3)
    0.5
    """
    wet = convolve(samples, room(rt60, drr, rng))
    before, after = float(np.sum(np.square(samples))), float(np.sum(np.square(wet)))
    return wet * np.float32(np.sqrt(before / after)) if after > 0 else wet


def band_limit(samples: Float32Array, low: float, high: float) -> Float32Array:
    """Apply a zero-phase band-pass filter.

    Its magnitude is that of Butterworth filters of order 8: -3 dB at both edges, 48 dB per octave beyond them.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    low, high : float
        Edges of the passband in Hz; 0, and 8000 or more, leave that side unfiltered.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Filtered signal.

    Raises
    ------
    InputError
        The lower edge is negative or not below the upper.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000)).astype(np.float32)
    >>> bool(np.std(band_limit(tone, 50, 500)) < 0.01), bool(np.std(band_limit(tone, 300, 3400)) > 0.7)
    (True, True)
    """
    if not 0 <= low < high:
        raise InputError(f"the band is from {low:g} to {high:g} Hz: expected the lower edge first, 0 or more")
    size = fast_length(len(samples) + RATE // 20)  # 50 ms for the response to decay: convolution is circular
    frequency = np.fft.rfftfreq(size, 1 / RATE)[1:]
    power = 1 + (low / frequency) ** 16
    if high < RATE / 2:
        power += (frequency / high) ** 16
    spectrum = np.fft.rfft(samples, size)
    spectrum[1:] *= (1 / np.sqrt(power)).astype(np.float32)
    if low > 0:
        spectrum[0] = 0
    return _inverse(spectrum, size)[: len(samples)]


def telephone(samples: Float32Array) -> Float32Array:
    """Simulate a telephone line: 300 to 3400 Hz, 8 kHz, mu-law.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Received signal at 16 kHz.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 5000 / 16000 * np.arange(16000)).astype(np.float32)
    >>> bool(np.std(telephone(tone)) < 0.01)
    True
    """
    narrow = soxr.resample(band_limit(samples, 300, 3400), RATE, RATE // 2)
    return _fit(soxr.resample(mu_law(narrow), RATE // 2, RATE), len(samples))


def mu_law(samples: Float32Array) -> Float32Array:
    """Encode to 8-bit mu-law and decode.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Signal; values beyond full scale are clipped.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Signal quantised to the 255 values of the code, with a step that grows with the magnitude.

    Notes
    -----
    Source: Recommendation ITU-T G.711 (1988), table 2a: eight segments of 16 steps, each twice as wide as the one
    before, over 14 bits.

    Examples
    --------
    >>> import numpy as np
    >>> (8192 * mu_law(np.array([0, 0.01, -1], dtype=np.float32))).tolist()
    [0.0, 81.0, -8031.0]
    """
    magnitude = np.minimum(np.abs(samples) * np.float32(8192), np.float32(8158))
    # Shifted by 33, the segments begin at powers of two: the exponent is the segment, the mantissa the step.
    mantissa, exponent = np.frexp(magnitude + np.float32(33))
    level = np.ldexp((np.floor(mantissa * 32) + np.float32(0.5)) / 32, exponent) - np.float32(33)
    quantised: Float32Array = np.copysign(level / np.float32(8192), samples)
    return quantised


def codec(samples: Float32Array, name: Codec) -> Float32Array:
    """Encode with a lossy codec and decode.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz, within full scale.
    name : {"mp3", "opus", "vorbis", "gsm"}
        MP3 at 32 kbit/s, Opus and Vorbis at about 20, GSM 6.10 at 13 (and 8 kHz).

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Decoded signal, aligned with the input.

    Raises
    ------
    InputError
        The codec is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(8000, dtype=np.float32)) / 4
    >>> bool(np.std(codec(tone, "vorbis") - tone) < 0.1 * np.std(tone))
    True
    """
    if name not in CODECS:
        raise InputError(f"unknown codec {name!r}: choose one of {', '.join(get_args(Codec))}")
    if not len(samples):
        return samples
    rate, settings = CODECS[name]
    sent = samples if rate == RATE else soxr.resample(samples, RATE, rate)
    file = io.BytesIO()
    soundfile.write(file, sent, rate, **settings)
    file.seek(0)
    heard = soundfile.read(file, dtype="float32")[0]
    if name == "mp3" and len(heard) > len(sent):
        heard = heard[MP3_DELAY:]
    return _fit(heard if rate == RATE else soxr.resample(heard, rate, RATE), len(samples))


def speed(samples: Float32Array, factor: float) -> Float32Array:
    """Change the speed by resampling: tempo, pitch and formants change together.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    factor : float
        New speed over old, from 0.1 to 10: 1.1 is shorter and 1.65 semitones higher.

    Returns
    -------
    ndarray of float32, shape (round(n_samples / factor),)
        Resampled signal.

    Raises
    ------
    InputError
        The factor is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> len(speed(np.zeros(11000, dtype=np.float32), 1.1))
    10000
    """
    _check("factor", factor, 0.1, 10)
    return _fit(soxr.resample(samples, RATE * factor, RATE), round(len(samples) / factor))


def tempo(samples: Float32Array, factor: float) -> Float32Array:
    """Change the tempo at constant pitch (WSOLA).

    Frames of 40 ms are taken at the new tempo, each shifted by up to 8 ms to match the previous one best, and
    overlap-added with an overlap of one half.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    factor : float
        New tempo over old, from 0.1 to 10: 1.1 is shorter.  Speech stays natural from 0.5 to 2.

    Returns
    -------
    ndarray of float32, shape (round(n_samples / factor),)
        Stretched signal.

    Raises
    ------
    InputError
        The factor is out of range.

    Notes
    -----
    Source: W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high
    quality time-scale modification of speech", ICASSP 1993.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(16000, dtype=np.float32))
    >>> len(tempo(tone, 0.8)), bool(np.abs(tempo(tone, 1) - tone).max() < 1e-6)
    (20000, True)
    """
    _check("factor", factor, 0.1, 10)
    n_out = round(len(samples) / factor)
    n_frames = -(-n_out // HOP) + 1
    padded = np.pad(samples, (HOP + SEARCH, int(n_frames * HOP * factor) + 3 * HOP + SEARCH - len(samples)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    energy = np.sqrt(np.maximum(energy[HOP:] - energy[:-HOP], 1e-12)).astype(np.float32)
    begins = [SEARCH]
    for k in range(1, n_frames):
        continuation, earliest = begins[-1] + HOP, round(k * HOP * factor)
        similarity = np.correlate(
            padded[earliest : earliest + 2 * SEARCH + HOP], padded[continuation : continuation + HOP]
        )
        similarity /= energy[earliest : earliest + 2 * SEARCH + 1]
        # Silence correlates with nothing: the frame keeps its nominal position.
        begins.append(earliest + (int(np.argmax(similarity)) if similarity.any() else SEARCH))
    frames = np.add.outer(np.array(begins), np.arange(HOP))
    rise = (0.5 - 0.5 * np.cos(np.pi / HOP * np.arange(HOP))).astype(np.float32)
    stretched: Float32Array = padded[frames[1:]] * rise + padded[frames[:-1] + HOP] * (1 - rise)
    return stretched.ravel()[:n_out]


def pitch_shift(samples: Float32Array, semitones: float) -> Float32Array:
    """Change the pitch at constant tempo; formants shift too, as with a shorter or longer vocal tract.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.
    semitones : float
        Shift from -36 to 36, positive is higher.  Speech stays natural within 2 or 3.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Shifted signal.

    Raises
    ------
    InputError
        The shift is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 / 16000 * np.arange(16000)).astype(np.float32)
    >>> shifted = pitch_shift(tone, 12)
    >>> len(shifted), int(np.argmax(np.abs(np.fft.rfft(shifted))))
    (16000, 400)
    """
    _check("semitones", semitones, -36, 36)
    factor = 2 ** (semitones / 12)
    return _fit(speed(tempo(samples, 1 / factor), factor), len(samples))


def fast_length(length: int) -> int:
    """Return a transform length, at least `length`, for which the FFT is fast.

    Parameters
    ----------
    length : int
        Minimum length, positive.

    Returns
    -------
    int
        Smallest power of two times 1, 3, 5, 9 or 15; at most 20 % greater.

    Examples
    --------
    >>> fast_length(40001)
    40960
    """
    return min(odd << max(0, int(np.ceil(np.log2(length / odd)))) for odd in (1, 3, 5, 9, 15))


def _inverse(spectrum: NDArray[np.complexfloating], size: int) -> Float32Array:
    """Return the inverse FFT as float32."""
    return np.fft.irfft(spectrum, size).astype(np.float32, copy=False)


def _fit(samples: Float32Array, length: int) -> Float32Array:
    """Cut or zero-pad to a length."""
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))


def _check(name: str, value: float, low: float, high: float) -> None:
    """Raise if a value is out of range."""
    if not low <= value <= high:
        raise InputError(f"{name} is {value}: expected a number from {low} to {high}")
