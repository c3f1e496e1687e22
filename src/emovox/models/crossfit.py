"""Fitting many models side by side: every fold, every seed, and the model of all clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from emovox.errors import ProtocolError
from emovox.models import families
from emovox.models.adaptive import AdaptiveClassifier
from emovox.types import Float


@dataclass(frozen=True, eq=False)
class Clips:
    """What models are fitted on, row by row.

    Attributes
    ----------
    X : ndarray of float32, shape (n_clips, n_features)
        Raw features.
    y : ndarray of str, shape (n_clips,)
        Labels.
    speakers : ndarray of str, shape (n_clips,), or None
        None where not all are known.
    corpora : ndarray of str, shape (n_clips,)
        Names of the corpora.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), or None
        Features of augmented copies.
    """

    X: Float
    y: NDArray[np.str_]
    speakers: NDArray[np.str_] | None
    corpora: NDArray[np.str_]
    copies: Float | None = None


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
        Rows of the test whose mean is their speaker's baseline, for learners that take one.
    keep : bool
        Return the fitted pipeline too.
    """

    family: str
    options: families.Options
    train: NDArray[np.intp]
    test: NDArray[np.intp] | None
    enrolled: NDArray[np.intp] = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.intp))
    keep: bool = False


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
    """

    classes: NDArray[np.str_]
    probabilities: Float
    enrolled: Float | None = None
    pipeline: Pipeline | None = None


def fit_many(
    clips: Clips,
    tasks: Sequence[Task],
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Fitted]:
    """Fit models in parallel.

    Parameters
    ----------
    clips : Clips
        All rows that any task needs.
    tasks : sequence of Task
        Models to fit.
    jobs : int, default -1
        Processes; -1 is one a core.
    tell : callable, optional
        Called with ("training", done, total).

    Returns
    -------
    list of Fitted
        One entry a task.
    """
    results: list[Fitted] = []
    for result in Parallel(n_jobs=jobs, return_as="generator")(delayed(fit_one)(clips, task) for task in tasks):
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
    families.fit(pipeline, clips.X[rows], clips.y[rows], speakers, clips.corpora[rows], copies)
    test = np.empty(0, dtype=np.intp) if task.test is None else task.test
    return Fitted(
        classes=pipeline.classes_,
        probabilities=pipeline.predict_proba(clips.X[test]) if len(test) else np.empty((0, 0), dtype=np.float32),
        enrolled=_enrolled(pipeline, clips, test, task.enrolled),
        pipeline=pipeline if task.keep else None,
    )


def _enrolled(pipeline: Pipeline, clips: Clips, test: NDArray[np.intp], enrolled: NDArray[np.intp]) -> Float | None:
    """Predict test rows with their speakers' baselines; those of speakers without one are NaN."""
    learner = pipeline.named_steps["model"]
    if not isinstance(learner, AdaptiveClassifier) or clips.speakers is None or not len(enrolled):
        return None
    result = np.full((len(test), len(learner.classes_)), np.nan, dtype=np.float32)
    for speaker in np.unique(clips.speakers[enrolled]):
        baseline = clips.X[enrolled[clips.speakers[enrolled] == speaker]].mean(axis=0)
        own = clips.speakers[test] == speaker
        result[own] = learner.predict_proba(clips.X[test[own]], baseline)
    return result
