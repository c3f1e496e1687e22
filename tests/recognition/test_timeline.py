"""Timelines: tidying keeps time and probability, and the summary agrees with sums made here."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.errors import InputError
from emovox.recognition.timeline import Timeline, TimelineOptions, tidied
from emovox.types import Prediction, Word

LABELS = ("sad", "happy", "neutral")


def part(label: str, start: float, end: float, confidence: float = 0.8, abstained: bool = False) -> Prediction:
    rest = (1 - confidence) / (len(LABELS) - 1)
    probabilities = {name: confidence if name == label else rest for name in LABELS}
    return Prediction("a.wav", start, end, label, probabilities, confidence, abstained, "m")


@st.composite
def sequences(draw: st.DrawFn) -> list[Prediction]:
    """Segments in order, some touching."""
    time, found = 0.0, []
    for _ in range(draw(st.integers(0, 12))):
        time += draw(st.sampled_from([0.0, 0.0, 0.2, 1.0]))
        length = draw(st.floats(0.1, 4))
        confidence = draw(st.floats(0.4, 1))
        found.append(part(draw(st.sampled_from(LABELS)), time, time + length, confidence, confidence < 0.5))
        time += length
    return found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "word"}, "mode is 'word': expected one of utterance, interval"),
        ({"window": 0.1}, "window is 0.1: expected seconds from 0.3 to 30"),
        ({"hop": 7}, "hop is 7: expected seconds from 0.1 to 6"),
        ({"smoothing": -1}, "smoothing is -1: expected seconds from 0 to 600"),
        ({"merge": float("nan")}, "merge is nan: expected seconds from 0 to 600"),
        ({"min_segment": 61}, "min_segment is 61: expected seconds from 0 to 60"),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TimelineOptions(**values)


@given(parts=sequences(), merge=st.sampled_from([0.0, 0.2, 5.0]))
def test_merging_keeps_time_and_probability(parts: list[Prediction], merge: float) -> None:
    found = tidied(parts, TimelineOptions(merge=merge))
    for before, after in pairwise(found):
        alike = (before.label, before.abstained) == (after.label, after.abstained)
        assert not alike or after.start - before.end > merge
    for one in found:
        inside = [other for other in parts if one.start <= other.start < one.end]
        assert {other.label for other in inside} == {one.label}
        assert (inside[0].start, inside[-1].end) == (one.start, one.end)
        weight = sum(other.end - other.start for other in inside)
        for label in LABELS:
            mean = sum(other.probabilities[label] * (other.end - other.start) for other in inside) / weight
            assert one.probabilities[label] == pytest.approx(mean)
        assert one.confidence == one.probabilities[one.label] == max(one.probabilities.values())
    assert sum(1 for _ in found) <= len(parts)


def test_merging_keeps_what_is_said() -> None:
    words = [Word("we", 0, 1, 0.9), Word("go", 1.1, 2, 0.8)]
    parts = [
        dataclasses.replace(part("sad", i, i + 1), transcript=word.text, words=(word,), why=("a word",))
        for i, word in enumerate(words)
    ]
    (found,) = tidied([*parts, part("sad", 2, 3)], TimelineOptions(merge=0))
    assert (found.transcript, found.words, found.why) == ("we go", tuple(words), None)


@given(parts=sequences())
def test_nothing_changes_unless_asked_for(parts: list[Prediction]) -> None:
    assert tidied(parts, TimelineOptions()) == tuple(parts)


def test_a_short_segment_follows_its_longer_neighbour() -> None:
    parts = [part("sad", 0, 2), part("happy", 2, 2.3), part("neutral", 2.3, 5), part("happy", 6, 6.2)]
    found = tidied(parts, TimelineOptions(min_segment=0.5))
    assert [(one.label, one.start, one.end) for one in found] == [
        ("sad", 0, 2),
        ("neutral", 2, 2.3),  # the longer of the two that it touches
        ("neutral", 2.3, 5),
        ("happy", 6, 6.2),  # nothing within reach
    ]
    assert tidied(parts, TimelineOptions(min_segment=0.5, merge=1))[-1].end == 6.2


def test_what_explains_one_segment_does_not_explain_another() -> None:
    missing = "some words are missing"
    parts = [
        dataclasses.replace(part("sad", 0, 2), fusion={"weight": 0.5}, why=(missing, "together sad")),
        dataclasses.replace(part("happy", 2, 2.3), fusion={"weight": 0.1}, why=(missing, "together happy")),
    ]
    _, short = tidied(parts, TimelineOptions(min_segment=0.5))
    assert (short.label, short.fusion, short.why) == ("sad", None, (missing,))
    (joined,) = tidied(parts, TimelineOptions(min_segment=0.5, merge=0))
    assert (joined.fusion, joined.why) == (None, (missing,))


def test_summary_of_a_conversation() -> None:
    parts = [
        part("sad", 0, 4, 0.6),
        part("happy", 5, 6, 0.9),
        part("sad", 6, 7, 0.7),
        part("happy", 8, 9, 0.5, abstained=True),
        part("happy", 9, 10, 0.6),
    ]
    found = Timeline("a.wav", 12.0, tuple(parts)).summary()
    assert (found.judged, found.segments, found.abstained) == (8, 5, 1 / 8)
    assert list(found.share.items()) == [("sad", 5 / 8), ("happy", 3 / 8)]
    assert found.transitions == {("sad", "happy"): 2, ("happy", "sad"): 1}
    assert found.strongest == {"sad": parts[2], "happy": parts[1]}
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["transitions"][0] == {"from": "sad", "to": "happy", "count": 2}
    assert plain["strongest"]["happy"]["start"] == 5


def test_summary_of_a_model_without_classes() -> None:
    parts = [
        Prediction("a.wav", start, end, "", {}, 0.0, False, "m", dimensions={"arousal": value})
        for start, end, value in ((0, 3, 0.5), (4, 5, -0.5))
    ]
    found = Timeline("a.wav", 6.0, tuple(parts)).summary()
    assert (dict(found.share), found.dimensions) == ({}, {"arousal": 0.25})
    assert json.loads(json.dumps(found.to_dict()))["dimensions"] == {"arousal": 0.25}


def test_summary_of_silence() -> None:
    found = Timeline("a.wav", 3600.0, ()).summary()
    assert (found.judged, found.abstained, dict(found.share), dict(found.transitions)) == (0, 0, {}, {})


@given(parts=sequences())
def test_shares_sum_to_one(parts: list[Prediction]) -> None:
    found = Timeline("a.wav", 100.0, tuple(parts)).summary()
    assert sum(found.share.values()) == pytest.approx(1 if parts else 0)
    assert set(found.strongest) == set(found.share)
