"""What models are trained on: one object for tables of vectors, sequences, several inputs and clips to be heard."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from emovox.errors import ProtocolError
from emovox.lab.extraction.sequences import Inputs
from emovox.types import FeatureSpec, Float32Array

#: Positions of clips, or anything else that indexes an array.
Rows = Any
#: From the number of a view (0: the clip itself, 1: its first augmented copy, ...) to preprocessed samples at 16 kHz.
Sound = Callable[[int], Float32Array]


@dataclass(frozen=True, eq=False)
class Speech:
    """Clips that can be heard, for estimators that tune the encoder of their features.

    Attributes
    ----------
    sounds : sequence of callable
        One a clip, see :data:`Sound`: views 0, 1, ... are what the features of the clip and of its copies are of.
    encoder : FeatureSpec
        The features.
    checkpoints : Path or None
        Folder for the state of unfinished trainings and for finished ones; None keeps nothing.
    jobs : int
        Processes that make sounds; -1 is one a core.
    tell : callable
        Progress callback: stage, done, total.
    """

    sounds: Sequence[Sound]
    encoder: FeatureSpec
    checkpoints: Path | None = None
    jobs: int = 1
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None

    def of(self, rows: NDArray[np.intp]) -> Speech:
        """Keep some clips."""
        return dataclasses.replace(self, sounds=[self.sounds[row] for row in rows])

    def heard(self, rows: NDArray[np.intp], views: NDArray[np.intp]) -> list[Float32Array]:
        """Return the samples of some clips, each in its view."""
        tasks = (delayed(self.sounds[row])(int(view)) for row, view in zip(rows, views, strict=True))
        return list(Parallel(n_jobs=self.jobs)(tasks))


@dataclass(frozen=True, eq=False)
class Sentences:
    """Development sentences, as the words of a training clip might have been.

    Attributes
    ----------
    words : ndarray of float32, shape (n, len(NAMES))
        Their words vectors.
    labels : ndarray of str, shape (n,)
        The emotion of the words.
    """

    words: Float32Array
    labels: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Clips with everything that an estimator may learn from; row by row, but for `sentences`, `kept` and `tell`.

    Attributes
    ----------
    X : ndarray of float32, shape (n_clips, n_features), Sequences, or Inputs
        Raw features.
    y : ndarray of str, shape (n_clips,)
        Labels.
    speakers : ndarray of str, shape (n_clips,), or None
        Speakers; None where not all are known.
    corpora : ndarray of str, shape (n_clips,), or None
        Names of the corpora.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), Sequences, Inputs, or None
        Features of augmented copies.
    speech : Speech or None
        The clips to be heard.
    sentences : Sentences or None
        Development sentences, for estimators that take words.
    kept : Path or None
        Folder for networks that are finished: a training that was interrupted goes on from there.
    tell : callable
        Called after each epoch of a network with what is known of it.

    Examples
    --------
    >>> clips = TrainingSet(np.eye(3, dtype=np.float32), np.array(["sad", "happy", "sad"]))
    >>> len(clips), len(clips[1:]), clips[[0]].y.tolist()
    (3, 2, ['sad'])
    """

    X: Any
    y: NDArray[Any]
    speakers: Any = None
    corpora: NDArray[Any] | None = None
    copies: Any = None
    speech: Speech | None = None
    sentences: Sentences | None = None
    kept: Path | None = None
    tell: Callable[[Mapping[str, Any]], None] = lambda epoch: None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Rows) -> TrainingSet:
        """Take some clips."""

        def some(values: Any) -> Any:
            return None if values is None else values[rows]

        return dataclasses.replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            speakers=some(self.speakers),
            corpora=some(self.corpora),
            copies=some(self.copies),
            speech=None if self.speech is None else self.speech.of(np.arange(len(self))[rows]),
        )

    def part(self, name: str) -> TrainingSet:
        """Take one of several named inputs, see `Inputs`: what a member of a stack, or the voice of a fusion, sees."""
        X, copies = self.X, self.copies
        assert isinstance(X, Inputs)
        return dataclasses.replace(
            self, X=X.parts[name], copies=copies.parts.get(name) if isinstance(copies, Inputs) else None
        )

    @property
    def recordings(self) -> Speech:
        """The clips to be heard.

        Raises
        ------
        ProtocolError
            They cannot be heard.
        """
        if self.speech is None:
            raise ProtocolError("this model tunes an encoder and needs the recordings: train it from a recipe")
        return self.speech

    @property
    def n_views(self) -> int:
        """Number of views of a clip: the clip itself and its copies."""
        copies: Any = self.copies
        return 1 if copies is None else 1 + copies.shape[1]

    def view(self, number: int) -> Float32Array:
        """Features of all clips in one view, shape (n_clips, n_features): 0 is the clips themselves."""
        found: Any = self.X if number == 0 or self.copies is None else self.copies[:, number - 1]
        return np.asarray(found)
