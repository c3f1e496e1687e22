"""Feature sets by name: which numbers describe a recording, and the encoder inside the package.

Models that use it share one file, so a model of one's own is small and trained without PyTorch's encoders.

A feature set has a name, a version and parameters.  :func:`spec` completes a choice of them with the defaults,
:func:`extract` computes the features of a `FeatureSpec`, or raises if this version cannot reproduce them.

The signal processing is in :mod:`emovox.features.functionals`, imported when the first set that needs it is used: a
model whose input is the waveform itself starts without it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from emovox.audio.preprocess import WINDOWS, PreprocessOptions, options_of, preprocess
from emovox.errors import FeatureError, did_you_mean
from emovox.session import open_session, with_outputs
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Whisper's encoders in it, their width and the blocks whose outputs are pooled.
PARTS = (("whisper-tiny.en", 384, (1, 2, 3)), ("whisper-base", 512, (2, 3)))

#: What the graph in the file calls the states that are pooled, in the order of :func:`names`.
_POOLED = tuple(
    f"/embedder/encoder/layers.{block - 1}{'_1' if number else ''}/Add_2_output_0"
    for number, (_, _, blocks) in enumerate(PARTS)
    for block in blocks
)
_FILE = Path(__file__).with_name("encoder.onnx")


#: Shortest input of encoders and of models of samples, in samples (0.3 s); shorter clips are padded with zeros.
SHORTEST = 3 * RATE // 10


def padded(samples: Float32Array) -> Float32Array:
    """Pad a clip shorter than 0.3 s with zeros on both sides.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal at 16 kHz.

    Returns
    -------
    ndarray of float32, shape (max(n_samples, 4800),)

    Examples
    --------
    >>> import numpy as np
    >>> padded(np.ones(1600, dtype=np.float32)).shape, padded(np.ones(8000, dtype=np.float32)).shape
    ((4800,), (8000,))
    """
    lack = max(0, SHORTEST - len(samples))
    return np.pad(samples, (lack // 2, lack - lack // 2)) if lack else samples


def names() -> tuple[str, ...]:
    """Return the names of the embedding's numbers: of each encoder and block the means, then the deviations, over time.

    Examples
    --------
    >>> len(names()), names()[0]
    (4352, 'whisper-tiny.en_b1_mean_000')
    """
    return tuple(
        f"{encoder}_b{block}_{statistic}_{index:03d}"
        for encoder, width, blocks in PARTS
        for block in blocks
        for statistic in ("mean", "sd")
        for index in range(width)
    )


def embedding(samples: Float32Array) -> Float32Array:
    """Compute the embedding of a preprocessed waveform, shape (4352,)."""
    found: Float32Array = _session().run(None, {"samples": padded(samples)[None]})[0][0]
    return found


def states(samples: Float32Array) -> Float32Array:
    """Compute what the embedding is a statistic of: the states of the pooled blocks, every 20 ms.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Preprocessed, 0.3 s at least.

    Returns
    -------
    ndarray of float32, shape (n_frames, 2176)
    """
    found = _states_session().run(list(_POOLED), {"samples": samples[None]})
    return np.concatenate([one[0] for one in found], axis=1)


def pooled(states: Float32Array, kept: NDArray[np.floating[Any]]) -> Float32Array:
    """Compute the embeddings of parts of a recording from its states, as if the encoder had heard all around them.

    Parameters
    ----------
    states : ndarray, shape (n_frames, 2176)
        From :func:`states`.
    kept : ndarray, shape (n, n_frames)
        Weight of each frame in each part, 0 or more; a part has some that are more than 0.

    Returns
    -------
    ndarray of float32, shape (n, 4352)

    Examples
    --------
    >>> from emovox import audio
    >>> samples = audio.read("examples/plain.wav").samples
    >>> found = states(samples)
    >>> bool(np.allclose(pooled(found, np.ones((1, len(found))))[0], embedding(samples), atol=1e-3))
    True
    """
    centre = states.mean(axis=0)
    centred, shares = states - centre, kept / kept.sum(axis=1, keepdims=True)
    mean = shares @ centred
    deviation = np.sqrt(np.maximum(shares @ np.square(centred) - np.square(mean), 0))
    edges = np.cumsum([0] + [width for _, width, used in PARTS for _ in used])
    columns = [np.arange(*span) for span in pairwise(edges)]
    both = [part[:, one] for one in columns for part in (mean + centre, deviation)]
    return np.concatenate(both, axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def _states_session() -> InferenceSession:
    """Open the encoder once more, with the states among its outputs."""
    return open_session(with_outputs(_FILE.read_bytes(), _POOLED), "the encoder in the package")


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the encoder, once a process: all models and threads share it."""
    return open_session(_FILE, "the encoder in the package")


#: Value of a parameter.
Value = int | float | str

#: Name and version of the pseudo set of models whose input is the waveform.
SAMPLES, SAMPLES_VERSION = "samples", 1
#: Name of the set of the encoder inside the package.
ENCODER = "default"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a feature set: its default and the values that it accepts.

    Attributes
    ----------
    default : int, float or str
        Value when none is given; its type is the type of the parameter.
    choices : tuple of str
        Allowed values of a str.
    pattern, form : str
        For a str that is free text: the regular expression that it must match, and a description of it for messages.
    low, high : float
        Allowed range of a number, both ends included.
    multiple : int, default 1
        An int must be a multiple of this.
    unit : str
        Unit of a number, for messages and documentation.
    """

    default: Value
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    low: float = -np.inf
    high: float = np.inf
    multiple: int = 1
    unit: str = ""

    def allowed(self) -> str:
        """Return a description of the allowed values, for messages and documentation.

        Examples
        --------
        >>> Parameter(512, low=40, high=8192, unit="samples").allowed()
        'a whole number from 40 to 8192 samples'
        """
        if self.pattern:
            return self.form
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a number" if isinstance(self.default, float) else "a whole number"
        kind = "an even number" if self.multiple == 2 else kind
        return f"{kind} from {self.low:g} to {self.high:g} {self.unit}".rstrip()

    def accept(self, label: str, value: object) -> Value:
        """Check a value and convert it to the type of the parameter.

        Parameters
        ----------
        label : str
            Name of the parameter in the error message.
        value : object
            Value given by the user.

        Raises
        ------
        FeatureError
            The value has another type or is outside the allowed range.
        """
        if isinstance(self.default, str):
            if isinstance(value, str) and (
                re.fullmatch(self.pattern, value) if self.pattern else value in self.choices
            ):
                return value
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high:
            if isinstance(self.default, float):
                return float(value)
            if value % self.multiple == 0:
                return int(value)
        raise FeatureError(f"{label}={value!r} is not possible: it must be {self.allowed()}")


@dataclass(frozen=True)
class FeatureSet:
    """A named and versioned mapping from a preprocessed waveform to features.

    Attributes
    ----------
    name : str
        Name in recipes and model files.
    version : int
        Version of the arithmetic; it increases whenever the numbers change.
    level : {"clip", "frame", "samples"}
        ``clip``: one vector per recording (functionals); ``frame``: one vector per frame (low-level descriptors);
        ``samples``: the waveform itself.
    description : str
        One line, for lists and documentation.
    naming, computing : callable
        Implementations of :meth:`names` and :meth:`compute`; both receive every parameter.
    parameters : mapping of str to Parameter
        Parameters with defaults and ranges.
    digest : callable, optional
        For a set computed by a pretrained encoder: maps the parameter ``weights`` to a digest of those weights.
    """

    name: str
    version: int
    level: Literal["clip", "frame", "samples"]
    description: str
    naming: Callable[..., tuple[str, ...]] = dataclasses.field(repr=False)
    computing: Callable[..., Float32Array] = dataclasses.field(repr=False)
    parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
    digest: Callable[[str], str] | None = dataclasses.field(default=None, repr=False)

    @property
    def pretrained(self) -> bool:
        """Whether a pretrained encoder computes the set; the parameter ``weights`` names its weights."""
        return self.digest is not None

    @property
    def defaults(self) -> dict[str, Value]:
        """Parameters with their defaults."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def complete(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Check parameters and add the defaults of those that are not given.

        Raises
        ------
        FeatureError
            A name is unknown or a value is not allowed.

        Examples
        --------
        >>> get("classic193").complete({"hop_length": 256})
        {'window': 'hann', 'frame_length': 2048, 'hop_length': 256}
        """
        for name in parameters:
            if name not in self.parameters:
                raise FeatureError(
                    f"feature set {self.name!r} has no parameter {name!r}: {did_you_mean(name, self.parameters)}"
                )
        given = {name: self.parameters[name].accept(f"{self.name}.{name}", parameters[name]) for name in parameters}
        return {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}

    def names(self, **parameters: Value) -> tuple[str, ...]:
        """Return the names of the features, in the order of the last axis of :meth:`compute`.

        Examples
        --------
        >>> get("classic193").names()[:2]
        ('mfcc_01', 'mfcc_02')
        """
        complete = self.complete(parameters)
        # Not of encoders: the size of weights on disk may change under their name.
        return self.naming(**complete) if self.pretrained else _names(self.naming, **complete)

    def compute(self, samples: Float32Array, **parameters: Value) -> Float32Array:
        """Compute the features of a waveform that is already preprocessed, shape (n_samples,) at 16 kHz.

        Returns
        -------
        ndarray of float32
            Shape (n_features,) at clip level, (n_frames, n_features) at frame level, (n_samples,) for samples.
        """
        return np.ascontiguousarray(self.computing(samples, **self.complete(parameters)), dtype=np.float32)


@lru_cache(maxsize=256, typed=True)
def _names(naming: Callable[..., tuple[str, ...]], /, **parameters: Value) -> tuple[str, ...]:
    """Return the names of a set's features, put together once: each clip of a training asks for all of them."""
    return naming(**parameters)


def samples_spec(preprocess: Mapping[str, Any]) -> FeatureSpec:
    """Return the specification of a model whose input is the waveform, by complete preprocessing options.

    Examples
    --------
    >>> samples_spec({}).dimension
    0
    """
    return FeatureSpec(SAMPLES, SAMPLES_VERSION, 0, {}, preprocess)


def _built_in(
    name: str,
    version: int,
    level: Literal["clip", "frame"],
    description: str,
    parameters: Mapping[str, Parameter] = MappingProxyType({}),
) -> FeatureSet:
    """Describe a set of :mod:`emovox.features.functionals` without importing it."""

    def naming(**given: Value) -> tuple[str, ...]:
        from emovox.features import functionals

        return functionals.NAMES[name](**given)

    def computing(samples: Float32Array, **given: Value) -> Float32Array:
        from emovox.features import functionals, spectral

        return functionals.COMPUTE[name](spectral.Analysis(samples), **given)

    return FeatureSet(name, version, level, description, naming, computing, parameters)


_PITCH = {
    "pitch_floor": Parameter(75.0, low=20, high=300, unit="Hz"),
    "pitch_ceiling": Parameter(600.0, low=200, high=2000, unit="Hz"),
}
_SHORT_FRAMES = {
    "window": Parameter("hann", choices=tuple(WINDOWS)),
    "frame_length": Parameter(400, low=160, high=8192, multiple=2, unit="samples"),
}

_SETS = {
    entry.name: entry
    for entry in (
        _built_in(
            "classic193",
            1,
            "clip",
            "means over time of 40 MFCC, 12 chroma, 128 mel powers, 7 spectral contrasts and 6 tonnetz",
            {
                "window": _SHORT_FRAMES["window"],
                "frame_length": Parameter(2048, low=160, high=8192, multiple=2, unit="samples"),
                "hop_length": Parameter(512, low=40, high=8192, unit="samples"),
            },
        ),
        _built_in(
            "prosodic",
            1,
            "clip",
            "F0, voice quality, formants, loudness, spectral balance and rhythm, in the spirit of eGeMAPS",
            _PITCH,
        ),
        _built_in(
            "comprehensive",
            1,
            "clip",
            "the prosodic set with functionals, modulation spectrum, covariance and trajectory of spectral descriptors",
        ),
        _built_in(
            "logmel",
            1,
            "frame",
            "log-mel spectrogram, for convolutional networks",
            {
                **_SHORT_FRAMES,
                "hop_length": Parameter(160, low=40, high=8192, unit="samples"),
                "n_mels": Parameter(64, low=8, high=256),
                "fmin": Parameter(20.0, low=0, high=4000, unit="Hz"),
                "fmax": Parameter(8000.0, low=500, high=RATE / 2, unit="Hz"),
            },
        ),
        _built_in(
            "sequence",
            1,
            "frame",
            "MFCC with first and second derivatives, F0, energy and voicing every 10 ms, for recurrent networks",
            {
                **_SHORT_FRAMES,
                "n_mels": Parameter(40, low=8, high=128),
                "n_mfcc": Parameter(13, low=2, high=40),
                **_PITCH,
            },
        ),
        FeatureSet(
            ENCODER,
            1,
            "clip",
            "embedding of the encoder inside the package: statistics over time of Whisper's two smallest, in 8 bits",
            names,
            embedding,
        ),
        FeatureSet(
            SAMPLES,
            SAMPLES_VERSION,
            "samples",
            "the preprocessed waveform, for models that compute their own features",
            lambda: (),
            padded,
        ),
    )
}


def available() -> tuple[str, ...]:
    """Return the names of the registered feature sets, without the pseudo set ``samples``.

    >>> "classic193" in available()
    True
    """
    return tuple(name for name, entry in _SETS.items() if entry.level != "samples")


def register(entry: FeatureSet) -> None:
    """Add a feature set, or replace the one of its name; :mod:`emovox.lab` registers those of its encoders."""
    _SETS[entry.name] = entry


def get(name: str) -> FeatureSet:
    """Return a feature set by name.

    Raises
    ------
    FeatureError
        No set of this name is registered.
    """
    if name not in _SETS:
        raise FeatureError(f"unknown feature set {name!r}: {did_you_mean(name, available())}")
    return _SETS[name]


def spec(
    name: str,
    parameters: Mapping[str, object] = MappingProxyType({}),
    preprocess: Mapping[str, Any] | PreprocessOptions = MappingProxyType({}),
) -> FeatureSpec:
    """Specify a feature set with its parameters and preprocessing, all defaults written out.

    Parameters
    ----------
    name : str
        Feature set, one of :func:`available`.
    parameters : mapping, optional
        Parameters of the set that differ from its defaults.
    preprocess : mapping or PreprocessOptions, optional
        Preprocessing options that differ from their defaults.

    Returns
    -------
    FeatureSpec
        Complete: a later change of a default does not change its meaning.

    Raises
    ------
    FeatureError
        A name is unknown, or a value or a combination of values is not allowed.

    Examples
    --------
    >>> spec("classic193", {"window": "hamming"}).parameters
    {'window': 'hamming', 'frame_length': 2048, 'hop_length': 512}
    """
    chosen = get(name)
    complete = chosen.complete(parameters)
    options = preprocess if isinstance(preprocess, PreprocessOptions) else options_of(preprocess)
    dimension = len(chosen.names(**complete))
    if not chosen.pretrained:
        # Values allowed one by one may be impossible together: a trial run fails now instead of at the first clip.
        # Not for encoders, so that a recipe can be read on machines that do not have their weights.
        chosen.compute(np.zeros(RATE // 10, dtype=np.float32), **complete)
    return FeatureSpec(name, chosen.version, dimension, complete, dataclasses.asdict(options))


def weights_digest(spec: FeatureSpec) -> str:
    """Return the digest of the pretrained weights that a specification uses, ``""`` if it uses none.

    Raises
    ------
    ModelError
        The weights are not found.

    Examples
    --------
    >>> weights_digest(spec("classic193"))
    ''
    """
    digest = get(spec.set).digest
    return digest(str(spec.parameters["weights"])) if digest else ""


def reproduced(spec: FeatureSpec) -> FeatureSet:
    """Return the feature set of a specification, sure to compute the features that it states.

    Raises
    ------
    FeatureError
        This version would compute others.
    """
    chosen = get(spec.set)
    if spec.version != chosen.version:
        raise FeatureError(
            f"feature set {spec.set!r} is wanted in version {spec.version}, this emovox computes version "
            f"{chosen.version}: use the emovox that made the model, or train it again"
        )
    if (dimension := len(chosen.names(**spec.parameters))) != spec.dimension:
        raise FeatureError(
            f"feature set {spec.set!r} with these parameters has {dimension} features, not {spec.dimension}: "
            "use the emovox that made the model, or train it again"
        )
    return chosen


def extract(waveform: Waveform, spec: FeatureSpec) -> Float32Array:
    """Preprocess a waveform and compute its features.

    Parameters
    ----------
    waveform : Waveform
        Mono speech at 16 kHz.  Check for empty and silent recordings with :func:`emovox.audio.require_signal` first.
    spec : FeatureSpec
        From :func:`spec`, or from a model file.

    Returns
    -------
    ndarray of float32
        Shape (n_features,) at clip level, (n_frames, n_features) at frame level, (n_samples,) for ``samples``; finite.

    Raises
    ------
    FeatureError
        This version cannot reproduce the specification, or the samples overflow float32 arithmetic.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(16000) / 10).astype(np.float32)
    >>> extract(Waveform(tone), spec("classic193")).shape
    (193,)
    """
    chosen, cleaned = reproduced(spec), prepared(waveform, spec)
    with np.errstate(over="ignore", invalid="ignore"):
        features = chosen.compute(cleaned.samples, **spec.parameters)
    if not np.isfinite(features).all():
        peak = float(np.abs(waveform.samples).max())
        raise FeatureError(
            f"the features are not finite, the largest sample is {peak:g}: give samples in the range -1 to 1"
        )
    return features


def prepared(waveform: Waveform, spec: FeatureSpec) -> Waveform:
    """Preprocess a waveform as a specification asks for, before its features are computed."""
    return preprocess(waveform, spec.preprocess)


def feature_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the names of the features, in the order of the last axis of :func:`extract`.

    Raises
    ------
    FeatureError
        This version cannot reproduce the specification.

    Examples
    --------
    >>> feature_names(spec("classic193"))[-1]
    'tonnetz_6'
    """
    return reproduced(spec).names(**spec.parameters)
