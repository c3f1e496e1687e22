"""The adaptive heads against scikit-learn, and against what a baseline should do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from emovox.errors import ProtocolError, RecipeError
from emovox.lab.estimators import adaptive
from emovox.lab.estimators.adaptive import AdaptiveClassifier, AdaptiveHead, AdaptiveOptions, clip_weights, logistic
from emovox.lab.experiments.recipe import load
from tests.lab.estimators import voices

LABELS = np.array(["neutral", "happy", "sad"])


def blobs(n: int = 90, width: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 3
    return (rng.normal(size=(n, width)) + np.eye(3, width)[target]).astype(np.float32), target


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    X, target = blobs()
    penalty = 0.05
    coefficients, intercepts = logistic(X, target, np.ones((90, 3), np.float32), np.ones(90, np.float32), penalty, 500)
    other = LogisticRegression(C=1 / (penalty * len(X)), tol=1e-8, max_iter=1000).fit(X, target)
    expected = other.predict_proba(X)
    found = torch.softmax(torch.from_numpy(X @ coefficients + intercepts), dim=1).numpy()
    assert np.abs(found - expected).max() < 2e-3


def test_rows_count_as_scikit_learns_sample_weights() -> None:
    X, target = blobs(seed=3)
    counts = np.random.default_rng(0).uniform(0.2, 3, len(X)).astype(np.float32)
    counts /= counts.mean()
    coefficients, intercepts = logistic(X, target, np.ones((90, 3), np.float32), counts, 0.05, 500)
    other = LogisticRegression(C=1 / (0.05 * len(X)), tol=1e-8, max_iter=1000).fit(X, target, sample_weight=counts)
    found = torch.softmax(torch.from_numpy(X @ coefficients + intercepts), dim=1).numpy()
    assert np.abs(found - other.predict_proba(X)).max() < 2e-3


def test_a_class_that_a_corpus_lacks_is_not_taught_as_absent() -> None:
    X, target = blobs(300)
    corpora = np.where(np.arange(300) < 150, "three", "two")
    kept = ~((corpora == "two") & (target == 2))
    speakers = np.array([f"{corpus}{index % 4}" for index, corpus in enumerate(corpora)])
    y = LABELS[target]
    masked, taught = (
        AdaptiveClassifier(AdaptiveOptions(penalty=0.01, absent=absent)).fit(
            X[kept], y[kept], speakers[kept], corpora[kept]
        )
        for absent in (0.01, 1.0)
    )
    third = X[target == 2]
    column = list(masked.classes_).index(LABELS[2])
    assert masked.predict_proba(third)[:, column].mean() > taught.predict_proba(third)[:, column].mean() + 0.05


def test_a_baseline_removes_the_voice() -> None:
    X, y, speakers = voices()
    train = speakers != "s11"
    model = AdaptiveClassifier(AdaptiveOptions(penalty=1e-4)).fit(X[train], y[train], speakers[train])
    test = np.flatnonzero(~train)
    baseline = X[test[y[test] == "neutral"][:2]].mean(axis=0)
    plain = (model.predict(X[test]) == y[test]).mean()
    enrolled = (model.classes_[model.predict_proba(X[test], baseline).argmax(axis=1)] == y[test]).mean()
    assert enrolled > 0.95
    assert plain < 0.8


def test_speakers_count_the_same_and_classes_within_them() -> None:
    rng = np.random.default_rng(0)
    target, speakers = rng.integers(0, 3, 200), rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1])
    weight = clip_weights(target, speakers)
    totals = [weight[speakers == who].sum() for who in "abc"]
    assert np.allclose(totals, 200 / 3, rtol=1e-4)
    for who in "abc":
        own = speakers == who
        shares = [weight[own & (target == label)].sum() for label in np.unique(target[own])]
        assert np.allclose(shares, shares[0], rtol=1e-4)


def test_a_baseline_never_holds_the_clip_itself() -> None:
    _, y, speakers = voices()
    views = np.arange(len(y), dtype=np.float32)[np.newaxis, :, np.newaxis]  # each embedding is its row's number
    clip = np.arange(len(y))
    rng = np.random.default_rng(0)
    drawn = adaptive.draw_baselines(views, np.zeros_like(clip), clip, speakers, y == "neutral", 0.0, rng)
    first, last = clip // 24 * 24, clip // 24 * 24 + 23
    assert ((drawn[:, 0] >= first) & (drawn[:, 0] <= last)).all()
    one = adaptive.draw_baselines(views, np.zeros_like(clip), clip, speakers, np.isin(clip % 24, (0, 1)), 0.0, rng)
    assert one[0, 0] == 1
    assert one[1, 0] == 0


def test_a_speaker_gives_no_more_rows_than_asked() -> None:
    speakers = np.repeat(["a", "b"], [10, 3])
    view, clip = adaptive.draw_rows(speakers, 4, 12, np.random.default_rng(0))
    assert [(speakers[clip] == who).sum() for who in "ab"] == [12, 12]
    assert len(set(zip(view.tolist(), clip.tolist(), strict=True))) == 24
    assert view.max() < 4


def test_copies_teach() -> None:
    rng = np.random.default_rng(0)
    X, y, speakers = voices()
    shifted = X[:, np.newaxis] + rng.normal(size=(len(X), 3, 5)).astype(np.float32)
    alone = AdaptiveClassifier().fit(X, y, speakers)
    both = AdaptiveClassifier().fit(X, y, speakers, copies=shifted)
    assert not np.allclose(alone.plain_[0], both.plain_[0])
    assert both.scale_.mean() > alone.scale_.mean()


def test_the_same_seed_gives_the_same_heads() -> None:
    X, y, speakers = voices()
    one, same, other = (AdaptiveClassifier(AdaptiveOptions(seed=seed)).fit(X, y, speakers) for seed in (1, 1, 2))
    assert np.array_equal(one.enrolled_[0], same.enrolled_[0])
    assert not np.array_equal(one.enrolled_[0], other.enrolled_[0])


def test_the_network_computes_what_the_estimator_does() -> None:
    X, y, speakers = voices()
    model = AdaptiveClassifier().fit(X, y, speakers)
    head = AdaptiveHead(torch.nn.Identity(), model).eval()
    baseline = np.tile(X[:2].mean(axis=0), (len(X), 1))
    with torch.inference_mode():
        plain, embedding = head(torch.from_numpy(X), torch.zeros(len(X), 5))
        enrolled, _ = head(torch.from_numpy(X), torch.from_numpy(baseline))
    assert np.abs(plain.numpy() - model.predict_proba(X)).max() < 1e-5
    assert np.abs(enrolled.numpy() - model.predict_proba(X, baseline)).max() < 1e-4
    assert np.array_equal(embedding.numpy(), X)


def test_speakers_are_needed() -> None:
    X, y, _ = voices()
    with pytest.raises(ProtocolError, match="these clips have no speakers"):
        AdaptiveClassifier().fit(X, y)


def test_a_recipe_needs_an_encoder_and_a_family_that_learns_from_copies() -> None:
    with pytest.raises(RecipeError, match="needs the embeddings of an encoder"):
        load("default", {"features": {"set": "classic193"}, "augment.copies": 0})
    with pytest.raises(RecipeError, match="needs a family that learns from copies"):
        load("ravdess-ann", {"augment.copies": 2})
    with pytest.raises(RecipeError, match=r"unknown key 'augment.options.speeed': did you mean 'speed'"):
        load("default", {"augment.options.speeed": 1.0})


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    X, target = blobs(30)
    seen = {}

    def spy(loss: object, start: NDArray[np.float64], **_: object) -> tuple[NDArray[np.float64], float, None]:
        seen["loss"] = loss
        return start, 0.0, None

    monkeypatch.setattr(adaptive, "fmin_l_bfgs_b", spy)
    logistic(X, target, np.full((30, 3), 0.5, np.float32), np.ones(30, np.float32), 0.1)
    loss = seen["loss"]
    point = np.random.default_rng(0).normal(size=7 * 3) / 10
    assert callable(loss)
    assert check_grad(lambda at: loss(at)[0], lambda at: loss(at)[1], point, epsilon=1e-3) < 5e-3
