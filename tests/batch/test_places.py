"""Files elsewhere: an S3 server on this machine that refuses one request in twenty."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from emovox.batch import places
from emovox.batch.places import Folder, Inputs, Place, Remote, persistent, place
from emovox.batch.plan import require
from emovox.errors import InputError, MissingExtraError
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


@pytest.mark.parametrize(
    ("url", "package", "module"),
    [
        ("gs://calls", " gcsfs", "gcsfs"),
        ("az://calls", " adlfs", "adlfs"),
        ("sftp://host/calls", " paramiko", "paramiko"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, url: str, package: str, module: str) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'emovox[cloud]'{package}")):
        place(url)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'emovox[cloud]'{package}")):
        place(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match="FSSPEC_SFTP_PASSWORD") as caught:
        place("sftp://me:secret@host/calls")
    assert "secret" not in str(caught.value)


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


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def azure(patched: pytest.MonkeyPatch) -> Iterator[str]:
    """Run Azurite, Microsoft's emulator; the environment points to it."""
    pytest.importorskip("adlfs")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no azurite-blob here: npm install --global azurite")
    port = free_port()
    command = [program, "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    account = f"http://127.0.0.1:{port}/devstoreaccount1"
    # The key is not secret: Microsoft documents it for all emulators.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    parts = f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={account};"
    patched.setenv("AZURE_STORAGE_CONNECTION_STRING", f"DefaultEndpointsProtocol=http;{parts}")
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield "az://calls"
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def google(patched: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an emulator of Google's storage; the environment points to it."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True)
    server.start()
    patched.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    try:
        yield "gs://calls"
    finally:
        server.stop()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of the emulators and the libraries that reach them
@pytest.mark.parametrize("store", [azure, google])
def test_other_clouds_as_input_and_output(
    store: Callable[[pytest.MonkeyPatch], AbstractContextManager[str]],
    calls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with store(monkeypatch) as url:
        files, bucket = places.filesystem(url)
        files.mkdir(bucket)
        for path in calls.rglob("*.wav"):
            files.pipe_file(f"{bucket}/in/{path.relative_to(calls).as_posix()}", path.read_bytes())
        found = [one.id for one in Inputs(f"{url}/in")]
        assert found == sorted(one.id for one in Inputs(str(calls)))
        assert [one.id for one in Inputs(f"{url}/in/b/*.wav")] == [
            f"calls/in/{one}" for one in found if one[:2] == "b/"
        ]
        where = place(f"{url}/out")
        done = run(Inputs(f"{url}/in"), where)
        assert (done.recordings, done.failed) == (7, 2)
        assert run(Inputs(f"{url}/in"), where).recordings == 0
        run(Inputs(f"{url}/in"), tmp_path)
        for name, data in content(tmp_path).items():
            assert where.read(name) == data, name
        where.remove("summary.json")
        assert where.read("summary.json") is None


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run an SFTP server over a folder ``served``; give its address, and what cuts all connections."""
    asyncssh = pytest.importorskip("asyncssh")
    pytest.importorskip("paramiko")
    config = pytest.importorskip("fsspec.config")  # what FSSPEC_SFTP_PASSWORD is read into when fsspec is imported
    monkeypatch.setitem(config.conf, "sftp", {"password": "secret", "look_for_keys": False, "allow_agent": False})
    (tmp_path / "served").mkdir()

    class Guard(asyncssh.SSHServer):  # type: ignore[misc,name-defined]
        def connection_made(self, conn: Any) -> None:
            connections.append(conn)

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("me", "secret")

    async def serve() -> int:
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Guard,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(tmp_path / "served")),
        )
        return int(acceptor.get_port())

    connections: list[Any] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(serve(), loop).result(20)

    def cut() -> None:
        for one in connections:
            loop.call_soon_threadsafe(one.abort)

    yield f"sftp://me@127.0.0.1:{port}", cut
    cut()
    time.sleep(0.1)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_server_of_sftp_as_input_and_output_goes_on_after_lost_connections(
    sftp: tuple[str, Callable[[], None]], calls: Path, tmp_path: Path
) -> None:
    address, cut = sftp
    shutil.copytree(calls, tmp_path / "served" / "in")
    found = [one.id for one in Inputs(f"{address}/in")]
    assert found == sorted(one.id for one in Inputs(str(calls)))
    assert next(iter(Inputs(f"{address}/in/b/*.wav"))).file.startswith(f"{address}/in/b/")
    where = place(f"{address}/out")
    cut()
    done = run(Inputs(f"{address}/in"), where)
    assert (done.recordings, done.failed) == (7, 2)
    cut()
    again = run(Inputs(f"{address}/in"), where)
    assert again.recordings == 0
    run(Inputs(f"{address}/in"), tmp_path / "here")
    assert content(tmp_path / "served" / "out") == content(tmp_path / "here")
