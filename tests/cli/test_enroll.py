"""`emovox enroll` and `predict --speaker` as a user meets them; what fails writes nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import soundfile

from emovox import EmotionRecognizer
from emovox.model import profiles
from emovox.model.profiles import default_folder
from tests import CLASSIC
from tests.cli import emovox_command
from tests.conftest import export_personal, sine, speech


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "calm-1.wav", tmp_path / "calm-2.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, speech(2, seed), 16000)
    return paths


def kept() -> list[str]:
    """Return what is in the folder of profiles, of any name."""
    folder = default_folder()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_enrol_predict_list_remove(personal_model: Path, clips: list[Path]) -> None:
    done = emovox_command("enroll", "anna", *clips, "--model", personal_model)
    assert done.returncode == 0, done.stderr
    assert "anna.json: 2 recordings, " in done.stderr
    assert done.stderr.endswith(" s of speech, model personal\n")
    assert kept() == ["anna.json"]
    profile = profiles.find("anna")
    assert profile == EmotionRecognizer(personal_model).enroll("anna", clips)

    done = emovox_command("predict", clips[0], "-m", personal_model, "--speaker", "anna", "--format", "json")
    (found,) = json.loads(done.stdout)
    assert found == EmotionRecognizer(personal_model, speaker=profile).predict(str(clips[0])).to_dict()
    assert (found["speaker"], found["baseline"]) == ("anna", "anna")

    header, row = emovox_command("enroll", "--list").stdout.splitlines()
    assert header.split() == ["speaker", "model", "recordings", "speech", "made", "setting"]
    assert row.split()[:2] == ["anna", "personal"]
    assert emovox_command("enroll", "--remove", "anna").returncode == 0
    assert kept() == []
    empty = emovox_command("enroll", "--list")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "no profile in" in empty.stderr


def test_a_profile_is_replaced_only_on_demand(personal_model: Path, clips: list[Path]) -> None:
    command = ["enroll", "anna", "--model", personal_model]
    assert emovox_command(*command, clips[0]).returncode == 0
    before = profiles.find("anna")
    again = emovox_command(*command, clips[1])
    assert again.returncode == 2
    assert "anna.json exists already: --force replaces it" in again.stderr
    assert profiles.find("anna") == before
    assert emovox_command(*command, clips[1], "--force").returncode == 0
    assert profiles.find("anna") != before


def test_a_file_of_ones_own_and_standard_input(personal_model: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "anna.json"
    done = emovox_command("enroll", "anna", "-", "-m", personal_model, "--out", out, stdin=clips[0].read_bytes())
    assert done.returncode == 0, done.stderr
    assert kept() == []
    done = emovox_command("predict", clips[1], "-m", personal_model, "-s", out, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["speaker"] == "anna"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["anna"], "needs a name and recordings, or --list, or --remove NAME"),
        ([], "needs a name and recordings"),
        (["anna", "{clip}", "--list"], "needs a name and recordings"),
        (["--list", "--remove", "anna"], "needs a name and recordings"),
        (["--remove", "anna"], "there is no profile of 'anna'"),
        (["../anna", "{clip}"], "a speaker cannot be called '../anna'"),
        (["anna", "missing.wav"], "there is no file missing.wav"),
        (["anna", "{dir}/empty"], "no audio file in the folder"),
        (["anna", "{clip}", "{dir}/tone.wav"], "tone.wav holds no speech that can be judged"),
        (["anna", "{dir}/short.wav"], "too little for a profile: give 1 s, better 5 s or more"),
        (["anna", "{clip}", "--model", str(CLASSIC)], "takes no baseline"),
        (["anna", "{clip}", "--model", "none.onnx"], "no model 'none.onnx'"),
        (["anna", "{clip}", "--out", "{dir}/empty"], "empty exists already: --force replaces it"),
        (["anna", "{clip}", "--out", "{dir}/empty", "--force"], "empty (Is a directory): name another file or folder"),
        (
            ["anna", "{clip}", "--out", "{dir}/tone.wav/anna.json"],
            "anna.json (File exists): name another file or folder",
        ),
        (["anna", "{clip}", "--out", "x" * 300], "(File name too long): name another file or folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: list[str], message: str, personal_model: Path, clips: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "tone.wav", sine(440, 3), 16000)
    soundfile.write(tmp_path / "short.wav", speech(0.1, 3), 16000)
    given = [one.format(clip=clips[0], dir=tmp_path) for one in arguments]
    if "--model" not in given:
        given += ["--model", str(personal_model)]
    done = emovox_command("enroll", *given)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert kept() == []
    assert list((tmp_path / "empty").iterdir()) == []


def test_speakers_that_cannot_be_used(personal_model: Path, clips: list[Path], tmp_path: Path) -> None:
    other = export_personal(tmp_path / "other.onnx", seed=1)
    assert emovox_command("enroll", "anna", *clips, "-m", personal_model).returncode == 0
    (default_folder() / "bad.json").write_text("{")
    for speaker, model, message in [
        ("ana", personal_model, "there is no profile of 'ana': did you mean 'anna'?"),
        ("anna", other, "profile 'anna' was made with another model"),
        ("anna", CLASSIC, "takes no baseline"),
        ("bad", personal_model, "bad.json is not a profile"),
        (str(tmp_path), personal_model, "cannot read the profile"),
        (str(tmp_path / "none.json"), personal_model, "none.json: check the path"),
    ]:
        done = emovox_command("predict", clips[0], "-m", model, "--speaker", speaker)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    listed = emovox_command("enroll", "--list")
    assert listed.returncode == 2
    assert "anna" in listed.stdout
    assert "bad.json is not a profile" in listed.stderr


def test_what_is_no_speech_is_refused_and_the_rest_is_done(clips: list[Path], tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    soundfile.write(tone, sine(440, 3), 16000)
    done = emovox_command("predict", tone, clips[0], "--format", "json")
    assert done.returncode == 2
    assert [one["file"] for one in json.loads(done.stdout)] == [str(clips[0])]
    assert f"{tone} holds no speech that can be judged: " in done.stderr
    done = emovox_command("predict", tone, "--no-gate", "--format", "json")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 1)


def test_a_threshold_turns_unsure_answers_into_abstentions(clips: list[Path]) -> None:
    answers = {}
    for threshold in ("0", "1"):
        done = emovox_command("predict", clips[0], "--threshold", threshold, "--format", "json")
        (answers[threshold],) = json.loads(done.stdout)
    assert (answers["0"]["abstained"], answers["1"]["abstained"]) == (False, True)
    assert answers["0"]["label"] == answers["1"]["label"]
    shown = emovox_command("predict", clips[0], "--threshold", "1").stdout
    assert f"don't know ({answers['1']['label']})" in shown
    wrong = emovox_command("predict", clips[0], "--threshold", "31")
    assert wrong.returncode == 2
    assert wrong.stderr == "emovox: threshold is 31.0: expected a confidence from 0 to 1\n"
