"""Real files with odd names, and standard output of every encoding: no name costs more than its own row."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emovox.errors import InputError, ProfileError
from emovox.model import profiles
from emovox.storage import cache_folder, replacing
from tests import EXAMPLES
from tests.cli import EMOVOX, Done, emovox_command, emovox_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")

#: Names as bytes, and as they are shown.
ODD = {
    b"caf\xe9.wav": r"caf\xe9.wav",
    b"two\nlines.wav": r"two\nlines.wav",
    b"\x1b[31mred\x1b]0;title\x07.wav": r"\x1b[31mred\x1b]0;title\x07.wav",
    "日本 🙂.wav".encode(): "日本 🙂.wav",
    b"=1+1,a.wav": "=1+1,a.wav",
}
#: Locales and encodings that programs meet; Windows gives a redirected program cp1252.
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "utf-8": {},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
FORMATS = ("json", "csv", "table", "rttm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ODD:
        shutil.copy(EXAMPLES / "plain.wav", tmp_path / os.fsdecode(name))
    return tmp_path


def check(form: str, done: Done) -> None:
    """Hold the output of a format to have every name."""
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    if form == "json":
        controls = {
            r"two\nlines.wav": "two\nlines.wav",
            r"\x1b[31mred\x1b]0;title\x07.wav": "\x1b[31mred\x1b]0;title\x07.wav",
        }
        assert {one["file"] for one in json.loads(done.stdout)} == {controls.get(one, one) for one in ODD.values()}
    elif form == "csv":
        found = [row["file"] for row in csv.DictReader(io.StringIO(done.stdout))]
        assert sorted(found) == sorted(one.replace("=1", "'=1") for one in ODD.values())
    elif form == "table":
        assert all(one in done.stdout for one in ODD.values())
    else:
        assert len(done.stdout.splitlines()) == len(ODD)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_every_name(form: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    check(form, emovox_command("predict", ".", "-f", form))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("form", ["json", *(pytest.param(form, marks=pytest.mark.long) for form in FORMATS[1:])])
def test_every_encoding_holds_every_name(
    form: str, environment: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    check(form, emovox_process("predict", ".", "-f", form, stdin=b"", **ENVIRONMENTS[environment]))


def test_files_and_error_lines(folder: Path) -> None:
    (folder / os.fsdecode(b"bad\xe9\x1b[2J\n.wav")).write_bytes(b"no sound")
    out = folder / "out.csv"
    for command in ("predict", "features"):
        done = emovox_command(command, folder, "-o", out)
        assert done.returncode == 2
        assert "\x1b" not in done.stderr
        assert sum(r"bad\xe9\x1b[2J\n.wav" in line for line in done.stderr.splitlines()) == 1
        assert len(out.read_text(encoding="utf-8").splitlines()) == len(ODD) + 1


def test_a_terminal_without_the_signs(tmp_path: Path) -> None:
    """On a terminal of another encoding the bars are plain characters, and names are escaped."""
    shutil.copy(EXAMPLES / "plain.wav", tmp_path / "日本.wav")
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*EMOVOX, "predict", "日本.wav"],
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "COLUMNS": "100", "TERM": "dumb"},
    )
    os.close(secondary)
    text = b""
    try:
        while piece := os.read(primary, 4096):
            text += piece
    except OSError:  # the other end is closed
        pass
    os.close(primary)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert rb"\u65e5\u672c.wav" in text
    assert b"###" in text


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user the system does not know."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    for name in ("EMOVOX_CACHE", "EMOVOX_PROFILES", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert profiles.names() == ()
    with pytest.raises(ProfileError, match="there is no profile of 'anna'"):
        profiles.find("anna")
    with pytest.raises(InputError, match="cannot write"), replacing(cache_folder() / "entry"):
        pass
