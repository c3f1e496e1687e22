"""Training sets: features of any kind, labels, speakers, corpora, augmented copies, waveforms and sentences."""

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

#: Indices of clips, or anything else that indexes an array.
Rows = Any
#: Function from the number of a view (0 the clip, 1 its first augmented copy, ...) to preprocessed samples at 16 kHz.
Sound = Callable[[int], Float32Array]


@dataclass(frozen=True, eq=False)
class Speech:
    """Waveforms of the clips, for estimators that fine-tune the encoder of their features.

    Attributes
    ----------
    sounds : sequence of callable
        One per clip, see :data:`Sound`; its views correspond to the features of the clip and of its copies.
    encoder : FeatureSpec
        Specification of the features.
    checkpoints : Path or None
        Folder for checkpoints; None writes none.
    jobs : int
        Number of processes that read waveforms; -1 is one per core.
    progress : callable
        Progress callback: stage, done, total.
    """

    sounds: Sequence[Sound]
    encoder: FeatureSpec
    checkpoints: Path | None = None
    jobs: int = 1
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None

    def of(self, rows: NDArray[np.intp]) -> Speech:
        """Select clips."""
        return dataclasses.replace(self, sounds=[self.sounds[row] for row in rows])

    def heard(self, rows: NDArray[np.intp], views: NDArray[np.intp]) -> list[Float32Array]:
        """Read the samples of some clips, each in its view."""
        tasks = (delayed(self.sounds[row])(int(view)) for row, view in zip(rows, views, strict=True))
        return list(Parallel(n_jobs=self.jobs)(tasks))


@dataclass(frozen=True, eq=False)
class Sentences:
    """Development sentences, which replace the words of training clips in the training of fusion.

    Attributes
    ----------
    words : ndarray of float32, shape (n, len(NAMES))
        Linguistic features.
    labels : ndarray of str, shape (n,)
        Emotion of the words.
    """

    words: Float32Array
    labels: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training data of an estimator; arrays have one row per clip, except `sentences`.

    Attributes
    ----------
    X : ndarray of float32, shape (n_clips, n_features), Sequences, or Inputs
        Raw features.
    y : ndarray of str, shape (n_clips,)
        Labels.
    speakers : ndarray of str, shape (n_clips,), or None
        Speakers; None unless all are known.
    corpora : ndarray of str, shape (n_clips,), or None
        Names of the corpora.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), Sequences, Inputs, or None
        Features of augmented copies.
    speech : Speech or None
        Waveforms of the clips.
    sentences : Sentences or None
        Development sentences, for estimators that use words.
    kept : Path or None
        Folder for finished networks, from which an interrupted training is resumed.
    settings : ndarray of str, shape (n_clips, 1 + n_copies), or None
        Setting of each clip and of each copy: whose microphone, room and language are alike.
    votes : ndarray of float64, shape (n_clips, n_voted), or None
        Shares of the raters' votes, where they are known.
    voted : tuple of str
        Labels of the columns of `votes`.
    on_epoch : callable
        Callback after each epoch of a network, called with its number, losses and recalls.

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
    settings: NDArray[Any] | None = None
    votes: NDArray[Any] | None = None
    voted: tuple[str, ...] = ()
    on_epoch: Callable[[Mapping[str, Any]], None] = lambda epoch: None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Rows) -> TrainingSet:
        """Select clips."""

        def some(values: Any) -> Any:
            return None if values is None else values[rows]

        return dataclasses.replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            speakers=some(self.speakers),
            corpora=some(self.corpora),
            copies=some(self.copies),
            settings=some(self.settings),
            votes=some(self.votes),
            speech=None if self.speech is None else self.speech.of(np.arange(len(self))[rows]),
        )

    def part(self, name: str) -> TrainingSet:
        """Select one of several named inputs, see `Inputs`: of a member of a stack, or the voice of a fusion."""
        X, copies = self.X, self.copies
        assert isinstance(X, Inputs)
        return dataclasses.replace(
            self, X=X.parts[name], copies=copies.parts.get(name) if isinstance(copies, Inputs) else None
        )

    @property
    def recordings(self) -> Speech:
        """Waveforms of the clips.

        Raises
        ------
        ProtocolError
            The training set has no waveforms.
        """
        if self.speech is None:
            raise ProtocolError("this model tunes an encoder and needs the recordings: train it from a recipe")
        return self.speech

    @property
    def n_views(self) -> int:
        """Number of views of a clip: the clip and its augmented copies."""
        copies: Any = self.copies
        return 1 if copies is None else 1 + copies.shape[1]

    def view(self, number: int) -> Float32Array:
        """Return the features of one view, shape (n_clips, n_features); view 0 are the clips themselves."""
        found: Any = self.X if number == 0 or self.copies is None else self.copies[:, number - 1]
        return np.asarray(found)
