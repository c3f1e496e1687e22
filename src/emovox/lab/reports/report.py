"""The report of an experiment: one HTML page that needs nothing else, and its plots as files."""

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
from emovox.model.card import ModelCard

#: The page's template, beside this module.
TEMPLATE = "report.html.j2"

#: So many confusions are spelt out in words.
WORST = 5


def write(folder: Path, results: Mapping[str, Any], predictions: pd.DataFrame, card: ModelCard) -> None:
    """Write ``report.html`` and ``plots/``.

    The page holds the plots too and loads nothing, so it can be mailed, printed and kept.  The same arguments
    give the same bytes.

    Parameters
    ----------
    folder : Path
        Run folder.
    results : mapping
        What `emovox.lab.experiments.experiment.run` returns: the scores of `emovox.lab.evaluation.scores.score`,
        and the protocol, the training data and what was skipped.
    predictions : DataFrame
        One row a tested clip and seed, as for `emovox.lab.evaluation.scores.score`.
    card : ModelCard
        Of the model that was fitted on everything.
    """
    drawn = plots.write(folder / "plots", results, predictions)
    (folder / "report.html").write_text(render(results, drawn, card), encoding="utf-8", newline="\n")


def render(results: Mapping[str, Any], drawn: Mapping[str, str], card: ModelCard) -> str:
    """Fill the page.

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
    """Put the seeds of each fold side by side, with their means."""
    rows = []
    table = pd.DataFrame(results["folds"])
    for name, fold in table.groupby("fold", sort=False):
        means = {key: float(fold[key].mean()) for key in ("uar", "wa", "macro_f1")}
        rows.append({"name": name, "n": int(fold["n"].iloc[0]), "seeds": fold["uar"].tolist(), **means})
    return rows


def _confusions(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the mistakes that take the largest share of their class."""
    labels, matrix = results["labels"], results["confusion"]
    mistakes = [
        {"truth": labels[i], "predicted": labels[j], "count": matrix[i][j], "share": matrix[i][j] / sum(matrix[i])}
        for i, j in itertools.permutations(range(len(labels)), 2)
        if matrix[i][j]
    ]
    return sorted(mistakes, key=lambda one: -one["share"])[:WORST]


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """List nested settings by their dotted names, as ``--set`` takes them; what is empty says nothing."""
    for key, value in values.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif value not in ("", [], ()):
            yield name, value
