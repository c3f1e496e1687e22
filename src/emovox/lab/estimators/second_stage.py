"""The second stage of the adaptive head: axes against what was heard of setting and speaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emovox.lab.estimators.axes import VIEWS
from emovox.types import Float32Array

#: Clips at which half of a variance is believed.
VARIANCE_CLIPS = 4.0
#: Slopes of the gates by spread in the logarithm of the variance: of a setting, and of a speaker, whose few clips say
#: less of it, so that shrinkage brings narrow and wide closer together.
SLOPE, SPEAKER_SLOPE = 6.0, 12.0
#: Clips at which half of a setting is believed, before training.
SETTING_CLIPS = 4.5


@dataclass(frozen=True)
class Beliefs:
    """How far baselines are believed; the fields are those of `AdaptiveOptions`."""

    speaker_clips: float
    least_spread: float
    least_own_spread: float


class SecondStage(nn.Module):
    """Linear layer over the axes' distances from setting and speaker, and the spread and size of both baselines.

    Parameters
    ----------
    n_classes : int
        Number of classes; there are three axes for each.
    beliefs : Beliefs
        Strength and gates.
    values : ndarray of float32, shape (n, r)
        Axes of the training clips.
    setting : ndarray of str, shape (n,)
        Their settings: axes are standardised by the mean over settings, and the deviation within them.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, n_classes: int, beliefs: Beliefs, values: Float32Array, setting: NDArray[Any]) -> None:
        super().__init__()
        for name, value in zip(("shift", "scale"), _standards(values, setting), strict=True):
            self.register_buffer(name, torch.from_numpy(value))
        self.n_classes, self.width = n_classes, VIEWS * n_classes
        self.beliefs = beliefs
        self.log_setting_clips = nn.Parameter(torch.tensor(float(np.log(SETTING_CLIPS))))
        self.layer = nn.Linear(6 * self.width + 4, n_classes)
        with torch.no_grad():
            self.layer.bias.zero_()
            self.layer.weight.zero_()
            for view in range(2 * VIEWS):
                own = slice(view * n_classes, (view + 1) * n_classes)
                self.layer.weight[:, own] = 0.5 / VIEWS * torch.eye(n_classes)
        self.start = self.layer.weight.detach().clone()

    def forward(self, axes: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map axes, (n, r), and baselines, (n, 2 + 4 r), to logits, shape (n, n_classes), trust and width, (n, 1).

        Trust in the baseline is 0 where nothing was heard, and approaches 1 with much.  Width is the variance of the
        setting relative to the population's, 1 where nothing was heard.
        """
        levels = []
        for count, mean, variance in self._levels(baseline):
            known = (count > 0).to(axes.dtype)
            levels += [count, known * (mean - self.shift) / self.scale, variance / self.scale**2]
        known_levels = torch.cat(levels, dim=1)
        logits, trust = self.judge((axes - self.shift) / self.scale, known_levels)
        return logits, trust, self._width(self._spreads(known_levels)[0])

    def _levels(self, baseline: Tensor) -> list[tuple[Tensor, ...]]:
        """Return count, mean and variance of setting and of speaker."""
        sizes = [1, self.width, self.width]
        parts = torch.split(baseline, sizes * 2, dim=1)
        return [parts[:3], parts[3:]]

    def _width(self, spread: Tensor) -> Tensor:
        """Return the mean variance of the centred axes, shape (n, 1)."""
        return spread[:, : self.n_classes].mean(dim=1, keepdim=True)

    def _spreads(self, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shrunk variances of setting and speaker, each of shape (n, r)."""
        (count, _, variance), (own_count, _, own_variance) = self._levels(baseline)
        spread = _shrunk(variance, count, 1.0)
        return spread, _shrunk(own_variance, own_count, spread)

    def judge(self, values: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Map standardised axes and baselines to logits and trust."""
        (count, mean, _), (own_count, own_mean, _) = self._levels(baseline)
        known, own_known = (count > 0).to(values.dtype), (own_count > 0).to(values.dtype)
        spread, own_spread = self._spreads(baseline)
        trust = count / (count + self.log_setting_clips.exp())
        if self.beliefs.least_spread:
            trust = trust * torch.sigmoid(SLOPE * torch.log(self._width(spread) / self.beliefs.least_spread))
        own_trust = own_count / (own_count + self.beliefs.speaker_clips)
        # Open in training: else the layer learns to answer by the speaker's spread instead, which misleads as much.
        if self.beliefs.least_own_spread and not self.training:
            width = self._width(own_spread) / self._width(spread)
            own_trust = own_trust * torch.sigmoid(SPEAKER_SLOPE * torch.log(width / self.beliefs.least_own_spread))
        setting = trust * mean
        speaker = setting + own_trust * (own_mean - setting)
        columns = [values - setting, values - speaker, setting, speaker - setting]
        columns += [torch.log(spread + 0.02), torch.log(own_spread + 0.02), trust, own_trust, known, own_known]
        return self.layer(torch.cat(columns, dim=1)), torch.maximum(trust, own_trust)


def _shrunk(variance: Tensor, count: Tensor, above: Tensor | float) -> Tensor:
    """Shrink the variances of so many clips towards those of the level above."""
    return (count * variance + VARIANCE_CLIPS * above) / (count + VARIANCE_CLIPS)


def _standards(values: Float32Array, setting: NDArray[Any]) -> tuple[Float32Array, Float32Array]:
    """Return the mean over settings and the deviation within them, each of shape (r,)."""
    groups = [values[setting == one] for one in np.unique(setting)]
    within = np.mean([one.var(axis=0) for one in groups], axis=0)
    mean = np.mean([one.mean(axis=0) for one in groups], axis=0)
    return np.asarray(mean, dtype=np.float32), np.asarray(np.sqrt(within) + 1e-4, dtype=np.float32)
