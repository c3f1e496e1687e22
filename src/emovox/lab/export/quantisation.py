"""Quantisation of a model to 8 bits, and the difference of its probabilities from those of the original."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from emovox.model.file import Model
from emovox.types import Float32Array


class Difference(NamedTuple):
    """Differences between the probabilities of two models.

    Attributes
    ----------
    largest, mean : float
        Largest and mean absolute difference of a probability.
    """

    largest: float
    mean: float


def difference(first: Model, second: Model, clips: Sequence[Float32Array]) -> Difference:
    """Compare the probabilities of two models of samples on some clips.

    Parameters
    ----------
    first, second : Model
        For example a model in float32 and its quantised form.
    clips : sequence of ndarray of float32, shape (t,)
        Preprocessed samples.

    Returns
    -------
    Difference
    """
    apart = np.stack(
        [np.abs(first.run(one[np.newaxis]).probabilities - second.run(one[np.newaxis]).probabilities) for one in clips]
    )
    return Difference(float(apart.max()), float(apart.mean()))


def quantise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise matrices to 8 bits, with one scale per column; activations are quantised dynamically.

    Kernels of convolutions over several channels are stored in 8 bits and computed in float32.  The spectrum and
    classical estimators are not quantised.

    Parameters
    ----------
    graph : ModelProto
        A finished model.

    Returns
    -------
    ModelProto
        A new graph, about a quarter of the size, with the same card.
    """
    marked = onnx.ModelProto()
    marked.CopyFrom(graph)
    # The quantiser warns unless a preprocessing step was run, which has no effect here; this mark suppresses the
    # warning.
    helper.set_model_props(marked, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_dynamic(marked, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        result = onnx.load_model(path)
    helper.set_model_props(result, {entry.key: entry.value for entry in graph.metadata_props})
    return packed(unsigned(result))


def unsigned(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Convert matrices of signed bytes to unsigned ones with a shifted zero point, which gives the same product.

    Processors without VNNI add two products of an unsigned and a signed byte in 16 bits, which may overflow; sums of
    products of unsigned bytes are exact.

    Parameters
    ----------
    graph : ModelProto
        A quantised model; modified in place.

    Returns
    -------
    ModelProto
        The same object.

    Source
    ------
    ONNX Runtime, Quantize ONNX models, "When and why do I need to try U8U8?".
    """
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type == "MatMulInteger"]
    for name in {node.input[place] for node in products for place in (1, 3)}:
        values = numpy_helper.to_array(stored[name])
        if values.dtype == np.int8:
            moved = (values.astype(np.int16) + 128).astype(np.uint8)
            stored[name].CopyFrom(numpy_helper.from_array(moved, name))
    return graph


def packed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Store the kernels of convolutions over several channels as bytes, with one scale per output channel.

    Parameters
    ----------
    graph : ModelProto
        A finished model; modified in place.

    Returns
    -------
    ModelProto
        The same object.
    """
    body = graph.graph
    stored = {tensor.name: tensor for tensor in body.initializer}
    names = {node.input[1] for node in body.node if node.op_type == "Conv"} & stored.keys()
    for name in sorted(names):
        values = numpy_helper.to_array(stored[name])
        if values.shape[1] == 1:  # a filter bank, part of the spectrum
            continue
        scale = np.abs(values).reshape(len(values), -1).max(axis=1) / np.float32(127)
        scale[scale == 0] = 1
        whole = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        stored[name].CopyFrom(numpy_helper.from_array(whole, f"{name}_packed"))
        body.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        parts = [f"{name}_packed", f"{name}_scale"]
        body.node.insert(0, helper.make_node("DequantizeLinear", parts, [name], name=f"{name}_unpack", axis=0))
    return graph
