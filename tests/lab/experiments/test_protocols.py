"""Whole experiments under protocols that train on more corpora than they test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import balanced_accuracy_score

from emovox.lab.experiments import experiment, recipe
from emovox.model.file import load
from tests.conftest import toy_clip

#: RAVDESS's number of each toy emotion.
EMOTIONS = {"neutral": "01", "happy": "03", "sad": "04", "angry": "05"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, toy_manifest: Path) -> dict[str, Path]:
    """Make 24 actors named as RAVDESS names them, and beside them a corpus with a label that these lack."""
    root = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 25):
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir()
        for label, number in EMOTIONS.items():
            name = f"03-01-{number}-01-01-01-{actor:02d}.wav"
            soundfile.write(folder / name, toy_clip(label, actor % 6, 100 + actor), 16000)
    rows = toy_manifest.read_text(encoding="utf-8").splitlines()
    other = toy_manifest.with_name("other.csv")
    other.write_text("\n".join(rows).replace(",neutral,", ",boredom,") + "\n", encoding="utf-8")
    return {"ravdess": root, "other": other}


@pytest.fixture(scope="module")
def finished(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    one = recipe.validate(
        {
            "name": "two",
            "corpora": {"ravdess": {}, "other": {}},
            "features": {"set": "classic193"},
            "model": {"family": "ann", "hidden": [16], "epochs": 15, "learning_rate": 0.003},
            "protocol": {"name": "emobox", "seeds": [0, 1]},
        },
        "test",
    )
    out = tmp_path_factory.mktemp("runs") / "two"
    experiment.run(one, roots, out, jobs=1)
    return out


def test_only_ravdess_is_scored(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv(finished / "predictions.csv")
    assert set(predictions["corpus"]) == {"ravdess"}
    assert (predictions.groupby(["seed", "file"]).size() == 1).all(), "each clip of RAVDESS is tested once a seed"
    assert len(predictions) == 2 * 24 * 4
    assert metrics["n"] == 24 * 4
    assert set(metrics["corpora"]) == {"ravdess"}
    assert len(metrics["speakers"]) == 24
    assert metrics["protocol"]["folds"] == 6
    assert metrics["protocol"]["speaker_independent"]
    assert metrics["protocol"]["note"].endswith("Only trained on, never tested: other.")
    assert {one["name"]: one["clips"] for one in metrics["corpora_used"]} == {"ravdess": 96, "other": 96}


def test_a_label_that_is_never_tested_does_not_spoil_the_score(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv(finished / "predictions.csv")
    assert metrics["labels"] == ["neutral", "happy", "sad", "angry", "boredom"]
    folds = predictions.groupby(["seed", "fold"])
    recalls = folds.apply(
        lambda rows: np.mean([(rows["predicted"] == label)[rows["label"] == label].mean() for label in EMOTIONS])
    )
    assert metrics["uar"] == pytest.approx(recalls.mean())
    known = predictions[predictions["predicted"] != "boredom"]
    assert balanced_accuracy_score(known["label"], known["predicted"]) > 0.5
    assert np.isfinite(metrics["calibration"]["ece_tempered"])


def test_the_report_and_the_model_tell_of_the_other_corpus(finished: Path) -> None:
    assert "Only trained on, never tested: other." in (finished / "report.html").read_text(encoding="utf-8")
    card = load(finished).card
    assert [corpus.name for corpus in card.corpora] == ["ravdess", "other"]
    assert "boredom" in card.labels, "the final model has heard everything"
