"""What a recording is read from: paths, bytes and file objects, watched; and views that leave parts of a file out."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, cast

from emovox.errors import AudioError

#: What can be read: a path, the bytes of a file, or a file opened in binary mode.
Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

#: A stream that cannot seek is kept in memory up to this many bytes, and on disk beyond.
SPOOL = 2**25

#: What a view is made of: bytes that stand for themselves, or (offset, length) in the file.
Slice: TypeAlias = bytes | tuple[int, int]


class Readable(Protocol):
    """What decoders ask of a file."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place and return it."""
        ...

    def tell(self) -> int:
        """Return the place."""
        ...


def source_name(source: object) -> str:
    """Tell what to call a source in a message.

    Examples
    --------
    >>> source_name("call.wav"), source_name(b"RIFF")
    ('call.wav', '<bytes>')
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes):
        return "<bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def seekable(file: BinaryIO) -> bool:
    """Tell whether a file object can go back to its beginning.

    Examples
    --------
    >>> seekable(io.BytesIO())
    True
    """
    try:
        return file.seekable()
    except AttributeError:  # an object with no more than read, seek and tell
        return hasattr(file, "seek") and hasattr(file, "tell")


def reason(failure: Exception) -> str:
    """Put in one line what a library said."""
    text = getattr(failure, "error_string", None) or getattr(failure, "strerror", None) or failure
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".") or type(failure).__name__


class Guard:
    """A binary file whose failures, and Ctrl-C, are kept for later: the C code that calls it would swallow them."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end or where reading fails."""
        try:
            # Sliced, because a file that gives more than it was asked for would overrun the caller's buffer.
            return bytes(self._file.read(size) or b"")[:size]
        except BaseException as failure:
            self._failure = failure
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it; -1 where that fails."""
        try:
            self._file.seek(offset, whence)
            return self._file.tell()
        except BaseException as failure:
            self._failure = failure
            return -1

    def tell(self) -> int:
        """Return the place."""
        return self.seek(0, os.SEEK_CUR)

    def at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from a place, fewer only where the file ends."""
        self.seek(offset)
        pieces: list[bytes] = []
        while size > 0 and (piece := self.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def check(self) -> None:
        """Report a failure that has been kept."""
        if self._failure is not None:
            if not isinstance(self._failure, Exception):
                raise self._failure
            raise AudioError(f"{self._name} cannot be read: {reason(self._failure)}") from self._failure


class View:
    """A file put together of slices of another one and of bytes: headers mended, tags and other streams left out.

    Parameters
    ----------
    file : Readable
        The file that slices are taken of.
    slices : sequence of bytes or (offset, length)
        What the view consists of, in order.

    Examples
    --------
    >>> View(Guard(io.BytesIO(b"0123456789"), "x"), [b"<", (2, 3), (7, 1), b">"]).read(10)
    b'<2347>'
    """

    def __init__(self, file: Readable, slices: Sequence[Slice]) -> None:
        self._file = file
        self._slices = [one for one in slices if (len(one) if isinstance(one, bytes) else one[1]) > 0]
        lengths = (len(one) if isinstance(one, bytes) else one[1] for one in self._slices)
        self._ends = list(accumulate(lengths))
        self._place = 0

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        pieces: list[bytes] = []
        index = bisect_right(self._ends, self._place)
        while size > 0 and index < len(self._slices):
            one = self._slices[index]
            length = len(one) if isinstance(one, bytes) else one[1]
            inside = self._place - (self._ends[index] - length)
            count = min(size, length - inside)
            if isinstance(one, bytes):
                piece = one[inside : inside + count]
            else:
                self._file.seek(one[0] + inside)
                piece = self._file.read(count)
            if not piece:  # the file is shorter than it was
                break
            pieces.append(piece)
            self._place += len(piece)
            size -= len(piece)
            index += len(piece) == length - inside
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self)}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place


def binary_file(source: Source, name: str, stack: ExitStack) -> BinaryIO:
    """Open a source as a binary file that can seek.

    Raises
    ------
    AudioError
        It is not there, a folder, forbidden, of a wrong type, or cannot be read.
    """
    try:
        if isinstance(source, bytes):
            return io.BytesIO(source)
        if isinstance(source, str | os.PathLike):
            file: BinaryIO = stack.enter_context(Path(source).open("rb"))  # noqa: SIM115
        elif _gives_bytes(source):
            file = source
        else:
            raise AudioError(
                f"{name} is a {type(source).__name__}: expected a path, bytes or a file opened in binary "
                "mode; arrays go to from_array"
            )
        if seekable(file):
            return file
        # A pipe can be read only once, and decoders go back to the header.
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(SPOOL))  # noqa: SIM115
        shutil.copyfileobj(file, spool)
        return cast(BinaryIO, spool)
    except FileNotFoundError as failure:
        raise AudioError(f"there is no file {name}: check the path") from failure
    except IsADirectoryError as failure:
        raise AudioError(f"{name} is a folder, not a recording: name the files in it") from failure
    except PermissionError as failure:
        raise AudioError(f"{name} may not be read by this user: check its permissions") from failure
    except AudioError:
        raise
    except (OSError, ValueError) as failure:
        raise AudioError(f"{name} cannot be read: {reason(failure)}") from failure


def _gives_bytes(source: object) -> bool:
    return hasattr(source, "read") and not isinstance(source, io.TextIOBase)
