"""Linguistic features of a transcript: polarity, emotion words, negation, person, speaking rate.

Polarity by VADER's lexicon and emotion words by :mod:`emovox.text.lexicon` are for English only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from emovox.audio import MIN_DURATION
from emovox.errors import MissingExtraError
from emovox.labels import COMMON
from emovox.text import lexicon
from emovox.text.lexicon import Cue, TokenizedText, word_set
from emovox.types import Transcript

#: Version of the computation; it rises whenever a value changes.
VERSION = 1

#: Names of the features with their definitions, in the order of every vector.
DESCRIPTIONS: dict[str, str] = {
    "has_words": "1 where there are English words to judge, else 0, as are all features of meaning then",
    "word_count": "number of words, contractions written out",
    "compound": "VADER's normalised sum of valences, from -1 to 1",
    "positive": "share of the text that VADER finds positive, from 0 to 1",
    "negative": "share of the text that VADER finds negative, from 0 to 1",
    "polarity": "(positive - negative) / (positive + negative), from -1 to 1; 0 where neither is there",
    "subjectivity": "share of words that judge or feel: emotion words, intensifiers, 'I think', from 0 to 1",
    **{f"share_{label}": f"share of words in the lexicon's entries for {label}, from 0 to 1" for label in COMMON},
    "negations": "share of words that deny: not, no, never, ...",
    "intensifiers": "share of words that strengthen: very, so, absolutely, ...",
    "questions": "share of sentences that end in a question mark",
    "exclamations": "share of sentences that end in an exclamation mark",
    "first_person": "share of words that are I, me, my, we, us, our, ...",
    "second_person": "share of words that are you, your, ...",
    "third_person": "share of words that are he, she, they, him, her, them, ...",
    "speaking_rate": "words per second of speech; of any language",
    "pause_share": "share of the recording that is no speech, from 0 to 1; of any language",
    "confidence": "mean probability of the words by the recogniser, from 0 to 1; 1 for a transcript that is given",
}

#: Names of the features, in the order of every vector.
FEATURE_NAMES: tuple[str, ...] = tuple(DESCRIPTIONS)

_OPINION = word_set("think feel believe hope guess suppose seem seems probably maybe perhaps should must wish prefer")
_PERSONS = {
    "first_person": word_set("i me my mine myself we us our ours ourselves"),
    "second_person": word_set("you your yours yourself yourselves"),
    "third_person": word_set("he him his himself she her hers herself they them their theirs themselves"),
}


def is_english(language: str | None) -> bool:
    """Return whether a language is English, which the lexicons require; an unknown one counts as English.

    Examples
    --------
    >>> is_english("en"), is_english("en-GB"), is_english("de")
    (True, True, False)
    """
    return not language or language.lower().partition("-")[0] == "en"


def linguistic_features(transcript: Transcript, duration: float) -> dict[str, float]:
    """Compute the linguistic features of a transcript.

    Parameters
    ----------
    transcript : Transcript
        What was said.  For languages other than English only word count, speaking rate, pauses and confidence are
        computed; the rest is 0.
    duration : float
        Length of the recording in seconds.

    Returns
    -------
    dict of str to float
        Finite values by name, in the order of :data:`FEATURE_NAMES`; :data:`DESCRIPTIONS` defines each.

    Raises
    ------
    MissingExtraError
        VADER is not installed.

    Source
    ------
    Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text, ICWSM.

    Examples
    --------
    >>> features = linguistic_features(Transcript("I'm so happy to see you!"), 2.0)
    >>> features["compound"] > 0.5, round(features["share_happy"], 3), features["exclamations"]
    (True, 0.143, 1.0)
    """
    features = dict.fromkeys(FEATURE_NAMES, 0.0)
    text = lexicon.tokenize(transcript.text)
    if not text.words:
        features["pause_share"] = _pause_share(transcript, duration)
        return features
    features["word_count"] = float(len(text.words))
    features["speaking_rate"] = _speaking_rate(transcript, len(text.words), duration)
    features["pause_share"] = _pause_share(transcript, duration)
    features["confidence"] = transcript.confidence
    if is_english(transcript.language):
        cues = lexicon.find_cues(text)
        features |= {"has_words": 1.0} | _sentiment(transcript.text) | _shares(text, cues) | _manner(text, cues)
    return features


def polarity_scores(text: str) -> dict[str, float]:
    """Compute VADER's scores of a text: ``neg``, ``neu`` and ``pos`` sum to 1, ``compound`` is in [-1, 1].

    Raises
    ------
    MissingExtraError
        VADER is not installed.

    Examples
    --------
    >>> polarity_scores("What a lovely day")["compound"] > 0
    True
    """
    scores: dict[str, float] = _vader().polarity_scores(text)
    return scores


@lru_cache(maxsize=1)
def _vader() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise MissingExtraError("judging words", "text") from error
    return SentimentIntensityAnalyzer()


def _sentiment(text: str) -> dict[str, float]:
    scores = polarity_scores(text)
    positive, negative = scores["pos"], scores["neg"]
    strength = positive + negative
    return {
        "compound": scores["compound"],
        "positive": positive,
        "negative": negative,
        "polarity": (positive - negative) / strength if strength else 0.0,
    }


def _shares(text: TokenizedText, cues: list[Cue]) -> dict[str, float]:
    """Compute the share of words in cues for each emotion; a negated cue counts for the emotion that it then has."""
    counts = dict.fromkeys(COMMON, 0)
    for cue in cues:
        counts[cue.emotion] += len(cue.words)
    return {f"share_{label}": count / len(text.words) for label, count in counts.items()}


def _manner(text: TokenizedText, cues: list[Cue]) -> dict[str, float]:
    words, ends = text.words, text.ends
    feeling = {
        index for cue in cues if cue.emotion != "neutral" for index in range(cue.start, cue.start + len(cue.words))
    }
    judging = {i for i, word in enumerate(words) if word in _OPINION or word in lexicon.INTENSIFIERS}
    return {
        "subjectivity": len(feeling | judging) / len(words),
        "negations": sum(word in lexicon.NEGATORS for word in words) / len(words),
        "intensifiers": sum(word in lexicon.INTENSIFIERS for word in words) / len(words),
        "questions": ends.count("?") / len(ends),
        "exclamations": ends.count("!") / len(ends),
        **{name: sum(word in group for word in words) / len(words) for name, group in _PERSONS.items()},
    }


def _speech(transcript: Transcript, duration: float) -> float:
    """Return the seconds of speech: by voice activity detection, else of the words, else of the whole recording."""
    if transcript.speech is not None:
        return min(transcript.speech, duration)
    if transcript.words:
        return min(sum(max(0.0, word.end - word.start) for word in transcript.words), duration)
    return duration


def _speaking_rate(transcript: Transcript, count: int, duration: float) -> float:
    speech = _speech(transcript, duration)
    return count / max(speech, MIN_DURATION) if speech > 0 else 0.0


def _pause_share(transcript: Transcript, duration: float) -> float:
    return 1 - _speech(transcript, duration) / duration if duration > 0 else 0.0
