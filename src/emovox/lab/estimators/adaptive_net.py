"""A small network over embeddings with or without a baseline of the speaker; base of the built-in model's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from emovox.errors import ProtocolError
from emovox.lab.estimators.adaptive import ORDINARY, AdaptiveClassifier, clip_weights, draw_baselines, draw_rows
from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.neural import WeightedCrossEntropy, class_weights
from emovox.lab.ranges import Count, Natural, NotNegative, Positive, Share
from emovox.lab.threads import single_thread
from emovox.types import Float32Array


@dataclass(frozen=True)
class AdaptiveNetOptions(Options):
    """Options of the network and its training.

    Attributes
    ----------
    hidden : int
        Units of the hidden layer.
    members : int
        Number of networks with different seeds whose probabilities are averaged.
    dropout, input_dropout : float
        Dropout probability of hidden units, and of inputs.
    known : float
        Fraction of the clips with a baseline in training.
    mixed : float
        Fraction of the baselines computed from clips of any emotion (unlabelled everyday speech); the others are
        computed from neutral clips.
    max_per_speaker : int
        Maximum number of clips and copies per speaker and epoch, drawn for each epoch; speakers have equal weight.
    absent : float
        Prior weight of a class for clips whose corpus lacks it, from 0 to 1; see `AnnOptions.absent`.
    label_smoothing : float
        Fraction of each target that is distributed over the classes of the clip's corpus.
    learning_rate, weight_decay : float
        Maximum learning rate, reached after a fifth of the training, and decoupled weight decay of AdamW.
    batch_size, epochs : int
        Clips per step; passes over the training clips.
    seed : int
        Seed of initial weights, batches, dropout and baselines.
    """

    hidden: Count = 256
    members: Count = 2
    dropout: Share = 0.5
    input_dropout: Share = 0.3
    known: Annotated[float, Ge(0), Le(1)] = 0.5
    mixed: Annotated[float, Ge(0), Le(1)] = 0.25
    max_per_speaker: Count = 480
    absent: Annotated[float, Ge(0), Le(1)] = 0.1
    label_smoothing: Share = 0.05
    learning_rate: Positive = 1.5e-3
    weight_decay: NotNegative = 0.05
    batch_size: Count = 96
    epochs: Count = 8
    seed: Natural = 0


class AdaptiveNetwork(nn.Module):
    """One hidden layer over an embedding, its difference from the baseline, and a flag for the baseline.

    Parameters
    ----------
    n_features, n_classes : int
        Width of the embedding, and number of classes.
    options : AdaptiveNetOptions
        Units and dropout.
    """

    def __init__(self, n_features: int, n_classes: int, options: AdaptiveNetOptions) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(options.input_dropout),
            nn.Linear(2 * n_features + 1, options.hidden),
            nn.BatchNorm1d(options.hidden),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, n_classes),
        )

    def forward(self, scaled: Tensor, distance: Tensor, known: Tensor) -> Tensor:
        """Map standardised embeddings and distances, (n, n_features), and flags, (n, 1), to logits, (n, n_classes)."""
        logits: Tensor = self.layers(torch.cat([scaled, distance * known, known], dim=1))
        return logits


class AdaptiveNetClassifier(AdaptiveClassifier):
    """Networks over standardised embeddings, trained with and without a baseline of the speaker.

    Parameters
    ----------
    options : AdaptiveNetOptions
        Sizes and training.

    Attributes
    ----------
    members_ : list of AdaptiveNetwork
        The fitted networks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile(["neutral", "sad"], 40), np.repeat(["ann", "bob"], 40)
    >>> X = (rng.normal(size=(80, 4)) + 3 * (y == "sad")[:, np.newaxis]).astype(np.float32)
    >>> model = AdaptiveNetClassifier(AdaptiveNetOptions(hidden=8, batch_size=16, epochs=40)).fit(X, y, speakers)
    >>> bool((model.predict(X) == y).mean() > 0.9)
    True
    """

    def __init__(self, options: AdaptiveNetOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
    ) -> AdaptiveNetClassifier:
        """Train all networks; arguments and errors as for `AdaptiveClassifier.fit`."""
        options: AdaptiveNetOptions = self.options or AdaptiveNetOptions()
        if speakers is None:
            raise ProtocolError(
                "this model learns how voices differ, and these clips have no speakers: "
                'give a speaker column, or choose another family, for example model.family="ann"'
            )
        target, views = self._standardise(X, y, copies)
        weight = class_weights(target, len(self.classes_), corpora, options.absent)
        ordinary = y == ORDINARY
        with single_thread():
            self.members_ = [
                self._train(views, target, weight, speakers, ordinary, [options.seed, index])
                for index in range(options.members)
            ]
        return self

    def _train(
        self,
        views: Float32Array,
        target: NDArray[np.int64],
        weight: Float32Array,
        speakers: NDArray[Any],
        ordinary: NDArray[np.bool_],
        seed: Sequence[int],
    ) -> AdaptiveNetwork:
        """Train one network."""
        options: AdaptiveNetOptions = self.options or AdaptiveNetOptions()
        rng = np.random.default_rng(seed)
        torch.manual_seed(int(rng.integers(2**31)))
        network = AdaptiveNetwork(views.shape[2], len(self.classes_), options)
        optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        n_rows = len(draw_rows(speakers, len(views), options.max_per_speaker, rng)[0])
        size = min(options.batch_size, n_rows)
        # With fewer than ten steps the rise over a fifth of them would be empty.
        steps = max(10, options.epochs * (n_rows // size) + 1)
        schedule = OneCycleLR(optimiser, options.learning_rate, total_steps=steps, pct_start=0.2)
        criterion = WeightedCrossEntropy(options.label_smoothing)
        for _ in range(options.epochs):
            view, clip = draw_rows(speakers, len(views), options.max_per_speaker, rng)
            baselines = draw_baselines(views, view, clip, speakers, ordinary, options.mixed, rng)
            counts = torch.from_numpy(clip_weights(target[clip], speakers[clip]))
            order = rng.permutation(n_rows)[: n_rows // size * size]
            for batch in order.reshape(-1, size):
                chosen = clip[batch]
                scaled = torch.from_numpy(self._scaled(views[view[batch], chosen]))
                distance = scaled - torch.from_numpy(self._scaled(baselines[batch]))
                known = torch.from_numpy((rng.random((size, 1)) < options.known).astype(np.float32))
                output = network(scaled, distance, known), torch.from_numpy(weight[chosen])
                loss = criterion(output, torch.from_numpy(target[chosen]), counts[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        return network.eval()

    def logits(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float64]:
        """Compute the logarithms of the mean probabilities; arguments as for `AdaptiveClassifier.logits`."""
        scaled = torch.from_numpy(self._scaled(X))
        distance, known = torch.zeros_like(scaled), torch.zeros(len(X), 1)
        if baseline is not None:
            distance = scaled - torch.from_numpy(self._scaled(np.broadcast_to(baseline, X.shape)))
            known = torch.ones(len(X), 1)
        with torch.inference_mode():
            each = [torch.softmax(network(scaled, distance, known), dim=1) for network in self.members_]
            return np.asarray(torch.log(torch.stack(each).mean(0)), dtype=np.float64)

    def head(self, embedder: nn.Module) -> nn.Module:
        """Return the module to export, see `AdaptiveClassifier.head`."""
        return AdaptiveNetHead(embedder, self)


class AdaptiveNetHead(nn.Module):
    """A fitted :class:`AdaptiveNetClassifier` with its encoder; parameters as for `AdaptiveHead`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, embedder: nn.Module, fitted: AdaptiveNetClassifier) -> None:
        super().__init__()
        self.embedder = embedder
        self.members = nn.ModuleList(fitted.members_)
        self.register_buffer("mean", torch.as_tensor(fitted.mean_, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(fitted.scale_, dtype=torch.float32))

    def forward(self, samples: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, shape (n, n_classes), and embeddings; a baseline of zeros means an unknown speaker."""
        embedding = self.embedder(samples)
        scaled = (embedding - self.mean) / self.scale
        distance = scaled - (baseline - self.mean) / self.scale
        known = (baseline.abs().amax(dim=1, keepdim=True) > 0).to(scaled.dtype)
        return self.answer(scaled, distance, known), embedding

    def answer(self, scaled: Tensor, distance: Tensor, known: Tensor) -> Tensor:
        """Return the mean probabilities of the networks; arguments as for `AdaptiveNetwork.forward`."""
        each = [torch.softmax(network(scaled, distance, known), dim=1) for network in self.members]
        return torch.stack(each).mean(0)
