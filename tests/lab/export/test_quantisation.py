"""Eight bits: the same numbers on every processor."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from emovox.lab.export.quantisation import packed, unsigned
from emovox.model.file import PRETRAINED, builtin


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
    graph = onnx.load_from_string((PRETRAINED / f"{name}.onnx").read_bytes()).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kinds = {stored[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"}
    assert kinds <= {TensorProto.UINT8}


@pytest.mark.parametrize("channels", [1, 6])
def test_kernels_over_several_channels_are_bytes(channels: int, rng: np.random.Generator) -> None:
    kernel = rng.normal(size=(8, channels, 3)).astype(np.float32)
    kernel[2] = 0
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, None])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = rng.normal(size=(2, channels, 50)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    small = packed(model)
    onnx.checker.check_model(small, full_check=True)
    assert (TensorProto.INT8 in {tensor.data_type for tensor in small.graph.initializer}) == (channels > 1)
    (found,) = onnxruntime.InferenceSession(small.SerializeToString()).run(None, {"x": x})
    # Each weight is off by half a step at most, and so is each channel's answer in proportion.
    steps = np.abs(kernel).max(axis=(1, 2)) / 127
    bound = steps / 2 * np.abs(np.lib.stride_tricks.sliding_window_view(x, 3, axis=2)).sum(axis=(1, 3)).max()
    assert (np.abs(found - expected).max(axis=(0, 2)) <= (bound + 1e-5 if channels > 1 else 0)).all()
