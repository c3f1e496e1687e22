"""Eight bits: the same numbers on every processor."""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from emovox.models.artifact import PRETRAINED, builtin
from emovox.models.quantisation import unsigned


def product(weights: np.ndarray[tuple[int, int], np.dtype[np.int8]]) -> onnx.ModelProto:
    """Make a graph that multiplies unsigned bytes by signed ones, as the quantiser writes it."""
    zeros = np.zeros(weights.shape[1], dtype=np.int8)
    node = helper.make_node("MatMulInteger", ["a", "b", "a0", "b0"], ["y"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, len(weights)])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, weights.shape[1]])],
        [
            numpy_helper.from_array(weights, "b"),
            numpy_helper.from_array(np.array(128, dtype=np.uint8), "a0"),
            numpy_helper.from_array(zeros, "b0"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_the_product_is_exact_where_signed_bytes_overflow(rng: np.random.Generator) -> None:
    weights = rng.choice(np.array([-127, 126, 127], dtype=np.int8), size=(64, 24))
    inputs = rng.choice(np.array([0, 1, 254, 255], dtype=np.uint8), size=(5, 64))
    session = onnxruntime.InferenceSession(unsigned(product(weights)).SerializeToString())
    (found,) = session.run(None, {"a": inputs})
    np.testing.assert_array_equal(found, (inputs.astype(np.int64) - 128) @ weights.astype(np.int64))


@pytest.mark.parametrize("name", builtin())
def test_the_built_in_models_multiply_unsigned_bytes(name: str) -> None:
    graph = onnx.load_from_string((resources.files(PRETRAINED) / f"{name}.onnx").read_bytes()).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kinds = {stored[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"}
    assert kinds <= {TensorProto.UINT8}
