"""Random augmentation of speech: speed, pitch, rooms, noise, level, microphones, telephones, codecs and crops.

For training and for robustness tests; :mod:`emovox.lab.augmentation.distortions` has the single distortions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from emovox.audio.preprocess import trim_silence
from emovox.errors import InputError
from emovox.lab.augmentation import distortions
from emovox.lab.ranges import FORBID, Count, Natural, Positive
from emovox.types import RATE, Float32Array

Probability = Annotated[float, Ge(0), Le(1)]
#: Distortions by microphone and line.
MICROPHONE = ("tilt", "band", "telephone")
#: What is silence around a clip, in dB below its peak.
SILENCE = 30.0


@dataclass(frozen=True)
class AugmentOptions:
    """Probability and strength of each distortion, in the order of application.

    Single numbers are probabilities, from 0 (never) to 1; pairs are the ends of uniform distributions.

    Attributes
    ----------
    speed, speed_range : float, pair of float
        Change of speed, and pitch with it; new speed over old.
    tempo, tempo_range : float, pair of float
        Change of tempo at constant pitch; new tempo over old.
    pitch, pitch_range : float, pair of float
        Change of pitch at constant tempo; semitones.
    room, rt60, drr : float, pair of float, pair of float
        Reverberation of a small room; reverberation time (RT60) in s, direct-to-reverberant ratio in dB.
    noise, snr : float, pair of float
        Additive noise, drawn from the available kinds: coloured noise, babble, recorded noise; signal-to-noise ratio in
        dB.
    colour : pair of float
        Exponent of coloured noise, whose power density is ``1 / f ** colour``: 0 white, 1 pink, 2 brown.
    talkers : pair of int
        Number of voices in babble.
    gain, gain_range : float, pair of float
        Change of level in dB, limited to full scale.
    clip, clip_range : float, pair of float
        Hard clipping; threshold in dB relative to the peak.
    band, band_low, band_high : float, pair of float, pair of float
        Band-limited microphone; edges of its passband in Hz.
    telephone : float
        Telephone line: 300 to 3400 Hz, 8 kHz, mu-law.
    codec, codecs : float, tuple of str
        Lossy codec; codecs to draw from, a name given twice is drawn twice as often.
    tilt, tilt_range : float, pair of float
        Tilt of the spectrum, as of another microphone; dB per octave.
    crop, crop_range : float, pair of float
        Random part of the clip without the silence around it; s, of a logarithmic distribution.
    settings : int
        Number of virtual settings per corpus and copy; 0: none.  All clips of a virtual setting are recorded by the
        same microphone and line: tilt, band and telephone are drawn once for it, after the other distortions.

    Raises
    ------
    InputError
        The lower end of a range is above the upper, or a codec is unknown.

    Examples
    --------
    >>> AugmentOptions(snr=(10, 20)).snr
    (10, 20)
    """

    __pydantic_config__ = FORBID

    speed: Probability = 0.3
    speed_range: tuple[Positive, Positive] = (0.9, 1.1)
    tempo: Probability = 0.1
    tempo_range: tuple[Positive, Positive] = (0.85, 1.2)
    pitch: Probability = 0.1
    pitch_range: tuple[float, float] = (-1.5, 1.5)
    room: Probability = 0.35
    rt60: tuple[Positive, Positive] = (0.15, 0.8)
    drr: tuple[float, float] = (-3.0, 12.0)
    noise: Probability = 0.5
    snr: tuple[float, float] = (3.0, 30.0)
    colour: tuple[float, float] = (0.0, 2.0)
    talkers: tuple[Count, Count] = (3, 8)
    gain: Probability = 0.5
    gain_range: tuple[float, float] = (-12.0, 12.0)
    clip: Probability = 0.1
    clip_range: tuple[float, float] = (-15.0, -1.0)
    band: Probability = 0.15
    band_low: tuple[Positive, Positive] = (50.0, 300.0)
    band_high: tuple[Positive, Positive] = (3000.0, 7500.0)
    telephone: Probability = 0.1
    codec: Probability = 0.15
    codecs: tuple[distortions.Codec, ...] = ("mp3", "mp3", "mp3", "vorbis", "vorbis", "gsm", "gsm", "opus")
    tilt: Probability = 0.0
    tilt_range: tuple[float, float] = (-4.0, 4.0)
    crop: Probability = 0.0
    crop_range: tuple[Positive, Positive] = (0.5, 2.5)
    settings: Natural = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "codecs" and isinstance(value, tuple) and value[0] > value[1]:
                raise InputError(f"{name} is from {value[0]:g} to {value[1]:g}: expected the lower end first")
        unknown = [name for name in self.codecs if name not in distortions.CODECS]
        if unknown or not self.codecs:
            named = f"unknown codec {unknown[0]!r}" if unknown else "codecs is empty"
            raise InputError(f"{named}: choose from {', '.join(distortions.CODECS)}")


class Augmenter:
    """Apply random distortions to a clip: voice, room, noise, level, microphone and line, in this order.

    Parameters
    ----------
    options : AugmentOptions, optional
        Probabilities and strengths; defaults if omitted.
    noises : sequence of ndarray of float32, each of shape (n,)
        Recorded noise at 16 kHz; silent recordings are ignored.
    voices : sequence of ndarray of float32, each of shape (n,)
        Speech at 16 kHz for babble: in training, of training speakers only.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> tone = np.sin(np.arange(16000, dtype=np.float32)) / 4
    >>> noisy = Augmenter(AugmentOptions(speed=0, tempo=0))(tone, rng)
    >>> len(noisy), bool(np.abs(noisy).max() <= 1)
    (16000, True)
    """

    def __init__(
        self,
        options: AugmentOptions | None = None,
        noises: Sequence[Float32Array] = (),
        voices: Sequence[Float32Array] = (),
    ) -> None:
        self.options = options or AugmentOptions()
        self.noises = [noise for noise in noises if noise.any()]
        self.voices = [voice for voice in voices if voice.any()]

    def __call__(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        """Distort one clip.

        Parameters
        ----------
        samples : ndarray of float32, shape (n_samples,)
            Mono speech at 16 kHz; not modified.
        rng : numpy.random.Generator
            Source of all randomness: the same state gives the same result.

        Returns
        -------
        ndarray of float32, shape (n,)
            Distorted speech within full scale; only speed, tempo and crop change the length.  Digital silence is not
            changed.
        """
        if not samples.any():
            return samples
        options = self.options
        for probability, distort in (
            (options.speed, self._speed),
            (options.tempo, self._tempo),
            (options.pitch, self._pitch),
            (options.room, self._room),
            (options.noise, self._noise),
            (options.gain, self._gain),
            (options.clip, self._clip),
            (options.band, self._band),
            (options.telephone, self._telephone),
            (options.codec, self._codec),
            (options.tilt, self._tilt),
            (options.crop, self._crop),
        ):
            if rng.random() < probability:
                samples = distort(samples, rng)
        return _full_scale(samples)

    def _speed(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return distortions.speed(samples, rng.uniform(*self.options.speed_range))

    def _tempo(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return distortions.tempo(samples, rng.uniform(*self.options.tempo_range))

    def _pitch(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return distortions.pitch_shift(samples, rng.uniform(*self.options.pitch_range))

    def _room(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return distortions.reverberate(samples, rng.uniform(*self.options.rt60), rng.uniform(*self.options.drr), rng)

    def _noise(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        kinds = ["coloured"] + ["babble"] * bool(self.voices) + ["recorded"] * bool(self.noises)
        kind, snr = kinds[rng.integers(len(kinds))], rng.uniform(*self.options.snr)
        if kind == "recorded":
            noise = self.noises[rng.integers(len(self.noises))]
        elif kind == "babble":
            talkers = int(rng.integers(*self.options.talkers, endpoint=True))
            chosen = rng.choice(len(self.voices), size=min(talkers, len(self.voices)), replace=False)
            noise = babble([self.voices[index] for index in chosen], len(samples), rng, talkers)
        else:
            noise = coloured_noise(distortions.fast_length(len(samples)), rng, rng.uniform(*self.options.colour))
        try:
            return mix(samples, noise, snr, rng)
        except InputError:  # the drawn part of the recording may be silent
            return samples

    def _gain(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return _full_scale(distortions.gain(samples, rng.uniform(*self.options.gain_range)))

    def _clip(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return distortions.clip(samples, rng.uniform(*self.options.clip_range))

    def _band(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        low, high = rng.uniform(*self.options.band_low), rng.uniform(*self.options.band_high)
        return distortions.band_limit(samples, low, high)

    def _telephone(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return _at_line_level(distortions.telephone, samples)

    def _codec(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        name = self.options.codecs[rng.integers(len(self.options.codecs))]
        return _at_line_level(lambda sent: distortions.codec(sent, name), samples)

    def _tilt(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        return tilt(samples, rng.uniform(*self.options.tilt_range))

    def _crop(self, samples: Float32Array, rng: np.random.Generator) -> Float32Array:
        speech = trim_silence(samples, SILENCE, 0.1)[0]
        shortest, longest = self.options.crop_range
        longest = min(longest, len(speech) / RATE)
        if longest <= shortest:
            return speech
        length = round(RATE * np.exp(rng.uniform(np.log(shortest), np.log(longest))))
        begin = int(rng.integers(len(speech) - length + 1))
        return speech[begin : begin + length]


def microphone(options: AugmentOptions) -> AugmentOptions:
    """Return the options of the distortions that a virtual setting has once: tilt, band and telephone.

    Examples
    --------
    >>> microphone(AugmentOptions(telephone=0.2, noise=0.4)).noise
    0.0
    """
    silent = {field.name: 0.0 for field in dataclasses.fields(options) if isinstance(field.default, float)}
    kept = {name: getattr(options, name) for name in MICROPHONE}
    return dataclasses.replace(options, **{**silent, **kept})


def tilt(samples: Float32Array, decibels: float) -> Float32Array:
    """Tilt the spectrum around 1 kHz, as another microphone does.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono speech at 16 kHz.
    decibels : float
        Change of level per octave in dB; below 50 Hz as at 50 Hz.

    Returns
    -------
    ndarray of float32, shape (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(1600) / 16000
    >>> tone = np.sin(2 * np.pi * 2000 * time).astype(np.float32)
    >>> round(float(tilt(tone, 6.0).max() / tone.max()), 2)
    2.0
    """
    spectrum = np.fft.rfft(samples)
    frequency = np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 50)
    return np.fft.irfft(spectrum * 10 ** (decibels * np.log2(frequency / 1000) / 20), len(samples)).astype(np.float32)


def mix(samples: Float32Array, noise: Float32Array, snr: float, rng: np.random.Generator) -> Float32Array:
    """Add noise at a given signal-to-noise ratio.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Clean speech.
    noise : ndarray of float32, shape (n_noise,)
        Noise.  A random part of it is used; noise that is too short is repeated.
    snr : float
        Ratio of the mean power of the speech, pauses included, to that of the noise, in dB.
    rng : numpy.random.Generator
        Source of the position in the noise.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Noisy speech, scaled down as a whole if it exceeds full scale.

    Raises
    ------
    InputError
        The speech or the drawn part of the noise is silent.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> tone = np.sin(np.arange(8000, dtype=np.float32)) / 4
    >>> hiss = coloured_noise(8000, rng)
    >>> added = mix(tone, hiss, 20, rng) - tone
    >>> round(float(10 * np.log10(np.mean(tone**2) / np.mean(added**2))), 2)
    20.0
    """
    stretch = _stretch(noise, len(samples), rng)
    signal_power, noise_power = _power(samples), _power(stretch)
    if not signal_power or not noise_power:
        silent = "noise" if signal_power else "speech"
        raise InputError(f"no mixture has a signal-to-noise ratio of {snr:g} dB: the {silent} is silent")
    mixed = samples + stretch * np.float32(np.sqrt(signal_power / noise_power) * 10 ** (-snr / 20))
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32, copy=False)


def babble(voices: Sequence[Float32Array], n_samples: int, rng: np.random.Generator, talkers: int = 6) -> Float32Array:
    """Mix several voices to babble noise.

    Parameters
    ----------
    voices : sequence of ndarray of float32, each of shape (n,)
        Recordings to draw from; silent ones are ignored.
    n_samples : int
        Length of the result.
    rng : numpy.random.Generator
        Source of the choice of voices (without replacement if there are enough) and of the position in each.
    talkers : int, default 6
        Number of voices at any time.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Sum of voices of equal mean power, with a mean power of about 1 (beyond full scale), as :func:`mix` needs it.

    Raises
    ------
    InputError
        All voices are silent, or there is none.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> babble([np.ones(10, dtype=np.float32)], 4, rng, talkers=4).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    audible = [voice for voice in voices if _power(voice)]
    if not audible:
        raise InputError(f"babble needs voices: none of the {len(voices)} given has any sound")
    chosen = rng.choice(len(audible), size=talkers, replace=talkers > len(audible))
    total = np.zeros(n_samples, dtype=np.float32)
    for index in chosen:
        voice = audible[index]
        total += _stretch(voice, n_samples, rng) / np.float32(np.sqrt(_power(voice) * talkers))
    return total


def coloured_noise(n_samples: int, rng: np.random.Generator, exponent: float = 0.0) -> Float32Array:
    """Generate noise with a power density of ``1 / f ** exponent``.

    Parameters
    ----------
    n_samples : int
        Length of the result, at least 2.
    rng : numpy.random.Generator
        Source of the noise.
    exponent : float, default 0
        0 is white noise, 1 pink (-3 dB per octave), 2 brown (-6 dB per octave).

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Gaussian noise of mean 0 and mean power 1.

    Examples
    --------
    >>> import numpy as np
    >>> noise = coloured_noise(16000, np.random.default_rng(0), exponent=1)
    >>> round(float(np.mean(noise**2)), 4)
    1.0
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.arange(len(spectrum))
    spectrum[0] = 0
    spectrum[1:] *= frequency[1:] ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, n_samples)
    noise /= np.sqrt(np.mean(np.square(noise)))
    return noise.astype(np.float32)


def _power(samples: Float32Array) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def _stretch(noise: Float32Array, n_samples: int, rng: np.random.Generator) -> Float32Array:
    """Take a random part of the noise, which is repeated if it is too short."""
    if len(noise) > n_samples:
        begin = int(rng.integers(len(noise) - n_samples + 1))
        return noise[begin : begin + n_samples]
    if not len(noise):
        return np.zeros(n_samples, dtype=np.float32)
    return np.resize(np.roll(noise, -int(rng.integers(len(noise)))), n_samples)


def _at_line_level(line: Callable[[Float32Array], Float32Array], samples: Float32Array) -> Float32Array:
    """Apply a line at half of full scale, so that quantisation does not remove soft voices, and restore the level."""
    scale = 2 * np.abs(samples).max() or np.float32(1)
    return line(samples / scale) * scale


def _full_scale(samples: Float32Array) -> Float32Array:
    """Scale down as a whole if full scale is exceeded."""
    return samples / np.float32(max(1.0, float(np.abs(samples).max())))
