"""The words beside the voice: what a recogniser does with them; emovox.text is imported where words are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovox import decision
from emovox.model.card import ModelCard
from emovox.recognition.voice import Voice
from emovox.types import Float32Array, Prediction, Waveform

if TYPE_CHECKING:
    from emovox.text.rules import Rule
    from emovox.text.words import Heard

#: Seconds of a recording that are kept for models that must see words and sound at once.
REMEMBERED = 600.0


def rules_of(card: ModelCard) -> tuple[Rule, ...]:
    """Return the decision rules of a model's recipe; most have none."""
    if not card.recipe.get("decision", {}).get("rules"):
        return ()
    from emovox.text import fusion

    return fusion.rules_of(card)


class Remembering:
    """A judge that keeps what it has judged, for models that must see words and sound at once.

    Parameters
    ----------
    voice : Voice
        Who judges.
    wanted : bool
        Whether anything is to be kept.

    Attributes
    ----------
    seen : list of Waveform
        What was judged within the first :data:`REMEMBERED` seconds.
    lengths : list of float
        Lengths in seconds of all that was judged.
    """

    def __init__(self, voice: Voice, *, wanted: bool) -> None:
        self.threshold = voice.threshold
        self.seen: list[Waveform] = []
        self.lengths: list[float] = []
        self._voice, self._wanted = voice, wanted

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window, see :meth:`emovox.recognition.voice.Voice.assess`."""
        found = self._voice.assess(window, name, running=running)
        if found and self._wanted:
            self.lengths.append(window.duration)
            if window.end <= REMEMBERED:
                self.seen.append(window)
        return found


def fused(
    voice: Prediction,
    heard: Heard,
    card: ModelCard,
    threshold: float,
    compute: Callable[[Waveform, Float32Array], Float32Array],
    seen: Sequence[Waveform] | None,
    weights: Sequence[float],
) -> Prediction:
    """Put voice and words together.

    Parameters
    ----------
    voice : Prediction
        By the voice alone.
    heard : Heard
        What is known of the words.
    card : ModelCard
        That of the model: its fusion, or the one that comes with emovox.
    threshold : float
        Confidence under which the answer is an abstention.
    compute : callable
        Probabilities of a window and a words vector, for models that must see both at once.
    seen : sequence of Waveform or None
        The windows, for such models; None for a segment of a timeline, fewer than `weights` where they were not kept.
    weights : sequence of float
        Lengths of the windows in seconds.
    """
    from emovox.text import fusion

    words = fusion.words_of(heard, voice.end - voice.start)
    method, pool = card.text.get("method", "gated"), fusion.pool_of(card)
    if pool is not None:
        together: Mapping[str, float]
        together, weight = fusion.pooled(voice, words, pool)
        return fusion.explained(voice, together, words, method, weight, threshold)
    if seen is None or len(seen) < len(weights):
        line = "this model takes words and sound at once, which a timeline cannot: the voice alone"
        if seen is not None:
            line = f"longer than {REMEMBERED:g} s, too long for this model to take words: the voice alone"
        voice = dataclasses.replace(voice, why=(*(voice.why or ()), line))
        words = np.zeros_like(words)
        seen = []
    rows = [compute(window, words) for window in seen]
    mean = decision.combine(rows, weights).tolist() if rows else list(voice.probabilities.values())
    together = dict(zip(card.labels, mean, strict=True))
    return fusion.explained(voice, together, words, method, None, threshold)
