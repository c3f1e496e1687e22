"""Linear classification of embeddings, with and without a speaker's baseline: the head of the default model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor, nn

from emovox.errors import ProtocolError
from emovox.models.networks import single_thread
from emovox.models.neural import class_weights
from emovox.models.ranges import FORBID, Count, Natural, Positive

Float = NDArray[np.float32]

#: Label of a speaker's ordinary voice.
ORDINARY = "neutral"


@dataclass(frozen=True)
class AdaptiveOptions:
    """The linear heads and how they are fitted.

    Attributes
    ----------
    penalty : float
        Weight of half the squared length of a head's coefficients against the mean loss.
    absent : float
        How much a class still counts for clips of a corpus that lacks it, from 0 to 1; see `AnnOptions.absent`.
    draws : int
        Baselines drawn for each clip and copy while the head that knows the speaker is fitted.
    mixed : float
        Share of those baselines that are of clips of any emotion, as in ordinary running speech; the others are of
        neutral clips.
    iterations : int
        Most steps of L-BFGS.
    seed : int
        Seed of the drawn baselines.
    """

    __pydantic_config__ = FORBID

    penalty: Positive = 0.3
    absent: Annotated[float, Gt(0), Le(1)] = 0.1
    draws: Count = 1
    mixed: Annotated[float, Ge(0), Le(1)] = 0.3
    iterations: Count = 150
    seed: Natural = 0


class AdaptiveClassifier(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression on standardised embeddings, and a second one that knows the speaker.

    The second head sees the embedding and its distance from the speaker's *baseline*, the mean embedding of some
    ordinary speech.  Every speaker counts the same in the loss, and within a speaker every class.

    Parameters
    ----------
    options : AdaptiveOptions
        Penalty and baselines.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    plain_, knowing_ : tuple of ndarray
        Coefficients, shape (n_inputs, n_classes), and intercepts of the two heads.
    mean_, scale_ : ndarray, shape (n_features,)
        Statistics of the training embeddings and their copies.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["neutral", "sad"], 20)
    >>> speakers = np.repeat(["ann", "bob"], 20)
    >>> voice = np.where(speakers == "ann", 3.0, -3.0)  # hides the emotion
    >>> X = rng.normal(size=(40, 2)).astype(np.float32) / 4
    >>> X[:, 0] += voice + (y == "sad")
    >>> X[:, 1] += voice
    >>> model = AdaptiveClassifier(AdaptiveOptions(penalty=0.01)).fit(X, y, speakers)
    >>> baseline = X[(speakers == "ann") & (y == "neutral")].mean(axis=0)
    >>> model.predict_proba(X[:2], baseline).argmax(axis=1).tolist()
    [0, 1]
    """

    def __init__(self, options: AdaptiveOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: Float,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float | None = None,
    ) -> AdaptiveClassifier:
        """Fit both heads.

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Embeddings.
        y : ndarray, shape (n_clips,)
            Labels.
        speakers : ndarray, shape (n_clips,)
            Speakers: a baseline belongs to one.
        corpora : ndarray, shape (n_clips,), optional
            Corpus of each clip; the classes it lacks count as `AdaptiveOptions.absent` says.
        copies : ndarray of float32, shape (n_clips, n_copies, n_features), optional
            Embeddings of augmented copies, trained on like the clips themselves.

        Raises
        ------
        ProtocolError
            The speakers are not known.
        """
        options = self.options or AdaptiveOptions()
        if speakers is None:
            raise ProtocolError(
                "this model learns how voices differ, and these clips have no speakers: "
                'give a speaker column, or choose another family, for example model.family="ann"'
            )
        self.classes_, target = np.unique(y, return_inverse=True)
        self.n_features_in_ = X.shape[1]
        views = [X] if copies is None else [X, *np.moveaxis(copies, 1, 0)]
        self.mean_ = np.mean([view.mean(axis=0) for view in views], axis=0)
        spread = np.mean([np.square(view - self.mean_).mean(axis=0) for view in views], axis=0)
        self.scale_ = np.sqrt(spread) + np.float32(1e-6)
        weight = class_weights(target, len(self.classes_), corpora, options.absent)
        counts = clip_weights(target, speakers)
        rng = np.random.default_rng(options.seed)
        scaled = [self._scaled(view) for view in views]
        pairs = [
            np.concatenate([view, view - self._baselines(view, y, speakers, options.mixed, rng)], axis=1)
            for view in scaled
            for _ in range(options.draws)
        ]
        self.plain_ = logistic(np.concatenate(scaled), target, weight, counts, options)
        self.knowing_ = logistic(np.concatenate(pairs), target, weight, counts, options)
        return self

    def _scaled(self, X: Float) -> Float:
        return np.asarray((X - self.mean_) / self.scale_, dtype=np.float32)

    @staticmethod
    def _baselines(X: Float, y: NDArray[Any], speakers: NDArray[Any], mixed: float, rng: np.random.Generator) -> Float:
        """Draw a baseline for each clip out of the other clips of its speaker: one to three neutral ones, or any few.

        A speaker without other neutral clips gives any; one without other clips gives the clip itself.
        """
        result = np.empty_like(X)
        for speaker in np.unique(speakers):
            own = np.flatnonzero(speakers == speaker)
            ordinary = own[y[own] == ORDINARY]
            for row in own:
                pool, most = (own, 6) if rng.random() < mixed or not len(ordinary) else (ordinary, 3)
                others = pool[pool != row]
                others = others if len(others) else np.array([row])
                size = min(len(others), int(rng.integers(1, most + 1)))
                result[row] = X[rng.choice(others, size, replace=False)].mean(axis=0)
        return result

    def logits(self, X: Float, baseline: Float | None = None) -> NDArray[np.float64]:
        """Unscaled log-probabilities, shape (n_clips, n_classes).

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Embeddings.
        baseline : ndarray of float32, shape (n_features,) or (n_clips, n_features), optional
            Mean embedding of the speaker's ordinary speech.
        """
        scaled = self._scaled(X)
        if baseline is None:
            return np.asarray(scaled @ self.plain_[0] + self.plain_[1], dtype=np.float64)
        known = self._scaled(np.broadcast_to(baseline, X.shape))
        both = np.concatenate([scaled, scaled - known], axis=1)
        return np.asarray(both @ self.knowing_[0] + self.knowing_[1], dtype=np.float64)

    def predict_proba(self, X: Float, baseline: Float | None = None) -> NDArray[np.float32]:
        """Class probabilities, shape (n_clips, n_classes); arguments as for :meth:`logits`."""
        return torch.softmax(torch.from_numpy(self.logits(X, baseline)), dim=1).numpy().astype(np.float32)

    def predict(self, X: Float) -> NDArray[Any]:
        """Most probable label of each clip."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class AdaptiveHead(nn.Module):
    """A fitted :class:`AdaptiveClassifier` behind its encoder: the graph that ships.

    Parameters
    ----------
    embedder : Module
        Samples, shape (n, t), to embeddings, shape (n, n_features).
    fitted : AdaptiveClassifier
        Its heads are copied.
    order : sequence of int
        Which of its classes is each output.
    temperatures : tuple of float
        Calibration of the plain and of the knowing head, see `emovox.decision.temper`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, embedder: nn.Module, fitted: AdaptiveClassifier, order: list[int], temperatures: tuple[float, float]
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.register_buffer("mean", torch.as_tensor(fitted.mean_, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(fitted.scale_, dtype=torch.float32))
        self.plain = _linear(*fitted.plain_, order, temperatures[0])
        self.knowing = _linear(*fitted.knowing_, order, temperatures[1])

    def forward(self, samples: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, shape (n, n_classes), and embeddings; a baseline of zeros is none."""
        embedding = self.embedder(samples)
        scaled = (embedding - self.mean) / self.scale
        distance = scaled - (baseline - self.mean) / self.scale
        knowing = self.knowing(torch.cat([scaled, distance], dim=1))
        known = baseline.abs().amax(dim=1, keepdim=True) > 0
        return torch.softmax(torch.where(known, knowing, self.plain(scaled)), dim=1), embedding


def clip_weights(target: NDArray[np.int64], speakers: NDArray[Any]) -> Float:
    """Weigh clips so that each speaker counts the same, and each class within a speaker; the mean weight is 1.

    Examples
    --------
    >>> clip_weights(np.array([0, 0, 1, 0]), np.array(["ann", "ann", "ann", "bob"])).tolist()
    [0.5, 0.5, 1.0, 2.0]
    """
    weight = np.zeros(len(target))
    for speaker in np.unique(speakers):
        own = speakers == speaker
        classes, counts = np.unique(target[own], return_counts=True)
        for label, count in zip(classes, counts, strict=True):
            weight[own & (target == label)] = 1 / (len(classes) * count)
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def logistic(
    X: Float, target: NDArray[np.int64], weight: Float, counts: Float, options: AdaptiveOptions
) -> tuple[Float, Float]:
    """Fit multinomial logistic regression with L-BFGS; return coefficients and intercepts.

    Parameters
    ----------
    X : ndarray of float32, shape (n_views * n, n_inputs)
        Standardised inputs: all clips, then all clips again in another view, and so on.
    target : ndarray of int, shape (n,)
        Class indices.
    weight : ndarray of float32, shape (n, n_classes)
        How much each class counts for each clip (logit adjustment, as in `WeighedCrossEntropy`).
    counts : ndarray of float32, shape (n,)
        How much each clip counts.
    options : AdaptiveOptions
        Penalty and iterations.
    """
    views = len(X) // len(target)
    inputs, wanted = torch.from_numpy(X), torch.from_numpy(np.tile(target, views))
    rows, prior = torch.from_numpy(np.tile(counts, views)), torch.from_numpy(np.log(np.tile(weight, (views, 1))))
    coefficients = torch.zeros(X.shape[1], weight.shape[1], requires_grad=True)
    intercepts = torch.zeros(weight.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [coefficients, intercepts],
        max_iter=options.iterations,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        each = nn.functional.cross_entropy(inputs @ coefficients + intercepts + prior, wanted, reduction="none")
        total = (each * rows).mean() + options.penalty / 2 * coefficients.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with single_thread():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return coefficients.detach().numpy(), intercepts.detach().numpy()


def _linear(coefficients: Float, intercepts: Float, order: list[int], temperature: float) -> nn.Linear:
    """Make a layer of a head, with its outputs in order and its calibration inside."""
    layer = nn.Linear(*coefficients.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(coefficients.T[order] / temperature))
        layer.bias.copy_(torch.as_tensor(intercepts[order] / temperature))
    return layer
