"""Where somebody speaks: one rule that makes segments of the speech probability, and their edges by level.

Live streams and files go the same way: samples in pieces of any size -> speech probability ->
:class:`Segmenter` -> events.  :class:`VoiceActivity` is the two together, :func:`segments` the same for a recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import InputError
from emovox.speech.probability import FRAME, Centre, SpeechProbability
from emovox.types import RATE, Float32Array, Waveform

#: Samples that share a level, 8 ms.
STEP = 128
#: Share of the loudest power at which sound begins (30 dB below) and at which it has faded (31 dB below).
_BEGUN, _FADED = 10**-3.0, 10**-3.1


@dataclass(frozen=True)
class VadOptions:
    """The hysteresis rule that makes segments of speech probabilities.

    Speech begins with the first frame that reaches `on`.  It ends with the first frame below `off` after which `on` is
    not reached again for `min_silence`.  What is shorter than `min_speech` between the two is not speech.

    Attributes
    ----------
    on : float, default 0.5
        Probability that begins speech, in (0, 1).
    off : float, default 0.35
        Probability below which a pause may begin, in (0, `on`].
    min_speech : float, default 0.15
        Shortest speech in seconds.
    min_silence : float, default 0.4
        Shortest pause in seconds: shorter ones stay inside their segment.
    padding : float, default 0.05
        Seconds added on either side of a segment, at most half of `min_silence`, so that segments never overlap.
    reach : float, default 0.0
        How far, in seconds, a boundary may then move to where the sound begins or fades: the first 8 ms that are within
        30 dB of the beginning's loudest, the last within 31 dB of the segment's.  At most `min_silence`; 0 leaves the
        boundaries at frames of 32 ms.

    Raises
    ------
    InputError
        A value is out of its range.

    Source
    ------
    Hysteresis and its thresholds: Silero Team, Silero VAD, ``get_speech_timestamps``.

    Examples
    --------
    >>> VadOptions(on=0.7).off
    0.35
    """

    on: float = 0.5
    off: float = 0.35
    min_speech: float = 0.15
    min_silence: float = 0.4
    padding: float = 0.05
    reach: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.on < 1:
            raise InputError(f"on is {self.on}: expected a probability between 0 and 1")
        if not 0 < self.off <= self.on:
            raise InputError(f"off is {self.off}: expected a probability above 0, up to on ({self.on})")
        for name in ("min_speech", "min_silence", "padding"):
            value = getattr(self, name)
            if not 0 <= value <= 60:
                raise InputError(f"{name} is {value}: expected seconds from 0 to 60")
        if 2 * self.padding > self.min_silence:
            raise InputError(f"padding is {self.padding}: expected at most half of min_silence ({self.min_silence})")
        if not 0 <= self.reach <= self.min_silence:
            raise InputError(f"reach is {self.reach}: expected at most min_silence ({self.min_silence})")


@dataclass(frozen=True)
class Segment:
    """A stretch in which somebody speaks.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording.
    """

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class SpeechEvent:
    """Speech begins or ends.

    Attributes
    ----------
    kind : {"start", "end"}
        What happens.
    time : float
        When it happens, in seconds from the beginning of the stream, padding included.
    decided : float
        How much of the stream, in seconds, had been heard when this was certain.
    """

    kind: Literal["start", "end"]
    time: float
    decided: float


class Segmenter:
    """The hysteresis rule of :class:`VadOptions`, fed with probabilities as they come.

    Parameters
    ----------
    options : VadOptions, optional
        Thresholds and durations.

    Examples
    --------
    >>> segmenter = Segmenter(VadOptions(min_speech=0.06, min_silence=0.06, padding=0))
    >>> events = segmenter.push([0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1])
    >>> [(event.kind, event.time, event.decided) for event in events]
    [('start', 0.032, 0.096), ('end', 0.128, 0.192)]
    """

    def __init__(self, options: VadOptions | None = None) -> None:
        self.options = options or VadOptions()
        self._least_speech = max(1, math.ceil(self.options.min_speech * RATE / FRAME))
        self._least_silence = max(1, math.ceil(self.options.min_silence * RATE / FRAME))
        self._padding = round(self.options.padding * RATE)
        self.reset()

    def reset(self) -> None:
        """Forget the stream, as if new."""
        self._frames = 0
        self._onset: int | None = None  # first frame of the speech that is going on
        self._pause: int | None = None  # first frame of the pause in it that may become its end
        self._announced = False

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended, by the events given so far."""
        return self._announced

    @property
    def pausing(self) -> bool:
        """Whether speech goes on that may have ended already."""
        return self._announced and self._pause is not None

    def push(self, probabilities: ArrayLike) -> list[SpeechEvent]:
        """Take the next probabilities, shape (n_frames,), and tell what they decide."""
        events: list[SpeechEvent] = []
        for probability in np.asarray(probabilities, dtype=np.float64).tolist():
            events += self._step(probability)
        return events

    def finish(self, n_samples: int | None = None) -> list[SpeechEvent]:
        """End the stream: speech that is going on ends where its pause began, or with the stream.

        Parameters
        ----------
        n_samples : int, optional
            Length of the stream, where its last frame is not full; nothing ends later.

        Returns
        -------
        list of SpeechEvent
            One "end", or nothing.
        """
        length = self._frames * FRAME if n_samples is None else n_samples
        events = []
        if self._announced:
            last = self._frames if self._pause is None else self._pause
            events.append(SpeechEvent("end", min(last * FRAME + self._padding, length) / RATE, length / RATE))
        self.reset()
        return events

    def _step(self, probability: float) -> list[SpeechEvent]:
        index, self._frames = self._frames, self._frames + 1
        if probability >= self.options.on:
            self._pause = None
            if self._onset is None:
                self._onset = index
        elif probability < self.options.off and self._onset is not None and self._pause is None:
            self._pause = index
        if self._onset is None:
            return []
        if self._pause is None:
            return self._started(self._onset)
        if self._frames - self._pause >= self._least_silence:
            return self._ended(self._pause)
        return []

    def _started(self, onset: int) -> list[SpeechEvent]:
        if self._announced or self._frames - onset < self._least_speech:
            return []
        self._announced = True
        return [self._event("start", max(0, onset * FRAME - self._padding))]

    def _ended(self, pause: int) -> list[SpeechEvent]:
        announced, self._announced = self._announced, False
        self._onset = self._pause = None
        return [self._event("end", pause * FRAME + self._padding)] if announced else []

    def _event(self, kind: Literal["start", "end"], sample: int) -> SpeechEvent:
        return SpeechEvent(kind, sample / RATE, self._frames * FRAME / RATE)


class Edges:
    """Moves the boundaries of speech in one stream by its level, in steps of 8 ms.

    How the stream is cut into pieces changes nothing; what is kept does not grow with time.

    Parameters
    ----------
    reach : float
        How far a boundary may move, in seconds: a beginning back, an end back or on.
    late : float
        How long after a boundary it may be asked for, in seconds.

    Examples
    --------
    >>> sound = np.zeros(16000, dtype=np.float32)
    >>> sound[4096:8192] = 0.5
    >>> edges = Edges(reach=0.2, late=0.5)
    >>> edges.push(sound)
    >>> edges.begin(5120, heard=6000)
    4096
    >>> edges.end(9000, heard=16000)
    8320
    """

    def __init__(self, reach: float, late: float) -> None:
        self._reach = round(reach * RATE / STEP)
        self._kept = math.ceil((reach + late) * RATE / STEP) + 16
        self._rest: Float32Array = np.empty(0, dtype=np.float32)
        self._levels = np.zeros(2)  # power of each step, from step _first on: two of silence before the stream
        self._first = -2
        self._began = 0  # step in which the segment that is going on began
        self._ended = 0  # step in which the segment before it ended
        self._loudest: float | None = None  # in the segment that is going on
        self._watched = 0

    def push(self, samples: Float32Array) -> None:
        """Take the next samples, shape (n,); boundaries may then be asked for that are heard in them."""
        self._watch(self._first + len(self._levels))
        drop = max(0, len(self._levels) - self._kept)
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:].copy()
        power = np.square(samples[:whole].reshape(-1, STEP), dtype=np.float64).sum(axis=1)
        self._levels = np.concatenate([self._levels[drop:], power])
        self._first += drop

    def begin(self, sample: int, heard: int) -> int:
        """Say where the sound begins that a detector heard from `sample` on: the first sample of a step."""
        onset, now = sample // STEP, heard // STEP
        first = max(onset - self._reach, self._ended)
        level = self._smooth(first, now)
        loudest = level[onset - first :].max(initial=0.0)
        self._began = first + int(np.argmax(level >= loudest * _BEGUN))
        self._loudest, self._watched = loudest, now
        return self._began * STEP

    def end(self, sample: int, heard: int) -> int:
        """Say where the sound has faded that a detector heard up to `sample`: the sample after a step's last."""
        pause, now = sample // STEP, heard // STEP
        self._watch(now)
        first, last = max(self._began + 1, pause - self._reach), min(pause + self._reach, now)
        loud = np.flatnonzero(self._smooth(first, last) >= (self._loudest or 0.0) * _FADED)
        self._ended = first + (int(loud[-1]) if len(loud) else 0)
        self._loudest = None
        return min(self._ended * STEP, heard)

    def _watch(self, now: int) -> None:
        """Note how loud the segment that is going on has become by a step."""
        if self._loudest is not None:
            self._loudest = max(self._loudest, self._smooth(self._watched, now).max(initial=0.0))
            self._watched = now

    def _smooth(self, begin: int, end: int) -> NDArray[np.float64]:
        """Power over three steps, up to each of those from `begin` to `end`."""
        power = self._levels[begin - self._first - 2 : max(begin, end) - self._first]
        return np.asarray(power[2:] + power[1:-1] + power[:-2])


class ActivityFrame(NamedTuple):
    """One frame of a stream.

    Attributes
    ----------
    probability : float
        Of speech, in [0, 1].
    pausing : bool
        Whether speech goes on that may have ended already: it has paused, for less than `min_silence`.
    end : int
        How many samples of the stream had been heard by its end.
    events : list of SpeechEvent
        What it decides.
    """

    probability: float
    pausing: bool
    end: int
    events: list[SpeechEvent]


class VoiceActivity:
    """Start and end of speech in one stream, from samples in pieces of any size; memory does not grow with time.

    Parameters
    ----------
    options : VadOptions, optional
        The rule.

    Examples
    --------
    >>> from emovox import audio
    >>> speech = audio.read("examples/plain.wav").samples
    >>> stream = VoiceActivity()
    >>> events = [event for i in range(0, len(speech), 160) for event in stream.push(speech[i : i + 160])]
    >>> [event.kind for event in events + stream.finish()]
    ['start', 'end']
    """

    def __init__(self, options: VadOptions | None = None) -> None:
        self._probability = SpeechProbability()
        self._segmenter = Segmenter(options)
        self._edges = self._new_edges()
        self._centre: Centre | None = None  # where another one runs the network
        self._heard = 0

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended, by the events given so far."""
        return self._segmenter.speaking

    @property
    def reach(self) -> int:
        """How many samples back from what has been heard a start that is yet to come may lie."""
        options = self._segmenter.options
        return FRAME + round((options.min_speech + options.min_silence + options.padding + options.reach) * RATE)

    def push(self, samples: ArrayLike, probabilities: ArrayLike | None = None) -> list[SpeechEvent]:
        """Take the next samples and tell what they decide.

        Parameters
        ----------
        samples : array_like of float32, shape (n_samples,)
            As :meth:`SpeechProbability.push`.
        probabilities : array_like, shape (n_frames,), optional
            Those of the frames that these samples complete, where another :class:`SpeechProbability` has heard the same
            stream: several rules share one pass of the network so.  The default is to run it.
        """
        return [event for frame in self.frames(samples, probabilities) for event in frame.events]

    def finish(self, probabilities: ArrayLike | None = None) -> list[SpeechEvent]:
        """End the stream and be ready for another one; `probabilities` as :meth:`SpeechProbability.finish`."""
        return [event for frame in self.finish_frames(probabilities) for event in frame.events]

    def frames(self, samples: ArrayLike, probabilities: ArrayLike | None = None) -> list[ActivityFrame]:
        """Take the next samples, as :meth:`push`, and tell frame by frame what they decide."""
        piece = np.asarray(samples, dtype=np.float32)
        if probabilities is None:
            found, centred = self._probability.push(piece), self._probability.centred
            self._probability.centred = centred[:0].copy()  # a long piece is not kept
        else:
            self._centre = self._centre or Centre()
            found, centred = np.asarray(probabilities), self._centre.push(piece)
        if self._edges:
            self._edges.push(centred)
        first = self._heard // FRAME + 1
        self._heard += len(piece)
        return [self._frame(one, end * FRAME) for end, one in enumerate(found.tolist(), first)]

    def finish_frames(self, probabilities: ArrayLike | None = None) -> list[ActivityFrame]:
        """End the stream and be ready for another one: the frame that is not full, or a silent one of no length."""
        heard, self._heard = self._heard, 0
        if probabilities is None:
            found, centred = self._probability.finish(), self._probability.centred
        else:
            self._centre = self._centre or Centre()
            found, centred = np.asarray(probabilities), self._centre.finish()
        (probability,) = found.tolist() or [0.0]
        if self._edges:
            self._edges.push(centred)
        last = self._frame(probability, heard)
        final = self._moved(self._segmenter.finish(heard), heard)
        self._probability.reset()
        self._centre, self._edges = None, self._new_edges()
        return [ActivityFrame(last.probability, last.pausing, last.end, last.events + final)]

    def _frame(self, probability: float, end: int) -> ActivityFrame:
        events = self._segmenter.push([probability])
        return ActivityFrame(probability, self._segmenter.pausing, end, self._moved(events, end))

    def _moved(self, events: list[SpeechEvent], heard: int) -> list[SpeechEvent]:
        """Move the boundaries of a frame's events to where the sound begins or fades."""
        if self._edges is None:
            return events
        moved = []
        for event in events:
            place = (self._edges.begin if event.kind == "start" else self._edges.end)(round(event.time * RATE), heard)
            moved.append(SpeechEvent(event.kind, place / RATE, event.decided))
        return moved

    def _new_edges(self) -> Edges | None:
        options = self._segmenter.options
        late = options.min_speech + options.min_silence + options.padding
        return Edges(options.reach, late) if options.reach else None


def segments(recording: Waveform | Iterable[Waveform], options: VadOptions | None = None) -> list[Segment]:
    """Find the speech in a recording.

    Parameters
    ----------
    recording : Waveform or iterable of Waveform
        All of it, or its consecutive blocks (:func:`emovox.audio.blocks`).
    options : VadOptions, optional
        The rule.

    Returns
    -------
    list of Segment
        In order, not overlapping; exactly what :class:`VoiceActivity` finds in the same samples.

    Examples
    --------
    >>> from emovox import audio
    >>> [segment] = segments(audio.read("examples/plain.wav"))
    >>> segment.duration > 1
    True
    """
    blocks = [recording] if isinstance(recording, Waveform) else recording
    stream = VoiceActivity(options)
    events: list[SpeechEvent] = []
    offset: float | None = None
    for block in blocks:
        offset = block.start if offset is None else offset
        events += stream.push(block.samples)
    events += stream.finish()
    times = [(offset or 0.0) + event.time for event in events]
    return [Segment(start, end) for start, end in zip(times[::2], times[1::2], strict=True)]
