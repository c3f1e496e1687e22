"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.lab.reports import report
from tests.lab.reports import Page, Run, experiment


@pytest.fixture(scope="module", autouse=True)
def unpainted() -> None:
    """Pictures are what these tests are about."""


@pytest.fixture(scope="module")
def run() -> Run:
    return experiment(seeds=(0, 1))


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    report.write(folder, *run)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))
