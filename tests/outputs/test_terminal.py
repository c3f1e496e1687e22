"""What people see: tables as rich draws them, texts that fit, pictures and bars drawn over each other."""

from __future__ import annotations

import io
import re
import sys

import pytest
import rich.box
import rich.console
import rich.table
import rich.text
from hypothesis import given
from hypothesis import strategies as st

from emovox.outputs.console import Console, Picture, Progress, Table, Text, columns

WORDS = st.lists(st.sampled_from(["a", "bb", "calls/one.wav", "電話", "cafe\u0301", "longer-than-most"]), max_size=6)


def drawn(file: io.StringIO, height: int = 50) -> list[str]:
    """Do what a terminal does with the sequences that are used here."""
    screen, row = [""], 0
    for part in re.split("(\x1b\\[\\d*[A-Zm]|\n|\r)", file.getvalue()):
        if part == "\n":
            row += 1
            screen += [""] if row == len(screen) else []
        elif part.endswith("A") and part[0] == "\x1b":
            row -= int(part[2:-1])
        elif part == "\x1b[J":
            screen = [*screen[: row + 1]]
            screen[row] = ""
        elif part in ("\r", "\x1b[K") or part.endswith("m"):
            screen[row] = "" if part == "\r" else screen[row]
        elif part:
            screen[row] += part
    return screen[-height:]


@given(rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_a_table_is_that_of_rich(rows: list[tuple[list[str], list[str]]]) -> None:
    ours, theirs = Table(), rich.table.Table(box=None, pad_edge=False)
    for name, justify in (("file", "left"), ("number", "right")):
        ours.add_column(name, justify=justify)
        theirs.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        ours.add_row(*map(" ".join, row))
        theirs.add_row(*(rich.text.Text(" ".join(cell)) for cell in row))
    console = rich.console.Console(file=io.StringIO(), width=300)
    console.print(theirs)
    expected = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [str(line).rstrip() for line in ours.lines()] == [line.rstrip() for line in expected]


@given(text=WORDS.map(" ".join), width=st.integers(2, 30))
def test_a_folded_text_fits_and_loses_nothing(text: str, width: int) -> None:
    lines = Text(text, "bold").lines(width)
    assert all(line.cell_len <= width for line in lines)
    assert "".join("".join(map(str, lines)).split()) == "".join(text.split())
    assert all(style == "bold" for line in lines for part, style in line.parts if part.strip())


@pytest.mark.parametrize("width", [12, 20, 40])
def test_a_narrow_table_fits(width: int) -> None:
    table = Table()
    table.add_column("file")
    table.add_column("time", no_wrap=True)
    table.add_row("a/very/long/path/to/a/clip.wav", "12.5 s")
    lines = [str(line) for line in table.lines(width)]
    assert max(map(columns, lines)) <= width
    assert "12.5 s" in lines[1]


def test_texts_have_styles_and_are_cut() -> None:
    text = Text("sad ", "bold bright_yellow").append("電話")
    assert text.ansi() == "\x1b[1;93msad \x1b[0m電話"
    text.truncate(7)  # half of a wide character is none
    assert (text.plain, text.cell_len) == ("sad 電", 6)


@pytest.mark.parametrize(("colour", "marks"), [(True, 2), (False, 0)])
def test_colours_are_where_they_are_wanted(colour: bool, marks: int) -> None:
    file = io.StringIO()
    Console(file, width=40, colour=colour).print(Text("sad", "blue"))
    assert file.getvalue().count("\x1b") == marks


def test_no_colour_and_force_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Console(io.StringIO()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Console(io.StringIO()).colour


def test_a_picture_is_drawn_over_the_one_before() -> None:
    file = io.StringIO()
    picture = Picture(Console(file, width=40))
    picture.draw([Text("one"), Text("two"), Text("three")])
    picture.draw([Text("four"), Text("five")])
    assert drawn(file) == ["four", "five", ""]
    picture.clear()
    assert drawn(file) == [""]


def test_bars_stay_below_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    with Progress(Console(file, width=60, colour=False)).shown() as progress:
        progress("recordings", 1, 4)
        sys.stderr.write("a note\n")
        progress("recordings", 4, 4)
    note, bar, end = drawn(file)
    assert (note, end) == ("a note", "")
    assert bar.startswith("recordings ━━━")
    assert "4/4" in bar
    assert sys.stderr is file
