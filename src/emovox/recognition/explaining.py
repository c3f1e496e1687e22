"""Explanations by occlusion: leave out parts of a window in time and frequency, and run the model again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound
from emovox.audio.reading import source_name
from emovox.errors import AudioError, InputError
from emovox.features import sets
from emovox.features.sets import SHORTEST
from emovox.model.file import Model
from emovox.outputs.plots import Explanation, Faithfulness, Reason
from emovox.recognition import timeline
from emovox.recognition.voice import Voice
from emovox.types import RATE, FeatureSpec, Float32Array, Float64Array, Prediction, Transcript, Waveform, Word

if TYPE_CHECKING:
    from emovox.recognition.recognizer import EmotionRecognizer

#: Which pieces are kept: shape (n, n_pieces).
Kept: TypeAlias = NDArray[np.bool_]

#: Bands that are left out, in Hz: voice bar and low pitch, first formants, second, third, sibilants.
BANDS = ((0, 300), (300, 700), (700, 1400), (1400, 2800), (2800, 5000), (5000, 8000))
#: Pieces that a window is cut into, and their shortest and longest, in seconds.
_PIECES, _SHORTEST, _LONGEST = 15, 0.1, 0.5
#: Samples over which sound fades where something was cut out: 5 ms.
_FADE = RATE // 200
#: Least probability whose logarithm is taken.
_LEAST_LOUD = 1e-6


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


def without_bands(window: Waveform, *bands: tuple[float, float]) -> Waveform:
    """Return a window without the frequencies of each band, from its low edge up to its high one, in Hz.

    Examples
    --------
    >>> tone = Waveform(np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32))
    >>> float(np.abs(without_bands(tone, (300, 700), (2800, 5000)).samples).max()) < 1e-3
    True
    """
    spectrum = np.fft.rfft(window.samples)
    frequencies = np.fft.rfftfreq(len(window.samples), 1 / RATE)
    for low, high in bands:
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
            rows = sets.pooled(states, kept[:, piece].astype(np.float32))
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
        states = sets.states(sets.prepared(self._pieces.window, specs[0]).samples)
        middle = ((np.arange(len(states)) + 0.5) / len(states) * len(self._pieces.of_sample)).astype(np.intp)
        return states, self._pieces.of_sample[middle]


def log_odds(probabilities: Float64Array) -> Float64Array:
    """Return the natural logarithm of the odds.

    Examples
    --------
    >>> log_odds(np.array([0.5, 0.75])).round(3).tolist()
    [0.0, 1.099]
    """
    safe = np.clip(probabilities, _LEAST_LOUD, 1 - _LEAST_LOUD)
    return np.asarray(np.log(safe) - np.log1p(-safe))


#: Seconds around a segment with which it is heard, as when it was judged.
_MARGIN = 0.1
#: Shares of the pieces, and of the bands, that are kept when the faithfulness is measured; six bands have no quarters.
_KEPT, _KEPT_BANDS = (0.75, 0.5, 0.25), (2 / 3, 1 / 3)
#: Models with shuffled weights that an explanation is compared with.
_SHUFFLED = 3
#: Pieces that a window must have to be explained in time.
_LEAST = 4
#: Other utterances of a voice that are measured at most.
_UTTERANCES = 8


@dataclass(frozen=True)
class ExplainOptions:
    """Options of :func:`explain`.

    Attributes
    ----------
    moments : int, default 3
        Number of segments to explain, at least 1: the strongest answer of each emotion first.
    orders : int, default 4
        Number of random orders that the explanation is compared with, which takes most of the time; with 0
        faithfulness is not measured.
    seed : int, default 0
        Seed of the random orders and of the shuffled weights.

    Raises
    ------
    InputError
        A number is out of its range.
    """

    moments: int = 3
    orders: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("moments", 1), ("orders", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}: expected {least} or more")


def explain(
    recognizer: EmotionRecognizer,
    source: Sound | NDArray[Any],
    predictions: Sequence[Prediction] | None = None,
    options: ExplainOptions | None = None,
    *,
    rate: float | None = None,
    ordinary: Sequence[Sound] = (),
) -> tuple[Explanation, ...]:
    """Explain the strongest answers of a recording, by occlusion.

    The importance of a piece of time, a frequency band or a word is the loss of log-odds of the answer when it is left
    out. ``docs/explanations.md`` describes the method and its evaluation.

    Parameters
    ----------
    recognizer : EmotionRecognizer
        The recogniser; with ``setting="auto"`` the recording is its own setting.
    source : str, path, bytes, binary file, array, or pair of array and rate
        The recording; it is read several times.
    predictions : sequence of Prediction, optional
        Predictions to explain, segments of the recording; the default is its timeline.
    options : ExplainOptions, optional
        Number of segments, and how faithfulness is measured.
    rate : float, optional
        Sampling rate of an array in Hz.
    ordinary : sequence of recordings, optional
        At least three ordinary utterances of the speaker, as the reference of voice traits; the default is the
        speaker's other utterances in this recording, or if there are too few, neutral speech of many people.

    Returns
    -------
    tuple of Explanation
        In the order of time.

    Raises
    ------
    AudioError
        The recording cannot be read.
    InputError
        The model predicts dimensions only.

    Examples
    --------
    >>> from emovox import EmotionRecognizer
    >>> (one,) = explain(EmotionRecognizer(), "examples/lively.wav", options=ExplainOptions(orders=0))
    >>> one.label in EmotionRecognizer().card.labels, len(one.bands)
    (True, 6)
    """
    if not recognizer.card.labels:
        raise InputError(f"model {recognizer.card.name!r} gives dimensions only, and emotions are what is explained")
    sound = audio.as_sound(source, rate)
    if predictions is None:
        predictions = recognizer.timeline(sound).predictions
    of_speaker = [timeline.measured(audio.read(one)) for one in ordinary]
    known = timeline.of_voice(of_speaker, "utterances given as ordinary")
    work = partial(_explained, options=options or ExplainOptions(), found=predictions, ordinary=known)
    return recognizer.alone(partial(work, recognizer), sound, None, None)


def chosen(predictions: Sequence[Prediction], most: int) -> list[Prediction]:
    """Choose the strongest answers, of each emotion the best first, in the order of time.

    Examples
    --------
    >>> def one(label, start, confidence):
    ...     return Prediction("a.wav", start, start + 1, label, {label: confidence}, confidence, False, "m")
    >>> found = [one("sad", 0, 0.9), one("sad", 1, 0.8), one("happy", 2, 0.6)]
    >>> [(part.label, part.start) for part in chosen(found, 2)]
    [('sad', 0), ('happy', 2)]
    """
    ranked = sorted(predictions, key=lambda one: (one.abstained, -one.confidence))
    seen: dict[str, int] = {}
    turns = []
    for one in ranked:
        seen[one.label] = seen.get(one.label, 0) + 1
        turns.append((one.abstained, seen[one.label]))
    best = sorted(zip(turns, range(len(ranked)), strict=True))[:most]
    return sorted((ranked[index] for _, index in best), key=lambda one: one.start)


def _explained(
    recognizer: EmotionRecognizer,
    voice: Voice,
    sound: Sound,
    *,
    options: ExplainOptions,
    found: Sequence[Prediction],
    ordinary: timeline.Ordinary | None,
    **_: Any,
) -> tuple[Explanation, ...]:
    """Explain the strongest of what was found, each against the others of the same speaker."""
    explanations = []
    for one in chosen(found, options.moments):
        window = _heard(sound, one)
        usual = ordinary or _of_others(sound, one, found) or timeline.of_people()
        told = _by_sound(voice, window, one.label, options)
        explanation = Explanation(
            one.file,
            one.start,
            one.end,
            one.label,
            one.confidence,
            one.model,
            told.times,
            told.bands,
            tuple(_words(recognizer, voice, one, window)),
            timeline.compared(timeline.measured(window), usual),
            usual.about,
            told.faithfulness,
            told.alike,
            one.abstained,
            told.faithfulness_of_bands,
        )
        explanations.append(explanation)
    return tuple(explanations)


def _heard(sound: Sound, one: Prediction) -> Waveform:
    """Read what a prediction was made of."""
    return audio.read(sound, start=max(0.0, one.start - _MARGIN), end=one.end + _MARGIN)


def _of_others(sound: Sound, one: Prediction, found: Sequence[Prediction]) -> timeline.Ordinary | None:
    """Measure what the speaker of a prediction says elsewhere in the recording."""
    others = [other for other in found if other.speaker == one.speaker and other != one]
    if len(others) < timeline.LEAST:
        return None
    some = [others[round(at)] for at in np.linspace(0, len(others) - 1, min(len(others), _UTTERANCES))]
    return timeline.of_voice(_measurable(sound, some), "other utterances of this voice in the recording")


def _measurable(sound: Sound, some: Sequence[Prediction]) -> Iterator[dict[str, float]]:
    for other in some:
        window = _heard(sound, other)
        try:
            audio.require_signal(window, source_name(sound))
        except AudioError:
            continue
        yield timeline.measured(window)


@dataclass(frozen=True)
class _Told:
    """What the sound tells."""

    times: tuple[Reason, ...]
    bands: tuple[Reason, ...]
    faithfulness: Faithfulness | None
    alike: float | None
    faithfulness_of_bands: Faithfulness | None


def _by_sound(voice: Voice, window: Waveform, label: str, options: ExplainOptions) -> _Told:
    """Leave out pieces of the time and bands of frequencies, and see what that does to the answer."""
    pieces = Pieces.of(window, list(voice.model.inputs.values()))
    occlusion, answer = Occlusion(voice, pieces), voice.model.card.labels.index(label)
    bands, of_bands = _in_frequency(occlusion, window, answer, options)
    if pieces.count < _LEAST:
        return _Told((), bands, None, None, of_bands)
    weights = _lost(occlusion, pieces, answer)
    times = [Reason(*pieces.span(index), float(weight)) for index, weight in enumerate(weights)]
    faithfulness = _faithfulness(occlusion, pieces.sound, weights, _KEPT, answer, options)
    shuffled = [voice.model.shuffled(options.seed + number) for number in range(_SHUFFLED if options.orders else 0)]
    others = [_lost(occlusion, pieces, answer, model=one) for one in shuffled]
    alike = float(np.mean([_correlation(weights, other) for other in others])) if others else None
    return _Told(tuple(times), bands, faithfulness, alike, of_bands)


def _in_frequency(
    occlusion: Occlusion, window: Waveform, answer: int, options: ExplainOptions
) -> tuple[tuple[Reason, ...], Faithfulness | None]:
    """Leave out each band of frequencies, and see how well that predicts what happens without several."""
    whole, *banded = occlusion.hear([window, *(without_bands(window, band) for band in BANDS)])[:, answer]
    weights = log_odds(whole) - log_odds(np.array(banded))

    def sound(kept: Kept) -> Waveform:
        return without_bands(window, *(band for band, stays in zip(BANDS, kept, strict=True) if not stays))

    bands = tuple(Reason(*band, float(weight)) for band, weight in zip(BANDS, weights, strict=True))
    return bands, _faithfulness(occlusion, sound, weights, _KEPT_BANDS, answer, options)


def _lost(occlusion: Occlusion, pieces: Pieces, answer: int, **further: Any) -> Float64Array:
    """Return by how much the log-odds of the answer fall without each piece, shape (n_pieces,)."""
    kept = np.concatenate([np.ones((1, pieces.count), bool), ~np.eye(pieces.count, dtype=bool)])
    found = log_odds(occlusion.ask(kept, **further)[:, answer])
    return np.asarray(found[0] - found[1:])


def _correlation(first: Float64Array, second: Float64Array) -> float:
    """Return the absolute correlation; 0 where one does not vary."""
    if min(np.ptp(first), np.ptp(second)) < 1e-9:
        return 0.0
    return float(abs(np.corrcoef(first, second)[0, 1]))


def _faithfulness(
    occlusion: Occlusion,
    sound: Callable[[Kept], Waveform],
    weights: Float64Array,
    shares: Sequence[float],
    answer: int,
    options: ExplainOptions,
) -> Faithfulness | None:
    """Cut parts out of the sound, by their weights and at random, and see how the answer fares.

    `sound` makes the sound of the parts that are kept; None without random orders to compare with.
    """
    if not options.orders:
        return None
    random = np.random.default_rng(options.seed)
    ranks = np.argsort(np.argsort(weights))  # the least important parts are kept longest
    orders = [ranks, -ranks, *(random.permutation(len(weights)) for _ in range(options.orders))]
    sounds = [sound(first_kept(order, share)) for order in orders for share in shares]
    areas = occlusion.hear(sounds)[:, answer].reshape(len(orders), -1).mean(axis=1).tolist()
    return Faithfulness(areas[0], areas[1], tuple(areas[2:]))


def first_kept(order: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Say which pieces are kept of so large a share, one at least: those that come first in an order.

    Examples
    --------
    >>> first_kept(np.array([2, 0, 3, 1]), 0.5).tolist()
    [False, True, False, True]
    """
    count = max(1, round(share * len(order)))
    return np.asarray(np.argsort(np.argsort(order)) < count)


def _words(recognizer: EmotionRecognizer, voice: Voice, one: Prediction, window: Waveform) -> Iterator[Reason]:
    """Leave out each word, where words took part in the answer."""
    if not (one.fusion and one.words and one.transcript):
        return
    from emovox.text.words import Heard, linguistic_features

    judged = voice.judged(window, one.file, gate=False)
    if isinstance(judged, AudioError):
        return
    alone = replace(judged[0], start=one.start, end=one.end)
    language = "en" if (one.linguistic or {}).get("has_words") else None

    def odds(words: Sequence[Word]) -> float:
        sure = fmean(word.confidence for word in words) if words else 0.0
        said = Transcript(" ".join(word.text for word in words), tuple(words), language, sure)
        heard = Heard(said, linguistic_features(said, one.end - one.start))
        found = recognizer._analysis.with_words(voice, alone, heard, [window], [window.duration])
        return float(log_odds(np.array(found.probabilities[one.label])))

    everything = odds(one.words)
    for index, word in enumerate(one.words):
        rest = odds([*one.words[:index], *one.words[index + 1 :]])
        yield Reason(word.start, word.end, everything - rest, word.text)
