"""Timelines: given segments, summaries by speaker, voice traits relative to ordinary speech."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np

from emovox import drawing
from emovox.drawing import clock
from emovox.errors import InputError
from emovox.features import sets
from emovox.model.file import combine, decide
from emovox.model.profiles import Profile
from emovox.outputs import formats
from emovox.outputs.console import COLOURS, Table, Text, dimensions, shown
from emovox.outputs.plots import Trait
from emovox.speech.vad import VadOptions
from emovox.types import TOO_SHORT, FeatureSpec, Prediction, Segment, Waveform, frame, too_short

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Speaking:
    """Talk time and emotions of one speaker in a recording.

    Attributes
    ----------
    seconds : float
        Talk time: total duration of the segments.
    share : float
        Share of the talk time of all speakers, in [0, 1].
    segments : int
        Number of segments.
    emotions : mapping of str to float
        Share of the talk time of each label that occurs, the largest first. Abstentions count by their most probable
        label.
    transitions : mapping of (str, str) to int
        Counts of transitions from one label of the speaker to the speaker's next, the most frequent first.
    """

    seconds: float
    share: float
    segments: int
    emotions: Mapping[str, float]
    transitions: Mapping[tuple[str, str], int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {"seconds": self.seconds, "share": self.share, "segments": self.segments}
        changes = [{"from": one, "to": other, "count": count} for (one, other), count in self.transitions.items()]
        return {**plain, "emotions": dict(self.emotions), "transitions": changes}


@dataclass(frozen=True)
class Reply:
    """How often one speaker with one emotion is followed by another speaker with another.

    Attributes
    ----------
    speaker, label : str
        First speaker and emotion.
    next_speaker, next_label : str
        Next speaker and emotion.
    count : int
        Number of occurrences.
    """

    speaker: str
    label: str
    next_speaker: str
    next_label: str
    count: int


def by_speaker(parts: Sequence[Prediction]) -> dict[str, Speaking]:
    """Summarise each speaker, by descending talk time; empty if fewer than two speakers are known.

    Examples
    --------
    >>> said = [("anna", "sad", 0, 3), ("ben", "calm", 3, 4), ("anna", "happy", 4, 5)]
    >>> parts = [Prediction("a", t, e, x, {x: 1.0}, 1.0, False, "m", speaker=who) for who, x, t, e in said]
    >>> anna = by_speaker(parts)["anna"]
    >>> anna.seconds, anna.share, anna.emotions["sad"], anna.transitions
    (4.0, 0.8, 0.75, {('sad', 'happy'): 1})
    >>> [(one.speaker, one.label, one.next_speaker, one.next_label) for one in replies(parts)]
    [('anna', 'sad', 'ben', 'calm'), ('ben', 'calm', 'anna', 'happy')]
    """
    own: dict[str, list[Prediction]] = {}
    for one in parts:
        if one.speaker is not None:
            own.setdefault(one.speaker, []).append(one)
    if len(own) < 2:
        return {}
    total = math.fsum(one.end - one.start for said in own.values() for one in said)
    found = {name: _speaking(said, total) for name, said in own.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def _speaking(said: Sequence[Prediction], total: float) -> Speaking:
    seconds = math.fsum(one.end - one.start for one in said)
    times: dict[str, float] = {}
    for one in said:
        if one.label:
            times[one.label] = times.get(one.label, 0.0) + one.end - one.start
    changes = Counter((one.label, then.label) for one, then in pairwise(said) if one.label != then.label)
    emotions = {label: time / seconds for label, time in sorted(times.items(), key=lambda item: -item[1])}
    return Speaking(seconds, seconds / total, len(said), emotions, dict(changes.most_common()))


def replies(parts: Sequence[Prediction]) -> tuple[Reply, ...]:
    """Count replies between different speakers, the most frequent first."""
    counts = Counter(
        (one.speaker, one.label, then.speaker, then.label)
        for one, then in pairwise(sorted(parts, key=lambda part: part.start))
        if one.speaker is not None and then.speaker is not None and one.speaker != then.speaker
    )
    return tuple(Reply(*turn, count=count) for turn, count in counts.most_common())


#: Standard deviations from which something is out of the ordinary.
NOTEWORTHY = 1.0
#: Utterances of a voice that tell what is ordinary for it.
LEAST = 3


@dataclass(frozen=True)
class _Kind:
    """A trait: its feature in the set ``prosodic``, its unit, and how more and less of it are called."""

    feature: str
    unit: str
    more: str
    less: str
    relative: bool = False
    """Whether it is told as a ratio, in per cent."""
    absolute: bool = True
    """Whether it means the same in every recording, so that voices can be compared: a level does not."""


#: The traits, by name.
KINDS: Mapping[str, _Kind] = {
    "pitch": _Kind("f0_semitones_p50", "semitones", "above ordinary pitch", "below ordinary pitch"),
    "melody": _Kind("f0_semitones_p20_80", "semitones", "more melody", "less melody"),
    "loudness": _Kind("level", "dB", "louder", "softer", absolute=False),
    "tempo": _Kind("loudness_peak_rate", "peaks of loudness a second", "faster", "slower", relative=True),
    "brightness": _Kind("alpha_ratio_voiced_mean", "dB", "brighter, as with more effort", "darker, with less effort"),
    "clearness": _Kind("hnr_mean", "dB", "clearer (harmonics to noise)", "rougher (harmonics to noise)"),
    "breathiness": _Kind("h1_h2_mean", "dB", "breathier (H1-H2)", "tenser (H1-H2)"),
}


@dataclass(frozen=True)
class Ordinary:
    """Reference values of voice traits, of one voice or of many.

    Attributes
    ----------
    about : str
        Description of the reference: whose speech, and how much.
    means : mapping of str to float
        Mean by name of the trait.
    deviations : mapping of str to float
        Standard deviation by name of the trait.
    """

    about: str
    means: Mapping[str, float]
    deviations: Mapping[str, float]


def measured(waveform: Waveform) -> dict[str, float]:
    """Measure the voice traits of a segment of speech, by name.

    Examples
    --------
    >>> from emovox import audio
    >>> found = measured(audio.read("examples/plain.wav"))
    >>> 1 < found["tempo"] < 9
    True
    """
    values = sets.extract(waveform, _spec())
    return {name: float(values[_columns()[kind.feature]]) for name, kind in KINDS.items()}


def of_voice(utterances: Iterable[Mapping[str, float]], about: str) -> Ordinary | None:
    """Return the reference values of one voice from the traits of its utterances; None if there are too few.

    The spread between utterances of one voice is taken from the speakers of the corpora.
    """
    found = list(utterances)
    if len(found) < LEAST:
        return None
    means = {name: fmean(one[name] for one in found) for name in KINDS}
    return Ordinary(f"{len(found)} {about}", means, {name: within for name, (_, _, within) in _population().items()})


def of_people() -> Ordinary:
    """Return the reference values of neutral speech of many speakers, see ``scripts/population.py``.

    Examples
    --------
    >>> sorted(of_people().means)
    ['breathiness', 'brightness', 'clearness', 'melody', 'pitch', 'tempo']
    """
    known = {name: values for name, values in _population().items() if KINDS[name].absolute}
    means = {name: mean for name, (mean, _, _) in known.items()}
    deviations = {name: math.hypot(between, within) for name, (_, between, within) in known.items()}
    return Ordinary(f"neutral speech of {_file()['speakers']} speakers", means, deviations)


def compared(found: Mapping[str, float], ordinary: Ordinary) -> tuple[Trait, ...]:
    """Return the unusual traits, the most unusual first."""
    traits = []
    for name, mean in ordinary.means.items():
        difference = found[name] - mean
        deviation = difference / ordinary.deviations[name]
        if abs(deviation) >= NOTEWORTHY:
            text = _told(KINDS[name], difference, mean)
            traits.append(Trait(name, found[name], mean, KINDS[name].unit, deviation, text))
    return tuple(sorted(traits, key=lambda one: -abs(one.deviation)))


def _told(kind: _Kind, difference: float, mean: float) -> str:
    """Put a difference into words."""
    word = kind.more if difference > 0 else kind.less
    if kind.relative:
        return f"{abs(difference) / mean:.0%} {word}" if mean else word
    size = abs(difference)
    amount = f"{size:.0f}" if size >= 2 else f"{size:.1f}"
    unit = kind.unit.removesuffix("s") if amount in ("1", "1.0") else kind.unit
    return f"{amount} {unit} {word}"


@cache
def _spec() -> FeatureSpec:
    return sets.spec("prosodic", preprocess={"level": "none"})  # how loud it is counts


@cache
def _columns() -> dict[str, int]:
    return {name: index for index, name in enumerate(sets.feature_names(_spec()))}


@cache
def _file() -> dict[str, int | dict[str, tuple[float, float, float]]]:
    text = (resources.files("emovox.recognition") / "population.json").read_text(encoding="utf-8")
    found: dict[str, int | dict[str, tuple[float, float, float]]] = json.loads(text)
    return found


def _population() -> dict[str, tuple[float, float, float]]:
    """Return of each trait the mean, and the deviations between speakers and within one."""
    found = _file()["traits"]
    return found if isinstance(found, dict) else {}


#: Columns that have a meaning, and other names by which people call them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "path", "filepath", "audio", "audiofile", "audiopath", "wav", "recording"),
    "start": ("begin", "onset", "starttime", "begintime"),
    "end": ("stop", "offset", "endtime", "stoptime"),
    "duration": ("dur", "length"),
    "speaker": ("speakerid", "speakername", "spk"),
}
#: Endings of the files that are read.
ENDINGS = (".csv", ".tsv", ".rttm")
#: Fields of a line of RTTM: kind, recording, channel, start, duration, two unused, speaker.
_FIELDS = 8


@dataclass(frozen=True)
class _Row:
    """A segment, which recording and channel it belongs to, and where it stands."""

    recording: str
    channel: int | None
    segment: Segment


@dataclass(frozen=True)
class SegmentFile:
    """The segments of a file, by recording.

    Attributes
    ----------
    path : Path
        The file.
    rows : tuple
        Segments of the file.
    """

    path: Path
    rows: tuple[_Row, ...]

    def of(self, file: str | os.PathLike[str], channel: int | None = None) -> list[Segment]:
        """Return the segments of a recording.

        Parameters
        ----------
        file : str or path
            The recording.  Segments that name none belong to every one; others to that of this path (relative to the
            file of segments, or to the working folder), name, or name without ending, with ``_`` for blanks in RTTM.
        channel : int, optional
            Channel whose segments are returned, if the file has several.

        Raises
        ------
        InputError
            The file has no segment of this recording.
        """
        name = os.fsdecode(file)
        found = [row for row in self.rows if not row.recording or self._is(row.recording, name)]
        channels = {row.channel for row in found}
        if channel is not None and len(channels) > 1:
            found = [row for row in found if row.channel == channel]
        if not found:
            named = ", ".join(list(dict.fromkeys(row.recording for row in self.rows))[:3])
            of = f" channel {channel} of" if channel is not None and len(channels) > 1 else ""
            raise InputError(f"{self.path} has no segment of{of} {name}: it names {named}")
        return [row.segment for row in found]

    def _is(self, recording: str, name: str) -> bool:
        path = Path(name)
        if any(folder / recording == path or _same(folder / recording, path) for folder in (Path(), self.path.parent)):
            return True
        return len(Path(recording).parts) == 1 and recording in (path.name, path.stem, "_".join(path.stem.split()))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def read_segments(path: str | os.PathLike[str]) -> SegmentFile:
    r"""Read given segments from a file.

    Parameters
    ----------
    path : str or path
        CSV or TSV with a header: ``start`` and ``end``, or ``start`` and ``duration``, in seconds; where there are
        several recordings, ``file``; ``speaker``; further columns are carried along.  Or RTTM, as diarization programs
        write it.

    Returns
    -------
    SegmentFile
        Its :meth:`~SegmentFile.of` gives the segments of a recording.

    Raises
    ------
    InputError
        The file cannot be read, or a line of it is no segment.

    Source
    ------
    RTTM: NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.

    Examples
    --------
    >>> Path("turns.csv").write_text("start,end,speaker,turn\n0.0,1.5,anna,1\n1.5,3.0,ben,2\n")
    52
    >>> [(one.speaker, dict(one.columns)) for one in read_segments("turns.csv").of("examples/plain.wav")]
    [('anna', {'turn': '1'}), ('ben', {'turn': '2'})]
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"segments are read from {', '.join(ENDINGS)}, not from {path.name}")
    rows = tuple(_rttm(path) if path.suffix.lower() == ".rttm" else _table(path))
    if not rows:
        raise InputError(f"{path} holds no segment: give one line for each")
    return SegmentFile(path, rows)


def _table(path: Path) -> Iterator[_Row]:
    header, *rows = formats.read(path, str(path)) or [(1, [])]
    known = formats.known_columns(header[1], COLUMNS)
    named = {column: at for at, column in known.items()}
    if "start" not in named or not {"end", "duration"} & named.keys():
        raise InputError(f"{path} needs the columns start and end, or start and duration, not {', '.join(header[1])}")
    for number, cells in rows:
        row = {column: cells[at] for column, at in named.items()}
        more = {name: cells[at] for at, name in enumerate(header[1]) if at not in known and name}
        place = f"line {number} of {path}"
        start = _seconds(row["start"], place)
        end = _seconds(row["end"], place) if "end" in row else start + _seconds(row["duration"], place)
        yield _Row(row.get("file", ""), None, _segment(start, end, row.get("speaker") or None, more, place))


def _rttm(path: Path) -> Iterator[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check the path") from None
    for number, line in enumerate(text.splitlines(), 1):
        fields: Sequence[str] = line.split()
        if not fields or fields[0] != "SPEAKER":  # comments, and lines about speakers or words
            continue
        place = f"line {number} of {path}"
        if len(fields) < _FIELDS:
            raise InputError(f"{place} has {len(fields)} fields: RTTM has {_FIELDS} or more")
        start = _seconds(fields[3], place)
        speaker = None if fields[7] == "<NA>" else fields[7]
        segment = _segment(start, start + _seconds(fields[4], place), speaker, {}, place)
        yield _Row(fields[1], int(fields[2]) if fields[2].isdecimal() else None, segment)


def _seconds(text: str, place: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{place} has the time {text!r}: expected seconds, such as 12.5") from None


def _segment(start: float, end: float, speaker: str | None, more: dict[str, str], place: str) -> Segment:
    try:
        return Segment(start, end, speaker, more)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


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
    """How a recording is divided into windows.

    Attributes
    ----------
    duration : float
        Longest segment that is judged as a whole, in seconds, 0.3 to 30: about the length of the utterances that
        models are trained on. Longer utterances are cut, see :class:`emovox.TimelineOptions`. If no utterance is
        found, windows of this length are judged; a remainder shorter than half of it is joined to the window before.
    """

    duration: float = 6.0


@dataclass(frozen=True)
class TimelineOptions:
    """How a stream or a long recording is divided and judged.

    Attributes
    ----------
    mode : {"utterance", "interval"}, default "utterance"
        One judgement per utterance found by voice activity detection, or per interval of `hop` seconds that contains
        speech.
    window : float, default 6.0
        Longest segment that is judged as a whole, in seconds, 0.3 to 30. A longer utterance is cut where speech is
        least probable in the second half of the window. An interval is judged by the `window` seconds up to its end.
    hop : float, default 1.0
        Step in seconds, from 0.1 to `window`: the length of an interval, or the time between running estimates within
        an utterance.
    smoothing : float, default 0.0
        Time constant of exponential smoothing of the probabilities, in seconds: a judgement of that age has the weight
        1/e. 0 disables smoothing.
    merge : float, optional
        Largest pause in seconds over which neighbouring segments of the same label are merged; by default none are
        merged.
    min_segment : float, default 0.0
        Shortest segment of the timeline in seconds. A shorter one takes the judgement of its longer neighbour, if it
        touches it or the pause between them is within `merge`.
    vad : VadOptions
        Options of voice activity detection; the defaults detect soft speech and resolve boundaries to 8 ms.
    speakers : "auto" or int, optional
        Separate speakers: ``"auto"`` estimates their number, a number from 1 to 50 sets it; by default speakers are
        not separated. Utterances are cut where the speaker changes, and each judgement has its `speaker`, see
        :mod:`emovox.speech.diarization`. Recordings are read twice.
    enrolled : tuple of Profile
        Profiles of :meth:`emovox.EmotionRecognizer.enroll` by which speakers are identified; profiles without a voice
        print are ignored. A speaker who is not similar enough to any of them gets a number.

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


#: How a recording is cut that gets one answer, where nothing else is said.
WHOLE = TimelineOptions()


@dataclass(frozen=True)
class Timeline:
    """The predictions of a recording segment by segment: a sequence.

    Attributes
    ----------
    file : str
        Where the sound came from.
    duration : float
        Length of the recording in seconds.
    predictions : tuple of Prediction
        In order of time, not overlapping; empty if there is no speech. For given segments there is one each, and they
        may overlap.
    unjudged : tuple of Segment
        Given segments without speech, or beyond the end of the recording.

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
        """Return the share, the transitions and the strongest moment of each emotion."""
        return summarise(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "file": self.file,
            "duration": self.duration,
            "predictions": [one.to_dict() for one in self.predictions],
        }

    def to_frame(self) -> DataFrame:
        """Return a pandas data frame with one row per segment, see :meth:`emovox.Prediction.to_row`.

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
    """Summary statistics of a timeline.

    Attributes
    ----------
    file : str
        Where the sound came from.
    duration : float
        Length of the recording in seconds.
    judged : float
        Total duration of the segments in seconds.
    segments : int
        Number of segments.
    abstained : float
        Share of the judged time in which the model abstains, in [0, 1].
    share : mapping of str to float
        Share of the judged time of each label that occurs, the largest first; they sum to 1. Abstentions count by
        their most probable label.
    transitions : mapping of (str, str) to int
        Counts of transitions from one label to another, the most frequent first.
    strongest : mapping of str to Prediction
        Segment with the largest probability of each label that occurs.
    dimensions : mapping of str to float or None
        Mean of each emotion dimension over the judged time; None for a model without dimensions.
    speakers : mapping of str to Speaking
        Talk time and emotions of each speaker, by descending talk time; empty if fewer than two are known.
    replies : tuple of Reply
        Replies between speakers, the most frequent first.
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
        """Return plain values, ready for JSON; transitions become a list of objects."""
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
    """Average predictions: probabilities and emotion dimensions.

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
        The last prediction with the mean, and label, confidence and abstention by it. It abstains for too little
        speech only if all parts do.

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
    """Join short segments to a neighbour, then merge equal neighbours.

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
    """Yield the result of :func:`tidied` incrementally: each segment as soon as nothing that follows can change it.

    Held back are the previous segment and, with `merge`, the equal ones so far.
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


#: Columns of a summary beside its bars, for recordings of up to ten hours.
_BESIDE_BARS = 43


def summary_lines(summary: Summary, width: int = 80) -> Iterator[Text | Table]:
    """Format a summary for a terminal: shares of time, strongest moments, transitions.

    Parameters
    ----------
    summary : Summary
    width : int, default 80
        Columns of the terminal; where there are few, the bars get shorter, and go.
    """
    seen = f"{clock(summary.judged)} of {clock(summary.duration)} judged, {summary.segments} segments"
    yield Text(f"{shown(summary.file)}: {seen}, not sure in {summary.abstained:.0%} of it")
    bars = max(0, min(20, width - _BESIDE_BARS))
    table = Table()
    for name in ("emotion", "time", "share", "strongest"):
        table.add_column(name, no_wrap=name != "strongest", justify="right" if name == "time" else "left")
    for label, share in summary.share.items():
        best, colour = summary.strongest[label], COLOURS.get(label, "white")
        bar = "█" * round(bars * share) + "░" * (bars - round(bars * share)) + " " if bars else ""
        table.add_row(
            Text(label, colour),
            clock(share * summary.judged),
            Text(f"{bar}{share:.0%}", colour),
            f"{clock(best.start)} {best.confidence:.0%}",
        )
    if summary.share or not summary.dimensions:
        yield table
    if summary.dimensions:
        yield Text(shown(f"mean: {dimensions(summary.dimensions)}"))
    if summary.transitions:
        yield Text("changes: " + ", ".join(_changes(summary)))
    if summary.speakers:
        yield from _speakers(summary)


def _speakers(summary: Summary) -> Iterator[Text | Table]:
    """Describe who speaks how long and how, and who follows whom with what."""
    table = Table()
    for name in ("speaker", "time", "share", "emotions"):
        table.add_column(name, no_wrap=name != "emotions", justify="right" if name in ("time", "share") else "left")
    for name, one in summary.speakers.items():
        said = ", ".join(f"{label} {share:.0%}" for label, share in one.emotions.items())
        table.add_row(Text(shown(name)), clock(one.seconds), f"{one.share:.0%}", said)
    yield table
    most = summary.replies[:3]
    lines = (f"{one.speaker} {one.label}, then {one.next_speaker} {one.next_label} {one.count}" for one in most)
    yield Text(shown("replies: " + "; ".join(lines)))


def _changes(summary: Summary, most: int = 5) -> Iterator[str]:
    for (first, then), count in list(summary.transitions.items())[:most]:
        yield f"{first} to {then} {count}"
    if len(summary.transitions) > most:
        yield f"{sum(list(summary.transitions.values())[most:])} others"
