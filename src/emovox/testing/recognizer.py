"""A recogniser without a trained model, whose answers a test can foresee."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emovox.errors import InputError
from emovox.features.sets import samples_spec
from emovox.model.card import ModelCard
from emovox.model.file import SAMPLES, Model, ModelOutput
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.gate import GateOptions
from emovox.types import Float32Array

#: Probability of the label that a fake model answers with.
SURE = 0.7


class FakeModel(Model):
    """A model of samples that answers by a rule: always the same label, or one that depends on the samples alone."""

    def __init__(self, labels: Sequence[str], answer: str | None = None) -> None:
        if len(labels) < 2 or (answer is not None and answer not in labels):
            raise InputError(f"labels {list(labels)}, answer {answer!r}: expected two labels or more, and one of them")
        self._labels, self._answer, self._origin = tuple(labels), answer, None
        self._content, self._source = repr((self._labels, answer)).encode(), "a fake model"
        self.card = ModelCard("fake", "fake", self._labels, samples_spec({}))
        self.inputs = {SAMPLES: self.card.features}
        self._shapes = {SAMPLES: [None, None]}
        self.takes_samples, self.takes_vectors, self.takes_baseline = True, False, False
        self.words_width = self.embedding_width = 0

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
        return ModelOutput(found)


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
