"""Comparing runs: the tests against closed forms and brute force, the groups, the page, bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from emovox.errors import InputError
from emovox.lab.evaluation import paired
from emovox.lab.evaluation.comparison import Group, compare
from emovox.lab.reports import compare_report
from tests.lab import LABELS, table, write_run

# ---- the tests -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_two_sided_binomial_test(only_first: int, only_second: int) -> None:
    found = paired.mcnemar(only_first, only_second)
    tosses = only_first + only_second
    expected = binomtest(only_first, tosses).pvalue if tosses else 1.0
    assert found == pytest.approx(expected, rel=1e-9)


def test_mcnemar_refuses_what_is_no_count() -> None:
    with pytest.raises(InputError, match="-1 clips"):
        paired.mcnemar(-1, 3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_its_definition(p: list[float]) -> None:
    order = sorted(range(len(p)), key=lambda k: p[k])
    expected = [0.0] * len(p)
    for rank, k in enumerate(order):
        expected[k] = min(1.0, max((len(p) - j) * p[order[j]] for j in range(rank + 1)))
    assert paired.holm(p) == pytest.approx(expected)


def matrices(rng: np.random.Generator, skills: NDArray[np.float64], clips: int = 30) -> NDArray[np.int64]:
    """Draw a confusion matrix of three classes for each speaker."""
    found = np.zeros((len(skills), 3, 3), dtype=np.int64)
    for speaker, skill in enumerate(skills):
        for truth in range(3):
            right = rng.binomial(clips, skill)
            found[speaker, truth, truth] = right
            found[speaker, truth, (truth + 1) % 3] = clips - right
    return found


def test_the_bootstrap_finds_a_difference_and_its_interval(rng: np.random.Generator) -> None:
    skills = rng.uniform(0.5, 0.8, 20)
    first, second = matrices(rng, skills + 0.1), matrices(rng, skills)
    found = paired.bootstrap_difference(first, second, n=2000)
    assert found is not None
    gaps = np.array([np.trace(one) - np.trace(other) for one, other in zip(first, second, strict=True)]) / 90
    assert found.value == pytest.approx(gaps.mean())
    # As many clips of each class and speaker: the statistic is a mean, and the interval that of the central limit.
    half = 1.96 * gaps.std() / np.sqrt(20)
    assert found.low == pytest.approx(gaps.mean() - half, abs=0.25 * half)
    assert found.high == pytest.approx(gaps.mean() + half, abs=0.25 * half)
    assert found.p < 0.01


def test_the_bootstrap_raises_false_alarms_as_often_as_it_says(rng: np.random.Generator) -> None:
    alarms = 0
    for trial in range(200):
        skills = rng.uniform(0.4, 0.8, (2, 24))
        found = paired.bootstrap_difference(matrices(rng, skills[0]), matrices(rng, skills[1]), n=400, seed=trial)
        alarms += found is not None and found.p < 0.05
    assert 2 <= alarms <= 24  # 10 are expected; the binomial 99.99 % interval goes up to 24


def test_equal_models_do_not_differ(rng: np.random.Generator) -> None:
    one = matrices(rng, rng.uniform(0.4, 0.9, 6))
    assert paired.bootstrap_difference(one, one) == paired.Difference(0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("speakers", "least"), [(2, 0.5), (3, 0.25), (6, 0.03125)])
def test_few_speakers_are_never_sure(speakers: int, least: float, rng: np.random.Generator) -> None:
    found = paired.bootstrap_difference(matrices(rng, np.full(speakers, 0.95)), matrices(rng, np.full(speakers, 0.1)))
    assert found is not None
    assert found.p == least


def test_one_speaker_tells_nothing() -> None:
    one = np.ones((1, 2, 2), dtype=int)
    assert paired.bootstrap_difference(one, one) is None


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        paired.bootstrap_difference(np.ones((2, 2, 2), int), np.ones((3, 2, 2), int))
    with pytest.raises(InputError, match="unknown statistic 'best'"):
        paired.bootstrap_difference(np.ones((2, 2, 2), int), np.ones((2, 2, 2), int), statistic="best")


def test_the_ranking_has_the_scores_of_the_runs(group: Group, three: list[Path]) -> None:
    rows = group.results["runs"]
    assert rows[0]["name"] == "good"
    assert [row["uar"] for row in rows] == sorted((row["uar"] for row in rows), reverse=True)
    for folder in three:
        told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        (row,) = [row for row in rows if row["name"] == folder.name]
        for key in ("uar", "wa", "macro_f1", "interval", "per_class", "confusion", "sd_folds", "sd_seeds"):
            assert row[key] == told[key], key
    assert [row["level_with_best"] for row in rows] == [True, False, False]
    assert group.results["chance"] == 0.25
    assert (group.results["clips"], group.results["speakers"]) == (192, 12)


def test_pairs_are_what_scikit_learn_says_of_the_predictions(group: Group, three: list[Path]) -> None:
    tables = {folder.name: table(folder) for folder in three}

    def uar(name: str) -> float:
        by_seed = tables[name].groupby("seed")
        return float(by_seed.apply(lambda rows: balanced_accuracy_score(rows["label"], rows["predicted"])).mean())

    assert len(group.results["pairs"]) == 3
    for pair in group.results["pairs"]:
        assert pair["difference"] == pytest.approx(uar(pair["first"]) - uar(pair["second"]))
        assert pair["low"] <= pair["difference"] <= pair["high"]
        one, other = (tables[pair[key]].query("seed == 0").set_index("file") for key in ("first", "second"))
        right = (one["predicted"] == one["label"]), (other["predicted"] == other["label"])
        assert pair["only_first"] == (right[0] & ~right[1]).sum()
        assert pair["only_second"] == (~right[0] & right[1]).sum()
        assert pair["mcnemar"] == paired.mcnemar(pair["only_first"], pair["only_second"])
    for name in ("p", "mcnemar"):
        corrected = [pair[f"{name}_holm"] for pair in group.results["pairs"]]
        assert corrected == paired.holm([pair[name] for pair in group.results["pairs"]])


def test_the_order_of_runs_and_rows_changes_nothing(three: list[Path], group: Group, tmp_path: Path) -> None:
    turned = []
    for folder in reversed(three):
        shutil.copytree(folder, tmp_path / folder.name)
        mixed = table(folder).sample(frac=1, random_state=0)
        # The first seed stays the first: the others follow.
        mixed = mixed.sort_values("seed", kind="stable")
        mixed.to_csv(tmp_path / folder.name / "predictions.csv", index=False)
        turned.append(tmp_path / folder.name)
    (again,) = compare(turned, measure=False)
    assert again.results["pairs"] == group.results["pairs"]
    assert [row["name"] for row in again.results["runs"]] == [row["name"] for row in group.results["runs"]]


def test_the_clips_that_most_miss_are_listed(tmp_path: Path) -> None:
    def spoil(clip: str, label: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
        def change(rows: pd.DataFrame) -> pd.DataFrame:
            rows.loc[rows["file"] == clip, "predicted"] = label
            return rows

        return change

    clip = "demo/s03/happy-1.wav"
    runs = [write_run(tmp_path / str(k), 5.0, change=spoil(clip, "sad" if k else "angry")) for k in range(3)]
    (found,) = compare(runs, measure=False)
    (missed,) = found.results["missed"]
    assert missed["file"] == clip
    assert (missed["label"], missed["wrong"], missed["taken_for"]) == ("happy", 1.0, "sad")
    assert missed["taken_for_share"] == pytest.approx(2 / 3)
    assert missed["end"] is None
    # Half of the answers is not most of them.
    runs[1:] = [write_run(tmp_path / "right", 5.0)]
    (found,) = compare(runs, measure=False)
    assert found.results["missed"] == []


def test_runs_that_lack_a_clip_are_compared_on_the_others(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole")
    part = write_run(tmp_path / "part", change=lambda rows: rows[rows["file"] != "demo/s00/sad-2.wav"])
    (found,) = compare([whole, part], measure=False)
    assert found.results["clips"] == 191


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ({"protocol": "loso"}, "by the protocol loso"),
        ({"labels": LABELS[:3]}, "with 3 labels"),
        ({"speakers": 8}, "tests 128 clips"),
        ({"corpus": "elsewhere"}, "clips of elsewhere"),
    ],
)
def test_runs_of_different_tests_are_refused_or_set_apart(
    difference: dict[str, Any], words: str, tmp_path: Path
) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", **difference), write_run(tmp_path / "c")]
    with pytest.raises(InputError, match=rf"cannot be ranked together: a tests 192 .*; b .*{words}.* --separate"):
        compare(runs, measure=False)
    apart = compare(runs, measure=False, separate=True)
    assert [sorted(run.name for run in group.runs) for group in apart] == [["a", "c"], ["b"]]
    assert apart[1].results["pairs"] == []


def test_other_folds_of_the_same_clips_are_another_test(tmp_path: Path) -> None:
    turned = write_run(tmp_path / "b", change=lambda rows: rows.assign(fold=rows["fold"].str.replace("fold", "part")))
    with pytest.raises(InputError, match="cannot be ranked together"):
        compare([write_run(tmp_path / "a"), turned], measure=False)


def test_two_truths_of_one_clip_are_refused(tmp_path: Path) -> None:
    def relabel(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[rows["file"] == "demo/s01/sad-0.wav", "label"] = "happy"
        return rows

    with pytest.raises(InputError, match=r"give demo/s01/sad-0\.wav different labels"):
        compare([write_run(tmp_path / "a"), write_run(tmp_path / "b", change=relabel)], measure=False)


@pytest.mark.parametrize(("speakers", "least"), [(6, 3 / 32), (12, 3 / 2048)])
def test_too_few_speakers_for_so_many_comparisons_are_told(speakers: int, least: float, tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, skill, speakers=speakers) for name, skill in (("a", 0.9), ("b", 0.5), ("c", 0.2))
    ]
    (found,) = compare(runs, measure=False)
    assert found.results["least_p"] == least
    assert {pair["differ"] for pair in found.results["pairs"]} == {least < 0.05}
    compare_report.write([found], tmp_path / "out")
    for name in ("comparison.md", "comparison.html"):
        told = f"{speakers} speakers cannot show a difference" in (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert told == (least > 0.05)


def test_unknown_speakers_leave_mcnemar_alone(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, change=lambda rows: rows.assign(speaker="")) for name in ("a", "b")]
    (found,) = compare(runs, measure=False)
    (pair,) = found.results["pairs"]
    assert (pair["difference"], pair["p_holm"], pair["differ"]) == (None, None, False)
    assert 0 < pair["mcnemar"] <= 1
    compare_report.write([found], tmp_path / "out")
    assert "unknown speakers" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_runs_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good")
    with pytest.raises(InputError, match="two runs at least"):
        compare([good])
    with pytest.raises(InputError, match="is given twice"):
        compare([good, good.parent / "." / "good"])
    with pytest.raises(InputError, match=r"nothing is not a run folder, metrics\.json is missing"):
        compare([good, tmp_path / "nothing"])
    for name, text, words in (
        ("metrics.json", "{", "is damaged"),
        ("metrics.json", "[1]", "has no 'recipe'"),
        ("metrics.json", "{}", "has no 'recipe'"),
        ("predictions.csv", "", "is damaged"),
        ("predictions.csv", "a,b\n1,2\n", "has no 'seed'"),
    ):
        bad = tmp_path / f"bad-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(good, bad)
        (bad / name).write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            compare([good, bad])
    shutil.copy(write_run(tmp_path / "third", 0.2) / "predictions.csv", bad)
    with pytest.raises(InputError, match="are not of one run"):
        compare([good, bad])


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / home / "run") for home in ("a", "b")]
    (found,) = compare(runs, measure=False)
    assert sorted(run.name for run in found.runs) == ["a/run", "b/run"]
