"""The process: listens, starts the application, and ends it so that nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emovox.errors import InputError
from emovox.serve.app import create_app
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from emovox.serve.telemetry import configure

LOG = logging.getLogger("emovox.serve")

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
    """HTTP as uvicorn speaks it; who connects and sends no request is not waited for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._head: int | None = 0  # bytes of the head of a request so far; None within a body
        self._clock = self.loop.call_later(_HEAD, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that never ends is not."""
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > _LONGEST and not self.transport.is_closing():
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request's head."""
        super().on_message_begin()
        self._head = 0
        self._clock.cancel()
        self._clock = self.loop.call_later(_HEAD, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._head = None
        self._clock.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._clock.cancel()
        super().connection_lost(exc)


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
        """Open, and say where."""
        await super().startup(sockets)
        if self.started and sockets:
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
    """
    configure(settings.log)
    service = Service(settings)
    if not settings.loopback and not service.keys.exist():
        raise InputError(
            f"host {settings.host} can be reached from elsewhere and nobody has a key: make one with "
            "emovox keys create NAME, or listen on 127.0.0.1"
        )
    opening = _listening(settings)
    config = uvicorn.Config(
        create_app(service),
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=_MESSAGE,
        ws_per_message_deflate=False,
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
    Server(config, service, opened).run(sockets=[opening])


def _listening(settings: Settings) -> socket.socket:
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
