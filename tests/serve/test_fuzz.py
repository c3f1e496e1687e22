"""Whatever a client of a live stream says, no failure of ours goes out and no session is left over."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession

from emovox.serve.service import Service
from tests import examples, size
from tests.serve import serving

#: Messages of a conversation as it is meant.
MESSAGES: list[bytes | str] = [
    json.dumps({"type": "session.update", "options": {"encoding": "f32le", "rate": 8000, "channels": 2, "name": "a"}}),
    json.dumps({"type": "session.update", "options": {"setting": "auto", "estimates": True, "hop": 0.5}}),
    json.dumps({"type": "session.resume", "session_id": "str-x", "after": 3}),
    bytes(6400),
    b"\x00\x7f" * 4000,
    json.dumps({"type": "session.close"}),
]
ODD: list[Any] = [None, True, -1, 1e308, "", "\x00", "a" * 5000, [], {}, [[]], "../../x", "session.close"]


def mutated(chance: random.Random, message: bytes | str) -> bytes | str:
    """Change a message at random."""
    if isinstance(message, bytes):
        data = bytearray(message)
        for _ in range(chance.randrange(20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data[: chance.randrange(len(data) + 1)])
    if chance.random() < 0.5:
        place = chance.randrange(len(message))
        return (
            message[:place]
            + chance.choice(["", '"', "{", "\\u0000", "9", "é"])
            + message[place + chance.randrange(3) :]
        )
    body = json.loads(message)
    target = body["options"] if "options" in body and chance.random() < 0.7 else body
    target[chance.choice([*target, "x"])] = chance.choice(ODD)
    return json.dumps(body)


def converse(socket: WebSocketTestSession, chance: random.Random) -> None:
    """Say things that are nearly what is meant, and go away at any moment."""
    assert socket.receive_json()["type"] == "session.created"
    for _ in range(chance.randrange(8)):
        message = chance.choice(MESSAGES)
        message = mutated(chance, message) if chance.random() < 0.7 else message
        if isinstance(message, bytes):
            socket.send_bytes(message)
        else:
            socket.send_text(message)
    if chance.random() < 0.7:
        socket.send_text(MESSAGES[-1])  # type: ignore[arg-type]
        while True:
            found = socket.receive_json()
            assert found["type"] != "error" or found["status"] < 500, found
            if found["type"] == "session.closed":
                return


def conversations(folder: Path, count: int) -> None:
    """Hold mutated conversations; no session may be left over."""
    with serving(folder, rate=0, resume=0) as client:
        for seed in range(count):
            with client.websocket_connect("ws://localhost/v1/stream") as socket:
                converse(socket, random.Random(seed))
        assert sessions(client) == 0
        assert 'status="500"' not in client.get("/metrics").text


def sessions(client: TestClient) -> int:
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    return len(service.streams._sessions)


def test_mutated_conversations(folder: Path) -> None:
    conversations(folder, examples(100))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many_mutated_conversations(folder: Path) -> None:
    conversations(folder, size(2_000, 10_000))
