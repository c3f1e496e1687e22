"""The emotion that words express, estimated by rule, and the words vector, which is the input of fusion.

The rule adds up cues of the emotion lexicon, VADER's polarity and the form of the sentences.  It is not trained: acted
corpora repeat a few neutral sentences, from which nothing can be learnt about the meaning of words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from emovox.labels import COMMON
from emovox.text import lexicon
from emovox.text.lexicon import TokenizedText, word_set
from emovox.text.sentiment import FEATURE_NAMES, is_english, linguistic_features, polarity_scores
from emovox.types import Float32Array, Transcript

#: Version of the words vector; it rises whenever a value changes that models were fitted on.
VERSION = 1

#: Names of the columns: the linguistic features, then the probability of each common label by the words alone.
NAMES: tuple[str, ...] = (*FEATURE_NAMES, *(f"emotion_{label}" for label in COMMON))

#: Columns that describe delivery and recognition rather than content.
DELIVERY: tuple[str, ...] = ("speaking_rate", "pause_share", "confidence")

#: Log-odds of one strong cue.
_SLOPE = 2.2
#: Evidence for neutral before any word is read.
_PRIOR = 0.45
#: Upper limit of all neutral cues together, which only name everyday things; it falls as other evidence grows.
_MOST_NEUTRAL = 0.6
#: Evidence that a VADER compound score of 1, or of -1, adds.
_POSITIVE: Mapping[str, float] = {"happy": 0.7, "calm": 0.2, "neutral": -0.2}
_NEGATIVE: Mapping[str, float] = {"sad": 0.3, "angry": 0.35, "fearful": 0.25, "disgust": 0.15, "neutral": -0.3}
#: Words of a typical utterance: evidence of longer texts is scaled down to it, so that length alone adds no confidence.
_UTTERANCE = 25

_ASKING = word_set(
    "what who whom whose which when where why how is are was were am do does did can could will would shall should "
    "may might must have has had please"
)
_ORDERS = word_set("stop get give go turn move leave keep put take shut let")


def text_emotions(transcript: Transcript | str) -> dict[str, float]:
    """Estimate the emotion that the words of an English transcript express, regardless of the voice.

    Parameters
    ----------
    transcript : Transcript or str
        What was said.

    Returns
    -------
    dict of str to float
        Probabilities of the labels of :data:`emovox.labels.COMMON`, in that order; they sum to 1.  A transcript without
        words, or in another language, has a uniform distribution.

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
    text = lexicon.tokenize(spoken.text)
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
        What was said; None if it is not known.
    duration : float
        Length of the recording in seconds.

    Returns
    -------
    ndarray of float32, shape (len(NAMES),)
        Columns as in :data:`NAMES`; all zeros, which models take as "no words", where there are no English words.

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


def _evidence(text: TokenizedText, compound: float) -> dict[str, float]:
    """Add up the evidence for each emotion."""
    found = dict.fromkeys(COMMON, 0.0)
    for cue in lexicon.find_cues(text):
        for label, weight in cue.weights.items():
            found[label] += weight
    for label, weight in _sentence_cues(text):
        found[label] += weight
    shorter = min(1.0, _UTTERANCE / len(text.words))
    found = {label: shorter * value for label, value in found.items()}
    strongest = max(value for label, value in found.items() if label != "neutral")
    found["neutral"] = _PRIOR + min(found["neutral"], _MOST_NEUTRAL) * max(0.0, 1 - strongest)
    for label, weight in (_POSITIVE if compound > 0 else _NEGATIVE).items():
        found[label] += abs(compound) * weight
    return found


def _sentence_cues(text: TokenizedText) -> Iterator[tuple[str, float]]:
    """Yield the evidence in the form of each sentence: questions, exclamations, orders, reproaches."""
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
