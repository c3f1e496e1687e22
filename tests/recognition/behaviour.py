"""What the workers of the tests do; a module of its own, which their processes import without the test library."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from emovox.errors import InputError
from emovox.recognition.workers import Tell, Work


def behave() -> Work[tuple[str, object], object]:
    """Make the work of these tests: an item says itself what happens."""

    def work(item: tuple[str, object], tell: Tell) -> object:
        kind, value = item
        found = _KINDS[kind](value, tell) if kind else None
        return value if found is None else found

    return work


def _die(_: object, __: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _once(value: object, tell: Tell) -> None:
    """Die the first time."""
    if not Path(str(value)).exists():
        Path(str(value)).touch()
        _die(value, tell)


def _slow(value: Any, tell: Tell) -> None:
    for _ in range(value):
        time.sleep(0.2)
        tell()


def _tell(value: Any, tell: Tell) -> None:
    for number in range(value):
        tell(number)


def _asked(_: object, tell: Tell) -> None:
    """Go on until nobody wants the result."""
    while True:
        tell("still here")
        time.sleep(0.01)


def _raise(_: object, __: Tell) -> None:
    raise ZeroDivisionError("in two\nlines")


_KINDS: dict[str, Any] = {
    "die": _die,
    "once": _once,
    "hang": lambda value, tell: time.sleep(60),
    "slow": _slow,
    "tell": _tell,
    "asked": _asked,
    "raise": _raise,
    "print": lambda value, tell: print("nothing that belongs to the answers"),
    "pid": lambda value, tell: (os.getpid(), os.environ["OMP_NUM_THREADS"]),
}


def refuse() -> Work[int, int]:
    raise InputError("there is no such model")


def fail() -> Work[int, int]:
    raise ZeroDivisionError("a fault of ours")
