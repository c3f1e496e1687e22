"""Fitting many models side by side: every fold, every seed, and the model of all clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from emovox.errors import ProtocolError
from emovox.models import families
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
    """

    X: Float
    y: NDArray[np.str_]
    speakers: NDArray[np.str_] | None
    corpora: NDArray[np.str_]


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
        Rows to predict; None returns the fitted pipeline instead.
    """

    family: str
    options: families.Options
    train: NDArray[np.intp]
    test: NDArray[np.intp] | None


def fit_many(
    clips: Clips,
    tasks: Sequence[Task],
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Any]:
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
    list
        One entry a task: (probabilities, classes) of its test rows, or the fitted pipeline.
    """
    results: list[Any] = []
    for result in Parallel(n_jobs=jobs, return_as="generator")(delayed(fit_one)(clips, task) for task in tasks):
        results.append(result)
        tell("training", len(results), len(tasks))
    return results


def fit_one(clips: Clips, task: Task) -> Any:
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
    families.fit(pipeline, clips.X[rows], clips.y[rows], speakers, clips.corpora[rows])
    return pipeline if task.test is None else (pipeline.predict_proba(clips.X[task.test]), pipeline.classes_)
