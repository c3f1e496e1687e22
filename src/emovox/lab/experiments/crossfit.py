"""Fitting many models side by side: every fold, every seed, and the model of all clips."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from emovox.errors import ProtocolError
from emovox.lab.estimators import families
from emovox.lab.estimators.estimator import Estimator, Options, learner
from emovox.lab.estimators.progress import EpochLog, followed
from emovox.lab.estimators.training import TrainingSet
from emovox.types import Float32Array


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
    options: Options
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
        What each model inside says by itself, see `Estimator.parts`.
    """

    classes: NDArray[np.str_]
    probabilities: Float32Array
    enrolled: Float32Array | None = None
    pipeline: Pipeline | None = None
    curves: list[list[dict[str, Any]]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    parts: Mapping[str, Float32Array] = dataclasses.field(default_factory=dict)


def fit_many(
    clips: TrainingSet,
    tasks: Sequence[Task],
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Fitted]:
    """Fit models in parallel; those that tune an encoder, and keep all cores busy with one, one after the other.

    Parameters
    ----------
    clips : TrainingSet
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
    with followed(_log(clips), sum(task.options.planned_epochs for task in tasks), tell):
        for result in work:
            results.append(result)
            tell("training", len(results), len(tasks))
    return results


def fit_one(clips: TrainingSet, task: Task) -> Fitted:
    """Fit one model: scaler, early stopping and calibration see its training rows only.

    Raises
    ------
    ProtocolError
        A test row is among the training rows.
    """
    if task.test is not None and np.intersect1d(task.train, task.test).size:
        raise ProtocolError("a test clip is among the training clips: this must not happen, please report it")
    log, begin = _log(clips), time.perf_counter()
    told = dataclasses.replace(clips, tell=lambda epoch: log.write({"task": task.name, **epoch}))
    pipeline = families.fit(families.build(task.family, task.options), told[task.train])
    seconds = time.perf_counter() - begin
    test = np.empty(0, dtype=np.intp) if task.test is None else task.test
    model = learner(pipeline)
    X = model.features(clips[test])
    return Fitted(
        classes=pipeline.classes_,
        probabilities=pipeline.predict_proba(X) if len(test) else np.empty((0, 0), dtype=np.float32),
        enrolled=_enrolled(model, clips, X, test, task.enrolled),
        pipeline=pipeline if task.keep else None,
        curves=model.curves,
        parts=model.parts(X) if len(test) else {},
        seconds=seconds,
    )


def _log(clips: TrainingSet) -> EpochLog:
    """Return where epochs are told."""
    return EpochLog(clips.kept / "epochs.jsonl" if clips.kept else None)


def _enrolled(
    model: Estimator, clips: TrainingSet, X: Any, test: NDArray[np.intp], enrolled: NDArray[np.intp]
) -> Float32Array | None:
    """Predict test rows with their speakers' baselines; those of speakers without one are NaN."""
    if not model.takes_baseline or clips.speakers is None or not len(enrolled):
        return None
    answer: Any = model.predict_proba
    result = np.full((len(test), len(model.classes_)), np.nan, dtype=np.float32)
    for speaker in np.unique(clips.speakers[enrolled]):
        own = clips.speakers[test] == speaker
        baseline = X[own & np.isin(test, enrolled)].mean(axis=0)
        result[own] = answer(X[own], baseline)
    return result
