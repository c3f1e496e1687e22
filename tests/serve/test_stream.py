"""Live streams over a socket: the same answers as for a file, and sessions that survive their connections."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from emovox import EmotionRecognizer, StreamingRecognizer, TimelineOptions
from emovox.serve.guard import Metrics
from emovox.serve.pool import Ask, Judge, Judged, Terms, Workers
from emovox.serve.service import Service, Streams
from emovox.serve.settings import Settings
from emovox.types import Waveform
from tests import EXAMPLES
from tests.serve import refused, serving

#: Where streams are opened.
STREAM = "ws://localhost/v1/stream"
CLIPS = [EXAMPLES / f"{name}.wav" for name in ("plain", "loud", "slow")]


def sound(rate: int = 16000) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return the clips one after the other, 16-bit."""
    assert all(soundfile.info(clip).samplerate == rate for clip in CLIPS)
    return np.concatenate([soundfile.read(clip, dtype="int16")[0] for clip in CLIPS])


def opened(socket: WebSocketTestSession, **options: Any) -> str:
    """Take the greeting and set options; return the session's id."""
    hello = socket.receive_json()
    assert hello["type"] == "session.created"
    if options:
        socket.send_json({"type": "session.update", "options": options})
        assert socket.receive_json()["options"].items() >= options.items()
    return str(hello["session_id"])


def closed(socket: WebSocketTestSession, until: str = "session.closed") -> list[dict[str, Any]]:
    """Take messages up to the last one."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] != until:
        found.append(socket.receive_json())
    return found


def service(client: TestClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found


def test_a_stream_is_its_file_is_the_library(folder: Path) -> None:
    samples = sound()
    pieces = [samples[i : i + 7000] for i in range(0, len(samples), 7000)]
    stream = StreamingRecognizer(EmotionRecognizer()).open("talk", estimates=False)
    want = [event for piece in pieces for event in stream.push(piece)] + stream.finish()
    with serving(folder, EmotionRecognizer) as client, client.websocket_connect(STREAM) as socket:
        opened(socket, name="talk")
        for piece in pieces:
            socket.send_bytes(piece.tobytes())
        socket.send_json({"type": "session.close"})
        *found, end = closed(socket)
        assert [one["number"] for one in found] == list(range(1, len(want) + 1))
        names = {"start": "utterance.start", "end": "utterance.end", "result": "result"}
        for one, event in zip(found, want, strict=True):
            assert one["type"] == names[event.kind]
            assert one["time"] == event.time
            assert one.get("prediction") == event.to_dict()["prediction"] or (
                one["prediction"] == json.loads(json.dumps(event.to_dict()["prediction"]))
            )
        assert end["reason"] == "client_request"
        assert (end["received"], end["produced"]) == (len(samples), len(want))
        whole = client.post(
            "/v1/predict?timeline=true&name=talk&encoding=s16le&rate=16000",
            content=samples.tobytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert whole.json()["predictions"] == [one["prediction"] for one in found if one["type"] == "result"]


def test_a_stream_that_is_its_own_setting_is_that_of_the_library(folder: Path) -> None:
    samples = np.tile(sound(), 2)
    stream = StreamingRecognizer(EmotionRecognizer(setting="auto")).open("talk", estimates=False)
    want = [event.to_dict()["prediction"] for event in [*stream.push(samples), *stream.finish()]]
    with serving(folder, EmotionRecognizer) as client, client.websocket_connect(STREAM) as socket:
        opened(socket, name="talk", setting="auto")
        socket.send_bytes(samples.tobytes())
        socket.send_json({"type": "session.close"})
        found = [one["prediction"] for one in closed(socket) if "prediction" in one]
    assert found == [json.loads(json.dumps(one)) for one in want if one is not None]
    assert found[-1]["setting"]["name"] == "auto"


def test_a_stream_that_tells_speakers_apart_is_that_of_the_library(folder: Path) -> None:
    samples = np.concatenate([sound(), np.zeros(8000, np.int16), sound()])
    stream = StreamingRecognizer(EmotionRecognizer(), TimelineOptions(speakers=1)).open("talk", estimates=False)
    want = [event.to_dict()["prediction"] for event in [*stream.push(samples), *stream.finish()]]
    with serving(folder, EmotionRecognizer) as client, client.websocket_connect(STREAM) as socket:
        opened(socket, name="talk", speakers=1)
        socket.send_bytes(samples.tobytes())
        socket.send_json({"type": "session.close"})
        found = [one["prediction"] for one in closed(socket) if "prediction" in one]
    assert found == [json.loads(json.dumps(one)) for one in want if one is not None]
    assert found[0]["speaker"] == "speaker 1"
    assert found[-1]["setting"]["name"] == "auto"


@pytest.mark.parametrize(("encoding", "rate", "channels"), [("f32le", 48000, 2), ("s16le", 8000, 1)])
def test_any_rate_and_pieces_of_any_size(client: TestClient, encoding: str, rate: int, channels: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (rate * 2, channels))
    data = (noise * 32768).astype("<i2").tobytes() if encoding == "s16le" else noise.astype("<f4").tobytes()
    with client.websocket_connect(STREAM) as socket:
        opened(socket, encoding=encoding, rate=rate, channels=channels)
        for i in range(0, len(data), 50001):  # half a frame goes with the next message
            socket.send_bytes(data[i : i + 50001])
        socket.send_json({"type": "session.close"})
        assert closed(socket)[-1]["received"] == 2 * rate


def test_estimates_are_sent_where_they_are_wanted(client: TestClient) -> None:
    with client.websocket_connect(STREAM) as socket:
        opened(socket, estimates=True, hop=0.5)
        socket.send_bytes(sound().tobytes())
        socket.send_json({"type": "session.close"})
        assert sum(one["type"] == "estimate" for one in closed(socket)) > 3


def test_estimates_leave_a_worker_free_for_results() -> None:
    """A result may come at any moment: it does not find an estimate on every worker."""

    class Slow:
        waiting, asked = 0, 0

        def __init__(self, width: int) -> None:
            self.width = width

        async def run(self, task: Judge, terms: Terms) -> Judged:
            self.asked += 1
            await asyncio.sleep(0)
            return Judged(None, 0.5)

    def window(running: bool) -> Judge:
        return Judge(Waveform(np.zeros(1600, np.float32), 0.0), "stream", Ask(), running)

    async def begun(width: int, *kinds: bool) -> int:
        workers = Slow(width)
        streams = Streams(Settings(), cast(Workers, workers), Metrics())
        await asyncio.gather(*(streams.judge(window(running)) for running in kinds))
        workers.waiting = 1
        assert await streams.judge(window(True)) is None  # somebody waits
        streams.stop()
        return workers.asked

    result, estimate = False, True
    assert asyncio.run(begun(2, result, estimate)) == 1
    assert asyncio.run(begun(2, estimate, estimate, result, result)) == 3
    assert asyncio.run(begun(4, estimate, estimate, estimate, estimate)) == 3
    assert asyncio.run(begun(1, estimate)) == 1


def test_a_client_that_comes_back_loses_nothing(folder: Path) -> None:
    samples = sound()
    with serving(folder) as client:
        with client.websocket_connect(STREAM) as socket:
            opened(socket)
            socket.send_bytes(samples.tobytes())
            socket.send_json({"type": "session.close"})
            want = closed(socket)[:-1]
        half = len(samples) // 2
        with client.websocket_connect(STREAM) as socket:
            name = opened(socket)
            socket.send_bytes(samples[:half].tobytes())
            first = socket.receive_json()  # the rest of what became certain is lost on the way
        deadline = time.monotonic() + 20
        while service(client).streams._sessions[name].left is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with client.websocket_connect(STREAM) as socket:
            opened(socket)
            socket.send_json({"type": "session.resume", "session_id": name, "after": first["number"]})
            back = socket.receive_json()
            assert back["type"] == "session.resumed"
            socket.send_bytes(samples[back["received"] :].tobytes())
            socket.send_json({"type": "session.close"})
            assert [first, *closed(socket)[:-1]] == want
        with client.websocket_connect(STREAM) as socket:
            opened(socket)
            socket.send_json({"type": "session.resume", "session_id": name, "after": 0})
            assert socket.receive_json()["code"] == "not_found"
        assert not service(client).streams._sessions


def test_idle_sessions_end_with_what_is_left_to_tell(folder: Path) -> None:
    with serving(folder, idle=0.3) as client, client.websocket_connect(STREAM) as socket:
        opened(socket)
        socket.send_bytes(sound()[: 16000 * 2].tobytes())
        found = closed(socket)
        assert [one["type"] for one in found[-3:]] == ["result", "utterance.end", "session.closed"]
        assert found[-1]["reason"] == "idle_timeout"


def test_too_long_and_too_many(folder: Path) -> None:
    settings: Any = {"stream_seconds": 1, "streams_each": 1}
    with serving(folder, **settings) as client, client.websocket_connect(STREAM) as socket:
        opened(socket)
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(STREAM):
            pass
        refused(denied.value, 429, "too_many_streams")
        socket.send_bytes(bytes(64000))
        found = closed(socket)
        assert [found[-2]["code"], found[-1]["reason"]] == ["audio_too_long", "error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


#: Messages that mean nothing.
NONSENSE = ["", "[", "[]", "{}", '{"type": 1}', '{"type": "x"}', "[" * 100000, '{"type": "session.resume"}']
NONSENSE += ['{"type": "session.update", "options": 1}', '{"type": "session.update", "x": 1}']


@pytest.mark.parametrize("message", NONSENSE)
def test_messages_that_mean_nothing_are_told_and_the_session_goes_on(client: TestClient, message: str) -> None:
    with client.websocket_connect(STREAM) as socket:
        opened(socket)
        socket.send_text(message)
        found = socket.receive_json()
        assert (found["type"], found["code"], found["retryable"]) == ("error", "bad_request", False)
        socket.send_bytes(bytes(3200))
        socket.send_json({"type": "session.update", "options": {}})
        assert socket.receive_json()["code"] == "options_invalid"
        socket.send_bytes(b"")
        socket.send_json({"type": "session.close"})
        assert closed(socket)[-1]["received"] == 1600
    assert not service(client).streams._sessions


def test_impossible_options_and_samples(client: TestClient) -> None:
    with client.websocket_connect(STREAM) as socket:
        opened(socket, encoding="f32le")
        for options in ({"rate": 1}, {"channels": 3}, {"hop": 30, "window": 2}, {"speaker": "../x"}, {"x": 1}):
            socket.send_json({"type": "session.update", "options": options})
            assert socket.receive_json()["type"] == "error"
        socket.send_bytes(np.full(100, np.nan, "<f4").tobytes())
        assert socket.receive_json()["code"] == "audio_unreadable"
        socket.send_bytes(np.zeros(100, "<f4").tobytes())
        socket.send_json({"type": "session.close"})
        assert closed(socket)[-1]["received"] == 100


def test_whoever_sends_nonsense_for_ever_is_left(client: TestClient) -> None:
    with client.websocket_connect(STREAM) as socket:
        opened(socket)
        for _ in range(10):
            socket.send_text("?")
        assert closed(socket)[-1]["reason"] == "error"
