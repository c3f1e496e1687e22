"""Processes that die or hang take their own item along, and nothing else."""

from __future__ import annotations

import os
import queue
import signal
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
    assert [one.result(timeout=60) for one in futures] == list(range(20))
    assert len(workers.pids()) == 2


def test_one_that_kills_its_worker_fails_alone(workers: Workers[tuple[str, object], object]) -> None:
    futures = [workers.submit((kind, number)) for number, kind in enumerate(("", "die", "", "", ""))]
    with pytest.raises(WorkerKilledError, match=r"died 2 times \(SIGKILL\)"):
        futures[1].result(timeout=60)
    assert [one.result(timeout=60) for one in futures[:1] + futures[2:]] == [0, 2, 3, 4]


def test_one_whose_worker_is_killed_once_is_done_again(
    workers: Workers[tuple[str, object], object], tmp_path: Path
) -> None:
    path = f"{tmp_path}/tried"
    assert workers.submit(("once", path)).result(timeout=60) == path


def test_one_that_hangs_fails_alone_and_one_that_lives_does_not(
    workers: Workers[tuple[str, object], object],
) -> None:
    futures = [workers.submit(item) for item in (("hang", 0), ("slow", 9), ("", 2))]
    assert [one.result(timeout=60) for one in futures[1:]] == [9, 2]  # slow takes longer than the patience
    with pytest.raises(WorkerHungError, match=r"no sign of life for 1\.2 s"):
        futures[0].result(timeout=60)


def test_an_exception_is_told_in_one_line(workers: Workers[tuple[str, object], object]) -> None:
    with pytest.raises(WorkerError, match=r"^ZeroDivisionError: in two lines$"):
        workers.submit(("raise", None)).result(timeout=60)


def test_a_worker_has_one_thread_and_another_process(
    workers: Workers[tuple[str, object], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workers.submit(("pid", None)).result(timeout=60)
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
        workers.stop(running, grace=0.1)
        assert waiting.cancelled()
        with pytest.raises(WorkerKilledError, match="given up"):
            running.result(timeout=10)
        assert workers.submit(("", 2)).result(timeout=60) == 2


def test_what_is_asked_to_stop_keeps_its_process() -> None:
    with Workers(behave, jobs=1, patience=60) as workers:
        told: queue.SimpleQueue[object] = queue.SimpleQueue()
        running = workers.submit(("asked", 0), told=told.put)
        assert told.get(timeout=60) == "still here"
        (pid,) = workers.pids()
        workers.stop(running, grace=60)
        with pytest.raises(WorkerKilledError, match="given up"):
            running.result(timeout=60)
        assert (workers.pids(), workers.deaths) == ([pid], 0)
        told = queue.SimpleQueue()
        assert workers.submit(("tell", 3), told=told.put).result(timeout=60) == 3
        assert [told.get_nowait() for _ in range(3)] == [0, 1, 2]


def test_urgent_ones_go_first_and_others_in_their_order() -> None:
    ended: list[object] = []
    with Workers(behave, jobs=1) as workers:
        first = workers.submit(("slow", 1))
        deadline = time.monotonic() + 60
        while not first.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        kinds = [(1, False), (2, False), (3, True)]
        futures = [workers.submit(("", number), urgent=urgent) for number, urgent in kinds]
        assert workers.waiting == 3
        for one in futures:
            one.add_done_callback(lambda future: ended.append(future.result(timeout=60)))
    assert ended == [3, 1, 2]


def test_one_that_takes_longer_than_it_may_fails_alone(workers: Workers[tuple[str, object], object]) -> None:
    late = workers.submit(("slow", 100), limit=0.5)  # it gives signs of life
    with pytest.raises(WorkerHungError, match="longer than it may"):
        late.result(timeout=60)
    assert workers.submit(("", 1), limit=60).result(timeout=60) == 1


def test_processes_begin_before_there_is_work_and_make_room_for_fresh_ones() -> None:
    with Workers(behave, jobs=1, recycled=2) as workers:
        workers.start()
        deadline = time.monotonic() + 60
        while not workers.ready and time.monotonic() < deadline:
            time.sleep(0.02)
        found = [workers.submit(("pid", 0)).result(timeout=60) for _ in range(5)]
    pids = [one[0] for one in found]  # type: ignore[index]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert workers.deaths == 0


def test_processes_do_not_make_room_for_fresh_ones_at_once() -> None:
    with Workers(behave, jobs=4, recycled=80) as workers:
        workers.start()
        assert [slot.lasts for slot in workers._slots] == [80, 90, 100, 110]
        workers.close(wait=False)


def test_an_idle_process_that_is_killed_costs_no_attempt() -> None:
    with Workers(behave, jobs=1, attempts=1) as workers:
        assert workers.submit(("", 1)).result(timeout=60) == 1
        process = workers._slots[0].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        while not process.gone:
            time.sleep(0.02)
        assert workers.submit(("", 2)).result(timeout=60) == 2
        assert workers.deaths == 1


def test_closing_without_waiting_ends_processes() -> None:
    workers: Workers[tuple[str, object], object] = Workers(behave, jobs=1)
    assert workers.submit(("", 1)).result(timeout=60) == 1
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
                workers.submit(1).result(timeout=60)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="jobs 0"):
        Workers(behave, jobs=0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_orphans_end() -> None:
    code = (
        "import time; from emovox.recognition.workers import Workers\n"
        "from tests.recognition.behaviour import behave\n"
        "workers = Workers(behave, 1)\nprint(workers.submit(('pid', 0)).result(timeout=60)[0], flush=True)\n"
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
