"""Reading recordings: formats against the signal that was written, blocks, stretches, and bad input."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import AudioError
from emovox.types import RATE
from tests import size
from tests.audio import Pipe, encoded, noise, two_tones

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
    monkeypatch.setattr("emovox.audio.reading.CHUNK", 1001)

    np.testing.assert_array_equal(audio.read(content).samples, expected)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.3, 0.7), (2.125, 5.5), (3.999, None), (6.5, 99.0)])
@pytest.mark.parametrize(
    ("container", "subtype", "rate", "tolerance"),
    [
        ("WAV", "PCM_16", 44100, 1e-6),
        ("WAV", "ULAW", 11025, 1e-6),
        ("WAV", "PCM_16", 24414, 0),
        ("WAV", "PCM_16", 16000, 0),
        ("FLAC", "PCM_16", 48000, 1e-6),
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
    minute, five_minutes = (peak_memory(tmp_path / "long.wav", seconds) for seconds in (60, 300))

    assert five_minutes < 100
    assert five_minutes - minute < 10  # four minutes more at 16 kHz would be 15 MB, at 48 kHz stereo 92 MB


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_hours_stay_within_100_mb(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "long.wav", size(1800, 7200)) < 100


def test_resampling_is_soxr_hq() -> None:
    samples = noise(44100)[:, 0].astype(np.float32)

    np.testing.assert_array_equal(
        audio.from_array(samples, 44100).samples, soxr.resample(samples, 44100, RATE, quality="HQ")
    )
