"""Plots of a comparison, in the style of the plots of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from emovox.lab.evaluation.comparison import Group
from emovox.lab.evaluation.scores import probabilities
from emovox.lab.reports import plots
from emovox.lab.reports.plots import BLUE, GREEN, GREY, VERMILION, WIDTH, Drawing, shortened

#: Runs with plots of their own; the tables have all runs.
MAX_DRAWN = 12
#: Longest name of a run in a plot, in characters.
MAX_NAME_LENGTH = 26
#: Published results drawn beside the runs.
MAX_PUBLISHED = 4


def write(folder: Path, group: Group) -> dict[str, str]:
    """Draw a group, each plot as ``<name>.svg`` and ``<name>.png``.

    Parameters
    ----------
    folder : Path
        Output folder; created if it does not exist.
    group : Group
        From `emovox.lab.evaluation.comparison.compare`.

    Returns
    -------
    dict of str to str
        SVG elements by name: ``ranking``, ``per_class``, ``costs`` (where latency was measured), ``speakers`` (if
        several are known), ``pairs`` (if there are any), and for each run, numbered by rank, ``confusion-1``,
        ``reliability-1`` and, where the run has them, ``learning-1``.
    """
    return plots.save(folder, lambda: dict(_draw(group)))


def _draw(group: Group) -> Iterator[tuple[str, Drawing]]:
    """Draw the plots for which there are data."""
    results = group.results
    runs = results["runs"]
    yield "ranking", _ranking(results)
    if any(pair["difference"] is not None for pair in results["pairs"]):
        yield "pairs", _pairs(results)
    yield "per_class", _per_class(results)
    if results["speakers"] and results["speakers"] > 1:
        yield "speakers", _speakers(results)
    if sum(run["costs"]["clip_ms"] is not None for run in runs) > 1:
        yield "costs", _costs(results)
    for rank, (run, row) in enumerate(zip(group.runs[:MAX_DRAWN], runs, strict=False), 1):
        yield f"confusion-{rank}", plots.draw_confusion(np.array(row["confusion"]), row["labels"])
        truth = run.predictions["label"].to_numpy(str)
        found = probabilities(run.predictions, run.labels)
        calibration = run.metrics["calibration"]
        yield (
            f"reliability-{rank}",
            plots.draw_reliability(found, truth, run.labels, calibration["ece"], calibration["temperature"]),
        )
        if curves := learning_curves(row["learning_curves"]):
            yield f"learning-{rank}", _learning(curves)


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Shorten the names of runs."""
    return [shortened(row["name"], MAX_NAME_LENGTH) for row in rows]


def _rows(names: Sequence[str], *, axis: str, room: float = 0.34) -> tuple[Figure, Axes]:
    """Begin a plot with one row per name, the first at the top."""
    figure = Figure(figsize=(WIDTH + 0.6, 1.1 + room * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=axis)
    axes.tick_params("y", length=0)
    axes.grid(axis="x")
    return figure, axes


def _ranking(results: Mapping[str, Any]) -> Drawing:
    """Draw the UAR of each run with its interval by speaker, and published results of the same protocol."""
    rows = results["runs"]
    others = [one for one in results["published"] if one["same"] and one["uar"] is not None][:MAX_PUBLISHED]
    names = [*_names(rows), *(shortened(one["system"].split(",")[0], MAX_NAME_LENGTH) for one in others)]
    figure, axes = _rows(names, axis="UAR, percent")
    for place, row in enumerate(rows):
        if interval := row["interval"]:
            axes.plot([100 * interval["low"], 100 * interval["high"]], [place] * 2, color=BLUE, lw=2.2, alpha=0.6)
        axes.plot(100 * row["uar"], place, "o", color=BLUE, ms=6, mew=0)
    for place, one in enumerate(others, len(rows)):
        axes.plot(100 * one["uar"], place, "D", color=VERMILION, ms=5, mew=0)
    handles = [axes.plot([], [], "o-", color=BLUE, lw=2.2, ms=6, mew=0, label="run, 95 % by speaker")[0]]
    if others:
        handles += axes.plot([], [], "D", color=VERMILION, ms=5, mew=0, label="published")
    handles.append(axes.axvline(100 * results["chance"], color=GREY, ls="--", lw=1, label="chance"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    words = [f"{row['name']} {100 * row['uar']:.1f} %" for row in rows]
    return figure, f"UAR of each run: {', '.join(words)}."


def _pairs(results: Mapping[str, Any]) -> Drawing:
    """Draw differences of UAR, row minus column; significant ones in colour."""
    names = _names(results["runs"])
    place = {row["name"]: k for k, row in enumerate(results["runs"])}
    count = len(names)
    cell = float(np.clip(4.4 / count, 0.36, 0.8))
    side = (count - 1) * cell + 0.075 * max(map(len, names)) + 0.4
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shade = np.zeros((count, count))
    for pair in results["pairs"]:
        if pair["difference"] is None:
            continue
        row, column = place[pair["first"]], place[pair["second"]]
        shade[row, column] = min(1.0, 0.35 + 2 * abs(pair["difference"])) * pair["differ"]
        look: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}
        weight = "bold" if pair["differ"] else "normal"
        axes.text(column + 0.5, row + 0.5, f"{100 * pair['difference']:+.1f}", size=7.5, weight=weight, **look)
    blues = LinearSegmentedColormap.from_list("blues", [(*to_rgb(BLUE), 0.0), (*to_rgb(BLUE), 0.6)])
    axes.pcolormesh(shade, cmap=blues, vmin=0, vmax=1, edgecolors=(*to_rgb(GREY), 0.3), linewidth=0.5)
    axes.set_xticks(np.arange(1, count) + 0.5, names[1:], rotation=90)
    axes.set_yticks(np.arange(count - 1) + 0.5, names[:-1])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(aspect="equal", xlim=(1, count), ylim=(count - 1, 0))
    sure = sum(pair["differ"] for pair in results["pairs"])
    return figure, f"Differences of UAR in points, row less column; {sure} of {len(results['pairs'])} are sure."


def _per_class(results: Mapping[str, Any]) -> Drawing:
    """Draw F1 of each emotion and run as a heat map."""
    names, labels = _names(results["runs"]), results["labels"]
    scores = np.array([[row["per_class"][label]["f1"] or 0.0 for label in labels] for row in results["runs"]])
    width = 0.075 * max(map(len, names)) + 0.55 * len(labels) + 0.4
    figure = Figure(figsize=(width, 1.1 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    blues = LinearSegmentedColormap.from_list("blues", [(*to_rgb(BLUE), 0.0), (*to_rgb(BLUE), 1.0)])
    axes.pcolormesh(scores, cmap=blues, vmin=0, vmax=1, edgecolors=(*to_rgb(GREY), 0.3), linewidth=0.5)
    for (row, column), value in np.ndenumerate(scores):
        ink = "white" if value >= 0.75 else "black"
        place: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}
        axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", color=ink, size=7.5, **place)
    axes.set_xticks(np.arange(len(labels)) + 0.5, [shortened(label) for label in labels], rotation=45, ha="right")
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    best = [f"{label} {100 * scores[:, k].max():.0f} %" for k, label in enumerate(labels)]
    return figure, f"F1 of each emotion and run. The best of each emotion: {', '.join(best)}."


def _speakers(results: Mapping[str, Any]) -> Drawing:
    """Draw the UAR of each speaker, one row per run, with the median."""
    figure, axes = _rows(_names(results["runs"]), axis="UAR of each speaker, percent")
    looks = {"female": ("o", VERMILION), "male": ("s", BLUE)}
    shown: dict[str, Any] = {}
    words = []
    for place, row in enumerate(results["runs"]):
        values = sorted((one["uar"], one["sex"]) for one in row["speakers"].values())
        for k, (value, sex) in enumerate(values):
            marker, colour = looks.get(sex, ("D", GREEN))
            # Neighbours in rank are shifted vertically, so that equal values do not hide each other.
            height = place + 0.18 * (k % 3 - 1)
            (dot,) = axes.plot(100 * value, height, marker, color=colour, ms=3.2, mew=0, alpha=0.75)
            shown.setdefault(sex or "sex not known", dot)
        scores = [100 * value for value, _ in values]
        axes.plot([np.median(scores)] * 2, [place - 0.32, place + 0.32], color="black", lw=1.2)
        words.append(f"{row['name']} {min(scores):.0f} to {max(scores):.0f} %")
    axes.set_xlim(0, 100)
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=3)
    return figure, f"UAR of single speakers: {', '.join(words)}; a bar is the median."


def _costs(results: Mapping[str, Any]) -> Drawing:
    """Draw UAR against latency."""
    rows = [row for row in results["runs"] if row["costs"]["clip_ms"] is not None]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        x, y = row["costs"]["clip_ms"], 100 * row["uar"]
        axes.plot(x, y, "o", color=BLUE, ms=5, mew=0)
        axes.annotate(shortened(row["name"], MAX_NAME_LENGTH), (x, y), (4, 4), textcoords="offset points", size=7)
    times = [row["costs"]["clip_ms"] for row in rows]
    axes.set(xscale="log", xlim=(min(times) / 1.6, max(times) * 4))
    axes.set(xlabel="milliseconds for 3 s of speech, one thread", ylabel="UAR, percent")
    ticks = [one for one in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000) if min(times) / 2 < one < max(times) * 4]
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.set_xticks([], minor=True)
    axes.grid()
    words = [f"{row['name']} {row['costs']['clip_ms']:.1f} ms" for row in rows]
    return figure, f"UAR against latency: {', '.join(words)}."


def learning_curves(value: Any) -> list[list[dict[str, Any]]]:
    """Flatten the ``learning_curves`` of a run, whatever the nesting of folds, seeds and ensemble members.

    Returns
    -------
    list of list of dict
        Epochs of each fitted network.

    Examples
    --------
    >>> learning_curves({"fold 1": [[{"epoch": 1, "train_loss": 2.0}]]})
    [[{'epoch': 1, 'train_loss': 2.0}]]
    """
    if isinstance(value, Mapping):
        return [curve for part in value.values() for curve in learning_curves(part)]
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    if value and all(isinstance(one, Mapping) and "epoch" in one for one in value):
        return [[dict(one) for one in value]]
    return [curve for part in value for curve in learning_curves(part)]


def _learning(curves: Sequence[Sequence[Mapping[str, Any]]]) -> Drawing:
    """Draw loss and UAR by epoch: a thin line per network, and their mean over the epochs that most reach."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    last = []
    for axes, kind, factor in ((above, "loss", 1.0), (below, "uar", 100.0)):
        for key, name, colour in ((f"train_{kind}", "training", BLUE), (f"valid_{kind}", "held out", VERMILION)):
            lines = [[(one["epoch"], factor * one[key]) for one in curve if key in one] for curve in curves]
            lines = [line for line in lines if line]
            for line in lines:
                axes.plot(*zip(*line, strict=True), color=colour, lw=0.6, alpha=0.3)
            if lines:
                axes.plot(*_mean(lines), color=colour, lw=1.6, label=name)
                last.append(f"{name} {kind} {_mean(lines)[1][-1]:.2f}")
        axes.grid()
    above.set_ylabel("loss")
    below.set(ylabel="UAR, percent", xlabel="epoch")
    handles, names = above.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure, f"Learning curves of {len(curves)} networks; at the end {', '.join(last)}."


def _mean(lines: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Average curves over the epochs that at least half of them reach."""
    values: dict[float, list[float]] = {}
    for line in lines:
        for epoch, value in line:
            values.setdefault(epoch, []).append(value)
    kept = [epoch for epoch in sorted(values) if 2 * len(values[epoch]) >= len(lines)]
    return kept, [float(np.mean(values[epoch])) for epoch in kept]
