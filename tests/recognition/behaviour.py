"""What the workers of the tests do; a module of its own, which their processes import without the test library."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from emovox.errors import InputError
from emovox.recognition.workers import Work


def behave() -> Work[tuple[str, object], object]:
    """Make the work of these tests: an item says itself what happens."""

    def work(item: tuple[str, object], alive: Callable[[], None]) -> object:
        kind, value = item
        match kind:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(60)
            case "slow":
                for _ in range(int(str(value))):
                    time.sleep(0.2)
                    alive()
            case "raise":
                raise ZeroDivisionError("in two\nlines")
            case "print":
                print("nothing that belongs to the answers")
            case "once" if not Path(str(value)).exists():  # die the first time
                Path(str(value)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "pid":
                return os.getpid(), os.environ["OMP_NUM_THREADS"]
        return value

    return work


def refuse() -> Work[int, int]:
    raise InputError("there is no such model")


def fail() -> Work[int, int]:
    raise ZeroDivisionError("a fault of ours")
