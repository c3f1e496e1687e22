"""Work in processes that may die alone: workers, and pools of them.

Threads (:mod:`emovox.recognition.analysis`) are lighter and enough where a person waits for the answer.  Where
millions of recordings are judged, or those of strangers, one that breaks a decoder or never ends must not take the
others along: each worker here is a process of its own, with a pipe of its own, which nobody else can leave locked or
half written.
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
from itertools import count
from types import TracebackType
from typing import IO, Any, Generic, Protocol, TypeAlias, TypeVar, cast

from emovox.errors import EmovoxError, InputError, WorkerError, WorkerHungError, WorkerKilledError
from emovox.recognition.analysis import StoppedError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Tell(Protocol):
    """The line of a work to whoever has submitted the item."""

    def __call__(self, what: object = None) -> None:
        """Say something before the result, or nothing: the sign that the work lives.

        Raises
        ------
        StoppedError
            Nobody wants the result any more.
        """


#: What is done with an item.  It gets a function besides, to be called from time to time.
Work: TypeAlias = Callable[[Item, Tell], Result]

#: What a worker process runs: the paths of its parent, then :func:`serve`.
_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); import emovox.recognition.workers as p; p.serve()"
#: One thread a worker: as many workers as cores share them without fighting, and sums are taken in one order.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Seconds between two signs of life that a worker sends, and that a process has to end.
_BEAT, _END = 1.0, 5.0
#: Seconds that a process may take to begin: a model is loaded then.
_BEGIN = 300.0
#: Number of the item, and length of what follows.  Nothing that follows says: stop that item; of item 0: end.
_HEAD = struct.Struct("<QQ")


class DiedError(Exception):
    """A process is gone."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class SetupError(Exception):
    """What a process is to do could not be made in it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def as_told(self) -> EmovoxError:
        """Return the error that users see."""
        return InputError(self.message) if self.kind == "refused" else EmovoxError(self.message)


class Process:
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
        self.items = 0
        self.ready = False
        self._lock = threading.Lock()  # of what is sent
        self._send(0, make)

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def give(self, payload: bytes) -> None:
        """Give it an item to work on."""
        self.items += 1
        self._send(self.items, payload)

    def ask_to_stop(self) -> None:
        """Say that nobody wants the result of its item any more."""
        self._send(self.items, b"")

    def _send(self, number: int, payload: bytes) -> None:
        """Send something; that the process is gone shows when its answer does not come."""
        self.heard = time.monotonic()
        with self._lock, contextlib.suppress(OSError, ValueError):
            _write(cast(IO[bytes], self._process.stdin), number, payload)

    def answer(self, told: Callable[[object], None] | None = None) -> Any:
        """Wait for the answer, past all that is told before it."""
        while True:
            message = _read(cast(IO[bytes], self._process.stdout))
            self.heard = time.monotonic()
            if message is None:
                raise DiedError(self._gone())
            kind, value = pickle.loads(message[1])
            if kind == "done":
                self.ready = True
                return value
            if kind == "told" and told is not None:
                told(value)
            elif kind == "stopped":
                raise StoppedError
            elif kind == "failed":
                raise WorkerError(value)
            elif kind in ("refused", "broken"):
                self.end()
                raise SetupError(kind, value)

    def silent(self, patience: float) -> bool:
        """Tell whether there was no sign of life for too long; to begin may take longer, a model is loaded then."""
        return time.monotonic() - self.heard > (patience if self.ready else max(patience, _BEGIN))

    def kill(self) -> None:
        """End the process wherever it is."""
        self._process.kill()

    def end(self) -> None:
        """Let the process end, which is idle."""
        self._send(0, b"")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._gone()

    def _gone(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()
        try:
            return self._process.wait(_END)
        except subprocess.TimeoutExpired:  # it closed its output, and goes on
            self._process.kill()
            return self._process.wait()


def serve() -> None:
    """Work for the process that started this one, until it has enough or is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # that process decides when to end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the answers
    inbox, line = _Inbox(), _Line(output)
    # Not sys.stdin: its lock, held while this thread waits, would stop the end of the interpreter.
    threading.Thread(target=inbox.fill, args=(os.fdopen(os.dup(0), "rb", 0),), daemon=True).start()
    try:
        work: Work[Any, Any] = pickle.loads(inbox.items.get()[1])()
    except EmovoxError as error:
        line.send("refused", str(error))
        return
    except Exception as error:
        line.send("broken", f"a worker cannot begin: {in_one_line(error)}")
        return
    line.send("done")
    while (item := inbox.items.get())[1]:
        line.send(*_worked(work, item, inbox, line))


def _worked(work: Work[Any, Any], item: tuple[int, bytes], inbox: _Inbox, line: _Line) -> tuple[str, Any]:
    """Do one item, and say how that ended."""
    last = 0.0

    def tell(what: object = None) -> None:
        nonlocal last
        if inbox.stopped >= item[0]:
            raise StoppedError
        now = time.monotonic()
        if what is not None:
            line.send("told", what)
        elif now - last >= _BEAT:
            last = now
            line.send("alive")

    try:
        return "done", work(pickle.loads(item[1]), tell)
    except StoppedError:
        return "stopped", None
    except Exception as error:
        traceback.print_exc()
        return "failed", in_one_line(error)


class _Line:
    """The way to the parent; several threads may tell something."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output, self._lock = output, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        """Send one message."""
        payload = pickle.dumps((kind, value))
        try:
            with self._lock:
                _write(self._output, 0, payload)
        except BrokenPipeError:  # the parent was killed: nobody is left who wants the answers
            os._exit(1)


class _Inbox:
    """What comes from the parent: items, and the number of the last one that it does not want any more."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self.stopped = 0

    def fill(self, stream: IO[bytes]) -> None:
        """Take what comes; where nobody is left who wants the answers, end the process whatever it does."""
        while (message := _read(stream)) is not None:
            if message[0] and not message[1]:
                self.stopped = message[0]
            else:
                self.items.put(message)
        os._exit(1)


def _write(stream: IO[bytes], number: int, payload: bytes) -> None:
    stream.write(_HEAD.pack(number, len(payload)))
    stream.write(payload)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """Read one message; None where the stream ends, between two of them or within one."""
    try:
        head = _exactly(stream, _HEAD.size)
        if head is None:
            return None
        number, length = _HEAD.unpack(head)
        payload = _exactly(stream, length)
    except (OSError, ValueError):  # closed
        return None
    return None if payload is None else (number, payload)


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    pieces: list[bytes] = []
    while size:
        if not (piece := stream.read(size)):
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def in_one_line(error: Exception) -> str:
    """Say what an exception is."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


#: Seconds without a sign of life after which a worker hangs, and times that an item is tried whose worker is killed.
PATIENCE, ATTEMPTS = 300.0, 3
#: Items after which a process makes room for a fresh one: what a library leaks does not add up.
RECYCLED = 10_000

#: Seconds that an item has to stop that nobody wants any more.
_GRACE = 5.0
#: Processes of one place that may die one after the other before they are ready.
_STARTS = 10


class Workers(Generic[Item, Result]):
    """Processes that take items one by one, as an executor of :mod:`concurrent.futures`.

    Parameters
    ----------
    make : callable
        Called once in each process, without arguments; returns what is done with an item (:data:`Work`).  It must
        pickle: a function or class that can be imported, or an object of one.
    jobs : int
        Number of processes; they start when there is something to do, or with :meth:`start`.
    patience : float, default 300
        Seconds without a sign of life after which a process counts as hanging and is killed, at least 0.1.
    attempts : int, default 3
        How often an item is tried whose process is killed: once is no proof that the item did it.
    recycled : int, default 10000
        Items after which a process makes room for a fresh one; every process but the first lasts a little longer.

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
        recycled: int = RECYCLED,
    ) -> None:
        if min(jobs, attempts, recycled) < 1 or patience < 0.1:
            raise InputError(
                f"jobs {jobs}, attempts {attempts}, recycled {recycled}, patience {patience:g} s: expected 1, 1, 1 and "
                "0.1 or more"
            )
        self.jobs = jobs
        self._make = pickle.dumps(make)
        self._patience, self._attempts, self._recycled = patience, attempts, recycled
        # Urgent ones first, then others in their order, at last the words that there is no more.
        self._tasks: queue.PriorityQueue[tuple[int, int, _Task[Item, Result] | None]] = queue.PriorityQueue()
        self._numbers = count(1)
        self._waiting: set[Future[Result]] = set()
        self._slots: list[_Slot[Item, Result]] = []
        self._eager = False
        self._broken: EmovoxError | None = None
        self._closed, self._stopping = threading.Event(), threading.Event()
        self._news = threading.Event()
        self._lock = threading.Lock()
        self.deaths = 0

    @property
    def waiting(self) -> int:
        """Number of items that wait for a process."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether a process has begun."""
        return any(slot.process is not None and slot.process.ready for slot in list(self._slots))

    def start(self) -> None:
        """Start all processes now, without waiting for them, and others as soon as they die."""
        self._eager = True
        with self._lock:
            while len(self._slots) < self.jobs:
                self._add_slot()

    def submit(
        self,
        item: Item,
        *,
        urgent: bool = False,
        limit: float | None = None,
        told: Callable[[object], None] | None = None,
    ) -> Future[Result]:
        """Have something done with an item.

        Parameters
        ----------
        item
            It must pickle, and so must the result.
        urgent : bool, default False
            Whether it goes before others that wait.
        limit : float, optional
            Seconds that it may take once it has begun.
        told : callable, optional
            Called, in a thread, with what the work tells before its end.

        Returns
        -------
        concurrent.futures.Future
            Of the result, or of one of these errors: `WorkerKilledError` where its process was killed each time that
            it was tried, `WorkerHungError` where it gave no sign of life or took too long, `WorkerError` where an
            exception came out of the work, and what `make` raises where no process could begin.
        """
        if self._closed.is_set():
            raise RuntimeError("the workers are closed: make new ones")
        future: Future[Result] = Future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        self._tasks.put((0 if urgent else 1, next(self._numbers), _Task(item, future, limit, told)))
        with self._lock:
            if len(self._slots) < self.jobs:
                self._add_slot()
        return future

    def _add_slot(self) -> None:
        self._slots.append(_Slot(self, len(self._slots)))
        if len(self._slots) == 1:
            threading.Thread(target=self._watch, name="emovox-watch", daemon=True).start()

    def pids(self) -> list[int]:
        """Return the process ids of the workers that run."""
        return [process.pid for slot in list(self._slots) if (process := slot.process) is not None]

    def stop(self, future: Future[Result], grace: float = _GRACE) -> None:
        """Give an item up: what has begun is asked to stop, and loses its process where it has not in `grace` seconds.

        Its future is cancelled, or that of a `WorkerKilledError`.
        """
        if not future.cancel():
            for slot in list(self._slots):
                slot.give_up(future, grace)
            self._news.set()

    def close(self, *, wait: bool = True) -> None:
        """End the processes, after all that was submitted or, without `wait`, at once."""
        if not wait:
            self._stopping.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    if (task := self._tasks.get_nowait()[2]) is not None:
                        task.future.cancel()
        already = self._closed.is_set()
        self._closed.set()
        for slot in self._slots:
            if not already or not wait:
                self._tasks.put((2, next(self._numbers), None))
            if not wait and slot.process is not None:
                slot.process.kill()
        for slot in self._slots:
            slot.thread.join(None if wait else 2 * _GRACE)

    def __enter__(self) -> Workers[Item, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(wait=error is None)

    def _watch(self) -> None:
        """Kill what hangs, takes too long, or does not stop."""
        while any(slot.thread.is_alive() for slot in self._slots):
            steps = [slot.check(self._patience) for slot in list(self._slots)]
            self._news.wait(min(1.0, self._patience / 4, *steps))
            self._news.clear()


@dataclass(frozen=True)
class _Task(Generic[Item, Result]):
    """An item that was submitted."""

    item: Item
    future: Future[Result]
    limit: float | None
    told: Callable[[object], None] | None


class _Slot(Generic[Item, Result]):
    """The place of one worker: a thread that feeds its process, and starts another where it dies."""

    def __init__(self, workers: Workers[Item, Result], number: int) -> None:
        self._workers = workers
        # Processes that have as much to do do not all make room for fresh ones, which take seconds to begin, at once.
        self.lasts = workers._recycled + workers._recycled * number // (2 * workers.jobs)
        self.process: Process | None = None
        self._future: Future[Result] | None = None
        self._until: float | None = None  # when the item must be done, or must have stopped
        self._fault, self._given_up = "", False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name=f"emovox-worker-{number}", daemon=True)
        self.thread.start()

    def give_up(self, future: Future[Result], grace: float) -> None:
        """Ask for the end of an item, if it is the one that is worked on."""
        with self._lock:
            if self._future is not future:
                return
            self._given_up, self._until, process = True, time.monotonic() + grace, self.process
        if process is not None:
            process.ask_to_stop()

    def check(self, patience: float) -> float:
        """Kill the process if there is a reason to; return the seconds until there may be one."""
        with self._lock:
            process, now = self.process, time.monotonic()
            if process is None or (self._future is None and process.ready):
                return 1.0
            if process.silent(patience):
                self._fault = f"its process gave no sign of life for {patience:g} s, and was ended"
                process.kill()
            elif self._until is not None and process.ready:
                if now < self._until:
                    return max(0.01, self._until - now)
                self._fault = "it took longer than it may, and its process was ended"
                process.kill()
            return 1.0

    def _run(self) -> None:
        workers = self._workers
        while True:
            self._prepare()
            task = workers._tasks.get()[2]
            if task is None:
                break
            if task.future.set_running_or_notify_cancel():
                self._do(task)
            del task
        if self.process is not None:
            self.process.end()
            self.process = None

    def _prepare(self) -> None:
        """Get ready for the next item where nobody should have to wait for that."""
        process = self.process
        if process is not None and process.items >= self.lasts:
            process.end()
            self.process = None
        if self._workers._eager and not self._workers._closed.is_set():
            with contextlib.suppress(EmovoxError):  # told with the next item
                self._begin()

    def _do(self, task: _Task[Item, Result]) -> None:
        """Have one item done, if need be by several processes one after the other."""
        self._workers._waiting.discard(task.future)
        with self._lock:
            self._future, self._until, self._fault, self._given_up = task.future, None, "", False
            if self.process is not None:
                self.process.heard = time.monotonic()  # it was silent because there was nothing to do
        try:
            result = self._tried(task)
        except EmovoxError as error:
            self._let_go()
            task.future.set_exception(error)
        except Exception as error:  # what does not pickle: what the process says next is of no item any more
            if self.process is not None:
                self.process.kill()
                self._lost(DiedError(0))
            self._let_go()
            task.future.set_exception(WorkerError(in_one_line(error)))
        else:
            self._let_go()
            task.future.set_result(result)

    def _let_go(self) -> None:
        with self._lock:
            self._future = None

    def _tried(self, task: _Task[Item, Result]) -> Result:
        workers, status = self._workers, 0
        payload = pickle.dumps(task.item)
        for _ in range(workers._attempts):
            process = self._begin()
            with self._lock:
                if self._unwanted():
                    break
                self._fault = ""
                self._until = None if task.limit is None else time.monotonic() + task.limit
            process.give(payload)
            if task.limit is not None:
                workers._news.set()
            try:
                return cast(Result, process.answer(task.told))
            except StoppedError:
                break
            except DiedError as death:
                status = self._lost(death)
            if self._unwanted():
                break
            if self._fault:
                raise WorkerHungError(self._fault)
        else:
            raise WorkerKilledError(
                f"its process died {workers._attempts} times ({_status(status)}): it may break a decoder, or need more "
                "memory than there is"
            )
        raise WorkerKilledError("it was given up before its end")

    def _unwanted(self) -> bool:
        return self._given_up or self._workers._stopping.is_set()

    def _begin(self) -> Process:
        """Return a process that is ready; who dies before that says nothing about an item."""
        workers, status = self._workers, 0
        if self.process is not None and self.process.gone:  # killed while there was nothing to do
            self._lost(DiedError(0))
        for _ in range(_STARTS):
            if self.process is not None:
                return self.process
            if workers._broken is not None:
                raise workers._broken
            if workers._stopping.is_set():
                raise WorkerKilledError("it was given up before its end")
            try:
                process = self.process = Process(workers._make)
                process.answer()
            except DiedError as death:
                status = self._lost(death)
            except SetupError as error:
                workers._broken, self.process = error.as_told(), None
                raise workers._broken from None
            else:
                return process
        raise WorkerKilledError(f"{_STARTS} processes died before they could begin ({_status(status)})")

    def _lost(self, death: DiedError) -> int:
        """Take note that the process is gone; return its exit status."""
        process, self.process = self.process, None
        if process is not None and not death.status:
            process.end()
        with self._workers._lock:
            self._workers.deaths += 1
        return death.status


def _status(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
