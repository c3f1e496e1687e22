"""The options that commands share, and those about words with what they bring: recogniser, transcript, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emovox.errors import InputError
from emovox.outputs.commands import all_of, option
from emovox.outputs.console import say
from emovox.types import Prediction, Transcript

if TYPE_CHECKING:  # emovox.text is imported where words are asked for
    from emovox.text.classifier import TextClassifier
    from emovox.text.transcribe import CachedTranscriber

model_option = option("--model", "-m", metavar="MODEL", help="Model file, run folder or built-in name.")
speaker_option = option("--speaker", "-s", metavar="NAME", help="Whose voice it is: see emovox enroll.")
threshold_option = option(
    "--threshold",
    type=float,
    metavar="0..1",
    help="Confidence that an answer needs; 0 never abstains.",
)
#: Options of speech recognition.
recognition_options = all_of(
    option("--text", is_flag=True, section="Words", help="Recognise the words, too: needs the [text] extra."),
    option(
        "--asr",
        metavar="MODEL",
        section="Words",
        help="Whisper model: a folder, a name such as base, or a hub id; implies --text. EMOVOX_ASR sets the default.",
    ),
    option(
        "--language",
        metavar="CODE",
        section="Words",
        help="What is spoken, such as en; the default is detected.",
    ),
)
#: Options of predict about words.
word_options = all_of(
    recognition_options,
    option(
        "--transcript",
        type=click.Path(path_type=Path),
        metavar="FILE",
        section="Words",
        help="What is said in one recording: text, JSON, VTT or SRT.",
    ),
    option(
        "--text-model",
        metavar="MODEL",
        section="Words",
        help="Judge the words' emotion, too: a folder or hub id.",
    ),
    option(
        "--fuse/--no-fuse",
        default=None,
        section="Words",
        help="Whether words take part; the default is the model's.",
    ),
    option("--rules", is_flag=True, section="Words", help="Apply the decision rules, and explain every change."),
)


@dataclass
class WordOptions:
    """What one call of the command line asks of the words.

    Attributes
    ----------
    transcriber : CachedTranscriber or None
        Speech recogniser; None where none was asked for.
    given : Transcript or None
        Transcript read from a file.
    classifier : TextClassifier or None
        Text classifier that judges their emotion as well.
    missing : int
        Number of recordings so far without words.
    """

    transcriber: CachedTranscriber | None = None
    given: Transcript | None = None
    classifier: TextClassifier | None = None
    missing: int = 0
    _said: set[str] = field(default_factory=set)

    @classmethod
    def wanted(
        cls,
        text: bool,
        asr: str | None,
        language: str | None,
        transcript: Path | None,
        text_model: str | None,
        sources: Sequence[str],
    ) -> WordOptions:
        """Turn the options of the command line into recogniser, transcript and classifier.

        Raises
        ------
        InputError
            They contradict each other, or the transcript cannot be read.
        ModelError
            The model does not know the language.
        """
        if not (text or asr or transcript):
            if language or text_model:
                raise InputError(f"{'--language' if language else '--text-model'} is about words: add --text")
            return cls()
        from emovox.text.classifier import TextClassifier
        from emovox.text.transcribe import CachedTranscriber
        from emovox.text.whisper import WhisperTranscriber
        from emovox.text.words import read_transcript

        classifier = TextClassifier(text_model) if text_model else None
        if transcript:
            if text or asr:
                raise InputError("--transcript takes the place of --text and --asr: give one or the other")
            if len(sources) != 1:
                raise InputError(f"--transcript is about one recording, not {len(sources)}: call emovox once for each")
            return cls(given=read_transcript(transcript, language or "en"), classifier=classifier)
        return cls(CachedTranscriber(WhisperTranscriber(asr, language)), classifier=classifier)

    def check(self, prediction: Prediction) -> Prediction:
        """Report on standard error why a recording has no words, each reason once; return the prediction."""
        if (self.transcriber or self.given) and prediction.transcript is None:
            self.missing += 1
            for line in prediction.why or ():
                if line not in self._said:
                    self._said.add(line)
                    say(f"emovox: {prediction.file}: {line}")
        return prediction
