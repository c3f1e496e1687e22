"""Is there speech in this at all?  Music, noise, tones and silence are refused before anything is recognised in them.

Silero alone refuses screams, because no ordinary voice is that high, and accepts some melodies and drums.  So the gate
listens twice, the second time at two thirds of the speed, which brings a scream down to where voices are, and weighs
what it hears against how the sound moves: a logistic rule on a handful of numbers.  What voice activity detection has
heard of a stretch, the gate need not hear again: see the `speech` of :class:`emovox.types.Waveform`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox.errors import InputError
from emovox.features.analysis import Analysis
from emovox.speech.probability import FRAME, SpeechProbability
from emovox.types import RATE, Float32Array, Waveform

Array = NDArray[np.float64]

#: Root mean square to which the loudest 0.2 s are brought: the answer does not depend on the level.
_LEVEL = 0.1
#: Power below which there is nothing to bring to a level: digital silence.
_SILENT = 1e-12
#: Frames this many dB below the loudest count as quiet.
_QUIET = 25.0
#: Band of the telephone, in Hz: what lies outside says more about the microphone than about the sound.
_BAND = (250.0, 3400.0)
#: Log-odds beyond which Silero is as sure as can be.
_SURE = 6.9
#: How much slower the sound is heard the second time.
_SLOWER = 1.5


@dataclass(frozen=True)
class GateOptions:
    """How sure the gate must be.

    Attributes
    ----------
    threshold : float, default 0.4
        Smallest probability that counts as speech, in [0, 1]; 0 accepts everything.

    Raises
    ------
    InputError
        The threshold is out of its range.
    """

    threshold: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}: expected a probability from 0 to 1")


class Measures(NamedTuple):
    """What the gate weighs; nothing in it depends on the level.

    Attributes
    ----------
    voice : float
        Silero's log-odds of speech, mean over the loud frames.
    moment : float
        The same, largest mean over 0.32 s: a short word in a long pause.
    slow_voice, slow_moment : float
        The same at two thirds of the speed.
    dynamics : float
        Standard deviation of the level in the telephone band, in dB: syllables and pauses.
    flatness : float
        Logarithm of geometric over arithmetic mean of the power spectrum in the telephone band: near 0 for noise.
    movement : float
        How much the spectrum changes in 96 ms, in dB.
    """

    voice: float
    moment: float
    slow_voice: float
    slow_moment: float
    dynamics: float
    flatness: float
    movement: float


#: Mean log-odds from which Silero alone decides, and the second hearing is saved: no other sound of the benchmark's
#: "choose" part comes near.
_CERTAIN = 2.0

#: Weights of the logistic rule, fitted by ``python benchmarks/speech_gate.py --fit`` on its "choose" part.
_WEIGHTS = Measures(
    voice=0.317,
    moment=0.312,
    slow_voice=0.299,
    slow_moment=0.307,
    dynamics=0.183,
    flatness=0.376,
    movement=0.295,
)
_BIAS = -0.395


def is_speech(sound: Float32Array | Waveform, options: GateOptions | None = None) -> bool:
    """Tell whether somebody speaks in a recording or window: aloud, shouting or whispering.

    Parameters
    ----------
    sound : ndarray of float32, shape (n_samples,), or Waveform
        Mono at 16 kHz, at any level; 0.3 to 10 s.  Cut longer recordings into windows.  The `speech` of a Waveform
        is used where there is one, instead of a pass of the network.
    options : GateOptions, optional
        How sure to be.

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> from emovox import audio
    >>> is_speech(audio.read("examples/plain.wav").samples)
    True
    >>> is_speech(np.sin(np.arange(32000) / 10).astype(np.float32))
    False
    """
    threshold = (options or GateOptions()).threshold
    return threshold == 0 or speech_probability(sound) >= threshold


def speech_probability(sound: Float32Array | Waveform) -> float:
    """Probability that somebody speaks in a recording or window.

    Parameters
    ----------
    sound : ndarray of float32, shape (n_samples,), or Waveform
        As :func:`is_speech`.

    Returns
    -------
    float
        In [0, 1], for equally frequent speech and other sound; 0 for digital silence, 1 where Silero is certain.

    Examples
    --------
    >>> import numpy as np
    >>> speech_probability(np.zeros(16000, dtype=np.float32))
    0.0
    """
    window = sound if isinstance(sound, Waveform) else Waveform(sound)
    levelled = _levelled(window.samples)
    if levelled is None:
        return 0.0
    heard = _hear(levelled, window.speech, lead=round(window.start * RATE) % FRAME)
    if heard[0] >= _CERTAIN:
        return 1.0
    odds = _BIAS + float(np.dot(_WEIGHTS, _measures(levelled, heard)))
    return 1 / (1 + math.exp(-odds))


def measure(samples: Float32Array) -> Measures | None:
    """Measure what the gate weighs; None for digital silence.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        As :func:`is_speech`.

    Returns
    -------
    Measures or None
    """
    sound = _levelled(samples)
    return None if sound is None else _measures(sound, _hear(sound))


def _measures(sound: Float32Array, heard: tuple[float, float]) -> Measures:
    import soxr  # few sounds are heard twice

    slow = soxr.resample(sound, RATE, RATE * _SLOWER)
    return Measures(*heard, *_hear(slow, slower=_SLOWER), *_movement(sound))


def _levelled(samples: Float32Array) -> Float32Array | None:
    """Bring the loudest 0.2 s to the common level; None where there is nothing."""
    if not len(samples):
        return None
    centred = samples - samples.mean()
    total = np.concatenate([[0.0], np.cumsum(np.square(centred, dtype=np.float64))])
    length = min(len(samples), RATE // 5)
    loudest = float((total[length:] - total[:-length]).max()) / length
    return None if loudest < _SILENT else (centred * (_LEVEL / math.sqrt(loudest))).astype(np.float32)


def _hear(
    sound: Float32Array, speech: Float32Array | None = None, *, lead: int = 0, slower: float = 1.0
) -> tuple[float, float]:
    """Silero's log-odds: mean over the loud frames, and largest mean over 0.32 s of the original.

    `speech` are the probabilities of the frames where they are known; the first began `lead` samples before the sound.
    """
    if speech is None:
        stream = SpeechProbability(level=False)
        speech, lead = np.concatenate([stream.push(sound), stream.finish()]), 0
    probability = speech.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(probability) - np.log1p(-probability), -_SURE, _SURE)
    frames = np.pad(sound, (lead, len(odds) * FRAME - lead - len(sound))).reshape(-1, FRAME)
    loud = _loud(np.square(frames, dtype=np.float64).sum(axis=1))
    width = min(round(10 * slower), len(odds))
    return float(odds[loud].mean()), float(np.convolve(odds, np.full(width, 1 / width), "valid").max())


def _loud(power: Array) -> NDArray[np.bool_]:
    return np.asarray(power >= power.max() * 10 ** (-_QUIET / 10))


def _movement(sound: Float32Array) -> tuple[float, float, float]:
    """Dynamics, flatness and movement of the spectrum in the telephone band."""
    low, high = (round(edge * 1024 / RATE) for edge in _BAND)
    band = Analysis(sound).power(1024, FRAME)[low:high].T.astype(np.float64) + 1e-6
    level = band.mean(axis=1)
    loud, decibels = _loud(level), 10 * np.log10(level)
    flatness = np.log(band).mean(axis=1) - np.log(level)
    shape = 10 * np.log10(band[:, : len(band[0]) // 6 * 6].reshape(len(band), -1, 6).mean(axis=2))
    shape -= shape.mean(axis=1, keepdims=True)
    change = np.abs(shape[3:] - shape[:-3]).mean(axis=1)[loud[3:] & loud[:-3]]
    return (
        float(np.std(np.maximum(decibels, decibels.max() - 40))),
        float(flatness[loud].mean()),
        float(change.mean()) if len(change) else 0.0,
    )
