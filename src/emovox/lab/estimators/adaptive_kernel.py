"""Networks over embeddings, and a kernel machine over the distance from the speaker's baseline: the default head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor, nn

from emovox.lab.estimators.adaptive import ORDINARY, clip_weights, draw_baselines, draw_rows, logistic
from emovox.lab.estimators.adaptive_net import AdaptiveNetClassifier, AdaptiveNetHead, AdaptiveNetOptions
from emovox.lab.estimators.neural import class_weights
from emovox.lab.ranges import Count, Positive
from emovox.types import Float32Array


@dataclass(frozen=True)
class AdaptiveKernelOptions(AdaptiveNetOptions):
    """The networks as in `AdaptiveNetOptions`, and the machine that answers with them where the speaker is known.

    Attributes
    ----------
    landmarks : int
        Training distances that the machine compares a distance with.
    width : float
        How fast likeness falls: two distances are alike as exp(-width * their mean squared difference), in standard
        deviations.
    penalty : float
        Weight of half the squared length of the machine's coefficients against the mean loss.
    rows : int
        Clips and copies of one speaker that the machine is fitted on at most.
    share : float
        Weight of the networks against the machine for a recording that sounds like the training corpora; it falls to
        nothing as the recording sounds like none of them.
    guides : int
        Training clips and copies that a recording is held against for that.
    """

    landmarks: Count = 1000
    width: Positive = 0.6
    penalty: Positive = 1e-4
    rows: Count = 240
    share: Annotated[float, Ge(0), Le(1)] = 0.6
    guides: Count = 400


class KernelDistance(nn.Module):
    """Mean squared difference from stored rows.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        What inputs are compared with.
    """

    rows: Tensor
    squares: Tensor

    def __init__(self, rows: Float32Array) -> None:
        super().__init__()
        self.register_buffer("rows", torch.as_tensor(np.ascontiguousarray(rows.T)))
        self.register_buffer("squares", torch.as_tensor(np.square(rows).sum(axis=1)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Compare inputs, shape (n, n_features), with all rows; shape (n, n_rows)."""
        squares = (inputs * inputs).sum(dim=1, keepdim=True) + self.squares - 2 * torch.matmul(inputs, self.rows)
        return torch.relu(squares) / self.rows.shape[0]


class KernelMachine(nn.Module):
    """Kernel logistic regression with a radial kernel, on landmarks (Nystroem's approximation).

    Parameters
    ----------
    mean, scale : ndarray of float32, shape (n_features,)
        Statistics that inputs are standardised with.
    landmarks : ndarray of float32, shape (n_landmarks, n_features)
        Standardised inputs.
    width : float
        See `AdaptiveKernelOptions`.

    Source
    ------
    C. Williams and M. Seeger, "Using the Nystroem method to speed up kernel machines", NIPS 2000.
    """

    mean: Tensor
    scale: Tensor
    coefficients: Tensor
    intercepts: Tensor

    def __init__(self, mean: Float32Array, scale: Float32Array, landmarks: Float32Array, width: float) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("scale", torch.as_tensor(scale))
        self.likeness = KernelDistance(landmarks)

    def kernel(self, inputs: Tensor) -> Tensor:
        """KernelDistance, from 0 to 1, of inputs, shape (n, n_features), to all landmarks; shape (n, n_landmarks)."""
        return torch.exp(-self.width * self.likeness((inputs - self.mean) / self.scale))

    def learn(
        self,
        inputs: Float32Array,
        target: NDArray[np.int64],
        weight: Float32Array,
        counts: Float32Array,
        penalty: float,
    ) -> None:
        """Fit coefficients and intercepts; arguments as for `emovox.lab.estimators.adaptive.logistic`."""
        with torch.inference_mode():
            kernel = self.kernel(torch.from_numpy(inputs)).numpy()
            own = torch.exp(-self.width * self.likeness(self.likeness.rows.T)).numpy().astype(np.float64)
        values, vectors = eigh(own)
        kept = values > values[-1] * 1e-6
        whiten = vectors[:, kept] / np.sqrt(values[kept])
        found, intercepts = logistic((kernel @ whiten).astype(np.float32), target, weight, counts, penalty)
        self.register_buffer("coefficients", torch.as_tensor((whiten @ found).astype(np.float32)))
        self.register_buffer("intercepts", torch.as_tensor(intercepts))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs, shape (n, n_features), to logits, shape (n, n_classes)."""
        # A sum and no matrix product: the coefficients are large and cancel, which 8 bits would not survive.
        weighed = self.kernel(inputs).unsqueeze(2) * self.coefficients
        return weighed.sum(dim=1) + self.intercepts


class InDomainScore(nn.Module):
    """How much a recording sounds like the training corpora: near 1 for their rooms and microphones, near 0 for others.

    An embedding is in domain where its nearest guide lies within the 90th percentile of distances among the training
    speakers.

    Parameters
    ----------
    guides : ndarray of float32, shape (n_guides, n_features)
        Standardised embeddings.
    usual : float
        Mean squared difference of half familiarity.
    """

    def __init__(self, guides: Float32Array, usual: float) -> None:
        super().__init__()
        self.usual = usual
        self.likeness = KernelDistance(guides)

    def forward(self, scaled: Tensor) -> Tensor:
        """Map standardised embeddings, shape (n, n_features), to familiarity, shape (n, 1)."""
        nearest = self.likeness(scaled).amin(dim=1, keepdim=True)
        return torch.sigmoid(20 * (1 - nearest / self.usual))


class AdaptiveKernelClassifier(AdaptiveNetClassifier):
    """Networks over standardised embeddings, which a kernel machine over the distance from the baseline joins.

    What distance makes an emotion is much the same in every room and language; what embedding does is not.  So the
    machine sees the distance only, and answers alone for recordings unlike the training corpora.

    Parameters
    ----------
    options : AdaptiveKernelOptions
        Sizes and training.

    Attributes
    ----------
    machine_ : KernelMachine
        Distances, in standard deviations of the embedding, to logits.
    familiarity_ : InDomainScore
        What shares the answer between networks and machine.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile(["neutral", "sad"], 40), np.repeat(["ann", "bob"], 40)
    >>> X = (rng.normal(size=(80, 4)) + 3 * (y == "sad")[:, np.newaxis]).astype(np.float32)
    >>> model = AdaptiveKernelClassifier(AdaptiveKernelOptions(hidden=8, batch_size=16, epochs=40)).fit(X, y, speakers)
    >>> baseline = X[y == "neutral"].mean(axis=0)
    >>> far = X + 100  # another microphone, say
    >>> bool((model.predict_proba(far, baseline + 100).argmax(axis=1) == (y == "sad")).mean() > 0.9)
    True
    """

    def __init__(self, options: AdaptiveKernelOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
    ) -> AdaptiveKernelClassifier:
        """Train the networks, then the machine; arguments and errors as for `AdaptiveClassifier.fit`."""
        options: AdaptiveKernelOptions = self.options or AdaptiveKernelOptions()
        super().fit(X, y, speakers, corpora, copies)
        assert speakers is not None  # without them the networks were refused
        rng = np.random.default_rng([options.seed, options.members])
        views = X[np.newaxis] if copies is None else np.concatenate([X[np.newaxis], np.moveaxis(copies, 1, 0)])
        target = np.searchsorted(self.classes_, y)
        view, clip = draw_rows(speakers, len(views), options.rows, rng)
        baselines = draw_baselines(views, view, clip, speakers, y == ORDINARY, options.mixed, rng)
        scaled = self._scaled(views[view, clip])
        distance = scaled - self._scaled(baselines)
        chosen = rng.permutation(len(clip))
        mean, scale = distance.mean(axis=0), distance.std(axis=0) + np.float32(1e-6)
        landmarks = (distance[chosen[: options.landmarks]] - mean) / scale
        self.machine_ = KernelMachine(mean, scale, landmarks, options.width)
        weight = class_weights(target, len(self.classes_), corpora, options.absent)
        counts = clip_weights(target[clip], speakers[clip])
        self.machine_.learn(distance, target[clip], weight[clip], counts, options.penalty)
        self.familiarity_ = _familiarity(scaled, speakers[clip], chosen[: options.guides])
        return self

    def logits(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float64]:
        """Logarithms of the mean probabilities; arguments as for `AdaptiveClassifier.logits`."""
        networks = super().logits(X, baseline)
        if baseline is None:
            return networks
        options: AdaptiveKernelOptions = self.options or AdaptiveKernelOptions()
        scaled = torch.from_numpy(self._scaled(X))
        distance = scaled - torch.from_numpy(self._scaled(np.broadcast_to(baseline, X.shape)))
        with torch.inference_mode():
            share = options.share * self.familiarity_(scaled).numpy()
            machine = torch.softmax(self.machine_(distance), dim=1).numpy()
        return np.asarray(np.log(share * np.exp(networks) + (1 - share) * machine), dtype=np.float64)

    def head(self, embedder: nn.Module) -> nn.Module:
        """Return the module that becomes the graph, see `AdaptiveClassifier.head`."""
        return AdaptiveKernelHead(embedder, self)


class AdaptiveKernelHead(AdaptiveNetHead):
    """A fitted :class:`AdaptiveKernelClassifier` behind its encoder; parameters as for `AdaptiveHead`."""

    def __init__(self, embedder: nn.Module, fitted: AdaptiveKernelClassifier) -> None:
        super().__init__(embedder, fitted)
        options: AdaptiveKernelOptions = fitted.options or AdaptiveKernelOptions()
        self.share = options.share
        self.machine = fitted.machine_
        self.familiarity = fitted.familiarity_

    def answer(self, scaled: Tensor, distance: Tensor, known: Tensor) -> Tensor:
        """Share the answer between networks and machine; arguments as for `AdaptiveNetwork.forward`."""
        share = 1 - known * (1 - self.share * self.familiarity(scaled))
        machine = torch.softmax(self.machine(distance), dim=1)
        answer: Tensor = share * super().answer(scaled, distance, known) + (1 - share) * machine
        return answer


def _familiarity(scaled: Float32Array, speakers: NDArray[Any], guides: NDArray[np.intp]) -> InDomainScore:
    """Choose what is familiar: as near to another training speaker as nine in ten clips of most speakers are.

    Where nobody else is among the guides, it is as near to another clip.
    """
    with torch.inference_mode():
        apart = KernelDistance(scaled[guides])(torch.from_numpy(scaled)).numpy()
    own = speakers[:, np.newaxis] == speakers[guides]
    if own.all(axis=1).any():
        own = np.arange(len(scaled))[:, np.newaxis] == guides
    nearest = np.where(own, np.inf, apart).min(axis=1)
    usual = [float(np.quantile(nearest[speakers == one], 0.9)) for one in np.unique(speakers)]
    return InDomainScore(scaled[guides], float(np.median(usual)))
