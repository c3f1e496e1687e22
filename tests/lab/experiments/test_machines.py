"""Folds that are fitted elsewhere: the same answers as here; one engine while the clips stay the same."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emovox.cli.commands import app
from emovox.errors import EmovoxError, InputError, WorkerError
from emovox.lab.corpora.splits import by_name
from emovox.lab.estimators.training import Speech
from emovox.lab.experiments import crossfit, dataset, recipe
from emovox.lab.experiments.crossfit import Machines, Task, fit_many
from emovox.lab.experiments.dataset import Data

TOY = {
    "name": "toy",
    "corpora": {"toy": {}},
    "features": {"set": "classic193"},
    "model": {"family": "svm", "calibration_folds": 2},
    "protocol": {"name": "speaker-3"},
}


class Engine:
    """Does everything at once and here, with what came as bytes; the last of three first."""

    width, deaths = 3, 0

    def __init__(self, make: Callable[[], Any], fault: EmovoxError | None = None) -> None:
        self.work, self.fault = pickle.loads(pickle.dumps(make))(), fault
        self.kept: list[Callable[[], None]] = []
        self.closed = False

    def submit(self, item: Any, done: Callable[[Any], None]) -> None:
        self.kept.append(lambda: done(self.fault or self.work(item, lambda what=None: None)))
        if len(self.kept) == self.width:
            self.end()

    def end(self) -> None:
        while self.kept:
            self.kept.pop()()

    def check(self) -> None:
        self.end()

    def close(self, *, wait: bool = True) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def data(toy_manifest: Path) -> Data:
    return dataset.load(recipe.validate(TOY, "toy"), {"toy": toy_manifest}, jobs=1)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    monkeypatch.setattr("emovox.batch.plan._SILENCE", 0.01)
    return []


def machines(started: list[Engine], **more: Any) -> Machines:
    def start(make: Callable[[], Any]) -> Engine:
        started.append(Engine(make, **more))
        return started[-1]

    return Machines(start)


def test_what_is_fitted_elsewhere_answers_alike(data: Data, started: list[Engine]) -> None:
    one, protocol = recipe.validate(TOY, "toy"), by_name("speaker-3", data.table)
    told: list[tuple[str, int, int]] = []
    where = machines(started)
    away = crossfit.train(one, data, protocol, jobs=1, progress=lambda *what: told.append(what), machines=where)
    here = crossfit.train(one, data, protocol, jobs=1, progress=lambda *_: None)
    assert away.predictions.equals(here.predictions)
    np.testing.assert_array_equal(away.final.predict_proba(data.X), here.final.predict_proba(data.X))
    assert told == [("training", done, 4) for done in (1, 2, 3, 4)]
    crossfit.train(one, data, protocol, jobs=1, progress=lambda *_: None, machines=where)
    assert len(started) == 1, "the clips are the same"
    fewer = data.training_set(1, lambda *_: None)[: len(data.y) // 2]
    fit_many(fewer, [Task(one.family, one.options(0), np.arange(len(fewer)), None)], machines=where)
    assert [engine.closed for engine in started] == [True, False]
    where.close()
    assert started[1].closed


def test_what_fails_elsewhere_fails_here(data: Data, started: list[Engine]) -> None:
    one, clips = recipe.validate(TOY, "toy"), data.training_set(1, lambda *_: None)
    tasks = [Task(one.family, one.options(0), np.arange(len(clips)), None)]
    with pytest.raises(WorkerError, match="it broke"):
        fit_many(clips, tasks, machines=machines(started, fault=WorkerError("it broke")))
    heard = dataclasses.replace(clips, speech=Speech([], data.spec))
    with pytest.raises(InputError, match="fitted on one machine: leave --on out"):
        fit_many(heard, tasks, machines=machines(started))


@pytest.mark.parametrize("command", ["train", "tune"])
def test_nobody_at_the_address_is_one_line(
    command: str, toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    written = tmp_path / "toy.toml"
    written.write_text(
        recipe.to_toml(recipe.validate({**TOY, "tune": {"trials": 1, "space": {"model.C": [1.0, 2.0]}}}, "x"))
    )
    given = [command, str(written), "-c", f"toy={toy_manifest}", "-o", str(tmp_path / "out"), "-j1"]
    done = CliRunner().invoke(app, [*given, "--on", "tcp://127.0.0.1:1"])
    assert isinstance(done.exception, InputError)
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in str(done.exception)
    assert not (tmp_path / "out" / "model.onnx").exists()


@pytest.fixture
def cluster() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as found:
        yield found.scheduler_address


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("command", "written"),
    [("train", ("predictions.csv", "recipe.toml")), ("tune", ("best.toml", "tuning.json"))],
)
def test_a_run_on_a_cluster_is_that_of_a_run_here(
    command: str, written: tuple[str, ...], cluster: str, toy_manifest: Path, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    given = tmp_path / "toy.toml"
    search = {"trials": 4, "space": {"model.C": [0.1, 9.0]}}
    given.write_text(recipe.to_toml(recipe.validate({**TOY, "tune": search}, "toy")))

    def done(folder: str, *more: str) -> list[bytes]:
        arguments = [command, str(given), "-c", f"toy={toy_manifest}", "-j1", "-o", str(tmp_path / folder), *more]
        with suppress(SystemExit):
            result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return [(tmp_path / folder / name).read_bytes() for name in written]

    with distributed.Client(cluster) as client, distributed.get_task_stream(client) as stream:
        away = done("away", "--on", cluster)
    assert len({task["worker"] for task in stream.data}) == 2, "both processes have fitted models"
    assert away == done("here")
