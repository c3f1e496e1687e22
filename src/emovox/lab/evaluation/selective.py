"""Selective classification: risk and coverage of a model that abstains, and a threshold for a target accuracy.

A clip is answered if its confidence reaches the threshold.  The *coverage* is the fraction of clips that are answered,
the *selective accuracy* the fraction of these that are correct, the *selective risk* one minus that.  Confidences
should come from calibrated probabilities of speakers that are not in the training set.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import InputError

#: Default target of the selective accuracy.
TARGET = 0.85

#: Confidence level of the target (one-sided).
LEVEL = 0.95

#: Smallest coverage, as a fraction and as a number of clips; thresholds that answer fewer are not considered.
MIN_COVERAGE, MIN_CLIPS = 0.1, 30

#: Candidate thresholds, in steps of 0.01.
THRESHOLDS: NDArray[np.float64] = np.arange(100) / 100

#: Coverages of the points of a curve.
COVERAGES: NDArray[np.float64] = np.arange(20, 0, -1) / 20

#: Share by which left-out corpora have to exceed the target on average: a new one may lie as far below the others.
MARGIN = 0.05

#: Answered clips of a corpus below which its share of right ones does not count.
MIN_ANSWERS = 5

Array = NDArray[np.float64]


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> list[dict[str, float]]:
    """Compute the risk-coverage curve: the accuracy of the most confident clips, at coverages from 1 to 0.05.

    Parameters
    ----------
    confidence : array_like of float, shape (n,)
        Probability of the chosen label, in [0, 1].
    right : array_like of bool, shape (n,)
        Whether that label is the true one.

    Returns
    -------
    list of dict
        For each coverage of :data:`COVERAGES` the largest ``threshold`` that reaches it, the actual ``coverage`` (equal
        confidences are not separated) and the selective ``accuracy``.

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
    """Compute the area under the risk-coverage curve (AURC): the selective risk averaged over all coverages.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.

    Returns
    -------
    float
        In [0, 1], smaller is better; uninformative confidence gives the error rate.  Clips of equal confidence count as
        in random order.

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
    """Compute coverage and selective accuracy of a threshold.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.
    threshold : float, array_like of shape (n,), or None
        One threshold, or one per clip; with None no clip is answered.

    Returns
    -------
    dict
        ``coverage`` and selective ``accuracy``, which is None if no clip is answered.

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
    """Choose the smallest threshold whose selective accuracy reaches a target with the given confidence.

    The thresholds are tested from the strictest down, as long as the lower confidence bound of the selective accuracy
    reaches `accuracy`.  This is fixed-sequence testing: because the order does not depend on the data, no correction
    for multiple tests is needed, and the probability of a threshold that misses the target is at most ``1 - level``.
    The bound is that of :func:`lower_bound`, which accounts for the correlation of clips of one speaker.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.
    speakers : array_like of str, shape (n,), optional
        Speaker of each clip; a clip without one (``""`` or None) counts as a speaker of its own.
    accuracy : float, default 0.85
        Target of the selective accuracy, in (0, 1).
    level : float, default 0.95
        Confidence level, in [0.5, 1).

    Returns
    -------
    float or None
        A member of :data:`THRESHOLDS`; 0.0 if the target is met without abstention.  None if no threshold meets it with
        a coverage of at least a tenth of the clips and 30 clips.

    Raises
    ------
    InputError
        As :func:`risk_coverage`; or a parameter is out of range.

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
    # Clips of each speaker that reach each threshold: all, and correct ones.
    at = [np.bincount(cells, weights, minlength=math.prod(shape)).reshape(shape) for weights in (given >= 0, hits)]
    counts, correct = (one[:, ::-1].cumsum(axis=1)[:, ::-1] for one in at)
    enough = counts.sum(axis=0) >= max(MIN_COVERAGE * len(given), MIN_CLIPS)
    chosen = None
    for k in np.flatnonzero(enough)[::-1]:
        if lower_bound(correct[:, k], counts[:, k], level) < accuracy:
            break
        chosen = float(THRESHOLDS[k])
    return chosen


def threshold_for_corpora(
    confidence: ArrayLike, right: ArrayLike, corpora: ArrayLike, *, accuracy: float = TARGET
) -> float | None:
    """Choose the smallest threshold at which corpora exceed a target by :data:`MARGIN` on average, each counting alike.

    For answers to corpora that were left out whole.  They differ more than their speakers do, and are too few for a
    bound that is certain: what all of them keep on average, the next one may miss by far, hence the margin.

    Parameters
    ----------
    confidence, right : array_like, shape (n,)
        As for :func:`risk_coverage`.
    corpora : array_like of str, shape (n,)
        Corpus of each clip; one with fewer than :data:`MIN_ANSWERS` answers does not count.
    accuracy : float, default 0.85
        Target of the selective accuracy, in (0, 1).

    Returns
    -------
    float or None
        A member of :data:`THRESHOLDS`, or None if no threshold meets the target.

    Examples
    --------
    >>> confidence = np.tile([0.9, 0.6], 500)
    >>> right = np.arange(1000) % np.tile([20, 3], 500) > 0  # 90 % of the sure ones, two thirds of the others
    >>> threshold_for_corpora(confidence, right, np.repeat(["a", "b"], 500))
    0.61
    """
    given, hits = _checked(confidence, right)
    _, group = np.unique(np.asarray(corpora).astype(str), return_inverse=True)
    for threshold in THRESHOLDS:
        kept = given >= threshold
        answers, correct = (np.bincount(group[kept], weights) for weights in (None, hits[kept]))
        enough = answers >= MIN_ANSWERS
        if enough.any() and (correct[enough] / answers[enough]).mean() >= accuracy + MARGIN:
            return float(threshold)
    return None


def lower_bound(right: ArrayLike, clips: ArrayLike, level: float = LEVEL) -> float:
    """Compute the lower confidence bound of an accuracy of clustered clips: Wilson's, on the effective sample size.

    The effective sample size is the number of clips divided by the design effect (at least 1), the factor by which the
    correlation of clips of one speaker increases the variance.  The quantile is Student's, with one degree of freedom
    less than there are speakers.

    Parameters
    ----------
    right, clips : array_like of float, shape (n_speakers,)
        Numbers of correctly classified clips and of all clips of each speaker.

    Returns
    -------
    float
        In [0, 1]; 0 with a single speaker.

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
        return 0.0  # nothing is known about other speakers
    share = hits.sum() / n
    variance = share * (1 - share) / n
    clustered = groups / (groups - 1) * np.square(hits - share * n_of).sum() / n**2
    n /= max(1.0, clustered / variance) if variance > 0 else 1.0
    z, freedom = NormalDist().inv_cdf(level), groups - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    centre, width = share + t**2 / (2 * n), t * math.sqrt(share * (1 - share) / n + t**2 / (4 * n**2))
    return float((centre - width) / (1 + t**2 / n))


def _groups(speakers: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """Return the index of the speaker of each clip; a clip without one is a speaker of its own."""
    if speakers is None:
        return np.arange(n)
    names = np.asarray(speakers).astype(str)
    if names.shape != (n,):
        raise InputError(f"{len(names)} speakers for {n} clips: give one for each clip")
    own = np.char.add("\0", np.arange(n).astype(str))
    return np.unique(np.where(names == "", own, names), return_inverse=True)[1]


def _checked(confidence: ArrayLike, right: ArrayLike) -> tuple[Array, Array]:
    """Check confidences and correctness."""
    given, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if given.ndim != 1 or not given.size or hits.shape != given.shape:
        raise InputError(
            f"confidences of shape {given.shape}, right or wrong of shape {hits.shape}: give one of each for every clip"
        )
    if not ((given >= 0) & (given <= 1 + 1e-9)).all():
        raise InputError("a confidence is not in [0, 1]: give the probability of the chosen label")
    return given, hits
