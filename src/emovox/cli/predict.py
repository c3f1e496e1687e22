"""`emovox predict`: recordings to emotions."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emovox import audio
from emovox.audio import Sound, source_name
from emovox.audio.sources import recordings
from emovox.cli import results, summaries
from emovox.cli.options import (
    Told,
    WordOptions,
    channels_option,
    model_option,
    numbered,
    setting_option,
    speaker_option,
    threshold_option,
    word_options,
)
from emovox.cli.results import Found, Place
from emovox.errors import EmovoxError, InputError, MissingExtraError, NoSpeechError
from emovox.model.names import AUTO
from emovox.outputs.console import Choice, all_of, argument, command, is_terminal, option, progress_bars, say
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
def predict(
    sources: tuple[str, ...],
    form: Format | None,
    out: str | None,
    plot: str | None,
    html: str | None,
    embed: bool,
    timeline: bool,
    explain: bool,
    summary: bool,
    model: str | None,
    speaker: str | None,
    setting: str | None,
    threshold: float | None,
    no_gate: bool,
    channels: str,
    jobs: int | None,
    segments: Path | None,
    speakers: str | None,
    mode: Mode | None,
    window: float | None,
    hop: float | None,
    smooth: float | None,
    merge: float | None,
    text: bool,
    asr: str | None,
    language: str | None,
    transcript: Path | None,
    text_model: str | None,
    fuse: bool | None,
    rules: bool,
) -> None:
    """Say which emotion each recording expresses, and how sure that is.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict interviews/ --format csv > emotions.csv`
    - `emovox predict meeting.mp3 --timeline --out meeting.vtt --setting auto`
    - `cat call.mp3 | emovox predict - --format json`

    What cannot be analysed, or judged with its words, is told on standard error, and the exit code is 2.
    """
    count, turns = results.speakers(speakers)
    if turns and segments:
        raise InputError("--speakers FILE and --segments both say what is to be judged: give one of them")
    told = turns or segments
    given = read_segments(told) if told else None
    cut = results.timeline_options(
        timeline or summary or bool(html),
        given,
        speakers=count,
        mode=mode and mode.value,
        window=window,
        hop=hop,
        smoothing=smooth,
        merge=merge,
    )
    if explain and summary:
        raise InputError("--explain and --summary each take the place of the answers: leave one out")
    if summary or explain:
        results.require_plain_format("--summary" if summary else "--explain", form, out)
    files = recordings(sources)
    words = WordOptions.wanted(text, asr, language, transcript, text_model, files)
    if cut and words.given:
        from emovox.text.words import require_times

        require_times(words.given)
    form = results.format_for(form, out)
    place = Place.of(out, "--out", form.ending, files, one_file=not form.holds_one)
    pictures = results.picture_place(plot, files)
    if embed and not html:
        raise InputError("--embed is about the page of --html: add --html FILE")
    site = Place.of(html, "--html", ".html", files, one_file=html is None)
    recognizer = EmotionRecognizer(
        model,
        speaker=speaker,
        setting=setting,
        gate=GateOptions(threshold=0) if no_gate else None,
        threshold=threshold,
        transcriber=words.transcriber,
        text_model=words.classifier,
        fuse=fuse,
        rules=_default_rules() if rules else None,
    )
    pages = results.Pages(site, embed, recognizer.card) if site else None
    cut = cut or (TimelineOptions() if explain else None)
    work = Work(recognizer, files, words, pictures, cut, jobs, channels, given, pages, explain)
    if explain:
        results.print_explanations(work.results(), form)
    elif summary:
        summaries.print_summaries(work.summaries(), form)
    else:
        coming = work.streamed() if work.streams and results.streams(form, place) else work.results()
        results.deliver(coming, form, place, recognizer.card.labels)
    if words.missing:
        say(f"emovox: {words.missing} of {work.told.total} recordings are judged by the voice alone")
    if work.told.finish() or words.missing:
        raise click.exceptions.Exit(2)


def _default_rules() -> Sequence[Rule]:
    from emovox.text.rules import DEFAULT

    return DEFAULT


class Work:
    """The recordings of one call, analysed side by side, their results in order."""

    def __init__(
        self,
        recognizer: EmotionRecognizer,
        sources: list[str],
        words: WordOptions,
        pictures: Place | None = None,
        cut: TimelineOptions | None = None,
        jobs: int | None = None,
        channels: str = "mix",
        given: SegmentFile | None = None,
        pages: results.Pages | None = None,
        explain: bool = False,
    ) -> None:
        self.recognizer = recognizer
        self.words = words
        self.cut = cut
        self.sources, self.channels = numbered(sources, channels)
        self.told = Told(len(self.sources))
        self.segments = self._segments(given) if given else None
        self.pictures, self.pages, self.explain = pictures, pages, explain
        self.jobs = min(checked_jobs(jobs), len(self.sources))

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

    @property
    def streams(self) -> bool:
        """Whether this is the timeline of one recording, which can be given while it is read."""
        words = self.words.transcriber or self.words.given
        further = words or self.pictures or self.pages or self.segments or self.explain
        return self.cut is not None and not self.cut.speakers and len(self.sources) == 1 and not further

    def streamed(self) -> Iterator[Found]:
        """Yield what is found in one recording segment by segment, in memory that does not grow with it."""
        assert self.cut is not None
        with ExitStack() as stack, progress_bars() as progress:
            (source,) = self._opened(stack, deque(), self.recognizer.setting == AUTO)
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
                if self.pages:
                    self.pages.write(found)
                yield found

    def _each(self, stack: ExitStack) -> Iterator[Found]:
        """Yield what is found in each recording or channel; report what fails and go on."""
        with progress_bars() as progress:
            bars = Bars(progress, self.sources)
            heard = bars.heard if is_terminal(sys.stderr) else None  # it asks each recording how long it is
            opened: deque[Sound] = deque()
            shown = self.pictures is not None or self.pages is not None
            twice = self.recognizer.setting == AUTO or (self.cut is not None and self.cut.speakers is not None)
            again = shown or self.explain or self.jobs > 1 or twice
            for number, found in enumerate(self._analysed(self._opened(stack, opened, again), heard)):
                source = opened.popleft()
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

    def _opened(self, stack: ExitStack, opened: deque[Sound], again: bool) -> Iterator[Sound]:
        """Give the recordings out, and remember those whose results are to come."""
        for name, number in zip(self.sources, self.channels, strict=True):
            source = name if name != "-" else stack.enter_context(results.standard_input(again))
            opened.append(source if number is None else audio.Channel(source, number))
            yield opened[-1]

    def _analysed(
        self, sources: Iterator[Sound], heard: Callable[[int, float], None] | None
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
        if self.pictures:
            results.draw(found, source, self._picture(found))
        return found

    def _picture(self, found: Found) -> Path:
        """Say where a picture goes; each channel of a recording has its own."""
        assert self.pictures is not None
        path, channel = self.pictures.path(found.file), found.predictions[0].channel
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
