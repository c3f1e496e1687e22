"""Export of a fitted pipeline to one ONNX file with scaler, calibration and card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from emovox.errors import ModelError
from emovox.features import sets
from emovox.lab.estimators.estimator import graph_of, learner
from emovox.lab.estimators.graphs import Arrays, Graph, noise, traced
from emovox.lab.export.optimisation import optimised
from emovox.lab.export.quantisation import difference, quantise
from emovox.lab.extraction.sequences import Features, Inputs, Sequences
from emovox.model.file import (
    AXES,
    BASELINE,
    CARD_KEY,
    INPUT,
    OUTPUT,
    SAMPLES,
    TINY,
    WORDS,
    Model,
    ModelCard,
    baseline_width,
    temper,
)
from emovox.session import open_session, sealed
from emovox.storage import replacing
from emovox.types import JOINT, FeatureSpec, Float32Array, Waveform

#: Largest difference between a probability of the file and of the estimator.
TOLERANCE = 1e-5
#: Largest difference between axes of both, relative to the largest axis.  No softmax squashes them, so the rounding
#: of a whole encoder in 32 bits shows in full.
AXES_TOLERANCE = 1e-4
#: Largest mean difference between the probabilities of a graph and of its quantised form.
INT8_TOLERANCE = 0.02
#: Lengths in seconds for parity checks of graphs of samples, beside a random one.
LENGTHS = (0.3, 1.0, 2.37, 6.0)
#: Numbers of frames for parity checks of graphs of frames.
FRAMES = (1, 7, 100, 301)

#: Inputs of a graph for a parity check, and their description for messages.
Case = tuple[Mapping[str, Any], str]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Reordering and temperature scaling: from the probabilities of an estimator to those of a file.

    Attributes
    ----------
    order : tuple of int
        Index of the class of the estimator for each output.
    temperature, known_temperature, neutral_temperature : float
        Temperatures without and with a baseline of setting or speaker, and with clips of the speaker that are known to
        be neutral, see `emovox.model.file.temper`.
    """

    order: tuple[int, ...]
    temperature: float = 1.0
    known_temperature: float = 1.0
    neutral_temperature: float = 1.0

    def __call__(self, probabilities: NDArray[np.floating], given: Arrays) -> NDArray[np.floating]:
        """Calibrate probabilities, shape (n, n_classes), for given inputs."""
        heat = np.full((len(probabilities), 1), self.temperature)
        if BASELINE in given:
            baseline = given[BASELINE]
            heat[np.abs(baseline).max(axis=1) > 0] = self.known_temperature
            heat[baseline[:, baseline.shape[1] // 2] < 0] = self.neutral_temperature
        found = np.empty_like(probabilities)
        for one in np.unique(heat):
            rows = heat[:, 0] == one
            found[rows] = temper(probabilities[rows], float(one))
        return found[:, list(self.order)]


def export(
    pipeline: Pipeline,
    card: ModelCard,
    path: Path,
    example: Features,
    *,
    temperature: float = 1.0,
    known_temperature: float = 1.0,
    neutral_temperature: float = 1.0,
    int8: bool = False,
    clips: Sequence[Float32Array] = (),
) -> Model:
    """Write a fitted pipeline as one ONNX file, and check that the file gives the same probabilities.

    If the features are computed by a pretrained encoder, the encoder becomes part of the file, whose input are samples.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted pipeline from :mod:`emovox.lab.estimators.families`.
    card : ModelCard
        Card of the model; the order of its labels becomes that of the output.
    path : Path
        Output file; an existing file is replaced atomically.
    example : ndarray of float32, shape (n, n_features), Sequences, or Inputs
        Real features for the parity check; n is at least 2.
    temperature : float, default 1.0
        Temperature of the calibration, see `emovox.model.file.temper`.
    known_temperature : float, default 1.0
        Temperature with a baseline of setting or speaker.
    neutral_temperature : float, default 1.0
        Temperature where the clips of the speaker are known to be neutral.
    int8 : bool, default False
        Quantise the encoder to 8 bits, see :func:`quantise`.
    clips : sequence of ndarray of float32, shape (t,), optional
        Real preprocessed samples to measure the effect of quantisation; noise by default.  The card records it in
        ``evaluation["int8"]``.

    Returns
    -------
    Model
        The written model, loaded.

    Raises
    ------
    ModelError
        The file and the estimator differ by more than :data:`TOLERANCE`, at any batch size or length; or
        quantisation changes the probabilities by more than :data:`INT8_TOLERANCE` on average.
    """
    model = learner(pipeline)
    order = tuple(list(pipeline.classes_).index(label) for label in card.labels)
    graph = graph_of(pipeline, card.features)
    heats = (one * graph.temperature for one in (temperature, known_temperature, neutral_temperature))
    calibration = Calibration(order, *heats)
    if card.text:
        card = dataclasses.replace(card, text={**card.text, **model.card_text(temperature)})
    return _write(graph, calibration, card, path, example, int8, clips)


def export_samples(
    module: torch.nn.Module,
    card: ModelCard,
    path: Path,
    *,
    axes: int = 0,
    int8: bool = False,
    clips: Sequence[Float32Array] = (),
) -> Model:
    """Write a network with samples as input as one ONNX file, and check that the file gives the same probabilities.

    Parameters
    ----------
    module : torch module
        Called with samples, shape (n, t), and, where there are axes, with the baseline, see `Model`.
        Returns calibrated probabilities, shape (n, n_classes), in the order of the card's labels, or a tuple of
        these and the axes, shape (n, `axes`).
    card : ModelCard
        Card of the model; of its features the preprocessing is kept, and the set is replaced by ``samples``.
    path : Path
        Output file; an existing file is replaced atomically.
    axes : int, default 0
        Number of axes of a network with a baseline.
    int8 : bool, default False
        Quantise to 8 bits, see :func:`quantise`.
    clips : sequence of ndarray of float32, shape (t,), optional
        Real preprocessed samples to measure the effect of quantisation; noise by default.  The card records it in
        ``evaluation["int8"]``.

    Returns
    -------
    Model
        The written model, loaded.

    Raises
    ------
    ModelError
        The file and the network differ by more than :data:`TOLERANCE`, at any batch size or length; or
        quantisation changes the probabilities by more than :data:`INT8_TOLERANCE` on average.
    """
    inputs, names = [noise(2, 1.0)], [SAMPLES]
    if axes:
        inputs, names = [*inputs, np.zeros((2, baseline_width(axes)), dtype=np.float32)], [*names, BASELINE]
    graph = traced(module.cpu().eval(), tuple(inputs), names, [OUTPUT, AXES][: 1 + bool(axes)], "its origin")
    return _write(graph, None, card, path, np.empty((0, 0), dtype=np.float32), int8, clips)


def _write(
    graph: Graph,
    calibration: Calibration | None,
    card: ModelCard,
    path: Path,
    example: Features,
    int8: bool,
    clips: Sequence[Float32Array],
) -> Model:
    """Add calibration and card to a graph, check parity, and write it."""
    fronts = card.features.parts()
    taken = sets.samples_spec(card.features.preprocess) if SAMPLES in graph.inputs else _taken(card.features)
    card = dataclasses.replace(card, features=taken)
    finished = finish(graph.model, calibration) if calibration else graph.model
    helper.set_model_props(finished, {CARD_KEY: json.dumps(card.to_dict())})
    model = Model(finished.SerializeToString(), str(path))
    check_parity(finished, graph, calibration, _cases(graph, example, fronts))
    if int8 and SAMPLES in graph.inputs:
        finished, model = smaller(finished, model, path, clips)
    content = sealed(optimised(finished).SerializeToString())
    model = Model(content, str(path))
    with replacing(path) as part:
        part.write_bytes(content)
    return model


def _taken(spec: FeatureSpec) -> FeatureSpec:
    """Return the specification of the input of a graph: samples if an encoder is part of the graph."""
    if spec.set == JOINT:
        return FeatureSpec.joint({name: _taken(part) for name, part in spec.parts().items()})
    return sets.samples_spec(spec.preprocess) if "weights" in spec.parameters else spec


def smaller(
    graph: onnx.ModelProto, model: Model, path: Path, clips: Sequence[Float32Array]
) -> tuple[onnx.ModelProto, Model]:
    """Quantise a finished model, unless the probabilities change too much, and record the change in its card."""
    smaller = quantise(graph)
    clips = clips or [noise(1, seconds)[0] for seconds in LENGTHS]
    found = difference(model, Model(smaller.SerializeToString(), str(path)), clips)
    if not found.mean <= INT8_TOLERANCE:
        raise ModelError(
            f"8 bits change a probability by {found.mean:.3f} on average (at most {INT8_TOLERANCE} is allowed): "
            "export without int8"
        )
    change = {"clips": len(clips), **found._asdict()}
    card = dataclasses.replace(model.card, evaluation={**model.card.evaluation, "int8": change})
    helper.set_model_props(smaller, {CARD_KEY: json.dumps(card.to_dict())})
    return smaller, Model(smaller.SerializeToString(), str(path))


def check_parity(
    finished: onnx.ModelProto,
    graph: Graph,
    calibration: Callable[[NDArray[np.floating], Arrays], NDArray[np.floating]] | None,
    cases: Iterator[Case],
) -> None:
    """Compare a graph with its reference at several shapes, because exporters may freeze dimensions silently.

    Parameters
    ----------
    finished : ModelProto
        Graph to be written.
    graph : Graph
        Graph with the reference.
    calibration : callable or None
        Function from probabilities and inputs of the reference to calibrated probabilities; None if they are
        calibrated.
    cases : iterator of (mapping, str)
        Inputs, and their description.

    Raises
    ------
    ModelError
        Probabilities differ by more than :data:`TOLERANCE`, axes by more than :data:`AXES_TOLERANCE`, or the graph
        fails on inputs of that shape.
    """
    session = open_session(finished.SerializeToString())
    names = [one.name for one in session.get_outputs()]
    for given, what in cases:
        expected = dict(graph.reference(given))
        if calibration:
            expected[OUTPUT] = calibration(expected[OUTPUT], given)
        try:
            found = dict(zip(names, session.run(names, dict(given)), strict=True))
            worst = float(np.abs(found[OUTPUT] - expected[OUTPUT]).max())
        except Exception as error:  # onnxruntime refuses a shape with an error of its own
            reason = (str(error).splitlines() or [""])[0][:200]
            raise ModelError(f"the exported graph fails on {what}: {reason}") from error
        _require(worst, f"{graph.origin}, on {what},")
        if AXES in found:
            apart = np.abs(found[AXES] - expected[AXES]).max()
            _require(float(apart / np.abs(expected[AXES]).max()), f"{graph.origin}'s axes", AXES_TOLERANCE)


def _require(worst: float, what: str, allowed: float = TOLERANCE) -> None:
    if not worst <= allowed:
        raise ModelError(f"the exported graph differs from {what} by {worst:.1e} (at most {allowed:.0e} is allowed)")


def _cases(graph: Graph, example: Features, fronts: Mapping[str, FeatureSpec]) -> Iterator[Case]:
    """Yield inputs of several shapes: features, samples of several lengths, or named inputs."""
    if SAMPLES in graph.inputs:
        yield from _heard(graph, example)
    elif INPUT in graph.inputs:
        rng = np.random.default_rng(0)
        for batch in _batches(example):
            what = f"{len(batch[INPUT])} clips" + (f" of {batch[INPUT].shape[1]} frames" * (batch[INPUT].ndim == 3))
            if BASELINE in graph.inputs:
                batch[BASELINE] = _baseline(graph, len(batch[INPUT]), rng)
                yield {**batch, BASELINE: np.zeros_like(batch[BASELINE])}, f"{what} at once, nothing known"
            yield {name: batch[name] for name in graph.inputs}, f"{what} at once"
    else:
        for seconds in LENGTHS:
            waveform, given = Waveform(noise(1, seconds)[0]), {}
            for name, spec in fronts.items():
                taken = _taken(spec)
                one = SAMPLES if taken.set == SAMPLES else INPUT
                given[f"{name}.{one}"] = sets.extract(waveform, taken)[np.newaxis]
            yield given, f"a clip of {seconds} s"


def _heard(graph: Graph, example: Features) -> Iterator[Case]:
    """Yield samples of several lengths, one and two clips, with baselines and words if the graph uses them."""
    rng = np.random.default_rng(0)
    shapes = {one.name: one.type.tensor_type.shape.dim for one in graph.model.graph.input}
    for seconds in (*LENGTHS, round(rng.uniform(0.3, 6), 3)):
        for count in (1, 2):
            given: dict[str, Any] = {SAMPLES: noise(count, seconds)}
            if BASELINE in shapes:
                given[BASELINE] = _baseline(graph, count, rng)
                yield {**given, BASELINE: np.zeros_like(given[BASELINE])}, f"{count} clips of {seconds} s"
            if WORDS in shapes:
                given[WORDS] = example[:count].parts[WORDS]  # type: ignore[union-attr]  # a fusion has named inputs
            yield given, f"{count} clips of {seconds} s"


def _baseline(graph: Graph, count: int, rng: np.random.Generator) -> Float32Array:
    """Return random baselines: counts and variances are not negative."""
    (shape,) = (one.type.tensor_type.shape.dim for one in graph.model.graph.input if one.name == BASELINE)
    baseline = np.abs(rng.normal(size=(count, shape[1].dim_value))) * rng.choice([0.1, 10])
    return np.asarray(baseline, dtype=np.float32)


def _batches(example: Features) -> Iterator[dict[str, Float32Array]]:
    """Yield features in batches of several shapes; sequences one by one, then at equal lengths."""
    if not isinstance(example, Sequences):
        for rows in (slice(0, 1), slice(0, 2), slice(None)):
            some = example[rows]
            yield dict(some.parts) if isinstance(some, Inputs) else {INPUT: np.asarray(some)}
        return
    clips = list(example)[:8]
    yield from ({INPUT: clip[np.newaxis]} for clip in clips)
    for length in FRAMES:
        yield {INPUT: np.stack([np.resize(clip, (length, clip.shape[1])) for clip in clips])}


def finish(graph: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Append reordering and calibration to the probabilities of a graph."""
    finished = onnx.ModelProto()
    finished.CopyFrom(graph)
    body = finished.graph
    for node in body.node:  # free the public name for the finished output
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == OUTPUT:
                    names[index] = "raw_probabilities"
    taken = {one.name: one for one in body.input}
    constants: dict[str, NDArray[Any]] = {
        "order": np.array(calibration.order, dtype=np.int64),
        "tiny": np.array(TINY, dtype=np.float32),
        "temperature": np.array(calibration.temperature, dtype=np.float32),
    }
    temperature = "temperature"
    several = {calibration.temperature, calibration.known_temperature, calibration.neutral_temperature}
    if BASELINE in taken and len(several) > 1:
        temperature = "temperature_of_each"
        width = taken[BASELINE].type.tensor_type.shape.dim[1].dim_value
        constants |= {
            "known_temperature": np.array(calibration.known_temperature, dtype=np.float32),
            "neutral_temperature": np.array(calibration.neutral_temperature, dtype=np.float32),
            "nothing": np.array(0, dtype=np.float32),
            "last_axis": np.array([1], dtype=np.int64),
            "speaker_place": np.array([width // 2], dtype=np.int64),
        }
        body.node.extend(_heats(temperature))
    body.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    body.node.extend(
        [
            helper.make_node("Gather", ["raw_probabilities", "order"], ["in_order"], axis=1),
            helper.make_node("Max", ["in_order", "tiny"], ["positive"]),
            helper.make_node("Log", ["positive"], ["log_probabilities"]),
            helper.make_node("Div", ["log_probabilities", temperature], ["tempered"]),
            helper.make_node("Softmax", ["tempered"], [OUTPUT], axis=1),
        ]
    )
    others = [one for one in body.output if one.name != OUTPUT]
    del body.output[:]
    body.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(calibration.order)]))
    body.output.extend(others)
    del body.value_info[:]
    onnx.checker.check_model(finished)
    return finished


def _heats(output: str) -> list[onnx.NodeProto]:
    """Return the nodes that choose a temperature for each row by what its baseline says."""
    return [
        helper.make_node("Abs", [BASELINE], ["baseline_sizes"]),
        helper.make_node("ReduceMax", ["baseline_sizes", "last_axis"], ["baseline_size"], keepdims=1),
        helper.make_node("Greater", ["baseline_size", "nothing"], ["something_known"]),
        helper.make_node("Where", ["something_known", "known_temperature", "temperature"], ["usual_temperature"]),
        helper.make_node("Gather", [BASELINE, "speaker_place"], ["speaker_count"], axis=1),
        helper.make_node("Less", ["speaker_count", "nothing"], ["said_neutral"]),
        helper.make_node("Where", ["said_neutral", "neutral_temperature", "usual_temperature"], [output]),
    ]
