"""Scores of a classifier: UAR, WA, macro averages, calibration, and confidence intervals over speakers.

Classification scores are functions of confusion matrices, one or many at once (leading axes).  Macro averages are taken
over the classes that occur in the true labels; a class that is never predicted has precision 0.  This is what
scikit-learn computes with ``labels=np.unique(true), average="macro", zero_division=0``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import InputError

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Bounds of a bootstrap confidence interval."""

    low: float
    high: float


def confusion(true: ArrayLike, predicted: ArrayLike, labels: Sequence[str] | Sequence[int]) -> Counts:
    """Compute a confusion matrix.

    Parameters
    ----------
    true, predicted : array_like of str or int, shape (n,)
        True and predicted label of each clip.
    labels : sequence of str or int, length K
        All classes, in the order of the matrix.

    Returns
    -------
    ndarray of int64, shape (K, K)
        Rows are the true classes, columns the predicted ones.

    Raises
    ------
    InputError
        There are no clips, the lengths differ, or a label is not among `labels`.

    Examples
    --------
    >>> confusion(["sad", "sad", "happy"], ["sad", "happy", "happy"], ["happy", "sad"]).tolist()
    [[1, 0], [1, 1]]
    """
    rows, columns = _codes(true, labels), _codes(predicted, labels)
    _require_same_length(len(rows), predictions=len(columns))
    return np.bincount(rows * len(labels) + columns, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def wa(matrix: Counts) -> Scores:
    """Compute the weighted accuracy (WA): the fraction of correctly classified clips, in [0, 1].

    Parameters
    ----------
    matrix : ndarray of int, shape (..., K, K)
        Confusion matrices.

    Returns
    -------
    ndarray of float, shape (...)
        One score per matrix; NaN for an empty matrix.

    Examples
    --------
    >>> float(wa(np.array([[3, 1], [0, 0]])))
    0.75
    """
    return _divide(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def uar(matrix: Counts) -> Scores:
    """Compute the unweighted average recall (UAR, balanced accuracy): the mean recall over the true classes.

    Parameters
    ----------
    matrix : ndarray of int, shape (..., K, K)
        Confusion matrices.

    Returns
    -------
    ndarray of float, shape (...)
        One score per matrix, in [0, 1]; NaN for an empty matrix.

    Examples
    --------
    >>> float(uar(np.array([[3, 1], [0, 2]])))
    0.875
    """
    return _macro(_diagonal(matrix), matrix.sum(axis=-1), matrix)


def macro_precision(matrix: Counts) -> Scores:
    """Compute the mean precision over the true classes; arguments and result as :func:`uar`.

    Examples
    --------
    >>> float(macro_precision(np.array([[3, 1], [0, 1]])))
    0.75
    """
    return _macro(_diagonal(matrix), matrix.sum(axis=-2), matrix)


def macro_recall(matrix: Counts) -> Scores:
    """Compute the mean recall over the true classes: an alias of :func:`uar`."""
    return uar(matrix)


def macro_f1(matrix: Counts) -> Scores:
    """Compute the mean F1 (harmonic mean of precision and recall) over the true classes; as :func:`uar`.

    Examples
    --------
    >>> round(float(macro_f1(np.array([[3, 1], [0, 1]]))), 4)
    0.7619
    """
    return _macro(2 * _diagonal(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2), matrix)


#: Scores by name.
STATISTICS: dict[str, Callable[[Counts], Scores]] = {
    "uar": uar,
    "wa": wa,
    "macro_f1": macro_f1,
    "precision": macro_precision,
    "recall": macro_recall,
}


def per_class(matrix: Counts, labels: Sequence[str] | Sequence[int]) -> dict[str, dict[str, float | int | None]]:
    """Compute precision, recall and F1 of each class.

    Parameters
    ----------
    matrix : ndarray of int, shape (K, K)
        Confusion matrix.
    labels : sequence, length K
        Names of the classes.

    Returns
    -------
    dict
        For each label ``precision``, ``recall``, ``f1`` in [0, 1], ``support`` (number of its clips) and ``predicted``
        (number of clips classified as it).  Recall and F1 of a class without clips are None; the precision of a class
        that is never predicted is 0.

    Examples
    --------
    >>> per_class(np.array([[3, 1], [0, 0]]), ["happy", "sad"])["sad"]
    {'precision': 0.0, 'recall': None, 'f1': None, 'support': 0, 'predicted': 1}
    """
    result: dict[str, dict[str, float | int | None]] = {}
    for k, label in enumerate(labels):
        hits, support, predicted = int(matrix[k, k]), int(matrix[k].sum()), int(matrix[:, k].sum())
        result[str(label)] = {
            "precision": hits / predicted if predicted else 0.0,
            "recall": hits / support if support else None,
            "f1": 2 * hits / (support + predicted) if support else None,
            "support": support,
            "predicted": predicted,
        }
    return result


def summary(
    true: ArrayLike,
    predicted: ArrayLike,
    labels: Sequence[str] | Sequence[int],
    probabilities: ArrayLike | None = None,
) -> dict[str, Any]:
    """Compute all scores, as plain values ready for JSON.

    Parameters
    ----------
    true, predicted : array_like of str or int, shape (n,)
        True and predicted label of each clip.
    labels : sequence of str or int, length K
        All classes, in the order of the matrix and of the probabilities.
    probabilities : array_like of float, shape (n, K), optional
        Probability of each class.

    Returns
    -------
    dict
        ``n``, ``uar``, ``wa``, ``macro_f1``, ``precision``, ``recall``, ``per_class``, ``labels``,
        ``confusion`` (rows are the true classes) and, with probabilities, ``ece``, ``nll`` and ``brier``.

    Raises
    ------
    InputError
        As :func:`confusion` and :func:`ece`.

    Examples
    --------
    >>> scores = summary(["happy", "sad"], ["happy", "happy"], ["happy", "sad"])
    >>> scores["n"], scores["uar"], scores["wa"], scores["precision"]
    (2, 0.5, 0.5, 0.25)
    """
    matrix = confusion(true, predicted, labels)
    scores: dict[str, Any] = {"n": int(matrix.sum())}
    scores |= {name: float(statistic(matrix)) for name, statistic in STATISTICS.items()}
    scores["per_class"] = per_class(matrix, labels)
    scores["labels"] = [str(label) for label in labels]
    scores["confusion"] = matrix.tolist()
    if probabilities is not None:
        index = _codes(true, labels)
        scores |= {name: measure(probabilities, index) for name, measure in CALIBRATION.items()}
    return scores


def ece(probabilities: ArrayLike, true_index: ArrayLike, bins: int = 15) -> float:
    """Compute the expected calibration error (ECE) of the most probable class.

    Parameters
    ----------
    probabilities : array_like of float, shape (n, K)
        Each row sums to 1.
    true_index : array_like of int, shape (n,)
        Column of the true class.
    bins : int, default 15
        Number of bins of equal width, left-open and right-closed.

    Returns
    -------
    float
        Mean absolute difference between confidence and accuracy over the bins, weighted by their clips, in [0, 1].

    Raises
    ------
    InputError
        A row is not a distribution, an index is not a column, or the lengths differ.

    References
    ----------
    Guo C et al. (2017), On Calibration of Modern Neural Networks, ICML, equation 3.

    Examples
    --------
    >>> round(ece([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 4)
    0.4
    """
    given, index = _distributions(probabilities, true_index)
    confidence, right = given.max(axis=1), given.argmax(axis=1) == index
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(index))


def nll(probabilities: ArrayLike, true_index: ArrayLike) -> float:
    """Compute the negative log-likelihood (cross-entropy, log loss) in nats per clip; arguments as :func:`ece`.

    Probabilities are clipped at 2.2e-16, the machine epsilon, so that the result is finite.

    Examples
    --------
    >>> round(nll([[0.5, 0.5]], [0]), 4)
    0.6931
    """
    given, index = _distributions(probabilities, true_index)
    right = given[np.arange(len(index)), index]
    return float(-np.log(np.maximum(right, np.finfo(np.float64).eps)).mean())


def brier(probabilities: ArrayLike, true_index: ArrayLike) -> float:
    """Compute the multi-class Brier score: the mean squared error of the probabilities, in [0, 2]; as :func:`ece`.

    Examples
    --------
    >>> brier([[0.5, 0.5]], [0])
    0.5
    """
    given, index = _distributions(probabilities, true_index)
    truth = np.arange(given.shape[1]) == index[:, None]
    return float(np.square(given - truth).sum(axis=1).mean())


#: Scores of probabilities, by name.
CALIBRATION: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {"ece": ece, "nll": nll, "brier": brier}


def bootstrap_by_speaker(
    true: ArrayLike,
    predicted: ArrayLike,
    speakers: Sequence[str] | NDArray[np.str_],
    labels: Sequence[str] | Sequence[int],
    statistic: str = "uar",
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Compute a percentile bootstrap confidence interval over speakers.

    Clips of one speaker are correlated, so resampling clips would give intervals that are too narrow.

    Parameters
    ----------
    true, predicted : array_like of str or int, shape (n_clips,)
        True and predicted label of each clip.
    speakers : sequence of str, length n_clips
        Speaker of each clip.
    labels : sequence of str or int, length K
        All classes.
    statistic : {"uar", "wa", "macro_f1", "precision", "recall"}, default "uar"
        Score of which the interval is computed.
    n : int, default 1000
        Number of resamples, each of as many speakers as there are, drawn with replacement.
    seed : int, default 0
        Seed of the resampling.
    level : float, default 0.95
        Confidence level.

    Returns
    -------
    Interval or None
        None with a single speaker.

    Raises
    ------
    InputError
        As :func:`confusion`; or the statistic is unknown.

    References
    ----------
    Efron B, Tibshirani RJ (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    >>> bootstrap_by_speaker([0, 1, 0, 1], [0, 1, 0, 1], ["a", "a", "b", "b"], [0, 1])
    Interval(low=1.0, high=1.0)
    """
    if statistic not in STATISTICS:
        raise InputError(f"unknown statistic {statistic!r}: choose one of {', '.join(STATISTICS)}")
    if n < 1 or not 0 < level < 1:
        raise InputError(f"{n} resamples at level {level}: at least 1 resample, and a level between 0 and 1")
    rows, columns = _codes(true, labels), _codes(predicted, labels)
    _require_same_length(len(rows), predictions=len(columns), speakers=len(speakers))
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2:
        return None
    size = len(labels)
    matrices = np.zeros((len(names), size, size), dtype=np.int64)
    np.add.at(matrices, (speaker, rows, columns), 1)
    draws = np.random.default_rng(seed).integers(len(names), size=(n, len(names)))
    times = np.zeros((n, len(names)), dtype=np.int64)
    np.add.at(times, (np.arange(n)[:, None], draws), 1)
    resampled = (times @ matrices.reshape(len(names), -1)).reshape(n, size, size)
    low, high = np.quantile(STATISTICS[statistic](resampled), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _codes(values: ArrayLike, labels: Sequence[str] | Sequence[int]) -> NDArray[np.intp]:
    """Return the indices of labels; raise if a label is unknown."""
    given, known = np.asarray(values), np.asarray(labels)
    if given.ndim != 1 or given.size == 0 or known.size == 0:
        raise InputError(f"labels of shape {given.shape}: expected a list with at least one label to score")
    if known.dtype.kind not in "iu" or given.dtype.kind not in "iu":
        given, known = given.astype(str), known.astype(str)
    order = np.argsort(known)
    found = order[np.clip(np.searchsorted(known, given, sorter=order), 0, len(known) - 1)]
    wrong = known[found] != given
    if wrong.any():
        raise InputError(f"unknown label {given[wrong][0]!s}: the labels are {', '.join(map(str, labels))}")
    return found


def _require_same_length(count: int, **others: int) -> None:
    """Raise if lengths differ."""
    for what, length in others.items():
        if length != count:
            raise InputError(f"{length} {what} for {count} clips: give one for each clip")


def _distributions(probabilities: ArrayLike, true_index: ArrayLike) -> tuple[Scores, NDArray[np.intp]]:
    """Check probabilities and true classes."""
    given, index = np.asarray(probabilities, dtype=np.float64), np.asarray(true_index)
    if given.ndim != 2 or given.size == 0:
        raise InputError(f"probabilities of shape {given.shape}: expected a row for each clip, a column for each class")
    _require_same_length(len(given), labels=len(index))
    if index.min() < 0 or index.max() >= given.shape[1]:
        raise InputError(f"a true class outside the {given.shape[1]} columns of the probabilities")
    wrong = ~((given >= 0).all(axis=1) & (np.abs(given.sum(axis=1) - 1) < 1e-3))  # NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"row {row} of the probabilities sums to {given[row].sum():.4g}: expected parts of 1")
    return given, index


def _diagonal(matrix: Counts) -> Counts:
    """Return the number of correctly classified clips of each class."""
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _macro(numerator: Counts, denominator: Counts, matrix: Counts) -> Scores:
    """Average a ratio over the classes with clips; 0 / 0 is 0."""
    present = matrix.sum(axis=-1) > 0
    ratio = np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)
    return _divide(np.where(present, ratio, 0.0).sum(axis=-1), present.sum(axis=-1))


def _divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> Scores:
    """Divide; 0 / 0 is NaN, without a warning."""
    quotient: Scores = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient
