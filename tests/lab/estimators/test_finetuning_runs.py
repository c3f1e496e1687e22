"""Tuning an encoder from corpus to model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np
import pytest
import torch

from emovox.errors import RecipeError
from emovox.lab.commands.train import train
from emovox.lab.encoders import embeddings
from emovox.lab.estimators import families
from emovox.lab.estimators.finetuning import embedded
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.experiments import dataset, experiment, recipe
from emovox.lab.experiments.crossfit import Task, fit_one
from emovox.lab.export.export import export
from emovox.lab.extraction.cache import FeatureCache
from emovox.model import file as model_file
from tests.conftest import LABELS
from tests.lab.estimators import QUICK, fitted, toy


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache(tmp_path_factory.mktemp("cache"))


def test_sounds_are_what_the_features_are_of(small_whisper: Path, toy_manifest: Path, cache: FeatureCache) -> None:
    data = dataset.load(toy(small_whisper), {"toy": toy_manifest}, cache=cache, jobs=1)
    embedder = embeddings.embedder(data.spec.set, **data.spec.parameters)
    assert isinstance(data.X, np.ndarray)
    assert isinstance(data.copies, np.ndarray)
    for row in (0, 50):
        for view, expected in enumerate([data.X[row], *data.copies[row]]):
            with torch.inference_mode():
                found = embedder(torch.from_numpy(data.sounds[row](view)).unsqueeze(0))
            np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)
    frozen = dataset.load(
        recipe.load(Path(_written(toy(small_whisper), toy_manifest)), {"model": {"family": "adaptive"}}),
        {"toy": toy_manifest},
        cache=cache,
        jobs=1,
    )
    assert frozen.sounds == ()


def _written(one: recipe.Recipe, manifest: Path) -> str:
    path = manifest.with_name("tuned.toml")
    path.write_text(recipe.to_toml(one), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def run(small_whisper: Path, toy_manifest: Path, cache: FeatureCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interrupt an experiment in its second fold, and finish it."""
    out = tmp_path_factory.mktemp("run") / "run"
    fits = 0

    def stop(stage: str, done: int, total: int) -> None:
        nonlocal fits
        fits += stage == "training"
        if fits == 1 and stage == "clips of this epoch":
            raise KeyboardInterrupt

    one = toy(small_whisper)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(one, {"toy": toy_manifest}, out, jobs=1, cache=cache, progress=stop)
    assert not out.exists()
    assert len(list(experiment.checkpoints(out).iterdir())) == 1
    told: list[str] = []
    experiment.run(
        one,
        {"toy": toy_manifest},
        out,
        jobs=1,
        cache=cache,
        keep_folds=True,
        progress=lambda stage, *_: told.append(stage),
    )
    assert told.count("epochs") == 2  # the second fold and the final model, not the first fold
    return out


@pytest.mark.long
def test_a_finished_run_leaves_no_checkpoints(run: Path) -> None:
    assert {path.name for path in run.parent.iterdir()} == {"run"}
    assert {path.name for path in (run / "folds").iterdir()} == {"fold 1.onnx", "fold 2.onnx"}


def test_the_encoder_inside_the_package_is_not_tuned(small_whisper: Path) -> None:
    with pytest.raises(RecipeError, match=r'that of features.set = "default" is fixed: write for example'):
        toy(small_whisper, features={"set": "default"})


@pytest.mark.long
def test_an_interrupted_run_gives_the_same_scores(
    run: Path, small_whisper: Path, toy_manifest: Path, cache: FeatureCache, tmp_path: Path
) -> None:
    experiment.run(toy(small_whisper), {"toy": toy_manifest}, tmp_path / "again", jobs=1, cache=cache)
    for name in ("predictions.csv", "enrolled.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.long
def test_the_file_is_the_estimator(training_set: TrainingSet, run: Path, tmp_path: Path) -> None:
    model = fitted(training_set, QUICK)
    pipeline = families.build("finetuned", QUICK)
    pipeline.steps[-1] = ("model", model)
    card = dataclasses.replace(model_file.load(run).card, features=training_set.recordings.encoder, labels=LABELS[::-1])
    file = export(pipeline, card, tmp_path / "model.onnx", training_set.X[:4])
    order = [list(model.classes_).index(label) for label in LABELS[::-1]]
    for row in (0, 13):
        samples = training_set.recordings.sounds[row](0)
        X = embedded(model.embedder_, training_set.recordings.of(np.array([row])))
        voice = model.values(embedded(model.embedder_, training_set.recordings.of(np.array([4, 5]))))
        for known in (None, model.baseline(None, voice)):
            found = file.run(samples[np.newaxis], baseline=None if known is None else known[np.newaxis])
            np.testing.assert_allclose(found.probabilities[0], model.predict_proba(X, known)[0, order], atol=1e-4)
            assert found.axes is not None
            np.testing.assert_allclose(found.axes, model.values(X), atol=1e-3)
        assert np.abs(X - training_set.X[row]).max() > 1e-2  # it is the tuned encoder


def test_test_clips_are_described_by_the_tuned_encoder(training_set: TrainingSet) -> None:
    test = np.flatnonzero(training_set.speakers == "s0")
    train = np.flatnonzero(training_set.speakers != "s0")
    enrolled = test[training_set.y[test] == "neutral"]
    found = fit_one(training_set, Task("finetuned", QUICK, train, test, enrolled, keep=True))
    assert found.pipeline is not None
    model = found.pipeline.named_steps["model"]
    X = embedded(model.embedder_, training_set.recordings.of(test))
    np.testing.assert_array_equal(found.probabilities, model.predict_proba(X))
    baseline = model.baseline(None, model.values(X)[np.isin(test, enrolled)], neutral=True)
    others = training_set.y[test] != "neutral"
    np.testing.assert_allclose(found.known["enrolled"][others], model.predict_proba(X[others], baseline), atol=1e-6)
    assert np.isnan(found.known["enrolled"][~others]).all()
    assert set(found.known) == {"enrolled"}  # nothing was heard of the setting


def test_the_family_needs_an_encoder(small_whisper: Path) -> None:
    with pytest.raises(RecipeError, match=r'model\.family = "finetuned" needs the embeddings of an encoder'):
        toy(small_whisper, features={"set": "prosodic"})


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_recipe: object, _roots: object, out: Path, **_options: object) -> None:
        experiment.checkpoints(out).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run", stopped)
    out = tmp_path / "mine"
    with pytest.raises(click.Abort):  # the command line makes exit code 130 of it
        train.main(["ravdess-whisper-tuned", "--out", str(out)], standalone_mode=False)
    assert f"{out}.checkpoints keeps what is done: the same command with --out {out} goes on" in capsys.readouterr().err
