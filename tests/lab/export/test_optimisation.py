"""A graph that is simplified when it is written is the same function, for any runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emovox.lab.export.optimisation import optimised
from emovox.model.file import PRETRAINED, Model
from tests import CLASSIC


def wasteful() -> onnx.ModelProto:
    """Return y = x + (1 + 2), with the sum and an identity left in the graph."""
    values = {"one": 1.0, "two": 2.0}
    weights = [numpy_helper.from_array(np.array([value], dtype=np.float32), name) for name, value in values.items()]
    nodes = [
        helper.make_node("Add", ["one", "two"], ["three"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Add", ["same", "three"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "wasteful", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"emovox.card": "{}", "more": "kept"})
    return model


def test_constants_are_folded_and_what_is_said_of_the_model_stays() -> None:
    before = wasteful()
    after = optimised(before)
    assert [node.op_type for node in after.graph.node] == ["Add"]
    assert [(one.domain, one.version) for one in after.opset_import] == [("", 18)]
    assert {entry.key: entry.value for entry in after.metadata_props} == {"emovox.card": "{}", "more": "kept"}
    assert len(before.graph.node) == 3


@pytest.mark.parametrize("model", [PRETRAINED / "default.onnx", CLASSIC], ids=["default", "classic"])
def test_our_models_have_nothing_left_to_simplify(model: Path) -> None:
    content = model.read_bytes()
    graph = onnx.load_from_string(content)
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx.ml"}
    after = optimised(graph)
    assert len(after.graph.node) == len(graph.graph.node)
    first, second = Model(content, "shipped"), Model(after.SerializeToString(), "again")
    width = 24000 if first.takes_samples else first.card.features.dimension
    features = np.random.default_rng(0).standard_normal((2, width)).astype(np.float32)
    assert np.array_equal(first.run(features).probabilities, second.run(features).probabilities)
