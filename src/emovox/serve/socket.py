"""``WS /v1/stream``: the conversation with the client of a live stream."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from emovox.errors import EmovoxError
from emovox.serve.guard import PROTOCOL, call_of, require
from emovox.serve.options import StreamOptions, parsed
from emovox.serve.problems import Problem
from emovox.serve.service import Service, service_of
from emovox.serve.settings import split
from emovox.serve.stream import Message, Session

LOG = logging.getLogger("emovox.serve")

router = APIRouter()

#: Seconds that a client may take to read what it is sent.
_SLOWEST = 30.0
#: Messages that may be wrong before the session ends.
_PATIENCE = 10
#: Why a session ends, with the code that its connection is closed with.
REASONS = {"client_request": 1000, "idle_timeout": 1000, "server_shutdown": 1012, "error": 1008}


class GoneError(Exception):
    """The client is gone, or another connection has taken its session over."""


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Hear a live stream, and tell what becomes certain."""
    key = require(socket, "stream")
    service = service_of(socket)
    conversation = Conversation(service, socket, service.streams.open(key.id, key.streams))
    try:
        offered = split(socket.headers.get("sec-websocket-protocol", ""))
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        await conversation.run()
    finally:
        conversation.leave()


class Conversation:
    """What is said between the server and one connection.

    Parameters
    ----------
    service : Service
    socket : WebSocket
        A connection that is accepted.
    session : Session
        A new session; a client that comes back gets its old one instead.
    """

    def __init__(self, service: Service, socket: WebSocket, session: Session) -> None:
        self._service, self._socket, self.session = service, socket, session
        self._streams = service.streams
        self._taken = session.taken
        self._wrong = 0
        self._options: StreamOptions | None = None
        self._waiting: tuple[asyncio.Event, tuple[asyncio.Future[Any], asyncio.Future[Any]]] | None = None

    async def run(self) -> None:
        """Talk until one of the two ends it."""
        try:
            await self._say("session.created", session_id=self.session.id, limits=self._limits())
            reason = await self._listen()
            await self._close(reason)
        except (GoneError, WebSocketDisconnect, OSError, RuntimeError, TimeoutError):
            pass  # the client may come back

    def leave(self) -> None:
        """Keep a session that was not closed for its client, unless another connection has it."""
        self._forget()
        if not self._taken.is_set():
            self._streams.leave(self.session)

    def _limits(self) -> dict[str, float]:
        settings = self._service.settings
        return {"seconds": settings.stream_seconds, "idle": settings.idle, "resume": settings.resume}

    async def _listen(self) -> str:
        """Take messages until the session is to end; return why."""
        while True:
            message = await self._next()
            if isinstance(message, str):
                return message
            if message["type"] == "websocket.disconnect":
                raise GoneError
            try:
                if message.get("bytes") is not None:
                    await self._hear(message["bytes"])
                elif await self._order(message.get("text") or ""):
                    return "client_request"
            except Problem as problem:
                if await self._complain(problem):
                    return "error"
            except EmovoxError as error:  # samples that are no numbers: the stream is as it was before
                if await self._complain(Problem.of(error)):
                    return "error"

    async def _next(self) -> dict[str, Any] | str:
        """Wait for the next message, or for a reason to end."""
        received = asyncio.ensure_future(self._socket.receive())
        stopping, taken = self._reasons()
        idle = self._service.settings.idle
        done, _ = await asyncio.wait((received, stopping, taken), timeout=idle, return_when="FIRST_COMPLETED")
        if taken in done:
            received.cancel()
            raise GoneError
        if received in done:
            return received.result()  # type: ignore[return-value]
        received.cancel()
        return "server_shutdown" if stopping in done else "idle_timeout"

    def _reasons(self) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
        """Wait, once for all messages, for the end of the server and for a connection that takes the session over."""
        if self._waiting is None or self._waiting[0] is not self._taken:
            self._forget()
            ends = asyncio.ensure_future(self._streams.stopping.wait()), asyncio.ensure_future(self._taken.wait())
            self._waiting = self._taken, ends
        return self._waiting[1]

    def _forget(self) -> None:
        """Wait for nothing any more."""
        for one in self._waiting[1] if self._waiting else ():
            one.cancel()

    async def _hear(self, data: bytes) -> None:
        if self.session.options is None:
            await self._begin(self._options or StreamOptions.model_validate({}))
        await self._streams.hear(self.session, data, self._send)

    async def _begin(self, options: StreamOptions) -> None:
        profiles = self._service.profiles(self._socket)
        ask = await asyncio.to_thread(options.ask, profiles)
        enrolled = await asyncio.to_thread(profiles.voices) if options.speakers is not None else ()
        await self._streams.start(self.session, options, ask, enrolled)

    async def _order(self, text: str) -> bool:
        """Do what a message in JSON asks; say whether the session is to end."""
        try:
            order = json.loads(text)
        except (ValueError, RecursionError):
            order = None
        if not isinstance(order, dict) or not isinstance(order.get("type"), str):
            raise Problem("bad_request", "a text message is a JSON object with a type")
        kind = order.pop("type")
        if kind == "session.close":
            return True
        if kind == "session.update":
            await self._update(order)
        elif kind == "session.resume":
            await self._resume(order)
        else:
            raise Problem(
                "bad_request", f"type {kind[:40]!r}: expected session.update, session.resume or session.close"
            )
        return False

    async def _update(self, order: dict[str, Any]) -> None:
        """Take the options of the stream, before its first frame."""
        if self.session.options is not None:
            raise Problem("options_invalid", "options come before the first frame: open another session")
        given = order.get("options", {})
        if not isinstance(given, dict) or set(order) - {"options"}:
            raise Problem("bad_request", 'expected {"type": "session.update", "options": {...}}')
        options: StreamOptions = parsed(StreamOptions, given)
        options.cut()
        await asyncio.to_thread(options.ask, self._service.profiles(self._socket))
        self._options = options
        await self._say("session.updated", options=options.model_dump())

    async def _resume(self, order: dict[str, Any]) -> None:
        """Go on with a session whose connection broke."""
        after = order.get("after", 0)
        name = order.get("session_id")
        if not isinstance(name, str) or not isinstance(after, int) or self.session.options is not None:
            raise Problem("bad_request", 'expected {"type": "session.resume", "session_id": ..., "after": N} at first')
        found = self._streams.take(name, self.session.owner)
        self._streams.close(self.session)
        self.session, self._taken = found, found.taken
        async with found.lock:  # what its old connection still has to hear
            await self._say("session.resumed", session_id=found.id, received=found.received, produced=found.produced)
            for message in found.after(after):
                await self._send(message)

    async def _complain(self, problem: Problem) -> bool:
        """Tell a client what is wrong; say whether that was too much."""
        self._wrong += 1
        fatal = problem.kind.status >= 500 or problem.code in ("worker_died", "timed_out", "audio_too_long")
        over = fatal or self._wrong >= _PATIENCE
        body = problem.to_dict(call_of(self._socket).request_id)
        await self._say("error", **{**body, "type": "error"}, retryable=problem.code in ("server_busy", "not_found"))
        return over

    async def _close(self, reason: str) -> None:
        """Tell what is left to tell, and end."""
        try:
            for message in await self._streams.finish(self.session):
                await self._send(message)
        except (Problem, EmovoxError):
            reason = "error"
        session = self.session
        self._streams.close(session)
        await self._say(
            "session.closed", reason=reason, received=session.received, seconds=session.heard, produced=session.produced
        )
        LOG.info("stream", extra={"reason": reason, "seconds": round(session.heard, 1), "key": session.owner or None})
        await self._socket.close(REASONS[reason])

    async def _say(self, kind: str, **values: Any) -> None:
        await self._text(json.dumps({"type": kind, **values} if kind != "error" else values))

    async def _send(self, message: Message) -> None:
        await self._text(message.text)

    async def _text(self, text: str) -> None:
        """Send; a client that does not read holds its own stream back, and is left at last."""
        async with asyncio.timeout(_SLOWEST):
            await self._socket.send_text(text)
