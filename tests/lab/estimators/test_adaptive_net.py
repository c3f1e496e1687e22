"""The network over embeddings: what it computes, learns from and refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from emovox.errors import ProtocolError
from emovox.lab.estimators.adaptive_net import AdaptiveNetClassifier, AdaptiveNetOptions
from emovox.lab.estimators.neural import WeightedCrossEntropy
from tests.lab.estimators import check_graph, voices

SMALL = AdaptiveNetOptions(hidden=16, epochs=4, batch_size=32)


@pytest.fixture(scope="module")
def fitted() -> AdaptiveNetClassifier:
    X, y, speakers = voices()
    return AdaptiveNetClassifier(SMALL).fit(X, y, speakers)


def test_the_graph_computes_what_the_estimator_does(fitted: AdaptiveNetClassifier) -> None:
    check_graph(fitted)


def test_members_are_averaged(fitted: AdaptiveNetClassifier) -> None:
    X, _, _ = voices(seed=6)
    scaled = torch.from_numpy((X - fitted.mean_) / fitted.scale_)
    with torch.inference_mode():
        each = [
            torch.softmax(one(scaled, torch.zeros_like(scaled), torch.zeros(len(X), 1)), dim=1)
            for one in fitted.members_
        ]
    assert len(each) == 2
    assert not torch.allclose(each[0], each[1])
    assert np.allclose(fitted.predict_proba(X), (each[0] + each[1]).numpy() / 2, atol=1e-6)


def test_a_baseline_removes_the_voice() -> None:
    X, y, speakers = voices(n_speakers=20)
    train = speakers != "s19"
    small = AdaptiveNetOptions(hidden=64, members=1, dropout=0.1, input_dropout=0.0)
    options = dataclasses.replace(small, epochs=12, batch_size=32, learning_rate=0.01)
    model = AdaptiveNetClassifier(options).fit(X[train], y[train], speakers[train])
    test = np.flatnonzero(~train)
    baseline = X[test[y[test] == "neutral"][:3]].mean(axis=0)
    enrolled = (model.classes_[model.predict_proba(X[test], baseline).argmax(axis=1)] == y[test]).mean()
    assert enrolled > 0.85
    assert enrolled > (model.predict(X[test]) == y[test]).mean()


def test_the_same_seed_gives_the_same_network() -> None:
    X, y, speakers = voices(n_speakers=4)
    one, same, other = (
        AdaptiveNetClassifier(AdaptiveNetOptions(hidden=4, members=1, epochs=1, seed=seed)).fit(X, y, speakers)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.predict_proba(X), same.predict_proba(X))
    assert not np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_speakers_are_needed() -> None:
    X, y, _ = voices()
    with pytest.raises(ProtocolError, match="these clips have no speakers"):
        AdaptiveNetClassifier(SMALL).fit(X, y)


def test_counts_weigh_the_loss() -> None:
    logits, weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.ones(3, 4)
    target = torch.tensor([0, 1, 2])
    loss = WeightedCrossEntropy(0.1)
    each = torch.stack([loss((logits[[row]], weight[[row]]), target[[row]]) for row in range(3)])
    counts = torch.tensor([0.5, 2.0, 0.5])
    assert torch.allclose(loss((logits, weight), target, counts), (each * counts).mean())
