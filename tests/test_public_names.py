"""`emovox.__all__` holds all that its public signatures and attributes mention, so that users can name it."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import emovox
from tests import ROOT


def classes() -> set[str]:
    """Return the names of all public classes of the package outside the lab, the commands and the rooms above them."""
    found = set()
    for path in (ROOT / "src" / "emovox").rglob("*.py"):
        if not {"lab", "cli", "serve", "batch"} & set(path.parts):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {name for name in found if not name.startswith("_")}


def hints_of(thing: Any) -> Iterator[str]:
    """Give the annotations of a class's public attributes, properties and methods, or of a function."""
    if not inspect.isclass(thing):
        yield from map(str, getattr(thing, "__annotations__", {}).values())
        return
    for base in thing.__mro__:
        if base.__module__.startswith("emovox"):
            yield from (str(kind) for name, kind in vars(base).get("__annotations__", {}).items() if name[0] != "_")
            for name, member in vars(base).items():
                if not name.startswith("_") or name == "__init__":
                    inner = getattr(member, "fget", None) or getattr(member, "func", None) or member
                    yield from hints_of(getattr(inner, "__func__", inner)) if not inspect.isclass(inner) else ()


def test_every_name_that_a_signature_mentions_is_public() -> None:
    known, missing = classes(), {}
    for public in emovox.__all__:
        mentioned = {word for text in hints_of(getattr(emovox, public)) for word in re.findall(r"\w+", text)}
        if lacking := (mentioned & known) - set(emovox.__all__):
            missing[public] = sorted(lacking)
    assert missing == {}


def test_every_public_name_can_be_had_and_is_sorted() -> None:
    assert sorted(emovox.__all__) == emovox.__all__
    assert all(getattr(emovox, name) is not None for name in emovox.__all__)
    assert dir(emovox) == emovox.__all__


@pytest.mark.parametrize(("old", "new"), emovox._MOVED.items())
def test_a_moved_module_is_found_and_says_where(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new}") as said:
        moved = import_module(old)

    assert moved is import_module(new)
    assert moved.__name__ == moved.__spec__.name == new  # type: ignore[union-attr]
    assert len(said) == 1


def test_old_code_goes_on() -> None:
    code = (
        "import tempfile, warnings; from pathlib import Path\n"
        "warnings.simplefilter('error'); warnings.filterwarnings('default', 'emovox', DeprecationWarning)\n"
        "import emovox, sys; assert 'emovox.lab' not in sys.modules\n"
        "from emovox.features.cache import FeatureCache; from emovox.lab.extraction import cache\n"
        "assert FeatureCache is cache.FeatureCache and FeatureCache(Path(tempfile.mkdtemp())).load('0' * 64) is None\n"
        "try: import emovox.nothing\n"
        "except ModuleNotFoundError as error: assert 'emovox.nothing' in str(error)\n"
        "else: raise AssertionError\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "<string>:4: DeprecationWarning: emovox.features.cache is called emovox.lab.extraction.cache" in ended.stderr
