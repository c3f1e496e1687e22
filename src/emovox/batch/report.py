"""What people and programs are told while a run goes on: a bar, lines or JSON on standard error, and a log."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from emovox.batch.places import Folder, Place
from emovox.batch.plan import LOGS, Plan
from emovox.batch.tasks import Failed
from emovox.outputs.console import Console, Progress, is_terminal, say
from emovox.outputs.text import json_line, readable

#: Seconds between two lines or objects of progress, between two of a log's copies elsewhere, and of the rate's memory.
LINES, COPIES, MEMORY = 10.0, 60.0, 60.0


class Telling(StrEnum):
    """How progress is told."""

    AUTO = "auto"
    BAR = "bar"
    LINES = "lines"
    JSON = "json"
    NONE = "none"


class Log:
    """The log of one process in an output: a line of JSON an event, with its time.

    A folder gets each line at once; a place elsewhere, where nothing can be appended, all of them once a minute.
    """

    def __init__(self, place: Place) -> None:
        now = datetime.now(UTC)
        self.name = f"{LOGS}/{now:%Y%m%dT%H%M%S}-{platform.node() or 'host'}-{os.getpid()}.jsonl"
        self._place = place
        self._lines: list[str] = []
        self._copied = time.monotonic()
        self._here = place if isinstance(place, Folder) else None

    def __call__(self, event: str, **values: Any) -> None:
        """Write an event."""
        line = json_line({"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **values}) + "\n"
        if self._here is not None:
            self._here.append(self.name, line)
            return
        self._lines.append(line)
        if time.monotonic() - self._copied > COPIES:
            self.flush()

    def flush(self) -> None:
        """Write what is not written."""
        self._copied = time.monotonic()
        if self._lines:
            self._place.write(self.name, "".join(self._lines).encode())


class Report:
    """Takes note of what happens, and tells it.

    Parameters
    ----------
    plan : Plan
        Of the run.
    log : Log
        Where it is written down.
    telling : Telling
        How it is told meanwhile.
    todo : int
        How many recordings this process has to do.
    now : callable
        The clock, in seconds.
    """

    def __init__(
        self,
        plan: Plan,
        log: Log,
        telling: Telling = Telling.NONE,
        *,
        todo: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if telling is Telling.AUTO:
            telling = Telling.BAR if is_terminal(sys.stderr) else Telling.LINES
        self._plan, self._log, self._telling, self._now, self._todo = plan, log, telling, now, todo
        self.done = self.failed = self._silences = self._deaths = 0
        self.sound = 0.0
        self.began = self._told = now()
        self._recent: deque[tuple[float, int]] = deque([(self.began, 0)])
        self._bar: Progress | None = None
        self._stack = ExitStack()
        log("begin", fingerprint=plan.fingerprint, recordings=plan.recordings, todo=todo, pid=os.getpid())

    def recording(self, seconds: float, *, failed: bool) -> None:
        """Take note of a recording that is done."""
        self.done += 1
        self.failed += failed
        self._silences = 0
        self.sound += seconds
        now = self._now()
        if now - self._recent[-1][0] >= 1:
            self._recent.append((now, self.done))
            while len(self._recent) > 2 and now - self._recent[0][0] > MEMORY:
                self._recent.popleft()
            self._tell(now)

    def failure(self, name: str, failed: Failed) -> None:
        """Take note of what failed."""
        self._log("failed", id=readable(name), code=failed.code, message=failed.message, channel=failed.channel)

    def part(self, number: int, recordings: int, failures: int, seconds: float) -> None:
        """Take note of a part that is written."""
        self._log(
            "part", part=number, recordings=recordings, failures=failures, sound=round(seconds, 3), **self.state()
        )

    def waiting(self, seconds: float) -> None:
        """Take note that nothing has come for so long; the log hears of it once a minute."""
        if seconds >= COPIES * (1 + self._silences):
            self._silences += 1
            self._log("waiting", silent=round(seconds), **self.state())

    def deaths(self, number: int) -> None:
        """Take note of how many workers have died so far."""
        if number > self._deaths:
            self._deaths = number
            self._log("deaths", workers=number)

    def end(self, how: str) -> None:
        """Take note of the end: ``done``, ``stopped`` or why it could not go on."""
        self._tell(self._now(), last=True)
        self._log("end", how=how, **self.state())
        self._log.flush()

    @property
    def rate(self) -> float:
        """Recordings a second, of the last minute."""
        (then, before), now = self._recent[0], self._now()
        return (self.done - before) / (now - then) if now > then else 0.0

    def state(self) -> dict[str, Any]:
        """Return how far it is, in plain values."""
        spent, rate = self._now() - self.began, self.rate
        left = (self._todo - self.done) / rate if rate else None
        return {
            "done": self.done,
            "todo": self._todo,
            "failed": self.failed,
            "rate": round(rate, 2),
            "seconds": round(spent, 1),
            "seconds_left": None if left is None else round(left),
            "sound_total": round(self.sound, 1),
        }

    def _tell(self, now: float, *, last: bool = False) -> None:
        if self._telling is Telling.BAR:
            self._draw(last)
        elif self._telling is not Telling.NONE and (last or now - self._told >= LINES):
            self._told = now
            if self._telling is Telling.JSON:
                say(json_line({"event": "end" if last else "progress", **self.state()}))
            else:
                say(self.sentence())

    def sentence(self) -> str:
        """Say how far it is."""
        state = self.state()
        left = "" if state["seconds_left"] is None else f", {clock(state['seconds_left'])} left"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self._todo} recordings, {self.rate:.1f} a second{left}{failed}"

    def _draw(self, last: bool) -> None:
        if self._bar is None:
            self._bar = self._stack.enter_context(Progress(Console(sys.stderr)).shown())
        failed = f", {self.failed} failed" if self.failed else ""
        self._bar(f"recordings: {self.rate:.1f} a second{failed}", self.done, self._todo)
        if last:
            self._stack.close()


def events(place: Place, kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Read events of all logs of an output, in order of time."""
    found: list[dict[str, Any]] = []
    for name in place.names(LOGS):
        for line in (place.read(f"{LOGS}/{name}") or b"").decode("utf-8", "replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                continue
            if event.get("event") in kinds:
                found.append({**event, "log": name})
    return sorted(found, key=lambda event: str(event.get("time")))


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Examples
    --------
    >>> clock(59), clock(3725), clock(200_000)
    ('59 s', '1 h 02 min', '2 d 07 h')
    """
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24:02d} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{int(seconds)} s"
