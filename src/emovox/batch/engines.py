"""Who does the work: processes on this machine, or a Dask cluster by its address."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Lock
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from emovox.batch.entries import Entry
from emovox.batch.tasks import Outcome, Task
from emovox.errors import (
    EmovoxError,
    InputError,
    MissingExtraError,
    WorkerError,
    WorkerHungError,
    WorkerKilledError,
)
from emovox.recognition.many import checked_jobs
from emovox.recognition.processes import Work
from emovox.recognition.workers import PATIENCE, Workers
from emovox.version import __version__

#: Entries a process that wait for their turn besides the one that it is at: it never waits for the next one.
_AHEAD = 1
#: How often an entry is given to a cluster whose machines are lost.
_CLUSTER_ATTEMPTS = 10
#: Bytes above which what the processes do is sent to the machines once, and not with each entry.
_LARGE = 1_000_000
#: Seconds without news after which an engine is asked whether it is still there.
_SILENCE = 5.0

Given = TypeVar("Given")
Given_contra = TypeVar("Given_contra", contravariant=True)
Found = TypeVar("Found")
Found_co = TypeVar("Found_co", covariant=True)

#: Called with an outcome, or with the error instead.
Done = Callable[[Outcome | EmovoxError], None]


class Engine(Protocol[Given_contra, Found_co]):
    """Does one thing with many items, several at a time: recordings of a batch, or models to fit."""

    @property
    def width(self) -> int:
        """How many items it can be given before the first is done."""
        ...

    @property
    def deaths(self) -> int:
        """How many workers have died so far."""
        ...

    def submit(self, entry: Given_contra, done: Callable[[Found_co | EmovoxError], None]) -> None:
        """Have an item done; `done` is called from another thread."""
        ...

    def check(self) -> None:
        """Raise InputError where the engine is gone, and nothing can be expected any more."""
        ...

    def close(self, *, wait: bool = True) -> None:
        """End it, after all that was submitted or at once."""
        ...


def gathered(engine: Engine[Given, Found], items: Iterable[Given]) -> Iterator[tuple[int, Found]]:
    """Have items done, and yield what becomes of each with its number, as it comes.

    Raises
    ------
    EmovoxError
        That of the first item that fails.
    InputError
        The engine is gone.
    """
    came: queue.SimpleQueue[tuple[int, Found | EmovoxError]] = queue.SimpleQueue()
    waiting, running = enumerate(items), 0
    while True:
        while running < engine.width and (one := next(waiting, None)) is not None:
            number, item = one
            engine.submit(item, partial(_put, came, number))
            running += 1
        if not running:
            return
        try:
            number, found = came.get(timeout=_SILENCE)
        except queue.Empty:
            engine.check()
            continue
        running -= 1
        if isinstance(found, EmovoxError):
            raise found
        yield number, found


def _put(came: queue.SimpleQueue[tuple[int, Found]], number: int, found: Found) -> None:
    came.put((number, found))


class Local:
    """Processes on this machine.

    Parameters
    ----------
    task : Task
        What to do.
    jobs : int or None
        How many; one a core by default.
    patience : float
        Seconds without a sign of life after which a recording fails.
    """

    def __init__(self, task: Task, jobs: int | None = None, patience: float = PATIENCE) -> None:
        self.workers: Workers[Entry, Outcome] = Workers(task, checked_jobs(jobs), patience=patience)
        self.width = self.workers.jobs * (1 + _AHEAD)

    @property
    def deaths(self) -> int:
        """How many processes have died so far."""
        return self.workers.deaths

    def submit(self, entry: Entry, done: Done) -> None:
        """Have an entry done."""
        self.workers.submit(entry).add_done_callback(lambda future: done(_result(future)))

    def check(self) -> None:
        """Nothing can be gone."""

    def close(self, *, wait: bool = True) -> None:
        """End the processes."""
        self.workers.close(wait=wait)


def _result(future: Any) -> Outcome | EmovoxError:
    """Take a future's outcome or error; one that was cancelled counts as killed."""
    if future.cancelled():
        return WorkerError("it was given up before it began")
    error = future.exception()
    if error is None:
        return future.result()  # type: ignore[no-any-return]
    return error if isinstance(error, EmovoxError) else WorkerError(f"{type(error).__name__}: {error}")


class Cluster:
    """A Dask cluster.

    What is done is durable in the output, not in the scheduler: each outcome is fetched as it comes.  On the machines
    of the cluster recordings are judged in processes of their own (:class:`emovox.recognition.workers.Workers`), as
    many as a Dask worker has threads.

    Parameters
    ----------
    task : callable
        Makes what is done with an item, in each process: a :class:`Task`, what the service does, or what fits models.
    address : str
        Of the scheduler: ``tcp://host:8786``.
    patience : float
        Seconds without a sign of life after which a recording fails.

    Raises
    ------
    MissingExtraError
        The [cluster] extra is not installed.
    InputError
        Nobody answers there.
    """

    def __init__(self, task: Callable[[], Work[Any, Any]], address: str, patience: float = PATIENCE) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingExtraError(f"--on {address}", "cluster") from error
        connect: Any = Client  # it has no types
        try:
            self._client = connect(address, timeout=20, set_as_default=False)
        except Exception as error:  # what a wrong address raises depends on its kind
            raise InputError(f"no Dask scheduler answers at {address} ({_line(error)}): check the address") from error
        self._make = pickle.dumps((_Packed(pickle.dumps(task)), patience))
        self._held: Any = None  # by the machines, if it is large
        self._running: dict[str, Any] = {}  # the scheduler forgets what nobody holds
        self._numbers = count()
        self.address = address
        self.deaths = 0

    @property
    def width(self) -> int:
        """Three entries a thread of the cluster, as it is now."""
        return max(4, 3 * int(sum(self._client.nthreads().values())))

    def submit(self, entry: Any, done: Callable[[Any], None], *, limit: float | None = None, attempt: int = 1) -> None:
        """Have an entry done, in so many seconds at most; `done` is called from another thread."""
        key = f"emovox-{next(self._numbers)}-{uuid4().hex}"
        given = __version__, self._parcel(again=attempt > 1), pickle.dumps(entry), limit
        future = self._client.submit(_on_machine, *given, key=key, pure=False)

        def finished(found: Any) -> None:
            result = _fetched(found)
            self._running.pop(key, None)
            self.deaths += result is None
            if result is None and attempt < _CLUSTER_ATTEMPTS and self._client.status == "running":
                self.submit(entry, done, limit=limit, attempt=attempt + 1)
            else:
                done(result or WorkerKilledError(f"the machines that it was given to were lost, {attempt} times"))

        self._running[key] = future
        future.add_done_callback(finished)

    def _parcel(self, *, again: bool) -> Any:
        """Return what the processes do as bytes or, if it is large, what the machines hold; `again` if it was lost."""
        if len(self._make) > _LARGE and (self._held is None or again):
            self._held = self._client.scatter(self._make, broadcast=True, hash=False)
        return self._make if self._held is None else self._held

    def check(self) -> None:
        """Make sure that the scheduler is still there."""
        if self._client.status not in ("running", "connecting") or self._client.scheduler_comm is None:
            raise InputError(f"the cluster at {self.address} is gone: start it, and run the same command again")

    def close(self, *, wait: bool = True) -> None:
        """Let go of the cluster, which goes on without us."""
        with suppress(Exception):  # machines that are gone have nothing to end
            self._client.run(_release, self._make, on_error="ignore")
        self._client.close(timeout=10)


@dataclass(frozen=True)
class _Packed:
    """What a process does, unpacked by it: Dask's worker on the way loads neither its libraries nor its data."""

    task: bytes

    def __call__(self) -> Work[Any, Any]:
        return pickle.loads(self.task)()  # type: ignore[no-any-return]


def _fetched(future: Any) -> Any:
    """Fetch an outcome; None where the machine was lost before or with it."""
    try:
        kind, found = pickle.loads(future.result(timeout=60))
    except Exception:  # KilledWorker, CancelledError, a lost connection: the entry is not to blame
        return None
    return found if kind == "done" else _ERRORS.get(kind, EmovoxError)(found)


#: Errors that come back from a machine by their codes.
_ERRORS: dict[str, type[EmovoxError]] = {
    one.code: one for one in (WorkerError, WorkerKilledError, WorkerHungError, InputError)
}


def _on_machine(version: str, make: bytes, entry: bytes, limit: float | None) -> bytes:
    """Do an entry on a machine of the cluster; exceptions go back as text, for not all of them pickle."""
    if version != __version__:
        text = f"a machine of the cluster has emovox {__version__}, and this is {version}: install the same everywhere"
        return pickle.dumps((InputError.code, text))
    try:
        return pickle.dumps(("done", _workers(make).submit(pickle.loads(entry), limit=limit).result()))
    except EmovoxError as error:
        return pickle.dumps((error.code, str(error)))


#: The processes of this machine by what they do: those of a run whose command was killed wait for it to go on.
_here: dict[bytes, Workers[Any, Any]] = {}
_lock = Lock()


def _workers(make: bytes) -> Workers[Any, Any]:
    """Return the processes of this machine for a task, as many as its Dask worker has threads."""
    from distributed import get_worker

    with _lock:
        if make not in _here:
            task, patience = pickle.loads(make)
            _here[make] = Workers(task, get_worker().state.nthreads, patience=patience)
        return _here[make]


def _release(make: bytes) -> None:
    """End the processes of a task on this machine."""
    with _lock:
        workers = _here.pop(make, None)
    if workers:
        workers.close(wait=False)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
