"""The command, in this process where that is enough, and as a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, TextIO
from unittest import mock

import pytest

from emovox.cli.main import run

EMOVOX = [sys.executable, "-c", "from emovox.cli.main import run; run()"]


class Done(NamedTuple):
    """What a command ended with."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def _standard_input(content: bytes) -> Iterator[TextIO]:
    """Give standard input a content, for who reads ``sys.stdin`` and for who reads the descriptor."""
    kept = os.dup(0)
    try:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            os.dup2(file.fileno(), 0)
            with open(0, encoding="utf-8", closefd=False) as stream:
                yield stream
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def emovox_command(*arguments: object, stdin: bytes = b"", together: bool = False, **environment: str) -> Done:
    """Run the command in this process, its standard streams and its exit code as those of a process.

    A process of its own costs a second of imports: :func:`emovox_process` is for what only it can show, such as
    signals, closed pipes, locales, what a library in C prints, and what is imported. `together` puts standard error
    into standard output, as `2>&1` does.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with (
        _standard_input(stdin) as read,
        mock.patch.dict(os.environ, {"COLUMNS": "100", **environment}),
        mock.patch.multiple(
            sys, argv=["emovox", *map(str, arguments)], stdin=read, stdout=out, stderr=out if together else err
        ),
        pytest.raises(SystemExit) as end,
    ):
        run()
    out.seek(0)
    err.seek(0)
    return Done(int(end.value.code or 0), out.read(), err.read())


def emovox_process(*arguments: object, stdin: bytes = b"", **environment: str) -> Done:
    """Run the command as its own process; standard error must never hold a traceback."""
    done = subprocess.run(
        [*EMOVOX, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )
    result = Done(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))
    assert "Traceback" not in result.stderr, result.stderr
    return result
