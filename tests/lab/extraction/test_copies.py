"""Augmented copies: what is alike within a speaker, what the cache keeps, and what they need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emovox import audio
from emovox.features import sets
from emovox.lab.augmentation.augment import AugmentOptions
from emovox.lab.experiments import dataset, recipe
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.extraction.extraction import augmented, extract_copies
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
    )


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
