"""scripts/check_gates.py finds what a gate passes over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

PYPROJECT = """
[tool.mypy]
strict = true
files = ["src", "tests", "scripts", "conftest.py"]
[tool.pytest.ini_options]
testpaths = ["tests", "src", "docs", "README.md"]
"""
EXAMPLE = '"""One.\n\n>>> 1\n1\n"""\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a small project that passes every check."""
    content = {
        "pyproject.toml": PYPROJECT,
        "mkdocs.yml": "nav:\n  - Home: index.md\nplugins:\n",
        "README.md": "# Small\n",
        "docs/index.md": "# Page\n\n```python\n>>> 1\n1\n\n```\n",
        "src/small.py": EXAMPLE,
        "tests/test_small.py": "def test_one() -> None:\n    assert True\n",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check_gates.py", tmp_path / "scripts")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "examples").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def findings(project: Path) -> list[str]:
    script = project / "scripts" / "check_gates.py"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("EMOVOX", "PYTEST"))}
    done = subprocess.run([sys.executable, str(script)], env=plain, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout.splitlines()


def test_a_whole_project_has_no_finding(project: Path) -> None:
    assert findings(project) == []


def test_each_gap_is_found(project: Path) -> None:
    more = {
        "tools/new.py": "",
        "tests/helpers.py": "",
        "tests/small_test_of_ours.py": "def test_two() -> None:\n    assert True\n",
        "docs/lost.md": "# Lost\n\n```sh\nemovox predict examples\n```\n\n```pycon\n>>> 1\n```\n",
    }
    for name, text in more.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    settings = PYPROJECT.replace('"src", "docs", ', "") + '[tool.ruff]\nextend-exclude = ["src/small.py"]\n'
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    (project / "mkdocs.yml").write_text("nav:\n  - Home: index.md\n  - Gone: gone.md\nplugins:\n", encoding="utf-8")
    assert sorted(findings(project)) == sorted(
        [
            "ruff does not check src/small.py",
            "mypy does not check tools/new.py",
            "docs/lost.md is not in the nav of mkdocs.yml",
            "mkdocs.yml names docs/gone.md, which does not exist",
            "docs/lost.md has an emovox command in a sh block: console and bash blocks are run",
            "docs/lost.md has a pycon block: only python blocks are run",
            "pytest does not collect tests/small_test_of_ours.py",
            "tests/helpers.py has no test in it",
            "pytest does not run the docstring examples of src/small.py",
            "pytest does not run the Python blocks of docs/index.md",
        ]
    )
