"""Processes that die or hang take their own item along, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from emovox.errors import EmovoxError, InputError, WorkerError, WorkerHungError, WorkerKilledError
from emovox.recognition.workers import Work, Workers
from tests.recognition.behaviour import behave, fail, refuse


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers[tuple[str, object], object]]:
    with Workers(behave, jobs=2, patience=1.2, attempts=2) as found:
        yield found


def test_results_come_in_any_number(workers: Workers[tuple[str, object], object]) -> None:
    futures = [workers.submit(("print", number)) for number in range(20)]
    assert [one.result() for one in futures] == list(range(20))
    assert len(workers.pids()) == 2


def test_one_that_kills_its_worker_fails_alone(workers: Workers[tuple[str, object], object]) -> None:
    futures = [workers.submit((kind, number)) for number, kind in enumerate(("", "die", "", "", ""))]
    with pytest.raises(WorkerKilledError, match=r"died 2 times \(SIGKILL\)"):
        futures[1].result()
    assert [one.result() for one in futures[:1] + futures[2:]] == [0, 2, 3, 4]


def test_one_whose_worker_is_killed_once_is_done_again(
    workers: Workers[tuple[str, object], object], tmp_path: Path
) -> None:
    path = f"{tmp_path}/tried"
    assert workers.submit(("once", path)).result() == path


def test_one_that_hangs_fails_alone_and_one_that_lives_does_not(
    workers: Workers[tuple[str, object], object],
) -> None:
    futures = [workers.submit(item) for item in (("hang", 0), ("slow", 9), ("", 2))]
    assert [futures[1].result(), futures[2].result()] == [9, 2]  # slow takes longer than the patience
    with pytest.raises(WorkerHungError, match=r"no sign of life for 1\.2 s"):
        futures[0].result()


def test_an_exception_is_told_in_one_line(workers: Workers[tuple[str, object], object]) -> None:
    with pytest.raises(WorkerError, match=r"^ZeroDivisionError: in two lines$"):
        workers.submit(("raise", None)).result()


def test_a_worker_has_one_thread_and_another_process(
    workers: Workers[tuple[str, object], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workers.submit(("pid", None)).result()
    assert isinstance(found, tuple)
    pid, threads = found
    assert pid in workers.pids()
    assert pid != os.getpid()
    assert threads == os.environ.get("OMP_NUM_THREADS", "1")


def test_what_is_given_up_ends_at_once_and_the_place_goes_on() -> None:
    with Workers(behave, jobs=1, patience=60) as workers:
        running, waiting = workers.submit(("hang", 0)), workers.submit(("", 1))
        for _ in range(200):
            if running.running() and workers.pids():
                break
            time.sleep(0.02)
        workers.stop(waiting)
        workers.stop(running)
        assert waiting.cancelled()
        with pytest.raises(WorkerKilledError, match="given up"):
            running.result(timeout=10)
        assert workers.submit(("", 2)).result() == 2


def test_closing_without_waiting_ends_processes() -> None:
    workers: Workers[tuple[str, object], object] = Workers(behave, jobs=1)
    assert workers.submit(("", 1)).result() == 1
    pid = workers.pids()[0]
    futures: list[Future[object]] = [workers.submit(("hang", 0)), workers.submit(("", 2))]
    workers.close(wait=False)
    assert all(one.cancelled() or one.exception() for one in futures)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        workers.submit(("", 3))


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [(refuse, InputError, "no such model"), (fail, EmovoxError, "cannot begin: ZeroDivisionError: a fault of ours")],
)
def test_workers_that_cannot_begin_say_so(make: Callable[[], Work[int, int]], kind: type[Exception], said: str) -> None:
    with Workers(make, jobs=1) as workers:
        for _ in range(2):
            with pytest.raises(kind, match=said):
                workers.submit(1).result()


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="jobs 0"):
        Workers(behave, jobs=0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_orphans_end() -> None:
    code = (
        "import time; from emovox.recognition.workers import Workers\n"
        "from tests.recognition.behaviour import behave\n"
        "workers = Workers(behave, 1)\nprint(workers.submit(('pid', 0)).result()[0], flush=True)\n"
        "workers.submit(('hang', 0))\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on without its parent")
