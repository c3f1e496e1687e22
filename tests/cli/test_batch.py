"""`emovox batch`: options, exit codes, what is said; once with worker processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emovox.cli import batch as command
from emovox.errors import InputError
from tests import EXAMPLES
from tests.batch import FakeRecipe, Inline, content
from tests.batch.conftest import write_tone
from tests.cli import emovox_command

Call = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return a function that calls the command in this process, with a fake recogniser and no workers."""
    monkeypatch.setattr(command, "Local", lambda task, jobs, patience: Inline(task))
    monkeypatch.setattr(command, "Recognition", lambda *options: FakeRecipe())

    def run(*arguments: object) -> int:
        found: Any = command.batch.main([str(one) for one in arguments], standalone_mode=False)
        return found or 0

    return run


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Return a folder of three recordings."""
    for number in range(3):
        write_tone(tmp_path / "clips" / f"{number}.wav", number)
    return tmp_path / "clips"


def test_runs_to_the_end_and_says_so(
    call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(clips, out, "--part", 2, "--format", "jsonl", "--progress", "lines") == 0
    said = capsys.readouterr().err
    assert "3 of 3 recordings" in said
    assert f"3 recordings, 0.00 hours of sound, in {out}" in said
    assert call("status", out, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["recordings"], status["done"], status["failed"], status["parts_done"]) == (3, 3, 0, 2)
    assert call("status", out) == 0
    assert capsys.readouterr().out == "3 of 3 recordings are done, 0 of them failed\n2 of 2 parts are there\n"


def test_progress_for_machines_is_json(
    call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("run", clips, tmp_path / "out", "--progress", "json")
    first, *_ = capsys.readouterr().err.splitlines()
    assert json.loads(first).items() >= {"event": "end", "done": 3, "todo": 3, "failed": 0}.items()
    call(clips, tmp_path / "quiet", "-q")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_writes_nothing(call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(clips, tmp_path / "out", "--dry-run", "--limit", 2) == 0
    assert "predictions of 2 recordings" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_done_with_failures_is_three_and_retrying_mends_it(
    call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "1.wav").write_bytes(b"")
    out = tmp_path / "out"
    assert call(clips, out, "-q", "--format", "jsonl") == 3
    assert "1 recordings failed" in capsys.readouterr().err
    assert call(clips, out, "-q", "--format", "jsonl") == 3
    assert call(clips, out, "-q", "--format", "jsonl", "--retry-failed") == 3
    write_tone(clips / "1.wav", 1)
    assert call(clips, out, "-q", "--format", "jsonl", "--retry-failed") == 0
    call(clips, tmp_path / "whole", "-q", "--format", "jsonl")
    assert content(out) == content(tmp_path / "whole")


def test_what_is_read_in_part_is_told_at_the_end(
    call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (clips / "1.wav").read_bytes()
    (clips / "1.wav").write_bytes(whole[: len(whole) // 2])
    assert call(clips, tmp_path / "out", "-q", "--format", "jsonl") == 3
    assert "emovox: 1 recordings could not be read whole" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["partly"] == 1
    assert "<dt>read in part</dt><dd>1</dd>" in (tmp_path / "out" / "report.html").read_text()


def test_too_many_failures_are_one(call: Call, clips: Path, tmp_path: Path) -> None:
    (clips / "1.wav").write_bytes(b"")
    assert call(clips, tmp_path / "out", "-q", "--max-errors", "0") == 1


def test_a_shard_says_that_others_are_missing(
    call: Call, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("-q", "--part", 1)
    assert call(clips, tmp_path / "out", "--shard", "1/2", *options) == 0
    assert "1 parts of the others are missing" in capsys.readouterr().err
    assert call(clips, tmp_path / "out", "--shard", "2/2", *options) == 0
    assert "3 recordings, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--language", "en"), "--language is about words: add --text"),
        (("--text-model", "x"), "--text-model is about words: add --text"),
        (("--output", "features", "--text"), "--text has no meaning for --output features"),
        (("--set", "mfcc"), "--set is about features: add --output features"),
        (("--hop", "1"), "--hop is about timelines: add --output timeline"),
        (("--output", "features", "--smooth", "1"), "--smooth is about timelines"),
        (("--output", "features", "--set", "prosodik"), "unknown feature set 'prosodik'"),
        (("--channels", "0"), "--channels 0: expected mix, each"),
        (("--max-errors", "x"), "--max-errors x: expected"),
        (("--shard", "2/1"), "--shard 2/1: expected I/N"),
        (("--on", "tcp://x:1", "--jobs", "2"), "--jobs is about this machine"),
    ],
)
def test_options_that_do_not_go_together(
    call: Call, clips: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        call(clips, tmp_path / "out", "-q", *options)


def test_what_is_not_there_is_no_input(call: Call, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no nowhere: give a folder"):
        call("nowhere", tmp_path / "out", "-q")
    assert not (tmp_path / "out").exists()


def test_what_is_no_output_has_no_status(call: Call, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no output of emovox batch \(it has no manifest\.json\)"):
        call("status", tmp_path)


def test_with_worker_processes(tmp_path: Path) -> None:
    done = emovox_command("batch", EXAMPLES, tmp_path / "out", "--jobs", 1, "--format", "jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "parts" / "part-000000.jsonl").read_text().splitlines()]
    predicted = json.loads(emovox_command("predict", EXAMPLES, "--format", "json").stdout)
    for row, one in zip(rows, predicted, strict=True):
        assert (row["file"], row["label"], row["confidence"]) == (one["file"], one["label"], one["confidence"])
        assert {name: row[f"p_{name}"] for name in one["probabilities"]} == one["probabilities"]
