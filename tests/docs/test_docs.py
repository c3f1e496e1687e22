"""The documentation does what it says: commands run, options exist, tables are up to date, every page is reachable."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from emovox.cli.commands import app
from tests import ROOT
from tests.cli import emovox_command

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- skip: (?P<why>.+?) -->\s*)?^```(?P<kind>console|bash)\n(?P<text>.*?)^```$", re.M | re.S)
#: Commands that must run, so that a slip in the pattern above cannot empty the test.
LEAST = 15


@dataclass(frozen=True)
class Block:
    """A fenced block of shell commands."""

    place: str
    text: str
    skipped: str

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command with the output shown for it; bash blocks show none."""
        if not self.text.startswith("$ "):
            yield self.text, ""
            return
        for part in re.split(r"(?m)^\$ ", self.text)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("kind")) + 1
            found.append(Block(f"{page.name}:{line}", match["text"], match["why"] or ""))
    return found


BLOCKS = blocks()
RUNNABLE = [block for block in BLOCKS if not block.skipped]


#: What makes a shell of a command.
SHELL = re.compile(r"[|><&;$`~]|(?m:^(?!emovox ))")


def in_a_shell(command: str) -> tuple[int, str]:
    """Run a command as a user does; return exit code and output, standard error among it."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "PYTHONIOENCODING": "utf-8",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )
    return done.returncode, done.stdout


def in_this_process(command: str) -> tuple[int, str]:
    """Run a command without the second that a new process costs."""
    done = emovox_command(*shlex.split(command)[1:], together=True, COLUMNS="200")
    return done.returncode, done.stdout


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.place)
def test_commands_do_what_is_shown(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").mkdir()
    for clip in (ROOT / "examples").glob("*.wav"):
        shutil.copy(clip, tmp_path / "examples")
    shutil.copytree(ROOT / "voices", tmp_path / "voices")
    monkeypatch.chdir(tmp_path)
    for command, shown in block.commands():
        # A shell is started only for what a shell alone can do.
        code, printed = (in_a_shell if SHELL.search(command.strip()) else in_this_process)(command)
        wanted = 2 if re.search(r"(?m)^emovox: ", shown) else 0
        assert code == wanted, f"{command}: exit code {code}\n{printed}"
        if shown:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            same = doctest.OutputChecker().check_output(shown, printed, flags)
            assert same, f"{command} is shown with\n{shown}\nbut it prints\n{printed}"


def test_enough_commands_ran() -> None:
    ran = [command for block in RUNNABLE for command, _ in block.commands()]
    skipped = {block.place: block.skipped for block in BLOCKS if block.skipped}
    print(
        f"{len(ran)} commands run; blocks not run:", *(f"  {place}: {why}" for place, why in skipped.items()), sep="\n"
    )
    assert len(ran) >= LEAST
    needs = {
        "needs a corpus": r"--corpus|--corpora|-c |data check|data audit|=DIR",
        "needs the network": r"data download",
        "needs a server": r"emovox serve|emovox keys",
        "needs a cluster": r"--shard",
        "needs telephone prompts": r"asterisk",
        "needs a microphone": r"emovox listen|arecord",
        "needs espeak-ng and flite": r"speak\.py",
    }
    assert set(skipped.values()) <= needs.keys()
    without = [block.place for block in BLOCKS if block.skipped and not re.search(needs[block.skipped], block.text)]
    assert not without, f"skipped for want of something that they do not need: {without}"


def options(command: str, hidden: bool = True) -> set[str]:
    """Return the long and short options that a command really has, with those that its help leaves out."""
    current: Any = app
    for word in command.split():
        current = current.get_command(click.Context(current), word)
    shown = [parameter for parameter in current.params if hidden or not getattr(parameter, "hidden", False)]
    names = {name for parameter in shown for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"--help", "-h"}


COMMANDS = (
    "predict",
    "listen",
    "enroll",
    "features",
    "adapt",
    "train",
    "tune",
    "evaluate",
    "compare",
    "models",
    "cache",
    "data list",
    "data info",
    "data download",
    "data verify",
    "data repair",
    "data audit",
    "data sample",
    "data check",
    "batch run",
    "batch status",
    "batch merge",
    "batch export",
    "batch import",
    "serve",
    "keys create",
    "dimensions",
    "keys list",
    "keys revoke",
)
#: Commands that have a page of their own.
GUIDES = {"batch": "batch.md", "serve": "serve.md", "keys": "serve.md"}


def guide_of(command: str) -> str:
    """Return the pages that describe a command: the guide, and its own."""
    names = {"guide.md", GUIDES.get(command.split()[0], "guide.md")}
    return "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in names)


def test_all_commands_are_known_here() -> None:
    context = click.Context(app)
    names = [
        f"{name} {below}".strip()
        for name in app.list_commands(context)
        for below in getattr(app.get_command(context, name), "commands", [""])
    ]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_and_guide_name_every_command(command: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"emovox {command}" in guide_of(command)
    assert f"emovox {command}" in readme or command in ("data list", "keys create", "keys list", "keys revoke")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_shown_exists(command: str) -> None:
    known = options(command)
    for page in (*PAGES, ROOT / "examples" / "README.md", ROOT / "CHANGELOG.md"):
        for call in re.finditer(rf"emovox {command}\b([^`|>\n]*)", page.read_text(encoding="utf-8")):
            shown = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", call[1]))
            assert shown <= known, f"{page.name} shows {call[0]!r}, which has no {', '.join(shown - known)}"


@pytest.mark.parametrize("command", COMMANDS)
def test_guide_describes_every_option(command: str) -> None:
    guide = guide_of(command)
    missing = {name for name in options(command) if not re.search(rf"(?<![\w-]){name}(?![\w-])", guide)}
    assert not missing, f"the guide does not mention {', '.join(sorted(missing))} of emovox {command}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option(command: str) -> None:
    done = emovox_command(*command.split(), "--help", COLUMNS="200", NO_COLOR="1")
    assert done.returncode == 0
    assert {name for name in options(command, hidden=False) if name not in done.stdout} == set()


RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "scripts" / "recipe_reference.py"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(REFERENCE))


def test_recipe_reference_is_up_to_date(
    reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(REFERENCE), "--check"])
    assert reference["main"]() == 0, capsys.readouterr().err


def test_recipe_reference_mends_a_changed_table_and_leaves_the_prose(reference: dict[str, Any]) -> None:
    page = reference["page"]
    assert page(RECIPES.replace("`[300, 50, 20, 10]`", "`[299]`")) == RECIPES
    assert page(RECIPES.replace("# Recipes", "# Other", 1)) == RECIPES.replace("# Recipes", "# Other", 1)


def test_no_page_has_a_left_over_mark() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "@@" not in text, f"{page.name} has a place that was not filled"
        assert not re.search(r"/(work|tmp|home)/", text), f"{page.name} has a path of one machine"


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), f"README.md links to {target}, which does not exist"
