"""Reader of manifests: a table written by the user, one row per clip, as CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped
from emovox.labels import canonical

#: Required columns of a manifest.
REQUIRED = ("file", "label")
#: Optional columns of a manifest.
OPTIONAL = ("speaker", "start", "end", "split", "sex", "text", "intensity")
#: Suffixes of manifests.
SUFFIXES = (".csv", ".tsv", ".parquet")

_SEXES = {"": "", "f": "female", "female": "female", "m": "male", "male": "male"}
_SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}


def manifest(path: Path, name: str = "", licence: str = "") -> Corpus:
    """Read a manifest.

    Parameters
    ----------
    path : Path
        CSV (comma or semicolon), TSV or Parquet.  Columns: ``file`` and ``label``; optionally ``speaker``,
        ``start`` and ``end`` in seconds, ``split`` (train, valid, test), ``sex`` (female, male), ``text``,
        ``intensity``.  An empty cell is an unknown value; an empty ``end`` is the end of the file.
    name : str, default the manifest's file name
        Name of the corpus.
    licence : str, optional
        Licence of the recordings.

    Returns
    -------
    Corpus
        Files are relative to the folder of the manifest.  Labels are normalised by :func:`emovox.labels.canonical`
        (``Happiness`` becomes ``happy``), speakers are prefixed with the name of the corpus.

    Raises
    ------
    CorpusError
        The manifest cannot be read, has an unknown column or an invalid value, or lists missing files.
    """
    if not path.exists():
        raise CorpusError(f"manifest {str(path)!r} does not exist: give a {', '.join(SUFFIXES)} file")
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise CorpusError(f"{str(path)!r} is not a manifest: give a {', '.join(SUFFIXES)} file")
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    name = name or path.stem
    clips = [_clip(row, f"{line} of manifest {path.name!r}", path.parent, name) for line, row in rows]
    sizes = {clip.file: _size(path.parent / clip.file) for clip in clips}
    missing = sorted(file for file, size in sizes.items() if size is None)
    if missing:
        raise CorpusError(
            f"manifest {path.name!r} names {len(missing)} files that are not there, the first is "
            f"{missing[0]!r}: paths must be absolute or relative to {str(path.parent)!r}"
        )
    empty = sorted(file for file, size in sizes.items() if size == 0)
    kept = [clip for clip in clips if sizes[clip.file]]
    if not kept:
        raise CorpusError(f"manifest {path.name!r} names no recording that is not empty: give at least one row")
    provenance = Provenance(licence=licence)
    return Corpus(
        name, path.parent, provenance, from_clips(kept, name, provenance), skipped({"empty (0 bytes)": empty})
    )


def _read_text(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Read CSV or TSV: ("line 2", row) pairs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"manifest {path.name!r} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise CorpusError(f"cannot read manifest {str(path)!r}: {error.strerror}") from None
    head = text.partition("\n")[0]
    comma = ";" if ";" in head and "," not in head else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else comma)
    try:
        header = [cell.strip() for cell in next(lines, [])]
        _check_columns(header, path)
        rows = []
        for line in lines:
            if not any(cell.strip() for cell in line):
                continue
            if len(line) != len(header):
                raise CorpusError(
                    f"line {lines.line_num} of manifest {path.name!r} has {len(line)} cells, its header "
                    f"{len(header)}: put quotes around cells that hold the separator"
                )
            rows.append(
                (
                    f"line {lines.line_num}",
                    {key: cell.strip() for key, cell in zip(header, line, strict=True)},
                )
            )
    except csv.Error as error:
        raise CorpusError(f"line {lines.line_num} of manifest {path.name!r} is not CSV: {error}") from None
    return rows


def _read_parquet(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Read Parquet: ("row 1", row) pairs, every cell as text."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors derive from these
        reason = str(error).partition("\n")[0]
        raise CorpusError(f"manifest {path.name!r} is not Parquet that can be read: {reason}") from None
    if frame.index.names != [None]:
        frame = frame.reset_index()
    frame.columns = pd.Index([str(column) for column in frame.columns])
    _check_columns(list(frame.columns), path)
    cells = {
        column: ["" if absent else str(cell).strip() for cell, absent in zip(cells, cells.isna(), strict=True)]
        for column, cells in frame.items()
    }
    return [(f"row {row + 1}", {str(column): cells[column][row] for column in cells}) for row in range(len(frame))]


def _check_columns(header: Sequence[str], path: Path) -> None:
    """Raise if a column of the header is missing, unknown or duplicated."""
    known = (*REQUIRED, *OPTIONAL)
    if not any(header):
        raise CorpusError(f"manifest {path.name!r} is empty: its first line must name the columns {', '.join(known)}")
    for column in header:
        if column not in known:
            remedy = did_you_mean(column.lower(), known)
            raise CorpusError(f"manifest {path.name!r} has an unknown column {column!r}: {remedy}")
        if header.count(column) > 1:
            raise CorpusError(f"manifest {path.name!r} has the column {column!r} twice: keep one of them")
    for column in REQUIRED:
        if column not in header:
            raise CorpusError(f"manifest {path.name!r} has no column {column!r}: it needs {' and '.join(REQUIRED)}")


def _clip(row: dict[str, str], where: str, folder: Path, name: str) -> Clip:
    """Check and convert one row."""
    for column in REQUIRED:
        if not row[column]:
            raise CorpusError(f"{where} has no {column}: fill it in or remove the line")
    start, end = _seconds(row, "start", 0.0, where), _seconds(row, "end", math.inf, where)
    if not 0 <= start < end:
        raise CorpusError(f"{where} goes from {start} s to {end} s: start must be 0 or later and before end")
    speaker = row.get("speaker", "")
    return Clip(
        file=_relative(row["file"], folder),
        label=canonical(row["label"]),
        speaker=f"{name}/{speaker}" if speaker else "",
        sex=_word(row, "sex", _SEXES, where) or "",
        text=row.get("text", ""),
        intensity=row.get("intensity", ""),
        start=start,
        end=end,
        split=_word(row, "split", _SPLITS, where),
    )


def _relative(file: str, folder: Path) -> str:
    """Return a path relative to the manifest if possible, with forward slashes also for manifests from Windows."""
    clean, folder = PurePosixPath(os.path.normpath(file.replace("\\", "/"))), folder.resolve()
    return str(clean.relative_to(folder) if clean.is_relative_to(folder) else clean)


def _size(file: Path) -> int | None:
    """Return the size of a file in bytes, None if it does not exist."""
    try:
        return file.stat().st_size if file.is_file() else None
    except (OSError, ValueError):  # names that are invalid on this file system
        return None


def _seconds(row: dict[str, str], column: str, default: float, where: str) -> float:
    """Parse a time; an empty cell gives the default."""
    cell = row.get(column, "")
    try:
        value = float(cell) if cell else default
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise CorpusError(f"{column} {cell!r} in {where} is not a number: give seconds, for example 12.5")
    return value


def _word(row: dict[str, str], column: str, words: dict[str, str], where: str) -> str | None:
    """Parse a categorical value; None if the manifest has no such column."""
    if column not in row:
        return None
    cell = row[column].lower()
    if cell not in words:
        known = [word for word in words if word]
        raise CorpusError(f"{column} {row[column]!r} in {where}: {did_you_mean(cell, known)}")
    return words[cell]
