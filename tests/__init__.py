"""The tests, laid out as the package is; the folders they read, wherever a test stands."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests" / "data"
#: A model of acoustic features, as the recipe `classic` gives it: it reads no encoder, and takes no baseline.
CLASSIC = DATA / "classic.onnx"


def examples(every: int) -> int:
    """Return how many random cases to try: every one with ``scripts/test --all``, a tenth otherwise, 5 at least."""
    from hypothesis import settings  # the worker processes of the tests import this package, and need it not

    return max(5, every * settings().max_examples // 100)
