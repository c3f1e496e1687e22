"""Why a model answered as it did: an explanation as a value, as lines of text and as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emovox import drawing
from emovox.drawing import clock
from emovox.outputs.text import shown

#: Correlation with the explanations of models with shuffled weights from which one does not depend on the model.
ALIKE = 0.5
#: Parts of an explanation that are told in words, at most.
_FEW = 3


@dataclass(frozen=True)
class Reason:
    """A stretch of time, a band of frequencies or a word, and what it does for the answer.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording; Hz for a band.
    weight : float
        By how much the log-odds of the answer fall when this is left out: natural units, 0 is nothing, and less than 0
        speaks against the answer.
    text : str
        The word; empty for anything else.
    """

    start: float
    end: float
    weight: float
    text: str = ""


@dataclass(frozen=True)
class Trait:
    """Something about the voice that is out of the ordinary.

    Attributes
    ----------
    name : str
        Of the trait: ``"pitch"``, ``"loudness"``, ``"tempo"``, ...
    value, ordinary : float
        Here, and ordinarily, in `unit`.
    unit : str
        Of both.
    deviation : float
        The difference in standard deviations of what is ordinary.
    text : str
        The difference in words: ``"12 semitones above ordinary pitch"``.
    """

    name: str
    value: float
    ordinary: float
    unit: str
    deviation: float
    text: str


@dataclass(frozen=True)
class Faithfulness:
    """How well an explanation predicts what the model does, measured on the sound itself.

    A quarter, half and three quarters of the time are cut out, or a third and two thirds of the bands, the parts with
    the highest weights first (deletion), or only as much of those is kept (insertion); the areas are mean probabilities
    of the answer.

    Attributes
    ----------
    deletion, insertion : float
        Areas of the explanation, in [0, 1]: the lower and the higher the better.
    random : tuple of float
        The area of each random order, which is the same either way.

    Source
    ------
    Petsiuk, Das and Saenko 2018, RISE: randomized input sampling for explanation of black-box models, BMVC.

    Examples
    --------
    >>> found = Faithfulness(0.25, 0.75, (0.5, 0.5))
    >>> found.score, found.better
    (0.5, True)
    """

    deletion: float
    insertion: float
    random: tuple[float, ...]

    @property
    def score(self) -> float:
        """How far the area under the deletion curve lies below that of random orders: 1 at best, 0 is no better."""
        mean = float(np.mean(self.random))
        return 1 - self.deletion / mean if mean else 0.0

    @property
    def better(self) -> bool:
        """Whether it can be told apart from random orders.

        They lie between deletion and insertion on average, and less far from one another than these two do.
        """
        gap, spread = self.insertion - self.deletion, max(self.random) - min(self.random)
        return self.deletion < float(np.mean(self.random)) < self.insertion and gap > spread


@dataclass(frozen=True)
class Explanation:
    """Why a stretch of a recording got its answer.

    Attributes
    ----------
    file : str
        The recording.
    start, end : float
        The stretch, in seconds from the beginning of the recording.
    label : str
        The answer that is explained.
    confidence : float
        Its probability.
    model : str
        Name of the model.
    times, bands, words : tuple of Reason
        What each piece of the time, each band of frequencies and each word does for the answer; no words where none
        took part.
    traits : tuple of Trait
        What is out of the ordinary in the voice.
    against : str
        What is ordinary: whose voice, and how much of it.
    faithfulness : Faithfulness or None
        Of the times; None where it was not measured, or there is too little sound for it.
    alike : float or None
        Correlation of the times' weights with those of the same model with its weights shuffled, absolute, the mean of
        several; None where there is too little sound for it.
    abstained : bool
        Whether the answer is "don't know": `label` is only the most probable one.
    faithfulness_of_bands : Faithfulness or None
        Of the bands; None where it was not measured.
    """

    file: str
    start: float
    end: float
    label: str
    confidence: float
    model: str
    times: tuple[Reason, ...]
    bands: tuple[Reason, ...]
    words: tuple[Reason, ...] = ()
    traits: tuple[Trait, ...] = ()
    against: str = ""
    faithfulness: Faithfulness | None = None
    alike: float | None = None
    abstained: bool = False
    faithfulness_of_bands: Faithfulness | None = None

    @property
    def trusted(self) -> bool:
        """Whether what it says of the time is better than random orders and depends on what the model has learnt."""
        found, alike = self.faithfulness, self.alike
        return found is not None and found.better and alike is not None and alike < ALIKE

    @property
    def verdict(self) -> str:
        """How far the explanation can be trusted, in words."""
        if self.faithfulness is None or self.alike is None:
            return "not measured: do not rely on it"
        found = self.faithfulness
        if not found.better:
            return f"not told apart from random orders (deletion {found.score:.0%} below them): do not rely on it"
        if self.alike >= ALIKE:
            return f"much like that of a model with shuffled weights (r = {self.alike:.2f}): do not rely on it"
        return (
            f"deletion {found.score:.0%} below random orders; unlike a model with shuffled weights "
            f"(r = {self.alike:.2f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the keys are the attributes, and what is computed of them."""
        plain = dataclasses.asdict(self)
        for key in ("faithfulness", "faithfulness_of_bands"):
            found = getattr(self, key)
            if found is not None:
                plain[key] |= {"score": found.score, "better": found.better}
        return {**plain, "trusted": self.trusted, "verdict": self.verdict}


def strongest(parts: Sequence[Reason], few: int = _FEW) -> list[tuple[Reason, float]]:
    """Return the parts that speak most for the answer, and their shares of all that does; neighbours become one.

    Examples
    --------
    >>> found = strongest([Reason(0, 1, 2.0), Reason(1, 2, 1.0), Reason(2, 3, -1.0), Reason(3, 4, 1.0)])
    >>> [(one.start, one.end, share) for one, share in found]
    [(0, 2, 0.75), (3, 4, 0.25)]
    """
    total = sum(max(one.weight, 0.0) for one in parts)
    runs: list[Reason] = []
    least = 0.5 * max((one.weight for one in parts), default=0.0)
    for one in parts:
        if one.weight <= 0 or one.weight < least:
            continue
        if runs and not one.text and runs[-1].end == one.start:
            runs[-1] = dataclasses.replace(runs[-1], end=one.end, weight=runs[-1].weight + one.weight)
        else:
            runs.append(one)
    best = sorted(runs, key=lambda one: -one.weight)[:few]
    return [(one, one.weight / total) for one in best]


def lines(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Give what an explanation says, a subject and a sentence each."""
    if explanation.times:
        said = [f"{one.start:.1f} to {one.end:.1f} s ({share:.0%})" for one, share in strongest(explanation.times)]
        yield "when", ", ".join(said) or "no stretch by itself"
    if explanation.bands:
        heard = [f"{one.start:.0f} to {one.end:.0f} Hz ({share:.0%})" for one, share in strongest(explanation.bands)]
        yield "where", f"{', '.join(heard) or 'no band by itself'}; {_of_bands(explanation.faithfulness_of_bands)}"
    if explanation.words:
        words = [f"“{shown(one.text)}” ({share:.0%})" for one, share in strongest(explanation.words)]
        yield "words", ", ".join(words) or "no word by itself"
    if explanation.against:
        traits = ", ".join(one.text for one in explanation.traits)
        yield "voice", f"{traits or 'nothing out of the ordinary'} (against {explanation.against})"
    yield "trust", explanation.verdict


def _of_bands(found: Faithfulness | None) -> str:
    """Say how far the bands can be trusted."""
    if found is None:
        return "not measured: do not rely on it"
    if not found.better:
        return "not told apart from random orders of bands: do not rely on it"
    return f"deletion {found.score:.0%} below random orders of bands"


def title(explanation: Explanation) -> str:
    """Say what is explained, in a line."""
    span = f"{clock(explanation.start)} to {clock(explanation.end)}"
    said = drawing.answer(explanation.label, explanation.abstained)
    return f"{shown(explanation.file)}, {span}: {shown(said)} {explanation.confidence:.0%}, because"
