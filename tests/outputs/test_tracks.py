"""Tracks for other programs, read back by readers that are not ours: Praat, webvtt-py, and RTTM's rules of fields."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import parselmouth
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.errors import InputError
from emovox.outputs import formats
from emovox.outputs.formats import Format
from emovox.types import Prediction
from tests import examples


def prediction(
    start: float, end: float, label: str = "sad", file: str = "call.wav", abstained: bool = False, speaker: str = ""
) -> Prediction:
    return Prediction(file, start, end, label, {label: 0.625, "x": 0.375}, 0.625, abstained, "m", speaker or None)


NASTY = ['a "quoted" one', "a --> b & <c>", "two\nlines\n\nand a hole", "tab\there", "ä 悲 🙂", " "]

#: Lengths of silence and of speech in turn, in samples.
LENGTHS = st.lists(st.tuples(st.integers(0, 80_000), st.integers(160, 160_000)), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def sequence(lengths: Sequence[tuple[int, int]], label: str = "sad") -> list[Prediction]:
    found, position = [], 0
    for gap, length in lengths:
        start, position = position + gap, position + gap + length
        found.append(prediction(start / 16000, position / 16000, label))
    return found


def praat(text: str, path: Path) -> parselmouth.TextGrid:
    path.write_text(text, encoding="utf-8")
    return parselmouth.TextGrid.read(str(path))


def intervals(grid: parselmouth.TextGrid, tier: int) -> list[tuple[float, float, str]]:
    call = parselmouth.praat.call
    return [
        (
            call(grid, "Get start time of interval", tier, index),
            call(grid, "Get end time of interval", tier, index),
            call(grid, "Get label of interval", tier, index),
        )
        for index in range(1, int(call(grid, "Get number of intervals", tier)) + 1)
    ]


def test_praat_reads_tiers_gaps_and_marks(tmp_path: Path) -> None:
    found = [prediction(0.5, 1.25), prediction(1.25, 2.0, "happy", abstained=True), prediction(3.0, 3.5, "happy")]
    grid = praat("".join(formats.to_textgrid(found, 4.0, [(2.5, 'say "hm"'), (1.0, "a")])), tmp_path / "a.TextGrid")
    assert intervals(grid, 1) == [
        (0, 0.5, ""),
        (0.5, 1.25, "sad"),
        (1.25, 2.0, "don't know (happy)"),
        (2.0, 3.0, ""),
        (3.0, 3.5, "happy"),
        (3.5, 4.0, ""),
    ]
    assert [text for _, _, text in intervals(grid, 2)] == ["", "0.6250", "0.6250", "", "0.6250", ""]
    call = parselmouth.praat.call
    assert [call(grid, "Get tier name", tier) for tier in (1, 2, 3)] == ["emotion", "confidence", "marks"]
    assert [call(grid, "Get label of point", 3, index) for index in (1, 2)] == ["a", 'say "hm"']
    assert call(grid, "Get time of point", 3, 2) == 2.5


@pytest.mark.parametrize("label", NASTY)
def test_praat_reads_any_label(label: str, tmp_path: Path) -> None:
    grid = praat("".join(formats.to_textgrid([prediction(0, 1, label)])), tmp_path / "a.TextGrid")
    assert intervals(grid, 1) == [(0, 1, " ".join(label.split()))]


@settings(max_examples=examples(20), deadline=None)
@given(lengths=LENGTHS, tail=st.floats(0, 10))
def test_praat_reads_any_sequence(
    lengths: list[tuple[int, int]], tail: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = sequence(lengths)
    duration = found[-1].end + tail
    path = tmp_path_factory.mktemp("grid") / "a.TextGrid"
    tier = intervals(praat("".join(formats.to_textgrid(found, duration)), path), 1)
    assert tier[0][0] == 0
    assert tier[-1][1] == pytest.approx(duration, rel=1e-8)
    assert all(end == start for (_, end, _), (start, _, _) in pairwise(tier))
    spoken = [(start, end) for start, end, text in tier if text]
    np.testing.assert_allclose(spoken, [(one.start, one.end) for one in found], atol=1e-4)


def test_praat_reads_tiers_of_speakers_who_overlap(tmp_path: Path) -> None:
    said = [(0.0, 1.2, "sad", "anna"), (1.0, 2.0, "happy", 'the "boss"'), (2.1, 2.6, "calm", "anna")]
    parts = [
        Prediction("a.wav", start, end, label, {label: 1.0}, 1.0, False, "demo", speaker=who)
        for start, end, label, who in said
    ]
    (tmp_path / "a.TextGrid").write_text("".join(formats.to_textgrid(parts, 3.0)), encoding="utf-8")
    grid = parselmouth.read(str(tmp_path / "a.TextGrid"))
    names = [parselmouth.praat.call(grid, "Get tier name", tier) for tier in (1, 3)]
    assert names == ["emotion (anna)", 'emotion (the "boss")']
    labels = [parselmouth.praat.call(grid, "Get label of interval", tier, at) for tier, at in ((1, 1), (1, 3), (3, 2))]
    assert labels == ["sad", "calm", "happy"]


def test_a_textgrid_cannot_hold_everything() -> None:
    with pytest.raises(InputError, match="overlap at 1 s"):
        list(formats.to_textgrid([prediction(0, 2), prediction(1, 3)]))
    with pytest.raises(InputError, match="nothing was recognised"):
        list(formats.to_textgrid([]))
    assert "intervals: size = 1" in "".join(formats.to_textgrid([], duration=2.0))


@settings(max_examples=examples(50), deadline=None)
@given(lengths=LENGTHS, label=TEXTS, speaker=TEXTS)
def test_a_webvtt_reader_finds_each_cue(lengths: list[tuple[int, int]], label: str, speaker: str) -> None:
    found = [
        prediction(one.start, one.end, label, speaker="".join(speaker.split())) for one in sequence(lengths, label)
    ]
    cues = webvtt.from_buffer(io.StringIO("".join(formats.to_vtt(found)))).captions
    assert len(cues) == len(found)
    for cue, one in zip(cues, found, strict=True):
        assert cue.start_in_seconds == int(round(one.start, 3))
        assert cue.text.endswith("62%")
        assert len(cue.raw_text.splitlines()) == 1
        assert "-->" not in cue.raw_text


def test_vtt_in_full() -> None:
    found = [
        prediction(0, 1.5, speaker="anna"),
        prediction(3599.9996, 3600.0001, "<b>&", abstained=True),
        prediction(36000, 36000.0001),
    ]
    assert "".join(formats.to_vtt(found)).split("\n\n") == [
        "WEBVTT",
        "00:00:00.000 --> 00:00:01.500\n<v anna>sad 62%",
        "01:00:00.000 --> 01:00:00.001\ndon't know (&lt;b&gt;&amp;) 62%",
        "10:00:00.000 --> 10:00:00.001\nsad 62%\n",
    ]


@settings(max_examples=examples(50), deadline=None)
@given(
    files=st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1, max_size=6, unique=True),
    label=TEXTS,
    lengths=LENGTHS,
)
def test_rttm_has_ten_fields_and_one_name_a_recording(
    files: list[str], label: str, lengths: list[tuple[int, int]]
) -> None:
    found = [
        Prediction(file, one.start, one.end, label, {label: 1.0}, 0.625, False, "m")
        for file in files
        for one in sequence(lengths, label)
    ]
    lines = "".join(formats.to_rttm(found)).splitlines()
    assert len(lines) == len(found)
    fields = [line.split() for line in lines]
    assert {len(line) for line in fields} == {10}
    assert len({line[1] for line in fields}) == len(files)
    for line, one in zip(fields, found, strict=True):
        assert (line[0], line[2], line[5], line[6], line[9]) == ("SPEAKER", "1", "<NA>", "<NA>", "<NA>")
        assert float(line[3]) == pytest.approx(one.start, abs=6e-4)
        assert float(line[4]) == pytest.approx(one.end - one.start, abs=1.1e-3)
        assert line[8] == "0.6250"


def test_an_abstention_is_unknown_in_rttm() -> None:
    assert "".join(formats.to_rttm([prediction(0, 1, abstained=True)])).split()[7] == "unknown"


@pytest.mark.parametrize("label", NASTY)
def test_audacity_lines_have_three_fields(label: str) -> None:
    text = "".join(formats.to_audacity([prediction(0.25, 1, label), prediction(1, 2, label)], [(0.5, label)]))
    rows = [line.split("\t") for line in text.splitlines()]
    assert [(float(row[0]), float(row[1])) for row in rows] == [(0.25, 1), (1, 2), (0.5, 0.5)]
    assert {len(row) for row in rows} == {3}


@pytest.mark.parametrize("form", [form for form in Format if form.holds_one])
def test_two_recordings_do_not_fit_where_one_does(form: Format) -> None:
    two = [prediction(0, 1), prediction(0, 1, file="other.wav")]
    with pytest.raises(InputError, match=r"holds one recording.*call\.wav.*other\.wav"):
        list(formats.pieces(form, two, ["sad", "x"]))


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.TABLE])
def test_the_ending_of_a_file_tells_the_format(form: Format) -> None:
    assert formats.format_of(Path("a" + form.ending)) is form
    assert formats.format_of(Path("A" + form.ending.upper())) is form


def test_an_unknown_ending_is_refused() -> None:
    with pytest.raises(InputError, match=r"call\.xyz .*\.vtt, .*\.TextGrid"):
        formats.format_of(Path("call.xyz"))
