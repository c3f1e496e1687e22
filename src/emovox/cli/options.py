"""The options that commands share, and those about words with what they bring: recogniser, transcript, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import click

from emovox import audio
from emovox.errors import EmovoxError, InputError
from emovox.labels import TOO_SHORT
from emovox.outputs import formats
from emovox.outputs.console import Choice, all_of, option, say
from emovox.outputs.formats import Format
from emovox.recognition.timeline import TimelineOptions
from emovox.types import Prediction, Transcript, Unread

if TYPE_CHECKING:  # emovox.text is imported where words are asked for
    from emovox.text.evidence import TextClassifier
    from emovox.text.transcribe import CachedTranscriber

model_option = option("--model", "-m", metavar="MODEL", help="Model file, run folder or built-in name.")
speaker_option = option("--speaker", "-s", metavar="NAME", help="Whose voice it is: see emovox enroll.")
setting_option = option("--setting", metavar="NAME|auto", help="Microphone and room: see emovox adapt; or auto.")
threshold_option = option(
    "--threshold",
    type=float,
    metavar="0..1",
    help="Confidence that an answer needs; 0 never abstains.",
)
channels_option = option(
    "--channels", metavar="mix|each|N", default="mix", help="Mix them (default), take each by itself, or one."
)
#: Options of speech recognition.
recognition_options = all_of(
    option("--text", is_flag=True, section="Words", help="Recognise the words, too: needs the [text] extra."),
    option(
        "--asr",
        metavar="MODEL",
        section="Words",
        help="Whisper model: folder, size or hub id, with --text.",
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


class Mode(StrEnum):
    """How a timeline is cut."""

    UTTERANCE = "utterance"
    INTERVAL = "interval"


timeline_options = all_of(
    option(
        "--segments",
        type=click.Path(path_type=Path),
        metavar="FILE",
        section="Timeline",
        help="Judge these: .csv, .tsv (start, end) or .rttm.",
    ),
    option(
        "--speakers",
        metavar="WHO",
        section="Timeline",
        help="Tell speakers apart: auto, how many, or an .rttm.",
    ),
    option(
        "--mode",
        type=Choice(Mode),
        metavar="MODE",
        section="Timeline",
        help="Segments: utterance (default) or interval.",
    ),
    *(
        option(name, type=float, metavar="SECONDS", section="Timeline", help=text)
        for name, text in {
            "--window": "Longest stretch judged at once; 6.",
            "--hop": "Length of an interval; 1.",
            "--smooth": "Time constant of smoothing; 0.",
            "--merge": "Join equal neighbours with such a pause at most.",
        }.items()
    ),
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
        from emovox.text.evidence import TextClassifier
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
                if line not in self._said and not line.startswith(TOO_SHORT):
                    self._said.add(line)
                    say(f"emovox: {prediction.file}: {line}")
        return prediction


def format_for(form: Format | None, out: str | None) -> Format:
    """Choose the format: what was asked for, or what the name of the file tells, or a table.

    Examples
    --------
    >>> format_for(None, "call.vtt").value, format_for(Format.CSV, "x.vtt").value, format_for(None, None).value
    ('vtt', 'csv', 'table')
    """
    if form is not None:
        return form
    if out is None:
        return Format.TABLE
    if out.endswith(("/", "\\")) or Path(out).is_dir():
        raise InputError(f"--out {out} is a folder, which does not tell a format: add --format")
    return formats.format_of(Path(out))


def speaker_choice(text: str | None) -> tuple[Literal["auto"] | int | None, Path | None]:
    """Read ``--speakers``: whether and how many are to be told apart, or a file that tells who speaks when.

    Examples
    --------
    >>> speaker_choice("auto"), speaker_choice("2"), speaker_choice("call.rttm")[1].name
    (('auto', None), (2, None), 'call.rttm')
    """
    if text is None or text == "auto":
        return ("auto" if text else None), None
    if text.isdecimal():
        return int(text), None
    if Path(text).suffix:
        return "auto", Path(text)
    raise InputError(f"--speakers {text}: expected auto, how many there are, or an .rttm file")


def timeline_choice(wanted: bool, segments: object = None, **given: Any) -> TimelineOptions | None:
    """Make the options of what was written on the command line.

    Parameters
    ----------
    wanted : bool
        Whether a timeline is wanted at all.
    segments : object
        What is to be judged, where that is given: it makes a timeline, and only the window matters.
    **given : speakers, enrolled, mode, window, hop, smoothing, merge
        None where nothing was written.

    Returns
    -------
    TimelineOptions or None
        None where no timeline is wanted.

    Raises
    ------
    InputError
        Something was written that has no meaning without a timeline or with given segments, or a value is out of its
        range.

    Examples
    --------
    >>> timeline_choice(True, None, mode="interval", window=None, hop=10.0).window
    10.0
    """
    written = {name: value for name, value in given.items() if value is not None}
    free = () if segments is None else ("window", "speakers", "enrolled")
    about = ["smooth" if name == "smoothing" else name for name in written if name not in free]
    if segments is not None and about:
        raise InputError(f"--{about[0]} is about segments that are found, and --segments gives them: leave one out")
    if not wanted and segments is None:
        if about:
            raise InputError(f"--{about[0]} is about timelines: add --timeline or --summary")
        return None
    if "hop" in written and "window" not in written:
        written["window"] = max(written["hop"], TimelineOptions.window)
    return TimelineOptions(**written)


def channel_choice(channels: str) -> Literal["mix", "each"] | int:
    """Read ``--channels``.

    Raises
    ------
    InputError
        It is none of mix, each or a number.

    Examples
    --------
    >>> channel_choice("each"), channel_choice("2")
    ('each', 2)
    """
    if channels in ("mix", "each"):
        return "mix" if channels == "mix" else "each"
    if channels.isdecimal() and int(channels) > 0:
        return int(channels)
    raise InputError(f"--channels {channels}: expected mix, each or the number of a channel, 1 for the first")


def numbered(sources: list[str], channels: str) -> tuple[list[str], list[int | None]]:
    """Turn recordings and ``--channels`` into what is judged: names, and the channel of each or None for all mixed.

    Raises
    ------
    InputError
        The option is none of mix, each or a number; standard input is to be read once for each of its channels.

    Examples
    --------
    >>> numbered(["a.wav", "b.wav"], "2")
    (['a.wav', 'b.wav'], [2, 2])
    """
    wanted = channel_choice(channels)
    if wanted != "each":
        return sources, [None if wanted == "mix" else wanted] * len(sources)
    if "-" in sources:
        raise InputError("--channels each reads a recording once a channel, and standard input can be read only once")
    both: list[tuple[str, int | None]] = []
    for name in sources:
        try:
            count = audio.channels(name)
        except EmovoxError:  # reported when the recording's turn comes
            count = 1
        both += [(name, None)] if count == 1 else [(name, number) for number in range(1, count + 1)]
    return [name for name, _ in both], [number for _, number in both]


class Told:
    """What a command says on standard error of recordings that fail or are read in part, and how many there are.

    Parameters
    ----------
    total : int
        Number of recordings.

    Attributes
    ----------
    failures, partly : int
        Recordings so far that could not be analysed, and that could not be read whole.
    """

    def __init__(self, total: int) -> None:
        self.total, self.failures, self.partly = total, 0, 0
        self._said: set[str] = set()

    def failed(self, file: str, error: str, *, missing_extra: bool = False) -> None:
        """Say what has failed; what is no fault of the recording (an extra, weights) once, and not for each."""
        self.failures += 1
        if (missing_extra or file not in error) and not self._is_new(error.replace(file, "")):
            return
        say(f"emovox: {error}")

    def read(self, file: str, told: HasNotes) -> None:
        """Say what could not be read of a recording, and what there is to say about its channels."""
        for one in told.unread:
            say(f"emovox: {file} cannot be read {one}")
        self.partly += bool(told.unread)
        for note in told.notes:
            if self._is_new(f"{file}: {note}"):
                say(f"emovox: {file}: {note}")

    def finish(self) -> bool:
        """Say how many there were; tell whether there were any."""
        if self.failures:
            say(f"emovox: {self.failures} of {self.total} recordings could not be analysed")
        if self.partly:
            say(f"emovox: {self.partly} of {self.total} recordings could not be read whole")
        return bool(self.failures or self.partly)

    def _is_new(self, text: str) -> bool:
        new = text not in self._said
        self._said.add(text)
        return new


class HasNotes(Protocol):
    """What reading a recording has brought up: of blocks and of a prediction."""

    @property
    def unread(self) -> Sequence[Unread]:
        """What could not be read."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What there is to say about the channels."""
        ...
