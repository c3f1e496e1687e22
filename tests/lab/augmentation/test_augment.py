"""Augmentation against closed forms, room acoustics, libsndfile's G.711, Praat's pitch and real speech."""

from __future__ import annotations

import dataclasses
import pickle
import time
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.lab.augmentation.augment import Augmenter, AugmentOptions, microphone
from emovox.lab.augmentation.distortions import (
    gain,
)
from emovox.types import RATE, Float32Array
from tests import ROOT, examples
from tests.conftest import sine, toy_clip
from tests.lab.augmentation import power_at, ratio_db

#: The options that are probabilities, by the names of the distortions.
CHANCES = ("speed", "tempo", "pitch", "room", "noise", "gain", "clip", "band", "telephone", "codec", "tilt", "crop")


def only(*names: str, **others: Any) -> AugmentOptions:
    """Switch the named distortions on for certain and all others off."""
    return AugmentOptions(**({name: float(name in names) for name in CHANCES} | others))


def test_options_are_read_and_checked_by_pydantic() -> None:
    reader = pydantic.TypeAdapter(AugmentOptions)

    assert reader.validate_python({"snr": [5, 20], "codecs": ["gsm"]}) == AugmentOptions(snr=(5, 20), codecs=("gsm",))
    for wrong in ({"noisy": 1}, {"noise": 1.5}, {"snr": [20, 5]}, {"rt60": [0, 1]}, {"codecs": ["aac"]}):
        with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
            reader.validate_python(wrong)


def test_every_probability_is_known_to_these_tests() -> None:
    chances = {field.name for field in dataclasses.fields(AugmentOptions) if isinstance(field.default, float)}
    assert chances == set(CHANCES)


def test_defaults_in_the_documentation_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "audio.md").read_text(encoding="utf-8")
    for name in CHANCES:
        assert f"| `{name}` {getattr(AugmentOptions, name):g} |" in page
        if ends := getattr(AugmentOptions, f"{name}_range", None):
            assert f"| {ends[0]:g} to {ends[1]:g} |" in page


@given(
    length=st.integers(1600, 40000),
    level=st.floats(-80, 6),
    seed=st.integers(0, 999),
    certain=st.sets(st.sampled_from(CHANCES)),
)
@settings(deadline=None, max_examples=examples(60))
def test_augmented_speech_is_sound_of_the_right_length(length: int, level: float, seed: int, certain: set[str]) -> None:
    voices = [toy_clip(label, 0, 0) for label in ("angry", "sad", "happy")]
    samples = gain(np.resize(toy_clip("neutral", 1, 0), length), level)
    before = samples.copy()
    distorted = Augmenter(only(*certain), noises=voices[:1], voices=voices)(samples, np.random.default_rng(seed))

    np.testing.assert_array_equal(samples, before)
    assert distorted.dtype == np.float32
    assert np.isfinite(distorted).all()
    assert np.abs(distorted).max() <= 1
    if "crop" in certain:
        assert min(8000, 0.7 * length) * 0.6 < len(distorted) < 1.4 * length or len(distorted) < len(samples)
    elif certain & {"speed", "tempo"}:
        assert 0.7 * length < len(distorted) < 1.4 * length
    else:
        assert len(distorted) == length
    assert 0.005 < np.std(distorted) / np.std(samples) < 6


def test_only_what_was_asked_for_happens(speech: list[Float32Array], rng: np.random.Generator) -> None:
    samples = speech[4]
    np.testing.assert_array_equal(Augmenter(only())(samples, rng), samples)
    for name in CHANCES:
        assert not np.array_equal(Augmenter(only(name))(samples, rng), samples), name


def test_augmentation_is_repeatable_and_travels_to_other_processes(speech: list[Float32Array]) -> None:
    augmenter = Augmenter(AugmentOptions(), noises=speech[:1], voices=speech[1:4])
    copy = pickle.loads(pickle.dumps(augmenter))

    for seed in range(8):
        first = augmenter(speech[5], np.random.default_rng(seed))
        np.testing.assert_array_equal(first, copy(speech[5], np.random.default_rng(seed)))
        assert not np.array_equal(first, augmenter(speech[5], np.random.default_rng(seed + 100)))


def test_crops_are_parts_of_the_speech_of_all_lengths_asked_for(rng: np.random.Generator) -> None:
    silence, tone = np.zeros(RATE, np.float32), sine(440, 3.0)
    ramp = (tone * np.linspace(0.5, 1, len(tone))).astype(np.float32)
    crop = Augmenter(only("crop", crop_range=(0.5, 2.0)))
    cropped = [crop(np.concatenate([silence, ramp, silence]), rng) for _ in range(60)]
    lengths = np.array([len(one) for one in cropped]) / RATE
    assert (lengths.min(), lengths.max()) == (pytest.approx(0.5, abs=0.1), pytest.approx(2.0, abs=0.15))
    # Of a logarithmic distribution, half are shorter than the geometric mean.
    assert (lengths < 1).mean() == pytest.approx(0.5, abs=0.2)
    for one in cropped:
        assert np.abs(np.lib.stride_tricks.sliding_window_view(ramp, 50) - one[4000:4050]).max(axis=1).min() < 1e-6
    short = np.concatenate([silence, sine(440, 0.3), silence])
    kept = crop(short, rng)
    assert 0.3 * RATE <= len(kept) < 0.6 * RATE


def test_a_microphone_has_what_settings_have_alone() -> None:
    own = microphone(only(*CHANCES, tilt_range=(2.0, 3.0), settings=3))
    assert {name for name in CHANCES if getattr(own, name)} == {"tilt", "band", "telephone"}
    assert own.tilt_range == (2.0, 3.0)


@pytest.mark.parametrize("sources", ["coloured", "babble", "recorded"])
def test_noise_is_within_the_range_of_ratios(sources: str, speech: list[Float32Array]) -> None:
    voices, noises = speech[:5] * (sources == "babble"), [sine(900, 3)] * (sources == "recorded")
    augmenter = Augmenter(only("noise", snr=(8.0, 12.0)), noises=noises, voices=voices)
    added = [augmenter(speech[5], np.random.default_rng(seed)) - speech[5] for seed in range(20)]

    ratios = [ratio_db(speech[5], noise) for noise in added]
    assert min(ratios) > 7.99
    assert max(ratios) < 12.01
    assert max(ratios) - min(ratios) > 2
    if sources == "recorded":
        shares = [power_at(noise, 890, 910) for noise in added]
        assert sum(share > 0.99 for share in shares) == pytest.approx(10, abs=6)  # every other one, by chance


def test_silence_is_left_alone(rng: np.random.Generator) -> None:
    everything = Augmenter(only(*CHANCES))
    for length in (0, 1, 16000):
        silence = np.zeros(length, dtype=np.float32)
        assert everything(silence, rng) is silence


def test_noise_that_is_silent_in_places_is_skipped_there() -> None:
    noise = np.zeros(16000, dtype=np.float32)
    noise[8000:8010] = 1
    augmenter = Augmenter(only("noise"), noises=[noise])
    tone = sine(220, 0.05)
    unchanged = [np.array_equal(augmenter(tone, np.random.default_rng(seed)), tone) for seed in range(40)]

    assert 5 < sum(unchanged) < 35


@pytest.mark.parametrize("seconds", [0.1, 30])
def test_default_chain_takes_short_and_long_clips(seconds: float, speech: list[Float32Array]) -> None:
    samples = np.resize(speech[4], round(seconds * RATE))
    augmenter = Augmenter(voices=speech)
    for seed in range(6):
        distorted = augmenter(samples, np.random.default_rng(seed))
        assert np.isfinite(distorted).all()
        assert 0.7 * len(samples) < len(distorted) < 1.4 * len(samples)


def test_default_chain_is_fast_enough_for_training(speech: list[Float32Array]) -> None:
    """Half the clips take less than 6 ms each on an idle core; the margin is for a busy one."""
    augmenter = Augmenter(voices=speech)
    took = []
    for seed in range(60):
        begin = time.process_time()
        augmenter(speech[seed % len(speech)][:40000], np.random.default_rng(seed))
        took.append(time.process_time() - begin)
    assert np.median(took) < 0.02
