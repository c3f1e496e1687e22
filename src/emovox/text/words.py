"""Words to evidence: linguistic features, and the emotion of a text.

Polarity by VADER's lexicon and emotion words by :mod:`emovox.text.lexicon` are for English only.  The emotion is
estimated by a rule that adds up cues of the lexicon, polarity and the form of the sentences.  It is not trained: acted
corpora repeat a few neutral sentences, from which nothing can be learnt about the meaning of words.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emovox import storage
from emovox.audio import MIN_DURATION
from emovox.errors import EmovoxError, MissingExtraError, ModelError, TranscriptError
from emovox.text import lexicon
from emovox.text.lexicon import Cue, TokenizedText, word_set
from emovox.text.transcribe import Listener, Transcriber
from emovox.types import COMMON, Float32Array, Prediction, Transcript, Waveform, Word, canonical

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
        Probabilities of the labels of :data:`emovox.types.COMMON`, in that order; they sum to 1.  A transcript without
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


#: Labels of text-emotion corpora mapped to the common ones, in addition to the synonyms of :mod:`emovox.types`.
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
_FILES = (*storage.HUB_FILES, "tokenizer*.json", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
#: How a classifier is found by its name.
KIND = storage.CheckpointKind(
    "a text classifier", "config.json, model.safetensors and a tokenizer", "owner/model", _FILES
)
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
        Maps labels of the model to common ones (:data:`emovox.types.COMMON`), for labels such as ``LABEL_0`` that name
        no emotion.  Labels without a common counterpart are ignored.

    Raises
    ------
    ModelError
        A label is mapped to one that is not in :data:`emovox.types.COMMON`.

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
            Probabilities of the labels of :data:`emovox.types.COMMON`, in that order; they sum to 1.  A text without
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
        folder = storage.find(self.model, KIND).folder  # refuses what is no safetensors
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


#: Mean probability of the words below which a note says that they are uncertain.
UNSURE = 0.45


@dataclass(frozen=True)
class Heard:
    """The words of a recording or of a segment.

    Attributes
    ----------
    transcript : Transcript or None
        What was said; None if transcription failed.
    linguistic : dict of str to float or None
        Linguistic features by name; None without a transcript or without VADER.
    notes : tuple of str
        Warnings for the user, one line each: what is missing or uncertain.
    """

    transcript: Transcript | None
    linguistic: dict[str, float] | None
    notes: tuple[str, ...] = ()

    def beside(self, prediction: Prediction) -> Prediction:
        """Return a prediction with transcript, words and linguistic features; probabilities stay as they are."""
        return replace(
            prediction,
            transcript=self.transcript.text if self.transcript else None,
            words=self.transcript.words if self.transcript else None,
            linguistic=self.linguistic,
            why=(*(prediction.why or ()), *self.notes) or None,
        )

    def within(self, start: float, end: float, classifier: TextClassifier | None = None) -> Heard:
        """Return the words of a segment of the recording: those whose midpoint lies in it.

        Parameters
        ----------
        start, end : float
            Start and end of the segment in seconds from the beginning of the recording.
        classifier : TextClassifier, optional
            As for :class:`Hearing`.
        """
        if self.transcript is None:
            return self
        words = tuple(word for word in self.transcript.words if start <= (word.start + word.end) / 2 < end)
        said = Transcript(
            " ".join(word.text for word in words),
            words,
            self.transcript.language,
            sum(word.confidence for word in words) / len(words) if words else 0.0,
        )
        return _judged(said, end - start, classifier, self.notes) if self.linguistic else replace(self, transcript=said)


class Hearing:
    """Transcribes one recording while its blocks are passed on to acoustic analysis.

    Parameters
    ----------
    transcriber : Transcriber or None
        Speech recogniser; None where `given` is used, or no words are wanted.
    given : Transcript, optional
        Known transcript, used instead of the recogniser.
    classifier : TextClassifier, optional
        Text classifier whose probabilities become the linguistic features ``text_<label>``.

    Examples
    --------
    >>> from emovox import audio
    >>> hearing = Hearing(None, Transcript("The train leaves at ten past nine."))
    >>> blocks = list(hearing.tap(audio.blocks("examples/plain.wav")))
    >>> heard = hearing.result(blocks[-1].end)
    >>> heard.transcript.text, heard.linguistic["word_count"], heard.notes
    ('The train leaves at ten past nine.', 7.0, ())
    """

    def __init__(
        self,
        transcriber: Transcriber | None,
        given: Transcript | None = None,
        classifier: TextClassifier | None = None,
    ) -> None:
        self._given = given
        self._classifier = classifier
        self._listener = Listener(None if given else transcriber)

    def tap(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        """Yield the blocks unchanged, transcribing each on the way."""
        for block in blocks:
            self._listener.push(block)
            yield block

    def hear(self, samples: Float32Array, speech: Float32Array) -> None:
        """Take the next samples of a stream whose probabilities of speech are known.

        See :meth:`emovox.text.transcribe.Listener.hear`; instead of :meth:`tap`.
        """
        self._listener.hear(samples, speech)

    def result(self, duration: float) -> Heard:
        """Finish the transcription and compute the linguistic features.

        Parameters
        ----------
        duration : float
            Length of the recording in seconds.

        Returns
        -------
        Heard
            Errors are not raised but reported in its notes.
        """
        try:
            transcript = self._listener.finish()
            if self._given:
                check_fits(self._given, transcript.speech or 0.0, duration)
                transcript = replace(self._given, words=_fitted(self._given.words, duration), speech=transcript.speech)
        except EmovoxError as error:
            return Heard(None, None, (f"no words, the voice alone: {error}",))
        notes = [f"some words are missing: {problem}" for problem in self._listener.problems]
        if transcript.text and transcript.confidence < UNSURE:
            notes.append(
                f"the words are unsure (mean probability {transcript.confidence:.2f}): "
                "noise, or another language than the model's?"
            )
        if transcript.text and not is_english(transcript.language):
            notes.append(
                f"the words are in language {transcript.language!r}: polarity and emotion words are known for English "
                "only, so only rate, pauses and confidence count"
            )
        return _judged(transcript, duration, self._classifier, tuple(notes))


def _last_run(words: Sequence[Word]) -> Sequence[Word]:
    """Return the last words that follow one another without a pause: of a segment that was given as a whole."""
    first = len(words) - 1
    while first > 0 and words[first].start - words[first - 1].end < 1e-3:
        first -= 1
    return words[max(0, first) :]


def _fitted(words: tuple[Word, ...], duration: float) -> tuple[Word, ...]:
    """Let words end with the recording: a last segment that overshoots far is spread over what there is."""
    last, run = max((word.end for word in words), default=0.0), _last_run(words)
    if last > duration + _BEYOND and run[0].start < duration:
        begin, share = run[0].start, (duration - run[0].start) / (last - run[0].start)
        spread = (
            replace(word, start=begin + (word.start - begin) * share, end=begin + (word.end - begin) * share)
            for word in run
        )
        words = (*words[: len(words) - len(run)], *spread)
    return tuple(replace(word, start=min(word.start, duration), end=min(word.end, duration)) for word in words)


def _judged(
    transcript: Transcript, duration: float, classifier: TextClassifier | None, notes: tuple[str, ...]
) -> Heard:
    """Compute the linguistic features of a transcript; what goes wrong is in the notes."""
    try:
        features = linguistic_features(transcript, duration)
    except EmovoxError as error:
        return Heard(transcript, None, (*notes, f"no linguistic features: {error}"))
    if classifier:
        try:
            judged = classifier.emotions(transcript.text)
            features |= {f"text_{label}": probability for label, probability in judged.items()}
        except EmovoxError as error:
            notes = (*notes, f"no emotion of the words by {classifier.model}: {error}")
    return Heard(transcript, features, notes)


#: Words in a second of speech beyond which a transcript belongs to another recording: fast speakers reach 5 or 6.
FASTEST = 8.0
#: Words that fit any recording.
_FEW = 3
#: Seconds that a word may lie after the end: times of transcripts are rounded.
_BEYOND = 1.0
#: Seconds by which the last segment of a recogniser may end too late: Whisper hears windows of 30 s.
_OVERSHOOT = 30.0
#: Largest file that is read, in bytes: a day of speech is about 1 MB of text.
_LARGEST = 50_000_000

_ARROW = re.compile(
    r"(?:(\d+):)?(\d{1,2}):(\d{1,2}[.,]\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2}[.,]\d{1,3})[^\n]*\n(.*?)(?=\n\s*\n|\Z)",
    re.S,
)
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_transcript(path: str | Path, language: str | None = "en") -> Transcript:
    """Read a transcript from a file.

    Parameters
    ----------
    path : str or Path
        Plain text in UTF-8; WebVTT or SRT subtitles (their words are spread evenly over each subtitle); or JSON: an
        object with ``text``, ``words`` (objects with ``text`` or ``word``, ``start``, ``end`` and perhaps
        ``confidence`` or ``probability``), ``segments`` (objects with ``text``, ``start``, ``end``), and perhaps
        ``language``, or what ``emovox predict --text --format json`` wrote about one recording, with ``--timeline``
        or without.
    language : str or None, default "en"
        Language code for files that state none.

    Returns
    -------
    Transcript

    Raises
    ------
    TranscriptError
        The file cannot be read, is not what its ending says, or holds no words.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "said.txt"
    >>> _ = file.write_text("Dogs are sitting by the door.")
    >>> read_transcript(file).text
    'Dogs are sitting by the door.'
    """
    path = Path(path)
    content = _content(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        transcript = _from_json(content, path, language)
    elif suffix in (".vtt", ".srt"):
        transcript = _from_pieces(_subtitles(content), language)
    else:
        transcript = Transcript(" ".join(content.split()), language=language)
    if not transcript.text:
        raise TranscriptError(f"the transcript {path} holds no words: give the text that was said")
    return transcript


def check_fits(transcript: Transcript, speech: float, duration: float) -> None:
    """Check that a transcript can belong to a recording.

    Parameters
    ----------
    transcript : Transcript
        The transcript.
    speech : float
        Duration of speech in the recording in seconds; `duration` counts instead where it is 0.
    duration : float
        Length of the recording in seconds.

    Raises
    ------
    TranscriptError
        It has more than 8 words per second of speech, or words after the end of the recording, where they are not the
        last segment of Whisper, which may overshoot by up to 30 s.

    Examples
    --------
    >>> check_fits(Transcript("one two three four five"), 0.4, 0.6)
    Traceback (most recent call last):
    emovox.errors.TranscriptError: the transcript has 5 words for 0.4 s of speech, 12.5 a second, and nobody speaks ...
    """
    seconds = max(speech or duration, 0.1)
    count = len(transcript.text.split())
    if count > _FEW and count / seconds > FASTEST:
        raise TranscriptError(
            f"the transcript has {count} words for {seconds:.1f} s of speech, {count / seconds:.1f} a second, and "
            f"nobody speaks faster than {FASTEST:g}: is it that of another recording?"
        )
    last = max((word.end for word in transcript.words), default=0.0)
    late = last > duration + _OVERSHOOT or not any(word.start < duration for word in _last_run(transcript.words))
    if last > duration + _BEYOND and late:
        raise TranscriptError(
            f"the transcript has words up to {last:.1f} s, and the recording ends at {duration:.1f} s: "
            "is it that of another recording?"
        )


def require_times(transcript: Transcript) -> None:
    """Check that a transcript has word times, which a timeline needs.

    Raises
    ------
    TranscriptError
        It has none.

    Examples
    --------
    >>> require_times(Transcript("Nobody came."))
    Traceback (most recent call last):
    emovox.errors.TranscriptError: the transcript does not tell when its words are said, and a timeline needs that: ...
    """
    if not transcript.words:
        raise TranscriptError(
            "the transcript does not tell when its words are said, and a timeline needs that: "
            "give WebVTT, SRT, or JSON with the times of words or segments"
        )


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise TranscriptError(f"the transcript {path} is larger than {_LARGEST // 1_000_000} MB: give a text file")
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TranscriptError(
            f"the transcript {path} is not text in UTF-8 ({error.reason}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise TranscriptError(f"cannot read the transcript {path} ({error.strerror}): give a text file") from error
    if "\0" in content:
        raise TranscriptError(f"the transcript {path} is not text: give plain text, JSON, WebVTT or SRT")
    return content


def _subtitles(content: str) -> Iterator[tuple[str, float, float]]:
    for match in _ARROW.finditer(content.replace("\r\n", "\n")):
        times = [
            3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
            for hours, minutes, seconds in (match.group(1, 2, 3), match.group(4, 5, 6))
        ]
        yield _MARKUP.sub("", match[7]), times[0], max(times)


def _from_pieces(pieces: Iterator[tuple[str, float, float]], language: str | None) -> Transcript:
    """Spread the words of each piece evenly over its time."""
    words: list[Word] = []
    for text, start, end in pieces:
        found = text.split()
        step = (end - start) / max(1, len(found))
        words += [Word(word, start + index * step, start + (index + 1) * step) for index, word in enumerate(found)]
    return Transcript(" ".join(word.text for word in words), tuple(words), language)


def _from_json(content: str, path: Path, language: str | None) -> Transcript:
    try:
        values: Any = json.loads(content)
        if isinstance(values, list):
            values = _one_recording(values, path)
        language = values.get("language") or language
        if values.get("segments") and not values.get("words"):
            pieces = ((str(one["text"]), _seconds(one["start"]), _seconds(one["end"])) for one in values["segments"])
            return _from_pieces(pieces, language)
        words = tuple(_word(one) for one in values.get("words") or ())
        text = values.get("text") or values.get("transcript") or " ".join(word.text for word in words)
        return Transcript(" ".join(str(text).split()), words, language)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, TranscriptError):
            raise
        raise TranscriptError(
            f"the transcript {path} is not JSON of a kind that is known ({type(error).__name__}: {error}): "
            "give an object with text, or words with text, start and end"
        ) from error


def _one_recording(predictions: list[Any], path: Path) -> Any:
    """Put the segments of a timeline together, or take what is about a whole recording."""
    if len(predictions) == 1:
        return predictions[0]
    files = {one.get("file") or place for place, one in enumerate(predictions)}
    if len(files) != 1:
        raise TranscriptError(f"the transcript {path} lists {len(files)} recordings: give the one that is meant")
    return {
        "transcript": " ".join(one.get("transcript") or "" for one in predictions),
        "words": [word for one in predictions for word in one.get("words") or ()],
    }


def _word(values: Any) -> Word:
    text = values["text"] if "text" in values else values["word"]
    confidence = _seconds(values.get("confidence", values.get("probability", 1.0)))
    start, end = _seconds(values["start"]), _seconds(values["end"])
    if not (start <= end and confidence <= 1):
        raise ValueError(f"word {text!r} from {start} to {end} s, confidence {confidence}")
    return Word(str(text).strip(), start, end, confidence)


def _seconds(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{value!r} where a number from 0 on is expected")
    return number
