"""Streaming recognition: find utterances, judge them, and assign them to speakers.

A file is processed as a stream of its blocks, see :meth:`StreamingRecognizer.timeline`, so live sound and files give
the same results. The network of voice activity detection runs once, here: its probabilities go with every window to
the speech gate, and with the samples to the speech recogniser.

A separated speaker is used as the *setting* level of the baseline, not as the speaker level: on speakers of unseen
corpora this gains more, see ``python benchmarks/speakers.py``.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from emovox.audio import MIN_DURATION, Converter
from emovox.errors import InputError
from emovox.recognition.timeline import Timeline, TimelineOptions, blended, tidied, tidying
from emovox.recognition.voice import Judge, Listener, judge_of
from emovox.speech.diarization import DiarizationOptions
from emovox.speech.vad import FRAME, ActivityFrame, SpeechEvent, VoiceActivity
from emovox.types import RATE, Float32Array, Prediction, Segment, Waveform

if TYPE_CHECKING:  # imported where speakers are asked for
    from emovox.speech.diarization import TurnFinder

#: What is heard with an utterance on either side of it, 0.1 s: models learn from clips with soft beginnings and ends.
#: Chosen on test folds by ``python benchmarks/judging.py``.
_AROUND = RATE // 10
#: A rest of an utterance that is shorter than this, in seconds, is too short to be judged by itself.
_REST = 0.3

#: Who listens to a stream: called with its next samples and the probabilities of speech of the frames they complete.
Listen = Callable[[Float32Array, Float32Array], None]

#: Who tells speakers apart in a stream: called with the samples of what is to be judged, and how many samples came
#: before them; returns the turns that they are, in order of time.
Who = Callable[[Float32Array, int], Sequence[Segment]]


class Event:
    """Base class of the events of streams and sessions; each is a dataclass."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the keys are the attributes.

        Examples
        --------
        >>> StreamEvent("start", 0.25, 0.5).to_dict()
        {'kind': 'start', 'time': 0.25, 'decided': 0.5, 'prediction': None}
        """
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: one.to_dict() if isinstance(one, Prediction) else one for name, one in found.items()}


@dataclass(frozen=True)
class StreamEvent(Event):
    """An event of a stream.

    Attributes
    ----------
    kind : {"start", "estimate", "result", "end"}
        ``"start"``: speech begins. ``"estimate"``: running estimate of the current utterance. ``"result"``: judgement
        of an utterance, of a part of a long one, or of an interval, which goes into the timeline. ``"end"``: speech
        ends.
    time : float
        Time of the event in seconds from the beginning of the stream; of a judgement, the end of the judged segment.
    decided : float
        Duration of the stream that had been received when the event was certain, in seconds.
    prediction : Prediction or None
        The prediction of an "estimate" or a "result"; None for other kinds.
    """

    kind: Literal["start", "estimate", "result", "end"]
    time: float
    decided: float
    prediction: Prediction | None = None


class History:
    """The last samples of a stream and how probably they are speech, found by their place in it.

    Examples
    --------
    >>> history = History()
    >>> history.append(np.arange(5, dtype=np.float32), np.empty(0))
    >>> history.drop(2)
    >>> history.stretch(1, 4).samples.tolist(), history.end
    ([2.0, 3.0], 5)
    """

    def __init__(self) -> None:
        self._samples = np.empty(RATE, dtype=np.float32)
        self._begin = 0
        self._size = 0
        self._speech = np.empty(0, dtype=np.float32)  # of the frames from the one that _begin lies in

    @property
    def told(self) -> int:
        """Where the frames end whose probability is known; at the end of the stream the last one is not full."""
        return (self._begin // FRAME + len(self._speech)) * FRAME

    @property
    def end(self) -> int:
        """How many samples have been appended in all."""
        return self._begin + self._size

    @property
    def nbytes(self) -> int:
        """How much memory is held, in bytes."""
        return self._samples.nbytes

    def append(self, piece: Float32Array, speech: Float32Array) -> None:
        """Add the next samples, shape (n,), and the probabilities of the frames that they complete."""
        self._speech = np.concatenate([self._speech, speech])
        size = self._size + len(piece)
        if size > len(self._samples):
            grown = np.empty(max(size, 2 * len(self._samples)), dtype=np.float32)
            grown[: self._size] = self._samples[: self._size]
            self._samples = grown
        self._samples[self._size : size] = piece
        self._size = size

    def drop(self, before: int) -> None:
        """Forget what lies before a place."""
        count = min(max(0, before - self._begin), self._size)
        # Numpy copies through a buffer where source and target overlap.
        self._samples[: self._size - count] = self._samples[count : self._size]
        self._speech = self._speech[(self._begin + count) // FRAME - self._begin // FRAME :]
        self._begin, self._size = self._begin + count, self._size - count

    def stretch(self, begin: int, end: int) -> Waveform:
        """Return what is known between two places: a copy; the last frame of a stream may reach beyond its end."""
        first, last = max(begin, self._begin), min(end, self.end)
        samples = self._samples[first - self._begin : last - self._begin].copy()
        frames = first // FRAME, -(-last // FRAME)
        return Waveform(samples, first / RATE, speech=self.speech(*frames) if last <= self.told else None)

    def speech(self, first: int, last: int) -> Float32Array:
        """Return the probabilities of the frames of the stream from number `first` to before `last`: a copy."""
        begin = self._begin // FRAME
        return self._speech[first - begin : last - begin].copy()


class Cutter:
    """One stream from samples and the activity of their frames to events.

    What is kept of the sound is a window and a pause, however long the stream lasts.

    Parameters
    ----------
    judge : Judge
        Who judges.
    options : TimelineOptions
        How the stream is cut.
    name : str
        What predictions call it.
    reach : int
        How many samples back from what has been heard an utterance that is yet to come may begin.
    estimates : bool
        Whether to judge what is going on every `hop` seconds.
    listen : callable, optional
        Called with the samples and the probabilities of speech of the frames that they complete.
    segments : sequence of Segment, optional
        What is to be judged; the default is what is found.
    who : callable, optional
        Who tells speakers apart; the default is nobody.
    """

    def __init__(
        self,
        judge: Judge,
        options: TimelineOptions,
        name: str,
        reach: int,
        *,
        estimates: bool,
        listen: Listen | None,
        segments: Sequence[Segment] | None = None,
        who: Who | None = None,
    ) -> None:
        self._reach, self._listen = reach, listen
        self._history = History()
        given = (judge, options, self._history, name)
        self._fallback = _Fallback(*given)
        self._cutter: _Given | _Intervals | _Utterances = _Utterances(*given, estimates=estimates, who=who)
        if segments is not None or options.mode == "interval":
            self._cutter = _Intervals(*given) if segments is None else _Given(*given, segments)
            self._fallback.stop()

    @property
    def nbytes(self) -> int:
        """How much memory the sound that is kept takes, in bytes."""
        return self._history.nbytes

    def take(self, samples: Float32Array, frames: Sequence[ActivityFrame]) -> list[StreamEvent]:
        """Take the next samples and the frames that they complete, and tell what became certain."""
        events = self._step(samples, frames)
        self._fallback.step(speaking=self._cutter.speaking)
        needed = min(self._cutter.needed, self._fallback.needed, self._history.end - self._reach)
        self._history.drop(needed - _AROUND)
        return events

    def finish(self, frames: Sequence[ActivityFrame]) -> list[StreamEvent]:
        """Take the last frames of the stream, and tell what is left to tell."""
        events = self._step(np.empty(0, dtype=np.float32), frames)
        return [*events, *self._cutter.finish(), *self._fallback.finish()]

    def _step(self, samples: Float32Array, frames: Sequence[ActivityFrame]) -> list[StreamEvent]:
        # After the last frame comes a silent one of no length, which no samples belong to.
        told = self._history.told
        speech = np.array([one.probability for one in frames if one.end > told], dtype=np.float32)
        self._history.append(samples, speech)
        if self._listen:
            self._listen(samples, speech)
        events: list[StreamEvent] = []
        for frame in frames:
            for event in self._cutter.step(frame):
                if event.kind == "result":
                    self._fallback.stop()
                events.append(event)
        return events


class _Smoother:
    """Exponential smoothing of judgements that follow each other at any distance.

    Parameters
    ----------
    seconds : float
        Time constant: what was judged so long before counts 1/e; 0 smooths nothing.
    judge : Judge
        Whose threshold of confidence decides about abstentions.
    """

    def __init__(self, seconds: float, judge: Judge) -> None:
        self._seconds, self._judge = seconds, judge
        self._before: Prediction | None = None

    def forget(self) -> None:
        """Begin anew."""
        self._before = None

    def smoothed(self, one: Prediction) -> Prediction:
        """Take the next judgement and return it with what remains of those before it."""
        if self._seconds and self._before:
            kept = math.exp(-(one.end - self._before.end) / self._seconds)
            one = blended([self._before, one], [kept, 1 - kept], self._judge.threshold)
        self._before = one
        return one


class _Span(NamedTuple):
    """A piece that is nobody's in particular."""

    start: float
    end: float
    speaker: None = None
    columns: tuple[()] = ()


class _Utterances:
    """Judges utterance by utterance, with running estimates."""

    def __init__(
        self,
        judge: Judge,
        options: TimelineOptions,
        history: History,
        name: str,
        *,
        estimates: bool,
        who: Who | None = None,
    ) -> None:
        self._judge, self._history, self._name, self._who = judge, history, name, who
        self._smoothing = options.smoothing
        self._window, self._hop = round(options.window * RATE), round(options.hop * RATE)
        self._estimates = estimates
        self._running = _Smoother(options.smoothing, judge)
        self._results: dict[str | None, _Smoother] = {}  # by speaker
        self._begin: int | None = None  # of the utterance that is going on
        self._piece = 0  # begin of what is not judged yet
        self._last: Prediction | None = None  # judgement of the piece before, in this utterance
        self._asked = 0  # end of the last estimate

    @property
    def speaking(self) -> bool:
        """Whether an utterance goes on, whose judgement is to come."""
        return self._begin is not None

    @property
    def needed(self) -> int:
        """First sample that may be asked for."""
        end = self._history.end
        return end if self._begin is None else min(self._piece, max(self._begin, end - self._window))

    def step(self, frame: ActivityFrame) -> Iterator[StreamEvent]:
        """Take the next frame."""
        for event in frame.events:
            yield from self._started(event) if event.kind == "start" else self._ended(event)
        if self._begin is None:
            return
        if frame.end - self._piece >= self._window and not frame.pausing:
            yield from self._cut(self._quietest(), frame.end)
        if self._estimates and frame.end - self._asked >= self._hop:
            yield from self._estimate(self._begin, frame.end)

    def finish(self) -> list[StreamEvent]:
        """Tell what is left: nothing, since the end of the stream ends what is said."""
        return []

    def _started(self, event: SpeechEvent) -> Iterator[StreamEvent]:
        self._begin = self._piece = self._asked = round(event.time * RATE)
        self._last = None
        self._running.forget()
        yield StreamEvent("start", event.time, event.decided)

    def _ended(self, event: SpeechEvent) -> Iterator[StreamEvent]:
        yield from self._cut(round(event.time * RATE), round(event.decided * RATE), ended=True)
        self._begin = None
        yield StreamEvent("end", event.time, event.decided)

    def _quietest(self) -> int:
        """Find the middle of the least probable frame in the second half of the window."""
        low = -(-(self._piece + self._window // 2) // FRAME)
        high = max(low + 1, (self._piece + self._window) // FRAME)
        return (low + int(np.argmin(self._history.speech(low, high)))) * FRAME + FRAME // 2

    def _cut(self, end: int, heard: int, *, ended: bool = False) -> Iterator[StreamEvent]:
        """Judge the piece up to `end`, where speech may have ended; a rest too short goes with the piece before it."""
        begin, self._piece = self._piece, end
        if end <= begin:
            return
        if self._last and end - begin < _REST * RATE:
            found = [dataclasses.replace(self._last, start=begin / RATE, end=end / RATE, columns=None)]
        else:
            found = [*self._judged(begin, end, heard, ended=ended)]
        self._last = found[-1] if found else None
        for one in found:
            yield StreamEvent("result", one.end, heard / RATE, one)

    def _judged(self, begin: int, end: int, heard: int, *, ended: bool) -> Iterator[Prediction]:
        """Judge a piece, or the turns that it is, each with a little of what is around it where nothing was cut."""
        turns: Sequence[Segment | _Span] = [_Span(begin / RATE, end / RATE)]
        if self._who:
            turns = self._who(self._history.stretch(begin, end).samples, begin)
        for turn in turns:
            first, last = round(turn.start * RATE), round(turn.end * RATE)
            first -= 0 if first == begin != self._begin else _AROUND
            last = min(last + _AROUND, heard) if ended or last < end else last
            judge = judge_of(self._judge, turn.speaker) if turn.speaker else self._judge
            judged = judge.assess(self._history.stretch(max(0, first), last), self._name)
            if judged:
                smoother = self._results.setdefault(turn.speaker, _Smoother(self._smoothing, judge))
                judged = smoother.smoothed(dataclasses.replace(judged, end=turn.end))
                yield dataclasses.replace(judged, start=turn.start, columns=dict(turn.columns) or judged.columns)

    def _estimate(self, begin: int, heard: int) -> Iterator[StreamEvent]:
        # The detector hears speech: the gate need not be asked every time, and is when the utterance has ended.
        self._asked = heard
        window = self._history.stretch(max(begin, heard - self._window), heard)
        if judged := self._judge.assess(window, self._name, running=True):
            judged = self._running.smoothed(dataclasses.replace(judged, end=heard / RATE))
            yield StreamEvent("estimate", heard / RATE, heard / RATE, judged)


def _placed(judged: Prediction, start: float, end: float) -> Prediction:
    """Say which interval a judgement is about, and keep the words whose middle lies in it."""
    words = judged.words and tuple(word for word in judged.words if start <= (word.start + word.end) / 2 < end)
    said = judged.transcript if words is None else " ".join(word.text for word in words)
    return dataclasses.replace(judged, start=start, end=end, words=words, transcript=said)


class _Intervals:
    """Judges interval by interval, where somebody speaks."""

    def __init__(self, judge: Judge, options: TimelineOptions, history: History, name: str) -> None:
        self._judge, self._history, self._name = judge, history, name
        self._window, self._hop = round(options.window * RATE), options.hop * RATE
        self._on, self._least = options.vad.on, options.vad.min_speech * RATE
        self._smoother = _Smoother(options.smoothing, judge)
        self.speaking = False  # no judgement is ever late
        self._index = 0
        self._speech = 0  # samples of speech in the interval that is going on

    @property
    def needed(self) -> int:
        """First sample that may be asked for."""
        return round(self._index * self._hop) - self._window

    def step(self, frame: ActivityFrame) -> Iterator[StreamEvent]:
        """Take the next frame; it counts to the interval in which it ends, or the one before."""
        for event in frame.events:
            yield StreamEvent(event.kind, event.time, event.decided)
        if frame.probability >= self._on:
            self._speech += FRAME
        while frame.end >= (end := round((self._index + 1) * self._hop)):
            yield from self._interval(end, frame.end)

    def finish(self) -> list[StreamEvent]:
        """Judge the interval that is not full."""
        heard = self._history.end
        return list(self._interval(heard, heard)) if heard - self._index * self._hop >= MIN_DURATION * RATE else []

    def _interval(self, end: int, heard: int) -> Iterator[StreamEvent]:
        begin = round(self._index * self._hop)
        enough = self._speech >= min(self._least, (end - begin) / 2)
        self._index, self._speech = self._index + 1, 0
        if not enough:
            return
        judged = self._judge.assess(self._history.stretch(max(0, end - self._window), end), self._name)
        if judged:
            judged = self._smoother.smoothed(_placed(judged, begin / RATE, end / RATE))
            yield StreamEvent("result", end / RATE, heard / RATE, judged)


class _Turn:
    """A given segment that is going on: an utterance whose boundaries are known."""

    def __init__(self, segment: Segment, utterance: _Utterances) -> None:
        self.segment, self.utterance = segment, utterance
        self.begin, self.end = round(segment.start * RATE), round(segment.end * RATE)
        self._judged: list[Prediction] = []
        self._begun = False

    def step(self, frame: ActivityFrame, end: int | None = None) -> None:
        """Take the next frame; `end` says that the segment ends, and where."""
        decided = frame.end / RATE
        events = [] if self._begun else [SpeechEvent("start", self.begin / RATE, decided)]
        events += [] if end is None else [SpeechEvent("end", end / RATE, decided)]
        self._begun = True
        known = frame._replace(events=events, pausing=frame.end > self.end)
        self._judged += [
            one.prediction for one in self.utterance.step(known) if one.kind == "result" and one.prediction
        ]

    def judgement(self, threshold: float, heard: float) -> Prediction | None:
        """Return the mean of its pieces, weighted by duration; None where there was nothing to judge."""
        if not self._judged:
            return None
        mean = self._judged[0]
        if len(self._judged) > 1:
            mean = blended(self._judged, [one.end - one.start for one in self._judged], threshold)
        return dataclasses.replace(
            mean,
            start=self.segment.start,
            end=min(self.segment.end, heard),
            speaker=self.segment.speaker or mean.speaker,
            columns=dict(self.segment.columns) or None,
        )


class _Given:
    """Judges segments that are given, in any number at a time, each as an utterance whose boundaries are known."""

    speaking = False  # nothing is waited for

    def __init__(
        self, judge: Judge, options: TimelineOptions, history: History, name: str, segments: Sequence[Segment]
    ) -> None:
        options = dataclasses.replace(options, smoothing=0.0)
        self._history, self._judge = history, judge
        self._waiting = deque(
            _Turn(one, _Utterances(judge_of(judge, one.speaker), options, history, name, estimates=False))
            for one in sorted(segments, key=lambda one: one.start)
        )
        self._open: list[_Turn] = []

    @property
    def needed(self) -> int:
        """First sample that may be asked for."""
        coming = self._waiting[0].begin if self._waiting else self._history.end
        return min([coming, *(one.utterance.needed for one in self._open)])

    def step(self, frame: ActivityFrame) -> Iterator[StreamEvent]:
        """Take the next frame; a segment is judged when what is around it has been heard as well."""
        while self._waiting and self._waiting[0].begin < frame.end:
            self._open.append(self._waiting.popleft())
        for one in tuple(self._open):
            over = frame.end >= one.end + _AROUND
            one.step(frame, one.end if over else None)
            if over:
                yield from self._closed(one, frame.end / RATE)

    def finish(self) -> list[StreamEvent]:
        """Judge what the end of the recording cuts off."""
        heard = self._history.end
        last = ActivityFrame(0.0, True, heard, [])
        events: list[StreamEvent] = []
        for one in tuple(self._open):
            one.step(last, min(one.end, heard))
            events += self._closed(one, heard / RATE)
        return events

    def _closed(self, one: _Turn, heard: float) -> Iterator[StreamEvent]:
        self._open.remove(one)
        if judged := one.judgement(self._judge.threshold, heard):
            yield StreamEvent("result", judged.end, heard, judged)


class _Fallback:
    """Judges windows of one length where no utterance is found or judged: the gate hears screams and whispers too.

    They are judged as they pass, so that nothing but a few windows is kept, and told at the end of the stream.  A rest
    shorter than half a window goes with the window before.  Intervals and given segments need no such thing.
    """

    def __init__(self, judge: Judge, options: TimelineOptions, history: History, name: str) -> None:
        self._judge, self._history, self._name = judge, history, name
        self._window = round(options.window * RATE)
        self._begin: int | None = 0  # of what is not judged yet
        self._smoother = _Smoother(options.smoothing, judge)
        self._found: list[Prediction] = []

    @property
    def needed(self) -> int:
        """First sample that may be asked for."""
        return self._history.end if self._begin is None else self._begin

    def stop(self) -> None:
        """Forget everything: an utterance has been judged."""
        self._begin, self._found = None, []

    def step(self, *, speaking: bool) -> None:
        """Judge the windows that have passed; while somebody seems to be speaking, wait for that judgement."""
        while self._begin is not None and self._history.end - self._begin >= self._window * (3.0 if speaking else 1.5):
            self._begin = self._assess(self._begin, self._begin + self._window)

    def finish(self) -> list[StreamEvent]:
        """Judge what is left and tell all."""
        self.step(speaking=False)
        end = self._history.end
        if self._begin is not None and end > self._begin:
            self._begin = self._assess(self._begin, end)
        return [StreamEvent("result", one.end, end / RATE, one) for one in self._found]

    def _assess(self, begin: int, end: int) -> int:
        if judged := self._judge.assess(self._history.stretch(begin, end), self._name):
            placed = dataclasses.replace(judged, start=begin / RATE, end=end / RATE)
            self._found.append(self._smoother.smoothed(placed))
        return end


#: Samples that are taken at a time, 4 s: bounds the memory of a piece of any size.
_PIECE = 4 * RATE


class StreamingRecognizer:
    """Opens any number of streams that share one recogniser; each stream is used by one thread at a time.

    Parameters
    ----------
    recognizer : EmotionRecognizer
        The recogniser; with ``setting="auto"`` each stream estimates a setting of its own.
    options : TimelineOptions, optional
        How the streams are divided and judged.

    Examples
    --------
    >>> from emovox import EmotionRecognizer
    >>> from emovox import audio
    >>> stream = StreamingRecognizer(EmotionRecognizer()).open("microphone")
    >>> speech = audio.read("examples/plain.wav").samples
    >>> events = [event for i in range(0, len(speech), 1600) for event in stream.push(speech[i : i + 1600])]
    >>> events += stream.finish()
    >>> [event.kind for event in events][0], [event.kind for event in events][-2:]
    ('start', ['result', 'end'])
    """

    def __init__(self, recognizer: Judge, options: TimelineOptions | None = None) -> None:
        self.recognizer = recognizer
        self.options = options or TimelineOptions()

    def open(
        self,
        name: str = "<stream>",
        *,
        rate: float = RATE,
        channels: int = 1,
        estimates: bool = True,
        listen: Listen | None = None,
        channel: int | None = None,
        pieces: TurnFinder | None = None,
    ) -> Stream:
        """Begin a stream.

        Parameters
        ----------
        name : str
            Name of the stream in its predictions.
        rate : float, default 16000
            Sampling rate in Hz, a whole number from 1000 to 768000.
        channels : int, default 1
            Number of channels; they are averaged.
        estimates : bool, default True
            Whether to emit running estimates every `hop` seconds.
        listen : callable, optional
            Called with the stream's next samples, at 16 kHz, and the probabilities of speech of the frames that they
            complete, as :meth:`emovox.text.words.Hearing.hear` takes them.
        channel : int, optional
            Number of the channel, if channels are processed separately: with the option ``speakers="auto"`` each
            channel then counts as one speaker.
        pieces : callable, optional
            Function that cuts utterances where the speaker changes and encodes the voices; the default is
            :func:`emovox.speech.diarization.cut`.

        Returns
        -------
        Stream
            With the option `speakers` utterances are cut where the speaker changes, and each judgement has its
            `speaker`, from the stream so far; it is not revised later.

        Raises
        ------
        AudioError
            The rate or the number of channels is invalid.
        """
        judge, who = self.recognizer, self._who(channel, pieces)
        if isinstance(judge, Listener):
            judge = judge.for_stream(speakers=who is not None)
        converter = Converter(rate, channels, name)
        return Stream(judge, self.options, name, converter, estimates=estimates, listen=listen, who=who)

    def _who(self, channel: int | None, pieces: TurnFinder | None) -> Who | None:
        """Return who tells the speakers of a stream apart."""
        if self.options.speakers is None:
            return None
        if channel is not None and self.options.speakers == "auto":
            return lambda samples, begin: [Segment(begin / RATE, (begin + len(samples)) / RATE, f"speaker {channel}")]
        from emovox.speech.diarization import Listener, prints_of

        count = None if self.options.speakers == "auto" else self.options.speakers
        return Listener(DiarizationOptions(count=count), prints_of(self.options.enrolled), pieces).heard

    def timeline(
        self,
        blocks: Iterable[Waveform],
        name: str,
        progress: Callable[[float], None] | None = None,
        listen: Listen | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> Timeline:
        """Process a recording block by block as a stream, and return its timeline.

        Parameters
        ----------
        blocks : iterable of Waveform
            All of the recording in consecutive blocks, see :func:`emovox.audio.blocks`.
        name : str
            Name of the stream in its predictions.
        progress : callable, optional
            Called with the seconds analysed so far.
        listen, tell : callable, optional
            As for :meth:`open`; called with each event as it comes.
        segments : sequence of Segment, optional
            Segments to judge; the default is the utterances that voice activity detection finds.

        Returns
        -------
        Timeline
        """
        stream = self._of_file(name, listen, segments)
        parts = tuple(_results(stream.events(blocks, progress), tell))
        if self.options.merge is not None or self.options.min_segment:
            parts = tidied(parts, self.options)
        found = Timeline(name, stream.heard, parts)
        return found if segments is None else _in_order(found, segments)

    def each(
        self, blocks: Iterable[Waveform], name: str, progress: Callable[[float], None] | None = None
    ) -> Iterator[Prediction]:
        """Yield the segments of :meth:`timeline` one by one, each as soon as it is certain, without keeping them.

        Parameters
        ----------
        blocks, name, progress
            As for :meth:`timeline`.

        Yields
        ------
        Prediction
        """
        yield from tidying(_results(self._of_file(name).events(blocks, progress)), self.options)

    def _of_file(self, name: str, listen: Listen | None = None, segments: Sequence[Segment] | None = None) -> Stream:
        return Stream(self.recognizer, self.options, name, estimates=False, listen=listen, segments=segments)


def collect(events: Iterable[StreamEvent], name: str, duration: float, options: TimelineOptions) -> Timeline:
    """Build the timeline of a stream from its events.

    Parameters
    ----------
    events : iterable of StreamEvent
        All events in order, or at least those of kind "result".
    name : str
        Name of the stream.
    duration : float
        Length of the stream in seconds, see :attr:`Stream.heard`.
    options : TimelineOptions
        Those of the stream.

    Returns
    -------
    Timeline
        Exactly that of a file with the same samples.
    """
    return Timeline(name, duration, tidied(_results(events), options))


def _results(events: Iterable[StreamEvent], tell: Callable[[StreamEvent], None] | None = None) -> Iterator[Prediction]:
    """Give what belongs into a timeline, and tell of everything."""
    for event in events:
        if tell:
            tell(event)
        if event.kind == "result" and event.prediction is not None:
            yield event.prediction


def _in_order(found: Timeline, segments: Sequence[Segment]) -> Timeline:
    """Bring judgements of given segments, which come as these end, in the order of time, and say which have none."""
    judged = Counter((one.start, one.end) for one in found.predictions)
    left = []
    for one in segments:
        span = one.start, min(one.end, found.duration)
        judged[span] -= 1
        left += [one] if judged[span] < 0 else []
    ordered = sorted(found.predictions, key=lambda one: (one.start, one.end))
    return Timeline(found.file, found.duration, tuple(ordered), tuple(left))


class Stream:
    """One stream, created by :meth:`StreamingRecognizer.open`.

    What is kept of the sound is a window and a pause, however long the stream lasts.
    """

    def __init__(
        self,
        judge: Judge,
        options: TimelineOptions,
        name: str,
        converter: Converter | None = None,
        *,
        estimates: bool,
        listen: Listen | None = None,
        segments: Sequence[Segment] | None = None,
        who: Who | None = None,
    ) -> None:
        self.name = name
        self._converter = converter
        self._activity = VoiceActivity(options.vad)
        self._cutter = Cutter(
            judge,
            options,
            self.name,
            self._activity.reach,
            estimates=estimates,
            listen=listen,
            segments=segments,
            who=who,
        )
        self._samples = 0
        self._finished = False

    @property
    def heard(self) -> float:
        """Duration of the stream so far, in seconds."""
        return self._samples / RATE

    @property
    def speaking(self) -> bool:
        """Whether the last event of speech was its start."""
        return self._activity.speaking

    @property
    def _to_mono(self) -> Converter:
        """What brings samples to 16 kHz mono; blocks of a file are that already."""
        if self._converter is None:
            self._converter = Converter(RATE, 1, self.name)
        return self._converter

    def push(self, samples: ArrayLike) -> list[StreamEvent]:
        """Process the next samples and return the events that became certain.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) of one channel, or (n_samples, n_channels)
            At the rate of the stream, in pieces of any size: floating-point numbers with full scale 1, or 16-bit,
            32-bit or unsigned 8-bit integers.

        Returns
        -------
        list of StreamEvent

        Raises
        ------
        AudioError
            Samples of another shape or type, or some that are not finite numbers: the stream is as it was before and
            goes on with the next samples.
        InputError
            The stream is finished.
        """
        if self._finished:
            raise InputError(f"stream {self.name!r} is finished: open another one")
        return self._take(self._to_mono.push(samples))

    def finish(self) -> list[StreamEvent]:
        """End the stream and return the remaining events; further calls return none."""
        if self._finished:
            return []
        self._finished = True
        return [*self._take(self._to_mono.finish()), *self._end()]

    def events(
        self, blocks: Iterable[Waveform], progress: Callable[[float], None] | None = None
    ) -> Iterator[StreamEvent]:
        """Process a whole recording block by block and yield the events.

        Parameters
        ----------
        blocks : iterable of Waveform
            All of it in consecutive blocks.
        progress : callable, optional
            Called with the seconds analysed so far.

        Yields
        ------
        StreamEvent
        """
        for block in blocks:
            yield from self._take(block.samples)  # it is what the converter makes of other sound
            if progress:
                progress(self.heard)
        yield from self._end()

    def _take(self, samples: Float32Array) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for begin in range(0, len(samples), _PIECE):
            piece = samples[begin : begin + _PIECE]
            self._samples += len(piece)
            events += self._cutter.take(piece, self._activity.frames(piece))
        return events

    def _end(self) -> list[StreamEvent]:
        return self._cutter.finish(self._activity.finish_frames())
