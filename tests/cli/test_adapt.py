"""`emovox adapt`, `enroll --setting` and `predict --setting` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from emovox import EmotionRecognizer
from emovox.model import profiles
from tests import CLASSIC
from tests.cli import emovox_command
from tests.conftest import sine, speech


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    for seed in range(4):
        soundfile.write(tmp_path / "calls" / f"{seed}.wav", speech(1.5, seed), 16000)
    return tmp_path / "calls"


def test_adapt_enrol_predict_list_remove(personal_model: Path, folder: Path) -> None:
    done = emovox_command("adapt", "büro", folder, "-m", personal_model)
    assert done.returncode == 0, done.stderr
    assert "büro.json: 4 recordings, " in done.stderr
    setting = profiles.find("büro", "setting")
    assert setting == EmotionRecognizer(personal_model).adapt("büro", folder)
    assert emovox_command("enroll", "anna", folder / "0.wav", "-m", personal_model, "--setting", "büro").returncode == 0
    assert profiles.find("anna").setting == "büro"

    both = {}
    for name, options in {
        "setting": ["--setting", "büro"],
        "speaker": ["-s", "anna"],
        "auto": ["--setting", "auto"],
    }.items():
        done = emovox_command("predict", folder, "-m", personal_model, *options, "--format", "json")
        assert done.returncode == 0, done.stderr
        both[name] = json.loads(done.stdout)
    assert [one["setting"] for one in both["setting"]] == [{"name": "büro", "heard": setting.count}] * 4
    assert [one["setting"] for one in both["auto"]] == [{"name": "auto", "heard": setting.count}] * 4
    assert [one["probabilities"] for one in both["auto"]] == [one["probabilities"] for one in both["setting"]]
    assert {(one["baseline"], one["setting"]["name"]) for one in both["speaker"]} == {("anna", "büro")}

    header, row = emovox_command("adapt", "--list").stdout.splitlines()
    assert header.split() == ["setting", "model", "recordings", "speech", "made"]
    assert row.split()[:2] == ["büro", "personal"]
    header, row = emovox_command("enroll", "--list").stdout.splitlines()
    assert (header.split()[-1], row.split()[-1]) == ("setting", "büro")
    assert emovox_command("adapt", "--remove", "büro").returncode == 0
    assert (profiles.names("setting"), profiles.names()) == ((), ("anna",))
    empty = emovox_command("adapt", "--list")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "make one with emovox adapt NAME AUDIO" in empty.stderr
    orphan = emovox_command("predict", folder / "0.wav", "-m", personal_model, "-s", "anna")
    assert orphan.returncode == 2
    assert "speaker 'anna' belongs to the setting 'büro', of which there is no profile" in orphan.stderr


def test_recordings_without_speech_are_left_out_and_told(personal_model: Path, folder: Path) -> None:
    soundfile.write(folder / "tone.wav", sine(440, 3), 16000)
    done = emovox_command("adapt", "office", folder, "-m", personal_model)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"emovox: {folder / 'tone.wav'} holds no speech that can be judged")
    assert lines[-1] == "emovox: 1 recordings were left out"
    assert profiles.find("office", "setting").clips == 4


def test_standard_input_is_its_own_setting(personal_model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", speech(20), 16000)
    options = ["-m", personal_model, "--setting", "auto", "--format", "json", "--timeline"]
    piped = emovox_command("predict", "-", *options, stdin=(tmp_path / "long.wav").read_bytes())
    assert piped.returncode == 0, piped.stderr
    named = emovox_command("predict", tmp_path / "long.wav", *options)
    found = [[one["probabilities"] for one in json.loads(done.stdout)] for done in (piped, named)]
    assert found[0] == found[1]
    assert json.loads(piped.stdout)[0]["setting"]["name"] == "auto"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["adapt", "office"],
            "emovox adapt needs a name and recordings, or --list, or --remove NAME",
        ),
        (["adapt", "auto", "{dir}"], "a setting cannot be called 'auto': that means the recordings at hand"),
        (["adapt", "a b", "{dir}"], "a setting cannot be called 'a b'"),
        (
            ["adapt", "office", "{dir}/0.wav"],
            "s of speech in 1 recordings are too little for a setting",
        ),
        (["adapt", "office", "{dir}", "--model", str(CLASSIC)], "takes no baseline"),
        (["adapt", "--remove", "office"], "there is no setting of 'office'"),
        (["enroll", "anna", "{dir}/0.wav", "--setting", "office"], "there is no setting of 'office'"),
        (["enroll", "--list", "--setting", "office"], "--setting says where a speaker was recorded: name the speaker"),
        (["predict", "{dir}/0.wav", "--setting", "office"], "there is no setting of 'office'"),
        (["predict", "{dir}/0.wav", "--setting", "auto", "--model", str(CLASSIC)], "takes no baseline"),
        (["listen", "-", "--setting", "office"], "there is no setting of 'office'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: list[str], message: str, personal_model: Path, folder: Path
) -> None:
    given = [one.format(dir=folder) for one in arguments]
    if "--model" not in given:
        given += ["--model", str(personal_model)]
    done = emovox_command(*given)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert profiles.names("setting") == ()
