"""The speech gate: real speech passes at any level, other sound does not."""

from __future__ import annotations

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.errors import InputError
from emovox.lab.augmentation.augment import coloured_noise, mix
from emovox.speech import vad
from emovox.speech.vad import GateOptions, is_speech, measure, speech_probability
from emovox.types import RATE, Float32Array
from tests import EXAMPLES, examples
from tests.conftest import sine

CLIPS = sorted(EXAMPLES.glob("*.wav"))


def chirp(rng: np.random.Generator) -> Float32Array:
    time = np.arange(2 * RATE) / RATE
    return np.sin(2 * np.pi * 200 * (8**time - 1) / math.log(8)).astype(np.float32)


def hum(rng: np.random.Generator) -> Float32Array:
    return sum((sine(50 * k, 3.0, amplitude=0.3 / k) for k in range(1, 9)), np.zeros(3 * RATE, np.float32))


def clicks(rng: np.random.Generator) -> Float32Array:
    train = np.zeros(3 * RATE, np.float32)
    train[:: RATE // 4] = 1
    return train


def chords(rng: np.random.Generator) -> Float32Array:
    """Play four chords of three notes with overtones that die away."""
    fade = np.exp(-3 * np.arange(RATE // 2) / RATE).astype(np.float32)
    roots = (220.0, 174.6, 261.6, 196.0)
    return np.concatenate(
        [
            fade * sum((sine(r * i * k, 0.5, amplitude=0.1 / k) for i in (1, 1.25, 1.5) for k in (1, 2, 3)), 0 * fade)
            for r in roots
        ]
    )


OTHER = {
    "digital silence": lambda rng: np.zeros(RATE, np.float32),
    "constant": lambda rng: np.full(RATE, 0.2, np.float32),
    "noise floor": lambda rng: 1e-4 * coloured_noise(3 * RATE, rng),
    "white noise": lambda rng: 0.1 * coloured_noise(3 * RATE, rng),
    "pink noise": lambda rng: 0.1 * coloured_noise(3 * RATE, rng, 1),
    "brown noise": lambda rng: 0.1 * coloured_noise(3 * RATE, rng, 2),
    "tone": lambda rng: sine(440, 2.0),
    "two tones": lambda rng: sine(697, 1.0) + sine(1209, 1.0),
    "sweep": chirp,
    "hum": hum,
    "clicks": clicks,
    "chords": chords,
}


@pytest.mark.parametrize("kind", OTHER)
def test_other_sound_is_refused(kind: str, rng: np.random.Generator) -> None:
    assert not is_speech(OTHER[kind](rng))


@pytest.mark.parametrize("file", CLIPS, ids=lambda file: file.stem)
@pytest.mark.parametrize("level", [-80, -40, 0, 20])
def test_speech_is_accepted_at_any_level(file: Path, level: int) -> None:
    samples = audio.read(file).samples
    assert is_speech(samples * np.float32(10 ** (level / 20)) + np.float32(0.1))


@settings(max_examples=examples(15), deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1, 1))
def test_nothing_depends_on_level_and_offset(gain: float, offset: float) -> None:
    samples = audio.read(CLIPS[0]).samples
    moved = (samples * np.float32(gain) + np.float32(offset * gain * 0.1)).astype(np.float32)
    before, after = measure(samples), measure(moved)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after, before, atol=0.02)


@pytest.mark.corpora
def test_every_emotion_is_accepted_clean_and_in_noise(ravdess_clips: list[Path], rng: np.random.Generator) -> None:
    for file in ravdess_clips:
        samples = audio.read(file).samples
        assert is_speech(samples), file.name
        assert is_speech(mix(samples, coloured_noise(len(samples), rng, 1), 10, rng)), file.name


@pytest.mark.corpora
def test_a_scream_that_silero_refuses_is_accepted(corpora: Path) -> None:
    samples = audio.read(corpora / "ravdess" / "Actor_06" / "03-01-05-02-02-02-06.flac").samples
    found = measure(samples)
    assert found is not None
    assert found.voice < 0 < found.slow_moment
    assert is_speech(samples)


def test_flatness_and_dynamics_are_librosas(rng: np.random.Generator) -> None:
    noise = coloured_noise(4 * RATE, rng) * (0.3 + np.sin(np.arange(4 * RATE) / 4000) ** 2).astype(np.float32)
    found = measure(noise)
    assert found is not None
    power = np.abs(librosa.stft(noise, n_fft=1024, hop_length=512, pad_mode="constant")) ** 2
    band = power[16:218]
    level = band.mean(axis=0)
    loud = level >= level.max() / 10**2.5
    flat = np.log(librosa.feature.spectral_flatness(S=band, power=1.0, amin=1e-30)[0])
    assert found.flatness == pytest.approx(flat[loud].mean(), abs=0.01)
    assert found.dynamics == pytest.approx(np.std(librosa.power_to_db(level, top_db=40)), abs=0.01)


def test_movement_is_zero_for_a_sound_that_stands_still_and_not_for_speech() -> None:
    tone, speech = measure(hum(np.random.default_rng(0))), measure(audio.read(CLIPS[0]).samples)
    assert tone is not None
    assert speech is not None
    assert tone.movement < 2 < 4 < speech.movement


@settings(max_examples=examples(20), deadline=None)
@given(length=st.integers(0, 9000), seed=st.integers(0, 99))
def test_any_length_has_an_answer(length: int, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    assert 0 <= speech_probability(noise) <= 1


def test_the_threshold_decides() -> None:
    noise = coloured_noise(RATE, np.random.default_rng(0))
    probability = speech_probability(noise)
    assert 0 < probability < 0.1
    assert is_speech(noise, GateOptions(probability))
    assert not is_speech(noise, GateOptions(probability + 1e-6))
    assert is_speech(np.zeros(RATE, np.float32), GateOptions(0))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_an_impossible_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match=f"threshold is {threshold}: expected a probability"):
        vad.GateOptions(threshold)
