"""From what the voice says and what the words say to one answer: a log-opinion pool whose weight may be gated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.decision import TINY
from emovox.errors import ModelError
from emovox.labels import COMMON
from emovox.text.evidence import NAMES

Float = NDArray[np.float64]

#: What the weight of the words may depend on; each is from 0 to 1.
GATE_INPUTS: dict[str, str] = {
    "confidence": "how sure the speech recogniser is of the words",
    "length": "number of words w, as w / (w + 5)",
    "sentiment": "strength of the sentiment, |compound|",
    "emotion": "probability of the likeliest emotion other than neutral, by the words alone",
}

#: Words at which the input ``length`` is a half.
HALF_LENGTH = 5.0

#: Least probability that words can give to a label: no transcript rules an emotion out.
LEAST = 1e-3

#: Probability of the likeliest emotion up to which words count as saying nothing, and from which they count in full.
QUIET, CLEAR = 0.2, 0.3

_NEUTRAL = COMMON.index("neutral")
#: 1 for the columns of :data:`EMOTIONS` that are emotions, 0 for neutral.
MOVED = np.array([label != "neutral" for label in COMMON], dtype=np.float64)
_COLUMN = {name: index for index, name in enumerate(NAMES)}
#: Columns of the words' probabilities of the common labels.
EMOTIONS = [_COLUMN[f"emotion_{label}"] for label in COMMON]


@dataclass(frozen=True)
class Pool:
    """A log-opinion pool: ``p = voice * words ** (sharpness * g)``, made to sum to 1.

    The weight ``g`` is a logistic function of the gate's inputs, a constant where the gate is empty (late fusion), and
    0 where there are no words: then the answer is the voice's, unchanged.

    Attributes
    ----------
    sharpness : float
        Calibration of the words' opinion; 1 leaves it as it is, more makes it surer.
    bias : float
        Log-odds of the weight where all inputs are 0.
    gate : mapping of str to float
        Log-odds that each of :data:`GATE_INPUTS` adds.

    Notes
    -----
    Source: C. Genest and J. Zidek, "Combining probability distributions", Statistical Science 1(1), 1986, section 3;
    the gate is that of R. Jacobs et al., "Adaptive mixtures of local experts", Neural Computation 3, 1991.

    Examples
    --------
    >>> words = np.zeros((2, len(NAMES)))
    >>> words[1, [NAMES.index("has_words"), NAMES.index("emotion_sad")]] = 1
    >>> found, weight = Pool(sharpness=1.0).combine([[0.8, 0.2], [0.8, 0.2]], words, ("neutral", "sad"))
    >>> found.round(2).tolist(), weight.tolist()
    ([[0.8, 0.2], [0.11, 0.89]], [0.0, 0.5])
    """

    sharpness: float = 1.0
    bias: float = 0.0
    gate: Mapping[str, float] = field(default_factory=dict)

    def combine(self, voice: ArrayLike, words: ArrayLike, labels: Sequence[str]) -> tuple[Float, Float]:
        """Put voice and words together.

        Parameters
        ----------
        voice : array_like, shape (n, n_labels)
            Probabilities by the acoustic model, in the order of `labels`.
        words : array_like, shape (n, len(NAMES))
            Rows of :func:`emovox.text.evidence.words_vector`; zeros where there are no words.
        labels : sequence of str
            The model's labels.

        Returns
        -------
        probabilities : ndarray, shape (n, n_labels)
            Rows that sum to 1.
        weight : ndarray, shape (n,)
            Weight of the words, from 0 to 1.
        """
        given = np.asarray(words, dtype=np.float64)
        weight = self.weight(given)
        heard = np.log(np.maximum(np.asarray(voice, dtype=np.float64), TINY))
        read = opinions(given, labels)
        logs = heard + (weight * self.sharpness)[:, np.newaxis] * read
        powers = np.exp(logs - logs.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), weight

    def weight(self, words: Float) -> Float:
        """Return the weight of the words, shape (n,), from rows of the words vector."""
        inputs = gate_inputs(words)
        odds = self.bias + sum((value * inputs[name] for name, value in self.gate.items()), np.zeros(len(words)))
        weight: Float = words[:, _COLUMN["has_words"]] / (1 + np.exp(-odds))
        return weight

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"sharpness": self.sharpness, "bias": self.bias, "gate": dict(self.gate)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pool:
        """Rebuild a pool from :meth:`to_dict`'s values; raise ModelError where they are none."""
        try:
            gate = {str(name): float(value) for name, value in dict(values["gate"]).items()}
            pool = cls(float(values["sharpness"]), float(values["bias"]), gate)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"not the values of a pool of voice and words ({error}): get the file again") from error
        if unknown := set(gate) - GATE_INPUTS.keys():
            raise ModelError(f"a pool with the unknown gate input {min(unknown)!r}: upgrade emovox")
        return pool


def gate_inputs(words: Float) -> dict[str, Float]:
    """Compute what the gate sees, each of shape (n,), from rows of the words vector."""
    count = words[:, _COLUMN["word_count"]]
    return {
        "confidence": words[:, _COLUMN["confidence"]],
        "length": count / (count + HALF_LENGTH),
        "sentiment": np.abs(words[:, _COLUMN["compound"]]),
        "emotion": (words[:, EMOTIONS] * MOVED).max(axis=1),
    }


def opinions(words: Float, labels: Sequence[str]) -> Float:
    """Return the log-probabilities of the words, shape (n, n_labels).

    Neutral words are no evidence of a neutral voice, so the probability of neutral is spread over all labels evenly.
    Words that make no emotion likelier than :data:`QUIET` have no opinion.  On a label that words cannot speak of (one
    outside :data:`emovox.labels.COMMON`) it is the average of the others.
    """
    emotions = words[:, EMOTIONS]
    moved = emotions * MOVED
    spread = np.maximum(moved + emotions[:, [_NEUTRAL]] / len(COMMON), LEAST)
    clear = np.clip((moved.max(axis=1) - QUIET) / (CLEAR - QUIET), 0, 1)
    logs: Float = clear[:, np.newaxis] * np.log(spread) @ opinion_matrix(labels)
    return logs


def opinion_matrix(labels: Sequence[str]) -> Float:
    """Return the map from opinions on the common labels to those on a model's, shape (8, n_labels)."""
    columns = [
        np.eye(len(COMMON))[COMMON.index(label)] if label in COMMON else np.full(len(COMMON), 1 / len(COMMON))
        for label in labels
    ]
    return np.stack(columns, axis=1)


def builtin() -> Pool:
    """Return the gated pool that comes with emovox, for acoustic models that take no words themselves.

    Examples
    --------
    >>> sorted(builtin().gate)
    ['confidence', 'emotion', 'length', 'sentiment']
    """
    content = (resources.files("emovox.pretrained") / "words.json").read_text(encoding="utf-8")
    return Pool.from_dict(json.loads(content)["pool"])
