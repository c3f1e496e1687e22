"""Batches of frame sequences: cropped, masked and mixed for training, or unchanged for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emovox.lab.estimators.sequence_options import SequenceOptions
from emovox.lab.extraction.sequences import Sequences, padded
from emovox.types import Float32Array

#: Longest clip in frames; longer ones are split, and the probabilities of their parts averaged, to limit memory.
LONGEST = 3000
#: Number of batches whose clips are drawn together and sorted by length.
POOL = 8


@dataclass(frozen=True, eq=False)
class Material:
    """Clips from which batches are built.

    Attributes
    ----------
    views : tuple of Sequences
        The clips, then each augmented copy of all clips.
    wanted : ndarray of float32, shape (n_clips, n_classes)
        Share of each class that is wanted of each clip: 1 for its label, or the raters' votes.
    weight : ndarray of float32, shape (n_clips, n_classes)
        Class weights of each clip.
    counts : ndarray of float32, shape (n_classes,)
        Sample weight of each class.
    prepare : callable
        Standardisation of frames.
    options : SequenceOptions
        Options of training.
    rng : numpy.random.Generator
        Source of views, crops, masks and mixtures.
    """

    views: tuple[Sequences, ...]
    wanted: Float32Array
    weight: Float32Array
    counts: Float32Array
    prepare: Callable[[Float32Array], Float32Array]
    options: SequenceOptions
    rng: np.random.Generator

    def drawn(self, row: int) -> Float32Array:
        """Return a random crop of a random view of a clip, with random masks (SpecAugment)."""
        view = self.views[int(self.rng.integers(len(self.views)))]
        clip, most = self.prepare(view[row]), self.options.frames
        if len(clip) > most:
            begin = int(self.rng.integers(len(clip) - most + 1))
            clip = clip[begin : begin + most]
        clip = clip.copy()
        for axis, widest in enumerate((self.options.time_mask, self.options.feature_mask)):
            for _ in range(2 if widest else 0):
                width = int(self.rng.integers(min(widest, clip.shape[axis] // 2) + 1))
                begin = int(self.rng.integers(clip.shape[axis] - width + 1))
                clip[(slice(None),) * axis + (slice(begin, begin + width),)] = 0
        return clip

    def training_batch(self, rows: NDArray[np.intp]) -> tuple[dict[str, Tensor], Tensor]:
        """Return an augmented training batch: inputs and soft targets."""
        options = self.options
        frames, lengths = padded([self.drawn(row) for row in rows])
        weight, counted = self.weight[rows], self.wanted[rows] * self.counts
        even = weight / weight.sum(axis=1, keepdims=True) * counted.sum(axis=1, keepdims=True)
        shares = (1 - options.label_smoothing) * counted + options.label_smoothing * even
        if options.mixup:
            partner, share = self.rng.permutation(len(rows)), np.float32(self.rng.beta(options.mixup, options.mixup))
            frames = share * frames + (1 - share) * frames[partner]
            shares = share * shares + (1 - share) * shares[partner]
            weight = share * weight + (1 - share) * weight[partner]
            lengths = np.maximum(lengths, lengths[partner])
        return _tensors(frames, lengths, weight), torch.from_numpy(shares.astype(np.float32))

    def evaluation_batch(self, rows: NDArray[np.intp]) -> tuple[dict[str, Tensor], Tensor]:
        """Return an evaluation batch: whole clips without augmentation, at most `LONGEST` frames."""
        frames, lengths = padded([self.prepare(self.views[0][row][:LONGEST]) for row in rows])
        return _tensors(frames, lengths, self.weight[rows]), torch.from_numpy(self.wanted[rows])


def _tensors(frames: Float32Array, lengths: NDArray[np.int64], weight: Float32Array) -> dict[str, Tensor]:
    named = {"features": frames, "lengths": lengths, "weight": weight}
    return {name: torch.from_numpy(value) for name, value in named.items()}


class Batches:
    """Batches of clips of similar length, to keep padding short.

    Parameters
    ----------
    dataset : Dataset
        Contains the rows of the material.
    batch_size : int
        Clips per batch.
    material : Material
        The clips.
    learning : bool
        Whether to shuffle and augment the clips.
    """

    def __init__(self, dataset: Any, batch_size: int, *, material: Material, learning: bool = False) -> None:
        self.rows, self.batch_size = np.asarray(dataset.X), batch_size
        self.material, self.learning = material, learning

    def __len__(self) -> int:
        return len(list(self._batches(np.arange(len(self.rows)))))

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield (inputs, soft targets)."""
        if self.learning:
            for batch in self._batches(self.material.rng.permutation(len(self.rows))):
                yield self.material.training_batch(self.rows[batch])
        else:
            for batch in self._batches(np.arange(len(self.rows))):
                yield self.material.evaluation_batch(self.rows[batch])

    def _batches(self, order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Split an order into batches, sorted by length within a pool; a single clip at the end is omitted."""
        lengths = np.minimum(self.material.views[0].lengths[self.rows], self.material.options.frames)
        size = self.batch_size
        batches = []
        for begin in range(0, len(order), POOL * size):
            pool = order[begin : begin + POOL * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [pool[first : first + size] for first in range(0, len(pool), size)]
        if not self.learning:
            return batches
        # Batch normalisation is undefined for a single clip.
        batches = [batch for batch in batches if len(batch) > 1 or len(order) == 1]
        return [batches[number] for number in self.material.rng.permutation(len(batches))]
