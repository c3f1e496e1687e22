"""Linear classification of embeddings with and without a baseline of the speaker; base of all adaptive heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from emovox.errors import ProtocolError
from emovox.lab.encoders import embeddings
from emovox.lab.estimators.estimator import Estimator, Options
from emovox.lab.estimators.graphs import Graph, noise, traced
from emovox.lab.estimators.neural import class_weights
from emovox.lab.ranges import Count, Natural, Positive
from emovox.model.file import BASELINE, EMBEDDING, OUTPUT, SAMPLES
from emovox.types import FeatureSpec, Float32Array

#: Label of the clips from which baselines are computed in training.
ORDINARY = "neutral"


@dataclass(frozen=True)
class AdaptiveOptions(Options):
    """Options of the linear heads.

    Attributes
    ----------
    penalty : float
        L2 penalty: weight of half the squared norm of the coefficients relative to the mean loss.
    absent : float
        Prior weight of a class for clips whose corpus lacks it, from 0 to 1; see `AnnOptions.absent`.
    draws : int
        Number of random baselines per clip and copy in the training of the head with baseline.
    mixed : float
        Fraction of the baselines computed from clips of any emotion (unlabelled everyday speech); the others are
        computed from neutral clips.
    max_per_speaker : int
        Maximum number of clips and copies per speaker, drawn at random; all speakers have the same total weight.
    iterations : int
        Maximum number of iterations of L-BFGS.
    seed : int
        Seed of the random baselines.
    """

    penalty: Positive = 0.3
    absent: Annotated[float, Gt(0), Le(1)] = 0.1
    draws: Count = 1
    mixed: Annotated[float, Ge(0), Le(1)] = 0.3
    max_per_speaker: Count = 600
    iterations: Count = 100
    seed: Natural = 0


class AdaptiveClassifier(Estimator):
    """Multinomial logistic regression on standardised embeddings: one head without and one with a baseline.

    The input of the second head is the embedding and its difference from the *baseline* of the speaker, the mean
    embedding of some ordinary speech.  All speakers have the same weight in the loss, and all classes of a speaker.

    Parameters
    ----------
    options : AdaptiveOptions
        Penalty and baselines.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    plain_, enrolled_ : tuple of ndarray
        Coefficients, shape (n_inputs, n_classes), and intercepts of the heads without and with baseline.
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

    needs: ClassVar[tuple[str, ...]] = ("speakers", "corpora", "copies")
    standardises = True
    takes_baseline = True

    def __init__(self, options: AdaptiveOptions | None = None) -> None:
        self.options: Any = options

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
    ) -> AdaptiveClassifier:
        """Fit both heads.

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Embeddings.
        y : ndarray, shape (n_clips,)
            Labels.
        speakers : ndarray, shape (n_clips,)
            Speakers; required.
        corpora : ndarray, shape (n_clips,), optional
            Corpus of each clip; see `AdaptiveOptions.absent` for the classes that it lacks.
        copies : ndarray of float32, shape (n_clips, n_copies, n_features), optional
            Embeddings of augmented copies, used like the clips.

        Raises
        ------
        ProtocolError
            The speakers are unknown.
        """
        options: AdaptiveOptions = self.options or AdaptiveOptions()
        if speakers is None:
            raise ProtocolError(
                "this model learns how voices differ, and these clips have no speakers: "
                'give a speaker column, or choose another family, for example model.family="ann"'
            )
        rng = np.random.default_rng(options.seed)
        target, views = self._standardise(X, y, copies)
        weight = class_weights(target, len(self.classes_), corpora, options.absent)
        self.plain_ = self._head(
            *draw_rows(speakers, len(views), options.max_per_speaker, rng), views, target, weight, speakers
        )
        drawn = [draw_rows(speakers, len(views), options.max_per_speaker, rng) for _ in range(options.draws)]
        view, clip = (np.concatenate(each) for each in zip(*drawn, strict=True))
        ordinary = y == ORDINARY
        baselines = draw_baselines(views, view, clip, speakers, ordinary, options.mixed, rng)
        self.enrolled_ = self._head(view, clip, views, target, weight, speakers, baselines)
        return self

    def _standardise(
        self, X: Float32Array, y: NDArray[Any], copies: Float32Array | None
    ) -> tuple[NDArray[np.int64], Float32Array]:
        """Compute classes and statistics; return class indices and views, shape (n_views, n_clips, n_features)."""
        self.classes_, target = np.unique(y, return_inverse=True)
        self.n_features_in_ = X.shape[1]
        views = X[np.newaxis] if copies is None else np.concatenate([X[np.newaxis], np.moveaxis(copies, 1, 0)])
        self.mean_ = views.mean(axis=(0, 1))
        self.scale_ = np.mean([view.std(axis=0) for view in views], axis=0) + np.float32(1e-6)
        return target, views

    def _head(
        self,
        view: NDArray[np.intp],
        clip: NDArray[np.intp],
        views: Float32Array,
        target: NDArray[np.int64],
        weight: Float32Array,
        speakers: NDArray[Any],
        baselines: Float32Array | None = None,
    ) -> tuple[Float32Array, Float32Array]:
        """Fit one head on some views of some clips, with baselines if given."""
        options: AdaptiveOptions = self.options or AdaptiveOptions()
        scaled = self._scaled(views[view, clip])
        inputs = scaled if baselines is None else np.hstack([scaled, scaled - self._scaled(baselines)])
        counts = clip_weights(target[clip], speakers[clip])
        return logistic(inputs, target[clip], weight[clip], counts, options.penalty, options.iterations)

    def _scaled(self, X: Float32Array) -> Float32Array:
        return np.asarray((X - self.mean_) / self.scale_, dtype=np.float32)

    def logits(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float64]:
        """Compute logits, shape (n_clips, n_classes).

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
        return np.asarray(both @ self.enrolled_[0] + self.enrolled_[1], dtype=np.float64)

    def predict_proba(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float32]:
        """Predict class probabilities, shape (n_clips, n_classes); arguments as for :meth:`logits`."""
        return np.asarray(torch.softmax(torch.from_numpy(self.logits(X, baseline)), dim=1), dtype=np.float32)

    def encoder(self, spec: FeatureSpec) -> nn.Module:
        """Return the encoder that computes the embeddings."""
        return embeddings.embedder(spec.set, **spec.parameters)

    def head(self, embedder: nn.Module) -> nn.Module:
        """Return the module to export: from samples and baseline to probabilities and embedding.

        Parameters
        ----------
        embedder : Module
            Encoder from samples, shape (n, t), to embeddings, shape (n, n_features).
        """
        return AdaptiveHead(embedder, self)

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the graph from samples, and the baseline of the speaker, to probabilities; see `Estimator.graph`."""
        head, samples, origin = self.head(self.encoder(spec)), noise(2, 1.0), "its origin"
        if not baseline:
            return traced(WithoutBaseline(head, self.n_features_in_), (samples,), [SAMPLES], [OUTPUT], origin)
        unknown = np.zeros((2, self.n_features_in_), dtype=np.float32)
        return traced(head, (samples, unknown), [SAMPLES, BASELINE], [OUTPUT, EMBEDDING], origin)


class AdaptiveHead(nn.Module):
    """A fitted :class:`AdaptiveClassifier` with its encoder: the exported graph.

    Parameters
    ----------
    embedder : Module
        Encoder from samples, shape (n, t), to embeddings, shape (n, n_features).
    fitted : AdaptiveClassifier
        Classifier whose heads are copied.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, embedder: nn.Module, fitted: AdaptiveClassifier) -> None:
        super().__init__()
        self.embedder = embedder
        self.register_buffer("mean", torch.as_tensor(fitted.mean_, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(fitted.scale_, dtype=torch.float32))
        self.plain, self.enrolled = _linear(fitted.plain_), _linear(fitted.enrolled_)

    def forward(self, samples: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, shape (n, n_classes), and embeddings; a baseline of zeros means an unknown speaker."""
        embedding = self.embedder(samples)
        scaled = (embedding - self.mean) / self.scale
        distance = scaled - (baseline - self.mean) / self.scale
        enrolled = self.enrolled(torch.cat([scaled, distance], dim=1))
        known = baseline.abs().amax(dim=1, keepdim=True) > 0
        return torch.softmax(torch.where(known, enrolled, self.plain(scaled)), dim=1), embedding


class WithoutBaseline(nn.Module):
    """A head without the input of the baseline.

    Parameters
    ----------
    head : Module
        Module from samples and baseline to probabilities and embedding.
    width : int
        Width of the baseline.
    """

    def __init__(self, head: nn.Module, width: int) -> None:
        super().__init__()
        self.head, self.width = head, width

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples, shape (n, t), to probabilities, shape (n, n_classes)."""
        probabilities: Tensor = self.head(samples, torch.zeros_like(samples[:, :1]).repeat(1, self.width))[0]
        return probabilities


def clip_weights(target: NDArray[np.int64], speakers: NDArray[Any]) -> Float32Array:
    """Return sample weights that balance speakers, and classes within a speaker; their mean is 1.

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
    X: Float32Array,
    target: NDArray[np.int64],
    weight: Float32Array,
    counts: Float32Array,
    penalty: float,
    iterations: int = 100,
) -> tuple[Float32Array, Float32Array]:
    """Fit multinomial logistic regression with L-BFGS.

    Parameters
    ----------
    X : ndarray of float32, shape (n, n_inputs)
        Standardised inputs.
    target : ndarray of int, shape (n,)
        Class indices.
    weight : ndarray of float32, shape (n, n_classes)
        Class weights of each row (logit adjustment, as in `WeightedCrossEntropy`).
    counts : ndarray of float32, shape (n,)
        Sample weights, 1 on average.
    penalty : float
        L2 penalty: weight of half the squared norm of the coefficients relative to the mean loss.
    iterations : int, default 100
        Maximum number of iterations.

    Returns
    -------
    coefficients : ndarray of float32, shape (n_inputs, n_classes)
    intercepts : ndarray of float32, shape (n_classes,)
    """
    n, classes = len(X), weight.shape[1]
    prior, rows = np.log(weight), np.arange(n)
    share = (counts / n).astype(np.float32)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = parameters.reshape(-1, classes).astype(np.float32)
        # Both products read the large matrix along its rows: ten times faster than X @ W and X.T @ G.
        logits = (both[:-1].T @ X.T).T + both[-1] + prior
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        total = powers.sum(axis=1)
        value = float(share @ (np.log(total) - logits[rows, target]))
        gradient = powers * (share / total)[:, np.newaxis]
        gradient[rows, target] -= share
        slope = np.vstack([(gradient.T @ X).T + penalty * both[:-1], gradient.sum(axis=0)])
        return value + penalty / 2 * float(np.square(both[:-1]).sum()), slope.ravel().astype(np.float64)

    with threadpool_limits(limits=1):
        found, _, _ = fmin_l_bfgs_b(loss, np.zeros((X.shape[1] + 1) * classes), maxiter=iterations, factr=1e9)
    both = found.reshape(-1, classes).astype(np.float32)
    return both[:-1], both[-1]


def draw_rows(
    speakers: NDArray[Any], n_views: int, max_per_speaker: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw at most `max_per_speaker` clips and copies of each speaker; return indices of views and of clips."""
    chosen = []
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        view, clip = np.divmod(np.arange(n_views * len(own)), len(own))
        kept: Any = slice(None)
        if len(view) > max_per_speaker:
            kept = np.sort(rng.choice(len(view), max_per_speaker, replace=False))
        chosen.append((view[kept], own[clip[kept]]))
    view, clip = (np.concatenate(each) for each in zip(*chosen, strict=True))
    return view, clip


def draw_baselines(
    views: Float32Array,
    view: NDArray[np.intp],
    clip: NDArray[np.intp],
    speakers: NDArray[Any],
    ordinary: NDArray[np.bool_],
    mixed: float,
    rng: np.random.Generator,
) -> Float32Array:
    """Draw a baseline for each row: the mean of one to three other neutral clips of its speaker in the same view.

    With probability `mixed`, or without neutral clips, it is the mean of one to six clips of any emotion; without other
    clips it is the clip itself.
    """
    pools = {}
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        pools[speaker] = own, own[ordinary[own]]
    result = np.empty((len(clip), views.shape[2]), dtype=np.float32)
    for row, (number, this) in enumerate(zip(view, clip, strict=True)):
        own, neutral = pools[speakers[this]]
        pool, largest = (own, 6) if rng.random() < mixed or not len(neutral) else (neutral, 3)
        others = pool[pool != this]
        others = others if len(others) else np.array([this])
        size = min(len(others), int(rng.integers(1, largest + 1)))
        result[row] = views[number, rng.choice(others, size, replace=False)].mean(axis=0)
    return result


def _linear(head: tuple[Float32Array, Float32Array]) -> nn.Linear:
    """Build a linear layer from coefficients and intercepts."""
    coefficients, intercepts = head
    layer = nn.Linear(*coefficients.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(coefficients.T))
        layer.bias.copy_(torch.as_tensor(intercepts))
    return layer
