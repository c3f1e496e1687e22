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
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.pipeline import Pipeline

from emovox.decision import temper
from emovox.errors import ModelError
from emovox.models import artifact, families
from emovox.models import export as export_module
from emovox.models.classical import MlpOptions, SvmOptions
from emovox.models.export import TOLERANCE, export
from emovox.models.neural import AnnOptions
from emovox.types import CorpusSummary, FeatureSpec, ModelCard

LABELS = ("neutral", "happy", "sad")
OPTIONS: dict[str, Any] = {
    "ann": AnnOptions(hidden=(20, 10), epochs=10, batch_norm=True, dropout=0.2, members=2),
    "mlp": MlpOptions(hidden=(20,), epochs=30),
    "svm": SvmOptions(),
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
    return {name: families.fit(families.build(name, options), X, y, None, corpora) for name, options in OPTIONS.items()}


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
    model = artifact.load(tmp_path / "model.onnx")
    order = [list(fitted[name].classes_).index(label) for label in LABELS]
    expected = temper(fitted[name].predict_proba(X), temperature)[:, order]
    for rows in (slice(0, 1), slice(3, 10), slice(None)):
        found = model.probabilities(X[rows])
        assert np.abs(found - expected[rows]).max() <= TOLERANCE
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_card_travels_inside(fitted: dict[str, Pipeline], clips: Any, tmp_path: Path) -> None:
    export(fitted["ann"], card(), tmp_path / "model.onnx", clips[0][:4])
    assert artifact.load(tmp_path / "model.onnx").card == card()
    assert artifact.load(tmp_path).card.labels == LABELS  # a run folder stands for its model


def test_a_frozen_batch_size_is_caught(
    fitted: dict[str, Pipeline], clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module._finish

    def freeze(*arguments: Any) -> onnx.ModelProto:
        graph = original(*arguments)
        nodes = graph.graph.node
        nodes[-1].output[0] = "free"
        shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 3])
        graph.graph.initializer.append(shape)
        nodes.append(helper.make_node("Reshape", ["free", "shape"], ["probabilities"]))
        return graph

    monkeypatch.setattr(export_module, "_finish", freeze)
    with pytest.raises(ModelError, match="the exported graph fails on 1 clips at once"):
        export(fitted["ann"], card(), tmp_path / "model.onnx", clips[0][:4])
    assert list(tmp_path.iterdir()) == []


def test_another_arithmetic_is_caught(
    fitted: dict[str, Pipeline], clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_module._finish
    monkeypatch.setattr(
        export_module, "_finish", lambda graph, order, temperature, card: original(graph, order, 1.3, card)
    )
    with pytest.raises(ModelError, match=r"the exported graph differs from the estimator by \d"):
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
        helper.set_model_props(graph, {artifact.CARD_KEY: text})
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
        artifact.load(with_card(good, text))
    assert "\n" not in str(caught.value)


def test_bad_files_are_refused(good: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    half = tmp_path / "half.onnx"
    half.write_bytes(good.read_bytes()[:-500])
    for path in (empty, half):
        with pytest.raises(ModelError, match="is not an ONNX model that can be read"):
            artifact.load(path)
    with pytest.raises(ModelError, match=r"no model 'missing.onnx': give a model.onnx"):
        artifact.load("missing.onnx")


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap.onnx"
    mark = tmp_path / "executed"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    trap.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError):
        artifact.load(trap)
    assert not mark.exists()


def test_a_model_cannot_refer_to_other_files(good: Path) -> None:
    graph = onnx.load(good)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    good.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="is not an ONNX model that can be read"):
        artifact.load(good)


def test_predicting_needs_neither_torch_nor_scikit_learn(good: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'sklearn', 'skorch', 'onnx', 'pandas', 'scipy', 'joblib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import numpy as np\n"
        "from emovox.models.artifact import load\n"
        "print(load(sys.argv[1]).probabilities(np.zeros((2, 30), np.float32)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 3)", done.stderr
