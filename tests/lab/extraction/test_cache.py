"""The feature cache: the key holds all that matters, and any number of processes may share a folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovox import audio
from emovox.audio import reading
from emovox.errors import AudioError, InputError
from emovox.features import sets
from emovox.lab.extraction import cache as cache_module
from emovox.lab.extraction.cache import FeatureCache, code_version
from emovox.lab.extraction.extraction import extract_many
from tests.conftest import sine, speech

SPEC = sets.spec("classic193")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(200, 1.0), 16000)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def entries(cache: FeatureCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_features_are_those_of_the_library(clip: Path, cache: FeatureCache) -> None:
    expected = sets.extract(audio.read(clip), SPEC)
    for _ in range(2):
        np.testing.assert_array_equal(cache.features(clip, SPEC), expected)
    assert len(entries(cache)) == 1


def test_a_second_look_computes_nothing(clip: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.features(clip, SPEC)

    def never(*_: object) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr(cache_module, "extract", never)
    np.testing.assert_array_equal(cache.features(clip, SPEC), first)


def test_the_name_does_not_matter_but_the_content_does(clip: Path, cache: FeatureCache) -> None:
    copy = clip.with_name("copy.wav")
    copy.write_bytes(clip.read_bytes())
    assert cache.key(clip, SPEC, 0, np.inf) == cache.key(copy, SPEC, 0, np.inf)
    soundfile.write(copy, sine(201, 1.0), 16000)
    assert cache.key(clip, SPEC, 0, np.inf) != cache.key(copy, SPEC, 0, np.inf)


def test_everything_else_is_in_the_key(clip: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        cache.key(clip, SPEC, 0, np.inf),
        cache.key(clip, SPEC, 0, 0.5),
        cache.key(clip, SPEC, 0.1, np.inf),
        cache.key(clip, sets.spec("prosodic"), 0, np.inf),
        cache.key(clip, sets.spec("classic193", {"hop_length": 256}), 0, np.inf),
        cache.key(clip, sets.spec("classic193", preprocess={"denoise": True}), 0, np.inf),
    }
    monkeypatch.setattr(cache_module, "code_version", lambda: "another")
    keys.add(cache.key(clip, SPEC, 0, np.inf))
    assert len(keys) == 7


def test_the_code_version_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_version()
    code_version.cache_clear()
    read, added = Path.read_bytes, b"# nothing\n"
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + added * (self.name == "spectral.py"))
    try:
        assert code_version() == before  # a comment is no change
        added = b"X = 1\n"
        code_version.cache_clear()
        assert code_version() != before
    finally:
        code_version.cache_clear()


def test_a_damaged_entry_is_computed_again(clip: Path, cache: FeatureCache) -> None:
    expected = cache.features(clip, SPEC)
    (entry,) = entries(cache)
    for damage in (b"", b"nonsense", entry.read_bytes()[:-100]):
        entry.write_bytes(damage)
        np.testing.assert_array_equal(cache.features(clip, SPEC), expected)


def test_a_pickle_in_the_cache_is_never_executed(clip: Path, cache: FeatureCache) -> None:
    expected = cache.features(clip, SPEC)
    (entry,) = entries(cache)
    np.save(entry, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(cache.features(clip, SPEC), expected)


def test_stretches_of_a_long_file_are_decoded_and_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.ogg"
    soundfile.write(path, speech(40.0), 16000)
    spans = [(path, start, start + 1.5) for start in np.arange(0.0, 36.0, 0.5)]
    apart = FeatureCache(tmp_path / "apart")
    expected = [apart.features(*span[:1], SPEC, *span[1:]) for span in spans[::9]]
    calls = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(function)
            return function(*arguments)

        return call

    monkeypatch.setattr(reading, "blocks", counted(audio.blocks))
    monkeypatch.setattr(hashlib, "file_digest", counted(hashlib.file_digest))
    path.touch()  # changed, as far as anyone can tell: its digest is not known yet
    found = extract_many([*reversed(spans), (path, 50.0, 51.0)], SPEC, FeatureCache(tmp_path / "cache"), jobs=1)
    assert len(calls) == 2, "one pass, one digest"
    np.testing.assert_array_equal(found[:-1][::-1][::9], expected)
    assert found[-1] == f"{path} ends at 40 s: a stretch from 50 s lies outside"


def test_two_processes_share_a_folder(clip: Path, cache: FeatureCache) -> None:
    for i in range(12):
        soundfile.write(clip.with_name(f"{i}.wav"), sine(100 + i, 0.5), 16000)
    code = (
        "import sys; from pathlib import Path; from emovox.features import sets; "
        "from emovox.lab.extraction.cache import FeatureCache\n"
        "cache, spec = FeatureCache(Path(sys.argv[1])), sets.spec('classic193')\n"
        "for _ in range(3):\n"
        "    for i in range(12): cache.features(Path(sys.argv[2]) / f'{i}.wav', spec)\n"
    )
    command = [sys.executable, "-c", code, str(cache.folder), str(clip.parent)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    found = entries(cache)
    assert len(found) == 12  # no temporary file is left
    for i in range(12):
        path = clip.with_name(f"{i}.wav")
        np.testing.assert_array_equal(
            cache.load(cache.key(path, SPEC, 0, np.inf)), sets.extract(audio.read(path), SPEC)
        )


def test_bad_recordings_are_audio_errors(tmp_path: Path, cache: FeatureCache) -> None:
    with pytest.raises(AudioError, match=r"missing.wav"):
        cache.features(tmp_path / "missing.wav", SPEC)
    with pytest.raises(AudioError):
        cache.features(tmp_path, SPEC)


def test_a_folder_that_cannot_be_made_is_named(clip: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*feature cache, set EMOVOX_CACHE"):
        FeatureCache(clip / "below-a-file").features(clip, SPEC)
