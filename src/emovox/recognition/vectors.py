"""Features and embeddings of recordings as numbers, also as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound, source_name
from emovox.errors import AudioError, FeatureError, InputError, MissingExtraError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import Model, load
from emovox.model.profiles import Profile
from emovox.recognition.analysis import checked_jobs, in_order
from emovox.recognition.timeline import WindowOptions, join_rest
from emovox.types import Float32Array, Waveform

#: Seconds of sound that a feature set describes by one row, where nothing else is asked for.
WINDOW = 60.0
#: Longest window that the encoder takes, in seconds.
_LONGEST = 30.0
#: How the built-in model's front end prepares sound for the encoder.
HEARD = {"trim": True, "trim_threshold": 30.0}


class FeatureExtractor:
    """Computes features of recordings.

    The set ``default``, the embedding of the encoder inside the package, needs no PyTorch: onnxruntime runs it.

    Parameters
    ----------
    name : str, default "prosodic"
        A feature set, see :func:`emovox.features.sets.available`.
    window : float, optional
        Seconds of sound in a row, 0.5 or more; recordings of more than one and a half windows are cut.  The default is
        60, and 6 for ``default``, which takes 30 at most.

    Attributes
    ----------
    window : float
        Seconds of sound in a row.

    Raises
    ------
    FeatureError
        There is no such set, or the window is out of its range.

    Examples
    --------
    >>> extractor = FeatureExtractor("prosodic")
    >>> extractor("examples/plain.wav").shape, len(extractor.names)
    ((91,), 91)
    >>> bool(np.isfinite(FeatureExtractor("default")("examples/plain.wav")).all())
    True
    """

    def __init__(self, name: str = "prosodic", *, window: float | None = None) -> None:
        self._spec = sets.spec(name, preprocess=HEARD if name == sets.ENCODER else {})
        self.window = (WindowOptions.duration if name == sets.ENCODER else WINDOW) if window is None else window
        longest = _LONGEST if name == sets.ENCODER else np.inf
        if not 0.5 <= self.window <= longest:
            raise FeatureError(f"window is {window}: expected seconds from 0.5 to {longest:g} for {name}")

    @property
    def level(self) -> str:
        """What a row is about: ``"clip"``, a window of sound, or ``"frame"``."""
        return sets.get(self._spec.set).level

    @property
    def hop(self) -> float:
        """Seconds from one frame to the next, of a set of frames; they are centred."""
        return float(self._spec.parameters.get("hop_length", 160)) / 16000

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return sets.feature_names(self._spec)

    def compute(self, waveform: Waveform) -> Float32Array:
        """Describe a waveform that is short enough: shape (n_features,), or (n_frames, n_features)."""
        return sets.extract(waveform, self._spec)

    def stretches(
        self, source: Sound, report: Callable[[Any], None] | None = None
    ) -> Iterator[tuple[Waveform, Float32Array]]:
        """Describe a recording window by window, in memory that does not grow with it.

        Parameters
        ----------
        source : str, path, bytes, binary file, or pair of array and rate
            The recording.
        report : callable, optional
            Called at the end with the blocks that were read, which know what could not be and what channels there are.

        Yields
        ------
        Waveform
            A window with sound in it: digital silence is left out.
        ndarray of float32
            What :meth:`compute` says of it.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short, or silent as a whole.
        """
        silent: AudioError | None = None
        heard = False
        blocks = audio.blocks(source, self.window)
        for stretch in join_rest(blocks, self.window / 2):
            try:
                audio.require_signal(stretch, source_name(source))
            except AudioError as error:
                silent = error
            else:
                heard = True
                yield stretch, self.compute(stretch)
        if report:
            report(blocks)
        if not heard:
            raise silent or AudioError(f"{source_name(source)} has no samples: give a recording that is not empty")

    def spans(self, stretch: Waveform, found: Float32Array) -> list[tuple[float, float]]:
        """Tell from when to when each row of what :meth:`compute` says of a stretch goes, in seconds."""
        if found.ndim == 1:
            return [(stretch.start, stretch.end)]
        starts = [round(stretch.start + number * self.hop, 6) for number in range(len(found))]
        return [(start, round(start + self.hop, 6)) for start in starts]

    def __call__(self, source: Sound | NDArray[Any], *, rate: float | None = None) -> Float32Array:
        """Describe a recording by one vector, or by its frames.

        Parameters
        ----------
        source : str, path, bytes, binary file, array, or pair of array and rate
            The recording.
        rate : float, optional
            Sampling rate of an array in Hz.

        Returns
        -------
        ndarray of float32, shape (n_features,) or (n_frames, n_features)
            Of a recording with several windows the mean, weighted by duration; of a set of frames, all frames.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short, or silent.
        """
        parts = list(self.stretches(audio.as_sound(source, rate)))
        if self.level == "frame":
            return np.concatenate([found for _, found in parts])
        lengths = [stretch.duration for stretch, _ in parts]
        mean: Float32Array = np.average([found for _, found in parts], axis=0, weights=lengths).astype(np.float32)
        return parts[0][1] if len(parts) == 1 else mean


class AxesExtractor(FeatureExtractor):
    """Computes the emotion axes of recordings: the few numbers by which a model knows settings and speakers.

    For each label, there are three linear scores of the embedding, learnt in training: ``setting_angry`` from clips
    less the mean of their setting, ``absolute_angry`` from clips as they are, and ``speaker_angry`` from clips less
    the mean of their speaker's neutral ones.

    Parameters
    ----------
    model : Model, str or path, default "default"
        Whose axes.
    setting : Profile, str or path, optional
        A setting from ``emovox adapt``: from every axis the mean of what was heard of it is subtracted, and the
        difference divided by the standard deviation, so that 0 is ordinary there.  The default gives the axes as
        they are.
    window : float, optional
        Seconds of sound in a row, from 0.5 to 30; the default is 6.

    Raises
    ------
    ModelError
        The model has no axes.
    ProfileError
        There is no such setting, or another model heard it.

    Examples
    --------
    >>> extractor = AxesExtractor()
    >>> len(extractor.names), extractor.names[0], extractor("examples/plain.wav").shape
    (24, 'setting_angry', (24,))
    """

    #: Points of view of the axes, in the model's order.
    VIEWS = ("setting", "absolute", "speaker")

    def __init__(
        self,
        model: Model | str | Path = "default",
        *,
        setting: Profile | str | Path | None = None,
        window: float | None = None,
    ) -> None:
        super().__init__(sets.ENCODER, window=window)
        self._model = model if isinstance(model, Model) else load(model)
        _, known = profiles.given(None, setting)
        if isinstance(known, str):
            raise InputError(f"setting {known!r} is no profile: axes are compared with a setting that was heard before")
        profiles.baseline(self._model, known)  # refuses a model without axes, and what another model heard
        self._ordinary = known.statistics if known else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: point of view and label."""
        return tuple(f"{view}_{label}" for view in self.VIEWS for label in sorted(self._model.card.labels))

    def compute(self, waveform: Waveform) -> Float32Array:
        """Describe a waveform of 30 s at most, shape (n_axes,)."""
        inputs = {name: sets.extract(waveform, spec)[np.newaxis] for name, spec in self._model.inputs.items()}
        output = self._model.run(inputs).axes
        assert output is not None  # a model that takes a baseline has axes
        found: Float32Array = output[0]
        if self._ordinary is None:
            return found
        spread = np.sqrt(np.maximum(self._ordinary.variance, np.finfo(np.float32).tiny))
        apart: Float32Array = ((found - self._ordinary.mean) / spread).astype(np.float32)
        return apart


def standardised(rows: Sequence[Float32Array]) -> Float32Array:
    """Compare recordings with one another: of each column the mean is 0 then, and the standard deviation 1.

    Parameters
    ----------
    rows : sequence of ndarray, shape (n_features,)

    Returns
    -------
    ndarray of float32, shape (n_rows, n_features)
        A column whose values are all the same is 0.

    Examples
    --------
    >>> standardised([np.float32([1, 5]), np.float32([3, 5])]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    table = np.stack(rows).astype(np.float64)
    spread = table.std(axis=0)
    scores: Float32Array = ((table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    return scores


try:  # this module is imported only when the transformer is asked for
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError:
    BaseEstimator, TransformerMixin = type("Missing", (), {}), type("Missing", (), {})


class SpeechFeatures(TransformerMixin, BaseEstimator):
    """Transforms recordings into features or embeddings, as a step of scikit-learn's pipelines.

    Nothing is learnt from the data, so that features may be computed before the folds of a cross-validation;
    ``Pipeline(..., memory=FOLDER)`` keeps them from one fit to the next.

    Parameters
    ----------
    features : str, default "prosodic"
        A feature set of one vector a recording, see :class:`emovox.FeatureExtractor`.
    window : float, optional
        Seconds that are described at once; a longer recording gets the mean, weighted by duration.
    rate : float, optional
        Sampling rate in Hz of recordings that are arrays.
    jobs : int, optional
        How many are described at a time; the default is one a processor core.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> clips = [f"examples/{name}.wav" for name in ("plain", "lively", "slow", "loud")]
    >>> model = make_pipeline(SpeechFeatures("prosodic", jobs=1), StandardScaler(), LogisticRegression())
    >>> model.fit(clips, ["low", "high", "low", "high"]).predict(clips[:1]).tolist()
    ['low']
    """

    def __init__(
        self,
        features: str = "prosodic",
        *,
        window: float | None = None,
        rate: float | None = None,
        jobs: int | None = None,
    ) -> None:
        if BaseEstimator.__name__ == "Missing":
            raise MissingExtraError("a step of scikit-learn's pipelines", "notebook")
        self.features = features
        self.window = window
        self.rate = rate
        self.jobs = jobs

    def fit(self, X: Iterable[Sound | NDArray[Any]], y: object = None) -> SpeechFeatures:
        """Check the parameters; there is nothing to learn.

        Raises
        ------
        FeatureError
            There is no such set, or it gives frames instead of one vector a recording.
        """
        self._described()
        return self

    def transform(self, X: Iterable[Sound | NDArray[Any]]) -> Float32Array:
        """Compute the features of recordings.

        Parameters
        ----------
        X : iterable of str, path, bytes, array, or pair of array and rate
            The recordings; a matrix holds one in each row, a table of one column a path in each.

        Returns
        -------
        ndarray of float32, shape (n_recordings, n_features)

        Raises
        ------
        AudioError
            A recording cannot be read, is too short, or silent.
        InputError
            `X` is one name, not a list of them.
        """
        extractor = self._described()

        def one(source: Any, check: object) -> Float32Array:
            return extractor(source, rate=self.rate if hasattr(source, "__array__") else None)

        rows = list(in_order(one, _recordings(X), checked_jobs(self.jobs)))
        return np.stack(rows) if rows else np.empty((0, len(extractor.names)), dtype=np.float32)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the columns; `input_features` is not used."""
        return np.array(self._described().names, dtype=object)

    def _described(self) -> FeatureExtractor:
        """Return the extractor of these parameters: made once, and not kept in files and other processes."""
        asked = self.features, self.window
        if getattr(self, "_extractor", (None, None))[0] != asked:
            extractor = FeatureExtractor(self.features, window=self.window)
            if extractor.level != "clip":
                raise FeatureError(f"feature set {self.features!r} gives frames, and a table has one row a recording")
            self._extractor = asked, extractor
        return self._extractor[1]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_extractor"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _recordings(X: Any) -> Iterator[Sound | NDArray[Any]]:
    """Give the recordings of what scikit-learn passes on: a list, an array of names or samples, a column of a table."""
    if isinstance(X, str | bytes):
        raise InputError(f"{X[:40]!r} is one recording: give a list of recordings")
    if hasattr(X, "__array__"):
        array = np.asarray(X)
        X = array.ravel().tolist() if array.dtype.kind in "OUST" else array
    yield from X
