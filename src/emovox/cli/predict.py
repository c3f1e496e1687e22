"""`emovox predict`, and how commands deliver results."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

import click

from emovox import audio
from emovox.audio import Sound, source_name
from emovox.audio.reading import SPOOL, Source
from emovox.cli.commands import (
    Mode,
    channels_option,
    model_option,
    setting_option,
    speaker_option,
    threshold_option,
    timeline_options,
    word_options,
)
from emovox.errors import EmovoxError, InputError, MissingExtraError, NoSpeechError
from emovox.model.profiles import AUTO, voices
from emovox.outputs import formats, plots
from emovox.outputs.commands import Choice, argument, command, option
from emovox.outputs.console import Console, json_line, print_table, progress_bars, say, to_text, unseen, whole_writes
from emovox.outputs.formats import JSON_END, Format, Place
from emovox.outputs.plots import Explanation
from emovox.recognition.analysis import recordings
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.timeline import SegmentFile, Summary, Timeline, TimelineOptions, read_segments, summary_lines
from emovox.speech.vad import GateOptions
from emovox.storage import replacing
from emovox.types import TOO_SHORT, Failure, Prediction, Segment, Transcript, Unread

if TYPE_CHECKING:
    from emovox.model.file import ModelCard
    from emovox.text.fusion import Rule
    from emovox.text.transcribe import CachedTranscriber
    from emovox.text.words import TextClassifier

#: A recording must be longer than this, in seconds, before it gets a progress bar of its own.
LONG = 120.0


@command()
@argument(
    "sources",
    metavar="AUDIO...",
    nargs=-1,
    required=True,
    help="Files, folders, quoted patterns; - is a pipe.",
)
@option(
    "--format",
    "-f",
    "form",
    type=Choice(Format),
    metavar="FORMAT",
    help="json, csv, vtt, srt, textgrid, rttm or audacity.",
)
@option("--out", "-o", metavar="FILE|FOLDER/", help="Write to a file, or one a recording into a folder.")
@option("--plot", metavar="FILE|FOLDER/", help="Plot waveform and answers: .png, .svg or .pdf.")
@option("--html", metavar="FILE|FOLDER/", help="Write an HTML page with player and timeline.")
@option("--embed", is_flag=True, help="Embed the sound in the HTML page.")
@option("--timeline", "-t", is_flag=True, help="Answer segment by segment.")
@option("--explain", is_flag=True, help="Explain answers: moments, bands, voice and words.")
@option("--summary", is_flag=True, help="Print shares, transitions and peaks instead.")
@model_option
@speaker_option
@setting_option
@threshold_option
@option("--no-gate", is_flag=True, help="Analyse any sound, speech or not.")
@channels_option
@option("--jobs", "-j", type=int, metavar="N", help="Recordings in parallel; default one per core.")
@timeline_options
@word_options
def predict(**written: Any) -> None:
    """Recognise the emotion that each recording expresses, with its probability.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict interviews/ --format csv > emotions.csv`
    - `emovox predict meeting.mp3 --timeline --out meeting.vtt --setting auto`
    - `cat call.mp3 | emovox predict - --format json`

    Recordings that cannot be analysed are reported on standard error, and the exit code is 2.
    """
    options = PredictOptions(**written)
    run = options.prepare()
    if options.explain:
        print_explanations(run.results(), run.target.form)
    elif options.summary:
        print_summaries(run.summaries(), run.target.form)
    else:
        deliver(run.incremental(), run.target.form, run.target.place, run.recognizer.card.labels)
    if run.words.missing:
        say(f"emovox: {run.words.missing} of {run.report.total} recordings are judged by the voice alone")
    if run.report.finish() or run.words.missing:
        raise click.exceptions.Exit(2)


@dataclass(frozen=True)
class RecognitionOptions:
    """Options that `predict` and `listen` share: model, profiles, threshold, channels, speakers and words."""

    model: str | None
    speaker: str | None
    setting: str | None
    threshold: float | None
    no_gate: bool
    channels: str
    speakers: str | None
    text: bool
    asr: str | None
    language: str | None

    def recognizer(self, **words: Any) -> EmotionRecognizer:
        """Create the recogniser; `words` are its arguments about words."""
        return EmotionRecognizer(
            self.model,
            speaker=self.speaker,
            setting=self.setting,
            gate=GateOptions(threshold=0) if self.no_gate else None,
            threshold=self.threshold,
            **words,
        )


@dataclass(frozen=True)
class PredictOptions(RecognitionOptions):
    """The options of one call, see ``emovox predict --help``."""

    sources: tuple[str, ...]
    form: Format | None
    out: str | None
    plot: str | None
    html: str | None
    embed: bool
    timeline: bool
    explain: bool
    summary: bool
    jobs: int | None
    segments: Path | None
    mode: Mode | None
    window: float | None
    hop: float | None
    smooth: float | None
    merge: float | None
    transcript: Path | None
    text_model: str | None
    fuse: bool | None
    rules: bool

    def prepare(self) -> PredictRun:
        """Validate the options and prepare the run, so that mistakes are found before the first recording is read."""
        cut, given = self._cut()
        if self.summary or self.explain:
            require_plain_format("--summary" if self.summary else "--explain", self.form, self.out)
        files = recordings(self.sources, lambda text: say(f"emovox: {text}"))
        words = WordOptions.wanted(self.text, self.asr, self.language, self.transcript, self.text_model, files)
        if cut and words.given:
            from emovox.text.words import require_times

            require_times(words.given)
        form = format_for(self.form, self.out)
        place = None
        if self.out is not None or len(files) > 1:
            place = Place.of(self.out, "--out", form.ending, files, one_file=not form.holds_one)
        pictures = None if self.plot is None else picture_place(self.plot, files)
        if self.embed and not self.html:
            raise InputError("--embed is about the page of --html: add --html FILE")
        site = None if self.html is None else Place.of(self.html, "--html", ".html", files, one_file=False)
        recognizer = self.recognizer(
            transcriber=words.transcriber,
            text_model=words.classifier,
            fuse=self.fuse,
            rules=_default_rules() if self.rules else None,
        )
        pages = Pages(site, self.embed, recognizer.card) if site else None
        cut = cut or (TimelineOptions() if self.explain else None)
        return PredictRun(self, recognizer, words, cut, files, given, Target(form, place, pictures, pages))

    def _cut(self) -> tuple[TimelineOptions | None, SegmentFile | None]:
        """Return the timeline options, None without a timeline, and the given segments."""
        count, turns = speaker_choice(self.speakers)
        if turns and self.segments:
            raise InputError("--speakers FILE and --segments both say what is to be judged: give one of them")
        told = turns or self.segments
        given = read_segments(told) if told else None
        cut = timeline_choice(
            self.timeline or self.summary or bool(self.html),
            given,
            speakers=count,
            enrolled=voices() if count else None,
            mode=self.mode and self.mode.value,
            window=self.window,
            hop=self.hop,
            smoothing=self.smooth,
            merge=self.merge,
        )
        if self.explain and self.summary:
            raise InputError("--explain and --summary each take the place of the answers: leave one out")
        return cut, given


def _default_rules() -> Sequence[Rule]:
    from emovox.text.fusion import DEFAULT

    return DEFAULT


@dataclass(frozen=True)
class Target:
    """Where answers, pictures and pages are written; None for those that are not wanted."""

    form: Format
    place: Place | None
    pictures: Place | None
    pages: Pages | None


class PredictRun:
    """One run over the recordings of a call, in parallel, with results in order."""

    def __init__(
        self,
        options: PredictOptions,
        recognizer: EmotionRecognizer,
        words: WordOptions,
        cut: TimelineOptions | None,
        files: list[str],
        given: SegmentFile | None,
        target: Target,
    ) -> None:
        self.recognizer, self.words, self.cut, self.target = recognizer, words, cut, target
        self.explain = options.explain
        self.sources, self.channels = numbered(files, options.channels)
        self.report = FailureReport(len(self.sources))
        self.segments = self._segments(given) if given else None
        self.jobs = 1 if options.jobs is None and len(self.sources) == 1 else options.jobs

    def _segments(self, given: SegmentFile) -> list[list[Segment]]:
        """Find the segments of each recording; one that has none is reported and left out, unless all have none."""
        found, kept = [], []
        for one in zip(self.sources, self.channels, strict=True):
            try:
                found.append(given.of(*one))
                kept.append(one)
            except InputError as error:
                if self.report.failures + 1 == self.report.total:
                    raise
                self.report.failed(one[0], str(error))
        self.sources, self.channels = [name for name, _ in kept], [number for _, number in kept]
        return found

    def incremental(self) -> Iterator[Found]:
        """Yield results as early as possible: each segment of the timeline of one recording, else each recording."""
        target, words = self.target, self.words.transcriber or self.words.given
        further = words or target.pictures or target.pages or self.segments or self.explain
        one = self.cut is not None and not self.cut.speakers and len(self.sources) == 1 and not further
        return self._streamed() if one and streams(target.form, target.place) else self.results()

    def _streamed(self) -> Iterator[Found]:
        """Yield the results of one recording segment by segment, in constant memory."""
        assert self.cut is not None
        with ExitStack() as stack, progress_bars() as progress:
            (source,) = self._opened(stack, again=self.recognizer.setting == AUTO)
            bars = Bars(progress, self.sources)
            heard, last = 0.0, None

            def tell(seconds: float) -> None:
                nonlocal heard
                heard = seconds
                if progress is not unseen:
                    bars.heard(0, seconds)

            try:
                for last in self.recognizer.each_segment(source, self.cut, progress=tell):
                    yield Found(last.file, (last,), heard, source)
                if last is None:
                    raise _nothing(source_name(source), heard)
            except EmovoxError as error:
                self.report.failed(source_name(source), str(error))
            if last:
                self.report.read(last.file, last)

    def results(self) -> Iterator[Found]:
        """Yield the result of each recording, with all its channels."""
        with ExitStack() as stack:
            each = self._each(stack)
            if any(number is not None for number in self.channels):
                each = (_together(list(parts)) for _, parts in groupby(each, key=lambda one: one.file))
            for found in each:
                if self.target.pages:
                    self.target.pages.write(found)
                yield found

    def _each(self, stack: ExitStack) -> Iterator[Found]:
        """Yield the result of each recording or channel; report failures and go on."""
        with progress_bars() as progress:
            bars = Bars(progress, self.sources)
            heard = None if progress is unseen else bars.heard  # it asks each recording how long it is
            shown = self.target.pictures is not None or self.target.pages is not None
            twice = self.recognizer.setting == AUTO or (self.cut is not None and self.cut.speakers is not None)
            again = shown or self.explain or self.jobs != 1 or twice
            sources = self._opened(stack, again=again)
            for number, (source, found) in enumerate(zip(sources, self._analysed(sources, heard), strict=True)):
                try:
                    yield self._checked(found, source)
                except EmovoxError as error:
                    missing = isinstance(found, Failure) and found.kind == MissingExtraError.__name__
                    self.report.failed(source_name(source), str(error), missing_extra=missing)
                bars.finished(number)

    def summaries(self) -> Iterator[Summary]:
        """Yield the summary of each recording's timeline as it comes."""
        for one in self.results():
            yield Timeline(one.file, one.duration, one.predictions).summary()

    def _opened(self, stack: ExitStack, *, again: bool) -> list[Sound]:
        """Return the recordings to read; standard input is buffered if it is read `again`."""
        names = [stack.enter_context(standard_input(again)) if name == "-" else name for name in self.sources]
        return [
            name if number is None else audio.Channel(name, number)
            for name, number in zip(names, self.channels, strict=True)
        ]

    def _analysed(
        self, sources: Sequence[Sound], heard: Callable[[int, float], None] | None
    ) -> Iterator[Prediction | Timeline | Failure]:
        said = [self.words.given] if self.words.given else None
        if self.cut:
            many = partial(self.recognizer.timeline_many, sources, self.cut, jobs=self.jobs, transcripts=said)
            return many(segments=self.segments, progress=heard)
        return self.recognizer.predict_many(sources, jobs=self.jobs, transcripts=said, progress=heard)

    def _checked(self, one: Prediction | Timeline | Failure, source: Sound) -> Found:
        """Raise the error of a failure; otherwise report missing words, explain and draw the picture."""
        if isinstance(one, Failure):
            raise EmovoxError(one.error)
        if isinstance(one, Prediction):
            found = Found(one.file, (one,), one.end, source)
        else:
            found = Found(one.file, one.predictions, one.duration, source)
            if one.unjudged:
                first, more = one.unjudged[0], f" and {len(one.unjudged) - 1} more" if len(one.unjudged) > 1 else ""
                say(f"emovox: {one.file}: nothing to judge in the segment {first}{more}")
        if not found.predictions:
            raise _nothing(found.file, found.duration)
        self.words.check(min(found.predictions, key=lambda one: one.transcript is not None))
        self.report.read(found.file, found.predictions[0])
        if self.explain:
            from emovox.recognition.explaining import explain

            found = replace(found, explanations=explain(self.recognizer, source, found.predictions))
        if self.target.pictures:
            draw(found, source, self._picture(found))
        return found

    def _picture(self, found: Found) -> Path:
        """Return the path of a picture; each channel of a recording has its own."""
        assert self.target.pictures is not None
        path, channel = self.target.pictures.path(found.file), found.predictions[0].channel
        several = channel and sum(name == found.file for name in self.sources) > 1
        return path.with_name(f"{path.stem}-channel{channel}{path.suffix}") if several else path


def _nothing(file: str, duration: float) -> NoSpeechError:
    return NoSpeechError(f"{file} holds no speech that can be judged in {duration:.1f} s")


def _together(parts: list[Found]) -> Found:
    """Combine the results of the channels of a recording."""
    predictions = tuple(one for part in parts for one in part.predictions)
    first = parts[0].source
    whole = first.source if isinstance(first, audio.Channel) else first
    explanations = tuple(one for part in parts for one in part.explanations)
    return Found(parts[0].file, predictions, max(part.duration for part in parts), whole, explanations)


class Bars:
    """Progress bars: finished recordings, if there are several, and seconds of the long ones."""

    def __init__(self, progress: Callable[[str, float, float | None], None], sources: list[str]) -> None:
        self._progress, self._sources = progress, sources
        self._lock = threading.Lock()
        self._totals: dict[int, float] = {}
        self._done: dict[int, float] = {}
        self.finished(-1)

    def heard(self, index: int, seconds: float) -> None:
        """Record the seconds analysed of a recording; called by several threads."""
        with self._lock:
            if index not in self._totals:
                length = audio.duration(self._sources[index]) if self._sources[index] != "-" else None
                self._totals[index] = length if length is not None and length >= LONG else 0.0
            if self._totals[index]:
                self._done[index] = seconds
                self._progress("seconds", round(sum(self._done.values())), round(sum(self._totals.values())))

    def finished(self, index: int) -> None:
        """Record that all recordings up to an index are finished."""
        if len(self._sources) > 1:
            self._progress("recordings", index + 1, len(self._sources))


@dataclass(frozen=True)
class Found:
    """The result of one recording, or the next segment of one that is still being read.

    Attributes
    ----------
    file : str
        Where the sound came from.
    predictions : tuple of Prediction
        In the order of time.
    duration : float
        Length of the recording in seconds, or of what is read of it so far.
    source : str, path, bytes, binary file, or pair of array and rate
        Where it can be read once more.
    explanations : tuple of Explanation
        Of the strongest answers, where they are asked for.
    """

    file: str
    predictions: tuple[Prediction, ...]
    duration: float
    source: Sound = ""
    explanations: tuple[Explanation, ...] = ()


def picture_place(plot: str | None, files: Sequence[str]) -> Place | None:
    """Validate the option ``--plot`` before the first recording is read."""
    place = Place.of(plot, "--plot", ".png", files, one_file=plot is None)
    if place:
        plots.require(place.target / "picture.png" if place.folder else place.target)
    return place


def draw(found: Found, source: Sound, path: Path) -> None:
    """Draw the picture of one recording and, for a model of valence and arousal, a second one of their plane."""
    plots.write(found.predictions, source, path, found.file, found.explanations)
    say(f"wrote {path}")
    if plots.has_plane(found.predictions):
        beside = path.with_stem(f"{path.stem}-plane")
        plots.write_plane(found.predictions, beside, found.file)
        say(f"wrote {beside}")


@dataclass(frozen=True)
class Pages:
    """Where the pages of ``--html`` are written, and what they contain besides the answers.

    Attributes
    ----------
    place : Place
        One file, or a folder with one a recording.
    embed : bool
        Whether the sound is inside them; otherwise it is beside them, where it is a file.
    card : ModelCard
        That of the model.
    """

    place: Place
    embed: bool
    card: ModelCard

    def write(self, found: Found) -> None:
        """Write the page of one recording."""
        from emovox.outputs import pages

        path, source = self.place.path(found.file), found.source
        address = pages.inside(source) if self.embed else ""
        if not self.embed and isinstance(source, str | os.PathLike):
            address = pages.beside(os.fsdecode(source), path)
        shown = pages.Page(
            found.file,
            found.predictions,
            found.duration,
            plots.contour(source, melody=False),
            self.card,
            address,
            Timeline(found.file, found.duration, found.predictions).summary().to_dict(),
            found.explanations,
        )
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pages.to_html(shown))
        say(f"wrote {path}")


@contextmanager
def standard_input(again: bool) -> Iterator[Source]:
    """Provide standard input as a recording, buffered if it is read `again`."""
    if not again:
        yield sys.stdin.buffer
    else:
        with _Kept(max_size=SPOOL) as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            yield cast(BinaryIO, kept)


class _Kept(tempfile.SpooledTemporaryFile[bytes]):
    """Buffered standard input."""

    name = "<stdin>"


def streams(form: Format, place: Place | None) -> bool:
    """Return whether a timeline can be written incrementally: in every format whose header needs no duration."""
    return form is not Format.TEXTGRID and not (place and place.folder)


def deliver(found: Iterable[Found], form: Format, place: Place | None, labels: Sequence[str]) -> None:
    """Write results incrementally, in one format to one place.

    Parameters
    ----------
    found : iterable of Found
        The recordings' results; what came before an interruption is kept.
    form : Format
        For people, or for machines.
    place : Place or None
        None is standard output.
    labels : sequence of str
        The model's labels.
    """
    if place is not None and place.folder:
        for one in found:
            _save(one.predictions, form, place.path(one.file), labels, one.duration)
    elif place is not None or form is Format.TABLE:
        _at_the_end(found, form, place, labels)
    elif form is Format.JSON:
        _print_json(one for each in found for one in each.predictions)
    else:
        _print_pieces(found, form, labels)


def _at_the_end(found: Iterable[Found], form: Format, place: Place | None, labels: Sequence[str]) -> None:
    """Write all results at the end, or those so far when the user interrupts."""
    done: list[Prediction] = []
    duration = 0.0
    try:
        for one in found:
            done.extend(one.predictions)
            duration = max(duration, one.duration)
    finally:
        if done and place is not None:
            _save(done, form, place.target, labels, duration)
        elif done:
            print_table(done)


def _save(predictions: Sequence[Prediction], form: Format, path: Path, labels: Sequence[str], duration: float) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        if form is Format.TABLE:
            file.writelines(to_text(predictions))
        else:
            file.writelines(formats.pieces(form, predictions, labels, duration=duration))
    say(f"wrote {path}")


class _Printer:
    """Prints pieces incrementally, each completely even if the user interrupts."""

    def __init__(self, whole: Callable[[Callable[[], None]], None]) -> None:
        self._whole, self.last = whole, ""

    def print(self, pieces: Iterable[str]) -> None:
        """Print pieces; `last` is the one that was printed last."""
        for piece in pieces:
            self._whole(partial(self._print, piece))

    def _print(self, piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()
        self.last = piece


def _print_json(predictions: Iterator[Prediction]) -> None:
    """Print a JSON list that is valid wherever the user interrupts."""
    with whole_writes() as whole:
        printer = _Printer(whole)
        try:
            printer.print(formats.to_json(predictions))
        finally:
            if not printer.last.endswith(formats.JSON_END):
                printer.print([formats.JSON_END if printer.last else "[]\n"])


def _print_pieces(found: Iterable[Found], form: Format, labels: Sequence[str]) -> None:
    """Print results incrementally; TextGrid, which states the duration first, recording by recording."""
    with whole_writes() as whole:
        printer = _Printer(whole)
        if form is Format.TEXTGRID:
            for one in found:
                printer.print(formats.pieces(form, one.predictions, labels, duration=one.duration))
            return
        coming = (one for each in found for one in each.predictions)
        first = [one for one in [next(coming, None)] if one]
        if first or not form.holds_one:  # a track of nothing is no track; a table of nothing has a header
            printer.print(formats.pieces(form, chain(first, coming), labels))


def require_plain_format(option: str, form: Format | None, out: str | None) -> None:
    """Refuse formats of summaries and explanations other than table and JSON."""
    if form not in (None, Format.TABLE, Format.JSON):
        raise InputError(f"{option} is a table or json, not {form}: write --format json, or leave out {option}")
    if out is not None:
        raise InputError(f"{option} goes to standard output: redirect it, or leave out --out")


def print_explanations(found: Iterable[Found], form: Format | None) -> None:
    """Print the explanations of each recording; output before an interruption is complete."""
    if form is Format.JSON:
        print_list(one for each in found for one in each.explanations)
        return
    for each in found:
        for one in each.explanations:
            said = [plots.title(one), *(f"  {about:6} {text}" for about, text in plots.lines(one))]
            sys.stdout.write("\n".join(said) + "\n")
            sys.stdout.flush()


class _Plain(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


def print_list(values: Iterable[_Plain]) -> None:
    """Print a list of JSON that is whole wherever the user stops."""
    separator = "["
    try:
        for one in values:
            sys.stdout.write(f"{separator}\n{json_line(one.to_dict())}")
            sys.stdout.flush()
            separator = ","
    finally:
        sys.stdout.write(JSON_END if separator == "," else "[]\n")
        sys.stdout.flush()


def print_summaries(summaries: Iterable[Summary], form: Format | None) -> None:
    """Print a summary of each recording; what came before an interruption is whole."""
    if form is not Format.JSON:
        console = Console()
        for summary in summaries:
            for line in summary_lines(summary, console.width):
                console.print(line)
        return
    print_list(summaries)


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
        from emovox.text.transcribe import CachedTranscriber, WhisperTranscriber
        from emovox.text.words import TextClassifier, read_transcript

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


class FailureReport:
    """Reports recordings that fail or are read in part on standard error, and counts them.

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
        """Report a failure; one that is no fault of the recording (a missing extra, weights) only once."""
        self.failures += 1
        if (missing_extra or file not in error) and not self._is_new(error.replace(file, "")):
            return
        say(f"emovox: {error}")

    def read(self, file: str, reading: HasNotes) -> None:
        """Report unreadable parts of a recording and remarks on its channels."""
        for one in reading.unread:
            say(f"emovox: {file} cannot be read {one}")
        self.partly += bool(reading.unread)
        for note in reading.notes:
            if self._is_new(f"{file}: {note}"):
                say(f"emovox: {file}: {note}")

    def finish(self) -> bool:
        """Report the counts, and return whether there were any."""
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
    """Protocol of blocks and predictions: unreadable parts and remarks."""

    @property
    def unread(self) -> Sequence[Unread]:
        """Unreadable parts."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Remarks on the channels."""
        ...
