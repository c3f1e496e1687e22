"""Embeddings: pooled outputs of some blocks of one or several encoders, one vector per clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from emovox.errors import ModelError
from emovox.lab.encoders.encoders import HuggingFaceEncoder, LogMel, WhisperEncoder, statistics
from emovox.storage import Weights, find


class Embedder(nn.Module):
    """Module from samples to one vector per clip: pooled outputs of some blocks of an encoder.

    Parameters
    ----------
    front : torch module
        Module from samples to the input of the encoder: :class:`LogMel`, or ``nn.Identity()``.
    encoder : torch module
        Returns a list of states, each of shape (batch, time, width).
    blocks : iterable of int
        Blocks to use, from 1.
    pooling : {"mean-sd", "mean"}
        Statistics over time.
    """

    def __init__(self, front: nn.Module, encoder: nn.Module, blocks: Iterable[int], pooling: str = "mean-sd") -> None:
        super().__init__()
        self.front, self.encoder = front, encoder
        self.blocks, self.pooling = tuple(blocks), pooling

    @classmethod
    def load(cls, source: str | Path | Weights, blocks: Sequence[int], pooling: str = "mean-sd") -> Embedder:
        """Load an encoder in evaluation mode without gradients: `WhisperEncoder`, or one of transformers.

        Raises
        ------
        ModelError
            As :meth:`WhisperEncoder.load` and :meth:`HuggingFaceEncoder.load`, or fewer blocks than asked for.
        """
        weights = source if isinstance(source, Weights) else find(source)
        front: nn.Module
        if weights.kind == "whisper":
            encoder: nn.Module = WhisperEncoder.load(weights, max(blocks))
            front = LogMel(weights.number("num_mel_bins"), normalise=False)
        else:
            encoder, front = HuggingFaceEncoder.load(weights), nn.Identity()
            if max(blocks) > (layers := weights.number("num_hidden_layers")):
                raise ModelError(f"{weights.folder} has {layers} blocks, not {max(blocks)}: ask for one of those")
        return cls(front, encoder, blocks, pooling).eval().requires_grad_(False)

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples, shape (batch, n_samples), to embeddings: for each block means, then standard deviations."""
        return self.pooled(self.front(samples))

    def pooled(self, heard: Tensor) -> Tensor:
        """Map the input of the encoder to embeddings."""
        states = self.encoder(heard)
        chosen = [states[block - 1] for block in self.blocks]
        if self.pooling == "mean":
            return torch.cat([one.mean(dim=1) for one in chosen], dim=1)
        return torch.cat([statistics(one) for one in chosen], dim=1)


class JoinedEmbedder(nn.Module):
    """Several encoders whose embeddings are concatenated.

    Parameters
    ----------
    parts : sequence of Embedder
        Encoders; those of Whisper share one log-mel spectrogram.

    Examples
    --------
    >>> parts = [Embedder(LogMel(), WhisperEncoder(width, heads=2, blocks=1), [1]) for width in (32, 48)]
    >>> JoinedEmbedder(parts)(torch.zeros(1, 16000)).shape
    torch.Size([1, 160])
    """

    def __init__(self, parts: Sequence[Embedder]) -> None:
        super().__init__()
        fronts: list[nn.Module] = []
        for part in parts:
            part.front = next((front for front in fronts if _alike(front, part.front)), part.front)
            fronts.append(part.front)
        self.encoders = nn.ModuleList(parts)

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples, shape (batch, n_samples), to embeddings."""
        heard: dict[nn.Module, Tensor] = {}
        vectors = []
        for part in self.encoders:
            assert isinstance(part, Embedder)
            if part.front not in heard:
                heard[part.front] = part.front(samples)
            vectors.append(part.pooled(heard[part.front]))
        return torch.cat(vectors, dim=1)


def _alike(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two front ends are equal."""
    both = isinstance(first, LogMel) and isinstance(second, LogMel)
    return both and first.bank.shape == second.bank.shape and first.normalise == second.normalise
