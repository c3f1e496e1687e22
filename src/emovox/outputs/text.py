r"""Text on its way out: in UTF-8 or escaped, never lost, never a command to a terminal or a spreadsheet; and laid out.

File names may hold anything: bytes that are no UTF-8 (Python has lone surrogates for them), line breaks, escape
sequences.  Every format writes them through :func:`shown`, CSV through :func:`csv_line`, and JSON through
:func:`json_line`, which keeps them exact wherever they are text at all; the command line calls :func:`never_fail`
before anything else.

:class:`Text` and :class:`Table` are what a terminal shows: parts with styles, and rows that fit its width.  Styles are
words: ``bold``, ``dim``, a colour, or several, as in ``bold yellow``.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

#: Characters that give orders to a terminal, break a line or turn the direction of writing.
_ORDERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: Halves of characters: what Python makes of bytes that are no UTF-8, or of the broken names of other systems.
_BROKEN = re.compile("[\ud800-\udfff]")
#: The beginning of a cell that a spreadsheet would run as a formula, and no number; a quote before it makes it text.
_FORMULA = re.compile(r"'*(?![+-]?[\d.]+(e[+-]?\d+)?$)[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
#: What stands for characters of our own on a terminal that has not got them.
_PLAIN = {"█": "#", "░": ".", "–": "-", "—": "-", "…": "...", "·": "-", "’": "'", "“": '"', "”": '"', "✓": "+"}

#: Columns of a table that goes into a pipe or a file, which have no width: nothing is folded.
WIDE = 10_000
_CODES = {"bold": 1, "dim": 2} | {
    name: 30 + number
    for number, name in enumerate(("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"))
}
#: Blanks between the columns of a table.
_GAP = 2


def readable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a byte that is none of UTF-8 becomes ``\xe9``, and all else stays as it is.

    Examples
    --------
    >>> readable("caf\udce9.wav"), readable("caf\u00e9.wav") == "caf\u00e9.wav"
    ('caf\\xe9.wav', True)
    """
    if not _BROKEN.search(text):
        return text
    # Under an ASCII locale names that are UTF-8 are taken apart as well: these are put together again.
    halves = re.sub("[\ud800-\udc7f\udd00-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return halves.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    r"""Return text as one line that may be shown anywhere: what a terminal would obey is escaped.

    Parameters
    ----------
    text : str
        A file name, a message that has file names in it, a transcript, a label.

    Returns
    -------
    str
        Without control characters (``\n``, ``\x1b``), without marks that turn the direction of writing (``\u202e``)
        and without bytes that are no UTF-8 (``\xe9``).

    Examples
    --------
    >>> shown("call.wav"), shown("a\x1b[31m\nb.wav"), shown("caf\udce9.wav")
    ('call.wav', 'a\\x1b[31m\\nb.wav', 'caf\\xe9.wav')
    """
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), readable(text))


def json_line(value: Any) -> str:
    r"""Write a value as JSON in one line, which every reader of JSON takes and no terminal obeys.

    Examples
    --------
    >>> json_line({"file": "a\x9b\udce9 日.wav"})
    '{"file": "a\\u009b\\\\xe9 日.wav"}'
    """
    line = json.dumps(_readable(value), ensure_ascii=False)
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def csv_line(values: Iterable[str | float]) -> str:
    r"""Write a line of CSV in which text cells are one line each and nothing that a spreadsheet would run.

    Parameters
    ----------
    values : iterable of str or float
        Text cells, escaped by :func:`shown`; one that begins like a formula (``=``, ``+``, ``-``, ``@``) gets a quote
        before it, which :func:`from_csv_cell` takes off.  Numbers stay as they are, formatted or not.

    Examples
    --------
    >>> csv_line(["=1+1.wav", -0.5])
    "'=1+1.wav,-0.5\n"
    """
    import csv

    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([csv_cell(one) if isinstance(one, str) else one for one in values])
    return line.getvalue()


def from_csv_cell(text: str) -> str:
    """Return a text cell without the quote that says to a spreadsheet that it is no formula.

    Examples
    --------
    >>> from_csv_cell("'=1+1.wav"), from_csv_cell("'tis.wav")
    ('=1+1.wav', "'tis.wav")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def never_fail() -> None:
    """Make standard output and standard error take every text.

    A pipe or a file gets UTF-8, whatever the locale says, as the files of ``--out`` are; a terminal keeps its encoding,
    and characters that it has not got are escaped.
    """
    codecs.register_error("emovox", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="emovox")


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV before it is put between quotes, see :func:`csv_line`.

    Examples
    --------
    >>> csv_cell("=1+1.wav"), csv_cell("-0.5")
    ("'=1+1.wav", '-0.5')
    """
    cell = shown(text)
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _readable(value: Any) -> Any:
    """Apply :func:`readable` to every text in a value of JSON."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(one) for key, one in value.items()}
    return [_readable(one) for one in value] if isinstance(value, (list, tuple)) else value


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding has not got: our own signs by plain ones, all else by its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = [_PLAIN.get(one) or readable(one).encode("ascii", "backslashreplace").decode("ascii") for one in missing]
    return "".join(plain), error.end


def columns(text: str) -> int:
    """Count the columns that a text takes: two for a wide character, none for a mark on another.

    Examples
    --------
    >>> columns("call.wav"), columns("電話.wav")
    (8, 8)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


class Text:
    r"""A text whose parts have styles.

    Examples
    --------
    >>> text = Text("sad", "blue").append(" 75%")
    >>> text.plain, text.cell_len, text.ansi()
    ('sad 75%', 7, '\x1b[34msad\x1b[0m 75%')
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        self.parts: list[tuple[str, str]] = [(text, style)] if text else []

    @classmethod
    def assemble(cls, *parts: tuple[str, str]) -> Text:
        """Make a text of pairs of text and style."""
        found = cls()
        found.parts = [one for one in parts if one[0]]
        return found

    def append(self, text: str | Text, style: str = "") -> Text:
        """Add a text at the end; return the whole."""
        self.parts += text.parts if isinstance(text, Text) else [(text, style)] if text else []
        return self

    def __str__(self) -> str:
        return self.plain

    @property
    def plain(self) -> str:
        """The text without styles."""
        return "".join(text for text, _ in self.parts)

    @property
    def cell_len(self) -> int:
        """How many columns it takes."""
        return columns(self.plain)

    def truncate(self, width: int) -> None:
        """Cut it to so many columns."""
        kept: list[tuple[str, str]] = []
        for text, style in self.parts:
            part = _first(text, width)
            width -= columns(part)
            kept.append((part, style))
            if part != text:
                break
        self.parts = kept

    def ansi(self) -> str:
        """Return it with the escape sequences of its styles."""
        return "".join(_styled(text, style) for text, style in self.parts)

    def lines(self, width: int = WIDE) -> list[Text]:
        """Break it at line ends and, where a line is wider, between words or else anywhere."""
        found = [Text()]
        for text, style in self.parts:
            first, *rest = text.split("\n")
            found[-1].append(first, style)
            found += [Text(one, style) for one in rest]
        return [piece for line in found for piece in line._folded(width)]

    def _folded(self, width: int) -> Iterator[Text]:
        if self.cell_len <= width:
            yield self
            return
        styles = [style for text, style in self.parts for _ in text]
        plain, begin = self.plain, 0
        while begin < len(plain):
            part = _first(plain[begin:], max(1, width)) or plain[begin]
            end = begin + len(part)
            if end < len(plain) and plain[end] != " " and " " in part.strip():
                end = begin + part.rstrip().rindex(" ") + 1
            yield Text.assemble(*zip(plain[begin:end].rstrip() or " ", styles[begin:], strict=False))
            begin = end + (len(plain[end:]) - len(plain[end:].lstrip(" ")))


def _first(text: str, width: int) -> str:
    """Return as much of a text as takes so many columns."""
    if columns(text) <= width:
        return text
    taken = 0
    for place, one in enumerate(text):
        taken += columns(one)
        if taken > width:
            return text[:place]
    return text


def _styled(text: str, style: str) -> str:
    codes = []
    for word in style.split():
        bright = word.startswith("bright_")
        codes.append(str(_CODES[word.removeprefix("bright_")] + (60 if bright else 0)))
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text


class Column(NamedTuple):
    """A column of a table: its name, whether its texts stand at the right, and whether they are rather not folded."""

    name: str
    right: bool = False
    whole: bool = False


class Table:
    """Rows in columns that are as wide as they must be; where the terminal is narrower, texts are folded.

    Parameters
    ----------
    header_style : str, default "bold"
        Style of the names of the columns.
    show_header : bool, default True
        Whether they are shown.

    Attributes
    ----------
    title : Text or None
        What stands above it.

    Examples
    --------
    >>> table = Table()
    >>> table.add_column("file")
    >>> table.add_column("seconds", justify="right")
    >>> table.add_row("a.wav", "1.5")
    >>> [line.plain for line in table.lines()]
    ['file   seconds', 'a.wav      1.5']
    """

    def __init__(self, *, header_style: str = "bold", show_header: bool = True) -> None:
        self.title: Text | None = None
        self._style, self._headed = header_style, show_header
        self._columns: list[Column] = []
        self._rows: list[list[Text]] = []

    @classmethod
    def of(cls, columns: Iterable[Column], rows: Iterable[Sequence[str | Sequence[tuple[str, str]]]]) -> Table:
        """Make a table at once; every text in it is escaped by :func:`shown`.

        Parameters
        ----------
        columns : iterable of Column
            The columns.
        rows : iterable of sequence
            A cell for each column: a text, or lines of it that stand below each other, each with its style.

        Examples
        --------
        >>> print(Table.of([Column("file"), Column("label")], [["a.wav", [("sad", "blue"), ("alas", "dim")]]]), end="")
        file   label
        a.wav  sad
               alas
        """
        table = cls()
        table._columns = list(columns)
        for row in rows:
            lines = ([(cell, "")] if isinstance(cell, str) else cell for cell in row)
            table._rows.append(
                [
                    Text.assemble(
                        *(("\n" * (place > 0) + shown(text), style) for place, (text, style) in enumerate(cell))
                    )
                    for cell in lines
                ]
            )
        return table

    def __str__(self) -> str:
        """Return the lines of the table, as wide as they need to be, without styles."""
        return "".join(f"{line.plain}\n" for line in self.lines())

    @property
    def row_count(self) -> int:
        """Number of rows without the head."""
        return len(self._rows)

    def add_column(self, name: str = "", *, justify: str = "left", no_wrap: bool = False) -> None:
        """Add a column; one that is not wrapped stays whole as long as others can be narrower."""
        self._columns.append(Column(name, justify == "right", no_wrap))

    def add_row(self, *cells: str | Text) -> None:
        """Add a row, with a cell for each column."""
        self._rows.append([one if isinstance(one, Text) else Text(one) for one in cells])

    def lines(self, width: int = WIDE) -> Iterator[Text]:
        """Give the lines of the table in so many columns."""
        yield from self.title.lines(width) if self.title else ()
        rows = [[Text(one.name, self._style) for one in self._columns]] if self._headed else []
        rows += self._rows
        widths = self._widths(rows, width)
        for row in rows:
            cells = [cell.lines(size) for cell, size in zip(row, widths, strict=True)]
            for number in range(max(map(len, cells), default=0)):
                line = Text()
                for place, (cell, size) in enumerate(zip(cells, widths, strict=True)):
                    part = cell[number] if number < len(cell) else Text()
                    blank = " " * (size - part.cell_len)
                    right = self._columns[place].right
                    line.append(" " * _GAP if place else "").append(blank if right else "").append(part)
                    line.append(blank if not right and place < len(widths) - 1 else "")
                yield line

    def _widths(self, rows: Sequence[Sequence[Text]], width: int) -> list[int]:
        """Give each column what it needs, less of the widest that may be folded where there is not enough."""
        count = len(self._columns)
        needs = [
            max((line.cell_len for row in rows for line in row[place].lines()), default=0) for place in range(count)
        ]
        room = max(count, width - _GAP * (count - 1))
        for kind in (False, True):
            those = [place for place in range(count) if self._columns[place].whole is kind]
            while those and sum(needs) > room and max(needs[place] for place in those) > 1:
                widest = max(those, key=lambda place: needs[place])
                needs[widest] -= 1
        return needs
