"""Putting the graphs of a stack's members, and of what weighs their answers, into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import compose, helper, version_converter

from emovox.decision import temper
from emovox.features import sets
from emovox.models.artifact import INPUT, OUTPUT, Model
from emovox.models.stacking import StackClassifier
from emovox.sequences import Joint
from emovox.types import FeatureSpec, Float, Waveform


def merged(graphs: Mapping[str, onnx.ModelProto], combiner: onnx.ModelProto | None, opset: int) -> onnx.ModelProto:
    """Put graphs side by side.

    Parameters
    ----------
    graphs : mapping of str to ModelProto
        One a member, with one input and the output ``probabilities``.  In the result, the name of a member stands
        before all of its names: its input is ``cnn.features``, for example.
    combiner : ModelProto or None
        From ``features``, the members' probabilities side by side, to ``probabilities``; None takes their mean.
    opset : int
        Operator set of the result.

    Returns
    -------
    ModelProto
        With an input a member, and the output ``probabilities``.
    """
    members = {name: _prefixed(graph, f"{name}.", opset) for name, graph in graphs.items()}
    answers = [f"{name}.{OUTPUT}" for name in members]
    whole = list(members.values())
    nodes = [node for part in whole for node in part.graph.node]
    if combiner is None:
        classes = whole[0].graph.output[0].type.tensor_type.shape.dim[1].dim_value
        nodes.append(helper.make_node("Mean", answers, [OUTPUT]))
    else:
        head = _prefixed(combiner, "combiner.", opset, outputs=False)
        classes = head.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        nodes += [helper.make_node("Concat", answers, [f"combiner.{INPUT}"], axis=1), *head.graph.node]
        whole.append(head)
    graph = helper.make_graph(
        nodes,
        "stack",
        [one for part in members.values() for one in part.graph.input],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", classes])],
        [one for part in whole for one in part.graph.initializer],
    )
    versions = {one.domain: one.version for part in whole for one in part.opset_import}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    result = helper.make_model(graph, opset_imports=opsets, ir_version=max(part.ir_version for part in whole))
    onnx.checker.check_model(result)
    return result


def _prefixed(graph: onnx.ModelProto, prefix: str, opset: int, outputs: bool = True) -> onnx.ModelProto:
    """Put a prefix before all names of a graph, its outputs' where asked, in the operator set of the result."""
    # skl2onnx declares the oldest operator set that would do.
    converted = version_converter.convert_version(graph, opset)
    return compose.add_prefix(converted, prefix, rename_outputs=outputs)


def check_stack(
    model: Model,
    learner: StackClassifier,
    front: FeatureSpec,
    order: list[int],
    temperature: float,
    noise: Mapping[float, Float],
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
        found = model.answer(given)
        require(float(np.abs(found - expected).max()), f"the stack, on a clip of {seconds} s,")
