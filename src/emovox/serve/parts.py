"""Recordings that have come, kept where worker processes can open them, and nothing of them left afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from emovox.serve.problems import Problem

#: Bytes that are held in memory; more go into a temporary file.
SPOOL = 4_000_000
#: Where other processes of this user find the open files of this one.
_OPEN = f"/proc/{os.getpid()}/fd/"


@dataclass
class Part:
    """A recording that has come.

    Attributes
    ----------
    content : bytes or str
        Its bytes, or the path of a temporary file that holds them.
    name : str
        What the client calls it.
    size : int
        How many bytes there are.
    """

    content: bytes | str
    name: str
    size: int

    def close(self) -> None:
        """Delete the temporary file."""
        if isinstance(self.content, str):
            with suppress(OSError):
                if self.content.startswith(_OPEN):
                    os.close(int(self.content.rpartition("/")[2]))
                else:
                    Path(self.content).unlink()


def kept(file: IO[bytes], name: str) -> Part:
    """Keep what has come: in memory, or in a temporary file that a worker process can open.

    On Linux that file has no name: nothing is left of it, however this process ends.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= SPOOL:
        return Part(file.read(), name, size)
    if Path(_OPEN).is_dir():
        return Part(f"{_OPEN}{os.open(f'{_OPEN}{file.fileno()}', os.O_RDONLY)}", name, size)
    handle, path = tempfile.mkstemp(prefix="emovox-")
    try:
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    except OSError:
        Path(path).unlink()
        raise Problem("storage_full", "there is no room for the recording: send it later") from None
    return Part(path, name, size)
