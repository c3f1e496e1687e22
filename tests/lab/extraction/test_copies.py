"""Augmented copies: what is alike within a speaker, what the cache keeps, and what they need."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from emovox import audio
from emovox.features import sets
from emovox.lab.augmentation.augment import AugmentOptions
from emovox.lab.corpora.table import Clip, Provenance, from_clips
from emovox.lab.experiments import dataset, recipe
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.extraction.extraction import augmented, extract_copies, virtual_setting
from emovox.types import Float32Array
from tests import EXAMPLES
from tests.conftest import speech

EXAMPLE = EXAMPLES / "plain.wav"


def only_speed(low: float, high: float) -> AugmentOptions:
    return AugmentOptions(
        speed=1.0,
        speed_range=(low, high),
        tempo=0.0,
        pitch=0.0,
        room=0.0,
        noise=0.0,
        gain=0.0,
        clip=0.0,
        band=0.0,
        telephone=0.0,
        codec=0.0,
        tilt=0.0,
        crop=0.0,
    )


def heard(options: AugmentOptions, group: str, seed: int, copy: int = 0) -> Float32Array:
    """Return what a copy does to the spectrum of a clip of white noise, in dB, less its mean."""
    noise = (np.random.default_rng(seed).normal(size=16000) / 20).astype(np.float32)
    changed = augmented(noise, options, (0, copy), group, f"{seed}.wav")
    decibels = 20 * np.log10(np.abs(np.fft.rfft(changed)) / np.abs(np.fft.rfft(noise)))[500:3500]
    return np.asarray(decibels - decibels.mean(), dtype=np.float32)


def test_all_clips_of_a_virtual_setting_have_one_microphone() -> None:
    options = dataclasses.replace(only_speed(1.0, 1.0), tilt=1.0, settings=3)
    speakers = [f"demo/{number}" for number in range(12)]
    names = {speaker: virtual_setting(options, (0, 0), speaker) for speaker in speakers}
    assert set(names.values()) == {"demo/0", "demo/1", "demo/2"}
    responses: dict[str, list[Float32Array]] = {}
    for seed, (speaker, setting) in enumerate(names.items()):
        responses.setdefault(setting, []).append(heard(options, speaker, seed))
    for same in responses.values():
        assert all(np.abs(one - same[0]).max() < 0.1 for one in same)
    first, second, third = (same[0] for same in responses.values())
    assert min(np.abs(first - second).max(), np.abs(first - third).max(), np.abs(second - third).max()) > 0.3
    # In another copy, speakers meet in other settings, which have other microphones.
    assert {virtual_setting(options, (0, 1), one) for one in speakers} == set(names.values())
    assert [virtual_setting(options, (0, 1), one) for one in speakers] != list(names.values())
    assert np.abs(heard(options, speakers[0], 0, copy=1) - heard(options, speakers[0], 0)).max() > 0.3
    # Without settings, each clip has its own.
    alone = dataclasses.replace(options, settings=0)
    assert np.abs(heard(alone, speakers[0], 0) - heard(alone, speakers[0], 1)).max() > 0.3


def test_settings_are_told_to_training() -> None:
    options = dataclasses.replace(only_speed(1.0, 1.0), tilt=1.0, settings=3)
    clips = [Clip(f"{number}.wav", "sad", speaker=f"demo/{number // 2}") for number in range(8)]
    table = from_clips(clips, "demo", Provenance("CC0"))
    found = dataset.settings_of(table, recipe.AugmentRecipe(copies=2, seed=4, options=options))
    assert found.shape == (8, 3)
    assert set(found[:, 0]) == {"demo"}
    for copy in (0, 1):
        expected = [virtual_setting(options, (4, copy), group) for group in dataset.groups(table)]
        assert found[:, 1 + copy].tolist() == expected
    assert all(found[row, 1] == found[row + 1, 1] for row in range(0, 8, 2))


def test_a_speakers_clips_have_one_speed_in_a_copy_and_others_another() -> None:
    sound = speech(2.0)
    lengths = {
        (group, copy): {
            len(augmented(sound, only_speed(0.8, 1.25), (0, copy), group, f"{clip}.wav")) for clip in range(3)
        }
        for group in ("ann", "bob")
        for copy in range(2)
    }
    assert all(len(found) == 1 for found in lengths.values())
    assert len(set.union(*lengths.values())) == 4
    assert all(2.0 / 1.26 < min(found) / 16000 < 2.0 / 0.79 for found in lengths.values())


def test_copies_repeat_and_are_kept(tmp_path: Path) -> None:
    spec, cache = sets.spec("prosodic", {}, {}), FeatureCache(tmp_path / "cache")
    options = AugmentOptions()

    def extract(seed: int, folder: FeatureCache) -> Float32Array:
        return np.stack(extract_copies([(EXAMPLE, 0.0, np.inf)], ["ann"], spec, options, 2, seed, folder, jobs=1))

    first = extract(0, cache)
    assert first.shape == (1, 2, spec.dimension)
    assert not np.array_equal(first[0, 0], first[0, 1])
    assert np.array_equal(first, extract(0, FeatureCache(tmp_path / "other")))
    kept = list((tmp_path / "cache").rglob("*.npy"))
    assert len(kept) == 2
    assert np.array_equal(first, extract(0, cache))
    assert not np.array_equal(first, extract(1, cache))


def test_a_very_short_clip_stays_long_enough() -> None:
    short = speech(0.5)[:1600]
    assert len(augmented(short, only_speed(1.25, 1.25), (0, 0), "ann", "a.wav")) == 1600


def test_clips_without_a_speaker_are_groups_of_their_own(toy_manifest: Path) -> None:
    changes = {"corpora": {"toy": {}}, "protocol.name": "random", "features.set": "prosodic", "preprocess": {}}
    data = dataset.load(recipe.load("ravdess-svm", changes), {"toy": toy_manifest}, jobs=1)
    names = dataset.groups(data.table)
    assert len(set(names)) == data.table["speaker"].nunique()
    nameless = data.table.assign(speaker="")
    assert len(set(dataset.groups(nameless))) == len(nameless)


def test_shown_clips_are_what_a_model_of_samples_gets(toy_manifest: Path) -> None:
    changes = {
        "corpora": {"toy": {}},
        "protocol.name": "random",
        "features.set": "prosodic",
        "preprocess.level": "peak",
    }
    data = dataset.load(recipe.load("ravdess-svm", changes), {"toy": toy_manifest}, jobs=1)
    shown = dataset.shown_clips(data, 5)
    whole = audio.read(data.paths[0]).samples
    assert 5 <= len(shown) <= len(data.paths)
    assert all(clip.dtype == np.float32 and clip.ndim == 1 for clip in shown)
    assert np.abs(shown[0]).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert len(shown[0]) <= len(whole)
