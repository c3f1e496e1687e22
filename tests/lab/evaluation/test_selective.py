"""Abstention: the curve and its area against brute force, the threshold's promise by simulation."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from emovox.errors import InputError
from emovox.lab.evaluation import metrics, selective
from emovox.lab.evaluation.scores import probabilities, score
from emovox.model.file import fit_temperature, temper

Rng = np.random.Generator
#: Few values, so that many confidences are equal.
clips = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60)
LABELS = ("angry", "happy", "sad")


@given(clips)
def test_every_point_of_the_curve_is_what_its_threshold_does(pairs: list[tuple[float, bool]]) -> None:
    confidence, right = (list(one) for one in zip(*pairs, strict=True))
    points = selective.risk_coverage(confidence, right)
    assert [point["coverage"] for point in points] == sorted((p["coverage"] for p in points), reverse=True)
    assert points[0]["coverage"] == 1
    for point, wanted in zip(points, selective.COVERAGES, strict=True):
        kept = [hit for value, hit in pairs if value >= point["threshold"]]
        assert point["coverage"] == len(kept) / len(pairs)
        assert point["accuracy"] == pytest.approx(np.mean(kept))
        assert point["coverage"] >= wanted - 1e-12
        # No larger threshold leaves as many.
        assert sum(value > point["threshold"] for value, _ in pairs) < wanted * len(pairs) + 1e-9


@given(clips.filter(lambda pairs: len(pairs) <= 6))
def test_area_is_the_mean_over_every_order_of_equal_clips(pairs: list[tuple[float, bool]]) -> None:
    confidence, right = zip(*pairs, strict=True)
    areas = []
    for order in itertools.permutations(pairs):
        if all(a[0] >= b[0] for a, b in itertools.pairwise(order)):
            wrong = np.cumsum([not hit for _, hit in order])
            areas.append(np.mean(wrong / np.arange(1, len(order) + 1)))
    assert selective.aurc(confidence, right) == pytest.approx(np.mean(areas))


def test_area_of_confidence_that_says_nothing_is_the_error_rate() -> None:
    assert selective.aurc([0.5] * 10, [True] * 7 + [False] * 3) == pytest.approx(0.3)


@pytest.mark.parametrize("freedom", [3, 5, 8, 23, 200])
def test_the_bound_of_a_spotless_record_has_students_quantile(freedom: int) -> None:
    # All right: Wilson's bound is n / (n + t^2), whatever the design effect.
    found = selective.lower_bound(np.full(freedom + 1, 10.0), np.full(freedom + 1, 10.0), 0.95)
    n = 10 * (freedom + 1)
    assert np.sqrt(n / found - n) == pytest.approx(stats.t.ppf(0.95, freedom), rel=0.02)


@pytest.mark.parametrize("right", [4000, 4300, 4950])
def test_the_bound_of_single_clips_is_wilsons(right: int) -> None:
    expected = stats.binomtest(right, 5000).proportion_ci(confidence_level=0.9, method="wilson").low
    found = selective.lower_bound(np.arange(5000) < right, np.ones(5000), 0.95)
    assert found == pytest.approx(expected, abs=2e-5)


def test_the_bound_holds_for_speakers_who_differ_and_one_that_ignores_them_does_not(rng: Rng) -> None:
    held, naive, runs = 0, 0, 1000
    for _ in range(runs):
        sizes = rng.integers(20, 60, 24)
        right = rng.binomial(sizes, rng.beta(8, 2, 24))  # 0.8 in the mean, standard deviation 0.12
        held += selective.lower_bound(right, sizes) <= 0.8
        alone = selective.lower_bound(np.arange(sizes.sum()) < right.sum(), np.ones(sizes.sum()))
        naive += alone <= 0.8
    assert held / runs > 0.93
    assert naive / runs < 0.85


def population(rng: Rng, speakers: int, each: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.str_]]:
    """Draw clips of speakers whom a calibrated model finds more and less easy, by about 5 points."""
    who = np.repeat(np.arange(speakers), each)
    confidence = rng.uniform(0.3, 1, len(who))
    ease = rng.normal(0, 0.05, speakers)[who]
    return confidence, rng.random(len(who)) < np.clip(confidence + ease, 0, 1), who.astype(str)


def test_the_promise_is_kept_for_new_speakers(rng: Rng) -> None:
    new_confidence, new_right, _ = population(rng, 4000, 60)
    broken, coverages = 0, []
    for _ in range(300):
        found = selective.threshold_for(*population(rng, 24, 60), accuracy=0.85)
        told = selective.outcome(new_confidence, new_right, found)
        broken += told["accuracy"] is not None and told["accuracy"] < 0.85
        coverages.append(told["coverage"] or 0.0)
    # 5 % is what is promised; 3 standard errors of 300 runs are 3.8 %.
    assert broken / 300 < 0.09
    # And not by keeping silent: a good part of what one who knew the truth would answer.
    points = selective.risk_coverage(new_confidence, new_right)
    assert np.mean(coverages) > 0.7 * max(point["coverage"] for point in points if point["accuracy"] >= 0.85)


@given(st.integers(0, 10_000), st.floats(0.5, 0.95), st.floats(0, 0.04))
def test_a_stricter_promise_never_has_a_smaller_threshold(seed: int, accuracy: float, more: float) -> None:
    drawn = population(np.random.default_rng(seed), 12, 20)
    loose, strict = (selective.threshold_for(*drawn, accuracy=one) for one in (accuracy, accuracy + more))
    assert strict is None or (loose is not None and loose <= strict)


def test_a_model_that_is_right_anyway_need_not_abstain() -> None:
    who = np.repeat(["a", "b", "c", "d", "e"], 40)
    assert selective.threshold_for(np.full(200, 0.4), np.ones(200), who) == 0.0


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.9]), st.booleans(), st.sampled_from("abc")), min_size=1))
def test_left_out_corpora_exceed_the_target_on_average(rows: list[tuple[float, bool, str]]) -> None:
    confidence, right, corpora = (list(one) for one in zip(*rows, strict=True))
    shares: dict[float, float] = {}  # by threshold
    for threshold in (0.0, 0.21, 0.51, 0.71):  # in steps of 0.01, those that first leave out a value
        answered = {one: [hit for sure, hit, who in rows if who == one and sure >= threshold] for one in "abc"}
        means = [np.mean(hits) for hits in answered.values() if len(hits) >= selective.MIN_ANSWERS]
        shares[threshold] = float(np.mean(means)) if means else 0.0
    kept = [threshold for threshold, share in shares.items() if share >= 0.7 + selective.MARGIN]
    assert selective.threshold_for_corpora(confidence, right, corpora, accuracy=0.7) == min(kept, default=None)


def test_corpora_left_out_whole_count_alike(rng: Rng) -> None:
    """A large corpus on which a model is right does not cover for a small one on which it is wrong."""
    sizes = {"large": 900, "small": 100}
    corpus = np.repeat(list(sizes), list(sizes.values()))
    right = np.where(corpus == "large", rng.random(1000) < 0.97, rng.random(1000) < 0.6)
    rows = pd.DataFrame({"seed": 0, "fold": corpus, "corpus": corpus, "sex": "", "speaker": "", "label": "sad"})
    rows["predicted"] = np.where(right, "sad", "happy")
    rows["p_sad"], rows["p_happy"], rows["p_angry"] = np.where(right, 0.8, 0.1), np.where(right, 0.1, 0.8), 0.1
    assert score(rows, LABELS)["selective"]["threshold"] is None
    assert score(rows.assign(fold=np.arange(1000) % 2), LABELS)["selective"]["threshold"] is not None  # not whole


@pytest.mark.parametrize(
    ("clips", "right", "speakers"),
    [(300, 0.5, 10), (300, 1.0, 1), (20, 1.0, 20)],
    ids=["as often wrong as right", "one speaker", "too few clips"],
)
def test_where_nothing_can_be_promised_there_is_no_threshold(clips: int, right: float, speakers: int) -> None:
    hits = np.arange(clips) % 10 < 10 * right
    assert selective.threshold_for(np.full(clips, 0.8), hits, (np.arange(clips) % speakers).astype(str)) is None
    assert selective.outcome([0.8], [True], None) == {"coverage": 0.0, "accuracy": None}


def test_a_few_lucky_clips_at_the_top_are_not_enough(rng: Rng) -> None:
    # One clip in twenty is sure and right, the others are wrong half of the time: a tenth of the clips is the least.
    confidence = np.r_[np.full(100, 0.99), rng.uniform(0.3, 0.8, 1900)]
    right = np.r_[np.ones(100, bool), rng.random(1900) < 0.5]
    assert selective.threshold_for(confidence, right) is None


def test_unknown_speakers_count_as_single_clips(rng: Rng) -> None:
    confidence, right, _ = population(rng, 30, 30)
    alone = selective.threshold_for(confidence, right)
    assert alone == selective.threshold_for(confidence, right, [""] * 900)
    assert alone == selective.threshold_for(confidence, right, np.arange(900).astype(str))


def test_a_confidence_at_the_threshold_answers() -> None:
    for threshold in selective.THRESHOLDS:
        assert selective.outcome([threshold], [True], threshold)["coverage"] == 1
    confidence = np.repeat([0.29, 0.28], 500)
    assert selective.threshold_for(confidence, confidence == 0.29, accuracy=0.99) == 0.29


def table(rng: Rng, speakers: int = 24, each: int = 60, sharp: float = 1.0) -> pd.DataFrame:
    """Invent predictions of six folds by a model that is calibrated where `sharp` is 1; each fold is a corpus."""
    who = np.repeat(np.arange(speakers), each)
    logits = rng.normal(size=(len(who), 3)) * 2
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((len(who), 1)) > given.cumsum(axis=1)[:, :-1]).sum(axis=1)
    shown = temper(given, 1 / sharp)
    folds = np.array([f"fold {k % 6}" for k in who])
    return pd.DataFrame(
        {
            "seed": 0,
            "fold": folds,
            "corpus": folds,
            "speaker": who.astype(str),
            "sex": np.where(who % 2, "female", "male"),
            "label": np.array(LABELS)[truth],
            "predicted": np.array(LABELS)[given.argmax(axis=1)],
            **{f"p_{label}": shown[:, k] for k, label in enumerate(LABELS)},
        }
    )


def test_scores_say_what_abstaining_does(rng: Rng) -> None:
    predictions = table(rng, sharp=2.0)
    results = score(predictions, LABELS)
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    found, temperature = results["selective"], results["calibration"]["temperature"]
    assert temperature == pytest.approx(2, rel=0.15)
    confidence = temper(probabilities(predictions, LABELS), temperature).max(axis=1)
    right = (predictions["predicted"] == predictions["label"]).to_numpy()
    kept = confidence >= found["threshold"]
    assert found["coverage"] == kept.mean()
    assert found["accuracy"] == right[kept].mean() > 0.85
    assert found["target"] == 0.85
    assert found["curve"][0]["accuracy"] == right.mean()
    # A calibrated model: the mean confidence of the answers is their accuracy, in folds that were not asked too.
    assert found["accuracy"] == pytest.approx(confidence[kept].mean(), abs=0.03)
    assert found["cross_fitted"]["accuracy"] == pytest.approx(found["accuracy"], abs=0.03)
    assert found["cross_fitted"]["coverage"] == pytest.approx(found["coverage"], abs=0.05)
    sexes = found["cross_fitted"]["sexes"].values()
    assert np.mean([one["coverage"] for one in sexes]) == pytest.approx(found["cross_fitted"]["coverage"])
    assert set(found["cross_fitted"]["labels"]) == set(LABELS)
    assert score(predictions, LABELS, target=0.9)["selective"]["threshold"] > found["threshold"]


def test_a_fold_takes_nothing_from_itself(rng: Rng) -> None:
    before = table(rng)
    after = before.copy()
    own = (before["fold"] == "fold 0").to_numpy()
    after.loc[own, "label"] = rng.permutation(after.loc[own, "label"])
    coverage = [
        {name: one["coverage"] for name, one in score(rows, LABELS)["selective"]["cross_fitted"]["corpora"].items()}
        for rows in (before, after)
    ]
    assert coverage[0]["fold 0"] == coverage[1]["fold 0"] > 0
    assert all(coverage[1][f"fold {k}"] < coverage[0][f"fold {k}"] for k in range(1, 6))


def test_each_corpus_has_its_own_calibration(rng: Rng) -> None:
    predictions = table(rng, sharp=3.0)
    results = score(predictions, LABELS)
    for fold, rows in predictions.groupby("corpus"):
        others = predictions[predictions["corpus"] != fold]
        given, truth = probabilities(rows, LABELS), rows["label"].map(LABELS.index).to_numpy(int)
        temperature = fit_temperature(probabilities(others, LABELS), others["label"].map(LABELS.index))
        found = results["corpora"][fold]
        assert found["ece"] == pytest.approx(metrics.ece(given, truth))
        assert found["ece_tempered"] == pytest.approx(metrics.ece(temper(given, temperature), truth))
    assert results["calibration"]["ece_tempered"] < results["calibration"]["ece"] / 2


def test_one_fold_has_a_threshold_of_its_own_probabilities_and_nothing_cross_fitted(rng: Rng) -> None:
    predictions = table(rng).assign(fold="all")
    results = score(predictions, LABELS)
    assert results["calibration"]["temperature"] is None
    assert results["corpora"]["fold 0"]["ece_tempered"] is None
    found = results["selective"]
    assert found["cross_fitted"] is None
    kept = probabilities(predictions, LABELS).max(axis=1) >= found["threshold"]
    assert found["coverage"] == kept.mean() < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selective.aurc([], []), r"shape \(0,\).* for every clip"),
        (lambda: selective.risk_coverage([0.5], [True, False]), r"shape \(1,\), right or wrong of shape \(2,\)"),
        (lambda: selective.aurc([0.5, 1.2], [True, False]), r"not in \[0, 1\]"),
        (lambda: selective.aurc([0.5, np.nan], [True, False]), r"not in \[0, 1\]"),
        (lambda: selective.threshold_for([0.5], [True], ["a", "b"]), "2 speakers for 1 clips"),
        (lambda: selective.threshold_for([0.5], [True], accuracy=1.0), "accuracy 1 at level 0.95"),
        (lambda: selective.threshold_for([0.5], [True], level=0.2), "accuracy 0.85 at level 0.2"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
