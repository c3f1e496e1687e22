"""Jobs on a Dask cluster by its address: the executor that ``emovox batch`` uses, as the event loop sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from emovox.batch.engines import Cluster
from emovox.errors import EmovoxError, WorkerError
from emovox.serve.pool import in_loop, problem_of, result_of, work
from emovox.serve.problems import Problem
from emovox.serve.work import Recognise, Task

LOG = logging.getLogger("emovox.serve")


class Machines:
    """The machines of a cluster, connected to when they are first needed and again when they were gone.

    Recordings travel as bytes, and the model is looked up on each machine.  A task that nobody wants any more is done
    to its end there, and its result is dropped.

    Parameters
    ----------
    address : str
        Of the scheduler.
    model, asr : str
        As for :class:`emovox.serve.work.Bench`.
    """

    def __init__(self, address: str, model: str = "", asr: str = "") -> None:
        self._connect = partial(Cluster, partial(work, model, asr), address, float("inf"))
        self._cluster: Cluster | None = None
        self._connecting = asyncio.Lock()
        self._before = 0
        self.waiting = 0  # the scheduler's affair

    @property
    def width(self) -> int:
        """Number of tasks that are given to the cluster at a time."""
        return self._cluster.width if self._cluster else 1

    @property
    def deaths(self) -> int:
        """Number of machines that were lost."""
        return self._before + (self._cluster.deaths if self._cluster else 0)

    @property
    def ready(self) -> bool:
        """Whether the scheduler was there when it was last asked."""
        return self._cluster is not None

    def start(self) -> None:
        """Do nothing: the cluster works for others, too."""

    async def close(self) -> None:
        """Let go of the cluster."""
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            await asyncio.to_thread(cluster.close, wait=False)

    async def run(
        self,
        task: Task,
        tell: Callable[[object], None] | None = None,
        *,
        urgent: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Do a task, see :meth:`emovox.serve.pool.Workers.run`; nothing is told before it is done.

        Raises
        ------
        Problem
            The task failed or took too long, or nobody is there (`server_busy`): what is not done is for later then.
        """
        cluster = await self._connected()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def finished(found: Any) -> None:
            if not done.done():
                done.set_result(found)

        travelling = await asyncio.to_thread(_as_bytes, task)
        await asyncio.to_thread(cluster.submit, travelling, in_loop(finished), limit=timeout)
        found = await done
        if isinstance(found, WorkerError):
            await self._require(cluster)
            raise problem_of(found, timeout)
        if isinstance(found, EmovoxError):
            LOG.error("a machine of the cluster cannot begin: %s", found)
            raise Problem("server_busy", "no worker can start", retry_after=10)
        return result_of(*found)

    async def _connected(self) -> Cluster:
        async with self._connecting:
            if self._cluster is not None:
                await self._require(self._cluster)
            if self._cluster is None:
                try:
                    self._cluster = await asyncio.to_thread(self._connect)
                except EmovoxError as error:
                    LOG.error("the cluster cannot be used: %s", error)
                    raise Problem("server_busy", "nobody is there to work on jobs", retry_after=10) from error
            return self._cluster

    async def _require(self, cluster: Cluster) -> None:
        """Make sure that a cluster is still there: what it has lost is nobody's fault."""
        try:
            cluster.check()
        except EmovoxError as error:
            if cluster is self._cluster:
                self._before, self._cluster = self.deaths, None
                await asyncio.to_thread(cluster.close, wait=False)
            raise Problem("server_busy", "the cluster is gone", retry_after=10) from error


def _as_bytes(task: Task) -> Task:
    """Take a recording along that lies in a file of this machine."""
    if isinstance(task, Recognise) and isinstance(task.upload.content, str):
        return replace(task, upload=replace(task.upload, content=Path(task.upload.content).read_bytes()))
    return task
