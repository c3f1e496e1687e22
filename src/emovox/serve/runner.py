"""The work on jobs: leases recordings, has them judged, and writes what came out; tells clients that jobs are done."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from emovox.recognition.timeline import Timeline
from emovox.serve.database import AWAY
from emovox.serve.jobs import ATTEMPTS, Claim, Jobs
from emovox.serve.options import JobOptions, parsed
from emovox.serve.parts import Part, kept
from emovox.serve.pool import Terms, Workers
from emovox.serve.problems import Problem
from emovox.serve.profiles import Profiles
from emovox.serve.settings import Settings
from emovox.serve.telemetry import Metrics
from emovox.serve.webhooks import Webhooks

LOG = logging.getLogger("emovox.serve")

#: Seconds between looks at the database where nobody has said that there is something new.
_LOOK = 1.0
#: Seconds between progress that is written.
_BEAT = 1.0
#: Seconds between looks for jobs whose time is over.
_SWEEP = 30.0


class Runner:
    """Works on the jobs of all servers that share a database, as many recordings at a time as there are processes.

    Parameters
    ----------
    settings : Settings
    jobs : Jobs
    workers : Workers
        Where recordings are judged.
    metrics : Metrics
    """

    def __init__(self, settings: Settings, jobs: Jobs, workers: Workers, metrics: Metrics, webhooks: Webhooks) -> None:
        self._settings, self._jobs, self._workers, self._metrics = settings, jobs, workers, metrics
        self._webhooks = webhooks
        self._active: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin to work."""
        for step, pause in (
            (self._look, _LOOK),
            (self._beat, min(_BEAT, self._settings.lease / 3)),
            (self._sweep, _SWEEP),
        ):
            self._loops.append(asyncio.create_task(self._again(step, pause)))

    def wake(self) -> None:
        """Say that there is something new."""
        self._news.set()

    async def stop(self) -> None:
        """Stop working, and give back what is not done."""
        self._stopping = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        given = [claim for claim, _ in self._active.values()]
        for _, task in list(self._active.values()):
            task.cancel()
        await asyncio.gather(*(task for _, task in list(self._active.values())), return_exceptions=True)
        if given:
            await asyncio.to_thread(self._jobs.give_back, given)

    async def _again(self, step: Callable[[], Any], pause: float) -> None:
        """Do something again and again; a database that is away for a while is waited for."""
        while True:
            try:
                await step()
            except sa.exc.SQLAlchemyError as error:
                LOG.warning("the database does not answer", extra={"reason": type(error).__name__})
            except Exception:
                LOG.exception("failure")
            await asyncio.sleep(pause if step != self._look else 0)
            if step == self._look:
                try:
                    # Not `wait_for`, which in Python 3.11 loses a cancellation that comes together with the news.
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                except TimeoutError:
                    continue
                self._news.clear()

    async def _look(self) -> None:
        """Lease as many recordings as there is room for."""
        free = await asyncio.to_thread(lambda: self._workers.width) - len(self._active)
        for claim in await asyncio.to_thread(self._jobs.claim, free) if free > 0 else ():
            task = asyncio.create_task(self._work(claim))
            self._active[claim.token] = claim, task
            task.add_done_callback(lambda _, token=claim.token: self._done(token))  # type: ignore[misc]

    def _done(self, token: str) -> None:
        self._active.pop(token, None)
        self._news.set()

    async def _beat(self) -> None:
        """Put off the ends of the leases; stop the work on those that are gone."""
        if self._active:
            claims = [claim for claim, _ in self._active.values()]
            for lost in await asyncio.to_thread(self._jobs.beat, claims):
                if lost.token in self._active:
                    self._active[lost.token][1].cancel()

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._jobs.sweep)

    async def _work(self, claim: Claim) -> None:
        """Judge one recording, and write what came out."""
        began = time.monotonic()
        result: dict[str, Any] | None = None
        problem: dict[str, Any] | None = None
        try:
            if claim.attempts > ATTEMPTS:
                raise Problem("worker_died", "the recording ended every server that read it: leave it out")
            part = await asyncio.to_thread(self._fetched, claim)
            try:
                found = await self._judged(claim, part)
            finally:
                part.close()
            result = found.to_dict()
            self._metrics.judged("job", found.duration, time.monotonic() - began)
        except AWAY:  # the lease ends, and whoever reaches the database takes over
            LOG.warning("the database does not answer")
            return
        except Problem as error:
            if error.code == "server_busy":  # that is ours, not the recording's
                await asyncio.to_thread(self._jobs.give_back, [claim])
                await asyncio.sleep(_LOOK)
                return
            problem = {key: value for key, value in error.to_dict("").items() if key != "request_id"}
        while not await self._written(claim, result, problem):
            await asyncio.sleep(_LOOK)

    async def _written(self, claim: Claim, result: dict[str, Any] | None, problem: dict[str, Any] | None) -> bool:
        """Write what came out; return False where the database is away."""
        try:
            in_force = await asyncio.to_thread(self._jobs.finish, claim, result, problem)
        except AWAY:
            return False
        state = "lost" if not in_force else "failed" if result is None else "succeeded"
        self._metrics.jobs.labels(state).inc()
        LOG.info("recording", extra={"job": claim.job, "recording": claim.recording, "reason": state})
        self._webhooks.wake()
        return True

    def _fetched(self, claim: Claim) -> Part:
        """Fetch the sound of a recording."""
        with tempfile.TemporaryFile() as file:
            for data in self._jobs.sound(claim.recording):
                file.write(data)
            file.flush()
            return kept(file, claim.name)

    async def _judged(self, claim: Claim, part: Part) -> Timeline:
        options: JobOptions = parsed(JobOptions, claim.options)
        profiles = Profiles.of(claim.owner, self._settings.folder)
        task = await asyncio.to_thread(options.task, part, profiles, self._settings.job_seconds)

        def tell(what: object) -> None:
            if isinstance(what, float):
                claim.seconds = what

        found: Timeline = await self._workers.run(task, Terms(tell, timeout=self._settings.job_timeout))
        return found
