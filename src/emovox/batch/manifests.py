"""Manifests row by row, never whole in memory: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

from emovox.batch.places import is_remote, open_remote
from emovox.errors import InputError, MissingExtraError
from emovox.outputs.text import from_csv_cell

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
    with _opened(source) as file:
        if suffix == ".parquet":
            yield from _of_parquet(file, source)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _of_json(file, source)
        else:
            yield from _of_csv(file, source, suffix)


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    try:
        file: BinaryIO = open_remote(source) if is_remote(source) else Path(source).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        raise InputError(f"there is no manifest {source}: check the path") from None
    except OSError as error:
        raise InputError(f"cannot read the manifest {source} ({error.strerror}): check its permissions") from error
    with file:
        yield file


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
    comma = "\t" if suffix == ".tsv" else ";" if ";" in head and "," not in head else ","
    header = next(csv.reader([head], delimiter=comma), [])
    known = _known([name.strip() for name in header], source)
    reader = csv.reader(text, delimiter=comma)
    for cells in reader:
        if not any(cells):
            continue
        where = f"line {reader.line_num + 1} of {source}"
        if len(cells) != len(header):
            raise InputError(f"{where} has {len(cells)} cells, its header {len(header)}: quote cells with {comma!r}")
        yield _row(where, known, (from_csv_cell(cell) for cell in cells))


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
