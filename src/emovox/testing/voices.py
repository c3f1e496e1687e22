"""Synthetic voices: vowels with pauses, the same for the same seed."""

from __future__ import annotations

import numpy as np

from emovox.errors import InputError
from emovox.types import RATE, Float32Array

#: Frequencies in Hz and bandwidths in Hz of the first three formants of an open vowel.
_FORMANTS = ((730.0, 90.0), (1090.0, 110.0), (2440.0, 170.0))


def synthetic_voice(duration: float = 3.0, *, pitch: float = 120.0, pause: float = 0.2, seed: int = 0) -> Float32Array:
    """Make a sound like somebody who says "ah" again and again: harmonics under formants, syllables, pauses.

    Parameters
    ----------
    duration : float, default 3.0
        Length in seconds, more than 0.
    pitch : float, default 120.0
        Mean fundamental frequency in Hz, from 50 to 500; 120 is like a man's voice, 210 like a woman's.
    pause : float, default 0.2
        Silence after every syllable of about 0.25 s, in seconds.
    seed : int, default 0
        The same seed gives the same samples.

    Returns
    -------
    ndarray of float32, shape (round(16000 * duration),)
        Mono at 16 kHz, with a peak of 0.5.

    Raises
    ------
    InputError
        A parameter is out of its range.

    Examples
    --------
    >>> synthetic_voice(2.0).shape
    (32000,)
    """
    if not duration > 0 or not 50 <= pitch <= 500 or not pause >= 0:
        raise InputError(
            f"duration {duration}, pitch {pitch}, pause {pause}: expected more than 0 s, 50 to 500 Hz and at least 0 s"
        )
    rng = np.random.default_rng(seed)
    count = max(1, round(RATE * duration))
    time = np.arange(count) / RATE
    melody = pitch * (1 + 0.08 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 2 * np.pi)))
    phase = 2 * np.pi * np.cumsum(melody) / RATE
    sound = np.zeros(count)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = sum(width**2 / (width**2 + (frequency - centre) ** 2) for centre, width in _FORMANTS)
        sound += (gain + 0.05) / harmonic**0.5 * np.sin(harmonic * phase)
    sound *= _syllables(count, pause, rng)
    sound += 1e-3 * np.abs(sound).max() * rng.standard_normal(count)
    return np.asarray(0.5 * sound / np.abs(sound).max(), dtype=np.float32)


def _syllables(count: int, pause: float, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a loudness that swells and fades with every syllable and is 0 in the pauses."""
    found = np.zeros(count)
    begin = 0
    while begin < count:
        length = round(RATE * rng.uniform(0.2, 0.3))
        swell = np.sin(np.linspace(0, np.pi, length)) ** 0.5
        found[begin : begin + length] = swell[: count - begin]
        begin += length + round(RATE * pause)
    return found
