"""Networks over frames: padding, pooling, batches, training, checkpoints, and the way from recipe to file."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from sklearn.model_selection import cross_val_score
from torch import nn

from emovox import EmotionRecognizer, audio
from emovox.errors import ModelError, ProtocolError, RecipeError
from emovox.features import sets
from emovox.lab.estimators import sequence
from emovox.lab.estimators.estimator import graph_of
from emovox.lab.estimators.families import build, fit
from emovox.lab.estimators.neural import wanted_shares
from emovox.lab.estimators.progress import EpochLog, followed
from emovox.lab.estimators.sequence import SequenceClassifier, SharesCrossEntropy, held_out
from emovox.lab.estimators.sequence_batches import Batches, Material
from emovox.lab.estimators.sequence_networks import AttentivePooling, MeanPooling
from emovox.lab.estimators.sequence_options import CnnOptions, FramesOptions, RnnOptions
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.evaluation.costs import parameters
from emovox.lab.experiments import experiment, recipe
from emovox.lab.export.export import Calibration, check_parity
from emovox.lab.extraction.sequences import pack, padded
from emovox.model.file import load
from emovox.outputs.console import Console, Progress
from emovox.types import Float32Array
from tests.conftest import ANY_SOUND

SMALL: dict[str, CnnOptions | RnnOptions | FramesOptions] = {
    "residual": CnnOptions(channels=(4, 8), embedding=16, batch_size=8),
    "plain": CnnOptions(block="plain", channels=(4, 8), embedding=16, pooling="mean", batch_size=8),
    "lstm": RnnOptions(units=8, batch_size=8),
    "gru": RnnOptions(cell="gru", units=8, layers=2, stride=2, batch_size=8),
    "frames": FramesOptions(hidden=(16,), batch_size=8),
}


def slopes(count: int = 48) -> tuple[list[Float32Array], NDArray[np.str_], NDArray[np.str_]]:
    """Make clips that rise or fall: alike but for the order of their frames; with labels and speakers."""
    rng = np.random.default_rng(0)
    y = np.resize(["fall", "rise"], count)
    clips = []
    for label in y:
        ramp = np.linspace(-2, 2, rng.integers(12, 30)) * (1 if label == "rise" else -1)
        clips.append((ramp[:, np.newaxis] + rng.normal(0, 0.5, size=(len(ramp), 6))).astype(np.float32))
    return clips, y, np.repeat([f"s{i}" for i in range(6)], count // 6)


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_no_answer(name: str) -> None:
    torch.manual_seed(0)
    network = SMALL[name].network(6, 3)
    # Statistics of batch normalisation as after some training, not 0 and 1.
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean = torch.randn_like(torch.as_tensor(module.running_mean))
            module.running_var = torch.rand_like(torch.as_tensor(module.running_var)) + 0.5
    network.eval()
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(length, 6)).astype(np.float32) for length in (1, 5, 16, 23, 40)]
    with torch.inference_mode():
        together = network(*(torch.from_numpy(each) for each in padded(clips)))
        alone = torch.cat([network(torch.from_numpy(clip[np.newaxis])) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3


def test_pooling_is_weighed_mean_and_deviation() -> None:
    frames, mask = torch.randn(2, 7, 4), torch.ones(2, 7)
    found = MeanPooling(4)(frames, mask)
    expected = torch.cat([frames.mean(1), frames.std(1, unbiased=False)], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    attention = AttentivePooling(4)
    weight = torch.softmax(attention.score(frames)[..., 0], dim=1)
    torch.testing.assert_close(attention(frames, mask)[:, :4], torch.einsum("nt,ntd->nd", weight, frames))


def test_the_loss_is_cross_entropy_where_all_classes_count() -> None:
    logits, target = torch.randn(5, 3), torch.softmax(torch.randn(5, 3), dim=1)
    found = SharesCrossEntropy()((logits, torch.ones(5, 3)), target)
    torch.testing.assert_close(found, nn.functional.cross_entropy(logits, target))
    without = torch.tensor([[1.0, 1.0, 0.0]]).expand(5, 3)
    certain = torch.tensor([0, 1, 0, 1, 0])
    found = SharesCrossEntropy()((logits, without), nn.functional.one_hot(certain, 3).float())
    torch.testing.assert_close(found, nn.functional.cross_entropy(logits[:, :2], certain))


def material(options: CnnOptions, seed: int = 0) -> Material:
    clips, y, _ = slopes()
    wanted = wanted_shares(y, None, ())[1]
    weight = np.ones((len(y), 2), dtype=np.float32)
    return Material(
        (pack(clips),), wanted, weight, np.ones(2, np.float32), lambda x: x, options, np.random.default_rng(seed)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_each_vote_counts_as_much_as_its_class(smoothing: float) -> None:
    plain = CnnOptions(mixup=0.0, label_smoothing=smoothing)
    votes = np.tile(np.array([[0.25, 0.75]], np.float32), (48, 1))
    own = dataclasses.replace(material(plain), wanted=votes, counts=np.array([2.0, 0.5], np.float32))
    _, shares = own.training_batch(np.arange(4))
    # Label smoothing is that of a clip with the mean weight of its votes: 0.25 * 2 + 0.75 * 0.5.
    counted = (1 - smoothing) * torch.tensor([0.5, 0.375]) + smoothing * 0.875 / 2
    torch.testing.assert_close(shares, counted.expand(4, 2))
    _, judged = own.evaluation_batch(np.arange(4))
    torch.testing.assert_close(judged, torch.from_numpy(votes[:4]))


def test_votes_of_one_mind_are_labels_and_others_become_the_answer(tmp_path: Path) -> None:
    clips, y, speakers = slopes()
    options = FramesOptions(hidden=(4,), epochs=3, batch_size=16)
    voted = ("rise", "fall")
    sure = (y[:, np.newaxis] == np.array(voted)).astype(float)
    plain, soft = (
        SequenceClassifier(options).fit(clips, y, speakers, votes=votes, voted=voted) for votes in (None, sure)
    )
    assert soft.classes_.tolist() == plain.classes_.tolist() == ["fall", "rise"]
    np.testing.assert_array_equal(plain.predict_proba(clips), soft.predict_proba(clips))
    # Where all clips are alike, the mean of the votes is all that can be learnt.
    alike = [np.zeros((10, 2), np.float32)] * 12
    unsure = np.array([[1.0, 0.0], [0.5, 0.5], [0.1, 0.9]] * 4)
    constant = FramesOptions(
        hidden=(), epochs=150, batch_size=12, learning_rate=0.05, mixup=0.0, label_smoothing=0.0, weight_decay=0.0,
        dropout=0.0, balanced=False,
    )  # fmt: skip
    for votes in (unsure, unsure[:, ::-1]):  # a network that is kept is not that of other votes
        found = SequenceClassifier(constant).fit(alike, y[:12], votes=votes, voted=voted, kept=tmp_path)
        assert found.predict_proba(alike)[0] == pytest.approx(votes.mean(axis=0)[::-1], abs=0.01)


def test_batches_are_cut_masked_and_mixed() -> None:
    options = CnnOptions(frames=10, mixup=1.0, time_mask=4, feature_mask=3, label_smoothing=0.2, batch_size=8)
    dataset = type("Rows", (), {"X": np.arange(48)})
    seen = list(Batches(dataset, 8, material=material(options), learning=True))
    assert len(seen) == 6
    for inputs, shares in seen:
        assert inputs["features"].shape[1:] == (10, 6)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(8))
        assert float(shares.min()) > 0.09
    plain = CnnOptions(frames=10, mixup=0.0, time_mask=4, feature_mask=3, batch_size=8)
    unmixed = torch.cat(
        [inputs["features"] for inputs, _ in Batches(dataset, 8, material=material(plain), learning=True)]
    )
    assert bool((unmixed == 0).any()), "nothing was masked"
    again = list(Batches(dataset, 8, material=material(options), learning=True))
    assert all(torch.equal(a["features"], b["features"]) for (a, _), (b, _) in zip(seen, again, strict=True))
    other = list(Batches(dataset, 8, material=material(options, seed=1), learning=True))
    assert not all(torch.equal(a["features"], b["features"]) for (a, _), (b, _) in zip(seen, other, strict=True))
    judged = list(Batches(dataset, 8, material=material(options)))
    assert sum(len(shares) for _, shares in judged) == 48
    assert max(inputs["features"].shape[1] for inputs, _ in judged) > 20


@pytest.mark.parametrize("name", ["residual", "lstm"])
def test_what_sees_the_order_of_frames_tells_rise_from_fall(name: str) -> None:
    clips, y, _ = slopes()
    options = type(SMALL[name])(**{**vars(SMALL[name]), "epochs": 15, "mixup": 0.0, "time_mask": 0})
    accuracy = cross_val_score(SequenceClassifier(options), clips, y, cv=2)
    assert accuracy.min() > 0.9
    blind = SequenceClassifier(FramesOptions(hidden=(16,), epochs=5, batch_size=8))
    assert cross_val_score(blind, clips, y, cv=2).mean() < 0.8


def test_early_stopping_holds_out_whole_speakers() -> None:
    clips, y, speakers = slopes()
    options = FramesOptions(hidden=(8,), epochs=30, patience=2, validation=0.3, members=2, batch_size=8)
    parts = [held_out(options, speakers, y, member) for member in range(2)]
    for train, valid in parts:
        assert valid is not None
        assert not set(speakers[train]) & set(speakers[valid])
        assert sorted([*train, *valid]) == list(range(48))
    told: list[Mapping[str, Any]] = []
    model = SequenceClassifier(options).fit(clips, y, speakers, on_epoch=told.append)
    assert len(model.curves_) == 2
    assert all(len(course) < 30 for course in model.curves_)
    assert {"member", "epoch", "train_loss", "train_uar", "valid_loss", "valid_uar"} == set(told[0])
    assert len(told) == sum(len(course) for course in model.curves_)
    with pytest.raises(ProtocolError, match="these clips have none"):
        SequenceClassifier(options).fit(clips, y)


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    clips, y, speakers = slopes()
    options = FramesOptions(hidden=(8,), epochs=3, members=2, batch_size=8)
    whole = SequenceClassifier(options).fit(clips, y, speakers)

    def interrupt(epoch: Mapping[str, Any]) -> None:
        if epoch["member"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SequenceClassifier(options).fit(clips, y, speakers, kept=tmp_path, on_epoch=interrupt)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    told: list[Mapping[str, Any]] = []
    resumed = SequenceClassifier(options).fit(clips, y, speakers, kept=tmp_path, on_epoch=told.append)
    assert {epoch["member"] for epoch in told} == {1}
    np.testing.assert_allclose(resumed.predict_proba(clips), whole.predict_proba(clips), atol=1e-5)
    assert [len(course) for course in resumed.curves_] == [3, 3]
    other = SequenceClassifier(FramesOptions(hidden=(8,), epochs=3, members=2, batch_size=8, seed=1))
    told.clear()
    other.fit(clips, y, speakers, kept=tmp_path, on_epoch=told.append)
    assert len(told) == 6, "another training was taken for the same"


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    clips, y, speakers = slopes()
    options = FramesOptions(hidden=(8,), epochs=1, batch_size=8)
    SequenceClassifier(options).fit(clips, y, speakers, kept=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match="remove it to begin anew"):
        SequenceClassifier(options).fit(clips, y, speakers, kept=tmp_path)


def test_a_very_long_clip_is_judged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, y, _ = slopes()
    model = SequenceClassifier(FramesOptions(hidden=(8,), epochs=2, batch_size=8)).fit(clips, y)
    monkeypatch.setattr(sequence, "LONGEST", 10)
    first, second = clips[0][:10], clips[1][:10]
    together = model.predict_proba([np.concatenate([first, second])])
    np.testing.assert_allclose(together[0], model.predict_proba([first, second]).mean(axis=0), atol=1e-6)


def test_rare_classes_count_more_where_asked() -> None:
    clips, y, _ = slopes()
    kept = np.flatnonzero((y == "rise") | (np.arange(len(y)) < 8))
    rare = [clips[row] for row in kept]
    answers = {}
    for balanced in (False, True):
        options = FramesOptions(hidden=(8,), epochs=3, batch_size=8, balanced=balanced)
        answers[balanced] = SequenceClassifier(options).fit(rare, y[kept]).predict_proba(clips)[:, 0].mean()
    assert answers[True] > answers[False] + 0.05


@pytest.mark.parametrize(
    ("family", "normalise"),
    [
        ("residual", "corpus"),
        ("lstm", "clip"),
        pytest.param("residual", "clip", marks=pytest.mark.long),
        pytest.param("lstm", "corpus", marks=pytest.mark.long),
    ],
)
def test_a_file_computes_what_the_estimator_does(family: str, normalise: str, tmp_path: Path) -> None:
    from emovox.lab.export.export import export
    from emovox.model.file import ModelCard
    from emovox.types import FeatureSpec

    clips, y, speakers = slopes()
    options = type(SMALL[family])(**{**vars(SMALL[family]), "epochs": 2, "members": 2, "normalise": normalise})
    name = "cnn" if family == "residual" else "rnn"
    pipeline = fit(build(name, options), TrainingSet(pack(clips), y, speakers))
    card = ModelCard("demo", name, ("rise", "fall"), FeatureSpec("demo", 1, 6))
    model = export(pipeline, card, tmp_path / "model.onnx", pack(clips), temperature=1.3)
    assert not model.takes_vectors
    assert model.levels["features"] == "frame"
    # The check inside `export` must be able to fail: a file of other weights does not pass it.
    other = fit(build(name, dataclasses.replace(options, seed=5)), TrainingSet(pack(clips), y, speakers))
    written, case = onnx.load_model(tmp_path / "model.onnx"), ({"features": clips[0][np.newaxis]}, "a clip")
    with pytest.raises(ModelError, match="differs from the estimator"):
        check_parity(written, graph_of(other, card.features), Calibration((1, 0), 1.3), iter([case]))

    counted = sum(value.numel() for net in pipeline.named_steps["model"].members_ for value in net.parameters())
    stored = parameters(onnx.load_model(tmp_path / "model.onnx"))
    assert 0.9 * counted < stored < 1.2 * counted + 100


BASE: dict[str, Any] = {
    "name": "toy",
    "corpora": {"toy": {}},
    "features": {"set": "logmel", "n_mels": 32, "hop_length": 320},
    "augment": {"copies": 1, "options": {"codec": 0, "telephone": 0}},
    "model": {"family": "cnn", "channels": [4, 8], "epochs": 12, "frames": 32, "batch_size": 16},
    "protocol": {"name": "speaker-2"},
}


@pytest.mark.long
def test_a_recipe_becomes_a_model_that_predicts_files(toy_manifest: Path, tmp_path: Path) -> None:
    told = []
    one = recipe.validate(BASE, "toy")
    results = experiment.run(
        one, {"toy": toy_manifest}, tmp_path / "run", jobs=1, progress=lambda stage, done, total: told.append(stage)
    )
    assert results["uar"] > 0.6
    assert any(stage.startswith("epochs: ") and "UAR" in stage for stage in told)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    curves = metrics["learning_curves"]
    assert [(curve["seed"], curve["member"], len(curve["epochs"])) for curve in curves] == [(0, 0, 12)] * 2
    assert {"parameters", "bytes", "fit_seconds", "graph_ms"} == set(metrics["costs"])
    assert not list(tmp_path.glob("*.checkpoints"))
    model = load(tmp_path / "run")
    recognizer = EmotionRecognizer(model, gate=ANY_SOUND)
    clip = toy_manifest.parent / "s0-angry-0.wav"
    frames = sets.extract(audio.read(clip), model.card.features)
    assert frames.ndim == 2
    prediction = recognizer.predict(clip)
    np.testing.assert_allclose(
        list(prediction.probabilities.values()), model.run(frames[np.newaxis]).probabilities[0], atol=1e-6
    )
    scores, _ = experiment.evaluate(model, {"toy": toy_manifest}, jobs=1)
    assert scores["uar"] > 0.6


def test_families_and_feature_sets_must_fit() -> None:
    with pytest.raises(RecipeError, match=r'"cnn" needs one vector a frame: choose one of logmel, sequence'):
        recipe.validate({**BASE, "features": {"set": "prosodic"}}, "toy")
    with pytest.raises(RecipeError, match="channels"):
        recipe.validate({**BASE, "model": {"family": "cnn", "channels": []}}, "toy")
    for family in ("rnn", "frames"):
        assert recipe.validate({**BASE, "model": {"family": family}}, "toy").options(3).seed == 3


def test_epochs_of_other_processes_are_followed(tmp_path: Path) -> None:
    log, told = EpochLog(tmp_path / "new" / "epochs.jsonl"), []
    log.write({"epoch": 1, "train_loss": 9.0})  # of an earlier run
    with followed(log, 5, lambda *what: told.append(what)):
        log.write({"task": "fold 1", "epoch": 1, "train_loss": 2.0, "train_uar": 0.25})
        log.write({"task": "fold 1", "epoch": 2, "train_loss": 1.0, "train_uar": 0.5})
    assert told[-1] == ("epochs: fold 1, epoch 2: loss 1.00, UAR 50.0", 2, 5)


def test_the_bar_of_epochs_changes_its_words() -> None:
    file = io.StringIO()
    progress = Progress(Console(file, width=100))
    progress("epochs: fold 1, epoch 1: loss 2.00", 1, 5)
    progress("epochs: fold 1, epoch 2: loss 1.00", 2, 5)
    progress.draw()
    *_, drawn = file.getvalue().split("\x1b[1A")
    assert drawn.startswith("\repochs: fold 1, epoch 2: loss 1.00 ")
