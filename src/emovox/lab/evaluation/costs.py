"""Costs of a model graph: number of parameters, file size, time of the graph alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from emovox.features import sets
from emovox.model.file import Model
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform

#: Length of the timed clip in seconds, and number of runs.
SECONDS, TIMES = 3.0, 21


def costs(model: Model, path: Path) -> dict[str, Any]:
    """Measure parameters, size and time of a model graph.

    Parameters
    ----------
    model : Model
        Read from `path`.
    path : Path
        The file.

    Returns
    -------
    dict
        ``parameters`` in the graph, trained and pretrained; ``bytes``, size of the file; ``graph_ms``, median time of
        the graph alone for a clip of 3 s, on one thread of this machine, in milliseconds.
    """
    given = example(model)
    times = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        model.run(given)
        times.append(time.perf_counter() - begin)
    return {
        "parameters": parameters(onnx.load_model(path)),
        "bytes": path.stat().st_size,
        "graph_ms": round(1000 * float(np.median(times)), 3),
    }


def parameters(graph: onnx.ModelProto) -> int:
    """Count the parameters of a graph: floating-point and quantised constants.

    Examples
    --------
    >>> weight = onnx.numpy_helper.from_array(np.zeros((3, 2), dtype=np.float32), "weight")
    >>> parameters(onnx.helper.make_model(onnx.helper.make_graph([], "demo", [], [], [weight])))
    6
    """
    integers = (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    stored = [one for one in graph.graph.initializer if one.data_type not in integers]
    lists = [len(attribute.floats) for node in graph.graph.node for attribute in node.attribute]
    constants = [
        int(np.prod(attribute.t.dims))
        for node in graph.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.t.dims and attribute.t.data_type not in integers
    ]
    return int(sum(int(np.prod(one.dims)) for one in stored) + sum(lists) + sum(constants))


def example(model: Model) -> dict[str, Float32Array]:
    """Return the inputs of a model for 3 s of amplitude-modulated noise."""
    moment = np.arange(round(SECONDS * RATE)) / RATE
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(moment)) * np.square(np.sin(2 * np.pi * moment))
    waveform = Waveform(noise.astype(np.float32))
    return {name: _features(waveform, spec)[np.newaxis] for name, spec in model.inputs.items()}


def _features(waveform: Waveform, spec: FeatureSpec) -> Float32Array:
    return sets.extract(waveform, spec)
