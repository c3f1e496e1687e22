"""Calibration, averaging over windows and abstention: from class probabilities to a decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from emovox.types import Float64Array, Prediction

#: How the reason begins that is given where there is too little speech for an answer.
TOO_SHORT = "too little speech"
#: Lower bound of probabilities before a logarithm: negligible, and representable in float32.
TINY = 1e-30


def temper(probabilities: ArrayLike, temperature: float) -> Float64Array:
    """Apply temperature scaling: the softmax of the log-probabilities divided by a temperature.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        Rows that sum to 1.
    temperature : float
        Positive; 1 changes nothing, larger values flatten the distribution.

    Returns
    -------
    ndarray, shape (n, n_classes)
        Rows that sum to 1; the order of the classes is unchanged.

    Source
    ------
    Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599.

    Examples
    --------
    >>> temper([[0.8, 0.2]], 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), TINY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Float64Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: ArrayLike, target: ArrayLike) -> float:
    """Fit the temperature that minimises the negative log-likelihood.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        Predictions for clips of speakers outside the training set.
    target : array_like of int, shape (n,)
        True class indices.

    Returns
    -------
    float
        Between 0.1 and 10.

    Examples
    --------
    >>> overconfident = [[0.99, 0.01]] * 4  # correct three times of four
    >>> 0.2 < 1 / fit_temperature(overconfident, [0, 0, 0, 1]) < 0.3
    True
    """
    index = np.asarray(target)
    low, high = np.log(0.1), np.log(10.0)

    def loss(log_temperature: float) -> float:
        tempered = temper(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(tempered[np.arange(len(index)), index], TINY)).mean())

    # The loss is unimodal in the log-temperature, so golden-section search finds the minimum.
    ratio = (np.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    for _ in range(40):
        if loss(left) < loss(right):
            high, right = right, left
            left = high - ratio * (high - low)
        else:
            low, left = left, right
            right = low + ratio * (high - low)
    return float(np.exp((low + high) / 2))


def combine(probabilities: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Average the class probabilities of the windows of a recording.

    Parameters
    ----------
    probabilities : array_like, shape (n_windows, n_classes)
        One row per window.
    weights : array_like, shape (n_windows,)
        Non-negative weights, usually durations.

    Returns
    -------
    ndarray, shape (n_classes,)
        Weighted mean; sums to 1.

    Examples
    --------
    >>> combine([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0]).tolist()
    [0.75, 0.25]
    """
    mean = np.average(np.asarray(probabilities, dtype=np.float64), axis=0, weights=np.asarray(weights))
    result: Float64Array = mean / mean.sum()
    return result


def decide(probabilities: ArrayLike, labels: Sequence[str], threshold: float) -> tuple[str, float, bool]:
    """Return the most probable label, its probability, and whether the model abstains.

    Parameters
    ----------
    probabilities : array_like, shape (n_classes,)
        Class probabilities in the order of `labels`.
    labels : sequence of str
        Labels of the model.
    threshold : float
        Confidence below which the model abstains, in [0, 1]; 0 never abstains.

    Returns
    -------
    label : str
        Most probable label; empty where a model has no classes.
    confidence : float
        Its probability; 0 where there is none.
    abstained : bool
        Whether the confidence is below the threshold.

    Examples
    --------
    >>> decide([0.4, 0.6], ["sad", "happy"], 0.7)
    ('happy', 0.6, True)
    """
    if not labels:
        return "", 0.0, False
    values = np.asarray(probabilities, dtype=np.float64)
    best = int(values.argmax())
    confidence = float(values[best])
    return labels[best], confidence, confidence < threshold


def too_short(one: Prediction) -> bool:
    """Tell whether an answer is an abstention because there was too little speech."""
    return any(line.startswith(TOO_SHORT) for line in one.why or ())
