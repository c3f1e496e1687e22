"""Writing a model of voice and words: the acoustic graph, and behind it the words, in one file."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from emovox.decision import TINY, temper
from emovox.errors import ModelError
from emovox.features import sets
from emovox.lab.encoders import embeddings
from emovox.lab.estimators.fusion import WIDTH, FeatureFusionClassifier, LateFusionClassifier
from emovox.lab.export import export as plain
from emovox.labels import COMMON
from emovox.model.card import ModelCard
from emovox.model.file import CARD_KEY, EMBEDDING, INPUT, OUTPUT, SAMPLES, WEIGHT, WORDS, Model
from emovox.text.evidence import NAMES
from emovox.text.fusion import (
    CLEAR,
    EMOTIONS,
    HALF_LENGTH,
    LEAST,
    MOVED,
    QUIET,
    Mixture,
    Pool,
    emotion_matrix,
    opinion_matrix,
)
from emovox.types import Float32Array


class PoolHead(nn.Module):
    """A :class:`emovox.text.fusion.Pool` as a torch module.

    Parameters
    ----------
    pool : Pool
        The pool.
    labels : sequence of str
        Order of the probabilities.
    temperature : float
        Calibration of the answer.
    """

    matrix: Tensor
    moved: Tensor

    def __init__(self, pool: Pool, labels: Sequence[str], temperature: float) -> None:
        super().__init__()
        self.pool, self.temperature = pool, temperature
        self.register_buffer("matrix", torch.as_tensor(opinion_matrix(labels), dtype=torch.float32))
        self.register_buffer("moved", torch.as_tensor(MOVED, dtype=torch.float32))

    def forward(self, voice: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Map the voice's probabilities, (n, n_classes), and words, (n, w), to probabilities and the words' weight."""
        likeliest = (words[:, EMOTIONS] * self.moved).amax(dim=1, keepdim=True)
        count = _column(words, "word_count")
        inputs = {
            "confidence": _column(words, "confidence"),
            "length": count / (count + HALF_LENGTH),
            "sentiment": _column(words, "compound").abs(),
            "emotion": likeliest,
        }
        odds = self.pool.bias + torch.zeros_like(count)
        for name, value in self.pool.gate.items():
            odds = odds + value * inputs[name]
        clear = ((likeliest - QUIET) / (CLEAR - QUIET)).clamp(0, 1)
        weight = _column(words, "has_words") * clear * torch.sigmoid(odds)
        return torch.softmax(self.logs(voice, words, weight) / self.temperature, dim=1), weight[:, 0]

    def logs(self, voice: Tensor, words: Tensor, weight: Tensor) -> Tensor:
        """Put the two together, as log-probabilities up to a constant."""
        spread = words[:, EMOTIONS] * self.moved + _column(words, "emotion_neutral") / len(COMMON)
        read = torch.log(spread.clamp(min=LEAST)) @ self.matrix
        return torch.log(voice.clamp(min=TINY)) + weight * self.pool.sharpness * read


class MixtureHead(PoolHead):
    """A :class:`emovox.text.fusion.Mixture` as a torch module; parameters as for :class:`PoolHead`."""

    pool: Mixture
    emotions: Tensor
    neutral: Tensor

    def __init__(self, pool: Mixture, labels: Sequence[str], temperature: float) -> None:
        super().__init__(pool, labels, temperature)
        self.register_buffer("emotions", torch.as_tensor(emotion_matrix(labels), dtype=torch.float32))
        neutral = [float(label == "neutral") for label in labels]
        self.register_buffer("neutral", torch.as_tensor(neutral, dtype=torch.float32))

    def logs(self, voice: Tensor, words: Tensor, weight: Tensor) -> Tensor:
        """Put the two together, as log-probabilities up to a constant."""
        read = torch.softmax(self.pool.sharpness * torch.log(words[:, EMOTIONS].clamp(min=LEAST)), dim=1)
        read = weight * (read @ self.emotions)
        still, moved = voice * self.neutral, voice * (1 - self.neutral)
        said, shown = read.sum(dim=1, keepdim=True), moved.sum(dim=1, keepdim=True)
        agreed = read * (moved + still.sum(dim=1, keepdim=True))
        disputed = (moved * (said - read) + read * (shown - moved)) / 2
        cases = (1 - said) * voice + self.pool.agreement * agreed + self.pool.conflict * disputed
        return torch.log(cases.clamp(min=TINY))


def _column(words: Tensor, name: str) -> Tensor:
    index = NAMES.index(name)
    return words[:, index : index + 1]


def export_fusion(
    pipeline: Pipeline,
    card: ModelCard,
    path: Path,
    example: Float32Array,
    *,
    temperature: float = 1.0,
    int8: bool = False,
    clips: Sequence[Float32Array] = (),
) -> Model:
    """Write a fitted fusion as one ONNX file with the input ``words``, and prove that the file computes the same.

    Parameters
    ----------
    pipeline : Pipeline
        With a fitted learner of :mod:`emovox.lab.estimators.fusion`.
    card : ModelCard
        Its features are those of the voice; its ``text`` names the columns of the words.
    path : Path
        Where to write; an existing file is replaced in one step.
    example : ndarray of float32, shape (n, n_features + len(NAMES))
        Real rows for the comparison; n is at least 2.
    temperature : float, default 1.0
        Calibration, see `emovox.decision.temper`.
    int8, clips
        As for `emovox.lab.export.export.export`.

    Returns
    -------
    Model
        The file, read back.

    Raises
    ------
    ModelError
        The file and the estimator differ, or 8 bits change the answers too much.
    """
    learner = pipeline.named_steps["model"]
    if isinstance(learner, FeatureFusionClassifier):
        return _export_features(learner, card, path, example, temperature, int8, clips)
    return _export_pool(learner, card, path, example, temperature, int8, clips)


def _export_pool(
    learner: LateFusionClassifier,
    card: ModelCard,
    path: Path,
    example: Float32Array,
    temperature: float,
    int8: bool,
    clips: Sequence[Float32Array],
) -> Model:
    """Write the acoustic model, which is compared with its estimator, and put the pool behind it."""
    voice_card = dataclasses.replace(card, text={}, evaluation={})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "voice.onnx"
        voice = plain.export(
            learner.acoustic_,
            voice_card,
            file,
            example[:, :-WIDTH],
            temperature=learner.temperature_,
            enrolled_temperature=learner.temperature_,
            int8=int8,
            clips=clips,
        )
        front = onnx.load_model(file)
    _rename(front, OUTPUT, "voice")
    pool = learner.pool_
    head = (
        MixtureHead(pool, card.labels, temperature)
        if isinstance(pool, Mixture)
        else PoolHead(pool, card.labels, temperature)
    ).eval()
    shown = np.full((2, len(card.labels)), 1 / len(card.labels), dtype=np.float32)
    behind = plain.trace(head, (shown, np.zeros((2, WIDTH), dtype=np.float32)), ["heard", WORDS], [OUTPUT, WEIGHT])
    graph = plain.merge(front, behind, [("voice", "heard")])
    told = {**card.evaluation, **voice.card.evaluation}
    # The file's answers without words are tempered already; who puts words beside them needs the pool for that.
    text = {**card.text, "pool": pool.beside(temperature).to_dict()}
    card = dataclasses.replace(card, features=voice.card.features, evaluation=told, text=text)
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card.to_dict())})
    model = Model(graph.SerializeToString(), str(path))
    words = example[:, -WIDTH:]
    given = example[:, :-WIDTH]
    if voice.takes_samples:
        given = np.random.default_rng(0).normal(scale=0.1, size=(len(words), 12000)).astype(np.float32)
    for rows in (slice(0, 1), slice(0, 2), slice(None)):
        heard = voice.run(given[rows]).probabilities
        expected = temper(pool.combine(heard, words[rows], card.labels)[0], temperature)
        _compare(model.run(given[rows], words=words[rows]).probabilities, expected)
    plain.write(graph, path)
    return model


def _export_features(
    learner: FeatureFusionClassifier,
    card: ModelCard,
    path: Path,
    example: Float32Array,
    temperature: float,
    int8: bool,
    clips: Sequence[Float32Array],
) -> Model:
    """Write the network with its input in two parts, behind the encoder where there is one."""
    order = [list(learner.classes_).index(label) for label in card.labels]
    graph = plain.finish(plain.from_torch(learner.pipeline_), order, temperature, card)
    width = example.shape[1] - WIDTH
    _rename(graph, INPUT, "both")
    del graph.graph.input[:]
    graph.graph.input.extend(
        [
            helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", width]),
            helper.make_tensor_value_info(WORDS, TensorProto.FLOAT, ["n", WIDTH]),
        ]
    )
    graph.graph.node.insert(0, helper.make_node("Concat", [INPUT, WORDS], ["both"], axis=1))
    encoder = None
    if "weights" in card.features.parameters:
        encoder = embeddings.embedder(card.features.set, **card.features.parameters)
        sound = plain.noise(2, 1.0)
        graph = plain.joined(plain.trace(encoder, (sound,), [SAMPLES], [EMBEDDING]), graph)
        card = dataclasses.replace(card, features=sets.samples_spec(card.features.preprocess))
        helper.set_model_props(graph, {CARD_KEY: json.dumps(card.to_dict())})
    model = Model(graph.SerializeToString(), str(path))
    for rows in (slice(0, 1), slice(0, 2), slice(None)):
        given, words = example[rows, :-WIDTH], example[rows, -WIDTH:]
        acoustic = given
        if encoder is not None:
            given = plain.noise(len(words), 0.7)
            with torch.inference_mode():
                acoustic = encoder(torch.from_numpy(given)).numpy()
        expected = temper(learner.predict_proba(np.hstack([acoustic, words])), temperature)[:, order]
        _compare(model.run(given, words=words).probabilities, expected)
    if int8:
        graph, model = plain.smaller(graph, model, path, clips)
    plain.write(graph, path)
    return model


def _compare(found: Float32Array, expected: NDArray[np.floating]) -> None:
    worst = float(np.abs(found - expected).max())
    if not worst <= plain.TOLERANCE:
        raise ModelError(f"the exported graph differs from the estimator by {worst:.1e} where there are words")


def _rename(graph: onnx.ModelProto, old: str, new: str) -> None:
    """Give an edge of a graph another name."""
    body = graph.graph
    for node in body.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*body.input, *body.output):
        if value.name == old:
            value.name = new
