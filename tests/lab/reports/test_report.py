"""The report page read back as a browser would, and its plots."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from emovox.lab.evaluation.scores import score
from emovox.lab.reports import report
from emovox.types import COMMON
from tests.lab.reports import Page, Run, experiment, read, shown

ATTACK = "<script>alert('x')</script>"


def test_the_headline_has_every_score_and_its_protocol(page: Page, run: Run) -> None:
    results = run.results
    head = page.text[: page.text.index("UAR, macro recall by another name")]
    for name in ("uar", "wa", "macro_f1", "precision", "recall"):
        assert f"{shown(results[name])} %" in head, name
    interval = results["interval"]
    assert f"95 % interval by speaker {shown(interval['low'])} to {shown(interval['high'])} %" in head
    assert f"± {shown(results['sd_folds'])} over folds" in head
    assert f"± {shown(results['sd_seeds'])} over seeds" in head
    for fact in ("emobox", "6 folds", "2 seeds (0, 1)", "1440 clips tested", "24 speakers", "8 emotions"):
        assert fact in head
    assert results["protocol"]["note"] in head
    assert f"Chance, UAR{shown(1 / 8)} %" in head
    assert f"Majority class, WA{shown(192 / 1440)} %" in head


def test_the_tables_hold_the_results(page: Page, run: Run) -> None:
    results = run.results
    assert page.table("Scores of each emotion") == [
        [label, shown(one["precision"]), shown(one["recall"]), shown(one["f1"]), "96" if label == "neutral" else "192"]
        for label, one in results["per_class"].items()
    ]
    assert page.table("Clips by truth") == [
        [label, *map(str, row)] for label, row in zip(COMMON, results["confusion"], strict=True)
    ]
    speakers = page.table("Scores of each speaker")
    assert {row[0]: row[1:] for row in speakers} == {
        name: [one["sex"], "60", shown(one["uar"]), shown(one["wa"])] for name, one in results["speakers"].items()
    }
    assert [float(row[3]) for row in speakers] == sorted((float(row[3]) for row in speakers), reverse=True)
    assert page.table("Scores by sex") == [
        [sex, "720", shown(one["uar"]), shown(one["wa"]), shown(one["macro_f1"])]
        for sex, one in results["sexes"].items()
    ]
    calibration = results["calibration"]
    # A table without a head: the first row is the ECE, which the headline shows too.
    assert page.table("Calibration")[0][1] == f"{shown(calibration['ece_tempered'])} %"
    assert page.table("Calibration")[2][1] == f"{calibration['nll']:.3f}"


def test_a_fold_is_the_mean_of_its_seeds(page: Page, run: Run) -> None:
    *rows, mean = page.table("Scores of each fold")
    folds = run.results["folds"]
    assert [row[0] for row in rows] == [f"fold {k}" for k in range(1, 7)]
    for row in rows:
        mine = [fold for fold in folds if fold["fold"] == row[0]]
        assert row[1:] == [
            str(mine[0]["n"]),
            *(shown((mine[0][name] + mine[1][name]) / 2) for name in ("uar", "wa", "macro_f1")),
            *(shown(one["uar"]) for one in mine),
        ]
    assert mean[:3] == ["mean", "1440", shown(run.results["uar"])]
    assert sum(int(row[1]) for row in rows) == 1440


def test_the_worst_confusions_are_named_in_order(page: Page, run: Run) -> None:
    matrix = np.array(run.results["confusion"], dtype=float)
    share = matrix / matrix.sum(axis=1, keepdims=True)
    np.fill_diagonal(share, -1)
    told = re.findall(r"(\w+) taken for (\w+): ([\d.]+) % \((\d+)\)", page.text)
    expected = [np.unravel_index(k, share.shape) for k in np.argsort(-share, axis=None, kind="stable")[:5]]
    assert told == [(COMMON[i], COMMON[j], shown(share[i, j]), str(int(matrix[i, j]))) for i, j in expected]


def test_a_rare_class_can_have_the_worst_confusion() -> None:
    found = report._confusions({"labels": ["rare", "common"], "confusion": [[1, 1], [2, 8]]})
    assert [(one["truth"], one["share"]) for one in found] == [("rare", 0.5), ("common", 0.2)]


def test_data_settings_and_commands_are_told(page: Page, run: Run) -> None:
    (corpus,) = page.table("Corpora that the exported model is trained on")
    assert corpus == ["ravdess", "1440", "24", ", ".join(COMMON), "CC BY-NC-SA 4.0"]
    assert run.card.licence in page.text
    assert ["parameters.frame_length", "2048"] in page.table("Features")
    assert ["model.hidden", "300, 50, 20, 10"] in page.table("Recipe; what")
    assert "emovox train recipe.toml --corpus ravdess=DIR" in page.text
    assert "emovox train ravdess-ann --corpus ravdess=DIR" in page.text
    assert "emovox 0.1.0" in page.text


def test_the_page_loads_nothing_and_runs_nothing(page: Page, folder: Path) -> None:
    assert "http://" not in page.html
    assert "https://" not in page.html
    assert "@import" not in page.html
    assert not [attributes for _, attributes in page.elements if "src" in attributes]
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "object", "embed", "img", "image"})
    assert [link["href"] for link in page.named("link")] == ["data:,"]
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page.html))
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    for link in page.named("a"):
        inside = link["href"].startswith(("#", "plots/"))
        assert inside or link["href"] in ("model.onnx", "metrics.json", "predictions.csv", "recipe.toml")
        assert not link["href"].startswith("plots/") or (folder / link["href"]).is_file()


def test_names_inside_the_page_are_unique_and_lead_somewhere(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page.html)
    assert {one or other for one, other in targets} <= set(names)


def test_the_page_is_accessible(page: Page) -> None:
    assert page.named("html") == [{"lang": "en"}]
    assert len(page.named("h1")) == 1
    assert len(page.named("table")) == len(page.named("caption"))
    drawings = page.named("svg")
    assert len(drawings) == len(page.named("figcaption")) == 6
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert re.search(r"\d %", drawing["aria-label"])
    assert all("scope" in head for head in page.named("th"))


@pytest.mark.usefixtures("words_alone")
def test_a_leak_of_speakers_is_warned_of(page: Page, tmp_path: Path) -> None:
    leaking = read(experiment(folds=("split",), independent=False, takes=1), tmp_path)
    for text, warned in ((leaking.text, True), (page.text, False)):
        assert ("This score is not speaker-independent" in text) is warned
        assert ("⚠ not speaker-independent" in text) is warned
        assert ("✓ speaker-independent" in text) is not warned
    assert leaking.named("aside")[0]["class"] == "warning"
    assert page.named("aside") == []


@pytest.mark.usefixtures("words_alone")
def test_one_fold_has_no_spread_and_no_plot_of_it(tmp_path: Path) -> None:
    page = read(experiment(folds=("split",), independent=False, takes=1), tmp_path)
    assert "over folds" not in page.text[: page.text.index("UAR, macro")]
    assert "over seeds" not in page.text[: page.text.index("UAR, macro")]
    assert "One fold says nothing about the spread" in page.text
    assert not (tmp_path / "plots" / "folds.svg").exists()
    assert "temperature" not in page.text


@pytest.mark.usefixtures("words_alone")
def test_unknown_speakers_have_no_interval_and_no_plot(tmp_path: Path) -> None:
    page = read(experiment(speakers=("",) * 12, sexes=("",), takes=1), tmp_path)
    assert "no interval: not every speaker is known" in page.text
    assert "unknown speakers" in page.text
    assert not (tmp_path / "plots" / "speakers.svg").exists()
    assert not [caption for caption in page.tables if "speaker" in caption]
    lone = read(experiment(speakers=("ravdess/01",), takes=2), tmp_path / "lone")
    assert "no interval: only one speaker is known" in lone.text


@pytest.mark.usefixtures("words_alone")
def test_without_sexes_there_is_no_table_of_them(tmp_path: Path) -> None:
    page = read(experiment(sexes=("",), takes=1), tmp_path)
    assert "The corpora do not state the speakers' sex." in page.text
    assert "female" not in page.text
    assert not [caption for caption in page.tables if caption.startswith("Scores by sex")]


@pytest.mark.usefixtures("words_alone")
def test_several_corpora_are_compared(page: Page, tmp_path: Path) -> None:
    run = experiment(corpora=("ravdess", "tess"), speakers=tuple(f"c/{k}" for k in range(10)), takes=1)
    assert read(run, tmp_path).table("Scores on the clips of each corpus") == [
        [name, "40", *(shown(one[key]) for key in ("uar", "wa", "macro_f1", "ece_tempered"))]
        for name, one in run.results["corpora"].items()
    ]
    assert not [caption for caption in page.tables if caption.startswith("Scores on the clips of each corpus")]


@pytest.mark.usefixtures("words_alone")
def test_skipped_clips_are_listed(page: Page, tmp_path: Path) -> None:
    lines = [f"clip_{k}.wav: it has no samples: leave it out" for k in range(12)]
    with_some = read(experiment(skipped=lines, takes=1), tmp_path)
    assert "12 could not be analysed" in with_some.text
    assert all(line in with_some.text for line in lines)
    assert "could not be analysed" not in page.text


def test_names_cannot_bring_markup_into_the_page(tmp_path: Path) -> None:
    labels = ("angry", "$x_1$ & <b>bold</b>", ATTACK)
    run = experiment(
        name=ATTACK,
        labels=labels,
        speakers=(ATTACK, '"><svg onload=alert(1)>', "--><script>", "d"),
        folds=(ATTACK, "</style><script>"),
        corpora=(f"x;{ATTACK}",),
        sexes=("female", "<i>"),
        skipped=(f"{ATTACK}.wav: no",),
    )
    page = read(run, tmp_path)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "b", "i"})
    assert len(page.named("svg")) == 6
    assert "<script" not in page.html
    assert page.text.count(ATTACK) >= 6
    assert labels[1] in page.text
    for drawing in (tmp_path / "plots").glob("*.svg"):
        root = ET.parse(drawing).getroot()
        assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    assert shlex.split(page.text[page.text.index("emovox train recipe.toml") :].splitlines()[0]) == [
        *("emovox", "train", "recipe.toml", "--corpus", f"x;{ATTACK}=DIR")
    ]


@pytest.mark.usefixtures("words_alone")
def test_a_class_that_nobody_said_has_dashes(tmp_path: Path) -> None:
    run = experiment(labels=("angry", "sad", "calm"), speakers=("a", "b"))
    kept = run.predictions[run.predictions["label"] != "calm"]
    page = read(Run({**run.results, **score(kept, ["angry", "sad", "calm"])}, kept, run.card), tmp_path)
    row = page.table("Scores of each emotion")[2]
    assert (row[0], row[2], row[3], row[4]) == ("calm", "–", "–", "0")
    assert "Chance, UAR50.0 %" in page.text


def test_importance_and_agreement_have_sections_where_they_are_known(page: Page, run: Run) -> None:
    assert "What it relies on" not in page.text
    known = {
        "importance": {"pitch": {"loss": 0.123, "sd": 0.01}},
        "raters": {"agreement": 0.5, "agreement_people": 0.6, "top1": 0.7, "top2": 0.9, "kl": 0.25},
    }
    drawn = dict.fromkeys(("per_class", "confusion", "folds", "speakers", "reliability", "selective"), "<svg></svg>")
    text = report.render(run.results | known, drawn, run.card)
    assert re.search(r'pitch</th><td class="n">12\.3', text)
    assert "Agreement with people" in text
    assert "0.250 nats" in text
