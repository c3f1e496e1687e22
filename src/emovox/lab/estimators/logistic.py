"""Logistic regression on one vector per clip: the baseline that other families should exceed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from emovox.lab.estimators.classical import SklearnEstimator
from emovox.lab.estimators.estimator import Options
from emovox.lab.ranges import Count, Natural, Positive


@dataclass(frozen=True)
class LogisticOptions(Options):
    """Options of multinomial logistic regression.

    Attributes
    ----------
    C : float
        Inverse of the L2 penalty of the coefficients: smaller values regularise more.
    balanced : bool
        Weight classes by the inverse of their frequency.
    iterations : int
        Maximum number of iterations of L-BFGS.
    seed : int
        Unused: the fit is deterministic.
    """

    C: Positive = 0.01
    balanced: bool = True
    iterations: Count = 1000
    seed: Natural = 0


class LogisticClassifier(SklearnEstimator):
    """Scikit-learn's logistic regression on standardised features.

    Parameters
    ----------
    options : LogisticOptions
        Penalty and weights of the classes.

    Examples
    --------
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> LogisticClassifier(LogisticOptions(C=1)).fit(X, np.array(["sad", "sad", "happy", "happy"])).predict(X).tolist()
    ['sad', 'sad', 'happy', 'happy']
    """

    needs = ("votes", "voted")

    def made(self) -> LogisticRegression:
        """Return the unfitted regression with the given options."""
        options: LogisticOptions = self.options or LogisticOptions()
        weights = "balanced" if options.balanced else None
        return LogisticRegression(C=options.C, class_weight=weights, max_iter=options.iterations)

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.str_],
        sample_weight: NDArray[np.float64] | None = None,
        votes: NDArray[np.float64] | None = None,
        voted: tuple[str, ...] = (),
    ) -> Self:
        """Fit on standardised features, shape (n_clips, n_features), and sample weights, shape (n_clips,).

        Where there are `votes`, shape (n_clips, n_voted), the labels are distributions: each clip counts for each label
        as often as raters voted for it, which makes the loss the cross-entropy of the distributions.
        """
        if votes is not None:
            rows, columns = np.nonzero(votes)
            X, y, sample_weight = X[rows], np.array(voted)[columns], votes[rows, columns]
        self.fitted_ = self.made().fit(X, y, sample_weight)
        self.classes_, self.n_features_in_ = self.fitted_.classes_, X.shape[1]
        return self
