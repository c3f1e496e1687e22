"""One recording analysed by a voice: its answer, its timeline, and what the words add, where they are asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import seekable, source_name
from emovox.errors import EmovoxError, InputError
from emovox.model.subjects import Statistics
from emovox.recognition.cutting import StreamEvent
from emovox.recognition.many import Results, Sources, analysed, each_source, one_at_a_time
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import Timeline, TimelineOptions, tidied
from emovox.recognition.voice import Adapting, Heard, Judge, Memory, Recording, Voice, fused
from emovox.types import Float32Array, Prediction, Segment, Transcript, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for: most recordings are judged without
    from emovox.text.evidence import TextClassifier
    from emovox.text.rules import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import Heard as HeardWords

#: Seconds of a long recording that are read at a time.
BLOCK = 10.0

#: Called with the seconds analysed so far.
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Analysis:
    """How recordings are analysed, whoever judges.

    Attributes
    ----------
    whole : TimelineOptions
        How a recording is cut that gets one answer.
    transcriber : Transcriber or None
        Who recognises the words.
    text_model : TextClassifier or None
        Who judges the emotion of the words.
    fuse : bool
        Whether words take part in the answer.
    rules : sequence of Rule
        Decision rules over voice and words.
    """

    whole: TimelineOptions
    transcriber: Transcriber | None
    text_model: TextClassifier | None
    fuse: bool
    rules: Sequence[Rule]

    def predict(
        self,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Recognise one recording, see :meth:`emovox.EmotionRecognizer.predict`."""
        judge = Recording(voice, keep=bool(self.transcriber or transcript) and self._takes_both(voice))
        sound = audio.as_sound(source, rate, name)
        found, heard = self._run(judge, sound, self.whole, name, transcript, progress, self.text_model)
        whole = judge.whole(found)
        return whole if heard is None else self.with_words(voice, whole, heard, *judge.seen(found))

    def timeline(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        segments: Sequence[Segment | tuple[float, float]] | None = None,
        progress: Progress | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
    ) -> Timeline:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.timeline`."""
        if transcript:
            from emovox.text.words import require_times

            require_times(transcript)
        given = None if segments is None else [one if isinstance(one, Segment) else Segment(*one) for one in segments]
        untidied = replace(options, merge=None, min_segment=0.0)  # what is given stays, what is said is tidied with it
        options = options if given is None else untidied
        cut = untidied if self.transcriber or transcript else options
        sound = audio.as_sound(source, rate, name)
        judge: Judge = voice
        if options.speakers is not None:
            from emovox.recognition.speakers import first_pass, turns_of

            given = (turns_of(sound, options) or None) if given is None else given
            judge, progress = first_pass(voice, sound, cut, given, progress)
        found, heard = self._run(judge, sound, cut, name, transcript, progress, tell=tell, segments=given)
        if heard is None:
            return found
        parts = [(one, heard.within(one.start, one.end, self.text_model)) for one in found.predictions]
        return replace(found, predictions=tidied([self.with_words(voice, *part) for part in parts], options))

    def each(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.each_segment`."""
        if self.transcriber or options.speakers is not None:
            yield from self.timeline(options, voice, source, rate=rate, name=name, progress=progress)
            return
        sound = audio.as_sound(source, rate, name)
        blocks = audio.blocks(sound, BLOCK)
        found = StreamingRecognizer(voice, options).each(blocks, name or source_name(sound), progress)
        last: Prediction | None = None  # one behind: the last one knows all that reading has brought up
        try:
            for coming in found:
                if last is not None:
                    yield _noted(last, sound, blocks)
                last = coming
        except (EmovoxError, KeyboardInterrupt):
            if last is not None:
                yield _noted(last, sound, blocks)
            raise
        if last is not None:
            yield _noted(last, sound, blocks)

    def assess(self, voice: Voice, judge: Judge, window: Waveform, name: str, *, running: bool) -> Prediction | None:
        """Judge one window of a recording or stream, see :meth:`emovox.EmotionRecognizer.assess`."""
        found = judge.assess(window, name, running=running)
        if found is None or running or self.transcriber is None:
            return found
        from emovox.text.words import Hearing

        hearing = Hearing(self.transcriber, classifier=self.text_model)
        for _ in hearing.tap([window]):
            pass
        return self.with_words(voice, found, hearing.result(window.duration), [window], [window.duration])

    def learner(self, voice: Voice) -> StreamJudge:
        """Return the judge of one stream, or of one speaker in it, that is its own setting."""
        return StreamJudge(voice, self)

    def with_words(
        self,
        voice: Voice,
        alone: Prediction,
        heard: HeardWords,
        seen: Sequence[Waveform] | None = None,
        weights: Sequence[float] = (),
    ) -> Prediction:
        """Put what was heard beside an answer of the voice or, where it may, into it; `seen` is the sound, if kept."""
        from emovox.text import fusion

        found = heard.beside(alone)
        if self.fuse:
            found = fused(found, heard, voice.model.card, voice.threshold, voice.output, seen, weights)
        return fusion.ruled(found, self.rules, heard, voice.threshold)

    def _run(
        self,
        judge: Judge,
        sound: Sound,
        options: TimelineOptions,
        name: str | None,
        transcript: Transcript | None,
        progress: Progress | None,
        classifier: TextClassifier | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> tuple[Timeline, HeardWords | None]:
        """Run a recording through a stream, and a listener of words beside it where words are asked for."""
        blocks, hearing = audio.blocks(sound, BLOCK), None
        if self.transcriber or transcript:
            from emovox.text.words import Hearing

            hearing = Hearing(one_at_a_time(self.transcriber), transcript, classifier)
        streams = StreamingRecognizer(judge, options)
        listen = hearing.hear if hearing else None
        found = streams.timeline(blocks, name or source_name(sound), progress, listen, tell, segments)
        found = replace(found, predictions=tuple(_noted(one, sound, blocks) for one in found.predictions))
        return found, hearing.result(found.duration) if hearing else None

    def _takes_both(self, voice: Voice) -> bool:
        """Say whether the model must see words and sound at once."""
        from emovox.text import fusion

        return self.fuse and fusion.pool_of(voice.model.card) is None


class StreamJudge:
    """The judge of one stream that is its own setting."""

    def __init__(self, voice: Voice, analysis: Analysis) -> None:
        self._judge, self._analysis = Adapting(voice), analysis

    @property
    def threshold(self) -> float:
        """Confidence under which the last answer would have been an abstention."""
        return self._judge.threshold

    @property
    def memory(self) -> Memory:
        """What it has heard so far; another judge that is given it goes on from there."""
        return self._judge.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._judge.memory = memory

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window by what was heard before it."""
        return self._analysis.assess(self._judge.learn(), self._judge, window, name, running=running)


def _noted(prediction: Prediction, sound: Sound, blocks: audio.Blocks) -> Prediction:
    """Add what reading the recording has brought up: the channel, what could not be read, what was done to channels."""
    channel = sound.number if isinstance(sound, audio.Channel) else None
    return replace(prediction, unread=blocks.unread, notes=blocks.notes, channel=channel)


#: Called with the number of a recording, from 0, and the seconds of it analysed so far.
EachProgress: TypeAlias = Callable[[int, float], None]


def hear(
    voice: Voice,
    options: TimelineOptions,
    source: Sound | NDArray[Any],
    *,
    rate: float | None = None,
    progress: Callable[[float], None] | None = None,
    prints: bool = False,
) -> Heard | EmovoxError:
    """Hear one recording by the windows and the gate of judging; return the error where that cannot be done."""
    try:
        sound, judge = audio.as_sound(source, rate), Recording(voice, prints=prints)
        stream = StreamingRecognizer(judge, options)
        return judge.heard(stream.timeline(audio.blocks(sound, BLOCK), source_name(sound), progress))
    except EmovoxError as error:
        return error


def hear_many(
    voice: Voice,
    options: TimelineOptions,
    sources: Sources,
    jobs: int | None,
    progress: EachProgress | None = None,
    rate: float | None = None,
    *,
    prints: bool = False,
) -> Results[Heard | EmovoxError]:
    """Hear many recordings side by side, in their order; arguments as for `EmotionRecognizer.predict_many`."""
    return analysed(partial(hear, voice, options, prints=prints), sources, jobs, progress, rate)


def refuse(error: EmovoxError) -> None:
    """Raise the error of a recording that must not be left out."""
    raise error


def added(
    found: Results[Heard | EmovoxError],
    width: int,
    left_out: Callable[[EmovoxError], None] = lambda error: None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Add up what was heard of so many axes: number of recordings, seconds, statistics, voice print.

    `left_out` is called with each error, and may raise it; `done` when a recording is done.
    """
    clips, seconds, axes = 0, [0.0], [np.empty((0, width), np.float32)]
    prints: list[Float32Array] = []
    try:
        for one in found:
            done()
            if isinstance(one, Heard):
                clips, seconds, axes = clips + 1, [*seconds, one.seconds], [*axes, one.axes]
                prints += [] if one.print is None else [one.print]
            elif isinstance(one, EmovoxError):
                left_out(one)
    finally:
        found.close()
    in_all = {"clips": clips, "seconds": math.fsum(seconds), "heard": Statistics.of(np.concatenate(axes))}
    return in_all | (_print(prints) if prints else {})


def _print(prints: list[Float32Array]) -> dict[str, Any]:
    """Make one voice print of those of recordings, which are as long as they count, and say who took it."""
    from emovox.speech.speakers import encoder

    total = np.sum(prints, axis=0)
    return {"voice": total / np.linalg.norm(total), "encoder": encoder.NAME}


class Tally:
    """How far the hearing of many recordings is: those that are done, and the seconds analysed in all."""

    def __init__(self, tell: Callable[[int, float], None] | None) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._seconds: dict[int, float] = {}
        self._done = 0

    def heard(self, index: int, seconds: float) -> None:
        """Take note of the seconds analysed of a recording; several threads call this."""
        with self._lock:
            self._seconds[index] = seconds
            self._report()

    def done(self) -> None:
        """Take note that one more recording is done."""
        with self._lock:
            self._done += 1
            self._report()

    def _report(self) -> None:
        if self._tell:
            self._tell(self._done, sum(self._seconds.values()))


def of_many(
    voice: Voice,
    options: TimelineOptions,
    sources: Sources,
    jobs: int | None,
    left_out: Callable[[EmovoxError], None],
    progress: Callable[[int, float], None] | None,
    *,
    prints: bool = False,
) -> dict[str, Any]:
    """Hear recordings and add up what was heard, see :func:`added`; `progress` is told of recordings and seconds."""
    tally = Tally(progress)
    found = hear_many(voice, options, sources, jobs, tally.heard, prints=prints)
    return added(found, voice.model.axes_width, left_out, tally.done)


class FirstPass:
    """The first of two passes through recordings that are their own setting: all of them are heard, none is judged.

    Parameters
    ----------
    voice : Voice
        Who judges where little is heard.
    options : TimelineOptions
        How recordings are cut to be heard.
    sources
        The recordings.
    jobs : int or None
        How many are heard at a time.
    rate : float, optional
        Sampling rate of arrays.
    progress : callable, optional
        Told of the first half of the way.

    Attributes
    ----------
    sources : list
        The recordings one by one, for the second pass.
    voice : Voice
        Who judges in the second pass.

    Raises
    ------
    InputError
        A recording can be read only once.
    """

    def __init__(
        self,
        voice: Voice,
        options: TimelineOptions,
        sources: Sources,
        jobs: int | None,
        rate: float | None = None,
        progress: EachProgress | None = None,
    ) -> None:
        self._progress = progress
        self._lengths: dict[int, float] = {}
        self.sources = [_readable_twice(one) for one in each_source(sources)]
        # What cannot be heard is reported when its turn comes to be judged.
        found = hear_many(voice, options, self.sources, jobs, self._first, rate)
        self.voice = voice.within(added(found, voice.model.axes_width)["heard"])

    def _first(self, index: int, seconds: float) -> None:
        self._lengths[index] = seconds
        if self._progress:
            self._progress(index, seconds / 2)

    def second(self, index: int, seconds: float) -> None:
        """Tell of the second half of the way."""
        if self._progress:
            self._progress(index, (self._lengths.get(index, seconds) + seconds) / 2)


def _readable_twice(source: Any) -> Any:
    """Refuse a stream that is gone when it has been heard."""
    if hasattr(source, "read") and not hasattr(source, "__array__") and not seekable(source):
        raise InputError(
            f"setting 'auto' reads a recording twice, and {source_name(source)} can be read only once: "
            "give a file or bytes, or name a setting"
        )
    return source
