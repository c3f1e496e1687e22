"""What cannot be read, or only in part: refused by name in one line, or what is there is given."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest

from emovox import audio
from emovox.errors import AudioError
from emovox.types import RATE, Waveform
from tests.audio import encoded, noise, two_tones


# Bad input.
def header_with_rate(rate: int) -> bytes:
    content = bytearray(encoded(two_tones(RATE), RATE))
    content[24:28] = struct.pack("<I", rate)
    return bytes(content)


BAD = [
    (b"", r"is empty \(0 bytes\)"),
    (b"This is not a recording at all.\n" * 50, r"not a recording in a known format .* convert it"),
    (b"RIFF", "is damaged or incomplete"),
    (encoded(np.zeros(0), RATE), "contains no samples"),
    (encoded(two_tones(RATE), RATE)[:44], "contains no samples"),
    (encoded(two_tones(RATE), RATE)[:30], "is damaged or incomplete"),
    (encoded(noise(RATE), RATE, "MP3", "MPEG_LAYER_III")[:60], "is damaged or incomplete"),
    (header_with_rate(0), "sampling rate of 0 Hz: expected a whole number from 1000 to 768000"),
    (header_with_rate(999), "sampling rate of 999 Hz"),
    (header_with_rate(1_000_000), r"sampling rate of 1e\+06 Hz: expected a whole number from 1000 to 768000"),
    (header_with_rate(2**32 - 1), r"sampling rate of 4.29497e\+09 Hz"),
    (
        encoded(np.repeat([0, np.nan], 8000), RATE, subtype="FLOAT"),
        r"has a sample of nan at 0.500 s: .* export",
    ),
    (encoded(np.repeat([0, -np.inf], 8000), RATE, subtype="FLOAT"), r"has a sample of -inf at 0.500 s"),
    (encoded(np.repeat([0, 1e300], 8000), RATE, subtype="DOUBLE"), r"has a sample of inf at 0.500 s"),
    (encoded(np.repeat([0, 3e38], 8000), RATE, subtype="FLOAT"), r"has a sample of 3e\+38 at 0.500 s"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_content_is_refused_by_name_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    for source, name in ((path, "call.wav"), (content, "<bytes>"), (io.BytesIO(content), "<stream>")):
        with pytest.raises(AudioError, match=message) as caught:
            audio.read(cast(audio.Source, source))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(AudioError, match=message):
            list(audio.blocks(cast(audio.Source, source), 0.1))


@pytest.mark.parametrize("place", ["before", "behind"])
def test_texts_of_impossible_size_do_not_reach_ffmpeg(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would take as much memory as they state: 1.5 GB for this file of 9 kB.
    av = pytest.importorskip("av")
    text = b"LIST" + struct.pack("<I", 0xFCFF_FF19) + b"INFOISFT" + struct.pack("<I", 0x6000_0000) + b"Lavf59"
    form = b"fmt " + struct.pack("<IHHIIHHH", 18, 0x28F, 1, RATE, RATE // 2, 1, 4, 0)
    sound = b"data" + struct.pack("<I", 8000) + bytes(8000)
    body = b"WAVE" + form + (text + sound if place == "before" else sound + text)
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    given: list[bytes] = []
    real = av.open

    def opened(file: Any, **more: Any) -> Any:
        given.append(file.read(len(content)))
        file.seek(0)
        return real(file, **more)

    monkeypatch.setattr(av, "open", opened)

    if place == "before":
        with pytest.raises(AudioError, match="damaged or incomplete"):
            audio.read(content)
    else:
        assert audio.read(content).duration == pytest.approx(1.0, abs=0.01)
    assert (place == "behind") == bool(given)
    assert not any(b"LIST" in one for one in given)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"there is no file .*absent\.wav: check the path"):
        audio.read(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="is a folder, not a recording: name the files in it"):
        audio.read(tmp_path)
    with pytest.raises(AudioError, match=r"there is no file .*absent"):
        audio.duration(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="cannot be read: embedded null byte"):
        audio.read("a\0b.wav")


def test_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> BinaryIO:  # the permissions themselves do not stop root
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"secret\.wav may not be read by this user: check its permissions"):
        audio.read(tmp_path / "secret.wav")


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_file_object_that_fails_midway_is_reported(
    container: str, failure: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing(io.BytesIO):
        name = "share/call"

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 20_000:
                raise failure
            return super().read(size)

    failing = Failing(encoded(noise(RATE * 10), RATE, container))
    if isinstance(failure, KeyboardInterrupt):  # Ctrl-C while libsndfile reads is not lost
        with pytest.raises(KeyboardInterrupt):
            audio.read(failing)
    else:
        with pytest.raises(AudioError, match="share/call cannot be read: Input/output error"):
            audio.read(failing)
    assert capfd.readouterr().err == ""


def test_file_object_that_gives_too_much_does_no_harm() -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read() if size else b""

    content = encoded(noise(RATE), RATE)[:1000]
    np.testing.assert_array_equal(audio.read(Generous(content)).samples, audio.read(content).samples)


def test_sources_of_a_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(encoded(two_tones(RATE), RATE))
    with path.open(encoding="latin-1") as text, pytest.raises(AudioError, match="opened in binary mode"):
        audio.read(cast(BinaryIO, text))
    with pytest.raises(AudioError, match=r"an array does not tell its sampling rate: give rate=16000"):
        audio.read(cast(BinaryIO, np.zeros(3)))
    with pytest.raises(AudioError, match="is a list: expected a path"):
        audio.read(cast(BinaryIO, [0.0, 1.0]))
    closed = path.open("rb")
    closed.close()
    with pytest.raises(AudioError, match=r"call\.wav cannot be read: .*closed file"):
        audio.read(closed)


def test_truncated_recordings_give_what_is_there() -> None:
    for container in ("WAV", "AIFF", "OGG", "MP3"):
        content = encoded(noise(RATE * 10), RATE, container)
        waveform = audio.read(content[: int(0.7 * len(content))])
        assert 6 < waveform.duration < 7.5


def test_header_that_promises_too_much_gives_what_is_there() -> None:
    content = bytearray(encoded(two_tones(RATE), RATE))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"

    assert audio.read(bytes(content)).duration == 2


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (-1, None, "cannot start at -1 s: give 0 or more"),
        (float("nan"), None, "cannot start at nan s"),
        (1, 1, "from 1 s to 1 s is empty: give an end after the start"),
        (1, float("inf"), "from 1 s to inf s is empty"),
        (2, None, "ends at 2 s: a stretch from 2 s lies outside"),
        (500, 501, "ends at 2 s: a stretch from 500 s lies outside"),
    ],
)
def test_stretch_outside_the_recording_is_refused(start: float, end: float | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        audio.read(encoded(two_tones(44100), 44100), start=start, end=end)


@pytest.mark.parametrize("duration", [0, -1, float("nan"), float("inf"), 1e-9])
def test_block_of_no_length_is_refused_at_once(duration: float) -> None:
    with pytest.raises(AudioError, match=r"a block cannot last .* s: give a positive number"):
        audio.blocks(b"", duration)


def test_signal_is_required() -> None:
    tone = Waveform(two_tones(RATE).astype(np.float32))
    assert audio.require_signal(tone, "call.wav") is tone
    with pytest.raises(AudioError, match=r"call\.wav lasts 0\.020 s, too short to analyse: give at least 0\.1 s"):
        audio.require_signal(Waveform(tone.samples[:320]), "call.wav")
    with pytest.raises(AudioError, match=r"call\.wav is silent, every sample is zero: check"):
        audio.require_signal(Waveform(np.zeros(RATE, np.float32)), "call.wav")
