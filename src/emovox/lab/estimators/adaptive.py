"""Classification of embeddings against a baseline of the setting and of the speaker: the built-in model's head.

Two linear stages.  The first gives :mod:`axes <emovox.lab.estimators.axes>`, a few linear scores of the clip.  The
second judges their distance from what was heard of the setting (microphone, room, language) and of the speaker.  Each
level of the baseline is shrunk towards the one above by how much was heard (empirical Bayes).

Where nothing was heard, small :mod:`networks <emovox.lab.estimators.plain_network>` over the embedding itself answer;
the more was heard, the more the second stage does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Gt, Le
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from emovox.errors import ProtocolError
from emovox.lab.encoders import embeddings
from emovox.lab.estimators import axes, neutral_stage, plain_network
from emovox.lab.estimators.axes import VIEWS, Axes, Clips, balanced
from emovox.lab.estimators.drawn_baselines import Draws, Virtual, draw, moved
from emovox.lab.estimators.estimator import Estimator, Options
from emovox.lab.estimators.graphs import Graph, noise, traced
from emovox.lab.estimators.neural import WeightedCrossEntropy, class_weights
from emovox.lab.estimators.neutral_stage import NeutralOptions, NeutralStage
from emovox.lab.estimators.plain_network import NetworkOptions
from emovox.lab.estimators.second_stage import Beliefs, SecondStage
from emovox.lab.ranges import Count, Natural, NotNegative, Positive, Share
from emovox.lab.threads import single_thread
from emovox.model.file import AXES, BASELINE, INPUT, OUTPUT, SAMPLES, TINY
from emovox.types import FeatureSpec, Float32Array

#: Label of ordinary speech.
ORDINARY = "neutral"
#: Message where the speakers are not known.
NO_SPEAKERS = (
    "this model learns how voices differ, and these clips have no speakers: "
    'give a speaker column, or choose another family, for example model.family="ann"'
)


@dataclass(frozen=True)
class AdaptiveOptions(Options):
    """Options of the two stages and their training.

    Attributes
    ----------
    components : int
        Number of principal components to which embeddings are reduced for the axes.
    penalty : float
        L2 penalty of the axes: weight of the squared norm of the coefficients relative to the mean loss.
    absent : float
        Prior weight of a class for clips whose corpus lacks it, from 0 to 1; see `AnnOptions.absent`.
    speaker_clips : float
        Clips of a speaker at which half of the speaker's baseline is believed.  Strengths learned from balanced
        baselines are smaller, and mislead where a speaker is heard in one mood.
    least_spread : float
        Variance of a setting, relative to the population's, at which half of its offset is believed: a setting heard in
        one mood is narrow, and its mean is the mood's.  0 believes all.
    least_own_spread : float
        Variance of a speaker, relative to the setting's, at which half of the speaker's offset is believed: clips of
        one mood are narrow.  The variance of few clips is shrunk towards the setting's first.  0 believes all.
    sharpening : float
        Power of a setting's variance, relative to the population's, that log-probabilities are multiplied by, as far as
        the baseline is believed: a head is surer, and right more often, where emotions lie far apart.  0 leaves them.
    hidden, networks : int
        Units of a network; networks with different seeds whose answers are averaged.
    max_per_corpus : int
        Maximum number of clips of each corpus, with their copies, that axes and second stage learn from.
    keep : float
        Penalty for leaving the start of the second stage, the mean distance from the baselines.
    draws : int
        Number of draws of baselines, shared by the epochs.
    label_smoothing : float
        Fraction of each target that is distributed over the classes of the clip's corpus.
    learning_rate, weight_decay : float
        Maximum learning rate, reached after a fifth of the training, and decoupled weight decay of AdamW.
    batch_size, epochs : int
        Clips per step; passes over the training clips.
    seed : int
        Seed of all randomness.
    """

    components: Count = 320
    penalty: Positive = 3e-4
    absent: Annotated[float, Gt(0), Le(1)] = 0.1
    speaker_clips: Positive = 20.0
    least_spread: NotNegative = 0.42
    least_own_spread: NotNegative = 0.8
    sharpening: NotNegative = 1.0
    hidden: Count = 160
    networks: Count = 2
    max_per_corpus: Count = 1000
    keep: NotNegative = 0.02
    draws: Count = 12
    label_smoothing: Share = 0.02
    learning_rate: Positive = 4e-3
    weight_decay: NotNegative = 0.02
    batch_size: Count = 256
    epochs: Count = 30
    seed: Natural = 0


class AdaptiveClassifier(Estimator):
    """Two linear stages over embeddings, with a baseline of the setting and of the speaker where they are known.

    A baseline is, for the setting and then for the speaker: the number of clips heard, and mean and variance of their
    :meth:`values`; a count of 0 says that nothing is known, and a negative one of the speaker that the clips are
    known to be neutral.

    Parameters
    ----------
    options : AdaptiveOptions
        Strengths and training.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    axes_ : Axes
        First stage, fitted to all training clips.
    stage_ : SecondStage
        Second stage.
    neutral_stage_ : NeutralStage or None
        What answers for speakers whose clips are known to be neutral; None without neutral clips in training.
    networks_ : list of Network
        Networks that answer where nothing was heard.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, speakers = np.tile(["neutral", "sad"], 60), np.repeat(["ann", "bob", "cem", "dan"], 30)
    >>> X = (rng.normal(size=(120, 8)) + 3 * (y == "sad")[:, np.newaxis]).astype(np.float32)
    >>> model = AdaptiveClassifier(AdaptiveOptions(components=4, batch_size=32)).fit(X, y, speakers)
    >>> far = X + 2  # another microphone, say
    >>> there = model.baseline(model.values(far[:50]))
    >>> bool((model.predict_proba(far, there).argmax(axis=1) == (y == "sad")).mean() > 0.9)
    True

    Source
    ------
    B. Efron and C. Morris, "Stein's estimation rule and its competitors: an empirical Bayes approach", JASA 1973.
    """

    needs: ClassVar[tuple[str, ...]] = ("speakers", "corpora", "copies", "settings")
    standardises = True
    takes_baseline = True

    def __init__(self, options: AdaptiveOptions | None = None) -> None:
        self.options: Any = options

    @property
    def adaptive_options(self) -> AdaptiveOptions:
        """Options of the two stages."""
        found: AdaptiveOptions = self.options or AdaptiveOptions()
        return found

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
        settings: NDArray[Any] | None = None,
    ) -> AdaptiveClassifier:
        """Fit both stages.

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Embeddings.
        y : ndarray, shape (n_clips,)
            Labels.
        speakers : ndarray, shape (n_clips,)
            Speakers; required.
        corpora : ndarray, shape (n_clips,), optional
            Corpus of each clip; see `AdaptiveOptions.absent` for the classes that it lacks.
        copies : ndarray of float32, shape (n_clips, n_copies, n_features), optional
            Embeddings of augmented copies, used like the clips.
        settings : ndarray, shape (n_clips, 1 + n_copies), optional
            Setting of each clip and copy; the default is one a corpus and copy.

        Raises
        ------
        ProtocolError
            The speakers are unknown.
        """
        options = self.adaptive_options
        if speakers is None:
            raise ProtocolError(NO_SPEAKERS)
        self.classes_, target = np.unique(y, return_inverse=True)
        self.n_features_in_ = X.shape[1]
        corpora = np.full(len(y), "") if corpora is None else corpora
        person = np.char.add(np.char.add(corpora.astype(str), "/"), np.asarray(speakers, dtype=str))
        prior = class_weights(target, len(self.classes_), corpora, options.absent)
        clips, person = _views(X, target, prior, corpora, person, copies, settings)
        found = np.flatnonzero(self.classes_ == ORDINARY)
        self._neutral = int(found[0]) if len(found) else None
        # Speakers count alike for the networks, whatever their corpus: users are new speakers.
        alike = balanced(clips.target, np.zeros(len(clips)), person)
        sizes = NetworkOptions(options.hidden)
        with single_thread():
            self.networks_ = [
                plain_network.fit(clips, alike, len(self.classes_), sizes, [options.seed, number])
                for number in range(options.networks)
            ]
        kept = _at_most(corpora, options.max_per_corpus, options.seed)
        rows = np.concatenate([kept + view * len(X) for view in range(len(clips) // len(X))])
        clips, person = clips[rows], person[rows]
        weight = balanced(clips.target, clips.corpus, person)
        basis = axes.components(clips, options.components, options.seed)
        reduced = dataclasses.replace(clips, embedding=basis(clips.embedding))
        self.axes_ = basis.unfolded(self._axes(reduced, weight))
        # Users' settings are new, as a corpus is to axes that never heard it.
        several = len(np.unique(clips.corpus)) > 1
        with single_thread():
            seen = self._as_strangers(reduced, weight, clips.corpus if several else _speaker_groups(person))
            self.stage_ = self._train(*seen)
            self.neutral_stage_ = self._neutral_stage(*seen)
        return self

    def _axes(self, clips: Clips, weight: Float32Array) -> Axes:
        options = self.adaptive_options
        return axes.fit(clips, weight, self._neutral, options.penalty)

    def _as_strangers(
        self, clips: Clips, weight: Float32Array, group: NDArray[Any]
    ) -> tuple[Clips, Float32Array, Float32Array]:
        """Return clips, their axes as seen by axes that did not learn from their group, and their weights."""
        parts: list[tuple[Clips, Float32Array, Float32Array]] = []
        for one in np.unique(group):
            inside = group == one
            # What no other group has cannot be seen through their axes.
            rows = np.flatnonzero(inside & np.isin(clips.target, clips.target[~inside]))
            if not len(rows):
                continue
            raw = self._axes(clips[~inside], weight[~inside])(clips.embedding[rows])
            own = clips[rows]
            parts.append((dataclasses.replace(own, embedding=own.embedding[:, :0]), raw, weight[rows]))
        if not parts:  # a single speaker: axes that have learned from the clips themselves
            parts = [(clips, self._axes(clips, weight)(clips.embedding), weight)]
        seen, scores, weighed = zip(*parts, strict=True)
        joined = Clips(*(np.concatenate(column) for column in zip(*(vars(one).values() for one in seen), strict=True)))
        both = np.concatenate(weighed)
        return joined, np.concatenate(scores), both / both.mean()

    def _train(self, clips: Clips, values: Float32Array, weight: Float32Array) -> SecondStage:
        """Train a second stage; every epoch has its own baselines, and moves to virtual settings."""
        options = self.adaptive_options
        torch.manual_seed(options.seed)
        rng = np.random.default_rng(options.seed)
        beliefs = Beliefs(options.speaker_clips, options.least_spread, options.least_own_spread)
        stage = SecondStage(len(self.classes_), beliefs, values, clips.setting)
        values = np.asarray((values - stage.shift.numpy()) / stage.scale.numpy(), dtype=np.float32)
        optimiser = torch.optim.AdamW(stage.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        size = min(options.batch_size, len(clips))
        steps = max(10, options.epochs * (len(clips) // size) + 1)
        schedule = OneCycleLR(optimiser, options.learning_rate, total_steps=steps, pct_start=0.2)
        criterion = WeightedCrossEntropy(options.label_smoothing)
        target, prior, counts = (torch.from_numpy(one) for one in (clips.target, clips.prior, weight))
        for seen, baseline in self._epochs(clips, values, rng):
            order = torch.from_numpy(rng.permutation(len(clips))[: len(clips) // size * size])
            for batch in order.view(-1, size):
                logits, _ = stage.judge(seen[batch], baseline[batch])
                loss = criterion((logits, prior[batch]), target[batch], counts[batch])
                loss = loss + options.keep * ((stage.layer.weight - stage.start) ** 2).sum()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        return stage.eval().requires_grad_(False)

    def _neutral_stage(self, clips: Clips, values: Float32Array, weight: Float32Array) -> NeutralStage | None:
        """Fit the stage for speakers whose clips are known to be neutral."""
        if self._neutral is None:
            return None
        stage = NeutralStage(self.stage_.scale.numpy(), len(self.classes_))
        groups = _groups(clips.setting), _groups(clips.speaker)
        options, seed = NeutralOptions(), self.adaptive_options.seed
        return neutral_stage.fit(stage, clips, values, weight, groups, self._neutral, options, seed)

    def _epochs(self, clips: Clips, values: Float32Array, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Give values and baselines for each epoch."""
        options = self.adaptive_options
        settings, speakers = _groups(clips.setting), _groups(clips.speaker)
        own, between = np.empty_like(values), np.empty((len(settings), values.shape[1]), np.float32)
        for number, rows in enumerate(settings):
            own[rows] = between[number] = values[rows].mean(axis=0)
        between -= between.mean(axis=0)
        pool = [
            draw(values, clips.target, settings, speakers, self._neutral, Draws(), rng) for _ in range(options.draws)
        ]
        for _ in range(options.epochs):
            baselines = pool[rng.integers(len(pool))]
            seen, setting, speaker = moved(values, baselines, (own, between), Virtual(), rng)
            yield torch.from_numpy(seen), torch.from_numpy(np.hstack([setting.packed(), speaker.packed()]))

    def values(self, X: Float32Array) -> Float32Array:
        """Return the axes of clips, shape (n_clips, r)."""
        return self.axes_(X)

    def baseline(
        self, setting: Float32Array | None = None, speaker: Float32Array | None = None, *, neutral: bool = False
    ) -> Float32Array:
        """Return the baseline of some clips' values, shape (2 + 4 r,).

        Parameters
        ----------
        setting, speaker : ndarray of float32, shape (n_clips, r), optional
            Values of what was heard of the setting and of the speaker.
        neutral : bool, default False
            Whether the clips of the speaker are known to be neutral.
        """
        width = VIEWS * len(self.classes_)
        there, voice = (_statistics(one, width) for one in (setting, speaker))
        voice[0] *= -1 if neutral else 1
        return np.concatenate([there, voice])

    def logits(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float64]:
        """Compute the logarithms of the probabilities, shape (n_clips, n_classes).

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Embeddings.
        baseline : ndarray of float32, shape (2 + 4 r,) or (n_clips, 2 + 4 r), optional
            What is known of setting and speaker, see :meth:`baseline`; the default is nothing.
        """
        known = np.broadcast_to(
            self.baseline() if baseline is None else baseline, (len(X), 2 + 4 * len(self.axes_.constant))
        )
        with torch.inference_mode():
            given = (torch.from_numpy(np.array(one, dtype=np.float32)) for one in (X, self.values(X), known))
            return np.asarray(torch.log(self._answer(*given)), dtype=np.float64)

    def _answer(self, embedding: Tensor, values: Tensor, baseline: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes)."""
        return AdaptiveHead(nn.Identity(), self).answer(embedding, values, baseline)

    def predict_proba(self, X: Float32Array, baseline: Float32Array | None = None) -> NDArray[np.float32]:
        """Predict class probabilities, shape (n_clips, n_classes); arguments as for :meth:`logits`."""
        return np.asarray(np.exp(self.logits(X, baseline)), dtype=np.float32)

    def encoder(self, spec: FeatureSpec) -> nn.Module:
        """Return the encoder that becomes part of the graph."""
        return embeddings.embedder(spec.set, **spec.parameters)

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the graph from embeddings or samples, and the baseline, to probabilities and axes."""
        embeds = "weights" in spec.parameters
        name = SAMPLES if embeds else INPUT
        example = noise(2, 1.0) if embeds else np.zeros((2, self.n_features_in_), dtype=np.float32)
        head = AdaptiveHead(self.encoder(spec) if embeds else nn.Identity(), self)
        if not baseline:
            return traced(WithoutBaseline(head), (example,), [name], [OUTPUT], "its origin")
        unknown = np.zeros((2, head.width), dtype=np.float32)
        return traced(head, (example, unknown), [name, BASELINE], [OUTPUT, AXES], "its origin")


class AdaptiveHead(nn.Module):
    """A fitted :class:`AdaptiveClassifier` behind its encoder: the exported graph.

    Parameters
    ----------
    embedder : Module
        From the input of the graph to embeddings, shape (n, n_features).
    fitted : AdaptiveClassifier
        Classifier whose stages are copied.
    """

    matrix: Tensor
    constant: Tensor

    def __init__(self, embedder: nn.Module, fitted: AdaptiveClassifier) -> None:
        super().__init__()
        self.embedder, self.networks = embedder, nn.ModuleList(fitted.networks_)
        self.stage, self.neutral_stage = fitted.stage_, fitted.neutral_stage_
        self.register_buffer("matrix", torch.from_numpy(fitted.axes_.matrix))
        self.register_buffer("constant", torch.from_numpy(fitted.axes_.constant))
        self.width = 2 + 4 * len(fitted.axes_.constant)
        self.sharpening = fitted.adaptive_options.sharpening

    def forward(self, heard: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, shape (n, n_classes), and axes, shape (n, r)."""
        embedding = self.embedder(heard)
        values = torch.matmul(embedding, self.matrix) + self.constant
        return self.answer(embedding, values, baseline), values

    def answer(self, embedding: Tensor, values: Tensor, baseline: Tensor) -> Tensor:
        """Return probabilities of embeddings with these axes and baselines."""
        half = self.width // 2
        there, count, voice = baseline[:, :half], baseline[:, half : half + 1], baseline[:, half + 1 :]
        baseline = torch.cat([there, count.abs(), voice], dim=1)
        plain = torch.stack([torch.softmax(network(embedding), dim=1) for network in self.networks]).mean(dim=0)
        logits, trust, width = self.stage(values, baseline)
        mixed = (1 - trust) * plain + trust * torch.softmax(logits, dim=1)
        # As far as the baseline is believed: a setting in one mood is narrow, and says nothing of how far emotions lie.
        power = torch.pow(width, self.sharpening * trust)
        ordinary = torch.softmax(power * torch.log(mixed.clamp_min(TINY)), dim=1)
        if self.neutral_stage is None:
            return ordinary
        # A negative count says that the speaker's clips are known to be neutral.
        return torch.where(count < 0, self.neutral_stage.answer(values, baseline, plain), ordinary)


class WithoutBaseline(nn.Module):
    """A head without the input of the baseline."""

    def __init__(self, head: AdaptiveHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, heard: Tensor) -> Tensor:
        """Map the input of the graph to probabilities, shape (n, n_classes)."""
        probabilities: Tensor = self.head(heard, torch.zeros_like(heard[:, :1]).repeat(1, self.head.width))[0]
        return probabilities


def _views(
    X: Float32Array,
    target: NDArray[np.int64],
    prior: Float32Array,
    corpora: NDArray[Any],
    person: NDArray[Any],
    copies: Float32Array | None,
    settings: NDArray[Any] | None,
) -> tuple[Clips, NDArray[Any]]:
    """Lay clips and copies one below the other; a copy is of another speaker and setting than its clip."""
    views = [X] if copies is None else [X, *np.moveaxis(copies, 1, 0)]
    corpora, count = corpora.astype(str), len(views)
    named = [
        np.char.add(corpora if settings is None else settings[:, view].astype(str), f"|{view}") for view in range(count)
    ]
    speaker = [np.char.add(person, f"|{view}") for view in range(count)]
    columns = np.tile(target, count), np.tile(prior, (count, 1)), np.tile(corpora, count)
    clips = Clips(np.concatenate(views), *columns, np.concatenate(speaker), np.concatenate(named))
    return clips, np.tile(person, count)


def _groups(names: NDArray[Any]) -> Sequence[NDArray[np.intp]]:
    """Return the rows of each name."""
    order = np.argsort(names, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.unique(names[order], return_inverse=True)[1])) + 1)


def _speaker_groups(person: NDArray[Any], groups: int = 4) -> NDArray[np.intp]:
    """Put speakers into groups in turn."""
    return np.unique(person, return_inverse=True)[1] % groups


def _at_most(corpora: NDArray[Any], most: int, seed: int) -> NDArray[np.intp]:
    """Draw at most so many clips of each corpus; return their rows."""
    rng = np.random.default_rng([seed, 3])
    return np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(corpora == one))[:most] for one in np.unique(corpora)])
    )


def _statistics(values: Float32Array | None, width: int) -> Float32Array:
    """Return count, mean and variance, shape (1 + 2 r,)."""
    if values is None or not len(values):
        return np.zeros(1 + 2 * width, dtype=np.float32)
    return np.concatenate([[len(values)], values.mean(axis=0), values.var(axis=0)]).astype(np.float32)
