"""Reading recordings: formats against the signal that was written, blocks, stretches, and bad input."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import decode
from emovox.errors import AudioError, MissingExtraError
from emovox.types import RATE, Waveform


def two_tones(rate: int, duration: float = 2.0, delay: float = 0.0) -> NDArray[np.float64]:
    """Return a signal known in closed form at every rate: 300 Hz and 1100 Hz."""
    time = np.arange(round(duration * rate)) / rate - delay
    return 0.4 * np.sin(2 * np.pi * 300 * time) + 0.3 * np.sin(2 * np.pi * 1100 * time + 1)


def encoded(samples: NDArray[Any], rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    """Return the bytes of a sound file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def noise(frames: int, channels: int = 1, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))


class Pipe(io.RawIOBase):
    """A stream that can be read only once."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


# Formats.  Tolerance: the RMS of the difference from the closed form, full scale 1.  A quantisation step for
# PCM (libsndfile truncates), 25 dB below the signal (0.02) for codecs; resampling adds less than 2e-7.
FORMATS = [
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-22),
    ("WAV", "PCM_32", 2e-7),
    ("WAV", "FLOAT", 2e-7),
    ("WAV", "DOUBLE", 2e-7),
    ("WAV", "ULAW", 0.01),
    ("WAV", "ALAW", 0.01),
    ("WAVEX", "PCM_16", 2**-15),
    ("RF64", "PCM_16", 2**-15),
    ("W64", "PCM_24", 2**-22),
    ("AIFF", "PCM_16", 2**-15),
    ("AIFF", "FLOAT", 2e-7),
    ("AU", "PCM_16", 2**-15),
    ("CAF", "ALAC_16", 2**-15),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-22),
    ("OGG", "VORBIS", 0.02),
    ("OGG", "OPUS", 0.02),
    ("MP3", "MPEG_LAYER_III", 0.02),
]


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize(("container", "subtype", "tolerance"), FORMATS)
def test_every_format_gives_the_signal_that_was_written(
    container: str, subtype: str, tolerance: float, rate: int
) -> None:
    waveform = audio.read(encoded(two_tones(rate), rate, container, subtype))

    assert waveform.samples.dtype == np.float32
    assert waveform.start == 0
    assert len(waveform.samples) == 2 * RATE
    inside = slice(RATE // 2, -RATE // 20)  # the resampler's edges and the codecs' first frames are not the tone
    error = waveform.samples[inside] - two_tones(RATE)[inside]
    assert np.sqrt(np.mean(error**2)) < tolerance


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 24414, 32000, 44100, 96000, 192000, 768000])
def test_every_rate_arrives_at_16_khz(rate: int) -> None:
    waveform = audio.read(encoded(two_tones(rate), rate, subtype="FLOAT"))

    assert abs(len(waveform.samples) - 2 * RATE) <= 1
    np.testing.assert_allclose(waveform.samples[1600:30000], two_tones(RATE)[1600:30000], atol=2e-6)


def test_content_above_8_khz_does_not_alias() -> None:
    time = np.arange(48000) / 48000
    waveform = audio.from_array(np.sin(2 * np.pi * 10000 * time), 48000)

    assert 20 * np.log10(np.abs(waveform.samples[1600:-1600]).max()) < -100


def test_channels_are_averaged() -> None:
    channels = noise(4000, 8)
    waveform = audio.read(encoded(channels, RATE, subtype="DOUBLE"))

    np.testing.assert_allclose(waveform.samples, channels.mean(axis=1), atol=1e-7)


def test_float_samples_beyond_full_scale_are_kept() -> None:
    waveform = audio.read(encoded(np.array([0.0, 1.5, -4.0, 3e6]), RATE, subtype="FLOAT"))

    assert waveform.samples.tolist() == [0.0, 1.5, -4.0, 3e6]


@pytest.mark.parametrize("name", ["speech.wav", "speech.raw", "speech.gsm", "speech.mp3", "speech"])
def test_content_decides_the_format_and_not_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(two_tones(RATE), RATE, "AIFF"))

    np.testing.assert_allclose(audio.read(path).samples, two_tones(RATE), atol=2**-15)


def test_shadow_files_of_other_systems_do_no_harm(tmp_path: Path) -> None:
    """Opened by its path, an MP3 beside a macOS ``._`` file is taken for Sound Designer II by libsndfile."""
    path = tmp_path / "speech.mp3"
    path.write_bytes(encoded(two_tones(RATE), RATE, "MP3"))
    (tmp_path / "._speech.mp3").write_bytes(bytes(400))

    assert audio.read(path).duration == 2


def test_path_text_bytes_file_and_stream_give_the_same(tmp_path: Path) -> None:
    content = encoded(two_tones(44100), 44100, "FLAC")
    path = tmp_path / "naïve 音.flac"
    path.write_bytes(content)
    used = io.BytesIO(content)
    used.read(1000)

    expected = audio.read(path).samples
    for source in (str(path), content, used, Pipe(content), cast(BinaryIO, path.open("rb"))):
        np.testing.assert_array_equal(audio.read(cast(audio.Source, source)).samples, expected)
        if isinstance(source, io.BufferedReader):
            assert not source.closed
            source.close()


def test_a_real_pipe_is_read() -> None:
    content = encoded(noise(60000), RATE, "FLAC")
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(reader, "rb") as file:
        waveform = audio.read(file)
    thread.join()
    np.testing.assert_array_equal(waveform.samples, audio.read(content).samples)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files_decode_as_soundfile_decodes_them_whole(container: str, subtype: str) -> None:
    content = encoded(noise(RATE * 20), RATE, container, subtype)
    whole, _ = soundfile.read(io.BytesIO(content), dtype="float32")

    # libmpg123 rounds the last bit by where it has been seeking.
    np.testing.assert_allclose(audio.read(content).samples, whole, atol=2e-7, rtol=0)


def test_flac_of_unknown_length_is_read_to_its_end() -> None:
    content = bytearray(encoded(two_tones(RATE), RATE, "FLAC"))
    content[21] &= 0xF0  # STREAMINFO's 36-bit number of samples: 0 says unknown, as streaming encoders write
    content[22:26] = bytes(4)

    assert audio.duration(bytes(content)) is None
    np.testing.assert_allclose(audio.read(bytes(content)).samples, two_tones(RATE), atol=2**-15)


# Blocks and stretches.
@pytest.mark.parametrize("duration", [0.0123, 0.5, 1.0, 7.77, 30.0, 1e6])
@pytest.mark.parametrize(
    ("container", "subtype", "rate"),
    [("WAV", "PCM_16", 44100), ("FLAC", "PCM_16", 16000), ("OGG", "OPUS", 48000)],
)
def test_blocks_put_together_are_the_whole(container: str, subtype: str, rate: int, duration: float) -> None:
    content = encoded(noise(rate * 8 + 17, 2), rate, container, subtype)
    blocks = list(audio.blocks(content, duration))
    size = round(duration * RATE)

    whole = audio.read(content).samples
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), whole)
    assert {len(block.samples) for block in blocks[:-1]} <= {size}
    assert 0 < len(blocks[-1].samples) <= size
    assert [block.start for block in blocks] == [i * size / RATE for i in range(len(blocks))]


def test_result_does_not_depend_on_how_much_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(noise(100_000, 2), 44100, "OGG", "VORBIS")
    expected = audio.read(content).samples
    monkeypatch.setattr(decode, "CHUNK", 1001)

    np.testing.assert_array_equal(audio.read(content).samples, expected)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.3, 0.7), (2.125, 5.5), (3.999, None), (6.5, 99.0)])
@pytest.mark.parametrize(
    ("container", "subtype", "rate", "tolerance"),
    [
        ("WAV", "PCM_16", 44100, 1e-6),
        ("WAV", "ULAW", 11025, 1e-6),
        ("WAV", "PCM_16", 24414, 0),
        ("WAV", "PCM_16", 16000, 0),
        ("FLAC", "PCM_16", 48000, 0),
        ("MP3", "MPEG_LAYER_III", 44100, 0),
    ],
)
def test_stretch_is_that_part_of_the_whole(
    container: str, subtype: str, rate: int, tolerance: float, start: float, end: float | None
) -> None:
    content = encoded(noise(rate * 8), rate, container, subtype)
    whole = audio.read(content).samples
    stretch = audio.read(content, start=start, end=end)

    expected = whole[round(start * RATE) : None if end is None else round(end * RATE)]
    assert stretch.start == start
    np.testing.assert_allclose(stretch.samples, expected, atol=tolerance, rtol=0)


def test_stretch_of_an_uncompressed_file_reads_little_more_than_itself() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    content = encoded(noise(RATE * 600), RATE)
    file = Counting(content)
    audio.read(file, start=500, end=501)

    assert file.count < 0.1 * len(content)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_duration_is_told_by_the_header(container: str, tmp_path: Path) -> None:
    path = tmp_path / "speech"
    soundfile.write(path, two_tones(16000, 1.5), 16000, format=container)

    assert audio.duration(path) == pytest.approx(1.5)


def test_duration_of_a_stream_is_unknown_and_leaves_it_unread() -> None:
    stream = Pipe(encoded(two_tones(RATE), RATE))

    assert audio.duration(cast(BinaryIO, stream)) is None
    assert audio.read(cast(BinaryIO, stream)).duration == 2


# Arrays.
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("dtype", "subtype"), [("int16", "PCM_16"), ("int32", "PCM_32"), ("float64", "DOUBLE")])
def test_array_gives_what_the_file_gives(dtype: str, subtype: str, rate: int) -> None:
    content = encoded(noise(rate * 2, 2), rate, subtype=subtype)
    samples, _ = soundfile.read(io.BytesIO(content), dtype=dtype)

    np.testing.assert_array_equal(audio.from_array(samples, rate).samples, audio.read(content).samples)


def test_array_is_not_changed() -> None:
    samples = np.array([0.25, -0.5], dtype=np.float32)
    waveform = audio.from_array(samples, RATE)
    waveform.samples[:] = 0

    assert samples.tolist() == [0.25, -0.5]


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((2, 48000)), 48000, r"shape \(2, 48000\), more channels than samples.*transpose"),
        (np.zeros((2, 2, 2)), 48000, r"shape \(2, 2, 2\): expected \(n_samples,\)"),
        (np.float64(0.5), 48000, r"shape \(\): expected"),
        (np.zeros(0), 48000, r"shape \(0,\), no samples"),
        (np.zeros((0, 2)), 48000, r"shape \(0, 2\), no samples"),
        (np.zeros(100, dtype=np.int64), 48000, "samples of type int64: expected float, int16"),
        (np.zeros(100, dtype=complex), 48000, "samples of type complex128: expected float"),
        (np.array(["a", "b"]), 48000, "samples of type <U1: expected float"),
        (np.zeros(100), 0, "rate of 0 Hz: expected a whole number from 1000 to 768000"),
        (np.zeros(100), float("nan"), "rate of nan Hz"),
        (np.zeros(100), 44100.5, "rate of 44100.5 Hz: expected a whole number"),
        (np.array([0, 0, np.nan]), 1000, r"the array has a sample of nan at 0.002 s"),
        (np.array([[0, 0], [0, np.inf]]), 1000, r"a sample of inf at 0.001 s"),
        (np.array([1e300, 0]), 16000, r"a sample of inf at 0.000 s"),
        (np.zeros(1), 48000, "the array contains no samples"),
    ],
)
def test_array_that_cannot_be_speech_is_refused(samples: NDArray[Any], rate: float, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        audio.from_array(samples, rate)


# Bad input.
def header_with_rate(rate: int) -> bytes:
    content = bytearray(encoded(two_tones(RATE), RATE))
    content[24:28] = struct.pack("<I", rate)
    return bytes(content)


def damaged_flac() -> bytes:
    content = encoded(noise(RATE * 10), RATE, "FLAC")
    return content[: int(len(content) * 0.7)]


BAD = [
    (b"", r"is empty \(0 bytes\)"),
    (b"This is not a recording at all.\n" * 50, r"not a recording in a known format .* convert it"),
    (b"RIFF", "is damaged or incomplete"),
    (encoded(np.zeros(0), RATE), "contains no samples"),
    (encoded(two_tones(RATE), RATE)[:44], "contains no samples"),
    (encoded(two_tones(RATE), RATE)[:30], "is damaged or incomplete"),
    (damaged_flac(), "is damaged or incomplete: flac decoder lost sync"),
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

    with pytest.raises(AudioError, match="<stream>"):
        audio.read(Generous(encoded(noise(RATE), RATE)[:1000]))


def test_sources_of_a_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(encoded(two_tones(RATE), RATE))
    with path.open(encoding="latin-1") as text, pytest.raises(AudioError, match="opened in binary mode"):
        audio.read(cast(BinaryIO, text))
    with pytest.raises(AudioError, match=r"is a ndarray: expected a path.* arrays go to from_array"):
        audio.read(cast(BinaryIO, np.zeros(3)))
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


# Containers that only ffmpeg's libraries read.
def contained(
    container: str, codec: str, rate: int = 48000, channels: int = 1, options: dict[str, str] | None = None
) -> bytes:
    """Return the two tones in a container, written with av."""
    av = pytest.importorskip("av")
    layout = "mono" if channels == 1 else "stereo"
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        wanted = stream.codec_context
        wanted.open()
        frame = av.AudioFrame.from_ndarray(
            np.repeat(two_tones(rate)[None].astype(np.float32), channels, axis=0), "fltp", layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        # The encoders here take one sample format each and, some of them, frames of a fixed size.
        fit = av.AudioResampler(wanted.codec.audio_formats[0].name, layout, rate, frame_size=wanted.frame_size or 0)
        for piece in [*fit.resample(frame), *fit.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()


# The last column: samples at 48 kHz by which the sound is late, where the container cannot say that the
# encoder's first are not meant to be heard.
CONTAINED = [
    ("ipod", "aac", {}, 0),  # m4a
    ("ipod", "alac", {}, 0),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}, 1024),
    ("mov", "pcm_s16le", {}, 0),
    ("webm", "libopus", {}, 0),
    ("webm", "libopus", {"live": "1"}, 0),  # as a browser records: no duration in the header
    ("matroska", "pcm_s24le", {}, 0),
    ("adts", "aac", {}, 1024),
    ("avi", "pcm_u8", {}, 0),
    ("asf", "wmav2", {}, -2048),  # wma: ffmpeg's decoder makes nothing of the first frame
    ("wv", "wavpack", {}, 0),
]


@pytest.mark.parametrize(("container", "codec", "options", "late"), CONTAINED)
def test_containers_give_the_signal_that_was_written(
    tmp_path: Path, container: str, codec: str, options: dict[str, str], late: int
) -> None:
    content = contained(container, codec, channels=2, options=options)
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    waveform = audio.read(path)

    np.testing.assert_array_equal(audio.read(io.BytesIO(content)).samples, waveform.samples)
    np.testing.assert_array_equal(audio.read(cast(BinaryIO, Pipe(content))).samples, waveform.samples)
    joined = np.concatenate([block.samples for block in audio.blocks(content, 0.3)])
    np.testing.assert_array_equal(joined, waveform.samples)
    inside = slice(RATE // 2, 3 * RATE // 2)
    error = waveform.samples[inside] - two_tones(RATE, delay=late / 48000)[inside]
    assert np.sqrt(np.mean(error**2)) < 0.02


def test_duration_of_a_container() -> None:
    assert audio.duration(contained("ipod", "aac")) == pytest.approx(2, abs=0.05)
    assert audio.duration(contained("webm", "libopus", options={"live": "1"})) is None


def test_without_av_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "call.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A ")
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(
        MissingExtraError,
        match=r"reading .*call\.m4a \(m4a or mp4\) needs the \[formats\] extra.*pip install",
    ):
        audio.read(path)


def test_damaged_containers_are_refused() -> None:
    whole = contained("ipod", "aac")
    for content in (
        whole[:12],
        whole[: len(whole) // 2],
        b"\x1a\x45\xdf\xa3" + bytes(1000),
        b"\xff\xf1" + bytes(99),
    ):
        with pytest.raises(AudioError, match=r"<bytes> (is damaged or incomplete|has a sampling rate of 0 Hz)"):
            audio.read(content)


def test_cut_webm_gives_what_is_there() -> None:
    whole = contained("webm", "libopus")

    assert 0.5 < audio.read(whole[: len(whole) // 2]).duration < 1.5


def test_video_without_sound_is_refused() -> None:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        for frame in (av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8)), None):
            output.mux(stream.encode(frame))

    with pytest.raises(AudioError, match=r"\(m4a or mp4\) has no sound track: expected a recording"):
        audio.read(file)


@pytest.mark.parametrize(
    "content", [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", b"ffconcat version 1.0\nfile a.wav\n"]
)
def test_playlists_are_not_followed(content: bytes) -> None:
    with pytest.raises(AudioError, match="not a recording in a known format"):
        audio.read(content)


# Memory.
MEASURE = """
import sys
from emovox import audio
samples = sum(len(block.samples) for block in audio.blocks(sys.argv[1]))
# VmHWM, not getrusage: a child inherits its parent's ru_maxrss over fork and exec.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(samples, peak / 1024)
"""


def peak_memory(path: Path, seconds: int) -> float:
    """Return the peak memory in MB of a process that reads that long a 48 kHz stereo file block by block."""
    size = seconds * 48000 * 4
    form = struct.pack("<IHHIIHH", 16, 1, 2, 48000, 48000 * 4, 4, 16)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
        file.write((noise(48000, 2) * 2**15).astype("<i2").tobytes())
        file.truncate(44 + size)  # the rest is a hole in the file, read as zeros
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    samples, peak = result.stdout.split()
    assert int(samples) == seconds * RATE
    return float(peak)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    minute, ten_minutes = (peak_memory(tmp_path / "long.wav", seconds) for seconds in (60, 600))

    assert ten_minutes < 100  # all of it at 16 kHz would be 38 MB, at 48 kHz stereo 230 MB
    assert ten_minutes - minute < 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hours_stay_within_100_mb(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "long.wav", 7200) < 100


def test_resampling_is_soxr_hq() -> None:
    samples = noise(44100)[:, 0].astype(np.float32)

    np.testing.assert_array_equal(
        audio.from_array(samples, 44100).samples, soxr.resample(samples, 44100, RATE, quality="HQ")
    )
