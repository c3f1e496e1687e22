"""What all routes of one server share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emovox.serve.database import Database
from emovox.serve.guard import call_of
from emovox.serve.jobs import Jobs
from emovox.serve.keys import Keys
from emovox.serve.pool import Machines, Pool, Terms, Workers
from emovox.serve.problems import Problem
from emovox.serve.profiles import Profiles
from emovox.serve.runner import Runner
from emovox.serve.settings import Settings
from emovox.serve.stream import Streams
from emovox.serve.telemetry import Metrics
from emovox.serve.webhooks import Webhooks
from emovox.serve.work import Task

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

LOG = logging.getLogger("emovox.serve")


class Service:
    """One server: its settings, its database, its workers.

    Parameters
    ----------
    settings : Settings
    workers : Workers, optional
        Where recordings are judged; the default is a pool of processes.
    job_workers : Workers, optional
        Where recordings of jobs are judged; the default is a pool of processes at low priority.

    Raises
    ------
    InputError
        The database cannot be opened.
    """

    def __init__(self, settings: Settings, workers: Workers | None = None, job_workers: Workers | None = None) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.keys = Keys(self.database)
        self.metrics = Metrics()
        model, asr = settings.model, settings.asr
        self.workers: Workers = workers or Pool(settings.processes, model, asr)
        # Whoever waits for an answer goes before whoever comes back for it: the operating system sees to that.
        self.job_workers: Workers = job_workers or workers or _for_jobs(settings)
        self.jobs = Jobs(self.database, settings)
        self.webhooks = Webhooks(self.database, settings)
        self.runner = Runner(settings, self.jobs, self.job_workers, self.metrics, self.webhooks)
        self.streams = Streams(settings, self.workers, self.metrics)
        self.stopping = False
        for name, pool in (("requests", self.workers), ("jobs", self.job_workers)):
            self.metrics.watch(name, lambda pool=pool: pool.waiting, lambda pool=pool: pool.deaths)  # type: ignore[misc]

    async def start(self) -> None:
        """Start what works in the background."""
        self.runner.start()
        self.webhooks.start()

    def warm(self) -> None:
        """Have the workers read their models; the service answers before they are ready."""
        self.workers.start()

    async def drain(self) -> None:
        """Bring to an end what clients wait for, while their connections are open."""
        self.stopping = True
        await self.streams.drain()
        await self.runner.stop()

    async def stop(self) -> None:
        """End what works in the background."""
        self.streams.stop()
        await self.runner.stop()
        await self.webhooks.stop()
        for pool in (self.workers, self.job_workers):
            await pool.close()
        self.database.close()

    def profiles(self, connection: HTTPConnection) -> Profiles:
        """Return the profiles of a caller."""
        return Profiles.of(call_of(connection).key.id, self.settings.folder)

    def require_room(self) -> None:
        """Refuse a request for which there is no time.

        Raises
        ------
        Problem
            The server stops, or too many wait already.
        """
        if self.stopping:
            raise Problem("server_busy", "the server is about to stop: send it to another one", retry_after=5)
        if self.workers.waiting >= self.settings.queue:
            raise Problem("server_busy", f"{self.settings.queue} requests wait already: send it later", retry_after=2)

    async def judge(self, task: Task, tell: Callable[[object], None] | None = None, kind: str = "predict") -> Any:
        """Do a task for a client who waits, and count what it was about."""
        self.require_room()
        began = time.monotonic()
        found = await self.workers.run(task, Terms(tell, timeout=self.settings.timeout))
        self.metrics.judged(kind, getattr(found, "duration", 0.0), time.monotonic() - began)
        return found


def _for_jobs(settings: Settings) -> Workers:
    """Make who works on jobs: a cluster by its address, or processes of this machine."""
    if settings.on:
        return Machines(settings.on, settings.model, settings.asr)
    return Pool(settings.job_processes, settings.model, settings.asr, nice=10, lives=4)


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request has come to."""
    found: Service = connection.app.state.service
    return found
