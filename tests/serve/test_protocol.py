"""Connections that are no good: what never gets as far as the application is refused in the one shape, or left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from emovox.serve import server as module
from emovox.serve.server import Server, configured, listening
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from tests import size
from tests.serve import SHAPE, Inline

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Seconds after which something hangs.
PATIENCE = 60.0


class Door:
    """A server in this process, as clients see it: bytes go in, and bytes come out."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._port), PATIENCE)
        self._writers.append(found[1])
        return found

    async def close(self) -> None:
        """Go away everywhere."""
        for one in self._writers:
            one.close()
        await asyncio.gather(*(one.wait_closed() for one in self._writers), return_exceptions=True)

    async def said(self, *pieces: bytes) -> bytes:
        """Say something, and return all that is answered until the connection ends."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), PATIENCE)

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
        door = Door(socket.getsockname()[1])
        try:
            yield door
        finally:
            await asyncio.wait_for(door.close(), PATIENCE)
    finally:
        server.should_exit = True
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


def test_streams_that_are_held_back_are_not_taken_for_gone(folder: Path) -> None:
    """What answers a ping may lie behind sound that waits to be heard: 30 streams on two busy cores have shown it."""
    service = Service(Settings(data=str(folder)), Inline())
    assert configured(service).ws_ping_timeout is None
    service.database.close()


def upload(*more: str) -> bytes:
    head = ["POST /v1/predict HTTP/1.1", "Host: localhost", "Content-Type: audio/wav", *more, "", ""]
    return "\r\n".join(head).encode()


async def poured(door: Door, most: int) -> tuple[bytes, int]:
    """Send sound without an end, and without saying how much; return the answer and how many bytes went out."""
    reader, writer = await door.connect()
    writer.write(upload("Transfer-Encoding: chunked"))
    piece, sent = b"10000\r\n" + bytes(65536) + b"\r\n", 0
    answer = asyncio.create_task(reader.read(65536))
    with suppress(ConnectionError):
        while sent < most and not answer.done():
            writer.write(piece)
            sent += 65536
            await asyncio.wait_for(writer.drain(), PATIENCE)
    with suppress(ConnectionError):
        return await asyncio.wait_for(answer, PATIENCE), sent
    return b"", sent


def test_uploads_that_are_too_large_are_not_read_to_their_end(folder: Path) -> None:
    two_gigabytes = 2 * 10**9

    async def test() -> None:
        async with open_door(folder, upload_mb=1) as door:
            problem(await door.said(upload(f"Content-Length: {two_gigabytes}")), 413, "upload_too_large")
            answer, sent = await poured(door, two_gigabytes)
            assert sent < 20e6  # one megabyte, and what lies in the buffers of both sides
            assert not answer or answer.startswith(b"HTTP/1.1 413")
            assert await door.healthy()

    run(test())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_gigabytes_by_the_defaults(folder: Path) -> None:
    async def test() -> None:
        async with open_door(folder) as door:
            answers = [await poured(door, 2 * 10**9) for _ in range(2)]
            assert all(200e6 <= sent < 220e6 for _, sent in answers)
            assert await door.healthy()

    run(test())


def crowd(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open connections that say nothing, others that never finish, and be served beside them."""
    monkeypatch.setattr(module, "_HEAD", 3.0)

    async def test() -> None:
        async with open_door(folder, upload_stall=3) as door:
            idle = [await door.connect() for _ in range(count)]
            slow = []
            for number in range(count):  # half a head, or half a body
                slow.append(await door.connect())
                slow[-1][1].write(upload("Content-Length: 100000")[: 20 + 97 * (number % 2)])
            assert await door.healthy()
            ends = await asyncio.gather(
                *(asyncio.wait_for(reader.read(), PATIENCE) for reader, _ in [*idle, *slow]), return_exceptions=True
            )
            assert ends[:count] == [b""] * count
            assert all(isinstance(end, bytes) and b'"upload_too_slow"' in end for end in ends[count:])
            assert await door.healthy()

    run(test())


def test_idle_and_slow_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(folder, 10, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_hundreds_of_idle_and_slow_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    least, most = 3000, resource.getrlimit(resource.RLIMIT_NOFILE)
    if most[1] != resource.RLIM_INFINITY and most[1] < least:
        pytest.skip(f"only {most[1]} files may be open here, and {least} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, most[0]), most[1]))
    try:
        crowd(folder, size(150, 500), monkeypatch)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
