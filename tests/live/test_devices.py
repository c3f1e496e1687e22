"""Microphones, with a stand-in for sounddevice: choosing, losing, coming back, and no way to any."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emovox.errors import AudioError, InputError, MissingExtraError
from emovox.live import sources
from emovox.live.sources import Device, DeviceSource, Notice


class PortAudioError(Exception):
    pass


class Stream:
    """What sounddevice.InputStream is to us; `play` decides what the sound card gives."""

    def __init__(self, card: Card, device: int, samplerate: int, channels: int, callback: Callable[..., None]) -> None:
        if channels not in card.possible:
            raise PortAudioError("Invalid number of channels [PaErrorCode -9998]")
        self.card, self.channels, self.callback, self.active = card, channels, callback, False
        self.index, self.rate, self.closed = device, samplerate, False

    def start(self) -> None:
        self.active = True
        self.card.streams.append(self)
        self.card.play(self)

    def give(self, value: float, overflow: bool = False) -> None:
        block = np.full((self.rate // 20, self.channels), value, dtype=np.float32)
        self.callback(block, len(block), None, SimpleNamespace(input_overflow=overflow) if overflow else None)

    def close(self, ignore_errors: bool = True) -> None:
        self.closed, self.active = True, False


class Card:
    """Stands for the module sounddevice."""

    PortAudioError = PortAudioError

    def __init__(self, play: Callable[[Stream], None], possible: tuple[int, ...] = (1, 2)) -> None:
        self.play, self.possible = play, possible
        self.streams: list[Stream] = []
        self.default = SimpleNamespace(device=[1, 2])
        self.names = ["HDMI", "Built-in", "USB Audio: mic", "USB Audio: line"]
        self.restarts = 0
        self.gone_for = 0

    def query_devices(self) -> list[dict[str, Any]]:
        self.gone_for -= 1
        if self.gone_for > 0:
            return []
        return [
            {"name": name, "max_input_channels": 2 * (name != "HDMI"), "default_samplerate": 16000.0}
            for name in self.names
        ]

    def InputStream(self, *, dtype: str, blocksize: int, **options: Any) -> Stream:  # noqa: N802 - their name
        assert dtype == "float32"
        return Stream(self, **options)

    def _terminate(self) -> None:
        self.restarts += 1

    def _initialize(self) -> None:
        pass


def take(source: DeviceSource, count: int) -> list[Any]:
    """Take so many pieces, then stop."""
    found = []
    for piece in source.read():
        found.append(piece)
        if len(found) == count:
            source.stop()
    return found


def test_the_sound_of_the_card_arrives_and_the_card_is_left() -> None:
    def play(stream: Stream) -> None:
        stream.give(0.25)
        stream.give(-0.5)

    card = Card(play)
    found = take(DeviceSource(None, card), 2)
    assert [(len(piece), float(piece[0])) for piece in found] == [(800, 0.25), (800, -0.5)]
    assert card.streams[0].index == 1  # the system's own choice
    assert card.streams[0].closed


def test_a_card_without_mono_is_averaged() -> None:
    card = Card(lambda stream: stream.give(0.25), possible=(2,))
    (found,) = take(DeviceSource("3", card), 1)
    assert (card.streams[0].channels, card.streams[0].index) == (2, 3)
    np.testing.assert_array_equal(found, np.full(800, 0.25, np.float32))


def test_lost_sound_and_what_is_no_number_are_survived() -> None:
    def play(stream: Stream) -> None:
        stream.give(np.nan, overflow=True)

    found = take(DeviceSource(None, Card(play)), 2)
    assert not found[0].any()
    assert "some sound was lost" in found[1].text


def test_an_unplugged_device_comes_back_and_the_clock_goes_on() -> None:
    def play(stream: Stream) -> None:
        stream.give(0.5 if len(card.streams) == 1 else 0.25)
        if len(card.streams) == 1:
            stream.active = False
            card.gone_for = 3

    card = Card(play)
    source = DeviceSource("usb audio: mic", card, patience=60, silence=0.01)
    source._stopped.wait = lambda timeout=None: False  # type: ignore[method-assign]  # no need to wait for real
    found = take(source, 6)
    kinds = ["notice" if isinstance(one, Notice) else "silence" if not one.any() else "sound" for one in found]
    assert [kind for kind, one in zip(kinds, found, strict=True) if isinstance(one, Notice) or len(one)] == [
        "sound",
        "notice",
        "silence",
        "notice",
        "sound",
    ]
    assert [one.text for one in found if isinstance(one, Notice)] == [
        "USB Audio: mic is gone: waiting 60 s for it to come back",
        "USB Audio: mic is back",
    ]
    assert card.restarts >= 2
    assert card.streams[0].closed


def test_a_device_that_is_gone_for_good_ends_in_a_line() -> None:
    def play(stream: Stream) -> None:
        stream.give(0.5)
        stream.active = False
        card.gone_for = 10**9

    card = Card(play)
    source = DeviceSource(None, card, patience=0, silence=0.01)
    pieces: list[Any] = []
    with pytest.raises(AudioError, match="Built-in was lost and did not come back: plug it in and start again"):
        pieces.extend(source.read())


def test_a_device_that_cannot_be_opened_ends_in_a_line() -> None:
    with pytest.raises(AudioError, match=r"Built-in cannot be opened .Invalid number.*another program"):
        DeviceSource(None, Card(lambda stream: None, possible=()))


DEVICES = [
    Device(1, "Built-in", 2, 48000, True),
    Device(4, "USB a", 1, 16000, False),
    Device(5, "USB b", 1, 8000, False),
]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("7", "no recording device 7: choose one of 1 Built-in; 4 USB a; 5 USB b"),
        ("usb", "several devices have 'usb' in their name .4 USB a; 5 USB b.: give one's number"),
        ("Bilt-in", "did you mean 'Built-in'"),
    ],
)
def test_a_device_that_does_not_exist_is_answered_with_those_that_do(wanted: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sources.find(wanted, DEVICES)


def test_devices_are_found_by_number_name_and_part_of_it() -> None:
    assert [sources.find(wanted, DEVICES).index for wanted in (None, "5", "USB b", "built")] == [1, 5, 5, 1]
    with pytest.raises(InputError, match=r"no microphone: plug one in.*\| emovox listen -"):
        sources.find(None, [])


def test_a_system_whose_sound_does_not_answer_ends_in_a_line() -> None:
    card = Card(lambda stream: None)

    def broken() -> list[dict[str, Any]]:
        raise PortAudioError("no host API")

    card.query_devices = broken  # type: ignore[method-assign]
    with pytest.raises(AudioError, match="no host API"):
        sources.available(card)


class Refusing:
    """An import system in which sounddevice fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "sounddevice":
            raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ModuleNotFoundError("no"), MissingExtraError, r"pip install 'emovox\[live\]'"),
        (OSError("PortAudio library not found"), InputError, "apt install libportaudio2"),
    ],
)
def test_what_is_not_installed_is_named_with_how_to_get_it(
    error: Exception, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(error), *sys.meta_path])
    with pytest.raises(kind, match=message):
        sources.load()


def test_channels_of_a_card_are_heard_one_by_one() -> None:
    def play(stream: Stream) -> None:
        block = np.tile(np.array([[0.25, -0.5]], np.float32), (800, 1))
        stream.callback(block, 800, None, None)

    (each,) = take(DeviceSource("3", Card(play), channels="each"), 1)
    np.testing.assert_array_equal(each, np.tile(np.array([[0.25, -0.5]], np.float32), (800, 1)))
    (second,) = take(DeviceSource("3", Card(play), channels=2), 1)
    np.testing.assert_array_equal(second, np.full(800, -0.5, np.float32))
    with pytest.raises(AudioError, match="there is no channel 3"):
        DeviceSource("3", Card(play), channels=3)
