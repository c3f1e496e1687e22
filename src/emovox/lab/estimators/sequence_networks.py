"""Networks over sequences of frames: convolutional, recurrent and frame by frame; padding never affects the output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

#: Attention score of padding before the softmax: far below any other, and finite.
NOTHING = -1e9


def mask_of(features: Tensor, lengths: Tensor | None) -> Tensor:
    """Compute the mask of a padded batch: 1 in frames of the clip, 0 in the padding.

    Parameters
    ----------
    features : Tensor, shape (batch, n_frames, n_features)
        Padded clips.
    lengths : Tensor of int, shape (batch,), or None
        Number of frames of each clip; None for clips of equal length.

    Returns
    -------
    Tensor, shape (batch, n_frames)

    Examples
    --------
    >>> mask_of(torch.zeros(2, 3, 1), torch.tensor([1, 3])).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if lengths is None:
        return torch.ones_like(features[:, :, 0])
    return (torch.arange(features.shape[1]) < lengths.unsqueeze(1)).to(features.dtype)


def thinned(mask: Tensor, stride: int) -> Tensor:
    """Compute the mask after a layer with a stride: as many frames as the layer outputs for each clip alone."""
    return mask[:, ::stride]


class AttentivePooling(nn.Module):
    """Attentive statistics pooling: weighted mean and standard deviation over time, with learned weights.

    Parameters
    ----------
    width : int
        Features per frame.
    hidden : int
        Units of the attention layer.

    Notes
    -----
    Source: K. Okabe, T. Koshinaka and K. Shinoda, "Attentive statistics pooling for deep speaker embedding",
    Interspeech 2018.

    Examples
    --------
    >>> AttentivePooling(6)(torch.randn(2, 9, 6), torch.ones(2, 9)).shape
    torch.Size([2, 12])
    """

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, n_frames, width) and a mask (batch, n_frames) to (batch, 2 * width)."""
        scores = self.score(frames).squeeze(2) * mask + (1 - mask) * NOTHING
        weight = torch.softmax(scores, dim=1).unsqueeze(2)
        return statistics(frames, weight)


class MeanPooling(nn.Module):
    """Statistics pooling: mean and standard deviation over time."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, n_frames, width) and a mask (batch, n_frames) to (batch, 2 * width)."""
        return statistics(frames, (mask / mask.sum(dim=1, keepdim=True)).unsqueeze(2))


def statistics(frames: Tensor, weight: Tensor) -> Tensor:
    """Compute weighted mean and standard deviation over time, shape (batch, 2 * width)."""
    mean = (frames * weight).sum(dim=1)
    variance = ((frames - mean.unsqueeze(1)).square() * weight).sum(dim=1)
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=1)


POOLING: dict[str, type[nn.Module]] = {"attention": AttentivePooling, "mean": MeanPooling}


class ResidualBlock(nn.Module):
    """Residual block: two 3 x 3 convolutions and a shortcut; the first one halves time and frequency.

    Parameters
    ----------
    before, after : int
        Channels.

    Notes
    -----
    Source: K. He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, 3, 2)
        self.second = _convolution(after, after, 3, 1)
        self.shortcut = _convolution(before, after, 1, 2)

    def forward(self, planes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, before, n_frames, n_bands) and its mask to half of both, and the mask of that."""
        mask = thinned(mask, 2)
        inside = torch.relu(self.first(planes)) * _over(mask)
        return torch.relu(self.second(inside) + self.shortcut(planes)) * _over(mask), mask


class PlainBlock(nn.Module):
    """A 3 x 3 convolution and 2 x 2 max pooling.

    Parameters
    ----------
    before, after : int
        Channels.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layer = _convolution(before, after, 3, 1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, planes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, before, n_frames, n_bands) and its mask to half of both, and the mask of that."""
        # After the rectifier all values are at least 0, so the zeros of the padding do not affect the maximum.
        inside = torch.relu(self.layer(planes)) * _over(mask)
        return self.pool(inside), thinned(mask, 2)


def _convolution(before: int, after: int, size: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after))


def _over(mask: Tensor) -> Tensor:
    """Reshape a mask of frames for feature maps."""
    return mask.unsqueeze(1).unsqueeze(3)


class Convolutional(nn.Module):
    """Convolutions over time and frequency, statistics pooling, and a linear layer.

    Parameters
    ----------
    n_features, n_classes : int
        Number of bands per frame, and of classes.
    channels : sequence of int
        Channels of the first convolution and of each block; each block halves time and frequency.
    block : {"residual", "plain"}
        Residual blocks, or convolutions with max pooling.
    pooling : {"attention", "mean"}
        Pooling over time, with learned or equal weights.
    embedding : int
        Width of a frame before pooling.
    dropout : float
        Dropout probability of the pooled features.

    Examples
    --------
    >>> net = Convolutional(64, 8, channels=(4, 8)).eval()
    >>> net(torch.zeros(2, 50, 64)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64),
        block: Literal["residual", "plain"] = "residual",
        pooling: Literal["attention", "mean"] = "attention",
        embedding: int = 128,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        kind = ResidualBlock if block == "residual" else PlainBlock
        self.stem = _convolution(1, channels[0], 5, 2)
        self.blocks = nn.ModuleList(kind(*pair) for pair in pairwise(channels))
        bands = n_features
        for _ in channels:
            bands = (bands + 1) // 2
        self.frame = nn.Linear(channels[-1] * bands, embedding)
        self.pooling = POOLING[pooling](embedding)
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * embedding), nn.Dropout(dropout), nn.Linear(2 * embedding, n_classes)
        )

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map standardised frames, (batch, n_frames, n_features), to logits, (batch, n_classes)."""
        mask = thinned(mask_of(features, lengths), 2)
        # Channels last is 1.5 times as fast on a CPU.
        image = features.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        planes = torch.relu(self.stem(image)) * _over(mask)
        for block in self.blocks:
            planes, mask = block(planes, mask)
        frames = torch.relu(self.frame(planes.permute(0, 2, 1, 3).flatten(2)))
        logits: Tensor = self.head(self.pooling(frames, mask))
        return logits


class Recurrent(nn.Module):
    """Stacked frames, a bidirectional recurrent network, statistics pooling, and a linear layer.

    Parameters
    ----------
    n_features, n_classes : int
        Number of features per frame, and of classes.
    cell : {"lstm", "gru"}
        Kind of the recurrent layers.
    units, layers : int
        Units of a layer in each direction, number of layers.
    stride : int
        Frames that are taken together, by a convolution, before the recurrent layers.
    pooling : {"attention", "mean"}
        How the states are weighed at the end.
    dropout : float
        Share of the inputs of each recurrent layer, and of the pooled states, silenced in training.

    Examples
    --------
    >>> net = Recurrent(42, 8, units=16).eval()
    >>> net(torch.zeros(2, 50, 42)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        cell: Literal["lstm", "gru"] = "lstm",
        units: int = 64,
        layers: int = 1,
        stride: int = 3,
        pooling: Literal["attention", "mean"] = "attention",
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.front = nn.Sequential(
            nn.Conv1d(n_features, 2 * units, 2 * stride + 1, stride=stride, padding=stride, bias=False),
            nn.BatchNorm1d(2 * units),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrent = kind(
            2 * units, units, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.pooling = POOLING[pooling](2 * units)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * units, n_classes))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map standardised frames, (batch, n_frames, n_features), to logits, (batch, n_classes)."""
        mask = thinned(mask_of(features, lengths), self.stride)
        states = self.front(features.transpose(1, 2)).transpose(1, 2)
        if lengths is None:
            states, _ = self.recurrent(states)
        else:
            # The backward direction begins at the end of the clip, not of the padding.
            packed = pack_padded_sequence(states, mask.sum(dim=1).long(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=states.shape[1])
        logits: Tensor = self.head(self.pooling(states, mask))
        return logits


class FrameByFrame(nn.Module):
    """A feed-forward network on each frame, statistics pooling, and a linear layer: a baseline without temporal order.

    Parameters
    ----------
    n_features, n_classes : int
        Number of features per frame, and of classes.
    hidden : sequence of int
        Units of each hidden layer.
    pooling : {"attention", "mean"}
        Pooling over time, with learned or equal weights.
    dropout : float
        Dropout probability of hidden units.

    Examples
    --------
    >>> net = FrameByFrame(42, 8, hidden=(16,)).eval()
    >>> net(torch.zeros(2, 50, 42)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (128, 128),
        pooling: Literal["attention", "mean"] = "attention",
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_features
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.layers = nn.Sequential(*layers)
        self.pooling = POOLING[pooling](width)
        self.head = nn.Linear(2 * width, n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map standardised frames, (batch, n_frames, n_features), to logits, (batch, n_classes)."""
        logits: Tensor = self.head(self.pooling(self.layers(features), mask_of(features, lengths)))
        return logits


class SequenceEnsemble(nn.Module):
    """Standardisation, one or more networks, and the mean of their class probabilities: the exported graph.

    Parameters
    ----------
    mean, scale : Tensor, shape (n_features,)
        Statistics of the training frames.
    by_clip : bool
        Whether to standardise each clip in addition.
    members : sequence of Module
        Networks from standardised frames to logits.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, by_clip: bool, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.by_clip = by_clip
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        """Map frames of clips of equal length, (batch, n_frames, n_features), to probabilities, (batch, n_classes)."""
        frames = (features - self.mean) / self.scale
        if self.by_clip:
            frames = frames - frames.mean(dim=1, keepdim=True)
            frames = frames / torch.sqrt(frames.square().mean(dim=1, keepdim=True) + 1e-2)
        return torch.stack([torch.softmax(net(frames), dim=1) for net in self.members]).mean(0)
