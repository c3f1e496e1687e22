"""Report of a hyper-parameter search: the best recipe, its inner score, and the unbiased outer score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from emovox.lab.reports import plots
from emovox.lab.reports.page import template
from emovox.storage import cannot_write, replacing

#: Template of the page, beside this module.
TEMPLATE = "tuning.html.j2"
#: Files of a report.
FILES = ("tuning.json", "tuning.html", "best.toml")


def write(folder: Path, results: Mapping[str, Any], best: str) -> None:
    """Write ``tuning.html``, ``tuning.json``, ``best.toml`` and the picture; a report that is there is replaced.

    Parameters
    ----------
    folder : Path
        Made if it is not there; the study may lie in it.
    results : mapping
        As `emovox.lab.experiments.tuning.tune` returns them.
    best : str
        The recipe that was found, as TOML.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = plots.save(folder / "plots", lambda: {"history": _history(results)})
        texts = (json.dumps(results, indent=1, ensure_ascii=False) + "\n", render(results, drawn), best)
        for name, text in zip(FILES, texts, strict=True):
            with replacing(folder / name, unique=True) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(folder, error) from error


def render(results: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    """Render the page.

    Parameters
    ----------
    results : mapping
        As for :func:`write`.
    drawn : mapping of str to str
        SVG elements by name: ``history``.

    Returns
    -------
    str
        HTML.
    """
    pictures = {name: Markup(svg) for name, svg in drawn.items()}  # our own drawing, escaped where it was made
    return template(TEMPLATE).render(results=results, plots=pictures)


def _history(results: Mapping[str, Any]) -> plots.Drawing:
    """Draw the score of each trial, the best so far, and the outer score on unseen speakers."""
    figure = Figure(figsize=(plots.WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    looks = {"complete": ("o", plots.BLUE), "pruned": ("x", plots.GREY)}
    for state, (marker, colour) in looks.items():
        points = [(one["number"], 100 * one["score"]) for one in results["history"] if one["state"] == state]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, ms=4, label=state)
    best = [(one["number"], 100 * one["best"]) for one in results["history"] if one["best"]]
    axes.plot(*zip(*best, strict=True), color=plots.BLUE, lw=1.2, drawstyle="steps-post", label="best so far")
    words = f"{len(results['history'])} trials; the best inner UAR is {best[-1][1]:.1f} %"
    if results["outer_score"] is not None:
        level = 100 * results["outer_score"]
        axes.axhline(level, color=plots.VERMILION, ls="--", lw=1.2, label="outer score")
        words += f", the outer score {level:.1f} %"
    axes.set(xlabel="trial", ylabel="UAR, percent")
    axes.grid()
    figure.legend(loc="outside upper center", ncols=4)
    return figure, f"{words}."
