"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from emovox.lab.corpora import registry
from emovox.lab.corpora.table import Corpus


@pytest.fixture(scope="session")
def real(corpora: Path) -> Callable[[str], Corpus]:
    """Return what reads a real corpus by its name, each once."""
    return cache(lambda name: registry.load(name, corpora / name))
