"""Channels of live sound: mixed, one of them, or each by itself; and the streams that they are heard by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from emovox.audio import Converter
from emovox.live.state import SessionEvent
from emovox.recognition.cutting import StreamEvent
from emovox.recognition.streaming import Stream
from emovox.types import Float32Array

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
        Opens the stream of one more channel.
    channel : int, optional
        Number of the channel that single samples are; the default is that they are all channels mixed.
    """

    def __init__(self, open_stream: Callable[[], Stream], channel: int | None = None) -> None:
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
            self._streams = [(number, self._open()) for number in numbers]
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
