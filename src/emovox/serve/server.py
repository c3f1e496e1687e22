"""The server: its application with pages and health, and how it starts and stops."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
import logging
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emovox import __version__
from emovox.errors import EmovoxError, InputError, MissingExtraError
from emovox.model.file import load_card
from emovox.outputs.pages import sections
from emovox.serve import contract, routes
from emovox.serve.contract import RecognitionOptions, StreamOptions, mistakes, prediction_schemas
from emovox.serve.guard import Guard, call_of, configure, require
from emovox.serve.jobs import AWAY
from emovox.serve.routes import REASONS
from emovox.serve.service import Service, service_of
from emovox.serve.settings import BY_STATUS, KINDS, MEDIA_TYPE, Problem, Settings, split

#: Media types of the files of the page.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
}
#: Recordings to try: their files, and what is in them.
SAMPLES = {
    "samples/conversation.flac": ("A conversation", "Two synthetic voices, one on each channel."),
    "samples/lively.flac": ("A lively sentence", "One synthetic voice, high and quick."),
    "samples/plain.flac": ("A plain sentence", "One synthetic voice, as it comes."),
}


@dataclass
class Asset:
    """One file of the page.

    Parameters
    ----------
    name : str
        Its path below the page's folder.
    data : bytes
    """

    name: str
    data: bytes = field(repr=False)

    @property
    def type(self) -> str:
        """The media type."""
        return TYPES[self.name[self.name.rindex(".") :]]

    @cached_property
    def tag(self) -> str:
        """The entity tag: another one for other bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:24]}"'

    @cached_property
    def packed(self) -> bytes | None:
        """The bytes as gzip; None for sound, which is small already."""
        return None if self.type.startswith("audio/") else gzip.compress(self.data, mtime=0)

    def answer(self, request: Request) -> Response:
        """Answer with the file, or say that the client's copy is still good; parts of it are not sent."""
        packed = self.packed if takes_gzip(request.headers.get("accept-encoding")) else None
        tag = self.tag if packed is None else f'{self.tag[:-1]}-gzip"'  # other bytes, another tag
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding", "Accept-Ranges": "none"}
        known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
        if tag in known or known == ["*"]:
            return Response(status_code=304, headers=headers)
        if packed is not None:
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.type)
        return Response(self.data, headers=headers, media_type=self.type)


def takes_gzip(header: str | None) -> bool:
    """Say whether the header Accept-Encoding allows gzip.

    Examples
    --------
    >>> takes_gzip("gzip, br"), takes_gzip("gzip;q=0, br"), takes_gzip(None)
    (True, False, False)
    """
    return contract.accepted(header or "identity", {"gzip": 0, "identity": 1}) == "gzip"


def assets() -> list[Asset]:
    """Read the files of the page."""

    def within(folder: Traversable, path: str) -> list[Asset]:
        found = []
        for one in sorted(folder.iterdir(), key=lambda one: one.name):
            if one.is_dir():
                found += within(one, f"{path}{one.name}/")
            elif one.name[one.name.rfind(".") :] in TYPES:
                found.append(Asset(path + one.name, one.read_bytes()))
        return found

    return within(resources.files("emovox.serve") / "page", "")


def about(settings: Settings) -> dict[str, Any]:
    """Say what the page has to know before anybody is known: the model, its card, options and limits.

    Returns
    -------
    dict
        A static page has the same as a file, see ``page/engine.js``.
    """
    card = load_card(settings.model or None)
    options = [name for name in RecognitionOptions.model_fields if name not in _NOT_CHOSEN]
    return {
        "version": __version__,
        "model": card.name,
        "labels": list(card.labels),
        "dimensions": list(card.dimensions),
        "licence": card.licence,
        "options": options,
        "words": importlib.util.find_spec("faster_whisper") is not None,
        "profiles": ["speakers", *(["settings"] if "setting" in options else [])],
        "limits": {"bytes": settings.upload_bytes, "seconds": settings.job_seconds, "jobs": settings.jobs},
        "card": [
            {
                "title": one.title,
                "text": list(one.text),
                "head": list(one.head),
                "rows": [list(row) for row in one.rows],
            }
            for one in sections(card)
        ],
        "samples": [{"address": path, "name": name, "about": text} for path, (name, text) in SAMPLES.items()],
    }


#: Options that are no choice of a person.
_NOT_CHOSEN = ("name", "encoding", "rate", "pcm_channels", "format", "summary", "timeline")


def page_router() -> APIRouter:
    """Make the routes of the page: each file has its own, so that whatever else is asked for is not found."""
    router = APIRouter()
    told: dict[str, Any] = {}

    def serving(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return asset.answer(request)

        return serve

    async def tell(request: Request) -> Response:
        if not told:
            told.update(await asyncio.to_thread(about, service_of(request).settings))
        return JSONResponse(told, headers={"Cache-Control": "no-cache"})

    for asset in assets():
        paths = [f"/{asset.name}"] + (["/"] if asset.name == "index.html" else [])
        for path in paths:
            router.add_api_route(path, serving(asset), methods=["GET", "HEAD"], include_in_schema=False)
    router.add_api_route("/about.json", tell, methods=["GET"], include_in_schema=False)
    return router


_REF = "#/components/schemas/{model}"
_NUMBER, _TEXT, _COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def _message(kind: str, summary: str, **properties: Any) -> dict[str, Any]:
    """Describe a message in JSON."""
    schema = {"type": "object", "properties": {"type": {"const": kind}, **properties}, "required": ["type"]}
    return {"name": kind, "summary": summary, "contentType": "application/json", "payload": schema}


def _messages() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a client may say, and what the server says."""
    options: dict[str, Any] = {"$ref": _REF.format(model="StreamOptions")}
    place = {"number": _COUNT, "time": _NUMBER, "decided": _NUMBER}
    prediction = {"prediction": {"$ref": _REF.format(model="Prediction")}}
    counts = {"received": _COUNT, "produced": _COUNT}
    client = [
        _message("session.update", "Options, before the first frame", options=options),
        _message("session.resume", "Go on with a session whose connection broke", session_id=_TEXT, after=_COUNT),
        _message("session.close", "End the session"),
    ]
    server = [
        _message("session.created", "The session is open", session_id=_TEXT, limits={"type": "object"}),
        _message("session.updated", "The options that hold", options=options),
        _message("session.resumed", "How far the session is", session_id=_TEXT, **counts),
        _message("utterance.start", "Speech begins", **place),
        _message("estimate", "What an utterance that goes on sounds like so far", **place, **prediction),
        _message("result", "The judgement of an utterance or a part of it", **place, **prediction),
        _message("utterance.end", "Speech ends", **place),
        _message("error", "A problem", code={"enum": list(KINDS)}, detail=_TEXT, retryable={"type": "boolean"}),
        _message("session.closed", "The end", reason={"enum": list(REASONS)}, seconds=_NUMBER, **counts),
    ]
    sound = {
        "name": "sound",
        "summary": "Raw PCM, any number of bytes up to 1 MiB",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    return {"sound": sound, **{one["name"]: one for one in client}}, {one["name"]: one for one in server}


def describe_socket() -> dict[str, Any]:
    """Describe ``WS /v1/stream``."""
    client, server = _messages()
    both = {**client, **server}
    schema = StreamOptions.model_json_schema(ref_template=_REF)
    schemas = prediction_schemas() | schema.pop("$defs", {}) | {"StreamOptions": schema}

    def refs(names: dict[str, Any]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]

    return {
        "asyncapi": "3.0.0",
        "info": {"title": "emovox live streams", "version": __version__},
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in both},
            }
        },
        "operations": {
            "hear": {"action": "receive", "channel": {"$ref": "#/channels/stream"}, "messages": refs(client)},
            "tell": {"action": "send", "channel": {"$ref": "#/channels/stream"}, "messages": refs(server)},
        },
        "components": {"messages": both, "schemas": schemas},
    }


router = APIRouter()

_STATE: dict[str, Any] = {"tag": "server", "responses": {200: contract.described(contract.ref("Anything"), "It is.")}}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", **contract.operation("health", "Is the server alive?", _STATE))
async def healthz() -> dict[str, str]:
    """Say that the server is alive."""
    return {"status": "ok", "version": __version__}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", **contract.operation("ready", "Can the server judge a recording now?", _STATE))
async def readyz(request: Request) -> dict[str, str]:
    """Say whether a worker has read its model and the database answers."""
    service = service_of(request)
    if service.stopping:
        raise Problem("server_busy", "the server is about to stop", retry_after=5)
    if not service.workers.ready:
        raise Problem("server_busy", "no worker has started yet", retry_after=1)
    if not await asyncio.to_thread(_answers, service):
        raise Problem("server_busy", "the database does not answer", retry_after=5)
    return {"status": "ready"}


def _answers(service: Service) -> bool:
    try:
        with service.database.read() as connection:
            connection.execute(sa.text("select 1"))
    except sa.exc.SQLAlchemyError:
        return False
    return True


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Give the metrics in the format of Prometheus."""
    require(request, "metrics")
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi() -> JSONResponse:
    """Describe the socket for programs."""
    return JSONResponse(describe_socket())


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Describe the service for programs."""
    return JSONResponse(request.app.openapi())


def create_app(service: Service) -> FastAPI:
    """Put the routes together.

    Parameters
    ----------
    service : Service
        What they share; the application starts and stops it.

    Returns
    -------
    FastAPI
        An ASGI application.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="emovox",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its pages come from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(router)
    app.include_router(routes.router)
    app.include_router(page_router())
    app.openapi = _described(app)  # type: ignore[method-assign]
    for kind in (Problem, EmovoxError, HTTPException, RequestValidationError, *AWAY):
        app.add_exception_handler(kind, _refused)
    if origins := split(service.settings.origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID"],
            expose_headers=["Location", "Retry-After", "X-Request-ID", "RateLimit", "RateLimit-Policy"],
        )
    app.add_middleware(Guard, settings=service.settings, keys=service.keys, metrics=service.metrics)
    return app


def _described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def found() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = contract.openapi(app)
        return app.openapi_schema

    return found


async def _refused(request: Request, error: Exception) -> Response:
    """Answer an exception with a problem."""
    problem = _problem(error)
    request_id = call_of(request).request_id
    headers = {**problem.headers, **({"Connection": "close"} if problem.kind.status in (408, 413) else {})}
    return Response(problem.body(request_id), problem.kind.status, headers, MEDIA_TYPE)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, EmovoxError):
        return Problem.of(error)
    if isinstance(error, AWAY):
        return Problem("server_busy", "the database does not answer: send it later", retry_after=5)
    if isinstance(error, RequestValidationError):
        return Problem("options_invalid", mistakes(error.errors())[0]["detail"], errors=mistakes(error.errors()))
    status = getattr(error, "status_code", 400)
    headers = getattr(error, "headers", None) or {}
    detail = str(getattr(error, "detail", "")) if status == 400 else _ELSEWHERE.get(status, "")
    return Problem(BY_STATUS.get(status, "bad_request"), detail, headers=headers)


LOG = logging.getLogger("emovox.serve")

#: What to do where a request has come to no route.
_ELSEWHERE = {
    404: "there is no such place: GET /openapi.json lists all of them",
    405: "there is no such method here: the header Allow lists those that are",
}

#: Seconds that a connection may take to send the head of its first request.
_HEAD = 10.0
#: Bytes that the head of a request may have.
_LONGEST = 65_536
#: Seconds that a connection without a request is kept.
_KEEP_ALIVE = 30
#: Seconds that open requests have to end when the server stops.
_GRACE = 20
#: Bytes of one message of a socket.
_MESSAGE = 1 << 20


class Protocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it; who connects and sends no request is not waited for.

    What never gets as far as the application is refused in the same shape as everything else.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._ours, self._most, self.limit_concurrency = self.app, self.limit_concurrency, None
        self._head: int | None = 0  # bytes of the head of a request so far; None within a body
        self._clock = self.loop.call_later(_HEAD, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that never ends is not."""
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > _LONGEST and not self.transport.is_closing():
                self._refuse("head_too_large", f"the head of a request has {_LONGEST} bytes at most")

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request's head."""
        super().on_message_begin()
        self._head = 0
        self._clock.cancel()
        late = f"the head of the request did not come in {_HEAD:g} s: send it again"
        self._clock = self.loop.call_later(_HEAD, self._refuse, "upload_too_slow", late)

    def on_headers_complete(self) -> None:
        """Stop waiting; where there are too many connections, this one is told so."""
        self._head = None
        self._clock.cancel()
        self.app = _busy if self._most is not None and len(self.connections) > self._most else self._ours
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse("bad_request", "what came is no request of HTTP: check what sends it, and the port")

    def _refuse(self, code: str, detail: str) -> None:
        """Answer without the application, and close; an answer that has begun is broken off."""
        if self.cycle is None or self.cycle.response_complete:
            status, headers, body = _raw(Problem(code, detail))
            head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            head += [name + b": " + value for name, value in headers]
            self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._clock.cancel()
        super().connection_lost(exc)


def _raw(problem: Problem) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write a problem as an answer outside the application: status, headers, body."""
    request_id = f"req-{secrets.token_hex(10)}"
    body = problem.body(request_id)
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "X-Request-ID": request_id}
    headers |= {"Connection": "close", **problem.headers}
    return problem.kind.status, [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


async def _busy(scope: Any, receive: Any, send: Any) -> None:
    """Answer instead of the application where there are too many connections."""
    status, headers, body = _raw(Problem("server_busy", "too many connections are open: come back", retry_after=5))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server(uvicorn.Server):
    """A server that brings its streams and jobs to an end before it closes its connections."""

    def __init__(self, config: uvicorn.Config, service: Service, opened: Callable[[str], None]) -> None:
        super().__init__(config)
        self._service, self._opened = service, opened

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in peace when an operator says so: that is no failure."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open, and say where; only then begin to read models, which takes the cores."""
        await super().startup(sockets)
        if self.started and sockets:
            self._service.warm()
            host, port = sockets[0].getsockname()[:2]
            self._opened(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Bring streams and jobs to an end, then close."""
        await self._service.drain()
        await super().shutdown(sockets)


def serve(settings: Settings, opened: Callable[[str], None]) -> None:
    """Run a server until it is stopped.

    Parameters
    ----------
    settings : Settings
    opened : callable
        Called with the address when the server has opened.

    Raises
    ------
    InputError
        The address cannot be used, or is reachable from elsewhere and there is no key.
    ModelError
        There is no such model.
    MissingExtraError
        Words are to be recognised, and the extra for it is not installed.
    """
    configure(settings.log)
    if settings.model:
        load_card(settings.model)  # workers would tell it to clients only
    if settings.asr and importlib.util.find_spec("faster_whisper") is None:
        raise MissingExtraError("--asr", "text")
    service = Service(settings)
    if not settings.loopback and not service.keys.exist():
        raise InputError(
            f"host {settings.host} can be reached from elsewhere and nobody has a key: make one with "
            "emovox keys create NAME, or listen on 127.0.0.1"
        )
    # The event loop waits so long for the interpreter while a stream is heard: the default of 5 ms, for each message.
    sys.setswitchinterval(0.0005)
    Server(configured(service), service, opened).run(sockets=[listening(settings)])


def configured(service: Service) -> uvicorn.Config:
    """Say how a service is served."""
    settings = service.settings
    return uvicorn.Config(
        create_app(service),
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=_MESSAGE,
        ws_per_message_deflate=False,
        # A stream that is held back is not read from, so that the answer to a ping may lie behind its sound for long;
        # whoever is gone is found out by `idle`, and by what cannot be sent.
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies or None,
        limit_concurrency=settings.connections,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )


def listening(settings: Settings) -> socket.socket:
    """Open the socket, so that its failure is one line and its port is known."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        opening = socket.socket(found[0][0], socket.SOCK_STREAM)
        opening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opening.bind(found[0][4])
    except OSError as error:
        raise InputError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): name another --host or --port"
        ) from error
    return opening
