"""Check that every quality gate covers every file it should; print one line per finding and exit with 1 if any.

A file that a gate does not read looks exactly like a file without faults.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def output(*command: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command in the repository and return its output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command[:4])} fails: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def files(pattern: str) -> set[str]:
    """Return the existing files of the repository, untracked ones included."""
    listed = output("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern).splitlines()
    return {name for name in listed if (ROOT / name).exists()}


def seen_by_ruff() -> set[str]:
    """Return the files that ruff reads."""
    shown = output(sys.executable, "-m", "ruff", "check", "--show-files", ".").splitlines()
    return {os.path.relpath(name, ROOT).replace(os.sep, "/") for name in shown}


def configuration() -> dict[str, Any]:
    """Return the tool tables of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        tools: dict[str, Any] = tomllib.load(file)["tool"]
    return tools


def below(name: str, roots: list[str]) -> bool:
    """Return whether a file is one of the roots or below one."""
    return any(name == root or name.startswith(f"{root.rstrip('/')}/") for root in roots)


def python_findings(tools: dict[str, Any]) -> Iterator[str]:
    """Check that ruff and mypy read every Python file."""
    sources = files("*.py")
    yield from (f"ruff does not check {name}" for name in sorted(sources - seen_by_ruff()))
    mypy = tools["mypy"]
    yield from (f"mypy does not check {name}" for name in sorted(sources) if not below(name, mypy["files"]))
    if "exclude" in mypy:
        yield "mypy has an exclude in pyproject.toml: files under it are not checked"
    if not mypy.get("strict"):
        yield "mypy is not strict"
    for override in mypy.get("overrides", []):
        if override.get("ignore_errors"):
            yield f"mypy ignores errors in {override['module']}"


#: What tests start as processes of their own, without the test library, or share.
PROGRAMS = ("tests/batch/killed.py", "tests/recognition/behaviour.py", "tests/serve/chromium.py")


def test_findings(collected: set[str]) -> Iterator[str]:
    """Check that pytest collects every test file, every page with examples and every docstring example."""
    for name in sorted(files("tests/*.py")):
        defines = re.search(r"^\s*(?:async )?def test_", (ROOT / name).read_text(encoding="utf-8"), re.M)
        if defines and name not in collected:
            yield f"pytest does not collect {name}"
        if not defines and name not in PROGRAMS and not name.endswith(("conftest.py", "__init__.py")):
            yield f"{name} has no test in it"
    for name in sorted(files("src/*.py")):
        if re.search(r"^\s*>>> ", (ROOT / name).read_text(encoding="utf-8"), re.M) and name not in collected:
            yield f"pytest does not run the docstring examples of {name}"
    for name in sorted(pages() | {"README.md"}):
        if re.search(r"^```python$", (ROOT / name).read_text(encoding="utf-8"), re.M) and name not in collected:
            yield f"pytest does not run the Python blocks of {name}"


def pages() -> set[str]:
    """Return the pages of the documentation."""
    return files("docs/*.md")


def page_findings() -> Iterator[str]:
    """Check that every page is in the navigation, and that every shell block is of a kind that is run."""
    navigation = re.search(r"^nav:\n((?: +.*\n)*)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    listed = {f"docs/{name}" for name in re.findall(r": (\S+\.md)$", navigation[1] if navigation else "", re.M)}
    yield from (f"{name} is not in the nav of mkdocs.yml" for name in sorted(pages() - listed))
    yield from (f"mkdocs.yml names {name}, which does not exist" for name in sorted(listed - pages()))
    for name in sorted(pages() | {"README.md"}):
        fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)
        for kind, text in fences:
            if kind not in ("console", "bash") and re.search(r"^(\$ )?emovox ", text, re.M):
                yield f"{name} has an emovox command in a {kind or 'bare'} block: console and bash blocks are run"
            if kind in ("py", "pycon", "python3", "Python"):
                yield f"{name} has a {kind} block: only python blocks are run"


def collect() -> set[str]:
    """Return the files from which pytest collects tests, whatever their markers.

    A run of all tests has written them where ``EMOVOX_COLLECTED`` says; pytest is asked where none has.
    """
    if written := os.environ.get("EMOVOX_COLLECTED"):
        return set(Path(written).read_text(encoding="utf-8").splitlines())
    shown = output(
        sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--quiet", "-m", "", "-p", "no:cacheprovider"
    )
    return {line.rpartition(": ")[0] for line in shown.splitlines() if re.search(r": \d+$", line)}


def main() -> int:
    """Run all checks."""
    tools = configuration()
    findings = [*python_findings(tools), *page_findings(), *test_findings(collect())]
    print(*findings, sep="\n", end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
