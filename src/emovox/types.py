"""Labels, the decision rule, and the value types of sounds and predictions."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emovox import drawing
from emovox.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from pandas import DataFrame

#: Common labels: the eight emotions of RAVDESS, in its order.
COMMON: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

#: Synonyms and corpus codes of the common labels.
SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "ang": "angry",
    "calmness": "calm",
    "disgusted": "disgust",
    "dis": "disgust",
    "fear": "fearful",
    "fea": "fearful",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
    "ps": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}


def as_seen(text: str) -> str:
    """Normalise a text so that texts that look the same compare equal.

    Parameters
    ----------
    text : str
        Any text: a label, a speaker, the name of a column.

    Returns
    -------
    str
        In Unicode's composed form (NFC), without characters that cannot be seen (zero-width space, byte order mark,
        soft hyphen, marks of direction; the joiners U+200C and U+200D stay, because scripts need them), each run of
        blanks one space, none at the ends.  Upper and lower case are kept.

    Source: Unicode Standard Annex 15, https://unicode.org/reports/tr15.

    Examples
    --------
    >>> as_seen(" Zoe\u0308\u200b\u00a0 B. ") == "Zo\u00eb B."
    True
    """
    if not text.isascii():
        seen = (letter for letter in text if letter in "\u200c\u200d" or unicodedata.category(letter) != "Cf")
        text = unicodedata.normalize("NFC", "".join(seen))
    return " ".join(text.split())


def canonical(label: str) -> str:
    """Map a label of a corpus to the common label; labels without a counterpart are kept.

    Parameters
    ----------
    label : str
        Any spelling, such as ``"Fear"``, ``"ps"``, ``"boredom"``.

    Returns
    -------
    str
        A member of :data:`COMMON` if there is one, else the label as :func:`as_seen`, in lower case with underscores
        for blanks.

    Examples
    --------
    >>> canonical("Fear"), canonical("ps"), canonical("boredom")
    ('fearful', 'surprised', 'boredom')
    """
    word = as_seen(label).lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(word, word)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: common ones first, in the order of :data:`COMMON`, then the others by name.

    Examples
    --------
    >>> ordered(["boredom", "sad", "neutral"])
    ('neutral', 'sad', 'boredom')
    """
    present = set(labels)
    return tuple(name for name in COMMON if name in present) + tuple(sorted(present - set(COMMON)))


#: How the reason begins that is given where there is too little speech for an answer.
TOO_SHORT = "too little speech"


def too_short(one: Prediction) -> bool:
    """Return whether an answer is an abstention because there was too little speech."""
    return any(line.startswith(TOO_SHORT) for line in one.why or ())


#: Sampling rate of everything after `emovox.audio`, in Hz.
RATE = 16000

#: What the front end of a model is called that has several.
JOINT = "joint"

#: Samples, features and what a graph takes and gives.
Float32Array = NDArray[np.float32]
#: Where sums of many numbers must not lose precision: probabilities, statistics.
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Unread:
    """A part of a recording that cannot be read.

    Attributes
    ----------
    start, end : float
        In seconds from the beginning of the recording; equal if the length is unknown.
    reason : str
        What is wrong, in a few words.

    Examples
    --------
    >>> str(Unread(7.0, 10.0, "the file ends early"))
    '7.00 to 10.00 s: the file ends early'
    """

    start: float
    end: float
    reason: str

    def __str__(self) -> str:
        span = f"from {self.start:.2f} s" if self.end <= self.start else f"{self.start:.2f} to {self.end:.2f} s"
        return f"{span}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono speech at 16 kHz.

    Attributes
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Finite values, nominally in [-1, 1].
    start : float
        Position of the first sample in the recording, in seconds.
    unread : tuple of Unread
        Parts that could not be read: they are silence in `samples`, or missing at the end.
    speech : ndarray of float32, shape (n_frames,), or None
        Probability of speech, in [0, 1], of each frame of 512 samples that the waveform touches; frames are aligned
        with the beginning of the recording. None before voice activity detection.
    """

    samples: Float32Array
    start: float = 0.0
    unread: tuple[Unread, ...] = ()
    speech: Float32Array | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE

    @property
    def end(self) -> float:
        """Position of the end in the recording, in seconds."""
        return self.start + self.duration


@dataclass(frozen=True)
class FeatureSpec:
    """Preprocessing and features that a model needs; stored in the model file.

    Attributes
    ----------
    set : str
        Name of the feature set, for example ``"classic193"``.
    version : int
        Version of the set, increased whenever its numbers change.
    dimension : int
        Number of features per clip, or per frame.
    parameters : mapping
        All parameters of the set, defaults included.
    preprocess : mapping
        All preprocessing options, see `emovox.audio.preprocess.PreprocessOptions`.
    """

    set: str
    version: int
    dimension: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def joint(cls, parts: Mapping[str, FeatureSpec]) -> FeatureSpec:
        """Combine the front ends of several models into one; :meth:`parts` is the inverse.

        Examples
        --------
        >>> both = FeatureSpec.joint({"a": FeatureSpec("logmel", 1, 64), "b": FeatureSpec("sequence", 1, 42)})
        >>> both.set, both.dimension, both.parts()["b"].set
        ('joint', 106, 'sequence')
        """
        plain = {name: dataclasses.asdict(part) for name, part in parts.items()}
        return cls(JOINT, 1, sum(part.dimension for part in parts.values()), plain)

    def parts(self) -> dict[str, FeatureSpec]:
        """Return the front ends by name; one that is not joint has the empty name."""
        if self.set != JOINT:
            return {"": self}
        return {name: FeatureSpec(**part) for name, part in self.parameters.items()}


@dataclass(frozen=True)
class Word:
    """A spoken word.

    Attributes
    ----------
    text : str
        The word as in the transcript, with punctuation.
    start, end : float
        In seconds from the beginning of the recording.
    confidence : float
        Probability of the word by the speech recogniser, in [0, 1]; 1 for a given transcript.
    """

    text: str
    start: float
    end: float
    confidence: float = 1.0


@dataclass(frozen=True)
class Transcript:
    """Transcript of a recording or a part of one.

    Attributes
    ----------
    text : str
        The full text, with punctuation; empty if nothing was recognised.
    words : tuple of Word
        The words with their times; empty if the times are unknown.
    language : str or None
        Two-letter code (ISO 639-1), ``"en"`` for English; None if unknown.
    confidence : float
        Mean probability of the words, in [0, 1]; 0 without words, 1 for a given transcript.
    speech : float or None
        Duration of speech in the recording in seconds, by voice activity detection; None if not measured.
    """

    text: str
    words: tuple[Word, ...] = ()
    language: str | None = "en"
    confidence: float = 1.0
    speech: float | None = None


@dataclass(frozen=True)
class Segment:
    """A given segment of a recording to judge, such as a turn of a diarization or a row of an annotation.

    Attributes
    ----------
    start, end : float
        In seconds from the beginning of the recording.
    speaker : str or None
        Name of the speaker; None if unknown.
    columns : mapping of str to str
        Further columns of the annotation, copied to the prediction.

    Raises
    ------
    InputError
        The start is negative, or the end is not after the start.

    Examples
    --------
    >>> Segment(1.5, 4.0, speaker="anna").end
    4.0
    """

    start: float
    end: float
    speaker: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end < np.inf:
            raise InputError(
                f"a segment from {self.start:g} to {self.end:g} s: expected 0 or more, and an end after the start"
            )

    def __str__(self) -> str:
        return f"{self.start:.2f} to {self.end:.2f} s"


@dataclass(frozen=True)
class Setting:
    """The setting whose baseline was used for an answer.

    Attributes
    ----------
    name : str
        Name of its profile; ``"auto"`` if it was estimated from the given recordings.
    heard : int
        Number of utterances that the baseline was computed from.
    """

    name: str
    heard: int


@dataclass(frozen=True)
class Prediction:
    """The predicted emotion of a recording or a segment of one.

    Attributes
    ----------
    file : str
        Where the sound came from.
    start, end : float
        In seconds from the beginning of the recording.
    label : str
        Most probable emotion; empty for a model that has dimensions only.
    probabilities : mapping of str to float
        Probability of each label of the model, in the model's order; they sum to 1.
    confidence : float
        Probability of `label`, in [0, 1].
    abstained : bool
        Whether the answer is "don't know": the confidence is below the threshold, or there is too little speech (see
        `why`).
    model : str
        Name of the model.
    speaker : str or None
        Name of the speaker; None if unknown.
    transcript : str or None
        Transcript; None if words were not requested, or transcription failed (see `why`).
    words : tuple of Word or None
        The words with their times.
    linguistic : mapping of str to float or None
        Linguistic features by name (see `emovox.text.words`).
    fusion : mapping or None
        Details of the fusion of voice and words; None without fusion.
    why : tuple of str or None
        Remarks that explain the answer, one line each.
    baseline : str or None
        Name of the speaker's profile whose baseline was used (see `emovox.model.profiles`); None where none was.
    channel : int or None
        Channel of the recording, counted from 1; None if all channels were mixed.
    dimensions : mapping of str to float or None
        Emotion dimensions by name, for example ``"arousal"``, on the model's scale (nominally from -1 to 1, 0 is
        neutral); None for a model that has none.
    unread : tuple of Unread
        Parts of the recording that cannot be read and are excluded; empty if all was read.
    notes : tuple of str
        Remarks on the recording: a channel whose polarity was inverted, channels with different voices.
    columns : mapping of str to str or None
        Further columns of a given :class:`Segment`; None without any.
    setting : Setting or None
        Setting whose baseline was used; None if none was.
    """

    file: str
    start: float
    end: float
    label: str
    probabilities: Mapping[str, float]
    confidence: float
    abstained: bool
    model: str
    speaker: str | None = None
    transcript: str | None = None
    words: tuple[Word, ...] | None = None
    linguistic: Mapping[str, float] | None = None
    fusion: Mapping[str, Any] | None = None
    why: tuple[str, ...] | None = None
    baseline: str | None = None
    channel: int | None = None
    dimensions: Mapping[str, float] | None = None
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None
    setting: Setting | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the keys are the attributes."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }
        return {**plain, "probabilities": dict(self.probabilities)}

    def to_row(self) -> dict[str, Any]:
        """Return plain values by the names of columns: ``p_<label>`` for a probability, ``d_<name>`` for a dimension.

        Columns of a given segment come last, as ``given_<name>`` if the name is taken.

        Examples
        --------
        >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
        >>> example.to_row()["p_happy"]
        0.25
        """
        names = ("file", "start", "end", "label", "confidence", "abstained", "model", "speaker")
        row = {
            **{name: getattr(self, name) for name in names},
            **{f"p_{label}": value for label, value in self.probabilities.items()},
            "transcript": self.transcript,
            "baseline": self.baseline,
            "channel": self.channel,
            "setting": self.setting and self.setting.name,
            **{f"d_{name}": value for name, value in (self.dimensions or {}).items()},
        }
        more = (self.columns or {}).items()
        return row | {f"given_{name}" if name in row else name: value for name, value in more}

    def to_frame(self) -> DataFrame:
        """Return a pandas data frame with one row, see :meth:`to_row`.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        return frame([self.to_row()])

    def _repr_html_(self) -> str:
        """Show it in a notebook: the answer, and the probabilities as bars."""
        said = f"{drawing.answer(self.label, self.abstained)}, {self.confidence:.0%}"
        span = f"{drawing.clock(self.start)} to {drawing.clock(self.end)}"
        return drawing.framed(f"{self.file}, {span}: {said}", drawing.bars(self.probabilities))


@dataclass(frozen=True)
class Failure:
    """A recording that could not be analysed, in the results of many.

    Attributes
    ----------
    file : str
        Where the sound came from.
    error : str
        Message of one line: the reason and the remedy.
    kind : str
        Name of the exception's class, for example ``"NoSpeechError"``.
    """

    file: str
    error: str
    kind: str

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return drawing.framed(f"{self.file}: {self.kind}, {self.error}")


def to_frame(results: Iterable[Any]) -> DataFrame:
    """Return results as a pandas data frame, one row per prediction, segment of a timeline or failure.

    Parameters
    ----------
    results : iterable of Prediction, Timeline or Failure
        For example ``list(recognizer.predict_many("calls/"))``.

    Returns
    -------
    DataFrame
        The columns are those of :meth:`Prediction.to_row`, and ``error``, which is missing for predictions.

    Raises
    ------
    MissingExtraError
        pandas is not installed.

    Examples
    --------
    >>> good = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> to_frame([good, Failure("b.wav", "b.wav is empty", "AudioError")])[["file", "label", "error"]]
        file label           error
    0  a.wav   sad             NaN
    1  b.wav   NaN  b.wav is empty
    """
    return frame(list(_rows(results)), "error")


def _rows(results: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for one in results:
        if isinstance(one, Prediction):
            yield one.to_row()
        elif isinstance(one, Failure):
            yield {"file": one.file, "error": one.error}
        else:  # a timeline, or a list of predictions
            yield from _rows(one)


def frame(rows: list[dict[str, Any]], *last: str) -> DataFrame:
    """Make a pandas data frame from rows, with some columns last.

    Raises
    ------
    MissingExtraError
        pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("a table of pandas", "notebook") from error
    known = dict.fromkeys(("file", "start", "end", "label", "confidence", "abstained"))
    known |= dict.fromkeys(name for row in rows for name in row if name not in last)
    return pandas.DataFrame(rows, columns=[*known, *last])
