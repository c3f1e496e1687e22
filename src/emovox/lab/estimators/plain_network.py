"""A small network over embeddings, for recordings of which nothing else is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from emovox.lab.estimators.axes import Clips
from emovox.lab.estimators.neural import WeightedCrossEntropy
from emovox.types import Float32Array


@dataclass(frozen=True)
class NetworkOptions:
    """Size and training of the network.

    Attributes
    ----------
    hidden : int
        Units of the hidden layer.
    dropout, input_dropout : float
        Dropout probability of hidden units, and of inputs.
    rows : int
        Clips and copies of an epoch, drawn by weight.
    learning_rate, weight_decay : float
        Maximum learning rate, reached after a fifth of the training, and decoupled weight decay of AdamW.
    batch_size, epochs : int
        Clips per step; passes.
    label_smoothing : float
        Fraction of each target that is distributed over the classes of the clip's corpus.
    """

    hidden: int
    dropout: float = 0.5
    input_dropout: float = 0.3
    rows: int = 20000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    batch_size: int = 96
    epochs: int = 8
    label_smoothing: float = 0.05


class Network(nn.Module):
    """One hidden layer over standardised embeddings.

    Parameters
    ----------
    mean, scale : ndarray of float32, shape (d,)
        Statistics of the training embeddings.
    n_classes : int
        Number of classes.
    options : NetworkOptions
        Units and dropout.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float32Array, scale: Float32Array, n_classes: int, options: NetworkOptions) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.layers = nn.Sequential(
            nn.Dropout(options.input_dropout),
            nn.Linear(len(mean), options.hidden),
            nn.BatchNorm1d(options.hidden),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, n_classes),
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings, shape (n, d), to logits, shape (n, n_classes)."""
        logits: Tensor = self.layers((embedding - self.mean) / self.scale)
        return logits


def fit(clips: Clips, weight: Float32Array, n_classes: int, options: NetworkOptions, seed: Sequence[int]) -> Network:
    """Train a network on clips and copies, drawn by `weight`, shape (n,)."""
    rng = np.random.default_rng([*seed, 11])
    torch.manual_seed(int(rng.integers(2**31)))
    drawn = rng.permutation(len(clips))[:4000]
    mean, scale = clips.embedding[drawn].mean(axis=0), clips.embedding[drawn].std(axis=0) + np.float32(1e-6)
    network = Network(mean, scale, n_classes, options)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    rows = min(options.rows, 4 * len(clips))
    size = min(options.batch_size, rows)
    steps = max(10, options.epochs * (rows // size) + 1)
    schedule = OneCycleLR(optimiser, options.learning_rate, total_steps=steps, pct_start=0.2)
    criterion = WeightedCrossEntropy(options.label_smoothing)
    for _ in range(options.epochs):
        order = rng.choice(len(clips), rows, p=weight / weight.sum())
        for batch in order[: rows // size * size].reshape(-1, size):
            logits = network(torch.from_numpy(clips.embedding[batch]))
            loss = criterion((logits, torch.from_numpy(clips.prior[batch])), torch.from_numpy(clips.target[batch]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval().requires_grad_(False)
