"""Statistics of axes are numpy's, whatever the order and the parts in which they come."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emovox.model.profiles import Statistics

ROWS = arrays(np.float64, st.tuples(st.integers(0, 12), st.just(3)), elements=st.floats(-1e3, 1e3))


@given(rows=ROWS, cut=st.integers(0, 12))
def test_parts_put_together_are_the_whole(rows: np.ndarray, cut: int) -> None:
    both = Statistics.of(rows[:cut]).merged(Statistics.of(rows[cut:]))
    assert both.count == len(rows)
    if len(rows):
        np.testing.assert_allclose(both.mean, rows.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(both.variance, rows.var(axis=0), atol=1e-7)


@given(rows=ROWS)
def test_one_by_one_is_all_at_once(rows: np.ndarray) -> None:
    found = Statistics.nothing(3)
    for row in rows:
        found = found.merged(Statistics.of(row[np.newaxis]))
    np.testing.assert_allclose(found.packed(), Statistics.of(rows).packed(), rtol=1e-5, atol=1e-3)
    assert (found.variance >= 0).all()


def test_a_level_of_the_input_is_count_mean_and_variance() -> None:
    rows = np.array([[1.0, -2.0], [3.0, 4.0]])
    assert Statistics.of(rows).packed().tolist() == [2.0, 2.0, 1.0, 1.0, 9.0]
    assert Statistics.of(np.empty((0, 2))).packed().tolist() == Statistics.nothing(2).packed().tolist() == [0.0] * 5
    assert Statistics.of(rows).packed().dtype == np.float32
