"""Evidence in the words: the emotion they express, judged by rule, and the words vector that fusion reads.

The rule adds up the cues of the emotion lexicon, VADER's polarity and how the sentences are built.  No corpus trained
it: acted corpora repeat a few neutral sentences and cannot teach what words mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from emovox.labels import COMMON
from emovox.text import lexicon
from emovox.text.lexicon import Text, vocabulary
from emovox.text.sentiment import FEATURE_NAMES, is_english, linguistic_features, polarity_scores
from emovox.types import Float32Array, Transcript

#: Version of the vector: it rises whenever a number changes that models were fitted on.
VERSION = 1

#: Names of the columns: the linguistic features, then the words' probability of each common label.
NAMES: tuple[str, ...] = (*FEATURE_NAMES, *(f"emotion_{label}" for label in COMMON))

#: Columns that tell how something was said or understood, not what.
DELIVERY: tuple[str, ...] = ("speaking_rate", "pause_share", "confidence")

#: Log-odds of one strong cue.
_SLOPE = 2.2
#: Evidence for "nothing in particular" before any word is read.
_PRIOR = 0.45
#: Neutral cues only name everyday things: all together they count at most this, and the less the more emotion there is.
_MOST_NEUTRAL = 0.6
#: What a compound score of 1 or -1 adds.
_POSITIVE: Mapping[str, float] = {"happy": 0.7, "calm": 0.2, "neutral": -0.2}
_NEGATIVE: Mapping[str, float] = {"sad": 0.3, "angry": 0.35, "fearful": 0.25, "disgust": 0.15, "neutral": -0.3}
#: Words per utterance: longer texts are averaged over so many, so that length alone makes nobody sure.
_UTTERANCE = 25

_ASKING = vocabulary(
    "what who whom whose which when where why how is are was were am do does did can could will would shall should "
    "may might must have has had please"
)
_ORDERS = vocabulary("stop get give go turn move leave keep put take shut let")


def text_emotions(transcript: Transcript | str) -> dict[str, float]:
    """Estimate which emotion the words of an English transcript express, regardless of the voice.

    Parameters
    ----------
    transcript : Transcript or str
        What was said.

    Returns
    -------
    dict of str to float
        A probability for each label of :data:`emovox.labels.COMMON`, in that order; they sum to 1.  All are equal where
        there are no words, or words of another language.

    Raises
    ------
    MissingExtraError
        VADER is not installed.

    Examples
    --------
    >>> probabilities = text_emotions("There is somebody in the house!")
    >>> max(probabilities, key=probabilities.get)
    'fearful'
    """
    spoken = transcript if isinstance(transcript, Transcript) else Transcript(transcript)
    text = lexicon.read(spoken.text)
    if not text.words or not is_english(spoken.language):
        return dict.fromkeys(COMMON, 1 / len(COMMON))
    evidence = _evidence(text, polarity_scores(spoken.text)["compound"])
    largest = max(evidence.values())
    powers = {label: math.exp(_SLOPE * (value - largest)) for label, value in evidence.items()}
    total = sum(powers.values())
    return {label: power / total for label, power in powers.items()}


def words_vector(transcript: Transcript | None, duration: float) -> Float32Array:
    """Compute the words vector of a transcript.

    Parameters
    ----------
    transcript : Transcript or None
        The transcript; None if there is none.
    duration : float
        Length of the recording in seconds.

    Returns
    -------
    ndarray of float32, shape (len(NAMES),)
        All zeros without English words: models read zeros as "no words".

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


def _evidence(text: Text, compound: float) -> dict[str, float]:
    """Add up what speaks for each emotion."""
    found = dict.fromkeys(COMMON, 0.0)
    for cue in lexicon.find(text):
        for label, weight in cue.weights.items():
            found[label] += weight
    for label, weight in _construction(text):
        found[label] += weight
    shorter = min(1.0, _UTTERANCE / len(text.words))
    found = {label: shorter * value for label, value in found.items()}
    strongest = max(value for label, value in found.items() if label != "neutral")
    found["neutral"] = _PRIOR + min(found["neutral"], _MOST_NEUTRAL) * max(0.0, 1 - strongest)
    for label, weight in (_POSITIVE if compound > 0 else _NEGATIVE).items():
        found[label] += abs(compound) * weight
    return found


def _construction(text: Text) -> Iterator[tuple[str, float]]:
    """Tell what the build of each sentence speaks for."""
    for number, end in enumerate(text.ends):
        words = text.sentence(number)
        if not words:
            continue
        second = bool({"you", "your"} & set(words))
        if end == "?" and words[0] not in _ASKING:
            yield "surprised", 0.6  # a statement with a question mark: "You sold the house?"
        if words in (("really",), ("what",), ("seriously",)) or (words[0] in ("wait", "what") and end != "?"):
            yield "surprised", 0.5
        if end == "!":
            yield "neutral", -0.5
            yield "calm", -0.3
            for label in ("happy", "angry", "fearful", "surprised"):
                yield label, 0.1
            if words[0] in _ORDERS:
                yield "angry", 0.4
        if second and {"again", "always", "never"} & set(words):
            yield "angry", 0.3
