"""A scikit-learn transformer of recordings to features or embeddings.

This module is imported only when it is used: scikit-learn takes a second and 100 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox.audio import Sound
from emovox.errors import FeatureError, InputError, MissingExtraError
from emovox.recognition.analysis import checked_jobs, in_order
from emovox.recognition.recognizer import FeatureExtractor
from emovox.types import Float32Array

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError:
    BaseEstimator, TransformerMixin = type("Missing", (), {}), type("Missing", (), {})


class SpeechFeatures(TransformerMixin, BaseEstimator):
    """Transforms recordings into features or embeddings, as a step of a scikit-learn pipeline.

    Nothing is learnt from the data, so that features may be computed before the folds of a cross-validation;
    ``Pipeline(..., memory=FOLDER)`` keeps them from one fit to the next.

    Parameters
    ----------
    features : str, default "prosodic"
        A clip-level feature set, see :class:`emovox.FeatureExtractor`.
    window : float, optional
        Window in seconds; a longer recording gets the mean over its windows, weighted by duration.
    rate : float, optional
        Sampling rate in Hz of recordings that are arrays.
    jobs : int, optional
        Number of recordings processed in parallel; the default is one per processor core.

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
        """Check the parameters; nothing is fitted.

        Raises
        ------
        FeatureError
            The set does not exist, or is a frame-level set.
        """
        self._described()
        return self

    def transform(self, X: Iterable[Sound | NDArray[Any]]) -> Float32Array:
        """Compute the features of recordings.

        Parameters
        ----------
        X : iterable of str, path, bytes, array, or pair of array and rate
            The recordings: a matrix with one recording per row, or a table with one column of paths.

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
