"""Reader of manifests: a table written by the user, one row per clip, as CSV, TSV or Parquet."""

from __future__ import annotations

import difflib
import math
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from emovox.errors import CorpusError, InputError, did_you_mean
from emovox.lab.corpora.table import RESERVED, Clip, Corpus, Provenance, from_clips, skipped, spelt_alike
from emovox.outputs import formats
from emovox.types import as_seen, canonical

#: Required columns of a manifest.
REQUIRED = ("file", "label")
#: Columns of a manifest and other names by which people call them, in lower case without blanks, the likeliest first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "path", "filepath", "audio", "audiofile", "audiopath", "wav", "wavfile", "recording", "clip"),
    "label": ("emotion", "labels", "emotions", "emotionlabel", "class", "category"),
    "speaker": ("speakerid", "speakername", "spk", "spkid", "actor", "actorid", "participant", "subject"),
    "start": ("begin", "onset", "starttime", "begintime"),
    "end": ("stop", "offset", "endtime", "stoptime"),
    "split": ("partition", "subset"),
    "sex": ("gender",),
    "text": ("transcript", "transcription", "sentence", "utterance", "rawtext"),
    "intensity": ("strength",),
}
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
        ``intensity``, each also under the other names of :data:`COLUMNS`.  Further columns are kept along.  An empty
        cell is an unknown value; an empty ``end`` is the end of the file.
    name : str, default the manifest's file name
        Name of the corpus.
    licence : str, optional
        Licence of the recordings.

    Returns
    -------
    Corpus
        Files are relative to the folder of the manifest.  Labels are normalised by :func:`emovox.types.canonical`
        (``Happiness`` becomes ``happy``), speakers are prefixed with the name of the corpus.  `Corpus.notes` tells
        which columns were taken for which, and which were only kept along.

    Raises
    ------
    CorpusError
        The manifest cannot be read, lacks a column or has one twice, has an invalid value, or lists missing files.
    """
    if not path.exists():
        raise CorpusError(f"manifest {str(path)!r} does not exist: give a {', '.join(SUFFIXES)} file")
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise CorpusError(f"{str(path)!r} is not a manifest: give a {', '.join(SUFFIXES)} file")
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    header = _header(table.header, path)
    name = name or path.stem
    clips = []
    for line, cells in table.rows:
        row = {column: cells[at] for at, column in header.known.items()}
        more = {column: as_seen(cells[at]) for at, column in header.further.items()}
        clips.append(_clip(row, more, f"{line} of manifest {path.name!r}", path.parent, name))
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
    alike = [", ".join(map(repr, one)) for one in spelt_alike([clip.speaker.removeprefix(f"{name}/") for clip in kept])]
    notes = (*header.notes, *(f"speakers {one} are taken for one speaker" for one in alike))
    skips = skipped({"empty (0 bytes)": empty})
    return Corpus(name, path.parent, provenance, from_clips(kept, name, provenance), skips, notes)


@dataclass(frozen=True)
class _Table:
    """A manifest as it is read: the header, and for each row where it stands and its cells."""

    header: list[str]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class _Header:
    """Columns by position: those of :data:`COLUMNS` under their own names, further ones, and what is to be told."""

    known: dict[int, str]
    further: dict[int, str]
    notes: tuple[str, ...]


def _read_text(path: Path) -> _Table:
    """Read CSV or TSV."""
    try:
        header, *rows = formats.read(path, f"manifest {path.name!r}") or [(1, [])]
    except InputError as error:
        raise CorpusError(str(error)) from None
    return _Table(header[1], [(f"line {number}", cells) for number, cells in rows])


def _read_parquet(path: Path) -> _Table:
    """Read Parquet, every cell as text."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors derive from these
        reason = str(error).partition("\n")[0]
        raise CorpusError(f"manifest {path.name!r} is not Parquet that can be read: {reason}") from None
    if frame.index.names != [None]:
        frame = frame.reset_index()
    columns = [
        ["" if absent else str(cell).strip() for cell, absent in zip(cells, cells.isna(), strict=True)]
        for _, cells in frame.items()
    ]
    rows = [(f"row {number}", list(cells)) for number, cells in enumerate(zip(*columns, strict=True), 1)]
    return _Table([str(column) for column in frame.columns], rows)


def _header(names: Sequence[str], path: Path) -> _Header:
    """Find the columns; raise if one that is needed is missing, or one is there twice."""
    names = [as_seen(name) for name in names]
    if not any(names):
        raise CorpusError(f"manifest {path.name!r} is empty: its first line must name the columns {', '.join(COLUMNS)}")
    for name in names:
        if name and names.count(name) > 1:
            raise CorpusError(f"manifest {path.name!r} has the column {name!r} twice: keep one of them")
    known = formats.known_columns(names, COLUMNS)
    for column in REQUIRED:
        if column not in known.values():
            others = [name for at, name in enumerate(names) if at not in known and name]
            near = next((repr(name) for name in others if difflib.get_close_matches(name.lower(), [column])), "")
            remedy = f"is it {near}?" if near else f"call the column that holds it {column!r}"
            raise CorpusError(f"manifest {path.name!r} has no column {column!r}: {remedy}")
    taken = [f"{names[at]!r} as {column!r}" for at, column in known.items() if names[at] != column]
    further = {
        at: f"manifest {name}" if name in RESERVED else name
        for at, name in enumerate(names)
        if name and at not in known
    }
    notes = []
    if taken:
        notes.append(f"columns read under other names: {', '.join(taken)}")
    if further:
        notes.append(f"further columns, kept along: {', '.join(map(_with_doubt, further.values()))}")
    return _Header(known, further, tuple(notes))


def _with_doubt(column: str) -> str:
    """Return the name of a further column, with the known one that it may be a misspelling of."""
    near = difflib.get_close_matches(column.lower(), COLUMNS, n=1, cutoff=0.8)
    return f"{column!r} (did you mean {near[0]!r}?)" if near else repr(column)


def _clip(row: dict[str, str], more: dict[str, str], where: str, folder: Path, name: str) -> Clip:
    """Check and convert one row."""
    for column in REQUIRED:
        if not as_seen(row[column]):
            raise CorpusError(f"{where} has no {column}: fill it in or remove the line")
    start, end = _seconds(row, "start", 0.0, where), _seconds(row, "end", math.inf, where)
    if not 0 <= start < end:
        raise CorpusError(f"{where} goes from {start} s to {end} s: start must be 0 or later and before end")
    speaker = as_seen(row.get("speaker", ""))
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
        more=more,
    )


def _relative(file: str, folder: Path) -> str:
    """Return a path relative to the manifest if possible, with forward slashes also for manifests from Windows.

    Its Unicode form is the one that the file has, which a copy between systems may have changed.
    """
    forms = [file] if file.isascii() else [file, *(unicodedata.normalize(form, file) for form in ("NFC", "NFD"))]
    forms = [os.path.normpath(form if _size(folder / form) is not None else form.replace("\\", "/")) for form in forms]
    there = next((form for form in forms if _size(folder / form) is not None), forms[0])
    clean, folder = PurePosixPath(there), folder.resolve()
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
    cell = as_seen(row[column]).lower()
    if cell not in words:
        known = [word for word in words if word]
        raise CorpusError(f"{column} {row[column]!r} in {where}: {did_you_mean(cell, known)}")
    return words[cell]
