"""Fine-tuning of the blocks of an encoder under a linear head: batches, steps, averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emovox.errors import ModelError, RecipeError
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.estimators.adaptive import AdaptiveOptions
from emovox.lab.estimators.axes import balanced, logistic
from emovox.lab.estimators.checkpoints import Stored
from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.neural import WeightedCrossEntropy, class_weights
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.ranges import Count, Natural, Positive, Share
from emovox.types import RATE, Float32Array

#: Number of batches whose clips are read together and sorted by length.
POOL = 8
#: Longest clip in samples; longer clips are cropped at random, to limit memory.
LONGEST = 10 * RATE
#: Fraction of the steps in which the learning rate rises.
WARM_UP = 0.1


@dataclass(frozen=True)
class FinetuneOptions(Options):
    """Options of fine-tuning the blocks of the encoder, and of the head that is fitted to its embeddings.

    Attributes
    ----------
    epochs : int
        Passes over the training clips; each uses another view of a clip (the clip or one of its augmented copies).
    learning_rate : float
        Maximum learning rate of the highest block (Adam without weight decay); it rises over the first tenth of the
        steps and then follows a cosine schedule.
    head_rate : float
        Maximum learning rate of the linear head under which the blocks are tuned.
    penalty : float
        L2 penalty of this head: weight of the squared norm of the coefficients relative to the mean loss.
    layer_decay : float
        Ratio of the learning rate of a block to that of the next higher one.
    batch_size : int
        Clips per step; batches have clips of similar length, cropped to the shortest.
    dropout : float
        Dropout probability of the embedding before the linear head.
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
    head : AdaptiveOptions
        Options of the family `adaptive`, whose classifier is fitted to the embeddings of the tuned encoder.
    seed : int
        Seed of all randomness.
    """

    epochs: Count = 4
    learning_rate: Positive = 3e-5
    head_rate: Positive = 1e-4
    penalty: Positive = 0.05
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
    head: AdaptiveOptions = field(default_factory=AdaptiveOptions)
    seed: Natural = 0


class LinearProbe(nn.Module):
    """A linear head over standardised embeddings.

    Parameters
    ----------
    mean, scale : Tensor, shape (n_features,)
        Statistics of the embeddings before fine-tuning.
    n_classes : int
        Number of classes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(len(mean), n_classes)

    @classmethod
    def fit(cls, clips: TrainingSet, classes: NDArray[Any], options: FinetuneOptions) -> LinearProbe:
        """Fit multinomial logistic regression to clips and their augmented copies."""
        copies = range(clips.n_views)
        X = np.concatenate([clips.view(number) for number in copies])
        mean, scale = X.mean(axis=0), X.std(axis=0) + np.float32(1e-6)
        target, weight, counts = targets(clips, classes, options)
        found = logistic(
            (X - mean) / scale,
            np.tile(target, len(copies)),
            np.tile(weight, (len(copies), 1)),
            np.tile(counts, len(copies)),
            options.penalty,
        )
        probe = cls(torch.from_numpy(mean), torch.from_numpy(scale), len(classes))
        with torch.no_grad():
            probe.linear.weight.copy_(torch.from_numpy(found[0].T))
            probe.linear.bias.copy_(torch.from_numpy(found[1]))
        return probe

    def forward(self, embedding: Tensor, dropout: float = 0.0) -> Tensor:
        """Map embeddings, shape (n, n_features), to logits, shape (n, n_classes)."""
        logits: Tensor = self.linear(functional.dropout((embedding - self.mean) / self.scale, dropout))
        return logits


def targets(
    clips: TrainingSet, classes: NDArray[Any], options: FinetuneOptions
) -> tuple[NDArray[np.int64], Float32Array, Float32Array]:
    """Return class indices, class weights and sample weights of clips; see `axes.logistic`."""
    target = np.searchsorted(classes, clips.y)
    corpora = np.full(len(target), "") if clips.corpora is None else clips.corpora
    weight = class_weights(target, len(classes), corpora, options.head.absent)
    return target, weight, balanced(target, corpora, np.asarray(clips.speakers))


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

    Each epoch uses another view of a clip.

    Parameters
    ----------
    embedder : Embedder
        Pretrained encoder; not modified.
    probe : LinearProbe
        Linear head fitted on its embeddings; not modified.
    clips : TrainingSet
        Training clips with waveforms.
    classes : ndarray of str, shape (n_classes,)
        Labels in output order.
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
        self,
        embedder: Embedder,
        probe: LinearProbe,
        clips: TrainingSet,
        classes: NDArray[Any],
        options: FinetuneOptions,
    ) -> None:
        self.clips, self.options, self.epochs = clips, options, 0
        self.device = chosen_device(options.device)
        tuned = copy.deepcopy(embedder)
        self.front = embedder.front
        self.masked = tuned.front = Masked(tuned.front, options.frequency_mask, options.time_mask)
        blocks = transformer_blocks(tuned.encoder)[: max(tuned.blocks)]
        self.embedder, self.probe = tuned, copy.deepcopy(probe)
        self.network = nn.ModuleDict({"embedder": tuned, "probe": self.probe}).to(self.device).eval()
        groups = [
            {
                "params": list(block.requires_grad_(True).parameters()),
                "lr": options.learning_rate * options.layer_decay**depth,
            }
            for depth, block in enumerate(reversed(blocks))
        ]
        ends = {"params": list(self.probe.parameters()), "lr": options.head_rate}
        self.optimiser = torch.optim.AdamW([*groups, ends], weight_decay=0.0)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.trained = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}
        self.criterion = WeightedCrossEntropy(options.label_smoothing)
        self.target, self.weight, self.counts = (torch.from_numpy(one) for one in targets(clips, classes, options))
        numbers = np.tile(np.arange(clips.n_views), (len(clips), 1))
        self.order = np.random.default_rng(options.seed).permuted(numbers, axis=1)
        self.steps_an_epoch = -(-len(clips) // options.batch_size)

    def epoch(self) -> float:
        """Train for an epoch and return the mean loss; randomness depends on the seed and the epoch only.

        Raises
        ------
        RecipeError
            The loss is not finite.
        """
        rng = np.random.default_rng([self.options.seed, self.epochs])
        views = self.order[:, self.epochs % self.clips.n_views]
        total, done = 0.0, 0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), _threads(self.options.threads):
            torch.manual_seed(self.options.seed * 1000 + self.epochs)
            self.masked.train()
            for step, (rows, samples) in enumerate(self._batches(views, rng)):
                self._set_rates(self.epochs * self.steps_an_epoch + step)
                total += len(rows) * self._step(rows, samples)
                done += len(rows)
                self.clips.recordings.progress("clips of this epoch", done, len(views))
            self.masked.eval()
        self.epochs += 1
        return total / len(views)

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

    def _step(self, rows: NDArray[np.intp], samples: Tensor) -> float:
        """Take one step; the loss is the weighted cross-entropy and the penalty of the head."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            embedding = self.embedder(samples.to(self.device))
        target, weight, counts = (one[rows].to(self.device) for one in (self.target, self.weight, self.counts))
        logits = self.probe(embedding.float(), self.options.dropout)
        length = self.probe.linear.weight.square().sum()
        loss = self.criterion((logits, weight), target, counts) + self.options.penalty * length
        if not torch.isfinite(loss):
            raise RecipeError(
                f"the loss is not finite any more in epoch {self.epochs + 1}: "
                f"lower model.learning_rate, which is {self.options.learning_rate:g}"
            )
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.values(), self.options.clipping)
        self.optimiser.step()
        for name, value in self.trained.items():
            self.average[name].lerp_(value.detach(), 1 - self.options.averaging)
        return float(loss.detach())

    def result(self) -> tuple[Embedder, LinearProbe]:
        """Return encoder and linear head with averaged weights."""
        network = copy.deepcopy(self.network).cpu().requires_grad_(False)
        network.load_state_dict({**network.state_dict(), **self.average})
        embedder, probe = network["embedder"], network["probe"]
        assert isinstance(embedder, Embedder)
        assert isinstance(probe, LinearProbe)
        embedder.front = self.front
        return embedder, probe

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that an epoch changes, with the state of the optimiser after the first epoch."""
        found = {f"weight.{name}": value.detach() for name, value in self.trained.items()}
        found |= {f"average.{name}": value for name, value in self.average.items()}
        for name, value in self.trained.items():
            found |= {f"{key}.{name}": one for key, one in self.optimiser.state[value].items()}
        return found

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


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
