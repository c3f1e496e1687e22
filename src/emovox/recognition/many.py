"""Many recordings at once: the same work in several threads, its results in order.

A recording is computed in one thread, so that many recordings share the cores without fighting for them.  Threads are
enough: what takes time (decoding, resampling, networks) runs outside the interpreter's lock, and they share one model.
"""

from __future__ import annotations

import glob
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from emovox import drawing
from emovox.audio import Channel, Samples, Sound
from emovox.audio.sources import recordings_in, source_name
from emovox.errors import EmovoxError, InputError
from emovox.types import Failure, Transcript, Waveform, frame, to_frame

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pandas import DataFrame

    from emovox.text.transcribe import Transcriber

#: Recordings, or what they are found in: a folder, a pattern, one or many of them.
Sources: TypeAlias = Sound | NDArray[Any] | Iterable[Sound | NDArray[Any]]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Results that may wait for an earlier one, for each thread: bounds the memory.
_AHEAD = 2


#: A speech recogniser has threads of its own, and need not be safe to share.
_WORDS = threading.Lock()


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
        Taken in the calling thread, at most two a thread before their results are.
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

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="emovox") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item, check))
                while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * jobs):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            for one in waiting:
                one.cancel()


class Results(Generic[Result]):
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

    def __iter__(self) -> Iterator[Result | Failure]:
        return self

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
            return analyse(source, rate=own, progress=heard, **arguments)
        except EmovoxError as error:
            return Failure(arguments.get("name") or _called(source), str(error), type(error).__name__)

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
