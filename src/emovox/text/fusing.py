"""From what the voice says and the words that were heard to one answer that explains itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emovox import decision
from emovox.errors import ModelError
from emovox.labels import COMMON
from emovox.model.card import ModelCard
from emovox.text import rules
from emovox.text.evidence import NAMES, VERSION, words_vector
from emovox.text.fusion import EMOTIONS, Pool, builtin
from emovox.text.rules import Rule
from emovox.text.words import Heard
from emovox.types import Float32Array, Prediction


def words_of(heard: Heard, duration: float) -> Float32Array:
    """Return the words vector of what was heard, zeros where there are no words to judge."""
    return words_vector(heard.transcript if heard.linguistic else None, duration)


def pool_of(card: ModelCard) -> Pool | None:
    """Return the pool by which a model's answer and the words are put together.

    Parameters
    ----------
    card : ModelCard
        A model without words of its own takes the one that comes with emovox.

    Returns
    -------
    Pool or None
        None for a model that must see the words together with the features.

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
    """Pool a prediction by the voice with a words vector; return probabilities by label, and the words' weight."""
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
    """Put the fused probabilities into a prediction, with what voice and words said on their own.

    Parameters
    ----------
    voice : Prediction
        By the voice alone.
    together : mapping of str to float
        Probabilities of both.
    words : ndarray
        The words vector.
    method : str
        ``"feature"``, ``"late"`` or ``"gated"``.
    weight : float or None
        Weight of the words; None where the method has none.
    threshold : float
        Confidence under which the answer is an abstention.
    """
    alone = {"label": voice.label, "probabilities": dict(voice.probabilities)}
    if not words.any():
        told: dict[str, Any] = {"method": method, "used": ["voice"], "weight": 0.0, "voice": alone}
        return dataclasses.replace(voice, fusion=told)
    label, confidence, abstained = decision.decide(list(together.values()), tuple(together), threshold)
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
    return dataclasses.replace(
        voice,
        label=label,
        probabilities=together,
        confidence=confidence,
        abstained=abstained,
        fusion=told,
        why=why or None,
    )


def ruled(found: Prediction, given: Sequence[Rule], heard: Heard, threshold: float) -> Prediction:
    """Apply decision rules to a prediction; a change of label is explained in `why`."""
    decided = rules.apply(given, found.probabilities, heard.linguistic or {})
    if decided.why is None:
        return found
    confidence = found.probabilities[decided.label]
    return dataclasses.replace(
        found,
        label=decided.label,
        confidence=confidence,
        abstained=confidence < threshold,
        why=(*(found.why or ()), decided.why),
    )
