"""The page of a recording: whole, escaped, asking nobody for anything, and with the sound where it says."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovox import audio, drawing
from emovox.model.file import load_card
from emovox.outputs import pages, plots
from emovox.recognition.timeline import Timeline
from emovox.types import Prediction
from tests import EXAMPLES
from tests.cli import emovox_command

BAD = '<img src=x onerror="alert(1)">.wav'
PLAIN = EXAMPLES / "plain.wav"
VOID = {"meta", "img", "link", "br"}


class Reader(HTMLParser):
    """Holds tags against each other, and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [found for name, found in self.tags if name == tag and found.get("class", "") == kind]


def prediction(label: str, start: float, end: float, *, abstained: bool = False, **more: object) -> Prediction:
    shares = {"sad": 0.125, "happy": 0.125} | {label: 0.875}
    return Prediction(BAD, start, end, label, shares, 0.875, abstained, "m", **more)  # type: ignore[arg-type]


def written(*predictions: Prediction, address: str = "") -> str:
    summary = Timeline(BAD, 3.1, predictions).summary().to_dict()
    sound = plots.contour(PLAIN, melody=False)
    return "".join(pages.to_html(pages.Page(BAD, predictions, 3.1, sound, load_card(), address, summary)))


def test_names_are_text_and_tags_match() -> None:
    text = written(prediction("sad", 0, 1, speaker=BAD, notes=(BAD,)), prediction("happy", 1, 2), address="a b.wav")
    found = Reader(text)
    assert found.of("img") == []
    assert found.text.count(BAD) >= 4
    assert [one["src"] for one in found.of("audio")] == ["a b.wav"]


def test_nothing_outside_is_asked_for() -> None:
    text = written(prediction("sad", 0, 1))
    found = Reader(text)
    assert not {"link", "iframe", "object", "form", "base", "img", "audio"} & {tag for tag, _ in found.tags}
    assert all(attributes.keys().isdisjoint({"src", "href", "style", "onclick"}) for _, attributes in found.tags)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", re.sub(r"(?s)<details>.*", "", text)))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_the_policy_allows_this_style_and_script_alone() -> None:
    text = written(prediction("sad", 0, 1))
    policies = [one["content"] for one in Reader(text).of("meta") if "http-equiv" in one]
    rules = dict(rule.split(" ", 1) for rule in policies[0].split("; "))
    assert rules["default-src"] == "'none'"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        (body,) = re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", text)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert "unsafe" not in policies[0]
    assert "http" not in policies[0]


def test_each_answer_is_a_button_in_the_picture_and_in_the_table() -> None:
    parts = prediction("sad", 0, 1), prediction("happy", 1, 2.5, abstained=True), prediction("happy", 2.5, 3)
    found = Reader(written(*parts))
    segments, rows = found.of("g", "seg"), [one for one in found.of("tr") if "data-start" in one]
    assert [(float(one["data-start"]), float(one["data-end"])) for one in segments] == [(0, 1), (1, 2.5), (2.5, 3)]
    assert [one["data-start"] for one in rows] == [one["data-start"] for one in segments]
    assert [one["tabindex"] for one in segments] == ["0", "-1", "-1"]
    assert all(one["role"] == "button" for one in segments)
    assert segments[1]["aria-label"] == "don't know (happy) 88%, 0:01.0 to 0:02.5"
    assert "not sure of 1 of them" in found.text
    assert sum(one.get("fill") == "url(#emovox-unsure)" for one in found.of("rect")) == 3  # band, legend, table
    (hatched,) = (one for one in found.of("rect") if one.get("fill") == "url(#emovox-unsure)" and "x" in one)
    assert float(hatched["x"]) == pytest.approx(drawing.WIDTH * 1 / 3.1, abs=0.1)


def test_channels_have_a_timeline_each() -> None:
    parts = [prediction("sad", 0, 1, channel=channel) for channel in (1, 2)]
    found = Reader(written(*parts))
    assert "channel 1" in found.text
    assert "channel 2" in found.text
    assert len(found.of("g", "seg")) == 2


def test_speakers_have_a_row_each_as_they_begin() -> None:
    who = ("ben", BAD, "ben", None)
    parts = [prediction("sad", start, start + 1.2, speaker=one, channel=1) for start, one in enumerate(who)]
    text = written(*parts)
    picture = re.findall(r'<text y="([\d.]+)">(channel [^<]*)</text>', text)
    assert [unescape(title) for _, title in picture] == ["channel 1: ben", f"channel 1: {BAD}", "channel 1: others"]
    places = [float(place) for place, _ in picture]
    tops = [float(top) for top in re.findall(r'<g transform="translate\(0,([\d.]+)\)"><rect', text)]
    assert all(place < top < below for place, top, below in zip(places, tops, [*places[1:], np.inf], strict=False))
    numbers = [int(one["data-number"]) for one in Reader(text).of("g", "seg")]
    assert numbers == [0, 2, 1, 3]
    alone = written(*(prediction("sad", start, start + 1, speaker="ben") for start in (0, 1)))
    assert ">ben</text>" not in alone


def test_no_speech_and_no_classes_are_said() -> None:
    assert "Nobody speaks in it." in written()
    alone = Prediction("a.wav", 0, 1, "", {}, 0.0, False, "m", dimensions={"arousal": 0.5})
    text = "".join(pages.to_html(pages.Page("a.wav", [alone], 3.1, plots.contour(PLAIN, melody=False), load_card())))
    assert "arousal +0.50" in Reader(text).text


def test_the_sound_inside_is_what_was_judged() -> None:
    head, _, content = pages.inside(PLAIN).partition(",")
    assert head == "data:audio/flac;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate == 16000
    assert np.abs(samples - audio.read(PLAIN).samples).max() <= 2**-15


def test_the_command_writes_it(tmp_path: Path) -> None:
    odd = tmp_path / "a #1?.wav"
    odd.write_bytes(PLAIN.read_bytes())
    done = emovox_command("predict", odd, "--html", f"{tmp_path}/pages/", "--format", "json")
    assert done.returncode == 0, done.stderr
    (sound,) = Reader((tmp_path / "pages" / "a #1?.html").read_text(encoding="utf-8")).of("audio")
    assert sound["src"] == "../a%20%231%3F.wav"
    done = emovox_command("predict", odd, "--html", tmp_path / "x.html", "--embed")
    assert "data:audio/flac" in (tmp_path / "x.html").read_text(encoding="utf-8")
    done = emovox_command("predict", odd, "--embed")
    assert (done.returncode, "add --html FILE" in done.stderr) == (2, True)
