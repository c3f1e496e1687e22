"""Costs of the service: recordings over HTTP against the library alone, live streams, memory of the server.

    python benchmarks/serve.py CLIP... [--requests 60] [--streams 0] [--seconds 60] [--json serve.json]

Opening is from the start of the process to the first answer, by the clock and in processor time, which does not depend
on other load; ready is when a recording can be judged. The rate over HTTP is compared in processor time, too (of the
server and its workers against the library in one process a core, five times in turn): 100 % would be a service that
costs nothing. With --streams N, N live streams run in real time for --seconds, and the time from when an event was
certain to its arrival is measured by the clock, so that the machine must be idle; memory is the proportional set size
of the server and its workers, at the beginning and the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from websockets.asyncio.client import connect

from emovox import EmotionRecognizer, audio
from emovox.recognition.many import cores
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


async def one_stream(server: Server, sound: Float32Array, seconds: float, begin: float, late: list[float]) -> int:
    """Send a stream in real time; note how late each event comes, in seconds, and return how many results came."""
    await asyncio.sleep(begin)
    results = 0
    async with connect(server.address.replace("http", "ws", 1) + "/v1/stream", ping_interval=None) as socket:
        began = time.monotonic()

        async def listen() -> None:
            nonlocal results
            async for text in socket:
                event = json.loads(text)
                if event["type"] in ("utterance.start", "result", "utterance.end"):
                    late.append(time.monotonic() - began - event["decided"])
                    results += event["type"] == "result"
                if event["type"] == "session.closed":
                    return

        listening = asyncio.create_task(listen())
        size, place = round(PIECE * RATE), 0
        while place < seconds * RATE:
            piece = np.take(sound, np.arange(place, place + size), mode="wrap")
            place += size
            await asyncio.sleep(max(0.0, began + place / RATE - time.monotonic()))
            await socket.send((piece * 32767).astype("<i2").tobytes())
        await socket.send(json.dumps({"type": "session.close"}))
        await listening
    return results


async def live(server: Server, sound: Float32Array, streams: int, seconds: float) -> dict[str, Any]:
    """Run live streams side by side."""
    late: list[float] = []
    before = server.processor()
    # Messages of strangers do not come at the same moment.
    apart = 0.1 + PIECE / streams
    work = [one_stream(server, np.roll(sound, n * 7919), seconds, n * apart, late) for n in range(streams)]
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.sleep(0.1 * streams + min(10, seconds / 2))
    early = server.memory()
    await asyncio.sleep(max(0.0, seconds - min(10, seconds / 2) - 1))
    end = server.memory()
    results = sum(await asyncio.gather(*tasks))
    return {
        "streams": streams,
        "seconds": seconds,
        "results": results,
        "cores": (server.processor() - before) / seconds,
        "late_ms": {str(p): 1000 * float(np.percentile(late, p)) for p in (50, 95, 99)},
        "memory_mb": {"begin": early, "end": end},
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
