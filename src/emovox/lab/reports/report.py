"""Report of an experiment: one self-contained HTML page, and its plots as files."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from emovox.lab.reports import plots
from emovox.lab.reports.page import template
from emovox.model.file import ModelCard

#: Template of the page, beside this module.
TEMPLATE = "report.html.j2"

#: Confusions described in words.
WORST = 5


def write(folder: Path, results: Mapping[str, Any], predictions: pd.DataFrame, card: ModelCard) -> None:
    """Write ``report.html`` and ``plots/``.

    The page contains the plots and loads nothing.  The same arguments give the same bytes.

    Parameters
    ----------
    folder : Path
        Run folder.
    results : mapping
        Returned by `emovox.lab.experiments.experiment.run`: the scores of `emovox.lab.evaluation.scores.score`, the
        protocol, the training data and the skipped clips.
    predictions : DataFrame
        One row per tested clip and seed, as for `emovox.lab.evaluation.scores.score`.
    card : ModelCard
        Card of the model that was trained on all clips.
    """
    drawn = plots.write(folder / "plots", results, predictions)
    (folder / "report.html").write_text(render(results, drawn, card), encoding="utf-8", newline="\n")


def render(results: Mapping[str, Any], drawn: Mapping[str, str], card: ModelCard) -> str:
    """Render the page.

    Parameters
    ----------
    results : mapping
        As for :func:`write`.
    drawn : mapping of str to str
        SVG elements by name, from `emovox.lab.reports.plots.write`.
    card : ModelCard
        As for :func:`write`.

    Returns
    -------
    str
        HTML.
    """
    return template(TEMPLATE).render(
        results=results,
        card=card,
        plots={name: Markup(svg) for name, svg in drawn.items()},  # our own drawing, escaped where it was made
        chance=plots.chance(results),
        seeds=sorted({fold["seed"] for fold in results["folds"]}),
        folds=_folds(results),
        speakers=sorted(results["speakers"].items(), key=lambda item: (-item[1]["uar"], item[0])),
        confusions=_confusions(results),
        front_end=list(_flat({"parameters": card.features.parameters, "preprocess": card.features.preprocess})),
        settings=list(_flat({key: card.recipe[key] for key in card.recipe if key not in ("name", "description")})),
        name=shlex.quote(results["recipe"]),
        corpora=" ".join(f"--corpus {shlex.quote(f'{corpus.name}=DIR')}" for corpus in card.corpora),
    )


def _folds(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per fold: the UAR of each seed, and means over seeds."""
    rows = []
    table = pd.DataFrame(results["folds"])
    for name, fold in table.groupby("fold", sort=False):
        means = {key: float(fold[key].mean()) for key in ("uar", "wa", "macro_f1")}
        rows.append({"name": name, "n": int(fold["n"].iloc[0]), "seeds": fold["uar"].tolist(), **means})
    return rows


def _confusions(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the most frequent confusions, relative to the size of their class."""
    labels, matrix = results["labels"], results["confusion"]
    mistakes = [
        {"truth": labels[i], "predicted": labels[j], "count": matrix[i][j], "share": matrix[i][j] / sum(matrix[i])}
        for i, j in itertools.permutations(range(len(labels)), 2)
        if matrix[i][j]
    ]
    return sorted(mistakes, key=lambda one: -one["share"])[:WORST]


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """List nested options by their dotted names, as ``--set`` accepts them; empty ones are omitted."""
    for key, value in values.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif value not in ("", [], ()):
            yield name, value
