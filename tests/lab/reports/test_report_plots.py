"""The plots of the report: the curves and what they hold, the same bytes again."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from emovox.lab.evaluation.scores import score
from emovox.lab.reports import plots, report
from emovox.types import COMMON
from tests.lab.reports import Run, experiment, read, shown


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


@pytest.mark.long
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


def test_names_that_the_font_lacks_stay_readable_in_the_page(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = read(experiment(labels=("高兴", "$x_1$"), speakers=("说话人/1", "说话人/2")), tmp_path)
    assert page.table("Scores of each emotion")[0][0] == "高兴"
    drawing = (tmp_path / "plots" / "confusion.svg").read_text(encoding="utf-8")
    assert "高兴" in drawing
    assert ">$x_1$</text>" in drawing


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 26])
def test_few_and_many_emotions(count: int, tmp_path: Path) -> None:
    labels = tuple(f"an emotion with a long name, number {k}" for k in range(count))
    run = experiment(labels=labels, takes=2, speakers=("a", "b", "c", "d"))
    page = read(run, tmp_path)
    assert [row[0] for row in page.table("Scores of each emotion")] == list(labels)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plots" / "confusion.svg").read_text("utf-8"))
    assert [text for text in texts if text.startswith("an")] == 2 * [plots.shortened(label) for label in labels]


@pytest.mark.long
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


@pytest.mark.usefixtures("words_alone")
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


@pytest.mark.usefixtures("words_alone")
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
