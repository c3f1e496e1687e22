"""The words of a recording: transcription while the voice is analysed, and linguistic features of the transcript."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from emovox.errors import EmovoxError
from emovox.text.classifier import TextClassifier
from emovox.text.given import check_fits
from emovox.text.sentiment import is_english, linguistic_features
from emovox.text.transcribe import Listener, Transcriber
from emovox.types import Prediction, Transcript, Waveform

#: Mean probability of the words under which the answer says that they are unsure.
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
            why=self.notes or None,
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
                transcript = replace(self._given, speech=transcript.speech)
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
