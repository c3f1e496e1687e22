"""Putting the graphs of a stack's members, and of what weighs their answers, into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import compose, helper, version_converter

from emovox.decision import temper
from emovox.features import sets
from emovox.lab.estimators.stacking import StackClassifier
from emovox.lab.extraction.sequences import Joint
from emovox.model.file import OUTPUT, Model
from emovox.types import FeatureSpec, Float32Array, Waveform


def merged(
    sets: Sequence[Mapping[str, onnx.ModelProto]], combiner: onnx.ModelProto | None, opset: int
) -> onnx.ModelProto:
    """Put graphs side by side.

    Parameters
    ----------
    sets : sequence of mapping of str to ModelProto
        Sets of members, one graph a member in each, with one input and the output ``probabilities``.  In the result,
        the name of a member stands before its input, which all sets share: ``cnn.features``, for example.
    combiner : ModelProto or None
        From ``features``, the probabilities of a set side by side, to ``probabilities``; None takes their mean.
    opset : int
        Operator set of the result.

    Returns
    -------
    ModelProto
        With an input a member, and the output ``probabilities``: the mean of what is made of each set.
    """
    whole, nodes, inputs, answers = [], [], {}, []
    for number, graphs in enumerate(sets):
        for name, graph in graphs.items():
            member = _prefixed(graph, f"{name}.", opset, f"{number}.")
            inputs[name] = member.graph.input[0]
            whole.append(member)
            nodes += member.graph.node
        said = [f"{number}.{name}.{OUTPUT}" for name in graphs]
        if combiner is None:
            nodes.append(helper.make_node("Mean", said, [f"{number}.{OUTPUT}"]))
        else:
            head = _prefixed(combiner, f"{number}.combiner.", opset)
            nodes += [helper.make_node("Concat", said, [head.graph.input[0].name], axis=1), *head.graph.node]
            nodes.append(helper.make_node("Identity", [f"{number}.combiner.{OUTPUT}"], [f"{number}.{OUTPUT}"]))
            whole.append(head)
        answers.append(f"{number}.{OUTPUT}")
    nodes.append(helper.make_node("Mean", answers, [OUTPUT]))
    classes = (combiner or whole[0]).graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph = helper.make_graph(
        nodes,
        "stack",
        list(inputs.values()),
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", classes])],
        [one for part in whole for one in part.graph.initializer],
    )
    versions = {one.domain: one.version for part in whole for one in part.opset_import}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    result = helper.make_model(graph, opset_imports=opsets, ir_version=max(part.ir_version for part in whole))
    onnx.checker.check_model(result)
    return result


def _prefixed(graph: onnx.ModelProto, prefix: str, opset: int, inside: str = "") -> onnx.ModelProto:
    """Put a prefix before all names of a graph, another one before that of all but its inputs."""
    # skl2onnx declares the oldest operator set that would do.
    named = compose.add_prefix(version_converter.convert_version(graph, opset), prefix)
    return compose.add_prefix(named, inside, rename_inputs=False) if inside else named


def check_stack(
    model: Model,
    learner: StackClassifier,
    front: FeatureSpec,
    order: list[int],
    temperature: float,
    noise: Mapping[float, Float32Array],
    require: Callable[[float, str], None],
) -> None:
    """Compare the graph of a stack with its estimator on clips of several lengths, all members from their own features.

    Parameters
    ----------
    model : Model
        The file.
    learner : StackClassifier
        Its origin.
    front : FeatureSpec
        The joint front end that the learner was fitted on.
    order, temperature
        Order and calibration of the file's answers.
    noise : mapping of float to ndarray of float32, shape (t,)
        Clips by their length in seconds.
    require : callable
        Told the largest difference, and from what; raises where it is too large.
    """
    for seconds, samples in noise.items():
        waveform = Waveform(samples)
        given = {name: sets.extract(waveform, spec)[np.newaxis] for name, spec in model.inputs.items()}
        parts = {}
        for name, spec in front.parts().items():
            parts[name] = sets.extract(waveform, spec)[np.newaxis]
        expected = temper(learner.predict_proba(Joint(parts)), temperature)[:, order]
        found = model.run(given).probabilities
        require(float(np.abs(found - expected).max()), f"the stack, on a clip of {seconds} s,")
