"""Base classes of the model families: options, and scikit-learn estimators that declare what they need."""

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

#: Input of an estimator per clip: one vector, one vector per frame, or named inputs.
Level = Literal["clip", "frame", "joint"]


class Options:
    """Base class of the options of a family, frozen dataclasses that pydantic parses from a recipe.

    Attributes
    ----------
    seed : int
        Seed of all randomness in training.
    """

    __pydantic_config__ = FORBID

    seed: int

    @property
    def planned_epochs(self) -> int:
        """Number of epochs reported in training, over all networks; 0 for families without epochs."""
        return 0

    @property
    def hears(self) -> Mapping[str, Any] | None:
        """The ``[model]`` table of the acoustic model, if that is a model of another family."""
        return None


class Estimator(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier that declares what it needs and can be converted to an ONNX graph.

    A family defines `fit`, `predict_proba` and :meth:`bare_graph` (or :meth:`graph`), and sets the attributes below
    where they differ from the defaults.

    Attributes
    ----------
    needs : tuple of str
        Arguments of `fit` beside X and y, named like the attributes of `TrainingSet`.
    level : {"clip", "frame", "joint"}
        Input per clip: one vector; one vector per frame; or named inputs, as of a stack with different members.
    standardises : bool
        Whether it standardises features itself; otherwise a `StandardScaler` precedes it.
    takes_baseline : bool
        Whether its features are embeddings, and `predict_proba` takes a baseline of the speaker.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    level: ClassVar[Level] = "clip"
    standardises: ClassVar[bool] = False
    takes_baseline: ClassVar[bool] = False

    classes_: NDArray[Any]
    n_features_in_: int

    def fit(self, X: Any, y: NDArray[Any]) -> Self:
        """Fit on features, labels and what :attr:`needs` lists."""
        raise NotImplementedError

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities, shape (n_clips, n_classes)."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable label of each clip, shape (n_clips,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def features(self, clips: TrainingSet) -> Any:
        """Return the input of `predict_proba` for some clips: their features, or those of a fine-tuned encoder."""
        return clips.X

    def parts(self, X: Any) -> dict[str, NDArray[Any]]:
        """Predict class probabilities of each member model; empty without members."""
        return {}

    @property
    def curves(self) -> list[list[dict[str, Any]]]:
        """Learning curve of each network, a list of epochs; empty for estimators without epochs.

        An epoch has ``epoch`` and ``train_loss`` and, if known, ``train_uar``, ``valid_loss`` and ``valid_uar``.
        """
        return list(getattr(self, "curves_", []))

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Convert the fitted estimator to a graph from features, or samples, to probabilities.

        Parameters
        ----------
        spec : FeatureSpec
            Features on which the estimator was fitted.  If they are computed by a pretrained encoder, the encoder
            becomes part of the graph, whose input are samples.
        scaler : StandardScaler, optional
            Standardisation before the estimator.
        baseline : bool, default True
            Whether an estimator with baselines keeps the input ``baseline``.

        Returns
        -------
        Graph
            Probabilities in the order of `classes_`, before calibration on held-out folds.
        """
        return self.bare_graph(scaler).behind(spec)

    def bare_graph(self, scaler: Any) -> Graph:
        """Return the graph from features to probabilities."""
        raise NotImplementedError

    def card_text(self, temperature: float) -> dict[str, Any]:
        """Return the entry ``text`` of the model card: how words are used; `temperature` is the calibration."""
        return {}


def learner(pipeline: Pipeline) -> Any:
    """Return the estimator of a pipeline from :func:`emovox.lab.estimators.families.build`."""
    return pipeline.named_steps["model"]


def graph_of(pipeline: Pipeline, spec: FeatureSpec, *, baseline: bool = True) -> Graph:
    """Convert a fitted pipeline, standardisation included; see :meth:`Estimator.graph`."""
    return learner(pipeline).graph(spec, pipeline.named_steps.get("scale"), baseline=baseline)  # type: ignore[no-any-return]
