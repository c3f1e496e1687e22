"""Settings come from options, variables and defaults; the page tells them all."""

from __future__ import annotations

import configparser
import dataclasses
import json
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from emovox.cli.listen import serve
from emovox.errors import InputError, MissingExtraError, ModelError
from emovox.serve.contract import RecognitionOptions, StreamOptions
from emovox.serve.guard import OPEN, SCOPES
from emovox.serve.jobs import Database
from emovox.serve.server import _GRACE
from emovox.serve.server import serve as run
from emovox.serve.settings import KINDS, Settings, table, variable
from tests import ROOT

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")


def test_the_page_has_the_table_of_settings() -> None:
    assert "\n".join(table()) in PAGE


def test_the_page_has_every_code_with_its_status() -> None:
    lines = [f"| {kind.status} | `{code}` | {kind.title} |" for code, kind in KINDS.items()]
    assert "\n".join(lines) in PAGE


def test_the_page_has_every_option_and_scope() -> None:
    for name in RecognitionOptions.model_fields:
        assert re.search(rf"^\| .*`{name}`.* \|", PAGE, re.M), name
    for name, text in SCOPES.items():
        assert f"| `{name}` | {text} |" in PAGE


def test_each_setting_is_an_option_and_a_variable() -> None:
    options = {name for one in serve.params for name in one.opts}
    for one in dataclasses.fields(Settings):
        assert f"--{one.name.replace('_', '-')}" in options
        other = {"data": "x", "database": "postgresql://x/y", "host": "::1"}.get(
            one.name, "debug" if one.name == "log" else None
        )
        other = other or ("10.0.0.0/8" if one.name == "webhook_networks" else "77")
        kind: Any = type(one.default)
        found = getattr(Settings.of({}, {variable(one.name): other}), one.name)
        assert found == kind(other)
        assert getattr(Settings.of({one.name: one.default}, {variable(one.name): other}), one.name) == one.default


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": -1}, "port is -1: expected 0 or more"),
        ({"port": 65536}, "port is 65536"),
        ({"timeout": 0.0}, "timeout is 0: expected 0.1 or more"),
        ({"keep": float("nan")}, "keep is nan"),
        ({"log": "loud"}, "expected debug"),
        ({"webhook_networks": "here"}, "expected networks"),
        ({"database": "mysql://me:secret@there/db"}, "^database is no URL of PostgreSQL: expected postgresql://"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**values)


@pytest.mark.parametrize(
    ("values", "error"), [({"model": "nosuch"}, ModelError), ({"asr": "a-model-of-words"}, MissingExtraError)]
)
def test_what_workers_could_not_begin_with_is_told_at_once(
    values: dict[str, str], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(error):
        run(Settings(data=str(tmp_path), port=0, **values), pytest.fail)  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="files have other permissions")
def test_nobody_else_reads_the_database_in_a_folder_of_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Database(Settings(data=str(tmp_path))).close()
    assert {one.stat().st_mode & 0o077 for one in tmp_path.iterdir()} == {0}


def test_a_variable_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="EMOVOX_PORT is 'x': expected a number"):
        Settings.of({}, {"EMOVOX_PORT": "x"})


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.2", True), ("::1", True), ("0.0.0.0", False), ("::", False)])
def test_what_only_this_machine_can_reach(host: str, loopback: bool) -> None:
    assert Settings(host=host).loopback is loopback


def test_the_page_has_every_option_of_a_stream() -> None:
    section = PAGE.partition("## Live streams")[2].partition("\n## ")[0]
    for name in StreamOptions.model_fields:
        assert re.search(rf"^\| .*`{name}`.* \|", section, re.M), name


def stated(kind: str) -> str:
    """Return a block of the page."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)
    return str(found).replace("\\\n", " ")


def require_command(words: list[str]) -> Settings:
    """Make sure that a command of the page is one that emovox understands, and return its settings."""
    assert words[:2] == ["emovox", "serve"]
    with serve.make_context("serve", words[2:]) as context:
        return Settings.of({name: value for name, value in context.params.items() if value is not None}, {})


def test_the_image_names_what_there_is() -> None:
    lines = dict.fromkeys(("FROM", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"), "")
    for line in stated("dockerfile").splitlines():
        word, _, rest = line.partition(" ")
        assert not lines[word], "each instruction once; a COPY or ADD would need a file of the repository"
        lines[word] = rest
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"'emovox\[(.*)\]'", lines["RUN"])
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    version = lines["FROM"].removeprefix("python:").removesuffix("-slim")
    assert tuple(map(int, version.split("."))) >= tuple(
        map(int, project["requires-python"].removeprefix(">=").split("."))
    )
    settings = require_command(json.loads(lines["CMD"]))
    assert settings.data == lines["VOLUME"]
    # A volume that nobody made before belongs to root, who is not who serves.
    assert f"install --directory --owner {lines['USER']} {settings.data}" in lines["RUN"]
    assert lines["EXPOSE"] == str(settings.port)
    (code,) = re.findall(r'CMD python -c "(.*)"', lines["HEALTHCHECK"])
    compile(code, "HEALTHCHECK", "exec")
    (place,) = re.findall(r"http://127.0.0.1:8000(/\w+)", code)
    assert place in OPEN


def test_the_unit_names_what_there_is() -> None:
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(stated("ini"))
    service = unit["Service"]
    program, *rest = shlex.split(service["ExecStart"])
    settings = require_command([program.rpartition("/")[2], *rest])
    assert settings.data == f"/var/lib/{service['StateDirectory']}"
    assert int(service["TimeoutStopSec"]) > _GRACE
