"""Whole experiments on a synthetic corpus: the run folder, honesty, alignment, bad input."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from emovox import EmotionRecognizer
from emovox.errors import CorpusError, InputError, ProtocolError
from emovox.lab.corpora import registry
from emovox.lab.corpora.splits import by_name
from emovox.lab.estimators.neural import AnnOptions
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.experiments import crossfit, dataset, experiment, recipe
from emovox.lab.experiments.crossfit import Task, fit_one
from emovox.model.file import load
from tests.conftest import ANY_SOUND, LABELS, toy_clip

BASE: dict[str, Any] = {
    "name": "toy",
    "description": "toy",
    "corpora": {"toy": {}},
    "features": {"set": "classic193"},
    "model": {"family": "ann", "hidden": [32], "epochs": 30, "learning_rate": 0.003},
    "protocol": {"name": "speaker-3", "seeds": [0, 1]},
}


def toy(**changes: Any) -> recipe.Recipe:
    return recipe.validate({**BASE, **changes}, "toy")


def run(out: Path, manifest: Path, one: recipe.Recipe | None = None) -> Mapping[str, Any]:
    return experiment.run(one or toy(), {"toy": manifest}, out, jobs=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_manifest: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "toy"
    run(out, toy_manifest)
    return out


def test_the_run_folder_is_complete(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"model.onnx", "metrics.json", "predictions.csv", "recipe.toml", "report.html"} <= names
    assert not list(finished.parent.glob("*.part"))
    assert recipe.load(finished / "recipe.toml") == toy()


def test_metrics_are_those_of_the_predictions(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv(finished / "predictions.csv", dtype={"fold": str})
    labels = metrics["labels"]
    assert len(predictions) == 2 * 96
    folds = predictions.groupby(["seed", "fold"])
    expected = folds.apply(lambda rows: balanced_accuracy_score(rows["label"], rows["predicted"])).mean()
    assert metrics["uar"] == pytest.approx(expected)
    f1 = folds.apply(lambda rows: f1_score(rows["label"], rows["predicted"], average="macro")).mean()
    assert metrics["macro_f1"] == pytest.approx(f1)
    matrix = confusion_matrix(predictions["label"], predictions["predicted"], labels=labels)
    np.testing.assert_array_equal(metrics["confusion"], matrix)
    found = predictions[[f"p_{label}" for label in labels]].to_numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    assert (np.array(labels)[found.argmax(axis=1)] == predictions["predicted"]).mean() > 0.99
    assert len(metrics["folds"]) == 6
    assert set(metrics["speakers"]) == {f"toy/s{i}" for i in range(6)}
    assert metrics["interval"]["low"] <= metrics["uar"] <= metrics["interval"]["high"]
    assert metrics["uar"] > 0.5  # twice chance: the toy emotions can be told apart


def test_every_clip_is_tested_once_a_seed_by_a_model_that_never_heard_its_speaker(finished: Path) -> None:
    predictions = pd.read_csv(finished / "predictions.csv", dtype={"fold": str})
    assert (predictions.groupby(["seed", "file"]).size() == 1).all()
    assert (predictions.groupby(["seed", "speaker"])["fold"].nunique() == 1).all()


def test_the_exported_model_predicts_files(finished: Path, toy_manifest: Path) -> None:
    recognizer = EmotionRecognizer(finished, gate=ANY_SOUND)
    table = registry.load("toy", toy_manifest).table
    rows = table.iloc[::8]
    right = [
        recognizer.predict(toy_manifest.parent / Path(file).name).label == label
        for (file, _, _), label in zip(rows.index, rows["label"], strict=True)
    ]
    assert np.mean(right) > 0.8
    assert recognizer.card.name == "toy"
    assert recognizer.card.evaluation["uar"] == json.loads((finished / "metrics.json").read_text())["uar"]
    assert recognizer.card.corpora[0].clips == 96


def test_a_run_repeats(finished: Path, toy_manifest: Path, tmp_path: Path) -> None:
    run(tmp_path / "again", toy_manifest)
    # Products of matrices differ in the last bits with the place of the data in memory; nothing else may.
    before, after = (pd.read_csv(folder / "predictions.csv") for folder in (finished, tmp_path / "again"))
    pd.testing.assert_frame_equal(before, after, rtol=0, atol=2e-5)
    first, again = (folder / "metrics.json" for folder in (finished, tmp_path / "again"))
    former, latter = (json.loads(path.read_text()) for path in (first, again))
    for folder, results in ((finished, former), (tmp_path / "again", latter)):
        costs = results.pop("costs")  # times are never the same
        assert costs["fit_seconds"] > 0
        # The card inside has numbers whose last digits differ, and so does its length.
        assert costs["bytes"] == (folder / "model.onnx").stat().st_size
    assert numbers(former) == pytest.approx(numbers(latter), rel=1e-4, abs=1e-4)


def numbers(value: Any) -> list[float]:
    """Take all numbers out of nested values, in order."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in numbers(part)]
    if isinstance(value, list):
        return [one for part in value for one in numbers(part)]
    return [float(value)] if isinstance(value, (int, float)) else []


@pytest.mark.long
def test_the_order_of_the_manifest_changes_nothing(finished: Path, toy_manifest: Path, tmp_path: Path) -> None:
    header, *rows = toy_manifest.read_text(encoding="utf-8").splitlines()
    shuffled = toy_manifest.with_name("shuffled.csv")
    shuffled.write_text("\n".join([header, *np.random.default_rng(0).permutation(rows)]) + "\n", encoding="utf-8")
    assert run(tmp_path / "shuffled", shuffled)["uar"] == json.loads((finished / "metrics.json").read_text())["uar"]


def test_shuffled_labels_fall_to_chance(toy_manifest: Path, tmp_path: Path) -> None:
    data = dataset.load(toy(), {"toy": toy_manifest}, jobs=1)
    wrong = data.table.assign(label=np.random.default_rng(0).permutation(data.table["label"]))
    scrambled = dataset.Data(wrong, data.X, data.spec, data.corpora, ())
    protocol = by_name("speaker-3", wrong)
    predictions = crossfit.train(toy(), scrambled, protocol, jobs=1, progress=lambda *_: None).predictions
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert 0.25 - 4 * np.sqrt(0.25 * 0.75 / 96) < accuracy < 0.25 + 4 * np.sqrt(0.25 * 0.75 / 96)


def test_a_leaking_split_says_so(toy_manifest: Path, tmp_path: Path) -> None:
    results = run(tmp_path / "random", toy_manifest, toy(protocol={"name": "random"}))
    assert results["protocol"]["speaker_independent"] is False
    assert "LEAKS SPEAKERS" in results["protocol"]["note"]
    assert "LEAKS SPEAKERS" in (tmp_path / "random" / "report.html").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.parametrize("family", ["mlp", "svm"])
def test_other_families_run_too(family: str, toy_manifest: Path, tmp_path: Path) -> None:
    one = toy(model={"family": family}, protocol={"name": "speaker-2"}, features={"set": "prosodic"})
    assert run(tmp_path / family, toy_manifest, one)["uar"] > 0.6
    assert load(tmp_path / family).card.family == family


def test_evaluate_scores_a_model_on_a_corpus(finished: Path, toy_manifest: Path) -> None:
    model, other = load(finished), toy_manifest.with_name("unheard.csv")
    lines = ["Path,Emotion,noise"]
    for label in LABELS:
        soundfile.write(toy_manifest.with_name(f"new-{label}.wav"), toy_clip(label, 9, 9), 16000)
        lines.append(f"new-{label}.wav,{label},10 dB")
    other.write_text("\n".join(lines))
    results, predictions = experiment.evaluate(model, {"other": other}, jobs=1)
    assert results["uar"] == pytest.approx(balanced_accuracy_score(predictions["label"], predictions["predicted"]))
    assert set(predictions["noise"]) == {"10 dB"}, "further columns are kept along"
    assert results["protocol"]["speaker_independent"] is True
    assert results["protocol"]["note"].startswith("None of these clips was in the model's training data")


def test_evaluate_tells_of_clips_that_are_read_in_part(finished: Path, tmp_path: Path) -> None:
    lines = ["file,label"]
    for label in LABELS:
        soundfile.write(tmp_path / f"{label}.flac", toy_clip(label, 9, 9), 16000)
        lines.append(f"{label}.flac,{label}")
    cut = tmp_path / f"{LABELS[0]}.flac"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (tmp_path / "cut.csv").write_text("\n".join(lines))
    results, predictions = experiment.evaluate(load(finished), {"cut": tmp_path / "cut.csv"}, jobs=1)
    assert len(predictions) == len(LABELS)
    (told,) = results["partly_read"]
    assert told.startswith(f"{cut} cannot be read ")


def test_clips_that_were_trained_on_are_known_by_their_sound(finished: Path, toy_manifest: Path) -> None:
    model = load(finished)
    renamed, _ = experiment.evaluate(model, {"other": toy_manifest}, jobs=1)
    assert "trained on 96 of these 96 clips, by their sound" in renamed["protocol"]["note"]
    assert renamed["protocol"]["speaker_independent"] is False
    without = model
    object.__setattr__(without, "card", dataclasses.replace(model.card, training_digest=""))
    seen, _ = experiment.evaluate(without, {"toy": toy_manifest}, jobs=1)
    assert "trained on toy" in seen["protocol"]["note"]
    unknown, _ = experiment.evaluate(without, {"other": toy_manifest}, jobs=1)
    assert unknown["protocol"]["note"].endswith("its card has no digests of the clips.")


def test_a_bad_clip_is_left_out_and_named(toy_manifest: Path, tmp_path: Path) -> None:
    broken = toy_manifest.with_name("broken.wav")
    broken.write_text("not sound")
    manifest = toy_manifest.with_name("with-broken.csv")
    manifest.write_text(toy_manifest.read_text() + "broken.wav,sad,s0,f\n")
    results = run(tmp_path / "run", manifest, toy(model={"family": "svm"}))
    assert len(results["skipped"]) == 1
    assert "broken.wav" in results["skipped"][0]
    assert results["n"] == 96


def test_a_clip_that_is_too_long_is_left_out_and_named(toy_manifest: Path, tmp_path: Path) -> None:
    soundfile.write(toy_manifest.with_name("endless.flac"), np.zeros(601 * 8000, np.int16), 8000)
    manifest = toy_manifest.with_name("with-endless.csv")
    manifest.write_text(toy_manifest.read_text() + "endless.flac,sad,s0,f\n")
    data = dataset.load(toy(), {"toy": manifest}, jobs=1)
    assert len(data.y) == 96
    (reason,) = data.skipped
    assert "601 s long, and a clip to learn from is at most 600 s: cut it into stretches" in reason


def test_a_corpus_of_bad_clips_is_an_error(tmp_path: Path) -> None:
    lines = ["file,label,speaker"]
    for i in range(6):
        (tmp_path / f"{i}.wav").write_text("not sound")
        lines.append(f"{i}.wav,{'sad' if i % 2 else 'happy'},s{i}")
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    with pytest.raises(CorpusError, match=r"none of 6 clips can be analysed, the first: .*0.wav"):
        run(tmp_path / "run", tmp_path / "bad.csv")
    assert not (tmp_path / "run").exists()


def test_wrong_corpora_are_named(toy_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"recipe 'toy' needs corpus 'toy': say where it is with --corpus toy=DIR"):
        experiment.run(toy(), {}, tmp_path / "run")
    with pytest.raises(CorpusError, match=r"does not use corpus 'tess': it uses toy"):
        experiment.run(toy(), {"toy": toy_manifest, "tess": toy_manifest}, tmp_path / "run")
    with pytest.raises(CorpusError, match=r"corpus 'toy' has no label 'bored'"):
        run(tmp_path / "run", toy_manifest, toy(corpora={"toy": {"labels": ["bored"]}}))


def test_an_existing_run_is_never_overwritten(finished: Path, toy_manifest: Path) -> None:
    before = (finished / "metrics.json").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        run(finished, toy_manifest)
    assert (finished / "metrics.json").read_bytes() == before


def test_one_speaker_is_not_enough(toy_manifest: Path, tmp_path: Path) -> None:
    lines = toy_manifest.read_text().splitlines()
    alone = toy_manifest.with_name("alone.csv")
    alone.write_text("\n".join([lines[0], *(line for line in lines if ",s0," in line)]))
    with pytest.raises(ProtocolError, match="speaker"):
        run(tmp_path / "run", alone)


def test_labels_can_be_chosen(toy_manifest: Path, tmp_path: Path) -> None:
    one = toy(corpora={"toy": {"labels": ["sad", "angry"]}}, model={"family": "svm"}, protocol={"name": "speaker-2"})
    results = run(tmp_path / "two", toy_manifest, one)
    assert results["labels"] == ["sad", "angry"]


def test_a_test_row_in_training_is_refused() -> None:
    clips = TrainingSet(np.zeros((4, 2), np.float32), np.array(list("abab")))
    with pytest.raises(ProtocolError, match="among the training clips"):
        fit_one(clips, Task("ann", AnnOptions(), np.array([0, 1, 2]), np.array([2, 3])))
