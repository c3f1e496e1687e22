"""The command itself: help pages, mistakes in a call, and Ctrl-C while it loads."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import emovox
from emovox.cli.commands import COMMANDS, app
from emovox.outputs.console import whole_writes
from tests import ROOT
from tests.cli import emovox_command, emovox_process

PLAIN = ROOT / "examples" / "plain.wav"
PAGES = (*COMMANDS, "data list", "data check", "data download", "data verify", "data audit")
SOURCE = Path(emovox.__file__).parents[1]
#: Lines of a help page at most: a terminal of usual height.
SCREEN = 48


def found(words: str) -> Any:
    current: Any = app
    for word in words.split():
        current = current.get_command(click.Context(current), word)
    return current


def page(words: str, width: int = 80) -> str:
    done = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [*words.split(), "--help"], prog_name="emovox")
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("words", ["", *PAGES])
def test_a_help_page_fits_a_screen(words: str) -> None:
    lines = page(words).splitlines()
    assert lines[0].startswith(f"Usage: emovox {words}".strip())
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", ["", *PAGES])
def test_a_narrow_help_page_says_the_same(words: str) -> None:
    narrow = page(words, 50)
    assert narrow.split() == page(words).split()
    # Names of options and examples are never broken.
    assert {line for line in page(words).splitlines() if line.startswith("  emovox ")} <= set(narrow.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says(name: str) -> None:
    assert COMMANDS[name].summary == found(name).help.partition("\n")[0].strip()


@pytest.mark.parametrize("words", PAGES)
def test_examples_are_calls_that_parse(words: str) -> None:
    calls = re.findall(r"(?m)^  (?:\S.* \| )?emovox ([^>|\n]+)", page(words).partition("\nOptions:")[0])
    for call in calls:
        arguments = shlex.split(call)
        count = 2 if arguments[0] == "data" else 1
        found(" ".join(arguments[:count])).make_context("emovox", arguments[count:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("prdict", "no such command 'prdict': did you mean 'predict'? choose one of predict, listen"),
        (
            "data chek",
            "no such command 'chek': did you mean 'check'? choose one of audit, check, download, info, list, ",
        ),
        (
            "predict a.wav --treshold 1",
            "no such option --treshold: did you mean --threshold? see emovox predict",
        ),
        ("predict a.wav --format jsn", "'jsn' is unknown: did you mean 'json'? choose one of table, json"),
        ("predict a.wav --jobs x", "invalid value for '--jobs' / '-j': 'x' is not a valid integer: see emovox predict"),
        ("predict", "missing argument 'AUDIO...': see emovox predict --help"),
        ("predict a.wav --mode", "option '--mode' requires an argument: see emovox predict --help"),
        ("features a.wav", "missing option '--out' / '-o': see emovox features --help"),
        ("features a.wav -o a.csv -w 0.1", "window is 0.1: expected seconds from 0.5"),
        ("models a b", "got unexpected extra argument (b): see emovox models --help"),
    ],
)
def test_a_slip_in_a_call_is_one_line(call: str, message: str) -> None:
    done = emovox_command(*call.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("emovox: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_in_place_of_a_command(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.touch()
    done = emovox_command(path)
    assert (done.returncode, f"did you mean emovox predict {path}?" in done.stderr) == (2, True)


def test_without_a_word_there_is_the_help_page() -> None:
    done = emovox_command()
    assert (done.returncode, done.stdout) == (2, "")
    assert "predict" in done.stderr


@pytest.mark.parametrize("module", ["click", "numpy", "onnxruntime"])
@pytest.mark.parametrize(
    "code",
    ["raise KeyboardInterrupt", "raise ImportError('initialization failed') from KeyboardInterrupt()"],
    ids=["python", "in C"],
)
def test_ctrl_c_while_a_library_loads(module: str, code: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(f"{code}\n")  # stands for the library, and is stopped at once
    done = emovox_process("predict", "a.wav", PYTHONPATH=f"{tmp_path}{os.pathsep}{SOURCE}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "emovox: stopped\n")


def test_a_shell_can_complete() -> None:
    done = emovox_command(_EMOVOX_COMPLETE="bash_complete", COMP_WORDS="emovox pre", COMP_CWORD="1")
    assert done.stdout == "plain,predict\n"


@pytest.mark.parametrize("call", ["--version", "--help"])
def test_what_judges_nothing_loads_nothing(call: str) -> None:
    code = (
        "import sys\n"
        "from emovox.cli.main import run\n"
        f"sys.argv = ['emovox', {call!r}]\n"
        "try:\n    run()\n"
        "finally:\n    print(sorted({'numpy', 'onnxruntime', 'soundfile'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_is_heard_from_the_beginning() -> None:
    # What is imported before `run` is called cannot be stopped with a line: it must be next to nothing.
    source = ROOT / "src"
    code = f"import sys; sys.path.insert(0, {str(source)!r}); before = set(sys.modules); import emovox.cli.main; "
    code += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.split()) - {"__future__"}  # there before in a process whose coverage is measured
    assert found == {"emovox", "emovox.cli", "emovox.cli.main"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c_comes_before_or_after_a_write() -> None:
    done: list[str] = []

    def write() -> None:
        done.append("begun")
        os.kill(os.getpid(), signal.SIGINT)
        done.append("ended")

    def print_all(protected: bool) -> None:
        with whole_writes() as whole:
            whole(write) if protected else write()
            done.append("next")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            print_all(protected=True)
        assert done == ["begun", "ended"]
        with pytest.raises(KeyboardInterrupt):
            print_all(protected=False)
        assert done == ["begun", "ended", "begun"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
