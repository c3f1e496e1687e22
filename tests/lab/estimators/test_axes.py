"""Emotion axes against scikit-learn and numpy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from emovox.lab.estimators import axes
from emovox.lab.estimators.axes import Axes, Clips, balanced, logistic


def blobs(n: int = 90, width: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 3
    return (rng.normal(size=(n, width)) + np.eye(3, width)[target]).astype(np.float32), target


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    X, target = blobs(30)
    seen = {}

    def spy(loss: object, start: NDArray[np.float64], **_: object) -> tuple[NDArray[np.float64], float, None]:
        seen["loss"] = loss
        return start, 0.0, None

    monkeypatch.setattr(axes, "fmin_l_bfgs_b", spy)
    logistic(X, target, np.full((30, 3), 0.5, np.float32), np.ones(30, np.float32), 0.1)
    loss = seen["loss"]
    point = np.random.default_rng(0).normal(size=7 * 3) / 10
    assert callable(loss)
    assert check_grad(lambda at: loss(at)[0], lambda at: loss(at)[1], point, epsilon=1e-3) < 5e-3


@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_regression_is_that_of_scikit_learn(weighted: bool) -> None:
    X, target = blobs()
    weight = np.ones(len(X), np.float32)
    if weighted:
        weight = np.random.default_rng(0).uniform(0.2, 3, len(X)).astype(np.float32)
        weight /= weight.mean()
    penalty = 0.025
    coefficients, intercepts = logistic(X, target, np.ones((len(X), 3), np.float32), weight, penalty, 500)
    # scikit-learn minimises half the squared norm plus C times the sum of the losses.
    other = LogisticRegression(C=1 / (2 * penalty * len(X)), tol=1e-8, max_iter=1000)
    expected = other.fit(X, target, sample_weight=weight).predict_proba(X)
    assert np.abs(softmax(X @ coefficients + intercepts) - expected).max() < 2e-3


def test_priors_shift_logits() -> None:
    X, target = blobs(900)
    prior = np.tile(np.array([1, 1, 0.25], np.float32), (900, 1))
    plain, adjusted = (
        logistic(X, target, one, np.ones(900, np.float32), 1e-3, 500) for one in (np.ones_like(prior), prior)
    )
    np.testing.assert_allclose(adjusted[0], plain[0], atol=0.02)
    shift = (adjusted[1] - plain[1]) + np.log(prior[0])
    assert np.ptp(shift) < 0.02


def test_corpora_speakers_and_classes_count_alike() -> None:
    rng = np.random.default_rng(0)
    corpus = np.repeat(["a", "b"], [300, 60])
    person = np.char.add(corpus, rng.choice(["x", "y", "z"], 360, p=[0.5, 0.3, 0.2]))
    target = rng.integers(0, 3, 360)
    weight = balanced(target, corpus, person, most=1e9)
    assert weight.mean() == pytest.approx(1, rel=1e-5)
    for one in ("a", "b"):
        assert weight[corpus == one].sum() == pytest.approx(180, rel=1e-4)
        for who in np.unique(person[corpus == one]):
            assert weight[person == who].sum() == pytest.approx(60, rel=1e-4)
            shares = [weight[(person == who) & (target == label)].sum() for label in range(3)]
            np.testing.assert_allclose(shares, 20, rtol=1e-4)
    assert balanced(target, corpus, person, most=1.5).max() == 1.5


def recorded(seed: int = 0, n_classes: int = 3) -> Clips:
    """Two settings, whose microphones shift all embeddings, with four speakers each."""
    rng = np.random.default_rng(seed)
    target = np.tile(np.arange(n_classes), 160)
    setting = np.repeat(["near", "far"], len(target) // 2)
    number = np.repeat(np.arange(8), len(target) // 8)
    embedding = rng.normal(size=(len(target), 12)) + 2 * np.eye(n_classes, 12)[target]
    embedding += 3 * rng.normal(size=(8, 12))[number] * (np.arange(12) >= 6)
    embedding += np.where(setting == "far", 5.0, 0.0)[:, np.newaxis]
    prior = np.ones((len(target), n_classes), np.float32)
    return Clips(embedding.astype(np.float32), target, prior, setting, np.char.add("s", number.astype(str)), setting)


def fit(clips: Clips, size: int = 12) -> Axes:
    basis = axes.components(clips, size, 0)
    reduced = dataclasses.replace(clips, embedding=basis(clips.embedding))
    return basis.unfolded(axes.fit(reduced, np.ones(len(clips), np.float32), 0, 1e-3))


def test_axes_tell_emotions_whatever_the_setting() -> None:
    clips = recorded()
    scores = fit(clips)(clips.embedding)
    assert scores.shape == (len(clips), 9)
    for setting in ("near", "far"):
        here = clips.setting == setting
        centred = scores[here] - scores[here].mean(axis=0)
        for view in range(axes.VIEWS):
            answers = centred[:, 3 * view : 3 * view + 3].argmax(axis=1)
            assert (answers == clips.target[here]).mean() > 0.75


def test_scores_of_a_view_sum_to_a_constant() -> None:
    clips = recorded()
    found = fit(clips)
    sums = found.matrix.reshape(12, axes.VIEWS, 3).sum(axis=2)
    assert np.abs(sums).max() < 1e-4


def test_a_view_is_logistic_regression_on_what_it_sees() -> None:
    # With all components, centring on the setting is a linear map of embeddings, which scikit-learn can be given too.
    clips = recorded()
    here = clips[clips.setting == "near"]
    found = fit(here)
    other = LogisticRegression(C=1e4, max_iter=2000).fit(here.embedding, here.target)
    answers = found(here.embedding)[:, 3:6].argmax(axis=1)
    assert (answers == other.predict(here.embedding)).mean() > 0.97


def test_components_are_those_within_settings() -> None:
    clips = recorded()
    basis = axes.components(clips, 4, 0)
    mean, deviation, directions = basis.mean, basis.deviation, basis.directions
    centred = np.concatenate(
        [
            clips.embedding[clips.setting == one] - clips.embedding[clips.setting == one].mean(0)
            for one in ("near", "far")
        ]
    )
    # All clips are drawn where a setting has few.
    np.testing.assert_allclose(deviation, centred.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(
        mean, (clips.embedding[:240].mean(axis=0) + clips.embedding[240:].mean(axis=0)) / 2, atol=1e-4
    )
    points = basis(clips.embedding)
    np.testing.assert_allclose(points, (clips.embedding - mean) / deviation @ directions, atol=1e-5)
    spread = np.concatenate(
        [points[clips.setting == one] - points[clips.setting == one].mean(0) for one in ("near", "far")]
    )
    assert spread[:, 0].std() == pytest.approx(1, abs=0.1)
    expected = PCA(4).fit(centred / centred.std(axis=0)).components_
    unit = directions / np.linalg.norm(directions, axis=0)
    np.testing.assert_allclose(np.linalg.svd(expected @ unit)[1], 1, atol=0.05)


def test_points_of_view_are_centred_on_settings_and_on_neutral_speech() -> None:
    clips = recorded()
    points = clips.embedding
    centred, absolute, from_neutral = axes._points_of_view(points, clips, 0)
    np.testing.assert_array_equal(absolute, points)
    for setting in ("near", "far"):
        np.testing.assert_allclose(centred[clips.setting == setting].mean(axis=0), 0, atol=1e-4)
    own = clips.speaker == "s3"
    neutral = centred[own & (clips.target == 0)]
    expected = centred[own] - neutral.mean(axis=0) * len(neutral) / (len(neutral) + 1)
    np.testing.assert_allclose(from_neutral[own], expected, atol=1e-4)
    # Without a neutral class, speakers are left as they are.
    np.testing.assert_array_equal(axes._points_of_view(points, clips, None)[2], centred)
