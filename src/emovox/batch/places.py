"""Where files are: folders here, and with the [cloud] extra whatever fsspec reaches (``s3://``, ``gs://``, ``sftp://``).

A place does four things, and a file in it is written whole or not at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from emovox.errors import EmovoxError, InputError, MissingExtraError
from emovox.writing import cannot_write, replacing

Found = TypeVar("Found")

#: How often a request to another machine is tried, and seconds before the second; each later wait is twice as long.
TRIES, WAIT = 7, 0.1
#: Where a file appears byte by byte, so that it gets its name when it is whole.
_STEPWISE = ("sftp", "ssh", "file", "local", "smb", "ftp", "memory")
#: What reaches an address besides the [cloud] extra.
_BESIDES = dict.fromkeys(("gs", "gcs"), "gcsfs") | dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs")
_BESIDES |= dict.fromkeys(("sftp", "ssh"), "paramiko")


class Place(Protocol):
    """A folder, here or elsewhere."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file, None where there is none of this name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no such folder."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        ...


class Folder:
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def read(self, name: str) -> bytes | None:
        """Return a file, None where there is none of this name."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"cannot read {self._path / name} ({error.strerror}): check its permissions") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        with replacing(self._path / name, unique=True, advice="make room, or give another output") as part:
            part.write_bytes(content)

    def append(self, name: str, text: str) -> None:
        """Add text to a file."""
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise cannot_write(path, error, "make room, or give another output") from error

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no such folder."""
        try:
            return sorted(one.name for one in (self._path / folder).iterdir() if not one.name.endswith(".part"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"cannot look into {self._path / folder} ({error.strerror}): give another") from error

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        try:
            (self._path / name).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self._path / name, error, "check its permissions") from error


class Remote:
    """A folder elsewhere, reached by fsspec."""

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        _, self._root = filesystem(self.name)

    @property
    def _files(self) -> Any:
        """The file system, which is another one where a connection was lost."""
        return filesystem(self.name)[0]

    def read(self, name: str) -> bytes | None:
        """Return a file, None where there is none of this name."""
        with suppress(FileNotFoundError):
            return cast(bytes, persistent(lambda: self._files.cat_file(self._at(name)), f"read {self.name}/{name}"))
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        path, what = self._at(name), f"write {self.name}/{name}"

        def stepwise() -> None:
            self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            self._files.pipe_file(f"{path}.part", content)
            self._files.mv(f"{path}.part", path)

        try:
            if self.name.partition("://")[0] in _STEPWISE:
                persistent(stepwise, what)
            else:
                persistent(lambda: self._files.pipe_file(path, content), what)
        except FileNotFoundError as error:
            raise InputError(f"cannot {what} ({_reason(error)}): make the bucket or folder first") from error

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no such folder."""

        def listed() -> list[str]:
            self._files.invalidate_cache()
            return cast(list[str], self._files.ls(self._at(folder), detail=False))

        with suppress(FileNotFoundError):
            paths = persistent(listed, f"look into {self.name}/{folder}")
            names = (PurePosixPath(path).name for path in paths)
            return sorted(name for name in names if name and not name.endswith(".part") and name != folder)
        return []

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            persistent(lambda: self._files.rm_file(self._at(name)), f"remove {self.name}/{name}")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")


def place(text: str) -> Place:
    """Return the place of a path or URL.

    Raises
    ------
    MissingExtraError
        A URL needs the [cloud] extra.
    InputError
        It cannot be reached.

    Examples
    --------
    >>> place("out").write("a/b.txt", b"whole")
    >>> place("out").names("a"), place("out").read("a/b.txt"), place("out").read("c.txt")
    (['b.txt'], b'whole', None)
    """
    return Remote(text) if is_remote(text) else Folder(Path(text))


def is_remote(text: str) -> bool:
    """Tell whether a text is a URL and not a path.

    Examples
    --------
    >>> is_remote("s3://calls/2026"), is_remote("calls/2026")
    (True, False)
    """
    head, mark, _ = text.partition("://")
    return bool(mark) and head.isalnum()


def filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL and the path in it.

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for this kind of URL, is not installed.
    InputError
        The URL cannot be used.
    """
    protocol, _, rest = url.partition("://")
    if re.match(r"[^/@]*:[^/@]*@", rest):
        raise InputError(
            f"the {protocol}:// address holds a password, which would be written into the output: leave it out, and "
            f"set FSSPEC_{protocol.upper()}_PASSWORD, or use a key"
        )
    besides = _BESIDES.get(protocol, "")
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"a {protocol}:// address", "cloud", besides) from error

    def reached() -> tuple[Any, str]:
        try:
            files, path = fsspec.core.url_to_fs(url)
            if not _alive(files):
                files.clear_instance_cache()
                files, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingExtraError(f"a {protocol}:// address", "cloud", besides) from error
        except ValueError as error:
            raise InputError(f"{url} cannot be used ({_reason(error)}): check the address") from error
        return files, path

    return persistent(reached, f"reach {url}")


def _alive(files: Any) -> bool:
    """Tell whether the connection of a file system stands; those by SSH are lost with their server."""
    transport = getattr(getattr(files, "client", None), "get_transport", None)
    return transport is None or bool((found := transport()) and found.is_active())


def open_remote(url: str) -> BinaryIO:
    """Open a file by its URL, for reading."""

    def opened() -> Any:
        files, path = filesystem(url)
        return files.open(path, "rb")

    return cast(BinaryIO, persistent(opened, f"read {url}"))


def persistent(call: Callable[[], Found], what: str) -> Found:
    """Do something that another machine may refuse for a moment, again and again.

    Parameters
    ----------
    call : callable
        What is done.
    what : str
        In words, for the message.

    Raises
    ------
    FileNotFoundError
        There is no such file: this is not tried again.
    InputError
        It still fails after 7 tries, 6 seconds.

    Examples
    --------
    >>> persistent(lambda: 1, "count")
    1
    """
    for number in range(1, TRIES + 1):
        try:
            return call()
        except (FileNotFoundError, EmovoxError):
            raise
        except Exception as error:  # each protocol's library has exceptions of its own
            if number == TRIES or isinstance(error, PermissionError | NotImplementedError):
                raise InputError(f"cannot {what} ({_reason(error)}): check address and access, and go on") from error
            time.sleep(WAIT * 2 ** (number - 1))
    raise AssertionError("not reached")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
