"""What a model file may take and give: classes, emotion dimensions, or both; one input or several."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emovox import ModelError, Prediction
from emovox.model.file import CARD_KEY, Model, ModelCard, load
from emovox.outputs import formats
from emovox.types import FeatureSpec

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

LABELS, NAMES = ("happy", "sad"), ("arousal", "valence")
ROWS = np.array([[2.0, 1.0, 0.0], [0.0, -1.0, 4.0]], dtype=np.float32)
EVERYTHING = ("probabilities", "dimensions")


def write(path: Path, card: ModelCard, outputs: tuple[str, ...] = EVERYTHING) -> Path:
    """Write a graph: probabilities are a softmax of the first two features, dimensions are the last two."""
    make = helper.make_tensor_value_info
    numbers = [helper.make_tensor(f"n{number}", TensorProto.INT64, [1], [number]) for number in range(4)]
    nodes = [
        helper.make_node("Slice", ["features", "n0", "n2", "n1"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("Slice", ["features", "n1", "n3", "n1"], ["dimensions"]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [make("features", TensorProto.FLOAT, ["n", 3])],
        [make(name, TensorProto.FLOAT, ["n", 2]) for name in outputs],
        numbers,
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(file, {CARD_KEY: json.dumps(card.to_dict())})
    path.write_bytes(file.SerializeToString())
    return path


def card(labels: tuple[str, ...] = LABELS, dimensions: tuple[str, ...] = NAMES) -> ModelCard:
    return ModelCard("both", "test", labels, FeatureSpec("demo", 1, 3), dimensions=dimensions)


def test_a_model_gives_classes_and_dimensions(tmp_path: Path) -> None:
    model = load(write(tmp_path / "model.onnx", card()))
    assert model.card == card()
    found = model.run(ROWS)
    expected = np.exp(ROWS[:, :2]) / np.exp(ROWS[:, :2]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.dimensions, ROWS[:, 1:])
    assert found.axes is None
    named = model.run({"features": ROWS})
    np.testing.assert_array_equal(named.probabilities, found.probabilities)


def test_a_model_of_dimensions_has_no_classes(tmp_path: Path) -> None:
    model = load(write(tmp_path / "model.onnx", card(labels=()), ("dimensions",)))
    found = model.run(ROWS)
    assert found.probabilities.shape == (2, 0)
    np.testing.assert_array_equal(found.dimensions, ROWS[:, 1:])


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="its card must name labels or dimensions"):
        card((), ())


@pytest.mark.parametrize(
    ("one", "outputs", "message"),
    [
        (card(dimensions=("arousal",)), EVERYTHING, "predicts 2 emotion dimensions, but its card names 1"),
        (card(dimensions=()), EVERYTHING, "predicts 2 emotion dimensions, but its card names 0"),
        (card(), ("probabilities",), "predicts 0 emotion dimensions, but its card names 2"),
        (card(), ("dimensions",), "to None classes"),
        (card(labels=()), EVERYTHING, "to 2 classes"),
    ],
)
def test_a_card_that_does_not_fit_the_outputs_is_refused(
    one: ModelCard, outputs: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        load(write(tmp_path / "model.onnx", one, outputs))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (ROWS[:, :2], r"input 'features' of model 'both' takes an array of shape \(n, 3\), not \(2, 2\): give it demo"),
        (ROWS[0], r"of shape \(n, 3\), not \(3,\)"),
        ({"samples": ROWS}, "model 'both' takes features, not samples: give a mapping"),
        ({}, "model 'both' takes features, not nothing"),
    ],
)
def test_other_inputs_are_refused(inputs: Any, message: str, tmp_path: Path) -> None:
    model = load(write(tmp_path / "model.onnx", card()))
    with pytest.raises(ModelError, match=message):
        model.run(inputs)


def test_a_card_without_dimensions_loads_as_before(tmp_path: Path) -> None:
    old = card(dimensions=()).to_dict()
    del old["dimensions"]  # as files were written before there were any
    path = write(tmp_path / "model.onnx", card(dimensions=()), ("probabilities",))
    file = onnx.load(path)
    helper.set_model_props(file, {CARD_KEY: json.dumps(old)})
    assert Model(file.SerializeToString(), "old").card == card(dimensions=())


def test_dimensions_have_their_columns() -> None:
    one = Prediction(
        "a.wav", 0, 1, "sad", {"sad": 1.0}, 1.0, False, "m", "anna", channel=2, dimensions={"arousal": -0.25}
    )
    (row,) = csv.DictReader(io.StringIO("".join(formats.to_csv([one], ["sad"]))))
    assert list(row)[-5:] == ["p_sad", "baseline", "channel", "setting", "d_arousal"]
    assert (row["speaker"], row["baseline"], row["channel"], row["d_arousal"]) == ("anna", "", "2", "-0.2500")
    assert json.loads(json.dumps(one.to_dict()))["dimensions"] == {"arousal": -0.25}
    assert "".join(formats.pieces(formats.Format.RTTM, [one], ["sad"])).split()[2] == "2"
