"""What is known of a session at a moment: everything that is shown of it, and nothing else."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from emovox.live import check
from emovox.outputs.tracks import Mark
from emovox.recognition.streaming import StreamEvent
from emovox.types import RATE, Float32Array, Prediction

#: Seconds of the past that are shown.
SPAN = 120.0

#: Seconds of sound that the microphone is judged by.
CHECKED = 5.0

#: Seconds that a notice is shown for, once there is sound.
NOTICED = 10.0

#: Seconds in which the shown level falls by 20 dB after a peak.
_FALL = 1.0


@dataclass(frozen=True)
class SessionEvent:
    """Something to show, print or keep.

    Attributes
    ----------
    kind : {"start", "estimate", "result", "end", "transcript", "mark", "notice"}
        The first four are those of :class:`emovox.recognition.streaming.StreamEvent`; what was said in an utterance; a
        marked moment; something about the source.
    time : float
        When, in seconds from the beginning.
    decided : float
        How much had been heard by then, in seconds.
    prediction : Prediction or None
        The judgement, where there is one.
    text : str or None
        Words of a transcript, name of a mark, or a notice.
    """

    kind: Literal["start", "estimate", "result", "end", "transcript", "mark", "notice"]
    time: float
    decided: float
    prediction: Prediction | None = None
    text: str | None = None

    @classmethod
    def of(cls, event: StreamEvent) -> SessionEvent:
        """Take over an event of a stream."""
        return cls(event.kind, event.time, event.decided, event.prediction)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the keys are the attributes."""
        plain = {name: getattr(self, name) for name in ("kind", "time", "decided", "prediction", "text")}
        return plain | {"prediction": self.prediction.to_dict() if self.prediction else None}


@dataclass
class State:
    """A session as it is shown; `heard` and `happened` keep it up to date, in memory that does not grow.

    Attributes
    ----------
    source, model : str
        Names.
    labels : tuple of str
        The model's labels.
    speaker : str or None
        Whose baseline is used.
    saving : str
        Where the session is kept, in words; empty where it is not.
    time : float
        Seconds heard.
    level : float
        Peak of the last moment in dBFS, falling slowly.
    speaking : bool
        Whether somebody speaks.
    now : Prediction or None
        The newest judgement.
    recent : deque of Prediction
        Results of the last two minutes.
    marks : deque of (float, str)
        Marked moments of the same time.
    said : deque of (float, str)
        What was said, with its time.
    advice : tuple of str
        What to do about the microphone.
    notice : str
        The last notice about the source.
    utterances : int
        Number of results so far.
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
    said: deque[Mark] = field(default_factory=lambda: deque(maxlen=20))
    advice: tuple[str, ...] = ()
    notice: str = ""
    utterances: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    _noticed: float = 0.0
    _sound: list[Float32Array] = field(default_factory=list)
    _collected: int = 0

    def heard(self, samples: Float32Array, rate: int = RATE) -> tuple[str, ...]:
        """Take samples, at 16 kHz, from a source that has `rate` Hz; return new advice, where there is some."""
        self.time = (round(self.time * RATE) + len(samples)) / RATE  # whole samples: rounding must not add up
        if self.time > self._noticed + NOTICED:
            self.notice = ""
        peak = check.decibels(float(np.abs(samples).max(initial=0.0)) ** 2)
        self.level = max(peak, self.level - 20 * len(samples) / RATE / _FALL)
        self._sound.append(samples)
        self._collected += len(samples)
        if self._collected < CHECKED * RATE:
            return ()
        found = check.advice(check.measure(np.concatenate(self._sound), rate))
        self._sound, self._collected = [], 0
        new = tuple(one for one in found if one.split()[0] not in {old.split()[0] for old in self.advice})
        self.advice = found
        return new

    def happened(self, one: SessionEvent) -> None:
        """Take notice of something."""
        if one.kind in ("start", "end"):
            self.speaking = one.kind == "start"
        if one.prediction is not None and one.kind in ("estimate", "result"):
            self.now = one.prediction
        if one.kind == "result" and one.prediction is not None:
            self.recent.append(one.prediction)
            self.utterances += 1
            label = "" if one.prediction.abstained else one.prediction.label
            self.totals[label] = self.totals.get(label, 0.0) + one.prediction.end - one.prediction.start
        elif one.kind == "mark":
            self.marks.append((one.time, one.text or ""))
        elif one.kind == "transcript" and one.text:
            self.said.append((one.time, one.text))
        elif one.kind == "notice":
            self.notice, self._noticed = one.text or "", self.time
        self._forget()

    def _forget(self) -> None:
        while self.recent and self.recent[0].end < self.time - SPAN:
            self.recent.popleft()
        while self.marks and self.marks[0][0] < self.time - SPAN:
            self.marks.popleft()

    def summary(self) -> str:
        """Say in a line what there was.

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
        shares = ", ".join(f"{label or CLUELESS} {seconds / whole:.0%}" for label, seconds in ranked)
        many = "" if self.utterances == 1 else "s"
        return f"{text}{self.utterances} utterance{many}: {shares}"


#: What an abstention is called.
CLUELESS = "don't know"


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Examples
    --------
    >>> clock(83.4), clock(3723)
    ('1:23', '1:02:03')
    """
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
