"""Single keys from the terminal while a program runs, on POSIX and Windows; nothing where there is no terminal."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: Gives the keys that were pressed since it was last asked.
Keys = Callable[[], str]


def none() -> str:
    """Give no keys: there is no terminal."""
    return ""


@contextmanager
def keyboard() -> Iterator[Keys]:
    """Read keys one by one, without Enter, until the block ends; the terminal is as before then.

    Standard input may be the sound, so the keys come from the terminal itself.

    Yields
    ------
    callable
        Returns the keys pressed since the last call, without waiting.

    Examples
    --------
    >>> with keyboard() as keys:
    ...     isinstance(keys(), str)
    True
    """
    if sys.platform == "win32":  # pragma: no cover - not the system of the project's tests
        yield _windows
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        yield none
        return
    try:
        with _cbreak(terminal):
            yield lambda: _posix(terminal)
    finally:
        os.close(terminal)


@contextmanager
def _cbreak(terminal: int) -> Iterator[None]:
    """Let a terminal give each key at once and not show it; Ctrl-C stays what it is."""
    import termios
    import tty

    try:
        before = termios.tcgetattr(terminal)
        # A job in the background may not touch the terminal: it would be stopped.
        if os.tcgetpgrp(terminal) == os.getpgrp():
            tty.setcbreak(terminal, termios.TCSANOW)
    except (OSError, termios.error):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError, termios.error):
            if os.tcgetpgrp(terminal) == os.getpgrp():
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _posix(terminal: int) -> str:
    with suppress(OSError, ValueError):
        if select.select([terminal], [], [], 0)[0]:
            return os.read(terminal, 64).decode(errors="replace")
    return ""


def _windows() -> str:  # pragma: no cover - not the system of the project's tests
    import importlib

    console = importlib.import_module("msvcrt")
    found = ""
    while console.kbhit():
        found += console.getwch()
    return found
