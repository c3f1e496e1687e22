"""What people see on a terminal: results in a table, progress, and text that no console loses.

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
import os
import re
import shutil
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TextIO, cast

import click

if TYPE_CHECKING:  # tables of results alone need numpy
    from emovox.types import Prediction

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


#: Seconds between two drawings of what goes on.
_EVERY = 0.1


def say(message: str) -> None:
    """Write a line for people to standard error, where it does not mix with results."""
    sys.stderr.write(f"{shown(message)}\n")
    sys.stderr.flush()


@contextmanager
def whole_writes() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Give a function that does something which Ctrl-C comes before or after, and never in the midst of.

    What takes long stays outside, and is stopped at once as ever.

    Yields
    ------
    callable
        Calls its argument.
    """
    pressed: list[bool] = []
    inside = False
    before = signal.getsignal(signal.SIGINT)

    def hear(number: int, frame: FrameType | None) -> None:
        if inside:
            pressed.append(True)
        elif callable(before):
            before(number, frame)

    def whole(action: Callable[[], None]) -> None:
        nonlocal inside
        inside = True
        try:
            action()
        finally:
            inside = False
        if pressed:
            pressed.clear()
            raise KeyboardInterrupt

    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield whole  # nobody is interrupted here
        return
    signal.signal(signal.SIGINT, hear)
    try:
        yield whole
    finally:
        signal.signal(signal.SIGINT, before)


def unseen(stage: str, done: float, total: float | None) -> None:
    """Take note of progress where nobody looks."""


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float, float | None], None]]:
    """Show progress while the block runs, by the function that it gives; where nobody looks that is :func:`unseen`."""
    if not is_terminal(sys.stderr):
        yield unseen
        return
    with Progress(Console(sys.stderr)).shown() as progress:
        yield progress


class Console:
    """Where people read: a terminal, or a pipe or file, which have no width.

    Parameters
    ----------
    stream : text file, optional
        Where it writes; the default is standard output.
    width : int, optional
        Its columns; the default is asked for.
    colour : bool, optional
        Whether it has colours; the default is asked for.

    Attributes
    ----------
    width : int
        Columns.
    """

    def __init__(self, stream: TextIO | None = None, *, width: int | None = None, colour: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.is_terminal = is_terminal(self.stream)
        self.width = width or (shutil.get_terminal_size().columns if self.is_terminal else WIDE)
        self.colour = (
            self.is_terminal and not (os.environ.get("NO_COLOR") or self.is_dumb) if colour is None else colour
        )

    @property
    def is_dumb(self) -> bool:
        """Whether the terminal cannot move its cursor."""
        return os.environ.get("TERM", "").lower() in ("dumb", "unknown")

    @property
    def encoding(self) -> str:
        """The encoding of what is written."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def print(self, what: str | Text | Table = "", style: str = "") -> None:
        """Write a text, folded where it is wider, or a table."""
        text = Text(what, style) if isinstance(what, str) else what
        for line in text.lines(self.width):
            self.write(line)

    def write(self, line: Text) -> None:
        """Write a line."""
        click.echo(line.ansi() if self.colour else line.plain, file=self.stream, color=self.colour)


def is_terminal(stream: IO[Any]) -> bool:
    """Tell whether people look at a stream, or want it to look as if they did (``FORCE_COLOR``)."""
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


class Picture:
    """Lines on a terminal that are drawn over each other: the last ones stay."""

    def __init__(self, console: Console) -> None:
        self._console, self._count = console, 0

    def show_cursor(self, shown: bool) -> None:
        """Hide the cursor while the picture moves, or show it again."""
        self._write("\x1b[?25h" if shown else "\x1b[?25l")

    def draw(self, lines: Iterable[Text]) -> None:
        """Draw lines, none wider than the terminal, over those drawn before; what is too high is cut at its end."""
        console = self._console
        shown = list(lines)[: max(1, shutil.get_terminal_size().lines - 1)]
        text = "".join(f"\r{line.ansi() if console.colour else line.plain}\x1b[K\n" for line in shown)
        self._write(f"{self._up()}{text}\x1b[J")
        self._count = len(shown)

    def clear(self) -> None:
        """Take the picture away."""
        self._write(f"{self._up()}\r\x1b[J" if self._count else "")
        self._count = 0

    def _up(self) -> str:
        return f"\x1b[{self._count}A" if self._count else ""

    def _write(self, text: str) -> None:
        self._console.stream.write(text)
        self._console.stream.flush()


class Progress:
    """Bars on a terminal, one a stage, drawn below what is written meanwhile; used by any thread.

    Parameters
    ----------
    console : Console
        A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._picture = console, Picture(console)
        self._stages: dict[str, tuple[str, float, float | None, float]] = {}
        self._lock = threading.RLock()
        self._drawn = 0.0

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """Show that `done` of `total` is done of a stage; what stands after a colon changes from call to call."""
        with self._lock:
            name, now = stage.partition(":")[0], time.monotonic()
            begun = self._stages[name][3] if name in self._stages else now
            new = name not in self._stages
            self._stages[name] = stage, done, total, begun
            if new or done == total or now - self._drawn >= _EVERY:
                self.draw()

    def draw(self) -> None:
        """Draw the bars."""
        with self._lock:
            self._drawn = time.monotonic()
            self._picture.draw(self._bar(*one) for one in self._stages.values())

    def clear(self) -> None:
        """Take the bars away, for something that is written."""
        with self._lock:
            self._picture.clear()

    def _bar(self, stage: str, done: float, total: float | None, begun: float) -> Text:
        """Write a bar: stage, share, count, and the time that is left."""
        share = min(1.0, done / total) if total else 0.0
        spent = time.monotonic() - begun
        left = f"{_clock(spent / share - spent)} left" if 0 < share < 1 else _clock(spent) if share else ""
        count = f"{done:g}/{total:g}" if total is not None else f"{done:g}"
        size = max(4, min(40, self._console.width - columns(stage) - len(count) - len(left) - 8))
        full, empty = ("━", "─") if self._console.encoding.lower().startswith("utf") else ("#", ".")
        text = Text(f"{stage} ").append(full * round(size * share), "green")
        text.append(empty * (size - round(size * share)), "dim").append(f" {count} ").append(left, "cyan")
        text.truncate(self._console.width - 1)
        return text

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Keep the bars below what is written to a terminal while the block runs; they stay as they were at its end."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (cast(TextIO, _Above(one, self)) if is_terminal(one) else one for one in before)
        try:
            yield self
        finally:
            sys.stdout, sys.stderr = before
            if self._stages:
                self.draw()


class _Above:
    """A terminal's stream that writes above the bars."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> int:
        with self._progress._lock:
            self._progress.clear()
            count = self._stream.write(text)
            if text.endswith("\n"):
                self._progress.draw()
            return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


#: Columns below which the table leaves out what can be spared.
NARROW = 72

#: Columns of a table beside the names of files.
_BESIDE_NAMES = 50

#: Colour of each emotion on a terminal; labels not listed are white.
COLOURS = {
    "neutral": "white",
    "calm": "cyan",
    "happy": "yellow",
    "sad": "blue",
    "angry": "red",
    "fearful": "magenta",
    "disgust": "green",
    "surprised": "bright_yellow",
}


def print_table(predictions: Sequence[Prediction]) -> None:
    """Print predictions on standard output: on a terminal as wide as it is and in colour, else as :func:`to_text`."""
    if is_terminal(sys.stdout):
        console = Console()
        console.print(to_table(predictions, console.width))
    else:
        sys.stdout.writelines(to_text(predictions))


def to_table(predictions: Sequence[Prediction], width: int = 80) -> Table:
    """Make a table for a terminal: the label, how sure it is and, where the terminal is wide enough, the runner-up.

    A long folder that all recordings are in stands above the table, and not in every row.  Where there are several
    channels or speakers, a column says which.  Where words were listened to, they stand below the label, and below them
    what there is to explain.
    """
    wide = width >= NARROW
    spoken = any(one.transcript is not None for one in predictions)
    told = [name for name in ("channel", "speaker") if len({getattr(one, name) for one in predictions}) > 1]
    common = _common_folder([one.file for one in predictions], width)
    shape = [
        Column("file"),
        Column("time", right=True, whole=True),
        *map(Column, told),
        Column("emotion", whole=wide and not spoken),
        Column("confidence" if wide else "sure", whole=True),
        *([Column("then", whole=True)] if wide else []),
    ]
    rows: list[list[str | list[tuple[str, str]]]] = []
    for one in predictions:
        file, time, label, sure, *rest = _cells(one, wide)
        colour = COLOURS.get(one.label, "white")
        who = [str(getattr(one, name) or "") for name in told]
        said = [(line, "dim") for line in _below(one)]
        rows.append([file.removeprefix(common), time, *who, [(label, colour), *said], [(sure, colour)], *rest])
    table = Table.of(shape, rows)
    if common:
        table.title = Text(f"in {shown(common)}", "dim")
    return table


def _common_folder(files: Sequence[str], width: int) -> str:
    """Find a folder that all files are in whose name would take much of a terminal; empty where there is none."""
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120 - as they are written
    if (
        max(map(columns, files), default=0) < width - _BESIDE_NAMES
        or len({Path(one).is_absolute() for one in folders}) > 1
    ):
        return ""
    common = os.path.commonpath(folders)
    return os.path.join(common, "") if common not in ("", ".") else ""  # noqa: PTH118 - ends in a separator


def to_text(predictions: Sequence[Prediction]) -> list[str]:
    """Write the lines of the same table for a pipe or a file: as wide as it needs to be, without colours.

    Examples
    --------
    >>> from emovox.types import Prediction
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> [line.rstrip() for line in to_text([example])]
    ['file       time  emotion  confidence      then', 'a.wav  0.0-1.5 s  sad      ████████░░ 75%  happy 25%']
    """
    return str(to_table(predictions, WIDE)).splitlines(keepends=True)


def _cells(one: Prediction, wide: bool) -> list[str]:
    """Give the cells of a prediction's row: file, time, label, how sure it is, the runner-up where there is room."""
    ranked = sorted(one.probabilities.items(), key=lambda item: -item[1])
    time = f"{one.start:.1f}-{one.end:.1f} s"
    if not one.label:
        return [one.file, time, dimensions(one.dimensions or {}), "", *([""] if wide else [])]
    label = f"don't know ({one.label})" if one.abstained else one.label
    bar = "█" * round(10 * one.confidence) + "░" * (10 - round(10 * one.confidence))
    sure = f"{bar} {one.confidence:.0%}" if wide else f"{one.confidence:.0%}"
    then = f"{ranked[1][0]} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
    return [one.file, time, label, sure, *([then] if wide else [])]


def _below(one: Prediction) -> Iterator[str]:
    """Give the lines below a label: what was said, and what there is to explain."""
    if one.transcript is not None:
        yield f'"{one.transcript}"' if one.transcript else "(no words)"
    for line in one.why or ():
        if one.transcript is not None or not about_words(line):
            yield line


def about_words(line: str) -> bool:
    """Tell lines on words, which are told elsewhere where there are none, from that on too little speech."""
    from emovox.types import TOO_SHORT

    return not line.startswith(TOO_SHORT)


def dimensions(values: Mapping[str, float]) -> str:
    """Write emotion dimensions in a line: what stands for the label of a model that has no classes.

    Examples
    --------
    >>> dimensions({"arousal": 0.314, "valence": -0.1})
    'arousal +0.31, valence -0.10'
    """
    return ", ".join(f"{name} {value:+.2f}" for name, value in values.items())
