"""Containers that libsndfile does not read, by PyAV: m4a, webm, mp4, wma."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest

from emovox import audio
from emovox.errors import AudioError, MissingExtraError
from emovox.types import RATE
from tests.audio import Pipe, contained, two_tones

# Containers that only ffmpeg's libraries read.


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
    ("asf", "wmav2", {}, 64),  # wma: timestamps in milliseconds
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


@pytest.mark.parametrize("layout", ["7.1", "hexadecagonal"])
def test_films_with_many_channels(layout: str) -> None:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48000, layout=layout)
        channels = stream.codec_context.layout.nb_channels
        interleaved = np.repeat(two_tones(48000), channels)[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)
        frame.sample_rate, frame.pts = 48000, 0
        fit = av.AudioResampler("fltp", layout, 48000, frame_size=1024)
        for piece in [*fit.resample(frame), *fit.resample(None), None]:
            output.mux(stream.encode(piece))
    samples = audio.read(file).samples
    inside = slice(RATE // 2, 3 * RATE // 2)
    assert np.sqrt(np.mean((samples[inside] - two_tones(RATE)[inside]) ** 2)) < 0.1  # one channel is for bass alone


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
        with pytest.raises(AudioError, match=r"<bytes> (is damaged|contains no samples|has a sampling rate of 0)"):
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
