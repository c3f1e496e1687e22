"""The command line as a user meets it: formats, exit codes, one-line errors."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

import emovox
import emovox.types
from emovox.features import sets
from tests.cli import EMOVOX, emovox_command, emovox_process
from tests.conftest import sine, speech, toy_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, speech(2), 16000)
    return path


def test_the_command_is_the_library(clip: Path) -> None:
    done = emovox_command("predict", clip, "--format", "json")
    assert done.returncode == 0
    (found,) = json.loads(done.stdout)
    assert found == emovox.EmotionRecognizer().predict(str(clip)).to_dict()
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert found["end"] == pytest.approx(soundfile.info(clip).duration, abs=1e-4)
    assert found["file"] == str(clip)


def test_standard_input_and_table(clip: Path) -> None:
    done = emovox_process("predict", "-", stdin=clip.read_bytes())
    assert done.returncode == 0
    header, row = done.stdout.splitlines()
    assert header.split() == ["file", "time", "emotion", "confidence", "then"]
    assert row.startswith("<stdin>")


def test_folders_patterns_and_csv(clip: Path) -> None:
    inside = clip.parent / "deep" / "er"
    inside.mkdir(parents=True)
    (inside / "two.flac").write_bytes(b"")
    soundfile.write(inside / "two.flac", speech(1, 3), 16000)
    (clip.parent / "notes.txt").write_text("not for us")
    for argument in (clip.parent, clip.parent / "**" / "*.[wf]*"):
        done = emovox_command("predict", argument, "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [Path(row["file"]).name for row in rows] == ["clip.wav", "two.flac"]
        assert done.returncode == 0


def bad_inputs(folder: Path) -> dict[str, Path]:
    """Make every bad input that a user may give."""
    made = {
        name: folder / name
        for name in (
            "empty.wav",
            "text.wav",
            "truncated.wav",
            "nan.wav",
            "silent.wav",
            "short.wav",
            "0hz.wav",
            "1mhz.wav",
        )
    }
    made["empty.wav"].write_bytes(b"")
    made["text.wav"].write_text("this is not sound")
    soundfile.write(made["truncated.wav"], sine(200, 1), 16000)
    made["truncated.wav"].write_bytes(made["truncated.wav"].read_bytes()[:44])
    soundfile.write(made["nan.wav"], np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(made["silent.wav"], np.zeros(16000), 16000)
    soundfile.write(made["short.wav"], sine(200, 0.02), 16000)
    for name, rate in (("0hz.wav", 0), ("1mhz.wav", 1_000_000)):
        soundfile.write(made[name], sine(200, 1), 16000)
        content = bytearray(made[name].read_bytes())
        content[24:28] = rate.to_bytes(4, "little")
        made[name].write_bytes(bytes(content))
    made["missing.wav"] = folder / "missing.wav"
    return made


def test_each_bad_recording_is_one_line_and_the_rest_are_done(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    bad = bad_inputs(folder)
    done = emovox_process("predict", clip, *bad.values(), clip, "--format", "json")
    assert done.returncode == 2
    assert [one["file"] for one in json.loads(done.stdout)] == [str(clip), str(clip)]
    lines = [line for line in done.stderr.splitlines() if line.startswith("emovox:")]
    assert len(lines) == len(bad) + 1
    for name in bad:
        assert sum(name in line for line in lines) == 1, name
    assert lines[-1].endswith(f"{len(bad)} of {len(bad) + 2} recordings could not be analysed")


def test_eight_channels_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "eight.wav"
    soundfile.write(path, np.repeat(np.repeat(speech(2), 3)[:, None], 8, axis=1), 48000)
    assert emovox_command("predict", path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "{dir}"], "no audio file in the folder"),
        (["predict", "{dir}/*.wav"], "nothing matches"),
        (["predict", "x.wav", "--model", "none.onnx"], "no model 'none.onnx'"),
        (
            ["predict", "x.wav", "y.wav", "--format", "vtt"],
            "one file holds one recording in this format, and 2",
        ),
        (["predict", "x.wav", "y.wav", "--plot", "a.png"], "write --plot FOLDER/"),
        (["predict", "x.wav", "--plot", "a.gif"], "a.gif: end the name in .png, .svg or .pdf"),
        (["predict", "x.wav", "--out", "a.sub"], "the name a.sub does not tell a format"),
        (["predict", "x.wav", "--out", "{dir}"], "a folder, which does not tell a format: add --format"),
        (["predict", "x.wav", "--out", "/dev/null/a.csv"], "cannot write /dev/null/a.csv"),
        (["predict", "pyproject.toml", "--out", "./pyproject.toml", "--format", "csv"], "is one of the recordings"),
        (["train", "ravdes-ann"], "did you mean 'ravdess-ann'?"),
        (["train", "ravdess-ann"], "say where it is with --corpus ravdess=DIR"),
        (["train", "ravdess-ann", "--corpus", "ravdess"], "is not NAME=DIR"),
        (["train", "ravdess-ann", "--corpus", "ravdess={dir}"], "{dir}"),
        (["train", "ravdess-ann", "--corpus", "ravdess=/no/such/dir"], "/no/such/dir"),
        (["train", "ravdess-ann", "--set", "model.hiden=[3]"], "did you mean 'hidden'?"),
        (["train", "ravdess-ann", "--set", "epochs"], "is not KEY=VALUE"),
        (["train", "{dir}"], "cannot read the recipe"),
        (["features", "x.wav", "-o", "out.xls"], "must end in .csv or .parquet"),
        (["features", "x.wav", "--set", "classic19", "-o", "out.csv"], "did you mean 'classic193'?"),
        (["evaluate", "default", "--corpus", "mine=/no/such"], "/no/such"),
        (["models", "nothing"], "no model 'nothing'"),
        (["data", "check", "/no/such/dir"], "/no/such/dir"),
        (["data", "check", "{dir}"], "{dir}"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "nothing-in-it"
    folder.mkdir()
    done = emovox_command(*(argument.format(dir=folder) for argument in arguments))
    assert done.returncode == 2
    assert message.format(dir=folder) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_corpus_folder_in_place_of_a_recording_reads_its_files(clip: Path) -> None:
    assert emovox_command("predict", clip.parent).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; test_audio covers the message")
def test_a_file_that_may_not_be_read_is_named(clip: Path) -> None:
    clip.chmod(stat.S_IWUSR)
    done = emovox_command("predict", clip)
    assert done.returncode == 2
    assert str(clip) in done.stderr


@pytest.mark.parametrize("name", ["classic193", "prosodic", "comprehensive", "logmel", "sequence"])
def test_features_reach_csv_and_parquet_alike(name: str, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for suffix in (".csv", ".parquet"):
        assert emovox_command("features", clip, "--set", name, "-o", out.with_suffix(suffix)).returncode == 0
    table = pyarrow.parquet.read_table(out.with_suffix(".parquet")).to_pydict()
    with out.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sets.feature_names(sets.spec(name))
    assert list(table) == list(rows[0]) == ["file", "start", "end", *names]
    for column in names[:: len(names) // 10]:
        np.testing.assert_allclose([float(row[column]) for row in rows], table[column], rtol=1e-5)
    assert len(rows) == (1 if sets.get(name).level == "clip" else len(table["start"]))
    assert list(tmp_path.glob("*.part")) == []


def test_features_of_a_bad_recording_among_good_ones(clip: Path, tmp_path: Path) -> None:
    done = emovox_command("features", clip, "missing.wav", "-o", tmp_path / "out.csv")
    assert done.returncode == 2
    assert "missing.wav" in done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_a_long_recording_gives_a_row_a_window(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    samples = np.concatenate([np.tile(toy_clip("happy", 1, 0), 12)[:80000], np.zeros(32000), sine(200, 2.5)])
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    assert emovox_command("features", path, "--window", 2, "-o", tmp_path / "out.csv").returncode == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["start"]), float(row["end"])) for row in rows] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9.5)]
    part = sets.extract(emovox.types.Waveform(samples[32000:64000].astype(np.float32)), sets.spec("prosodic"))
    found = [float(rows[1][name]) for name in sets.feature_names(sets.spec("prosodic"))]
    np.testing.assert_allclose(found, part, rtol=1e-5, atol=1e-6)


def test_nothing_is_written_where_writing_fails(clip: Path) -> None:
    done = emovox_command("features", clip, "-o", clip / "out.csv")
    assert done.returncode == 2
    assert "cannot write" in done.stderr


@pytest.mark.usefixtures("unpainted")
def test_train_evaluate_and_models_from_a_manifest(toy_manifest: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(
        'name = "toy"\n[corpora.toy]\n[features]\nset = "classic193"\n[model]\nfamily = "svm"\n'
        '[protocol]\nname = "speaker-3"\n'
    )
    run = tmp_path / "run"
    done = emovox_command("train", recipe, "--corpus", f"toy={toy_manifest}", "--out", run, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert "UAR" in done.stdout
    assert "speaker-3" in done.stdout
    again = emovox_command("train", recipe, "--corpus", f"toy={toy_manifest}", "--out", run)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    scored = emovox_command("evaluate", run, "--corpus", f"toy={toy_manifest}", "--json", "--jobs", 1)
    assert json.loads(scored.stdout)["n"] == 96
    shown = emovox_command("models", run)
    assert "96 clips, 6 speakers" in shown.stdout
    checked = emovox_command("data", "check", toy_manifest)
    assert checked.returncode == 0
    assert "96 clips" in checked.stdout


def test_an_interrupted_list_is_whole(clip: Path) -> None:
    # A shell without job control starts background jobs with SIGINT ignored; the tests and their children inherit it.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); " + EMOVOX[-1]
    command = [*EMOVOX[:-1], heeding, "predict", *[str(clip)] * 3000, "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        begun = process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # Not communicate(): it would pass over what the first lines' reader has fetched already.
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert 1 <= len(json.loads(begun + rest)) < 3000
    assert "Traceback" not in errors


@pytest.mark.parametrize("form", ["json", "textgrid", "table"])
def test_a_file_holds_what_standard_output_would(form: str, clip: Path, tmp_path: Path) -> None:
    shown = emovox_command("predict", clip, "--format", form)
    out = tmp_path / "new" / "out.xyz"
    done = emovox_command("predict", clip, "--format", form, "--out", out)
    assert (shown.returncode, done.returncode, done.stdout) == (0, 0, "")
    assert out.read_text(encoding="utf-8").split() == shown.stdout.split()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_folder_gets_a_file_and_a_picture_for_each_recording(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "clip.wav"
    other.parent.mkdir()
    other.write_bytes(clip.read_bytes())
    out, bad = tmp_path / "out", tmp_path / "missing.wav"
    done = emovox_command(
        "predict", clip, bad, other, "--format", "textgrid", "--out", f"{out}/", "--plot", f"{tmp_path / 'plots'}/"
    )
    assert done.returncode == 2
    for folder, ending in ((out, "TextGrid"), (tmp_path / "plots", "png")):
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*.{ending}"))
        assert found == [f"clip.{ending}", f"other/clip.{ending}"]


def test_a_picture_of_standard_input(clip: Path, tmp_path: Path) -> None:
    done = emovox_command("predict", "-", "--plot", tmp_path / "out.svg", "--format", "rttm", stdin=clip.read_bytes())
    assert done.returncode == 0
    assert done.stdout.startswith("SPEAKER stdin 1 0.000 2.000 ")
    assert "<svg" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_lists(tmp_path: Path) -> None:
    assert "default (default)" in emovox_command("models").stdout
    cards = json.loads(emovox_command("models", "--json").stdout)
    assert cards[0]["format_version"] == 1
    for name in ("ravdess", "tess", "nemo", "crema-d"):
        assert name in emovox_command("data", "list").stdout
    assert emovox_command("--version").stdout.strip() == f"emovox {emovox.__version__}"


@pytest.mark.parametrize("command", ["predict", "listen", "enroll", "features", "train", "evaluate", "models", "data"])
def test_help_has_examples(command: str) -> None:
    done = emovox_command(command, "--help")
    assert done.returncode == 0
    assert f"emovox {command}" in done.stdout


def test_without_the_extra_training_says_how_to_install_it() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'sklearn', 'pandas'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from emovox.cli.main import run; run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "ravdess-ann"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'emovox[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_reader_that_has_enough_is_no_error(clip: Path) -> None:
    command = " ".join(f"'{part}'" for part in [*EMOVOX, "predict", *[str(clip)] * 4, "--format", "csv"])
    done = subprocess.run(f"{command} | head -1", shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("file,")
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["predict", "CLIP", "--format", "json"], ["models"], ["--help"]])
def test_a_reader_that_is_gone_from_the_start_is_no_error(arguments: list[str], clip: Path) -> None:
    command = [*EMOVOX, *(str(clip) if part == "CLIP" else part for part in arguments)]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_each_channel_has_its_own_picture(clip: Path, tmp_path: Path) -> None:
    sound, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "call.wav", np.stack([sound, 0.5 * sound], axis=1), rate)
    call, plots = tmp_path / "call.wav", tmp_path / "plots"
    done = emovox_command("predict", call, "--channels", "each", "--plot", plots / "a.svg", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in plots.iterdir()) == ["a-channel1.svg", "a-channel2.svg"]
    done = emovox_command("predict", call, "--channels", 2, "--plot", f"{plots}/", "-f", "json")
    assert (plots / "call.png").exists()
