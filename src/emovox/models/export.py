"""Writing a model: a fitted pipeline to one ONNX file with scaler, calibration and card inside."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from emovox.decision import TINY, temper
from emovox.errors import ModelError
from emovox.models.artifact import CARD_KEY, INPUT, OUTPUT, Model
from emovox.models.classical import SvmClassifier
from emovox.models.networks import Ensemble
from emovox.models.neural import AnnClassifier
from emovox.types import ModelCard

#: Largest difference between a probability of the file and of the estimator.
TOLERANCE = 1e-5
OPSET = {"": 18, "ai.onnx.ml": 3}

Float = NDArray[np.float32]


def export(pipeline: Pipeline, card: ModelCard, path: Path, example: Float, *, temperature: float = 1.0) -> Model:
    """Write a fitted pipeline as one ONNX file, and prove that the file computes the same.

    Parameters
    ----------
    pipeline : Pipeline
        Standardisation and a fitted learner, as :mod:`emovox.models.families` builds them.
    card : ModelCard
        Its label order becomes the order of the graph's output.
    path : Path
        Where to write; an existing file is replaced in one step, so no half-written file is ever seen.
    example : ndarray of float32, shape (n, n_features)
        Real feature vectors for the comparison; n is at least 2.
    temperature : float, default 1.0
        Calibration, see `emovox.decision.temper`.

    Returns
    -------
    Model
        The file, read back.

    Raises
    ------
    ModelError
        The file and the estimator differ by more than :data:`TOLERANCE`, at any batch size.
    """
    graph = _from_torch(pipeline) if isinstance(_learner(pipeline), AnnClassifier) else _from_sklearn(pipeline)
    order = [list(pipeline.classes_).index(label) for label in card.labels]
    finished = _finish(graph, order, temperature, card)
    content = finished.SerializeToString()
    model = Model(content, str(path))
    check_parity(model, pipeline, order, temperature, example)
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)
    return model


def check_parity(model: Model, pipeline: Pipeline, order: list[int], temperature: float, example: Float) -> None:
    """Compare file and estimator one clip at a time and all at once; an exporter may freeze a dimension silently."""
    expected = temper(pipeline.predict_proba(example), temperature)[:, order]
    for rows in (slice(0, 1), slice(0, 2), slice(None)):
        try:
            worst = float(np.abs(model.probabilities(example[rows]) - expected[rows]).max())
        except Exception as error:  # onnxruntime refuses the batch size with an error of its own
            raise ModelError(f"the exported graph fails on {len(example[rows])} clips at once: {error}") from error
        if not worst <= TOLERANCE:
            raise ModelError(
                f"the exported graph differs from the estimator by {worst:.1e} (at most {TOLERANCE:.0e} is allowed)"
            )


def _learner(pipeline: Pipeline) -> Any:
    return pipeline.named_steps["model"]


def _from_torch(pipeline: Pipeline) -> onnx.ModelProto:
    """Export scaler and networks as one graph."""
    scaler = pipeline.named_steps["scale"]
    module = Ensemble(
        torch.as_tensor(scaler.mean_, dtype=torch.float32),
        torch.as_tensor(scaler.scale_, dtype=torch.float32),
        [net.module_.network for net in _learner(pipeline).members_],
    ).eval()
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter, not ours to mend
        torch.onnx.export(
            module,
            (torch.zeros(2, len(scaler.mean_)),),
            buffer,  # type: ignore[arg-type]  # a file object is as good as a path here
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            opset_version=OPSET[""],
            # The older exporter: exact for feed-forward nets, fifty times quicker, and it needs no onnxscript.
            dynamo=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def _from_sklearn(pipeline: Pipeline) -> onnx.ModelProto:
    """Convert scaler and learner, and keep the probabilities only."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    learner = _learner(pipeline)
    if isinstance(learner, SvmClassifier):
        learner = learner.calibrated_
    bare = Pipeline([("scale", pipeline.named_steps["scale"]), ("model", learner)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the converter, not ours to mend
        graph: onnx.ModelProto = convert_sklearn(
            bare,
            initial_types=[(INPUT, FloatTensorType([None, pipeline.n_features_in_]))],
            options={id(learner): {"zipmap": False}},
            target_opset=OPSET,
        )
    return graph


def _finish(graph: onnx.ModelProto, order: list[int], temperature: float, card: ModelCard) -> onnx.ModelProto:
    """Append label order and calibration, name the output, put the card inside."""
    body = graph.graph
    raw = next(output.name for output in body.output if output.name in (OUTPUT, "probabilities"))
    for node in body.node:  # free the public name for the finished output
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == raw:
                    names[index] = "raw_probabilities"
    constants: dict[str, NDArray[Any]] = {
        "order": np.array(order, dtype=np.int64),
        "tiny": np.array(TINY, dtype=np.float32),
        "temperature": np.array(temperature, dtype=np.float32),
    }
    body.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    body.node.extend(
        [
            helper.make_node("Gather", ["raw_probabilities", "order"], ["in_order"], axis=1),
            helper.make_node("Max", ["in_order", "tiny"], ["positive"]),
            helper.make_node("Log", ["positive"], ["log_probabilities"]),
            helper.make_node("Div", ["log_probabilities", "temperature"], ["tempered"]),
            helper.make_node("Softmax", ["tempered"], [OUTPUT], axis=1),
        ]
    )
    del body.output[:]
    body.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(order)]))
    del body.value_info[:]
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card.to_dict())})
    onnx.checker.check_model(graph)
    return graph
