"""Writing a model: a fitted pipeline to one ONNX file with scaler, calibration and card inside."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, version_converter
from sklearn.pipeline import Pipeline

from emovox.decision import TINY, temper
from emovox.errors import ModelError
from emovox.features import sets
from emovox.lab.encoders import embeddings
from emovox.lab.estimators.adaptive import AdaptiveClassifier
from emovox.lab.estimators.classical import SvmClassifier
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.networks import Ensemble
from emovox.lab.estimators.neural import AnnClassifier
from emovox.lab.estimators.sequence import SequenceClassifier
from emovox.lab.estimators.stacking import StackClassifier
from emovox.lab.export.quantisation import difference, quantise
from emovox.lab.export.stack_graph import check_stack, merged
from emovox.lab.extraction.sequences import Features, Sequences
from emovox.model.card import ModelCard
from emovox.model.file import BASELINE, CARD_KEY, EMBEDDING, INPUT, OUTPUT, SAMPLES, Model
from emovox.types import RATE, FeatureSpec, Float32Array

#: Largest difference between a probability of the file and of the estimator.
TOLERANCE = 1e-5
#: Largest mean difference between the probabilities of a graph and of its quantised form.
INT8_TOLERANCE = 0.02
#: Lengths in seconds at which a graph of samples is compared, besides one drawn at random.
LENGTHS = (0.3, 1.0, 2.37, 6.0)
#: Numbers of frames at which a graph of frames is compared.
FRAMES = (1, 7, 100, 301)
OPSET = {"": 18, "ai.onnx.ml": 3}
#: Learners that are networks of torch.
TORCH = (AnnClassifier, SequenceClassifier)

#: Probabilities, and the embedding where there is one.
Outputs = tuple[NDArray[np.floating], Float32Array | None]
Reference = Callable[[Float32Array, Float32Array | None], Outputs]


def export(
    pipeline: Pipeline,
    card: ModelCard,
    path: Path,
    example: Features,
    *,
    temperature: float = 1.0,
    enrolled_temperature: float = 1.0,
    int8: bool = False,
    clips: Sequence[Float32Array] = (),
) -> Model:
    """Write a fitted pipeline as one ONNX file, and prove that the file computes the same.

    Where the features come from a pretrained encoder, the encoder goes into the file too: it starts from samples, and
    its card says ``samples``.

    Parameters
    ----------
    pipeline : Pipeline
        Standardisation and a fitted learner, as :mod:`emovox.lab.estimators.families` builds them.
    card : ModelCard
        Its label order becomes the order of the graph's output; its features tell what comes before the pipeline.
    path : Path
        Where to write; an existing file is replaced in one step, so no half-written file is ever seen.
    example : ndarray of float32, shape (n, n_features), or Sequences
        Real features for the comparison; n is at least 2.
    temperature : float, default 1.0
        Calibration, see `emovox.decision.temper`.
    enrolled_temperature : float, default 1.0
        Calibration of answers that use a speaker's baseline.
    int8 : bool, default False
        Store an encoder's matrices in 8 bits, see :func:`quantise`.
    clips : sequence of ndarray of float32, shape (t,), optional
        Real preprocessed samples that show what 8 bits change; noise by default.  The card tells the difference in
        ``evaluation["int8"]``.

    Returns
    -------
    Model
        The file, read back.

    Raises
    ------
    ModelError
        The file and the estimator differ by more than :data:`TOLERANCE`, at any batch size or length; or 8 bits
        change the probabilities by more than :data:`INT8_TOLERANCE` on average.
    """
    order = [list(pipeline.classes_).index(label) for label in card.labels]
    if isinstance(learner := _learner(pipeline), AdaptiveClassifier):
        pretrained = embeddings.embedder(card.features.set, **card.features.parameters)
        encoder = learner.embedder_ if isinstance(learner, FinetunedClassifier) else pretrained
        head = learner.graph(encoder, order, (temperature, enrolled_temperature))
        return export_samples(head, card, path, baseline_width=learner.n_features_in_, int8=int8, clips=clips)
    if isinstance(learner, StackClassifier):
        return _export_stack(learner, card, path, order, temperature)
    graph = from_torch(pipeline) if isinstance(learner, TORCH) else _from_sklearn(pipeline)
    finished = finish(graph, order, temperature, card)
    model = Model(finished.SerializeToString(), str(path))
    check_parity(model, pipeline, order, temperature, example)
    if "weights" not in card.features.parameters:
        write(finished, path)
        return model
    encoder = embeddings.embedder(card.features.set, **card.features.parameters)

    def reference(samples: Float32Array, baseline: Float32Array | None) -> Outputs:
        with torch.inference_mode():
            embedding = encoder(torch.from_numpy(samples)).numpy()
        return temper(pipeline.predict_proba(embedding), temperature)[:, order], embedding

    front = trace(encoder, (noise(2, 1.0),), [SAMPLES], [EMBEDDING])
    return _export_samples(joined(front, finished), card, path, reference, int8, clips)


def export_samples(
    module: torch.nn.Module,
    card: ModelCard,
    path: Path,
    *,
    baseline_width: int = 0,
    int8: bool = False,
    clips: Sequence[Float32Array] = (),
) -> Model:
    """Write a network that starts from samples as one ONNX file, and prove that the file computes the same.

    Parameters
    ----------
    module : torch module
        Called with samples, shape (n, t), and the baseline, shape (n, `baseline_width`), where that is not 0.
        Returns calibrated probabilities, shape (n, n_classes), in the order of the card's labels, or a tuple of
        these and the embedding, shape (n, d); a baseline needs an embedding of its width.
    card : ModelCard
        Its features say how the samples are preprocessed; the rest of them is replaced by ``samples``.
    path : Path
        Where to write; an existing file is replaced in one step.
    baseline_width : int, default 0
        Width of the baseline, 0 for a network without one.
    int8 : bool, default False
        Store matrices in 8 bits, see :func:`quantise`.
    clips : sequence of ndarray of float32, shape (t,), optional
        Real preprocessed samples that show what 8 bits change; noise by default.  The card tells the difference in
        ``evaluation["int8"]``.

    Returns
    -------
    Model
        The file, read back.

    Raises
    ------
    ModelError
        The file and the network differ by more than :data:`TOLERANCE`, at any batch size or length; or 8 bits
        change the probabilities by more than :data:`INT8_TOLERANCE` on average.
    """
    module = module.cpu().eval()

    def reference(samples: Float32Array, baseline: Float32Array | None) -> Outputs:
        given = [torch.from_numpy(one) for one in (samples, baseline) if one is not None]
        with torch.inference_mode():
            found = module(*given)
        both = found if isinstance(found, tuple) else (found, None)
        return both[0].numpy(), None if both[1] is None else both[1].numpy()

    samples = noise(2, 1.0)
    baseline = np.zeros((2, baseline_width), dtype=np.float32) if baseline_width else None
    outputs = [OUTPUT] if reference(samples, baseline)[1] is None else [OUTPUT, EMBEDDING]
    given = (samples,) if baseline is None else (samples, baseline)
    graph = trace(module, given, [SAMPLES, BASELINE][: len(given)], outputs)
    return _export_samples(graph, card, path, reference, int8, clips)


def _export_stack(learner: StackClassifier, card: ModelCard, path: Path, order: list[int], temperature: float) -> Model:
    """Write a stack: the graph of each member from what it sees, and that of what weighs their answers."""
    fronts = card.features.parts()
    graphs = [
        {name: _member_graph(pipeline, fronts[name]) for name, pipeline in members.items()} for members in learner.sets_
    ]
    combiner = _answering(_from_sklearn(learner.combiner_), len(order)) if learner.combiner_ else None
    heard = {name: _heard(spec) for name, spec in fronts.items()}
    card = dataclasses.replace(card, features=FeatureSpec.joint(heard))
    graph = finish(merged(graphs, combiner, OPSET[""]), order, temperature, card)
    model = Model(graph.SerializeToString(), str(path))
    clips = {seconds: noise(1, seconds)[0] for seconds in LENGTHS}
    check_stack(model, learner, FeatureSpec.joint(fronts), order, temperature, clips, _require)
    write(graph, path)
    return model


def _heard(spec: FeatureSpec) -> FeatureSpec:
    """Return what a graph sees: samples, where an encoder is a part of it."""
    return sets.samples_spec(spec.preprocess) if "weights" in spec.parameters else spec


def _member_graph(pipeline: Pipeline, spec: FeatureSpec) -> onnx.ModelProto:
    """Return the graph of one member, from features or samples to probabilities."""
    learner = _learner(pipeline)
    if isinstance(learner, AdaptiveClassifier):
        encoder = embeddings.embedder(spec.set, **spec.parameters)
        head = learner.graph(encoder, list(range(len(learner.classes_))), (1.0, 1.0))
        return trace(WithoutBaseline(head, learner.n_features_in_).eval(), (noise(2, 1.0),), [SAMPLES], [OUTPUT])
    graph = from_torch(pipeline) if isinstance(learner, TORCH) else _from_sklearn(pipeline)
    graph = _answering(graph, len(learner.classes_))
    if "weights" in spec.parameters:
        encoder = embeddings.embedder(spec.set, **spec.parameters)
        graph = joined(trace(encoder, (noise(2, 1.0),), [SAMPLES], [EMBEDDING]), graph)
        del graph.graph.output[1:]
    return graph


def _answering(graph: onnx.ModelProto, classes: int) -> onnx.ModelProto:
    """Keep the probabilities of a graph, and no other output."""
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", classes]))
    return graph


class WithoutBaseline(torch.nn.Module):
    """A head that is never told who speaks.

    Parameters
    ----------
    head : Module
        From samples and baseline to probabilities and embedding.
    width : int
        Width of the baseline.
    """

    def __init__(self, head: torch.nn.Module, width: int) -> None:
        super().__init__()
        self.head, self.width = head, width

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Map samples, shape (n, t), to probabilities, shape (n, n_classes)."""
        probabilities: torch.Tensor = self.head(samples, torch.zeros_like(samples[:, :1]).repeat(1, self.width))[0]
        return probabilities


def _export_samples(
    graph: onnx.ModelProto, card: ModelCard, path: Path, reference: Reference, int8: bool, clips: Sequence[Float32Array]
) -> Model:
    """Put the card into a graph of samples, compare it with `reference`, and write it."""
    card = dataclasses.replace(card, features=sets.samples_spec(card.features.preprocess))
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card.to_dict())})
    model = Model(graph.SerializeToString(), str(path))
    check_samples_parity(model, reference)
    if int8:
        graph, model = smaller(graph, model, path, clips)
    write(graph, path)
    return model


def smaller(
    graph: onnx.ModelProto, model: Model, path: Path, clips: Sequence[Float32Array]
) -> tuple[onnx.ModelProto, Model]:
    """Quantise a finished model, unless that changes its answers too much, and tell in its card how much it does."""
    smaller = quantise(graph)
    clips = clips or [noise(1, seconds)[0] for seconds in LENGTHS]
    found = difference(model, Model(smaller.SerializeToString(), str(path)), clips)
    if not found.mean <= INT8_TOLERANCE:
        raise ModelError(
            f"8 bits change a probability by {found.mean:.3f} on average (at most {INT8_TOLERANCE} is allowed): "
            "export without int8"
        )
    told = {"clips": len(clips), **found._asdict()}
    card = dataclasses.replace(model.card, evaluation={**model.card.evaluation, "int8": told})
    helper.set_model_props(smaller, {CARD_KEY: json.dumps(card.to_dict())})
    return smaller, Model(smaller.SerializeToString(), str(path))


def write(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph in one step."""
    partial = path.with_suffix(".part")
    partial.write_bytes(graph.SerializeToString())
    partial.replace(path)


def check_parity(model: Model, pipeline: Pipeline, order: list[int], temperature: float, example: Features) -> None:
    """Compare file and estimator one clip at a time and several at once; an exporter may freeze a dimension silently.

    Clips of frames are compared as they are, and then all at each of the lengths `FRAMES`.
    """
    for batch in _batches(example):
        expected = temper(pipeline.predict_proba(batch), temperature)[:, order]
        try:
            worst = float(np.abs(model.run(batch).probabilities - expected).max())
        except Exception as error:  # onnxruntime refuses a shape with an error of its own
            what = f"{len(batch)} clips" + (f" of {batch.shape[1]} frames" if batch.ndim == 3 else "")
            raise ModelError(f"the exported graph fails on {what} at once: {error}") from error
        _require(worst, "the estimator")


def _batches(example: Features) -> Iterator[Float32Array]:
    """Return the same features in batches of several shapes."""
    if not isinstance(example, Sequences):
        yield from (np.asarray(example[rows]) for rows in (slice(0, 1), slice(0, 2), slice(None)))
        return
    clips = list(example)[:8]
    yield from (clip[np.newaxis] for clip in clips)
    for length in FRAMES:
        yield np.stack([np.resize(clip, (length, clip.shape[1])) for clip in clips])


def check_samples_parity(model: Model, reference: Reference) -> None:
    """Compare a graph of samples with its origin at several lengths, one clip at a time and two at once.

    Parameters
    ----------
    model : Model
        The file.
    reference : callable
        From samples and baseline (None where the model takes none) to probabilities and embedding.

    Raises
    ------
    ModelError
        They differ by more than :data:`TOLERANCE`, or the graph fails at a length or batch size.
    """
    rng = np.random.default_rng(0)
    for seconds in (*LENGTHS, round(rng.uniform(0.3, 6), 3)):
        for count in (1, 2):
            samples = noise(count, seconds)
            width = model.embedding_width
            baseline = rng.normal(size=(count, width)).astype(np.float32) if model.takes_baseline else None
            expected, described = reference(samples, baseline)
            try:
                found = model.run(samples, baseline=baseline)
                worst = float(np.abs(found.probabilities - expected).max())
            except Exception as error:  # onnxruntime refuses a shape with an error of its own
                reason = (str(error).splitlines() or [""])[0][:200]
                raise ModelError(f"the exported graph fails on {count} clips of {seconds} s: {reason}") from error
            _require(worst, f"its origin, on {count} clips of {seconds} s,")
            if found.embedding is not None and described is not None:
                apart = float(np.abs(found.embedding - described).max() / np.abs(described).max())
                _require(apart, "its origin's embedding")


def _require(worst: float, what: str) -> None:
    if not worst <= TOLERANCE:
        raise ModelError(f"the exported graph differs from {what} by {worst:.1e} (at most {TOLERANCE:.0e} is allowed)")


def noise(count: int, seconds: float) -> Float32Array:
    """Make clips of noise that swells and fades as syllables do, shape (count, t)."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(count).normal(scale=0.1, size=(count, len(time)))
    return np.asarray(
        noise * np.square(np.sin(2 * np.pi * 2 * time + np.arange(count)[:, np.newaxis])), dtype=np.float32
    )


def joined(front: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Put a head after an encoder; the embedding between them stays an output."""
    described = onnx.ValueInfoProto()
    described.CopyFrom(front.graph.output[0])
    graph = merge(front, head, [(EMBEDDING, INPUT)])
    graph.graph.output.append(described)
    return graph


def merge(front: onnx.ModelProto, head: onnx.ModelProto, links: list[tuple[str, str]]) -> onnx.ModelProto:
    """Put one graph behind another, outputs of the first linked to inputs of the second."""
    # skl2onnx declares the oldest operator set that would do.
    front, head = (version_converter.convert_version(one, OPSET[""]) if _old(one) else one for one in (front, head))
    front.ir_version = head.ir_version = max(front.ir_version, head.ir_version)
    head = compose.add_prefix(head, "head_", rename_inputs=False, rename_outputs=False)
    graph = compose.merge_models(front, head, io_map=links)
    # Each part names its operator sets; onnxruntime wants each of them named once.
    versions: dict[str, int] = {}
    for one in graph.opset_import:
        versions[one.domain] = max(one.version, versions.get(one.domain, 0))
    del graph.opset_import[:]
    graph.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    onnx.checker.check_model(graph)
    return graph


def _old(graph: onnx.ModelProto) -> bool:
    return any(one.domain == "" and one.version != OPSET[""] for one in graph.opset_import)


def _learner(pipeline: Pipeline) -> Any:
    return pipeline.named_steps["model"]


def from_torch(pipeline: Pipeline) -> onnx.ModelProto:
    """Export scaler and networks as one graph."""
    if isinstance(learner := _learner(pipeline), SequenceClassifier):
        return trace(learner.graph(), (np.zeros((2, 50, learner.n_features_in_), dtype=np.float32),), [INPUT], [OUTPUT])
    scaler = pipeline.named_steps["scale"]
    module = Ensemble(
        torch.as_tensor(scaler.mean_, dtype=torch.float32),
        torch.as_tensor(scaler.scale_, dtype=torch.float32),
        [net.module_.network for net in learner.members_],
    ).eval()
    return trace(module, (np.zeros((2, len(scaler.mean_)), dtype=np.float32),), [INPUT], [OUTPUT])


def trace(
    module: torch.nn.Module, inputs: tuple[Float32Array, ...], names: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """Export a module; the number of clips, of samples and of frames stay free."""
    axes = {name: {0: "n"} for name in (*names, *outputs)}
    for name, one in zip(names, inputs, strict=True):
        if name == SAMPLES or one.ndim == 3:
            axes[name][1] = "t"
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter, not ours to mend
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(one) for one in inputs),
            buffer,  # type: ignore[arg-type]  # a file object is as good as a path here
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET[""],
            # The older exporter: exact, fifty times quicker, and it needs no onnxscript.
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


def finish(graph: onnx.ModelProto, order: list[int], temperature: float, card: ModelCard) -> onnx.ModelProto:
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
