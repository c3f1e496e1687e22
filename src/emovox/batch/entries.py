"""What is to be judged: recordings in folders, by patterns, in manifests and in tar archives, one after the other."""

from __future__ import annotations

import glob
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, cast

from emovox.audio.sources import AUDIO_SUFFIXES, Source, walk
from emovox.batch.manifests import SUFFIXES, Row, rows
from emovox.batch.places import filesystem, is_remote, open_remote, persistent
from emovox.errors import AudioError, InputError

#: Columns of manifests and members' notes that say something here; all others are carried along.
KNOWN = ("id", "file", "start", "end", "speaker", "setting", "channel")


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording, or a stretch or a channel of one.

    Attributes
    ----------
    id : str
        What it is called in the output; each is there once.
    file : str
        Path or URL.
    start : float
        Where the stretch begins, in seconds.
    end : float or None
        Where it ends; None for the end of the recording.
    channel : int or None
        Which channel, the first is 1; None for what the options say.
    speaker, setting : str or None
        Who speaks, and where it was recorded, as the manifest says.
    span : tuple of int or None
        Offset and length in bytes within `file`, for a member of a tar archive.
    more : mapping of str to object
        Further columns of the manifest, carried along.
    """

    id: str
    file: str
    start: float = 0.0
    end: float | None = None
    channel: int | None = None
    speaker: str | None = None
    setting: str | None = None
    span: tuple[int, int] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def bare(self) -> Entry:
        """Return it without what is only carried along."""
        return replace(self, more={}) if self.more else self


class Inputs:
    """The recordings that a path, a pattern, a manifest or a URL stands for, in an order that is always the same.

    They are looked up once, when they are first gone through: what is added to a folder later is not among them.  Until
    the end they are kept in a temporary file, and never all in memory.

    Parameters
    ----------
    source : str
        A folder (audio files and tar archives in it and below), a quoted pattern, a manifest (.csv, .tsv, .jsonl,
        .parquet), a tar archive or a recording; or the URL of one of these.
    limit : int, optional
        At most so many.

    Examples
    --------
    >>> [one.id for one in Inputs("examples")]
    ['lively.wav', 'loud.wav', 'plain.wav', 'slow.wav']
    """

    def __init__(self, source: str, limit: int | None = None) -> None:
        self.source, self.limit = source, limit
        self._kept: Path | None = None

    def __iter__(self) -> Iterator[Entry]:
        if self._kept is None:
            self._kept = self._looked_up()
        with self._kept.open("rb") as file, suppress(EOFError):
            while True:
                yield pickle.load(file)  # written by this object

    def _looked_up(self) -> Path:
        """Write the entries down, until this object is gone."""
        folder = Path(tempfile.mkdtemp(prefix="emovox-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        kept = folder / "entries"
        with kept.open("wb") as file:
            for entry in islice(_entries(self.source), self.limit):
                file.write(pickle.dumps(entry))
        return kept


def _entries(source: str) -> Iterator[Entry]:
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in SUFFIXES:
        yield from _of_manifest(source)
    elif is_remote(source):
        yield from _elsewhere(source)
    elif Path(source).is_dir():
        yield from _of_folder(Path(source))
    elif glob.has_magic(source) and not Path(source).exists():
        yield from _of_pattern(source)
    else:
        yield from _of_file(source, Path(source).name)


def _of_folder(root: Path, prefix: str = "") -> Iterator[Entry]:
    """Give what is in a folder and below; a folder that cannot be read is an entry that fails."""
    closed: list[Path] = []
    for path in walk(root, lambda folder, _: closed.append(folder)):
        if path.suffix.lower() in AUDIO_SUFFIXES | {".tar"} and not path.name.startswith("._"):
            yield from _of_file(str(path), prefix + path.relative_to(root).as_posix())
    for folder in closed:
        yield Entry(prefix + folder.relative_to(root).as_posix(), str(folder))


def _of_pattern(pattern: str) -> Iterator[Entry]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - pathlib has no absolute patterns
    for name in found:
        if Path(name).is_dir():
            yield from _of_folder(Path(name), f"{Path(name).as_posix()}/")
        else:
            yield from _of_file(name, Path(name).as_posix())


def _of_file(file: str, name: str) -> Iterator[Entry]:
    """Give one recording, or the members of an archive."""
    lower = file.lower()
    if lower.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")):
        raise InputError(f"{file} is compressed, so that its members cannot be found again: unpack it to a .tar")
    if lower.endswith(".tar"):
        yield from _of_archive(file, name)
    else:
        yield Entry(name, file)


def _elsewhere(url: str) -> Iterator[Entry]:
    """Give what is below a URL."""
    files, path = filesystem(url)
    if glob.has_magic(path):
        found, root = _listed(url, "glob"), ""
    elif PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES | {".tar"}:
        found, root = [path], str(PurePosixPath(path).parent)
    else:
        found, root = _listed(url, "find"), path.rstrip("/")
        found = [one for one in found if PurePosixPath(one).suffix.lower() in AUDIO_SUFFIXES | {".tar"}]
    # fsspec forgets the machine of sftp://host/path.
    before = url.removesuffix("/").removesuffix(path) if url.removesuffix("/").endswith(path) else None
    for one in sorted(found):
        file = files.unstrip_protocol(one) if before is None else before + one
        yield from _of_file(file, one.removeprefix(f"{root}/"))


def _listed(url: str, how: Literal["find", "glob"]) -> list[str]:
    """List what is below a URL, or matches it; a folder that cannot be looked into is an error, not an empty one."""

    def listed() -> list[str]:
        files, path = filesystem(url)
        told = {} if files.async_impl else {"on_error": "raise"}  # those of object stores always do
        return cast(list[str], getattr(files, how)(path, **told))

    try:
        return persistent(listed, f"look into {url}")
    except FileNotFoundError:
        return []


def _of_manifest(source: str) -> Iterator[Entry]:
    """Give the rows of a manifest; files are relative to its folder."""
    base = source.removesuffix(Path(source).name)
    for row in rows(source):
        yield _entry(row, base)


def _entry(row: Row, base: str) -> Entry:
    """Make an entry of a row."""
    file = row.text("file")
    if not file:
        raise InputError(f"{row.where} has no file: fill it in or remove the line")
    start, end, channel = row.number("start") or 0.0, row.number("end"), row.number("channel")
    if start < 0 or (end is not None and end <= start):
        raise InputError(f"{row.where} goes from {start:g} s to {end} s: start must be 0 or later and before end")
    if channel is not None and (channel < 1 or channel != int(channel)):
        raise InputError(f"{row.where} asks for channel {channel:g}: the first is 1")
    name = file
    if start or end is not None:
        name += f"[{start:g}-{'' if end is None else f'{end:g}'}]"
    if channel is not None:
        name += f":{int(channel)}"
    whole = is_remote(file) or os.path.isabs(file)  # noqa: PTH117 - pathlib takes longer than all the rest
    return Entry(
        id=row.text("id") or name,
        file=file if whole else base + file,
        start=start,
        end=end,
        channel=None if channel is None else int(channel),
        speaker=row.text("speaker") or None,
        setting=row.text("setting") or None,
        more=row.more,
    )


def _of_archive(file: str, name: str) -> Iterator[Entry]:
    """Give the recordings in a tar archive, with what ``.json`` members of the same key say (webdataset)."""
    try:
        with _opened(file) as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            key, sounds, notes = "", list[tarfile.TarInfo](), dict[str, Any]()
            for member in archive:
                if not member.isfile():
                    continue
                path = PurePosixPath(member.name)
                stem = str(path.parent / path.name.partition(".")[0])
                if stem != key:
                    yield from _members(file, name, sounds, notes)
                    key, sounds, notes = stem, [], {}
                if path.suffix.lower() == ".json":
                    notes |= _notes(archive, member)
                elif path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("._"):
                    sounds.append(member)
            yield from _members(file, name, sounds, notes)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{file} is not a whole tar archive ({error}): write or copy it again") from error
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror or error}): check the path") from error


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    with open_remote(file) if is_remote(file) else Path(file).open("rb") as raw:
        yield raw


def _notes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    try:
        found: Any = json.loads(cast(io.BufferedReader, archive.extractfile(member)).read())
    except ValueError as error:
        raise InputError(f"{member.name} in {archive.name!r} is not JSON ({error}): mend it") from error
    return found if isinstance(found, dict) else {"json": found}


def _members(file: str, name: str, sounds: list[tarfile.TarInfo], notes: Mapping[str, Any]) -> Iterator[Entry]:
    for member in sounds:
        yield Entry(
            id=f"{name}/{member.name}",
            file=file,
            speaker=str(notes["speaker"]) if notes.get("speaker") is not None else None,
            setting=str(notes["setting"]) if notes.get("setting") is not None else None,
            span=(member.offset_data, member.size),
            more={key: value for key, value in notes.items() if key not in KNOWN},
        )


class _Kept(io.BytesIO):
    """The bytes of a recording that has a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


@contextmanager
def readable(entry: Entry) -> Iterator[Source]:
    """Give what :func:`emovox.audio.read` takes: the path where it can, else the bytes, from wherever they are.

    Raises
    ------
    AudioError
        There is no such file, or it cannot be reached.
    """
    if entry.span is None and not is_remote(entry.file):
        yield entry.file
        return
    try:
        yield _Kept(persistent(lambda: _content(entry), f"read {entry.file}"), entry.id)
    except FileNotFoundError as error:
        raise AudioError(f"there is no file {entry.file}: check the address") from error


def _content(entry: Entry) -> bytes:
    """Read the bytes of an entry."""
    if is_remote(entry.file):
        files, path = filesystem(entry.file)
        offset, size = entry.span or (0, None)
        return cast(bytes, files.cat_file(path, offset or None, None if size is None else offset + size))
    with Path(entry.file).open("rb") as file:
        offset, size = cast(tuple[int, int], entry.span)
        file.seek(offset)
        return file.read(size)
