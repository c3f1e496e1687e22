"""Pictures of results: well formed, escaped, in colours that the colour-blind tell apart; tables of pandas."""

from __future__ import annotations

import itertools
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas
import pytest

from emovox import Failure, MissingExtraError, Prediction, drawing, to_frame
from emovox.recognition.timeline import Timeline
from emovox.types import COMMON

BAD = '<script>alert("x")</script>&'
#: Machado, Oliveira and Fernandes 2009, severity 1.0: linear RGB as seen without one kind of cones.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def prediction(label: str, start: float, end: float, *, abstained: bool = False, file: str = "a.wav") -> Prediction:
    return Prediction(file, start, end, label, {"sad": 0.25, "happy": 0.0} | {label: 0.75}, 0.75, abstained, "m")


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLIND)
def test_the_colour_blind_tell_the_emotions_apart(kind: str) -> None:
    seen = {label: lab(np.array(BLIND[kind]) @ linear(colour)) for label, colour in drawing.PALETTE.items()}
    for one, other in itertools.combinations(seen, 2):
        # 2.3 is what can just be told apart side by side; letters tell what colours leave close.
        assert np.linalg.norm(seen[one] - seen[other]) > 4, (one, other)
    assert len(set(drawing.letters(COMMON).values())) == len(COMMON)


def test_letters_can_be_read_on_their_colours() -> None:
    for colour in (*drawing.PALETTE.values(), *drawing.MORE, "#ffffff"):
        luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear(colour)))
        ink = 0.0 if drawing.ink(colour) == "#000" else 1.0
        high, low = max(ink, luminance), min(ink, luminance)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_letters_of_other_labels_are_free_ones() -> None:
    many = [f"s{index}" for index in range(40)]
    found = drawing.letters(["sad", *many])
    assert found["sad"] == "S"
    single = [sign for sign in found.values() if sign != "*"]
    assert len(single) == len(set(single))


def test_a_prediction_shows_itself() -> None:
    root = ET.fromstring(prediction(BAD, 0, 1.5, file=BAD)._repr_html_())
    assert "script" not in {element.tag for element in root.iter()}
    text = "".join(root.itertext())
    assert BAD in text
    assert "75%" in text


def test_a_timeline_shows_itself() -> None:
    line = Timeline("a.wav", 5.0, (prediction("sad", 0, 2), prediction("happy", 2, 4, abstained=True)))
    root = ET.fromstring(line._repr_html_())
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["sad, 0:00.0 to 0:02.0", "don't know (happy), 0:02.0 to 0:04.0"]
    widths = [float(one.get("width", 0)) for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths.count(2 / 5 * drawing.WIDTH) == 2
    assert len(line._repr_html_()) < 5000
    ET.fromstring(Timeline("empty.wav", 0.0, ())._repr_html_())
    ET.fromstring(Failure("b.wav", BAD, "AudioError")._repr_html_())


def test_a_long_timeline_stays_small() -> None:
    parts = tuple(prediction("sad" if index % 40 < 20 else "happy", index, index + 1) for index in range(7200))
    assert len(Timeline("long.wav", 7200.0, parts)._repr_html_()) < 150_000


def test_a_timeline_is_a_sequence_and_a_table() -> None:
    line = Timeline("a.wav", 5.0, (prediction("sad", 0, 2), prediction("happy", 2, 4)))
    assert [one.label for one in line] == ["sad", "happy"]
    assert (len(line), line[1].label, line[:1]) == (2, "happy", line.predictions[:1])
    table = line.to_frame()
    assert table["p_happy"].tolist() == [0.0, 0.75]
    assert table.loc[0].drop(["speaker", "transcript", "baseline", "channel", "setting"]).to_dict() == {
        name: value for name, value in line[0].to_row().items() if value is not None
    }
    assert list(Timeline("a.wav", 1.0, ()).to_frame().columns)[:4] == ["file", "start", "end", "label"]
    assert prediction("sad", 0, 2).to_frame().shape[0] == 1


def test_failures_stand_in_the_table() -> None:
    line = Timeline("a.wav", 5.0, (prediction("sad", 0, 2), prediction("happy", 2, 4)))
    table = to_frame([line, Failure("b.wav", "it is empty", "AudioError"), prediction("sad", 0, 1)])
    assert isinstance(table, pandas.DataFrame)
    assert table["error"].dropna().tolist() == ["it is empty"]
    assert table["label"].count() == 3


def test_without_pandas_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"a table of pandas needs the \[notebook\] extra"):
        prediction("sad", 0, 1).to_frame()
