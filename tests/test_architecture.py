"""The import rule: a module imports only modules of lower rank (the table in docs/architecture.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "emovox"


def ranks() -> dict[str, int]:
    """Read the table that people read."""
    found: dict[str, int] = {}
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| (\d+) \| ([^|]+) \|", line):
            for name in re.findall(r"`([^`]+)`", match[2]):
                found[name] = int(match[1])
    return found


def modules() -> dict[str, Path]:
    """Return every module but the packages' own, which only re-export."""
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def rank_of(name: str, table: dict[str, int]) -> int | None:
    """Return a module's rank; ``cli.*`` stands for all commands."""
    return table.get(name, table.get(f"{name.split('.')[0]}.*"))


def imports(path: Path) -> set[str]:
    """Return the package modules that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("emovox.") for name in found if name.startswith("emovox.")} & modules().keys()


def test_every_module_has_a_rank() -> None:
    table = ranks()
    assert [name for name in modules() if rank_of(name, table) is None] == []


def test_every_ranked_module_exists() -> None:
    assert [name for name in ranks() if not name.endswith(".*") and name not in modules()] == []


def test_imports_point_only_downwards() -> None:
    table = ranks()
    upward = [
        f"{name} ({rank_of(name, table)}) imports {other} ({rank_of(other, table)})"
        for name, path in modules().items()
        for other in imports(path)
        if (rank_of(other, table) or 0) >= (rank_of(name, table) or 0)
        # The command line's main module gathers its commands.
        and not (name.startswith("cli.") and other.startswith("cli."))
    ]
    assert not upward, "\n".join(sorted(upward))


def test_no_module_is_too_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_no_function_is_too_long() -> None:
    long = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                if (node.end_lineno or 0) - first.lineno > 60:
                    long.append(f"{name}.{node.name}")
    assert long == []


def test_recognition_imports_nothing_heavy() -> None:
    code = (
        "import sys, emovox.recognizer, emovox.outputs, emovox.cli.main\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'matplotlib', 'scipy', 'librosa', 'joblib', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
