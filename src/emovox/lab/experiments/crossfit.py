"""Parallel fitting of the models of all folds and seeds, and of the final model."""

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
        Rows to predict, or None.
    enrolled : ndarray of int
        Test rows whose mean is the baseline of their speaker, for estimators that use one.
    keep : bool
        Whether to return the fitted pipeline.
    name : str
        Name in progress messages.
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
    """Result of a task.

    Attributes
    ----------
    classes : ndarray of str
        Order of the probabilities.
    probabilities : ndarray of float32, shape (n_test, n_classes)
        Predictions for the test rows, if any.
    enrolled : ndarray or None
        Predictions with baselines of the speakers; None without baselines.
    pipeline : Pipeline or None
        Fitted pipeline, if `Task.keep`.
    curves : list of list of dict
        Learning curve of each network; empty for estimators without epochs.
    seconds : float
        Time of the fit.
    parts : mapping of str to ndarray
        Predictions of each member, see `Estimator.parts`.
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
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Fitted]:
    """Fit models in parallel; models that fine-tune an encoder use all cores and are fitted sequentially.

    Parameters
    ----------
    clips : TrainingSet
        Clips of all tasks.
    tasks : sequence of Task
        Models to fit.
    jobs : int, default -1
        Number of processes; -1 is one per core.
    progress : callable, optional
        Progress callback, called with ("training", done, total) and after each epoch.

    Returns
    -------
    list of Fitted
        One entry per task.
    """
    results: list[Fitted] = []
    work: Iterable[Fitted]
    if clips.speech is not None:
        work = (fit_one(clips, task) for task in tasks)
    else:
        work = Parallel(n_jobs=jobs, return_as="generator")(delayed(fit_one)(clips, task) for task in tasks)
    with followed(_log(clips), sum(task.options.planned_epochs for task in tasks), progress):
        for result in work:
            results.append(result)
            progress("training", len(results), len(tasks))
    return results


def fit_one(clips: TrainingSet, task: Task) -> Fitted:
    """Fit one model; scaler, early stopping and calibration use its training rows only.

    Raises
    ------
    ProtocolError
        A test row is among the training rows.
    """
    if task.test is not None and np.intersect1d(task.train, task.test).size:
        raise ProtocolError("a test clip is among the training clips: this must not happen, please report it")
    log, begin = _log(clips), time.perf_counter()
    logged = dataclasses.replace(clips, on_epoch=lambda epoch: log.write({"task": task.name, **epoch}))
    pipeline = families.fit(families.build(task.family, task.options), logged[task.train])
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
    """Return the epoch log of a training set."""
    return EpochLog(clips.kept / "epochs.jsonl" if clips.kept else None)


def _enrolled(
    model: Estimator, clips: TrainingSet, X: Any, test: NDArray[np.intp], enrolled: NDArray[np.intp]
) -> Float32Array | None:
    """Predict test rows with baselines of their speakers; NaN for speakers without one."""
    if not model.takes_baseline or clips.speakers is None or not len(enrolled):
        return None
    answer: Any = model.predict_proba
    result = np.full((len(test), len(model.classes_)), np.nan, dtype=np.float32)
    for speaker in np.unique(clips.speakers[enrolled]):
        own = clips.speakers[test] == speaker
        baseline = X[own & np.isin(test, enrolled)].mean(axis=0)
        result[own] = answer(X[own], baseline)
    return result
