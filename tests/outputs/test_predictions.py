"""Predictions for machines are valid JSON and CSV whatever a file is called; the table fits a narrow terminal."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.outputs import formats
from emovox.outputs.console import Console, from_csv_cell, shown, to_table, to_text
from emovox.types import Prediction

LABELS = ("neutral", "happy", "sad")


def prediction(file: str = "a.wav", abstained: bool = False) -> Prediction:
    return Prediction(
        file, 0.0, 2.5, "sad", dict(zip(LABELS, (0.125, 0.25, 0.625), strict=True)), 0.625, abstained, "m"
    )


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1)


@given(files=st.lists(NAMES, max_size=5))
def test_json_is_a_list_of_objects(files: list[str]) -> None:
    found = json.loads("".join(formats.to_json(prediction(file) for file in files)))
    assert [one["file"] for one in found] == files
    for one in found:
        assert set(one) == {
            "file",
            "start",
            "end",
            "label",
            "probabilities",
            "confidence",
            "abstained",
            "model",
            "speaker",
            "transcript",
            "words",
            "linguistic",
            "fusion",
            "why",
            "baseline",
            "channel",
            "dimensions",
            "unread",
            "notes",
            "columns",
            "setting",
        }
        assert sum(one["probabilities"].values()) == 1


@given(files=st.lists(NAMES, max_size=5))
def test_csv_reads_back(files: list[str]) -> None:
    text = "".join(formats.to_csv((prediction(file) for file in files), LABELS))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [from_csv_cell(row["file"]) for row in rows] == [shown(file) for file in files]
    assert all(row["p_sad"] == "0.6250" and row["label"] == "sad" for row in rows)


def test_an_interrupted_list_is_valid_json() -> None:
    def interrupted() -> Iterator[Prediction]:
        yield prediction()
        raise KeyboardInterrupt

    pieces: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        pieces.extend(formats.to_json(interrupted()))
    # extend keeps what came before the interruption
    assert [one["file"] for one in json.loads("".join(pieces))] == ["a.wav"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits(width: int) -> None:
    console = Console(io.StringIO(), width=width)
    console.print(to_table([prediction("a/very/long/path/" * 4 + "clip.wav"), prediction(abstained=True)], width))
    text = cast(io.StringIO, console.stream).getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "sad" in text
    assert "62%" in text


def test_a_pipe_gets_the_table_of_a_wide_terminal() -> None:
    spoken = dataclasses.replace(prediction("x"), probabilities={"sad": 1.0}, why=("so it is",))
    many = [
        prediction("call.wav"),
        prediction("電話/cafe\u0301 [bold].wav", abstained=True),
        dataclasses.replace(
            prediction("x"), transcript="Gone, she said.", why=("so it is",), probabilities={"sad": 1.0}
        ),
        dataclasses.replace(spoken, transcript=""),
    ]
    console = Console(io.StringIO(), width=300)
    console.print(to_table(many, 300))
    assert "".join(to_text(many)) == cast(io.StringIO, console.stream).getvalue()


def test_markup_in_a_file_name_is_shown_as_it_is() -> None:
    console = Console(io.StringIO(), width=120)
    console.print(to_table([prediction("[bold]x[/bold].wav")]))
    assert "[bold]x[/bold].wav" in cast(io.StringIO, console.stream).getvalue()


def test_a_model_without_classes_shows_its_dimensions() -> None:
    found = {"arousal": 0.314, "valence": -0.1}
    one = Prediction("a.wav", 0.0, 2.0, "", {}, 0.0, False, "demo", dimensions=found)
    console = Console(io.StringIO(), width=80)
    console.print(to_table([one], 80))
    for text in ("".join(to_text([one])), cast(io.StringIO, console.stream).getvalue()):
        assert "arousal +0.31, valence -0.10" in text
        assert "%" not in text


def test_a_table_says_who_speaks_and_where_if_there_are_several() -> None:
    def one(speaker: str | None, channel: int | None = None) -> Prediction:
        return Prediction("a.wav", 0.0, 1.0, "sad", {"sad": 1.0}, 1.0, False, "m", speaker=speaker, channel=channel)

    both = "".join(to_text([one("anna"), one("speaker 2")])).splitlines()
    assert both[0].split()[:4] == ["file", "time", "speaker", "emotion"]
    assert "speaker 2" in both[2]
    assert "anna" not in "".join(to_text([one("anna"), one("anna")]))
    sides = "".join(to_text([one(None, 1), one(None, 2)])).splitlines()
    assert sides[0].split()[2] == "channel"
    assert [line.split()[3] for line in sides[1:]] == ["1", "2"]  # after the two words of the time
