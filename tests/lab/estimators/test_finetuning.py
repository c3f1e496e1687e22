"""Tuning an encoder: it learns, never harms, repeats, survives interruptions, and reaches the model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emovox.errors import InputError, ModelError, ProtocolError, RecipeError
from emovox.features import sets
from emovox.lab.encoders import embeddings
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.encoders.encoders import HuggingFaceEncoder
from emovox.lab.estimators import finetuning
from emovox.lab.estimators.adaptive import AdaptiveClassifier
from emovox.lab.estimators.checkpoints import Checkpoint
from emovox.lab.estimators.encoder_tuning import (
    LONGEST,
    EncoderTuning,
    FinetuneOptions,
    LinearProbe,
    Masked,
    chosen_device,
    cropped,
    transformer_blocks,
)
from emovox.lab.estimators.finetuning import FinetunedClassifier, embedded
from emovox.lab.estimators.training import Speech, TrainingSet
from emovox.types import Float32Array
from tests.lab.estimators import HEAD, QUICK, VIEWS, fitted


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
    """The same samples in every view."""

    samples: Float32Array

    def __call__(self, view: int) -> Float32Array:
        return self.samples


def answers(model: FinetunedClassifier, training_set: TrainingSet) -> NDArray[np.float32]:
    X = embedded(model.embedder_, training_set.recordings)
    known = model.baseline(model.values(X), model.values(X[training_set.y == "neutral"]))
    return np.hstack([model.predict_proba(X), model.predict_proba(X, known)])


def tuning(training_set: TrainingSet, options: FinetuneOptions) -> EncoderTuning:
    spec, classes = training_set.recordings.encoder, np.unique(training_set.y)
    embedder = embeddings.embedder(spec.set, **spec.parameters)
    assert isinstance(embedder, Embedder)
    return EncoderTuning(embedder, LinearProbe.fit(training_set, classes, options), training_set, classes, options)


def changed(training_set: TrainingSet, wrong: Callable[[TrainingSet], NDArray[Any]]) -> TrainingSet:
    return dataclasses.replace(training_set, y=wrong(training_set))


@pytest.fixture(scope="module")
def quick(training_set: TrainingSet) -> FinetunedClassifier:
    """Train once for the tests that only look."""
    return fitted(training_set, QUICK)


# --- learning ----------------------------------------------------------------------------------------------


def test_the_loss_falls(training_set: TrainingSet) -> None:
    options = dataclasses.replace(QUICK, epochs=8, dropout=0.0, label_smoothing=0.0, averaging=0.0)
    one = tuning(training_set, options)
    losses = [one.epoch() for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]


def test_blocks_and_heads_change_and_nothing_else_does(training_set: TrainingSet, quick: FinetunedClassifier) -> None:
    spec = training_set.recordings.encoder
    before = embeddings.embedder(spec.set, **spec.parameters)
    intact = {name: value.clone() for name, value in before.state_dict().items()}
    after = quick.embedder_
    moved = {name for name, value in after.state_dict().items() if not torch.equal(value, intact[name])}
    blocks = {name for name in intact if name.startswith("encoder.layers.")}
    assert moved == blocks
    assert len(moved) < len(intact)
    assert all(torch.equal(value, intact[name]) for name, value in before.state_dict().items())
    assert not any(parameter.requires_grad for parameter in after.parameters())
    assert not after.training


def test_lower_blocks_take_smaller_steps(training_set: TrainingSet) -> None:
    one = tuning(training_set, dataclasses.replace(QUICK, layer_decay=0.5))
    assert one.rates == [1e-3, 5e-4, 1e-3]
    highest = {id(value) for value in one.optimiser.param_groups[0]["params"]}
    assert highest == {id(value) for name, value in one.trained.items() if "layers.1." in name}


def test_steps_rise_and_fall(training_set: TrainingSet) -> None:
    one = tuning(training_set, dataclasses.replace(QUICK, epochs=10))
    found = []
    for step in range(10 * one.steps_an_epoch):
        one._set_rates(step)
        found.append(one.optimiser.param_groups[0]["lr"])
    assert np.argmax(found) == pytest.approx(len(found) / 10, abs=1)
    assert max(found) == pytest.approx(1e-3, rel=0.05)
    assert found[-1] < 1e-5 < found[0] < 3e-4


def test_a_first_step_is_that_of_the_closed_form(training_set: TrainingSet) -> None:
    # Without dropout, masks and smoothing, the loss of the first batch is that of the fitted head on frozen features.
    options = dataclasses.replace(
        QUICK, dropout=0.0, label_smoothing=0.0, frequency_mask=0, time_mask=0, batch_size=1, learning_rate=1e-12
    )
    one = tuning(training_set, dataclasses.replace(options, head_rate=1e-12))
    X = np.concatenate([training_set.view(view) for view in range(VIEWS)])
    heard = np.stack([training_set.view(int(view))[row] for row, view in enumerate(one.order[:, 0])])
    coefficients, intercepts = (value.detach().numpy() for value in (one.probe.linear.weight, one.probe.linear.bias))
    logits = torch.from_numpy((heard - X.mean(axis=0)) / X.std(axis=0) @ coefficients.T + intercepts)
    target = torch.from_numpy(np.unique(training_set.y, return_inverse=True)[1])
    # Every speaker says every emotion as often, so that all clips count the same.
    cross = float(torch.nn.CrossEntropyLoss()(logits, target))
    expected = cross + options.penalty * float(np.square(coefficients).sum())
    assert one.epoch() == pytest.approx(expected, rel=1e-4)


def test_each_epoch_hears_another_view(training_set: TrainingSet) -> None:
    heard: list[tuple[int, int]] = []

    @dataclasses.dataclass(frozen=True)
    class Spy:
        row: int
        sound: Callable[[int], Float32Array]

        def __call__(self, view: int) -> Float32Array:
            heard.append((self.row, view))
            return self.sound(view)

    spied = [Spy(row, sound) for row, sound in enumerate(training_set.recordings.sounds)]
    one = tuning(
        dataclasses.replace(training_set, speech=dataclasses.replace(training_set.recordings, sounds=spied)), QUICK
    )
    for _ in range(VIEWS):
        one.epoch()
    assert sorted(heard) == [(row, view) for row in range(len(training_set.X)) for view in range(VIEWS)]


def test_a_loss_that_is_not_finite_is_an_error(training_set: TrainingSet) -> None:
    with pytest.raises(
        RecipeError, match=r"not finite any more in epoch 1: lower model.learning_rate, which is 1e\+30"
    ):
        fitted(training_set, dataclasses.replace(QUICK, learning_rate=1e30, head_rate=1e30, averaging=0.0))


# --- doing no harm -----------------------------------------------------------------------------------------


def test_harm_gives_the_frozen_result(training_set: TrainingSet) -> None:
    options = dataclasses.replace(QUICK, epochs=3, patience=2, learning_rate=0.3, head_rate=0.3, averaging=0.0)
    model = fitted(training_set, options)
    assert model.epochs_ == 0
    assert len(model.losses_) == 3  # before, and two epochs that were worse
    assert min(model.losses_[1:]) > model.losses_[0]
    frozen = AdaptiveClassifier(HEAD).fit(
        training_set.X, training_set.y, training_set.speakers, training_set.corpora, training_set.copies
    )
    X = embedded(model.embedder_, training_set.recordings)
    np.testing.assert_array_equal(X, training_set.X)
    np.testing.assert_array_equal(model.predict_proba(X), frozen.predict_proba(training_set.X))


def test_the_best_epoch_is_that_of_held_out_speakers(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([3.0, 2.0, 1.0, 1.5])
    heard: list[TrainingSet] = []

    def loss(_embedder: object, _probe: object, held: TrainingSet, *_: object) -> float:
        heard.append(held)
        return next(told)

    monkeypatch.setattr(finetuning, "held_out_loss", loss)
    options = dataclasses.replace(QUICK, epochs=4, patience=1, validation=0.4)
    model = fitted(training_set, options)
    assert (model.losses_, model.epochs_) == ([3.0, 2.0, 1.0, 1.5], 2)
    assert {tuple(np.unique(held.speakers)) for held in heard} == {tuple(np.unique(heard[0].speakers))}
    assert len(np.unique(heard[0].speakers)) == 2
    # The result has heard all speakers for as long.
    one = tuning(training_set, options)
    one.epoch()
    one.epoch()
    embedder, _ = one.result()
    assert all(torch.equal(value, embedder.state_dict()[name]) for name, value in model.embedder_.state_dict().items())


def test_patience_0_looks_at_nobody(quick: FinetunedClassifier) -> None:
    assert (quick.losses_, quick.epochs_) == ([], 2)


def test_speakers_are_needed(training_set: TrainingSet) -> None:
    for patience in (0, 1):
        model = FinetunedClassifier(dataclasses.replace(QUICK, patience=patience))
        with pytest.raises(ProtocolError, match="these clips have no speakers"):
            model.fit(training_set.X, training_set.y, speech=training_set.recordings)
    only = training_set[np.flatnonzero(training_set.speakers == "s0")]
    with pytest.raises(ProtocolError, match="only 1 speakers, 's0', and 2 are needed to hold one out"):
        fitted(only, dataclasses.replace(QUICK, patience=1))


def test_recordings_are_needed(training_set: TrainingSet) -> None:
    with pytest.raises(ProtocolError, match="needs the recordings: train it from a recipe"):
        FinetunedClassifier().fit(training_set.X, training_set.y, training_set.speakers)


# --- repeating and going on --------------------------------------------------------------------------------


@pytest.mark.long
def test_seeds_repeat(training_set: TrainingSet, quick: FinetunedClassifier) -> None:
    one = answers(quick, training_set)
    torch.manual_seed(123)  # whatever was drawn before does not matter
    np.testing.assert_array_equal(one, answers(fitted(training_set, QUICK), training_set))
    other = answers(fitted(training_set, dataclasses.replace(QUICK, seed=1)), training_set)
    assert not np.allclose(one, other)


@pytest.mark.long
def test_the_number_of_processes_changes_nothing(training_set: TrainingSet, quick: FinetunedClassifier) -> None:
    two = answers(fitted(training_set, QUICK, jobs=2), training_set)
    np.testing.assert_array_equal(answers(quick, training_set), two)


class StoppedError(Exception):
    """What a test raises in place of Ctrl-C."""


def stop_after(epochs: int) -> Callable[[str, int, int], None]:
    """Interrupt in the middle of the epoch after so many."""
    finished = 0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal finished
        finished += stage == "epochs"
        if finished == epochs and stage == "clips of this epoch" and done > total / 2:
            raise StoppedError

    return progress


SEARCHED = dataclasses.replace(QUICK, patience=2, validation=0.4)


def farther(embedder: Any, probe: Any, held: TrainingSet, *_: Any) -> float:
    """Let an epoch be the better, the farther it is from the frozen encoder: two of search, and two for good."""
    return -float(np.abs(embedded(embedder, held.recordings) - held.X).mean())


@pytest.fixture(scope="module")
def uninterrupted(training_set: TrainingSet) -> FinetunedClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "held_out_loss", farther)
        return fitted(training_set, SEARCHED)


# In the search, or in the training that follows.
@pytest.mark.parametrize("epochs", [1, *(pytest.param(k, marks=pytest.mark.long) for k in (2, 3))])
def test_going_on_gives_the_numbers_of_an_uninterrupted_training(
    epochs: int,
    uninterrupted: FinetunedClassifier,
    training_set: TrainingSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetuning, "held_out_loss", farther)
    whole, options = uninterrupted, SEARCHED
    assert whole.epochs_ == 2
    with pytest.raises(StoppedError):
        fitted(training_set, options, checkpoints=tmp_path, progress=stop_after(epochs))
    (file,) = tmp_path.iterdir()
    told: list[tuple[str, int, int]] = []
    resumed = fitted(training_set, options, checkpoints=tmp_path, progress=lambda *words: told.append(words))
    assert next(done for stage, done, _ in told if stage == "epochs") == epochs + 1
    assert resumed.losses_ == whole.losses_
    np.testing.assert_array_equal(answers(resumed, training_set), answers(whole, training_set))
    assert list(tmp_path.iterdir()) == [file]


def test_a_finished_training_is_not_repeated(training_set: TrainingSet, tmp_path: Path) -> None:
    one = fitted(training_set, QUICK, checkpoints=tmp_path)
    told: list[str] = []
    again = fitted(training_set, QUICK, checkpoints=tmp_path, progress=lambda stage, *_: told.append(stage))
    assert not told
    assert (again.epochs_, again.losses_, list(again.classes_)) == (one.epochs_, one.losses_, list(one.classes_))
    np.testing.assert_array_equal(answers(again, training_set), answers(one, training_set))


@pytest.mark.long
def test_another_training_begins_anew(training_set: TrainingSet, tmp_path: Path) -> None:
    others = [
        (training_set, dataclasses.replace(QUICK, penalty=0.02)),
        (changed(training_set, lambda one: np.roll(one.y, 1)), QUICK),
        (changed(training_set[: len(training_set.X) - 1], lambda one: one.y), QUICK),
    ]
    fitted(training_set, QUICK, checkpoints=tmp_path)
    for number, (other, options) in enumerate(others):
        fitted(other, dataclasses.replace(options, epochs=1), checkpoints=tmp_path)
        assert len(list(tmp_path.iterdir())) == 2 + number


def test_damaged_checkpoints_are_named(training_set: TrainingSet, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        fitted(training_set, QUICK, checkpoints=tmp_path, progress=stop_after(1))
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    with pytest.raises(ModelError, match=rf"{file.name} is not a checkpoint to go on from \(.*\): remove it to begin"):
        fitted(training_set, QUICK, checkpoints=tmp_path)
    file.write_bytes(good)
    stored = Checkpoint(tmp_path, file.stem).read()
    name = next(name for name in stored.tensors if name.startswith("exp_avg."))
    lacking = {key: value for key, value in stored.tensors.items() if key != name}
    for tensors, reason in ((lacking, "is missing"), ({**lacking, name: torch.ones(3)}, r"has shape \(3,\), expected")):
        Checkpoint(tmp_path, file.stem).write(stored.state, tensors)
        with pytest.raises(ModelError, match=rf"tensor {name} {reason}"):
            fitted(training_set, QUICK, checkpoints=tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_named(training_set: TrainingSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*make room, or give another --out"):
        fitted(training_set, QUICK, checkpoints=tmp_path / "file")


# --- its parts ---------------------------------------------------------------------------------------------


def test_masks_are_stretches_of_the_mean() -> None:
    torch.manual_seed(0)
    levels = torch.randn(200, 80, 100)
    masked = Masked(torch.nn.Identity(), bands=12, frames=20)
    torch.testing.assert_close(masked.eval()(levels), levels)
    found = masked.train()(levels)
    hidden = found != levels
    assert (found[hidden] == levels.mean(dim=(1, 2))[:, None, None].expand_as(levels)[hidden]).all()
    for axis, widest in ((2, 12), (1, 20)):
        whole = hidden.all(dim=axis)
        widths = whole.sum(dim=1)
        assert (int(widths.min()), int(widths.max())) == (0, widest)
        begins = (whole.int().diff(dim=1) == 1).sum(dim=1) + whole[:, 0].int()
        assert int(begins.max()) == 1  # one stretch
        covered = whole.float().mean(dim=0)
        assert covered[5:-5].std() < 0.5 * covered.mean()
    samples = torch.randn(2, 16000)
    torch.testing.assert_close(masked(samples), samples)


def test_clips_are_cropped_to_the_shortest() -> None:
    rng = np.random.default_rng(0)
    clips = [np.arange(length, dtype=np.float32) for length in (50, 60, 200)]
    begins = set()
    for _ in range(40):
        found = cropped(clips, rng)
        assert found.shape == (3, 50)
        assert (found.diff(dim=1) == 1).all()
        begins.add(float(found[1, 0]))
    assert (min(begins), max(begins)) == (0, 10)
    assert cropped([np.zeros(LONGEST + 5, dtype=np.float32)], rng).shape == (1, LONGEST)


def test_batches_are_of_nearly_the_same_length(training_set: TrainingSet) -> None:
    one = tuning(training_set, QUICK)
    views = one.order[:, 0]
    lengths = np.array([len(one) for one in training_set.recordings.heard(np.arange(len(views)), views)])
    batches = list(one._batches(views, np.random.default_rng(0)))
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(len(views)))
    assert [len(rows) for rows, _ in batches] == [8] * 5
    assert all(samples.shape == (8, lengths[rows].min()) for rows, samples in batches)
    within = np.mean([np.ptp(lengths[rows]) for rows, _ in batches])
    assert within < 0.4 * np.ptp(lengths)


def test_other_encoders_are_tuned_too(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convolutions = {"conv_dim": (8, 8), "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**small, **convolutions, **positions))
    model.save_pretrained(tmp_path)
    encoder = HuggingFaceEncoder.load(tmp_path)
    assert transformer_blocks(encoder) == list(encoder.model.encoder.layers)
    embedder = Embedder(torch.nn.Identity(), encoder, (1, 2)).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=8000).astype(np.float32) for _ in range(8)]
    X = np.concatenate([embedder(torch.from_numpy(clip)[None]).numpy() for clip in clips])
    y, speakers = np.tile(["neutral", "sad"], 4), np.repeat(["a", "b"], 4)
    speech = Speech([Heard(clip) for clip in clips], sets.spec("classic193"))
    options = dataclasses.replace(QUICK, batch_size=4, head_rate=1e-9)
    training, classes = TrainingSet(X, y, speakers, None, None, speech), np.unique(y)
    one = EncoderTuning(embedder, LinearProbe.fit(training, classes, options), training, classes, options)
    one.epoch()
    after = one.result()[0].state_dict()
    moved = {name.split(".")[3] for name, value in embedder.state_dict().items() if not torch.equal(value, after[name])}
    assert moved == {"layers"}


def test_an_encoder_without_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="type Linear cannot be tuned"):
        transformer_blocks(torch.nn.Linear(1, 1))


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(RecipeError, match=r'model\.device = "cuda", and torch sees no GPU here'):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda")


def test_half_precision_is_near(training_set: TrainingSet) -> None:
    options = dataclasses.replace(QUICK, learning_rate=1e-6, head_rate=1e-6, frequency_mask=0, time_mask=0)
    full, half = (
        tuning(training_set, dataclasses.replace(options, precision=one)).epoch() for one in ("float32", "bfloat16")
    )
    assert full != half
    assert half == pytest.approx(full, rel=0.1)
