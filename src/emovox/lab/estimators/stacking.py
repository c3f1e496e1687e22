"""Stacked generalisation: several models, and a combiner of their predictions for held-out speakers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import speaker_groups_kfold
from emovox.lab.estimators.classical import SvmClassifier, SvmOptions
from emovox.lab.estimators.estimator import Estimator, Options, graph_of, learner
from emovox.lab.estimators.graphs import Arrays, Graph
from emovox.lab.estimators.logistic import LogisticClassifier, LogisticOptions
from emovox.lab.estimators.stack_graph import merged
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.extraction.sequences import Inputs
from emovox.lab.ranges import Natural, Positive
from emovox.model.file import OUTPUT
from emovox.types import FeatureSpec, Float32Array


@dataclass(frozen=True)
class Member:
    """A member of a stack.

    Attributes
    ----------
    name : str
        Name of the member and of its features.
    family : str
        Model family.
    options : dataclass
        Options of the family, with the seed.
    """

    name: str
    family: str
    options: Any


@dataclass(frozen=True)
class StackOptions(Options):
    """Options of the combiner; the members are tables of the recipe.

    Attributes
    ----------
    combine : {"svm", "logistic", "average"}
        Combiner: a support vector machine or a logistic regression on the class probabilities of all members, both with
        balanced classes, or their mean.
    folds : int
        Groups of training speakers: the combiner is fitted on predictions for each group by members trained on the
        others.  A mean needs no groups, so it works with a single speaker too.
    bagged : bool
        Keep the members trained without each group beside those trained on all speakers; the prediction is the mean of
        the combiner over all sets of members.  False keeps the last set only: smaller, faster and slightly less
        accurate.
    kernel : {"rbf", "linear"}
        Kernel of the support vector machine.
    C : float
        Regularisation parameter of the combiner: smaller values regularise more.
    gamma : "scale" or float
        Width of the RBF kernel; ``"scale"`` is 1 / number of probabilities, as these are standardised.
    seed : int
        Seed of all members.
    members : tuple of Member
        The members, from the table ``[members]`` of the recipe.
    """

    combine: Literal["svm", "logistic", "average"] = "svm"
    folds: Annotated[int, Ge(2)] = 3
    bagged: bool = True
    kernel: Literal["rbf", "linear"] = "linear"
    C: Positive = 0.01
    gamma: Positive | Literal["scale"] = "scale"
    seed: Natural = 0
    members: tuple[Member, ...] = dataclasses.field(default=(), metadata={"given": False})

    @property
    def planned_epochs(self) -> int:
        """Number of epochs reported in training, over all networks of all members."""
        times = 1 + (self.folds if self.combine == "svm" else 0)
        return times * sum(int(member.options.planned_epochs) for member in self.members)


#: Name of the mean over the members.
AVERAGE = "average"

#: `emovox.lab.estimators.families.build` and `emovox.lab.estimators.families.fit`.
Build = Callable[[str, Any], Pipeline]
Fit = Callable[..., Pipeline]


class StackClassifier(Estimator):
    """A stack as a scikit-learn classifier.

    Parameters
    ----------
    options : StackOptions
        Options of the combiner, with the members.
    build, fit_member : callable
        :func:`emovox.lab.estimators.families.build` and :func:`emovox.lab.estimators.families.fit`.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    sets_ : list of dict of str to Pipeline
        Sets of members; the last is fitted on all clips, each of the others without one group of speakers.
    combiner_ : Pipeline or None
        Combiner of the predictions of a set; None averages.
    answers_ : ndarray of float32, shape (n_clips, n_members * n_classes)
        Predictions for held-out speakers, on which the combiner was fitted; zeros for a mean.
    curves_ : list of list of dict
        Learning curves of the members that have epochs.

    Notes
    -----
    Source: D. Wolpert, "Stacked generalization", Neural Networks 5, 1992.
    """

    needs = ("speakers", "corpora", "copies", "kept", "on_epoch")
    level = "joint"
    standardises = True

    def __init__(self, options: StackOptions, build: Build, fit_member: Fit) -> None:
        self.options, self.build, self.fit_member = options, build, fit_member

    def fit(
        self,
        X: Inputs,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Inputs | None = None,
        kept: Path | None = None,
        on_epoch: Callable[[Mapping[str, Any]], None] = lambda epoch: None,
    ) -> StackClassifier:
        """Fit the members and the combiner.

        Parameters
        ----------
        X : Inputs
            Features of each member.
        y, corpora : ndarray, shape (n_clips,)
            Labels and corpora.
        speakers : ndarray, shape (n_clips,)
            Speakers; required.
        copies : Inputs, optional
            Features of augmented copies, for members that use them.
        kept, on_epoch
            As for `SequenceClassifier.fit`.

        Raises
        ------
        ProtocolError
            The speakers are unknown, or fewer than `StackOptions.folds` with a combiner.
        """
        if speakers is None:
            raise ProtocolError(
                "a stack keeps speakers apart inside its training part, and these clips have none: "
                "give a speaker column, or choose another family"
            )
        self.classes_ = np.unique(y)
        groups = speaker_groups_kfold(speakers, self.options.folds) if self._weighs else []
        self.sets_: list[dict[str, Pipeline]] = [{} for _ in range(1 + len(groups))]
        answers = []
        # Without corpora all clips belong to the same one.
        clips = TrainingSet(X, y, speakers, np.full(len(y), "") if corpora is None else corpora, copies, kept=kept)
        for member in self.options.members:
            own = dataclasses.replace(clips.part(member.name), on_epoch=partial(_named, on_epoch, member.name))

            def trained(rows: Any, member: Member = member, own: TrainingSet = own) -> Pipeline:
                return self.fit_member(self.build(member.family, member.options), own[rows])

            held_out = np.zeros((len(y), len(self.classes_)), dtype=np.float32)
            for (train, valid), others in zip(groups, self.sets_[:-1], strict=True):
                others[member.name] = pipeline = trained(train)
                held_out[valid] = self._answer(pipeline, own.X[valid])
            answers.append(held_out)
            self.sets_[-1][member.name] = trained(slice(None))
        self.answers_ = np.hstack(answers)
        self.combiner_ = self._combiner(y, speakers) if self._weighs else None
        if not self.options.bagged:
            self.sets_ = self.sets_[-1:]
        self.curves_ = [epochs for pipeline in self.sets_[-1].values() for epochs in learner(pipeline).curves]
        return self

    @property
    def _weighs(self) -> bool:
        return self.options.combine != "average"

    def _combiner(self, y: NDArray[Any], speakers: NDArray[Any]) -> Pipeline:
        """Fit the combiner on predictions for held-out speakers."""
        given, counts = self.options, compute_sample_weight("balanced", y)
        steps: list[tuple[str, Any]] = [("scale", StandardScaler())]
        if given.combine == "logistic":
            model = Pipeline([*steps, ("model", LogisticClassifier(LogisticOptions(C=given.C, balanced=False)))])
            return model.fit(self.answers_, y, model__sample_weight=counts)
        options = SvmOptions(given.kernel, given.C, given.gamma, balanced=False, calibration_folds=given.folds)
        model = Pipeline([*steps, ("model", SvmClassifier(options))])
        return model.fit(self.answers_, y, model__speakers=speakers, model__sample_weight=counts)

    def _answer(self, pipeline: Pipeline, X: Any) -> Float32Array:
        return aligned(pipeline.predict_proba(X), pipeline.classes_, self.classes_)

    def each_set(self, X: Inputs) -> list[dict[str, Float32Array]]:
        """Predict class probabilities of each member of each set, shape (n_clips, n_classes) each."""
        return [{name: self._answer(pipeline, X.parts[name]) for name, pipeline in each.items()} for each in self.sets_]

    def each_proba(self, X: Inputs) -> dict[str, Float32Array]:
        """Predict class probabilities of each member, the mean over all sets, shape (n_clips, n_classes) each."""
        sets = self.each_set(X)
        return {name: np.mean([answers[name] for answers in sets], axis=0) for name in sets[0]}

    def predict_proba(self, X: Inputs) -> NDArray[np.float32]:
        """Predict class probabilities, shape (n_clips, n_classes)."""
        return np.asarray(np.mean([self.combined(answers) for answers in self.each_set(X)], axis=0), dtype=np.float32)

    def combined(self, each: Mapping[str, Float32Array]) -> NDArray[np.float32]:
        """Combine the predictions of one set of members."""
        answers = [each[member.name] for member in self.options.members]
        if self.combiner_ is None:
            return np.asarray(np.mean(answers, axis=0), dtype=np.float32)
        return np.asarray(self.combiner_.predict_proba(np.hstack(answers)), dtype=np.float32)

    def parts(self, X: Inputs) -> dict[str, Float32Array]:
        """Predict class probabilities of each member, and their mean under the name :data:`AVERAGE`."""
        each = self.each_proba(X)
        return {**each, AVERAGE: np.mean(list(each.values()), axis=0)}

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the merged graph of all members, each with its own input, and the combiner."""
        fronts = spec.parts()
        graphs = [
            {name: graph_of(pipeline, fronts[name], baseline=False) for name, pipeline in members.items()}
            for members in self.sets_
        ]
        combiner = graph_of(self.combiner_, FeatureSpec("answers", 1, 0)) if self.combiner_ else None

        def reference(given: Arrays) -> Arrays:
            found = []
            for members in graphs:
                own = {name: {one: given[f"{name}.{one}"] for one in graph.inputs} for name, graph in members.items()}
                found.append(self.combined({name: members[name].reference(own[name])[OUTPUT] for name in members}))
            return {OUTPUT: np.mean(found, axis=0)}

        return Graph(merged(graphs, combiner), reference, origin="the stack")


def aligned(found: NDArray[Any], given: NDArray[Any], wanted: NDArray[Any]) -> Float32Array:
    """Reorder the columns of probabilities; classes that a member does not know get 0.

    Examples
    --------
    >>> aligned(np.array([[0.25, 0.75]]), np.array(["a", "c"]), np.array(["a", "b", "c"])).tolist()
    [[0.25, 0.0, 0.75]]
    """
    result = np.zeros((len(found), len(wanted)), dtype=np.float32)
    result[:, np.searchsorted(wanted, given)] = found
    return result


def _named(on_epoch: Callable[[Mapping[str, Any]], None], name: str, epoch: Mapping[str, Any]) -> None:
    """Report an epoch with the name of the member."""
    on_epoch({**epoch, "model": name})
