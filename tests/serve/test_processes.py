"""True servers in processes of their own: they open, judge, stop, and may be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests import EXAMPLES, size
from tests.serve import Postgres

CLIP = EXAMPLES / "plain.wav"
RUN = "from emovox.cli.main import run; run()"


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        self.log = log
        arguments = ["serve", "--port", "0", "--data", str(folder), "--rate", "0", *options]
        with log.open("ab") as file:
            before = file.tell()
            self.process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=file, cwd=folder.parent)
        try:
            self.address = self._opened(before)
        except BaseException:
            self.process.kill()
            raise
        self.client = httpx.Client(base_url=self.address, timeout=100)

    def _opened(self, before: int) -> str:
        """Wait until it tells its address."""
        deadline = time.monotonic() + 600
        while True:
            text = self.log.read_bytes()[before:].decode()
            if found := re.search(r"emovox serves at (\S+)", text):
                return found[1]
            assert self.process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def ready(self) -> Server:
        """Wait until it can judge."""
        deadline = time.monotonic() + 600
        while self.client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def workers(self) -> list[int]:
        """Return the numbers of its worker processes."""
        places = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        try:
            found = [int(one) for place in places for one in place.read_text(encoding="utf-8").split()]
            commands = [Path(f"/proc/{one}/cmdline").read_bytes() for one in found]
        except OSError:  # a thread or a process has just ended
            return []
        return [one for one, line in zip(found, commands, strict=True) if b"emovox.recognition.workers" in line]

    def kill(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """Stop it as an operator does."""
        self.client.close()
        self.process.terminate()
        return self.process.wait(120)


def post(server: Server, count: int, **options: Any) -> str:
    """Make a job of the clip."""
    files = [("file", (f"{n}.wav", CLIP.read_bytes(), "audio/wav")) for n in range(count)]
    answer = server.client.post("/v1/jobs", files=files, data={"options": json.dumps(options)})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def end_of(server: Server, job: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = server.client.get(f"/v1/jobs/{job}").json()
        if found.get("state", "away") not in ("queued", "running", "away"):  # away: the database does not answer
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def written(*logs: Path) -> Counter[str]:
    """Count how often a result of each recording was written, by the logs of all servers."""
    lines = [json.loads(line) for log in logs for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    return Counter(line["recording"] for line in lines if line["event"] == "recording" and line["reason"] != "lost")


def test_a_server_opens_judges_heals_and_stops(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", tmp_path / "log", "--workers", "1", "--timeout", "60").ready()
    try:
        form = {"file": ("a.wav", CLIP.read_bytes(), "audio/wav")}
        before = server.client.post("/v1/predict", files=form).json()["predictions"]
        if sys.platform == "linux":
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
            after = server.client.post("/v1/predict", files=form)
            assert after.json()["predictions"] == before
            assert 'emovox_worker_deaths{pool="requests"} 1.0' in server.client.get("/metrics").text
        host, _, port = server.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 60) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nno head at all\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 400")
    finally:
        assert server.stop() == 0
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "Traceback" not in log


def test_beyond_this_machine_a_key_is_needed(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path)]
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("emovox: host 0.0.0.0 can be reached from elsewhere and nobody has a key: make one")


#: Jobs and kills of the long tests.
JOBS, KILLS = size((60, 15), (500, 50))


def killing(folder: Path, jobs: int, kills: int, *options: str, database: Postgres | None = None) -> None:
    """Kill one of two servers, a worker of one, or their database again and again while jobs are done."""
    chance = random.Random(0)
    if database is not None:
        options = (*options, "--database", database)
    logs = [folder / "log-0", folder / "log-1"]
    common = ["--workers", "1", "--lease", "3", *options]
    servers = [Server(folder / "data", log, *common) for log in logs]
    try:
        names = [post(servers[n % 2], 2) for n in range(jobs)]
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 2.0))
            which, what = chance.randrange(2), chance.random()
            if database is not None and what > 0.7:
                database.kill()
            elif what < 0.4 and (workers := servers[which].workers()):
                os.kill(chance.choice(workers), signal.SIGKILL)
            else:
                servers[which].kill()
                servers[which] = Server(folder / "data", logs[which], *common)
        for name in names:
            end = end_of(servers[0], name, 300 + 3 * jobs)
            assert end["recordings"]["succeeded"] == 2, end
            results = servers[0].client.get(f"/v1/jobs/{name}/result").json()["results"]
            assert len({json.dumps(one["predictions"]).replace("1.wav", "0.wav") for one in results}) == 1
        found = written(*logs)
        assert max(found.values()) == 1
        assert len(found) >= 2 * jobs - kills  # a server may be killed between writing a result and telling so
    finally:
        for one in servers:
            one.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_killed_servers_and_workers_lose_no_job_and_finish_none_twice(tmp_path: Path) -> None:
    killing(tmp_path, jobs=3, kills=2)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_many_kills_during_many_jobs(tmp_path: Path) -> None:
    killing(tmp_path, JOBS, KILLS, "--jobs", "1000")


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_many_kills_with_postgres(tmp_path: Path, postgres: Postgres) -> None:
    killing(tmp_path, JOBS, KILLS, "--jobs", "1000", database=postgres)
