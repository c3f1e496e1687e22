"""The tests, laid out as the package is; the folders they read, wherever a test stands."""

import os
from pathlib import Path
from typing import TypeVar

Size = TypeVar("Size")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests" / "data"
#: A model of acoustic features, as the recipe `classic` gives it: it reads no encoder, and takes no baseline.
CLASSIC = DATA / "classic.onnx"


def size(usual: Size, thorough: Size) -> Size:
    """Return how large a long test is: what proves its point; with ``EMOVOX_THOROUGH=1``, as published."""
    return thorough if os.environ.get("EMOVOX_THOROUGH", "0") not in ("", "0") else usual


def examples(every: int) -> int:
    """Return how many random cases to try: every one with ``scripts/test --all``, a tenth otherwise, 5 at least."""
    from hypothesis import settings  # the worker processes of the tests import this package, and need it not

    return max(5, every * settings().max_examples // 100)
