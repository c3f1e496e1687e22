"""Batches of clips of frames: cut, masked and mixed to learn from, or as they are to be judged."""

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

#: A clip of more frames is judged in pieces of so many, whose answers are averaged: memory does not grow with it.
LONGEST = 3000
#: Batches whose clips are drawn together and then sorted by length.
POOL = 8


@dataclass(frozen=True, eq=False)
class Material:
    """What batches are made of, clip by clip.

    Attributes
    ----------
    views : tuple of Sequences
        The clips, and each augmented copy of all of them.
    target : ndarray of int, shape (n_clips,)
        Class indices.
    weight : ndarray of float32, shape (n_clips, n_classes)
        How much each class counts for each clip.
    counts : ndarray of float32, shape (n_classes,)
        How much a clip of each class counts.
    prepare : callable
        From raw to standardised frames.
    options : SequenceOptions
        Training.
    rng : numpy.random.Generator
        Draws views, stretches, masks and mixtures.
    """

    views: tuple[Sequences, ...]
    target: NDArray[np.int64]
    weight: Float32Array
    counts: Float32Array
    prepare: Callable[[Float32Array], Float32Array]
    options: SequenceOptions
    rng: np.random.Generator

    def drawn(self, row: int) -> Float32Array:
        """Return a stretch of one of a clip's views, with stretches of it blotted out."""
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

    def lesson(self, rows: NDArray[np.intp]) -> tuple[dict[str, Tensor], Tensor]:
        """Return a batch to learn from: inputs and shares."""
        options = self.options
        frames, lengths = padded([self.drawn(row) for row in rows])
        weight = self.weight[rows]
        even = weight / weight.sum(axis=1, keepdims=True)
        shares = (1 - options.label_smoothing) * self._certain(rows) + options.label_smoothing * even
        shares *= self.counts[self.target[rows], np.newaxis]
        if options.mixup:
            partner, share = self.rng.permutation(len(rows)), np.float32(self.rng.beta(options.mixup, options.mixup))
            frames = share * frames + (1 - share) * frames[partner]
            shares = share * shares + (1 - share) * shares[partner]
            weight = share * weight + (1 - share) * weight[partner]
            lengths = np.maximum(lengths, lengths[partner])
        return _tensors(frames, lengths, weight), torch.from_numpy(shares.astype(np.float32))

    def question(self, rows: NDArray[np.intp]) -> tuple[dict[str, Tensor], Tensor]:
        """Return a batch to be judged: whole clips as they are, but no more than `LONGEST` frames."""
        frames, lengths = padded([self.prepare(self.views[0][row][:LONGEST]) for row in rows])
        return _tensors(frames, lengths, self.weight[rows]), torch.from_numpy(self._certain(rows))

    def _certain(self, rows: NDArray[np.intp]) -> Float32Array:
        return np.eye(self.weight.shape[1], dtype=np.float32)[self.target[rows]]


def _tensors(frames: Float32Array, lengths: NDArray[np.int64], weight: Float32Array) -> dict[str, Tensor]:
    named = {"features": frames, "lengths": lengths, "weight": weight}
    return {name: torch.from_numpy(value) for name, value in named.items()}


class Batches:
    """Batches of clips of about the same length: little padding is computed.

    Parameters
    ----------
    dataset : Dataset
        Holds the rows of the material.
    batch_size : int
        Clips a batch.
    material : Material
        The clips.
    learning : bool
        Draw the clips in another order each time, changed by augmentation.
    """

    def __init__(self, dataset: Any, batch_size: int, *, material: Material, learning: bool = False) -> None:
        self.rows, self.batch_size = np.asarray(dataset.X), batch_size
        self.material, self.learning = material, learning

    def __len__(self) -> int:
        return len(list(self._batches(np.arange(len(self.rows)))))

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield (inputs, shares)."""
        if self.learning:
            for batch in self._batches(self.material.rng.permutation(len(self.rows))):
                yield self.material.lesson(self.rows[batch])
        else:
            for batch in self._batches(np.arange(len(self.rows))):
                yield self.material.question(self.rows[batch])

    def _batches(self, order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Cut an order into batches, those of a pool sorted by length; a clip alone at the end is left out."""
        lengths = np.minimum(self.material.views[0].lengths[self.rows], self.material.options.frames)
        size = self.batch_size
        batches = []
        for begin in range(0, len(order), POOL * size):
            pool = order[begin : begin + POOL * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [pool[first : first + size] for first in range(0, len(pool), size)]
        if not self.learning:
            return batches
        # Batch normalisation has no variance over a single clip.
        batches = [batch for batch in batches if len(batch) > 1 or len(order) == 1]
        return [batches[number] for number in self.material.rng.permutation(len(batches))]
