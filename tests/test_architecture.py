"""The import rule of docs/architecture.md: packages in order, imports only downwards, nothing but cli uses lab."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

from tests import ROOT

PACKAGE = ROOT / "src" / "emovox"
#: Light on purpose: what a fresh install brings.
HEAVY = (
    "torch",
    "sklearn",
    "pandas",
    "matplotlib",
    "scipy",
    "librosa",
    "joblib",
    "pydantic",
    "onnx",
    "skorch",
    "optuna",
    "fastapi",
    "sqlalchemy",
    "starlette",
    "prometheus_client",
    "uvicorn",
    "pyarrow",
    "dask",
    "fsspec",
    "av",
)


def rule(heading: str) -> list[str]:
    """Read one of the ordered lists that people read."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. `([\w.]+)`", section, re.MULTILINE)


@functools.cache
def modules() -> dict[str, Path]:
    """Return every module but the packages' own, which only re-export."""
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def room(name: str) -> str:
    """Return the package of a module: the modules at the top are one, ``lab`` has packages of its own."""
    parts = name.split(".")
    if parts[0] == "lab":
        return ".".join(parts[:2]) if len(parts) > 2 else "lab"
    return parts[0] if len(parts) > 1 else "emovox"


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a module once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def packages() -> set[str]:
    """Return the packages' own modules."""
    inits = (path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py"))
    return {f"{name.replace('/', '.')}.__init__" for name in inits}


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, at any depth; a package stands for its own module."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    names = {name.removeprefix("emovox.") for name in found if name.startswith("emovox.")}
    return {f"{name}.__init__" if (PACKAGE / name.replace(".", "/")).is_dir() else name for name in names} & (
        modules().keys() | packages()
    )


def test_every_package_stands_in_the_rule() -> None:
    order = {"emovox", *rule("The rule"), *(f"lab.{name}" for name in rule("Inside the lab"))}
    assert {room(name) for name in modules()} - {"lab"} == order - {"lab"}


def test_imports_point_only_downwards() -> None:
    order = ["emovox", *rule("The rule")]
    inside = ["lab", *(f"lab.{name}" for name in rule("Inside the lab"))]
    upward = []
    for name, path in modules().items():
        for other in imports(path):
            mine, theirs = room(name), room(other)
            if mine.startswith("lab") and theirs.startswith("lab"):
                right = inside.index(theirs) <= inside.index(mine) or other == "lab.__init__"
            else:
                right = order.index(theirs.split(".")[0]) <= order.index(mine.split(".")[0])
                right &= not theirs.startswith(("lab", "serve")) or mine in ("cli", theirs)
            if not right:
                upward.append(f"{name} imports {other}")
    assert not upward, "\n".join(sorted(upward))


def test_no_import_goes_round() -> None:
    # The sorter raises CycleError, which names the modules.
    list(graphlib.TopologicalSorter({name: imports(path) for name, path in modules().items()}).static_order())


def test_the_house_stays_small() -> None:
    names = modules()
    assert len([name for name in names if "." not in name]) <= 8
    assert len([name for name in names if not name.startswith("lab.")]) <= 60
    assert len(rule("The rule")) <= 12


def test_no_module_is_too_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    # Outside the lab a module is a whole subject: few of them tell a stranger more than many small ones.
    limits = {name: 500 if name.startswith("lab.") else 1000 for name in lengths}
    assert {name: length for name, length in lengths.items() if length > limits[name]} == {}


def test_no_test_module_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {path.relative_to(ROOT): length for path, length in lengths.items() if length >= 500} == {}


def test_no_function_is_too_long() -> None:
    long = []
    for name, path in modules().items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                if (node.end_lineno or 0) - first.lineno > 60:
                    long.append(f"{name}.{node.name}")
    assert long == []


def test_outside_the_lab_nothing_heavy_is_needed() -> None:
    # The service has an extra of its own; of its settings, which are options of a command, the light install can tell.
    own = ("lab.", "serve.")
    names = [f"emovox.{name}" for name in modules() if not name.startswith(own) or name == "serve.settings"]
    # The step of scikit-learn's pipelines is imported by who asks for it; nobody else tries: it takes 1 s and 100 MB.
    names.sort(key="emovox.recognition.vectors".__eq__)
    code = (
        "import sys, importlib\n"
        "class Heavy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {HEAVY!r}:\n"
        f"            raise (ImportError if asked == {names[-1]!r} else RuntimeError)(name)\n"
        "sys.meta_path.insert(0, Heavy())\n"
        f"for asked in {names!r}:\n"
        "    importlib.import_module(asked)\n"
        "    assert 'emovox.lab' not in sys.modules, asked\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_recording_is_judged_without_the_modules_of_words() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['emovox', 'predict', 'examples/plain.wav', '--format', 'json']\n"
        "from emovox.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code\n"
        "found = [name for name in sys.modules if name.startswith('emovox.text')]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
