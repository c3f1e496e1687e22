"""Containers x codecs x defects: every file is read whole, within 50 ms of ffmpeg, or told with the time span."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import AudioError

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="makes its files with ffmpeg"),
]

RATE = 16000
SECONDS = 3.0

#: Ending and how ffmpeg makes it.
MADE = {
    "wav": "-c:a pcm_s16le",
    "wav24": "-c:a pcm_s24le -f wav",
    "wavf": "-c:a pcm_f32le -f wav",
    "ulaw": "-c:a pcm_mulaw -ar 8000 -f wav",
    "adpcm": "-c:a adpcm_ms -f wav",
    "g722": "-c:a g722 -f wav",
    "g726": "-c:a g726 -ar 8000 -f wav",
    "w64": "-f w64",
    "rf64": "-rf64 always -f wav",
    "aiff": "",
    "au": "",
    "caf": "-c:a pcm_s16be",
    "flac": "",
    "flac24": "-c:a flac -sample_fmt s32 -f flac",
    "mp3": "-c:a libmp3lame -b:a 64k",
    "vbr": "-c:a libmp3lame -q:a 5 -write_xing 0 -f mp3",
    "cbr": "-c:a libmp3lame -b:a 32k -write_xing 0 -f mp3",
    "mp3low": "-c:a libmp3lame -ar 8000 -b:a 8k -f mp3",
    "mp2": "-c:a mp2 -b:a 64k",
    "ogg": "-c:a libvorbis",
    "opus": "-c:a libopus",
    "oggflac": "-c:a flac -f ogg",
    "spx": "-c:a libspeex",
    "m4a": "-c:a aac",
    "frag": "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -f mp4",
    "mov": "-c:a pcm_s16le",
    "webm": "-c:a libopus",
    "mkv": "-c:a flac",
    "mka": "-c:a aac",
    "aac": "-c:a aac",
    "wma": "-c:a wmav2",
    "avi": "-c:a pcm_s16le",
    "flv": "-c:a libmp3lame -ar 44100",
    "mts": "-c:a aac -f mpegts",
    "wv": "",
    "tta": "",
    "ac3": "",
}

ID3 = b"ID3\x03\0\0\0\0\0\x64" + bytes(100)
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(16)

Defect = Callable[[bytes], bytes]


def replaced(content: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Put other bytes a number of bytes behind a mark."""
    at = content.index(mark) + offset
    return content[:at] + new + content[at + len(new) :]


def two_chunks(content: bytes) -> bytes:
    """Return a WAV file with its samples in two chunks."""
    at = content.index(b"data")
    size = int.from_bytes(content[at + 4 : at + 8], "little")
    samples, half = content[at + 8 : at + 8 + size], size // 768 * 384
    parts = (b"data" + len(one).to_bytes(4, "little") + one for one in (samples[:half], samples[half:]))
    return content[:at] + b"".join(parts) + content[at + 8 + size :]


def flac_total(content: bytes, frames: int) -> bytes:
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | frames
    return content[:18] + packed.to_bytes(8, "big") + content[26:]


WAVS = ("wav", "wav24", "wavf", "ulaw", "adpcm", "g722")
MP3S = ("mp3", "vbr", "cbr", "mp3low", "mp2")
OGGS = ("ogg", "opus", "oggflac", "spx")
TAGGED = ("wav", "flac", *MP3S, "aac", "ogg", "opus")

#: Defect, what it is done to, and how many times as long the sound is then.
WHOLE: list[tuple[str, Defect, tuple[str, ...], float]] = [
    ("as it is", lambda x: x, tuple(MADE), 1),
    ("ID3 before", lambda x: ID3 + x, TAGGED, 1),
    ("ID3v1 behind", lambda x: x + b"TAG" + bytes(125), TAGGED, 1),
    ("zeros behind", lambda x: x + bytes(1000), ("wav", "wav24", "flac", "mp3", "cbr", "ogg", "opus"), 1),
    ("garbage before", lambda x: b"\x01\x02junk" * 50 + x, ("wav", "flac", *MP3S, "ogg", "opus"), 1),
    ("joined", lambda x: x + x, ("wav", "flac", "flac24", *MP3S, "aac", *OGGS), 2),
    ("joined, tags between", lambda x: x + APE + ID3 + x, ("mp3", "vbr", "cbr", "mp2"), 2),
    ("samples in two chunks", two_chunks, WAVS, 1),
    ("samples in two chunks behind garbage", lambda x: b"garbage" + two_chunks(x), WAVS, 1),
    ("a text without its padding", lambda x: x.replace(b"data", b"LIST\x07\0\0\0INFOabcdata", 1), WAVS, 1),
    ("size 0", lambda x: replaced(x, b"data", 4, bytes(4)), WAVS, 1),
    ("size too small", lambda x: replaced(x, b"data", 4, (8000).to_bytes(4, "little")), WAVS, 1),
    ("size unknown", lambda x: replaced(x, b"data", 4, b"\xff\xff\xff\xff"), WAVS, 1),
    ("size 0", lambda x: x[:8] + bytes(4) + x[12:], ("au",), 1),
    ("size too small", lambda x: x[:8] + b"\0\0\x10\0" + x[12:], ("au",), 1),
    ("size too small", lambda x: replaced(x, b"SSND", 4, b"\0\0\x10\0"), ("aiff",), 1),
    ("size too small", lambda x: replaced(x, b"data", 4, (4096).to_bytes(8, "big")), ("caf",), 1),
    ("length too small", lambda x: flac_total(x, 8000), ("flac", "flac24"), 1),
    ("length unknown", lambda x: flac_total(x, 0), ("flac", "flac24"), 1),
    ("free first", lambda x: b"\0\0\0\x08free" + x, ("frag",), 1),
    ("wide first", lambda x: b"\0\0\0\x08wide" + x, ("frag",), 1),
]

#: Files that are cut or have a hole: something is told of them.
TOLD: list[tuple[str, Defect, tuple[str, ...]]] = [
    (
        "cut",
        lambda x: x[: len(x) * 2 // 3],
        ("wav", "wav24", "ulaw", "aiff", "au", "w64", "flac", "mp3", "opus", "ogg"),
    ),
    (
        "hole",
        lambda x: x[: len(x) // 2] + bytes(3000) + x[len(x) // 2 + 3000 :],
        ("flac", "flac24", "mp3", "ogg", "opus"),
    ),
]


def voice() -> NDArray[np.int16]:
    """Return noise in syllables."""
    rng = np.random.default_rng(0)
    loud = np.repeat(0.2 + 0.8 * rng.random(round(8 * SECONDS)), RATE // 8)
    return np.asarray(3000 * loud * rng.standard_normal(len(loud)), dtype="<i2")


@cache
def made(kind: str) -> bytes:
    """Return the bytes of a file made by ffmpeg."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{kind}"
        command = f"ffmpeg -v error -f s16le -ar {RATE} -ac 1 -i - {MADE[kind]}".split()
        done = subprocess.run([*command, str(path)], input=voice().tobytes(), capture_output=True)
        if done.returncode:
            pytest.skip(f"this ffmpeg cannot make {kind}: {done.stderr.decode()[-200:]}")
        return path.read_bytes()


@cache
def by_ffmpeg(kind: str) -> float:
    """Return how many seconds ffmpeg's program decodes of a file as it was made."""
    with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
        file.write(made(kind))
        file.flush()
        command = ["ffmpeg", "-v", "quiet", "-i", file.name, "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
        return len(subprocess.run(command, capture_output=True).stdout) / 2 / RATE


def whole() -> Iterator[tuple[str, str, Defect, float]]:
    for name, defect, kinds, times in WHOLE:
        yield from ((name, kind, defect, times) for kind in kinds)


def told() -> Iterator[tuple[str, str, Defect]]:
    for name, defect, kinds in TOLD:
        yield from ((name, kind, defect) for kind in kinds)


def with_ffmpeg(tmp_path: Path, name: str, arguments: str) -> Path:
    """Make a file of the voice, twice if it is asked for."""
    (tmp_path / "voice.wav").write_bytes(made("wav"))
    out = tmp_path / name
    command = ["ffmpeg", "-v", "error", *["-i", str(tmp_path / "voice.wav")] * 2, *arguments.split(), str(out)]
    subprocess.run(command, check=True)
    return out


@pytest.mark.parametrize(
    ("name", "codec"), [("x.ogg", "-c:a libvorbis"), ("x.mkv", "-c:a flac"), ("x.mp4", "-c:a aac")]
)
def test_a_second_sound_track_is_told(tmp_path: Path, name: str, codec: str) -> None:
    blocks = audio.blocks(with_ffmpeg(tmp_path, name, f"-map 0:a -map 1:a {codec}"), 1.0)

    assert sum(len(block.samples) for block in blocks) == pytest.approx(SECONDS * RATE, abs=0.1 * RATE)
    assert blocks.notes == ["the first of its 2 sound tracks is read: ffmpeg -map 0:a:1 takes the second one out"]


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
def test_the_length_of_adpcm_does_not_hang_on_its_bytes_a_second(tmp_path: Path, codec: str) -> None:
    path = with_ffmpeg(tmp_path, "x.wav", f"-map 0:a -c:a {codec}")

    assert audio.duration(path) == pytest.approx(audio.read(path).duration, abs=0.01)


@pytest.mark.parametrize("name", ["x.dts", "x.voc", "x.nut", "x.sox", "x.eac3", "x.ts"])
def test_rarer_containers(tmp_path: Path, name: str) -> None:
    path = with_ffmpeg(tmp_path, name, "-map 0:a -strict -2 -ar 48000" if name == "x.dts" else "-map 0:a")

    assert audio.read(path).duration == pytest.approx(SECONDS, abs=0.1)


def test_the_table_is_large() -> None:
    assert len(list(whole())) + len(list(told())) >= 120


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "kind", "defect", "times"), [pytest.param(*one, id=f"{one[1]}-{one[0]}") for one in whole()]
)
def test_read_whole(name: str, kind: str, defect: Defect, times: float) -> None:
    pytest.importorskip("av")
    found = audio.read(io.BytesIO(defect(made(kind))))

    # ffmpeg's figure for the file as it was made, because of damaged ones it reads less itself.
    assert found.duration == pytest.approx(times * by_ffmpeg(kind), abs=0.05 * times)
    assert found.unread == ()


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind", "defect"), [pytest.param(*one, id=f"{one[1]}-{one[0]}") for one in told()])
@pytest.mark.parametrize("av", [True, False])
def test_what_cannot_be_read_is_told(
    name: str, kind: str, defect: Defect, av: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not av:
        monkeypatch.setitem(sys.modules, "av", None)
    try:
        found = audio.read(io.BytesIO(defect(made(kind))))
    except AudioError as error:
        pytest.fail(str(error))

    length = by_ffmpeg(kind)
    assert found.unread
    assert all(0 <= one.start <= one.end <= length + 0.2 for one in found.unread)
    missing = sum(one.end - one.start for one in found.unread if one.end > found.duration - 0.05)
    if name == "cut" and kind not in ("ogg", "opus"):  # an Ogg page tells no more than its own end
        assert found.duration + missing == pytest.approx(length, abs=0.1)
    else:
        assert found.duration <= length + 0.05
