"""Options of the networks over frames, and how each builds its network."""

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
    """How a network over frames is trained.

    Attributes
    ----------
    pooling : {"attention", "mean"}
        How the frames are weighed where they become one vector.
    normalise : {"corpus", "clip"}
        Standardise features over all frames trained on, or each clip by itself after that: what a microphone and a
        voice always do goes, and so does the difference between bright and dull speech.
    frames : int
        Frames of a clip that are seen in a step: another stretch of a longer clip each time.
    dropout : float
        Share of units silenced in training.
    label_smoothing : float
        Share of each target spread evenly over the classes that the clip's corpus has.
    mixup : float
        Clips are mixed in pairs, with shares from a Beta distribution of this parameter; 0 mixes none.
    feature_mask, time_mask : int
        Widest stretch of features, and of frames, that is masked (SpecAugment, two of each); 0 masks none.
    balanced : bool
        Weigh classes by the inverse of their frequency.
    absent : float
        How much a class still counts for clips of a corpus that lacks it, from 0 to 1; see `AnnOptions.absent`.
    learning_rate, weight_decay : float
        Largest step size and decoupled decay of AdamW.
    schedule : {"constant", "cosine", "onecycle"}
        Course of the learning rate; "onecycle" rises over the first quarter of the steps and falls to nothing.
    batch_size, epochs : int
        Clips a step; passes over the training clips, the most when stopping early.
    patience : int
        Stop when the loss on held-out *training speakers* has not fallen for so many epochs, and keep the best epoch;
        0 trains for all epochs.
    validation : float
        Share of the training speakers held out for that; 0 with no patience trains on all speakers.  Each member holds
        out others.
    members : int
        Networks of different seeds whose probabilities are averaged.
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
        """Epochs that are told of in a training, of all networks."""
        return self.epochs * self.members


@dataclass(frozen=True)
class CnnOptions(SequenceOptions):
    """The convolutional network, for log-mel levels or MFCC.

    Attributes
    ----------
    block : {"residual", "plain"}
        Blocks of two convolutions with a shortcut, or the plain stack of convolutions and pooling.
    channels : tuple of int
        Channels of the first convolution and of each block after it; each halves time and frequency.
    embedding : int
        Width of a frame before it is pooled.
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
    """The recurrent network in both directions, for MFCC, F0 and energy.

    Attributes
    ----------
    cell : {"lstm", "gru"}
        Kind of the recurrent layers.
    units, layers : int
        Units of a layer in each direction, number of layers.
    stride : int
        Frames that are taken together before the recurrent layers.
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
    """A feed-forward network on each frame: the yardstick for the two that see the order of the frames.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    """

    hidden: tuple[Count, ...] = (128, 128)

    def network(self, n_features: int, n_classes: int) -> nn.Module:
        """Build the network."""
        return FrameByFrame(n_features, n_classes, self.hidden, self.pooling, self.dropout)
