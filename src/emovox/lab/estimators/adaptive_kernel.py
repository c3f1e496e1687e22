"""Networks over embeddings, and kernel logistic regression on the difference from the baseline: the default head."""

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
    """Options of the networks, see `AdaptiveNetOptions`, and of the kernel machine for enrolled speakers.

    Attributes
    ----------
    landmarks : int
        Number of landmarks of the Nystroem approximation, drawn from the training data.
    width : float
        Width of the RBF kernel, exp(-width * mean squared difference) of standardised inputs.
    penalty : float
        L2 penalty of the kernel machine: weight of half the squared norm of the coefficients relative to the mean loss.
    rows : int
        Maximum number of clips and copies per speaker in the training of the kernel machine.
    share : float
        Weight of the networks relative to the kernel machine for in-domain recordings; it is multiplied by the
        in-domain score.
    guides : int
        Number of training clips and copies that represent the training domain.
    """

    landmarks: Count = 1000
    width: Positive = 0.6
    penalty: Positive = 1e-4
    rows: Count = 240
    share: Annotated[float, Ge(0), Le(1)] = 0.6
    guides: Count = 400


class KernelDistance(nn.Module):
    """Mean squared difference between inputs and stored rows.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        Stored rows.
    """

    rows: Tensor
    squares: Tensor

    def __init__(self, rows: Float32Array) -> None:
        super().__init__()
        self.register_buffer("rows", torch.as_tensor(np.ascontiguousarray(rows.T)))
        self.register_buffer("squares", torch.as_tensor(np.square(rows).sum(axis=1)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs, shape (n, n_features), to mean squared differences, shape (n, n_rows)."""
        squares = (inputs * inputs).sum(dim=1, keepdim=True) + self.squares - 2 * torch.matmul(inputs, self.rows)
        return torch.relu(squares) / self.rows.shape[0]


class KernelMachine(nn.Module):
    """Kernel logistic regression with an RBF kernel and the Nystroem approximation.

    Parameters
    ----------
    mean, scale : ndarray of float32, shape (n_features,)
        Statistics for the standardisation of inputs.
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
        self.distance = KernelDistance(landmarks)

    def kernel(self, inputs: Tensor) -> Tensor:
        """Map inputs, shape (n, n_features), to kernel values with all landmarks in (0, 1], shape (n, n_landmarks)."""
        return torch.exp(-self.width * self.distance((inputs - self.mean) / self.scale))

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
            own = torch.exp(-self.width * self.distance(self.distance.rows.T)).numpy().astype(np.float64)
        values, vectors = eigh(own)
        kept = values > values[-1] * 1e-6
        whiten = vectors[:, kept] / np.sqrt(values[kept])
        found, intercepts = logistic((kernel @ whiten).astype(np.float32), target, weight, counts, penalty)
        self.register_buffer("coefficients", torch.as_tensor((whiten @ found).astype(np.float32)))
        self.register_buffer("intercepts", torch.as_tensor(intercepts))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs, shape (n, n_features), to logits, shape (n, n_classes)."""
        # A sum instead of a matrix product, which would be quantised: the coefficients are large and cancel.
        weighed = self.kernel(inputs).unsqueeze(2) * self.coefficients
        return weighed.sum(dim=1) + self.intercepts


class InDomainScore(nn.Module):
    """In-domain score in (0, 1): near 1 for recordings like the training corpora, near 0 for other recordings.

    An embedding is in domain if its distance to the nearest guide is within the 90th percentile of the distances
    between training speakers.

    Parameters
    ----------
    guides : ndarray of float32, shape (n_guides, n_features)
        Standardised embeddings of training clips.
    usual : float
        Mean squared difference at which the score is 0.5.
    """

    def __init__(self, guides: Float32Array, usual: float) -> None:
        super().__init__()
        self.usual = usual
        self.distance = KernelDistance(guides)

    def forward(self, scaled: Tensor) -> Tensor:
        """Map standardised embeddings, shape (n, n_features), to scores, shape (n, 1)."""
        nearest = self.distance(scaled).amin(dim=1, keepdim=True)
        return torch.sigmoid(20 * (1 - nearest / self.usual))


class AdaptiveKernelClassifier(AdaptiveNetClassifier):
    """Networks over standardised embeddings, combined with a kernel machine on the difference from the baseline.

    Differences from the baseline depend less on room, microphone and language than embeddings.  Therefore the kernel
    machine uses the difference only, and its weight increases for recordings unlike the training corpora.

    Parameters
    ----------
    options : AdaptiveKernelOptions
        Sizes and training.

    Attributes
    ----------
    machine_ : KernelMachine
        Kernel machine from differences, in standard deviations of the embedding, to logits.
    in_domain_ : InDomainScore
        Weight of the networks relative to the kernel machine.

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
        """Train the networks, then the kernel machine; arguments and errors as for `AdaptiveClassifier.fit`."""
        options: AdaptiveKernelOptions = self.options or AdaptiveKernelOptions()
        super().fit(X, y, speakers, corpora, copies)
        assert speakers is not None  # checked in super().fit
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
        self.in_domain_ = _in_domain(scaled, speakers[clip], chosen[: options.guides])
        return self

    def logits(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float64]:
        """Compute the logarithms of the mean probabilities; arguments as for `AdaptiveClassifier.logits`."""
        networks = super().logits(X, baseline)
        if baseline is None:
            return networks
        options: AdaptiveKernelOptions = self.options or AdaptiveKernelOptions()
        scaled = torch.from_numpy(self._scaled(X))
        distance = scaled - torch.from_numpy(self._scaled(np.broadcast_to(baseline, X.shape)))
        with torch.inference_mode():
            share = options.share * self.in_domain_(scaled).numpy()
            machine = torch.softmax(self.machine_(distance), dim=1).numpy()
        return np.asarray(np.log(share * np.exp(networks) + (1 - share) * machine), dtype=np.float64)

    def head(self, embedder: nn.Module) -> nn.Module:
        """Return the module to export, see `AdaptiveClassifier.head`."""
        return AdaptiveKernelHead(embedder, self)


class AdaptiveKernelHead(AdaptiveNetHead):
    """A fitted :class:`AdaptiveKernelClassifier` with its encoder; parameters as for `AdaptiveHead`."""

    def __init__(self, embedder: nn.Module, fitted: AdaptiveKernelClassifier) -> None:
        super().__init__(embedder, fitted)
        options: AdaptiveKernelOptions = fitted.options or AdaptiveKernelOptions()
        self.share = options.share
        self.machine = fitted.machine_
        self.in_domain = fitted.in_domain_

    def answer(self, scaled: Tensor, distance: Tensor, known: Tensor) -> Tensor:
        """Return the weighted mean of networks and kernel machine; arguments as for `AdaptiveNetwork.forward`."""
        share = 1 - known * (1 - self.share * self.in_domain(scaled))
        machine = torch.softmax(self.machine(distance), dim=1)
        answer: Tensor = share * super().answer(scaled, distance, known) + (1 - share) * machine
        return answer


def _in_domain(scaled: Float32Array, speakers: NDArray[Any], guides: NDArray[np.intp]) -> InDomainScore:
    """Fit the in-domain score: median over speakers of the 90th percentile of distances to other speakers' guides.

    If all guides are of one speaker, distances to other clips are used.
    """
    with torch.inference_mode():
        apart = KernelDistance(scaled[guides])(torch.from_numpy(scaled)).numpy()
    own = speakers[:, np.newaxis] == speakers[guides]
    if own.all(axis=1).any():
        own = np.arange(len(scaled))[:, np.newaxis] == guides
    nearest = np.where(own, np.inf, apart).min(axis=1)
    usual = [float(np.quantile(nearest[speakers == one], 0.9)) for one in np.unique(speakers)]
    return InDomainScore(scaled[guides], float(np.median(usual)))
