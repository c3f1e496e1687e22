"""Paired significance tests of two models on the same clips, with correction for multiple comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import InputError
from emovox.lab.evaluation.metrics import STATISTICS, Counts

#: Resamples of the bootstrap: enough to resolve p values of 0.001.
RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Difference between the scores of two models, with interval and p value.

    Attributes
    ----------
    value : float
        Score of the first minus that of the second, in [-1, 1].
    low, high : float
        Bootstrap confidence interval of the difference.
    p : float
        Two-sided p value of the null hypothesis of no difference, in (0, 1].
    """

    value: float
    low: float
    high: float
    p: float


def mcnemar(only_first: int, only_second: int) -> float:
    """Test whether two models have the same accuracy on the same clips (McNemar's exact test).

    The test uses the clips on which exactly one model is right: under the null hypothesis either is equally likely.  It
    assumes independent clips; clips of one speaker are not, so its p values are too small.  Base decisions on
    :func:`bootstrap_difference`.

    Parameters
    ----------
    only_first, only_second : int
        Number of clips that only the first, and only the second model classifies correctly.

    Returns
    -------
    float
        Two-sided p value in (0, 1]; 1 if there is no such clip.

    References
    ----------
    McNemar Q (1947), Note on the sampling error of the difference between correlated proportions, Psychometrika 12.

    Examples
    --------
    >>> mcnemar(5, 0), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    if only_first < 0 or only_second < 0:
        raise InputError(f"{min(only_first, only_second)} clips: a count is 0 or more")
    tosses = only_first + only_second
    tail = sum(math.comb(tosses, heads) for heads in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**tosses))


def least_p(speakers: int, comparisons: int = 1) -> float:
    """Return the smallest p value that :func:`bootstrap_difference` can give, corrected for multiple comparisons.

    It is ``2 ** (1 - speakers)``, the probability that all speakers agree in sign under the null hypothesis.  If it
    exceeds the significance level after Holm's correction, no difference can be significant, however large.

    Examples
    --------
    >>> least_p(6), least_p(9, comparisons=21)
    (0.03125, 0.08203125)
    """
    return min(1.0, comparisons * 2.0 ** (1 - speakers))


def bootstrap_difference(
    first: Counts, second: Counts, *, statistic: str = "uar", n: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Difference | None:
    """Test the difference of two models by a paired bootstrap over speakers.

    Parameters
    ----------
    first, second : ndarray of int, shape (n_speakers, K, K)
        Confusion matrix of each speaker, rows are the true classes; speakers in the same order for both models.
    statistic : {"uar", "wa", "macro_f1", "precision", "recall"}, default "uar"
        Score to compare, over the clips of all speakers.
    n : int, default 10000
        Number of resamples, each of as many speakers as there are, drawn with replacement.
    seed : int, default 0
        Seed of the resampling.
    level : float, default 0.95
        Confidence level of the interval.

    Returns
    -------
    Difference or None
        None with a single speaker.  The p value is twice the fraction of resamples beyond 0, and at least that of
        :func:`least_p`, because resampling few speakers underestimates it.

    Raises
    ------
    InputError
        The shapes differ, or the statistic is unknown.

    References
    ----------
    Bisani M, Ney H (2004), Bootstrap estimates for confidence intervals in ASR performance evaluation, ICASSP.

    Examples
    --------
    >>> right, wrong = np.array([[2, 0], [0, 2]]), np.array([[1, 1], [1, 1]])
    >>> bootstrap_difference(np.array([right] * 8), np.array([wrong] * 8))
    Difference(value=0.5, low=0.5, high=0.5, p=0.0078125)
    """
    first, second = np.asarray(first), np.asarray(second)
    if statistic not in STATISTICS:
        raise InputError(f"unknown statistic {statistic!r}: choose one of {', '.join(STATISTICS)}")
    if first.shape != second.shape or first.ndim != 3:
        raise InputError(f"matrices of shape {first.shape} and {second.shape}: expected one a speaker for both models")
    speakers, size = first.shape[:2]
    if speakers < 2:
        return None
    score = STATISTICS[statistic]
    draws = np.random.default_rng(seed).integers(speakers, size=(n, speakers))
    times = np.zeros((n, speakers), dtype=np.int64)
    np.add.at(times, (np.arange(n)[:, None], draws), 1)
    one, other = (score((times @ counts.reshape(speakers, -1)).reshape(n, size, size)) for counts in (first, second))
    found = one - other
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    beyond = 1 + min(int((found <= 0).sum()), int((found >= 0).sum()))
    p = min(1.0, max(2 * beyond / (n + 1), least_p(speakers)))
    return Difference(float(score(first.sum(axis=0)) - score(second.sum(axis=0))), float(low), float(high), p)


def holm(p: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Adjust p values for multiple comparisons (Holm-Bonferroni), which controls the family-wise error rate.

    Parameters
    ----------
    p : sequence of float
        One p value per comparison.

    Returns
    -------
    list of float
        Adjusted p values in the same order, in [0, 1], none smaller than before.

    References
    ----------
    Holm S (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def by_group(
    groups: ArrayLike, true: NDArray[np.intp], predicted: NDArray[np.intp], classes: int
) -> tuple[NDArray[np.str_], Counts]:
    """Compute the confusion matrix of each group of clips.

    Parameters
    ----------
    groups : array_like of str, shape (n,)
        Group of each clip, for example its speaker.
    true, predicted : ndarray of int, shape (n,)
        Class indices.
    classes : int
        Number of classes K.

    Returns
    -------
    names : ndarray of str, shape (n_groups,)
        Names of the groups, ascending.
    matrices : ndarray of int64, shape (n_groups, K, K)
        Confusion matrix of each, rows are the true classes.

    Examples
    --------
    >>> by_group(["a", "b", "a"], np.array([0, 1, 1]), np.array([0, 1, 0]), 2)[1].tolist()
    [[[1, 0], [1, 0]], [[0, 0], [0, 1]]]
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    matrices = np.zeros((len(names), classes, classes), dtype=np.int64)
    np.add.at(matrices, (index, true, predicted), 1)
    return names, matrices
