"""Leaving out parts of a window, in time and in frequency, and asking the model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox.features import encoder, sets
from emovox.features.analysis import SHORTEST
from emovox.model.file import Model
from emovox.recognition.voice import Voice
from emovox.types import RATE, FeatureSpec, Float32Array, Float64Array, Waveform

#: Which pieces are kept: shape (n, n_pieces).
Kept: TypeAlias = NDArray[np.bool_]

#: Bands that are left out, in Hz: voice bar and low pitch, first formants, second, third, sibilants.
BANDS = ((0, 300), (300, 700), (700, 1400), (1400, 2800), (2800, 5000), (5000, 8000))
#: Pieces that a window is cut into, and their shortest and longest, in seconds.
_PIECES, _SHORTEST, _LONGEST = 15, 0.1, 0.5
#: Samples over which sound fades where something was cut out: 5 ms.
_FADE = RATE // 200
#: Least probability whose logarithm is taken.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Pieces:
    """A window, cut into pieces of equal length from where its sound begins to where it ends.

    Attributes
    ----------
    window : Waveform
        All of it.
    begin, step, count : int
        First sample of the first piece, samples of a piece, number of pieces; the last may be shorter.
    end : int
        First sample after the last piece.
    """

    window: Waveform
    begin: int
    step: int
    count: int
    end: int

    @classmethod
    def of(cls, window: Waveform, specs: Sequence[FeatureSpec]) -> Pieces:
        """Cut a window as a model hears it: silence that its front end trims is no piece."""
        heard = sets.prepared(window, specs[0])
        begin = round((heard.start - window.start) * RATE)
        length = len(heard.samples)
        step = round(min(max(length / RATE / _PIECES, _SHORTEST), _LONGEST) * RATE)
        # A rest of less than half a piece belongs to the piece before.
        count = max(1, round(length / step))
        return cls(window, begin, step, count, begin + length)

    def bounds(self, piece: int) -> tuple[int, int]:
        """Return the first sample of a piece, and the first one after it."""
        first = self.begin + piece * self.step
        return first, self.end if piece == self.count - 1 else first + self.step

    def span(self, piece: int) -> tuple[float, float]:
        """Return where a piece begins and ends in the recording, in seconds."""
        first, after = self.bounds(piece)
        return round(self.window.start + first / RATE, 3), round(self.window.start + after / RATE, 3)

    @cached_property
    def of_sample(self) -> NDArray[np.intp]:
        """The piece of each sample between the first and the last: shape (end - begin,)."""
        return np.minimum(np.arange(self.end - self.begin) // self.step, self.count - 1)

    def sound(self, kept: Kept) -> Waveform:
        """Return the window with the pieces cut out that are not `kept`, shape (n_pieces,), and the joints faded."""
        samples = self.window.samples
        gain = np.repeat(1.0, len(samples)).astype(np.float32)
        here = np.ones(len(samples), dtype=bool)
        here[self.begin : self.end] = kept[self.of_sample]
        ramp = np.linspace(0, 1, _FADE, endpoint=False, dtype=np.float32)
        for joint in np.flatnonzero(np.diff(here.astype(np.int8))) + 1:
            if here[joint]:  # sound begins
                gain[joint : joint + _FADE] *= ramp[: len(gain) - joint]
            else:
                gain[max(0, joint - _FADE) : joint] *= ramp[::-1][-joint:]
        return replace(self.window, samples=(samples * gain)[here], speech=None)


def without_band(window: Waveform, low: float, high: float) -> Waveform:
    """Return a window without the frequencies from `low` up to `high`, in Hz.

    Examples
    --------
    >>> tone = Waveform(np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32))
    >>> float(np.abs(without_band(tone, 300, 700).samples).max()) < 1e-3
    True
    """
    spectrum = np.fft.rfft(window.samples)
    frequencies = np.fft.rfftfreq(len(window.samples), 1 / RATE)
    spectrum[(frequencies >= low) & (frequencies < high)] = 0
    return replace(window, samples=np.fft.irfft(spectrum, len(window.samples)).astype(np.float32))


class Occlusion:
    """What a voice says of a window without some of its pieces.

    For models over the encoder inside the package the encoder hears the window once, and what is left out is left out
    of the statistics over its states, which costs a matrix product; any other model hears each part of the sound.

    Parameters
    ----------
    voice : Voice
        Who judges; what is known of setting and speaker stays known.
    pieces : Pieces
        The window.
    """

    def __init__(self, voice: Voice, pieces: Pieces) -> None:
        self._voice, self._pieces = voice, pieces
        self._heard: dict[bytes, dict[str, Float32Array]] = {}

    def ask(self, kept: Kept, model: Model | None = None) -> Float64Array:
        """Return the probabilities of the window with some pieces left out, shape (n, n_labels).

        Parameters
        ----------
        kept : ndarray of bool, shape (n, n_pieces)
            Which pieces are there, one at least.
        model : Model, optional
            Who is asked instead of the voice's own model: one of the same graph.
        """
        model = model or self._voice.model
        if self._states is not None:
            states, piece = self._states
            rows = encoder.pooled(states, kept[:, piece].astype(np.float32))
            return self._run(model, {next(iter(model.inputs)): rows})
        return np.concatenate([self._run(model, self._features(one)) for one in kept])

    def hear(self, sounds: Sequence[Waveform]) -> Float64Array:
        """Return the probabilities of sounds, each heard by itself from the beginning, shape (n, n_labels)."""
        return np.concatenate([self._run(self._voice.model, self._inputs(one)) for one in sounds])

    def _run(self, model: Model, inputs: dict[str, Float32Array]) -> Float64Array:
        return model.run(inputs, baseline=self._voice.baseline).probabilities.astype(np.float64)

    def _inputs(self, sound: Waveform) -> dict[str, Float32Array]:
        return {name: sets.extract(sound, spec)[np.newaxis] for name, spec in self._voice.model.inputs.items()}

    def _features(self, kept: Kept) -> dict[str, Float32Array]:
        """Hear a part of the sound, once for all models of one graph."""
        key = kept.tobytes()
        if key not in self._heard:
            self._heard[key] = self._inputs(self._pieces.sound(kept))
        return self._heard[key]

    @cached_property
    def _states(self) -> tuple[Float32Array, NDArray[np.intp]] | None:
        """States of the encoder, and the piece of each; None where another front end is asked for."""
        specs = list(self._voice.model.inputs.values())
        if [one.set for one in specs] != [sets.ENCODER] or self._pieces.end - self._pieces.begin < SHORTEST:
            return None
        states = encoder.states(sets.prepared(self._pieces.window, specs[0]).samples)
        middle = ((np.arange(len(states)) + 0.5) / len(states) * len(self._pieces.of_sample)).astype(np.intp)
        return states, self._pieces.of_sample[middle]


def log_odds(probabilities: Float64Array) -> Float64Array:
    """Return the natural logarithm of the odds.

    Examples
    --------
    >>> log_odds(np.array([0.5, 0.75])).round(3).tolist()
    [0.0, 1.099]
    """
    safe = np.clip(probabilities, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(safe) - np.log1p(-safe))
