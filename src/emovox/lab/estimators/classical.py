"""Classifiers of scikit-learn with options from recipes, calibration by speaker and conversion to ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from emovox.lab.corpora.groups import speaker_groups_kfold
from emovox.lab.estimators.estimator import Estimator, Options
from emovox.lab.estimators.graphs import Arrays, Graph, converted
from emovox.lab.ranges import Count, Natural, NotNegative, Positive
from emovox.model.file import INPUT, OUTPUT


@dataclass(frozen=True)
class MlpOptions(Options):
    """Options of scikit-learn's multi-layer perceptron.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    alpha : float
        Weight of the L2 penalty.
    learning_rate : float
        Initial step size of Adam.
    batch_size : int or "auto"
        Clips per step; ``"auto"`` is 200, or all clips if there are fewer.
    epochs : int
        Passes over the training clips.
    seed : int
        Seed of initial weights and batches.
    """

    hidden: tuple[Count, ...] = (300,)
    alpha: NotNegative = 0.01
    learning_rate: Positive = 1e-3
    batch_size: Count | Literal["auto"] = "auto"
    epochs: Count = 300
    seed: Natural = 0


@dataclass(frozen=True)
class SvmOptions(Options):
    """Options of the support vector machine with calibrated probabilities.

    Attributes
    ----------
    kernel : {"rbf", "linear"}
        Kernel.
    C : float
        Regularisation parameter: penalty of training errors relative to the width of the margin.
    gamma : "scale" or float
        Width of the RBF kernel; ``"scale"`` is 1 / (n_features * variance).
    balanced : bool
        Weight classes by the inverse of their frequency.
    calibration_folds : int
        Speaker-independent folds of the training set for the sigmoids from margins to probabilities (Platt scaling).
    seed : int
        Seed of the calibration folds if the speakers are unknown.
    """

    kernel: Literal["rbf", "linear"] = "rbf"
    C: Positive = 5.0
    gamma: Positive | Literal["scale"] = "scale"
    balanced: bool = True
    calibration_folds: Annotated[int, Ge(2)] = 5
    seed: Natural = 0


class SklearnEstimator(Estimator):
    """A classifier of scikit-learn that needs features and labels only.

    Parameters
    ----------
    options : Options
        Options of the family.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    fitted_ : classifier
        The fitted classifier of scikit-learn.
    """

    def __init__(self, options: Any = None) -> None:
        self.options = options

    def made(self) -> Any:
        """Return the unfitted classifier with the given options."""
        raise NotImplementedError

    def fit(self, X: NDArray[np.float32], y: NDArray[Any]) -> Self:
        """Fit on standardised features, shape (n_clips, n_features), and labels, shape (n_clips,)."""
        self.fitted_ = self.made().fit(X, y)
        self.classes_, self.n_features_in_ = self.fitted_.classes_, X.shape[1]
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict class probabilities, shape (n_clips, n_classes)."""
        return np.asarray(self.fitted_.predict_proba(X))

    def bare_graph(self, scaler: Any) -> Graph:
        """Return the graph from raw features to probabilities."""
        steps = [*([("scale", scaler)] if scaler else []), ("model", self.fitted_)]

        def reference(given: Arrays) -> Arrays:
            X = given[INPUT]
            return {OUTPUT: self.predict_proba(scaler.transform(X) if scaler else X)}

        return converted(steps, self.n_features_in_, reference)


class MlpClassifier(SklearnEstimator):
    """Scikit-learn's multi-layer perceptron; parameters as for `SklearnEstimator`, with `MlpOptions`."""

    def made(self) -> MLPClassifier:
        """Return the unfitted perceptron with the given options."""
        options: MlpOptions = self.options or MlpOptions()
        return MLPClassifier(
            hidden_layer_sizes=options.hidden,
            alpha=options.alpha,
            learning_rate_init=options.learning_rate,
            batch_size=options.batch_size,
            max_iter=options.epochs,
            # A tolerance of 0 disables stopping on the training loss: the recipe sets the number of epochs.
            tol=0.0,
            n_iter_no_change=options.epochs,
            random_state=options.seed,
        )


class SvmClassifier(SklearnEstimator):
    """Support vector machine with probabilities calibrated on held-out speakers.

    Parameters
    ----------
    options : SvmOptions
        Kernel, penalties and calibration.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    fitted_ : CalibratedClassifierCV
        SVM fitted on all clips, with sigmoids fitted on margins of held-out speakers.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.r_[np.zeros((20, 2)), np.ones((20, 2))] + np.random.default_rng(0).normal(0, 0.1, (40, 2))
    >>> y = np.repeat(["sad", "happy"], 20)
    >>> SvmClassifier().fit(X, y, speakers=np.tile(list("abcde"), 8)).predict([[1.0, 1.0]]).tolist()
    ['happy']
    """

    needs = ("speakers",)

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
    ) -> Self:
        """Fit on standardised features, shape (n_clips, n_features), and labels, shape (n_clips,).

        Sample weights, shape (n_clips,), apply to the SVM and to the sigmoids.
        """
        options: SvmOptions = self.options or SvmOptions()
        machine = SVC(
            C=options.C,
            gamma=options.gamma,
            kernel=options.kernel,
            class_weight="balanced" if options.balanced else None,
        )
        self.fitted_ = CalibratedClassifierCV(
            machine, ensemble=False, cv=_calibration_folds(X, y, speakers, options)
        ).fit(X, y, sample_weight)
        self.classes_, self.n_features_in_ = self.fitted_.classes_, X.shape[1]
        return self


def _calibration_folds(
    X: NDArray[np.float32], y: NDArray[Any], speakers: NDArray[Any] | None, options: SvmOptions
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split by speaker if there are enough and every class is in every training part, else stratified by class."""
    count = options.calibration_folds
    if speakers is not None and len(np.unique(speakers)) >= count:
        folds = speaker_groups_kfold(speakers, count)
        classes = len(np.unique(y))
        if all(len(np.unique(y[train])) == classes for train, _ in folds):
            return folds
    count = min(count, max(2, int(np.unique(y, return_counts=True)[1].min())))
    return list(StratifiedKFold(count, shuffle=True, random_state=options.seed).split(X, y))
