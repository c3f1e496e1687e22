"""The report page read back as a browser would, and its plots."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from emovox.evaluation import plots, report
from emovox.evaluation.scores import score
from emovox.labels import COMMON
from emovox.types import CorpusSummary, FeatureSpec, ModelCard

ATTACK = "<script>alert('x')</script>"


class Run(NamedTuple):
    """What an experiment hands to the report."""

    results: dict[str, Any]
    predictions: pd.DataFrame
    card: ModelCard


def experiment(
    *,
    labels: Sequence[str] = COMMON,
    folds: Sequence[str] = tuple(f"fold {k + 1}" for k in range(6)),
    seeds: Sequence[int] = (0,),
    speakers: Sequence[str] = tuple(f"ravdess/{k + 1:02d}" for k in range(24)),
    corpora: Sequence[str] = ("ravdess",),
    sexes: Sequence[str] = ("male", "female"),
    takes: int = 8,
    independent: bool = True,
    skipped: Sequence[str] = (),
    name: str = "ravdess-ann",
) -> Run:
    """Invent the predictions of a middling classifier and score them as an experiment does."""
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
        for _ in range(takes)
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
