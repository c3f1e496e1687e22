"""Text on its way out: held against Python's own readers of JSON and CSV, for any text that a name can be."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from emovox.outputs.console import csv_line, from_csv_cell, json_line, readable, shown

#: Any text, with halves of characters as Python makes them of bytes that are no UTF-8.
ANY = st.text(st.characters(codec=None, exclude_categories=()))


@given(text=ANY)
@example(text="a\x1b[2J\x9b31m\n\r\t\x7f\u202egpj.wav")
def test_what_is_shown_is_one_harmless_line_of_utf8(text: str) -> None:
    line = shown(text)
    line.encode("utf-8")
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(one) == "Cc" for one in line)
    assert shown(line) == line


@given(name=st.binary())
def test_names_lose_nothing_but_what_is_no_utf8(name: bytes) -> None:
    escaped = readable(os.fsdecode(name))
    assert escaped == name.decode("utf-8", "backslashreplace")


def test_names_that_an_ascii_locale_took_apart_are_put_together() -> None:
    assert shown("日本.wav".encode().decode("ascii", "surrogateescape")) == "日本.wav"


@given(text=ANY)
def test_json_is_read_back(text: str) -> None:
    line = json_line({"file": text, text: [text]})
    assert not any(unicodedata.category(one) in ("Cc", "Cs") for one in line)
    assert json.loads(line) == {"file": readable(text), readable(text): [readable(text)]}


@given(texts=st.lists(ANY, min_size=1))
@example(texts=["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "＝1"])
@example(texts=["-0.5000", "+3", "'tis", "-", ""])
def test_csv_is_read_back_and_holds_no_formula(texts: list[str]) -> None:
    (cells,) = csv.reader(io.StringIO(csv_line(["a", *texts]), newline=""))
    assert [from_csv_cell(cell) for cell in cells[1:]] == [shown(text) for text in texts]
    for cell in cells:
        assert not re.match("[=+@\t\r-]", cell) or re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", cell)
