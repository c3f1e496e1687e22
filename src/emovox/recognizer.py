"""From a recording to a label: the whole chain on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox import audio, decision
from emovox.audio import Source
from emovox.decode import source_name
from emovox.errors import AudioError, EmovoxError, FeatureError, ModelError
from emovox.features import sets
from emovox.models.artifact import Model, load
from emovox.types import Failure, Prediction, Waveform


@dataclass(frozen=True)
class WindowOptions:
    """How a recording is cut.

    Attributes
    ----------
    duration : float
        Length of a window in seconds, about that of the utterances the models were trained on.  A rest shorter
        than half a window joins the window before it, so a recording of up to 1.5 windows is one window.
    """

    duration: float = 6.0


class EmotionRecognizer:
    """Recognises the emotion of recordings with one model.

    Parameters
    ----------
    model : path, str or Model, optional
        Model file, run folder or name of a built-in model, or a model already read; the default is the built-in model.
    windows : WindowOptions, optional
        How long recordings are cut.

    Attributes
    ----------
    card : ModelCard
        What the model is: its labels, training data, licence and scores.

    Raises
    ------
    ModelError
        The model cannot be read, or it needs features that this version does not compute.

    Examples
    --------
    >>> import numpy as np
    >>> recognizer = EmotionRecognizer()
    >>> tone = np.sin(np.arange(16000) / 10).astype(np.float32)
    >>> prediction = recognizer.predict_array(tone, 16000)
    >>> prediction.label in recognizer.card.labels
    True
    """

    def __init__(self, model: str | Path | Model | None = None, *, windows: WindowOptions | None = None) -> None:
        self._model: Model = model if isinstance(model, Model) else load(model)
        self.card = self._model.card
        self.windows = windows or WindowOptions()
        try:
            names = sets.feature_names(self.card.features)
        except (FeatureError, TypeError) as error:
            raise ModelError(f"model {self.card.name!r} cannot be used: {error}") from error
        wanted = "samples" if self._model.takes_samples else "clip"
        if sets.get(self.card.features.set).level != wanted or len(names) != self.card.features.dimension:
            raise ModelError(f"model {self.card.name!r} needs frame-level features: upgrade emovox")

    def predict(self, source: Source, *, progress: Callable[[float], None] | None = None) -> Prediction:
        """Recognise one recording of any length, in memory that does not grow with it.

        Parameters
        ----------
        source : str, path, bytes or binary file
            The recording.
        progress : callable, optional
            Called with the seconds analysed so far.

        Returns
        -------
        Prediction

        Raises
        ------
        AudioError
            The recording cannot be read, is shorter than 0.1 s or holds digital silence only.
        """
        return self._predict(audio.blocks(source, self.windows.duration), source_name(source), progress)

    def predict_array(self, samples: NDArray[Any], rate: float, name: str = "<array>") -> Prediction:
        """Recognise samples in memory, shape (n_samples,) or (n_samples, n_channels), at `rate` Hz."""
        waveform = audio.from_array(samples, rate)
        size = round(self.windows.duration * 16000)
        parts = (
            Waveform(waveform.samples[begin : begin + size], begin / 16000)
            for begin in range(0, len(waveform.samples), size)
        )
        return self._predict(parts, name, None)

    def predict_many(self, sources: Iterable[Source]) -> Iterator[Prediction | Failure]:
        """Recognise many recordings; one that fails becomes a Failure and the rest go on.

        Parameters
        ----------
        sources : iterable of str, path, bytes or binary file
            The recordings.

        Yields
        ------
        Prediction or Failure
            In the order of the sources.
        """
        for source in sources:
            try:
                yield self.predict(source)
            except EmovoxError as error:
                yield Failure(source_name(source), str(error))

    def _predict(self, blocks: Iterable[Waveform], name: str, progress: Callable[[float], None] | None) -> Prediction:
        rows, weights, end = [], [], 0.0
        silent: AudioError | None = None
        for window in join_rest(blocks, self.windows.duration / 2):
            end = window.end
            try:
                audio.require_signal(window, name)
            except AudioError as error:  # nothing to hear in this window; the others may have something
                silent = error
            else:
                features = sets.extract(window, self.card.features)
                rows.append(self._model.probabilities(features[np.newaxis])[0])
                weights.append(window.duration)
            if progress:
                progress(end)
        if not rows:
            raise silent or AudioError(f"{name} has no samples: give a recording that is not empty")
        probabilities = decision.combine(rows, weights)
        label, confidence, abstained = decision.decide(probabilities, self.card.labels, self.card.threshold)
        return Prediction(
            file=name,
            start=0.0,
            end=end,
            label=label,
            probabilities=dict(zip(self.card.labels, probabilities.tolist(), strict=True)),
            confidence=confidence,
            abstained=abstained,
            model=self.card.name,
        )


def join_rest(blocks: Iterable[Waveform], shortest: float) -> Iterator[Waveform]:
    """Append a last block shorter than `shortest` seconds to the one before it."""
    before: Waveform | None = None
    for block in blocks:
        if before is not None and block.duration < shortest:
            block = Waveform(np.concatenate([before.samples, block.samples]), before.start)
        elif before is not None:
            yield before
        before = block
    if before is not None:
        yield before
