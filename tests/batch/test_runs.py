"""Runs: whatever is killed when, the output is that of an undisturbed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from emovox import FeatureExtractor, Segment, TimelineOptions, audio
from emovox.batch.places import Inputs, place
from emovox.batch.plan import Plan, stored
from emovox.batch.runs import Allowance, Shard, TooManyFailuresError
from emovox.batch.tasks import Output, PartFormat, Recognition, Task
from emovox.errors import EmovoxError, InputError, WorkerError, WorkerHungError, WorkerKilledError
from emovox.features import sets
from emovox.testing import FakeRecognizer
from tests import EXAMPLES
from tests.batch import FakeRecipe, Inline, KilledError, content, run
from tests.batch.conftest import write_tone

FORMS = [PartFormat.JSONL, pytest.param(PartFormat.PARQUET, id="parquet")]


def rows(output: Path) -> list[dict[str, object]]:
    """Read the rows of JSON lines, parts in order."""
    parts = sorted((output / "parts").iterdir())
    return [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]


def test_answers_are_those_of_the_recogniser(calls: Path, tmp_path: Path) -> None:
    done = run(Inputs(str(calls)), tmp_path)
    recognizer = FakeRecognizer()
    found = rows(tmp_path)
    assert (done.recordings, done.failed) == (7, 2)
    assert [row["id"] for row in found] == [f"a/call{n}.wav" for n in range(3)] + [f"b/call{n}.wav" for n in (3, 4)]
    for row in found:
        one = recognizer.predict(str(row["file"]))
        assert (row["label"], row["confidence"], row["duration"]) == (one.label, one.confidence, one.end)
        assert [row[f"p_{label}"] for label in recognizer.card.labels] == list(one.probabilities.values())
    failed = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert [(one["id"], one["code"]) for one in failed] == [
        ("a/silent.wav", "invalid_audio"),
        ("b/broken.wav", "invalid_audio"),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_killed_anywhere_the_bytes_are_those_of_an_undisturbed_run(
    calls: Path, tmp_path: Path, form: PartFormat
) -> None:
    if form is PartFormat.PARQUET:
        pytest.importorskip("pyarrow")
    inputs = Inputs(str(calls))
    run(inputs, tmp_path / "whole", form=form)
    for number in range(8):
        output = tmp_path / str(number)
        for left in (number, 1, None):
            try:
                run(inputs, output, engine=Inline(Task(FakeRecipe()), dies_after=left), form=form)
            except KilledError:
                continue
        assert content(output) == content(tmp_path / "whole")


def test_what_is_done_is_not_done_again(calls: Path, tmp_path: Path) -> None:
    inputs, task = Inputs(str(calls)), Task(FakeRecipe())
    with pytest.raises(KilledError):
        run(inputs, tmp_path, engine=Inline(task, dies_after=5, width=1))
    rest = Inline(task)
    run(inputs, tmp_path, engine=rest)
    assert rest.seen == ["b/broken.wav", "b/call3.wav", "b/call4.wav"]
    again = Inline(task)
    run(inputs, tmp_path, engine=again)
    assert again.seen == []


def test_a_torn_part_is_no_part(calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Inputs(str(calls)), tmp_path / "whole")

    def torn(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", torn)
        with pytest.raises(KilledError):
            run(Inputs(str(calls)), tmp_path / "torn")
    run(Inputs(str(calls)), tmp_path / "torn")
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


@pytest.mark.parametrize("form", FORMS)
def test_what_failed_is_tried_again_alone(tmp_path: Path, form: PartFormat) -> None:
    if form is PartFormat.PARQUET:
        pytest.importorskip("pyarrow")
    manifest = tmp_path / "calls.csv"
    names = [f"{number}.wav" for number in range(6)]
    manifest.write_text("file,age\n" + "".join(f"{name},{at}\n" for at, name in enumerate(names)))
    for number in (0, 1, 3, 5):
        write_tone(tmp_path / names[number], number)
    (tmp_path / names[2]).write_bytes(b"")
    (tmp_path / names[4]).write_bytes(b"")
    inputs, task = Inputs(str(manifest)), Task(FakeRecipe())
    run(inputs, tmp_path / "out", form=form, part_size=4)
    for number in (2, 4):
        write_tone(tmp_path / names[number], number)
    run(inputs, tmp_path / "whole", form=form, part_size=4)
    for dies_after in (1, None):
        again = Inline(task, dies_after=dies_after, width=1)
        try:
            run(inputs, tmp_path / "out", engine=again, form=form, part_size=4, retry_failed=True)
        except KilledError:
            assert again.seen == ["2.wav"]
    assert again.seen == ["4.wav"]
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_shards_share_an_output(calls: Path, tmp_path: Path) -> None:
    inputs, task = Inputs(str(calls)), Task(FakeRecipe())
    run(inputs, tmp_path / "whole")
    for number in (2, 3, 1):
        engine = Inline(task)
        run(inputs, tmp_path / "out", engine=engine, shard=Shard(number, 3))
        assert len(engine.seen) in (1, 2, 3)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/3/5"])
def test_impossible_shards(text: str) -> None:
    with pytest.raises(InputError, match="expected I/N"):
        Shard.of(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "110%", "many", "%"])
def test_impossible_allowances(text: str) -> None:
    with pytest.raises(InputError, match="--max-errors"):
        Allowance.of(text)


def test_too_many_failures_stop_the_run_and_what_is_whole_stays(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(TooManyFailuresError, match="1 of 4 recordings failed"):
        run(Inputs(str(calls)), tmp_path, allowance=Allowance.of("0"), part_size=3)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["part-000000.jsonl"]


def test_another_run_is_refused_with_what_differs(calls: Path, tmp_path: Path) -> None:
    run(Inputs(str(calls)), tmp_path)
    with pytest.raises(InputError, match=r"options\.answer: null then, \"sad\" now"):
        run(Inputs(str(calls)), tmp_path, Task(FakeRecipe(answer="sad")))
    with pytest.raises(InputError, match=r"input\.recordings: 7 then, 3 now"):
        run(Inputs(str(calls), limit=3), tmp_path)
    with pytest.raises(InputError, match=r"options\.channels: \"mix\" then, \"each\" now"):
        run(Inputs(str(calls)), tmp_path, Task(FakeRecipe(), channels="each"))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["options"]["answer"] = "sad"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="changed by hand"):
        stored(place(str(tmp_path)))


def test_what_comes_while_it_runs_is_not_judged(tmp_path: Path) -> None:
    for number in range(4):
        write_tone(tmp_path / "in" / f"b{number}.wav", number)
    inputs = Inputs(str(tmp_path / "in"))
    run(inputs, tmp_path / "whole")
    write_tone(tmp_path / "in" / "a.wav", 9)
    run(inputs, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    with pytest.raises(InputError, match=r"input\.recordings: 4 then, 5 now"):
        run(Inputs(str(tmp_path / "in")), tmp_path / "out")


def test_ids_are_there_once(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("id,file\nx,a.wav\ny,a.wav\nx,b.wav\n")
    with pytest.raises(InputError, match=r"two recordings have the id 'x', the 1\. and the 3\."):
        Plan.of(Inputs(str(tmp_path / "calls.csv")), Task(FakeRecipe()))


def test_nothing_to_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording in the input"):
        Plan.of(Inputs(str(tmp_path)), Task(FakeRecipe()))


def test_what_is_wrong_with_all_recordings_ends_the_run(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(EmovoxError, match="no"):
        run(Inputs(str(calls)), tmp_path, engine=Inline(Task(FakeRecipe()), fails=["a/call1.wav"]))


@pytest.mark.parametrize("fault", [WorkerKilledError("died 3 times"), WorkerHungError("gave no sign of life")])
def test_one_that_kills_or_hangs_its_worker_fails_alone(fault: WorkerError, calls: Path, tmp_path: Path) -> None:
    engine = Inline(Task(FakeRecipe()), fails=["a/call1.wav"], fault=fault)
    assert run(Inputs(str(calls)), tmp_path, engine=engine).failed == 3
    first = json.loads((tmp_path / "failed.jsonl").read_text().splitlines()[0])
    assert first == {"id": "a/call1.wav", "code": fault.code, "message": str(fault), "channel": None}
    assert "a/call1.wav" not in [row["id"] for row in rows(tmp_path)]


def test_columns_are_carried_along_with_their_types(tmp_path: Path) -> None:
    lines = [{"file": f"{n}.wav", "age": 30 + n, "score": n / 2, "tags": ["x"], "label": "sad"} for n in range(2)]
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in range(2):
        write_tone(tmp_path / f"{number}.wav", number)
    run(Inputs(str(tmp_path / "calls.jsonl")), tmp_path / "out")
    assert [(row["age"], row["score"], row["tags"], row["manifest_label"]) for row in rows(tmp_path / "out")] == [
        (30, 0.0, ["x"], "sad"),
        (31, 0.5, ["x"], "sad"),
    ]
    plan = stored(place(str(tmp_path / "out")))
    assert plan
    kinds = {name: plan.columns[name] for name in ("age", "score", "tags", "manifest_label")}
    assert kinds == {"age": "int", "score": "double", "tags": "json", "manifest_label": "string"}


def test_stretches_and_channels(tmp_path: Path) -> None:
    write_tone(tmp_path / "call.wav", 1, seconds=3, channels=2)
    (tmp_path / "calls.csv").write_text("file,start,end,channel\ncall.wav,1,2.5,2\ncall.wav,,,\n")
    run(Inputs(str(tmp_path / "calls.csv")), tmp_path / "out", Task(FakeRecipe(), channels="each"))
    found = [(row["start"], row["end"], row["channel"], row["label"]) for row in rows(tmp_path / "out")]
    samples, rate = soundfile.read(tmp_path / "call.wav")
    recognizer = FakeRecognizer()
    stretch = recognizer.predict((samples[16000:40000, 1], rate)).label
    each = [recognizer.predict((samples[:, channel], rate)).label for channel in (0, 1)]
    assert found == [(1.0, 2.5, 2, stretch), (0.0, 3.0, 1, each[0]), (0.0, 3.0, 2, each[1])]


def test_timelines_have_a_row_a_segment(tmp_path: Path, calls: Path) -> None:
    write_tone(tmp_path / "in" / "long.wav", 1, seconds=20)
    run(Inputs(str(tmp_path / "in")), tmp_path / "out", Task(FakeRecipe(), Output.TIMELINE))
    timeline = FakeRecognizer().timeline(tmp_path / "in" / "long.wav")
    found = [(row["start"], row["end"], row["label"], row["duration"]) for row in rows(tmp_path / "out")]
    assert found == [(one.start, one.end, one.label, 20.0) for one in timeline.predictions]
    assert len(found) > 1


def test_timelines_of_speakers_tell_the_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Segment(0.0, 2.0, "anna", {"overlap": "0.50"}), Segment(1.5, 3.0, "ben")]
    monkeypatch.setattr("emovox.recognition.analysis.turns_of", lambda *_: turns)
    cut = TimelineOptions(speakers="auto")
    run(Inputs(str(EXAMPLES / "plain.wav")), tmp_path, Task(FakeRecipe(), Output.TIMELINE, cut=cut))
    assert [(row["speaker"], row["overlap"]) for row in rows(tmp_path)] == [("anna", 0.5), ("ben", 0.0)]


@pytest.mark.parametrize("form", FORMS)
def test_features_are_those_of_the_set(calls: Path, tmp_path: Path, form: PartFormat) -> None:
    if form is PartFormat.PARQUET:
        pytest.importorskip("pyarrow")
    run(Inputs(str(calls), limit=2), tmp_path, Task(output=Output.FEATURES), form=form)
    where = place(str(tmp_path))
    plan = stored(where)
    assert plan
    names = sets.feature_names(sets.spec("prosodic"))
    for row, file in zip(plan.rows(where, 0, ["file", *names]), Inputs(str(calls)), strict=False):
        assert row[0] == file.file
        wanted = sets.extract(audio.read(file.file), sets.spec("prosodic")).tolist()
        assert list(row[1:]) == pytest.approx(wanted, rel=1e-7)


def test_embeddings_need_a_model_that_gives_them(tmp_path: Path) -> None:
    run(Inputs(str(EXAMPLES / "plain.wav")), tmp_path, Task(output=Output.EMBEDDINGS))
    wanted = FeatureExtractor("default")(EXAMPLES / "plain.wav")
    assert rows(tmp_path)[0]["embedding"] == pytest.approx(wanted.tolist(), rel=1e-7)


@pytest.mark.parametrize("output", [Output.FEATURES, Output.EMBEDDINGS, Output.PREDICTIONS])
def test_what_cannot_be_read_is_told_in_every_row(output: Output, tmp_path: Path) -> None:
    whole = (EXAMPLES / "plain.wav").read_bytes()
    (tmp_path / "short.wav").write_bytes(whole[:60_000])
    (tmp_path / "list.csv").write_text("file,start,end\nshort.wav,,\nshort.wav,0.5,2.5\nshort.wav,0.2,1.2\n")
    task = Task(Recognition(gate=False), output=output)
    run(Inputs(str(tmp_path / "list.csv")), tmp_path / "out", task, form=PartFormat.JSONL)
    found: list[Any] = [row["unread"] for row in rows(tmp_path / "out")]
    whole_file, end, inside = found
    length = soundfile.info(EXAMPLES / "plain.wav").duration
    assert [(one["start"], one["end"]) for one in whole_file] == [
        (pytest.approx(1.87, abs=0.01), pytest.approx(length))
    ]
    assert end == whole_file
    assert inside == []
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["partly"] == 2


def test_the_summary_counts_what_there_is(calls: Path, tmp_path: Path) -> None:
    run(Inputs(str(calls)), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    found = rows(tmp_path)
    assert (summary["recordings"], summary["failed"], summary["failures"]) == (7, 2, {"invalid_audio": 2})
    labels = {str(row["label"]) for row in found}
    assert summary["total"]["labels"] == {
        label: sum(row["label"] == label for row in found)
        for label in sorted(labels, key=lambda one: (-sum(row["label"] == one for row in found), one))
    }
    assert summary["total"]["hours"] == pytest.approx(5 * 0.3 / 3600, abs=1e-6)
    assert {name: one["recordings"] for name, one in summary["folders"]["listed"].items()} == {
        str(calls / "a"): 3,
        str(calls / "b"): 2,
    }
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "broken.wav" in page
    assert "invalid_audio 2" in page


def test_names_on_the_page_are_no_markup(tmp_path: Path) -> None:
    write_tone(tmp_path / "in" / "<b>x.wav", 1)
    (tmp_path / "in" / "<script>.wav").write_bytes(b"")
    run(Inputs(str(tmp_path / "in")), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;.wav" in page
