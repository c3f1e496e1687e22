"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emovox.lab.reports import report
from tests.conftest import painting_nothing
from tests.lab.reports import Page, Run, experiment


@pytest.fixture(scope="module", autouse=True)
def unpainted() -> None:
    """Pictures are what these tests are about."""


@pytest.fixture
def words_alone() -> Iterator[None]:
    """Paint no figure in a test that reads only the words and tables of its page."""
    with painting_nothing():
        yield


@pytest.fixture(scope="session")
def run() -> Run:
    return experiment(seeds=(0, 1))


@pytest.fixture(scope="session")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    report.write(folder, *run)
    return folder


@pytest.fixture(scope="session")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))
