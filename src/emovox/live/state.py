"""What a listening session has heard and says: its events, and whether the microphone is fit."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from emovox.audio import Converter
from emovox.outputs.formats import Mark
from emovox.recognition.streaming import Event, Stream, StreamEvent
from emovox.types import RATE, Float32Array, Prediction

#: Shortest signal that can be checked, in seconds.
SHORTEST = 0.5

#: Limits of an acceptable signal.
QUIET = -45.0  # dBFS of the loudest parts: below, quantisation and noise are in reach
NOISY = 15.0  # dB from the noise floor to the loudest parts: below, a listener begins to strain
CLIPPED = 0.001  # share of samples at full scale
NARROW = 1e-6  # power above 4 kHz over power below: speech through a telephone band has next to nothing there
OFFSET = 0.05  # mean of the samples, full scale 1

_FRAME = RATE // 50  # 20 ms
_EDGE = 0.995  # of full scale: a sample so large has most likely been cut off


@dataclass(frozen=True)
class Levels:
    """Measurements of a stretch of a signal.

    Attributes
    ----------
    duration : float
        Its length in seconds.
    peak : float
        Peak level in dBFS; -inf for digital silence.
    loud : float
        Level of the loudest parts in dBFS: 95th percentile of the root mean square over 20 ms.
    noise : float
        Noise floor in dBFS: 10th percentile of the same.
    clipped : float
        Share of samples at full scale, in [0, 1].
    offset : float
        Mean of the samples (DC offset), full scale 1.
    zeros : float
        Share of samples that are exactly 0, in [0, 1].
    high : float
        Ratio of the power above 4 kHz to the power below.
    rate : int
        Sampling rate of the microphone in Hz.
    """

    duration: float
    peak: float
    loud: float
    noise: float
    clipped: float
    offset: float
    zeros: float
    high: float
    rate: int

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio in dB: from the noise floor to the loudest parts."""
        return self.loud - self.noise if math.isfinite(self.noise) else math.inf


def measure(samples: Float32Array, rate: int = RATE) -> Levels:
    """Measure level, noise, clipping, offset and bandwidth of a signal.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono at 16 kHz, full scale 1.
    rate : int, default 16000
        Sampling rate of the microphone before resampling, in Hz.

    Returns
    -------
    Levels

    Examples
    --------
    >>> tone = 0.5 * np.sin(np.arange(16000) * 0.1).astype(np.float32)
    >>> found = measure(tone)
    >>> round(found.peak), round(found.loud), found.clipped
    (-6, -9, 0.0)
    """
    if not len(samples):
        return Levels(0.0, -math.inf, -math.inf, -math.inf, 0.0, 0.0, 1.0, 0.0, rate)
    offset = float(samples.mean())
    frames = (samples[: max(1, len(samples) // _FRAME) * _FRAME] - offset).reshape(-1, min(_FRAME, len(samples)))
    power = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))
    spectrum = np.abs(np.fft.rfft(samples - offset)) ** 2
    split = round(len(spectrum) / 2)
    size = np.abs(samples)
    return Levels(
        duration=len(samples) / RATE,
        peak=decibels(float(size.max()) ** 2),
        loud=decibels(float(np.quantile(power, 0.95))),
        noise=decibels(float(np.quantile(power, 0.1))),
        clipped=float((size >= _EDGE).mean()),
        offset=offset,
        zeros=float((samples == 0).mean()),
        high=float(spectrum[split:].sum() / max(float(spectrum[:split].sum()), 1e-30)),
        rate=rate,
    )


def loudest(samples: Float32Array) -> Float32Array:
    """Return the channel with most energy of samples of shape (n,) or (n, n_channels).

    Examples
    --------
    >>> loudest(np.array([[0.1, 0.5], [0.2, -0.5]], dtype=np.float32)).tolist()
    [0.5, -0.5]
    """
    return samples if samples.ndim == 1 else samples[:, np.square(samples).sum(axis=0).argmax()]


def decibels(power: float) -> float:
    """Convert a power ratio to decibels; 0 gives -inf.

    Examples
    --------
    >>> decibels(0.01), decibels(0.0)
    (-20.0, -inf)
    """
    return 10 * math.log10(power) if power > 0 else -math.inf


def advice(levels: Levels) -> tuple[str, ...]:
    """Return advice on how to improve a signal, a sentence each, the most urgent first; empty if it is fine.

    Parameters
    ----------
    levels : Levels
        Measurements of at least 0.5 s in which somebody speaks.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> advice(measure(np.zeros(16000, dtype=np.float32)))
    ('nothing arrives, every sample is zero: unmute the microphone, and let this program use it',)
    """
    if levels.duration < SHORTEST:
        return (f"only {levels.duration:.1f} s of sound: too little to check the microphone",)
    if not math.isfinite(levels.peak):
        return ("nothing arrives, every sample is zero: unmute the microphone, and let this program use it",)
    found = []
    if levels.clipped > CLIPPED:
        found.append(
            f"{levels.clipped:.1%} of the sound is cut off at full scale: lower the input level, or move away a little"
        )
    if levels.loud < QUIET:
        found.append(
            f"very quiet, {-levels.loud:.0f} dB below full scale at its loudest: speak, come closer, "
            "or raise the input level"
        )
    elif levels.snr < NOISY:
        found.append(
            f"the voice is only {levels.snr:.0f} dB above the background: come closer, or find a quieter place"
        )
    if levels.rate < RATE:
        found.append(
            f"{levels.rate} Hz is less than the {RATE} Hz the model knows: choose another device or setting, "
            "for a headset the one for music"
        )
    elif levels.loud >= QUIET and levels.high < NARROW:
        found.append(
            "nothing above 4 kHz, as on a telephone: a Bluetooth headset does that while its own microphone is in use"
        )
    if abs(levels.offset) > OFFSET:
        found.append(f"the sound has a constant offset of {levels.offset:+.2f}: the input is defective or miswired")
    return tuple(found)


#: Seconds of the past that are displayed.
SPAN = 120.0

#: Seconds of sound between checks of the microphone.
CHECKED = 5.0

#: Seconds for which a notice is displayed, once there is sound.
NOTICED = 10.0

#: Seconds in which the displayed level falls by 20 dB after a peak.
_FALL = 1.0


@dataclass(frozen=True)
class SessionEvent(Event):
    """An event of a live session, to display, print or record.

    Attributes
    ----------
    kind : {"start", "estimate", "result", "end", "transcript", "mark", "notice"}
        The first four are those of :class:`emovox.recognition.streaming.StreamEvent`; ``transcript`` is what was said
        in an utterance, ``mark`` a moment that the user marked, ``notice`` a message about the source.
    time : float
        Time of the event in seconds from the beginning of the session.
    decided : float
        Time at which the event was known, in seconds from the beginning.
    prediction : Prediction or None
        The prediction of ``estimate`` and ``result``; None for others.
    text : str or None
        Text of a transcript, mark or notice.
    channel : int or None
        The channel that it is about, the first is 1; None where all are mixed, and of marks and notices.
    """

    kind: Literal["start", "estimate", "result", "end", "transcript", "mark", "notice"]
    time: float
    decided: float
    prediction: Prediction | None = None
    text: str | None = None
    channel: int | None = None


@dataclass
class State:
    """The displayed state of a session, kept up to date by `add_samples` and `add_event`, in bounded memory.

    Attributes
    ----------
    source, model : str
        Names of the source and of the model.
    labels : tuple of str
        The model's labels.
    speaker : str or None
        Profile whose baseline is used.
    saving : str
        Where the session is recorded, for display; empty if it is not.
    time : float
        Length of the session so far in seconds.
    level : float
        Peak level in dBFS, falling slowly.
    speaking : bool
        Whether somebody is speaking, on any channel.
    now : Prediction or None
        The newest prediction.
    recent : deque of Prediction
        Results of the last two minutes.
    marks : deque of (float, str)
        Marks of the last two minutes: time and name.
    transcripts : deque of (float, str)
        The last transcripts: time and text.
    channels : list of int or None
        The channels that were judged so far; None where all are mixed.
    advice : tuple of str
        Advice on the microphone, see :func:`emovox.live.state.advice`.
    notice : str
        The last notice of the source.
    utterances : int
        Number of results so far.
    setting : str or None
        Setting that is known, or ``"auto"``.
    totals : dict of str to float
        Seconds of each label so far; ``""`` for abstentions.
    """

    source: str
    model: str
    labels: tuple[str, ...]
    speaker: str | None = None
    saving: str = ""
    time: float = 0.0
    level: float = -math.inf
    speaking: bool = False
    now: Prediction | None = None
    recent: deque[Prediction] = field(default_factory=deque)
    marks: deque[Mark] = field(default_factory=deque)
    transcripts: deque[Mark] = field(default_factory=lambda: deque(maxlen=20))
    advice: tuple[str, ...] = ()
    notice: str = ""
    utterances: int = 0
    setting: str | None = None
    totals: dict[str, float] = field(default_factory=dict)
    channels: list[int | None] = field(default_factory=list)
    _talking: set[int | None] = field(default_factory=set)
    _noticed: float = 0.0
    _sound: list[Float32Array] = field(default_factory=list)
    _collected: int = 0

    def add_samples(self, samples: Float32Array, rate: int = RATE) -> tuple[str, ...]:
        """Add samples at 16 kHz of a source whose own rate is `rate` Hz; return new advice, if any.

        Of several channels, shape (n, n_channels), the loudest of five seconds is what the advice is about.
        """
        self.time = (round(self.time * RATE) + len(samples)) / RATE  # whole samples: rounding must not add up
        if self.time > self._noticed + NOTICED:
            self.notice = ""
        peak = decibels(float(np.abs(samples).max(initial=0.0)) ** 2)
        self.level = max(peak, self.level - 20 * len(samples) / RATE / _FALL)
        self._sound.append(samples)
        self._collected += len(samples)
        if self._collected < CHECKED * RATE:
            return ()
        found = advice(measure(loudest(np.concatenate(self._sound)), rate))
        self._sound, self._collected = [], 0
        new = tuple(one for one in found if one.split()[0] not in {old.split()[0] for old in self.advice})
        self.advice = found
        return new

    def add_event(self, one: SessionEvent) -> None:
        """Update the state by an event."""
        if one.kind in ("start", "end"):
            (self._talking.add if one.kind == "start" else self._talking.discard)(one.channel)
            self.speaking = bool(self._talking)
        if one.prediction is not None and one.kind in ("estimate", "result"):
            self.now = one.prediction
        if one.kind == "result" and one.prediction is not None:
            self.recent.append(one.prediction)
            if one.channel not in self.channels:
                self.channels = sorted([*self.channels, one.channel], key=lambda number: number or 0)
            self.utterances += 1
            label = "" if one.prediction.abstained else one.prediction.label
            self.totals[label] = self.totals.get(label, 0.0) + one.prediction.end - one.prediction.start
        elif one.kind == "mark":
            self.marks.append((one.time, one.text or ""))
        elif one.kind == "transcript" and one.text:
            self.transcripts.append((one.time, f"{one.channel}: {one.text}" if one.channel else one.text))
        elif one.kind == "notice":
            self.notice, self._noticed = one.text or "", self.time
        self._forget()

    def _forget(self) -> None:
        while self.recent and self.recent[0].end < self.time - SPAN:
            self.recent.popleft()
        while self.marks and self.marks[0][0] < self.time - SPAN:
            self.marks.popleft()

    def summary(self) -> str:
        """Summarise the session in a line.

        Examples
        --------
        >>> State("pipe", "demo", ("sad",), time=83.4).summary()
        'heard 1:23, nobody spoke'
        """
        text = f"heard {clock(self.time)}, "
        if not self.utterances:
            return text + "nobody spoke"
        whole = sum(self.totals.values()) or 1.0
        ranked = sorted(self.totals.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{label or ABSTAINED} {seconds / whole:.0%}" for label, seconds in ranked)
        many = "" if self.utterances == 1 else "s"
        return f"{text}{self.utterances} utterance{many}: {shares}"


#: How an abstention is displayed.
ABSTAINED = "don't know"


def clock(seconds: float) -> str:
    """Format a time as minutes and seconds, or hours, minutes and seconds.

    Examples
    --------
    >>> clock(83.4), clock(3723)
    ('1:23', '1:02:03')
    """
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


#: Which channels are heard: all mixed, each by itself, or one by its number, the first is 1.
Wanted: TypeAlias = Literal["mix", "each"] | int


class Splitter:
    """Brings sound of one layout to 16 kHz: mixed or one channel, shape (n,), or each by itself, shape (n, n_channels).

    Parameters
    ----------
    rate, channels : int
        Sampling rate in Hz and number of channels of what comes.
    name : str
        What to call the sound in an error.
    wanted : {"mix", "each"} or int, default "mix"
        Which channels are wanted; each of a single one is that one, shape (n,).
    width : int, optional
        How many channels there were before, where the layout changes while each is heard by itself: those that are
        gone are silent, and further ones are left out.

    Attributes
    ----------
    notes : list of str
        What there is to say about the channels; grows as they are heard.

    Raises
    ------
    AudioError
        The rate is out of its range, or there is no such channel.

    Examples
    --------
    >>> splitter = Splitter(16000, 2, "call", "each")
    >>> splitter.push(np.array([[0.5, 0.0], [0.5, 0.25]], dtype=np.float32)).tolist()
    [[0.5, 0.0], [0.5, 0.25]]
    """

    def __init__(self, rate: int, channels: int, name: str, wanted: Wanted = "mix", width: int | None = None) -> None:
        self.rate, self.channels = rate, channels
        #: Number of channels of what is given; None where there is one mixed or chosen.
        self.width = (width or channels) if wanted == "each" and (width or channels) > 1 else None
        numbers: list[int | None] = [None if wanted in ("mix", "each") else int(wanted)]
        if self.width:
            numbers = list(range(1, min(channels, self.width) + 1))
        self._converters = [Converter(rate, channels, name, channel=number) for number in numbers]
        self.notes = self._converters[0].notes

    def push(self, frames: Float32Array) -> Float32Array:
        """Take the next frames, shape (n_frames, n_channels); return what there is to give at 16 kHz by now."""
        return self._beside([one.push(frames) for one in self._converters])

    def finish(self) -> Float32Array:
        """End the sound: what was held back."""
        return self._beside([one.finish() for one in self._converters])

    def silence(self, count: int) -> Float32Array:
        """Return so many samples of silence in the shape of what is given."""
        return np.zeros(count if self.width is None else (count, self.width), dtype=np.float32)

    def _beside(self, channels: list[Float32Array]) -> Float32Array:
        if self.width is None:
            return channels[0]
        found = self.silence(len(channels[0]))
        found[:, : len(channels)] = np.stack(channels, axis=1)
        return found


class Streams:
    """One stream for each channel of a sound; opened when the first samples show how many there are.

    Parameters
    ----------
    open_stream : callable
        Opens the stream of one more channel, whose number it is given; None where all are mixed.
    channel : int, optional
        Number of the channel that single samples are; the default is that they are all channels mixed.
    """

    def __init__(self, open_stream: Callable[[int | None], Stream], channel: int | None = None) -> None:
        self._open, self._channel = open_stream, channel
        self._streams: list[tuple[int | None, Stream]] = []

    @property
    def heard(self) -> float:
        """How much has been heard, in seconds."""
        return self._streams[0][1].heard if self._streams else 0.0

    def push(self, samples: Float32Array) -> list[SessionEvent]:
        """Take the next samples, shape (n,) or (n, n_channels), and tell what became certain, channel by channel."""
        columns = samples[:, np.newaxis] if samples.ndim == 1 else samples
        if not self._streams:
            numbers = [self._channel] if samples.ndim == 1 else range(1, columns.shape[1] + 1)
            self._streams = [(number, self._open(number)) for number in numbers]
        found = [
            _told(stream.push(column), number)
            for (number, stream), column in zip(self._streams, columns.T, strict=True)
        ]
        return sorted((one for each in found for one in each), key=lambda one: one.decided)

    def finish(self) -> list[SessionEvent]:
        """End the streams and tell what is left to tell."""
        return [one for number, stream in self._streams for one in _told(stream.finish(), number)]


def _told(events: list[StreamEvent], channel: int | None) -> list[SessionEvent]:
    """Say which channel events are about."""
    return [
        SessionEvent(
            one.kind,
            one.time,
            one.decided,
            one.prediction and dataclasses.replace(one.prediction, channel=channel),
            channel=channel,
        )
        for one in events
    ]
