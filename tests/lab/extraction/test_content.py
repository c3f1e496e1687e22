"""What clips sound like: digests of the decoded samples, and what is found by listening to a corpus."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from emovox import audio
from emovox.lab.commands.data import data
from emovox.lab.corpora.manifest import manifest
from emovox.lab.extraction import content
from emovox.lab.extraction.content import Content, listen, packed, unpacked
from emovox.lab.extraction.inspection import inspect
from tests.conftest import speech


def levels(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.round(speech(seconds, seed) * 20000).astype(np.int16)


def listened(*paths: Path, start: float = 0.0, end: float = math.inf) -> list[str]:
    return [one.digest for one in listen([(path, start, end) for path in paths], jobs=1)]


def test_copies_have_one_digest_whatever_they_are_called_and_however_they_are_stored(tmp_path: Path) -> None:
    samples = levels()
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    soundfile.write(tmp_path / "b.flac", samples, 16000)
    soundfile.write(tmp_path / "c.aiff", samples, 16000, subtype="PCM_24")
    soundfile.write(tmp_path / "d.wav", np.stack([samples, samples], axis=1), 16000)
    soundfile.write(tmp_path / "e.wav", np.pad(samples, (500, 9000)), 16000)
    soundfile.write(tmp_path / "f.wav", np.concatenate([levels(1, 3), samples, levels(1, 5)]), 16000)
    names = [tmp_path / name for name in ("a.wav", "b.flac", "c.aiff", "d.wav", "e.wav")]
    assert set(listened(*names, names[0])) == {hashlib.sha256(trimmed(samples).tobytes()).hexdigest()[:16]}
    assert listened(tmp_path / "f.wav", start=1.0, end=3.0) == listened(names[0]), "a stretch of another file"
    other = samples.copy()
    other[7000] += 1
    soundfile.write(tmp_path / "g.wav", other, 16000)
    assert listened(tmp_path / "g.wav") != listened(names[0])


def trimmed(samples: np.ndarray) -> np.ndarray:
    sound = np.flatnonzero(samples)
    return samples[sound[0] : sound[-1] + 1].astype("<i2")


@given(st.lists(st.lists(st.sampled_from([0, 0, 0, 1, -7]), max_size=6), max_size=8))
def test_the_digest_does_not_depend_on_the_blocks(blocks: list[list[int]]) -> None:
    samples = np.array([level for block in blocks for level in block], dtype=np.float32) / np.float32(32768)
    whole, parts = Content(), Content()
    whole.update(samples)
    for block in blocks:
        parts.update(np.array(block, dtype=np.float32) / np.float32(32768))
    assert parts.digest() == whole.digest()
    assert bool(whole.digest()) == bool(samples.any())


def test_nothing_is_heard_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", levels(3.0), 16000)
    clips = [(tmp_path / "a.wav", 0.0, math.inf), (tmp_path / "a.wav", 1.0, 2.0), (tmp_path / "a.wav", 9.0, 10.0)]
    folder = tmp_path / "cache"
    first = listen(clips, jobs=1, folder=folder)
    assert [round(one.duration, 3) for one in first] == [3.0, 1.0, 0.0]
    assert "lies outside" in first[2].problem
    monkeypatch.setattr(content, "audio", None)
    assert listen(clips, jobs=1, folder=folder) == first
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    moved = listen([(tmp_path / "b.wav", *clip[1:]) for clip in clips], jobs=1, folder=folder)
    assert moved[0] == first[0]
    assert str(tmp_path / "b.wav") in moved[2].problem, "the entry is of the content, the words are of this name"


def test_digests_of_training_clips_are_found_again_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    digests = [rng.bytes(8).hex() for _ in range(5000)]
    text = packed(["", *digests[:3000]])
    known = unpacked(text)
    assert all(digest[:8] in known for digest in digests[:3000])
    assert not any(digest[:8] in known for digest in digests[3000:])
    assert len(text) == 3000 * 4 * 4 // 3
    assert unpacked("") == frozenset()


def test_what_is_wrong_with_recordings_is_told_before_training(tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", levels(2.0, number), 16000)
    shutil.copy(tmp_path / "0.wav", tmp_path / "copy.wav")
    (tmp_path / "broken.wav").write_text("not sound")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    rows = [
        ("0.wav", "sad", "ann", "", ""),
        ("copy.wav", "happy", "bob", "", ""),
        ("1.wav", "sad", "ann", "0", "1.2"),
        ("1.wav", "sad", "ann", "1.1", "2"),
        ("2.wav", "sad", "ann", "0.5", "3.5"),
        ("2.wav", "sad", "ann", "2.5", "3.0"),
        ("3.wav", "sad", "ann", "0", "2.02"),
        ("broken.wav", "sad", "ann", "", ""),
        ("silent.wav", "sad", "ann", "", ""),
    ]
    lines = ["file,label,speaker,start,end", *(",".join(row) for row in rows)]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    found = inspect(manifest(tmp_path / "m.csv"), jobs=1)
    assert found[0].startswith("2 clips cannot be read, the first: ")
    assert "ends at 2 s: a stretch from 2.5 s lies outside" in found[0]
    assert found[1:] == [
        "1 clip holds nothing but digital silence, the first: 'silent.wav'",
        "1 clip ends after its recording, the first: '2.wav' from 0.5 s to 3.5 s, which ends at 2.00 s",
        "4 clips overlap others of the same recording, "
        "the first: '1.wav' from 0 s to 1.2 s and '1.wav' from 1.1 s to 2 s",
        "2 clips hold the same sound as another, the first: '0.wav' and 'copy.wav' (2 under different speakers, "
        "2 under different labels); speaker-independent protocols keep these speakers together",
    ]


def test_data_check_listens_to_every_corpus_below_a_folder(tmp_path: Path) -> None:
    for name in ("r/Actor_01/03-01-03-01-01-01-01.wav", "t/OAF_back_fear.wav", "mine/sad/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / name, levels(1.0, len(name)), 16000)
    shutil.copy(tmp_path / "t" / "OAF_back_fear.wav", tmp_path / "t" / "YAF_back_fear.wav")
    (tmp_path / "t" / "notes.txt").write_text("x")
    shown = CliRunner().invoke(data, ["check", str(tmp_path), "--jobs", "1"]).stdout
    assert "ravdess: 1 clip," in shown
    assert "tess: 2 clips" in shown
    assert "2 clips hold the same sound as another" in shown
    assert "files of other endings, not looked at: 1 .txt" in shown
    assert "recordings of no corpus that emovox knows: 1 in mine; check them by themselves" in shown
    quick = CliRunner().invoke(data, ["check", str(tmp_path), "--quick"]).stdout
    assert "same sound" not in quick


def test_real_clips_have_no_copies(corpora: Path) -> None:
    files = sorted((corpora / "ravdess" / "Actor_01").glob("*.flac"))[:20]
    assert len(set(listened(*files))) == len(files)
    samples = audio.read(files[0]).samples
    assert len(samples) > 16000


def test_clips_that_cannot_be_read_whole_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "cut.wav", levels(3), 16000)
    content_ = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content_[: 2 * 32000])
    soundfile.write(tmp_path / "whole.wav", levels(2, 1), 16000)
    (tmp_path / "m.csv").write_text("file,label,speaker\ncut.wav,sad,a\nwhole.wav,happy,b\n")
    for _ in range(2):  # the second time from the cache
        cut, whole = listen([(tmp_path / name, 0.0, math.inf) for name in ("cut.wav", "whole.wav")], jobs=1)
        assert "cut.wav cannot be read 2.00 to 3.00 s" in cut.partly
        assert (cut.problem, whole.partly) == ("", "")
    assert inspect(manifest(tmp_path / "m.csv"), jobs=1)[0].startswith("1 clip cannot be read whole, the first: ")
