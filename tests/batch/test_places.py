"""Files elsewhere: an S3 server on this machine that refuses one request in twenty."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emovox.batch import places
from emovox.batch.entries import Inputs
from emovox.batch.places import Folder, Place, Remote, persistent, place
from emovox.batch.plan import require
from emovox.errors import InputError
from tests.batch import content, run


@pytest.fixture
def memory() -> Place:
    """Return a place in fsspec's memory."""
    pytest.importorskip("fsspec")
    return place("memory://tests/place")


def test_places_are_alike(memory: Place, tmp_path: Path) -> None:
    for one in (memory, place(str(tmp_path / "place"))):
        assert one.names("parts") == []
        assert one.read("parts/a") is None
        one.remove("parts/a")
        for text in (b"first", b"second"):
            one.write("parts/a", text)
        one.write("parts/b", b"")
        assert (one.names("parts"), one.read("parts/a"), one.read("parts/b")) == (["a", "b"], b"second", b"")
        one.remove("parts/b")
        assert one.names("parts") == ["a"]
    assert isinstance(memory, Remote)
    assert isinstance(place("C:/x"), Folder)


def test_what_fails_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    answers: list[Any] = [OSError("busy"), RuntimeError("reset"), "content"]

    def call() -> str:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return str(found)

    assert persistent(call, "read it") == "content"
    assert waits == [0.1, 0.2]
    answers[:] = [OSError("busy\nfor long")] * 7
    with pytest.raises(InputError, match=r"cannot read it \(busy for long\)"):
        persistent(call, "read it")
    answers[:] = [FileNotFoundError()]
    with pytest.raises(FileNotFoundError):
        persistent(call, "read it")


def test_addresses_that_cannot_be_used() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match="nonsense://x cannot be used"):
        place("nonsense://x")


class Flaky:
    """A web application that answers 503 to one request in twenty."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner, self._lock = inner, threading.Lock()
        self.requests = self.refused = 0
        self.every = 20

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Any:
        with self._lock:
            self.requests += 1
            refuse = self.requests % self.every == 0
            self.refused += refuse
        if refuse:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        return self._inner(environ, start_response)


@pytest.fixture(scope="module")
def s3() -> Iterator[Flaky]:
    """Run an S3 server with a bucket ``calls``; the environment points to it."""
    pytest.importorskip("s3fs")
    app = pytest.importorskip("moto.moto_server.werkzeug_app")
    serving = pytest.importorskip("werkzeug.serving")
    flaky = Flaky(app.DomainDispatcherApplication(app.create_backend_app))
    server = serving.make_server("127.0.0.1", 0, flaky, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "x")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "x")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield flaky
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_object_store_as_input_and_output(s3: Flaky, calls: Path, tmp_path: Path) -> None:
    files, _ = places.filesystem("s3://calls")
    files.mkdir("calls")
    for path in calls.rglob("*.wav"):
        files.pipe_file(f"calls/in/{path.relative_to(calls).as_posix()}", path.read_bytes())
    found = [one.id for one in Inputs("s3://calls/in")]
    assert found == sorted(one.id for one in Inputs(str(calls)))
    matched = [one.id for one in Inputs("s3://calls/in/b/*.wav")]
    assert matched == [f"calls/in/{one}" for one in found if one.startswith("b/")]

    where = place("s3://calls/out")
    before = s3.requests
    done = run(Inputs("s3://calls/in"), where)
    assert (done.recordings, done.failed) == (7, 2)
    assert s3.refused > 0
    assert s3.requests - before > 20
    plan = require(where)
    assert plan.done(where) == {0, 1, 2, 3}
    again = run(Inputs("s3://calls/in"), where)
    assert again.recordings == 0

    # What is in the bucket is what a folder would hold.
    run(Inputs("s3://calls/in"), tmp_path)
    for name, data in content(tmp_path).items():
        assert where.read(name) == data, name
    assert len(where.names("logs")) == 2
    with pytest.raises(InputError, match="make the bucket or folder first"):
        place("s3://nowhere/out").write("a", b"")
