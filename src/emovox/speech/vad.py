"""Speech: how probable it is, where it begins and ends, and whether a recording has any.

Live streams and files go the same way: samples in pieces of any size -> speech probability ->
:class:`Segmenter` -> events.  :class:`VoiceActivity` is the two together, :func:`segments` the same for a recording.

Silero alone refuses screams, because no ordinary voice is that high, and accepts some melodies and drums.  So the gate
listens twice, the second time at two thirds of the speed, which brings a scream down to where voices are, and weighs
what it hears against how the sound moves: a logistic rule on a handful of numbers.  What voice activity detection has
heard of a stretch, the gate need not hear again: see the `speech` of :class:`emovox.types.Waveform`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.errors import AudioError, InputError
from emovox.features.spectral import Analysis
from emovox.session import open_session
from emovox.types import RATE, Float32Array, Waveform

#: Where the network lies.
_SILERO = Path(__file__).parent / "silero"

#: Samples before a frame that the network sees with it, fixed by the network.
CONTEXT = 64

#: Frames given to the network at a time at most: bounds the memory of a long piece, 16 s.
_BLOCK = 512

#: Frames that are heard again where the level rises far, 0.5 s.
_AGAIN = 16
#: Samples that share one probability of speech and one gain: 32 ms, fixed by the network.
FRAME = 512
#: Corner frequency, in Hz, below which sound is taken for an offset: far under any voice.
_CORNER = 3.0
#: Root mean square to which the loudest frame is brought, chosen on actors 1 to 12 of ``benchmarks/conversation.py``.
_TARGET = 0.1
#: Decibels a second by which the level to which this refers falls when what follows is softer.
_RELEASE = 0.5
#: Rise of the level, in dB, after which what was heard before it was heard far too loud.
_RISE = 12.0
#: Level below which there is nothing to bring up: digital silence.
_SILENT = 1e-8


class Centre:
    """Takes the offset (DC) off a stream, in whole frames; how the stream is cut changes nothing.

    The offset is the mean of the first frame, and from there on a running mean with a time constant of 53 ms.

    Examples
    --------
    >>> centre = Centre()
    >>> centre.push(np.full(1000, 0.25, dtype=np.float32)).shape, bool(centre.finish().max() < 1e-9)
    ((512,), True)
    """

    def __init__(self) -> None:
        kept = math.exp(-2 * math.pi * _CORNER / RATE)
        self._fall = kept ** np.arange(1, FRAME + 1)
        self._rise = (1 - kept) / self._fall
        self._mean: float | None = None
        self._rest: Float32Array = np.empty(0, dtype=np.float32)

    def push(self, samples: Float32Array) -> Float32Array:
        """Take the next samples, shape (n,), and return the frames that they complete, one after the other."""
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // FRAME * FRAME
        self._rest = waiting[whole:].copy()
        return self._centred(waiting[:whole].reshape(-1, FRAME)).ravel()

    def finish(self) -> Float32Array:
        """End the stream: what no frame was full of, shape (n,)."""
        rest, self._rest = self._rest, self._rest[:0]
        return self._centred(rest[np.newaxis])[0] if len(rest) else rest

    def _centred(self, frames: Float32Array) -> Float32Array:
        """Subtract the running mean from frames that follow each other, shape (n_frames, at most FRAME)."""
        size = frames.shape[1]
        # The recursion written out for a frame: cumulative sums are taken one by one, so that rounding is always alike.
        sums = np.cumsum(frames * self._rise[:size], axis=1)
        before = np.empty((len(frames), 1))
        for number, frame in enumerate(frames):
            if self._mean is None:
                self._mean = float(frame.mean(dtype=np.float64))
            before[number] = self._mean
            self._mean = float(self._fall[size - 1] * (self._mean + sums[number, -1]))
        return np.asarray(frames - self._fall[:size] * (before + sums), dtype=np.float32)


class Level:
    """Says frame by frame by what to multiply a stream so that its loudest sound has one level.

    The reference is the loudest frame so far, and falls by 0.5 dB a second, so that soft speech is heard again some
    time after a bang.  Where sound begins, its level is known in the frame in which it does; what was heard before it,
    noise brought up to the level of speech, is to be heard again as soft as it is beside it.

    Examples
    --------
    >>> level = Level()
    >>> noise, speech = np.full((3, 512), 1e-4), np.full((2, 512), 0.1)
    >>> gains, rises = level.push(np.concatenate([noise, speech]).astype(np.float32))
    >>> gains.round(1).tolist(), rises
    ([1000.0, 1000.0, 1000.0, 1.0, 1.0], [0, 3])
    """

    def __init__(self) -> None:
        self._fall = 10 ** (-_RELEASE * FRAME / RATE / 20)
        self._rise = 10 ** (_RISE / 20)
        self._loudest = self._known = _SILENT

    def push(self, frames: Float32Array) -> tuple[NDArray[np.float64], list[int]]:
        """Take the next frames, shape (n_frames, FRAME).

        Returns
        -------
        gains : ndarray of float64, shape (n_frames,)
            What to multiply each frame by.
        rises : list of int
            Frames before which what was heard is to be heard again, with their gain.
        """
        gains, rises = np.empty(len(frames)), []
        for number, power in enumerate(np.square(frames, dtype=np.float64).mean(axis=1).tolist()):
            self._loudest = max(math.sqrt(power), self._loudest * self._fall, _SILENT)
            self._known = max(self._known * self._fall, _SILENT)
            if self._loudest > self._rise * self._known:
                self._known = self._loudest
                rises.append(number)
            gains[number] = _TARGET / self._loudest
        return gains, rises


@lru_cache(maxsize=1)
def _session() -> Any:
    """Load the network, once for all streams of the process; it keeps no state and may be used by many threads."""
    return open_session(_SILERO / "silero_vad_16k_sequence.onnx", "the speech detector in the package")


class SpeechProbability:
    """Speech probability of one stream, frame by frame, from samples in pieces of any size.

    The level of the stream and an offset in it change nothing: the network hears it centred and levelled, by what has
    come so far (:class:`Centre`, :class:`Level`).  Nor does the cut into pieces, not even the last bit.  The state is
    35 kB a stream; the network itself is shared by all streams.

    Parameters
    ----------
    level : bool, default True
        Whether to bring the stream to a level; False for sound that has been brought to one.

    Attributes
    ----------
    centred : ndarray of float32, shape (n_samples,)
        What was heard with the last call: whole frames, at the end the rest, without the offset.

    Source
    ------
    Silero Team, Silero VAD 6.2.3, https://github.com/snakers4/silero-vad (MIT); the 16 kHz network that takes a
    sequence of frames.

    Examples
    --------
    >>> import numpy as np
    >>> stream = SpeechProbability()
    >>> stream.push(np.zeros(1300, dtype=np.float32)).shape  # two frames of 512, and a rest that waits
    (2,)
    >>> stream.finish().shape
    (1,)
    """

    def __init__(self, *, level: bool = True) -> None:
        self._network, self._levels = _session(), level
        self.reset()

    def reset(self) -> None:
        """Forget the stream, as if new."""
        self._hidden = self._cell = np.zeros((1, 1, 128), dtype=np.float32)
        self._centre, self._level = Centre(), Level() if self._levels else None
        self._past = np.zeros(CONTEXT, dtype=np.float32)  # context of the frames that may be heard again, and they
        self._heard = 0
        self.centred: Float32Array = np.empty(0, dtype=np.float32)

    @property
    def heard(self) -> int:
        """Number of samples pushed so far."""
        return self._heard

    def push(self, samples: ArrayLike) -> Float32Array:
        """Take the next samples of the stream.

        Parameters
        ----------
        samples : array_like of float32, shape (n_samples,)
            Mono at 16 kHz, nominally in [-1, 1].  Any number of them, none included.

        Returns
        -------
        ndarray of float32, shape (n_frames,)
            Probability in [0, 1] of each frame of 32 ms that these samples complete.

        Raises
        ------
        AudioError
            Samples of another shape, or some that are not finite numbers; the stream is as it was before.
        """
        piece = np.asarray(samples, dtype=np.float32)
        if piece.ndim != 1:
            raise AudioError(f"samples of shape {piece.shape}: expected mono, (n_samples,); average the channels")
        if not np.isfinite(piece).all():
            raise AudioError("samples that are not finite numbers (NaN or infinity): check what records them")
        self._heard += len(piece)
        self.centred = self._centre.push(piece)
        return self._advance(self.centred)

    def finish(self) -> Float32Array:
        """End the stream: the probability of the frame that is not full, silence after it, shape (0,) or (1,)."""
        self.centred = self._centre.finish()
        return self._advance(np.pad(self.centred, (0, -len(self.centred) % FRAME)))

    def _advance(self, frames: Float32Array) -> Float32Array:
        """Run the network over whole frames, one after the other in one array."""
        if not len(frames):
            return frames
        count = len(frames) // FRAME
        gains, rises = self._level.push(frames.reshape(-1, FRAME)) if self._level else (np.ones(count), [])
        sound = np.concatenate([self._past, frames])
        # What `sliding_window_view` gives, in a twentieth of its time, which counts for messages of a live stream.
        shape = (1 + (len(sound) - CONTEXT - FRAME) // FRAME, CONTEXT + FRAME)
        windows = np.ndarray(shape, np.float32, sound, strides=(FRAME * sound.itemsize, sound.itemsize))
        done = known = len(windows) - count
        found = []
        for place in (known + rise for rise in rises):
            found += self._run(windows[done:place], gains[done - known : place - known])
            self._hidden = self._cell = np.zeros_like(self._hidden)
            again = windows[max(0, place - _AGAIN) : place]
            self._run(again, np.full(len(again), gains[place - known]))
            done = place
        found += self._run(windows[done:], gains[done - known :])
        self._past = sound[-(CONTEXT + min(len(windows), _AGAIN) * FRAME) :].copy()
        return np.concatenate(found)

    def _run(self, frames: Float32Array, gains: NDArray[np.float64]) -> list[Float32Array]:
        """Run the network over frames with their context, each multiplied by its gain."""
        found = []
        for begin in range(0, len(frames), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            scaled = (frames[block] * gains[block, np.newaxis]).astype(np.float32)
            inputs = {"input": scaled, "h": self._hidden, "c": self._cell}
            one, self._hidden, self._cell = self._network.run(["speech_probs", "hn", "cn"], inputs)
            found.append(np.asarray(one, dtype=np.float32))
        return found


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

    Attributes
    ----------
    reach : int
        How many samples back from what has been heard a start that is yet to come may lie.

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
        rule = self._segmenter.options
        self.reach = FRAME + round((rule.min_speech + rule.min_silence + rule.padding + rule.reach) * RATE)

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended, by the events given so far."""
        return self._segmenter.speaking

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


Array = NDArray[np.float64]

#: Root mean square to which the loudest 0.2 s are brought: the answer does not depend on the level.
_LEVEL = 0.1
#: Power below which there is nothing to bring to a level: digital silence.
_SILENT_POWER = 1e-12
#: Frames this many dB below the loudest count as quiet.
_QUIET = 25.0
#: Band of the telephone, in Hz: what lies outside says more about the microphone than about the sound.
_BAND = (250.0, 3400.0)
#: Log-odds beyond which Silero is as sure as can be.
_SURE = 6.9
#: How much slower the sound is heard the second time.
_SLOWER = 1.5


@dataclass(frozen=True)
class GateOptions:
    """How sure the gate must be.

    Attributes
    ----------
    threshold : float, default 0.4
        Smallest probability that counts as speech, in [0, 1]; 0 accepts everything.

    Raises
    ------
    InputError
        The threshold is out of its range.
    """

    threshold: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}: expected a probability from 0 to 1")


#: How sure to be that somebody speaks, where nothing else is said.
GATE = GateOptions()


class Measures(NamedTuple):
    """What the gate weighs; nothing in it depends on the level.

    Attributes
    ----------
    voice : float
        Silero's log-odds of speech, mean over the loud frames.
    moment : float
        The same, largest mean over 0.32 s: a short word in a long pause.
    slow_voice, slow_moment : float
        The same at two thirds of the speed.
    dynamics : float
        Standard deviation of the level in the telephone band, in dB: syllables and pauses.
    flatness : float
        Logarithm of geometric over arithmetic mean of the power spectrum in the telephone band: near 0 for noise.
    movement : float
        How much the spectrum changes in 96 ms, in dB.
    """

    voice: float
    moment: float
    slow_voice: float
    slow_moment: float
    dynamics: float
    flatness: float
    movement: float


#: Mean log-odds from which Silero alone decides, and the second hearing is saved: no other sound of the benchmark's
#: "choose" part comes near.
_CERTAIN = 2.0

#: Weights of the logistic rule, fitted by ``python benchmarks/speech_gate.py --fit`` on its "choose" part.
_WEIGHTS = Measures(
    voice=0.317,
    moment=0.312,
    slow_voice=0.299,
    slow_moment=0.307,
    dynamics=0.183,
    flatness=0.376,
    movement=0.295,
)
_BIAS = -0.395


def is_speech(sound: Float32Array | Waveform, options: GateOptions | None = None) -> bool:
    """Tell whether somebody speaks in a recording or window: aloud, shouting or whispering.

    Parameters
    ----------
    sound : ndarray of float32, shape (n_samples,), or Waveform
        Mono at 16 kHz, at any level; 0.3 to 10 s.  Cut longer recordings into windows.  The `speech` of a Waveform
        is used where there is one, instead of a pass of the network.
    options : GateOptions, optional
        How sure to be.

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> from emovox import audio
    >>> is_speech(audio.read("examples/plain.wav").samples)
    True
    >>> is_speech(np.sin(np.arange(32000) / 10).astype(np.float32))
    False
    """
    threshold = (options or GATE).threshold
    return threshold == 0 or speech_probability(sound) >= threshold


def speech_probability(sound: Float32Array | Waveform) -> float:
    """Probability that somebody speaks in a recording or window.

    Parameters
    ----------
    sound : ndarray of float32, shape (n_samples,), or Waveform
        As :func:`is_speech`.

    Returns
    -------
    float
        In [0, 1], for equally frequent speech and other sound; 0 for digital silence, 1 where Silero is certain.

    Examples
    --------
    >>> import numpy as np
    >>> speech_probability(np.zeros(16000, dtype=np.float32))
    0.0
    """
    window = sound if isinstance(sound, Waveform) else Waveform(sound)
    levelled = _levelled(window.samples)
    if levelled is None:
        return 0.0
    heard = _hear(levelled, window.speech, lead=round(window.start * RATE) % FRAME)
    if heard[0] >= _CERTAIN:
        return 1.0
    odds = _BIAS + float(np.dot(_WEIGHTS, _measures(levelled, heard)))
    return 1 / (1 + math.exp(-odds))


def measure(samples: Float32Array) -> Measures | None:
    """Measure what the gate weighs; None for digital silence.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        As :func:`is_speech`.

    Returns
    -------
    Measures or None
    """
    sound = _levelled(samples)
    return None if sound is None else _measures(sound, _hear(sound))


def _measures(sound: Float32Array, heard: tuple[float, float]) -> Measures:
    import soxr  # few sounds are heard twice

    slow = soxr.resample(sound, RATE, RATE * _SLOWER)
    return Measures(*heard, *_hear(slow, slower=_SLOWER), *_movement(sound))


def _levelled(samples: Float32Array) -> Float32Array | None:
    """Bring the loudest 0.2 s to the common level; None where there is nothing."""
    if not len(samples):
        return None
    centred = samples - samples.mean()
    total = np.concatenate([[0.0], np.cumsum(np.square(centred, dtype=np.float64))])
    length = min(len(samples), RATE // 5)
    loudest = float((total[length:] - total[:-length]).max()) / length
    return None if loudest < _SILENT_POWER else (centred * (_LEVEL / math.sqrt(loudest))).astype(np.float32)


def _hear(
    sound: Float32Array, speech: Float32Array | None = None, *, lead: int = 0, slower: float = 1.0
) -> tuple[float, float]:
    """Silero's log-odds: mean over the loud frames, and largest mean over 0.32 s of the original.

    `speech` are the probabilities of the frames where they are known; the first began `lead` samples before the sound.
    """
    if speech is None:
        stream = SpeechProbability(level=False)
        speech, lead = np.concatenate([stream.push(sound), stream.finish()]), 0
    probability = speech.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(probability) - np.log1p(-probability), -_SURE, _SURE)
    frames = np.pad(sound, (lead, len(odds) * FRAME - lead - len(sound))).reshape(-1, FRAME)
    loud = _loud(np.square(frames, dtype=np.float64).sum(axis=1))
    width = min(round(10 * slower), len(odds))
    return float(odds[loud].mean()), float(np.convolve(odds, np.full(width, 1 / width), "valid").max())


def _loud(power: Array) -> NDArray[np.bool_]:
    return np.asarray(power >= power.max() * 10 ** (-_QUIET / 10))


def _movement(sound: Float32Array) -> tuple[float, float, float]:
    """Dynamics, flatness and movement of the spectrum in the telephone band."""
    low, high = (round(edge * 1024 / RATE) for edge in _BAND)
    band = Analysis(sound).power(1024, FRAME)[low:high].T.astype(np.float64) + 1e-6
    level = band.mean(axis=1)
    loud, decibels = _loud(level), 10 * np.log10(level)
    flatness = np.log(band).mean(axis=1) - np.log(level)
    shape = 10 * np.log10(band[:, : len(band[0]) // 6 * 6].reshape(len(band), -1, 6).mean(axis=2))
    shape -= shape.mean(axis=1, keepdims=True)
    change = np.abs(shape[3:] - shape[:-3]).mean(axis=1)[loud[3:] & loud[:-3]]
    return (
        float(np.std(np.maximum(decibels, decibels.max() - 40))),
        float(flatness[loud].mean()),
        float(change.mean()) if len(change) else 0.0,
    )
