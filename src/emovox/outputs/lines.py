"""Tables of text, comma- or tab-separated: read without a lone quote swallowing rows, written without formulas."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.errors import InputError
from emovox.outputs.text import csv_cell, from_csv_cell

if TYPE_CHECKING:
    from pandas import DataFrame


def read(path: Path, name: str) -> list[tuple[int, list[str]]]:
    """Read a table of text: CSV, with commas or semicolons, or TSV, by the ending.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.
    name : str
        What to call it in an error.

    Returns
    -------
    list of (int, list of str)
        As of :func:`rows`; nothing for an empty file.

    Raises
    ------
    InputError
        The file cannot be read, is no text, or is no table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from None
    head = text.lstrip().partition("\n")[0]
    comma = ";" if ";" in head and "," not in head else ","
    found = rows(text, "\t" if path.suffix.lower() == ".tsv" else comma, name)
    return [(number, [from_csv_cell(cell) for cell in cells]) for number, cells in found]


def rows(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    r"""Split a table of text into rows and cells.

    A line is a row wherever each line has as many cells as the first: then a quote that is never closed, or that opens
    in one line and seems to close in another, is a character like any other.  Only a table that is none in this manner
    is read by the rules of CSV, in which a cell between quotes may hold line breaks.

    Parameters
    ----------
    text : str
        Content of the file.
    delimiter : str
        What stands between cells, one character.
    name : str
        What to call the table in an error.

    Returns
    -------
    list of (int, list of str)
        Number of the line in which the row ends, from 1, and its cells without outer blanks, as many in every row;
        lines of blanks are left out.  The first row is the header.

    Raises
    ------
    InputError
        A row has more or fewer cells than the header.

    Examples
    --------
    >>> rows('file\ttext\na.wav\t"Well\nb.wav\t"Well, no', "\t", "m.tsv")
    [(1, ['file', 'text']), (2, ['a.wav', '"Well']), (3, ['b.wav', '"Well, no'])]
    >>> rows('file,text\na.wav,"Well,\nno"', ",", "m.csv")
    [(1, ['file', 'text']), (3, ['a.wav', 'Well,\nno'])]
    """
    lines = [(number, line) for number, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line.strip()]
    if not lines:
        return []
    first = _cells(lines[0][1], delimiter)
    width = len(first)
    by_line = [(number, _cells(line, delimiter, width)) for number, line in lines]
    short = next(((number, cells) for number, cells in by_line if len(cells) != width), None)
    if short is None:
        return by_line
    whole = _as_csv(text, delimiter)
    if whole and all(len(cells) == width for _, cells in whole):
        return whole
    number, cells = short
    raise InputError(
        f"line {number} of {name} has {len(cells)} cells, its header {width}: "
        "put quotes around cells that hold the separator"
    )


def _cells(line: str, delimiter: str, width: int | None = None) -> list[str]:
    """Split one line: by the rules of CSV, or at every delimiter where the quotes of the line are none of CSV."""
    plain = [cell.strip() for cell in line.split(delimiter)]
    quoted = _as_csv(line, delimiter)
    if not quoted or (width is not None and len(quoted[0][1]) != width == len(plain)):
        return plain
    return quoted[0][1]


def _as_csv(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Read CSV by the letter; nothing if it is not."""
    reader = csv.reader(
        re.split("(?<=\n)|(?<=\r)(?!\n)", text), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error:
        return []
    return [(number, cells) for number, cells in found if any(cells)]


def columns(names: Sequence[str], known: dict[str, tuple[str, ...]]) -> dict[int, str]:
    """Find the known columns of a table under their own names or under others.

    Parameters
    ----------
    names : sequence of str
        The header.
    known : dict of str to tuple of str
        Each column and the other names that it goes by, the likeliest first.

    Returns
    -------
    dict of int to str
        Position in the header and known column: for each the first name found, its own first; upper and lower case,
        blanks, hyphens and underscores make no difference.

    Examples
    --------
    >>> columns(["Path", "emotion", "noise"], {"file": ("filename", "path"), "label": ("emotion",)})
    {0: 'file', 1: 'label'}
    """
    plain = [re.sub("[ _-]+", "", name).casefold() for name in names]
    found: dict[int, str] = {}
    for column, others in known.items():
        if column in names:
            found[names.index(column)] = column
            continue
        for other in (column, *others):
            at = next((k for k, one in enumerate(plain) if one == other and names[k] not in known), None)
            if at is not None and at not in found:
                found[at] = column
                break
    return found


def write_csv(table: DataFrame, path: Path) -> None:
    r"""Write a table as CSV: numbers with five decimals, texts as :func:`emovox.outputs.text.csv_line` writes them.

    Parameters
    ----------
    table : DataFrame
        Its index is left out.
    path : Path
        File to write.

    Examples
    --------
    >>> import pandas as pd
    >>> write_csv(pd.DataFrame({"file": ["=1+1.wav"], "p_sad": [0.5]}), Path("out.csv"))
    >>> Path("out.csv").read_text()
    "file,p_sad\n'=1+1.wav,0.50000\n"
    """
    safe = table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
    safe.to_csv(path, index=False, float_format="%.5f", lineterminator="\n")
