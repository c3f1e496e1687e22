"""Fitting many models side by side: every fold, every seed, and the model of all clips."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from emovox.errors import ProtocolError
from emovox.lab.estimators import families
from emovox.lab.estimators.adaptive import AdaptiveClassifier
from emovox.lab.estimators.encoder_tuning import Speech
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.fusion import Sentences
from emovox.lab.estimators.progress import EpochLog, followed
from emovox.lab.estimators.stacking import StackClassifier
from emovox.lab.extraction.sequences import Features, Joint
from emovox.types import Float32Array

#: What the mean of the members' answers is called.
AVERAGE = "average"


@dataclass(frozen=True, eq=False)
class Clips:
    """What models are fitted on, row by row.

    Attributes
    ----------
    X : ndarray of float32, shape (n_clips, n_features), or Sequences
        Raw features.
    y : ndarray of str, shape (n_clips,)
        Labels.
    speakers : ndarray of str, shape (n_clips,), or None
        None where not all are known.
    corpora : ndarray of str, shape (n_clips,)
        Names of the corpora.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), Sequences, or None
        Features of augmented copies.
    speech : Speech or None
        The clips to be heard, for families that tune the encoder of their features.
    kept : Path or None
        Folder for networks that are finished, and for what is told of epochs.
    sentences : Sentences or None
        Development sentences, for families that take words: their rows of X end with words vectors.
    """

    X: Features
    y: NDArray[np.str_]
    speakers: NDArray[np.str_] | None
    corpora: NDArray[np.str_]
    copies: Features | None = None
    speech: Speech | None = None
    kept: Path | None = None
    sentences: Sentences | None = None

    @property
    def log(self) -> EpochLog:
        """Where epochs are told."""
        return EpochLog(self.kept / "epochs.jsonl" if self.kept else None)


@dataclass(frozen=True, eq=False)
class Task:
    """One model to fit.

    Attributes
    ----------
    family : str
        Model family.
    options : dataclass
        Its options, with the seed.
    train : ndarray of int
        Rows to fit on.
    test : ndarray of int or None
        Rows to predict, if any.
    enrolled : ndarray of int
        Rows among the test's whose mean is their speaker's baseline, for learners that take one.
    keep : bool
        Return the fitted pipeline too.
    name : str
        What it is called where its epochs are told.
    """

    family: str
    options: families.Options
    train: NDArray[np.intp]
    test: NDArray[np.intp] | None
    enrolled: NDArray[np.intp] = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.intp))
    keep: bool = False
    name: str = ""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What came of a task.

    Attributes
    ----------
    classes : ndarray of str
        Order of the probabilities.
    probabilities : ndarray of float32, shape (n_test, n_classes)
        Of the test rows, if any.
    enrolled : ndarray or None
        The same with the speakers' baselines; None for learners without, or where nobody was enrolled.
    pipeline : Pipeline or None
        Where it was to be kept.
    curves : list of list of dict
        For each network of the model, each epoch's losses and recalls; none for learners without epochs.
    seconds : float
        What the fit took.
    parts : mapping of str to ndarray
        What each member of a stack says by itself, and their mean under the name ``average``.
    """

    classes: NDArray[np.str_]
    probabilities: Float32Array
    enrolled: Float32Array | None = None
    pipeline: Pipeline | None = None
    curves: list[list[dict[str, Any]]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    parts: Mapping[str, Float32Array] = dataclasses.field(default_factory=dict)


def fit_many(
    clips: Clips,
    tasks: Sequence[Task],
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Fitted]:
    """Fit models in parallel; those that tune an encoder, and keep all cores busy with one, one after the other.

    Parameters
    ----------
    clips : Clips
        All rows that any task needs.
    tasks : sequence of Task
        Models to fit.
    jobs : int, default -1
        Processes; -1 is one a core.
    tell : callable, optional
        Called with ("training", done, total), and with what is known of the last epoch.

    Returns
    -------
    list of Fitted
        One entry a task.
    """
    results: list[Fitted] = []
    work: Iterable[Fitted]
    if clips.speech is not None:
        work = (fit_one(clips, task) for task in tasks)
    else:
        work = Parallel(n_jobs=jobs, return_as="generator")(delayed(fit_one)(clips, task) for task in tasks)
    with followed(clips.log, sum(families.epochs(task.options) for task in tasks), tell):
        for result in work:
            results.append(result)
            tell("training", len(results), len(tasks))
    return results


def fit_one(clips: Clips, task: Task) -> Fitted:
    """Fit one model: scaler, early stopping and calibration see its training rows only.

    Raises
    ------
    ProtocolError
        A test row is among the training rows.
    """
    if task.test is not None and np.intersect1d(task.train, task.test).size:
        raise ProtocolError("a test clip is among the training clips: this must not happen, please report it")
    pipeline = families.build(task.family, task.options)
    rows = task.train
    speakers = None if clips.speakers is None else clips.speakers[rows]
    copies = None if clips.copies is None else clips.copies[rows]
    speech = None if clips.speech is None else clips.speech.of(rows)
    begin = time.perf_counter()
    families.fit(
        pipeline,
        clips.X[rows],
        clips.y[rows],
        speakers,
        clips.corpora[rows],
        copies,
        speech,
        clips.kept,
        lambda epoch: clips.log.write({"task": task.name, **epoch}),
        clips.sentences,
    )
    seconds = time.perf_counter() - begin
    test = np.empty(0, dtype=np.intp) if task.test is None else task.test
    X = _features(pipeline, clips, test)
    return Fitted(
        classes=pipeline.classes_,
        probabilities=pipeline.predict_proba(X) if len(test) else np.empty((0, 0), dtype=np.float32),
        enrolled=_enrolled(pipeline, clips, X, test, task.enrolled),
        pipeline=pipeline if task.keep else None,
        curves=families.curves(pipeline),
        parts=_parts(pipeline, X),
        seconds=seconds,
    )


def _parts(pipeline: Pipeline, X: Features) -> dict[str, Float32Array]:
    """Return what the members of a stack say, and their mean: the yardsticks of what weighs them."""
    learner = pipeline.named_steps["model"]
    if not isinstance(learner, StackClassifier) or not isinstance(X, Joint) or not len(X):
        return {}
    each = learner.each_proba(X)
    return {**each, AVERAGE: np.mean(list(each.values()), axis=0)}


def _features(pipeline: Pipeline, clips: Clips, rows: NDArray[np.intp]) -> Features:
    """Return the features of some clips, from the tuned encoder where there is one."""
    learner = pipeline.named_steps["model"]
    if isinstance(learner, FinetunedClassifier) and clips.speech is not None and len(rows):
        return learner.embed(clips.speech.of(rows))
    return clips.X[rows]


def _enrolled(
    pipeline: Pipeline, clips: Clips, X: Features, test: NDArray[np.intp], enrolled: NDArray[np.intp]
) -> Float32Array | None:
    """Predict test rows with their speakers' baselines; those of speakers without one are NaN."""
    learner = pipeline.named_steps["model"]
    if not isinstance(learner, AdaptiveClassifier) or clips.speakers is None or not len(enrolled):
        return None
    X = np.asarray(X)
    result = np.full((len(test), len(learner.classes_)), np.nan, dtype=np.float32)
    for speaker in np.unique(clips.speakers[enrolled]):
        own = clips.speakers[test] == speaker
        baseline = X[own & np.isin(test, enrolled)].mean(axis=0)
        result[own] = learner.predict_proba(X[own], baseline)
    return result
