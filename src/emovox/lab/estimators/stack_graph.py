"""Merge the graphs of the members of a stack, and of its combiner, into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import compose, helper, version_converter

from emovox.lab.estimators.graphs import OPSET, Graph
from emovox.model.file import OUTPUT


def merged(sets: Sequence[Mapping[str, Graph]], combiner: Graph | None) -> onnx.ModelProto:
    """Merge graphs.

    Parameters
    ----------
    sets : sequence of mapping of str to Graph
        Sets of members, with one graph per member, one input and the output ``probabilities``.  In the result, inputs
        are prefixed with the name of the member and shared by all sets: ``cnn.features``, for example.
    combiner : Graph or None
        Graph from ``features``, the concatenated probabilities of a set, to ``probabilities``; None averages them.

    Returns
    -------
    ModelProto
        With one input per member, and the output ``probabilities``, the mean over the sets.
    """
    whole, nodes, inputs, answers = [], [], {}, []
    for number, graphs in enumerate(sets):
        for name, graph in graphs.items():
            member = _prefixed(graph, f"{name}.", f"{number}.")
            inputs[name] = member.graph.input[0]
            whole.append(member)
            nodes += member.graph.node
        said = [f"{number}.{name}.{OUTPUT}" for name in graphs]
        if combiner is None:
            nodes.append(helper.make_node("Mean", said, [f"{number}.{OUTPUT}"]))
        else:
            head = _prefixed(combiner, f"{number}.combiner.")
            nodes += [helper.make_node("Concat", said, [head.graph.input[0].name], axis=1), *head.graph.node]
            nodes.append(helper.make_node("Identity", [f"{number}.combiner.{OUTPUT}"], [f"{number}.{OUTPUT}"]))
            whole.append(head)
        answers.append(f"{number}.{OUTPUT}")
    nodes.append(helper.make_node("Mean", answers, [OUTPUT]))
    classes = whole[-1].graph.output[0].type.tensor_type.shape.dim[1].dim_value
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


def _prefixed(graph: Graph, prefix: str, inside: str = "") -> onnx.ModelProto:
    """Prefix all names of a graph, and all names except those of inputs with another prefix."""
    # skl2onnx declares the oldest operator set that would do.
    named = compose.add_prefix(version_converter.convert_version(graph.answering(), OPSET[""]), prefix)
    return compose.add_prefix(named, inside, rename_inputs=False) if inside else named
