"""Fine-tuning of the blocks of an encoder together with linear heads: batches, steps, averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emovox.errors import ModelError, RecipeError
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.estimators import adaptive
from emovox.lab.estimators.adaptive import ORDINARY, AdaptiveClassifier, AdaptiveHead, AdaptiveOptions, clip_weights
from emovox.lab.estimators.checkpoints import Stored
from emovox.lab.estimators.neural import class_weights
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.ranges import Count, Natural, Positive, Share
from emovox.types import RATE, Float32Array

#: Coefficients and intercepts of a head.
Head = tuple[Float32Array, Float32Array]
#: Number of batches whose clips are read together and sorted by length.
POOL = 8
#: Longest clip in samples; longer clips are cropped at random, to limit memory.
LONGEST = 10 * RATE
#: Fraction of the steps in which the learning rate rises.
WARM_UP = 0.1


@dataclass(frozen=True)
class FinetuneOptions(AdaptiveOptions):
    """Options of the heads, as in the family `adaptive`, and of fine-tuning the blocks of the encoder.

    Attributes
    ----------
    epochs : int
        Passes over the training clips; each uses another view of a clip (the clip or one of its augmented copies).
    learning_rate : float
        Maximum learning rate of the highest block (Adam without weight decay); it rises over the first tenth of the
        steps and then follows a cosine schedule.
    head_rate : float
        Maximum learning rate of the heads.
    layer_decay : float
        Ratio of the learning rate of a block to that of the next higher one.
    batch_size : int
        Clips per step; batches have clips of similar length, cropped to the shortest.
    dropout : float
        Dropout probability of the embedding before the heads.
    label_smoothing : float
        Fraction of each target that is distributed over the classes of the clip's corpus.
    frequency_mask, time_mask : int
        Maximum width of the masks of mel bands, and of frames of 10 ms (SpecAugment).
    clipping : float
        Maximum norm of the gradient.
    averaging : float
        Decay of the exponential moving average of the weights, which is the result; 0 uses the last weights.
    patience : int
        Early stopping: number of epochs without improvement of the loss on held-out *training speakers*.  Training is
        then repeated on all speakers for the best number of epochs, which may be 0.  0 trains for all epochs.
    validation : float
        Fraction of the training speakers held out for early stopping.
    device : {"auto", "cpu", "cuda"}
        Device; "auto" is a GPU if there is one.
    precision : {"float32", "bfloat16"}
        Precision of the encoder in training.
    threads : int
        Number of threads on a CPU.
    """

    epochs: Count = 4
    learning_rate: Positive = 3e-5
    head_rate: Positive = 1e-4
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0
    batch_size: Count = 16
    dropout: Share = 0.1
    label_smoothing: Share = 0.1
    frequency_mask: Natural = 12
    time_mask: Natural = 20
    clipping: Positive = 1.0
    averaging: Share = 0.98
    patience: Natural = 2
    validation: Annotated[float, Gt(0), Lt(1)] = 0.2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Count = 2


class Masked(nn.Module):
    """A front end with a random mask of bands and one of frames in training (SpecAugment).

    Parameters
    ----------
    front : Module
        Module from samples to a log-mel spectrogram; other outputs are not masked.
    bands, frames : int
        Maximum widths of the masks, at most half of the axis; widths are uniformly distributed from 0.

    Notes
    -----
    Source: D. Park et al., *SpecAugment*, Interspeech 2019; masked values are replaced by the mean of the clip.

    Examples
    --------
    >>> levels = Masked(nn.Identity(), bands=12, frames=20).train()(torch.randn(4, 80, 100))
    >>> levels.shape, bool(levels.isfinite().all())
    (torch.Size([4, 80, 100]), True)
    """

    def __init__(self, front: nn.Module, bands: int, frames: int) -> None:
        super().__init__()
        self.front, self.bands, self.frames = front, bands, frames

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples, shape (batch, n_samples), to levels, shape (batch, n_bands, n_frames), in float32."""
        with torch.autocast(samples.device.type, enabled=False):
            levels: Tensor = self.front(samples)
        if not self.training or levels.ndim != 3:
            return levels
        batch, bands, frames = levels.shape
        hidden = _stretches(batch, bands, self.bands).unsqueeze(2) | _stretches(batch, frames, self.frames).unsqueeze(1)
        return torch.where(hidden.to(levels.device), levels.mean(dim=(1, 2), keepdim=True), levels)


def _stretches(batch: int, length: int, widest: int) -> Tensor:
    """Draw one mask per clip, shape (batch, length); on the CPU, so that results do not depend on the device."""
    width = torch.randint(0, min(widest, length // 2) + 1, (batch, 1))
    begin = (torch.rand(batch, 1) * (length - width + 1)).long()
    place = torch.arange(length)
    return (place >= begin) & (place < begin + width)


class EncoderTuning:
    """Fine-tuning of an encoder, which can be saved after an epoch and resumed with the same result.

    Each epoch uses another view of a clip.  Baselines are computed from embeddings of the same view before fine-tuning,
    plus the change of the embeddings of the clips when they were last used.

    Parameters
    ----------
    embedder : Embedder
        Pretrained encoder; not modified.
    heads : AdaptiveClassifier
        Heads fitted on its embeddings.
    clips : TrainingSet
        Training clips with waveforms.
    options : FinetuneOptions
        Options.

    Raises
    ------
    RecipeError
        A GPU is required, and there is none.
    ModelError
        The blocks of the encoder are not found.
    """

    def __init__(
        self, embedder: Embedder, heads: AdaptiveClassifier, clips: TrainingSet, options: FinetuneOptions
    ) -> None:
        self.heads, self.clips, self.options, self.epochs = heads, clips, options, 0
        self.device = chosen_device(options.device)
        tuned = copy.deepcopy(embedder)
        self.front = embedder.front
        self.masked = tuned.front = Masked(tuned.front, options.frequency_mask, options.time_mask)
        blocks = transformer_blocks(tuned.encoder)[: max(tuned.blocks)]
        self.head = AdaptiveHead(tuned, heads).to(self.device).eval()
        groups = [
            {
                "params": list(block.requires_grad_(True).parameters()),
                "lr": options.learning_rate * options.layer_decay**depth,
            }
            for depth, block in enumerate(reversed(blocks))
        ]
        ends = [*self.head.plain.parameters(), *self.head.enrolled.parameters()]
        self.optimiser = torch.optim.AdamW([*groups, {"params": ends, "lr": options.head_rate}], weight_decay=0.0)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.trained = {name: value for name, value in self.head.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}
        self.drift = np.zeros_like(clips.view(0))
        self._targets(clips)

    def _targets(self, clips: TrainingSet) -> None:
        """Compute soft targets, class priors, sample weights and the order of views of each clip."""
        target = np.searchsorted(self.heads.classes_, clips.y)
        n, k = len(target), len(self.heads.classes_)
        weight = torch.from_numpy(class_weights(target, k, clips.corpora, self.options.absent))
        even = weight / weight.sum(dim=1, keepdim=True)
        exact = functional.one_hot(torch.from_numpy(target), k)
        self.wanted = (1 - self.options.label_smoothing) * exact + self.options.label_smoothing * even
        self.prior = weight.log()
        self.counts = torch.from_numpy(clip_weights(target, np.asarray(clips.speakers)))
        numbers = np.tile(np.arange(clips.n_views), (n, 1))
        self.order = np.random.default_rng(self.options.seed).permuted(numbers, axis=1)
        self.steps_an_epoch = -(-n // self.options.batch_size)

    def epoch(self) -> float:
        """Train for an epoch and return the mean loss; randomness depends on the seed and the epoch only.

        Raises
        ------
        RecipeError
            The loss is not finite.
        """
        rng = np.random.default_rng([self.options.seed, self.epochs])
        views = self.order[:, self.epochs % self.clips.n_views]
        origin, baselines = self._origin(views, rng)
        moved_before = torch.from_numpy(self.drift.mean(axis=0))
        total, done = 0.0, 0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), _threads(self.options.threads):
            torch.manual_seed(self.options.seed * 1000 + self.epochs)
            self.masked.train()
            for step, (rows, samples) in enumerate(self._batches(views, rng)):
                self._set_rates(self.epochs * self.steps_an_epoch + step)
                total += len(rows) * self._step(rows, samples, origin[rows], baselines[rows] - moved_before)
                done += len(rows)
                self.clips.recordings.progress("clips of this epoch", done, len(views))
            self.masked.eval()
        self.epochs += 1
        return total / len(views)

    def _origin(self, views: NDArray[np.intp], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the standardised embedding of each clip in its view before fine-tuning, and a baseline."""
        clips, ordinary = self.clips, self.clips.y == ORDINARY
        origin, baselines = np.empty_like(self.drift), np.empty_like(self.drift)
        for number in np.unique(views):
            rows = np.flatnonzero(views == number)
            scaled = (clips.view(number) - self.heads.mean_) / self.heads.scale_
            origin[rows] = scaled[rows]
            moved = (scaled + self.drift)[np.newaxis]
            baselines[rows] = adaptive.draw_baselines(
                moved, np.zeros_like(rows), rows, np.asarray(clips.speakers), ordinary, self.options.mixed, rng
            )
        return torch.from_numpy(origin), torch.from_numpy(baselines)

    def _batches(self, views: NDArray[np.intp], rng: np.random.Generator) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Yield rows and samples of batches of clips of similar length."""
        n, size = len(views), self.options.batch_size
        shuffled = rng.permutation(n)
        for pool in np.split(shuffled, range(POOL * size, n, POOL * size)):
            heard = self.clips.recordings.heard(pool, views[pool])
            by_length = np.argsort([len(one) for one in heard], kind="stable")
            parts = np.split(by_length, range(size, len(pool), size))
            for number in rng.permutation(len(parts)):
                yield pool[parts[number]], cropped([heard[index] for index in parts[number]], rng)

    def _set_rates(self, step: int) -> None:
        steps = self.options.epochs * self.steps_an_epoch
        factor = min(1.0, (step + 1) / max(1.0, WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def _step(self, rows: NDArray[np.intp], samples: Tensor, origin: Tensor, baselines: Tensor) -> float:
        """Take one step; `baselines` do not include the mean change of embeddings since they were computed."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            embedding = self.head.embedder(samples.to(self.device))
        scaled = (embedding.float() - self.head.mean) / self.head.scale
        moved = scaled.detach().cpu() - origin
        self.drift[rows] = moved.numpy()
        # A change common to all embeddings must not appear as a difference from the baseline of the speaker.
        distance = scaled - (baselines + moved.mean(dim=0)).to(self.device)
        loss = self._loss(rows, scaled, distance)
        if not torch.isfinite(loss):
            raise RecipeError(
                f"the loss is not finite any more in epoch {self.epochs + 1}: "
                f"lower model.learning_rate, which is {self.options.learning_rate:g}"
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), self.options.clipping)
        self.optimiser.step()
        for name, value in self.trained.items():
            self.average[name].lerp_(value.detach(), 1 - self.options.averaging)
        return float(loss.detach())

    def _loss(self, rows: NDArray[np.intp], scaled: Tensor, distance: Tensor) -> Tensor:
        """Return the weighted cross-entropy of both heads, plus their L2 penalty."""
        plain, enrolled = self.head.plain, self.head.enrolled
        wanted, prior, counts = (one[rows].to(self.device) for one in (self.wanted, self.prior, self.counts))
        seen = functional.dropout(scaled, self.options.dropout)
        both = torch.cat([seen, functional.dropout(distance, self.options.dropout)], dim=1)
        each = sum(
            functional.cross_entropy(logits + prior, wanted, reduction="none")
            for logits in (plain(seen), enrolled(both))
        )
        length = plain.weight.square().sum() + enrolled.weight.square().sum()
        return (each * counts).mean() + self.options.penalty / 2 * length

    def result(self) -> tuple[Embedder, Head, Head]:
        """Return the averaged weights: encoder, head without baseline, head with baseline."""
        head = copy.deepcopy(self.head).cpu().requires_grad_(False)
        head.load_state_dict({**head.state_dict(), **self.average})
        embedder = head.embedder
        assert isinstance(embedder, Embedder)
        embedder.front = self.front
        return embedder, _arrays(head.plain), _arrays(head.enrolled)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that an epoch changes, with the state of the optimiser after the first epoch."""
        found = {f"weight.{name}": value.detach() for name, value in self.trained.items()}
        found |= {f"average.{name}": value for name, value in self.average.items()}
        for name, value in self.trained.items():
            found |= {f"{key}.{name}": one for key, one in self.optimiser.state[value].items()}
        return {**found, "drift": torch.from_numpy(self.drift)}

    def restore(self, stored: Stored) -> None:
        """Restore the state that :meth:`tensors` returned.

        Raises
        ------
        ModelError
            A tensor is missing or of another shape.
        """
        for value in self.trained.values():
            moments = {key: torch.zeros_like(value) for key in ("exp_avg", "exp_avg_sq")}
            self.optimiser.state[value] = {"step": torch.tensor(0.0), **moments}
        stored.fill(self.tensors())
        self.epochs = int(stored.state["epochs"])


def cropped(clips: Sequence[Float32Array], rng: np.random.Generator) -> Tensor:
    """Crop clips at random to the length of the shortest, at most :data:`LONGEST`.

    Examples
    --------
    >>> clips = [np.zeros(5, dtype=np.float32), np.arange(7, dtype=np.float32)]
    >>> cropped(clips, np.random.default_rng(0)).shape
    torch.Size([2, 5])
    """
    length = min(LONGEST, *(len(clip) for clip in clips))
    begins = [int(rng.integers(len(clip) - length + 1)) for clip in clips]
    return torch.from_numpy(np.stack([clip[begin : begin + length] for clip, begin in zip(clips, begins, strict=True)]))


def transformer_blocks(encoder: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of an encoder, lowest first.

    Raises
    ------
    ModelError
        It has no module list called ``layers``, as Whisper and the encoders of transformers have.
    """
    for name, module in encoder.named_modules():
        if name.rsplit(".", 1)[-1] == "layers" and isinstance(module, nn.ModuleList):
            return list(module)
    raise ModelError(
        f"an encoder of type {type(encoder).__name__} cannot be tuned, its blocks are not where others have them: "
        'choose model.family = "adaptive"'
    )


def chosen_device(name: str) -> torch.device:
    """Return a device; "auto" is a GPU if there is one.

    Raises
    ------
    RecipeError
        A GPU is required, and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise RecipeError('model.device = "cuda", and torch sees no GPU here: write "auto" or "cpu"')
    return torch.device("cuda" if name != "cpu" and there else "cpu")


def _arrays(layer: nn.Linear) -> Head:
    """Return coefficients and intercepts in the form of `AdaptiveClassifier`."""
    return np.ascontiguousarray(layer.weight.numpy().T), layer.bias.numpy().copy()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
