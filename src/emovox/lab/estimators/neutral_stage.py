"""The stage of the adaptive head for speakers whose clips are known to be neutral: distances from them and the setting.

A speaker's clips of unknown mood are believed little, lest they mislead (`SecondStage`).  Where they are known to be
neutral, their mean is the origin from which that speaker's emotions are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emovox.lab.estimators.axes import Clips, logistic
from emovox.lab.estimators.drawn_baselines import Draws, Heard, draw
from emovox.lab.estimators.second_stage import SETTING_CLIPS
from emovox.model.file import TINY
from emovox.types import Float32Array

#: Part of the networks in the logarithms where the setting is not known: they know the training corpora best.
NETWORKS = 0.3
#: Baselines of neutral clips in training; those of settings as for the second stage.
NEUTRAL = Draws(without_speaker=0.0, speaker_neutral=1.0, speaker_one=0.0, most_of_speaker=6)


@dataclass(frozen=True)
class NeutralOptions:
    """Training of the stage.

    Attributes
    ----------
    penalty : float
        L2 penalty, see `axes.logistic`.
    draws : int
        Number of draws of baselines.
    iterations : int
        Maximum number of iterations of L-BFGS.
    """

    penalty: float = 1e-3
    draws: int = 4
    iterations: int = 60


class NeutralStage(nn.Module):
    """Linear layer over the distance of a clip's axes from its speaker's neutral clips, and from its setting.

    Parameters
    ----------
    scale : ndarray of float32, shape (r,)
        Deviation of the axes within settings.
    n_classes : int
        Number of classes.
    """

    scale: Tensor

    def __init__(self, scale: Float32Array, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(scale))
        self.layer = nn.Linear(3 * len(scale) + 1, n_classes)

    def columns(self, axes: Tensor, baseline: Tensor) -> Tensor:
        """Return what the layer takes, shape (n, 3 r + 1), of axes, (n, r), and baselines, (n, 2 + 4 r)."""
        width = len(self.scale)
        count, mean, _, _, own, _ = torch.split(baseline, [1, width, width] * 2, dim=1)
        trust = count / (count + SETTING_CLIPS)
        distance = (axes - own) / self.scale
        return torch.cat([distance, trust * distance, trust * (axes - mean) / self.scale, trust], dim=1)

    def forward(self, axes: Tensor, baseline: Tensor) -> Tensor:
        """Return logits, shape (n, n_classes)."""
        logits: Tensor = self.layer(self.columns(axes, baseline))
        return logits

    def answer(self, axes: Tensor, baseline: Tensor, plain: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes), in which networks that know no baseline have a part.

        Parameters
        ----------
        axes, baseline : Tensor
            See :meth:`columns`.
        plain : Tensor, shape (n, n_classes)
            Probabilities of the networks; their part shrinks as the setting becomes known.
        """
        count = baseline[:, :1]
        part = NETWORKS * SETTING_CLIPS / (count + SETTING_CLIPS)
        own = torch.log_softmax(self(axes, baseline), dim=1)
        mixed = (1 - part) * own + part * torch.log(plain.clamp_min(TINY))
        return torch.softmax(mixed, dim=1)


def fit(
    stage: NeutralStage,
    clips: Clips,
    values: Float32Array,
    weight: Float32Array,
    groups: tuple[Sequence[NDArray[np.intp]], Sequence[NDArray[np.intp]]],
    neutral: int,
    options: NeutralOptions,
    seed: int,
) -> NeutralStage:
    """Fit the layer to clips with drawn baselines.

    Parameters
    ----------
    stage : NeutralStage
        What is fitted.
    clips : Clips
        Training clips.
    values : ndarray of float32, shape (n, r)
        Their axes, by axes that did not learn from them.
    weight : ndarray of float32, shape (n,)
        Sample weights.
    groups : tuple of sequence of ndarray of int
        Rows of each setting and of each speaker.
    neutral : int
        Index of the neutral class.
    options : NeutralOptions
    seed : int
    """
    settings, speakers = groups
    speakers = [rows for rows in speakers if (clips.target[rows] == neutral).sum() > 1]
    rng, taken = np.random.default_rng([seed, 17]), []
    for _ in range(options.draws):
        drawn = draw(values, clips.target, settings, speakers, neutral, NEUTRAL, rng)
        taken.append(_rows(stage, values, drawn))
    rows = np.concatenate([each for each, _ in taken])
    seen = np.concatenate([each for _, each in taken])
    own = weight[rows] / weight[rows].mean()
    coefficients, intercepts = logistic(
        seen, clips.target[rows], clips.prior[rows], own, options.penalty, options.iterations
    )
    with torch.no_grad():
        stage.layer.weight.copy_(torch.from_numpy(coefficients.T))
        stage.layer.bias.copy_(torch.from_numpy(intercepts))
    return stage.eval().requires_grad_(False)


def _rows(
    stage: NeutralStage, values: Float32Array, drawn: tuple[Heard, Heard]
) -> tuple[NDArray[np.intp], Float32Array]:
    """Return the rows whose speaker is known, and the columns of the layer for them."""
    setting, speaker = drawn
    rows = np.flatnonzero(speaker.count[:, 0])
    packed = np.hstack([setting.packed(), speaker.packed()])[rows]
    with torch.inference_mode():
        columns: Any = stage.columns(torch.from_numpy(values[rows]), torch.from_numpy(packed))
    return rows, columns.numpy()
