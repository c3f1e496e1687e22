"""The words vector: what fusion is told of a transcript, one row of numbers with names."""

from __future__ import annotations

import numpy as np

from emovox.labels import COMMON
from emovox.text.emotions import text_emotions
from emovox.text.sentiment import FEATURE_NAMES, linguistic_features
from emovox.types import Float32Array, Transcript

#: Version of the vector: it rises whenever a number changes that models were fitted on.
VERSION = 1

#: Names of the columns: the linguistic features, then the words' probability of each common label.
NAMES: tuple[str, ...] = (*FEATURE_NAMES, *(f"emotion_{label}" for label in COMMON))

#: Columns that tell how something was said or understood, not what.
DELIVERY: tuple[str, ...] = ("speaking_rate", "pause_share", "confidence")


def words_vector(transcript: Transcript | None, duration: float) -> Float32Array:
    """Compute the words vector of a transcript.

    Parameters
    ----------
    transcript : Transcript or None
        What was said; None where nobody knows.
    duration : float
        Length of the recording in seconds.

    Returns
    -------
    ndarray of float32, shape (len(NAMES),)
        All zeros where there are no English words to judge, which is how a model knows that.

    Examples
    --------
    >>> vector = words_vector(Transcript("I miss him so much."), 1.5)
    >>> NAMES[len(NAMES) - 8 + int(vector[-8:].argmax())]
    'emotion_sad'
    >>> bool(words_vector(None, 1.5).any())
    False
    """
    if transcript is None:
        return np.zeros(len(NAMES), dtype=np.float32)
    features = linguistic_features(transcript, duration)
    if not features["has_words"]:
        return np.zeros(len(NAMES), dtype=np.float32)
    return np.array([*features.values(), *text_emotions(transcript).values()], dtype=np.float32)
