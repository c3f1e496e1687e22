"""Atomic writing of files and folders, and the cache folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emovox.errors import InputError

#: What to do when nothing can be written, unless the caller knows better.
ADVICE = "name another file or folder"


@contextmanager
def replacing(path: Path, *, unique: bool = False, advice: str = ADVICE) -> Iterator[Path]:
    """Write a file in one step: the block writes a temporary file, which takes the final name if the block succeeds.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created if it does not exist.
    unique : bool, default False
        Whether the temporary name differs from call to call, for files that several processes or threads may write at
        the same time, such as the entries of a cache.  The last one to finish wins.
    advice : str, default :data:`ADVICE`
        What the message of the error tells the user to do.

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
    part = _unique(path) if unique else partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error, advice) from error
    finally:
        with suppress(OSError):
            part.unlink()  # exists only after an exception


@contextmanager
def creating_folder(path: Path) -> Iterator[Path]:
    """Write a new folder in one step: the block fills a temporary one, which takes the final name if it succeeds.

    Parameters
    ----------
    path : Path
        The folder to create; its parents are created if they do not exist.

    Yields
    ------
    Path
        The temporary folder ``<name>.<random>.part``, beside the final one.  An exception in the block removes it.

    Raises
    ------
    InputError
        There is something of that name already, or nothing can be written there.

    Examples
    --------
    >>> with creating_folder(Path("run")) as part:
    ...     _ = (part / "metrics.json").write_text("{}")
    >>> [one.name for one in Path("run").iterdir()]
    ['metrics.json']
    """
    require_new(path)
    part = _unique(path)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # exists only after an exception


def require_new(path: Path) -> None:
    """Check before a long computation that nothing has the name of a folder to create.

    Raises
    ------
    InputError
        Something has it.

    Examples
    --------
    >>> require_new(Path("not-there-yet"))
    """
    if path.exists():
        raise InputError(f"{path} exists already: give another folder with --out, or remove it")


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


def _unique(path: Path) -> Path:
    """Return a temporary name that no other writer has."""
    return partial(path.with_name(f"{path.name}.{os.urandom(6).hex()}"))


def cannot_write(path: Path, error: OSError, advice: str = ADVICE) -> InputError:
    """Return the error for a file or folder that cannot be written.

    Examples
    --------
    >>> str(cannot_write(Path("a.csv"), OSError(28, "No space left on device")))
    'cannot write a.csv (No space left on device): name another file or folder'
    """
    return InputError(f"cannot write {path} ({error.strerror or error}): {advice}")


def home_folder() -> Path:
    """Return the user's home folder; one in which nothing is and nothing can be where the user has none.

    A container may run as a user that the system does not know: then only what would be stored there is missing.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull) / "home"


def cache_folder() -> Path:
    """Return the cache folder: the environment variable ``EMOVOX_CACHE``, or the default of the operating system."""
    if "EMOVOX_CACHE" in os.environ:
        return Path(os.environ["EMOVOX_CACHE"])
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Caches" / "emovox"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else home_folder() / ".cache") / "emovox"
