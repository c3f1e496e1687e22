"""Scores of emotion dimensions: concordance correlation with intervals by speaker, and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Draws of the bootstrap over speakers.
DRAWS = 1000


def ccc(truth: Array, found: Array) -> float:
    """Return the concordance correlation coefficient: 1 is agreement, 0 none; offset and scale count.

    Source
    ------
    Lin 1989, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45.

    Examples
    --------
    >>> truth = np.array([0.0, 1.0, 2.0])
    >>> ccc(truth, truth), round(ccc(truth, truth + 1), 3)
    (1.0, 0.571)
    """
    spread = truth.var() + found.var() + (truth.mean() - found.mean()) ** 2
    return float(2 * np.cov(truth, found, bias=True)[0, 1] / spread) if spread else 0.0


def score(truth: Array, found: Array, speakers: NDArray[np.str_]) -> dict[str, Any]:
    """Score one dimension where it is known.

    Parameters
    ----------
    truth, found : ndarray, shape (n,)
        What raters said, NaN where they did not, and what a model said.
    speakers : ndarray of str, shape (n,)
        Who speaks.

    Returns
    -------
    dict
        ``ccc``, ``pearson``, ``mae`` and ``n``, ``interval`` of the CCC (95 %, bootstrap over whole speakers), and of a
        dimension with two values only ``auc``, the area under the ROC curve, and ``auc_interval``.
    """
    known = ~np.isnan(truth)
    truth, found, speakers = truth[known], found[known], speakers[known]
    scores: dict[str, Any] = {
        "ccc": ccc(truth, found),
        "pearson": float(np.corrcoef(truth, found)[0, 1]) if min(np.ptp(truth), np.ptp(found)) > 0 else 0.0,
        "mae": float(np.abs(truth - found).mean()),
        "n": len(truth),
        "interval": _interval(ccc, truth, found, speakers),
    }
    if len(np.unique(truth)) == 2:
        scores["auc"] = auc(truth, found)
        scores["auc_interval"] = _interval(auc, truth, found, speakers)
    return scores


def auc(truth: Array, found: Array) -> float:
    """Return the area under the ROC curve: how often one of the higher value is above one of the lower, ties half.

    Examples
    --------
    >>> auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    low, high = np.sort(found[truth == truth.min()]), found[truth > truth.min()]
    if not len(high):
        return 0.5
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))


def _interval(
    measure: Callable[[Array, Array], float], truth: Array, found: Array, speakers: NDArray[np.str_]
) -> list[float] | None:
    """Draw speakers with replacement; None where there is one only."""
    rows = [np.flatnonzero(speakers == one) for one in np.unique(speakers)]
    if len(rows) < 2:
        return None
    rng, values = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[index] for index in rng.integers(len(rows), size=len(rows))])
        values.append(measure(truth[drawn], found[drawn]))
    return [float(edge) for edge in np.percentile(values, [2.5, 97.5])]
