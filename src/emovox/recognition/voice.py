"""One window to one judgement, by the voice alone: gate, features, model, answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emovox import audio, decision
from emovox.errors import AudioError, NoSpeechError
from emovox.features import sets
from emovox.model.file import Model
from emovox.speech.gate import GateOptions, is_speech
from emovox.types import Float32Array, Prediction, Waveform


@dataclass(frozen=True)
class Voice:
    """Judges windows by the voice alone; a stream's judge, see :class:`emovox.recognition.streaming.Judge`.

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
        if self.refusal(window, name, gate=not running):
            return None
        return self.decided(self.probabilities(window).astype(np.float64), name, window.start, window.end)

    def refusal(self, window: Waveform, name: str, *, gate: bool = True) -> AudioError | None:
        """Say why there is nothing to judge in a window."""
        try:
            audio.require_signal(window, name)
        except AudioError as error:
            return error
        if not gate or is_speech(window.samples, self.gate):
            return None
        return NoSpeechError(
            f"{name} holds no speech that can be judged: give a recording of somebody speaking "
            "(predict --no-gate analyses any sound)"
        )

    def probabilities(self, window: Waveform, words: Float32Array | None = None) -> Float32Array:
        """Return the probabilities of the model's labels, with what is known of the words, where it takes them."""
        inputs = {name: sets.extract(window, spec)[np.newaxis] for name, spec in self.model.inputs.items()}
        (row,) = self.model.run(inputs, baseline=self.baseline, words=words).probabilities
        return np.asarray(row)

    def embedding(self, window: Waveform) -> Float32Array:
        """Return what the voice is like in a window, shape (d,)."""
        found = self.model.run(sets.extract(window, self.model.card.features)[np.newaxis])
        return np.ravel(np.asarray(found.embedding, dtype=np.float32))

    def decided(self, probabilities: NDArray[np.float64], name: str, start: float, end: float) -> Prediction:
        """Make the answer for a stretch of its probabilities."""
        labels = self.model.card.labels
        label, confidence, abstained = decision.decide(probabilities, labels, self.threshold)
        return Prediction(
            file=name,
            start=start,
            end=end,
            label=label,
            probabilities=dict(zip(labels, probabilities.tolist(), strict=True)),
            confidence=confidence,
            abstained=abstained,
            model=self.model.card.name,
            speaker=self.speaker,
            baseline=self.speaker,
        )
