"""Voice and words together: decision rules, and late fusion.

:class:`Pool` and :class:`Mixture` hold the arithmetic, on numpy arrays of n rows: probabilities by the acoustic model,
(n, n_labels), and words vectors, (n, len(NAMES)).  The functions after them apply it to predictions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from emovox.errors import InputError, ModelError
from emovox.model.file import TINY, ModelCard, decide, temper
from emovox.text.words import NAMES, VERSION, Heard, words_vector
from emovox.types import COMMON, Float32Array, Float64Array, Prediction, too_short

#: Labels of positive and of negative valence.
POSITIVE, NEGATIVE = ("happy", "calm", "surprised"), ("sad", "angry", "fearful", "disgust")


@dataclass(frozen=True)
class Rule:
    """A condition under which the label changes, and the labels that it may change to.

    Attributes
    ----------
    name : str
        Name of the rule, quoted in the explanation.
    voice : tuple of str
        Labels that the rule may change; empty for all.
    words : {"positive", "negative"}
        Polarity that the words must have, by the sign of VADER's compound score.
    polarity : float
        Smallest strength of the sentiment, |compound|, in [0, 1].
    below : float
        The rule applies only to a label whose probability is lower, in [0, 1].
    sure : float
        Smallest mean probability of the recognised words, in [0, 1].
    to : tuple of str
        Candidates for the new label, of which the most probable is taken; empty for all labels of that polarity.

    Examples
    --------
    >>> Rule("gone", words="negative", polarity=2)
    Traceback (most recent call last):
    emovox.errors.InputError: rule 'gone': polarity = 2 is not from 0 to 1
    """

    name: str
    voice: tuple[str, ...] = ()
    words: Literal["positive", "negative"] = "negative"
    polarity: float = 0.5
    below: float = 1.0
    sure: float = 0.6
    to: tuple[str, ...] = ()

    # Read by pydantic when it validates a recipe: a key that is not an option is an error.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.words not in ("positive", "negative"):
            raise InputError(f"rule {self.name!r}: words = {self.words!r} is not 'positive' or 'negative'")
        for key in ("polarity", "below", "sure"):
            if not 0 <= getattr(self, key) <= 1:
                raise InputError(f"rule {self.name!r}: {key} = {getattr(self, key)} is not from 0 to 1")

    @property
    def candidates(self) -> tuple[str, ...]:
        """Labels that the rule may change to."""
        return self.to or (POSITIVE if self.words == "positive" else NEGATIVE)


#: The default rules: a neutral voice takes on the polarity of the words; an uncertain voice yields to clear words.
DEFAULT: tuple[Rule, ...] = (
    Rule("neutral voice, bad words", ("neutral", "calm"), "negative"),
    Rule("neutral voice, good words", ("neutral",), "positive", to=("happy", "surprised")),
    Rule("unsure voice against bad words", ("happy", "calm"), "negative", polarity=0.6, below=0.5),
    Rule("unsure voice against good words", NEGATIVE, "positive", polarity=0.6, below=0.5, to=("happy", "surprised")),
)


@dataclass(frozen=True)
class Decision:
    """The label after the rules, with its explanation.

    Attributes
    ----------
    label : str
        The final label.
    why : str or None
        What voice and words said, and the rule that changed the label; None where no rule did.
    """

    label: str
    why: str | None = None


def apply(rules: Sequence[Rule], probabilities: Mapping[str, float], linguistic: Mapping[str, float]) -> Decision:
    """Apply the first rule whose conditions hold.

    Parameters
    ----------
    rules : sequence of Rule
        Rules in order of precedence.
    probabilities : mapping of str to float
        Probabilities by label.
    linguistic : mapping of str to float
        Features by :func:`emovox.text.words.linguistic_features`.  No rule applies without words (`has_words` is 0,
        or the mapping is empty).

    Returns
    -------
    Decision
        Probabilities stay as they are.

    Examples
    --------
    >>> voice, words = {"neutral": 0.7, "sad": 0.2, "angry": 0.1}, {"has_words": 1, "compound": -0.8, "confidence": 0.9}
    >>> decision = apply(DEFAULT, voice, words)
    >>> decision.label
    'sad'
    >>> decision.why
    "voice said neutral (70 %), words said negative (-0.80): rule 'neutral voice, bad words' made it sad"
    >>> apply(DEFAULT, voice, {}).label
    'neutral'
    """
    label = max(probabilities, key=lambda one: probabilities[one])
    for rule in rules if linguistic.get("has_words") else ():
        compound = linguistic["compound"]
        candidates = [one for one in rule.candidates if one in probabilities]
        if candidates and _fits(rule, label, probabilities[label], compound, linguistic["confidence"]):
            new = max(candidates, key=lambda one: probabilities[one])
            why = (
                f"voice said {label} ({100 * probabilities[label]:.0f} %), words said {rule.words} ({compound:+.2f}): "
                f"rule {rule.name!r} made it {new}"
            )
            return Decision(new, why)
    return Decision(label)


def _fits(rule: Rule, label: str, probability: float, compound: float, confidence: float) -> bool:
    """Return whether the conditions of a rule hold."""
    signed = compound if rule.words == "positive" else -compound
    return (
        (not rule.voice or label in rule.voice)
        and label not in rule.candidates
        and signed >= rule.polarity
        and probability < rule.below
        and confidence >= rule.sure
    )


#: Inputs of the gate, on which the weight of the words may depend; each is in [0, 1].
GATE_INPUTS: dict[str, str] = {
    "confidence": "how sure the speech recogniser is of the words",
    "length": "number of words w, as w / (w + 5)",
    "sentiment": "strength of the sentiment, |compound|",
    "emotion": "probability of the likeliest emotion other than neutral, by the words alone",
}

#: Number of words at which the input ``length`` is 0.5.
HALF_LENGTH = 5.0

#: Floor of the words' probability of a label: no transcript rules an emotion out.
LEAST = 1e-3

#: Probability of the most probable emotion up to which the words have no weight, and from which they have all of it.
QUIET, CLEAR = 0.2, 0.3

_NEUTRAL = COMMON.index("neutral")
#: 1 for the columns of :data:`EMOTIONS` that are emotions, 0 for neutral.
MOVED = np.array([label != "neutral" for label in COMMON], dtype=np.float64)
_COLUMN = {name: index for index, name in enumerate(NAMES)}
#: Columns of the words' probabilities of the common labels.
EMOTIONS = [_COLUMN[f"emotion_{label}"] for label in COMMON]


@dataclass(frozen=True)
class Pool:
    """A log-opinion pool: ``p = voice * words ** (sharpness * g)``, normalised to sum to 1.

    The weight ``g`` is a logistic function of the gate's inputs, a constant where the gate is empty (late fusion), and
    0 where there are no words or they express no emotion: then the acoustic probabilities stay as they are.

    Attributes
    ----------
    sharpness : float
        Exponent (inverse temperature) of the words' probabilities: 1 leaves them as they are, more sharpens them.
    bias : float
        Log-odds of the weight where all inputs of the gate are 0.
    gate : mapping of str to float
        Coefficients of the inputs by name, see :data:`GATE_INPUTS`.

    Notes
    -----
    Source: C. Genest and J. Zidek, "Combining probability distributions", Statistical Science 1(1), 1986, section 3.

    Examples
    --------
    >>> words = np.zeros((2, len(NAMES)))
    >>> words[1, [NAMES.index("has_words"), NAMES.index("emotion_sad")]] = 1
    >>> found, weight = Pool(sharpness=1.0).combine([[0.8, 0.2], [0.8, 0.2]], words, ("neutral", "sad"))
    >>> found.round(2).tolist(), weight.tolist()
    ([[0.8, 0.2], [0.11, 0.89]], [0.0, 0.5])
    """

    sharpness: float = 1.0
    bias: float = 0.0
    gate: Mapping[str, float] = field(default_factory=dict)

    #: Its name in a model file.
    kind: ClassVar[str] = "pool"
    #: Positive parameters, which are fitted by their logarithms.
    strengths: ClassVar[tuple[str, ...]] = ("sharpness",)

    def combine(self, voice: ArrayLike, words: ArrayLike, labels: Sequence[str]) -> tuple[Float64Array, Float64Array]:
        """Fuse the probabilities of the acoustic model with the words.

        Parameters
        ----------
        voice : array_like, shape (n, n_labels)
            Probabilities by the acoustic model, in the order of `labels`.
        words : array_like, shape (n, len(NAMES))
            Rows of :func:`emovox.text.words.words_vector`; zeros where there are no words.
        labels : sequence of str
            The model's labels.

        Returns
        -------
        probabilities : ndarray, shape (n, n_labels)
            Rows that sum to 1.
        weight : ndarray, shape (n,)
            Weight of the words, from 0 to 1.
        """
        given = np.asarray(words, dtype=np.float64)
        weight = self.weight(given)
        heard = np.log(np.maximum(np.asarray(voice, dtype=np.float64), TINY))
        logs = heard + (weight * self.sharpness)[:, np.newaxis] * opinions(given, labels)
        powers = np.exp(logs - logs.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), weight

    def weight(self, words: Float64Array) -> Float64Array:
        """Return the weight of the words, shape (n,), from rows of the words vector."""
        inputs = gate_inputs(words)
        odds = self.bias + sum((value * inputs[name] for name, value in self.gate.items()), np.zeros(len(words)))
        clear = np.clip((inputs["emotion"] - QUIET) / (CLEAR - QUIET), 0, 1)
        weight: Float64Array = words[:, _COLUMN["has_words"]] * clear / (1 + np.exp(-odds))
        return weight

    def beside(self, temperature: float) -> Self:
        """Return the equivalent pool for acoustic probabilities tempered by :func:`emovox.model.file.temper`."""
        return replace(self, sharpness=self.sharpness / temperature)

    @classmethod
    def of(cls, values: Sequence[float], gate: Sequence[str]) -> Self:
        """Build from free parameters: logarithms of the `strengths`, the bias, a coefficient for each gate input."""
        count = len(cls.strengths)
        strengths = {name: float(np.exp(value)) for name, value in zip(cls.strengths, values[:count], strict=True)}
        given = dict(zip(gate, (float(value) for value in values[count + 1 :]), strict=True))
        return cls(bias=float(values[count]), gate=given, **strengths)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Pool:
        """Rebuild a pool or mixture from :meth:`to_dict`'s values; raise ModelError where they are none."""
        kinds = {one.kind: one for one in (Pool, Mixture)}
        kind = values.get("kind", Pool.kind)
        if kind not in kinds:
            raise ModelError(f"unknown fusion of voice and words {kind!r}: upgrade emovox")
        made = kinds[kind]
        try:
            numbers = {one.name: float(values[one.name]) for one in fields(made) if one.name != "gate"}
            gate = {str(name): float(value) for name, value in dict(values["gate"]).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"not the values of a pool of voice and words ({error}): get the file again") from error
        if unknown := set(gate) - GATE_INPUTS.keys():
            raise ModelError(f"a pool with the unknown gate input {min(unknown)!r}: upgrade emovox")
        return made(gate=gate, **numbers)


@dataclass(frozen=True)
class Mixture(Pool):
    """A gated mixture of three cases: the voice alone is right, voice and words agree, voice and words disagree.

    With ``q`` the words' probabilities of the emotions, ``words ** sharpness`` normalised, times the weight ``g``:

    - words without an emotion, or of low weight: the voice counts, ``(1 - sum(q)) * voice``;
    - words and voice of the same emotion, or a neutral voice: ``agreement * q * (voice + neutral voice)``;
    - words and voice of different emotions: half of each, times `conflict`;

    and the sum of the three is normalised.

    Attributes
    ----------
    agreement, conflict : float
        Prior weights of these cases, relative to voice and words that are independent.
    temperature : float
        Temperature of the acoustic probabilities and of the result, see :func:`emovox.model.file.temper`.

    Notes
    -----
    Source: R. Jacobs et al., "Adaptive mixtures of local experts", Neural Computation 3, 1991.

    Examples
    --------
    >>> words = np.zeros((2, len(NAMES)))
    >>> words[:, [NAMES.index("has_words"), NAMES.index("emotion_sad")]] = 1
    >>> mixture = Mixture(bias=3.0, agreement=5.0, conflict=1.0)
    >>> voice = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]
    >>> mixture.combine(voice, words, ("neutral", "happy", "sad"))[0].round(2).tolist()
    [[0.01, 0.01, 0.98], [0.0, 0.35, 0.65]]
    """

    agreement: float = 1.0
    conflict: float = 1.0
    temperature: float = 1.0

    kind: ClassVar[str] = "mixture"
    strengths: ClassVar[tuple[str, ...]] = ("sharpness", "agreement", "conflict")

    def combine(self, voice: ArrayLike, words: ArrayLike, labels: Sequence[str]) -> tuple[Float64Array, Float64Array]:
        """Fuse the probabilities of the acoustic model with the words, see :meth:`Pool.combine`."""
        given = np.asarray(words, dtype=np.float64)
        weight = self.weight(given)
        heard = temper(voice, 1 / self.temperature)
        neutral, moved = heard * (np.array(labels) == "neutral"), heard * (np.array(labels) != "neutral")
        read = weight[:, np.newaxis] * (self._sharpened(given) @ emotion_matrix(labels))
        said, shown = read.sum(axis=1, keepdims=True), moved.sum(axis=1, keepdims=True)
        agreed = read * (moved + neutral.sum(axis=1, keepdims=True))
        disputed = (moved * (said - read) + read * (shown - moved)) / 2
        cases = (1 - said) * heard + self.agreement * agreed + self.conflict * disputed
        return temper(cases / cases.sum(axis=1, keepdims=True), self.temperature), weight

    def _sharpened(self, words: Float64Array) -> Float64Array:
        powers = np.maximum(words[:, EMOTIONS], LEAST) ** self.sharpness
        sharpened: Float64Array = powers / powers.sum(axis=1, keepdims=True)
        return sharpened

    def beside(self, temperature: float) -> Self:
        """Return the equivalent mixture for tempered acoustic probabilities, see :meth:`Pool.beside`."""
        return replace(self, temperature=self.temperature * temperature)


def gate_inputs(words: Float64Array) -> dict[str, Float64Array]:
    """Compute the inputs of the gate, each of shape (n,), from words vectors, shape (n, len(NAMES))."""
    count = words[:, _COLUMN["word_count"]]
    return {
        "confidence": words[:, _COLUMN["confidence"]],
        "length": count / (count + HALF_LENGTH),
        "sentiment": np.abs(words[:, _COLUMN["compound"]]),
        "emotion": (words[:, EMOTIONS] * MOVED).max(axis=1),
    }


def opinions(words: Float64Array, labels: Sequence[str]) -> Float64Array:
    """Return the log-probabilities of the words, shape (n, n_labels).

    Neutral words are no evidence of a neutral voice, so the probability of neutral is spread evenly over all labels.
    A label outside :data:`emovox.types.COMMON`, about which words say nothing, has the average of the others.
    """
    emotions = words[:, EMOTIONS]
    spread = np.maximum(emotions * MOVED + emotions[:, [_NEUTRAL]] / len(COMMON), LEAST)
    logs: Float64Array = np.log(spread) @ opinion_matrix(labels)
    return logs


def opinion_matrix(labels: Sequence[str]) -> Float64Array:
    """Return the matrix from log-probabilities of the common labels to those of a model's, shape (8, n_labels)."""
    columns = [
        np.eye(len(COMMON))[COMMON.index(label)] if label in COMMON else np.full(len(COMMON), 1 / len(COMMON))
        for label in labels
    ]
    return np.stack(columns, axis=1)


def emotion_matrix(labels: Sequence[str]) -> Float64Array:
    """Return the matrix that selects a model's labels but neutral from the common ones, shape (8, n_labels)."""
    return np.array([[float(one == label and one != "neutral") for label in labels] for one in COMMON])


def builtin() -> Pool:
    """Return the built-in gated mixture, for acoustic models that were trained without words.

    Examples
    --------
    >>> sorted(builtin().gate)
    ['confidence', 'emotion', 'length', 'sentiment']
    """
    content = (resources.files("emovox.pretrained") / "words.json").read_text(encoding="utf-8")
    return Pool.from_dict(json.loads(content)["pool"])


def words_of(heard: Heard, duration: float) -> Float32Array:
    """Return the words vector of a recording, zeros where there are no words."""
    return words_vector(heard.transcript if heard.linguistic else None, duration)


def pool_of(card: ModelCard) -> Pool | None:
    """Return the pool that fuses a model's answer with the words.

    Parameters
    ----------
    card : ModelCard
        Card of the model; one that was trained without words takes the pool of :func:`builtin`.

    Returns
    -------
    Pool or None
        None for a model with feature-level fusion, which takes the words as an input of its graph.

    Raises
    ------
    ModelError
        The model was fitted on another words vector than this version computes.
    """
    if not card.text:
        return builtin()
    if card.text.get("version") != VERSION or tuple(card.text.get("columns", ())) != NAMES:
        raise ModelError(
            f"model {card.name!r} was fitted on other features of the words than this version computes: "
            "train it again, or use the version of emovox that made it"
        )
    return Pool.from_dict(card.text["pool"]) if "pool" in card.text else None


def rules_of(card: ModelCard) -> tuple[Rule, ...]:
    """Return the decision rules of a model's recipe."""
    given: Sequence[Mapping[str, Any]] = card.recipe.get("decision", {}).get("rules", ())
    try:
        plain: list[dict[str, Any]] = [
            {key: tuple(value) if isinstance(value, list) else value for key, value in one.items()} for one in given
        ]
        return tuple(Rule(**one) for one in plain)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the rules of model {card.name!r} cannot be read ({error}): train it again") from error


def pooled(voice: Prediction, words: Float32Array, pool: Pool) -> tuple[Mapping[str, float], float]:
    """Fuse an acoustic prediction with a words vector; return probabilities by label, and the weight of the words."""
    labels = tuple(voice.probabilities)
    found, weight = pool.combine([list(voice.probabilities.values())], words[np.newaxis], labels)
    return dict(zip(labels, found[0].tolist(), strict=True)), float(weight[0])


def explained(
    voice: Prediction,
    together: Mapping[str, float],
    words: Float32Array,
    method: str,
    weight: float | None,
    threshold: float,
) -> Prediction:
    """Return the fused prediction, with the answers of voice and words alone in its `fusion`, and changes in its `why`.

    Parameters
    ----------
    voice : Prediction
        Prediction by the voice alone.
    together : mapping of str to float
        Fused probabilities by label.
    words : ndarray
        The words vector.
    method : str
        ``"feature"``, ``"late"`` or ``"gated"``.
    weight : float or None
        Weight of the words; None where the method has none.
    threshold : float
        Confidence below which the answer is an abstention.
    """
    alone = {"label": voice.label, "probabilities": dict(voice.probabilities)}
    if not words.any():
        told: dict[str, Any] = {"method": method, "used": ["voice"], "weight": 0.0, "voice": alone}
        return replace(voice, fusion=told)
    label, confidence, abstained = decide(list(together.values()), tuple(together), threshold)
    said = dict(zip(COMMON, words[EMOTIONS].tolist(), strict=True))
    strongest = max(said, key=lambda one: said[one])
    told = {
        "method": method,
        "used": ["voice", "words"],
        "weight": weight,
        "voice": alone,
        "words": {"label": strongest, "probabilities": said},
    }
    why = voice.why or ()
    if label != voice.label:
        line = (
            f"voice said {voice.label} ({100 * voice.confidence:.0f} %), words said {strongest} "
            f"({100 * said[strongest]:.0f} %): together {label}"
        )
        why = (*why, line)
    return replace(
        voice,
        label=label,
        probabilities=together,
        confidence=confidence,
        abstained=abstained or too_short(voice),
        fusion=told,
        why=why or None,
    )


def ruled(found: Prediction, given: Sequence[Rule], heard: Heard, threshold: float) -> Prediction:
    """Apply decision rules to a prediction; a change of label is explained in `why`."""
    decided = apply(given, found.probabilities, heard.linguistic or {})
    if decided.why is None:
        return found
    confidence = found.probabilities[decided.label]
    return replace(
        found,
        label=decided.label,
        confidence=confidence,
        abstained=confidence < threshold or too_short(found),
        why=(*(found.why or ()), decided.why),
    )
