"""Which groups of descriptors a model relies on: what its recall loses when a group is shuffled among test clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Groups of descriptors by the beginning of their names, the first that fits; any other is named by its first word.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "pitch": ("f0",),
    "loudness": ("loudness", "level"),
    "voice quality": ("jitter", "shimmer", "hnr", "h1_h2"),
    "formants": ("formant", "bandwidth", "amplitude"),
    "spectral balance": ("alpha_ratio", "hammarberg", "slope", "flux"),
    "rhythm": ("voiced_rate", "voiced_fraction", "voiced_length", "gap_length"),
}
#: Times that a group is shuffled.
REPEATS = 3


def group_of(name: str) -> str:
    """Return the group of a feature.

    Examples
    --------
    >>> group_of("f0_semitones_mean"), group_of("prosodic_hnr_sd"), group_of("mfcc_01")
    ('pitch', 'voice quality', 'mfcc')
    """
    bare = name.removeprefix("prosodic_")
    return next((group for group, starts in GROUPS.items() if bare.startswith(starts)), bare.split("_")[0])


def permuted(
    predict: Callable[[Any], NDArray[Any]],
    X: NDArray[np.float32],
    y: NDArray[np.str_],
    names: Sequence[str],
    seed: int = 0,
) -> dict[str, float]:
    """Shuffle each group of features among clips, and measure what the UAR loses.

    The columns of a group stay together, so that what it knows as a whole is lost.

    Parameters
    ----------
    predict : callable
        From features to labels.
    X, y
        Features and labels of clips that the model was not fitted on, shape (n, n_features) and (n,).
    names : sequence of str
        Names of the features.
    seed : int, default 0
        Of the order.

    Returns
    -------
    dict of str to float
        Loss in UAR by group, the mean of :data:`REPEATS` orders; negative where the group misleads.

    Source
    ------
    Breiman 2001, Random forests, Machine Learning 45.
    """
    groups = np.array([group_of(name) for name in names])
    rng, whole = np.random.default_rng(seed), _recall(y, predict(X))
    losses = {}
    for group in dict.fromkeys(groups.tolist()):
        columns, found = np.flatnonzero(groups == group), []
        for _ in range(REPEATS):
            changed = X.copy()
            changed[:, columns] = X[rng.permutation(len(X))][:, columns]
            found.append(whole - _recall(y, predict(changed)))
        losses[group] = float(np.mean(found))
    return losses


def _recall(truth: NDArray[np.str_], found: NDArray[Any]) -> float:
    """Return the unweighted average recall."""
    return float(np.mean([np.mean(found[truth == label] == label) for label in np.unique(truth)]))


def over_folds(losses: Iterable[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over folds by group, the most important first; empty without any.

    Examples
    --------
    >>> over_folds([{"pitch": 0.1, "mfcc": 0.3}, {"pitch": 0.2, "mfcc": 0.3}])["mfcc"]
    {'loss': 0.3, 'sd': 0.0}
    """
    folds = [one for one in losses if one]
    if not folds:
        return {}
    means = {group: float(np.mean([one[group] for one in folds])) for group in folds[0]}
    spread = {group: float(np.std([one[group] for one in folds])) for group in folds[0]}
    ranked = sorted(means, key=lambda group: -means[group])
    return {group: {"loss": means[group], "sd": spread[group]} for group in ranked}
