"""Many recordings at once: the same work in several threads, its results in order.

A recording is computed in one thread, so that many recordings share the cores without fighting for them.  Threads are
enough: what takes time (decoding, resampling, networks) runs outside the interpreter's lock, and they share one model.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, repeat
from typing import TYPE_CHECKING, TypeVar

from emovox.audio import Sound
from emovox.audio.decode import source_name
from emovox.errors import EmovoxError, InputError
from emovox.types import Failure, Transcript, Waveform

if TYPE_CHECKING:
    from concurrent.futures import Future

    from emovox.text.transcribe import Transcriber

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


def analysed(
    analyse: Callable[..., Result],
    sources: Iterable[Sound],
    jobs: int | None,
    names: Iterable[str | None] | None,
    transcripts: Iterable[Transcript | None] | None,
    progress: Callable[[int, float], None] | None,
) -> Iterator[Result | Failure]:
    """Analyse many recordings in threads; see :meth:`emovox.EmotionRecognizer.predict_many`."""

    def one(item: tuple[int, Sound, str | None, Transcript | None], check: Callable[[], None]) -> Result | Failure:
        index, source, name, transcript = item

        def heard(seconds: float) -> None:
            check()
            if progress:
                progress(index, seconds)

        try:
            return analyse(source, name=name, transcript=transcript, progress=heard)
        except EmovoxError as error:
            return Failure(name or _called(source), str(error), type(error).__name__)

    items = zip(count(), sources, names or repeat(None), transcripts or repeat(None), strict=False)
    return in_order(one, items, checked_jobs(jobs))


def _called(source: Sound) -> str:
    """Tell what to call a source that may not be one."""
    return getattr(source, "name", "<array>") if isinstance(source, tuple) else source_name(source)


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
