"""`emovox predict`: recordings to emotions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emovox import audio
from emovox.audio import Sound, source_name
from emovox.audio.sources import recordings
from emovox.cli import results
from emovox.cli.options import (
    Mode,
    Told,
    WordOptions,
    channels_option,
    format_for,
    model_option,
    numbered,
    setting_option,
    speaker_choice,
    speaker_option,
    threshold_option,
    timeline_choice,
    timeline_options,
    word_options,
)
from emovox.cli.profiles import voices
from emovox.cli.results import Found, Place
from emovox.errors import EmovoxError, InputError, MissingExtraError, NoSpeechError
from emovox.model.subjects import AUTO
from emovox.outputs.console import Choice, argument, command, is_terminal, option, progress_bars, say
from emovox.outputs.formats import Format
from emovox.recognition.many import checked_jobs
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.segments import SegmentFile, read_segments
from emovox.recognition.timeline import Summary, Timeline, TimelineOptions
from emovox.speech.gate import GateOptions
from emovox.types import Failure, Prediction, Segment

if TYPE_CHECKING:
    from emovox.text.rules import Rule

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
@option("--plot", metavar="FILE|FOLDER/", help="Draw sound and answers: .png, .svg or .pdf.")
@option("--html", metavar="FILE|FOLDER/", help="Write a page to look at and to listen to.")
@option("--embed", is_flag=True, help="Put the sound into that page, not beside it.")
@option("--timeline", "-t", is_flag=True, help="Answer segment by segment.")
@option("--explain", is_flag=True, help="Tell why instead: when, bands, voice and words.")
@option("--summary", is_flag=True, help="Shares of time, changes, strongest moments instead.")
@model_option
@speaker_option
@setting_option
@threshold_option
@option("--no-gate", is_flag=True, help="Analyse any sound, speech or not.")
@channels_option
@option("--jobs", "-j", type=int, metavar="N", help="Recordings at a time; one a processor core.")
@timeline_options
@word_options
def predict(**written: Any) -> None:
    """Say which emotion each recording expresses, and how sure that is.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict interviews/ --format csv > emotions.csv`
    - `emovox predict meeting.mp3 --timeline --out meeting.vtt --setting auto`
    - `cat call.mp3 | emovox predict - --format json`

    What cannot be analysed, or judged with its words, is told on standard error, and the exit code is 2.
    """
    asked = Asked(**written)
    work = asked.work()
    if asked.explain:
        results.print_explanations(work.results(), work.target.form)
    elif asked.summary:
        results.print_summaries(work.summaries(), work.target.form)
    else:
        results.deliver(work.coming(), work.target.form, work.target.place, work.recognizer.card.labels)
    if work.words.missing:
        say(f"emovox: {work.words.missing} of {work.told.total} recordings are judged by the voice alone")
    if work.told.finish() or work.words.missing:
        raise click.exceptions.Exit(2)


@dataclass(frozen=True)
class Asked:
    """What one call of the command line asks for: its options, as ``emovox predict --help`` tells them."""

    sources: tuple[str, ...]
    form: Format | None
    out: str | None
    plot: str | None
    html: str | None
    embed: bool
    timeline: bool
    explain: bool
    summary: bool
    model: str | None
    speaker: str | None
    setting: str | None
    threshold: float | None
    no_gate: bool
    channels: str
    jobs: int | None
    segments: Path | None
    speakers: str | None
    mode: Mode | None
    window: float | None
    hop: float | None
    smooth: float | None
    merge: float | None
    text: bool
    asr: str | None
    language: str | None
    transcript: Path | None
    text_model: str | None
    fuse: bool | None
    rules: bool

    def work(self) -> Work:
        """Get everything ready: what must fail fails before the first recording is read."""
        cut, given = self._cut()
        if self.summary or self.explain:
            results.require_plain_format("--summary" if self.summary else "--explain", self.form, self.out)
        files = recordings(self.sources)
        words = WordOptions.wanted(self.text, self.asr, self.language, self.transcript, self.text_model, files)
        if cut and words.given:
            from emovox.text.words import require_times

            require_times(words.given)
        form = format_for(self.form, self.out)
        place = Place.of(self.out, "--out", form.ending, files, one_file=not form.holds_one)
        pictures = None if self.plot is None else results.picture_place(self.plot, files)
        if self.embed and not self.html:
            raise InputError("--embed is about the page of --html: add --html FILE")
        site = None if self.html is None else Place.of(self.html, "--html", ".html", files, one_file=False)
        recognizer = self._recognizer(words)
        pages = results.Pages(site, self.embed, recognizer.card) if site else None
        cut = cut or (TimelineOptions() if self.explain else None)
        return Work(self, recognizer, words, cut, files, given, Target(form, place, pictures, pages))

    def _cut(self) -> tuple[TimelineOptions | None, SegmentFile | None]:
        """Say how recordings are cut, None for not at all, and what segments are given."""
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

    def _recognizer(self, words: WordOptions) -> EmotionRecognizer:
        return EmotionRecognizer(
            self.model,
            speaker=self.speaker,
            setting=self.setting,
            gate=GateOptions(threshold=0) if self.no_gate else None,
            threshold=self.threshold,
            transcriber=words.transcriber,
            text_model=words.classifier,
            fuse=self.fuse,
            rules=_default_rules() if self.rules else None,
        )


def _default_rules() -> Sequence[Rule]:
    from emovox.text.rules import DEFAULT

    return DEFAULT


@dataclass(frozen=True)
class Target:
    """Where what is found goes: the answers, the pictures, the pages; None where there are none of them."""

    form: Format
    place: Place | None
    pictures: Place | None
    pages: results.Pages | None


class Work:
    """The recordings of one call, analysed side by side, their results in order."""

    def __init__(
        self,
        asked: Asked,
        recognizer: EmotionRecognizer,
        words: WordOptions,
        cut: TimelineOptions | None,
        files: list[str],
        given: SegmentFile | None,
        target: Target,
    ) -> None:
        self.recognizer, self.words, self.cut, self.target = recognizer, words, cut, target
        self.explain = asked.explain
        self.sources, self.channels = numbered(files, asked.channels)
        self.told = Told(len(self.sources))
        self.segments = self._segments(given) if given else None
        self.jobs = min(checked_jobs(asked.jobs), len(self.sources))

    def _segments(self, given: SegmentFile) -> list[list[Segment]]:
        """Find the segments of each recording; one that has none is reported and left out, unless all have none."""
        found, kept = [], []
        for one in zip(self.sources, self.channels, strict=True):
            try:
                found.append(given.of(*one))
                kept.append(one)
            except InputError as error:
                if self.told.failures + 1 == self.told.total:
                    raise
                self.told.failed(one[0], str(error))
        self.sources, self.channels = [name for name, _ in kept], [number for _, number in kept]
        return found

    def coming(self) -> Iterator[Found]:
        """Yield what is found as it comes: of the timeline of one recording each segment, else each recording."""
        target, words = self.target, self.words.transcriber or self.words.given
        further = words or target.pictures or target.pages or self.segments or self.explain
        one = self.cut is not None and not self.cut.speakers and len(self.sources) == 1 and not further
        return self._streamed() if one and results.streams(target.form, target.place) else self.results()

    def _streamed(self) -> Iterator[Found]:
        """Yield what is found in one recording segment by segment, in memory that does not grow with it."""
        assert self.cut is not None
        with ExitStack() as stack, progress_bars() as progress:
            (source,) = self._opened(stack, again=self.recognizer.setting == AUTO)
            bars = Bars(progress, self.sources)
            heard, last = 0.0, None

            def tell(seconds: float) -> None:
                nonlocal heard
                heard = seconds
                if is_terminal(sys.stderr):
                    bars.heard(0, seconds)

            try:
                for last in self.recognizer.each_segment(source, self.cut, progress=tell):
                    yield Found(last.file, (last,), heard, source)
                if last is None:
                    raise _nothing(source_name(source), heard)
            except EmovoxError as error:
                self.told.failed(source_name(source), str(error))
            if last:
                self.told.read(last.file, last)

    def results(self) -> Iterator[Found]:
        """Yield what is found in each recording as it comes, all its channels together."""
        with ExitStack() as stack:
            each = self._each(stack)
            if any(number is not None for number in self.channels):
                each = (_together(list(parts)) for _, parts in groupby(each, key=lambda one: one.file))
            for found in each:
                if self.target.pages:
                    self.target.pages.write(found)
                yield found

    def _each(self, stack: ExitStack) -> Iterator[Found]:
        """Yield what is found in each recording or channel; report what fails and go on."""
        with progress_bars() as progress:
            bars = Bars(progress, self.sources)
            heard = bars.heard if is_terminal(sys.stderr) else None  # it asks each recording how long it is
            shown = self.target.pictures is not None or self.target.pages is not None
            twice = self.recognizer.setting == AUTO or (self.cut is not None and self.cut.speakers is not None)
            again = shown or self.explain or self.jobs > 1 or twice
            sources = self._opened(stack, again=again)
            for number, (source, found) in enumerate(zip(sources, self._analysed(sources, heard), strict=True)):
                try:
                    yield self._checked(found, source)
                except EmovoxError as error:
                    missing = isinstance(found, Failure) and found.kind == MissingExtraError.__name__
                    self.told.failed(source_name(source), str(error), missing_extra=missing)
                bars.finished(number)

    def summaries(self) -> Iterator[Summary]:
        """Yield the summary of each recording's timeline as it comes."""
        for one in self.results():
            yield Timeline(one.file, one.duration, one.predictions).summary()

    def _opened(self, stack: ExitStack, *, again: bool) -> list[Sound]:
        """Return the recordings as they are read; standard input is kept where it is read `again`."""
        names = [stack.enter_context(results.standard_input(again)) if name == "-" else name for name in self.sources]
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
        """Refuse what has failed; say what is missing of the words, and draw the picture."""
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
        self.told.read(found.file, found.predictions[0])
        if self.explain:
            from emovox.recognition.explaining import explain

            found = replace(found, explanations=explain(self.recognizer, source, found.predictions))
        if self.target.pictures:
            results.draw(found, source, self._picture(found))
        return found

    def _picture(self, found: Found) -> Path:
        """Say where a picture goes; each channel of a recording has its own."""
        assert self.target.pictures is not None
        path, channel = self.target.pictures.path(found.file), found.predictions[0].channel
        several = channel and sum(name == found.file for name in self.sources) > 1
        return path.with_name(f"{path.stem}-channel{channel}{path.suffix}") if several else path


def _nothing(file: str, duration: float) -> NoSpeechError:
    return NoSpeechError(f"{file} holds no speech that can be judged in {duration:.1f} s")


def _together(parts: list[Found]) -> Found:
    """Put the channels of a recording together."""
    predictions = tuple(one for part in parts for one in part.predictions)
    first = parts[0].source
    whole = first.source if isinstance(first, audio.Channel) else first
    explanations = tuple(one for part in parts for one in part.explanations)
    return Found(parts[0].file, predictions, max(part.duration for part in parts), whole, explanations)


class Bars:
    """How far the work is: recordings, where there are several, and seconds of the long ones."""

    def __init__(self, progress: Callable[[str, float, float | None], None], sources: list[str]) -> None:
        self._progress, self._sources = progress, sources
        self._lock = threading.Lock()
        self._totals: dict[int, float] = {}
        self._done: dict[int, float] = {}
        self.finished(-1)

    def heard(self, index: int, seconds: float) -> None:
        """Take note that so many seconds of a recording are done; several threads call this."""
        with self._lock:
            if index not in self._totals:
                length = audio.duration(self._sources[index]) if self._sources[index] != "-" else None
                self._totals[index] = length if length is not None and length >= LONG else 0.0
            if self._totals[index]:
                self._done[index] = seconds
                self._progress("seconds", round(sum(self._done.values())), round(sum(self._totals.values())))

    def finished(self, index: int) -> None:
        """Take note that all recordings up to one are done."""
        if len(self._sources) > 1:
            self._progress("recordings", index + 1, len(self._sources))
