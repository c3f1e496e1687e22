"""Recordings analysed by a voice, one or many: answers, timelines, and what the words add.

A recording is computed in one thread, so that many recordings share the cores without fighting for them.  Threads are
enough: what takes time (decoding, resampling, networks) runs outside the interpreter's lock, and they share one model.
"""

from __future__ import annotations

import glob
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from emovox import audio, drawing
from emovox.audio import Channel, Samples, Sound
from emovox.audio.reading import seekable, source_name
from emovox.errors import AudioError, EmovoxError, InputError
from emovox.model.profiles import Statistics
from emovox.recognition.streaming import StreamEvent, StreamingRecognizer
from emovox.recognition.timeline import Timeline, TimelineOptions, tidied
from emovox.recognition.voice import Adapting, Heard, Judge, Memory, Recording, Voice, fused
from emovox.speech.vad import segments
from emovox.types import Failure, Float32Array, Prediction, Segment, Transcript, Waveform, frame, to_frame

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pandas import DataFrame

    from emovox.text.fusion import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import Heard as HeardWords
    from emovox.text.words import TextClassifier

#: Endings that are looked for in folders (some need the [formats] extra); a file named outright may be called anything.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist"),
        *(".flac", ".fla", ".ogg", ".oga", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".mpa"),
        *(".m4a", ".m4b", ".m4r", ".m4v", ".mp4", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".aac", ".adts"),
        *(".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv", ".asf", ".amr", ".awb", ".avi", ".flv", ".f4v", ".f4a"),
        *(
            ".wv",
            ".tta",
            ".ape",
            ".ac3",
            ".eac3",
            ".ec3",
            ".dts",
            ".voc",
            ".mpg",
            ".mpeg",
            ".vob",
            ".ts",
            ".mts",
            ".m2t",
            ".m2ts",
        ),
    )
)

#: Recordings, or what they are found in: a folder, a pattern, one or many of them.
Sources: TypeAlias = Sound | NDArray[Any] | Iterable[Sound | NDArray[Any]]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: For each thread, recordings that are at work or wait for it, and small results that may wait for an earlier one:
#: that bounds the memory.  While a recording of an hour is heard, the other threads go on.
_BEGUN, _AHEAD = 2, 16


#: A speech recogniser has threads of its own, and need not be safe to share.
_WORDS = threading.Lock()


def walk(root: Path, closed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """Yield the files in a folder and below; links are followed, and what they lead to is given once, loops or not.

    Parameters
    ----------
    root : Path
        The folder.  Folders with a hidden name below it are left out.
    closed : callable
        Called with a folder that cannot be read, and why.

    Examples
    --------
    >>> sorted(path.name for path in walk(Path("examples"), print) if path.suffix.lower() in AUDIO_SUFFIXES)[0]
    'lively.wav'
    """
    seen: set[Path] = set()

    def refuse(error: OSError) -> None:
        closed(Path(os.fsdecode(error.filename or root)), error)

    for folder, children, files in os.walk(root, onerror=refuse, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(child for child in children if not child.startswith("."))
        yield from (Path(folder, file) for file in sorted(files))


def recordings_in(root: Path) -> list[Path]:
    """Return the recordings in a folder and below, by their endings, sorted; then the folders that cannot be read.

    Those stay in the list so that they are reported as what cannot be read.

    Examples
    --------
    >>> recordings_in(Path("examples"))[0].name
    'lively.wav'
    """
    closed: list[Path] = []
    files = walk(root, lambda folder, _: closed.append(folder))
    inside = sorted(file for file in files if file.suffix.lower() in AUDIO_SUFFIXES)
    return [file for file in (*inside, *closed) if not file.name.startswith("._")]


def recordings(arguments: Sequence[str], tell: Callable[[str], None] = lambda _: None) -> list[str]:
    """Turn files, folders, patterns and ``-`` into a list of recordings.

    What two folders or patterns lead to, by links or because one holds the other, is there once, under the first of its
    names; who names a file twice gets it twice.

    Parameters
    ----------
    arguments : sequence of str
        A folder stands for the audio files in it and below, a pattern such as ``calls/*.wav`` for what it matches.
        What does not exist stays in the list, so that its error is reported beside the others' results; so does a
        folder or pattern that holds no audio file.
    tell : callable, optional
        Called with how many recordings several arguments lead to, if there are any.

    Returns
    -------
    list of str

    Raises
    ------
    AudioError
        There is nothing but folders and patterns that hold no audio file.

    Examples
    --------
    >>> recordings(["missing.wav", "-"])
    ['missing.wav', '-']
    """
    found: list[list[str]] = []
    empty: list[str] = []
    for argument in arguments:
        # Not by pathlib, which raises where a folder may not be entered: it is reported with the recording.
        if argument != "-" and os.path.isdir(argument):  # noqa: PTH112
            inside = recordings_in(Path(argument))
            if not inside:
                empty.append(f"no audio file in the folder {argument}: name the files, or another folder")
            found.append([str(one) for one in inside] or [argument])
        elif argument != "-" and glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - pathlib has no absolute patterns
            if not matches:
                empty.append(f"nothing matches {argument}: check the pattern")
            found.append(recordings(matches) if matches else [argument])
        else:
            found.append([argument])
    if empty and len(empty) == sum(map(len, found)):
        raise AudioError(empty[0])
    listed = _once(arguments, found) if len(found) > 1 else found[0] if found else []
    if again := sum(map(len, found)) - len(listed):
        what = "1 recording is" if again == 1 else f"{again} recordings are"
        tell(f"{what} in several of the inputs: taken once")
    return listed


def _once(arguments: Sequence[str], inputs: Sequence[Sequence[str]]) -> list[str]:
    """Put lists of recordings together, without what folders and patterns lead to a second time."""
    led: set[str] = set()
    named: set[str] = set()
    found: list[str] = []
    for argument, names in zip(arguments, inputs, strict=True):
        real = [name if name == "-" else os.path.realpath(name) for name in names]
        outright = list(names) == [argument]
        found += [name for name, one in zip(names, real, strict=True) if one not in (led if outright else led | named)]
        (named if outright else led).update(real)
    return found


class StoppedError(Exception):
    """Nobody wants the result any more: raised inside a thread to end its work, and never seen outside."""


def cores() -> int:
    """Return how many processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def checked_jobs(jobs: int | None) -> int:
    """Return the number of threads: that which is asked for, or one a core.

    Raises
    ------
    InputError
        It is less than 1.

    Examples
    --------
    >>> checked_jobs(3)
    3
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}: expected 1 or more, or none for one a processor core")
    return jobs or cores()


def in_order(work: Callable[[Item, Callable[[], None]], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """Do the same with each item in several threads, and yield the results in the order of the items.

    Parameters
    ----------
    work : callable
        Called with an item, and with a function that it calls from time to time: it raises :class:`StoppedError` once
        nobody wants the results any more.
    items : iterable
        Taken in the calling thread: two a thread are at work or wait for it, and 16 results a thread may wait for an
        earlier one.
    jobs : int
        Number of threads; with one the work is done in the calling thread.

    Yields
    ------
    Result
        Whatever `work` raises is raised here.  When the caller stops (an interruption, or no further results are asked
        for), what has begun is stopped and what has not never begins.

    Examples
    --------
    >>> list(in_order(lambda item, check: item**2, range(5), jobs=2))
    [0, 1, 4, 9, 16]
    """
    if jobs == 1:
        yield from (work(item, lambda: None) for item in items)
        return
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that one recording need not pay

    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise StoppedError

    free = threading.Semaphore(_BEGUN * jobs)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="emovox") as pool:
        try:
            for item in items:
                free.acquire()
                waiting.append(pool.submit(work, item, check))
                waiting[-1].add_done_callback(lambda _: free.release())
                while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * jobs):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            for one in waiting:
                one.cancel()


class Results(Iterator["Result | Failure"], Generic[Result]):
    """Results of many recordings, one after another as they come: an iterator with a table at its end.

    Examples
    --------
    >>> from emovox import EmotionRecognizer
    >>> results = EmotionRecognizer().predict_many("examples")
    >>> next(results).file
    'examples/lively.wav'
    >>> results.to_frame()["file"].tolist()[0]  # of those that are left
    'examples/loud.wav'
    """

    def __init__(self, coming: Iterator[Result | Failure]) -> None:
        self._coming = coming

    def __next__(self) -> Result | Failure:
        return next(self._coming)

    def close(self) -> None:
        """Stop what has begun: nobody wants the rest."""
        if isinstance(self._coming, Generator):
            self._coming.close()

    def to_frame(self) -> DataFrame:
        """Wait for all results that are left, and return them as a table of pandas, see :func:`emovox.to_frame`.

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        frame([])  # nobody waits for an hour to be told that something is missing
        return to_frame(self)

    def _repr_html_(self) -> str:
        """Say in a notebook what to do with it."""
        return drawing.framed("results to come: go through them, or call to_frame()")


def each_source(sources: Sources) -> Iterator[Sound | NDArray[Any]]:
    """Give the recordings one by one: a folder stands for those in it and below, a pattern for what it matches.

    Parameters
    ----------
    sources : str, path, bytes, binary file, array, pair of array and rate, or iterable of them
        An iterable is taken as it is needed.  A folder or pattern without any recording is given itself, so that it is
        reported.

    Examples
    --------
    >>> list(each_source("missing.wav")), len(list(each_source(["examples", "examples/pl*.wav"])))
    (['missing.wav'], 5)
    """
    if isinstance(sources, str | os.PathLike):
        # Not by pathlib, which raises where a folder may not be entered: it is reported with the recording.
        if os.path.isdir(sources):  # noqa: PTH112
            yield from recordings_in(Path(sources)) or [Path(sources)]
        elif isinstance(sources, str) and glob.has_magic(sources) and not os.path.exists(sources):  # noqa: PTH110
            found = sorted(glob.glob(sources, recursive=True))  # noqa: PTH207 - pathlib has no absolute patterns
            yield from each_source(found) if found else [sources]
        else:
            yield sources
    elif _is_one(sources):
        yield cast("Sound | NDArray[Any]", sources)
    else:
        for one in cast("Iterable[Sound | NDArray[Any]]", sources):
            yield from each_source(one)


def _is_one(sources: Sources) -> bool:
    """Tell a single recording from several; a column of names in a table is an array as well."""
    if isinstance(sources, tuple):  # a pair of samples and rate, or a few recordings
        return isinstance(sources, Samples) or (
            len(sources) > 1 and hasattr(sources[0], "__array__") and np.isscalar(sources[1])
        )
    if hasattr(sources, "__array__"):
        return np.asarray(sources).dtype.kind not in "OUST"
    return isinstance(sources, bytes | Channel) or hasattr(sources, "read") or not isinstance(sources, Iterable)


def analysed(
    analyse: Callable[..., Result],
    sources: Sources,
    jobs: int | None,
    progress: Callable[[int, float], None] | None,
    rate: float | None,
    **each: Iterable[Any] | None,
) -> Results[Result]:
    """Analyse many recordings in threads; see :meth:`emovox.EmotionRecognizer.predict_many`.

    `each` holds further arguments of `analyse` by name, one for each recording; those without any are None.
    """
    given = {name: iter(values) for name, values in each.items() if values is not None}

    def items() -> Iterator[tuple[int, Sound | NDArray[Any], dict[str, Any]]]:
        for index, source in enumerate(each_source(sources)):
            try:
                yield index, source, {name: next(values) for name, values in given.items()}
            except StopIteration:  # of what is given for each there is no more
                return

    def one(item: tuple[int, Sound | NDArray[Any], dict[str, Any]], check: Callable[[], None]) -> Result | Failure:
        index, source, arguments = item

        def heard(seconds: float) -> None:
            check()
            if progress:
                progress(index, seconds)

        try:
            own = rate if hasattr(source, "__array__") else None
            return analyse(source, rate=own, progress=heard if progress or several else None, **arguments)
        except EmovoxError as error:
            return Failure(arguments.get("name") or _called(source), str(error), type(error).__name__)

    several = checked_jobs(jobs) > 1
    return Results(in_order(one, items(), checked_jobs(jobs)))


def _called(source: Sound | NDArray[Any]) -> str:
    """Tell what to call a source that may not be one."""
    if isinstance(source, tuple) or hasattr(source, "__array__"):
        return getattr(source, "name", "<array>")
    return source_name(source)


def one_at_a_time(transcriber: Transcriber | None) -> Transcriber | None:
    """Let several threads share a speech recogniser."""
    return transcriber and _Shared(transcriber)


@dataclass(frozen=True)
class _Shared:
    """A speech recogniser that is asked by one thread at a time."""

    transcriber: Transcriber

    @property
    def name(self) -> str:
        with _WORDS:
            return self.transcriber.name

    def transcribe(self, waveform: Waveform) -> Transcript:
        with _WORDS:
            return self.transcriber.transcribe(waveform)


#: Seconds of a long recording that are read at a time.
BLOCK = 10.0

#: Called with the seconds analysed so far.
Progress = Callable[[float], None]


def turns_of(sound: Sound, options: TimelineOptions) -> list[Segment]:
    """Find who speaks when in a recording; a channel that is judged by itself is one speaker's, without clustering.

    Raises
    ------
    InputError
        The recording can be read only once.
    """
    if isinstance(sound, audio.Channel) and options.speakers == "auto":
        name = f"speaker {sound.number}"
        return [Segment(one.start, one.end, name) for one in segments(audio.blocks(sound, BLOCK), options.vad)]
    source: Any = sound
    if hasattr(source, "read") and not seekable(source):
        raise InputError(
            f"speakers are told apart by reading a recording twice, and {source_name(source)} can be read only once: "
            "give a file or bytes"
        )
    from emovox.speech import diarization

    count = None if options.speakers == "auto" else options.speakers
    how = diarization.DiarizationOptions(count=count, vad=options.vad)
    return diarization.diarize(audio.blocks(sound, BLOCK), how, diarization.prints_of(options.enrolled))


def first_pass(
    voice: Voice,
    sound: Sound,
    options: TimelineOptions,
    turns: Sequence[Segment] | None,
    progress: Progress | None,
) -> tuple[Judge, Progress | None]:
    """Hear what each speaker says in a recording; return who judges in the second pass, and whom to tell of it."""
    if not turns or not voice.may_learn:
        return voice, progress
    heard: dict[str, Adapting] = {}
    stream = StreamingRecognizer(Speakers(voice, lambda name: heard.setdefault(name, Adapting(voice))), options)
    half = progress and (lambda seconds: progress(seconds / 2))
    length = stream.timeline(audio.blocks(sound, BLOCK), source_name(sound), half, segments=turns).duration
    rest = progress and (lambda seconds: progress((length + seconds) / 2))
    own = {name: voice.within(one.memory.heard) for name, one in heard.items()}
    return Speakers(voice, lambda name: own.get(name, voice)), rest


@dataclass(frozen=True)
class Named:
    """Judges what one speaker says.

    Attributes
    ----------
    judge : Judge
        Who judges.
    speaker : str
        Who speaks, which every answer says.
    """

    judge: Judge
    speaker: str

    @property
    def threshold(self) -> float:
        """That of the judge."""
        return self.judge.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window."""
        found = self.judge.assess(window, name, running=running)
        return found and replace(found, speaker=self.speaker)


class Speakers:
    """The judge of a recording or stream of several speakers, each of whom has a judge of their own.

    Parameters
    ----------
    others : Judge
        Who judges what nobody is known to say.
    make : callable
        Makes the judge of one more speaker, whose name it is given.
    """

    def __init__(self, others: Judge, make: Callable[[str], Judge]) -> None:
        self._others, self._make = others, make
        self._known: dict[str, Named] = {}

    @property
    def threshold(self) -> float:
        """Confidence under which an answer is an abstention, where nothing is known."""
        return self._others.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge what nobody is known to say."""
        return self._others.assess(window, name, running=running)

    def for_speaker(self, speaker: str | None) -> Judge:
        """Return who judges a speaker."""
        if speaker is None:
            return self._others
        if speaker not in self._known:
            self._known[speaker] = Named(self._make(speaker), speaker)
        return self._known[speaker]


@dataclass(frozen=True)
class Analysis:
    """How recordings are analysed, whoever judges.

    Attributes
    ----------
    whole : TimelineOptions
        How a recording is cut that gets one answer.
    transcriber : Transcriber or None
        Who recognises the words.
    text_model : TextClassifier or None
        Who judges the emotion of the words.
    fuse : bool
        Whether words take part in the answer.
    rules : sequence of Rule
        Decision rules over voice and words.
    """

    whole: TimelineOptions
    transcriber: Transcriber | None
    text_model: TextClassifier | None
    fuse: bool
    rules: Sequence[Rule]

    def predict(
        self,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Recognise one recording, see :meth:`emovox.EmotionRecognizer.predict`."""
        judge = Recording(voice, keep=bool(self.transcriber or transcript) and self._takes_both(voice))
        sound = audio.as_sound(source, rate, name)
        found, heard = self._run(judge, sound, self.whole, name, transcript, progress, self.text_model)
        whole = judge.whole(found)
        return whole if heard is None else self.with_words(voice, whole, heard, *judge.seen(found))

    def timeline(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        segments: Sequence[Segment | tuple[float, float]] | None = None,
        progress: Progress | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
    ) -> Timeline:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.timeline`."""
        if transcript:
            from emovox.text.words import require_times

            require_times(transcript)
        given = None if segments is None else [one if isinstance(one, Segment) else Segment(*one) for one in segments]
        untidied = replace(options, merge=None, min_segment=0.0)  # what is given stays, what is said is tidied with it
        options = options if given is None else untidied
        cut = untidied if self.transcriber or transcript else options
        sound = audio.as_sound(source, rate, name)
        judge: Judge = voice
        if options.speakers is not None:
            given = (turns_of(sound, options) or None) if given is None else given
            judge, progress = first_pass(voice, sound, cut, given, progress)
        found, heard = self._run(judge, sound, cut, name, transcript, progress, tell=tell, segments=given)
        if heard is None:
            return found
        parts = [(one, heard.within(one.start, one.end, self.text_model)) for one in found.predictions]
        return replace(found, predictions=tidied([self.with_words(voice, *part) for part in parts], options))

    def each(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.each_segment`."""
        if self.transcriber or options.speakers is not None:
            yield from self.timeline(options, voice, source, rate=rate, name=name, progress=progress)
            return
        sound = audio.as_sound(source, rate, name)
        blocks = audio.blocks(sound, BLOCK)
        found = StreamingRecognizer(voice, options).each(blocks, name or blocks.name, progress)
        last: Prediction | None = None  # one behind: the last one knows all that reading has brought up
        try:
            for coming in found:
                if last is not None:
                    yield _noted(last, sound, blocks)
                last = coming
        except (EmovoxError, KeyboardInterrupt):
            if last is not None:
                yield _noted(last, sound, blocks)
            raise
        if last is not None:
            yield _noted(last, sound, blocks)

    def assess(self, voice: Voice, judge: Judge, window: Waveform, name: str, *, running: bool) -> Prediction | None:
        """Judge one window of a recording or stream, see :meth:`emovox.EmotionRecognizer.assess`."""
        found = judge.assess(window, name, running=running)
        if found is None or running or self.transcriber is None:
            return found
        from emovox.text.words import Hearing

        hearing = Hearing(self.transcriber, classifier=self.text_model)
        for _ in hearing.tap([window]):
            pass
        return self.with_words(voice, found, hearing.result(window.duration), [window], [window.duration])

    def learner(self, voice: Voice) -> StreamJudge:
        """Return the judge of one stream, or of one speaker in it, that is its own setting."""
        return StreamJudge(voice, self)

    def with_words(
        self,
        voice: Voice,
        alone: Prediction,
        heard: HeardWords,
        seen: Sequence[Waveform] | None = None,
        weights: Sequence[float] = (),
    ) -> Prediction:
        """Put what was heard beside an answer of the voice or, where it may, into it; `seen` is the sound, if kept."""
        from emovox.text import fusion

        found = heard.beside(alone)
        if self.fuse:
            found = fused(found, heard, voice.model.card, voice.threshold, voice.output, seen, weights)
        return fusion.ruled(found, self.rules, heard, voice.threshold)

    def _run(
        self,
        judge: Judge,
        sound: Sound,
        options: TimelineOptions,
        name: str | None,
        transcript: Transcript | None,
        progress: Progress | None,
        classifier: TextClassifier | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> tuple[Timeline, HeardWords | None]:
        """Run a recording through a stream, and a listener of words beside it where words are asked for."""
        blocks, hearing = audio.blocks(sound, BLOCK), None
        if self.transcriber or transcript:
            from emovox.text.words import Hearing

            hearing = Hearing(one_at_a_time(self.transcriber), transcript, classifier)
        streams = StreamingRecognizer(judge, options)
        listen = hearing.hear if hearing else None
        found = streams.timeline(blocks, name or blocks.name, progress, listen, tell, segments)
        found = replace(found, predictions=tuple(_noted(one, sound, blocks) for one in found.predictions))
        return found, hearing.result(found.duration) if hearing else None

    def _takes_both(self, voice: Voice) -> bool:
        """Say whether the model must see words and sound at once."""
        from emovox.text import fusion

        return self.fuse and fusion.pool_of(voice.model.card) is None


class StreamJudge:
    """The judge of one stream that is its own setting."""

    def __init__(self, voice: Voice, analysis: Analysis) -> None:
        self._judge, self._analysis = Adapting(voice), analysis

    @property
    def threshold(self) -> float:
        """Confidence under which the last answer would have been an abstention."""
        return self._judge.threshold

    @property
    def memory(self) -> Memory:
        """What it has heard so far; another judge that is given it goes on from there."""
        return self._judge.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._judge.memory = memory

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window by what was heard before it."""
        return self._analysis.assess(self._judge.learn(), self._judge, window, name, running=running)


def _noted(prediction: Prediction, sound: Sound, blocks: audio.Blocks) -> Prediction:
    """Add what reading the recording has brought up: the channel, what could not be read, what was done to channels."""
    channel = sound.number if isinstance(sound, audio.Channel) else None
    return replace(prediction, unread=tuple(blocks.unread), notes=tuple(dict.fromkeys(blocks.notes)), channel=channel)


#: Called with the number of a recording, from 0, and the seconds of it analysed so far.
EachProgress: TypeAlias = Callable[[int, float], None]


def hear(
    voice: Voice,
    options: TimelineOptions,
    source: Sound | NDArray[Any],
    *,
    rate: float | None = None,
    progress: Callable[[float], None] | None = None,
    prints: bool = False,
) -> Heard | EmovoxError:
    """Hear one recording by the windows and the gate of judging; return the error where that cannot be done."""
    try:
        sound, judge = audio.as_sound(source, rate), Recording(voice, prints=prints)
        stream = StreamingRecognizer(judge, options)
        return judge.heard(stream.timeline(audio.blocks(sound, BLOCK), source_name(sound), progress))
    except EmovoxError as error:
        return error


def hear_many(
    voice: Voice,
    options: TimelineOptions,
    sources: Sources,
    jobs: int | None,
    progress: EachProgress | None = None,
    rate: float | None = None,
    *,
    prints: bool = False,
) -> Results[Heard | EmovoxError]:
    """Hear many recordings side by side, in their order; arguments as for `EmotionRecognizer.predict_many`."""
    return analysed(partial(hear, voice, options, prints=prints), sources, jobs, progress, rate)


def refuse(error: EmovoxError) -> None:
    """Raise the error of a recording that must not be left out."""
    raise error


def added(
    found: Results[Heard | EmovoxError],
    width: int,
    left_out: Callable[[EmovoxError], None] = lambda error: None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Add up what was heard of so many axes: number of recordings, seconds, statistics, voice print.

    `left_out` is called with each error, and may raise it; `done` when a recording is done.
    """
    clips, seconds, axes = 0, [0.0], [np.empty((0, width), np.float32)]
    prints: list[Float32Array] = []
    try:
        for one in found:
            done()
            if isinstance(one, Heard):
                clips, seconds, axes = clips + 1, [*seconds, one.seconds], [*axes, one.axes]
                prints += [] if one.print is None else [one.print]
            elif isinstance(one, EmovoxError):
                left_out(one)
    finally:
        found.close()
    in_all = {"clips": clips, "seconds": math.fsum(seconds), "heard": Statistics.of(np.concatenate(axes))}
    return in_all | (_print(prints) if prints else {})


def _print(prints: list[Float32Array]) -> dict[str, Any]:
    """Make one voice print of those of recordings, which are as long as they count, and say who took it."""
    from emovox.speech import diarization

    total = np.sum(prints, axis=0)
    return {"voice": total / np.linalg.norm(total), "encoder": diarization.NAME}


class Tally:
    """How far the hearing of many recordings is: those that are done, and the seconds analysed in all."""

    def __init__(self, tell: Callable[[int, float], None] | None) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._seconds: dict[int, float] = {}
        self._done = 0

    def heard(self, index: int, seconds: float) -> None:
        """Take note of the seconds analysed of a recording; several threads call this."""
        with self._lock:
            self._seconds[index] = seconds
            self._report()

    def done(self) -> None:
        """Take note that one more recording is done."""
        with self._lock:
            self._done += 1
            self._report()

    def _report(self) -> None:
        if self._tell:
            self._tell(self._done, sum(self._seconds.values()))


def of_many(
    voice: Voice,
    options: TimelineOptions,
    sources: Sources,
    jobs: int | None,
    left_out: Callable[[EmovoxError], None],
    progress: Callable[[int, float], None] | None,
    *,
    prints: bool = False,
) -> dict[str, Any]:
    """Hear recordings and add up what was heard, see :func:`added`; `progress` is told of recordings and seconds."""
    tally = Tally(progress)
    found = hear_many(voice, options, sources, jobs, tally.heard, prints=prints)
    return added(found, voice.model.axes_width, left_out, tally.done)


class FirstPass:
    """The first of two passes through recordings that are their own setting: all of them are heard, none is judged.

    Parameters
    ----------
    voice : Voice
        Who judges where little is heard.
    options : TimelineOptions
        How recordings are cut to be heard.
    sources
        The recordings.
    jobs : int or None
        How many are heard at a time.
    rate : float, optional
        Sampling rate of arrays.
    progress : callable, optional
        Told of the first half of the way.

    Attributes
    ----------
    sources : list
        The recordings one by one, for the second pass.
    voice : Voice
        Who judges in the second pass.

    Raises
    ------
    InputError
        A recording can be read only once.
    """

    def __init__(
        self,
        voice: Voice,
        options: TimelineOptions,
        sources: Sources,
        jobs: int | None,
        rate: float | None = None,
        progress: EachProgress | None = None,
    ) -> None:
        self._progress = progress
        self._lengths: dict[int, float] = {}
        self.sources = [_readable_twice(one) for one in each_source(sources)]
        # What cannot be heard is reported when its turn comes to be judged.
        found = hear_many(voice, options, self.sources, jobs, self._first, rate)
        self.voice = voice.within(added(found, voice.model.axes_width)["heard"])

    def _first(self, index: int, seconds: float) -> None:
        self._lengths[index] = seconds
        if self._progress:
            self._progress(index, seconds / 2)

    def second(self, index: int, seconds: float) -> None:
        """Tell of the second half of the way."""
        if self._progress:
            self._progress(index, (self._lengths.get(index, seconds) + seconds) / 2)


def _readable_twice(source: Any) -> Any:
    """Refuse a stream that is gone when it has been heard."""
    if hasattr(source, "read") and not hasattr(source, "__array__") and not seekable(source):
        raise InputError(
            f"setting 'auto' reads a recording twice, and {source_name(source)} can be read only once: "
            "give a file or bytes, or name a setting"
        )
    return source
