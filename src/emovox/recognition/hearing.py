"""What is heard of a setting or a speaker in recordings, for profiles and for recordings that are their own setting."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import seekable, source_name
from emovox.errors import EmovoxError, InputError
from emovox.model.baselines import Statistics
from emovox.recognition.analysis import BLOCK
from emovox.recognition.many import Results, Sources, analysed, each_source
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.voice import Heard, Recording, Voice

#: Called with the number of a recording, from 0, and the seconds of it analysed so far.
Progress: TypeAlias = Callable[[int, float], None]


def hear(
    voice: Voice,
    options: TimelineOptions,
    source: Sound | NDArray[Any],
    *,
    rate: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Heard | EmovoxError:
    """Hear one recording by the windows and the gate of judging; return the error where that cannot be done."""
    try:
        sound, judge = audio.as_sound(source, rate), Recording(voice)
        stream = StreamingRecognizer(judge, options)
        return judge.heard(stream.timeline(audio.blocks(sound, BLOCK), source_name(sound), progress))
    except EmovoxError as error:
        return error


def hear_many(
    voice: Voice,
    options: TimelineOptions,
    sources: Sources,
    jobs: int | None,
    progress: Progress | None = None,
    rate: float | None = None,
) -> Results[Heard | EmovoxError]:
    """Hear many recordings side by side, in their order; arguments as for `EmotionRecognizer.predict_many`."""
    return analysed(partial(hear, voice, options), sources, jobs, progress, rate)


def refuse(error: EmovoxError) -> None:
    """Raise the error of a recording that must not be left out."""
    raise error


def added(
    found: Results[Heard | EmovoxError],
    width: int,
    left_out: Callable[[EmovoxError], None] = lambda error: None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Add up what was heard of so many axes: number of recordings, seconds of speech, statistics.

    `left_out` is called with each error, and may raise it; `done` when a recording is done.
    """
    clips, seconds, axes = 0, [0.0], [np.empty((0, width), np.float32)]
    try:
        for one in found:
            done()
            if isinstance(one, Heard):
                clips, seconds, axes = clips + 1, [*seconds, one.seconds], [*axes, one.axes]
            elif isinstance(one, EmovoxError):
                left_out(one)
    finally:
        found.close()
    return {"clips": clips, "seconds": math.fsum(seconds), "heard": Statistics.of(np.concatenate(axes))}


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
) -> dict[str, Any]:
    """Hear recordings and add up what was heard, see :func:`added`; `progress` is told of recordings and seconds."""
    tally = Tally(progress)
    found = hear_many(voice, options, sources, jobs, tally.heard)
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
        progress: Progress | None = None,
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
