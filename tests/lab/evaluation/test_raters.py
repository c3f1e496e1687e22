"""Raters that disagree, and groups of descriptors that are shuffled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import rel_entr
from scipy.stats import entropy

from emovox.errors import CorpusError
from emovox.lab.estimators.logistic import LogisticClassifier, LogisticOptions
from emovox.lab.evaluation import raters
from emovox.lab.evaluation.importance import group_of, over_folds, permuted

LABELS = ("happy", "neutral", "sad")


def test_votes_become_shares_and_silent_rows_their_label() -> None:
    table = pd.DataFrame({"label": ["sad", "happy"], "votes_sad": ["3", ""], "votes_neutral": ["1", "0"]})
    found = raters.votes(table, LABELS)
    assert found is not None
    np.testing.assert_allclose(found, np.array([[0, 0.25, 0.75], [1, 0, 0]]))
    assert raters.votes(table[["label"]], LABELS) is None


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [("votes_sad", "-1", "0 or more"), ("votes_sad", "x", "0 or more"), ("votes_odd", "1", "no clip has")],
)
def test_votes_that_are_none_are_refused(column: str, cell: str, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        raters.votes(pd.DataFrame({"label": ["sad"], column: [cell]}), LABELS)


def test_agreement_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    shares, found = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 40)
    scores = raters.agreement(shares, found)
    assert scores["kl"] == pytest.approx(rel_entr(shares, found).sum(axis=1).mean(), rel=1e-4)
    assert scores["entropy"] == pytest.approx(entropy(shares, axis=1).mean(), rel=1e-4)
    assert scores["entropy_r"] == pytest.approx(
        np.corrcoef(entropy(shares, axis=1), entropy(found, axis=1))[0, 1], abs=1e-3
    )
    top = [share.argmax() in row.argsort()[-2:] for share, row in zip(shares, found, strict=True)]
    assert scores["top2"] == pytest.approx(np.mean(top))


def test_a_vote_counts_as_a_clip_with_that_label() -> None:
    rng = np.random.default_rng(0)
    X, counts = rng.standard_normal((30, 4)).astype(np.float32), rng.integers(0, 3, (30, 3))
    counts[:, 0] += 1
    repeated = [(row, label) for row, label in np.argwhere(counts) for _ in range(counts[row, label])]
    options = LogisticOptions(C=1.0, balanced=False, iterations=5000)
    y = np.array(LABELS)[[label for _, label in repeated]]
    plain = LogisticClassifier(options).fit(X[[row for row, _ in repeated]], y)
    soft = LogisticClassifier(options).fit(
        X, np.array(LABELS)[counts.argmax(axis=1)], votes=counts.astype(float), voted=LABELS
    )
    np.testing.assert_allclose(soft.predict_proba(X), plain.predict_proba(X), atol=1e-3)


def test_what_decides_is_important_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6)).astype(np.float32)
    y = np.where(X[:, 0] + X[:, 1] > 0, "happy", "sad")
    names = ("f0_mean", "f0_sd", "mfcc_1", "mfcc_2", "hnr_mean", "level")
    losses = permuted(lambda rows: np.where(rows[:, 0] + rows[:, 1] > 0, "happy", "sad"), X, y, names)
    assert losses["pitch"] == pytest.approx(0.5, abs=0.06)
    assert {group: loss for group, loss in losses.items() if group != "pitch"} == dict.fromkeys(
        ("mfcc", "voice quality", "loudness"), 0.0
    )
    assert next(iter(over_folds([losses, losses, {}]))) == "pitch"
    assert over_folds([{}]) == {}


def test_all_descriptors_have_a_group() -> None:
    from emovox.features import sets

    groups = {group_of(name) for name in sets.feature_names(sets.spec("prosodic"))}
    assert groups == {"pitch", "loudness", "voice quality", "formants", "spectral balance", "rhythm", "mfcc"}
