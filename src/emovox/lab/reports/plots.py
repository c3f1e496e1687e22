"""Plots of a report, as SVG and PNG files for papers and as inline SVG for the page.

Black text and lines take the text colour of the page, so that one drawing suits light and dark pages and print.  The
other colours are the colour-blind safe ones of Okabe and Ito.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from emovox.lab.evaluation.scores import probabilities
from emovox.model.file import temper

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
GREY = "#808080"

#: Width of a plot in inches: one column of a page, legible on a phone.
WIDTH = 4.8

#: Largest number of names under a plot; the tables have all.
MAX_NAMES = 40

#: Matplotlib settings: text stays text, and output does not depend on user settings, date or randomness.
STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.labelsize": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "emovox",
    "text.parse_math": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}

#: A figure and its alternative text.
Drawing = tuple[Figure, str]


def write(folder: Path, results: Mapping[str, Any], predictions: pd.DataFrame) -> dict[str, str]:
    """Draw all plots of an experiment, each as ``<name>.svg`` and ``<name>.png``.

    Parameters
    ----------
    folder : Path
        Output folder; created if it does not exist.
    results : mapping
        Returned by `emovox.lab.evaluation.scores.score`.
    predictions : DataFrame
        Predictions from which they were computed.

    Returns
    -------
    dict of str to str
        SVG elements for an HTML page, by name: ``confusion``, ``per_class``, ``folds`` (if there are several folds or
        seeds), ``speakers`` (if several are known), ``reliability`` and ``selective``.
    """
    return save(folder, lambda: _draw(results, predictions))


def save(folder: Path, draw: Callable[[], Mapping[str, Drawing]]) -> dict[str, str]:
    """Write drawings as ``<name>.svg`` and ``<name>.png``.

    Parameters
    ----------
    folder : Path
        Output folder; created if it does not exist.
    draw : callable
        Returns the drawings by name; called with the style of the plots set.

    Returns
    -------
    dict of str to str
        SVG elements for an HTML page, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inline = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks shows boxes in the PNG; an SVG viewer has other fonts for it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for name, (figure, alternative) in draw().items():
            figure.patch.set_gid("paper")
            svg = folder / f"{name}.svg"
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(svg, format="svg", metadata=nothing)
            figure.savefig(folder / f"{name}.png", format="png", metadata={"Software": None})
            inline[name] = _inline(svg.read_text(encoding="utf-8"), name, alternative, figure.get_figwidth())
    return inline


def _draw(results: Mapping[str, Any], predictions: pd.DataFrame) -> dict[str, Drawing]:
    """Draw the plots for which there are data."""
    labels = results["labels"]
    drawings = {
        "confusion": draw_confusion(np.array(results["confusion"]), labels),
        "per_class": _per_class(results["per_class"]),
    }
    if len(results["folds"]) > 1:
        drawings["folds"] = _folds(results)
    if len(results["speakers"]) > 1:
        drawings["speakers"] = _speakers(results)
    calibration = results["calibration"]
    drawings["reliability"] = draw_reliability(
        probabilities(predictions, labels),
        predictions["label"].to_numpy(str),
        labels,
        calibration["ece"],
        calibration["temperature"],
    )
    drawings["selective"] = _selective(results["selective"])
    return drawings


def draw_confusion(matrix: NDArray[np.int64], labels: Sequence[str]) -> Drawing:
    """Draw a confusion matrix as a heat map of row percentages, with counts if they fit."""
    count = len(labels)
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)
    names = [shortened(label) for label in labels]
    longest = max(map(len, names))
    cell = float(np.clip(4 / count, 0.24, 0.8))
    figure = Figure(figsize=(count * cell + 0.085 * longest + 0.5,) * 2, layout="constrained")
    axes = figure.subplots()
    # From transparent to blue, so that 0 has the colour of the page, light or dark.
    blues = LinearSegmentedColormap.from_list("blues", [(*to_rgb(BLUE), 0.0), (*to_rgb(BLUE), 1.0)])
    axes.pcolormesh(share, cmap=blues, vmin=0, vmax=1, edgecolors=(*to_rgb(GREY), 0.3), linewidth=0.5)
    detailed = count <= 10
    for i, j in np.ndindex(matrix.shape):
        ink = "white" if share[i, j] >= 0.9 else "black"
        look: dict[str, Any] = {"color": ink, "ha": "center", "in_layout": False}
        if detailed:
            axes.text(j + 0.5, i + 0.52, f"{100 * share[i, j]:.1f}", va="bottom", size=7.5, **look)
            axes.text(j + 0.5, i + 0.58, f"{matrix[i, j]}", va="top", size=6, **look)
        elif matrix[i, j]:
            axes.text(j + 0.5, i + 0.5, f"{100 * share[i, j]:.0f}", va="center", size=6, **look)
    upright = longest * 0.09 > cell
    axes.set_xticks(np.arange(count) + 0.5, names)
    axes.set_yticks(np.arange(count) + 0.5, names)
    if upright:
        axes.tick_params("x", labelrotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(aspect="equal", xlabel="predicted", ylabel="truth")
    axes.invert_yaxis()
    recalls = [f"{label} {100 * share[k, k]:.1f} %" for k, label in enumerate(labels) if rows[k, 0]]
    return figure, f"Confusion matrix, rows are the truth. Recall: {', '.join(recalls)}."


def _per_class(scores: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """Draw precision, recall and F1 of each class as bars."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(scores)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(scores))
    for k, (key, name, colour) in enumerate(
        (("precision", "precision", BLUE), ("recall", "recall", VERMILION), ("f1", "F1", GREEN))
    ):
        values = [100 * (one[key] or 0.0) for one in scores.values()]
        axes.barh(places + 0.27 * (k - 1), values, height=0.24, color=colour, label=name)
    axes.set_yticks(places, [shortened(label) for label in scores])
    axes.tick_params("y", length=0)
    axes.set(xlim=(0, 100), ylim=(-0.6, len(scores) - 0.4), xlabel="percent")
    axes.grid(axis="x")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3)
    best = [f"{label} {100 * one['f1']:.1f} %" for label, one in scores.items() if one["f1"] is not None]
    return figure, f"Precision, recall and F1 of each emotion. F1: {', '.join(best)}."


def _folds(results: Mapping[str, Any]) -> Drawing:
    """Draw the UAR of each fold, one dot per seed, with mean, standard deviation and chance level."""
    table = pd.DataFrame(results["folds"])
    names = list(dict.fromkeys(table["fold"]))
    mean, spread = 100 * results["uar"], results["sd_folds"]
    figure, axes = _row([shortened(name) for name in names], "fold")
    if spread is not None:
        band = (mean - 100 * spread, mean + 100 * spread)
        axes.axhspan(*band, color=BLUE, alpha=0.15, lw=0, label=f"± {100 * spread:.1f} (SD over folds)")
    axes.axhline(mean, color=BLUE, lw=1.2, label=f"mean {mean:.1f} %")
    _draw_chance(axes, results)
    places = table["fold"].map({name: k for k, name in enumerate(names, 1)})
    axes.plot(places, 100 * table["uar"], "o", color=VERMILION, ms=4.5, alpha=0.8, mew=0)
    figure.legend(loc="outside upper center", ncols=3)
    low, high = 100 * table["uar"].min(), 100 * table["uar"].max()
    return figure, f"UAR of {len(names)} folds, from {low:.1f} to {high:.1f} %, mean {mean:.1f} %."


def _speakers(results: Mapping[str, Any]) -> Drawing:
    """Draw the UAR of each speaker, the best first, coloured by sex."""
    speakers = sorted(results["speakers"].items(), key=lambda item: (-item[1]["uar"], item[0]))
    # With a single corpus the prefix of the speakers is redundant.
    corpus = next(iter(results["corpora"]), "") if len(results["corpora"]) == 1 else ""
    names = [shortened(name.removeprefix(f"{corpus}/")) for name, _ in speakers]
    values = np.array([100 * scores["uar"] for _, scores in speakers])
    sexes = np.array([scores["sex"] for _, scores in speakers])
    figure, axes = _row(names, "speaker, by rank")
    size = np.clip(180 / len(names), 2.5, 4.5)
    looks = {"female": ("o", VERMILION), "male": ("s", BLUE)}
    for sex in np.unique(sexes):
        marker, colour = looks.get(str(sex), ("D", GREEN))
        here = sexes == sex
        ranks = np.flatnonzero(here) + 1
        axes.vlines(ranks, 0, values[here], color=colour, lw=1, alpha=0.5)
        label = str(sex) or ("sex not known" if len(set(sexes)) > 1 else None)
        axes.plot(ranks, values[here], marker, color=colour, ms=size, mew=0, label=label, clip_on=False)
    _draw_chance(axes, results)
    axes.set_ylim(0, 100)
    figure.legend(loc="outside upper center", ncols=4)
    return figure, f"UAR of {len(names)} speakers, from {values[-1]:.1f} to {values[0]:.1f} %."


def draw_reliability(
    given: NDArray[np.float64],
    truth: NDArray[np.str_],
    labels: Sequence[str],
    error: float,
    temperature: float | None = None,
    bins: int = 15,
) -> Drawing:
    """Draw a reliability diagram: accuracy against confidence in the bins of the ECE, and a histogram of confidence."""
    right = np.array(labels)[given.argmax(axis=1)] == truth
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    curve, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 100], [0, 100], color=GREY, ls="--", lw=1, label="perfect calibration")
    confidence = given.max(axis=1)
    clips = _accuracy_by_bin(curve, confidence, right, bins, BLUE, f"model, ECE {100 * error:.1f} %")
    if temperature is not None:
        tempered = temper(given, temperature).max(axis=1)
        _accuracy_by_bin(curve, tempered, right, bins, VERMILION, f"at temperature {temperature:.2f}")
    curve.set(ylabel="accuracy, percent", xlim=(0, 100), ylim=(0, 100))
    curve.grid()
    edges = np.linspace(0, 100, bins + 1)
    histogram.bar(edges[:-1], 100 * clips / clips.sum(), width=0.92 * 100 / bins, align="edge", color=BLUE)
    histogram.set(ylabel="clips, percent", xlabel="confidence, percent")
    histogram.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    mean, accuracy = 100 * confidence.mean(), 100 * right.mean()
    return figure, f"Mean confidence {mean:.1f} %, accuracy {accuracy:.1f} %, ECE {100 * error:.1f} %."


def _accuracy_by_bin(
    axes: Axes, confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int, colour: str, label: str
) -> NDArray[np.intp]:
    """Draw the accuracy of each non-empty bin of confidence; return the number of clips of each bin."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    clips = np.bincount(bin_of, minlength=bins)
    filled = clips > 0
    x = 100 * np.bincount(bin_of, weights=confidence, minlength=bins)[filled] / clips[filled]
    y = 100 * np.bincount(bin_of, weights=right, minlength=bins)[filled] / clips[filled]
    axes.plot(x, y, color=colour, lw=1, label=label)
    # The size of a dot is the number of clips in its bin.
    axes.scatter(x, y, s=4 + 46 * clips[filled] / clips.max(), color=colour, lw=0, clip_on=False)
    return clips


def _selective(scores: Mapping[str, Any]) -> Drawing:
    """Draw the selective accuracy against coverage, with the target and the chosen threshold."""
    curve = scores["curve"]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    coverage, accuracy = ([100 * point[key] for point in curve] for key in ("coverage", "accuracy"))
    axes.plot(coverage, accuracy, "o-", color=BLUE, lw=1.2, ms=3, mew=0, label="model", clip_on=False)
    axes.axhline(100 * scores["target"], color=GREY, ls="--", lw=1, label=f"promise {100 * scores['target']:g} %")
    words = f"Accuracy {accuracy[0]:.1f} % of all clips, {accuracy[-1]:.1f} % of the surest {coverage[-1]:.0f} %"
    if scores["threshold"] is not None:
        kept, right = 100 * scores["coverage"], 100 * scores["accuracy"]
        label = f"threshold {scores['threshold']:.2f}"
        axes.plot(kept, right, "D", color=VERMILION, ms=6, mew=0, label=label, clip_on=False)
        words += f"; {label} answers {kept:.1f} %, {right:.1f} % of them right"
    axes.set(xlim=(0, 100), ylim=(min(100 * scores["target"], *accuracy) - 5, 100))
    axes.set(xlabel="clips that get an answer, percent", ylabel="answers that are right, percent")
    axes.grid()
    figure.legend(loc="outside upper center", ncols=3)
    return figure, f"{words}."


def _draw_chance(axes: Axes, results: Mapping[str, Any]) -> None:
    """Draw the chance level of the UAR."""
    level = 100 * chance(results)["uar"]
    axes.axhline(level, color=GREY, ls="--", lw=1, label=f"chance {level:.1f} %")


def _row(names: Sequence[str], what: str) -> tuple[Figure, Axes]:
    """Begin a plot of one UAR per name, at 1, 2, ...; long names are rotated, and too many are omitted."""
    longest = max(map(len, names))
    upright = len(names) * longest > 50
    named = len(names) <= MAX_NAMES
    figure = Figure(figsize=(WIDTH, 2.8 + 0.07 * longest * (named and upright)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0.3, len(names) + 0.7), xlabel=what if named else f"{what}, of {len(names)}", ylabel="UAR, percent")
    axes.grid(axis="y")
    if named:
        axes.set_xticks(range(1, len(names) + 1), names)
        axes.tick_params("x", length=0)
    if named and upright:
        axes.tick_params("x", labelrotation=90, labelsize=8 if len(names) <= 28 else 6.5)
    return figure, axes


def chance(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the chance levels in [0, 1]: UAR of guessing, WA of always predicting the most frequent class.

    Examples
    --------
    >>> chance({"per_class": {"sad": {"support": 3}, "happy": {"support": 1}, "calm": {"support": 0}}})
    {'uar': 0.5, 'wa': 0.75}
    """
    support = [one["support"] for one in results["per_class"].values() if one["support"]]
    return {"uar": 1 / len(support), "wa": max(support) / sum(support)}


def shortened(name: str, max_length: int = 18) -> str:
    """Abbreviate a long name in the middle.

    Examples
    --------
    >>> shortened("surprised"), shortened("recordings_of_speaker_0012")
    ('surprised', 'recording…ker_0012')
    """
    half = max_length // 2
    return name if len(name) <= max_length else f"{name[:half]}…{name[-(max_length - half - 1) :]}"


def _inline(svg: str, name: str, alternative: str, width: float) -> str:
    """Convert an SVG file to an element of a page: unique ids, text colour of the page, no background."""
    body = re.sub(r"<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, inside = body.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    inside = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", inside)
    inside = inside.replace("stroke: #000000", "stroke: currentColor")
    return (
        f'<svg {view[0] if view else ""} role="img" aria-label="{html.escape(alternative)}" '
        f'style="max-width: {width:.2f}in" fill="currentColor">{inside.strip()}'
    )
