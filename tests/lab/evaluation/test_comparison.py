"""Comparing runs: the tests against closed forms and brute force, the groups, the page, bad input."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from emovox.cli.main import run
from emovox.errors import InputError
from emovox.lab.evaluation import footprint, paired
from emovox.lab.evaluation.comparison import Group, compare, published, to_dict
from emovox.lab.evaluation.scores import score
from emovox.lab.reports import compare_report
from emovox.labels import COMMON
from tests.lab.reports.test_report import Page

#: Runs the command line: exit code, output, errors.
Command = Callable[..., tuple[object, str, str]]

LABELS = ("neutral", "happy", "sad", "angry")


def answers(
    skill: float, seed: int, *, labels: Sequence[str], speakers: int, corpus: str, takes: int = 4
) -> pd.DataFrame:
    """Invent what a model of some skill says of a corpus, two speakers a fold."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "fold": f"fold {speaker // 2 + 1}",
            "file": f"{corpus}/s{speaker:02d}/{label}-{take}.wav",
            "start": 0.0,
            "end": np.inf,
            "corpus": corpus,
            "speaker": f"{corpus}/{speaker:02d}",
            "sex": ("female", "male")[speaker % 2],
            "label": label,
        }
        for speaker in range(speakers)
        for label in labels
        for take in range(takes)
    ]
    table = pd.DataFrame(rows)
    truth = table["label"].map({label: k for k, label in enumerate(labels)}).to_numpy(int)
    # Speakers differ in how hard they are, the same for every model.
    hard = np.random.default_rng(99).normal(0, 0.1, speakers)[table["speaker"].str[-2:].astype(int)]
    right = rng.random(len(table)) < np.clip(skill + hard, 0, 1)
    said = np.where(right, truth, (truth + rng.integers(1, len(labels), len(table))) % len(labels))
    table["predicted"] = np.array(labels)[said]
    for k, label in enumerate(labels):
        table[f"p_{label}"] = np.where(said == k, 0.7, 0.3 / (len(labels) - 1))
    return table


def write_run(
    folder: Path,
    skill: float = 0.7,
    *,
    seeds: Sequence[int] = (0,),
    labels: Sequence[str] = LABELS,
    speakers: int = 12,
    corpus: str = "demo",
    protocol: str = "speaker-6",
    independent: bool = True,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
    **more: Any,
) -> Path:
    """Write a run folder as an experiment does, without the model."""
    tables = []
    for seed in seeds:
        drawn = sum(map(ord, folder.name)) + 1000 * seed
        table = change(answers(skill, drawn, labels=labels, speakers=speakers, corpus=corpus))
        table.insert(0, "seed", seed)
        tables.append(table)
    predictions = pd.concat(tables, ignore_index=True)
    results = {
        "recipe": folder.name,
        "family": "ann",
        "features": "classic193",
        "protocol": {
            "name": protocol,
            "folds": 6,
            "speaker_independent": independent,
            "text_independent": False,
            "note": "A note on the protocol.",
            "seeds": list(seeds),
        },
        **score(predictions, labels),
        "software": "0.1.0",
        **more,
    }
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(results), encoding="utf-8")
    predictions.to_csv(folder / "predictions.csv", index=False, float_format="%.5f", lineterminator="\n")
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    curve = [{"epoch": k, "train_loss": 2 / k, "valid_loss": 2.2 / k, "valid_uar": 0.5} for k in (1, 2, 3)]
    return [
        write_run(home / "middle", 0.6, seeds=(0, 1), learning_curves={"fold 1": [curve, curve[:2]]}),
        write_run(home / "good", 0.9, costs={"fit_seconds": 90.0, "parameters": 1234}),
        write_run(home / "other-middle", 0.6),
    ]


@pytest.fixture(scope="module")
def group(three: list[Path]) -> Group:
    (only,) = compare(three, measure=False)
    return only


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


# ---- the comparison --------------------------------------------------------------------------------------------------


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")


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


# ---- costs -----------------------------------------------------------------------------------------------------------


def test_parameters_are_counted_in_initialisers_and_attributes(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["h"])
    scale = helper.make_node("Scaler", ["h"], ["y"], domain="ai.onnx.ml", offset=[0.0, 0.0], scale=[1.0, 1.0])
    graph = helper.make_graph(
        [node, scale],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [
            numpy_helper.from_array(np.zeros((3, 2), np.float32), "w"),
            numpy_helper.from_array(np.zeros(2, np.float32), "b"),
        ],
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    assert footprint.parameters(tmp_path / "model.onnx") == 3 * 2 + 2 + 4
    (tmp_path / "model.onnx").write_text("no model")
    assert footprint.parameters(tmp_path / "model.onnx") is None
    assert footprint.parameters(tmp_path / "none.onnx") is None


def test_costs_of_a_real_model(tmp_path: Path) -> None:
    source = resources.files("emovox.pretrained") / "classic.onnx"
    (tmp_path / "model.onnx").write_bytes(source.read_bytes())
    found = footprint.costs(tmp_path, {"fit_seconds": 12.0}, measure=True)
    assert found["bytes"] == len(source.read_bytes())
    assert found["fit_seconds"] == 12.0
    assert isinstance(found["parameters"], int)
    assert found["parameters"] > 1000
    assert found["latency_ms"] is not None
    assert found["latency_ms"] > 0
    (tmp_path / "model.onnx").write_text("no model")
    assert footprint.latency(tmp_path / "model.onnx") is None


# ---- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(group: Group, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison") / "out"
    compare_report.write([group], folder)
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "comparison.html").read_text(encoding="utf-8"))


def test_the_folder_is_complete(written: Path, group: Group) -> None:
    names = {path.name for path in written.iterdir()}
    assert names == {"comparison.html", "comparison.md", "comparison.json", "plots"}
    assert not list(written.parent.glob("*.part"))
    told = json.loads((written / "comparison.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(to_dict([group])))
    pictures = {path.name for path in (written / "plots").glob("*.png")}
    several = {f"{kind}-{k}.png" for kind in ("confusion", "reliability") for k in (1, 2, 3)}
    assert pictures - {"learning-2.png", "learning-3.png"} == {
        *("ranking.png", "pairs.png", "per_class.png", "speakers.png"),
        *several,
    }
    assert len(list((written / "plots").glob("learning-*.png"))) == 1  # one run has curves


def test_the_page_needs_no_network(page: Page, written: Path) -> None:
    assert not page.named("script")
    assert not page.named("img")
    assert [one for one in page.named("link") if one["href"] != "data:,"] == []
    assert "default-src 'none'" in page.html
    assert not re.search(r"@import|url\((?!#)", page.html)
    for link in page.named("a"):
        if not link["href"].startswith(("#", "https://")):
            assert (written / link["href"]).exists(), link


def test_the_page_shows_the_results(page: Page, group: Group) -> None:
    results = group.results
    rows = page.table("Scores in percent, means over folds")
    assert [row[0] for row in rows] == [run["name"] for run in results["runs"]]
    assert [row[1] for row in rows] == [f"{100 * run['uar']:.1f}" for run in results["runs"]]
    pairs = page.table("Paired tests")
    assert [row[:2] for row in pairs] == [[pair["first"], pair["second"]] for pair in results["pairs"]]
    assert [row[2] for row in pairs] == [f"{100 * pair['difference']:+.1f}" for pair in results["pairs"]]
    costs = {row[0]: row[1:] for row in page.table("What each exported model costs")}
    assert costs["good"] == ["–", "1,234", "–", "1.5"]
    missed = page.table("Clips that most runs miss")
    assert [row[0] for row in missed] == [one["file"] for one in results["missed"]][:40]
    for heading in ("Ranking", "Confusions", "Speakers", "Calibration", "Learning", "Clips to listen to"):
        assert heading in page.text


def test_the_markdown_shows_the_same(written: Path, group: Group) -> None:
    text = (written / "comparison.md").read_text(encoding="utf-8")
    for row in group.results["runs"]:
        assert f"| `{row['name']}` | ann, classic193 | **{100 * row['uar']:.1f}** |" in text
    for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (written / path).exists()
    for block in re.findall(r"(?m)(?:^\|.*\n)+", text):
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    attack = "<b>x|y</b>"
    runs = [write_run(tmp_path / "a", corpus="demo"), write_run(tmp_path / "b<i>|", features=attack)]
    groups = compare(runs, measure=False)
    compare_report.write(groups, tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    assert "b<i>|" in page.text
    assert attack in page.text
    assert not page.named("i")
    assert not page.named("b")


def test_published_scores_stand_beside_ours_only_where_the_protocol_is_the_same(tmp_path: Path) -> None:
    kind: dict[str, Any] = {"labels": COMMON, "corpus": "ravdess", "protocol": "emobox"}
    groups = compare([write_run(tmp_path / name, **kind) for name in ("a", "b")], measure=False)
    found = groups[0].results["published"]
    assert {one["system"] for one in found if one["same"]} >= {"Whisper large-v3, frozen, last layer"}
    assert any(not one["same"] and not one["speaker_independent"] for one in found)
    compare_report.write(groups, tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    shown = [row[0] for row in page.table("Scores in percent, means over folds")]
    assert shown[2:] == [one["system"] for one in found if one["same"]]
    assert [row[0] for row in page.table("Scores in percent that others published")] == [
        one["system"] for one in found if not one["same"]
    ]
    assert "The protocol differs" in page.text
    fewer: dict[str, Any] = {"labels": LABELS, "corpus": "ravdess", "protocol": "emobox"}
    (four,) = compare([write_run(tmp_path / name, **fewer) for name in ("c", "d")], measure=False)
    assert four.results["published"] == []


def test_every_published_score_has_its_source() -> None:
    for one in published():
        assert one["url"].startswith("https://"), one
        assert one["source"]
        assert ("protocol" in one) != ("by" in one), one
        assert all(20 < one[key] <= 100 for key in ("uar", "wa", "macro_f1") if key in one)
        assert "uar" in one or "wa" in one


def test_different_tests_stand_apart_on_the_page(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", protocol="random-70/30", independent=False)]
    compare_report.write(compare(runs, measure=False, separate=True), tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    assert "2 different tests stand apart" in page.text
    assert "These scores are not speaker-independent" in page.text
    assert (tmp_path / "out" / "plots" / "test-2" / "ranking.png").exists()


def test_an_existing_folder_is_never_overwritten(group: Group, written: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        compare_report.write([group], written)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the comparison"):
        compare_report.write([group], tmp_path / "file" / "out")


def test_scores_of_a_class_are_scikit_learns(group: Group, three: list[Path]) -> None:
    rows = table(three[1])
    expected = f1_score(rows["label"], rows["predicted"], average=None, labels=list(LABELS))
    found = [group.results["runs"][0]["per_class"][label]["f1"] for label in LABELS]
    np.testing.assert_allclose(found, expected)


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def emovox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs the command line in a folder of its own: exit code, output, errors."""

    def command(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["emovox", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def test_the_command_compares(three: list[Path], tmp_path: Path, emovox: Command) -> None:
    names = [str(folder) for folder in three]
    code, out, errors = emovox("compare", *names, "--out", "out", "--no-latency")
    assert code == 0, errors
    assert "demo, 4 emotions, protocol speaker-6" in out
    assert "good" in out.splitlines()[2]
    assert (tmp_path / "out" / "comparison.html").exists()


def test_the_command_refuses_in_one_line(three: list[Path], tmp_path: Path, emovox: Command) -> None:
    other = write_run(tmp_path / "other", protocol="loso")
    code, _, errors = emovox("compare", str(three[0]), str(other), "--out", "out")
    assert code == 2
    assert errors.startswith("emovox: these runs cannot be ranked together")
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
