"""Conversion of PyTorch modules and scikit-learn estimators to ONNX graphs, with a reference for parity checks."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, version_converter

from emovox.lab.encoders import embeddings
from emovox.model.file import EMBEDDING, INPUT, OUTPUT, SAMPLES
from emovox.types import RATE, FeatureSpec, Float32Array

OPSET = {"": 18, "ai.onnx.ml": 3}

#: Inputs or outputs of a graph by name.
Arrays = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """An ONNX graph, and a reference implementation to compare it with.

    Attributes
    ----------
    model : ModelProto
        With the output ``probabilities``, shape (n, n_classes), and, of a graph with an encoder, ``embedding``.
    reference : callable
        Function from the inputs of the graph to its outputs, both by name.
    temperature : float
        Temperature to apply to the probabilities, see `emovox.model.file.temper`.
    origin : str
        Name of the reference in messages.
    """

    model: onnx.ModelProto
    reference: Callable[[Arrays], Arrays]
    temperature: float = 1.0
    origin: str = "the estimator"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(one.name for one in self.model.graph.input)

    def behind(self, spec: FeatureSpec) -> Graph:
        """Prepend the encoder of its features, if they are computed by one."""
        if "weights" not in spec.parameters:
            return self
        encoder = embeddings.embedder(spec.set, **spec.parameters)
        front = trace(encoder, (noise(2, 1.0),), [SAMPLES], [EMBEDDING])

        def reference(given: Arrays) -> Arrays:
            with torch.inference_mode():
                embedding = encoder(torch.from_numpy(given[SAMPLES])).numpy()
            return {EMBEDDING: embedding, **self.reference({**given, INPUT: embedding})}

        return Graph(joined(front, self.model), reference, self.temperature, "its origin")

    def answering(self) -> onnx.ModelProto:
        """Return a copy with the probabilities as the only output."""
        graph = onnx.ModelProto()
        graph.CopyFrom(self.model)
        kept = [one for one in graph.graph.output if one.name == OUTPUT]
        del graph.graph.output[:]
        graph.graph.output.extend(kept)
        return graph


def noise(count: int, seconds: float) -> Float32Array:
    """Return clips of noise, amplitude-modulated at 4 Hz, shape (count, n_samples)."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(count).normal(scale=0.1, size=(count, len(time)))
    return np.asarray(
        noise * np.square(np.sin(2 * np.pi * 2 * time + np.arange(count)[:, np.newaxis])), dtype=np.float32
    )


def traced(
    module: torch.nn.Module, inputs: tuple[Float32Array, ...], names: list[str], outputs: list[str], origin: str
) -> Graph:
    """Convert a PyTorch module, which is also the reference; arguments as for :func:`trace`."""
    module = module.cpu().eval()

    def reference(given: Arrays) -> Arrays:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(np.asarray(given[name], dtype=np.float32)) for name in names))
        each = (found,) if torch.is_tensor(found) else found
        return {name: one.numpy() for name, one in zip(outputs, each, strict=True)}

    return Graph(trace(module, inputs, names, outputs), reference, origin=origin)


def trace(
    module: torch.nn.Module, inputs: tuple[Float32Array, ...], names: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """Export a PyTorch module with dynamic numbers of clips, samples and frames.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    inputs : tuple of ndarray of float32
        Example inputs of two clips each.
    names, outputs : list of str
        Names of the inputs and outputs.
    """
    axes = {name: {0: "n"} for name in (*names, *outputs)}
    for name, one in zip(names, inputs, strict=True):
        if name == SAMPLES or one.ndim == 3:
            axes[name][1] = "t"
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(one) for one in inputs),
            buffer,  # type: ignore[arg-type]  # a file object is accepted too
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET[""],
            # The older exporter is exact, fifty times faster, and does not need onnxscript.
            dynamo=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def converted(steps: Sequence[tuple[str, Any]], n_features: int, reference: Callable[[Arrays], Arrays]) -> Graph:
    """Convert fitted steps of scikit-learn, the last of them a classifier, to a graph of probabilities.

    Parameters
    ----------
    steps : sequence of (str, estimator)
        As for `sklearn.pipeline.Pipeline`.
    n_features : int
        Width of the input ``features``.
    reference : callable
        See `Graph`.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.pipeline import Pipeline

    classifier = steps[-1][1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the converter
        graph: onnx.ModelProto = convert_sklearn(
            Pipeline(list(steps)),
            initial_types=[(INPUT, FloatTensorType([None, n_features]))],
            options={id(classifier): {"zipmap": False}},
            target_opset=OPSET,
        )
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(classifier.classes_)])
    del graph.graph.output[:]
    graph.graph.output.append(answer)
    return Graph(graph, reference)


def joined(front: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Append a head to an encoder; the embedding remains an output."""
    described = onnx.ValueInfoProto()
    described.CopyFrom(front.graph.output[0])
    # skl2onnx declares the oldest operator set that would do.
    front, head = (version_converter.convert_version(one, OPSET[""]) if _old(one) else one for one in (front, head))
    front.ir_version = head.ir_version = max(front.ir_version, head.ir_version)
    head = compose.add_prefix(head, "head_", rename_inputs=False, rename_outputs=False)
    graph = compose.merge_models(front, head, io_map=[(EMBEDDING, INPUT)])
    # Each part lists its operator sets; onnxruntime requires each of them once.
    versions: dict[str, int] = {}
    for one in graph.opset_import:
        versions[one.domain] = max(one.version, versions.get(one.domain, 0))
    del graph.opset_import[:]
    graph.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    onnx.checker.check_model(graph)
    graph.graph.output.append(described)
    return graph


def _old(graph: onnx.ModelProto) -> bool:
    return any(one.domain == "" and one.version != OPSET[""] for one in graph.opset_import)


def rename(graph: onnx.ModelProto, old: str, new: str) -> None:
    """Rename an edge of a graph in place."""
    body = graph.graph
    for node in body.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*body.input, *body.output):
        if value.name == old:
            value.name = new
