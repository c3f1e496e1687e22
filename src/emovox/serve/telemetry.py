"""What an operator sees: metrics for Prometheus, and a log of JSON lines without sound, words, names or paths."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOG = logging.getLogger("emovox.serve")

#: What a log line may tell beside its time, level and text.
_FIELDS = (
    "request_id",
    "method",
    "route",
    "status",
    "ms",
    "key",
    "code",
    "session",
    "job",
    "recording",
    "reason",
    "seconds",
)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "emovox_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self.latency = Histogram(
            "emovox_request_seconds",
            "Seconds from a request to the end of its answer",
            ["route"],
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
            registry=registry,
        )
        self.audio = Counter("emovox_audio_seconds", "Seconds of sound judged", ["kind"], registry=registry)
        self.factor = Histogram(
            "emovox_real_time_factor",
            "Seconds of waiting and judging for each second of sound",
            ["kind"],
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.streams = Gauge("emovox_streams", "Live streams that are open", registry=registry)
        self.jobs = Counter(
            "emovox_recordings_of_jobs", "Recordings of jobs that are done", ["state"], registry=registry
        )
        self._queue = Gauge("emovox_queue", "Requests that wait for a worker", ["pool"], registry=registry)
        self._deaths = Gauge("emovox_worker_deaths", "Worker processes that died", ["pool"], registry=registry)

    def watch(self, pool: str, waiting: Callable[[], float], deaths: Callable[[], float]) -> None:
        """Ask for the state of a pool whenever the metrics are read."""
        self._queue.labels(pool).set_function(waiting)
        self._deaths.labels(pool).set_function(deaths)

    def judged(self, kind: str, seconds: float, took: float) -> None:
        """Count a recording or stretch that was judged."""
        self.audio.labels(kind).inc(seconds)
        if seconds > 0:
            self.factor.labels(kind).observe(took / seconds)

    def text(self) -> bytes:
        """Write all of them in the format of Prometheus."""
        return generate_latest(self._registry)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, text, and the fields that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; of an exception its type alone, since its message may hold a name."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {name: getattr(record, name) for name in _FIELDS if getattr(record, name, None) is not None}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line)


def configure(level: str) -> None:
    """Send the log of the service, and what the HTTP server warns of, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, least in (("emovox", level), ("uvicorn", "warning")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least.upper())
