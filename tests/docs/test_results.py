"""The reports of docs/results: what the script would train, and that the pages that are kept are whole and small."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest

from emovox.lab.commands.train import overrides
from tests import ROOT

PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "results.py"))


def test_every_run_has_a_name_of_its_own_and_a_recipe_that_says_what_it_is(script: dict[str, Any]) -> None:
    names: dict[str, tuple[str, str]] = {}
    for report in script["REPORTS"]:
        for name in script["known"](report):
            one = report.load(name)
            assert one.protocol.name == report.protocol
            assert report.corpus in one.corpora
            assert names.setdefault(report.run(name), (report.name, name)) == (report.name, name)


def test_the_command_of_a_run_makes_its_recipe(script: dict[str, Any]) -> None:
    from emovox.lab.experiments import recipe

    for report in script["REPORTS"]:
        for name in script["known"](report):
            line = script["command"](report, name)
            changes = re.findall(r"--set '([^']+)'", line)
            protocol = re.search(r"--protocol (\S+)", line)
            made = recipe.load(name, overrides(protocol[1] if protocol else None, [], changes))
            wanted = report.load(name)
            for part in ("corpora", "protocol", "model", "features", "preprocess", "members"):
                assert getattr(made, part) == getattr(wanted, part), line


def test_the_pages_are_whole_and_their_pictures_small() -> None:
    assert (ROOT / "docs" / "results" / "index.md") in PAGES
    shown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"/(work|tmp|home)/", text)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            path = (page.parent / target).resolve()
            assert path.exists(), f"{page.name} shows {target}"
            shown.add(path)
    pictures = set((ROOT / "docs" / "results").rglob("*.png"))
    assert {path.resolve() for path in pictures} <= shown
    assert all(path.stat().st_size < 150_000 for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < 2_000_000
