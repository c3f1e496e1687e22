"""Sound from a pipe: raw and WAV of every kind, however it is cut, however it ends, and whatever else comes instead."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import AudioError, InputError
from emovox.live.sources import ENCODINGS, Feed, Layout, Notice, Piece, PipeSource
from tests import examples
from tests.conftest import speech


def heard(data: bytes, layout: Layout | None = None, **options: Any) -> tuple[NDArray[np.float32], list[str]]:
    pieces = list(PipeSource(io.BytesIO(data), layout, **options).read())
    samples = [piece for piece in pieces if not isinstance(piece, Notice)]
    notices = [piece.text for piece in pieces if isinstance(piece, Notice)]
    return np.concatenate(samples) if samples else np.empty(0, np.float32), notices


def wav(samples: NDArray[Any], rate: int = 16000, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


@pytest.mark.parametrize(
    ("format_", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
    ],
)
def test_every_wav_is_heard_as_it_is_read(format_: str, subtype: str) -> None:
    data = wav(speech(0.5), format=format_, subtype=subtype)
    samples, notices = heard(data)
    np.testing.assert_array_equal(samples, audio.read(data).samples)
    assert notices == []


def test_another_rate_and_stereo_are_converted() -> None:
    data = wav(np.stack([speech(1), speech(1, 3)], axis=1), 44100, subtype="FLOAT")
    np.testing.assert_allclose(heard(data)[0], audio.read(data).samples, atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_sound_is_heard_as_the_same_sound_in_wav(encoding: str) -> None:
    subtypes = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}
    data = wav(speech(0.25), subtype=subtypes.get(encoding, "DOUBLE"))
    begin = data.index(b"data") + 8
    np.testing.assert_array_equal(heard(data[begin:], Layout(encoding))[0], heard(data)[0])


class Dribble(io.RawIOBase):
    """Gives bytes in pieces of given sizes, as a pipe may."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._file, self._sizes = io.BytesIO(data), iter(sizes)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(min(size, next(self._sizes, size)))


@settings(max_examples=examples(40), deadline=None)
@given(sizes=st.lists(st.integers(1, 700), max_size=60), header=st.booleans())
def test_the_cut_of_the_bytes_changes_nothing(sizes: list[int], header: bool) -> None:
    data = wav(np.stack([speech(0.1), speech(0.1, 2)], axis=1), 8000)
    data = data if header else data[44:]
    layout = Layout(rate=8000, channels=2)
    whole, _ = heard(data, layout)
    pieces = [one for one in PipeSource(Dribble(data, sizes), layout).read() if not isinstance(one, Notice)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-7)


@pytest.mark.parametrize("size", [0, 0x7FFF0024, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_nobody_knew_goes_to_the_end(size: int) -> None:
    data = bytearray(wav(speech(0.2)))
    data[40:44] = struct.pack("<I", size)
    samples, notices = heard(bytes(data))
    assert len(samples) == 3200
    assert notices == []


def test_files_may_follow_each_other_with_whatever_is_between() -> None:
    info = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    parts = [wav(speech(0.2)) + info, wav(np.stack([speech(0.2, 5)] * 2, axis=1), 48000), wav(speech(0.1, 9))]
    samples, notices = heard(b"".join(parts))
    wanted = [audio.read(part).samples for part in parts]
    np.testing.assert_allclose(samples, np.concatenate(wanted), atol=1e-6)
    assert notices == ["the sound goes on at 48000 Hz with 2 channels", "the sound goes on at 16000 Hz with 1 channel"]


def test_sound_may_end_in_the_middle_of_a_sample_or_early() -> None:
    samples, notices = heard(bytes(2001))
    assert len(samples) == 1000
    assert notices == ["the sound ends in the middle of a sample, which is left out"]
    samples, notices = heard(wav(speech(1))[: 44 + 16000])
    assert len(samples) == 8000
    assert notices == ["the sound ends 0.5 s before its header says"]


def test_what_is_no_number_becomes_silence_and_is_told_once() -> None:
    values = np.array([0.5, np.nan, np.inf, -np.inf, 1e30, -0.5] * 3, dtype="<f4")
    samples, notices = heard(values.tobytes(), Layout("f32le"))
    assert samples.tolist() == [0.5, 0, 0, 0, 0, -0.5] * 3
    assert notices == ["the sound has samples that are not finite numbers: they count as silence"]
    assert np.isfinite(heard(np.full(4, 1e300, dtype="<f8").tobytes(), Layout("f64le"))[0]).all()


def test_a_header_counts_more_than_what_was_given_and_says_so() -> None:
    stereo = wav(np.stack([speech(0.2)] * 2, axis=1), 48000)
    samples, notices = heard(stereo, Layout(rate=8000, channels=4))
    np.testing.assert_allclose(samples, audio.read(stereo).samples, atol=1e-6)
    assert notices == [
        "the header says 48000 Hz, which counts: --rate 8000 is for raw sound",
        "the header says 2 channels, which counts: --pcm-channels 4 is for raw sound",
    ]
    assert heard(stereo, Layout(rate=48000, channels=2))[1] == []


def test_stereo_taken_for_mono_is_noticed() -> None:
    twice = np.repeat((speech(0.5) * 32767).astype("<i2"), 2)
    assert "--pcm-channels 2" in heard(twice.tobytes())[1][0]
    assert heard((speech(0.5) * 32767).astype("<i2").tobytes())[1] == []


@pytest.mark.parametrize("format_", ["FLAC", "OGG", "AIFF", "MP3"])
def test_other_sound_files_are_not_taken_for_raw_sound(format_: str) -> None:
    data = wav(speech(0.5), format=format_)
    data = b"ID3" + data if format_ == "MP3" else data
    with pytest.raises(AudioError, match=r"neither WAV nor raw: convert it.*ffmpeg"):
        heard(data)
    assert len(heard(data, raw=True)[0]) == len(data) // 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"RIFF", "in the middle of a WAV header"),
        (b"RIFF\0\0\0\0AVI LIST", "is none"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0\0\0\0\0", "does not say how"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\1\0\1\0", "damaged"),
        (wav(speech(0.1), subtype="ULAW"), "kind 7 and 8 bits: convert it"),
        (wav(speech(0.1))[:24] + bytes(4) + wav(speech(0.1))[28:], "a sampling rate of 0 Hz"),
        (wav(speech(0.1))[:22] + b"\0\0" + wav(speech(0.1))[24:], "0 channels"),
    ],
)
def test_what_is_no_sound_is_refused_in_a_line(data: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        heard(data)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_sound() -> None:
    class Folder:
        def read(self, _size: int, /) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    with pytest.raises(AudioError, match=r"cannot be read \(Is a directory\)"):
        list(PipeSource(Folder()).read())


@settings(max_examples=examples(150), deadline=None)
@given(tail=st.binary(max_size=200), cut=st.integers(0, 60), change=st.tuples(st.integers(0, 43), st.integers(0, 255)))
def test_no_bytes_do_harm(tail: bytes, cut: int, change: tuple[int, int]) -> None:
    data = bytearray(wav(speech(0.01)))
    data[change[0]] = change[1]
    for one in (bytes(data[:cut]) + tail, bytes(data) + tail, tail):
        try:
            samples, _ = heard(one)
        except AudioError:
            continue
        assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "mp3"}, "choose one of u8"),
        ({"rate": 10}, "10 Hz"),
        ({"channels": 0}, "0 channels"),
    ],
)
def test_impossible_layouts_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Layout(**options)


class Endless:
    """A source that goes on until it is stopped."""

    name, rate = "endless", 16000

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def read(self) -> Iterator[Piece]:
        while not self.stopped.is_set():
            yield np.ones(10, np.float32)

    def stop(self) -> None:
        self.stopped.set()


def test_a_feed_reads_no_further_ahead_than_it_may_and_can_be_stopped() -> None:
    source = Endless()
    feed = Feed(source, ahead=3)
    assert feed.next(60) is not None
    assert feed._pieces.qsize() <= 3
    feed.stop()
    feed._thread.join(60)
    assert not feed._thread.is_alive()


def test_a_feed_hands_on_what_the_source_raises() -> None:
    feed = Feed(PipeSource(io.BytesIO(b"")))
    with pytest.raises(AudioError, match="is empty"):
        feed.next(60)
    assert feed.ended
    assert feed.next(0) is None


def test_channels_are_heard_mixed_by_number_or_each_by_itself() -> None:
    left, right = speech(0.6), speech(0.6, 3)
    data = wav(np.stack([left, right], axis=1), 44100, subtype="FLOAT")
    each, _ = heard(data, channels="each")
    for number in (1, 2):
        one = audio.read(audio.Channel(data, number)).samples
        np.testing.assert_allclose(each[:, number - 1], one, atol=1e-6)
        np.testing.assert_allclose(heard(data, channels=number)[0], one, atol=1e-6)
    np.testing.assert_array_equal(heard(wav(left), channels="each")[0], heard(wav(left))[0])


def test_a_layout_that_changes_keeps_the_channels_that_are_heard() -> None:
    def columns(*samples: NDArray[Any]) -> bytes:
        return wav(np.stack(samples, axis=1), subtype="FLOAT")

    one, two, three = speech(0.3), speech(0.3, 3), speech(0.3, 5)
    stereo = columns(one, two)
    each, notices = heard(stereo + wav(three, subtype="FLOAT") + columns(one, two, three), channels="each")
    size = len(one)
    np.testing.assert_array_equal(each[:size], np.stack([one, two], axis=1))
    np.testing.assert_array_equal(each[size : 2 * size], np.stack([three, 0 * three], axis=1))
    np.testing.assert_array_equal(each[2 * size :], np.stack([one, two], axis=1))
    assert [note.split()[-3:] for note in notices] == [["with", "1", "channel"], ["with", "3", "channels"]]
    with pytest.raises(AudioError, match="has one channel: there is no channel 2"):
        heard(stereo + wav(three, subtype="FLOAT"), channels=2)


def test_the_number_of_a_channel_is_not_how_many_there_are() -> None:
    with pytest.raises(InputError, match="the raw sound has 1 channel: --pcm-channels 2 says how many there are"):
        heard(bytes(3200), channels=2)
    assert len(heard(bytes(3200), Layout(channels=2), channels=2)[0]) == 800


def test_two_voices_on_two_channels_are_told() -> None:
    pause = np.zeros(32000, np.float32)
    call = np.stack([np.concatenate([speech(2), pause]), np.concatenate([pause, speech(2, 3)])], axis=1)
    assert heard(wav(np.tile(call + 1e-3, (2, 1))))[1] == [
        "its two channels hold different voices: --channels each judges them one by one"
    ]
