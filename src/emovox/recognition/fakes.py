"""Fakes for tests: a recogniser without a trained model, whose answers a test can foresee, and voices of nobody."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emovox.errors import InputError
from emovox.features.sets import samples_spec
from emovox.model.file import SAMPLES, Model, ModelCard, ModelOutput
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.vad import GateOptions
from emovox.types import RATE, Float32Array

#: Frequencies in Hz and bandwidths in Hz of the first three formants of an open vowel.
_FORMANTS = ((730.0, 90.0), (1090.0, 110.0), (2440.0, 170.0))

#: Axes of a fake model, of which profiles are statistics.
AXES = (np.mean, np.std)
#: Probability of the label that a fake model answers with.
SURE = 0.7


class FakeModel(Model):
    """A model of samples that answers by a rule: always the same label, or one that depends on the samples alone."""

    def __init__(self, labels: Sequence[str], answer: str | None = None) -> None:
        if len(labels) < 2 or (answer is not None and answer not in labels):
            raise InputError(f"labels {list(labels)}, answer {answer!r}: expected two labels or more, and one of them")
        self._labels, self._answer, self._origin = tuple(labels), answer, None
        self._content, self._source = repr((self._labels, answer)).encode(), "a fake model"
        self.card = ModelCard("fake", "fake", self._labels, samples_spec({}), neutral_threshold=0.0)
        self.inputs = {SAMPLES: self.card.features}
        self._shapes, self.levels = {SAMPLES: [None, None]}, {SAMPLES: "samples"}
        self.takes_samples, self.takes_vectors, self.takes_baseline = True, False, True
        self.words_width, self.axes_width = 0, len(AXES)

    def __reduce__(self) -> tuple[Any, ...]:
        return FakeModel, (self._labels, self._answer)

    def run(
        self,
        inputs: Float32Array | Mapping[str, Float32Array],
        *,
        baseline: Float32Array | None = None,
        words: Float32Array | None = None,
    ) -> ModelOutput:
        """Answer for n clips, see :meth:`emovox.model.file.Model.run`; `baseline` and `words` change nothing."""
        samples = self._given(inputs)[SAMPLES]
        found = np.full((len(samples), len(self._labels)), (1 - SURE) / (len(self._labels) - 1), dtype=np.float32)
        for row, clip in enumerate(samples):
            label = self._answer or self._labels[zlib.crc32(clip.tobytes()) % len(self._labels)]
            found[row, self._labels.index(label)] = SURE
        axes = np.array([[axis(clip) for axis in AXES] for clip in samples], dtype=np.float32)
        return ModelOutput(found, axes=axes.reshape(len(samples), len(AXES)))


class FakeRecognizer(EmotionRecognizer):
    """An :class:`~emovox.EmotionRecognizer` for tests: all of its methods, no trained model behind them.

    Reading, cutting and refusing recordings are the real ones; only the judgement is made by a rule.

    Parameters
    ----------
    labels : sequence of str, default ("neutral", "happy", "sad", "angry")
        The labels of the fake model, two or more.
    answer : str, optional
        The label of every answer, with probability 0.7; the default is a label that depends on the samples: the same
        sound has always the same answer.
    **options
        As for :class:`~emovox.EmotionRecognizer`; the speech gate is off unless `gate` is given.

    Raises
    ------
    InputError
        There are fewer than two labels, or `answer` is not one of them.

    Examples
    --------
    >>> from emovox.testing import FakeRecognizer
    >>> FakeRecognizer(answer="sad").predict("examples/plain.wav").label
    'sad'
    """

    def __init__(
        self,
        labels: Sequence[str] = ("neutral", "happy", "sad", "angry"),
        *,
        answer: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(FakeModel(labels, answer), **{"gate": GateOptions(threshold=0), **options})


def synthetic_voice(duration: float = 3.0, *, pitch: float = 120.0, pause: float = 0.2, seed: int = 0) -> Float32Array:
    """Make a sound like somebody who says "ah" again and again: harmonics under formants, syllables, pauses.

    Parameters
    ----------
    duration : float, default 3.0
        Length in seconds, more than 0.
    pitch : float, default 120.0
        Mean fundamental frequency in Hz, from 50 to 500; 120 is like a man's voice, 210 like a woman's.
    pause : float, default 0.2
        Silence after every syllable of about 0.25 s, in seconds.
    seed : int, default 0
        The same seed gives the same samples.

    Returns
    -------
    ndarray of float32, shape (round(16000 * duration),)
        Mono at 16 kHz, with a peak of 0.5.

    Raises
    ------
    InputError
        A parameter is out of its range.

    Examples
    --------
    >>> synthetic_voice(2.0).shape
    (32000,)
    """
    if not duration > 0 or not 50 <= pitch <= 500 or not pause >= 0:
        raise InputError(
            f"duration {duration}, pitch {pitch}, pause {pause}: expected more than 0 s, 50 to 500 Hz and at least 0 s"
        )
    rng = np.random.default_rng(seed)
    count = max(1, round(RATE * duration))
    time = np.arange(count) / RATE
    melody = pitch * (1 + 0.08 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 2 * np.pi)))
    phase = 2 * np.pi * np.cumsum(melody) / RATE
    sound = np.zeros(count)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = sum(width**2 / (width**2 + (frequency - centre) ** 2) for centre, width in _FORMANTS)
        sound += (gain + 0.05) / harmonic**0.5 * np.sin(harmonic * phase)
    sound *= _syllables(count, pause, rng)
    sound += 1e-3 * np.abs(sound).max() * rng.standard_normal(count)
    return np.asarray(0.5 * sound / np.abs(sound).max(), dtype=np.float32)


def _syllables(count: int, pause: float, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a loudness that swells and fades with every syllable and is 0 in the pauses."""
    found = np.zeros(count)
    begin = 0
    while begin < count:
        length = round(RATE * rng.uniform(0.2, 0.3))
        swell = np.sin(np.linspace(0, np.pi, length)) ** 0.5
        found[begin : begin + length] = swell[: count - begin]
        begin += length + round(RATE * pause)
    return found
