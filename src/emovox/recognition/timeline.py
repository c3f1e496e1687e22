"""The emotions of a whole recording in the order of time: how it is cut, means and tidying of judgements, summary."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np

from emovox import drawing
from emovox.errors import InputError
from emovox.labels import TOO_SHORT, combine, decide, too_short
from emovox.model.profiles import Profile
from emovox.recognition.speaking import Reply, Speaking, by_speaker, replies
from emovox.speech.vad import VadOptions
from emovox.types import Prediction, Segment, Waveform, frame

if TYPE_CHECKING:
    from pandas import DataFrame

Mode = Literal["utterance", "interval"]

#: The default rule of timelines: it hears soft speech, and finds boundaries to 8 ms.
_SOFT = VadOptions(0.3, 0.1, min_speech=0.25, padding=0.0, reach=0.4)
#: Most speakers that can be told apart in a recording.
MOST_SPEAKERS = 50
#: What a model says of a stretch.
_JUDGEMENT = ("label", "probabilities", "confidence", "abstained", "dimensions")
#: Two segments closer than this, in seconds, touch: less than a sample, more than a rounding error.
_TOUCH = 1e-5


@dataclass(frozen=True)
class WindowOptions:
    """How a recording is cut.

    Attributes
    ----------
    duration : float
        Longest stretch that is judged at once, in seconds, 0.3 to 30: about the length of the utterances the models
        were trained on.  Longer utterances are cut, see :class:`emovox.TimelineOptions`.  Where no utterance is found,
        windows of this length are judged, a rest shorter than half of it with the window before.
    """

    duration: float = 6.0


@dataclass(frozen=True)
class TimelineOptions:
    """How sound that goes on, a stream or a long recording, is cut and judged.

    Attributes
    ----------
    mode : {"utterance", "interval"}, default "utterance"
        A judgement for each utterance that the voice activity detector finds, or for each interval of `hop` seconds
        in which somebody speaks.
    window : float, default 6.0
        Longest stretch that is judged at once, in seconds, 0.3 to 30.  A longer utterance is cut where speech is
        least probable in the second half of the window.  An interval is judged by the `window` seconds up to its end.
    hop : float, default 1.0
        Seconds from one judgement to the next, 0.1 up to `window`: the length of an interval; within an utterance,
        the time between running estimates.
    smoothing : float, default 0.0
        Time constant of exponential smoothing of the probabilities, in seconds: what was judged so long before counts
        1/e.  0 smooths nothing.
    merge : float, optional
        Equal neighbours with a pause of at most so many seconds between them become one segment of the timeline; the
        default is to keep every segment as it was judged.
    min_segment : float, default 0.0
        A segment of the timeline that is shorter, in seconds, takes the judgement of the longer of the neighbours that
        it touches, or reaches over a pause that `merge` allows.
    vad : VadOptions
        When speech begins and ends; the default hears soft speech and finds boundaries to 8 ms.
    speakers : "auto" or int, optional
        Tell speakers apart: as many as there seem to be, or so many, 1 to 50.  Utterances are cut where the speaker
        changes, and each judgement has its `speaker`, see :mod:`emovox.speech.speakers`.  Recordings are read twice
        for it.
    enrolled : tuple of Profile
        Who may be found among the speakers by name: profiles of :meth:`emovox.EmotionRecognizer.enroll`, those without
        a voice print take no part.  A speaker who is not enough like any of them has a number.

    Raises
    ------
    InputError
        A value is out of its range.

    Source
    ------
    Cut at the least probable speech: Bain et al. 2023, WhisperX, arXiv 2303.00747 (VAD cut and merge).

    Examples
    --------
    >>> TimelineOptions(mode="interval", window=3, hop=1).window
    3
    """

    mode: Mode = "utterance"
    window: float = 6.0
    hop: float = 1.0
    smoothing: float = 0.0
    merge: float | None = None
    min_segment: float = 0.0
    vad: VadOptions = _SOFT
    speakers: Literal["auto"] | int | None = None
    enrolled: tuple[Profile, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"mode is {self.mode!r}: expected one of {', '.join(get_args(Mode))}")
        if self.speakers is not None and self.speakers != "auto" and self.speakers not in range(1, MOST_SPEAKERS + 1):
            raise InputError(f"speakers is {self.speakers!r}: expected auto or a number from 1 to {MOST_SPEAKERS}")
        if self.speakers is not None and self.mode == "interval":
            raise InputError("speakers are told apart by utterances: leave out the mode interval, or the speakers")
        limits = {"window": (0.3, 30), "hop": (0.1, self.window), "smoothing": (0, 600), "min_segment": (0, 60)}
        if self.merge is not None:
            limits["merge"] = (0, 600)
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}: expected seconds from {low:g} to {high:g}")


@dataclass(frozen=True)
class Timeline:
    """What a recording expresses, segment by segment: a sequence of its predictions.

    Attributes
    ----------
    file : str
        Where the sound came from.
    duration : float
        Length of the recording in seconds.
    predictions : tuple of Prediction
        In order of time, not overlapping; empty where nobody speaks.  Of segments that were given, one for each, which
        may overlap.
    unjudged : tuple of Segment
        Segments that were given, and in which there is nothing to judge: nobody speaks, or they lie beyond the end.

    Examples
    --------
    >>> parts = [("sad", 0, 2), ("happy", 2.5, 4)]
    >>> timeline = Timeline(
    ...     "a.wav",
    ...     5.0,
    ...     tuple(Prediction("a.wav", start, end, label, {label: 1.0}, 1.0, False, "m") for label, start, end in parts),
    ... )
    >>> timeline.summary().share["sad"]
    0.5714285714285714
    >>> len(timeline), timeline[-1].label, [one.start for one in timeline]
    (2, 'happy', [0, 2.5])
    """

    file: str
    duration: float
    predictions: tuple[Prediction, ...]
    unjudged: tuple[Segment, ...] = ()

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        return self.predictions[index]

    def summary(self) -> Summary:
        """Say what there was how much of, what followed what, and when each emotion was strongest."""
        return summarise(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "file": self.file,
            "duration": self.duration,
            "predictions": [one.to_dict() for one in self.predictions],
        }

    def to_frame(self) -> DataFrame:
        """Return a table of pandas, one row a segment, see :meth:`emovox.Prediction.to_row`.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        return frame([one.to_row() for one in self.predictions])

    def _repr_html_(self) -> str:
        """Show it in a notebook: the answers over time."""
        count = f"{len(self)} segment{'' if len(self) == 1 else 's'}"
        head = f"{self.file}, {drawing.clock(self.duration)}: {count}"
        return drawing.framed(head, drawing.timeline(self.predictions, self.duration))


@dataclass(frozen=True)
class Summary:
    """A recording in a few numbers.

    Attributes
    ----------
    file : str
        Where the sound came from.
    duration : float
        Length of the recording in seconds.
    judged : float
        Seconds in segments of the timeline.
    segments : int
        Number of segments.
    abstained : float
        Share of the judged time in which the model was not sure enough, in [0, 1].
    share : mapping of str to float
        Share of the judged time of each label that occurs, the largest first; they sum to 1.  What is not sure enough
        counts by its most probable label.
    transitions : mapping of (str, str) to int
        How often one label was followed by another one, the most frequent first.
    strongest : mapping of str to Prediction
        For each label that occurs, the segment in which it was most probable.
    dimensions : mapping of str to float or None
        Emotion dimensions, their mean over the judged time; None for a model that has none.
    speakers : mapping of str to Speaking
        What each speaker says, who speaks most first; empty where fewer than two are known.
    replies : tuple of Reply
        Who follows whom with what, the most frequent first.
    """

    file: str
    duration: float
    judged: float
    segments: int
    abstained: float
    share: Mapping[str, float]
    transitions: Mapping[tuple[str, str], int]
    strongest: Mapping[str, Prediction]
    dimensions: Mapping[str, float] | None = None
    speakers: Mapping[str, Speaking] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; transitions become a list of objects, speakers stand where there are."""
        plain = {name: getattr(self, name) for name in ("file", "duration", "judged", "segments", "abstained")}
        return {
            **plain,
            "share": dict(self.share),
            "transitions": [
                {"from": first, "to": then, "count": count} for (first, then), count in self.transitions.items()
            ],
            "strongest": {label: one.to_dict() for label, one in self.strongest.items()},
            "dimensions": None if self.dimensions is None else dict(self.dimensions),
            **({"speakers": {name: one.to_dict() for name, one in self.speakers.items()}} if self.speakers else {}),
            **({"replies": [dataclasses.asdict(one) for one in self.replies]} if self.speakers else {}),
        }


def summarise(timeline: Timeline) -> Summary:
    """Make the summary of a timeline, see :meth:`Timeline.summary`."""
    parts = timeline.predictions
    named = [one for one in parts if one.label]  # a model may have dimensions only
    time: dict[str, float] = {}
    for one in named:
        time[one.label] = time.get(one.label, 0.0) + one.end - one.start
    ranked = sorted(time.items(), key=lambda item: -item[1])
    judged = math.fsum(one.end - one.start for one in parts)
    unsure = math.fsum(one.end - one.start for one in parts if one.abstained)
    changes = Counter((before.label, after.label) for before, after in pairwise(named) if before.label != after.label)
    return Summary(
        file=timeline.file,
        duration=timeline.duration,
        judged=judged,
        segments=len(parts),
        abstained=unsure / judged if judged else 0.0,
        share={label: seconds / judged for label, seconds in ranked},
        transitions=dict(changes.most_common()),
        strongest={
            label: max((one for one in parts if one.label == label), key=lambda one: one.confidence)
            for label, _ in ranked
        },
        dimensions=_mean_dimensions(parts, [one.end - one.start for one in parts]),
        speakers=by_speaker(parts),
        replies=replies(parts),
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


def blended(parts: Sequence[Prediction], weights: Sequence[float], threshold: float) -> Prediction:
    """Average judgements: their probabilities, and their emotion dimensions where there are any.

    Parameters
    ----------
    parts : sequence of Prediction
        One or more, by the same model.
    weights : sequence of float
        One for each, usually durations in seconds; not all 0.
    threshold : float
        Confidence in [0, 1] under which the answer is an abstention.

    Returns
    -------
    Prediction
        The last one with the mean and what is decided by it.  An abstention for too little speech remains one only
        where all are.

    Examples
    --------
    >>> a, b = (Prediction("a", 0, 1, x, {x: 1, y: 0}, 1.0, False, "m", dimensions={"arousal": v})
    ...         for x, y, v in (("sad", "calm", 0.0), ("calm", "sad", 1.0)))
    >>> mean = blended([a, b], [3, 1], 0.5)
    >>> mean.label, mean.confidence, mean.dimensions
    ('sad', 0.75, {'arousal': 0.25})
    """
    last = parts[-1]
    labels = list(last.probabilities)
    mean = combine([[one.probabilities[label] for label in labels] for one in parts], weights)
    label, confidence, abstained = decide(mean, labels, threshold)
    short = all(too_short(one) for one in parts)
    why = tuple(line for line in last.why or () if short or not line.startswith(TOO_SHORT))
    return dataclasses.replace(
        last,
        label=label,
        probabilities=dict(zip(labels, mean.tolist(), strict=True)),
        confidence=confidence,
        abstained=abstained or short,
        dimensions=_mean_dimensions(parts, weights),
        why=why or None,
    )


def _mean_dimensions(parts: Sequence[Prediction], weights: Sequence[float]) -> dict[str, float] | None:
    """Average the emotion dimensions of judgements; None where they have none."""
    if not parts or parts[-1].dimensions is None:
        return None
    names = list(parts[-1].dimensions)
    rows = [[(one.dimensions or {})[name] for name in names] for one in parts]
    return dict(zip(names, np.average(rows, axis=0, weights=weights).tolist(), strict=True))


def tidied(predictions: Iterable[Prediction], options: TimelineOptions) -> tuple[Prediction, ...]:
    """Let segments that are too short join a neighbour, then equal neighbours each other.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of one recording, in order of time.
    options : TimelineOptions
        `min_segment` and `merge` decide.

    Returns
    -------
    tuple of Prediction
        In order of time.  Where segments of the same label and certainty were merged, probabilities and dimensions are
        their mean, weighted by duration.

    Examples
    --------
    >>> def part(label, start, end):
    ...     return Prediction("a.wav", start, end, label, {label: 1.0}, 1.0, False, "m")
    >>> parts = [part("sad", 0, 2), part("sad", 2.25, 4), part("happy", 4, 5)]
    >>> [(one.label, one.start, one.end) for one in tidied(parts, TimelineOptions(merge=0.25))]
    [('sad', 0, 4), ('happy', 4, 5)]
    """
    return tuple(tidying(predictions, options))


def tidying(predictions: Iterable[Prediction], options: TimelineOptions) -> Iterator[Prediction]:
    """Do the same while they come: each is given as soon as nothing that follows can change it.

    What waits is the segment before and, with `merge`, those that are equal so far.
    """
    reach = _TOUCH + (options.merge or 0.0)
    parts = _supported(predictions, reach, options.min_segment) if options.min_segment else iter(predictions)
    if options.merge is None:
        yield from parts
        return
    group: list[Prediction] = []
    for one in parts:
        last = group[-1] if group else one
        if not _alike(last, one) or one.start - last.end > reach:
            yield _joined(group)
            group = []
        group.append(one)
    if group:
        yield _joined(group)


def _alike(one: Prediction, other: Prediction) -> bool:
    """Say whether two judgements are the same, of the same speaker."""
    return (one.label, one.abstained, one.speaker) == (other.label, other.abstained, other.speaker)


def _supported(parts: Iterable[Prediction], reach: float, shortest: float) -> Iterator[Prediction]:
    """Give segments that are too short the judgement of their longest neighbour in reach."""
    coming, before = iter(parts), None
    one = next(coming, None)
    while one is not None:
        after = next(coming, None)
        near = [before] if before and one.start - before.end <= reach else []
        near += [after] if after and after.start - one.end <= reach else []
        longest = max(near, key=lambda other: other.end - other.start, default=one)
        lasts = one.end - one.start < shortest <= longest.end - longest.start
        yield _judged_as(one, longest) if lasts else one
        before, one = one, after


def _judged_as(one: Prediction, near: Prediction) -> Prediction:
    same = {name: getattr(near, name) for name in _JUDGEMENT}
    return dataclasses.replace(one, **same, fusion=None, why=_shared([one, near]))


def _joined(group: Sequence[Prediction]) -> Prediction:
    """Make one segment of some with the same label and certainty."""
    if len(group) == 1:
        return group[0]
    first = group[0]
    mean = blended(group, [one.end - one.start for one in group], 0.0)
    said = [one.transcript for one in group if one.transcript]
    words = tuple(word for one in group for word in one.words or ())
    return dataclasses.replace(
        first,
        end=group[-1].end,
        probabilities=mean.probabilities,
        confidence=mean.confidence,
        dimensions=mean.dimensions,
        transcript=" ".join(said) or first.transcript,
        words=words or first.words,
        linguistic=None,  # these are about each segment by itself
        fusion=None,
        why=_shared(group),
    )


def _shared(group: Sequence[Prediction]) -> tuple[str, ...] | None:
    """Keep the lines that hold for all segments: what is missing of the words of the recording."""
    lines = group[0].why or ()
    return tuple(line for line in lines if all(line in (one.why or ()) for one in group)) or None
