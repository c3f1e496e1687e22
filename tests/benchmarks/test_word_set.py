"""The word test set: what is spoken by whom, and the same bytes again."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import soundfile

from emovox.errors import InputError
from emovox.types import COMMON
from tests import ROOT

SCRIPT = ROOT / "benchmarks" / "word_set" / "speak.py"


@pytest.fixture(scope="module")
def speak() -> ModuleType:
    if not SCRIPT.exists():
        pytest.skip("no benchmarks beside the tests")
    spec = importlib.util.spec_from_file_location("speak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["speak"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("which", ["test", "development"])
def test_sentences_are_forty_a_class_of_4_to_14_words(which: str, speak: ModuleType) -> None:
    found = speak.sentences(which)
    assert tuple(found) == COMMON
    for texts in found.values():
        assert len(texts) == len(set(texts)) == 40
        assert all(4 <= len(text.split()) <= 14 for text in texts)


def test_voices_and_words_are_crossed_and_speakers_take_turns(speak: ModuleType) -> None:
    clips = list(speak.utterances("test"))
    cells = Counter(clip.cell for clip in clips)
    assert cells == {"both neutral": 40, "words neutral": 280, "agree": 280, "voice neutral": 280, "disagree": 280}
    assert len({clip.file for clip in clips}) == len(clips)
    for clip in clips:
        assert (clip.words == clip.voice) == (clip.cell in ("agree", "both neutral"))
        assert (clip.voice == "neutral") == (clip.cell in ("voice neutral", "both neutral"))
    for cell, count in cells.items():
        turns = Counter(clip.speaker for clip in clips if clip.cell == cell)
        assert len(turns) == 4
        assert max(turns.values()) - min(turns.values()) <= 0.1 * count


def test_no_voice_is_in_both_sets(speak: ModuleType) -> None:
    names = [{(one.program, one.name) for one in voices.values()} for voices in speak.SPEAKERS.values()]
    assert not set.intersection(*names)


def test_a_missing_program_is_named(speak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="apt-get install espeak-ng"):
        speak.speak("test", tmp_path)


def test_the_same_command_writes_the_same_bytes(speak: ModuleType, tmp_path: Path) -> None:
    if not (shutil.which("espeak-ng") and shutil.which("flite")):
        pytest.skip("espeak-ng or flite is not installed")
    first, again = (speak.speak("test", tmp_path / name, limit=6, jobs=1) for name in ("a", "b"))
    with first.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert first.read_bytes() == again.read_bytes()
    for row in rows:
        assert (tmp_path / "a" / row["file"]).read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()
        assert soundfile.info(os.fspath(tmp_path / "a" / row["file"])).duration > 0.5
