"""Heads over embeddings and baselines: one linear stage, and two.

One stage: principal components of the embedding less the shrunk baseline, then a linear layer.  Two stages: first axes,
linear scores of the clip alone; then a linear layer over their distances from setting and speaker, with the baseline's
spread and size.  For training, each corpus is scored by axes that never heard it, as a stranger's clips are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from baselines.data import CLASSES, NEUTRAL, Components, Embeddings, Integers, Table, balance, components, flat
from baselines.draws import Baseline, DrawOptions, Groups, VirtualOptions, draw, virtual
from emovox.types import Float32Array

#: Values of a clip, log seconds, and the baselines' count, mean and variance.
Inputs = tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], list[torch.Tensor]]


@dataclass(frozen=True)
class HeadOptions:
    """A head and how it is trained.

    Attributes
    ----------
    stages : int
        1 or 2.
    components : int
        Principal components of the embedding.
    axes_penalty : float
        Ridge penalty of the axes.
    setting_clips, speaker_clips : float
        Clips at which half of a baseline is believed; 0: learned.
    least_spread : float
        Variance of a setting over the population's at which half of its offset is believed; 0: all of it always.
    keep : float
        Penalty on leaving the start, which is the distance from the baselines itself.
    draws : DrawOptions
    virtual : VirtualOptions or None
        Virtual settings and voices; None: none.
    members, epochs, batch : int
        Averaged networks; passes over the clips; clips in a step.
    rate, decay, smoothing, dropout : float
        Highest learning rate, weight decay, label smoothing; dropout of a single stage's components.
    seed : int
    """

    stages: int = 2
    components: int = 320
    axes_penalty: float = 3e-4
    setting_clips: float = 0.0
    speaker_clips: float = 20.0
    least_spread: float = 0.42
    keep: float = 0.02
    draws: DrawOptions = field(default_factory=DrawOptions)
    virtual: VirtualOptions | None = field(default_factory=VirtualOptions)
    members: int = 1
    epochs: int = 30
    batch: int = 256
    rate: float = 4e-3
    decay: float = 0.02
    smoothing: float = 0.02
    dropout: float = 0.2
    seed: int = 0


class Axes:
    """The first stage: twelve linear scores of a clip, four classes from three points of view, by training corpora.

    The points of view: clips centred on their setting; as they are; centred on their speaker's neutral clips.
    """

    def __init__(self, data: Embeddings, options: HeadOptions) -> None:
        self.data, self.options = data, options
        self._fitted: dict[frozenset[str], tuple[Float32Array, Float32Array]] = {}

    def __call__(self, embedding: Float32Array, corpora: Sequence[str]) -> Float32Array:
        """Score clips, shape (n, d), on axes fitted to some corpora; returns shape (n, 12)."""
        key = frozenset(corpora)
        if key not in self._fitted:
            self._fitted[key] = self._fit(corpora)
        matrix, constant = self._fitted[key]
        return embedding @ matrix + constant

    def _fit(self, corpora: Sequence[str]) -> tuple[Float32Array, Float32Array]:
        basis, table = components(self.data, corpora, self.options.components), flat(self.data, corpora)
        points = basis.project(table.embedding)
        weight = balance(table.label, table.corpus, table.speaker)
        matrices, constants = [], []
        for seen in _points_of_view(points, table):
            weights = logistic(seen, table.label, weight, self.options.axes_penalty)
            weights = weights - weights.mean(1, keepdims=True)
            matrix = basis.directions @ weights[:-1] / basis.deviation[:, None]
            matrices.append(matrix)
            constants.append(weights[-1] - (basis.mean / basis.deviation) @ basis.directions @ weights[:-1])
        return np.concatenate(matrices, 1).astype(np.float32), np.concatenate(constants).astype(np.float32)


def _points_of_view(points: Float32Array, table: Table) -> tuple[Float32Array, Float32Array, Float32Array]:
    centred = points.copy()
    for setting in np.unique(table.setting):
        centred[table.setting == setting] -= points[table.setting == setting].mean(0)
    from_neutral = centred.copy()
    for speaker in np.unique(table.speaker):
        own = table.speaker == speaker
        neutral = own & (table.label == NEUTRAL)
        if neutral.any():
            from_neutral[own] -= centred[neutral].mean(0) * (neutral.sum() / (neutral.sum() + 1.0))
    return centred, points, from_neutral


def logistic(points: Float32Array, label: Integers, weight: Float32Array, penalty: float) -> Float32Array:
    """Fit a weighted multinomial logistic regression, shape (p + 1, 4); the last row is the intercept."""
    x, y, w = torch.from_numpy(points), torch.from_numpy(label), torch.from_numpy(weight)
    weights = torch.zeros(x.shape[1] + 1, len(CLASSES), requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=25, history_size=8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = nn.functional.cross_entropy(x @ weights[:-1] + weights[-1], y, reduction="none")
        total = (each * w).mean() + penalty * (weights[:-1] ** 2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(weights.detach().numpy(), dtype=np.float32)


class OneStage(nn.Module):
    """A linear layer over components less the baseline."""

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.options = options
        self.layer = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(width, len(CLASSES)))

    def logits(self, inputs: Inputs) -> torch.Tensor:
        values, _, (n, mean, _), (own_n, own_mean, _) = inputs
        shrunk = n / (n + self.options.setting_clips) * mean
        shrunk = shrunk + own_n / (own_n + self.options.speaker_clips) * (own_mean - shrunk)
        found: torch.Tensor = self.layer(values - shrunk)
        return found

    def penalty(self) -> torch.Tensor:
        return torch.zeros(())


class TwoStage(nn.Module):
    """A linear layer over the axes' distances from setting and speaker, the baselines' spread and size, and length."""

    #: Clips at which half of a variance is believed, and slope of the gate by spread in the log of the variance.
    VARIANCE_CLIPS, SLOPE = 4.0, 6.0

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.options = options
        self.log_setting = _strength(options.setting_clips, 1.5)
        self.log_speaker = _strength(options.speaker_clips, 1.0)
        self.layer = nn.Linear(width * 6 + 5, len(CLASSES))
        views = width // len(CLASSES)
        with torch.no_grad():
            # Begin at the mean of the views' distances from setting and speaker.
            self.layer.weight.zero_()
            self.layer.bias.zero_()
            for view in range(2 * views):
                for label in range(len(CLASSES)):
                    self.layer.weight[label, view * len(CLASSES) + label] = 0.5 / views
        self.start = self.layer.weight.detach().clone()

    def logits(self, inputs: Inputs) -> torch.Tensor:
        values, length, (n, mean, variance), (own_n, own_mean, own_variance) = inputs
        prior = self.VARIANCE_CLIPS
        spread = (n * variance + prior) / (n + prior)
        own_spread = (own_n * own_variance + prior * spread) / (own_n + prior)
        trust = n / (n + self.log_setting.exp())
        if self.options.least_spread:
            # A setting heard in one mood is narrow, and its mean is the mood's.
            width = spread[:, : len(CLASSES)].mean(1, keepdim=True)
            trust = trust * torch.sigmoid(self.SLOPE * torch.log(width / self.options.least_spread))
        own_trust = own_n / (own_n + self.log_speaker.exp())
        setting = trust * mean
        speaker = setting + own_trust * (own_mean - setting) * (own_n > 0)
        columns = [values - setting, values - speaker, setting, speaker - setting]
        columns += [torch.log(spread + 0.02), torch.log(own_spread + 0.02), trust, own_trust]
        columns += [(n > 0).float(), (own_n > 0).float(), length]
        found: torch.Tensor = self.layer(torch.cat(columns, 1))
        return found

    def penalty(self) -> torch.Tensor:
        return self.options.keep * ((self.layer.weight - self.start) ** 2).sum()


def _strength(clips: float, start: float) -> nn.Parameter:
    value = torch.tensor(float(np.log(clips)) if clips else start)
    return nn.Parameter(value, requires_grad=not clips)


class Head:
    """A design fitted to some corpora.

    Parameters
    ----------
    options : HeadOptions
    axes : Axes
        The first stage; shared, for its fits are kept.
    corpora : sequence of str
        To train on.
    """

    def __init__(self, options: HeadOptions, axes: Axes, corpora: Sequence[str]) -> None:
        self.options, self.axes, self.corpora = options, axes, tuple(corpora)
        self._basis: Components | None = None
        if options.stages == 1:
            self._basis = components(axes.data, corpora, options.components)
        table, raw = self._training()
        settings = np.unique(table.setting)
        of = {one: table.setting == one for one in settings}
        self._shift = np.float32(0) if self._basis else np.mean([raw[of[g]].mean(0) for g in settings], 0)
        self._scale = np.float32(1) if self._basis else np.sqrt(np.mean([raw[of[g]].var(0) for g in settings], 0))
        self.layers = self._fit(table, ((raw - self._shift) / self._scale).astype(np.float32))

    def _training(self) -> tuple[Table, Float32Array]:
        """Return training clips with their values, each corpus on axes that never heard it."""
        tables = [flat(self.axes.data, [corpus]) for corpus in self.corpora]
        values = []
        for corpus, table in zip(self.corpora, tables, strict=True):
            others = [one for one in self.corpora if one != corpus]
            values.append(self._basis.project(table.embedding) if self._basis else self.axes(table.embedding, others))
        columns = ("embedding", "label", "corpus", "speaker", "setting", "duration")
        joined = Table(*(np.concatenate([getattr(table, name) for table in tables]) for name in columns))
        return joined, np.concatenate(values)

    def _fit(self, table: Table, values: Float32Array) -> list[OneStage | TwoStage]:
        options, settings = self.options, np.unique(table.setting)
        groups = Groups(
            {one: np.flatnonzero(table.setting == one) for one in settings},
            {one: np.flatnonzero(table.speaker == one) for one in np.unique(table.speaker)},
        )
        centres = {one: values[rows].mean(0) for one, rows in groups.setting.items()}
        own = np.stack([centres[one] for one in table.setting])
        between = np.stack(list(centres.values()))
        between = between - between.mean(0)
        seeds = ([options.seed, 50, index] for index in range(options.draws.draws))
        pool = [draw(values, table.label, groups, options.draws, np.random.default_rng(seed)) for seed in seeds]
        weight = torch.from_numpy(balance(table.label, table.corpus, table.speaker))
        label, length = torch.from_numpy(table.label), _length(table.duration)

        def epoch(rng: np.random.Generator) -> Inputs:
            setting, speaker = pool[rng.integers(len(pool))]
            moved = values
            if options.virtual:
                moved, setting, speaker = virtual(values, (setting, speaker), (own, between), options.virtual, rng)
            return _inputs(moved, length, setting, speaker)

        layers: list[OneStage | TwoStage] = []
        for member in range(options.members):
            torch.manual_seed(100 * options.seed + member)
            layer = (OneStage if options.stages == 1 else TwoStage)(values.shape[1], options)
            rng = np.random.default_rng([options.seed, member])
            train(layer, (epoch(rng) for _ in range(options.epochs)), label, weight, rng, options)
            layers.append(layer.eval())
        return layers

    def values(self, embedding: Float32Array) -> Float32Array:
        """Return what baselines are statistics of: axes in units of their spread within settings, or components."""
        raw = self._basis.project(embedding) if self._basis else self.axes(embedding, self.corpora)
        return np.asarray((raw - self._shift) / self._scale, dtype=np.float32)

    def log_probabilities(
        self,
        values: Float32Array,
        duration: Float32Array,
        setting: Baseline | None = None,
        speaker: Baseline | None = None,
    ) -> Float32Array:
        """Return log-probabilities, shape (n, 4), of clips with these values, seconds and baselines."""
        nothing = Baseline.nothing(*values.shape)
        inputs = _inputs(values, _length(duration), setting or nothing, speaker or nothing)
        with torch.inference_mode():
            members = torch.stack([torch.softmax(layer.logits(inputs), 1) for layer in self.layers])
            return np.asarray(members.mean(0).clamp_min(1e-9).log().numpy(), dtype=np.float32)

    def strengths(self) -> dict[str, float]:
        """Return the clips at which half of a setting's and of a speaker's mean is believed."""
        if self.options.stages == 1:
            return {"setting": self.options.setting_clips, "speaker": self.options.speaker_clips}
        found = [layer for layer in self.layers if isinstance(layer, TwoStage)]
        setting = np.mean([layer.log_setting.exp().item() for layer in found])
        return {"setting": float(setting), "speaker": float(np.mean([x.log_speaker.exp().item() for x in found]))}


def train(
    layer: OneStage | TwoStage,
    epochs: Iterable[Inputs],
    label: torch.Tensor,
    weight: torch.Tensor,
    rng: np.random.Generator,
    options: HeadOptions,
) -> None:
    """Train a layer with AdamW under one cycle of the learning rate; every epoch has its own draw of baselines."""
    clips = len(label)
    steps = max(clips // options.batch, 1)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=options.rate, weight_decay=options.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.rate, total_steps=options.epochs * steps + 1, pct_start=0.2
    )
    for values, length, setting, speaker in epochs:
        order = torch.from_numpy(rng.permutation(clips))
        for rows in order[: steps * options.batch].view(steps, -1):
            part = (values[rows], length[rows], [x[rows] for x in setting], [x[rows] for x in speaker])
            each = nn.functional.cross_entropy(
                layer.logits(part), label[rows], reduction="none", label_smoothing=options.smoothing
            )
            loss = (each * weight[rows]).mean() + layer.penalty()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()


def _length(duration: Float32Array) -> torch.Tensor:
    """Return the log of the seconds heard, limited to 0.3 to 5 s, over 2 s."""
    return torch.from_numpy(np.log(np.clip(duration, 0.3, 5) / 2).astype(np.float32)[:, None])


def _inputs(values: Float32Array, length: torch.Tensor, setting: Baseline, speaker: Baseline) -> Inputs:
    numbers = [[torch.from_numpy(x) for x in (b.count, b.mean, b.variance)] for b in (setting, speaker)]
    return torch.from_numpy(values), length, numbers[0], numbers[1]
