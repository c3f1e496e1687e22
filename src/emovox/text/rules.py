"""Decision rules: change a label by its probability and the polarity of the words, and explain every change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from emovox.errors import InputError

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
        Features by :func:`emovox.text.evidence.linguistic_features`.  No rule applies without words (`has_words` is 0,
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
