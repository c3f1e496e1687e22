"""From one window to one prediction: speech gate, features, model, decision, and fusion with words."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from emovox import audio
from emovox.errors import AudioError, FeatureError, InputError, ModelError, NoSpeechError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import Model, ModelCard, ModelOutput, combine, decide
from emovox.model.profiles import AUTO, Profile, Statistics
from emovox.recognition.timeline import Timeline, blended
from emovox.speech.vad import FRAME, GateOptions, is_speech
from emovox.types import RATE, TOO_SHORT, Float32Array, Prediction, Setting, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for
    from emovox.text import words as spoken

#: Seconds of a recording that are kept for models that must see words and sound at once.
REMEMBERED = 600.0
#: Utterances that must have been heard before recordings are taken as their own setting.
LEAST_UTTERANCES = 3
#: Probability of speech from which a frame counts as speech.
SPOKEN = 0.5
#: Seconds by which windows of neighbouring utterances may overlap.
_MARGINS = 0.25
#: Seconds by which sums of times may differ: less than a sample.
_ROUNDING = 1e-5


class Judge(Protocol):
    """Protocol of what judges the windows of a stream, such as :class:`emovox.EmotionRecognizer`."""

    @property
    def threshold(self) -> float:
        """Confidence below which an answer is an abstention."""
        ...

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window; None if it contains no speech."""
        ...


@runtime_checkable
class Listener(Protocol):
    """A recogniser with a judge of its own for each stream, because it adapts to the stream."""

    def for_stream(self, *, speakers: bool = False) -> Judge: ...  # noqa: D102


@runtime_checkable
class Acquainted(Protocol):
    """A judge with another one for each speaker, whose baseline is that speaker's speech."""

    def for_speaker(self, speaker: str | None) -> Judge: ...  # noqa: D102


def judge_of(judge: Judge, speaker: str | None) -> Judge:
    """Return who judges a speaker."""
    return judge.for_speaker(speaker) if isinstance(judge, Acquainted) else judge


@dataclass(frozen=True)
class Voice:
    """Judges windows by the voice alone; a stream's judge, see :class:`Judge`.

    Attributes
    ----------
    model : Model
        Features to probabilities.
    gate : GateOptions
        Options of the speech gate.
    thresholds : tuple of float
        Confidence in [0, 1] under which an answer is an abstention, where nothing is known of setting and speaker,
        where something is, and where the speaker's clips are known to be neutral.
    speaker : Profile or None
        Profile of the speaker, if known.
    setting : Setting or None
        The setting that is known.
    baseline : ndarray or None
        Input of the model for both; None if nothing is known.
    """

    model: Model
    gate: GateOptions
    thresholds: tuple[float, float, float]
    speaker: Profile | None = None
    setting: Setting | None = None
    baseline: Float32Array | None = None

    @classmethod
    def of(
        cls, model: Model, gate: GateOptions, threshold: float | None, speaker: Profile | None, setting: Profile | None
    ) -> Voice:
        """Build a judge with the given profiles; without a threshold those of the model are used.

        Raises
        ------
        ModelError
            This version of emovox does not compute the features that the model needs.
        """
        require_features(model)
        known = model.card.threshold if model.card.known_threshold is None else model.card.known_threshold
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold}: expected a confidence from 0 to 1")
        neutral = known if model.card.neutral_threshold is None else model.card.neutral_threshold
        own = (model.card.threshold, known, neutral) if threshold is None else (threshold,) * 3
        found = cls(model, gate, own, speaker)
        if speaker or setting:
            found = replace(found, baseline=profiles.baseline(model, setting, speaker))
        return replace(found, setting=Setting(setting.name, setting.count)) if setting else found

    def within(self, heard: Statistics) -> Voice:
        """Return the judge of recordings that are their own setting; the same one where little has been heard."""
        if heard.count < LEAST_UTTERANCES:
            return self
        baseline = profiles.baseline(self.model, heard, self.speaker)
        return replace(self, setting=Setting(AUTO, heard.count), baseline=baseline)

    @property
    def threshold(self) -> float:
        """Confidence below which an answer is an abstention."""
        if self.speaker is not None and self.speaker.neutral:
            return self.thresholds[2]
        return self.thresholds[self.baseline is not None]

    @property
    def may_learn(self) -> bool:
        """Whether speakers become their own baseline: the model takes one, and no setting or speaker is named."""
        named = self.speaker is not None or (self.setting is not None and self.setting.name != AUTO)
        return self.model.takes_baseline and not named

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window; None where there is nothing to judge.  `running` does not ask the gate."""
        found = self.judged(window, name, gate=not running)
        return None if isinstance(found, AudioError) else found[0]

    def judged(
        self, window: Waveform, name: str, *, gate: bool = True
    ) -> tuple[Prediction, Float32Array | None] | AudioError:
        """Judge one window and return its axes too, shape (r,), or say why there is nothing to judge in it."""
        if refused := self.refusal(window, name, gate=gate):
            return refused
        output = self.output(window)
        probabilities = output.probabilities[0].astype(np.float64)
        card, who = self.model.card, self.speaker.name if self.speaker else None
        label, confidence, abstained = decide(probabilities, card.labels, self.threshold)
        short = 0 < card.shortest > speech_in(window)
        prediction = Prediction(
            file=name,
            start=window.start,
            end=window.start + len(window.samples) / RATE,
            label=label,
            probabilities=dict(zip(card.labels, probabilities.tolist(), strict=True)),
            confidence=confidence,
            abstained=abstained or short,
            model=card.name,
            speaker=who,
            why=(f"{TOO_SHORT}: less than {card.shortest:g} s",) if short else None,
            baseline=who,
            dimensions=None
            if output.dimensions is None
            else dict(zip(card.dimensions, output.dimensions[0].tolist(), strict=True)),
            setting=self.setting,
        )
        return prediction, None if output.axes is None else output.axes[0]

    def refusal(self, window: Waveform, name: str, *, gate: bool = True) -> AudioError | None:
        """Return why a window cannot be judged."""
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


def speech_in(window: Waveform) -> float:
    """Return the duration of speech in a window, in seconds.

    If voice activity detection did not run, or finds no speech (in a scream, for example), the whole window counts.

    Examples
    --------
    >>> speech_in(Waveform(np.zeros(16000, np.float32), speech=np.repeat([0.1, 0.9], 16).astype(np.float32)))
    0.512
    """
    frames = 0 if window.speech is None else int((window.speech >= SPOKEN).sum())
    samples = len(window.samples)
    return min(frames * FRAME, samples) / RATE if frames else samples / RATE


@dataclass(frozen=True, eq=False)
class Memory:
    """State of the judge of a stream that is its own setting; it can be pickled.

    Attributes
    ----------
    heard : Statistics
        Of the utterances that were judged.
    end : float
        Where the last of them ends, in seconds.
    """

    heard: Statistics
    end: float = -math.inf


class Adapting:
    """The judge of one stream that is its own setting: its baseline is what it has judged so far.

    Parameters
    ----------
    voice : Voice
        Judge for the beginning, until enough has been heard.

    Attributes
    ----------
    memory : Memory
        What it has heard so far.
    """

    def __init__(self, voice: Voice) -> None:
        self._first = self.voice = voice
        self.memory = Memory(Statistics.nothing(voice.model.axes_width))

    @property
    def threshold(self) -> float:
        """That of the last judgement."""
        return self.voice.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window by what was heard before it, see :meth:`Voice.assess`."""
        found = self.learn().judged(window, name, gate=not running)
        if isinstance(found, AudioError):
            return None
        prediction, axes = found
        # Intervals are judged by windows that overlap: nothing is to count twice but the margins of utterances.
        if not running and axes is not None and window.start >= self.memory.end - _MARGINS:
            self.memory = Memory(self.memory.heard.merged(Statistics.of(axes[np.newaxis])), window.end)
        return prediction

    def learn(self) -> Voice:
        """Return who judges the next window: a voice that knows all that has been heard."""
        self.voice = self._first.within(self.memory.heard)
        return self.voice


@dataclass(frozen=True, eq=False)
class Heard:
    """What was heard of a setting or speaker in one recording.

    Attributes
    ----------
    duration : float
        Length of the recording in seconds.
    seconds : float
        Length of its utterances together.
    axes : ndarray of float32, shape (n, r)
        Axes of the windows that were judged: utterances, or parts of long ones.
    print : ndarray of float32, shape (192,), or None
        Sum of their voices, each as long as the window lasts in seconds; None where it was not taken.
    """

    duration: float
    seconds: float
    axes: Float32Array
    print: Float32Array | None = None


@dataclass(frozen=True, eq=False)
class _Window:
    """A window that was judged."""

    start: float
    end: float
    axes: Float32Array | None
    waveform: Waveform | None
    print: Float32Array | None


class Recording:
    """The judge of one recording: a voice, with a memory of what it has judged and of what it has refused.

    Parameters
    ----------
    voice : Voice
        Who judges.
    keep : bool
        Whether to keep the windows of the first :data:`REMEMBERED` seconds, for models that must see words and sound at
        once.
    prints : bool
        Whether to take voice prints.

    Attributes
    ----------
    threshold : float
        That of the voice.
    """

    def __init__(self, voice: Voice, *, keep: bool = False, prints: bool = False) -> None:
        self.threshold = voice.threshold
        self._voice, self._keep, self._prints = voice, keep, prints
        self._judged: list[_Window] = []
        self._refused: AudioError | None = None

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window, see :meth:`Voice.assess`."""
        found = self._voice.judged(window, name, gate=not running)
        if isinstance(found, AudioError):
            self._refused = self._refused if isinstance(self._refused, NoSpeechError) else found
            return None
        judged, axes = found
        kept = window if self._keep and judged.end <= REMEMBERED else None
        taken = _printed(window) if self._prints else None
        self._judged.append(_Window(judged.start, judged.end, axes, kept, taken))
        return judged

    def whole(self, timeline: Timeline) -> Prediction:
        """Aggregate a timeline to one prediction: the mean of its judgements, weighted by duration.

        Raises
        ------
        AudioError
            The recording is too short or silent.
        NoSpeechError
            Nobody speaks in it.
        """
        parts = self._spoken(timeline)
        mean = parts[0] if len(parts) == 1 else blended(parts, [one.end - one.start for one in parts], self.threshold)
        return replace(mean, start=0.0, end=timeline.duration)

    def heard(self, timeline: Timeline) -> Heard:
        """Say what was heard of setting and speaker; raises as :meth:`whole`."""
        seconds = math.fsum(one.end - one.start for one in self._spoken(timeline))
        used = self._used(timeline)
        axes = [one.axes for one in used if one.axes is not None]
        prints = [one.print for one in used if one.print is not None]
        rows = np.stack(axes) if axes else np.empty((0, self._voice.model.axes_width), np.float32)
        return Heard(timeline.duration, seconds, rows, np.sum(prints, axis=0) if prints else None)

    def seen(self, timeline: Timeline) -> tuple[list[Waveform], list[float]]:
        """Return the windows that the judgements of a timeline were made of, as far as kept, and all their lengths."""
        used = self._used(timeline)
        return [one.waveform for one in used if one.waveform is not None], [one.end - one.start for one in used]

    def _used(self, timeline: Timeline) -> list[_Window]:
        """Return the windows that the judgements of a timeline were made of."""
        parts = timeline.predictions
        starts = [one.start for one in parts]

        def used(window: _Window) -> bool:
            first = bisect_left(starts, window.start - _ROUNDING)
            return first < len(parts) and parts[first].end <= window.end + _ROUNDING

        return [window for window in self._judged if used(window)]

    def _spoken(self, timeline: Timeline) -> tuple[Prediction, ...]:
        if not timeline.predictions:
            empty = AudioError(f"{timeline.file} has no samples: give a recording that is not empty")
            raise self._refused or empty
        return timeline.predictions


def _printed(window: Waveform) -> Float32Array | None:
    """Return the voice in a window, as long as it lasts in seconds; None where it is too short."""
    from emovox.speech import diarization

    if len(window.samples) < diarization.LEAST:
        return None
    voice: Float32Array = diarization.voices(window.samples, [(0, len(window.samples))])[0]
    return voice * np.float32(window.duration)


def require_features(model: Model) -> None:
    """Refuse a model whose features this version of emovox does not compute as its card says."""
    for name, spec in model.inputs.items():
        try:
            level = sets.reproduced(spec).level
        except (FeatureError, TypeError) as error:
            raise ModelError(f"model {model.card.name!r} cannot be used: {error}") from error
        if level != model.levels[name]:
            raise ModelError(
                f"input {name!r} of model {model.card.name!r} takes one vector a {model.levels[name]}, and its "
                f"card asks for {spec.set!r}: get the model file again"
            )


def fused(
    voice: Prediction,
    heard: spoken.Heard,
    card: ModelCard,
    threshold: float,
    compute: Callable[[Waveform, Float32Array], ModelOutput],
    seen: Sequence[Waveform] | None,
    weights: Sequence[float],
) -> Prediction:
    """Fuse the predictions of voice and words.

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
        voice = replace(voice, why=(*(voice.why or ()), line))
        words = np.zeros_like(words)
        seen = []
    rows = [compute(window, words).probabilities[0] for window in seen]
    mean = combine(rows, weights).tolist() if rows else list(voice.probabilities.values())
    together = dict(zip(card.labels, mean, strict=True))
    return fusion.explained(voice, together, words, method, None, threshold)
