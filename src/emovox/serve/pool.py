"""Work of the service in processes, and the pool of them.

Here foreign bytes are decoded.  A task is a frozen dataclass with a method ``run``; its result travels back.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from emovox import audio
from emovox.audio import Sound
from emovox.batch.plan import Cluster
from emovox.errors import EmovoxError, MissingExtraError, NoSpeechError, WorkerError, WorkerHungError, WorkerKilledError
from emovox.live.sources import ENCODINGS, Layout
from emovox.model.file import Model, load
from emovox.model.profiles import Profile, Subject
from emovox.recognition.analysis import Named, StoppedError, StreamJudge
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.streaming import StreamEvent
from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.recognition.voice import Memory, judge_of
from emovox.recognition.workers import Tell, Work
from emovox.recognition.workers import Workers as Processes
from emovox.serve.settings import Problem, place_of
from emovox.speech.vad import GateOptions
from emovox.types import Float32Array, Prediction, Waveform

if TYPE_CHECKING:
    from emovox.speech.diarization import Piece
    from emovox.text.transcribe import Transcriber


class _Bytes(io.BytesIO):
    """Bytes with the name that messages call them."""

    name = ""


@dataclass(frozen=True)
class Upload:
    """A recording that a client has sent: bytes, never a place where there might be one.

    Attributes
    ----------
    content : bytes or str
        The bytes, or the path of a temporary file of ours that holds them.
    name : str
        What the client calls it.
    layout : Layout or None
        Sample format of raw PCM; None where the bytes say themselves what they are.
    """

    content: bytes | str
    name: str
    layout: Layout | None = None

    @contextmanager
    def opened(self) -> Iterator[Sound]:
        """Open it."""
        file: IO[bytes]
        if isinstance(self.content, bytes):
            file = _Bytes(self.content)
            file.name = self.name
        else:
            raw = io.FileIO(self.content)
            raw.name = self.name
            file = io.BufferedReader(raw)
        with file:
            yield file if self.layout is None else _samples(file, self.layout, self.name)


def _samples(file: IO[bytes], layout: Layout, name: str) -> audio.Samples:
    """Take raw PCM; half a frame at the end is left out."""
    data = file.read()
    data = data[: len(data) // layout.frame_bytes * layout.frame_bytes]
    if layout.encoding == "s24le":
        return audio.Samples(layout.decoded(data), layout.rate, name)
    values = np.frombuffer(data, dtype=ENCODINGS[layout.encoding])
    return audio.Samples(values.reshape(-1, layout.channels), layout.rate, name)


@dataclass(frozen=True)
class Ask:
    """Who judges: the options of a recogniser that a client may choose.

    Attributes
    ----------
    model : str or None
        Name of a built-in model; None for the server's own.
    speaker : Profile or None
        Whose voice it is.
    setting : Profile, "auto" or None
        Where it was recorded; ``"auto"``: the recording or stream is its own setting.
    threshold : float or None
        Confidence that an answer needs.
    gate : bool
        Whether the speech gate is asked.
    text : bool
        Whether words are recognised.
    language : str or None
        What is spoken.
    """

    model: str | None = None
    speaker: Profile | None = None
    setting: Profile | str | None = None
    threshold: float | None = None
    gate: bool = True
    text: bool = False
    language: str | None = None


#: Makes a recogniser: :class:`emovox.EmotionRecognizer`, or a fake one.
Build = Callable[..., EmotionRecognizer]


class Bench:
    """What a worker process keeps from task to task: models that are read, recognisers that are made of them.

    Parameters
    ----------
    model : str, optional
        Model file, run folder or built-in name that judges by default.
    asr : str, optional
        Whisper model for words.
    build : callable, optional
        What makes a recogniser of a model; the default is :class:`emovox.EmotionRecognizer`.
    """

    def __init__(self, model: str | None = None, asr: str | None = None, build: Build = EmotionRecognizer) -> None:
        self._default, self._asr, self._build = model or None, asr or None, build
        self._models: dict[str | None, Model] = {}
        self._transcribers: dict[str | None, Transcriber] = {}
        self._made = lru_cache(maxsize=16)(self._make)

    def recognizer(self, ask: Ask) -> EmotionRecognizer:
        """Return the recogniser that a client asks for."""
        return self._made(ask)

    def transcriber(self, language: str | None) -> Transcriber:
        """Return the recogniser of words."""
        from emovox.text.transcribe import WhisperTranscriber

        if language not in self._transcribers:
            self._transcribers[language] = WhisperTranscriber(self._asr, language)
        return self._transcribers[language]

    def require_words(self, language: str | None) -> None:
        """Make sure that words can be recognised, before anybody waits for them.

        Raises
        ------
        Problem
            They cannot.
        """
        try:
            transcriber = self.transcriber(language)
            transcriber.transcribe(Waveform(np.zeros(1600, dtype=np.float32)))
        except MissingExtraError as error:
            raise Problem("words_unavailable", "this server recognises no words: it lacks the [text] extra") from error
        except EmovoxError as error:
            raise Problem("words_unavailable", "this server recognises no words, or not in that language") from error

    def warm(self) -> None:
        """Read the model and every network once, so that the first client does not wait for them."""
        recognizer = self.recognizer(Ask(gate=True))
        noise = np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32)
        recognizer.assess(Waveform(noise), "warm-up")
        recognizer.timeline(noise, rate=16000)

    def _make(self, ask: Ask) -> EmotionRecognizer:
        return self._build(
            self._model(ask.model),
            speaker=ask.speaker,
            setting=ask.setting,
            threshold=ask.threshold,
            gate=None if ask.gate else GateOptions(threshold=0),
            transcriber=self.transcriber(ask.language) if ask.text else None,
        )

    def _model(self, name: str | None) -> Model | None:
        if self._build is not EmotionRecognizer:
            return None
        if name not in self._models:
            self._models[name] = load(name or self._default)
        return self._models[name]


class Task(Protocol):
    """Something that a worker process does."""

    def run(self, bench: Bench, tell: Tell) -> Any:
        """Do it, and return what travels back."""
        ...


@dataclass(frozen=True)
class Recognise:
    """Judge one recording.

    Attributes
    ----------
    upload : Upload
        The recording.
    ask : Ask
        Who judges.
    cut : TimelineOptions or None
        How its timeline is cut; None for one answer.
    channels : str
        ``mix``, ``each`` or the number of one.
    longest : float
        Seconds of sound that are taken at most.
    """

    upload: Upload
    ask: Ask = field(default_factory=Ask)
    cut: TimelineOptions | None = None
    channels: str = "mix"
    longest: float = float("inf")

    def run(self, bench: Bench, tell: Tell) -> Timeline:
        """Return what is found: the same predictions, in the same order, as of ``emovox predict``."""
        if self.ask.text:
            bench.require_words(self.ask.language)
        recognizer = bench.recognizer(self.ask)
        found = [self._judged(recognizer, number, count, tell) for number, count in self._channels()]
        return Timeline(
            self.upload.name,
            max(one.duration for one in found),
            tuple(each for one in found for each in one.predictions),
        )

    def _channels(self) -> list[tuple[int | None, int]]:
        """Give the channels that are judged, None for all mixed, with how many they are."""
        if self.channels == "mix":
            return [(None, 1)]
        if self.channels != "each":
            return [(int(self.channels), 1)]
        with self.upload.opened() as sound:
            count = audio.channels(sound)
        return [(None, 1)] if count == 1 else [(number, count) for number in range(1, count + 1)]

    def _judged(self, recognizer: EmotionRecognizer, number: int | None, count: int, tell: Tell) -> Timeline:
        before = 0.0 if number is None or count == 1 else number - 1.0
        known = _length(self.upload)
        if known is not None:
            require_length(known, self.longest)

        def heard(seconds: float) -> None:
            require_length(seconds, self.longest)
            tell(seconds if count == 1 else ((known or seconds) * before + seconds) / count)

        def certain(event: StreamEvent) -> None:
            if event.kind == "result" and event.prediction is not None:
                tell(replace(event.prediction, channel=number))

        with self.upload.opened() as sound:
            part = sound if number is None else audio.Channel(sound, number)  # type: ignore[arg-type]
            if self.cut is None:
                one = recognizer.predict(part, name=self.upload.name, progress=heard)
                return Timeline(one.file, one.end, (one,))
            found = recognizer.timeline(part, self.cut, name=self.upload.name, progress=heard, tell=certain)
        if not found.predictions:
            raise NoSpeechError(f"{found.file} holds no speech that can be judged in {found.duration:.1f} s")
        return found


def _length(upload: Upload) -> float | None:
    """Tell how long a recording claims to be."""
    try:
        with upload.opened() as sound:
            return audio.duration(sound)
    except EmovoxError:  # reported when it is read
        return None


def require_length(seconds: float, longest: float) -> None:
    """Refuse a recording that is longer than a client may send."""
    if seconds > longest:
        raise Problem(
            "audio_too_long",
            f"the recording lasts {seconds:.0f} s or more, and {longest:g} s are taken: send a job, or parts",
        )


@dataclass(frozen=True)
class Judge:
    """Judge one window of a live stream.

    Attributes
    ----------
    window : Waveform
        The window.
    name : str
        What the stream is called.
    ask : Ask
        Who judges.
    running : bool
        Whether this is an estimate while somebody speaks.
    memory : Memory or None
        What the stream has told of its setting, where it is its own, or of the speaker: any process may judge the next
        window.
    who : str or None
        Which speaker of the stream speaks, where they are told apart.
    """

    window: Waveform
    name: str
    ask: Ask
    running: bool = False
    memory: Memory | None = None
    who: str | None = None

    def run(self, bench: Bench, tell: Tell) -> Judged:
        """Return the judgement, and what is remembered for the next one."""
        judge = judge_of(bench.recognizer(self.ask).for_stream(speakers=self.who is not None), self.who)
        learner = judge.judge if isinstance(judge, Named) else judge
        if isinstance(learner, StreamJudge) and self.memory is not None:
            learner.memory = self.memory
        found = judge.assess(self.window, self.name, running=self.running)
        return Judged(found, judge.threshold, learner.memory if isinstance(learner, StreamJudge) else None)


@dataclass(frozen=True)
class Judged:
    """What became of a window.

    Attributes
    ----------
    prediction : Prediction or None
        None where there is nothing to judge.
    threshold : float
        Confidence that the answer needed.
    memory : Memory or None
        For the next window.
    """

    prediction: Prediction | None
    threshold: float
    memory: Memory | None = None


@dataclass(frozen=True, eq=False)
class Voices:
    """Cut an utterance of a live stream where the speaker changes, and encode the voices.

    Attributes
    ----------
    samples : ndarray of float32, shape (n_samples,)
        What is around the utterances, at 16 kHz.
    offset : int
        Samples of the stream before them.
    utterances : sequence of pair of int
        Where the utterances begin and end in the stream, in samples.
    """

    samples: Float32Array
    offset: int
    utterances: Sequence[tuple[int, int]]

    def run(self, bench: Bench, tell: Tell) -> list[Piece]:
        """Return the pieces, see :func:`emovox.speech.diarization.cut`."""
        from emovox.speech.diarization import cut

        return cut(self.samples, self.offset, self.utterances)


@dataclass(frozen=True)
class Learn:
    """Learn what a voice or a setting is ordinarily like.

    Attributes
    ----------
    kind : {"speaker", "setting"}
        What the recordings are of.
    name : str
        What to call it.
    uploads : tuple of Upload
        Recordings of it.
    setting : str or None
        The setting that a speaker belongs to.
    longest : float
        Seconds of sound of one that are taken at most.
    voice : bool
        Whether to take a voice print of a speaker.
    neutral : bool
        Whether all speech of the speaker is known to be neutral.
    """

    kind: Subject
    name: str
    uploads: tuple[Upload, ...]
    setting: str | None = None
    longest: float = float("inf")
    voice: bool = True
    neutral: bool = False

    def run(self, bench: Bench, tell: Tell) -> tuple[Profile, list[str]]:
        """Return the profile, and what is wrong with recordings of a setting that were left out."""
        for upload in self.uploads:
            require_length(_length(upload) or 0.0, self.longest)
        recognizer, left_out = bench.recognizer(Ask()), list[str]()

        def heard(_: int, seconds: float) -> None:
            tell(seconds)

        with ExitStack() as stack:
            sounds = [stack.enter_context(upload.opened()) for upload in self.uploads]
            if self.kind == "speaker":
                more = {"voice": self.voice, "neutral": self.neutral}
                return recognizer.enroll(self.name, sounds, self.setting, jobs=1, progress=heard, **more), left_out
            found = recognizer.adapt(
                self.name, sounds, jobs=1, progress=heard, left_out=lambda error: left_out.append(str(error))
            )
            return found, left_out


@dataclass(frozen=True)
class Prepare:
    """Get ready to judge as a client asks, so that what is impossible is told at once.

    Attributes
    ----------
    ask : Ask
        Who is to judge.
    """

    ask: Ask

    def run(self, bench: Bench, tell: Tell) -> float:
        """Return the threshold of the answers."""
        return bench.recognizer(self.ask).threshold


LOG = logging.getLogger("emovox.serve")

#: What became of a task: done with a result, a problem of the client's, or a failure of ours.
Outcome = tuple[str, Any]


@dataclass(frozen=True)
class Terms:
    """How a task is done.

    Attributes
    ----------
    tell : callable, optional
        Called in the event loop with what the task tells before it is done.
    urgent : bool, default False
        Whether it goes before others that wait.
    timeout : float, optional
        Seconds that it may take once it has begun.
    """

    tell: Callable[[object], None] | None = None
    urgent: bool = False
    timeout: float | None = None


#: In its turn, without a limit, and nobody listens.
PLAIN = Terms()


class Workers(Protocol):
    """Where tasks are done: a pool of processes, a cluster, or a thread in tests."""

    @property
    def width(self) -> int:
        """Number of tasks that are done at a time."""
        ...

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for a worker."""
        ...

    @property
    def deaths(self) -> int:
        """Number of workers that have died."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a task that is given now would be begun at once, or after others."""
        ...

    def start(self) -> None:
        """Get ready, without waiting for that."""
        ...

    async def close(self) -> None:
        """End at once."""
        ...

    async def run(self, task: Task, terms: Terms = PLAIN) -> Any:
        """Do a task."""
        ...


def work(model: str, asr: str, nice: int = 0) -> Work[Task, Outcome]:
    """Make what a process does with a task: models are read before the first one comes."""
    if nice and hasattr(os, "nice"):
        os.nice(nice)
    bench = Bench(model, asr)
    bench.warm()
    return partial(outcome, bench)


def outcome(bench: Bench, task: Task, tell: Tell) -> Outcome:
    """Do a task and say how it ended."""
    try:
        return "done", task.run(bench, tell)
    except StoppedError:
        raise
    except Problem as problem:
        return "problem", problem
    except EmovoxError as error:
        return "problem", Problem.of(error)
    except Exception as error:  # its type and place are told, nothing of its content
        return "failure", f"{type(error).__name__} in {place_of(error)}"


def result_of(kind: str, what: Any) -> Any:
    """Return the result of a task, or raise what it ended with."""
    if kind == "problem":
        raise what
    if kind != "done":
        LOG.error("a task failed: %s", what)
        raise Problem("internal_error")
    return what


def problem_of(error: WorkerError, timeout: float | None) -> Problem:
    """Say to a client what became of the process that did its task."""
    if isinstance(error, WorkerHungError):
        return Problem("timed_out", f"judging took more than {timeout or 0:g} s: send less at a time, or a job")
    if isinstance(error, WorkerKilledError):
        LOG.warning("a task has ended its workers")
        return Problem(
            "worker_died", "reading the recording ended the process that read it: convert it, or leave it out"
        )
    LOG.error("a task failed: %s", type(error).__name__)
    return Problem("internal_error")


class Pool:
    """Processes on this machine, replaced when they die.

    Parameters
    ----------
    size : int
        Number of processes.
    model, asr : str
        As for :class:`emovox.serve.pool.Bench`.
    nice : int, default 0
        How much they stand back for others, 0 to 19.
    lives : int, default 2
        Processes that may die of one task: the death of the first may be somebody else's doing.
    """

    def __init__(self, size: int, model: str = "", asr: str = "", *, nice: int = 0, lives: int = 2) -> None:
        self.width, self._lives = size, lives
        self._make = partial(work, model, asr, nice)
        self._processes = self._new()
        self._before = 0

    def _new(self) -> Processes[Task, Outcome]:
        return Processes(self._make, self.width, patience=float("inf"), attempts=self._lives)

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for a worker."""
        return self._processes.waiting

    @property
    def ready(self) -> bool:
        """Whether a worker has started."""
        return self._processes.ready

    @property
    def deaths(self) -> int:
        """Number of processes that have died."""
        return self._before + self._processes.deaths

    def start(self) -> None:
        """Start all processes, without waiting for them."""
        self._processes.start()

    async def close(self) -> None:
        """End all processes."""
        await asyncio.to_thread(self._processes.close, wait=False)

    async def run(self, task: Task, terms: Terms = PLAIN) -> Any:
        """Do a task.

        Parameters
        ----------
        task : Task
            What to do.
        terms : Terms, optional
            In its turn, without a limit, and nobody listens.

        Raises
        ------
        Problem
            The task failed, took too long, or ended process after process.
        """
        processes = self._processes
        future = processes.submit(
            task, urgent=terms.urgent, limit=terms.timeout, told=terms.tell and in_loop(terms.tell)
        )
        try:
            found = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            processes.stop(future)
            raise
        except WorkerError as error:
            raise problem_of(error, terms.timeout) from error
        except EmovoxError as error:  # nobody can begin
            await self._renewed(processes, error)
            raise Problem("server_busy", "no worker can start", retry_after=10) from error
        return result_of(*found)

    async def _renewed(self, broken: Processes[Task, Outcome], error: EmovoxError) -> None:
        """Have other processes try again with the next task."""
        LOG.error("a worker cannot start: %s", error)
        if broken is self._processes:
            self._before, self._processes = self.deaths, self._new()
            await asyncio.to_thread(broken.close, wait=False)


def in_loop(tell: Callable[[object], None]) -> Callable[[object], None]:
    """Have something called in the event loop of now, from any thread."""
    loop = asyncio.get_running_loop()

    def told(what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody listens
            loop.call_soon_threadsafe(tell, what)

    return told


class Machines:
    """The machines of a cluster, connected to when they are first needed and again when they were gone.

    Recordings travel as bytes, and the model is looked up on each machine.  A task that nobody wants any more is done
    to its end there, and its result is dropped.

    Parameters
    ----------
    address : str
        Of the scheduler.
    model, asr : str
        As for :class:`emovox.serve.pool.Bench`.
    """

    def __init__(self, address: str, model: str = "", asr: str = "") -> None:
        self._connect = partial(Cluster, partial(work, model, asr), address, float("inf"))
        self._cluster: Cluster | None = None
        self._connecting = asyncio.Lock()
        self._before = 0
        self.waiting = 0  # the scheduler's affair

    @property
    def width(self) -> int:
        """Number of tasks that are given to the cluster at a time."""
        return self._cluster.width if self._cluster else 1

    @property
    def deaths(self) -> int:
        """Number of machines that were lost."""
        return self._before + (self._cluster.deaths if self._cluster else 0)

    @property
    def ready(self) -> bool:
        """Whether the scheduler was there when it was last asked."""
        return self._cluster is not None

    def start(self) -> None:
        """Do nothing: the cluster works for others, too."""

    async def close(self) -> None:
        """Let go of the cluster."""
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            await asyncio.to_thread(cluster.close, wait=False)

    async def run(self, task: Task, terms: Terms = PLAIN) -> Any:
        """Do a task, see :meth:`emovox.serve.pool.Workers.run`; nothing is told before it is done.

        Raises
        ------
        Problem
            The task failed or took too long, or nobody is there (`server_busy`): what is not done is for later then.
        """
        cluster = await self._connected()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def finished(found: Any) -> None:
            if not done.done():
                done.set_result(found)

        travelling = await asyncio.to_thread(_as_bytes, task)
        await asyncio.to_thread(cluster.submit, travelling, in_loop(finished), limit=terms.timeout)
        found = await done
        if isinstance(found, WorkerError):
            await self._require(cluster)
            raise problem_of(found, terms.timeout)
        if isinstance(found, EmovoxError):
            LOG.error("a machine of the cluster cannot begin: %s", found)
            raise Problem("server_busy", "no worker can start", retry_after=10)
        return result_of(*found)

    async def _connected(self) -> Cluster:
        async with self._connecting:
            if self._cluster is not None:
                await self._require(self._cluster)
            if self._cluster is None:
                try:
                    self._cluster = await asyncio.to_thread(self._connect)
                except EmovoxError as error:
                    LOG.error("the cluster cannot be used: %s", error)
                    raise Problem("server_busy", "nobody is there to work on jobs", retry_after=10) from error
            return self._cluster

    async def _require(self, cluster: Cluster) -> None:
        """Make sure that a cluster is still there: what it has lost is nobody's fault."""
        try:
            cluster.check()
        except EmovoxError as error:
            if cluster is self._cluster:
                self._before, self._cluster = self.deaths, None
                await asyncio.to_thread(cluster.close, wait=False)
            raise Problem("server_busy", "the cluster is gone", retry_after=10) from error


def _as_bytes(task: Task) -> Task:
    """Take a recording along that lies in a file of this machine."""
    if isinstance(task, Recognise) and isinstance(task.upload.content, str):
        return replace(task, upload=replace(task.upload, content=Path(task.upload.content).read_bytes()))
    return task
