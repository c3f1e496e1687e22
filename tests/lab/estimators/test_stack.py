"""Stacks: speakers kept apart at both levels, members of any family, one file, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from emovox import EmotionRecognizer, audio
from emovox.errors import ModelError, ProtocolError, RecipeError
from emovox.features import sets
from emovox.lab.estimators.families import build, fit
from emovox.lab.estimators.neural import AnnOptions
from emovox.lab.estimators.stacking import Member, StackClassifier, StackOptions
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.experiments import experiment, recipe
from emovox.lab.extraction.sequences import Inputs
from emovox.model.file import load
from emovox.types import Float32Array
from tests.conftest import ANY_SOUND, toy_clip


class Memory:
    """A member that knows the clips it was trained on by heart, and nothing of others: the worst that can leak."""

    curves: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.named_steps = {"model": self}

    def fit(self, X: Float32Array, y: NDArray[np.str_]) -> Memory:
        self.classes_, self.known = np.unique(y), dict(zip(X[:, 0].tolist(), y.tolist(), strict=True))
        return self

    def predict_proba(self, X: Float32Array) -> Float32Array:
        rows = [self.classes_ == self.known.get(number, "") for number in X[:, 0].tolist()]
        return np.array([row if row.any() else np.full(len(row), 1 / len(row)) for row in rows], dtype=np.float32)


def memorised(pipeline: Memory, clips: TrainingSet) -> Memory:
    return pipeline.fit(clips.view(0), clips.y)


def clips(count: int = 60) -> tuple[Inputs, NDArray[np.str_], NDArray[np.str_]]:
    """Return clips for two members, labels and speakers; the first feature is the clip's number."""
    rng = np.random.default_rng(0)
    y = np.resize(["angry", "happy", "sad"], count)
    X = rng.normal(size=(count, 3)).astype(np.float32)
    X[:, 0] = np.arange(count)
    informed = X.copy()
    informed[:, 1] += 2 * (y == "sad")
    return Inputs({"one": X, "two": informed}), y, np.repeat([f"s{i}" for i in range(6)], count // 6)


def memories(options: StackOptions) -> StackClassifier:
    members = (Member("one", "memory", None), Member("two", "memory", None))
    given = StackOptions(**{**vars(options), "members": members})
    return StackClassifier(given, lambda family, options: Memory(), memorised)


def test_what_weighs_the_answers_never_sees_one_of_a_member_that_knew_the_clip() -> None:
    X, y, speakers = clips()
    stack = memories(StackOptions(folds=3)).fit(X, y, speakers)
    np.testing.assert_allclose(stack.answers_, 1 / 3, rtol=1e-6)  # a memory answers so of clips that it never met
    *grouped, whole = [answers["one"] for answers in stack.each_set(X)]
    assert (whole.max(axis=1) == 1).all()  # the last that answer new clips have met all
    met = np.array([answers.max(axis=1) == 1 for answers in grouped])
    assert (met.sum(axis=0) == 2).all()  # the others all but one group
    alone = memories(StackOptions(folds=3, bagged=False)).fit(X, y, speakers)
    assert len(alone.each_set(X)) == 1
    np.testing.assert_array_equal(alone.predict_proba(X), stack.combined(stack.each_set(X)[-1]))


class Prior(Memory):
    """A member that says what follows from a feature, and from one class having nine times the clips of the other."""

    def predict_proba(self, X: Float32Array) -> Float32Array:
        share = 1 / (1 + 9 * np.exp(-2 * X[:, 0]))
        return np.stack([1 - share, share], axis=1).astype(np.float32)


@pytest.mark.parametrize("combine", ["svm", "logistic"])
def test_a_class_of_few_clips_is_not_passed_over(combine: Any) -> None:
    y = np.repeat(["angry", "sad"], [360, 40])
    X = np.random.default_rng(0).normal(np.where(y == "sad", 1, -1)).astype(np.float32)[:, np.newaxis]
    options = StackOptions(combine=combine, folds=2, members=(Member("one", "prior", None),))
    stack = StackClassifier(options, lambda family, options: Prior(), memorised)
    found = stack.fit(Inputs({"one": X}), y, np.resize(list("abcd"), 400)).predict(Inputs({"one": X}))
    alone = (Prior().predict_proba(X)[:, 1] > 0.5)[y == "sad"].mean()
    assert (found == "sad")[y == "sad"].mean() > alone + 0.1
    assert (found == "angry")[y == "angry"].mean() > 0.75


def test_speakers_are_apart_inside_the_training_part() -> None:
    X, y, speakers = clips()
    seen: list[tuple[set[str], int]] = []

    def spied(pipeline: Memory, clips: TrainingSet) -> Memory:
        seen.append((set(np.asarray(clips.speakers)), len(clips)))
        return memorised(pipeline, clips)

    stack = memories(StackOptions(folds=3))
    stack.fit_member = spied
    stack.fit(X, y, speakers)
    assert [size for _, size in seen] == [40, 40, 40, 60] * 2
    assert all(len(voices) == 4 for voices, size in seen if size == 40)
    assert set.intersection(*(voices for voices, size in seen[:3])) == set(), "each speaker is left out once"


def test_the_average_is_the_mean_of_the_members() -> None:
    X, y, speakers = clips()
    options = AnnOptions(hidden=(4,), epochs=3), AnnOptions(hidden=(8,), epochs=3)
    members = (Member("one", "ann", options[0]), Member("two", "ann", options[1]))
    stack = StackClassifier(StackOptions(combine="average", members=members), build, fit).fit(X, y, speakers)
    each = stack.each_proba(X)
    np.testing.assert_allclose(stack.predict_proba(X), (each["one"] + each["two"]) / 2, atol=1e-6)
    weighed = StackClassifier(StackOptions(members=members), build, fit).fit(X, y, speakers)
    of_sets = [weighed.combined(answers) for answers in weighed.each_set(X)]
    np.testing.assert_allclose(weighed.predict_proba(X), np.mean(of_sets, axis=0), atol=1e-6)
    assert set(weighed.predict(X)) <= {"angry", "happy", "sad"}


def test_the_average_needs_one_speaker_only() -> None:
    X, y, speakers = clips()
    alone = np.flatnonzero(speakers == "s0")
    stack = memories(StackOptions(combine="average")).fit(X[alone], y[alone], speakers[alone])
    assert (stack.predict(X[alone]) == y[alone]).all()
    with pytest.raises(ProtocolError):
        memories(StackOptions(combine="logistic")).fit(X[alone], y[alone], speakers[alone])


def test_a_class_that_one_speaker_alone_has_stays_possible() -> None:
    X, y, speakers = clips()
    y = y.copy()
    y[speakers != "s0"] = np.where(y[speakers != "s0"] == "sad", "angry", y[speakers != "s0"])
    stack = memories(StackOptions(folds=3)).fit(X, y, speakers)
    assert stack.answers_[speakers == "s0"][:, 2].max() == 0  # nobody else taught it
    assert stack.predict_proba(X).shape == (60, 3)


def test_speakers_must_be_known() -> None:
    X, y, speakers = clips()
    with pytest.raises(ProtocolError, match="these clips have none"):
        memories(StackOptions()).fit(X, y)
    with pytest.raises(ProtocolError, match="3 groups cannot be made of 2 speakers"):
        memories(StackOptions()).fit(X[:20], y[:20], speakers[:20])


STACK: dict[str, Any] = {
    "name": "toy",
    "corpora": {"toy": {}},
    "members": {
        "net": {
            "features": {"set": "logmel", "n_mels": 24, "hop_length": 640},
            "model": {"family": "frames", "hidden": [16], "epochs": 8, "batch_size": 16},
            "augment": {"copies": 1, "options": {"codec": 0, "telephone": 0}},
        },
        "machine": {"features": {"set": "prosodic"}, "model": {"family": "svm"}},
    },
    "model": {"family": "stack", "combine": "logistic", "folds": 2},
    "protocol": {"name": "speaker-2"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_manifest: Path, small_whisper: Path) -> Path:
    encoder = {
        "features": {"set": "encoder", "weights": str(small_whisper), "blocks": "1 2"},
        "model": {"family": "adaptive", "components": 16, "epochs": 5, "draws": 3, "hidden": 16},
    }
    one = recipe.validate({**STACK, "members": {**STACK["members"], "voice": encoder}}, "toy")
    out = tmp_path_factory.mktemp("runs") / "stack"
    experiment.run(one, {"toy": toy_manifest}, out, jobs=1)
    return out


@pytest.mark.long
def test_a_stack_of_frames_vectors_and_samples_is_one_file(finished: Path, toy_manifest: Path) -> None:
    model = load(finished)
    assert set(model.inputs) == {"net.features", "machine.features", "voice.samples"}
    assert [model.levels[name] for name in model.inputs] == ["frame", "clip", "samples"]
    recognizer = EmotionRecognizer(model, gate=ANY_SOUND)
    clip = toy_manifest.parent / "s1-sad-1.wav"
    waveform = audio.read(clip)
    given = {name: sets.extract(waveform, spec)[np.newaxis] for name, spec in model.inputs.items()}
    found = recognizer.predict(clip).probabilities
    np.testing.assert_allclose(list(found.values()), model.run(given).probabilities[0], atol=1e-6)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    scores, _ = experiment.evaluate(model, {"toy": toy_manifest}, jobs=1)
    assert scores["uar"] > 0.5
    with pytest.raises(ModelError, match="maps"):
        model_without_an_input(finished)


def model_without_an_input(folder: Path) -> None:
    """Read the file with a card that has one front end less."""
    import onnx

    from emovox.model.file import CARD_KEY, Model

    graph = onnx.load_model(folder / "model.onnx")
    card = json.loads(next(one.value for one in graph.metadata_props if one.key == CARD_KEY))
    del card["features"]["parameters"]["machine"]
    onnx.helper.set_model_props(graph, {CARD_KEY: json.dumps(card)})
    Model(graph.SerializeToString(), "broken")


def test_a_run_scores_members_and_average_beside_the_stack(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["members"]) == ["net", "machine", "voice", "average"]
    assert all(0 <= one["uar"] <= 1 for one in metrics["members"].values())
    assert metrics["features"] == "joint"
    assert {curve["fold"] for curve in metrics["learning_curves"]} == {one["fold"] for one in metrics["folds"]}
    assert recipe.load(finished / "recipe.toml").members.keys() == {"net", "machine", "voice"}


def test_members_come_from_recipes_with_changes() -> None:
    stack = recipe.load("ravdess-stack", {"members.cnn.model.epochs": 3})
    changed, original = stack.members["cnn"], recipe.load("ravdess-cnn")
    assert changed.model == {**original.model, "epochs": 3}
    assert (changed.features, changed.augment) == (original.features, original.augment)
    options = stack.options(seed=7)
    assert isinstance(options, StackOptions)
    assert [(member.name, member.options.seed) for member in options.members] == [("cnn", 7), ("rnn", 7)]
    assert stack.feature_spec().parts()["rnn"] == recipe.load("ravdess-rnn").feature_spec()


def stack_of(**changes: Any) -> Mapping[str, Any]:
    return {**STACK, **changes}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (stack_of(members={}), "a stack needs members"),
        (stack_of(members={"a": {"recipe": "ravdes-cnn"}}), "no recipe 'ravdes-cnn': did you mean 'ravdess-cnn'"),
        (stack_of(model={"family": "ann"}, features={"set": "prosodic"}), "members are for a stack"),
        (stack_of(features={"set": "prosodic"}), "a stack sees nothing by itself"),
        (stack_of(members={"a": {"model": {"family": "cnn"}, "features": {"set": "prosodic"}}}), "one vector a frame"),
        (stack_of(members={"a": {"model": {"family": "stack"}}}), "family 'stack' cannot be a member"),
        (stack_of(members={"a b": {"recipe": "ravdess-ann"}}), "a name is letters, digits"),
        (stack_of(members={"a": {"recipe": "ravdess-whisper-tuned"}}), "family 'finetuned' cannot be a member"),
        (stack_of(members={"a": {"recipe": "ravdess-ann", "model": {"depth": 3}}}), "unknown key 'depth'"),
        (stack_of(members="cnn"), "members is no table"),
        (stack_of(model={"family": "stack", "members": ["cnn"]}), r"write a table \[members.NAME\]"),
        (stack_of(model={"family": "stack", "folds": 1}), "folds = 1 is not possible"),
        (stack_of(export={"int8": True}), "export.int8 is not possible for a stack"),
    ],
)
def test_what_is_no_stack_is_refused(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe.validate(values, "test")


def test_a_member_with_other_labels_is_refused() -> None:
    ours = {"corpora": {"ravdess": {"labels": ["sad", "angry"]}}, "members": {"a": {"recipe": "ravdess-cnn"}}}
    with pytest.raises(RecipeError, match="'ravdess-cnn' uses all labels of ravdess, and this one sad, angry"):
        recipe.validate(stack_of(**ours), "test")


@pytest.mark.long
def test_speech_and_song_of_ravdess_are_learnt_together(tmp_path: Path) -> None:
    labels = ("neutral", "sad", "happy", "sad", "angry", "happy")
    for actor in range(1, 5):
        for channel in (1, 2):
            for emotion in range(1, 7):
                folder = tmp_path / f"Audio_{'Speech' if channel == 1 else 'Song'}_Actors_01-24" / f"Actor_{actor:02d}"
                folder.mkdir(parents=True, exist_ok=True)
                name = f"03-{channel:02d}-{emotion:02d}-01-01-01-{actor:02d}.wav"
                soundfile.write(folder / name, toy_clip(labels[emotion - 1], actor, channel), 16000)
    changes = {
        "model.epochs": 1,
        "model.channels": [2, 4],
        "augment.copies": 0,
        "protocol.name": "speaker-2",
        "protocol.seeds": [0],
    }
    results = experiment.run(recipe.load("ravdess-song", changes), {"ravdess": tmp_path}, tmp_path / "run", jobs=1)
    assert results["n"] == 48
    assert set(results["labels"]) == {"neutral", "calm", "happy", "sad", "angry", "fearful"}


def test_a_class_that_a_fold_lacks_is_named(toy_manifest: Path, tmp_path: Path) -> None:
    lines = toy_manifest.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if ",sad," not in line or line.startswith("s0")]
    few = toy_manifest.with_name("few.csv")
    few.write_text("\n".join(kept) + "\n", encoding="utf-8")
    one = {**STACK, "protocol": {"name": "loso"}, "model": {"family": "stack", "combine": "average"}}
    with pytest.raises(ProtocolError, match="label 'sad' is tested but never trained"):
        experiment.run(recipe.validate(one, "toy"), {"toy": few}, tmp_path / "run", jobs=1)
    assert not list(tmp_path.glob("run*"))
