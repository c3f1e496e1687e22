"""Options of the networks over frames; each builds its network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt, MinLen
from torch import nn

from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.sequence_networks import Convolutional, FrameByFrame, Recurrent
from emovox.lab.ranges import Count, Natural, NotNegative, Positive, Share


@dataclass(frozen=True)
class SequenceOptions(Options):
    """Options of training common to all networks over frames.

    Attributes
    ----------
    pooling : {"attention", "mean"}
        Pooling over time, with learned or equal weights.
    normalise : {"corpus", "clip"}
        Standardise features over all training frames, or additionally each clip, which removes constant properties of
        microphone and voice, but also differences of timbre between clips.
    frames : int
        Length of the random crop of a clip per step, in frames.
    dropout : float
        Dropout probability.
    label_smoothing : float
        Fraction of each target that is distributed evenly over the classes of the clip's corpus.
    mixup : float
        Parameter of the Beta distribution of mixup weights; 0 disables mixup.
    feature_mask, time_mask : int
        Maximum width of the masks of features, and of frames (SpecAugment, two of each); 0 disables them.
    balanced : bool
        Weight classes by the inverse of their frequency.
    absent : float
        Prior weight of a class for clips whose corpus lacks it, from 0 to 1; see `AnnOptions.absent`.
    learning_rate, weight_decay : float
        Maximum learning rate and decoupled weight decay of AdamW.
    schedule : {"constant", "cosine", "onecycle"}
        Schedule of the learning rate; "onecycle" rises over the first quarter of the steps and falls to 0.
    batch_size, epochs : int
        Clips per step; passes over the training clips, the maximum with early stopping.
    patience : int
        Early stopping: number of epochs without improvement of the loss on held-out *training speakers*; the best epoch
        is kept.  0 trains for all epochs.
    validation : float
        Fraction of the training speakers held out for early stopping, different ones for each member; 0, with patience
        0, trains on all speakers.
    members : int
        Number of networks with different seeds whose probabilities are averaged.
    seed : int
        Seed of initial weights, batches, masks, dropout and held-out speakers.

    Notes
    -----
    Sources: D. Park et al., "SpecAugment", Interspeech 2019; H. Zhang et al., "mixup: beyond empirical risk
    minimization", ICLR 2018; L. Smith and N. Topin, "Super-convergence", 2018.
    """

    pooling: Literal["attention", "mean"] = "attention"
    normalise: Literal["corpus", "clip"] = "corpus"
    frames: Annotated[int, Ge(8)] = 120
    dropout: Share = 0.2
    label_smoothing: Share = 0.1
    mixup: NotNegative = 0.0
    feature_mask: Natural = 4
    time_mask: Natural = 10
    balanced: bool = False
    absent: Annotated[float, Ge(0), Le(1)] = 0.0
    learning_rate: Positive = 5e-3
    weight_decay: NotNegative = 0.01
    schedule: Literal["constant", "cosine", "onecycle"] = "onecycle"
    batch_size: Annotated[int, Ge(2)] = 32
    epochs: Count = 30
    patience: Natural = 0
    validation: Annotated[float, Ge(0), Lt(1)] = 0.0
    members: Count = 1
    seed: Natural = 0

    @property
    def planned_epochs(self) -> int:
        """Number of epochs reported in training, over all networks."""
        return self.epochs * self.members


@dataclass(frozen=True)
class CnnOptions(SequenceOptions):
    """Options of the convolutional network, for log-mel spectrograms or MFCC.

    Attributes
    ----------
    block : {"residual", "plain"}
        Residual blocks, or convolutions with max pooling.
    channels : tuple of int
        Channels of the first convolution and of each block; each block halves time and frequency.
    embedding : int
        Width of a frame before pooling.
    """

    block: Literal["residual", "plain"] = "residual"
    channels: Annotated[tuple[Count, ...], MinLen(1)] = (16, 32, 64)
    embedding: Count = 128

    def network(self, n_features: int, n_classes: int) -> nn.Module:
        """Build the network."""
        return Convolutional(
            n_features, n_classes, self.channels, self.block, self.pooling, self.embedding, self.dropout
        )


@dataclass(frozen=True)
class RnnOptions(SequenceOptions):
    """Options of the bidirectional recurrent network, for MFCC, F0 and energy.

    Attributes
    ----------
    cell : {"lstm", "gru"}
        Kind of the recurrent layers.
    units, layers : int
        Units of a layer in each direction, number of layers.
    stride : int
        Number of frames stacked before the recurrent layers.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    units: Count = 64
    layers: Count = 1
    stride: Count = 4

    def network(self, n_features: int, n_classes: int) -> nn.Module:
        """Build the network."""
        return Recurrent(
            n_features, n_classes, self.cell, self.units, self.layers, self.stride, self.pooling, self.dropout
        )


@dataclass(frozen=True)
class FramesOptions(SequenceOptions):
    """Options of a feed-forward network on each frame: a baseline without temporal order.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    """

    hidden: tuple[Count, ...] = (128, 128)

    def network(self, n_features: int, n_classes: int) -> nn.Module:
        """Build the network."""
        return FrameByFrame(n_features, n_classes, self.hidden, self.pooling, self.dropout)
