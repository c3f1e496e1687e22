"""Scores against scikit-learn, closed forms and brute force."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.errors import InputError
from emovox.lab.evaluation import metrics
from emovox.lab.evaluation.metrics import (
    Interval,
    bootstrap_by_speaker,
    brier,
    confusion,
    ece,
    nll,
    per_class,
    summary,
)
from tests import examples

LABELS = ["angry", "happy", "neutral", "sad"]
WORDS = st.sampled_from(LABELS)
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=40)


def scikit_learn(true: list[str], predicted: list[str]) -> dict[str, float]:
    """Compute the scores with scikit-learn, over the classes that the truth has."""
    present = sorted(set(true))
    options = {"labels": present, "average": "macro", "zero_division": 0}
    return {
        "uar": oracle.recall_score(true, predicted, **options),
        "wa": oracle.accuracy_score(true, predicted),
        "macro_f1": oracle.f1_score(true, predicted, **options),
        "precision": oracle.precision_score(true, predicted, **options),
        "recall": oracle.recall_score(true, predicted, **options),
    }


@settings(max_examples=examples(200), deadline=None)
@given(PAIRS)
def test_every_score_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    true, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    scores = summary(true, predicted, LABELS)
    assert scores["n"] == len(pairs)
    assert scores["confusion"] == oracle.confusion_matrix(true, predicted, labels=LABELS).tolist()
    for name, expected in scikit_learn(true, predicted).items():
        assert scores[name] == pytest.approx(expected, abs=1e-12), name
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        true, predicted, labels=LABELS, zero_division=0
    )
    for k, label in enumerate(LABELS):
        one = scores["per_class"][label]
        assert one["support"] == support[k]
        assert one["predicted"] == predicted.count(label)
        assert one["precision"] == pytest.approx(precision[k])
        if support[k]:
            assert (one["recall"], one["f1"]) == (pytest.approx(recall[k]), pytest.approx(f1[k]))
        else:
            assert (one["recall"], one["f1"]) == (None, None)


def test_balanced_accuracy_is_uar_where_every_prediction_is_in_the_truth(rng: np.random.Generator) -> None:
    true, predicted = rng.integers(4, size=(2, 500))
    matrix = confusion(true, predicted, range(4))
    assert metrics.uar(matrix) == pytest.approx(oracle.balanced_accuracy_score(true, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(oracle.f1_score(true, predicted, average="macro"))


def test_constant_predictions() -> None:
    scores = summary(["happy", "sad", "sad", "neutral"], ["sad"] * 4, LABELS)
    assert (scores["uar"], scores["wa"]) == (pytest.approx(1 / 3), 0.5)
    assert scores["precision"] == pytest.approx(0.5 / 3)
    assert scores["macro_f1"] == pytest.approx(2 / 3 / 3)


def test_one_sample() -> None:
    assert summary(["sad"], ["sad"], LABELS)["uar"] == 1.0
    wrong = summary(["sad"], ["happy"], LABELS)
    assert [wrong[name] for name in ("uar", "wa", "macro_f1", "precision", "recall")] == [0.0] * 5


def test_scores_of_many_matrices_at_once(rng: np.random.Generator) -> None:
    matrices = rng.integers(0, 3, size=(5, 7, 4, 4))
    matrices[0, 0] = 0
    for statistic in metrics.STATISTICS.values():
        together = statistic(matrices)
        assert together.shape == (5, 7)
        assert np.isnan(together[0, 0]), "an empty matrix has no score"
        single = [[float(statistic(matrix)) for matrix in row] for row in matrices]
        np.testing.assert_allclose(together, single)


@pytest.mark.parametrize(
    "convert",
    [list, tuple, np.array, pd.Series, lambda words: np.array(words, dtype=object), pd.Categorical],
)
def test_labels_in_any_container(convert: Callable[[list[str]], object]) -> None:
    true, predicted = convert(["sad", "happy", "sad"]), convert(["sad", "sad", "happy"])
    expected = [[0, 1], [1, 1]]
    assert confusion(true, predicted, ["happy", "sad"]).tolist() == expected  # type: ignore[arg-type]


def test_labels_keep_the_order_given() -> None:
    assert confusion([2, 7, 7], [7, 7, 7], [7, 2]).tolist() == [[2, 0], [1, 0]]
    assert confusion(["b", "a"], ["b", "b"], ["b", "c", "a"]).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_summary_is_json() -> None:
    scores = summary(np.array([0, 1]), np.array([0, 2]), [0, 1, 2], np.eye(3)[[0, 2]])
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores["labels"] == ["0", "1", "2"]
    assert (scores["ece"], scores["brier"]) == (0.5, 1.0)


# --- probabilities


def random_probabilities(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.dirichlet(np.ones(classes), size=n), rng.integers(classes, size=n)


@pytest.mark.parametrize("classes", [2, 5])
def test_likelihood_and_brier_equal_scikit_learns(rng: np.random.Generator, classes: int) -> None:
    given_, true = random_probabilities(rng, 300, classes)
    assert nll(given_, true) == pytest.approx(oracle.log_loss(true, given_, labels=range(classes)))
    expected = oracle.brier_score_loss(true, given_, labels=range(classes), scale_by_half=False)
    assert brier(given_, true) == pytest.approx(expected)


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    assert nll([[1.0, 0.0]], [1]) == pytest.approx(-np.log(np.finfo(float).eps))
    assert brier([[1.0, 0.0]], [1]) == 2.0


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_equals_the_definition(rng: np.random.Generator, bins: int) -> None:
    given_, true = random_probabilities(rng, 400, 4)
    confidence, right = given_.max(axis=1), given_.argmax(axis=1) == true
    expected = 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(given_, true, bins) == pytest.approx(expected, abs=1e-12)


def test_ece_of_perfect_and_of_overconfident_predictions() -> None:
    assert ece(np.eye(3), [0, 1, 2]) == 0.0
    assert ece(np.eye(3), [1, 2, 0]) == 1.0
    calibrated = [[0.75, 0.25]] * 4
    assert ece(calibrated, [0, 0, 0, 1]) == pytest.approx(0.0)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    assert ece([[0.5, 0.5], [0.75, 0.25]], [0, 1], bins=2) == pytest.approx((0.5 + 0.75) / 2)


# --- bootstrap


def speakers_with_skill(rng: np.random.Generator) -> tuple[list[str], list[str], list[str]]:
    """Clips of speakers who are understood more or less well; some say only some labels."""
    true, predicted, speakers = [], [], []
    for speaker in range(6):
        known = LABELS[: 2 + speaker % 3]
        for _ in range(int(rng.integers(3, 15))):
            label = str(rng.choice(known))
            true.append(label)
            predicted.append(label if rng.random() < speaker / 6 else str(rng.choice(LABELS)))
            speakers.append(f"s{speaker}")
    return true, predicted, speakers


def test_bootstrap_equals_brute_force(rng: np.random.Generator) -> None:
    true, predicted, speakers = speakers_with_skill(rng)
    names = sorted(set(speakers))
    scores = []
    for draw in np.random.default_rng(4).integers(len(names), size=(200, len(names))):
        clips = [i for chosen in draw for i, speaker in enumerate(speakers) if speaker == names[chosen]]
        scores.append(scikit_learn([true[i] for i in clips], [predicted[i] for i in clips]))
    for statistic in metrics.STATISTICS:
        interval = bootstrap_by_speaker(true, predicted, speakers, LABELS, statistic, n=200, seed=4, level=0.9)
        assert interval is not None
        expected = np.quantile([one[statistic] for one in scores], [0.05, 0.95])
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))
        assert interval.low < summary(true, predicted, LABELS)[statistic] < interval.high


def test_bootstrap_is_wider_by_speaker_than_by_clip(rng: np.random.Generator) -> None:
    true, predicted, speakers = speakers_with_skill(rng)
    by_speaker = bootstrap_by_speaker(true, predicted, speakers, LABELS)
    by_clip = bootstrap_by_speaker(true, predicted, [str(i) for i in range(len(true))], LABELS)
    assert by_speaker is not None
    assert by_clip is not None
    assert by_speaker.high - by_speaker.low > by_clip.high - by_clip.low


def test_bootstrap_repeats_itself_and_not_with_another_seed(rng: np.random.Generator) -> None:
    true, predicted, speakers = speakers_with_skill(rng)
    one, again, other = (
        bootstrap_by_speaker(true, predicted, speakers, LABELS, "wa", n=50, seed=seed) for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other


def test_one_speaker_has_no_interval() -> None:
    assert bootstrap_by_speaker(["sad", "happy"], ["sad", "sad"], ["a", "a"], LABELS) is None
    assert bootstrap_by_speaker(["sad", "happy"], ["sad", "happy"], ["a", "b"], LABELS) == Interval(1.0, 1.0)


# --- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: confusion([], [], LABELS),
            r"labels of shape \(0,\): expected a list with at least one label",
        ),
        (lambda: confusion([["sad"]], ["sad"], LABELS), r"labels of shape \(1, 1\)"),
        (lambda: confusion(["sad"], ["sad"], []), "expected a list with at least one label"),
        (
            lambda: confusion(["sad"], ["proud"], LABELS),
            "unknown label proud: the labels are angry, happy, neutral, sad",
        ),
        (lambda: confusion([3], [4], [3, 5]), "unknown label 4: the labels are 3, 5"),
        (lambda: confusion([0], [0], ["sad", "zz"]), "unknown label 0: the labels are sad, zz"),
        (
            lambda: confusion(["sad", "sad"], ["sad"], LABELS),
            "1 predictions for 2 clips: give one for each clip",
        ),
        (lambda: ece([0.5, 0.5], [0]), r"probabilities of shape \(2,\): expected a row for each clip"),
        (lambda: ece([[0.5, 0.5]], [0, 1]), "2 labels for 1 clips"),
        (lambda: nll([[0.5, 0.5]], [2]), "a true class outside the 2 columns of the probabilities"),
        (lambda: nll([[0.5, 0.5]], [-1]), "a true class outside"),
        (lambda: brier([[0.5, 0.5], [0.9, 0.9]], [0, 1]), "row 1 of the probabilities sums to 1.8: expected"),
        (lambda: brier([[1.5, -0.5]], [0]), "row 0 of the probabilities"),
        (lambda: brier([[np.nan, 1.0]], [0]), "row 0 of the probabilities sums to nan"),
        (lambda: bootstrap_by_speaker(["sad"], ["sad"], ["a", "b"], LABELS), "2 speakers for 1 clips"),
        (
            lambda: bootstrap_by_speaker(["sad"], ["sad"], ["a"], LABELS, "uax"),
            "unknown statistic 'uax': choose one of uar",
        ),
        (
            lambda: bootstrap_by_speaker(["sad"], ["sad"], ["a"], LABELS, n=0),
            "0 resamples at level 0.95: at least 1",
        ),
        (lambda: bootstrap_by_speaker(["sad"], ["sad"], ["a"], LABELS, level=1.0), "a level between 0 and 1"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_per_class_of_a_known_matrix() -> None:
    assert per_class(np.array([[2, 2], [0, 0]]), ["a", "b"]) == {
        "a": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 4, "predicted": 2},
        "b": {"precision": 0.0, "recall": None, "f1": None, "support": 0, "predicted": 2},
    }
