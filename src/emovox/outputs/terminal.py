"""What people see on a terminal: text with styles, tables that fit the width, pictures drawn over, progress.

Styles are words: ``bold``, ``dim``, a colour, or several, as in ``bold yellow``.  A terminal without colours, a pipe or
``NO_COLOR`` gets none; ``FORCE_COLOR`` makes everything look as on a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, TextIO, cast

import click

#: Columns of a table that goes into a pipe or a file, which have no width: nothing is folded.
WIDE = 10_000
_CODES = {"bold": 1, "dim": 2} | {
    name: 30 + number
    for number, name in enumerate(("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"))
}
#: Blanks between the columns of a table.
_GAP = 2
#: Seconds between two drawings of what goes on.
_EVERY = 0.1


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


@dataclass(frozen=True)
class _Column:
    name: str
    right: bool
    whole: bool


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
        self._columns: list[_Column] = []
        self._rows: list[list[Text]] = []

    @property
    def row_count(self) -> int:
        """Number of rows without the head."""
        return len(self._rows)

    def add_column(self, name: str = "", *, justify: str = "left", no_wrap: bool = False) -> None:
        """Add a column; one that is not wrapped stays whole as long as others can be narrower."""
        self._columns.append(_Column(name, justify == "right", no_wrap))

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
