"""Nobody gets in: keys, limits, what every request passes; and what an operator sees of it: counters and a log."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emovox.errors import InputError, did_you_mean
from emovox.serve.jobs import AWAY, KEYS, Database
from emovox.serve.settings import MEDIA_TYPE, Problem, Settings, place_of, split

#: What a key may allow.
SCOPES = {
    "predict": "judge recordings, and recognise their words",
    "stream": "open live streams",
    "jobs": "make, see and delete its own jobs",
    "profiles": "make, list and delete profiles of speakers and settings",
    "metrics": "read the server's metrics",
}
#: How a key begins.
MARK = "emovox"
#: Seconds for which a key that was found is not looked up again: a revoked one works so much longer at most.
REMEMBERED = 2.0


@dataclass(frozen=True)
class Key:
    """A key, without its secret.

    Attributes
    ----------
    id : str
        What it is called in lists and logs.
    name : str
        Whose it is.
    scopes : tuple of str
        What it allows, of :data:`SCOPES`.
    rate, streams, jobs : int or None
        Requests a minute, live streams at a time, unfinished jobs; None is the server's setting.
    created : float
        When it was made, in seconds since 1970.
    expires : float or None
        When it ends.
    revoked : float or None
        When it was revoked.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: int | None = None
    streams: int | None = None
    jobs: int | None = None
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None

    def valid(self, now: float) -> bool:
        """Say whether it works at a time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Keys:
    """The keys in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[str, tuple[float, Key | None]] = {}
        self._exists: tuple[float, bool] = (-REMEMBERED, False)

    def create(
        self, name: str, scopes: Sequence[str] = (), *, days: float | None = None, **limits: int | None
    ) -> tuple[Key, str]:
        """Make a key.

        Parameters
        ----------
        name : str
            Whose it is.
        scopes : sequence of str, optional
            What it allows; the default is all.
        days : float, optional
            After so many days it ends; the default is never.
        **limits : int, optional
            `rate` requests a minute, `streams` at a time, unfinished `jobs`; the default is the server's setting.

        Returns
        -------
        Key
        str
            The key as clients send it; it is not stored, and cannot be shown again.

        Raises
        ------
        InputError
            There is no such scope, or a number is not positive.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise InputError(f"a key has no scope {scope!r}: {did_you_mean(scope, SCOPES)}")
        for what, limit in limits.items():
            if limit is not None and limit < 1:
                raise InputError(f"a key with {what} {limit}: expected 1 or more, or none for the server's")
        if days is not None and not 0 < days < 40000:
            raise InputError(f"a key for {days:g} days: expected more than 0 and less than 40000")
        if not name or len(name) > 200:
            raise InputError(f"a key cannot be called {name[:40]!r}: give 1 to 200 characters")
        key = Key(
            secrets.token_hex(6),
            name,
            tuple(scopes) or tuple(SCOPES),
            created=time.time(),
            expires=None if days is None else time.time() + 86400 * days,
            **limits,
        )
        secret = secrets.token_urlsafe(32)
        with self._database.begin() as connection:
            connection.execute(
                sa.insert(KEYS).values(
                    id=key.id,
                    digest=_digest(secret),
                    name=name,
                    scopes=" ".join(key.scopes),
                    rate=key.rate,
                    streams=key.streams,
                    jobs=key.jobs,
                    created=key.created,
                    expires=key.expires,
                )
            )
        self._exists = (-REMEMBERED, False)
        return key, f"{MARK}-{key.id}-{secret}"

    def all(self) -> list[Key]:
        """Return all keys, the oldest first."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(KEYS).order_by(KEYS.c.created))]

    def revoke(self, ids: Iterable[str]) -> list[str]:
        """Revoke keys by their ids; return those that were revoked now.

        Raises
        ------
        InputError
            There is no such key.
        """
        done = []
        with self._database.begin() as connection:
            known = [row.id for row in connection.execute(sa.select(KEYS.c.id))]
            for one in ids:
                if one not in known:
                    raise InputError(f"there is no key {one!r}: {did_you_mean(one, known)}")
                values = {"revoked": time.time()}
                where = (KEYS.c.id == one) & KEYS.c.revoked.is_(None)
                if connection.execute(sa.update(KEYS).where(where).values(values)).rowcount:
                    done.append(one)
        self._found.clear()
        return done

    def exist(self) -> bool:
        """Say whether a key was ever made, revoked ones included: from then on all calls need one."""
        _, found = self._exists
        if self.stale:
            with self._database.read() as connection:
                found = connection.execute(sa.select(KEYS.c.id).limit(1)).first() is not None
            self._exists = (time.monotonic(), found)
        return found

    @property
    def stale(self) -> bool:
        """Say whether :meth:`exist` must ask the database."""
        asked, found = self._exists
        return not found and time.monotonic() - asked > REMEMBERED

    def find(self, text: str) -> Key | None:
        """Return the key that a client has sent; None where it is unknown, revoked or has ended."""
        digest = _digest(text)
        asked, key = self._found.get(digest, (-REMEMBERED, None))
        if time.monotonic() - asked > REMEMBERED:
            key = self._looked_up(text)
            if len(self._found) > 10_000:
                self._found.clear()
            self._found[digest] = (time.monotonic(), key)
        return key if key and key.valid(time.time()) else None

    def remembered(self, text: str) -> bool:
        """Say whether :meth:`find` can answer without the database."""
        asked, _ = self._found.get(_digest(text), (-REMEMBERED, None))
        return time.monotonic() - asked <= REMEMBERED

    def _looked_up(self, text: str) -> Key | None:
        mark, _, rest = text.partition("-")
        name, _, secret = rest.partition("-")
        if mark != MARK or not name or len(text) > 200:
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(KEYS).where(KEYS.c.id == name)).first()
        if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
            return None
        return _key(row)


def _digest(secret: str) -> str:
    """Return what is stored of a secret: it is random and long, so that nobody can find it by trying."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    values = {name: value for name, value in row._mapping.items() if name != "digest"}
    return Key(**{**values, "scopes": tuple(row.scopes.split())})


LOG = logging.getLogger("emovox.serve")

#: Who calls where no key was ever made: this machine's user, who may do everything.
NOBODY = Key("", "this machine", tuple(SCOPES))
#: What may be asked without a key.
OPEN = ("/healthz", "/readyz")
#: What is nobody's secret, so that a page can ask for the key: everything that is not the service's data.
GUARDED = ("/v1/", "/metrics")
#: WebSocket protocol; a browser, which cannot set headers, sends its key as a second one.
PROTOCOL = "emovox.v1"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
#: Bytes a second that an upload must bring on average once it has lasted a while.
_SLOWEST, _PATIENCE = 1000.0, 30.0
#: What an upload that breaks off raises inside a route.
_DISCONNECT = "http.disconnect"


@dataclass
class Call:
    """One request on its way.

    Attributes
    ----------
    request_id : str
        What it is called in answers and the log.
    key : Key
        Who calls.
    began : float
        When it came, by the monotonic clock.
    allowance : Allowance or None
        How many more may follow.
    """

    request_id: str
    key: Key
    began: float
    allowance: Allowance | None = None


def call_of(connection: HTTPConnection) -> Call:
    """Return what the guard knows of a request."""
    found: Call = connection.scope["state"]["call"]
    return found


def require(connection: HTTPConnection, scope: str) -> Key:
    """Make sure that the caller's key has a scope.

    Raises
    ------
    Problem
        It has not.
    """
    key = call_of(connection).key
    if scope not in key.scopes:
        raise Problem("scope_missing", f"the key has no scope {scope!r}: make one that has, with emovox keys create")
    return key


class Guard:
    """The outermost layer of the service.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    settings : Settings
    keys : Keys
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, metrics: Metrics) -> None:
        self._app, self._settings, self._keys, self._metrics = app, settings, keys, metrics
        self._rates = Rates()
        self._names = {"localhost", settings.host.lower(), *(name.lower() for name in split(settings.hosts))}
        self._origins = {origin.lower().rstrip("/") for origin in split(settings.origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or one WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req-{secrets.token_hex(10)}"
        call = Call(request_id, NOBODY, time.monotonic())
        scope.setdefault("state", {})["call"] = call
        answer = _Answer(scope, send, call)
        problem: Problem | None = None
        try:
            await self._admit(scope, headers, call)
            body = _Body(receive, headers, self._settings) if scope["type"] == "http" else None
            await self._app(scope, body.receive if body else receive, answer.send)
        except Problem as found:
            problem = found
        except asyncio.CancelledError:
            raise
        except AWAY:
            problem = Problem("server_busy", "the database does not answer: send it later", retry_after=5)
        except Exception as error:
            LOG.exception("failure", extra={"request_id": request_id, "reason": place_of(error)})
            problem = Problem("internal_error")
        if problem is not None:
            await answer.refuse(problem)
        self._count(scope, call, answer.status)

    async def _admit(self, scope: Scope, headers: Headers, call: Call) -> None:
        """Refuse who may not call, or calls too often."""
        self._check_host(headers)
        path = scope["path"]
        if path in OPEN:
            return
        preflight = self._check_origin(scope, headers)
        if not path.startswith(GUARDED) or preflight:
            return
        call.key = await self._caller(headers, _client(scope), call)
        quota = call.key.rate or self._settings.rate
        if quota:
            self._ask(call.key.id or _client(scope), quota, call)

    def _ask(self, client: str, quota: int, call: Call) -> None:
        """Take one of a client's requests."""
        call.allowance = self._rates.ask(client, quota)
        if not call.allowance.allowed:
            raise Problem(
                "rate_limited",
                f"more than {quota} requests a minute: wait, and send fewer",
                retry_after=call.allowance.wait,
            )

    def _check_host(self, headers: Headers) -> None:
        """Refuse a name that is not ours: a page elsewhere may have made its own name point here."""
        host = headers.get("host", "")
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            name = ""
        if name not in self._names and not _is_address(name):
            raise Problem("host_unknown", f"the host {host[:80]!r} is unknown: name it with --hosts where it is meant")

    def _check_origin(self, scope: Scope, headers: Headers) -> bool:
        """Refuse other people's web pages; return whether this is the question of an allowed one, before its call."""
        origin = headers.get("origin")
        if origin is None:
            return False
        ours = urlsplit(origin).netloc.lower() == headers.get("host", "").lower() if "://" in origin else False
        if not ours and origin.lower() not in self._origins:
            raise Problem("origin_forbidden", f"pages of {origin[:80]!r} may not call: --origins allows them")
        return scope.get("method") == "OPTIONS" and "access-control-request-method" in headers

    async def _caller(self, headers: Headers, client: str, call: Call) -> Key:
        """Find out who calls."""
        text = _sent(headers)
        if not await self._exist():
            return NOBODY
        if text is None:
            raise Problem("key_missing", "send Authorization: Bearer KEY (emovox keys create makes one)")
        if self._keys.remembered(text):
            key = self._keys.find(text)
        else:
            if self._settings.rate:  # guessing is counted by address
                self._ask(f"guess {client}", self._settings.rate, call)
            key = await asyncio.to_thread(self._keys.find, text)
        if key is None:
            raise Problem("key_invalid", "the key is unknown, revoked or has ended: make another one")
        return key

    async def _exist(self) -> bool:
        return await asyncio.to_thread(self._keys.exist) if self._keys.stale else self._keys.exist()

    def _count(self, scope: Scope, call: Call, status: int) -> None:
        """Write the line of the log, and count the request."""
        took = time.monotonic() - call.began
        route = getattr(scope.get("route"), "path", None) or ("-" if status >= 400 else "page")
        method = scope.get("method", "WS")
        self._metrics.requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        if scope["type"] == "http":
            self._metrics.latency.labels(route).observe(took)
        extra = {"request_id": call.request_id, "method": method[:10], "route": route, "status": status}
        level = logging.DEBUG if route in OPEN else logging.INFO
        LOG.log(level, "request", extra={**extra, "ms": round(1000 * took, 1), "key": call.key.id or None})


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS")


class _Answer:
    """The way back: adds the headers of every answer, and remembers its status."""

    def __init__(self, scope: Scope, send: Send, call: Call) -> None:
        self._scope, self._send, self._call = scope, send, call
        self.status = 0
        self._started = False

    async def send(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._started, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers():
                headers.setdefault(name, value)
            if "server" in headers:
                del headers["server"]
        elif message["type"] == "websocket.accept":
            self._started, self.status = True, 101
        await self._send(message)

    def _headers(self) -> Iterable[tuple[str, str]]:
        yield "X-Request-ID", self._call.request_id
        yield from _HEADERS.items()
        if self._scope["path"].startswith("/v1/"):
            yield "Cache-Control", "no-store"
        if self._call.allowance is not None:
            yield from self._call.allowance.headers().items()

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, where nothing was answered yet."""
        if self._started:
            if self._scope["type"] == "http":  # the client must see that the answer is not whole
                raise ConnectionAbortedError
            return
        kind = "http.response" if self._scope["type"] == "http" else "websocket.http.response"
        body = problem.body(self._call.request_id)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **problem.headers}
        if problem.kind.status in (408, 413):  # what is left of the body is not read
            headers["Connection"] = "close"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": f"{kind}.start", "status": problem.kind.status, "headers": raw})
        await self.send({"type": f"{kind}.body", "body": body})


class _Body:
    """The body of a request, which may be neither too large nor too slow."""

    def __init__(self, receive: Receive, headers: Headers, settings: Settings) -> None:
        self._receive, self._most, self._stall = receive, settings.upload_bytes, settings.upload_stall
        self._bytes, self._began, self._whole = 0, time.monotonic(), False
        stated = headers.get("content-length", "0")
        if stated.isdecimal() and int(stated) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """Receive the next message."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._stall):
                message = await self._receive()
        except TimeoutError:
            raise Problem("upload_too_slow", f"nothing came for {self._stall:g} s: send it again") from None
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._bytes > self._most:
            raise self._too_large()
        lasted = time.monotonic() - self._began
        if not self._whole and lasted > _PATIENCE and self._bytes < _SLOWEST * lasted:
            raise Problem("upload_too_slow", f"{self._bytes} bytes came in {lasted:.0f} s: send it again")
        return message

    def _too_large(self) -> Problem:
        return Problem("upload_too_large", f"more than {self._most / 1e6:g} MB: send less at a time")


def _sent(headers: Headers) -> str | None:
    """Find the key in a request."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    if key := headers.get("x-api-key"):
        return key
    for protocol in split(headers.get("sec-websocket-protocol", "")):
        if protocol != PROTOCOL:
            return protocol
    return None


def _client(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else "-"


def _is_address(name: str) -> bool:
    """Say whether a host is written as a number: no name points anywhere then."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


#: Clients that are remembered: the one that has not called for the longest time is forgotten first.
_CLIENTS = 20_000
_MINUTE = 60.0


@dataclass(frozen=True)
class Allowance:
    """What a client may still ask for.

    Attributes
    ----------
    allowed : bool
        Whether this request may go on.
    quota : int
        Requests a minute.
    remaining : int
        Requests that may follow at once.
    wait : float
        Seconds until the next one may come, where none may.
    """

    allowed: bool
    quota: int
    remaining: int
    wait: float

    def headers(self) -> dict[str, str]:
        """Return the headers that tell it (IETF draft, RateLimit header fields for HTTP)."""
        refill = _MINUTE / self.quota
        left = max(0.0, (self.quota - self.remaining) * refill)
        return {
            "RateLimit-Policy": f'"requests";q={self.quota};w=60',
            "RateLimit": f'"requests";r={self.remaining};t={round(left)}',
        }


class Rates:
    """A bucket of tokens for each client: it holds those of a minute, and fills up evenly.

    Examples
    --------
    >>> rates = Rates()
    >>> [rates.ask("anna", 2, now=0.0).allowed for _ in range(3)], rates.ask("anna", 2, now=30.0).allowed
    ([True, True, False], True)
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def ask(self, client: str, quota: int, *, now: float | None = None) -> Allowance:
        """Take a token of a client, if it has one."""
        now = time.monotonic() if now is None else now
        tokens, last = self._buckets.pop(client, (float(quota), now))
        tokens = min(float(quota), tokens + (now - last) * quota / _MINUTE)
        allowed = tokens >= 1
        tokens -= allowed
        self._buckets[client] = (tokens, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        wait = 0.0 if tokens >= 1 else (1 - tokens) * _MINUTE / quota
        return Allowance(allowed, quota, int(tokens), wait)


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
    for name, least in (("emovox", level), ("uvicorn", "warning"), ("python_multipart", "error")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least.upper())
