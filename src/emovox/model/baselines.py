"""What was heard of a setting or of a speaker, as a model takes it: how much, and mean and variance of the axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emovox.types import Float32Array, Float64Array


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and variance of the axes of the utterances that were heard: one level of a baseline.

    Attributes
    ----------
    count : int
        Utterances heard; 0: nothing is known.
    mean, variance : ndarray of float64, shape (r,)
        Of their axes, see :class:`emovox.model.file.Model`; the variance is divided by `count`.

    Examples
    --------
    >>> first, then = Statistics.of([[0.0, 2.0]]), Statistics.of([[2.0, 2.0], [4.0, 5.0]])
    >>> both = first.merged(then)
    >>> both.count, both.mean.tolist(), both.variance.round(3).tolist()
    (3, [2.0, 3.0], [2.667, 2.0])
    """

    count: int
    mean: Float64Array
    variance: Float64Array

    @classmethod
    def of(cls, axes: ArrayLike) -> Statistics:
        """Compute the statistics of some utterances' axes, shape (n, r)."""
        rows = np.asarray(axes, dtype=np.float64)
        if not len(rows):
            return cls.nothing(rows.shape[1])
        return cls(len(rows), rows.mean(axis=0), rows.var(axis=0))

    @classmethod
    def nothing(cls, width: int) -> Statistics:
        """Return the statistics of no utterances, of so many axes."""
        return cls(0, np.zeros(width), np.zeros(width))

    def merged(self, other: Statistics) -> Statistics:
        """Return the statistics of both together, as if all utterances had been heard at once.

        Source
        ------
        T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance", 1983.
        """
        count = self.count + other.count
        if not count:
            return self
        share, apart = other.count / count, other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * apart**2
        return Statistics(count, self.mean + share * apart, variance)

    def packed(self) -> Float32Array:
        """Return one level of a model's input ``baseline``, shape (1 + 2 r,)."""
        return np.concatenate([[self.count], self.mean, self.variance]).astype(np.float32)
