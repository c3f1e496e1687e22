"""Rows to the bytes of a part and back: Parquet or JSON lines, the same bytes each time for the same rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from emovox.batch.tasks import Values
from emovox.errors import InputError, MissingExtraError
from emovox.outputs.text import json_line, readable


class PartFormat(StrEnum):
    """How parts are written."""

    PARQUET = "parquet"
    JSONL = "jsonl"


def default_format() -> PartFormat:
    """Return Parquet where the [parquet] extra is installed, else JSON lines."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return PartFormat.JSONL
    return PartFormat.PARQUET


def encode(rows: Iterable[Values], columns: Mapping[str, str], form: PartFormat) -> bytes:
    r"""Write rows.

    Parameters
    ----------
    rows : iterable of tuple
        Values in the order of the columns; None where there is none.
    columns : mapping of str to str
        Names and types: string, bool, int, double, float (32 bits), vector (of those) or json (any plain value, which
        Parquet holds as text).
    form : PartFormat

    Returns
    -------
    bytes

    Raises
    ------
    MissingExtraError
        Parquet needs the [parquet] extra.

    Examples
    --------
    >>> encode([("a", 0.5), ("b", None)], {"id": "string", "p_sad": "double"}, PartFormat.JSONL)
    b'{"id": "a", "p_sad": 0.5}\n{"id": "b", "p_sad": null}\n'
    """
    if form is PartFormat.PARQUET:
        return _to_parquet(list(rows), columns)
    floats = [_PLAIN.get(kind, _same) for kind in columns.values()]
    lines = (
        json_line(dict(zip(columns, (plain(value) for plain, value in zip(floats, row, strict=True)), strict=True)))
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def decode(
    content: bytes, columns: Mapping[str, str], form: PartFormat, wanted: Sequence[str] = ()
) -> Iterator[Values]:
    """Read rows.

    Parameters
    ----------
    content : bytes
        What :func:`encode` gave.
    columns : mapping of str to str
        As for :func:`encode`.
    form : PartFormat
    wanted : sequence of str, optional
        Names of the columns to read, in this order; the default is all.

    Yields
    ------
    tuple

    Raises
    ------
    InputError
        The content is damaged.

    Examples
    --------
    >>> columns = {"id": "string", "p_sad": "double"}
    >>> list(decode(encode([("a", 0.5)], columns, PartFormat.JSONL), columns, PartFormat.JSONL, ["p_sad"]))
    [(0.5,)]
    """
    names = list(wanted) or list(columns)
    if form is PartFormat.PARQUET:
        yield from _from_parquet(content, columns, names)
        return
    for line in content.decode().splitlines():
        try:
            found = json.loads(line)
            yield tuple(found[name] for name in names)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"a part is damaged ({error!r}): remove it, and run the same command again") from error


def _same(value: Any) -> Any:
    return value


def _short(value: float | None) -> float | None:
    """Write a number of 32 bits with no more digits than it has."""
    return None if value is None else float(f"{value:.9g}")


def _vector(values: list[float] | None) -> list[float | None] | None:
    return None if values is None else [_short(value) for value in values]


_PLAIN: dict[str, Any] = {"float": _short, "vector": _vector}


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet", "parquet") from error
    return pyarrow


def _types(arrow: Any) -> dict[str, Any]:
    return {
        "string": arrow.string(),
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "double": arrow.float64(),
        "float": arrow.float32(),
        "vector": arrow.list_(arrow.float32()),
        "json": arrow.string(),
    }


def _to_parquet(rows: list[Values], columns: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with parquet_writer(file, columns) as write:
        write(rows)
    return file.getvalue()


@contextmanager
def parquet_writer(file: Any, columns: Mapping[str, str]) -> Iterator[Callable[[list[Values]], int]]:
    """Write a Parquet file group by group.

    Parameters
    ----------
    file : path or binary file
    columns : mapping of str to str
        As for :func:`encode`.

    Yields
    ------
    callable
        Takes rows, writes them, and returns how many they are.
    """
    arrow = _arrow()
    types = _types(arrow)
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])

    def write(rows: list[Values]) -> int:
        arrays = [
            arrow.array([_stored(row[at], kind) for row in rows], types[kind])
            for at, kind in enumerate(columns.values())
        ]
        writer.write_table(arrow.table(arrays, schema=schema))
        return len(rows)

    with arrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write


def _stored(value: Any, kind: str) -> Any:
    if value is None or kind not in ("json", "string"):
        return value
    return json_line(value) if kind == "json" else readable(value)


def _from_parquet(content: bytes, columns: Mapping[str, str], names: Sequence[str]) -> Iterator[Values]:
    arrow = _arrow()
    try:
        table = arrow.parquet.read_table(io.BytesIO(content), columns=list(names))
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"a part is damaged ({error}): remove it, and run the same command again") from error
    lists = []
    for name in names:
        values = table.column(name).to_pylist()
        if columns[name] == "json":
            values = [None if value is None else json.loads(value) for value in values]
        lists.append(values)
    yield from zip(*lists, strict=True)
