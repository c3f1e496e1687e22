"""Runs that are made up, so that what a comparison must find is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox.lab.evaluation.scores import score

LABELS = ("neutral", "happy", "sad", "angry")


def answers(
    skill: float, seed: int, *, labels: Sequence[str], speakers: int, corpus: str, takes: int = 4
) -> pd.DataFrame:
    """Invent what a model of some skill says of a corpus, two speakers a fold."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "fold": f"fold {speaker // 2 + 1}",
            "file": f"{corpus}/s{speaker:02d}/{label}-{take}.wav",
            "start": 0.0,
            "end": np.inf,
            "corpus": corpus,
            "speaker": f"{corpus}/{speaker:02d}",
            "sex": ("female", "male")[speaker % 2],
            "label": label,
        }
        for speaker in range(speakers)
        for label in labels
        for take in range(takes)
    ]
    table = pd.DataFrame(rows)
    truth = table["label"].map({label: k for k, label in enumerate(labels)}).to_numpy(int)
    # Speakers differ in how hard they are, the same for every model.
    hard = np.random.default_rng(99).normal(0, 0.1, speakers)[table["speaker"].str[-2:].astype(int)]
    right = rng.random(len(table)) < np.clip(skill + hard, 0, 1)
    said = np.where(right, truth, (truth + rng.integers(1, len(labels), len(table))) % len(labels))
    table["predicted"] = np.array(labels)[said]
    for k, label in enumerate(labels):
        table[f"p_{label}"] = np.where(said == k, 0.7, 0.3 / (len(labels) - 1))
    return table


def write_run(
    folder: Path,
    skill: float = 0.7,
    *,
    seeds: Sequence[int] = (0,),
    labels: Sequence[str] = LABELS,
    speakers: int = 12,
    corpus: str = "demo",
    protocol: str = "speaker-6",
    independent: bool = True,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
    **more: Any,
) -> Path:
    """Write a run folder as an experiment does, without the model."""
    tables = []
    for seed in seeds:
        drawn = sum(map(ord, folder.name)) + 1000 * seed
        table = change(answers(skill, drawn, labels=labels, speakers=speakers, corpus=corpus))
        table.insert(0, "seed", seed)
        tables.append(table)
    predictions = pd.concat(tables, ignore_index=True)
    results = {
        "recipe": folder.name,
        "family": "ann",
        "features": "classic193",
        "protocol": {
            "name": protocol,
            "folds": 6,
            "speaker_independent": independent,
            "text_independent": False,
            "note": "A note on the protocol.",
            "seeds": list(seeds),
        },
        **score(predictions, labels),
        "software": "0.1.0",
        **more,
    }
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(results), encoding="utf-8")
    predictions.to_csv(folder / "predictions.csv", index=False, float_format="%.5f", lineterminator="\n")
    return folder


# ---- the comparison --------------------------------------------------------------------------------------------------


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")
