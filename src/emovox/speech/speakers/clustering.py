"""The same voice found again: agglomerative clustering of a recording, and voices that become known one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emovox.types import Float32Array, Float64Array

#: Most vectors that are compared all with all; more are first clustered part by part.
_MOST = 3000
#: By how much two voices must be more alike to become one inside a part.
_STRICTER = 0.1
#: Similarity of what is no longer there.
_GONE = -np.inf


def clustered(
    vectors: Float32Array, weights: Float64Array, *, alike: float, count: int | None = None
) -> NDArray[np.intp]:
    """Cluster vectors by agglomeration with average linkage: the two clusters most alike become one, again and again.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Of length 1.
    weights : ndarray of float64, shape (n,)
        How much each counts, such as its duration; positive.
    alike : float
        Least mean cosine similarity of two clusters that become one.
    count : int, optional
        How many clusters there are, if that is known; `alike` does not matter then.

    Returns
    -------
    ndarray of int, shape (n,)
        Clusters, numbered from 0 by their first vector.

    Source
    ------
    R. R. Sokal and C. D. Michener, "A statistical method for evaluating systematic relationships", 1958.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 1]], np.float32)
    >>> clustered(vectors, np.ones(4), alike=0.7).tolist()
    [0, 1, 0, 1]
    >>> clustered(vectors, np.ones(4), alike=0.7, count=1).tolist()
    [0, 0, 0, 0]
    """
    if len(vectors) > _MOST:
        return _by_parts(vectors, weights, alike, count)
    groups = np.arange(len(vectors))
    similar = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similar, _GONE)
    weights, left = weights.astype(np.float64), len(vectors)
    best = similar.argmax(axis=1)
    while left > (count or 1):
        first = int(np.argmax(similar[np.arange(len(best)), best]))
        then = int(best[first])
        if count is None and similar[first, then] < alike:
            break
        shares = weights[[first, then]] / weights[[first, then]].sum()
        row = shares @ similar[[first, then]]
        row[[first, then]] = _GONE
        similar[first] = similar[:, first] = row
        similar[then] = similar[:, then] = _GONE
        weights[first] += weights[then]
        groups[groups == then] = first
        left -= 1
        stale = np.flatnonzero((best == first) | (best == then))
        stale = np.append(stale, [first, then])
        best[stale] = similar[stale].argmax(axis=1)
        better = row > similar[np.arange(len(best)), best]
        best[better] = first
    return _numbered(groups)


def _by_parts(vectors: Float32Array, weights: Float64Array, alike: float, count: int | None) -> NDArray[np.intp]:
    """Cluster parts of the vectors by themselves, then the means of those clusters."""
    groups = np.empty(len(vectors), dtype=np.intp)
    means: list[Float32Array] = []
    sums: list[Float64Array] = []
    for rows in np.array_split(np.arange(len(vectors)), -(-len(vectors) // _MOST)):
        found = clustered(vectors[rows], weights[rows], alike=alike + _STRICTER)
        groups[rows] = found + sum(len(one) for one in means)
        means.append(centres(vectors[rows], weights[rows], found))
        sums.append(np.bincount(found, weights[rows]).astype(np.float64))
    if len(means) > 1 and sum(len(one) for one in means) == len(vectors):  # nothing is like anything
        return groups
    return _numbered(clustered(np.concatenate(means), np.concatenate(sums), alike=alike, count=count)[groups])


def centres(vectors: Float32Array, weights: Float64Array, groups: NDArray[np.intp]) -> Float32Array:
    """Return the weighted means of clusters, each of length 1, shape (n_clusters, d)."""
    sums = np.zeros((int(groups.max()) + 1, vectors.shape[1]))
    np.add.at(sums, groups, vectors * weights[:, np.newaxis])
    found: Float32Array = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return found


def _numbered(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give clusters numbers by what comes first."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


@dataclass
class Acquaintances:
    """Voices that become known while they are heard: each is the nearest one that is like enough, or a new one.

    Attributes
    ----------
    alike : float
        Least cosine similarity with a known voice.
    most : int or None
        How many voices there can be at most.
    sums : list of ndarray
        What was heard of each, weighted.

    Examples
    --------
    >>> known = Acquaintances(alike=0.5)
    >>> [known.meet(np.array(one, np.float32), 1.0) for one in ([1, 0], [0, 1], [0.9, 0.1])]
    [0, 1, 0]
    """

    alike: float
    most: int | None = None
    sums: list[Float64Array] = field(default_factory=list)

    def nearest(self, vector: Float32Array) -> list[tuple[float, int]]:
        """Return similarities with the known voices, the largest first."""
        found = [(float(one @ vector / np.linalg.norm(one)), index) for index, one in enumerate(self.sums)]
        return sorted(found, key=lambda one: -one[0])

    def meet(self, vector: Float32Array, weight: float, *, new: bool = True) -> int:
        """Return whose voice it is and learn from it; where it may not be a `new` one, the nearest."""
        known = self.nearest(vector)
        full = self.most is not None and len(known) >= self.most
        if not known or (known[0][0] < self.alike and new and not full):
            self.sums.append(vector.astype(np.float64) * weight)
            return len(self.sums) - 1
        found = known[0][1]
        if known[0][0] >= self.alike:
            self.sums[found] = self.sums[found] + vector * weight
        return found
