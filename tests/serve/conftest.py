"""Fixtures of the tests of the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.serve import serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Serve with a fake recogniser, and without keys."""
    with serving(tmp_path_factory.mktemp("serve"), rate=0) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a data folder."""
    return tmp_path / "data"
