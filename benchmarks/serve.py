"""Costs of the service: recordings over HTTP against the library alone, live streams, memory of the server.

    python benchmarks/serve.py CLIP... [--requests 60] [--streams 0] [--seconds 60] [--json serve.json]

Opening is from the start of the process to the first answer, by the clock and in processor time, which does not depend
on other load; ready is when a recording can be judged. The rate over HTTP is compared in processor time, too (of the
server and its workers against the library in one process a core, five times in turn): 100 % would be a service that
costs nothing; --requests 0 leaves it out. With --streams N, N live streams run in real time for --seconds, in messages
of 0.1 s. How long after the message that makes an event certain the event comes is measured by the clock, so that the
machine must be idle. Memory is the proportional set size of the server and its workers, ten times in that time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from websockets.asyncio.client import connect

from emovox import EmotionRecognizer, audio
from emovox.recognition.analysis import cores
from emovox.types import RATE, Float32Array

#: Seconds of sound in a message of a live stream.
PIECE = 0.1


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", "from emovox.cli.main import run; run()", "serve", "--port", "0"]
        options = [
            "--data",
            str(folder),
            "--rate",
            "0",
            "--streams",
            "1000",
            "--streams-each",
            "1000",
            "--log",
            "error",
        ]
        began = time.monotonic()
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = re.search(r"http://\S+", self.process.stderr.readline())
        assert found is not None
        self.address = found[0]
        httpx.get(f"{self.address}/healthz", timeout=60).raise_for_status()
        self.opening = {"seconds": time.monotonic() - began, "processor_seconds": processor([self.process.pid])}
        while httpx.get(f"{self.address}/readyz", timeout=60).status_code != 200:
            time.sleep(0.1)
        self.opening["ready_seconds"] = time.monotonic() - began

    def processes(self) -> list[int]:
        """Return the server and its workers."""
        places = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [self.process.pid, *(int(one) for place in places for one in place.read_text("ascii").split())]

    def processor(self) -> float:
        """Return the processor time of all processes, in seconds."""
        return processor(self.processes())

    def memory(self) -> float:
        """Return the memory of all processes in MB, shared pages divided among them."""
        texts = (Path(f"/proc/{one}/smaps_rollup").read_text("ascii") for one in self.processes())
        return sum(int(found[1]) for text in texts if (found := re.search(r"Pss:\s+(\d+)", text))) / 1000


def processor(processes: list[int]) -> float:
    """Return the processor time of some processes, in seconds."""
    ticks = 0
    for one in processes:
        fields = Path(f"/proc/{one}/stat").read_text("ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def library(clips: list[Path], count: int) -> float:
    """Return the processor time of the library for one recording, in seconds."""
    recognizer = EmotionRecognizer()
    recognizer.predict(str(clips[0]))
    began = time.process_time()
    for number in range(count):
        recognizer.predict(str(clips[number % len(clips)]))
    return (time.process_time() - began) / count


def alone(clips: list[Path], count: int) -> float:
    """Return the same with a process a core at work, as the service has them: they share caches and memory."""
    with ProcessPoolExecutor(cores(), get_context("spawn")) as processes:
        each = [processes.submit(library, clips, max(1, count // cores())) for _ in range(cores())]
        return sum(one.result() for one in each) / cores()


def over_http(server: Server, clips: list[Path], count: int) -> dict[str, float]:
    """Return the processor time of the server and of its workers for one recording, in milliseconds."""
    client = httpx.Client(base_url=server.address, timeout=600)
    contents = [clip.read_bytes() for clip in clips]

    def one(number: int) -> None:
        content = contents[number % len(contents)]
        client.post("/v1/predict", content=content, headers={"Content-Type": "audio/wav"}).raise_for_status()

    with ThreadPoolExecutor(2 * cores()) as threads:
        list(threads.map(one, range(2 * cores())))
        began, all_began = processor([server.process.pid]), server.processor()
        list(threads.map(one, range(count)))
    both, server_alone = server.processor() - all_began, processor([server.process.pid]) - began
    return {"server_ms": 1000 * server_alone / count, "workers_ms": 1000 * (both - server_alone) / count}


def compared(server: Server, clips: list[Path], count: int) -> dict[str, Any]:
    """Compare the service with the library, turn by turn, so that other load meets both; the middle of five counts."""
    turns = []
    for _ in range(5):
        one = {"library_ms": 1000 * alone(clips, count), **over_http(server, clips, count)}
        turns.append({"share": one["library_ms"] / (one["server_ms"] + one["workers_ms"]), **one})
    turns.sort(key=lambda one: one["share"])
    return {**turns[2], "shares": [one["share"] for one in turns]}


@dataclass
class Heard:
    """What the clients of live streams have seen.

    Attributes
    ----------
    late : dict of str to list of float
        By kind of event: seconds from when the message was sent that holds the last sample it needs, to its arrival.
    lag : list of float
        Seconds by which clients were late to send a message: how busy the machine was with something else.
    """

    late: dict[str, list[float]]
    lag: list[float]

    def percentiles(self, late: list[float]) -> dict[str, float]:
        """Return the middle and what few are later than, in milliseconds."""
        return {str(p): 1000 * float(np.percentile(late, p)) for p in (50, 95, 99)} if late else {}


async def one_stream(server: Server, sound: Float32Array, seconds: float, begin: float, heard: Heard) -> None:
    """Send a stream in real time, and note how late each event comes."""
    await asyncio.sleep(begin)
    size, sent = round(PIECE * RATE), list[float]()
    async with connect(server.address.replace("http", "ws", 1) + "/v1/stream", ping_interval=None) as socket:

        async def listen() -> None:
            async for text in socket:
                event, now = json.loads(text), time.monotonic()
                if event["type"] in heard.late:
                    last = math.ceil(round(event["decided"] * RATE) / size) - 1
                    heard.late[event["type"]].append(now - sent[min(last, len(sent) - 1)])
                if event["type"] == "session.closed":
                    return

        listening, began = asyncio.create_task(listen()), time.monotonic()
        for place in range(0, round(seconds * RATE), size):
            piece = np.take(sound, np.arange(place, place + size), mode="wrap")
            await asyncio.sleep(max(0.0, began + (place + size) / RATE - time.monotonic()))
            sent.append(time.monotonic())
            heard.lag.append(sent[-1] - began - (place + size) / RATE)
            await socket.send((piece * 32767).astype("<i2").tobytes())
        await socket.send(json.dumps({"type": "session.close"}))
        await listening


async def live(server: Server, sound: Float32Array, streams: int, seconds: float) -> dict[str, Any]:
    """Run live streams side by side."""
    heard = Heard({"utterance.start": [], "result": [], "utterance.end": []}, [])
    before = server.processor()
    # Messages of strangers do not come at the same moment.
    apart = 0.1 + PIECE / streams
    work = [one_stream(server, np.roll(sound, n * 7919), seconds, n * apart, heard) for n in range(streams)]
    tasks = [asyncio.create_task(one) for one in work]
    memory, began = [], time.monotonic()
    for part in range(1, 11):  # ten times, the last one before the streams end
        await asyncio.sleep(max(0.0, began + seconds * part / 10 - 1 - time.monotonic()))
        memory.append(server.memory())
    await asyncio.gather(*tasks)
    return {
        "streams": streams,
        "seconds": seconds,
        "results": len(heard.late["result"]),
        "cores": (server.processor() - before) / seconds,
        "late_ms": heard.percentiles([one for each in heard.late.values() for one in each]),
        **{f"late_ms_{kind}": heard.percentiles(late) for kind, late in heard.late.items()},
        "client_lag_ms": heard.percentiles(heard.lag),
        "memory_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data")
        try:
            found["opening"], found["memory_mb"] = server.opening, server.memory()
            if given.requests:
                found["rate"] = compared(server, given.clips, given.requests)
            if given.streams:
                sound = np.concatenate([audio.read(clip).samples for clip in given.clips])
                found["live"] = asyncio.run(live(server, sound, given.streams, given.seconds))
        finally:
            server.process.terminate()
            server.process.wait(60)
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
