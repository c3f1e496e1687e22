"""Whatever the bytes are, reading them gives a valid waveform or an AudioError, soon."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.errors import AudioError
from tests import examples
from tests.audio import contained


@cache
def sound_file(container: str, subtype: str, channels: int) -> bytes:
    """Return 0.3 s of noise in a format."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (4800, channels))
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format=container, subtype=subtype)
    return file.getvalue()


FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("W64", "ULAW"),
    ("AIFF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("AU", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
MARKS = [
    b"RIFF",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"ID3\x04",
    b"\xff\xfb\x94",
    b"caff",
    b".snd",
    b"RF64",
    b"riff",
    b"NIST_1A",
]
EXTREMES = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
]

media_file = cache(contained)

Damage = Callable[[bytes], bytes]


def overwrite(at: int, data: bytes) -> Damage:
    return lambda content: content[:at] + data + content[at + len(data) :]


def insert(at: int, data: bytes) -> Damage:
    return lambda content: content[:at] + data + content[at:]


def cut(at: int, count: int) -> Damage:
    return lambda content: content[:at] + content[at + count :]


def truncate(at: int) -> Damage:
    return lambda content: content[:at]


# Headers are where decoders decide how much memory to take, so most damage is done there.
places = st.integers(0, 63) | st.integers(0, 300) | st.integers(0, 6000)
damages = st.one_of(
    st.builds(overwrite, places, st.binary(min_size=1, max_size=4) | st.sampled_from(EXTREMES)),
    st.builds(insert, places, st.binary(min_size=1, max_size=20)),
    st.builds(cut, places, st.integers(1, 20)),
    st.builds(truncate, places),
)


def check(content: bytes) -> None:
    """Read, whole and in blocks, and look at what comes."""
    begun = time.monotonic()
    try:
        samples = audio.read(content).samples
    except AudioError:
        with pytest.raises(AudioError, match=r"^.*<bytes>.*$"):
            list(audio.blocks(content, 0.1))
    else:
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert len(samples) > 0
        assert np.isfinite(samples).all()
        np.testing.assert_array_equal(np.concatenate([block.samples for block in audio.blocks(content, 0.1)]), samples)
    assert time.monotonic() - begun < 5


quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@settings(quick, max_examples=examples(60))
@given(harm=st.lists(damages, min_size=1, max_size=5))
def test_damaged_files(container: str, subtype: str, channels: int, harm: list[Damage]) -> None:
    content = sound_file(container, subtype, channels)
    for damage in harm:
        content = damage(content)
    check(content)


@pytest.mark.parametrize(
    ("container", "codec"), [("ipod", "aac"), ("webm", "libopus"), ("adts", "aac"), ("avi", "pcm_u8")]
)
@settings(quick, max_examples=examples(60))
@given(harm=st.lists(damages, min_size=1, max_size=5))
def test_damaged_containers(container: str, codec: str, harm: list[Damage]) -> None:
    content = media_file(container, codec)
    for damage in harm:
        content = damage(content)
    check(content)


@settings(quick, max_examples=examples(300))
@given(mark=st.sampled_from([b"", *MARKS]), noise=st.binary(max_size=3000))
def test_random_bytes(mark: bytes, noise: bytes) -> None:
    check(mark + noise)
