"""Baselines for training: of both levels, all sizes and mixes of emotions, the clip itself taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.data import CLASSES, NEUTRAL, Flags, Integers
from emovox.types import Float32Array


@dataclass(frozen=True)
class DrawOptions:
    """How baselines are drawn; numbers are shares in [0, 1].

    Attributes
    ----------
    without_setting, without_speaker : float
        Groups of clips without a baseline of the level.
    one_mood, of_it_neutral : float
        Baselines of a setting from one emotion only; those of them that are neutral.
    speaker_neutral, speaker_one : float
        Baselines of a speaker from neutral clips, and from clips of one emotion.
    most_of_setting, most_of_speaker : int
        The largest baselines in clips.
    draws : int
        Draws, shared by the epochs.
    """

    without_setting: float = 0.25
    without_speaker: float = 0.5
    one_mood: float = 0.35
    of_it_neutral: float = 0.5
    speaker_neutral: float = 0.45
    speaker_one: float = 0.15
    most_of_setting: int = 200
    most_of_speaker: int = 12
    draws: int = 12


@dataclass
class Baseline:
    """What was heard of the setting or the speaker of each of n clips.

    Attributes
    ----------
    count : ndarray of float32, shape (n, 1)
        Clips heard; 0: nothing known.
    mean, variance : ndarray of float32, shape (n, r)
        Of the values heard; 0 where nothing is known.
    """

    count: Float32Array
    mean: Float32Array
    variance: Float32Array

    @classmethod
    def nothing(cls, clips: int, width: int) -> Baseline:
        """Return baselines of nothing heard."""
        empty = np.zeros((clips, width), np.float32)
        return cls(np.zeros((clips, 1), np.float32), empty, empty.copy())

    def hear(self, rows: slice | Flags, values: Float32Array) -> None:
        """Set the baseline of some clips to what was heard, shape (m, r)."""
        self.count[rows], self.mean[rows] = len(values), values.mean(0)
        self.variance[rows] = values.var(0)


@dataclass(frozen=True)
class Groups:
    """Rows of each setting and of each speaker."""

    setting: Mapping[str, Integers]
    speaker: Mapping[str, Integers]


def _choose(rows: Integers, label: Integers, size: int, mood: str, rng: np.random.Generator) -> Integers:
    """Draw clips of a mood without replacement."""
    weight = np.ones(len(CLASSES))
    if mood == "mixed":
        weight = rng.dirichlet(np.full(len(CLASSES), 0.5))
    elif mood == "neutral":
        weight = np.eye(len(CLASSES))[NEUTRAL]
    elif mood == "one":
        weight = np.eye(len(CLASSES))[rng.integers(len(CLASSES))]
    # In half of the cases a few clips of other emotions get in.
    weight = weight + (0.01 if mood != "all" and rng.random() < 0.5 else 1e-9)
    emotions = label[rows]
    chance = weight[emotions] / np.bincount(emotions, minlength=len(CLASSES))[emotions]
    possible = chance > 1e-6
    if not possible.any():
        possible[:] = True
    # The Gumbel trick: the largest of log weight plus noise are a weighted sample without replacement.
    order = np.where(possible, np.log(chance + 1e-12) + rng.gumbel(size=len(rows)), -np.inf)
    return rows[np.argsort(-order)[: min(size, int(possible.sum()))]]


def _give(baseline: Baseline, members: Integers, chosen: Integers, values: Float32Array) -> None:
    """Give the chosen clips to the members as their baseline, to each without itself."""
    heard = values[chosen]
    total, squares = heard.sum(0), (heard * heard).sum(0)
    inside = np.isin(members, chosen)[:, None].astype(np.float32)
    count = len(heard) - inside
    known = count > 0
    mean = (total - inside * values[members]) / np.maximum(count, 1) * known
    variance = (squares - inside * values[members] ** 2) / np.maximum(count, 1) - mean**2
    baseline.count[members], baseline.mean[members] = count, mean
    baseline.variance[members] = np.maximum(variance, 0) * known


def draw(
    values: Float32Array, label: Integers, groups: Groups, options: DrawOptions, rng: np.random.Generator
) -> tuple[Baseline, Baseline]:
    """Draw baselines of setting and speaker for all training clips; clips are given them in groups."""
    setting, speaker = Baseline.nothing(*values.shape), Baseline.nothing(*values.shape)
    for rows in groups.setting.values():
        for members in np.array_split(rng.permutation(rows), 10):
            if rng.random() < options.without_setting or not len(members):
                continue
            mood = _mood_of_setting(options, rng)
            size = int(np.exp(rng.uniform(np.log(3), np.log(options.most_of_setting))))
            _give(setting, members, _choose(rows, label, size, mood, rng), values)
    for rows in groups.speaker.values():
        for members in np.array_split(rng.permutation(rows), 3):
            if rng.random() < options.without_speaker or not len(members):
                continue
            mood = _mood_of_speaker(options, rng)
            size = int(rng.integers(1, options.most_of_speaker + 1))
            _give(speaker, members, _choose(rows, label, size, mood, rng), values)
    return setting, speaker


def _mood_of_setting(options: DrawOptions, rng: np.random.Generator) -> str:
    which = rng.random()
    if which < options.one_mood:
        return "neutral" if rng.random() < options.of_it_neutral else "one"
    return "mixed" if which < 0.5 + options.one_mood / 2 else "all"


def _mood_of_speaker(options: DrawOptions, rng: np.random.Generator) -> str:
    which = rng.random()
    if which < options.speaker_neutral:
        return "neutral"
    if which < options.speaker_neutral + options.speaker_one:
        return "one"
    return "mixed" if which < 0.8 else "all"


@dataclass(frozen=True)
class VirtualOptions:
    """Virtual settings and voices in the space of the axes; 0 switches one off.

    Attributes
    ----------
    offset : float
        Offset of a setting, in spreads between the training settings.
    gain : float
        Standard deviation of the log of a setting's scale.
    voice : float
        Offset of a speaker.
    """

    offset: float = 1.0
    gain: float = 0.25
    voice: float = 0.5


def virtual(
    values: Float32Array,
    baselines: tuple[Baseline, Baseline],
    centres: tuple[Float32Array, Float32Array],
    options: VirtualOptions,
    rng: np.random.Generator,
) -> tuple[Float32Array, Baseline, Baseline]:
    """Move each clip, together with its own baselines, to another setting and voice.

    Parameters
    ----------
    values : ndarray of float32, shape (n, r)
    baselines : tuple of Baseline
        Of setting and speaker.
    centres : tuple of ndarray of float32, shapes (n, r) and (k, r)
        Centre of each clip's own setting; centres of the k training settings less their mean.
    options : VirtualOptions
    rng : Generator
    """
    (clips, width), (own, between) = values.shape, centres
    along = rng.normal(size=(clips, len(between))) @ between / np.sqrt(len(between)) * options.offset
    offset = along + rng.normal(size=(clips, width)) * 0.2 * options.offset
    offset = offset * (rng.random((clips, 1)) < 0.7)
    gain = np.exp(rng.normal(size=(clips, 1)) * options.gain)
    voice = rng.normal(size=(clips, width)) * options.voice * rng.random((clips, 1))

    def moved(points: Float32Array) -> Float32Array:
        return np.asarray(gain * (points - own) + own + offset, dtype=np.float32)

    def carried(baseline: Baseline, shift: NDArray[np.float64] | float) -> Baseline:
        mean = np.where(baseline.count > 0, moved(baseline.mean) + shift, 0).astype(np.float32)
        return Baseline(baseline.count, mean, (baseline.variance * gain**2).astype(np.float32))

    setting, speaker = baselines
    return (moved(values) + voice).astype(np.float32), carried(setting, 0.0), carried(speaker, voice)
