"""A Dask cluster: the same bytes; what is done is in the output, not in the scheduler."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emovox.batch.places import Inputs, place
from emovox.batch.plan import Cluster, Plan
from emovox.batch.runs import Run
from emovox.batch.summary import Log, Report, finish
from emovox.batch.tasks import PartFormat, Task
from emovox.errors import InputError
from tests import size
from tests.batch import FakeRecipe, content, run
from tests.batch.conftest import write_tone

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start a scheduler and a worker with one thread in this process."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "protocol": "tcp://"}
    with distributed.LocalCluster(processes=False, host="127.0.0.1", **options) as found:
        yield found


def on(address: str, inputs: Inputs, output: Path) -> Run:
    """Do a run on a cluster."""
    task, where = Task(FakeRecipe()), place(str(output))
    plan = Plan.of(inputs, task, part_size=2, form=PartFormat.JSONL)
    plan.claim(where)
    with closing(Cluster(task, address)) as engine:
        done = Run(plan, inputs, where, engine, Report(plan, Log(where)))
        done()
    finish(plan, where)
    return done


def test_a_cluster_gives_the_same_bytes(cluster: Any, calls: Path, tmp_path: Path) -> None:
    run(Inputs(str(calls)), tmp_path / "whole")
    done = on(cluster.scheduler_address, Inputs(str(calls)), tmp_path / "out")
    assert (done.recordings, done.failed) == (7, 2)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 \(OSError: Timed out"):
        Cluster(Task(FakeRecipe()), "tcp://127.0.0.1:1")


@pytest.mark.long
def test_workers_that_are_killed_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    count, each = size((160, 20), (400, 10))  # recordings, and parts of the output between two kills
    for number in range(count):
        write_tone(tmp_path / "in" / f"{number:03d}.wav", number)
    run(Inputs(str(tmp_path / "in")), tmp_path / "whole")
    over, killed = threading.Event(), list[int]()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:

        def started(process: Any) -> bool:  # who is killed while it starts is not started again
            return process is not None and bool(process.status.name == "running")

        def kill() -> None:
            while not over.wait(0.1):  # on a slow machine too something is done between two kills
                done = len(list((tmp_path / "out" / "parts").glob("*")))
                alive = [one.process.pid for one in cluster.workers.values() if started(one.process)]
                if alive and done >= each * (len(killed) + 1):
                    killed.append(alive[len(killed) % len(alive)])
                    os.kill(killed[-1], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        done = on(cluster.scheduler_address, Inputs(str(tmp_path / "in")), tmp_path / "out")
        over.set()
        killer.join()
    assert done.recordings == count
    assert killed
    assert content(tmp_path / "out") == content(tmp_path / "whole")
