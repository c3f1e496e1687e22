"""Fusion of voice and words: early (features), late (log-opinion pool) and gated (mixture).

The estimators have two named inputs: ``features``, the acoustic ones, and ``words``, linguistic features
(`emovox.text.words.NAMES`).  Corpora of acted speech repeat a few neutral sentences, from which a model can only
learn that words are uninformative.  The weight of words is learned from *development sentences*, which are paired with
the training clips:

- a neutral clip with a sentence of any emotion; the target is the emotion of the words;
- an emotional clip with a neutral sentence, or one of its own emotion; the target is the emotion of the voice;
- an emotional clip with a sentence of another emotion; the target is ambiguous, so it is that of the voice for half of
  the pairs and that of the words for the other half.  Early fusion is not trained on these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import speaker_groups_kfold
from emovox.lab.estimators.adaptive import ORDINARY
from emovox.lab.estimators.estimator import Estimator, Options, graph_of
from emovox.lab.estimators.graphs import Arrays, Graph, rename
from emovox.lab.estimators.neural import AnnClassifier, AnnOptions
from emovox.lab.estimators.training import Sentences, TrainingSet
from emovox.lab.extraction.sequences import Inputs
from emovox.lab.ranges import Natural, NotNegative, Share
from emovox.model.file import INPUT, OUTPUT, TINY, WORDS, fit_temperature, temper
from emovox.text.fusion import GATE_INPUTS, Mixture, Pool
from emovox.text.words import DELIVERY, NAMES
from emovox.types import FeatureSpec, Float32Array

#: Features of delivery remain those of the clip in a pair; the confidence of the words belongs to the sentence.
_MANNER = [NAMES.index(name) for name in DELIVERY if name != "confidence"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Training pairs of clips and words.

    Attributes
    ----------
    clips : ndarray of int, shape (n,)
        Indices of the clips.
    words : ndarray of float32, shape (n, len(NAMES))
        Linguistic features: of the clips' own words first, then of sentences.
    labels : ndarray of str, shape (n,)
        Target label.
    weights : ndarray of float64, shape (n,)
        Sample weights: each kind of pair has the same total weight.
    """

    clips: NDArray[np.intp]
    words: Float32Array
    labels: NDArray[Any]
    weights: NDArray[np.float64]


def pair(
    y: NDArray[Any], words: Float32Array, sentences: Sentences | None, draws: int, seed: int, *, disputed: bool = False
) -> Pairs:
    """Pair clips with development sentences, in addition to their own words.

    Parameters
    ----------
    y : ndarray, shape (n_clips,)
        Labels of the clips.
    words : ndarray of float32, shape (n_clips, len(NAMES))
        Linguistic features of the clips' own words.
    sentences : Sentences or None
        Sentences to draw from; those of emotions without clips are ignored.
    draws : int
        Sentences of each kind per emotional clip.  Neutral clips, which are fewer, are paired with ten times as many.
    seed : int
        Seed of the draw.
    disputed : bool, default False
        Whether to pair emotional clips with sentences of other emotions, too.

    Returns
    -------
    Pairs
    """
    own = Pairs(np.arange(len(y)), words, y, np.full(len(y), 1 / len(y)))
    if sentences is None or not draws:
        return own
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(np.isin(sentences.labels, np.unique(y)))
    neutral = known[sentences.labels[known] == ORDINARY]
    calm, moved = np.flatnonzero(y == ORDINARY), np.flatnonzero(y != ORDINARY)
    kinds: list[tuple[NDArray[np.intp], NDArray[np.intp], bool | NDArray[np.bool_]]] = []
    if len(calm) and len(known):
        kinds.append((np.repeat(calm, 10 * draws), rng.choice(known, 10 * draws * len(calm)), True))
    if len(moved) and len(neutral):
        kinds.append((np.repeat(moved, draws), rng.choice(neutral, draws * len(moved)), False))
    if len(agreeing := moved[np.isin(y[moved], sentences.labels[known])]):
        clips = np.repeat(agreeing, draws)
        chosen = [rng.choice(known[sentences.labels[known] == label]) for label in y[clips]]
        kinds.append((clips, np.array(chosen), False))
    if disputed and len(others := known[sentences.labels[known] != ORDINARY]):
        clips, sentence = np.repeat(moved, draws), rng.choice(others, draws * len(moved))
        differ = sentences.labels[sentence] != y[clips]
        kinds.append((clips[differ], sentence[differ], np.arange(np.sum(differ)) % 2 == 0))
    parts = [own]
    for clips, sentence, by_words in kinds:
        given = sentences.words[sentence].copy()
        given[:, _MANNER] = words[clips][:, _MANNER]
        labels = np.where(by_words, sentences.labels[sentence], y[clips])
        parts.append(Pairs(clips, given, labels, np.full(len(clips), 1 / len(clips))))
    return Pairs(
        np.concatenate([one.clips for one in parts]),
        np.concatenate([one.words for one in parts]),
        np.concatenate([one.labels for one in parts]),
        np.concatenate([one.weights for one in parts]),
    )


@dataclass(frozen=True)
class FeatureFusionOptions(AnnOptions):
    """Options of early fusion: a feed-forward network over acoustic and linguistic features.

    Attributes
    ----------
    sentences : int
        Development sentences of each kind per clip, see the module; 0 uses the words of the corpora only, as published.
         More sentences increase the weight of words, and reduce the accuracy of the voice.
    silent : float
        Fraction of the clips trained without words, for predictions without a transcript.
    """

    sentences: Natural = 0
    silent: Share = 0.3


class FeatureFusionClassifier(Estimator):
    """Early fusion: one network over acoustic and linguistic features.

    Parameters
    ----------
    options : FeatureFusionOptions
        Sizes and training.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    pipeline_ : Pipeline
        Standardisation and network.

    Notes
    -----
    Source: B. Schuller et al., "Speech emotion recognition combining acoustic features and linguistic information in a
    hybrid support vector machine - belief network architecture", ICASSP 2004.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["sad", "happy"], 40)
    >>> voice = (rng.normal(size=(80, 3)) + 2 * (y == "sad")[:, np.newaxis]).astype(np.float32)
    >>> X = Inputs({"features": voice, "words": np.zeros((80, len(NAMES)), dtype=np.float32)})
    >>> model = FeatureFusionClassifier(FeatureFusionOptions(hidden=(8,), epochs=30, learning_rate=0.01)).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    needs = ("speakers", "corpora", "sentences")
    standardises = True

    def __init__(self, options: FeatureFusionOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: Inputs,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        sentences: Sentences | None = None,
    ) -> FeatureFusionClassifier:
        """Train on raw features.

        Parameters
        ----------
        X : Inputs
            ``features``, shape (n_clips, n_features), and ``words``, shape (n_clips, len(NAMES)).
        y : ndarray, shape (n_clips,)
            Labels.
        speakers, corpora : ndarray, shape (n_clips,), optional
            As for `AnnClassifier.fit`.
        sentences : Sentences, optional
            Development sentences.
        """
        options = self.options or FeatureFusionOptions()
        acoustic, words = X.parts[INPUT], X.parts[WORDS]
        pairs = pair(y, words, sentences, options.sentences, options.seed)
        taught = pairs.words.copy()
        taught[np.random.default_rng(options.seed).random(len(y)).argsort()[: round(options.silent * len(y))]] = 0
        rows = pairs.clips
        self.pipeline_ = Pipeline([("scale", StandardScaler()), ("model", AnnClassifier(options))])
        self.pipeline_.fit(
            np.hstack([acoustic[rows], taught]),
            pairs.labels,
            model__speakers=None if speakers is None else speakers[rows],
            model__corpora=None if corpora is None else corpora[rows],
        )
        self.classes_ = self.pipeline_.classes_
        self.n_features_in_ = acoustic.shape[1]
        return self

    def predict_proba(self, X: Inputs) -> Float32Array:
        """Predict class probabilities, shape (n_clips, n_classes)."""
        return np.asarray(self.pipeline_.predict_proba(np.hstack([X.parts[INPUT], X.parts[WORDS]])))

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the graph of the network with two inputs, and the encoder if there is one."""
        graph = graph_of(self.pipeline_, FeatureSpec("voice and words", 1, 0)).model
        width = self.n_features_in_
        rename(graph, INPUT, "both")
        del graph.graph.input[:]
        for name, size in ((INPUT, width), (WORDS, len(NAMES))):
            graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]))
        graph.graph.node.insert(0, helper.make_node("Concat", [INPUT, WORDS], ["both"], axis=1))

        def reference(given: Arrays) -> Arrays:
            return {OUTPUT: self.predict_proba(Inputs(given))}

        return Graph(graph, reference).behind(spec)


@dataclass(frozen=True)
class LateFusionOptions(Options):
    """Options of late fusion: a log-opinion pool of an acoustic model and the words.

    Attributes
    ----------
    acoustic : mapping
        ``family`` and options of the acoustic model.
    folds : int
        Speaker-independent folds of the training clips; the pool is fitted on predictions for held-out speakers.
    sentences : int
        Development sentences of each kind per clip, see the module; 0 uses the words of the corpora only.
    penalty : float
        L2 penalty of the parameters of the pool relative to the mean loss.
    seed : int
        Seed of the acoustic model and of the draw of sentences.
    """

    acoustic: dict[str, Any] = field(default_factory=lambda: {"family": "ann"})
    folds: Annotated[int, Ge(2)] = 4
    sentences: Natural = 1
    penalty: NotNegative = 1e-3
    seed: Natural = 0

    @property
    def hears(self) -> Mapping[str, Any]:
        """The ``[model]`` table of the acoustic model."""
        return self.acoustic


@dataclass(frozen=True)
class GatedFusionOptions(LateFusionOptions):
    """Options of gated fusion, as for late fusion; the weight of the words depends on the words."""


class LateFusionClassifier(Estimator):
    """Late fusion: an acoustic model, and a log-opinion pool of its probabilities and the words.

    Without words the prediction is that of the acoustic model, calibrated on held-out speakers.

    Parameters
    ----------
    acoustic : Pipeline
        The unfitted acoustic model, standardisation included.
    fitter : callable
        `emovox.lab.estimators.families.fit`.
    options : LateFusionOptions
        Options of the fusion.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    acoustic_ : Pipeline
        The acoustic model, fitted on all clips.
    held_out_ : ndarray, shape (n_clips, n_classes)
        Calibrated probabilities of the training clips, predicted with their speakers held out.
    temperature_ : float
        Calibration of the acoustic model, see `emovox.model.file.temper`.
    pool_ : Pool
        Fitted weights of the words.
    """

    needs = ("speakers", "corpora", "sentences")
    standardises = True
    #: How voice and words are put together, and what the weight of the words may depend on.
    kind: type[Pool] = Pool
    gate: tuple[str, ...] = ()

    def __init__(
        self, acoustic: Pipeline, fitter: Callable[..., Pipeline], options: LateFusionOptions | None = None
    ) -> None:
        self.acoustic = acoustic
        self.fitter = fitter
        self.options = options

    def fit(
        self,
        X: Inputs,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        sentences: Sentences | None = None,
    ) -> LateFusionClassifier:
        """Fit the pool on predictions for held-out speakers, then the acoustic model on all clips.

        Parameters
        ----------
        X : Inputs
            ``features``, shape (n_clips, n_features), and ``words``, shape (n_clips, len(NAMES)).
        y, corpora : ndarray, shape (n_clips,)
            Labels and, optionally, corpora.
        speakers : ndarray, shape (n_clips,)
            Speakers; required.
        sentences : Sentences, optional
            Development sentences.

        Raises
        ------
        ProtocolError
            The speakers are unknown, or there is only one.
        """
        options = self.options or LateFusionOptions()
        acoustic, words = X.parts[INPUT], X.parts[WORDS]
        self.classes_ = np.unique(y)
        clips = TrainingSet(acoustic, y, speakers, corpora)
        probabilities = self._held_out(clips)
        self.temperature_ = fit_temperature(probabilities, np.searchsorted(self.classes_, y))
        probabilities = self.held_out_ = temper(probabilities, self.temperature_)
        pairs = pair(y, words, sentences, options.sentences, options.seed, disputed=True)
        self.pool_ = fit_pool(self.kind, probabilities[pairs.clips], pairs, self.classes_, self.gate, options.penalty)
        self.acoustic_ = self.fitter(clone(self.acoustic), clips)
        self.n_features_in_ = acoustic.shape[1]
        return self

    def _held_out(self, clips: TrainingSet) -> NDArray[np.float64]:
        """Predict every training clip with its speaker held out; classes missing in training get 0."""
        speakers = clips.speakers
        count = 0 if speakers is None else len(np.unique(speakers))
        if speakers is None or count < 2:
            raise ProtocolError(
                "fusion learns the weight of the words on held-out speakers, and these clips have "
                f"{'no speakers' if speakers is None else 'one speaker only'}: give a speaker column with more, "
                'or choose model.family="fusion-feature"'
            )
        options = self.options or LateFusionOptions()
        probabilities = np.zeros((len(clips), len(self.classes_)))
        for train, test in speaker_groups_kfold(speakers, min(options.folds, count)):
            fitted = self.fitter(clone(self.acoustic), clips[train])
            columns = np.searchsorted(self.classes_, fitted.classes_)
            probabilities[np.ix_(test, columns)] = fitted.predict_proba(clips.X[test])
        return probabilities

    def predict_proba(self, X: Inputs) -> NDArray[np.float64]:
        """Predict class probabilities, shape (n_clips, n_classes)."""
        acoustic, words = X.parts[INPUT], X.parts[WORDS]
        probabilities = temper(self.acoustic_.predict_proba(acoustic), self.temperature_)
        return self.pool_.combine(probabilities, words, self.classes_.tolist())[0]

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the graph of the acoustic model; the pool is stored in the card."""
        return dataclasses.replace(graph_of(self.acoustic_, spec, baseline=baseline), temperature=self.temperature_)

    def card_text(self, temperature: float) -> dict[str, Any]:
        """Return the pool for an acoustic model that is calibrated by `temperature`."""
        return {"pool": self.pool_.beside(temperature).to_dict()}


class GatedFusionClassifier(LateFusionClassifier):
    """Gated fusion: a mixture whose weight of the words depends on their confidence, length and strength.

    Parameters as for :class:`LateFusionClassifier`.
    """

    kind = Mixture
    gate = tuple(GATE_INPUTS)


def fit_pool(
    kind: type[Pool],
    probabilities: NDArray[np.float64],
    pairs: Pairs,
    classes: NDArray[Any],
    gate: tuple[str, ...],
    penalty: float,
) -> Pool:
    """Fit a pool or mixture by penalised maximum likelihood.

    Parameters
    ----------
    kind : type
        :class:`emovox.text.fusion.Pool` or :class:`emovox.text.fusion.Mixture`.
    probabilities : ndarray, shape (n, n_classes)
        Probabilities of the acoustic model for each pair.
    pairs : Pairs
        Words and targets.
    classes : ndarray of str
        Order of the columns.
    gate : tuple of str
        Inputs of the gate, of :data:`emovox.text.fusion.GATE_INPUTS`.
    penalty : float
        L2 penalty of the parameters.

    Returns
    -------
    Pool
    """
    words = pairs.words.astype(np.float64)
    voice = np.maximum(
        probabilities, probabilities.max(axis=1, keepdims=True) * 1e-13
    )  # a probability of 0 must not dominate
    target = np.searchsorted(classes, pairs.labels)
    counts = pairs.weights / pairs.weights.sum()
    rows, labels = np.arange(len(target)), classes.tolist()

    def loss(values: NDArray[np.float64]) -> float:
        found, _ = kind.of(values.tolist(), gate).combine(voice, words, labels)
        likelihood = np.log(np.maximum(found[rows, target], TINY))
        return float(-(counts * likelihood).sum() + penalty * np.square(values).sum())

    start = np.zeros(len(kind.strengths) + 1 + len(gate))
    return kind.of(minimize(loss, start, method="L-BFGS-B").x.tolist(), gate)
