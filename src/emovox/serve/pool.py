"""Worker processes that can die alone: a task that crashes or hangs one harms nobody else, and it is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Protocol

from emovox.errors import EmovoxError
from emovox.serve.problems import Problem, place_of
from emovox.serve.work import Bench, Task, Tell

LOG = logging.getLogger("emovox.serve")

#: Seconds that a process has to read its models.
_START = 120.0
#: Seconds that a process has to stop what nobody wants any more, before it is ended.
_STOP = 5.0
#: Processes that may die one after the other before they are ready.
_STARTS = 10
#: Processes that may die of one task: the death of the first may be somebody else's doing.
_LIVES = 2


class StoppedError(Exception):
    """Nobody wants the result any more; ends a task inside its worker."""


class DiedError(Exception):
    """A worker process has ended while it worked."""


class Workers(Protocol):
    """Where tasks are done: a pool of processes, or a thread in tests."""

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for a worker."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a task that is given now would be begun at once, or after others."""
        ...

    async def run(
        self, task: Task, tell: Tell | None = None, *, urgent: bool = False, timeout: float | None = None
    ) -> Any:
        """Do a task."""
        ...


def main(connection: Connection, model: str, asr: str, nice: int) -> None:
    """Work in a process of its own until the other end of the connection is closed."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the server decides when to end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if nice and hasattr(os, "nice"):
        os.nice(nice)
    bench = Bench(model, asr)
    with contextlib.suppress(EOFError, OSError):  # the server is gone
        try:
            bench.warm()
        except EmovoxError as error:
            connection.send(("unable", str(error)))
            return
        connection.send(("ready", None))

        def tell(what: object) -> None:
            if connection.poll():
                connection.recv()
                raise StoppedError
            connection.send(("told", what))

        while True:
            task = connection.recv()  # None is an order to stop that came late
            connection.send(("late", None) if task is None else outcome(bench, task, tell))


def outcome(bench: Bench, task: Task, tell: Tell) -> tuple[str, Any]:
    """Do a task and say how it ended: done with a result, a problem of the client's, or a failure of ours."""
    try:
        return "done", task.run(bench, tell)
    except StoppedError:
        return "stopped", None
    except Problem as problem:
        return "problem", problem
    except EmovoxError as error:
        return "problem", Problem.of(error)
    except (EOFError, OSError):
        raise
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


class Worker:
    """The server's end of one process; its methods block and run in threads."""

    def __init__(self, start: Callable[[Connection], multiprocessing.process.BaseProcess]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._process = start(theirs)
        theirs.close()
        self.since = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def send(self, what: object) -> None:
        """Give a task, or None to stop the one that runs."""
        try:
            self._connection.send(what)
        except OSError as error:
            raise DiedError from error

    def receive(self, until: float | None) -> tuple[str, Any]:
        """Wait for what the process says, until a time of the monotonic clock."""
        try:
            if until is not None and not self._connection.poll(max(0.0, until - time.monotonic())):
                raise TimeoutError
            found: tuple[str, Any] = self._connection.recv()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise DiedError from error
        return found

    def end(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join(_STOP)
        self._connection.close()


class Pool:
    """Worker processes, started when they are first needed and replaced when they die.

    Parameters
    ----------
    size : int
        Number of processes.
    model, asr : str
        As for :class:`emovox.serve.work.Bench`.
    nice : int, default 0
        How much they stand back for others, 0 to 19.
    """

    def __init__(self, size: int, model: str = "", asr: str = "", *, nice: int = 0) -> None:
        self.size = size
        self.failure = ""
        self.deaths = 0
        self._arguments = model, asr, nice
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._starting = self._failures = 0
        self._waiters: deque[asyncio.Future[Worker]] = deque()
        self._threads = ThreadPoolExecutor(2 * size + 2, thread_name_prefix="emovox-pool")
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of tasks that wait for a worker."""
        return len(self._waiters)

    @property
    def ready(self) -> bool:
        """Whether a worker has started."""
        return bool(self._all)

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes."""
        return [one.pid for one in self._all if one.pid is not None]

    def start(self) -> None:
        """Start all processes, without waiting for them."""
        while len(self._all) + self._starting < self.size:
            self._starting += 1
            self._in_background(self._start_one())

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        for one in list(self._background):
            one.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for worker in self._all:
            await asyncio.to_thread(worker.end)
        self._all.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(
        self, task: Task, tell: Tell | None = None, *, urgent: bool = False, timeout: float | None = None
    ) -> Any:
        """Do a task.

        Parameters
        ----------
        task : Task
            What to do.
        tell : callable, optional
            Called in the event loop with what the task tells before it is done.
        urgent : bool, default False
            Whether it goes before others that wait.
        timeout : float, optional
            Seconds that it may take once it has begun.

        Raises
        ------
        Problem
            The task failed, took too long, or ended the process twice.
        """
        for _ in range(_LIVES):
            worker = await self._taken(urgent)
            try:
                return await self._done(worker, task, tell, timeout)
            except DiedError:
                continue
        LOG.warning("a task ended its worker %d times", _LIVES)
        raise Problem(
            "worker_died", "reading the recording ended the process that read it: convert it, or leave it out"
        )

    async def _done(self, worker: Worker, task: Task, tell: Tell | None, timeout: float | None) -> Any:
        """Do a task with one worker, and give the worker back or replace it."""
        until = None if timeout is None else time.monotonic() + timeout
        # A thread that waits for the process goes on when the waiting for it is cancelled: it is never left alone.
        waiting = self._thread(worker.send, task)
        try:
            await asyncio.shield(waiting)
            while True:
                waiting = self._thread(worker.receive, until)
                kind, what = await asyncio.shield(waiting)
                if kind == "told":
                    if tell is not None:
                        tell(what)
                elif kind != "late":
                    break
        except DiedError:
            self._replace(worker)
            raise
        except TimeoutError:
            self._replace(worker)
            raise Problem("timed_out", f"judging took more than {timeout:g} s: send less at a time, or a job") from None
        except asyncio.CancelledError:
            self._in_background(self._stopped(worker, waiting))
            raise
        self._give(worker)
        return result_of(kind, what)

    async def _stopped(self, worker: Worker, waiting: asyncio.Future[Any]) -> None:
        """Stop what a worker does, which nobody wants any more."""
        until = time.monotonic() + _STOP
        try:
            await self._thread(worker.send, None)
            async with asyncio.timeout(_STOP):
                found = await waiting
            while found is None or found[0] not in ("stopped", "late"):
                found = await self._thread(worker.receive, until)
        except (DiedError, TimeoutError):
            self._replace(worker)
        else:
            self._give(worker)

    async def _taken(self, urgent: bool) -> Worker:
        """Wait for a worker."""
        if self._idle:
            return self._idle.pop()
        self.start()
        waiter: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        if urgent:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _give(self, worker: Worker) -> None:
        """Give a worker to who waits for one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def _replace(self, worker: Worker) -> None:
        self.deaths += 1
        self._all.discard(worker)
        if not self._closed:
            self._in_background(asyncio.to_thread(worker.end))
            self.start()

    async def _start_one(self) -> None:
        """Start a process and wait until it has read its models."""
        try:
            worker = await self._thread(Worker, self._process)
            try:
                kind, what = await self._thread(worker.receive, time.monotonic() + _START)
            except asyncio.CancelledError:
                worker.end()
                raise
        except (DiedError, TimeoutError):
            kind, what = "died", "a worker process ended while it started"
        finally:
            self._starting -= 1
        if kind == "ready":
            self.failure, self._failures = "", 0
            self._all.add(worker)
            self._give(worker)
            return
        if kind == "died" and self._failures < _STARTS and not self._closed:  # somebody has killed it
            self._failures += 1
            self.start()
            return
        LOG.error("a worker cannot start: %s", what)
        self.failure = str(what)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(Problem("server_busy", "no worker can start", retry_after=10))
        self._waiters.clear()

    def _process(self, connection: Connection) -> multiprocessing.process.BaseProcess:
        # A fresh interpreter: nothing of the server, its sockets or its database is in there.
        process = multiprocessing.get_context("spawn").Process(
            target=main, args=(connection, *self._arguments), name="emovox-worker", daemon=True
        )
        process.start()
        return process

    def _thread(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _in_background(self, what: Any) -> None:
        task = asyncio.ensure_future(what)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
