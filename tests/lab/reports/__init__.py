"""A made-up experiment, and its page as a browser reads it."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emovox.lab.evaluation.scores import score
from emovox.lab.reports import report
from emovox.model.file import CorpusSummary, ModelCard
from emovox.types import COMMON, FeatureSpec

FOLDS = tuple(f"fold {k}" for k in range(1, 7))
SPEAKERS = tuple(f"ravdess/{k:02d}" for k in range(1, 25))


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
