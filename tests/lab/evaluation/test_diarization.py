"""The diarization error rate, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from emovox.lab.evaluation.diarization import Turn, mapping, score

TRUTH: list[Turn] = [(0.0, 4.0, "a"), (4.0, 8.0, "b"), (7.0, 9.0, "a")]


def test_the_reference_itself_is_right() -> None:
    found = score(TRUTH, [(start, end, speaker.upper()) for start, end, speaker in TRUTH], collar=0)
    assert (found.speech, found.error) == (10.0, 0.0)


@pytest.mark.parametrize(
    ("found", "missed", "false", "confused"),
    [
        ([(0, 4, "1"), (4, 8, "2")], 2.0, 0.0, 0.0),  # the overlap has one speaker, and a second is missed
        ([(0, 4, "1"), (4, 8, "2"), (7, 10, "1")], 0.0, 1.0, 0.0),
        ([(0, 9, "1")], 1.0, 0.0, 3.0),
        ([], 10.0, 0.0, 0.0),
        ([(0, 4, "1"), (4, 8, "2"), (7, 9, "3")], 0.0, 0.0, 2.0),
    ],
)
def test_by_hand(found: list[Turn], missed: float, false: float, confused: float) -> None:
    one = score(TRUTH, found, collar=0)
    assert (one.missed, one.false_alarm, one.confusion) == pytest.approx((missed, false, confused))
    assert one.error == pytest.approx((missed + false + confused) / 10)


def test_the_collar_is_not_scored() -> None:
    late = [(start + 0.2, end + 0.2, speaker) for start, end, speaker in TRUTH]
    assert score(TRUTH, late, collar=0.25).error == pytest.approx(0)
    assert score(TRUTH, late, collar=0).error > 0.05
    assert score(TRUTH, TRUTH, collar=0.25).speech == pytest.approx(10 - 0.25 - 0.5 - 0.75 - 0.75 - 0.25)


def test_scores_add_up() -> None:
    one, other = score(TRUTH, [(0, 9, "1")], collar=0), score(TRUTH, TRUTH, collar=0)
    assert (one + other).error == pytest.approx(0.2)


def test_frames_of_ten_milliseconds_say_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        turns = [
            [(float(start), float(start + length), str(who)) for start, length, who in zip(*drawn, strict=True)]
            for drawn in (
                (rng.integers(0, 90, 8) / 10, rng.integers(1, 30, 8) / 10, np.array(list(names))[rng.integers(0, 3, 8)])
                for names in ("abc", "123")
            )
        ]
        truth, found = turns
        times = np.arange(0.005, 13, 0.01)
        grids = [
            {
                name: np.any([(times > s) & (times < e) for s, e, who in part if who == name], axis=0)
                for name in {who for *_, who in part}
            }
            for part in (truth, found)
        ]
        there, said = (np.sum(list(grid.values()), axis=0) for grid in grids)
        pairs = mapping(truth, found, collar=0)
        right = np.sum([grids[1][one] & grids[0][other] for one, other in pairs.items()], axis=0)
        errors = np.maximum(there, said) - right
        assert score(truth, found, collar=0).error == pytest.approx(errors.sum() / there.sum(), abs=1e-6)
