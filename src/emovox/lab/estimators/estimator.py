"""What every family is: options, and an estimator with the interface of scikit-learn that says what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from emovox.lab.estimators.graphs import Graph
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.ranges import FORBID
from emovox.types import FeatureSpec

#: What an estimator sees of a clip: one vector, one a frame, or named inputs of its members.
Level = Literal["clip", "frame", "joint"]


class Options:
    """Options of a family: the base of frozen dataclasses that pydantic reads out of a recipe.

    Attributes
    ----------
    seed : int
        Seed of everything that is drawn in a training.
    """

    __pydantic_config__ = FORBID

    seed: int

    @property
    def planned_epochs(self) -> int:
        """Epochs that are told of in a training, of all networks; 0 for families that tell of none."""
        return 0

    @property
    def hears(self) -> Mapping[str, Any] | None:
        """The ``[model]`` table of what sees the voice, where that is a model of another family."""
        return None


class Estimator(ClassifierMixin, BaseEstimator):
    """A classifier with the interface of scikit-learn that tells what it needs and becomes an ONNX graph.

    A family defines `fit`, `predict_proba` and :meth:`bare_graph` (or :meth:`graph`), and says with the attributes
    below what is different about it.

    Attributes
    ----------
    needs : tuple of str
        What `fit` takes of a `TrainingSet` beside X and y, by the names of its attributes.
    level : {"clip", "frame", "joint"}
        What it sees of a clip: one vector, one a frame; or named inputs, as a stack whose members see what they need.
    standardises : bool
        It standardises features by itself; false puts a `StandardScaler` before it.
    takes_baseline : bool
        It sees the embeddings of an encoder, and `predict_proba` takes a speaker's baseline.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    level: ClassVar[Level] = "clip"
    standardises: ClassVar[bool] = False
    takes_baseline: ClassVar[bool] = False

    classes_: NDArray[Any]
    n_features_in_: int

    def fit(self, X: Any, y: NDArray[Any]) -> Self:
        """Fit on features and labels, and on what :attr:`needs` names."""
        raise NotImplementedError

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Class probabilities, shape (n_clips, n_classes)."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each clip."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def features(self, clips: TrainingSet) -> Any:
        """Return what `predict_proba` takes of some clips: their features as they are, or those of a tuned encoder."""
        return clips.X

    def parts(self, X: Any) -> dict[str, NDArray[Any]]:
        """Class probabilities of each model inside, where there are several that answer by themselves."""
        return {}

    @property
    def curves(self) -> list[list[dict[str, Any]]]:
        """Learning curve of each network, a list of its epochs; none for estimators without.

        An epoch has ``epoch`` and ``train_loss``, and where they are known ``train_uar``, ``valid_loss`` and
        ``valid_uar``.
        """
        return list(getattr(self, "curves_", []))

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the fitted arithmetic as a graph, from what `spec` leaves to compute to probabilities.

        Parameters
        ----------
        spec : FeatureSpec
            What the estimator was fitted on.  Where that comes from a pretrained encoder, the encoder goes into the
            graph, which then starts from samples.
        scaler : StandardScaler, optional
            What stands before the estimator.
        baseline : bool, default True
            False leaves the input ``baseline`` out, of an estimator that has one.

        Returns
        -------
        Graph
            Probabilities in the order of `classes_`, without the calibration that comes from held-out folds.
        """
        return self.bare_graph(scaler).behind(spec)

    def bare_graph(self, scaler: Any) -> Graph:
        """Return the graph from features to probabilities."""
        raise NotImplementedError

    def card_text(self, temperature: float) -> dict[str, Any]:
        """Return what the model card's ``text`` tells of how words are used; `temperature` calibrates the answers."""
        return {}


def learner(pipeline: Pipeline) -> Any:
    """Return the estimator inside a pipeline that :func:`emovox.lab.estimators.families.build` made."""
    return pipeline.named_steps["model"]


def graph_of(pipeline: Pipeline, spec: FeatureSpec, *, baseline: bool = True) -> Graph:
    """Return the graph of a fitted pipeline, standardisation inside; see :meth:`Estimator.graph`."""
    return learner(pipeline).graph(spec, pipeline.named_steps.get("scale"), baseline=baseline)  # type: ignore[no-any-return]
