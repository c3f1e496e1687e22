"""One window to one judgement: gate, features, model, answer; and what the words add, where they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovox import audio, decision
from emovox.errors import AudioError, NoSpeechError
from emovox.features import sets
from emovox.model.card import ModelCard
from emovox.model.file import Model, ModelOutput
from emovox.recognition.timeline import Timeline, blended
from emovox.speech.gate import GateOptions, is_speech
from emovox.types import Float32Array, Prediction, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for
    from emovox.text.rules import Rule
    from emovox.text.words import Heard

#: Seconds of a recording that are kept for models that must see words and sound at once.
REMEMBERED = 600.0


@dataclass(frozen=True)
class Voice:
    """Judges windows by the voice alone; a stream's judge, see :class:`emovox.recognition.cutting.Judge`.

    Attributes
    ----------
    model : Model
        Features to probabilities.
    gate : GateOptions
        How sure to be that somebody speaks.
    threshold : float
        Confidence in [0, 1] under which an answer is an abstention.
    baseline : ndarray or None
        What the speaker's voice is ordinarily like, where that is known.
    speaker : str or None
        Whose baseline it is.
    """

    model: Model
    gate: GateOptions
    threshold: float
    baseline: Float32Array | None = None
    speaker: str | None = None

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window; None where there is nothing to judge.  `running` does not ask the gate."""
        found = self.judged(window, name, gate=not running)
        return None if isinstance(found, AudioError) else found

    def judged(self, window: Waveform, name: str, *, gate: bool = True) -> Prediction | AudioError:
        """Judge one window, or say why there is nothing to judge in it."""
        if refused := self.refusal(window, name, gate=gate):
            return refused
        output = self.output(window)
        probabilities = output.probabilities[0].astype(np.float64)
        card = self.model.card
        label, confidence, abstained = decision.decide(probabilities, card.labels, self.threshold)
        return Prediction(
            file=name,
            start=window.start,
            end=window.end,
            label=label,
            probabilities=dict(zip(card.labels, probabilities.tolist(), strict=True)),
            confidence=confidence,
            abstained=abstained,
            model=card.name,
            speaker=self.speaker,
            baseline=self.speaker,
            dimensions=None
            if output.dimensions is None
            else dict(zip(card.dimensions, output.dimensions[0].tolist(), strict=True)),
        )

    def refusal(self, window: Waveform, name: str, *, gate: bool = True) -> AudioError | None:
        """Say why there is nothing to judge in a window."""
        try:
            audio.require_signal(window, name)
        except AudioError as error:
            return error
        if not gate or is_speech(window, self.gate):
            return None
        return NoSpeechError(
            f"{name} holds no speech that can be judged: give a recording of somebody speaking "
            "(predict --no-gate analyses any sound)"
        )

    def output(self, window: Waveform, words: Float32Array | None = None) -> ModelOutput:
        """Run the model on a window, with what is known of the words, where it takes them."""
        inputs = {name: sets.extract(window, spec)[np.newaxis] for name, spec in self.model.inputs.items()}
        return self.model.run(inputs, baseline=self.baseline, words=words)

    def embedding(self, window: Waveform) -> Float32Array:
        """Return what the voice is like in a window, shape (d,)."""
        found = self.model.run(sets.extract(window, self.model.card.features)[np.newaxis])
        return np.ravel(np.asarray(found.embedding, dtype=np.float32))


class Recording:
    """The judge of one recording: a voice, with a memory of what it has judged and of what it has refused.

    Parameters
    ----------
    voice : Voice
        Who judges.
    keep : bool
        Whether to keep the windows of the first :data:`REMEMBERED` seconds, for models that must see words and sound at
        once.

    Attributes
    ----------
    threshold : float
        That of the voice.
    """

    def __init__(self, voice: Voice, *, keep: bool = False) -> None:
        self.threshold = voice.threshold
        self._voice, self._keep = voice, keep
        self._judged: list[tuple[float, float, Waveform | None]] = []
        self._refused: AudioError | None = None

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window, see :meth:`Voice.assess`."""
        found = self._voice.judged(window, name, gate=not running)
        if isinstance(found, AudioError):
            self._refused = self._refused if isinstance(self._refused, NoSpeechError) else found
            return None
        if self._keep:
            self._judged.append((window.start, window.end, window if window.end <= REMEMBERED else None))
        return found

    def whole(self, timeline: Timeline) -> Prediction:
        """Make one answer of a timeline: the mean of its judgements, weighted by duration.

        Raises
        ------
        AudioError
            The recording is too short or silent.
        NoSpeechError
            Nobody speaks in it.
        """
        parts = timeline.predictions
        if not parts:
            raise self._refused or AudioError(f"{timeline.file} has no samples: give a recording that is not empty")
        mean = parts[0] if len(parts) == 1 else blended(parts, [one.end - one.start for one in parts], self.threshold)
        return dataclasses.replace(mean, start=0.0, end=timeline.duration)

    def seen(self, timeline: Timeline) -> tuple[list[Waveform], list[float]]:
        """Return the windows that the judgements of a timeline were made of, as far as kept, and all their lengths."""
        used = [
            (end - start, window)
            for start, end, window in self._judged
            if any(start <= one.start and one.end <= end for one in timeline.predictions)
        ]
        return [window for _, window in used if window is not None], [length for length, _ in used]


def rules_of(card: ModelCard) -> tuple[Rule, ...]:
    """Return the decision rules of a model's recipe; most have none."""
    if not card.recipe.get("decision", {}).get("rules"):
        return ()
    from emovox.text import fusion

    return fusion.rules_of(card)


def fused(
    voice: Prediction,
    heard: Heard,
    card: ModelCard,
    threshold: float,
    compute: Callable[[Waveform, Float32Array], ModelOutput],
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
        What the model says of a window and a words vector, for models that must see both at once.
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
    rows = [compute(window, words).probabilities[0] for window in seen]
    mean = decision.combine(rows, weights).tolist() if rows else list(voice.probabilities.values())
    together = dict(zip(card.labels, mean, strict=True))
    return fusion.explained(voice, together, words, method, None, threshold)
