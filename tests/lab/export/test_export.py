"""Model files: the file computes what the estimator does, carries its card, and nothing else is ever read."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.pipeline import Pipeline
from torch import Tensor

from emovox.errors import ModelError
from emovox.features import sets
from emovox.lab.estimators import families
from emovox.lab.estimators.adaptive import AdaptiveOptions
from emovox.lab.estimators.classical import MlpOptions, SvmOptions
from emovox.lab.estimators.logistic import LogisticOptions
from emovox.lab.estimators.neural import AnnOptions
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.export import export as export_module
from emovox.lab.export.export import TOLERANCE, export, export_samples
from emovox.model import file as model_file
from emovox.model.file import CorpusSummary, ModelCard, temper
from emovox.types import FeatureSpec, Waveform

LABELS = ("neutral", "happy", "sad")
OPTIONS: dict[str, Any] = {
    "ann": AnnOptions(hidden=(20, 10), epochs=10, batch_norm=True, dropout=0.2, members=2),
    "mlp": MlpOptions(hidden=(20,), epochs=30),
    "svm": SvmOptions(),
    "logistic": LogisticOptions(),
}


@pytest.fixture(scope="module")
def clips() -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Features as far from standardised as real ones: offsets and scales over five decades."""
    rng = np.random.default_rng(0)
    y = np.repeat(LABELS, 60)
    X = rng.normal(size=(180, 30)) + (y[:, None] == np.array(LABELS)) @ rng.normal(size=(3, 30))
    return (X * np.logspace(-3, 2, 30) + np.logspace(-2, 2, 30)).astype(np.float32), y


@pytest.fixture(scope="module")
def fitted(clips: tuple[NDArray[np.float32], NDArray[np.str_]]) -> dict[str, Pipeline]:
    X, y = clips
    corpora = np.repeat("demo", len(y))
    return {
        name: families.fit(families.build(name, options), TrainingSet(X, y, None, corpora))
        for name, options in OPTIONS.items()
    }


def card(**changes: Any) -> ModelCard:
    spec = FeatureSpec("demo", 1, 30, {"a": 1}, {"dc": True})
    corpus = CorpusSummary("demo", "CC0", 180, 3, LABELS)
    return dataclasses.replace(ModelCard("demo", "ann", LABELS, spec, corpora=(corpus,), threshold=0.3), **changes)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_file_and_estimator_agree(
    name: str,
    temperature: float,
    fitted: dict[str, Pipeline],
    clips: tuple[NDArray[np.float32], NDArray[np.str_]],
    tmp_path: Path,
) -> None:
    X, _ = clips
    export(fitted[name], card(), tmp_path / "model.onnx", X[::20], temperature=temperature)
    model = model_file.load(tmp_path / "model.onnx")
    order = [list(fitted[name].classes_).index(label) for label in LABELS]
    expected = temper(fitted[name].predict_proba(X), temperature)[:, order]
    for rows in (slice(0, 1), slice(3, 10), slice(None)):
        found = model.run(X[rows]).probabilities
        assert np.abs(found - expected[rows]).max() <= TOLERANCE
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_card_travels_inside(fitted: dict[str, Pipeline], clips: Any, tmp_path: Path) -> None:
    export(fitted["ann"], card(), tmp_path / "model.onnx", clips[0][:4])
    assert model_file.load(tmp_path / "model.onnx").card == card()
    assert model_file.load(tmp_path).card.labels == LABELS  # a run folder stands for its model


def test_a_frozen_batch_size_is_caught(
    fitted: dict[str, Pipeline], clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module.finish

    def freeze(*arguments: Any) -> onnx.ModelProto:
        graph = original(*arguments)
        nodes = graph.graph.node
        nodes[-1].output[0] = "free"
        shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 3])
        graph.graph.initializer.append(shape)
        nodes.append(helper.make_node("Reshape", ["free", "shape"], ["probabilities"]))
        return graph

    monkeypatch.setattr(export_module, "finish", freeze)
    with pytest.raises(ModelError, match="the exported graph fails on 1 clips at once"):
        export(fitted["ann"], card(), tmp_path / "model.onnx", clips[0][:4])
    assert list(tmp_path.iterdir()) == []


def test_another_arithmetic_is_caught(
    fitted: dict[str, Pipeline], clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module.finish
    wrong = dataclasses.replace
    monkeypatch.setattr(export_module, "finish", lambda graph, given: original(graph, wrong(given, temperature=1.3)))
    with pytest.raises(ModelError, match=r"the exported graph differs from the estimator, on 1 clips at once, by \d"):
        export(fitted["ann"], card(), tmp_path / "model.onnx", clips[0][:4])


@pytest.fixture
def good(fitted: dict[str, Pipeline], clips: Any, tmp_path: Path) -> Path:
    export(fitted["mlp"], card(), tmp_path / "model.onnx", clips[0][:4])
    return tmp_path / "model.onnx"


def with_card(path: Path, text: str | None) -> Path:
    """Write a copy of a model with another card."""
    graph = onnx.load(path)
    del graph.metadata_props[:]
    if text is not None:
        helper.set_model_props(graph, {model_file.CARD_KEY: text})
    copy = path.with_name("copy.onnx")
    copy.write_bytes(graph.SerializeToString())
    return copy


def changed(**changes: Any) -> str:
    return json.dumps({**card().to_dict(), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "without an emovox model card"),
        ("{", "the model card in .* is damaged"),
        ("[]", "is damaged"),
        (changed(format_version=99), "model card format 99, expected 1: upgrade emovox"),
        (changed(labels=["a", "b"]), "maps 30 features to 3 classes, but its card says 30 and 2"),
        (changed(features={"set": "demo", "version": 1, "dimension": 7}), "but its card says 7 and 3"),
        (changed(features={"set": "demo"}), "damaged"),
        (changed(surprise=1), "damaged"),
    ],
)
def test_bad_cards_are_refused(good: Path, text: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        model_file.load(with_card(good, text))
    assert "\n" not in str(caught.value)


def test_bad_files_are_refused(good: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    half = tmp_path / "half.onnx"
    half.write_bytes(good.read_bytes()[:-500])
    for path in (empty, half):
        with pytest.raises(ModelError, match="is not an ONNX model that can be read"):
            model_file.load(path)
    with pytest.raises(ModelError, match=r"no model 'missing.onnx': give a model.onnx"):
        model_file.load("missing.onnx")


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap.onnx"
    mark = tmp_path / "executed"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    trap.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError):
        model_file.load(trap)
    assert not mark.exists()


def unsealed(graph: onnx.ModelProto) -> bytes:
    """Write a graph that was changed, without the checksum of the one before."""
    kept = {entry.key: entry.value for entry in graph.metadata_props if entry.key != "emovox.sha256"}
    helper.set_model_props(graph, kept)
    return bytes(graph.SerializeToString())


def test_a_model_cannot_refer_to_other_files(good: Path) -> None:
    graph = onnx.load(good)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    good.write_bytes(unsealed(graph))
    with pytest.raises(ModelError, match="is not an ONNX model that can be read"):
        model_file.load(good)


def test_predicting_needs_neither_torch_nor_scikit_learn(good: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'sklearn', 'skorch', 'onnx', 'pandas', 'scipy', 'joblib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import numpy as np\n"
        "from emovox.model.file import load\n"
        "print(load(sys.argv[1]).run(np.zeros((2, 30), np.float32)).probabilities.shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 3)", done.stderr


# --- models that start from samples ------------------------------------------------------------------------


class Voice(torch.nn.Module):
    """Level and peak as axes, a linear classifier of their distance from the mean of the setting."""

    def __init__(self, axes: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.score = torch.nn.Linear(2, 3)
        self.axes = axes

    def forward(self, samples: Tensor, baseline: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        found = torch.stack([samples.square().mean(dim=1).sqrt(), samples.abs().amax(dim=1)], dim=1)
        known = found if baseline is None else found - baseline[:, 1:3]
        probabilities = torch.softmax(self.score(known), dim=1)
        return (probabilities, found) if self.axes else probabilities


class Frozen(Voice):
    """Remembers the length that it was exported at."""

    def forward(self, samples: Tensor, baseline: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        return super().forward(samples.reshape(samples.shape[0], 4, int(samples.shape[1]) // 4).flatten(1), baseline)


class Forgetful(Voice):
    """Takes the first second only when exported: no shape tells."""

    def forward(self, samples: Tensor, baseline: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        return super().forward(samples[:, :16000] if torch.onnx.is_in_onnx_export() else samples, baseline)


class Wide(Voice):
    """Has as many axes as samples."""

    def forward(self, samples: Tensor, baseline: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(samples, baseline)[0], samples.square()


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(scale=0.2, size=shape).astype(np.float32)


@pytest.mark.parametrize("axes", [0, 2])
def test_a_network_of_samples_is_written(axes: int, tmp_path: Path) -> None:
    export_samples(Voice(bool(axes)), card(), tmp_path / "model.onnx", axes=axes)
    model = model_file.load(tmp_path)
    assert (model.takes_samples, model.takes_baseline, model.axes_width) == (True, bool(axes), axes)
    assert model.card == card(features=FeatureSpec("samples", 1, 0, {}, {"dc": True}))
    samples = noise(2, 7001)
    output = model.run(samples)
    found, described = output.probabilities, output.axes
    rms = np.sqrt(np.square(samples).mean(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    if axes:
        assert described is not None
        np.testing.assert_allclose(described, np.stack([rms, np.abs(samples).max(axis=1)], axis=1), rtol=1e-5)
    else:
        assert described is None
    assert output.dimensions is None


def test_the_baseline_reaches_the_graph(tmp_path: Path) -> None:
    model = export_samples(Voice(), card(), tmp_path / "model.onnx", axes=2)
    samples = noise(3, 5000)
    described = model.run(samples).axes
    assert described is not None
    known = np.zeros((3, 10), np.float32)
    known[:, 1:3] = described
    level = model.run(samples, baseline=known).probabilities
    with torch.no_grad():
        expected = torch.softmax(Voice().score.bias, dim=0).numpy()
    np.testing.assert_allclose(level, np.tile(expected, (3, 1)), atol=1e-6)
    np.testing.assert_allclose(model.run(samples, baseline=known[0]).probabilities[0], expected, atol=1e-6)
    nothing = model.run(samples, baseline=np.zeros(10, np.float32))
    np.testing.assert_array_equal(nothing.probabilities, model.run(samples).probabilities)
    with pytest.raises(ModelError, match="baseline of width 3 does not fit model 'demo', which takes 10: make it with"):
        model.run(samples, baseline=np.zeros(3, np.float32))


def test_the_two_kinds_are_not_confused(good: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes an array of shape \\(n, 30\\), not \\(1, 5000\\): give it demo"):
        model_file.load(good).run(noise(1, 5000))
    plain = export_samples(Voice(axes=False), card(), tmp_path / "plain.onnx")
    with pytest.raises(ModelError, match="baseline of width 2 does not fit model 'demo', which takes none"):
        plain.run(noise(1, 5000), baseline=np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Frozen, r"the exported graph fails on 1 clips of 0.3 s"),
        (Forgetful, r"the exported graph differs from its origin, on \d clips of .* s, by"),
    ],
)
def test_a_frozen_length_is_caught(kind: type[Voice], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        export_samples(kind(), card(), tmp_path / "model.onnx", axes=2)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def rewired(path: Path, **changes: Any) -> Path:
    """Write a copy with other shapes of inputs and outputs, or without one."""
    graph = onnx.load(path)
    for values in (graph.graph.input, graph.graph.output):
        for value in list(values):
            if value.name in changes:
                values.remove(value)
                if changes[value.name] is not None:
                    values.append(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, changes[value.name]))
    copy = path.with_name("copy.onnx")
    copy.write_bytes(unsealed(graph))
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": ["n", 16000]}, r"its samples have the shape \['n', 16000\], not one with two free dimensions"),
        ({"samples": [1, "t"]}, r"its samples have the shape \[1, 't'\]"),
        ({"probabilities": None}, "it has None classes"),
        ({"axes": None}, "has 0 axes and takes a baseline of 10 numbers, expected 0"),
    ],
)
def test_unsound_graphs_of_samples_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    export_samples(Voice(), card(), tmp_path / "model.onnx", axes=2)
    with pytest.raises(ModelError, match=message) as caught:
        model_file.load(rewired(tmp_path / "model.onnx", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "axes", "message"),
    [
        (Wide, 2, "has 0 axes and takes a baseline of 10 numbers, expected 0"),
        (Voice, 3, "has 2 axes and takes a baseline of 14 numbers, expected 10"),
    ],
)
def test_unsound_networks_are_not_written(kind: type[Voice], axes: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        export_samples(kind(), card(), tmp_path / "model.onnx", axes=axes)
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_another_kind_is_refused(good: Path, tmp_path: Path) -> None:
    samples = changed(features={"set": "samples", "version": 1, "dimension": 0})
    with pytest.raises(ModelError, match="it takes features, and its card says 'samples'; get the model file again"):
        model_file.load(with_card(good, samples))
    export_samples(Voice(axes=False), card(), tmp_path / "raw.onnx")
    with pytest.raises(ModelError, match="it takes samples, and its card says 'demo'"):
        model_file.load(with_card(tmp_path / "raw.onnx", changed()))
    four = changed(features={"set": "samples", "version": 1, "dimension": 0}, labels=["a", "b", "c", "d"])
    with pytest.raises(ModelError, match="it has 3 classes, and its card says 4"):
        model_file.load(with_card(tmp_path / "raw.onnx", four))


@pytest.fixture(scope="module")
def encoded(small_whisper: Path) -> tuple[dict[str, Pipeline], ModelCard, NDArray[np.float32]]:
    """Pipelines of every family on features of an encoder, with their card."""
    spec = sets.spec("encoder", {"weights": str(small_whisper), "blocks": "1 2"})
    sounds = [0.1 * noise(6000 + 50 * i) * (1 + i % 3) for i in range(45)]
    X = np.stack([sets.extract(Waveform(sound), spec) for sound in sounds])
    y = np.tile(LABELS, 15)
    pipelines = {
        name: families.fit(families.build(name, options), TrainingSet(X, y)) for name, options in OPTIONS.items()
    }
    return pipelines, card(features=spec), X


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("ann", "logistic") else pytest.mark.long) for name in OPTIONS]
)
def test_encoder_and_head_become_one_graph(
    name: str, encoded: tuple[dict[str, Pipeline], ModelCard, NDArray[np.float32]], tmp_path: Path
) -> None:
    pipelines, one, X = encoded
    model = export(pipelines[name], one, tmp_path / "model.onnx", X[:4], temperature=1.3)
    order = [list(pipelines[name].classes_).index(label) for label in LABELS]
    for length in (4800, 9001, 40000):
        sound = Waveform(noise(length))
        features = sets.extract(sound, one.features)[np.newaxis]
        expected = temper(pipelines[name].predict_proba(features), 1.3)[:, order]
        output = model.run(sets.extract(sound, model.card.features)[np.newaxis])
        np.testing.assert_allclose(output.probabilities, expected, atol=TOLERANCE)
        assert output.axes is None


@pytest.mark.parametrize(("temperature", "known", "neutral"), [(1.3, 1.3, 1.3), (1.3, 2.1, 0.7), (1.3, 1.3, 0.7)])
def test_baselines_and_neutral_clips_have_temperatures_of_their_own(
    temperature: float,
    known: float,
    neutral: float,
    clips: tuple[NDArray[np.float32], NDArray[np.str_]],
    tmp_path: Path,
) -> None:
    X, y = clips
    options = AdaptiveOptions(components=10, epochs=3, draws=2, hidden=8)
    speakers = np.tile(["ann", "bob", "cem"], 60)
    fitted = families.fit(families.build("adaptive", options), TrainingSet(X, y, speakers))
    path = tmp_path / "model.onnx"
    heats: Any = {"temperature": temperature, "known_temperature": known, "neutral_temperature": neutral}
    model = export(fitted, card(), path, X[:4], **heats)
    estimator: Any = fitted.named_steps["model"]
    order = [list(fitted.classes_).index(label) for label in LABELS]
    values = estimator.values(X)
    assert (model.takes_baseline, model.takes_samples, model.axes_width) == (True, False, 9)
    for baseline, heat in (
        (estimator.baseline(), temperature),
        (estimator.baseline(values[:30], values[30:33]), known),
        (estimator.baseline(values[:30], values[30:33], neutral=True), neutral),
        (estimator.baseline(None, values[30:33], neutral=True), neutral),
    ):
        expected = temper(estimator.predict_proba(X, baseline), heat)[:, order]
        np.testing.assert_allclose(model.run(X, baseline=baseline).probabilities, expected, atol=TOLERANCE)
    np.testing.assert_allclose(model.run(X).axes, estimator.values(X), rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]


def test_8_bits_are_smaller_and_say_what_they_change(
    encoded: tuple[dict[str, Pipeline], ModelCard, NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines, one, X = encoded
    full = export(pipelines["ann"], one, tmp_path / "full.onnx", X[:4])
    clips = [noise(6000), noise(9000)]
    small = export(pipelines["ann"], one, tmp_path / "small.onnx", X[:4], int8=True, clips=clips)
    kinds = [node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node]
    assert kinds.count("MatMulInteger") == 6 * 2 + 3 * 2  # six a block, three a network of the ensemble
    assert (tmp_path / "small.onnx").stat().st_size < (tmp_path / "full.onnx").stat().st_size
    told = dict(small.card.evaluation["int8"])
    each = [[model.run(clip[np.newaxis]).probabilities for model in (full, small)] for clip in clips]
    apart = [np.abs(first - second) for first, second in each]
    assert told["clips"] == 2
    assert told["largest"] == pytest.approx(np.max(apart), abs=1e-7)
    assert told["mean"] == pytest.approx(np.mean(apart), abs=1e-7)
    assert told["largest"] > 0
    assert dataclasses.replace(small.card, evaluation={}) == full.card
    monkeypatch.setattr(export_module, "INT8_TOLERANCE", 0.0)
    with pytest.raises(ModelError, match=r"8 bits change a probability by \d.* on average .*: export without int8"):
        export(pipelines["ann"], one, tmp_path / "none.onnx", X[:4], int8=True)
    assert not (tmp_path / "none.onnx").exists()


def test_encoders_of_transformers_are_exported_or_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    stem = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (20, 16), "num_feat_extract_layers": 2}
    places = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    transformers.HubertModel(transformers.HubertConfig(**sizes, **stem, **places)).save_pretrained(tmp_path / "hubert")
    spec = sets.spec("encoder", {"weights": str(tmp_path / "hubert"), "blocks": "1"})
    X = np.stack([sets.extract(Waveform(noise(6000 + 50 * i)), spec) for i in range(30)])
    fitted = families.fit(families.build("ann", OPTIONS["ann"]), TrainingSet(X, np.tile(LABELS, 10)))
    model = export(fitted, card(features=spec), tmp_path / "model.onnx", X[:4])
    sound = Waveform(noise(12345))
    found = model.run(sets.extract(sound, model.card.features)[np.newaxis]).probabilities
    order = [list(fitted.classes_).index(label) for label in LABELS]
    np.testing.assert_allclose(found, fitted.predict_proba(sets.extract(sound, spec)[np.newaxis])[:, order], atol=1e-5)
