"""Feed-forward networks as PyTorch modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class FeedForward(nn.Module):
    """Fully connected network from a feature vector to one logit per class.

    Parameters
    ----------
    n_features, n_classes : int
        Width of the input and of the output.
    hidden : sequence of int
        Widths of the hidden layers; an empty sequence gives multinomial logistic regression.
    activation : {"relu", "gelu", "tanh"}
        Non-linearity after each hidden layer.
    dropout : float
        Dropout probability of hidden units in training, in [0, 1).
    input_dropout : float
        Dropout probability of input features in training, in [0, 1).
    batch_norm : bool
        Batch normalisation of each hidden layer, before the non-linearity.

    Examples
    --------
    >>> net = FeedForward(193, 8, hidden=(300, 50, 20, 10))
    >>> net(torch.zeros(2, 193)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        width = n_features
        for units in hidden:
            layers.append(nn.Linear(width, units))
            if batch_norm:
                layers.append(nn.BatchNorm1d(units))
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_classes))

    def forward(self, features: Tensor) -> Tensor:
        """Map standardised features, shape (batch, n_features), to logits, shape (batch, n_classes)."""
        logits: Tensor = self.layers(features)
        return logits


class WeightedNetwork(nn.Module):
    """A network for training, which passes the class weights of each clip on to the loss.

    Parameters
    ----------
    **sizes
        Arguments of :class:`FeedForward`.
    """

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        self.network = FeedForward(**sizes)

    def forward(self, features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and class weights, both of shape (batch, n_classes)."""
        return self.network(features), weight


class Ensemble(nn.Module):
    """Standardisation, one or more networks, and the mean of their class probabilities: the exported graph.

    Parameters
    ----------
    mean, scale : Tensor, shape (n_features,)
        Statistics of the training features.
    members : sequence of Module
        Networks from standardised features to logits.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        """Map raw features, shape (batch, n_features), to probabilities, shape (batch, n_classes)."""
        standardised = (features - self.mean) / self.scale
        return torch.stack([torch.softmax(net(standardised), dim=1) for net in self.members]).mean(0)
