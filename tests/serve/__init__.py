"""Tests of the service: mostly in process, with a fake recogniser where the model does not matter."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from starlette.testclient import TestClient

from emovox.recognition.recognizer import EmotionRecognizer
from emovox.serve.pool import PLAIN, Bench, Build, Task, Terms, in_loop, outcome, result_of
from emovox.serve.server import create_app
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from emovox.testing import FakeRecognizer

#: What the service answers every error with.
SHAPE = {"type", "title", "status", "code", "detail", "request_id"}


def fake(model: Any, **options: Any) -> EmotionRecognizer:
    """Make a recogniser without a trained model; its gate stays off."""
    options.pop("gate")
    return FakeRecognizer(**options)


class Inline:
    """Workers in threads of this process."""

    waiting = deaths = 0
    width = 2
    ready = True

    def __init__(self, build: Build = fake) -> None:
        self.bench = Bench(build=build)
        self.done = 0

    def start(self) -> None: ...

    async def close(self) -> None: ...

    async def run(self, task: Task, terms: Terms = PLAIN) -> Any:
        told = in_loop(terms.tell or (lambda _: None))
        found = await asyncio.to_thread(outcome, self.bench, task, lambda what=None: told(what))
        self.done += 1
        return result_of(*found)


class Postgres(str):
    """A PostgreSQL of the tests' own: its URL.

    Attributes
    ----------
    folder : Path
        Where its data is.
    start : callable
        Starts it.
    """

    folder: Path
    start: Callable[[], object]

    def kill(self) -> None:
        """End it as a failure of the machine would, and start it again."""
        os.kill(int((self.folder / "postmaster.pid").read_text("utf-8").split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + 300
        while True:
            time.sleep(1.0)  # its processes see that they are alone, and end: until then none can be started
            try:
                self.start()
                return
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise


@contextmanager
def serving(folder: Path, build: Build = fake, **settings: Any) -> Iterator[TestClient]:
    """Serve in this process."""
    service = Service(Settings(data=str(folder), **settings), Inline(build))
    with TestClient(create_app(service), base_url="http://localhost") as client:
        yield client


def wav(seconds: float = 1.0, rate: int = 16000, seed: int = 0, form: str = "WAV") -> bytes:
    """Write noise as a sound file."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
    soundfile.write(file, noise, rate, format=form)
    return file.getvalue()


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Make sure that an answer is a problem in the one shape; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) - {"errors"} == SHAPE
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert "/src/" not in answer.text
    assert "\n" not in body["detail"]
    return body
