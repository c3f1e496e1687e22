"""Clusters against scipy's, and voices that become known one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from emovox.speech.diarization import Acquaintances, centres, clustered
from emovox.types import Float32Array


def unit(rng: np.random.Generator, count: int, speakers: int, spread: float) -> Float32Array:
    rows = np.eye(16)[rng.integers(0, speakers, count)] + rng.normal(0, spread, (count, 16))
    found: Float32Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_as_average_linkage_of_scipy(seed: int) -> None:
    vectors = unit(np.random.default_rng(seed), 60, 4, 0.25)
    tree = linkage(vectors.astype(np.float64), "average", metric="cosine")
    for alike, count in ((0.2, None), (0.5, None), (0.5, 4), (0.5, 7)):
        found = clustered(vectors, np.ones(60), alike=alike, count=count)
        expected = fcluster(tree, count, "maxclust") if count else fcluster(tree, 1 - alike, "distance")
        np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)


def test_weights_count_as_so_many_vectors() -> None:
    vectors = unit(np.random.default_rng(3), 12, 3, 0.4)
    weights = np.array([1, 2, 3] * 4)
    many = clustered(np.repeat(vectors, weights, axis=0), np.ones(weights.sum()), alike=0.4)
    np.testing.assert_array_equal(clustered(vectors, weights.astype(float), alike=0.4), many[np.cumsum(weights) - 1])


def test_many_vectors_are_clustered_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(np.random.default_rng(1), 200, 3, 0.08)
    whole = clustered(vectors, np.ones(200), alike=0.5)
    monkeypatch.setattr("emovox.speech.diarization._MOST", 40)
    np.testing.assert_array_equal(clustered(vectors, np.ones(200), alike=0.5), whole)


def test_nothing_in_common_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emovox.speech.diarization._MOST", 5)
    np.testing.assert_array_equal(clustered(np.eye(12, dtype=np.float32), np.ones(12), alike=0.5), np.arange(12))


def test_centres_are_weighted_means_of_length_one() -> None:
    found = centres(np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([3.0, 4.0, 1.0]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0, 1]]), atol=1e-6)


def test_a_full_room_takes_the_nearest() -> None:
    known = Acquaintances(alike=0.9, most=1)
    rows = np.eye(2, dtype=np.float32)
    assert [known.meet(row, 1.0) for row in rows] == [0, 0]
    np.testing.assert_array_equal(known.sums[0], rows[0])  # what is not alike teaches nothing
    assert Acquaintances(0.9, sums=[rows[0].astype(float)]).meet(rows[1], 1.0, new=False) == 0
