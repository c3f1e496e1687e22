"""Processes that work on one item at a time: one that is killed or hangs takes only its item with it.

Threads (:mod:`emovox.recognition.many`) are lighter and enough where a person waits for the answer.  Where millions of
recordings are judged, or those of strangers, one that breaks a decoder or never ends must not take the others along:
each worker here is a process of its own, with a pipe of its own, which nobody else can leave locked or half written.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Generic, TypeAlias, TypeVar, cast

from emovox.errors import EmovoxError, InputError, WorkerError, WorkerHungError, WorkerKilledError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What is done with an item.  It gets a function besides, to be called from time to time: the sign that it lives.
Work: TypeAlias = Callable[[Item, Callable[[], None]], Result]

#: Seconds without a sign of life after which a worker hangs, and times that an item is tried whose worker is killed.
PATIENCE, ATTEMPTS = 300.0, 3

#: What a worker process runs: the paths of its parent, then :func:`serve`.
_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from emovox.recognition.workers import serve; serve()"
#: One thread a worker: as many workers as cores share them without fighting, and sums are taken in one order.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Seconds between two signs of life that a worker sends.
_BEAT = 1.0
_LENGTH = struct.Struct("<Q")


class Workers(Generic[Item, Result]):
    """Processes that take items one by one, as an executor of :mod:`concurrent.futures`.

    Parameters
    ----------
    make : callable
        Called once in each process, without arguments; returns what is done with an item (:data:`Work`).  It must
        pickle: a function or class that can be imported, or an object of one.
    jobs : int
        Number of processes; they start when there is something to do.
    patience : float, default 300
        Seconds without a sign of life after which a process counts as hanging and is killed, at least 0.1.
    attempts : int, default 3
        How often an item is tried whose process is killed: once is no proof that the item did it.

    Attributes
    ----------
    deaths : int
        How many processes have died so far, killed ones included.

    Examples
    --------
    >>> from functools import partial
    >>> with Workers(partial(partial, "{} is heard".format), jobs=1) as workers:
    ...     workers.submit("a.wav").result()
    'a.wav is heard'
    """

    def __init__(
        self,
        make: Callable[[], Work[Item, Result]],
        jobs: int,
        *,
        patience: float = PATIENCE,
        attempts: int = ATTEMPTS,
    ) -> None:
        if jobs < 1 or attempts < 1 or patience < 0.1:
            raise InputError(
                f"jobs {jobs}, attempts {attempts}, patience {patience:g} s: expected 1, 1 and 0.1 or more"
            )
        self.jobs = jobs
        self._make = pickle.dumps(make)
        self._patience, self._attempts = patience, attempts
        self._tasks: queue.SimpleQueue[tuple[Item, Future[Result]] | None] = queue.SimpleQueue()
        self._slots: list[_Slot[Item, Result]] = []
        self._broken: EmovoxError | None = None
        self._closed, self._stopping = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self.deaths = 0

    def submit(self, item: Item) -> Future[Result]:
        """Have something done with an item.

        Parameters
        ----------
        item
            It must pickle, and so must the result.

        Returns
        -------
        concurrent.futures.Future
            Of the result, or of one of these errors: `WorkerKilledError` where its process was killed each time that
            it was tried, `WorkerHungError` where it gave no sign of life, `WorkerError` where an exception came out of
            the work, and what `make` raises where no process could begin.
        """
        if self._closed.is_set():
            raise RuntimeError("the workers are closed: make new ones")
        future: Future[Result] = Future()
        self._tasks.put((item, future))
        with self._lock:
            if len(self._slots) < self.jobs:
                self._slots.append(_Slot(self, len(self._slots)))
                if len(self._slots) == 1:
                    threading.Thread(target=self._watch, name="emovox-watch", daemon=True).start()
        return future

    def pids(self) -> list[int]:
        """Return the process ids of the workers that run."""
        return [slot.process.pid for slot in list(self._slots) if slot.process is not None]

    def stop(self, future: Future[Result]) -> None:
        """Give an item up: one that has begun loses its process, and its future is that of a `WorkerKilledError`."""
        if not future.cancel():
            for slot in list(self._slots):
                if slot.future is future and slot.process is not None:
                    slot.given_up = True
                    slot.process.kill()

    def close(self, *, wait: bool = True) -> None:
        """End the processes, after all that was submitted or, without `wait`, at once."""
        if not wait:
            self._stopping.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    if (task := self._tasks.get_nowait()) is not None:
                        task[1].cancel()
        already = self._closed.is_set()
        self._closed.set()
        for slot in self._slots:
            if not already:
                self._tasks.put(None)
            if not wait and slot.process is not None:
                slot.given_up = True
                slot.process.kill()
        for slot in self._slots:
            slot.thread.join()

    def __enter__(self) -> Workers[Item, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(wait=error is None)

    def _watch(self) -> None:
        """Kill what hangs."""
        while any(slot.thread.is_alive() for slot in self._slots):
            for slot in list(self._slots):
                process = slot.process
                if slot.future and process and process.silent(self._patience):
                    slot.hung = True
                    process.kill()
            time.sleep(min(1.0, self._patience / 4))


class _Slot(Generic[Item, Result]):
    """The place of one worker: a thread that feeds its process, and starts another where it dies."""

    def __init__(self, workers: Workers[Item, Result], number: int) -> None:
        self._workers = workers
        self.process: _Process | None = None
        self.future: Future[Result] | None = None
        self.hung = self.given_up = False
        self.thread = threading.Thread(target=self._run, name=f"emovox-worker-{number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        tasks = self._workers._tasks
        while (task := tasks.get()) is not None:
            item, future = task
            if future.set_running_or_notify_cancel():
                self._do(item, future)
                del item, future, task
        if self.process is not None:
            self.process.end()
            self.process = None

    def _do(self, item: Item, future: Future[Result]) -> None:
        """Have one item done, if need be by several processes one after the other."""
        if self.process is not None:
            self.process.heard = time.monotonic()  # it was silent because there was nothing to do
        self.future, self.hung, self.given_up = future, False, False
        try:
            future.set_result(self._tried(item))
        except EmovoxError as error:
            future.set_exception(error)
        finally:
            self.future = None

    def _tried(self, item: Item) -> Result:
        workers = self._workers
        status = 0
        for _ in range(workers._attempts):
            if workers._broken is not None:
                raise workers._broken
            if workers._stopping.is_set():
                break
            try:
                if self.process is None:
                    self.process = _Process(workers._make)
                    self.process.answer()
                self.process.send(pickle.dumps(item))
                return cast(Result, self.process.answer())
            except _DiedError as death:
                status, self.process = death.status, None
                workers.deaths += 1
            except _SetupError as error:
                workers._broken, self.process = error.as_told(), None
                raise workers._broken from None
            if self.hung:
                raise WorkerHungError(f"its process gave no sign of life for {workers._patience:g} s, and was ended")
            if self.given_up:
                break
        else:
            raise WorkerKilledError(
                f"its process died {workers._attempts} times ({_status(status)}): it may break a decoder, or need more "
                "memory than there is"
            )
        raise WorkerKilledError("it was given up before its end")


class _DiedError(Exception):
    """A process is gone."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _SetupError(Exception):
    """What a process is to do could not be made in it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def as_told(self) -> EmovoxError:
        """Return the error that users see."""
        return InputError(self.message) if self.kind == "told" else EmovoxError(self.message)


class _Process:
    """A worker as its parent sees it."""

    def __init__(self, make: bytes) -> None:
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )
        self.pid = self._process.pid
        self.heard = time.monotonic()
        self.ready = False
        self.send(make)

    @property
    def _input(self) -> IO[bytes]:
        return cast(IO[bytes], self._process.stdin)

    def send(self, payload: bytes) -> None:
        """Send something to do; that the process is gone shows when its answer does not come."""
        self.heard = time.monotonic()
        with contextlib.suppress(OSError):
            _write(self._input, payload)

    def answer(self) -> Any:
        """Wait for the answer, past all signs of life."""
        while True:
            payload = _read(cast(IO[bytes], self._process.stdout))
            self.heard = time.monotonic()
            if payload is None:
                raise _DiedError(self._gone())
            kind, value = pickle.loads(payload)
            if kind == "done":
                self.ready = True
                return value
            if kind == "failed":
                raise WorkerError(value)
            if kind in ("told", "broken"):
                self.end()
                raise _SetupError(kind, value)

    def silent(self, patience: float) -> bool:
        """Tell whether there was no sign of life for too long; to begin may take longer, a model is loaded then."""
        return time.monotonic() - self.heard > (patience if self.ready else max(patience, PATIENCE))

    def kill(self) -> None:
        """End the process wherever it is."""
        self._process.kill()

    def end(self) -> None:
        """Let the process end, which is idle."""
        self.send(b"")
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def _gone(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its output, and goes on
            self._process.kill()
            return self._process.wait()


def serve() -> None:
    """Work for the process that started this one, until it has enough or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the answers
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Not sys.stdin: its lock, held while this thread waits, would stop the end of the interpreter.
    threading.Thread(target=_receive, args=(os.fdopen(os.dup(0), "rb", 0), inbox), daemon=True).start()
    lock = threading.Lock()

    def tell(kind: str, value: Any = None) -> None:
        payload = pickle.dumps((kind, value))
        with lock:
            _write(output, payload)

    try:
        work: Work[Any, Any] = pickle.loads(inbox.get())()
    except EmovoxError as error:
        tell("told", str(error))
        return
    except Exception as error:
        tell("broken", f"a worker cannot begin: {_in_one_line(error)}")
        return
    tell("done")
    beat = _Beat(tell)
    while payload := inbox.get():
        try:
            kind, value = "done", work(pickle.loads(payload), beat)
        except Exception as error:
            traceback.print_exc()
            kind, value = "failed", _in_one_line(error)
        tell(kind, value)


@dataclass
class _Beat:
    """The sign of life, sent once a second at most."""

    tell: Callable[[str], None]
    last: float = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.last >= _BEAT:
            self.last = now
            self.tell("alive")


def _receive(stream: IO[bytes], inbox: queue.SimpleQueue[bytes]) -> None:
    """Take what comes; where nobody is left who wants the answers, end the process whatever it does."""
    while (payload := _read(stream)) is not None:
        inbox.put(payload)
    os._exit(1)


def _write(stream: IO[bytes], payload: bytes) -> None:
    stream.write(_LENGTH.pack(len(payload)) + payload)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    """Read one message; None where the stream ends, between two of them or within one."""
    try:
        head = _exactly(stream, _LENGTH.size)
        return None if head is None else _exactly(stream, *_LENGTH.unpack(head))
    except (OSError, ValueError):  # closed
        return None


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    pieces: list[bytes] = []
    while size:
        if not (piece := stream.read(size)):
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _status(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
