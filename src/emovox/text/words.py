"""The words of a recording: transcribed while the voice is analysed, or given; and their linguistic features."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emovox.errors import EmovoxError, TranscriptError
from emovox.text.evidence import TextClassifier, is_english, linguistic_features
from emovox.text.transcribe import Listener, Transcriber
from emovox.types import Float32Array, Prediction, Transcript, Waveform, Word

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
