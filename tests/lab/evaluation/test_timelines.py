"""Scores of timelines, against cases computed by hand and a count of milliseconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.errors import InputError
from emovox.lab.evaluation.timelines import TimelineScores, Turn, boundary_errors, score, total

TRUTH = [Turn(1, 3, "angry"), Turn(4, 6, "sad"), Turn(7, 8, "neutral")]


def test_a_case_by_hand() -> None:
    found = [Turn(1.5, 3.25, "angry"), Turn(4, 5, "sad"), Turn(5, 6, "calm"), Turn(8.5, 9, "neutral")]
    one = score(TRUTH, found, 10)
    assert one == TimelineScores(
        scored=10,
        speech=5,
        missed=0.5 + 1,
        false_alarm=0.25 + 0.5,
        confusion=1,
        wrong_emotion=0.5 + 0.25 + 1,  # neutral speech missed, and neutral where nobody speaks, are no other emotion
    )
    assert one.diarization_error == 3.25 / 5
    assert one.segment_error == 0.325
    assert one.emotion_diarization_error == 0.175
    assert (one.missed_rate, one.false_rate, one.confusion_rate) == (0.3, 0.15, 0.2)


def test_the_example_of_speechbrain() -> None:
    # Frames of 0.2 s: three neutral, three angry, of a recording of 1.22 s; its documentation gives this number.
    one = score([Turn(0.39, 1.10, "angry")], [Turn(0, 0.6, "neutral"), Turn(0.6, 1.2, "angry")], 1.22)
    known = 0.2704918032786885
    # The last 0.02 s have no frame: there SpeechBrain counts an error, and we, as for any other silence, none.
    assert one.emotion_diarization_error == pytest.approx(known - 0.02 / 1.22)


def test_a_collar_forgives_boundaries_only() -> None:
    found = [Turn(1.2, 3.2, "angry"), Turn(3.8, 6.1, "happy"), Turn(7, 8, "neutral")]
    strict, kind = score(TRUTH, found, 10), score(TRUTH, found, 10, collar=0.25)
    assert strict.missed == pytest.approx(0.2)
    assert strict.false_alarm == pytest.approx(0.2 + 0.2 + 0.1)
    assert (kind.missed, kind.false_alarm) == (0, 0)
    assert kind.confusion == pytest.approx(1.5)
    assert kind.scored == pytest.approx(10 - 6 * 0.5)
    assert kind.speech == pytest.approx(5 - 6 * 0.25)


parts = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400), st.sampled_from(["sad", "angry", "neutral"])))


def turns(given: list[tuple[int, int, str]]) -> list[Turn]:
    """Segments on a grid of milliseconds."""
    time, found = 0, []
    for gap, length, label in given:
        found.append(Turn((time + gap) / 1000, (time + gap + length) / 1000, label))
        time += gap + length
    return found


@given(real=parts, said=parts, collar=st.sampled_from([0, 50]))
def test_it_agrees_with_counting_milliseconds(
    real: list[tuple[int, int, str]], said: list[tuple[int, int, str]], collar: int
) -> None:
    truth, found = turns(real), turns(said)
    length = round(1000 * max([one.end for one in truth + found], default=0)) + 10
    labels = np.zeros((2, length), dtype="U8")
    counts = np.ones(length, dtype=bool)
    for row, some in enumerate((truth, found)):
        for one in some:
            labels[row, round(1000 * one.start) : round(1000 * one.end)] = one.label
    for one in truth:
        for edge in (round(1000 * one.start), round(1000 * one.end)):
            counts[max(0, edge - collar) : edge + collar] = False
    real_at, said_at = labels[:, counts]
    neutral = [np.where(row == "", "neutral", row) for row in (real_at, said_at)]
    expected = [
        counts.sum(),
        (real_at != "").sum(),
        ((real_at != "") & (said_at == "")).sum(),
        ((real_at == "") & (said_at != "")).sum(),
        ((real_at != "") & (said_at != "") & (real_at != said_at)).sum(),
        (neutral[0] != neutral[1]).sum(),
    ]
    scores = score(truth, found, length / 1000, collar=collar / 1000)
    values = [
        *(scores.scored, scores.speech, scores.missed),
        *(scores.false_alarm, scores.confusion, scores.wrong_emotion),
    ]
    np.testing.assert_allclose(values, np.array(expected) / 1000, atol=1e-9)
    assert total([scores, scores]).scored == pytest.approx(2 * scores.scored)


def test_boundaries() -> None:
    found = [Turn(1.1, 2.8, "sad"), Turn(4.5, 6, "sad")]
    np.testing.assert_allclose(boundary_errors(TRUTH, found), [0.1, 0.5, 2.5, 0.2, 0, 2])
    assert np.isinf(boundary_errors(TRUTH, [])).all()


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="segments of found overlap at 2 s"):
        score(TRUTH, [Turn(1, 3, "sad"), Turn(2, 4, "sad")], 10)
    with pytest.raises(InputError, match="collar is -1: expected seconds, 0 or more"):
        score(TRUTH, [], 10, collar=-1)
