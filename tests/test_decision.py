"""Calibration, averaging and abstention against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from emovox.model.file import TINY, combine, decide, fit_temperature, temper


def random_probabilities(rng: np.random.Generator, n: int = 200, k: int = 5) -> NDArray[np.float64]:
    return np.asarray(softmax(rng.normal(0, 3, (n, k)), axis=1))


def test_temperature_one_changes_nothing(rng: np.random.Generator) -> None:
    given_ = np.maximum(random_probabilities(rng), 1e-6)
    given_ /= given_.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(temper(given_, 1.0), given_, rtol=1e-6)


def test_temper_is_a_softmax_of_logits_over_the_temperature(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 1, (50, 4))
    np.testing.assert_allclose(temper(softmax(logits, axis=1), 2.5), softmax(logits / 2.5, axis=1), rtol=1e-9)


@given(temperature=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_temper_keeps_the_winner_and_the_sum(temperature: float, seed: int) -> None:
    before = random_probabilities(np.random.default_rng(seed), 20)
    after = temper(before, temperature)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))


def test_fitted_temperature_is_where_the_likelihood_is_largest(rng: np.random.Generator) -> None:
    probabilities = random_probabilities(rng, 500)
    target = np.array([rng.choice(5, p=temper(row[None], 2.0)[0]) for row in probabilities])

    def loss(log_t: float) -> float:
        rows = temper(probabilities, np.exp(log_t))[np.arange(500), target]
        return float(-np.log(np.maximum(rows, TINY)).mean())

    best = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded")
    assert fit_temperature(probabilities, target) == pytest.approx(np.exp(best.x), rel=1e-2)
    assert fit_temperature(probabilities, target) == pytest.approx(2.0, rel=0.2)


def test_windows_are_weighed_by_duration() -> None:
    np.testing.assert_allclose(combine([[1, 0], [0, 1]], [6, 2]), [0.75, 0.25])


def test_a_low_confidence_abstains() -> None:
    assert decide([0.2, 0.5, 0.3], ["a", "b", "c"], 0.6) == ("b", 0.5, True)
    assert decide([0.2, 0.5, 0.3], ["a", "b", "c"], 0.5) == ("b", 0.5, False)
