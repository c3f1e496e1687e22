"""Safe unpacking of ZIP and tar archives: nothing outside the folder, no links, no bombs, files whole or not at all."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from emovox.errors import CorpusError
from emovox.storage import replacing

#: Largest size of what is unpacked, as a multiple of the archive's, and bytes that are always allowed.
RATIO, ALLOWED = 100, 50_000_000
#: Bytes that are copied at a time.
_BLOCK = 1 << 20

Progress = Callable[[str, float, float | None], None]


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, its size in bytes, and what opens it."""

    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def members(archive: Path) -> Iterator[Member]:
    """Yield the files of an archive, in its order.

    Raises
    ------
    CorpusError
        It is no archive, is damaged or encrypted, or holds a name outside of it, a link or a device.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            yield from _of_zip(archive)
        elif tarfile.is_tarfile(archive):
            yield from _of_tar(archive)
        else:
            raise CorpusError(f"{archive.name} is neither a ZIP nor a tar archive: remove it and download it again")


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Tell of an archive that it is damaged, whatever its format calls that."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise CorpusError(f"{archive.name} is damaged ({error}): remove it and download it again") from error


def _of_zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for one in opened.infolist():
            if one.is_dir():
                continue
            if one.flag_bits & 1:
                raise CorpusError(f"{archive.name} is encrypted: unpack it yourself, then emovox data verify")
            if (one.external_attr >> 16) & 0o170000 == 0o120000:
                raise CorpusError(f"{archive.name} holds a link, {one.filename!r}: it is not unpacked")
            yield Member(_inside(one.filename, archive), one.file_size, lambda one=one: opened.open(one))  # type: ignore[misc]


def _of_tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for one in opened:
            if one.isdir():
                continue
            if not one.isfile():
                raise CorpusError(f"{archive.name} holds a link or a device, {one.name!r}: it is not unpacked")
            yield Member(_inside(one.name, archive), one.size, lambda one=one: _opened(opened, one))  # type: ignore[misc]
        while opened.fileobj is not None and opened.fileobj.read(_BLOCK):
            pass  # to the end, where the checksum of a compressed archive is


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    return stream


def _inside(name: str, archive: Path) -> PurePosixPath:
    """Return a name that stays in the folder, or raise."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise CorpusError(f"{archive.name} holds a name that leads out of its folder, {name!r}: it is not unpacked")
    return path


def unpack(
    archive: Path,
    folder: Path,
    progress: Progress = lambda stage, done, total: None,
    place: Callable[[PurePosixPath], Path | None] | None = None,
) -> list[Path]:
    """Unpack an archive.

    Parameters
    ----------
    archive : Path
        ZIP or tar, the latter compressed or not.
    folder : Path
        Where to; files of the same name are replaced, each in one step.
    progress : callable, optional
        Called with ("unpacking", bytes done, bytes in all).
    place : callable, optional
        From a name in the archive to where it goes, None to leave it out; the default is below `folder`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    CorpusError
        The archive is refused, see :func:`members`; it unpacks to more than 100 times its size, or to more than there
        is room for.
    InputError
        A file cannot be written.
    """
    listed = [(member.name, member.size) for member in members(archive)]
    total = sum(size for _, size in listed)
    allowed = RATIO * archive.stat().st_size + ALLOWED
    if total > allowed:
        raise CorpusError(
            f"{archive.name} unpacks to {total} bytes, more than {RATIO} times its size: it is not unpacked"
        )
    require_space(folder, total if place is None else 0)
    written, done = [], 0
    for member in members(archive):
        target = folder / member.name if place is None else place(member.name)
        if target is not None:
            _write(member, target, archive)
            written.append(target)
        done += member.size
        progress("unpacking", done, total)
    return written


def _write(member: Member, target: Path, archive: Path) -> None:
    """Write one file whole; stop where there is more in it than the archive said."""
    left = member.size
    with replacing(target, advice="make room there or name another folder") as part, part.open("wb") as out:
        with member.open() as stream:
            while block := _read(stream, archive):
                left -= len(block)
                if left < 0:
                    raise CorpusError(
                        f"{archive.name} holds more in {str(member.name)!r} than it says: it is not unpacked"
                    )
                out.write(block)
        if left:
            raise CorpusError(f"{archive.name} holds less in {str(member.name)!r} than it says: download it again")


def _read(stream: IO[bytes], archive: Path) -> bytes:
    with _readable(archive):
        return stream.read(_BLOCK)


def require_space(folder: Path, wanted: int) -> None:
    """Check that there is room for so many bytes.

    Raises
    ------
    CorpusError
        There is not.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise CorpusError(
            f"{wanted / 1e9:.2f} GB are needed in {str(folder)!r} and {free / 1e9:.2f} GB are free: "
            "make room there or name another folder with --to"
        )
