"""Small things of everyday use: batches with gaps, folders that mirror, what is kept, channels, narrow terminals."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovox import storage
from emovox.errors import AudioError
from emovox.model.profiles import check_name
from emovox.outputs.console import to_table
from emovox.recognition.analysis import recordings
from emovox.types import Prediction
from tests import EXAMPLES
from tests.audio import contained
from tests.cli import emovox_command
from tests.conftest import speech


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, speech(2), 16000)
    return path


def test_an_empty_folder_and_a_pattern_without_a_match_end_no_batch(clip: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    pattern = str(tmp_path / "no*.flac")
    assert recordings([str(empty), str(clip), pattern]) == [str(empty), str(clip), pattern]
    done = emovox_command("features", empty, clip, pattern, "--out", tmp_path / "f.csv")
    assert done.returncode == 2
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 2
    assert f"{empty} is a folder" in done.stderr
    assert pattern in done.stderr
    assert "2 of 3 recordings could not be analysed" in done.stderr
    for nothing in ([str(empty)], [pattern], [str(empty), pattern]):
        with pytest.raises(AudioError, match=r"no audio file in the folder|nothing matches"):
            recordings(nothing)


def test_what_several_inputs_lead_to_is_taken_once(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    inside, deep = tmp_path / "in" / "a.wav", tmp_path / "in" / "deep" / "b.wav"
    for path in (inside, deep):
        path.write_bytes(clip.read_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    told: list[str] = []
    given = [str(tmp_path / "in" / "deep"), str(tmp_path / "link"), str(tmp_path / "in" / "*.wav"), "missing.wav", "-"]
    assert recordings(given, told.append) == [str(deep), str(tmp_path / "link" / "a.wav"), "missing.wav", "-"]
    assert told == ["2 recordings are in several of the inputs: taken once"]
    done = emovox_command("features", tmp_path / "link", inside, "--out", tmp_path / "f.csv")
    assert done.returncode == 0
    assert "emovox: 1 recording is in several of the inputs: taken once" in done.stderr
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 3


def test_a_folder_of_results_mirrors_that_of_the_recordings(tmp_path: Path) -> None:
    for place in ("in/a/x.wav", "in/b/x.wav", "in/b/deep/y.wav", "in/b/x.flac"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech(1), 16000)
    done = emovox_command("predict", tmp_path / "in", "--no-gate", "--format", "vtt", "--out", f"{tmp_path}/out/")
    assert done.returncode == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.vtt"))
    assert written == ["a/x.vtt", "b/deep/y.vtt", "b/x-2.vtt", "b/x.vtt"]


def test_features_of_channels(tmp_path: Path) -> None:
    left, right = speech(2), speech(2, 3)
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([left, right], axis=1), 16000)
    for name, sound in (("left", left), ("right", right)):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16000)
    rows = {}
    for number, (choice, file) in enumerate(
        [("each", path), ("2", path), ("mix", tmp_path / "left.wav"), ("mix", tmp_path / "right.wav")]
    ):
        out = tmp_path / f"{number}.csv"
        assert emovox_command("features", file, "--channels", choice, "--out", out).returncode == 0
        rows[number] = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["channel"] for row in rows[0]] == ["1", "2"]
    assert "channel" not in rows[2][0]
    for found, alone in ((rows[0][0], rows[2][0]), (rows[0][1], rows[3][0]), (rows[1][0], rows[3][0])):
        assert [value for name, value in found.items() if name not in ("file", "channel")] == [
            value for name, value in alone.items() if name != "file"
        ]
    wrong = emovox_command("features", path, "--channels", "3", "--out", tmp_path / "w.csv")
    assert wrong.returncode == 2
    assert "there is no channel 3" in wrong.stderr


def test_what_is_read_in_part_is_told_and_counted(tmp_path: Path) -> None:
    content = io.BytesIO()
    soundfile.write(content, speech(3), 16000, format="WAV")
    path = tmp_path / "cut.wav"
    path.write_bytes(content.getvalue()[: 2 * 32000])
    for command in (["predict", path, "--no-gate"], ["features", path, "--out", tmp_path / "f.csv"]):
        done = emovox_command(*command)
        assert done.returncode == 2
        assert "cut.wav cannot be read 2.00 to 3.00 s" in done.stderr
        assert "1 of 1 recordings could not be read whole" in done.stderr


def test_a_missing_extra_is_said_once(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.m4a", "b.m4a"):
        (tmp_path / name).write_bytes(contained("ipod", "aac"))
    monkeypatch.setitem(sys.modules, "av", None)
    for command in (["predict", "--no-gate"], ["features", "--out", tmp_path / "f.csv"]):
        done = emovox_command(*command, tmp_path / "a.m4a", tmp_path / "b.m4a", clip)
        assert done.returncode == 2
        assert done.stderr.count("pip install") == 1
        assert "2 of 3 recordings could not be analysed" in done.stderr


def test_missing_weights_are_said_once(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOVOX_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_to_download)
    storage._from_hub.cache_clear()
    (tmp_path / "other.wav").write_bytes(clip.read_bytes())
    done = emovox_command(
        "features", clip, tmp_path / "other.wav", "--set", "whisper-base", "--out", tmp_path / "f.csv"
    )

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "emovox: cannot get openai/whisper-base from the Hugging Face hub (there is no network): connect once, or give "
        "a local folder, or set EMOVOX_WEIGHTS to a folder that holds whisper-base",
        "emovox: 2 of 2 recordings could not be analysed",
    ]


def refuse_to_download(*_: object, **__: object) -> None:
    raise OSError("there is no network. Look at the cable.")


def test_what_is_kept_is_shown_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    monkeypatch.setenv("EMOVOX_CACHE", str(folder))
    for place in (f"ab/{'ab' * 32}.npy", "transcripts/cd/x.json", "content/ef/y.json", "mine.txt"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1500))
    rows = [line.split()[:4] for line in emovox_command("cache").stdout.splitlines()[1:]]
    assert [row[:2] for row in rows[:3]] == [["features", "1"], ["transcripts", "1"], ["content", "1"]]
    done = emovox_command("cache", "--clear", "transcripts")
    assert "cleared transcripts: 1 files" in done.stdout
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        f"{'ab' * 32}.npy",
        "mine.txt",
        "y.json",
    ]
    assert emovox_command("cache", "--clear", "all").returncode == 0
    assert [path.name for path in folder.rglob("*")] == ["mine.txt"]  # what is somebody else's stays


@pytest.mark.parametrize("width", [40, 80])
def test_tables_fit_narrow_terminals(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "/home/somebody/projects/customer-service/recordings/2026/november"
    found = [
        Prediction(f"{folder}/{name}.wav", 0.0, 1.5, "surprised", {"surprised": 0.75, "sad": 0.25}, 0.75, False, "demo")
        for name in ("monday-1", "tuesday-1")
    ]
    lines = [str(line) for line in to_table(found, width).lines(width)]
    assert sum("surprised" in line for line in lines) == 2
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= 7  # the folder once, above
    assert sum("november" in line for line in "".join(line.strip() for line in lines).split("monday")) == 1
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    listed = emovox_command("models").stdout.splitlines()
    assert len(listed) <= 6


@pytest.mark.parametrize("name", ["Jürgen", "Анна", "安娜", "हिन्दी", "أحمد", "ana_2"])
def test_speakers_are_called_what_they_are_called(name: str) -> None:
    assert check_name(name) == name


def test_subtitles_show_the_words(tmp_path: Path) -> None:
    said = tmp_path / "said.srt"
    said.write_text("1\n00:00:00,200 --> 00:00:29,980\nso this is it\n")  # as Whisper ends its last segment
    for ending, mark in (("vtt", "."), ("srt", ",")):
        out = tmp_path / f"plain.{ending}"
        done = emovox_command("predict", EXAMPLES / "plain.wav", "--transcript", said, "--out", out)
        assert done.returncode == 0, done.stderr
        assert f"00:00:00{mark}000 --> 00:00:03{mark}" in out.read_text()
        assert "\nso this is it\n" in out.read_text()


def test_a_folder_that_may_not_be_entered_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.stat

    def refused(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path) in ("anna", "locked/talk.wav", "locked/model"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return status(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refused)
    for arguments, said in (
        ((EXAMPLES / "plain.wav", "--speaker", "anna"), "no profile"),
        ((EXAMPLES / "plain.wav", "--model", "locked/model"), "locked/model"),
        (("locked/talk.wav",), "locked/talk.wav"),
    ):
        done = emovox_command("predict", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
