"""Named feature sets: what a model is trained on, and what its file must be able to ask for years later.

A set is a name, a version and parameters.  :func:`spec` writes a choice of them down completely,
:func:`extract` computes what a `FeatureSpec` says or refuses it.  Another set is one more entry in a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from emovox.audio.preprocess import WINDOWS, PreprocessOptions, preprocess
from emovox.errors import FeatureError, did_you_mean
from emovox.features import comprehensive, functionals, pitch, prosody, spectral
from emovox.features.analysis import Analysis, Stft
from emovox.features.parameters import Parameter, Value
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform

#: Step of the short frames, 10 ms.
HOP = 160
#: Shortest clip that encoders and models of samples are given, 0.3 s: shorter ones get silence on both sides.
SHORTEST = 3 * RATE // 10
#: Name and version of the pseudo set of models that start from samples.
SAMPLES, SAMPLES_VERSION = "samples", 1


@dataclass(frozen=True)
class FeatureSet:
    """A named way of turning a waveform into numbers.

    Attributes
    ----------
    name : str
        As recipes and model files write it.
    version : int
        Version of the arithmetic; it rises whenever the numbers change.
    level : {"clip", "frame", "samples"}
        One vector a clip, or one a frame; or the samples themselves, for models that take nothing else.
    description : str
        One line.
    naming, computing : callable
        What :meth:`names` and :meth:`compute` call, with complete parameters.
    parameters : mapping of str to Parameter
        Settings, with defaults and limits.
    digest : callable, optional
        For a set computed by a pretrained encoder: from the parameter ``weights`` to the identity of those weights.
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
        """Whether it is computed by an encoder whose weights the parameter ``weights`` names."""
        return self.digest is not None

    @property
    def defaults(self) -> dict[str, Value]:
        """Parameters with their defaults."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def complete(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Check parameters and write out those that are not given.

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
        """Return the features' names, in the order of the numbers.

        Examples
        --------
        >>> get("classic193").names()[:2]
        ('mfcc_01', 'mfcc_02')
        """
        return self.naming(**self.complete(parameters))

    def compute(self, analysis: Analysis, **parameters: Value) -> Float32Array:
        """Compute the features of a waveform that is already preprocessed.

        Returns
        -------
        ndarray of float32
            Shape (n_features,) at clip level, (n_frames, n_features) at frame level, (n_samples,) for samples.
        """
        return np.ascontiguousarray(self.computing(analysis, **self.complete(parameters)), dtype=np.float32)


def padded(samples: Float32Array) -> Float32Array:
    """Put silence on both sides of a clip shorter than :data:`SHORTEST`.

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


def samples_spec(preprocess: Mapping[str, Any]) -> FeatureSpec:
    """Write down what a model of samples needs: preprocessing, and nothing after it.

    Parameters
    ----------
    preprocess : mapping
        Preprocessing options, complete.

    Examples
    --------
    >>> samples_spec({}).dimension
    0
    """
    return FeatureSpec(SAMPLES, SAMPLES_VERSION, 0, {}, preprocess)


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    width = max(2, len(str(count))) if count > 9 else 1
    return tuple(f"{stem}_{i:0{width}d}" for i in range(1, count + 1))


def _classic_names(**_: Value) -> tuple[str, ...]:
    pitches = tuple(f"chroma_{name}" for name in spectral.PITCH_CLASSES)
    others = _numbered("mel", 128) + _numbered("contrast", 7) + _numbered("tonnetz", 6)
    return _numbered("mfcc", 40) + pitches + others


def _classic(analysis: Analysis, *, window: str, frame_length: int, hop_length: int) -> Float32Array:
    """Average 40 MFCC, 12 chroma, 128 mel powers, 7 contrasts and 6 tonnetz dimensions over time."""
    # A short frame is padded: 128 mel bands need the frequency spacing of 2048 samples.
    stft = Stft(frame_length, hop_length, window, _transform(frame_length, 2048))
    mel = spectral.mel_spectrogram(analysis, stft, n_mels=128)
    chroma = spectral.chroma(analysis, stft)
    parts = (
        spectral.mfcc(spectral.decibels(mel), n_mfcc=40),
        chroma,
        mel,
        spectral.contrast(analysis, stft),
        spectral.tonnetz(chroma),
    )
    return np.concatenate([part.mean(axis=1) for part in parts])


def _transform(length: int, least: int) -> int:
    """Choose the transform length: the next power of two, and no less than `least`."""
    return max(least, 1 << (length - 1).bit_length())


def _logmel_names(*, n_mels: int, **_: Value) -> tuple[str, ...]:
    return _numbered("logmel", n_mels)


def _logmel(
    analysis: Analysis,
    *,
    window: str,
    frame_length: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float,
) -> Float32Array:
    """Level in mel bands, in decibels, at most 80 dB below the clip's largest."""
    stft = Stft(frame_length, hop_length, window, _transform(frame_length, 512))
    return spectral.decibels(spectral.mel_spectrogram(analysis, stft, n_mels, fmin, fmax)).T


def _sequence_names(*, n_mfcc: int, **_: Value) -> tuple[str, ...]:
    cepstrum = _numbered("mfcc", n_mfcc)
    changes = tuple(f"{order}_{name}" for order in ("delta", "delta2") for name in cepstrum)
    return (*cepstrum, *changes, "log_f0", "energy", "voicing")


def _sequence(
    analysis: Analysis,
    *,
    window: str,
    frame_length: int,
    n_mels: int,
    n_mfcc: int,
    pitch_floor: float,
    pitch_ceiling: float,
) -> Float32Array:
    """Put MFCC with their derivatives next to F0 (octaves above 27.5 Hz), level and voicing, every 10 ms."""
    stft = Stft(frame_length, HOP, window, _transform(frame_length, 512))
    mel = spectral.mel_spectrogram(analysis, stft, n_mels, fmin=20.0)
    cepstrum = spectral.mfcc(spectral.decibels(mel), n_mfcc)
    track = pitch.track(analysis, pitch.PitchOptions(pitch_floor, pitch_ceiling, hop=HOP / RATE))
    octaves = np.log2(np.where(track.voiced, track.f0, 27.5) / 27.5)
    voice = np.stack([octaves, prosody.energy(analysis), track.strength])
    return np.concatenate([cepstrum, spectral.delta(cepstrum), spectral.delta(cepstrum, 2), voice]).T


def _prosodic_names(**_: Value) -> tuple[str, ...]:
    return functionals.prosodic_names()


def _prosodic(analysis: Analysis, *, pitch_floor: float, pitch_ceiling: float) -> Float32Array:
    return functionals.prosodic(analysis, pitch.PitchOptions(pitch_floor, pitch_ceiling))


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
        FeatureSet(
            "classic193",
            1,
            "clip",
            "means over time of 40 MFCC, 12 chroma, 128 mel powers, 7 spectral contrasts and 6 tonnetz",
            _classic_names,
            _classic,
            {
                "window": _SHORT_FRAMES["window"],
                "frame_length": Parameter(2048, low=160, high=8192, multiple=2, unit="samples"),
                "hop_length": Parameter(512, low=40, high=8192, unit="samples"),
            },
        ),
        FeatureSet(
            "prosodic",
            1,
            "clip",
            "F0, voice quality, formants, loudness, spectral balance and rhythm, in the spirit of eGeMAPS",
            _prosodic_names,
            _prosodic,
            _PITCH,
        ),
        FeatureSet(
            "comprehensive",
            1,
            "clip",
            "the prosodic set with statistics of timbre, its modulation and its course, for classic models",
            comprehensive.names,
            comprehensive.comprehensive,
        ),
        FeatureSet(
            "logmel",
            1,
            "frame",
            "level in mel bands, for convolutional networks",
            _logmel_names,
            _logmel,
            {
                **_SHORT_FRAMES,
                "hop_length": Parameter(HOP, low=40, high=8192, unit="samples"),
                "n_mels": Parameter(64, low=8, high=256),
                "fmin": Parameter(20.0, low=0, high=4000, unit="Hz"),
                "fmax": Parameter(8000.0, low=500, high=RATE / 2, unit="Hz"),
            },
        ),
        FeatureSet(
            "sequence",
            1,
            "frame",
            "MFCC with two derivatives, F0, energy and voicing every 10 ms, for recurrent networks",
            _sequence_names,
            _sequence,
            {
                **_SHORT_FRAMES,
                "n_mels": Parameter(40, low=8, high=128),
                "n_mfcc": Parameter(13, low=2, high=40),
                **_PITCH,
            },
        ),
        FeatureSet(
            SAMPLES,
            SAMPLES_VERSION,
            "samples",
            "the preprocessed samples themselves, for models that start from them",
            lambda: (),
            lambda analysis: padded(analysis.samples),
        ),
    )
}


_KINDS = {bool: "true or false", float: "a number", str: "a word"}


def available() -> tuple[str, ...]:
    """Return the names of the feature sets; ``samples`` is none, though models name it as what they take.

    Examples
    --------
    >>> "classic193" in available()
    True
    """
    return tuple(name for name, entry in _SETS.items() if entry.level != "samples")


def register(entry: FeatureSet) -> None:
    """Make a set known by its name, as the encoders of :mod:`emovox.lab` do when they are imported."""
    _SETS[entry.name] = entry


def get(name: str) -> FeatureSet:
    """Look a feature set up by name.

    Raises
    ------
    FeatureError
        There is none of that name.

    Examples
    --------
    >>> get("classic193").level
    'clip'
    """
    if name not in _SETS:
        raise FeatureError(f"unknown feature set {name!r}: {did_you_mean(name, available())}")
    return _SETS[name]


def _options(preprocess: Mapping[str, Any]) -> PreprocessOptions:
    """Turn a mapping into options, and name the key or the value that is not possible."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(PreprocessOptions)}
    for key, value in preprocess.items():
        if key not in kinds:
            raise FeatureError(f"unknown preprocessing option {key!r}: {did_you_mean(key, kinds)}")
        wanted = (int, float) if kinds[key] is float else kinds[key]
        if not isinstance(value, wanted) or isinstance(value, bool) != (kinds[key] is bool):
            raise FeatureError(f"preprocessing option {key}={value!r} is not possible: give {_KINDS[kinds[key]]}")
    return PreprocessOptions(**preprocess)


def spec(
    name: str,
    parameters: Mapping[str, object] = MappingProxyType({}),
    preprocess: Mapping[str, Any] | PreprocessOptions = MappingProxyType({}),
) -> FeatureSpec:
    """Write down completely what is to be computed.

    Parameters
    ----------
    name : str
        Feature set, one of :func:`available`.
    parameters : mapping, optional
        Settings of the set that differ from its defaults.
    preprocess : mapping or PreprocessOptions, optional
        Preprocessing options that differ from their defaults.

    Returns
    -------
    FeatureSpec
        With every default written out, so that later changes of a default do not change its meaning.

    Raises
    ------
    FeatureError
        A name is unknown, or a value or a combination of values is not possible.

    Examples
    --------
    >>> spec("classic193", {"window": "hamming"}).parameters
    {'window': 'hamming', 'frame_length': 2048, 'hop_length': 512}
    """
    chosen = get(name)
    complete = chosen.complete(parameters)
    options = preprocess if isinstance(preprocess, PreprocessOptions) else _options(preprocess)
    dimension = len(chosen.names(**complete))
    if not chosen.pretrained:
        # Values that are possible one by one may not go together: a trial run tells now, not at the first clip.
        # Encoders are spared it, so that a recipe can be read where their weights are not.
        chosen.compute(Analysis(np.zeros(RATE // 10, dtype=np.float32)), **complete)
    return FeatureSpec(name, chosen.version, dimension, complete, dataclasses.asdict(options))


def weights_digest(spec: FeatureSpec) -> str:
    """Tell which weights compute a specification, empty for a set that needs none.

    Raises
    ------
    ModelError
        The weights cannot be found.

    Examples
    --------
    >>> weights_digest(spec("classic193"))
    ''
    """
    digest = get(spec.set).digest
    return digest(str(spec.parameters["weights"])) if digest else ""


def _reproduced(spec: FeatureSpec) -> FeatureSet:
    """Return the set that computes exactly what is wanted, or refuse."""
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
        Mono speech at 16 kHz.  :func:`emovox.audio.require_signal` tells whether there is anything in it.
    spec : FeatureSpec
        Made by the function :func:`spec`, or read from a model file.

    Returns
    -------
    ndarray of float32
        Shape (n_features,) for a set of clip level, (n_frames, n_features) for one of frame level, (n_samples,) for
        ``samples``; finite.

    Raises
    ------
    FeatureError
        This version cannot reproduce the specification, or the samples are too large for float32 arithmetic.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(np.arange(16000) / 10).astype(np.float32)
    >>> extract(Waveform(tone), spec("classic193")).shape
    (193,)
    """
    chosen = _reproduced(spec)
    cleaned = preprocess(waveform, _options(spec.preprocess))
    with np.errstate(over="ignore", invalid="ignore"):
        features = chosen.compute(Analysis(cleaned.samples), **spec.parameters)
    if not np.isfinite(features).all():
        peak = float(np.abs(waveform.samples).max())
        raise FeatureError(
            f"the features are not finite, the largest sample is {peak:g}: give samples in the range -1 to 1"
        )
    return features


def feature_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the names of the numbers that :func:`extract` gives.

    Raises
    ------
    FeatureError
        This version cannot reproduce the specification.

    Examples
    --------
    >>> feature_names(spec("classic193"))[-1]
    'tonnetz_6'
    """
    return _reproduced(spec).names(**spec.parameters)
