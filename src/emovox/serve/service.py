"""What a running service consists of: streams, the runner of jobs, and what they share.

A session outlives its connection: what became certain is kept for a client that comes back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import tempfile
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from emovox.live.sources import Layout
from emovox.model.profiles import Profile
from emovox.outputs.console import json_line
from emovox.recognition.streaming import StreamEvent, StreamingRecognizer
from emovox.recognition.timeline import Timeline
from emovox.recognition.voice import Memory
from emovox.serve.contract import JobOptions, Profiles, StreamOptions, parsed
from emovox.serve.guard import Keys, Metrics, call_of
from emovox.serve.jobs import ATTEMPTS, AWAY, Claim, Database, Jobs, Webhooks
from emovox.serve.pool import Ask, Judge, Judged, Machines, Pool, Prepare, Task, Terms, Voices, Workers
from emovox.serve.settings import Part, Problem, Settings, kept
from emovox.types import Float32Array, Prediction, Waveform

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from emovox.speech.diarization import Piece

#: What a thread that hears waits for.
Found = TypeVar("Found")

#: Seconds of sound that are heard at a time: what is certain is sent before the rest of a long message is heard.
_PIECE = 0.5
#: Events that are kept for a client that comes back; estimates are not.
KEPT = 200
#: How events of streams are called on the wire.
_NAMES = {"start": "utterance.start", "estimate": "estimate", "result": "result", "end": "utterance.end"}


@dataclass(frozen=True)
class Message:
    """An event on its way to a client.

    Attributes
    ----------
    number : int
        Which one of its session, from 1.
    text : str
        JSON.
    """

    number: int
    text: str


class RemoteJudge:
    """A stream's judge, or that of one of its speakers, that asks the workers; threads call it, and wait.

    Parameters
    ----------
    streams : Streams
        Who asks.
    ask : Ask
    threshold : float
        Confidence under which an answer is an abstention, before anything was judged.
    who : str, optional
        The speaker.
    """

    def __init__(self, streams: Streams, ask: Ask, threshold: float, who: str | None = None) -> None:
        self.threshold = threshold
        self._memory: Memory | None = None
        self._streams, self._ask, self._who = streams, ask, who
        self._speakers: dict[str, RemoteJudge] = {}

    def for_speaker(self, speaker: str | None) -> RemoteJudge:
        """Return who judges a speaker of the stream."""
        if speaker is None:
            return self
        if speaker not in self._speakers:
            self._speakers[speaker] = RemoteJudge(self._streams, self._ask, self.threshold, speaker)
        return self._speakers[speaker]

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window; an estimate only where there is time for it."""
        task = Judge(window, name, self._ask, running, self._memory, self._who)
        found = self._streams.wait_for(self._streams.judge(task))
        if found is None:
            return None
        self.threshold, self._memory = found.threshold, found.memory
        return found.prediction

    def pieces(self, samples: Float32Array, offset: int, utterances: Sequence[tuple[int, int]]) -> list[Piece]:
        """Cut utterances where the speaker changes, see :func:`emovox.speech.diarization.cut`."""
        return self._streams.wait_for(self._streams.encode(Voices(samples, offset, utterances)))


class Session:
    """One live stream.

    Parameters
    ----------
    owner : str
        Id of the key that has opened it.

    Attributes
    ----------
    id : str
        What it is called; knowing it is what lets a client come back.
    received : int
        Frames (samples of each channel) that were heard.
    produced : int
        Events that were made.
    """

    def __init__(self, owner: str) -> None:
        self.id = f"str-{secrets.token_urlsafe(18)}"
        self.owner = owner
        self.received = self.produced = 0
        self.options: StreamOptions | None = None
        self.lock = asyncio.Lock()  # one thread at a time hears
        self.taken = asyncio.Event()  # another connection has taken over
        self.left: float | None = None
        self._kept: deque[Message] = deque(maxlen=KEPT)
        self._rest = b""
        self._layout = Layout()

    def start(self, options: StreamOptions, judge: RemoteJudge, enrolled: tuple[Profile, ...]) -> None:
        """Open the stream, before the first frame; `enrolled` may be found by name."""
        self.options = options
        self._layout = Layout(options.encoding, options.rate, options.channels)
        recognizer = StreamingRecognizer(judge, replace(options.cut(), enrolled=enrolled))
        self._stream = recognizer.open(
            options.name,
            rate=options.rate,
            channels=options.channels,
            estimates=options.estimates,
            pieces=judge.pieces,
        )

    @property
    def heard(self) -> float:
        """Seconds that were heard."""
        return self.received / self._layout.rate

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut a message into whole frames, a moment each; half a frame at its end waits for the next message."""
        data = self._rest + data
        size = self._layout.frame_bytes
        whole = len(data) // size * size
        self._rest = data[whole:]
        step = max(1, round(_PIECE * self._layout.rate)) * size
        for begin in range(0, whole, step):
            yield data[begin : min(whole, begin + step)]

    def push(self, piece: bytes) -> list[Message]:
        """Hear whole frames, in a thread; return what became certain."""
        events = self._stream.push(self._layout.decoded(piece))
        self.received += len(piece) // self._layout.frame_bytes
        return [self._message(event) for event in events]

    def finish(self) -> list[Message]:
        """End the stream, in a thread; return what is left to tell."""
        return [self._message(event) for event in self._stream.finish()] if self.options else []

    def after(self, number: int) -> list[Message]:
        """Return what was told after an event, for a client that comes back."""
        return [one for one in self._kept if one.number > number]

    def _message(self, event: StreamEvent) -> Message:
        self.produced += 1
        plain = {"type": _NAMES[event.kind], "number": self.produced, "time": event.time, "decided": event.decided}
        if event.prediction is not None:
            plain["prediction"] = event.prediction.to_dict()
        found = Message(self.produced, json_line(plain))
        if event.kind != "estimate":
            self._kept.append(found)
        return found


class Streams:
    """The live streams of one server.

    Parameters
    ----------
    settings : Settings
    workers : Workers
        Who judges.
    metrics : Metrics
    """

    def __init__(self, settings: Settings, workers: Workers, metrics: Metrics) -> None:
        self._settings, self._workers, self._metrics = settings, workers, metrics
        self._sessions: dict[str, Session] = {}
        self._judging = 0  # windows that are judged, or wait for it
        # Threads that hear at the same time would wait for one another's interpreter at each of their many small steps.
        self._hearing = threading.Lock()
        self._threads = ThreadPoolExecutor(settings.streams, thread_name_prefix="emovox-stream")
        self.stopping = asyncio.Event()

    def open(self, owner: str, most: int | None = None) -> Session:
        """Begin a session of an owner who may have so many at a time; the default is the server's setting.

        Raises
        ------
        Problem
            There are too many, or the server stops.
        """
        if self.stopping.is_set():
            raise Problem("server_busy", "the server is about to stop", retry_after=5)
        self._forget()
        each = sum(one.owner == owner for one in self._sessions.values())
        if len(self._sessions) >= self._settings.streams or each >= (most or self._settings.streams_each):
            raise Problem("too_many_streams", f"{each} streams are open: end one, or wait", retry_after=10)
        session = Session(owner)
        self._sessions[session.id] = session
        self._metrics.streams.set(len(self._sessions))
        return session

    def close(self, session: Session) -> None:
        """Forget a session."""
        self._sessions.pop(session.id, None)
        self._metrics.streams.set(len(self._sessions))

    def leave(self, session: Session) -> None:
        """Keep a session whose connection broke for a while, if it has heard something."""
        if session.id not in self._sessions:
            return
        session.left = time.monotonic()
        if session.options is None or not self._settings.resume or self.stopping.is_set():
            self.close(session)
        else:
            asyncio.get_running_loop().call_later(self._settings.resume + 0.1, self._forget)

    def take(self, session_id: str, owner: str) -> Session:
        """Return a session to a client that comes back; a connection that it still has is ended.

        Raises
        ------
        Problem
            There is no such session of this client, or it has waited too long.
        """
        self._forget()
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner or session.options is None:
            raise Problem("not_found", "there is no such session, or it has waited too long: open another one")
        session.taken.set()
        session.taken = asyncio.Event()
        session.left = None
        return session

    def _forget(self) -> None:
        """Drop the sessions whose clients have not come back."""
        now = time.monotonic()
        for one in list(self._sessions.values()):
            if one.left is not None and now - one.left > self._settings.resume:
                self.close(one)

    async def start(
        self, session: Session, options: StreamOptions, ask: Ask, enrolled: tuple[Profile, ...] = ()
    ) -> None:
        """Open the stream of a session, in which speakers who are `enrolled` may be found by name.

        Raises
        ------
        Problem
            The options are impossible together.
        """
        threshold: float = await self._workers.run(Prepare(ask), Terms(timeout=self._settings.timeout))
        self._loop = asyncio.get_running_loop()
        session.start(options, RemoteJudge(self, ask, threshold), enrolled)

    def wait_for(self, asked: Coroutine[Any, Any, Found]) -> Found:
        """Await something in the event loop, in a thread that hears; another one may hear meanwhile."""
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        self._hearing.release()
        try:
            return future.result()
        finally:
            self._hearing.acquire()

    async def judge(self, task: Judge) -> Judged | None:
        """Judge a window of a stream; an estimate only where all workers are free, or one stays free for results."""
        crowded = self._judging and self._judging + 1 >= self._workers.width
        if task.running and (crowded or self._workers.waiting):
            return None
        self._judging += 1
        try:
            terms = Terms(urgent=not task.running, timeout=self._settings.timeout)
            found: Judged = await self._workers.run(task, terms)
            return found
        finally:
            self._judging -= 1

    async def encode(self, task: Voices) -> list[Piece]:
        """Tell the speakers of an utterance of a stream apart."""
        found: list[Piece] = await self._workers.run(task, Terms(urgent=True, timeout=self._settings.timeout))
        return found

    async def hear(self, session: Session, data: bytes, send: Callable[[Message], Awaitable[Any]]) -> None:
        """Hear a message of a client, and send what becomes certain as soon as it is."""
        for piece in session.pieces(data):
            began = time.monotonic()
            before = session.heard
            for message in await self._run(session, session.push, piece):
                await send(message)
            self._metrics.judged("stream", session.heard - before, time.monotonic() - began)
            if session.heard > self._settings.stream_seconds:
                raise Problem("audio_too_long", f"{self._settings.stream_seconds:g} s are heard: open another stream")

    async def finish(self, session: Session) -> list[Message]:
        """End the stream of a session, and return what is left to tell."""
        found: list[Message] = await self._run(session, session.finish)
        return found

    async def _run(self, session: Session, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run in a thread; a connection that breaks meanwhile leaves nothing half done."""

        def in_turn() -> Any:
            with self._hearing:
                return function(*arguments)

        async def locked() -> Any:
            async with session.lock:
                return await asyncio.get_running_loop().run_in_executor(self._threads, in_turn)

        return await asyncio.shield(asyncio.ensure_future(locked()))

    async def drain(self) -> None:
        """End all streams with their last results."""
        self.stopping.set()
        until = time.monotonic() + self._settings.timeout
        while any(one.left is None for one in self._sessions.values()) and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


LOG = logging.getLogger("emovox.serve")

#: Seconds between looks at the database where nobody has said that there is something new.
_LOOK = 1.0
#: Seconds between progress that is written.
_BEAT = 1.0
#: Seconds between looks for jobs whose time is over.
_SWEEP = 30.0


class Runner:
    """Works on the jobs of all servers that share a database, as many recordings at a time as there are processes.

    Parameters
    ----------
    settings : Settings
    jobs : Jobs
    workers : Workers
        Where recordings are judged.
    metrics : Metrics
    """

    def __init__(self, settings: Settings, jobs: Jobs, workers: Workers, metrics: Metrics, webhooks: Webhooks) -> None:
        self._settings, self._jobs, self._workers, self._metrics = settings, jobs, workers, metrics
        self._webhooks = webhooks
        self._active: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin to work."""
        for step, pause in (
            (self._look, _LOOK),
            (self._beat, min(_BEAT, self._settings.lease / 3)),
            (self._sweep, _SWEEP),
        ):
            self._loops.append(asyncio.create_task(self._again(step, pause)))

    def wake(self) -> None:
        """Say that there is something new."""
        self._news.set()

    async def stop(self) -> None:
        """Stop working, and give back what is not done."""
        self._stopping = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        given = [claim for claim, _ in self._active.values()]
        for _, task in list(self._active.values()):
            task.cancel()
        await asyncio.gather(*(task for _, task in list(self._active.values())), return_exceptions=True)
        if given:
            await asyncio.to_thread(self._jobs.give_back, given)

    async def _again(self, step: Callable[[], Any], pause: float) -> None:
        """Do something again and again; a database that is away for a while is waited for."""
        while True:
            try:
                await step()
            except sa.exc.SQLAlchemyError as error:
                LOG.warning("the database does not answer", extra={"reason": type(error).__name__})
            except Exception:
                LOG.exception("failure")
            await asyncio.sleep(pause if step != self._look else 0)
            if step == self._look:
                try:
                    # Not `wait_for`, which in Python 3.11 loses a cancellation that comes together with the news.
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                except TimeoutError:
                    continue
                self._news.clear()

    async def _look(self) -> None:
        """Lease as many recordings as there is room for."""
        free = await asyncio.to_thread(lambda: self._workers.width) - len(self._active)
        for claim in await asyncio.to_thread(self._jobs.claim, free) if free > 0 else ():
            task = asyncio.create_task(self._work(claim))
            self._active[claim.token] = claim, task
            task.add_done_callback(lambda _, token=claim.token: self._done(token))  # type: ignore[misc]

    def _done(self, token: str) -> None:
        self._active.pop(token, None)
        self._news.set()

    async def _beat(self) -> None:
        """Put off the ends of the leases; stop the work on those that are gone."""
        if self._active:
            claims = [claim for claim, _ in self._active.values()]
            for lost in await asyncio.to_thread(self._jobs.beat, claims):
                if lost.token in self._active:
                    self._active[lost.token][1].cancel()

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._jobs.sweep)

    async def _work(self, claim: Claim) -> None:
        """Judge one recording, and write what came out."""
        began = time.monotonic()
        result: dict[str, Any] | None = None
        problem: dict[str, Any] | None = None
        try:
            if claim.attempts > ATTEMPTS:
                raise Problem("worker_died", "the recording ended every server that read it: leave it out")
            part = await asyncio.to_thread(self._fetched, claim)
            try:
                found = await self._judged(claim, part)
            finally:
                part.close()
            result = found.to_dict()
            self._metrics.judged("job", found.duration, time.monotonic() - began)
        except AWAY:  # the lease ends, and whoever reaches the database takes over
            LOG.warning("the database does not answer")
            return
        except Problem as error:
            if error.code == "server_busy":  # that is ours, not the recording's
                await asyncio.to_thread(self._jobs.give_back, [claim])
                await asyncio.sleep(_LOOK)
                return
            problem = {key: value for key, value in error.to_dict("").items() if key != "request_id"}
        while not await self._written(claim, result, problem):
            await asyncio.sleep(_LOOK)

    async def _written(self, claim: Claim, result: dict[str, Any] | None, problem: dict[str, Any] | None) -> bool:
        """Write what came out; return False where the database is away."""
        try:
            in_force = await asyncio.to_thread(self._jobs.finish, claim, result, problem)
        except AWAY:
            return False
        state = "lost" if not in_force else "failed" if result is None else "succeeded"
        self._metrics.jobs.labels(state).inc()
        LOG.info("recording", extra={"job": claim.job, "recording": claim.recording, "reason": state})
        self._webhooks.wake()
        return True

    def _fetched(self, claim: Claim) -> Part:
        """Fetch the sound of a recording."""
        with tempfile.TemporaryFile() as file:
            for data in self._jobs.sound(claim.recording):
                file.write(data)
            file.flush()
            return kept(file, claim.name)

    async def _judged(self, claim: Claim, part: Part) -> Timeline:
        options: JobOptions = parsed(JobOptions, claim.options)
        profiles = Profiles.of(claim.owner, self._settings.folder)
        task = await asyncio.to_thread(options.task, part, profiles, self._settings.job_seconds)

        def tell(what: object) -> None:
            if isinstance(what, float):
                claim.seconds = what

        found: Timeline = await self._workers.run(task, Terms(tell, timeout=self._settings.job_timeout))
        return found


class Service:
    """One server: its settings, its database, its workers.

    Parameters
    ----------
    settings : Settings
    workers : Workers, optional
        Where recordings are judged; the default is a pool of processes.
    job_workers : Workers, optional
        Where recordings of jobs are judged; the default is a pool of processes at low priority.

    Raises
    ------
    InputError
        The database cannot be opened.
    """

    def __init__(self, settings: Settings, workers: Workers | None = None, job_workers: Workers | None = None) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.keys = Keys(self.database)
        self.metrics = Metrics()
        model, asr = settings.model, settings.asr
        self.workers: Workers = workers or Pool(settings.processes, model, asr)
        # Whoever waits for an answer goes before whoever comes back for it: the operating system sees to that.
        self.job_workers: Workers = job_workers or workers or _for_jobs(settings)
        self.jobs = Jobs(self.database, settings)
        self.webhooks = Webhooks(self.database, settings)
        self.runner = Runner(settings, self.jobs, self.job_workers, self.metrics, self.webhooks)
        self.streams = Streams(settings, self.workers, self.metrics)
        self.stopping = False
        for name, pool in (("requests", self.workers), ("jobs", self.job_workers)):
            self.metrics.watch(name, lambda pool=pool: pool.waiting, lambda pool=pool: pool.deaths)  # type: ignore[misc]

    async def start(self) -> None:
        """Start what works in the background."""
        self.runner.start()
        self.webhooks.start()

    def warm(self) -> None:
        """Have the workers read their models; the service answers before they are ready."""
        self.workers.start()

    async def drain(self) -> None:
        """Bring to an end what clients wait for, while their connections are open."""
        self.stopping = True
        await self.streams.drain()
        await self.runner.stop()

    async def stop(self) -> None:
        """End what works in the background."""
        self.streams.stop()
        await self.runner.stop()
        await self.webhooks.stop()
        for pool in (self.workers, self.job_workers):
            await pool.close()
        self.database.close()

    def profiles(self, connection: HTTPConnection) -> Profiles:
        """Return the profiles of a caller."""
        return Profiles.of(call_of(connection).key.id, self.settings.folder)

    def require_room(self) -> None:
        """Refuse a request for which there is no time.

        Raises
        ------
        Problem
            The server stops, or too many wait already.
        """
        if self.stopping:
            raise Problem("server_busy", "the server is about to stop: send it to another one", retry_after=5)
        if self.workers.waiting >= self.settings.queue:
            raise Problem("server_busy", f"{self.settings.queue} requests wait already: send it later", retry_after=2)

    async def judge(self, task: Task, tell: Callable[[object], None] | None = None, kind: str = "predict") -> Any:
        """Do a task for a client who waits, and count what it was about."""
        self.require_room()
        began = time.monotonic()
        found = await self.workers.run(task, Terms(tell, timeout=self.settings.timeout))
        self.metrics.judged(kind, getattr(found, "duration", 0.0), time.monotonic() - began)
        return found


def _for_jobs(settings: Settings) -> Workers:
    """Make who works on jobs: a cluster by its address, or processes of this machine."""
    if settings.on:
        return Machines(settings.on, settings.model, settings.asr)
    return Pool(settings.job_processes, settings.model, settings.asr, nice=10, lives=4)


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request has come to."""
    found: Service = connection.app.state.service
    return found
