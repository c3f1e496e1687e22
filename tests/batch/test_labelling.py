"""Merged tables, and answers that go to people and come back corrected."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from emovox.batch.labelling import Tool, export, read, write_table
from emovox.batch.places import Inputs, Place, place
from emovox.batch.plan import Plan, require
from emovox.batch.summary import Merged, answers, form_of, merge
from emovox.batch.tasks import Output, Recognition, Task
from emovox.cli.commands import app
from emovox.errors import InputError
from emovox.types import Transcript, Waveform, Word
from tests import ROOT
from tests.batch import FakeRecipe, run
from tests.batch.conftest import write_tone

Made = tuple[Plan, Place]


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return an output of three recordings with speakers."""
    root = tmp_path_factory.mktemp("predictions")
    lines = ["file,speaker,age\n", *(f"{number}.wav,s{number},{number}\n" for number in range(3))]
    (root / "calls.csv").write_text("".join(lines))
    for number in range(3):
        write_tone(root / f"{number}.wav", number)
    run(Inputs(str(root / "calls.csv")), root / "out")
    return require(place(str(root / "out"))), place(str(root / "out"))


@pytest.fixture(scope="module")
def timelines(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return an output with a timeline of several segments in two channels."""
    root = tmp_path_factory.mktemp("timelines")
    write_tone(root / "in" / "long.wav", 1, seconds=20, channels=2)
    run(Inputs(str(root / "in")), root / "out", Task(FakeRecipe(), Output.TIMELINE, channels="each"))
    return require(place(str(root / "out"))), place(str(root / "out"))


def test_one_table_of_all_parts(predictions: Made, tmp_path: Path) -> None:
    plan, where = predictions
    assert merge(plan, where, tmp_path / "all.csv", Merged.CSV) == 3
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [one for one, _ in answers(plan, where)]
    assert [(row["file"], row["label"], row["age"]) for row in rows] == [
        (one.file, one.label, str(number)) for number, one in enumerate(found)
    ]
    assert [float(row[f"p_{found[0].label}"]) for row in rows[:1]] == [found[0].confidence]
    assert merge(plan, where, tmp_path / "all.jsonl", Merged.JSONL) == 3
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["age"] for line in lines] == ["0", "1", "2"]
    parquet = pytest.importorskip("pyarrow.parquet")
    merge(plan, where, tmp_path / "all.parquet", Merged.PARQUET)
    assert parquet.read_table(tmp_path / "all.parquet").to_pylist() == [
        {**line, "unread": "[]", "notes": "[]"} for line in lines
    ]


def test_tracks_of_each_recording(timelines: Made, tmp_path: Path) -> None:
    plan, where = timelines
    count = merge(plan, where, tmp_path / "tracks", Merged.TEXTGRID)
    text = (tmp_path / "tracks" / "long.TextGrid").read_text()
    assert "xmax = 20" in text
    assert merge(plan, where, tmp_path / "subtitles", Merged.SRT) == count
    cues = (tmp_path / "subtitles" / "long.srt").read_text()
    assert cues.startswith("1\n00:00:")
    assert [f'name = "emotion (channel {channel})"' in text for channel in (1, 2, 3)] == [True, True, False]
    assert merge(plan, where, tmp_path / "all.rttm", Merged.RTTM) == count
    assert len((tmp_path / "all.rttm").read_text().splitlines()) == count
    with pytest.raises(InputError, match="tells no format"):
        form_of("tracks/", None)


def test_no_track_is_overwritten_by_rows_of_its_recording_that_lie_apart(tmp_path: Path) -> None:
    for number in range(2):
        write_tone(tmp_path / f"{number}.wav", number, seconds=6)
    stretches = ("0.wav,0,2", "1.wav,0,2", "0.wav,3,5")
    (tmp_path / "calls.csv").write_text("\n".join(("file,start,end", *stretches)) + "\n")
    run(Inputs(str(tmp_path / "calls.csv")), tmp_path / "out", Task(FakeRecipe(), Output.TIMELINE))
    where = place(str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"rows of .*0\.wav lie apart"):
        merge(require(where), where, tmp_path / "tracks", Merged.TEXTGRID)
    assert not (tmp_path / "tracks").exists()
    assert merge(require(where), where, tmp_path / "all.rttm", Merged.RTTM) >= 3


def test_features_are_no_answers(tmp_path: Path) -> None:
    write_tone(tmp_path / "in" / "a.wav", 1)
    run(Inputs(str(tmp_path / "in")), tmp_path / "out", Task(output=Output.FEATURES))
    where = place(str(tmp_path / "out"))
    with pytest.raises(InputError, match="holds features, not answers"):
        merge(require(where), where, tmp_path / "x.rttm", Merged.RTTM)


def corrected(tasks: list[dict[str, Any]], label: str) -> list[dict[str, Any]]:
    """Do what a person does in Label Studio: accept the predictions, and change the first label."""
    for number, task in enumerate(tasks):
        result = json.loads(json.dumps(task["predictions"][0]["result"]))
        if not number:
            result[0]["value"] = {
                key: [label] if key in ("choices", "labels") else value for key, value in result[0]["value"].items()
            }
        task["annotations"] = [{"result": result}, {"result": [], "was_cancelled": True}]
    return tasks


@pytest.mark.parametrize("made", ["predictions", "timelines"])
def test_label_studio_there_and_back(made: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    plan, where = request.getfixturevalue(made)
    export(plan, where, tmp_path / "tasks.json", Tool.LABEL_STUDIO, url="/data/local-files/?d=")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    interface = ElementTree.fromstring((tmp_path / "label-studio.xml").read_text())
    assert [one.get("value") for one in interface[0]] == plan.labels
    assert interface[0].tag == ("Choices" if made == "predictions" else "Labels")
    for task in tasks:
        assert task["data"]["audio"] == f"/data/local-files/?d={task['data']['file']}"
        assert {one["from_name"] for one in task["predictions"][0]["result"]} == {interface[0].get("name")}
    tasks = corrected(tasks, "bored")
    tasks[-1]["annotations"] = tasks[-1]["annotations"][: len(tasks) == 1]  # nobody looked at it
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    count, changed = write_table(read(tmp_path / "back.json", Tool.LABEL_STUDIO), tmp_path / "table.csv")
    said = [one for one, _ in answers(plan, where)]
    assert (count, changed) == (2 if made == "predictions" else len(said), 1)
    with (tmp_path / "table.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["label"], first["answer"], first["file"]) == ("bored", said[0].label, said[0].file)


@pytest.mark.parametrize("tool", [Tool.AUDACITY, Tool.ELAN])
def test_tracks_there_and_back(tool: Tool, timelines: Made, tmp_path: Path) -> None:
    plan, where = timelines
    said = [one for one, _ in answers(plan, where)]
    export(plan, where, tmp_path, tool)
    path = tmp_path / ("long.eaf" if tool is Tool.ELAN else "long.txt")
    if tool is Tool.ELAN:
        elan = pytest.importorskip("pympi").Elan.Eaf(str(path))
        assert list(elan.get_tier_names()) == ["emotion 1", "emotion 2"]
        found = [one[:3] for tier in elan.get_tier_names() for one in elan.get_annotation_data_for_tier(tier)]
        assert found == [(round(1000 * one.start), round(1000 * one.end), one.label) for one in said]
    text = path.read_text()
    path.write_text(text.replace(f">{said[0].label}<", ">bored<", 1).replace(f"\t{said[0].label}\n", "\tbored\n", 1))
    count, changed = write_table(read(tmp_path, tool), tmp_path / "table.csv")
    assert (count, changed) == (len(said), 1)


def test_what_comes_back_is_a_manifest_to_train_from(predictions: Made, tmp_path: Path) -> None:
    manifest = pytest.importorskip("emovox.lab.corpora.manifest").manifest
    plan, where = predictions
    export(plan, where, tmp_path, Tool.AUDACITY)
    write_table(read(tmp_path, Tool.AUDACITY), tmp_path / "table.csv")
    table = manifest(tmp_path / "table.csv").table
    assert list(table["label"]) == [one.label for one, _ in answers(plan, where)]
    assert list(table["speaker"]) == ["table/s0", "table/s1", "table/s2"]


@pytest.mark.parametrize(
    ("tool", "name", "text", "said"),
    [
        (Tool.LABEL_STUDIO, "x.json", "{}", "no list of Label Studio's tasks"),
        (Tool.LABEL_STUDIO, "x.json", "[", "is not JSON"),
        (Tool.AUDACITY, "a.txt", "1\t2\tsad\nsad\n", "line 2 of .* is no label"),
        (Tool.ELAN, "a.txt", "<TIER>", "no document of ELAN"),
    ],
)
def test_what_cannot_be_read_is_told(tool: Tool, name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    index: dict[str, dict[str, Any]] = {"a.txt": {"file": "a.wav", "speaker": None, "answers": []}}
    (tmp_path / "recordings.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=said):
        list(read(tmp_path / name if tool is Tool.LABEL_STUDIO else tmp_path, tool))


def test_label_studio_numbers_the_channel_of_a_mono_recording(predictions: Made, tmp_path: Path) -> None:
    task = {
        "data": {"file": "a.wav", "speaker": None},
        "predictions": [{"result": [{"type": "labels", "value": {"start": 0, "end": 2, "labels": ["sad"]}}]}],
        "annotations": [
            {"result": [{"type": "labels", "value": {"start": 0, "end": 2, "channel": 0, "labels": ["calm"]}}]}
        ],
    }
    (tmp_path / "x.json").write_text(json.dumps([task]))
    assert write_table(read(tmp_path / "x.json", Tool.LABEL_STUDIO), tmp_path / "table.csv") == (1, 1)


def test_a_document_of_elan_with_open_times_is_read(timelines: Made, tmp_path: Path) -> None:
    plan, where = timelines
    export(plan, where, tmp_path, Tool.ELAN)
    path = tmp_path / "long.eaf"
    text = path.read_text()
    path.write_text(text.replace("</TIME_ORDER>", '<TIME_SLOT TIME_SLOT_ID="ts99" /></TIME_ORDER>'))
    (one,) = read(tmp_path, Tool.ELAN)
    assert len(one.regions) == len(one.answers)


def test_labels_of_one_channel_are_told_to_be_mixed_by_training(timelines: Made, tmp_path: Path) -> None:
    plan, where = timelines
    export(plan, where, tmp_path, Tool.ELAN)
    done = CliRunner().invoke(app, ["batch", "import", str(tmp_path), str(tmp_path / "table.csv"), "--tool", "elan"])
    assert done.exit_code == 0
    assert "training mixes channels" in done.stderr


class Said:
    """A transcriber that hears the same in everything."""

    name = "said-1"

    def __init__(self, *_: object) -> None: ...

    def transcribe(self, waveform: Waveform) -> Transcript:
        return Transcript("I am so happy!", (Word("happy!", 0.1, 0.3, 0.9),), "en", 0.9)


def test_words_go_through_a_batch_into_every_merged_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emovox.text.transcribe.WhisperTranscriber", Said)
    monkeypatch.setenv("EMOVOX_CACHE", str(tmp_path / "cache"))
    spoken = Inputs(str(ROOT / "examples"), 2)
    recipe = Recognition(str(ROOT / "tests" / "data" / "classic.onnx"), gate=False, spoken=True, asr="tiny")
    run(spoken, tmp_path / "out", Task(recipe))
    where = place(str(tmp_path / "out"))
    plan = require(where)
    for form in Merged:
        target = tmp_path / f"merged.{form.value}"
        if form is not Merged.PARQUET or find_spec("pyarrow"):
            assert merge(plan, where, target, form) == 2
    lines = [json.loads(line) for line in (tmp_path / "merged.jsonl").read_text().splitlines()]
    assert [line["transcript"] for line in lines] == ["I am so happy!"] * 2
    assert lines[0]["words"][0]["text"] == "happy!"
    assert lines[0]["linguistic"]
    with (tmp_path / "merged.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["transcript"] == "I am so happy!"
    assert json.loads(row["words"])[0]["start"] == pytest.approx(0.1)
    assert [one.transcript for one, _ in answers(plan, where)] == ["I am so happy!"] * 2
    for name in ("textgrid", "vtt", "srt", "audacity"):
        assert len(list((tmp_path / f"merged.{name}").iterdir())) == 2
