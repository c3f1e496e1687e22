"""Connections that are no good: what never gets as far as the application is refused in the one shape, or left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from emovox.serve import server as module
from emovox.serve.server import Server, configured, listening
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from tests.serve import SHAPE, Inline

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Seconds after which something hangs.
PATIENCE = 60.0


class Door:
    """A server in this process, as clients see it: bytes go in, and bytes come out."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._port), PATIENCE)

    async def said(self, *pieces: bytes) -> bytes:
        """Say something, and return all that is answered until the connection ends."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        found = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        return found

    async def healthy(self) -> bool:
        return b'"status":"ok"' in await self.said(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


@asynccontextmanager
async def open_door(folder: Path, **settings: Any) -> AsyncIterator[Door]:
    given = Settings(data=str(folder), port=0, rate=0, **settings)
    service, opened = Service(given, Inline()), asyncio.Event()
    server, socket = Server(configured(service), service, lambda _: opened.set()), listening(given)
    running = asyncio.create_task(server.serve([socket]))
    try:
        await asyncio.wait_for(opened.wait(), PATIENCE)
        yield Door(socket.getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait_for(running, PATIENCE)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 5 * PATIENCE))


def problem(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].split()[:2] == ["http/1.1", str(status)], answer
    assert {"content-type: application/problem+json", "connection: close"} <= set(lines)
    found = json.loads(body)
    assert set(found) == SHAPE
    assert (found["status"], found["code"]) == (status, code)
    assert f"x-request-id: {found['request_id']}" in lines


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nno head at all\r\n\r\n", b"HELLO\r\n\r\n"]
)
def test_what_is_no_http_is_told(folder: Path, sent: bytes) -> None:
    async def test() -> None:
        async with open_door(folder) as door:
            problem(await door.said(sent), 400, "bad_request")
            assert await door.healthy()

    run(test())


def test_heads_that_never_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEAD", 0.3)

    async def test() -> None:
        async with open_door(folder) as door:
            begun = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
            problem(await door.said(begun, b"X: " + b"x" * 70_000), 431, "head_too_large")
            problem(await door.said(begun), 408, "upload_too_slow")
            assert await door.said() == b""  # who says nothing is told nothing
            assert await door.healthy()

    run(test())


def test_too_many_connections(folder: Path) -> None:
    async def test() -> None:
        async with open_door(folder, connections=2) as door:
            idle = [await door.connect() for _ in range(2)]
            problem(await door.said(HEALTH), 503, "server_busy")
            for _, writer in idle:
                writer.close()
                await writer.wait_closed()
            assert await door.healthy()

    run(test())
