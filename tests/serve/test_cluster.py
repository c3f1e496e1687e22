"""Jobs on a cluster: the answers of the service's own processes; a cluster that is away costs time, and no job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import emovox.serve.pool
from emovox import EmotionRecognizer
from emovox.errors import InputError, WorkerError, WorkerHungError
from emovox.serve.pool import Bench, Machines, Prepare, Recognise, Terms, Upload, outcome
from emovox.serve.server import create_app
from emovox.serve.service import Service
from emovox.serve.settings import Problem, Settings
from tests import EXAMPLES
from tests.serve import Inline, fake
from tests.serve.test_jobs import finished, made


class Fake:
    """A cluster that works in this process, until it is gone."""

    made = 0

    def __init__(self, task: Any, address: str, patience: float) -> None:
        Fake.made += 1
        self.width, self.deaths, self.gone = 3, 0, False
        self.answer: Any = None

    def submit(self, task: Any, done: Callable[[Any], None], *, limit: float | None = None) -> None:
        done(self.answer or outcome(Bench(build=fake), task, lambda what=None: None))

    def check(self) -> None:
        if self.gone:
            raise InputError("the cluster is gone")

    def close(self, *, wait: bool = True) -> None: ...


def test_what_a_cluster_cannot_do_is_for_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emovox.serve.pool, "Cluster", Fake)
    sound = tmp_path / "sound"
    sound.write_bytes((EXAMPLES / "plain.wav").read_bytes())

    async def use() -> None:
        machines = Machines("tcp://here")
        task = Recognise(Upload(str(sound), "a.wav"))
        (found,) = (await machines.run(task)).predictions
        assert found.file == "a.wav"
        assert (machines.width, machines.ready) == (3, True)
        cluster: Any = machines._cluster
        cluster.answer = WorkerHungError("late")
        with pytest.raises(Problem, match="timed_out"):
            await machines.run(task, Terms(timeout=3))
        cluster.answer, cluster.gone = WorkerError("lost"), True
        with pytest.raises(Problem, match="server_busy"):
            await machines.run(task)
        assert not machines.ready
        assert await machines.run(Prepare(task.ask)) >= 0  # it is there again
        assert Fake.made == 2
        await machines.close()

    asyncio.run(asyncio.wait_for(use(), 60))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_jobs_on_a_cluster_have_the_same_answers(folder: Path) -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "protocol": "tcp://"}
    with distributed.LocalCluster(processes=False, host="127.0.0.1", **options) as cluster:
        settings = Settings(data=str(folder), on=cluster.scheduler_address)
        service = Service(settings, Inline(EmotionRecognizer), Machines(settings.on))
        with TestClient(create_app(service), base_url="http://localhost") as client:
            sound = (EXAMPLES / "plain.wav").read_bytes()
            job = made(client, ("plain.wav", sound), ("bad.wav", b"no sound"))
            end = finished(client, job, 120)
            assert (end["state"], end["recordings"]["failed"]) == ("succeeded", 1)
            (good, _) = client.get(job["links"]["result"]).json()["results"]
            direct = client.post("/v1/predict", files={"file": ("plain.wav", sound)}).json()
            assert good["predictions"] == direct["predictions"]
