"""Drawn baselines against what was given to whom."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from emovox.lab.estimators.drawn_baselines import (
    SETTING_PARTS,
    Draws,
    Heard,
    Virtual,
    draw,
    moved,
)

#: Settings with 200 clips of four classes each, of ten speakers.
TARGET = np.arange(400) % 4
SETTINGS = np.split(np.arange(400), 2)
SPEAKERS = np.split(np.arange(400), 20)
ALWAYS = Draws(without_setting=0.0, without_speaker=0.0)


def values(width: int = 3, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(400, width)).astype(np.float32)


def test_what_is_given_has_the_statistics_of_numpy_without_the_clip_itself() -> None:
    X, members, chosen = values(), np.array([0, 1, 2, 300]), np.array([1, 2, 5, 6, 7])
    heard = Heard.nothing(*X.shape)
    heard.give(members, chosen, X)
    for row in members:
        others = X[chosen[chosen != row]]
        assert heard.count[row, 0] == len(others)
        np.testing.assert_allclose(heard.mean[row], others.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(heard.variance[row], others.var(axis=0), atol=1e-5)
    untouched = np.setdiff1d(np.arange(400), members)
    assert not heard.packed()[untouched].any()


def test_a_clip_alone_leaves_nothing_for_itself() -> None:
    X = values()
    heard = Heard.nothing(*X.shape)
    heard.give(np.array([4, 5]), np.array([4]), X)
    assert not heard.packed()[4].any()
    np.testing.assert_allclose(heard.packed()[5], [1, *X[4], 0, 0, 0], atol=1e-6)


def test_baselines_are_of_the_own_setting_and_speaker() -> None:
    # Each value says whose it is, so that a mean with any other clip in it would not be a whole number.
    own = np.stack([np.repeat([0, 1], 200), np.repeat(np.arange(20), 20)], axis=1).astype(np.float32)
    setting, speaker = draw(own, TARGET, SETTINGS, SPEAKERS, 0, ALWAYS, np.random.default_rng(0))
    assert (setting.count > 0).all()
    np.testing.assert_allclose(setting.mean[:, 0], own[:, 0], atol=1e-5)
    known = speaker.count[:, 0] > 0
    assert known.mean() > 0.9
    np.testing.assert_allclose(speaker.mean[known], own[known], atol=1e-5)
    assert (setting.count.max(), speaker.count.max()) <= (200, 12)
    assert setting.count.min() >= 2  # three drawn, less the clip itself


def test_parts_of_a_setting_share_a_baseline_and_are_left_out_together() -> None:
    X, rng = values(), np.random.default_rng(1)
    options = dataclasses.replace(ALWAYS, without_setting=0.5)
    unknown = [draw(X, TARGET, SETTINGS, SPEAKERS, 0, options, rng)[0].count[:, 0] == 0 for _ in range(30)]
    assert np.mean(unknown) == pytest.approx(0.5, abs=0.1)
    assert all(one.sum() % (200 // SETTING_PARTS) == 0 for one in unknown)
    nothing = Draws(without_setting=1.0, without_speaker=1.0)
    assert not any(one.packed().any() for one in draw(X, TARGET, SETTINGS, SPEAKERS, 0, nothing, rng))


@pytest.mark.parametrize("neutral", [2, None])
def test_moods_are_drawn_as_often_as_the_options_say(neutral: int | None) -> None:
    # The value of a clip is its class: the mean of squares is that of the classes heard.
    X = np.eye(4, dtype=np.float32)[TARGET]
    options = dataclasses.replace(ALWAYS, one_mood=1.0, of_it_neutral=1.0, speaker_neutral=1.0, speaker_one=0.0)
    rng, found = np.random.default_rng(0), []
    for _ in range(8):
        setting, speaker = draw(X, TARGET, SETTINGS, SPEAKERS, neutral, options, rng)
        found.append(np.concatenate([setting.mean[setting.count[:, 0] > 1], speaker.mean[speaker.count[:, 0] > 1]]))
    means = np.concatenate(found)
    strongest = means.max(axis=1)
    assert (strongest > 0.999).mean() > 0.4  # in half of the cases a few others get in
    of_class = (means.argmax(axis=1) == 2).mean()
    assert of_class > 0.9 if neutral == 2 else of_class < 0.5


def test_moving_a_clip_moves_its_baselines_with_it() -> None:
    X = values()
    baselines = draw(X, TARGET, SETTINGS, SPEAKERS, 0, ALWAYS, np.random.default_rng(0))
    own = np.repeat([X[rows].mean(axis=0) for rows in SETTINGS], 200, axis=0)
    between = np.array([[1.0, 2, 3], [-1, -2, -3]], np.float32)
    shift_only = Virtual(offset=2.0, gain=0.0, voice=0.0)
    seen, setting, speaker = moved(X, baselines, (own, between), shift_only, np.random.default_rng(1))
    shift = seen - X
    assert 0.2 < (np.abs(shift).max(axis=1) == 0).mean() < 0.4 or (np.abs(shift).max(axis=1) < 1e-6).mean() > 0.2
    for heard, before in zip((setting, speaker), baselines, strict=True):
        known = before.count[:, 0] > 0
        np.testing.assert_allclose((heard.mean - before.mean)[known], shift[known], atol=1e-5)
        np.testing.assert_array_equal(heard.variance, before.variance)
        np.testing.assert_array_equal(heard.count, before.count)
        assert not heard.mean[~known].any()


def test_a_gain_scales_distances_and_spreads() -> None:
    X = values()
    baselines = draw(X, TARGET, SETTINGS, SPEAKERS, 0, ALWAYS, np.random.default_rng(0))
    own, between = np.zeros_like(X), np.zeros((2, 3), np.float32)
    scaled_only = Virtual(offset=0.0, gain=0.5, voice=0.0)
    seen, setting, _ = moved(X, baselines, (own, between), scaled_only, np.random.default_rng(1))
    gain = (seen / X)[:, :1]
    np.testing.assert_allclose(seen, gain * X, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(setting.variance, gain**2 * baselines[0].variance, rtol=1e-3, atol=1e-5)
    assert np.log(gain).std() == pytest.approx(0.5, rel=0.15)


def test_a_voice_moves_the_speakers_baseline_and_not_the_settings() -> None:
    X = values()
    baselines = draw(X, TARGET, SETTINGS, SPEAKERS, 0, ALWAYS, np.random.default_rng(0))
    own, between = np.zeros_like(X), np.zeros((2, 3), np.float32)
    voice_only = Virtual(offset=0.0, gain=0.0, voice=1.0)
    seen, setting, speaker = moved(X, baselines, (own, between), voice_only, np.random.default_rng(1))
    known = baselines[1].count[:, 0] > 0
    np.testing.assert_allclose((speaker.mean - baselines[1].mean)[known], (seen - X)[known], atol=1e-5)
    np.testing.assert_allclose(setting.mean, baselines[0].mean, atol=1e-6)
