"""Acoustic model and words in one estimator: at the level of features, as a late pool, and as a gated mixture.

The estimators see two named inputs: ``features``, the acoustic ones, and ``words``, the words vectors
(`emovox.text.evidence.NAMES`).  Corpora of acted speech say the same few neutral sentences over and over, so all they
can teach is that words say nothing.  What words are worth is learned from *development sentences* that are put into the
mouths of the training clips:

- a neutral clip gets a sentence of any emotion, and the emotion of the words is the answer;
- an emotional clip gets a neutral sentence, or one of its own emotion, and the emotion of the voice is the answer;
- an emotional clip gets a sentence of another emotion: nobody can say who is right, so half of the time it is the
  voice, half of the time the words.  The network at the level of features is not taught these.
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

from emovox.decision import TINY, fit_temperature, temper
from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import speaker_groups_kfold
from emovox.lab.estimators.adaptive import ORDINARY
from emovox.lab.estimators.estimator import Estimator, Options, graph_of
from emovox.lab.estimators.graphs import Arrays, Graph, rename
from emovox.lab.estimators.neural import AnnClassifier, AnnOptions
from emovox.lab.estimators.training import Sentences, TrainingSet
from emovox.lab.extraction.sequences import Inputs
from emovox.lab.ranges import Natural, NotNegative, Share
from emovox.model.file import INPUT, OUTPUT, WORDS
from emovox.text.evidence import DELIVERY, NAMES
from emovox.text.fusion import GATE_INPUTS, Mixture, Pool
from emovox.types import FeatureSpec, Float32Array

#: How a clip was said stays the clip's, whatever sentence it is given; how sure the words are goes with the sentence.
_MANNER = [NAMES.index(name) for name in DELIVERY if name != "confidence"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Clips with the words that they are taught with.

    Attributes
    ----------
    clips : ndarray of int, shape (n,)
        Rows of the clips.
    words : ndarray of float32, shape (n, len(NAMES))
        Words vectors: of the clips' own words first, then of sentences.
    labels : ndarray of str, shape (n,)
        What voice and words express together.
    weights : ndarray of float64, shape (n,)
        How much each row counts: each kind of pair the same in all.
    """

    clips: NDArray[np.intp]
    words: Float32Array
    labels: NDArray[Any]
    weights: NDArray[np.float64]


def pair(
    y: NDArray[Any], words: Float32Array, sentences: Sentences | None, draws: int, seed: int, *, disputed: bool = False
) -> Pairs:
    """Put development sentences into the mouths of clips, besides the clips' own words.

    Parameters
    ----------
    y : ndarray, shape (n_clips,)
        Labels of the clips.
    words : ndarray of float32, shape (n_clips, len(NAMES))
        Words vectors of the clips' own words.
    sentences : Sentences or None
        Sentences to draw from; those of emotions that no clip has are left out.
    draws : int
        Sentences of each kind for each emotional clip.  Neutral clips, which are few, get ten times as many.
    seed : int
        Which sentences are drawn.
    disputed : bool, default False
        Whether emotional clips get sentences of other emotions, too.

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
    """The feed-forward network over acoustic and linguistic features, and its training.

    Attributes
    ----------
    sentences : int
        Development sentences of each kind for each clip, see the module's text; 0 learns from the corpora's own
        words only, as published.  More teaches the network what words are worth, and costs it accuracy on the voice.
    silent : float
        Share of the clips that are taught without words, so that the network can do without.
    """

    sentences: Natural = 0
    silent: Share = 0.3


class FeatureFusionClassifier(Estimator):
    """One network over acoustic features and words.

    Parameters
    ----------
    options : FeatureFusionOptions
        Sizes and training.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    pipeline_ : Pipeline
        Standardisation and network over both parts.

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
        """Class probabilities, shape (n_clips, n_classes)."""
        return np.asarray(self.pipeline_.predict_proba(np.hstack([X.parts[INPUT], X.parts[WORDS]])))

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the network with its input in two parts, behind the encoder where there is one."""
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
    """A log-opinion pool of an acoustic model and the words.

    Attributes
    ----------
    acoustic : mapping
        ``family`` of the acoustic model and that family's options.
    folds : int
        Speaker-disjoint folds of the training clips; the weights are learned on answers to speakers that the acoustic
        model never heard.
    sentences : int
        Development sentences of each kind for each clip, see the module's text; 0 learns from the corpora's own
        words only.
    penalty : float
        Weight of the squares of the pool's parameters against the mean loss.
    seed : int
        Seed of the acoustic model and of the sentences drawn.
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
    """A mixture of cases in which the weight of the words depends on the words; options as for late fusion."""


class LateFusionClassifier(Estimator):
    """An acoustic model, and a log-opinion pool of its answer and the words'.

    Without words the answer is that of the acoustic model, calibrated on speakers that it never heard.

    Parameters
    ----------
    acoustic : Pipeline
        The unfitted acoustic model, standardisation inside.
    fitter : callable
        Fits it: called with the pipeline and a `TrainingSet`, `emovox.lab.estimators.families.fit`.
    options : LateFusionOptions
        How the pool is fitted.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    acoustic_ : Pipeline
        The acoustic model, fitted on all clips.
    heard_ : ndarray, shape (n_clips, n_classes)
        Probabilities of the training clips by models that never heard their speakers.
    temperature_ : float
        Calibration of the acoustic model, see `emovox.decision.temper`.
    pool_ : Pool
        What was learned of the words.
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
        """Fit the pool on answers to held-out speakers, then the acoustic model on everybody.

        Parameters
        ----------
        X : Inputs
            ``features``, shape (n_clips, n_features), and ``words``, shape (n_clips, len(NAMES)).
        y, corpora : ndarray, shape (n_clips,)
            Labels and, optionally, corpora.
        speakers : ndarray, shape (n_clips,)
            Who speaks.
        sentences : Sentences, optional
            Development sentences.

        Raises
        ------
        ProtocolError
            The speakers are not known, or there is only one.
        """
        options = self.options or LateFusionOptions()
        acoustic, words = X.parts[INPUT], X.parts[WORDS]
        self.classes_ = np.unique(y)
        clips = TrainingSet(acoustic, y, speakers, corpora)
        heard = self._held_out(clips)
        self.temperature_ = fit_temperature(heard, np.searchsorted(self.classes_, y))
        heard = self.heard_ = temper(heard, self.temperature_)
        pairs = pair(y, words, sentences, options.sentences, options.seed, disputed=True)
        self.pool_ = fit_pool(self.kind, heard[pairs.clips], pairs, self.classes_, self.gate, options.penalty)
        self.acoustic_ = self.fitter(clone(self.acoustic), clips)
        self.n_features_in_ = acoustic.shape[1]
        return self

    def _held_out(self, clips: TrainingSet) -> NDArray[np.float64]:
        """Predict every training clip by a model that never heard its speaker; a class it never met gets nothing."""
        speakers = clips.speakers
        count = 0 if speakers is None else len(np.unique(speakers))
        if speakers is None or count < 2:
            raise ProtocolError(
                "fusion learns the weight of the words on held-out speakers, and these clips have "
                f"{'no speakers' if speakers is None else 'one speaker only'}: give a speaker column with more, "
                'or choose model.family="fusion-feature"'
            )
        options = self.options or LateFusionOptions()
        heard = np.zeros((len(clips), len(self.classes_)))
        for train, test in speaker_groups_kfold(speakers, min(options.folds, count)):
            fitted = self.fitter(clone(self.acoustic), clips[train])
            columns = np.searchsorted(self.classes_, fitted.classes_)
            heard[np.ix_(test, columns)] = fitted.predict_proba(clips.X[test])
        return heard

    def predict_proba(self, X: Inputs) -> NDArray[np.float64]:
        """Class probabilities, shape (n_clips, n_classes)."""
        acoustic, words = X.parts[INPUT], X.parts[WORDS]
        heard = temper(self.acoustic_.predict_proba(acoustic), self.temperature_)
        return self.pool_.combine(heard, words, self.classes_.tolist())[0]

    def graph(self, spec: FeatureSpec, scaler: Any = None, *, baseline: bool = True) -> Graph:
        """Return the graph of the voice; the pool, which puts the words beside its answer, is told in the card."""
        return dataclasses.replace(graph_of(self.acoustic_, spec, baseline=baseline), temperature=self.temperature_)

    def card_text(self, temperature: float) -> dict[str, Any]:
        """Return the pool that goes with an answer of the voice that is calibrated by `temperature`."""
        return {"pool": self.pool_.beside(temperature).to_dict()}


class GatedFusionClassifier(LateFusionClassifier):
    """A gated mixture instead, in which sure, long and strong words weigh more.

    Parameters as for :class:`LateFusionClassifier`.
    """

    kind = Mixture
    gate = tuple(GATE_INPUTS)


def fit_pool(
    kind: type[Pool],
    heard: NDArray[np.float64],
    pairs: Pairs,
    classes: NDArray[Any],
    gate: tuple[str, ...],
    penalty: float,
) -> Pool:
    """Find the pool, or mixture, of greatest likelihood.

    Parameters
    ----------
    kind : type
        :class:`emovox.text.fusion.Pool` or :class:`emovox.text.fusion.Mixture`.
    heard : ndarray, shape (n, n_classes)
        Probabilities by the voice, for each pair.
    pairs : Pairs
        Words and what the two express together.
    classes : ndarray of str
        Order of the columns.
    gate : tuple of str
        Inputs of the gate, of :data:`emovox.text.fusion.GATE_INPUTS`.
    penalty : float
        Weight of the squares of the parameters.

    Returns
    -------
    Pool
    """
    words = pairs.words.astype(np.float64)
    voice = np.maximum(heard, heard.max(axis=1, keepdims=True) * 1e-13)  # one flat zero must not decide everything
    target = np.searchsorted(classes, pairs.labels)
    counts = pairs.weights / pairs.weights.sum()
    rows, labels = np.arange(len(target)), classes.tolist()

    def loss(values: NDArray[np.float64]) -> float:
        found, _ = kind.of(values.tolist(), gate).combine(voice, words, labels)
        likelihood = np.log(np.maximum(found[rows, target], TINY))
        return float(-(counts * likelihood).sum() + penalty * np.square(values).sum())

    start = np.zeros(len(kind.strengths) + 1 + len(gate))
    return kind.of(minimize(loss, start, method="L-BFGS-B").x.tolist(), gate)
