"""Where recordings come from and results go: folders, shards, URLs, manifests, and the entries in them.

A place does four things, and a file in it is written whole or not at all.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, TypeVar, cast

from emovox.audio.reading import Source
from emovox.errors import AudioError, EmovoxError, InputError, MissingExtraError
from emovox.outputs.console import from_csv_cell
from emovox.outputs.formats import delimiter, line_cells
from emovox.recognition.analysis import AUDIO_SUFFIXES, walk
from emovox.storage import cannot_write, replacing

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
    elif Path(source).exists():
        yield from _of_file(source, Path(source).name)
    else:
        raise InputError(f"there is no {source}: give a folder, pattern, manifest, tar archive or recording")


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


#: How the names of manifests end.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
#: Columns, and other names that people give them.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": ("filename", "path", "filepath", "audio", "audio_filepath", "wav", "recording"),
    "id": ("key", "custom_id", "utt", "utterance_id"),
    "start": ("begin", "onset"),
    "end": ("stop",),
    "speaker": ("speaker_id", "spk", "actor"),
    "setting": ("session", "room"),
    "channel": (),
}

_Columns: TypeAlias = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a manifest.

    Attributes
    ----------
    where : str
        Where it stands, for messages.
    known : mapping of str to object
        Values of the columns of :data:`COLUMNS`.
    more : mapping of str to object
        Values of all others.
    """

    where: str
    known: Mapping[str, Any]
    more: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return a value as text, empty where there is none."""
        value = self.known.get(column)
        return "" if value is None else str(value).strip()

    def number(self, column: str) -> float | None:
        """Return a value as a number, None where there is none."""
        cell = self.text(column)
        try:
            value = float(cell) if cell else None
        except ValueError:
            value = math.nan
        if value is not None and not math.isfinite(value):
            raise InputError(f"{column} {cell!r} in {self.where} is not a number: give for example 12.5")
        return value


def rows(source: str) -> Iterator[Row]:
    r"""Read a manifest.

    Parameters
    ----------
    source : str
        Path or URL of CSV (comma or semicolon), TSV, JSON lines or Parquet; ``file`` is needed, and may be called as
        :data:`COLUMNS` says.

    Yields
    ------
    Row

    Raises
    ------
    InputError
        It cannot be read, or has no column of files.
    MissingExtraError
        Parquet needs the [parquet] extra, a URL the [cloud] extra.

    Examples
    --------
    >>> _ = Path("calls.csv").write_text("path,speaker,age\na.wav,Eve,31\n")
    >>> [(row.text("file"), row.text("speaker"), row.more) for row in rows("calls.csv")]
    [('a.wav', 'Eve', {'age': '31'})]
    """
    suffix = PurePosixPath(source).suffix.lower()
    with _opened_manifest(source) as file:
        if suffix == ".parquet":
            yield from _of_parquet(file, source)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _of_json(file, source)
        else:
            with _seekable(file, remote=is_remote(source)) as table:
                yield from _of_csv(table, source, suffix)


@contextmanager
def _opened_manifest(source: str) -> Iterator[BinaryIO]:
    try:
        file: BinaryIO = open_remote(source) if is_remote(source) else Path(source).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        raise InputError(f"there is no manifest {source}: check the path") from None
    except OSError as error:
        raise InputError(f"cannot read the manifest {source} ({error.strerror}): check its permissions") from error
    with file:
        yield file


@contextmanager
def _seekable(file: BinaryIO, *, remote: bool) -> Iterator[BinaryIO]:
    """Give a file that can be read twice: a copy of one that comes through a pipe or from elsewhere."""
    # Some files of fsspec say that they can seek, and cannot.
    if file.seekable() and not remote:
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _of_csv(file: BinaryIO, source: str, suffix: str) -> Iterator[Row]:
    try:
        with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            yield from _of_lines(text, source, suffix)
    except UnicodeDecodeError:
        raise InputError(f"the manifest {source} is not UTF-8 text: save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"the manifest {source} is not CSV ({error}): save it again") from error


def _of_lines(text: io.TextIOWrapper, source: str, suffix: str) -> Iterator[Row]:
    head = text.readline()
    comma = delimiter(head, suffix)
    header = next(csv.reader([head], delimiter=comma), [])
    known, width = _known([name.strip() for name in header], source), len(header)
    # As emovox.outputs.formats.rows, in memory that does not grow: a quote that is never closed swallows no row.
    plain = all(len(line_cells(line, comma, width)) == width for line in text if line.strip())
    text.seek(0)
    text.readline()
    for number, cells in _by_line(text, comma, width) if plain else _by_csv(text, comma):
        if not any(cells):
            continue
        where = f"line {number} of {source}"
        if len(cells) != width:
            raise InputError(f"{where} has {len(cells)} cells, its header {width}: quote cells with {comma!r}")
        yield _row(where, known, (from_csv_cell(cell) for cell in cells))


def _by_line(text: io.TextIOWrapper, comma: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines after the header."""
    for number, line in enumerate(text, 2):
        if line.strip():
            yield number, line_cells(line, comma, width)


def _by_csv(text: io.TextIOWrapper, comma: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows after the header, cells of which may hold line breaks, and the line in which each ends."""
    reader = csv.reader(text, delimiter=comma)
    for cells in reader:
        yield reader.line_num + 1, cells


def _of_json(file: BinaryIO, source: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        where = f"line {number} of {source}"
        try:
            found: Any = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON ({error}): write one object a line") from error
        if not isinstance(found, dict):
            raise InputError(f'{where} is not an object: write one a line, such as {{"file": "a.wav"}}')
        yield _row(where, _known(list(found), where), found.values())


def _of_parquet(file: BinaryIO, source: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("a Parquet manifest", "parquet") from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
        known = _known(table.schema_arrow.names, source)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield _row(f"row {number} of {source}", known, map(_plain, cells))
    except pyarrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"the manifest {source} is not Parquet that can be read ({reason}): write it again") from error


def _plain(value: Any) -> Any:
    """Return a value that JSON has, too: a time as text, nothing for what is no number.

    Examples
    --------
    >>> from datetime import date
    >>> _plain(3), _plain(math.nan), _plain([date(2026, 11, 30)])
    (3, None, ['2026-11-30'])
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return json.loads(json.dumps(value, default=str)) if isinstance(value, list | dict) else str(value)


def _known(names: list[str], where: str) -> _Columns:
    """Return for each column what it is called here, and whether it is one of the known ones."""
    columns = _columns(tuple(names))
    if ("file", True) not in columns:
        raise InputError(f"{where} has no column 'file': call the column that holds the paths so")
    return columns


@lru_cache(64)  # the rows of JSON lines say each time what their columns are
def _columns(names: tuple[str, ...]) -> _Columns:
    plain = [name.strip().casefold().replace(" ", "_").replace("-", "_") for name in names]
    taken: dict[int, str] = {}
    for column, others in COLUMNS.items():
        at = next((plain.index(one) for one in (column, *others) if one in plain), None)
        if at is not None and at not in taken:
            taken[at] = column
    return tuple((taken.get(at, name), at in taken) for at, name in enumerate(names))


def _row(where: str, columns: _Columns, values: Any) -> Row:
    known: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for (name, is_known), value in zip(columns, values, strict=True):
        if is_known:
            known[name] = value
        elif name:
            more[name] = value
    return Row(where, known, more)
