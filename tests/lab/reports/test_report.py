"""The report page read back as a browser would, and its plots."""

from __future__ import annotations

import re
import shlex
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from emovox.lab.evaluation.scores import score
from emovox.lab.reports import plots, report
from emovox.labels import COMMON
from emovox.model.card import CorpusSummary, ModelCard
from emovox.types import FeatureSpec

FOLDS = tuple(f"fold {k}" for k in range(1, 7))
SPEAKERS = tuple(f"ravdess/{k:02d}" for k in range(1, 25))
ATTACK = "<script>alert('x')</script>"


class Run(NamedTuple):
    """What an experiment hands to the report."""

    results: dict[str, Any]
    predictions: pd.DataFrame
    card: ModelCard


def experiment(
    *,
    labels: Sequence[str] = COMMON,
    folds: Sequence[str] = FOLDS,
    seeds: Sequence[int] = (0,),
    speakers: Sequence[str] = SPEAKERS,
    corpora: Sequence[str] = ("ravdess",),
    sexes: Sequence[str] = ("male", "female"),
    takes: int = 8,
    independent: bool = True,
    skipped: Sequence[str] = (),
    name: str = "ravdess-ann",
) -> Run:
    """Invent the predictions of a middling classifier and score them as an experiment does.

    As in RAVDESS, there is half as much of the first label as of the others.
    """
    rng = np.random.default_rng(0)
    rows = [
        {
            "seed": seed,
            "fold": folds[k % len(folds)],
            "corpus": corpora[k % len(corpora)],
            "speaker": speaker,
            "sex": sexes[k % len(sexes)],
            "label": label,
        }
        for seed in seeds
        for k, speaker in enumerate(speakers)
        for label in labels
        for _ in range(max(1, takes // 2) if label == labels[0] else takes)
    ]
    predictions = pd.DataFrame(rows)
    truth = predictions["label"].map({label: k for k, label in enumerate(labels)}).to_numpy(int)
    logits = rng.normal(size=(len(rows), len(labels))) + rng.normal(size=(len(labels), len(labels)))[truth]
    logits[np.arange(len(rows)), truth] += 1.5
    found = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    predictions["predicted"] = np.array(labels)[found.argmax(axis=1)]
    for k, label in enumerate(labels):
        predictions[f"p_{label}"] = found[:, k]
    protocol = {
        "name": "emobox" if independent else "random-70/30",
        "folds": len(folds),
        "speaker_independent": independent,
        "text_independent": False,
        "note": "A note on the protocol that must be printed.",
        "seeds": list(seeds),
    }
    summaries = tuple(
        CorpusSummary(corpus, "CC BY-NC-SA 4.0", 1440, len(set(speakers)), tuple(labels)) for corpus in corpora
    )
    recipe = {
        "name": name,
        "description": "The published network on the classic features",
        "corpora": {corpus: {"labels": [], "options": {}} for corpus in corpora},
        "preprocess": {},
        "features": {"set": "classic193"},
        "model": {"family": "ann", "hidden": [300, 50, 20, 10]},
        "protocol": {"name": protocol["name"], "seeds": list(seeds)},
    }
    card = ModelCard(
        name=name,
        family="ann",
        labels=tuple(labels),
        features=FeatureSpec("classic193", 1, 193, {"window": "hann", "frame_length": 2048}, {"level": "none"}),
        corpora=summaries,
        licence="non-commercial use only",
        recipe=recipe,
        intended_use="Research.",
        limitations="Acted speech.",
        software="0.1.0",
        created="2026-11-21",
    )
    results = {
        "recipe": name,
        "family": "ann",
        "features": "classic193",
        "protocol": protocol,
        **score(predictions, labels),
        "corpora_used": [],
        "skipped": list(skipped),
        "software": "0.1.0",
    }
    return Run(results, predictions, card)


class Page(HTMLParser):
    """What a reader gets: text, tables by caption, elements; every element must be closed where it was opened."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag in self.VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")
        if "caption" in self._open:
            self._caption += data
        elif "td" in self._open or "th" in self._open:
            self._rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")

    def table(self, caption: str) -> list[list[str]]:
        """Return the rows, below the head, of the one table whose caption begins so."""
        (rows,) = [rows for found, rows in self.tables.items() if found.startswith(caption)]
        return rows[1:]

    def named(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every element of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]


def read(run: Run, folder: Path) -> Page:
    """Write the report and read its page."""
    report.write(folder, *run)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def shown(value: float) -> str:
    """Return what a share must look like."""
    return f"{100 * value:.1f}"


@pytest.fixture(scope="module")
def run() -> Run:
    return experiment(seeds=(0, 1))


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    report.write(folder, *run)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


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


def test_every_plot_is_a_file_of_both_kinds(folder: Path, run: Run) -> None:
    names = {"confusion", "per_class", "folds", "speakers", "reliability", "selective"}
    assert {file.name for file in (folder / "plots").iterdir()} == {f"{n}.{k}" for n in names for k in ("svg", "png")}
    for file in (folder / "plots").glob("*.png"):
        assert file.read_bytes().startswith(b"\x89PNG")
    root = ET.parse(folder / "plots" / "confusion.svg").getroot()
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    counts = [str(count) for row in run.results["confusion"] for count in row]
    assert [text for text in texts if text.isdigit()] == counts
    for label in COMMON:
        assert texts.count(label) == 2
    assert "date" not in (folder / "plots" / "confusion.svg").read_text(encoding="utf-8").lower()


def test_two_writes_are_the_same_bytes_whatever_the_users_settings(folder: Path, run: Run, tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "xtick.direction": "in"}):
        report.write(tmp_path, *run)
        assert matplotlib.rcParams["font.size"] == 20
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 13
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()) == files
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_a_leak_of_speakers_is_warned_of(page: Page, tmp_path: Path) -> None:
    leaking = read(experiment(folds=("split",), independent=False, takes=1), tmp_path)
    for text, warned in ((leaking.text, True), (page.text, False)):
        assert ("This score is not speaker-independent" in text) is warned
        assert ("⚠ not speaker-independent" in text) is warned
        assert ("✓ speaker-independent" in text) is not warned
    assert leaking.named("aside")[0]["class"] == "warning"
    assert page.named("aside") == []


def test_one_fold_has_no_spread_and_no_plot_of_it(tmp_path: Path) -> None:
    page = read(experiment(folds=("split",), independent=False, takes=1), tmp_path)
    assert "over folds" not in page.text[: page.text.index("UAR, macro")]
    assert "over seeds" not in page.text[: page.text.index("UAR, macro")]
    assert "One fold says nothing about the spread" in page.text
    assert not (tmp_path / "plots" / "folds.svg").exists()
    assert "temperature" not in page.text


def test_unknown_speakers_have_no_interval_and_no_plot(tmp_path: Path) -> None:
    page = read(experiment(speakers=("",) * 12, sexes=("",), takes=1), tmp_path)
    assert "no interval: not every speaker is known" in page.text
    assert "unknown speakers" in page.text
    assert not (tmp_path / "plots" / "speakers.svg").exists()
    assert not [caption for caption in page.tables if "speaker" in caption]
    lone = read(experiment(speakers=("ravdess/01",), takes=2), tmp_path / "lone")
    assert "no interval: only one speaker is known" in lone.text


def test_without_sexes_there_is_no_table_of_them(tmp_path: Path) -> None:
    page = read(experiment(sexes=("",), takes=1), tmp_path)
    assert "The corpora do not state the speakers' sex." in page.text
    assert "female" not in page.text
    assert not [caption for caption in page.tables if caption.startswith("Scores by sex")]


def test_several_corpora_are_compared(page: Page, tmp_path: Path) -> None:
    run = experiment(corpora=("ravdess", "tess"), speakers=tuple(f"c/{k}" for k in range(10)), takes=1)
    assert read(run, tmp_path).table("Scores on the clips of each corpus") == [
        [name, "40", *(shown(one[key]) for key in ("uar", "wa", "macro_f1", "ece_tempered"))]
        for name, one in run.results["corpora"].items()
    ]
    assert not [caption for caption in page.tables if caption.startswith("Scores on the clips of each corpus")]


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


def test_names_that_the_font_lacks_stay_readable_in_the_page(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = read(experiment(labels=("高兴", "$x_1$"), speakers=("说话人/1", "说话人/2")), tmp_path)
    assert page.table("Scores of each emotion")[0][0] == "高兴"
    drawing = (tmp_path / "plots" / "confusion.svg").read_text(encoding="utf-8")
    assert "高兴" in drawing
    assert ">$x_1$</text>" in drawing


@pytest.mark.parametrize("count", [2, 26])
def test_few_and_many_emotions(count: int, tmp_path: Path) -> None:
    labels = tuple(f"an emotion with a long name, number {k}" for k in range(count))
    run = experiment(labels=labels, takes=2, speakers=("a", "b", "c", "d"))
    page = read(run, tmp_path)
    assert [row[0] for row in page.table("Scores of each emotion")] == list(labels)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plots" / "confusion.svg").read_text("utf-8"))
    assert [text for text in texts if text.startswith("an")] == 2 * [plots.shortened(label) for label in labels]


def test_many_speakers_and_seeds_keep_the_page_small(tmp_path: Path) -> None:
    names = tuple(f"crema-d/{k}" for k in range(1001, 1092))
    run = experiment(labels=COMMON[:6], speakers=names, folds=names, seeds=range(3), corpora=("crema-d",), takes=1)
    page = read(run, tmp_path)
    assert len(page.table("Scores of each speaker")) == 91
    assert len(page.table("Scores of each fold")) == 92
    assert len(page.html.encode()) < 1_500_000
    # The plot leaves the names to the table.
    assert "1001" not in (tmp_path / "plots" / "speakers.svg").read_text(encoding="utf-8")


def test_reliability_is_scikit_learns_calibration_curve(run: Run) -> None:
    labels = list(COMMON)
    given = run.predictions[[f"p_{label}" for label in labels]].to_numpy()
    right = (run.predictions["predicted"] == run.predictions["label"]).to_numpy()
    accuracy, confidence = calibration_curve(right, given.max(axis=1), n_bins=15)
    figure, words = plots.draw_reliability(given, run.predictions["label"].to_numpy(str), labels, 0.25)
    curve = np.asarray(figure.axes[0].lines[1].get_xydata())
    np.testing.assert_allclose(curve, 100 * np.column_stack((confidence, accuracy)), rtol=1e-9)
    heights = [bar.get_height() for bar in figure.axes[1].containers[0]]
    assert sum(heights) == pytest.approx(100)
    assert f"accuracy {100 * right.mean():.1f} %" in words
    assert "ECE 25.0 %" in words


def test_a_class_that_nobody_said_has_dashes(tmp_path: Path) -> None:
    run = experiment(labels=("angry", "sad", "calm"), speakers=("a", "b"))
    kept = run.predictions[run.predictions["label"] != "calm"]
    page = read(Run({**run.results, **score(kept, ["angry", "sad", "calm"])}, kept, run.card), tmp_path)
    row = page.table("Scores of each emotion")[2]
    assert (row[0], row[2], row[3], row[4]) == ("calm", "–", "–", "0")
    assert "Chance, UAR50.0 %" in page.text


def test_what_abstaining_does_is_told(run: Run, tmp_path: Path) -> None:
    results = {**run.results, **score(run.predictions, COMMON, target=0.5)}
    page = read(Run(results, run.predictions, run.card), tmp_path)
    told = results["selective"]
    rows = page.table("What abstaining does")
    assert rows[0] == ["all", f"{told['threshold']:.2f}", shown(told["coverage"]), shown(told["accuracy"])]
    honest = told["cross_fitted"]
    assert [row[0] for row in rows[1:]] == ["all", *honest["sexes"], *honest["labels"]]
    for row, one in zip(rows[1:], [honest, *honest["sexes"].values(), *honest["labels"].values()], strict=True):
        assert row[1:] == ["other folds'", shown(one["coverage"]), shown(one["accuracy"])]
    assert "No threshold keeps this promise" not in page.text


def test_a_promise_that_cannot_be_kept_is_admitted(tmp_path: Path) -> None:
    run = experiment(takes=2)
    results = {**run.results, **score(run.predictions, COMMON, target=0.999)}
    page = read(Run(results, run.predictions, run.card), tmp_path)
    assert "No threshold keeps this promise" in page.text
    assert not [caption for caption in page.tables if caption.startswith("What abstaining does")]


def test_the_selective_plot_holds_the_curve_and_the_threshold(run: Run) -> None:
    told = score(run.predictions, COMMON, target=0.5)["selective"]
    figure, words = plots._selective(told)
    curve, promise, threshold = figure.axes[0].lines
    drawn = np.asarray(curve.get_xydata())
    np.testing.assert_allclose(drawn, [[100 * one["coverage"], 100 * one["accuracy"]] for one in told["curve"]])
    # The surest clips are more often right, and the threshold lies on the curve.
    assert drawn[-1, 1] > drawn[0, 1] + 10
    assert np.unique(promise.get_ydata()) == 100 * told["target"]
    ((x, y),) = np.asarray(threshold.get_xydata())
    assert y == pytest.approx(np.interp(x, drawn[::-1, 0], drawn[::-1, 1]), abs=1)
    assert f"{x:.1f} %, {y:.1f} % of them right" in words


def test_the_tempered_reliability_is_nearer_to_the_diagonal(run: Run) -> None:
    labels = list(COMMON)
    given = run.predictions[[f"p_{label}" for label in labels]].to_numpy()
    truth = run.predictions["label"].to_numpy(str)
    temperature = run.results["calibration"]["temperature"]
    figure, _ = plots.draw_reliability(given, truth, labels, 0.25, temperature)
    before, after = (np.asarray(line.get_xydata()) for line in figure.axes[0].lines[1:])
    gaps = [np.abs(line[:, 0] - line[:, 1]).mean() for line in (before, after)]
    assert gaps[1] < gaps[0]
    assert "at temperature" not in read_legend(plots.draw_reliability(given, truth, labels, 0.25)[0])
    assert f"at temperature {temperature:.2f}" in read_legend(figure)


def read_legend(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.legends[0].get_texts())
