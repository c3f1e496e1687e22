"""Baselines for training: of setting and speaker, of all sizes and mixes of emotions, the clip itself taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox.types import Float32Array

#: Parts of a setting and of a speaker whose clips share a baseline.
SETTING_PARTS, SPEAKER_PARTS = 10, 3


@dataclass(frozen=True)
class Draws:
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
    """

    without_setting: float = 0.25
    without_speaker: float = 0.5
    one_mood: float = 0.35
    of_it_neutral: float = 0.5
    speaker_neutral: float = 0.45
    speaker_one: float = 0.15
    most_of_setting: int = 200
    most_of_speaker: int = 12


@dataclass
class Heard:
    """What was heard of the settings, or of the speakers, of n clips.

    Attributes
    ----------
    count : ndarray of float32, shape (n, 1)
        Clips heard; 0: nothing known.
    mean, variance : ndarray of float32, shape (n, r)
        Of the axes heard; 0 where nothing is known.
    """

    count: Float32Array
    mean: Float32Array
    variance: Float32Array

    @classmethod
    def nothing(cls, clips: int, width: int) -> Heard:
        """Return baselines of nothing heard."""
        empty = np.zeros((clips, width), np.float32)
        return cls(np.zeros((clips, 1), np.float32), empty, empty.copy())

    def packed(self) -> Float32Array:
        """Return one level of a model's input, shape (n, 1 + 2 r)."""
        return np.hstack([self.count, self.mean, self.variance])

    def give(self, members: NDArray[np.intp], chosen: NDArray[np.intp], values: Float32Array) -> None:
        """Give the chosen clips to the members as their baseline, to each without itself."""
        heard = values[chosen]
        total, squares = heard.sum(axis=0), (heard * heard).sum(axis=0)
        inside = np.isin(members, chosen)[:, np.newaxis].astype(np.float32)
        count = len(heard) - inside
        known = count > 0
        mean = (total - inside * values[members]) / np.maximum(count, 1) * known
        variance = (squares - inside * values[members] ** 2) / np.maximum(count, 1) - mean**2
        self.count[members], self.mean[members] = count, mean
        self.variance[members] = np.maximum(variance, 0) * known


def draw(
    values: Float32Array,
    target: NDArray[np.int64],
    settings: Sequence[NDArray[np.intp]],
    speakers: Sequence[NDArray[np.intp]],
    neutral: int | None,
    options: Draws,
    rng: np.random.Generator,
) -> tuple[Heard, Heard]:
    """Draw baselines of setting and speaker for all training clips, which are given them in groups.

    Parameters
    ----------
    values : ndarray of float32, shape (n, r)
        Axes.
    target : ndarray of int, shape (n,)
        Class indices.
    settings, speakers : sequence of ndarray of int
        Rows of each setting and of each speaker.
    neutral : int or None
        Index of the neutral class, if there is one.
    options : Draws
    rng : Generator
    """
    setting, speaker = Heard.nothing(*values.shape), Heard.nothing(*values.shape)
    classes = int(target.max()) + 1
    for rows in settings:
        for members in np.array_split(rng.permutation(rows), SETTING_PARTS):
            if rng.random() < options.without_setting or not len(members):
                continue
            mix = _mix(_mood_of_setting(options, rng), classes, neutral, rng)
            size = int(np.exp(rng.uniform(np.log(3), np.log(options.most_of_setting))))
            setting.give(members, _choose(rows, target, size, mix, rng), values)
    for rows in speakers:
        for members in np.array_split(rng.permutation(rows), SPEAKER_PARTS):
            if rng.random() < options.without_speaker or not len(members):
                continue
            mix = _mix(_mood_of_speaker(options, rng), classes, neutral, rng)
            size = int(rng.integers(1, options.most_of_speaker + 1))
            speaker.give(members, _choose(rows, target, size, mix, rng), values)
    return setting, speaker


def _mood_of_setting(options: Draws, rng: np.random.Generator) -> str:
    which = rng.random()
    if which < options.one_mood:
        return "neutral" if rng.random() < options.of_it_neutral else "one"
    return "mixed" if which < 0.5 + options.one_mood / 2 else "all"


def _mood_of_speaker(options: Draws, rng: np.random.Generator) -> str:
    which = rng.random()
    if which < options.speaker_neutral:
        return "neutral"
    if which < options.speaker_neutral + options.speaker_one:
        return "one"
    return "mixed" if which < 0.8 else "all"


def _mix(mood: str, classes: int, neutral: int | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the weight of each class in a baseline."""
    weight = np.ones(classes)
    if mood == "mixed":
        weight = rng.dirichlet(np.full(classes, 0.5))
    elif mood == "neutral" and neutral is not None:
        weight = np.eye(classes)[neutral]
    elif mood != "all":
        weight = np.eye(classes)[rng.integers(classes)]
    # In half of the cases a few clips of other emotions get in.
    return weight + (0.01 if mood != "all" and rng.random() < 0.5 else 1e-9)


def _choose(
    rows: NDArray[np.intp], target: NDArray[np.int64], size: int, weight: NDArray[np.float64], rng: Any
) -> NDArray[np.intp]:
    """Draw clips of a mix of classes without replacement."""
    classes = target[rows]
    chance = weight[classes] / np.bincount(classes, minlength=len(weight))[classes]
    possible = chance > 1e-6
    if not possible.any():
        possible[:] = True
    # The Gumbel trick: the largest of log weight plus noise are a weighted sample without replacement.
    order = np.where(possible, np.log(chance + 1e-12) + rng.gumbel(size=len(rows)), -np.inf)
    return np.asarray(rows[np.argsort(-order)[: min(size, int(possible.sum()))]])


@dataclass(frozen=True)
class Virtual:
    """Virtual settings and voices in the space of the axes.

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


def moved(
    values: Float32Array,
    baselines: tuple[Heard, Heard],
    centres: tuple[Float32Array, Float32Array],
    options: Virtual,
    rng: np.random.Generator,
) -> tuple[Float32Array, Heard, Heard]:
    """Move each clip, together with its own baselines, to another setting and voice.

    Parameters
    ----------
    values : ndarray of float32, shape (n, r)
        Axes.
    baselines : tuple of Heard
        Of setting and speaker.
    centres : tuple of ndarray of float32, shapes (n, r) and (k, r)
        Centre of each clip's own setting; centres of the k training settings less their mean.
    options : Virtual
    rng : Generator
    """
    (clips, width), (own, between) = values.shape, centres
    along = rng.normal(size=(clips, len(between))) @ between / np.sqrt(len(between)) * options.offset
    offset = along + rng.normal(size=(clips, width)) * 0.2 * options.offset
    offset = offset * (rng.random((clips, 1)) < 0.7)
    gain = np.exp(rng.normal(size=(clips, 1)) * options.gain)
    voice = rng.normal(size=(clips, width)) * options.voice * rng.random((clips, 1))

    def elsewhere(points: Float32Array) -> Float32Array:
        return np.asarray(gain * (points - own) + own + offset, dtype=np.float32)

    def carried(heard: Heard, shift: NDArray[np.float64] | float) -> Heard:
        mean = np.where(heard.count > 0, elsewhere(heard.mean) + shift, 0).astype(np.float32)
        return Heard(heard.count, mean, (heard.variance * gain**2).astype(np.float32))

    setting, speaker = baselines
    return (elsewhere(values) + voice).astype(np.float32), carried(setting, 0.0), carried(speaker, voice)
