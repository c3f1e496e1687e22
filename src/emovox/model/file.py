"""Reading a model: one ONNX file with its card inside, run by onnxruntime alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from emovox.errors import ModelError
from emovox.types import FeatureSpec, Float32Array, ModelCard

#: Key of the card in the file's metadata.
CARD_KEY = "emovox.card"
#: Names of the graph's input and output.
INPUT, OUTPUT = "features", "probabilities"
#: Those of a graph that starts from samples: the input, the optional second one, and the optional second output.
SAMPLES, BASELINE, EMBEDDING = "samples", "baseline", "embedding"
#: The optional input of models that fuse voice and words: rows of `emovox.text.evidence.words_vector`.
WORDS = "words"
#: The optional output of these: how much the words counted, shape (n,).
WEIGHT = "words_weight"
#: Where the models inside the package lie, and the one that is used when none is named.
PRETRAINED = "emovox.pretrained"
DEFAULT = "default"

_Shapes = dict[str, list[Any]]


class Model:
    """A classifier from feature vectors, frames or samples to class probabilities.

    A graph of samples has the input ``samples``, shape (n, t), with both dimensions free, and may have a second output
    ``embedding``, shape (n, d), which describes a voice, and then a second input ``baseline`` of the same shape, which
    says what the speaker's voice is ordinarily like; zeros say that it is not known.  A graph of any kind may have the
    input ``words``, shape (n, w), what is known of the words; zeros say that nothing is.

    Parameters
    ----------
    content : bytes
        An ONNX file as :mod:`emovox.lab.export.export` writes it.  Nothing in it is executed but its graph, and a graph
        given as bytes cannot refer to other files.
    source : str
        Where it came from, for messages.

    Attributes
    ----------
    card : ModelCard
        What the model is.
    inputs : mapping of str to FeatureSpec
        The graph's inputs by name, and the front end of each; a stack has several.
    takes_samples, takes_vectors, takes_baseline : bool
        What the graph's inputs are: samples; one vector a clip; a speaker's baseline besides.
    words_width : int
        Width of the words vector, 0 where the graph takes no words.
    embedding_width : int
        Width of embedding and baseline, 0 where the graph has none.
    fingerprint : str
        SHA-256 of the file: tells whether a baseline was made with this very model.

    Raises
    ------
    ModelError
        Not an ONNX file, no card inside, or a graph that does not fit its card.
    """

    def __init__(self, content: bytes, source: str) -> None:
        import onnxruntime  # 0.1 s of import that `emovox --help` need not pay

        options = onnxruntime.SessionOptions()
        # The nets are small: one thread is fastest, and many recordings at once do not fight for cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen kinds, none of them public
            raise ModelError(
                f"{source} is not an ONNX model that can be read ({_first_line(error)}): "
                "give a model.onnx that emovox wrote"
            ) from error
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self.card = _card(self._session.get_modelmeta().custom_metadata_map, source)
        inputs = {node.name: node.shape for node in self._session.get_inputs() if node.type == "tensor(float)"}
        outputs = {node.name: node.shape for node in self._session.get_outputs() if node.type == "tensor(float)"}
        self.takes_samples, self.takes_baseline = SAMPLES in inputs, BASELINE in inputs
        self.takes_vectors = len(inputs.get(INPUT, [])) == 2
        self.inputs = {input_name(name, spec): spec for name, spec in self.card.features.parts().items()}
        words = inputs.pop(WORDS, [0])[-1]
        self.words_width: int = words if isinstance(words, int) else 0
        if self.words_width != len(self.card.text.get("columns", ())):
            raise ModelError(
                f"{source} takes {self.words_width} numbers of the words, but its card names "
                f"{len(self.card.text.get('columns', ()))}: get the model file again"
            )
        width = outputs.get(EMBEDDING, [0])[-1]
        self.embedding_width: int = width if isinstance(width, int) else 0
        if self.takes_samples or self.card.features.set == SAMPLES:
            self._check_samples(inputs, outputs, source)
        else:
            self._check_features(inputs, outputs, source)
        self._levels = {name: _level(name, inputs[name]) for name in self.inputs}

    def _check_samples(self, inputs: _Shapes, outputs: _Shapes, source: str) -> None:
        """Refuse a graph of samples whose shapes or card do not fit."""
        shape, classes = inputs.get(SAMPLES, []), outputs.get(OUTPUT, [None])[-1]
        complaint = ""
        given = [node.name for node in self._session.get_inputs() if node.name != WORDS]
        if sorted(given) != sorted([SAMPLES, BASELINE][: 1 + self.takes_baseline]) or self.card.features.set != SAMPLES:
            complaint = f"it takes {', '.join(given)}, and its card says {self.card.features.set!r}"
        elif len(shape) != 2 or any(isinstance(size, int) for size in shape):
            complaint = f"its samples have the shape {shape}, not one with two free dimensions"
        elif classes != len(self.card.labels):
            complaint = f"it has {classes} classes, and its card says {len(self.card.labels)}"
        elif EMBEDDING in outputs and (len(outputs[EMBEDDING]) != 2 or not self.embedding_width):
            complaint = f"its embedding has the shape {outputs[EMBEDDING]}, not one of a fixed width"
        elif self.takes_baseline and inputs[BASELINE][1:] != outputs.get(EMBEDDING, [None])[1:]:
            complaint = f"its baseline has the shape {inputs[BASELINE]}, not that of its embedding"
        if complaint:
            raise ModelError(f"{source} is not a sound model of samples: {complaint}; get the model file again")

    def _check_features(self, inputs: _Shapes, outputs: _Shapes, source: str) -> None:
        """Refuse a graph whose inputs and outputs are not what its card says."""
        wanted: dict[str, Any] = {name: spec.dimension for name, spec in self.inputs.items()}
        wanted = {name: None if _level(name, []) == "samples" else size for name, size in wanted.items()}
        found = {node.name: inputs.get(node.name, [None]) for node in self._session.get_inputs() if node.name != WORDS}
        sizes = {name: shape[-1] if isinstance(shape[-1], int) else None for name, shape in found.items()}
        classes, labels = outputs.get(OUTPUT, [None])[-1], len(self.card.labels)
        if sizes != wanted or classes != labels:
            raise ModelError(
                f"{source} maps {_listed(sizes)} features to {classes} classes, "
                f"but its card says {_listed(wanted)} and {labels}: get the model file again"
            )
        if any(isinstance(size, int) for shape in found.values() for size in shape[:-1]):
            raise ModelError(f"{source} takes only so many clips or frames at once: get the model file again")

    def level(self, name: str) -> str:
        """Say what an input takes: ``"clip"``, one vector a clip; ``"frame"``, one a frame; or ``"samples"``."""
        return self._levels[name]

    def answer(self, features: Mapping[str, Float32Array]) -> Float32Array:
        """Run the graph on all of its inputs.

        Parameters
        ----------
        features : mapping of str to ndarray of float32
            For each of `inputs`, what :meth:`probabilities` takes.

        Returns
        -------
        ndarray of float32, shape (n, n_classes)
        """
        if set(features) != {INPUT}:
            if SAMPLES in features:
                return self.run(features[SAMPLES])[0]
            given = {name: np.ascontiguousarray(one, dtype=np.float32) for name, one in features.items()}
            return np.asarray(self._session.run([OUTPUT], given)[0], dtype=np.float32)
        return self.probabilities(features[INPUT])

    def probabilities(self, features: Float32Array, words: Float32Array | None = None) -> Float32Array:
        """Run the graph.

        Parameters
        ----------
        features : ndarray of float32, shape (n, n_features)
            Raw (not standardised) features: the scaler is inside.  Of a model of frames, clips of one length, shape
            (n, n_frames, n_features); of a model of samples, samples of shape (n, t).
        words : ndarray of float32, shape (n, w) or (w,), optional
            What is known of the words, for models that take them; the default is nothing.

        Returns
        -------
        ndarray of float32, shape (n, n_classes)
            Calibrated probabilities in the order of ``card.labels``; rows sum to 1.
        """
        if self.takes_samples:
            return self.run(features, words=words)[0]
        inputs = {INPUT: np.ascontiguousarray(features, dtype=np.float32)} | self._words(words, len(features))
        (result,) = self._session.run([OUTPUT], inputs)
        return np.asarray(result, dtype=np.float32)

    def _words(self, words: Float32Array | None, count: int) -> dict[str, Float32Array]:
        """Return the input of the words, one row a clip, where there is one."""
        if words is not None and (not self.words_width or np.shape(words)[-1] != self.words_width):
            raise ModelError(
                f"{np.shape(words)[-1]} numbers of the words do not fit model {self.card.name!r}, which takes "
                f"{self.words_width or 'none'}"
            )
        if not self.words_width:
            return {}
        rows = np.zeros((count, self.words_width), dtype=np.float32)
        return {WORDS: rows if words is None else rows + np.asarray(words, dtype=np.float32)}

    def run(
        self, samples: Float32Array, baseline: Float32Array | None = None, words: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array | None]:
        """Run a graph of samples.

        Parameters
        ----------
        samples : ndarray of float32, shape (n, t)
            Preprocessed clips of one length at 16 kHz, as the feature set ``samples`` gives them: 0.3 s at least.
        baseline : ndarray of float32, shape (n, d) or (d,), optional
            What the speaker's voice is ordinarily like, see :attr:`embedding_width`; the default is not known.
        words : ndarray of float32, shape (n, w) or (w,), optional
            What is known of the words, see :attr:`words_width`; the default is nothing.

        Returns
        -------
        probabilities : ndarray of float32, shape (n, n_classes)
            Calibrated probabilities in the order of ``card.labels``; rows sum to 1.
        embedding : ndarray of float32, shape (n, d), or None
            What the voice is like in these clips; None where the graph has no such output.

        Raises
        ------
        ModelError
            This model starts from features, takes no baseline or no words, or some of another width.
        """
        if not self.takes_samples:
            raise ModelError(f"model {self.card.name!r} takes features, not samples: give it {self.card.features.set}")
        inputs = {SAMPLES: np.ascontiguousarray(samples, dtype=np.float32)} | self._words(words, len(samples))
        if self.takes_baseline:
            inputs[BASELINE] = np.zeros((len(samples), self.embedding_width), dtype=np.float32)
        if baseline is not None:
            if not self.takes_baseline or np.shape(baseline)[-1] != self.embedding_width:
                raise ModelError(
                    f"a baseline of width {np.shape(baseline)[-1]} does not fit model {self.card.name!r}, which takes "
                    f"{self.embedding_width if self.takes_baseline else 'none'}: make it with this model"
                )
            inputs[BASELINE] += baseline
        wanted = [OUTPUT, EMBEDDING] if self.embedding_width else [OUTPUT]
        probabilities, *rest = self._session.run(wanted, inputs)
        return np.asarray(probabilities, dtype=np.float32), np.asarray(rest[0], dtype=np.float32) if rest else None


def input_name(part: str, spec: FeatureSpec) -> str:
    """Name the input of a graph that takes a part of its front end.

    Examples
    --------
    >>> input_name("cnn", FeatureSpec("logmel", 1, 64))
    'cnn.features'
    """
    name = SAMPLES if spec.set == SAMPLES else INPUT
    return f"{part}.{name}" if part else name


def _level(name: str, shape: Sequence[Any]) -> str:
    """Say what an input of a name and a shape takes."""
    if name.split(".")[-1] == SAMPLES:
        return "samples"
    return "frame" if len(shape) == 3 else "clip"


def _listed(sizes: Mapping[str, Any]) -> str:
    """Put the widths of inputs into words; that of a single one is just its number."""
    if set(sizes) == {INPUT}:
        return str(sizes[INPUT])
    return ", ".join(f"{name} of {size}" for name, size in sizes.items())


def _card(metadata: dict[str, str], source: str) -> ModelCard:
    """Read the card out of a file's metadata."""
    if CARD_KEY not in metadata:
        raise ModelError(f"{source} is an ONNX file without an emovox model card: train or export it with emovox")
    try:
        values: Any = json.loads(metadata[CARD_KEY])
    except json.JSONDecodeError as error:
        raise ModelError(f"the model card in {source} is damaged ({error}): get the file again") from error
    if not isinstance(values, dict):
        raise ModelError(f"the model card in {source} is damaged (not an object): get the file again")
    try:
        return ModelCard.from_dict(values)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error


def _first_line(error: Exception) -> str:
    """Shorten onnxruntime's messages, which can run over pages."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0][:120]


def load(model: str | Path | None = None) -> Model:
    """Load a model file, or one of the models inside the package by name.

    Parameters
    ----------
    model : path or str, optional
        A ``model.onnx``, a run folder that holds one, or a name that :func:`builtin` lists; the default is
        the built-in model.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        There is no such file or name, or the file cannot be used.

    Examples
    --------
    >>> load().card.labels[:3]
    ('neutral', 'calm', 'happy')
    """
    name = DEFAULT if model is None else str(model)
    if name in builtin():
        return Model((resources.files(PRETRAINED) / f"{name}.onnx").read_bytes(), f"built-in model {name!r}")
    path = Path(name)
    if path.is_dir():
        path = path / "model.onnx"
    try:
        return Model(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ModelError(
            f"no model {name!r}: give a model.onnx, a run folder, or a built-in name ({', '.join(builtin())})"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}; check its permissions") from error


def builtin() -> tuple[str, ...]:
    """Return the names of the models inside the package."""
    files = resources.files(PRETRAINED).iterdir()
    return tuple(sorted(Path(file.name).stem for file in files if file.name.endswith(".onnx")))
