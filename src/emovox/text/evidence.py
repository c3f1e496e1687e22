"""Linguistic features of a transcript, the emotion that its words express, and the vector of both that fusion takes.

Polarity by VADER's lexicon and emotion words by :mod:`emovox.text.lexicon` are for English only.  The emotion is
estimated by a rule that adds up cues of the lexicon, polarity and the form of the sentences.  It is not trained: acted
corpora repeat a few neutral sentences, from which nothing can be learnt about the meaning of words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emovox import hub
from emovox.audio import MIN_DURATION
from emovox.errors import MissingExtraError, ModelError
from emovox.labels import COMMON, canonical
from emovox.text import lexicon
from emovox.text.lexicon import Cue, TokenizedText, word_set
from emovox.types import Float32Array, Transcript

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


#: Labels of text-emotion corpora mapped to the common ones, in addition to the synonyms of :mod:`emovox.labels`.
SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("love", "amusement", "excitement", "gratitude", "pride", "admiration", "optimism"), "happy"),
    **dict.fromkeys(("relief", "caring", "approval", "serenity", "trust"), "calm"),
    **dict.fromkeys(("grief", "disappointment", "remorse", "loneliness"), "sad"),
    **dict.fromkeys(("annoyance", "disapproval", "rage", "contempt"), "angry"),
    **dict.fromkeys(("nervousness", "anxiety", "terror", "worry"), "fearful"),
    **dict.fromkeys(("realization", "confusion", "curiosity", "astonishment"), "surprised"),
    **dict.fromkeys(("no_emotion", "none", "other", "others"), "neutral"),
}

#: The only files of a checkpoint that are downloaded.
_FILES = (*hub.HUB_FILES, "tokenizer*.json", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
#: How a classifier is found by its name.
KIND = hub.CheckpointKind("a text classifier", "config.json, model.safetensors and a tokenizer", "owner/model", _FILES)
#: Words classified at a time: well below the input length of such models, and close to their training texts.
_PIECE = 60


class TextClassifier:
    """Estimates the emotion of a text with a sequence classifier of transformers.

    Parameters
    ----------
    model : str or Path
        A folder with ``config.json``, ``model.safetensors`` and the tokenizer's files, or a repository on the hub.
        Loaded, and downloaded if necessary, with the first text.
    labels : mapping of str to str, optional
        Maps labels of the model to common ones (:data:`emovox.labels.COMMON`), for labels such as ``LABEL_0`` that name
        no emotion.  Labels without a common counterpart are ignored.

    Raises
    ------
    ModelError
        A label is mapped to one that is not in :data:`emovox.labels.COMMON`.

    Examples
    --------
    >>> TextClassifier("someone/some-model", labels={"LABEL_0": "gloomy"})
    Traceback (most recent call last):
    emovox.errors.ModelError: label 'gloomy' is not known: choose one of neutral, calm, happy, sad, angry, ...
    """

    def __init__(self, model: str | Path, labels: Mapping[str, str] | None = None) -> None:
        self.model = str(model)
        self.labels = dict(labels or {})
        for label in self.labels.values():
            if label not in COMMON:
                raise ModelError(f"label {label!r} is not known: choose one of {', '.join(COMMON)}")

    def emotions(self, text: str) -> dict[str, float]:
        """Estimate the emotion of a text.

        Parameters
        ----------
        text : str
            Text of any length: long texts are classified in pieces of 60 words, whose probabilities are averaged.

        Returns
        -------
        dict of str to float
            Probabilities of the labels of :data:`emovox.labels.COMMON`, in that order; they sum to 1.  A text without
            words has a uniform distribution.

        Raises
        ------
        ModelError
            The model cannot be found or read, or fewer than two of its labels have a common counterpart.
        MissingExtraError
            transformers is not installed.
        """
        words = text.split()
        if not words:
            return dict.fromkeys(COMMON, 1 / len(COMMON))
        import numpy as np

        pieces = [words[begin : begin + _PIECE] for begin in range(0, len(words), _PIECE)]
        rows = [self._judge(" ".join(piece)) for piece in pieces]
        mean = np.average(rows, axis=0, weights=[len(piece) for piece in pieces])
        return dict(zip(COMMON, (mean / mean.sum()).tolist(), strict=True))

    def _judge(self, text: str) -> list[float]:
        import torch

        tokenizer, network, targets = self._loaded
        with torch.inference_mode():
            logits = network(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0].double()
        several = network.config.problem_type == "multi_label_classification"
        found = (logits.sigmoid() if several else logits.softmax(0)).tolist()
        sums = dict.fromkeys(COMMON, 0.0)
        for index, label in targets.items():
            sums[label] += found[index]
        total = sum(sums.values())
        return [value / total if total else 1 / len(COMMON) for value in sums.values()]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, dict[int, str]]:
        try:
            import torch  # noqa: F401 - transformers imports without it and fails later
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("judging words with a text classifier", "hub,train") from error
        folder = hub.find(self.model, KIND).folder  # refuses what is no safetensors
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except Exception as error:  # transformers raises a dozen kinds
            reason = (str(error).strip().splitlines() or [""])[0][:160] or type(error).__name__
            raise ModelError(f"cannot read the text classifier in {folder} ({reason}): get it again") from error
        return tokenizer, network.eval(), self._targets(network.config.id2label)

    def _targets(self, names: Mapping[int, str]) -> dict[int, str]:
        """Map the indices of the model's outputs to common labels."""
        found: dict[int, str] = {}
        for index, name in names.items():
            word = canonical(name)
            label = self.labels.get(name) or SYNONYMS.get(word, word)
            if label in COMMON:
                found[int(index)] = label
        if len(set(found.values())) < 2:
            raise ModelError(
                f"the labels of the text classifier {self.model} ({', '.join(map(str, names.values()))}) stand for no "
                "emotions that are known: say what they mean, labels={'LABEL_0': 'sad', ...}"
            )
        return found
