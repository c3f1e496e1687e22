"""Model files (one ONNX graph with its card) and the decision on their output."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

import emovox
from emovox.errors import ModelError
from emovox.session import open_model, properties, shuffled
from emovox.types import JOINT, RATE, FeatureSpec, Float32Array, Float64Array

#: Version of the ModelCard's structure; a file with another one is refused.
FORMAT_VERSION = 1


@dataclass(frozen=True)
class CorpusSummary:
    """A training corpus, as described in a model card."""

    name: str
    licence: str
    clips: int
    speakers: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard:
    """Description of a model, written by training and stored in the model file.

    Attributes
    ----------
    name : str
        Short name.
    family : str
        ``"ann"``, ``"mlp"``, ``"svm"``, ...
    labels : tuple of str
        Labels in the order of the output. Empty for a model that predicts dimensions only.
    features : FeatureSpec
        Preprocessing and features that the model needs.
    threshold : float
        Confidence in [0, 1] below which a prediction is an abstention; 0 never abstains.
    known_threshold : float or None
        The threshold with a baseline of setting or speaker; None: `threshold`.
    neutral_threshold : float or None
        The threshold with clips of the speaker that are known to be neutral; None: the model does not distinguish
        them.
    shortest : float
        Duration of speech in seconds below which the answer is an abstention; 0 disables this.
    corpora : tuple of CorpusSummary
        Training data with licences.
    licence : str
        Licence of the weights, as inherited from the training data.
    evaluation : mapping
        Protocol and scores: ``protocol``, ``folds``, ``seed``, ``uar``, ``wa``, ``macro_f1``, ...
    recipe : mapping
        The complete training recipe.
    text : mapping
        Linguistic input of a model that fuses voice and words, empty for others: ``columns`` (names of the features),
        ``version``, ``transcriber`` (speech recogniser of the training transcripts, not part of the file),
        ``language``.
    intended_use, limitations : str
        Intended use and limitations, as text.
    software : str
        Version of emovox that wrote the file.
    created : str
        Date, ISO 8601.
    rate : int
        Sampling rate in Hz.
    format_version : int
        Version of this structure.
    dimensions : tuple of str
        Names of the emotion dimensions that the model predicts in addition to or instead of classes, for example
        ``("arousal", "valence")``, in the order of its output ``dimensions``.
    training_digest : str
        Digests that identify training clips: the first 4 bytes of a digest of the sound of each, sorted, in Base64;
        empty if unknown. No recording can be reconstructed from it.

    Raises
    ------
    ModelError
        There are neither labels nor dimensions.
    """

    name: str
    family: str
    labels: tuple[str, ...]
    features: FeatureSpec
    threshold: float = 0.0
    corpora: tuple[CorpusSummary, ...] = ()
    licence: str = ""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = ""
    limitations: str = ""
    software: str = ""
    created: str = ""
    rate: int = RATE
    format_version: int = FORMAT_VERSION
    dimensions: tuple[str, ...] = ()
    training_digest: str = ""
    known_threshold: float | None = None
    shortest: float = 0.0
    neutral_threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.labels and not self.dimensions:
            raise ModelError(f"model {self.name!r} has no output: its card must name labels or dimensions")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelCard:
        """Build a card from the values of :meth:`to_dict`.

        Raises
        ------
        ModelError
            The values are of another format version, or are not a card.
        """
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"model card format {version!r}, expected {FORMAT_VERSION}: "
                "upgrade emovox, or train the model again with this version"
            )
        try:
            plain = dict(values)
            plain["features"] = FeatureSpec(**plain["features"])
            _fronts(plain["features"])  # a joint one holds others, which must be whole too
            plain["labels"], plain["dimensions"] = tuple(plain["labels"]), tuple(plain.get("dimensions", ()))
            plain["corpora"] = tuple(
                CorpusSummary(**{**corpus, "labels": tuple(corpus["labels"])}) for corpus in plain["corpora"]
            )
            return cls(**plain)
        except (KeyError, TypeError) as error:
            raise ModelError(f"the model card is damaged ({error}): get the model file again") from error


#: Key of the card in the file's metadata.
CARD_KEY = "emovox.card"
#: Names of the graph's input and output.
INPUT, OUTPUT = "features", "probabilities"
#: The output of models that predict emotion dimensions besides or instead of classes, shape (n, number of dimensions).
DIMENSIONS = "dimensions"
#: The input of a graph that starts from samples, and what an encoder inside it puts out.
SAMPLES, EMBEDDING = "samples", "embedding"
#: The optional input of models that judge against a baseline, and the output that baselines are statistics of.
BASELINE, AXES = "baseline", "axes"
#: The optional input of models that fuse voice and words: rows of `emovox.text.words.words_vector`.
WORDS = "words"
#: Where the models inside the package lie, and the one that is used when none is named.
PRETRAINED = Path(emovox.__file__).parent / "pretrained"
DEFAULT = "default"

_Shapes = dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class ModelOutput:
    """Output of a model for n clips.

    Attributes
    ----------
    probabilities : ndarray of float32, shape (n, n_classes)
        Calibrated probabilities in the order of ``card.labels``; rows sum to 1. No columns for a model without
        classes.
    dimensions : ndarray of float32, shape (n, n_dimensions), or None
        Emotion dimensions in the order of ``card.dimensions``; None for a model without.
    axes : ndarray of float32, shape (n, r), or None
        Axes, of which baselines hold mean and variance; None for a model without baselines.
    """

    probabilities: Float32Array
    dimensions: Float32Array | None = None
    axes: Float32Array | None = None


class Model:
    """A model from feature vectors, frames or samples to class probabilities, emotion dimensions or both.

    A graph on samples has the input ``samples``, shape (n, t), with both dimensions free. Any graph may have a second
    output ``axes``, shape (n, r), and then the input ``baseline``, shape (n, 2 + 4 r): for the setting and then the
    speaker, the number of utterances and mean and variance of their axes; a number of 0 means unknown. It may have the
    input ``words``, shape (n, w), linguistic features; zeros mean unknown.

    Parameters
    ----------
    content : bytes or Path
        Content of an ONNX file written by :mod:`emovox.lab.export.export`, or the path of a file in the package, which
        loads faster. Loading executes no code, and a graph given as bytes cannot refer to other files.
    source : str
        Origin of the content, for error messages.
    origin : str, optional
        Path or built-in name for :func:`load`: the model is then pickled as this name and its fingerprint, otherwise
        as the whole file.

    Attributes
    ----------
    card : ModelCard
        Model card.
    inputs : mapping of str to FeatureSpec
        Inputs of the graph by name, with the front end of each; a stack has several.
    levels : mapping of str to str
        Kind of each input: ``"clip"``, one vector per clip; ``"frame"``, one per frame; or ``"samples"``.
    takes_samples, takes_vectors, takes_baseline : bool
        Whether the graph has an input of samples, of one vector per clip, and of a baseline of setting and speaker.
    words_width : int
        Width of the words vector; 0 if the graph takes no words.
    axes_width : int
        Number of axes, r; 0 if the graph has none.
    fingerprint : str
        SHA-256 of the file, by which a baseline identifies its model. Computed on first access.

    Raises
    ------
    ModelError
        Not an ONNX file or a damaged one, no card inside, or a graph that does not fit its card.
    """

    def __init__(self, content: bytes | Path, source: str, *, origin: str | None = None) -> None:
        self._content, self._source, self._origin = content, source, origin
        self._shuffled: dict[int, Model] = {}
        try:
            self._session, metadata = open_model(content, source)
        except ModelError:
            raise
        except Exception as error:  # onnxruntime raises a dozen kinds, none of them public
            raise _unreadable(source, error) from error
        self.card = _card(metadata, source)
        inputs = {node.name: node.shape for node in self._session.get_inputs() if node.type == "tensor(float)"}
        outputs = {node.name: node.shape for node in self._session.get_outputs() if node.type == "tensor(float)"}
        self.takes_samples, self.takes_baseline = SAMPLES in inputs, BASELINE in inputs
        self.takes_vectors = len(inputs.get(INPUT, [])) == 2
        self.inputs = {input_name(name, spec): spec for name, spec in _fronts(self.card.features).items()}
        words = inputs.pop(WORDS, [0])[-1]
        self.words_width: int = words if isinstance(words, int) else 0
        # A pool in the card is put beside the answer of the voice, and the graph need not take words.
        pooled = "pool" in self.card.text and not self.words_width
        if self.words_width != len(self.card.text.get("columns", ())) and not pooled:
            raise ModelError(
                f"{source} takes {self.words_width} numbers of the words, but its card names "
                f"{len(self.card.text.get('columns', ()))}: get the model file again"
            )
        width, known = outputs.get(AXES, [0])[-1], inputs.pop(BASELINE, [0])[-1]
        self.axes_width: int = width if isinstance(width, int) else 0
        wanted = baseline_width(self.axes_width) if self.axes_width else 0
        if known != wanted:
            raise ModelError(
                f"{source} has {self.axes_width} axes and takes a baseline of {known} numbers, expected "
                f"{wanted}: get the model file again"
            )
        if self.takes_samples or self.card.features.set == SAMPLES:
            self._check_samples(inputs, outputs, source)
        else:
            self._check_features(inputs, outputs, source)
        if len(self.card.dimensions) != (outputs.get(DIMENSIONS, [0])[-1]):
            raise ModelError(
                f"{source} predicts {outputs.get(DIMENSIONS, [0])[-1]} emotion dimensions, but its card names "
                f"{len(self.card.dimensions)}: get the model file again"
            )
        self._shapes = {name: inputs[name] for name in self.inputs}
        self.levels = {name: _level(name, shape) for name, shape in self._shapes.items()}
        self._outputs = [name for name in (OUTPUT, DIMENSIONS, AXES) if name in outputs]

    def _check_samples(self, inputs: _Shapes, outputs: _Shapes, source: str) -> None:
        """Refuse a graph of samples whose shapes or card do not fit."""
        shape, classes = inputs.get(SAMPLES, []), outputs.get(OUTPUT, [None])[-1]
        complaint = ""
        given = [node.name for node in self._session.get_inputs() if node.name not in (WORDS, BASELINE)]
        if given != [SAMPLES] or self.card.features.set != SAMPLES:
            complaint = f"it takes {', '.join(given)}, and its card says {self.card.features.set!r}"
        elif len(shape) != 2 or any(isinstance(size, int) for size in shape):
            complaint = f"its samples have the shape {shape}, not one with two free dimensions"
        elif (classes or 0) != len(self.card.labels):
            complaint = f"it has {classes} classes, and its card says {len(self.card.labels)}"
        if complaint:
            raise ModelError(f"{source} is not a sound model of samples: {complaint}; get the model file again")

    def _check_features(self, inputs: _Shapes, outputs: _Shapes, source: str) -> None:
        """Refuse a graph whose inputs and outputs are not what its card says."""
        wanted: dict[str, Any] = {name: spec.dimension for name, spec in self.inputs.items()}
        wanted = {name: None if _level(name, []) == "samples" else size for name, size in wanted.items()}
        further = (WORDS, BASELINE)
        found = {
            node.name: inputs.get(node.name, [None]) for node in self._session.get_inputs() if node.name not in further
        }
        sizes = {name: shape[-1] if isinstance(shape[-1], int) else None for name, shape in found.items()}
        classes, labels = outputs.get(OUTPUT, [None])[-1], len(self.card.labels) or None
        if sizes != wanted or classes != labels:
            raise ModelError(
                f"{source} maps {_listed(sizes)} features to {classes} classes, "
                f"but its card says {_listed(wanted)} and {labels}: get the model file again"
            )
        if any(isinstance(size, int) for shape in found.values() for size in shape[:-1]):
            raise ModelError(f"{source} takes only so many clips or frames at once: get the model file again")

    @property
    def content(self) -> bytes:
        """The file."""
        return self._content.read_bytes() if isinstance(self._content, Path) else self._content

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        import hashlib  # 5 ms, and most runs need no fingerprint

        return hashlib.sha256(self.content).hexdigest()

    def shuffled(self, seed: int) -> Model:
        """Return the model with its weights in another order, see :func:`emovox.session.shuffled`."""
        if seed not in self._shuffled:
            self._shuffled[seed] = Model(shuffled(self.content, seed), f"{self._source}, shuffled")
        return self._shuffled[seed]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.card.name}: {', '.join(self.card.labels) or 'dimensions'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._origin is None:
            return Model, (self._content, self._source)
        return _again, (self._origin, self.fingerprint)

    def require_baseline(self) -> None:
        """Raise an error if the model takes no baseline.

        Raises
        ------
        ModelError
            The model takes no baseline.
        """
        if not self.takes_baseline:
            raise ModelError(
                f"model {self.card.name!r} takes no baseline: use a model that does, or no setting and no speaker"
            )

    def run(
        self,
        inputs: Float32Array | Mapping[str, Float32Array],
        *,
        baseline: Float32Array | None = None,
        words: Float32Array | None = None,
    ) -> ModelOutput:
        """Run the graph on n clips.

        Parameters
        ----------
        inputs : ndarray of float32, or mapping of str to ndarray of float32
            Output of the front end for each of `inputs`, not standardised (the scaler is in the graph): features of
            shape (n, n_features), or for clips of equal length frames of shape (n, n_frames, n_features) or samples of
            shape (n, n_samples), at least 0.3 s. A model with a single input also takes the array itself.
        baseline : ndarray of float32, shape (n, 2 + 4 r) or (2 + 4 r,), optional
            Baseline of setting and speaker, see :func:`emovox.model.profiles.baseline`; by default unknown.
        words : ndarray of float32, shape (n, w) or (w,), optional
            Linguistic features, of :attr:`words_width` columns; by default unknown.

        Returns
        -------
        ModelOutput

        Raises
        ------
        ModelError
            An input is missing, unknown or of another shape, or the model takes no baseline or no words.

        Examples
        --------
        >>> model = load("default")
        >>> model.run(np.zeros((2, 4352), dtype=np.float32)).probabilities.shape
        (2, 8)
        """
        given = self._given(inputs)
        count = len(next(iter(given.values())))
        width = baseline_width(self.axes_width) if self.takes_baseline else 0
        extras = ((BASELINE, baseline, width), (WORDS, words, self.words_width))
        for name, values, width in extras:
            if values is not None and (not width or np.shape(values)[-1] != width):
                raise ModelError(_misfit(name, np.shape(values)[-1], width, self.card.name))
            if width:
                given[name] = np.zeros((count, width), dtype=np.float32)
                given[name] += 0 if values is None else values
        found = dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))
        return ModelOutput(
            found.get(OUTPUT, np.zeros((count, 0), dtype=np.float32)),
            found.get(DIMENSIONS),
            found.get(AXES),
        )

    def _given(self, inputs: Float32Array | Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Return the inputs by name, sure to have the shapes that the graph takes."""
        named = inputs if isinstance(inputs, Mapping) else dict.fromkeys(list(self.inputs)[:1], inputs)
        if named.keys() != self.inputs.keys():
            raise ModelError(
                f"model {self.card.name!r} takes {', '.join(self.inputs)}, not {', '.join(named) or 'nothing'}: "
                "give a mapping from these names to arrays"
            )
        for name, values in named.items():
            shape = [size if isinstance(size, int) else "any" for size in self._shapes[name]]
            if len(shape) != np.ndim(values) or any(
                size not in ("any", found) for size, found in zip(shape, np.shape(values), strict=True)
            ):
                wanted = ", ".join(map(str, ["n", *shape[1:]]))
                raise ModelError(
                    f"input {name!r} of model {self.card.name!r} takes an array of shape ({wanted}), not "
                    f"{np.shape(values)}: give it {self.inputs[name].set}"
                )
        return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in named.items()}


def baseline_width(axes: int) -> int:
    """Return the width of the baseline of a model with so many axes.

    Examples
    --------
    >>> baseline_width(24)
    98
    """
    return 2 + 4 * axes


def _misfit(what: str, found: int, width: int, model: str) -> str:
    """Say that a baseline or words do not fit a model."""
    if what == WORDS:
        return f"{found} numbers of the words do not fit model {model!r}, which takes {width or 'none'}"
    takes = f"model {model!r}, which takes {width or 'none'}: make it with this model"
    return f"a baseline of width {found} does not fit {takes}"


def input_name(part: str, spec: FeatureSpec) -> str:
    """Name the input of a graph that takes a part of its front end.

    Examples
    --------
    >>> input_name("cnn", FeatureSpec("logmel", 1, 64))
    'cnn.features'
    """
    name = SAMPLES if spec.set == SAMPLES else INPUT
    return f"{part}.{name}" if part else name


def _fronts(spec: FeatureSpec) -> dict[str, FeatureSpec]:
    """Return the front ends of a model by name; a single one has none."""
    return spec.parts() if spec.set == JOINT else {"": spec}


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


def _unreadable(source: str, error: Exception) -> ModelError:
    """Say that something is no model, with the first line of onnxruntime's messages, which can run over pages."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    return ModelError(f"{source} is not an ONNX model that can be read ({text}): give a model.onnx that emovox wrote")


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
        The file or name does not exist, or the file cannot be used.

    Examples
    --------
    >>> load().card.labels[:3]
    ('neutral', 'calm', 'happy')
    """
    with _opened(model) as (file, source, origin):
        inside = origin in builtin()
        return Model(PRETRAINED / f"{origin}.onnx" if inside else file.read(), source, origin=origin)


def load_card(model: str | Path | None = None) -> ModelCard:
    """Read the card of a model without loading its graph, which takes a millisecond.

    Parameters
    ----------
    model : path or str, optional
        As for :func:`load`.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        The file or name does not exist, or the file has no card.

    Examples
    --------
    >>> load_card("default").features.set
    'default'
    """
    with _opened(model) as (file, source, _):
        try:
            metadata = properties(file)
        except ValueError as error:
            raise _unreadable(source, error) from error
        return _card(metadata, source)


def fingerprint_of(model: str | Path | None = None) -> str:
    """Return the SHA-256 of a model's file without loading the model, see :attr:`Model.fingerprint`.

    Parameters
    ----------
    model : path or str, optional
        As for :func:`load`.

    Returns
    -------
    str

    Raises
    ------
    ModelError
        The file or name does not exist.

    Examples
    --------
    >>> fingerprint_of("default") == load("default").fingerprint
    True
    """
    with _opened(model) as (file, _, _):
        import hashlib

        return hashlib.sha256(file.read()).hexdigest()


@contextmanager
def _opened(model: str | Path | None) -> Iterator[tuple[BinaryIO, str, str]]:
    """Open the file of a model; give the file, what messages call it, and how it is found again."""
    name = DEFAULT if model is None else str(model)
    if name in builtin():
        with (PRETRAINED / f"{name}.onnx").open("rb") as file:
            yield file, f"built-in model {name!r}", name
        return
    inside = os.path.isdir(name)  # noqa: PTH112 - pathlib raises where a folder may not be entered
    path = Path(name) / "model.onnx" if inside else Path(name)
    try:
        with path.open("rb") as file:
            yield file, str(path), str(path.absolute())
    except FileNotFoundError:
        raise ModelError(
            f"no model {name!r}: give a model.onnx, a run folder, or a built-in name ({', '.join(builtin())})"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}; check its permissions") from error


def _again(origin: str, fingerprint: str) -> Model:
    """Load a model that was pickled, and make sure that it is the same."""
    model = load(origin)
    if model.fingerprint != fingerprint:
        raise ModelError(
            f"{origin} is now another model ({model.fingerprint[:8]}) than the one that was sent here "
            f"({fingerprint[:8]}): keep the file as it is while processes share it, and the same on all machines"
        )
    return model


def builtin() -> tuple[str, ...]:
    """Return the names of the models inside the package."""
    return tuple(sorted(file.stem for file in PRETRAINED.glob("*.onnx")))


#: Lower bound of probabilities before a logarithm: negligible, and representable in float32.
TINY = 1e-30


def temper(probabilities: ArrayLike, temperature: float) -> Float64Array:
    """Apply temperature scaling: the softmax of the log-probabilities divided by a temperature.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        Rows that sum to 1.
    temperature : float
        Positive; 1 changes nothing, larger values flatten the distribution.

    Returns
    -------
    ndarray, shape (n, n_classes)
        Rows that sum to 1; the order of the classes is unchanged.

    Source
    ------
    Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599.

    Examples
    --------
    >>> temper([[0.8, 0.2]], 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), TINY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Float64Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: ArrayLike, target: ArrayLike) -> float:
    """Fit the temperature that minimises the negative log-likelihood.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        Predictions for clips of speakers outside the training set.
    target : array_like of int, shape (n,)
        True class indices.

    Returns
    -------
    float
        Between 0.1 and 10.

    Examples
    --------
    >>> overconfident = [[0.99, 0.01]] * 4  # correct three times of four
    >>> 0.2 < 1 / fit_temperature(overconfident, [0, 0, 0, 1]) < 0.3
    True
    """
    index = np.asarray(target)
    low, high = np.log(0.1), np.log(10.0)

    def loss(log_temperature: float) -> float:
        tempered = temper(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(tempered[np.arange(len(index)), index], TINY)).mean())

    # The loss is unimodal in the log-temperature, so golden-section search finds the minimum.
    ratio = (np.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    for _ in range(40):
        if loss(left) < loss(right):
            high, right = right, left
            left = high - ratio * (high - low)
        else:
            low, left = left, right
            right = low + ratio * (high - low)
    return float(np.exp((low + high) / 2))


def combine(probabilities: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Average the class probabilities of the windows of a recording.

    Parameters
    ----------
    probabilities : array_like, shape (n_windows, n_classes)
        One row per window.
    weights : array_like, shape (n_windows,)
        Non-negative weights, usually durations.

    Returns
    -------
    ndarray, shape (n_classes,)
        Weighted mean; sums to 1.

    Examples
    --------
    >>> combine([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0]).tolist()
    [0.75, 0.25]
    """
    mean = np.average(np.asarray(probabilities, dtype=np.float64), axis=0, weights=np.asarray(weights))
    result: Float64Array = mean / mean.sum()
    return result


def decide(probabilities: ArrayLike, labels: Sequence[str], threshold: float) -> tuple[str, float, bool]:
    """Return the most probable label, its probability, and whether the model abstains.

    Parameters
    ----------
    probabilities : array_like, shape (n_classes,)
        Class probabilities in the order of `labels`.
    labels : sequence of str
        Labels of the model.
    threshold : float
        Confidence below which the model abstains, in [0, 1]; 0 never abstains.

    Returns
    -------
    label : str
        Most probable label; empty where a model has no classes.
    confidence : float
        Its probability; 0 where there is none.
    abstained : bool
        Whether the confidence is below the threshold.

    Examples
    --------
    >>> decide([0.4, 0.6], ["sad", "happy"], 0.7)
    ('happy', 0.6, True)
    """
    if not labels:
        return "", 0.0, False
    values = np.asarray(probabilities, dtype=np.float64)
    best = int(values.argmax())
    confidence = float(values[best])
    return labels[best], confidence, confidence < threshold
