"""Emotion labels: common names and synonyms, and the decision for one: calibration, averaging, abstention."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from emovox.types import Float64Array, Prediction

#: Common labels: the eight emotions of RAVDESS, in its order.
COMMON: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

#: Synonyms and corpus codes of the common labels.
SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "ang": "angry",
    "calmness": "calm",
    "disgusted": "disgust",
    "dis": "disgust",
    "fear": "fearful",
    "fea": "fearful",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
    "ps": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}


def as_seen(text: str) -> str:
    """Return a text as its reader sees it, so that texts that look the same are the same.

    Parameters
    ----------
    text : str
        Any text: a label, a speaker, the name of a column.

    Returns
    -------
    str
        In Unicode's composed form (NFC), without characters that cannot be seen (zero-width space, byte order mark,
        soft hyphen, marks of direction; the joiners U+200C and U+200D stay, because scripts need them), each run of
        blanks one space, none at the ends.  Upper and lower case are kept.

    Source: Unicode Standard Annex 15, https://unicode.org/reports/tr15.

    Examples
    --------
    >>> as_seen(" Zoe\u0308\u200b\u00a0 B. ") == "Zo\u00eb B."
    True
    """
    if not text.isascii():
        seen = (letter for letter in text if letter in "\u200c\u200d" or unicodedata.category(letter) != "Cf")
        text = unicodedata.normalize("NFC", "".join(seen))
    return " ".join(text.split())


def canonical(label: str) -> str:
    """Map a label of a corpus to the common label; labels without a counterpart are kept.

    Parameters
    ----------
    label : str
        Any spelling, such as ``"Fear"``, ``"ps"``, ``"boredom"``.

    Returns
    -------
    str
        A member of :data:`COMMON` if there is one, else the label as :func:`as_seen`, in lower case with underscores
        for blanks.

    Examples
    --------
    >>> canonical("Fear"), canonical("ps"), canonical("boredom")
    ('fearful', 'surprised', 'boredom')
    """
    word = as_seen(label).lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(word, word)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: common ones first, in the order of :data:`COMMON`, then the others by name.

    Examples
    --------
    >>> ordered(["boredom", "sad", "neutral"])
    ('neutral', 'sad', 'boredom')
    """
    present = set(labels)
    return tuple(name for name in COMMON if name in present) + tuple(sorted(present - set(COMMON)))


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
