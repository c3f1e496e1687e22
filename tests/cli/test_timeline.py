"""`emovox predict --timeline` and `--summary` as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from emovox import EmotionRecognizer, Prediction, TimelineOptions
from emovox.drawing import clock
from emovox.outputs.console import Console
from emovox.recognition.timeline import Timeline, summary_lines
from tests.cli import EMOVOX, emovox_command
from tests.conftest import speech


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances with pauses between them."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    pause = np.zeros(14000, np.float32)
    soundfile.write(path, np.concatenate([pause, speech(2.5), pause, speech(2, 2), pause, speech(3, 5), pause]), 16000)
    return path


def test_json_is_a_flat_list_of_what_the_library_finds(talk: Path) -> None:
    done = emovox_command("predict", talk, talk, "--timeline", "--format", "json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    wanted = [one.to_dict() for one in EmotionRecognizer().timeline(talk).predictions]
    assert len(wanted) >= 3
    assert found == json.loads(json.dumps(wanted + wanted))


def test_options_reach_the_timeline(talk: Path) -> None:
    command = ("predict", talk, "-t", "--mode", "interval", "--hop", 1.5, "--window", 3, "--smooth", 2, "--merge", 0)
    done = emovox_command(*command, "--format", "csv")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    options = TimelineOptions("interval", window=3, hop=1.5, smoothing=2, merge=0)
    wanted = EmotionRecognizer().timeline(talk, options).predictions
    assert [(row["start"], row["end"]) for row in rows] == [(f"{one.start:.3f}", f"{one.end:.3f}") for one in wanted]


@pytest.mark.parametrize(
    "options", [TimelineOptions(), TimelineOptions(merge=5, min_segment=1), TimelineOptions("interval")]
)
def test_segments_one_by_one_are_those_of_the_timeline(talk: Path, options: TimelineOptions) -> None:
    recognizer, heard = EmotionRecognizer(), list[float]()
    coming = recognizer.each_segment(talk, options, progress=heard.append)
    first = next(coming)
    if options.merge is None:
        assert heard in ([], [10.0])  # the second block is still to be read
    assert [first, *coming] == list(recognizer.timeline(talk, options))
    assert heard[-1] == pytest.approx(soundfile.info(talk).duration)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_long_timeline_comes_as_it_goes_and_survives_ctrl_c(talk: Path, tmp_path: Path, form: str) -> None:
    long = tmp_path / "long.wav"
    samples, rate = soundfile.read(talk, dtype="int16")
    with soundfile.SoundFile(long, "w", rate, 1) as file:
        for _ in range(600):
            file.write(samples)
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); " + EMOVOX[-1]
    command = [*EMOVOX[:-1], heeding, "predict", str(long), "-t", "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        begun = "".join(process.stdout.readline() for _ in range(3))  # long before an hour and a half is heard
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert (process.returncode, errors) == (130, "emovox: stopped\n")
    if form == "json":
        rows = json.loads(begun + rest)
    else:
        rows = list(csv.DictReader(io.StringIO(begun + rest), strict=True))
        assert None not in rows[-1].values()
    assert 1 <= len(rows) < 1800


def test_what_came_before_a_fault_is_out(talk: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(talk)
    bad = np.concatenate([samples, samples]).astype(np.float32)
    bad[-100] = np.nan
    soundfile.write(tmp_path / "bad.wav", bad, rate, subtype="FLOAT")
    done = emovox_command("predict", tmp_path / "bad.wav", "-t", "--format", "json")
    assert done.returncode == 2
    assert len(json.loads(done.stdout)) >= 2
    assert "has a sample of nan at" in done.stderr
    assert done.stderr.count("\n") == 2


def test_nothing_is_a_track_of_nothing(tmp_path: Path) -> None:
    done = emovox_command("predict", tmp_path / "missing.wav", "-t", "--format", "vtt")
    assert (done.returncode, done.stdout) == (2, "")
    done = emovox_command("predict", tmp_path / "missing.wav", "-t", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (2, [])


def test_every_segment_is_a_cue(talk: Path, tmp_path: Path) -> None:
    done = emovox_command("predict", talk, "--timeline", "--out", tmp_path / "talk.vtt")
    assert done.returncode == 0
    cues = (tmp_path / "talk.vtt").read_text(encoding="utf-8").count("-->")
    assert cues == len(EmotionRecognizer().timeline(talk).predictions)


def test_summary_for_people_and_machines(talk: Path) -> None:
    shown = emovox_command("predict", talk, "--summary", "--threshold", "1")
    assert shown.returncode == 0
    assert "judged" in shown.stdout
    assert "not sure in 100% of it" in shown.stdout
    done = emovox_command("predict", talk, talk, "--summary", "--format", "json")
    found = json.loads(done.stdout)
    assert found == [json.loads(json.dumps(EmotionRecognizer().timeline(talk).summary().to_dict()))] * 2
    for label in found[0]["share"]:
        assert label in shown.stdout


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("duration", [80.0, 35000.0])
def test_a_summary_fits_the_terminal(width: int, duration: float) -> None:
    parts = tuple(
        Prediction("a.wav", start, end, label, {label: 1.0}, 1.0, False, "m")
        for label, start, end in (("surprised", 1.0, duration - 5), ("sad", duration - 4, duration))
    )
    console = Console(io.StringIO(), width=width)
    for line in summary_lines(Timeline("a.wav", duration, parts).summary(), width):
        console.print(line)
    text = cast(io.StringIO, console.stream).getvalue()
    assert "…" not in text
    assert {"surprised", "sad", "100%"} <= set(text.split())
    assert ("█" in text) == (width > 43)
    assert max(map(len, text.splitlines())) <= width


def test_a_summary_without_classes_tells_the_dimensions() -> None:
    one = Prediction("a.wav", 0, 2, "", {}, 0.0, False, "m", dimensions={"arousal": 0.5})
    lines = [str(line) for line in summary_lines(Timeline("a.wav", 2.0, (one,)).summary())]
    assert lines[1:] == ["mean: arousal +0.50"]


def test_silence_is_reported_and_the_rest_is_done(talk: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(320000, np.float32), 16000)
    for option in ("--timeline", "--summary"):
        done = emovox_command("predict", silent, talk, option, "--format", "json")
        assert done.returncode == 2
        assert f"emovox: {silent} holds no speech that can be judged in 20.0 s" in done.stderr
        assert json.loads(done.stdout)
    nothing = emovox_command("predict", silent, "--summary", "--format", "json")
    assert json.loads(nothing.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hop", "2"], "--hop is about timelines: add --timeline or --summary"),
        (["--smooth", "2"], "--smooth is about timelines: add --timeline or --summary"),
        (["--timeline", "--window", "0"], "window is 0.0: expected seconds from 0.3 to 30"),
        (["--timeline", "--merge", "nan"], "merge is nan: expected seconds from 0 to 600"),
        (["--summary", "--format", "vtt"], "--summary is a table or json, not vtt"),
        (["--summary", "--out", "a.json"], "--summary goes to standard output: redirect it, or leave out --out"),
    ],
)
def test_what_makes_no_sense_is_refused(talk: Path, arguments: list[str], message: str) -> None:
    done = emovox_command("predict", talk, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"emovox: {message}")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (3599.94, "59:59.9"), (7261, "2:01:01.0")]
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
