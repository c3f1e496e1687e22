"""A graph simplified when it is written, so that opening it takes less time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx


def optimised(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and drop what is redundant in a graph.

    Only what every runtime understands is left: onnxruntime's level "basic" keeps to standard operators, where the
    levels above it would bind the file to one runtime and one kind of processor.

    Parameters
    ----------
    graph : onnx.ModelProto
        A complete model; it is not changed.

    Returns
    -------
    onnx.ModelProto
        The same inputs, outputs, metadata and numbers.

    Source
    ------
    onnxruntime documentation, Graph Optimizations in ONNX Runtime, Offline mode.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        simpler = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in simpler.graph.node} | {""}
    kept = [entry for entry in simpler.opset_import if entry.domain in used]
    del simpler.opset_import[:]
    simpler.opset_import.extend(kept)
    del simpler.metadata_props[:]
    simpler.metadata_props.extend(graph.metadata_props)
    return simpler
