"""Stretches of one recording in one pass: the same as each read by itself, at the cost of one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovox import audio
from emovox.audio import reading as module
from emovox.errors import AudioError, EmovoxError
from emovox.types import Waveform
from tests.conftest import speech

SPANS = [
    (3.0, 9.5),
    (0.0, 1.0),
    (9.0, 11.0),
    (12.0, 12.4),
    (2.5, math.inf),
    (25.0, math.inf),
    (0.2, 24.0),
    (24.9, 99.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    samples = np.round(speech(26.0) * 30000).astype(np.int16)
    for ending in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(folder / f"long.{ending}", samples, 16000)
    soundfile.write(folder / "other-rate.flac", samples, 22050)
    return folder


@pytest.mark.parametrize("name", ["long.wav", "long.flac", "long.ogg", "long.mp3", "other-rate.flac"])
def test_stretches_are_those_that_are_read_one_by_one(folder: Path, name: str) -> None:
    spans = SPANS if "other" not in name else [(start * 0.7, end * 0.7) for start, end in SPANS]
    found = dict(module.stretches(folder / name, spans))
    assert sorted(found) == list(range(len(spans)))
    for number, (start, end) in enumerate(spans):
        expected = audio.read(folder / name, start=start, end=None if math.isinf(end) else end)
        one = found[number]
        assert isinstance(one, Waveform)
        np.testing.assert_array_equal(one.samples, expected.samples)
        assert one.start == expected.start


def test_a_compressed_recording_is_decoded_once_and_no_further_than_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def counted(*arguments: object) -> object:
        for block in audio.blocks(*arguments):  # type: ignore[arg-type]
            given.append(block.duration)
            yield block

    monkeypatch.setattr(module, "blocks", counted)
    monkeypatch.setattr(module, "read", None)
    spans = [(start / 10, start / 10 + 0.5) for start in range(120)]
    assert len(list(module.stretches(folder / "long.mp3", spans))) == 120
    assert sum(given) == 20.0, "two blocks of ten seconds hold all of them"


def test_each_stretch_has_an_error_of_its_own(folder: Path, tmp_path: Path) -> None:
    def reason(path: Path, span: tuple[float, float]) -> str:
        with pytest.raises(AudioError) as caught:
            audio.read(path, start=span[0], end=None if math.isinf(span[1]) else span[1])
        return str(caught.value)

    flac = folder / "long.flac"
    bad = [(27.0, 28.0), (40.0, math.inf), (3.0, 2.0), (1.0, 1.0), (-1.0, 2.0)]
    found = dict(module.stretches(flac, [*bad, (0.0, 1.0)]))
    assert [str(found[number]) for number in range(len(bad))] == [reason(flac, span) for span in bad]
    assert isinstance(found[len(bad)], Waveform)

    missing = dict(module.stretches(tmp_path / "gone.flac", [(0.0, 1.0), (2.0, 3.0)]))
    assert {str(one) for one in missing.values()} == {reason(tmp_path / "gone.flac", (0.0, 1.0))}

    samples, rate = soundfile.read(flac, dtype="float32")
    samples[20 * rate] = np.nan
    damaged = tmp_path / "damaged.wav"
    soundfile.write(damaged, np.stack([samples, samples], axis=1), 22051, subtype="FLOAT")  # a rate without seeking
    parts = dict(module.stretches(damaged, [(0.0, 1.0), (13.0, 16.0), (2.0, 3.0)]))
    assert isinstance(parts[0], Waveform)
    assert isinstance(parts[2], Waveform)
    assert isinstance(parts[1], EmovoxError)
