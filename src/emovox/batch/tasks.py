"""The work on one part of a batch, and the tables that it writes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Protocol, TypeAlias

import numpy as np

from emovox import audio
from emovox.audio import Sound
from emovox.batch.places import Entry, readable
from emovox.errors import EmovoxError, InputError, MissingExtraError, NoSpeechError, ProfileError
from emovox.features import sets
from emovox.model.file import DEFAULT, ModelCard, fingerprint_of, load, load_card
from emovox.model.profiles import AUTO, Profile, composed
from emovox.outputs.console import json_line
from emovox.outputs.console import readable as readable_text
from emovox.recognition.recognizer import WINDOW, EmotionRecognizer, FeatureExtractor
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.workers import Work
from emovox.speech.vad import GateOptions
from emovox.types import RATE, Float32Array, Prediction, Unread

#: A row of the output, in the order of the task's columns.
Values: TypeAlias = tuple[Any, ...]


class Output(StrEnum):
    """What is written for each recording."""

    PREDICTIONS = "predictions"
    TIMELINE = "timeline"
    FEATURES = "features"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Failed:
    """Why a recording, or a channel of it, has no rows.

    Attributes
    ----------
    code : str
        The error's :attr:`emovox.errors.EmovoxError.code`.
    message : str
        One line.
    channel : int or None
        Which channel; None for the recording.
    """

    code: str
    message: str
    channel: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a recording.

    Attributes
    ----------
    rows : tuple of tuple
        Its rows.
    failures : tuple of Failed
        What failed of it.
    seconds : float
        How much sound was heard.
    """

    rows: tuple[Values, ...] = ()
    failures: tuple[Failed, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What a task must know of its model before the model is loaded: its card, and the SHA-256 of its file."""

    card: ModelCard
    sha256: str


class Recipe(Protocol):
    """How the recogniser is made, in each process anew; it pickles."""

    @property
    def model(self) -> str | None:
        """Model file, run folder or built-in name; None for the default."""
        ...

    @property
    def spoken(self) -> bool:
        """Whether words are listened to."""
        ...

    def __call__(self) -> EmotionRecognizer:
        """Make the recogniser."""
        ...

    def facts(self) -> Facts:
        """Look at the model without loading it."""
        ...

    def options(self) -> dict[str, Any]:
        """Return what changes the answers, the model apart, in plain values."""
        ...


@dataclass(frozen=True)
class Recognition:
    """How the recogniser is made, in each process anew.

    Attributes
    ----------
    model : str or None
        Model file, run folder or built-in name.
    threshold : float or None
        Confidence under which an answer is an abstention; None for the model's own.
    gate : bool
        Whether to ask if somebody speaks.
    spoken : bool
        Whether words are listened to.
    asr, language, text_model : str or None
        Speech recogniser, language and text classifier.
    fuse : bool or None
        Whether words take part; None for what the model says.
    rules : bool
        Whether the decision rules that come with emovox are applied.
    setting : Profile, "auto" or None
        Where everything was recorded that says nothing else; ``"auto"``: each recording is its own setting.
    known : tuple of Profile
        The speakers and settings that recordings may name, those included that the speakers belong to.
    """

    model: str | None = None
    threshold: float | None = None
    gate: bool = True
    spoken: bool = False
    asr: str | None = None
    language: str | None = None
    text_model: str | None = None
    fuse: bool | None = None
    rules: bool = False
    setting: Profile | str | None = None
    known: tuple[Profile, ...] = ()

    def __call__(self) -> EmotionRecognizer:
        """Make the recogniser."""
        return self.maker()(None, self.setting)

    def maker(self) -> Callable[[Profile | None, Profile | str | None], EmotionRecognizer]:
        """Return what makes recognisers of a speaker and a setting that share all else, each of them once."""
        words: dict[str, Any] = {}
        if self.spoken:
            from emovox.text.transcribe import CachedTranscriber, WhisperTranscriber
            from emovox.text.words import TextClassifier

            words["transcriber"] = CachedTranscriber(WhisperTranscriber(self.asr, self.language))
            words["text_model"] = TextClassifier(self.text_model) if self.text_model else None
        if self.rules:
            from emovox.text.fusion import DEFAULT

            words["rules"] = DEFAULT
        gate = None if self.gate else GateOptions(threshold=0)
        model = load(self.model)

        @lru_cache(maxsize=64)
        def make(speaker: Profile | None, setting: Profile | str | None) -> EmotionRecognizer:
            known: dict[str, Any] = {"speaker": speaker, "setting": setting}
            return EmotionRecognizer(model, gate=gate, threshold=self.threshold, fuse=self.fuse, **known, **words)

        return make

    def of_entries(self) -> Callable[[Entry], EmotionRecognizer]:
        """Return what gives the recogniser for a recording, by the speaker and the setting that it names."""
        make, known = self.maker(), {(one.kind, one.name): one for one in self.known}

        def found(entry: Entry) -> EmotionRecognizer:
            speaker = known.get(("speaker", composed(entry.speaker or "")))
            named = composed(entry.setting or "")
            setting = known.get(("setting", named)) or self.setting
            return make(speaker, setting or (known.get(("setting", speaker.setting or "")) if speaker else None))

        return found

    def facts(self) -> Facts:
        """Look at the model without loading it.

        Raises
        ------
        ProfileError
            A profile was made with another model.
        """
        found = Facts(load_card(self.model), fingerprint_of(self.model))
        for one in self._profiles():
            if one.fingerprint != found.sha256:
                raise ProfileError(
                    f"{one.kind} {one.name!r} was made with another model ({one.model!r}; this is "
                    f"{found.card.name!r}): {one.again}"
                )
        return found

    def _profiles(self) -> list[Profile]:
        return [*self.known, *([self.setting] if isinstance(self.setting, Profile) else [])]

    def options(self) -> dict[str, Any]:
        """Return what changes the answers, the model apart, in plain values; of profiles a digest."""
        apart = ("model", "setting", "known")
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in apart}
        profiles = sorted((one.kind, one.name, _digest(one)) for one in self._profiles())
        auto = {"setting": AUTO} if self.setting == AUTO else {}
        return {**found, **({"profiles": [list(one) for one in profiles]} if profiles else {}), **auto}


def _digest(profile: Profile) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(profile), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Task:
    """What is done with each recording.

    Attributes
    ----------
    recipe : Recipe
        How the recogniser is made.
    output : Output
        What is written.
    channels : str
        ``"mix"``, ``"each"`` or the number of a channel.
    cut : TimelineOptions
        How timelines are cut.
    features : str
        Feature set of ``features``.
    window : float
        Seconds of a row of features.
    extensions : tuple of str
        Modules to import first in each process: they make feature sets known.
    """

    recipe: Recipe = field(default_factory=Recognition)
    output: Output = Output.PREDICTIONS
    channels: str = "mix"
    cut: TimelineOptions = field(default_factory=TimelineOptions)
    features: str = "prosodic"
    window: float = WINDOW
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.channels not in ("mix", "each") and not (self.channels.isdecimal() and int(self.channels) > 0):
            raise InputError(
                f"--channels {self.channels}: expected mix, each or the number of a channel, 1 for the first"
            )

    def facts(self) -> Facts | None:
        """Look at the model, and refuse what it cannot do; None where the task has none."""
        self._extend()
        if self.output is Output.FEATURES:
            sets.spec(self.features)
            return None
        return self.recipe.facts()

    def columns(self, facts: Facts | None) -> dict[str, str]:
        """Return the columns of the rows with their types: string, bool, int, double, float, vector or json."""
        who = {"speaker": "string", "setting": "string", "channel": "int"}
        where = {"id": "string", "file": "string", "start": "double", "end": "double", "duration": "double"}
        if self.output is Output.FEATURES:
            return {
                **where,
                **who,
                "unread": "json",
                **dict.fromkeys(sets.feature_names(sets.spec(self.features)), "float"),
            }
        assert facts is not None
        if self.output is Output.EMBEDDINGS:
            return {**where, **who, "unread": "json", "embedding": "vector"}
        answer = {"label": "string", "confidence": "double", "abstained": "bool", "model": "string"}
        numbers = [f"p_{label}" for label in facts.card.labels] + [f"d_{name}" for name in facts.card.dimensions]
        said = {"transcript": "string", "words": "json", "linguistic": "json", "fusion": "json", "why": "json"}
        notes = {"unread": "json", "notes": "json"} | ({"overlap": "double"} if self.overlaps else {})
        spoken = said if self.recipe.spoken else {}
        return {**where, **answer, **who, **dict.fromkeys(numbers, "double"), **spoken, **notes}

    @property
    def overlaps(self) -> bool:
        """Whether rows tell for how many seconds two speak at once: where speakers are told apart."""
        return self.output is Output.TIMELINE and self.cut.speakers is not None

    def options(self) -> dict[str, Any]:
        """Return what changes the result, in plain values."""
        found: dict[str, Any] = {"channels": self.channels}
        if self.output is Output.FEATURES:
            return {
                **found,
                "set": self.features,
                "window": self.window,
                "spec": dataclasses.asdict(sets.spec(self.features)),
            }
        found |= self.recipe.options()
        if self.output is Output.TIMELINE:
            found["timeline"] = dataclasses.asdict(dataclasses.replace(self.cut, enrolled=()))
            found["timeline"]["enrolled"] = [[one.name, _digest(one)] for one in self.cut.enrolled]  # no voice prints
        return found

    def __call__(self) -> Work[Entry, Outcome]:
        """Make what a worker does with an entry."""
        self._extend()
        if self.output is Output.FEATURES:
            return partial(_judge, self, _features(self))
        if self.output is Output.EMBEDDINGS:
            return partial(_judge, self, _embedding(self))
        make = _timeline if self.output is Output.TIMELINE else _prediction
        return partial(_judge, self, make(self, _of_entries(self.recipe)))

    def _extend(self) -> None:
        for name in self.extensions:
            import_module(name)


def _judge(task: Task, found: _Judge, entry: Entry, alive: Callable[[], None]) -> Outcome:
    """Do with an entry what the task says."""
    rows: list[Values] = []
    failures: list[Failed] = []
    seconds = 0.0

    def heard(_: float) -> None:
        alive()

    try:
        with readable(entry) as source:
            for channel in _channels(task, entry, source):
                try:
                    length, more = found(_Piece.of(source, entry, channel), heard)
                except EmovoxError as error:
                    failures.append(Failed(error.code, str(error), channel))
                else:
                    rows += more
                    seconds = max(seconds, length)
    except EmovoxError as error:
        failures.append(Failed(error.code, str(error)))
    return Outcome(tuple(rows), tuple(failures), seconds)


@dataclass(frozen=True)
class _Piece:
    """What is judged by itself: a recording, or a stretch or a channel of one.

    Attributes
    ----------
    sound : str, path, binary file, Samples or Channel
        What is heard.
    entry : Entry
        Whose piece it is.
    channel : int or None
        Which channel; None for all of them, mixed.
    unread : tuple of Unread
        What could not be read of a stretch, which is read before it is judged.
    """

    sound: Sound
    entry: Entry
    channel: int | None
    unread: tuple[Unread, ...] = ()

    @classmethod
    def of(cls, source: Any, entry: Entry, channel: int | None) -> _Piece:
        """Take the stretch and the channel of a recording."""
        sound: Any = source if channel is None else audio.Channel(source, channel)
        if not entry.start and entry.end is None:
            return cls(sound, entry, channel)
        part = audio.read(sound, start=entry.start, end=entry.end)
        return cls(audio.Samples(part.samples, RATE, entry.file), entry, channel, part.unread)

    def lost(self, unread: Iterable[Unread]) -> list[dict[str, Any]]:
        """Return in plain values what could not be read, of the stretch or later."""
        return [dataclasses.asdict(one) for one in (*self.unread, *unread)]


#: Rows of one piece, and how long it is.
_Judge: TypeAlias = Callable[[_Piece, Callable[[float], None]], tuple[float, list[Values]]]


def _channels(task: Task, entry: Entry, source: Sound) -> list[int | None]:
    """Tell which channels are judged by themselves; None is all of them, mixed."""
    if entry.channel is not None:
        return [entry.channel]
    if task.channels == "each":
        count = audio.channels(source)
        return [None] if count == 1 else list(range(1, count + 1))
    return [None if task.channels == "mix" else int(task.channels)]


def _place(entry: Entry, start: float, end: float, duration: float) -> Values:
    """Give the first columns of a row; times count from the beginning of the recording."""
    return entry.id, entry.file, _time(entry.start + start), _time(entry.start + end), _time(duration)


def _time(seconds: float) -> float:
    """Round to a microsecond: the sum of a start and a time in a stretch has no more digits than that means."""
    return round(seconds, 6)


def _answer(task: Task, one: Prediction, piece: _Piece, duration: float) -> Values:
    """Make a row of a prediction."""
    plain, entry = one.to_dict(), piece.entry
    setting = entry.setting or (one.setting.name if one.setting else None)
    who = (one.speaker or entry.speaker, setting, piece.channel)
    numbers = [*one.probabilities.values(), *(one.dimensions or {}).values()]
    said = (
        [plain[name] for name in ("transcript", "words", "linguistic", "fusion", "why")] if task.recipe.spoken else []
    )
    answer = (one.label, one.confidence, one.abstained, one.model)
    return (
        *_place(entry, one.start, one.end, duration),
        *answer,
        *who,
        *numbers,
        *said,
        piece.lost(one.unread),
        plain["notes"],
        *([float((one.columns or {}).get("overlap", 0.0))] if task.overlaps else []),
    )


def _of_entries(recipe: Recipe) -> Callable[[Entry], EmotionRecognizer]:
    """Return what gives the recogniser for a recording."""
    if isinstance(recipe, Recognition):
        return recipe.of_entries()
    recognizer = recipe()
    return lambda entry: recognizer


def _prediction(task: Task, recognizers: Callable[[Entry], EmotionRecognizer]) -> _Judge:
    def judge(piece: _Piece, heard: Callable[[float], None]) -> tuple[float, list[Values]]:
        entry = piece.entry
        one = recognizers(entry).predict(piece.sound, name=entry.file, progress=heard)
        return one.end, [_answer(task, one, piece, one.end)]

    return judge


def _timeline(task: Task, recognizers: Callable[[Entry], EmotionRecognizer]) -> _Judge:
    def judge(piece: _Piece, heard: Callable[[float], None]) -> tuple[float, list[Values]]:
        entry = piece.entry
        found = recognizers(entry).timeline(piece.sound, task.cut, name=entry.file, progress=heard)
        if not found.predictions:
            raise NoSpeechError(f"{entry.file} holds no speech that can be judged in {found.duration:.1f} s")
        return found.duration, [_answer(task, one, piece, found.duration) for one in found.predictions]

    return judge


def _embedding(task: Task) -> _Judge:
    extractor = FeatureExtractor(task.recipe.model or DEFAULT)

    def judge(piece: _Piece, heard: Callable[[float], None]) -> tuple[float, list[Values]]:
        found: list[Float32Array] = []
        lengths: list[float] = []
        unread: list[Unread] = []
        end, entry = 0.0, piece.entry
        for stretch, vector in extractor.stretches(piece.sound, lambda blocks: unread.extend(blocks.unread)):
            found.append(vector)
            lengths.append(stretch.duration)
            end = stretch.end
            heard(end)
        mean = np.average(found, axis=0, weights=lengths).astype(np.float32).tolist()
        who = entry.speaker, entry.setting, piece.channel
        return end, [(*_place(entry, 0.0, end, end), *who, piece.lost(unread), mean)]

    return judge


def _features(task: Task) -> _Judge:
    extractor = FeatureExtractor(task.features, window=task.window)

    def judge(piece: _Piece, heard: Callable[[float], None]) -> tuple[float, list[Values]]:
        rows: list[tuple[float, float, list[float]]] = []
        unread: list[Unread] = []
        end, entry = 0.0, piece.entry
        for stretch, found in extractor.stretches(piece.sound, lambda blocks: unread.extend(blocks.unread)):
            values = np.atleast_2d(found).tolist()
            rows += [(*span, one) for span, one in zip(extractor.spans(stretch, found), values, strict=True)]
            end = stretch.end
            heard(end)
        who = entry.speaker, entry.setting, piece.channel, piece.lost(unread)
        return end, [(*_place(entry, start, stop, end), *who, *one) for start, stop, one in rows]

    return judge


class PartFormat(StrEnum):
    """How parts are written."""

    PARQUET = "parquet"
    JSONL = "jsonl"


def default_format() -> PartFormat:
    """Return Parquet where the [parquet] extra is installed, else JSON lines."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return PartFormat.JSONL
    return PartFormat.PARQUET


def encode(rows: Iterable[Values], columns: Mapping[str, str], form: PartFormat) -> bytes:
    r"""Write rows.

    Parameters
    ----------
    rows : iterable of tuple
        Values in the order of the columns; None where there is none.
    columns : mapping of str to str
        Names and types: string, bool, int, double, float (32 bits), vector (of those) or json (any plain value, which
        Parquet holds as text).
    form : PartFormat

    Returns
    -------
    bytes

    Raises
    ------
    MissingExtraError
        Parquet needs the [parquet] extra.

    Examples
    --------
    >>> encode([("a", 0.5), ("b", None)], {"id": "string", "p_sad": "double"}, PartFormat.JSONL)
    b'{"id": "a", "p_sad": 0.5}\n{"id": "b", "p_sad": null}\n'
    """
    if form is PartFormat.PARQUET:
        return _to_parquet(list(rows), columns)
    floats = [_PLAIN.get(kind, _same) for kind in columns.values()]
    lines = (
        json_line(dict(zip(columns, (plain(value) for plain, value in zip(floats, row, strict=True)), strict=True)))
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def decode(
    content: bytes, columns: Mapping[str, str], form: PartFormat, wanted: Sequence[str] = ()
) -> Iterator[Values]:
    """Read rows.

    Parameters
    ----------
    content : bytes
        What :func:`encode` gave.
    columns : mapping of str to str
        As for :func:`encode`.
    form : PartFormat
    wanted : sequence of str, optional
        Names of the columns to read, in this order; the default is all.

    Yields
    ------
    tuple

    Raises
    ------
    InputError
        The content is damaged.

    Examples
    --------
    >>> columns = {"id": "string", "p_sad": "double"}
    >>> list(decode(encode([("a", 0.5)], columns, PartFormat.JSONL), columns, PartFormat.JSONL, ["p_sad"]))
    [(0.5,)]
    """
    names = list(wanted) or list(columns)
    if form is PartFormat.PARQUET:
        yield from _from_parquet(content, columns, names)
        return
    for line in content.decode().splitlines():
        try:
            found = json.loads(line)
            yield tuple(found[name] for name in names)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"a part is damaged ({error!r}): remove it, and run the same command again") from error


def _same(value: Any) -> Any:
    return value


def _short(value: float | None) -> float | None:
    """Write a number of 32 bits with no more digits than it has."""
    return None if value is None else float(f"{value:.9g}")


def _vector(values: list[float] | None) -> list[float | None] | None:
    return None if values is None else [_short(value) for value in values]


_PLAIN: dict[str, Any] = {"float": _short, "vector": _vector}


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet", "parquet") from error
    return pyarrow


def _types(arrow: Any) -> dict[str, Any]:
    return {
        "string": arrow.string(),
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "double": arrow.float64(),
        "float": arrow.float32(),
        "vector": arrow.list_(arrow.float32()),
        "json": arrow.string(),
    }


def _to_parquet(rows: list[Values], columns: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with parquet_writer(file, columns) as write:
        write(rows)
    return file.getvalue()


@contextmanager
def parquet_writer(file: Any, columns: Mapping[str, str]) -> Iterator[Callable[[list[Values]], int]]:
    """Write a Parquet file group by group.

    Parameters
    ----------
    file : path or binary file
    columns : mapping of str to str
        As for :func:`encode`.

    Yields
    ------
    callable
        Takes rows, writes them, and returns how many they are.
    """
    arrow = _arrow()
    types = _types(arrow)
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])

    def write(rows: list[Values]) -> int:
        arrays = [
            arrow.array([_stored(row[at], kind) for row in rows], types[kind])
            for at, kind in enumerate(columns.values())
        ]
        writer.write_table(arrow.table(arrays, schema=schema))
        return len(rows)

    with arrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write


def _stored(value: Any, kind: str) -> Any:
    if value is None or kind not in ("json", "string"):
        return value
    return json_line(value) if kind == "json" else readable_text(value)


def _from_parquet(content: bytes, columns: Mapping[str, str], names: Sequence[str]) -> Iterator[Values]:
    arrow = _arrow()
    try:
        table = arrow.parquet.read_table(io.BytesIO(content), columns=list(names))
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"a part is damaged ({error}): remove it, and run the same command again") from error
    lists = []
    for name in names:
        values = table.column(name).to_pylist()
        if columns[name] == "json":
            values = [None if value is None else json.loads(value) for value in values]
        lists.append(values)
    yield from zip(*lists, strict=True)
