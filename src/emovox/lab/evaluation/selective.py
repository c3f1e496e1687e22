"""How often a model is right when it may say "don't know": risk, coverage, and the threshold that keeps a promise.

An answer is given where the confidence reaches the threshold.  The *coverage* is the share of clips that get an
answer, the *selective accuracy* the share of these answers that are right, the *selective risk* the rest.
Confidences belong to calibrated probabilities of speakers that the predicting model never heard.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import InputError

#: The promise, unless another is asked for: of 100 answers that are given at least 85 are right.
TARGET = 0.85

#: How sure we want to be of that (one-sided).
LEVEL = 0.95

#: A threshold that leaves fewer clips than this share, or fewer than this number, is no use: none is offered then.
LEAST_COVERAGE, LEAST_CLIPS = 0.1, 30

#: Thresholds that are considered: steps of 0.01, so that people can say and write them.
THRESHOLDS: NDArray[np.float64] = np.arange(100) / 100

#: Coverages of the points of a curve.
COVERAGES: NDArray[np.float64] = np.arange(20, 0, -1) / 20

Array = NDArray[np.float64]


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> list[dict[str, float]]:
    """Accuracy of the most confident clips, from all of them down to the best twentieth.

    Parameters
    ----------
    confidence : array_like of float, shape (n,)
        Probability of the chosen label, in [0, 1].
    right : array_like of bool, shape (n,)
        Whether that label is the true one.

    Returns
    -------
    list of dict
        For each coverage of :data:`COVERAGES` the largest ``threshold`` that leaves at least so many clips, the
        ``coverage`` it really has (equal confidences stay together) and the selective ``accuracy`` there.

    Raises
    ------
    InputError
        There are no clips, the lengths differ, or a confidence is not in [0, 1].

    Examples
    --------
    >>> points = risk_coverage([0.9, 0.8, 0.6, 0.5], [True, True, False, True])
    >>> points[0], points[-1]
    ({'coverage': 1.0, 'accuracy': 0.75, 'threshold': 0.5}, {'coverage': 0.25, 'accuracy': 1.0, 'threshold': 0.9})
    """
    given, hits = _checked(confidence, right)
    falling = np.sort(given)[::-1]
    points = []
    for wanted in COVERAGES:
        threshold = float(falling[math.ceil(wanted * len(given)) - 1])
        kept = given >= threshold
        points.append({"coverage": float(kept.mean()), "accuracy": float(hits[kept].mean()), "threshold": threshold})
    return points


def aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """Area under the risk-coverage curve: the selective risk, averaged over all coverages.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.

    Returns
    -------
    float
        In [0, 1], smaller is better; confidence that says nothing has the error rate.  Clips of equal confidence
        count as if they came in random order.

    References
    ----------
    Geifman Y, Uziel G, El-Yaniv R (2019), Bias-reduced uncertainty estimation for deep neural classifiers, ICLR.

    Examples
    --------
    >>> round(aurc([0.9, 0.8, 0.7], [True, True, False]), 4)  # the mean of 0, 0 and 1/3
    0.1111
    """
    given, hits = _checked(confidence, right)
    place = np.unique(-given, return_inverse=True)[1]
    wrong = np.bincount(place, weights=1 - hits) / np.bincount(place)
    expected = np.cumsum(wrong[np.sort(place)])
    return float(np.mean(expected / np.arange(1, len(given) + 1)))


def outcome(confidence: ArrayLike, right: ArrayLike, threshold: ArrayLike | None) -> dict[str, float | None]:
    """Say what a threshold does.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.
    threshold : float, array_like of shape (n,), or None
        An answer is given where the confidence reaches it, or its own; None gives none.

    Returns
    -------
    dict
        ``coverage`` and selective ``accuracy``, which is None where no answer is given.

    Examples
    --------
    >>> outcome([0.9, 0.8, 0.6], [True, False, False], 0.7)
    {'coverage': 0.6666666666666666, 'accuracy': 0.5}
    """
    given, hits = _checked(confidence, right)
    kept = given >= np.asarray(np.inf if threshold is None else threshold)
    return {"coverage": float(kept.mean()), "accuracy": float(hits[kept].mean()) if kept.any() else None}


def threshold_for(
    confidence: ArrayLike,
    right: ArrayLike,
    speakers: ArrayLike | None = None,
    *,
    accuracy: float = TARGET,
    level: float = LEVEL,
) -> float | None:
    """Choose the smallest threshold that keeps a promise: so many of the answers given are right.

    The thresholds are tried from the strictest down, each time asking whether the lower confidence bound of the
    selective accuracy still reaches `accuracy`; the first failure ends it.  Because the order is fixed before anything
    is seen of right and wrong, no correction for the many tries is needed: a threshold that does not keep the promise
    comes out with a probability of at most ``1 - level``.  The bound is that of :func:`lower_bound`, which knows that
    clips of one speaker resemble each other.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.
    speakers : array_like of str, shape (n,), optional
        Who speaks; where that is not known (``""`` or None) every clip counts as a speaker.
    accuracy : float, default 0.85
        The selective accuracy that is promised, in (0, 1).
    level : float, default 0.95
        How sure the promise must be, in [0.5, 1).

    Returns
    -------
    float or None
        A member of :data:`THRESHOLDS`; 0.0 where the promise holds without abstaining.  None where no threshold keeps
        it and still answers a tenth of the clips, and at least 30.

    Raises
    ------
    InputError
        As :func:`risk_coverage`; or a parameter is out of its range.

    References
    ----------
    Geifman Y, El-Yaniv R (2017), Selective classification for deep neural networks, NeurIPS (a threshold for a stated
    risk); Angelopoulos AN et al. (2021), Learn then test, arXiv 2110.01052 (fixed sequence testing).

    Examples
    --------
    >>> confidence = np.repeat([0.9, 0.6], 500)
    >>> right = np.arange(1000) % np.repeat([20, 2], 500) > 0  # 95 % of the sure ones, half of the others
    >>> threshold_for(confidence, right)
    0.61
    """
    given, hits = _checked(confidence, right)
    if not (0 < accuracy < 1 and 0.5 <= level < 1):
        raise InputError(
            f"accuracy {accuracy:g} at level {level:g}: expected numbers between 0 and 1, and a level of 0.5 at least"
        )
    groups = _groups(speakers, len(given))
    shape = (groups.max() + 1, len(THRESHOLDS))
    cells = np.ravel_multi_index((groups, np.searchsorted(THRESHOLDS, given, side="right") - 1), shape)
    # Clips of each speaker that reach each threshold, all and right ones.
    at = [np.bincount(cells, weights, minlength=math.prod(shape)).reshape(shape) for weights in (given >= 0, hits)]
    counts, correct = (one[:, ::-1].cumsum(axis=1)[:, ::-1] for one in at)
    enough = counts.sum(axis=0) >= max(LEAST_COVERAGE * len(given), LEAST_CLIPS)
    chosen = None
    for k in np.flatnonzero(enough)[::-1]:
        if lower_bound(correct[:, k], counts[:, k], level) < accuracy:
            break
        chosen = float(THRESHOLDS[k])
    return chosen


def lower_bound(right: ArrayLike, clips: ArrayLike, level: float = LEVEL) -> float:
    """Lower confidence bound of an accuracy that is counted in groups: Wilson's, on the effective number of clips.

    The effective number is the number of clips over the design effect, the factor by which the resemblance of clips of
    one speaker widens the variance, taken as 1 at least.  The quantile is Student's, with as many degrees of freedom
    as speakers less one.

    Parameters
    ----------
    right, clips : array_like of float, shape (n_speakers,)
        How many clips of each speaker are right, and how many there are.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Wilson EB (1927), JASA 22:209; Dean N, Pagano M (2015), Evaluating confidence interval methods for binomial
    proportions in clustered surveys, J. Survey Statistics and Methodology 3:484; Abramowitz M, Stegun IA (1964), 26.7.5
    (Student's quantile from the normal one).

    Examples
    --------
    >>> round(lower_bound(np.ones(100), np.ones(100)), 3), round(lower_bound([50, 40, 45], [50, 50, 50]), 3)
    (0.973, 0.646)
    """
    hits, n_of = np.asarray(right, dtype=np.float64), np.asarray(clips, dtype=np.float64)
    hits, n_of = hits[n_of > 0], n_of[n_of > 0]
    n, groups = n_of.sum(), len(n_of)
    if groups < 2:
        return 0.0  # one speaker says nothing about others
    share = hits.sum() / n
    variance = share * (1 - share) / n
    clustered = groups / (groups - 1) * np.square(hits - share * n_of).sum() / n**2
    n /= max(1.0, clustered / variance) if variance > 0 else 1.0
    z, freedom = NormalDist().inv_cdf(level), groups - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    centre, width = share + t**2 / (2 * n), t * math.sqrt(share * (1 - share) / n + t**2 / (4 * n**2))
    return float((centre - width) / (1 + t**2 / n))


def _groups(speakers: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """Give each speaker a number; a clip without one is a speaker of its own."""
    if speakers is None:
        return np.arange(n)
    names = np.asarray(speakers).astype(str)
    if names.shape != (n,):
        raise InputError(f"{len(names)} speakers for {n} clips: give one for each clip")
    own = np.char.add("\0", np.arange(n).astype(str))
    return np.unique(np.where(names == "", own, names), return_inverse=True)[1]


def _checked(confidence: ArrayLike, right: ArrayLike) -> tuple[Array, Array]:
    """Check confidences and whether they were right."""
    given, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if given.ndim != 1 or not given.size or hits.shape != given.shape:
        raise InputError(
            f"confidences of shape {given.shape}, right or wrong of shape {hits.shape}: give one of each for every clip"
        )
    if not ((given >= 0) & (given <= 1 + 1e-9)).all():
        raise InputError("a confidence is not in [0, 1]: give the probability of the chosen label")
    return given, hits
