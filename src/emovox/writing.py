"""Atomic writing of files, and the cache folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emovox.errors import InputError


@contextmanager
def replacing(path: Path, *, unique: bool = False) -> Iterator[Path]:
    """Write a file in one step: the block writes a temporary file, which takes the final name if the block succeeds.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created if it does not exist.
    unique : bool, default False
        Whether the temporary name differs from call to call, for files that several processes or threads may write at
        the same time, such as the entries of a cache.  The last one to finish wins.

    Yields
    ------
    Path
        The temporary file, in the same folder: ``<name>.part``, or ``<name>.<random>.part``.  An exception in the block
        removes it and leaves an existing file as it was.

    Raises
    ------
    InputError
        Nothing can be written there.

    Examples
    --------
    >>> with replacing(Path("out.txt")) as part:
    ...     _ = part.write_text("all of it")
    >>> Path("out.txt").read_text()
    'all of it'
    """
    part = partial(path.with_name(f"{path.name}.{os.urandom(6).hex()}")) if unique else partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()  # exists only after an exception


def require_writable(path: Path) -> None:
    """Check before a long computation that a file can be written; its folder is created.

    Parameters
    ----------
    path : Path
        The file to write later.

    Raises
    ------
    InputError
        The file cannot be written.

    Examples
    --------
    >>> require_writable(Path("results") / "call.csv")
    >>> [path.name for path in Path("results").iterdir()]
    []
    """
    part = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        part.touch()
        part.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def partial(path: Path) -> Path:
    """Return the name of a file while it is being written.

    Examples
    --------
    >>> partial(Path("call.vtt")).name
    'call.vtt.part'
    """
    return path.with_name(path.name + ".part")


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return the error for a file that cannot be written.

    Examples
    --------
    >>> str(cannot_write(Path("a.csv"), OSError(28, "No space left on device")))
    'cannot write a.csv (No space left on device): name another file or folder'
    """
    return InputError(f"cannot write {path} ({error.strerror or error}): name another file or folder")


def cache_folder() -> Path:
    """Return the cache folder: the environment variable ``EMOVOX_CACHE``, or the default of the operating system."""
    if "EMOVOX_CACHE" in os.environ:
        return Path(os.environ["EMOVOX_CACHE"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "emovox"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "emovox"
