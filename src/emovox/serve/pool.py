"""Where tasks are done, as the event loop sees it: processes of this machine, or the machines of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from emovox.batch.engines import Cluster
from emovox.errors import EmovoxError, WorkerError, WorkerHungError, WorkerKilledError
from emovox.recognition.many import StoppedError
from emovox.recognition.processes import Tell, Work
from emovox.recognition.workers import Workers as Processes
from emovox.serve.problems import Problem, place_of
from emovox.serve.work import Bench, Recognise, Task

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
        As for :class:`emovox.serve.work.Bench`.
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
        As for :class:`emovox.serve.work.Bench`.
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
