"""Emotion axes: linear scores of an embedding from three points of view, the first stage of the adaptive head.

For each class there is a score of the clip centred on its setting, of the clip as it is, and of the clip centred on
its speaker's neutral speech.  Profiles of settings and speakers are statistics of these few numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from emovox.types import Float32Array

#: Points of view: centred on the setting, absolute, centred on the neutral clips of the speaker.
VIEWS = 3
#: Clips of each setting that principal components are fitted to, at most.
MOST_OF_SETTING = 200


@dataclass(frozen=True, eq=False)
class Clips:
    """Training clips and copies, one below the other.

    Attributes
    ----------
    embedding : ndarray of float32, shape (n, d)
    target : ndarray of int, shape (n,)
        Class indices.
    prior : ndarray of float32, shape (n, n_classes)
        Class weights of each row (logit adjustment, as in `WeightedCrossEntropy`).
    corpus, speaker, setting : ndarray of str, shape (n,)
        A copy is another speaker in another setting than its clip: its speed and microphone differ.
    """

    embedding: Float32Array
    target: NDArray[np.int64]
    prior: Float32Array
    corpus: NDArray[Any]
    speaker: NDArray[Any]
    setting: NDArray[Any]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: Any) -> Clips:
        return Clips(*(column[rows] for column in vars(self).values()))


def balanced(target: NDArray[np.int64], corpus: NDArray[Any], person: NDArray[Any], most: float = 6.0) -> Float32Array:
    """Return sample weights by which corpora count alike, within them speakers, within those classes.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
        Class indices.
    corpus, person : ndarray of str, shape (n,)
        Corpus, and speaker of the clip that a row is a copy of.
    most : float
        Largest weight; the mean is about 1.

    Examples
    --------
    >>> balanced(np.array([0, 0, 1, 0]), np.array(["a"] * 4), np.array(["ann", "ann", "ann", "bob"])).tolist()
    [0.5, 0.5, 1.0, 2.0]
    """
    weight = np.zeros(len(target))
    corpora = np.unique(corpus)
    for one in corpora:
        people = np.unique(person[corpus == one])
        for who in people:
            own = (corpus == one) & (person == who)
            classes, counts = np.unique(target[own], return_counts=True)
            for label, count in zip(classes, counts, strict=True):
                weight[own & (target == label)] = 1 / len(corpora) / len(people) / len(classes) / count
    return np.minimum(weight * len(target), most).astype(np.float32)


@dataclass(frozen=True)
class Axes:
    """Fitted axes.

    Attributes
    ----------
    matrix : ndarray of float32, shape (d, 3 * n_classes)
    constant : ndarray of float32, shape (3 * n_classes,)
    """

    matrix: Float32Array
    constant: Float32Array

    def __call__(self, embedding: Float32Array) -> Float32Array:
        """Score clips, shape (n, d); returns shape (n, 3 * n_classes)."""
        return embedding @ self.matrix + self.constant


@dataclass(frozen=True)
class Components:
    """Principal components within settings, scaled by the strongest.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (d,)
        Mean over settings of embeddings, and deviation within settings.
    directions : ndarray of float32, shape (d, p)
    """

    mean: Float32Array
    deviation: Float32Array
    directions: Float32Array

    def __call__(self, embedding: Float32Array) -> Float32Array:
        """Project embeddings, shape (n, d), to components, shape (n, p)."""
        return np.asarray((embedding - self.mean) / self.deviation @ self.directions, dtype=np.float32)

    def unfolded(self, axes: Axes) -> Axes:
        """Return axes of components as axes of embeddings."""
        matrix = self.directions @ axes.matrix / self.deviation[:, np.newaxis]
        return Axes(matrix.astype(np.float32), np.asarray(axes.constant - self.mean @ matrix, dtype=np.float32))


def components(clips: Clips, size: int, seed: int) -> Components:
    """Fit at most `size` principal components to some clips of each setting, centred on it."""
    rng, means, chosen = np.random.default_rng(seed), [], []
    for setting in np.unique(clips.setting):
        rows = np.flatnonzero(clips.setting == setting)
        means.append(clips.embedding[rows].mean(axis=0))
        chosen.append(clips.embedding[rng.permutation(rows)[:MOST_OF_SETTING]] - means[-1])
    centred = np.concatenate(chosen)
    deviation = centred.std(axis=0) + np.float32(1e-4)
    size = min(size, *centred.shape)
    with threadpool_limits(limits=1):
        _, singular, directions = randomized_svd(centred / deviation, size, n_iter=2, random_state=seed)
    scale = np.float32(singular[0] / np.sqrt(len(centred)))
    return Components(np.mean(means, axis=0), deviation, np.asarray(directions.T / scale, dtype=np.float32))


def fit(clips: Clips, weight: Float32Array, neutral: int | None, penalty: float) -> Axes:
    """Fit axes to some clips.

    Parameters
    ----------
    clips : Clips
        Training clips; components in place of embeddings make it fast.
    weight : ndarray of float32, shape (n,)
        Sample weights.
    neutral : int or None
        Index of the neutral class, if there is one.
    penalty : float
        L2 penalty of the scores.
    """
    matrices, constants = [], []
    for seen in _points_of_view(clips.embedding, clips, neutral):
        coefficients, intercepts = logistic(seen, clips.target, clips.prior, weight, penalty)
        matrices.append(coefficients - coefficients.mean(axis=1, keepdims=True))
        constants.append(intercepts)
    return Axes(np.concatenate(matrices, axis=1), np.concatenate(constants))


def _points_of_view(
    points: Float32Array, clips: Clips, neutral: int | None
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return points centred on their setting, as they are, and centred on the neutral ones of their speaker."""
    centred = points.copy()
    for setting in np.unique(clips.setting):
        rows = clips.setting == setting
        centred[rows] -= points[rows].mean(axis=0)
    from_neutral = centred.copy()
    for speaker in np.unique(clips.speaker):
        own = clips.speaker == speaker
        ordinary = own & (clips.target == neutral)
        count = int(ordinary.sum())
        if count:
            from_neutral[own] -= centred[ordinary].mean(axis=0) * np.float32(count / (count + 1))
    return centred, points, from_neutral


def logistic(
    X: Float32Array,
    target: NDArray[np.int64],
    prior: Float32Array,
    weight: Float32Array,
    penalty: float,
    iterations: int = 40,
) -> tuple[Float32Array, Float32Array]:
    """Fit multinomial logistic regression with L-BFGS.

    Parameters
    ----------
    X : ndarray of float32, shape (n, n_inputs)
        Inputs.
    target : ndarray of int, shape (n,)
        Class indices.
    prior : ndarray of float32, shape (n, n_classes)
        Class weights of each row (logit adjustment, as in `WeightedCrossEntropy`).
    weight : ndarray of float32, shape (n,)
        Sample weights, 1 on average.
    penalty : float
        L2 penalty: weight of the squared norm of the coefficients relative to the mean loss.
    iterations : int, default 40
        Maximum number of iterations.

    Returns
    -------
    coefficients : ndarray of float32, shape (n_inputs, n_classes)
    intercepts : ndarray of float32, shape (n_classes,)
    """
    n, classes = len(X), prior.shape[1]
    adjustment, rows = np.log(prior), np.arange(n)
    share = (weight / n).astype(np.float32)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = parameters.reshape(-1, classes).astype(np.float32)
        # Both products read the large matrix along its rows: ten times faster than X @ W and X.T @ G.
        logits = (both[:-1].T @ X.T).T + both[-1] + adjustment
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        total = powers.sum(axis=1)
        value = float(share @ (np.log(total) - logits[rows, target]))
        gradient = powers * (share / total)[:, np.newaxis]
        gradient[rows, target] -= share
        slope = np.vstack([(gradient.T @ X).T + 2 * penalty * both[:-1], gradient.sum(axis=0)])
        return value + penalty * float(np.square(both[:-1]).sum()), slope.ravel().astype(np.float64)

    with threadpool_limits(limits=1):
        found, _, _ = fmin_l_bfgs_b(loss, np.zeros((X.shape[1] + 1) * classes), maxiter=iterations, factr=1e9)
    both = found.reshape(-1, classes).astype(np.float32)
    return both[:-1], both[-1]
