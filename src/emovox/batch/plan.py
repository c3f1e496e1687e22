"""What a batch is to do, and the engines that do it: processes here, a Dask cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import queue
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import count, islice
from threading import Lock
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import numpy as np

from emovox import __version__
from emovox.batch.places import Entry, Inputs, Place
from emovox.batch.tasks import Facts, Failed, Outcome, PartFormat, Task, Values, decode, default_format
from emovox.errors import (
    EmovoxError,
    InputError,
    MissingExtraError,
    WorkerError,
    WorkerHungError,
    WorkerKilledError,
)
from emovox.outputs.console import json_line, readable
from emovox.recognition.analysis import checked_jobs
from emovox.recognition.workers import PATIENCE, Work, Workers

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


#: Version of the layout of outputs.
LAYOUT = 1
#: Recordings in a part, unless the user says otherwise.
PART_SIZE = 256
#: Files and folders of an output.
MANIFEST, PARTS, FAILURES, FAILED, SUMMARY, PAGE, LOGS = (
    "manifest.json",
    "parts",
    "failures",
    "failed.jsonl",
    "summary.json",
    "report.html",
    "logs",
)
#: Packages whose version may change a number, where they are installed.
_PACKAGES = ("numpy", "onnxruntime", "soundfile", "soxr", "av", "pyarrow")
_PACKAGES_OF_WORDS = ("faster-whisper", "ctranslate2", "vaderSentiment", "transformers")


@dataclass(frozen=True)
class Census:
    """What is known of the inputs once they have been gone through.

    Attributes
    ----------
    count : int
        Number of recordings.
    digest : str
        SHA-256 of all entries, in order.
    columns : mapping of str to str
        Columns that are carried along, with their types.
    """

    count: int
    digest: str
    columns: Mapping[str, str]


def census(inputs: Iterable[Entry]) -> Census:
    """Go through the inputs once, in memory that hardly grows with them (8 bytes each).

    Raises
    ------
    InputError
        There is none, or two have the same id.

    Examples
    --------
    >>> census(Inputs("examples")).count
    4
    """
    digest, hashes, kinds = hashlib.sha256(), array("Q"), dict[str, set[type]]()
    for entry in inputs:
        more = dict(entry.more)
        line = (entry.id, entry.file, entry.start, entry.end, entry.channel, entry.speaker, entry.setting, more)
        digest.update(json.dumps(line, default=str).encode())
        hashes.append(
            int.from_bytes(hashlib.blake2b(entry.id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        )
        for name, value in more.items():
            kinds.setdefault(name, set()).add(type(value))
    if not hashes:
        raise InputError("there is no recording in the input: name a folder, pattern or manifest that has some")
    _require_unique(hashes, inputs)
    return Census(len(hashes), digest.hexdigest(), {name: _type(kind) for name, kind in kinds.items()})


def _require_unique(hashes: array[int], inputs: Iterable[Entry]) -> None:
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    if twice := set(values[counts > 1].tolist()):
        first = twice.pop()
        at = [number for number, value in enumerate(hashes) if value == first][:2]
        name = next(islice(inputs, at[0], None)).id
        raise InputError(
            f"two recordings have the id {readable(name)!r}, the {at[0] + 1}. and the {at[1] + 1}.: "
            "leave one out, or add a column 'id' to the manifest"
        )


def _type(kinds: set[type]) -> str:
    """Choose the type of a carried column by those of its values."""
    kinds = kinds - {type(None)}
    if kinds <= {str}:
        return "string"
    if kinds <= {bool}:
        return "bool"
    if kinds <= {int}:
        return "int"
    return "double" if kinds <= {int, float} else "json"


@dataclass(frozen=True)
class Plan:
    """What a run is.

    Attributes
    ----------
    manifest : mapping of str to object
        What ``manifest.json`` holds, the fingerprint apart.

    """

    manifest: Mapping[str, Any]

    @classmethod
    def of(cls, inputs: Inputs, task: Task, *, part_size: int = PART_SIZE, form: PartFormat | None = None) -> Plan:
        """Plan a run: look at the model, and go through the inputs once.

        Raises
        ------
        InputError
            There is no recording, an id is there twice, or the size of a part is less than 1.
        ModelError, FeatureError
            The task cannot be done.
        """
        if part_size < 1:
            raise InputError(f"--part {part_size}: expected 1 recording or more")
        facts = task.facts()
        found = census(inputs)
        columns = task.columns(facts)
        carried = {f"manifest_{name}" if name in columns else name: kind for name, kind in found.columns.items()}
        return cls(
            {
                "layout": LAYOUT,
                "output": task.output.value,
                "input": {
                    "source": readable(inputs.source),
                    "limit": inputs.limit,
                    "recordings": found.count,
                    "sha256": found.digest,
                    "carried": dict(zip(carried, found.columns, strict=True)),
                },
                "parts": {"format": (form or default_format()).value, "size": part_size},
                "model": _model(facts),
                "options": _plain(task.options()),
                "versions": _versions(task),
                "columns": {**columns, **carried},
            }
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that changes the output, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    @property
    def recordings(self) -> int:
        """Number of recordings."""
        return int(self.manifest["input"]["recordings"])

    @property
    def part_size(self) -> int:
        """Recordings in a part."""
        return int(self.manifest["parts"]["size"])

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.recordings // self.part_size)

    @property
    def form(self) -> PartFormat:
        """How parts are written."""
        return PartFormat(self.manifest["parts"]["format"])

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the parts with their types."""
        return dict(self.manifest["columns"])

    @property
    def labels(self) -> list[str]:
        """Labels of the model; none where the output has none."""
        return list((self.manifest["model"] or {}).get("labels", ()))

    def size_of(self, part: int) -> int:
        """Return how many recordings a part has."""
        return min(self.part_size, self.recordings - part * self.part_size)

    def carried(self, entry: Entry) -> Values:
        """Return the values of an entry that are carried along, in the order of the columns."""
        names: Mapping[str, str] = self.manifest["input"]["carried"]
        return tuple(entry.more.get(name) for name in names.values())

    def part_name(self, part: int) -> str:
        """Return the name of a part's file, in the folder of parts."""
        return f"part-{part:06d}.{self.form.value}"

    def claim(self, place: Place) -> None:
        """Write the manifest, unless it is there already; see :meth:`check`."""
        if not self.check(place):
            content = {"fingerprint": self.fingerprint, **self.manifest}
            place.write(MANIFEST, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def check(self, place: Place) -> bool:
        """Tell whether the manifest is there, and make sure that it is that of the same run.

        Raises
        ------
        InputError
            The output is of another run: what differs.
        """
        there = stored(place)
        if there is not None and there.fingerprint != self.fingerprint:
            found = "; ".join(islice(differences(there.manifest, self.manifest), 5))
            raise InputError(f"{place.name} holds another run ({found}): give another output, or remove this one")
        return there is not None

    def done(self, place: Place) -> set[int]:
        """Return the numbers of the parts that are there."""
        return _numbers(place.names(PARTS), f".{self.form.value}")

    def failing(self, place: Place) -> set[int]:
        """Return the numbers of the parts that are there and have failures."""
        return _numbers(place.names(FAILURES), ".jsonl") & self.done(place)

    def rows(self, place: Place, part: int, wanted: Iterable[str] = ()) -> Iterator[Values]:
        """Read the rows of a part."""
        content = place.read(f"{PARTS}/{self.part_name(part)}")
        if content is None:
            raise InputError(f"{place.name} has lost {self.part_name(part)}: run the same command again")
        return decode(content, self.columns, self.form, list(wanted))

    def failures(self, place: Place, part: int) -> list[tuple[str, Failed]]:
        """Read the failures of a part, with the ids of their recordings."""
        content = place.read(f"{FAILURES}/part-{part:06d}.jsonl") or b""
        found = [json.loads(line) for line in content.decode().splitlines()]
        return [(one["id"], Failed(one["code"], one["message"], one["channel"])) for one in found]


def failure_line(name: str, failed: Failed) -> str:
    r"""Write a failure as a line of JSON.

    Examples
    --------
    >>> failure_line("a.wav", Failed("no_speech", "nobody speaks"))
    '{"id": "a.wav", "code": "no_speech", "message": "nobody speaks", "channel": null}\n'
    """
    line = {"id": name, "code": failed.code, "message": failed.message, "channel": failed.channel}
    return json_line(line) + "\n"


def stored(place: Place) -> Plan | None:
    """Read the plan of an output; None where there is none.

    Raises
    ------
    InputError
        It is damaged, or of another version of emovox.
    """
    content = place.read(MANIFEST)
    if content is None:
        return None
    try:
        found: dict[str, Any] = json.loads(content)
        fingerprint, plan = found.pop("fingerprint"), Plan(found)
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{place.name}/{MANIFEST} is damaged ({error!r}): give another output") from error
    if found.get("layout") != LAYOUT:
        raise InputError(
            f"{place.name} has layout {found.get('layout')}, and this emovox knows {LAYOUT}: use its version"
        )
    if plan.fingerprint != fingerprint:
        raise InputError(f"{place.name}/{MANIFEST} was changed by hand: restore it, or give another output")
    return plan


def require(place: Place) -> Plan:
    """Read the plan of an output that must be there.

    Raises
    ------
    InputError
        There is none.
    """
    plan = stored(place)
    if plan is None:
        raise InputError(f"{place.name} is no output of emovox batch (it has no {MANIFEST}): check the path")
    return plan


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Say what differs between two values of JSON.

    Examples
    --------
    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}))
    ['a.c: 2 then, 3 now']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        for name in {**then, **now}:
            yield from differences(then.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif then != now:
        shown = [text if len(text) <= 60 else f"{text[:57]}..." for text in map(json_line, (then, now))]
        yield f"{path}: {shown[0]} then, {shown[1]} now"


def _numbers(names: Iterable[str], ending: str) -> set[int]:
    stems = (name.removeprefix("part-").removesuffix(ending) for name in names if name.endswith(ending))
    return {int(stem) for stem in stems if stem.isdecimal()}


def _model(facts: Facts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {"name": facts.card.name, "sha256": facts.sha256, "labels": list(facts.card.labels)}


def _plain(options: Any) -> Any:
    return json.loads(json.dumps(options, default=dataclasses.asdict))


def _versions(task: Task) -> dict[str, str]:
    names = _PACKAGES + (_PACKAGES_OF_WORDS if task.recipe.spoken else ())
    found = {"emovox": __version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
