"""Clients are told that jobs are finished: signed, again where it fails, and nowhere inside."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from emovox.serve import jobs
from emovox.serve.jobs import DELIVERIES, Database, Jobs, Sound, Webhooks
from emovox.serve.settings import Problem, Settings
from tests.serve import refused, serving, wav

SECRET = "0123456789abcdef"


class Listener(http.server.BaseHTTPRequestHandler):
    """A client's server: it remembers what it was told, and answers what it is to answer."""

    told: list[tuple[dict[str, str], bytes]]
    answers: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.send_header("Location", "https://localhost/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def certificate(folder: Path) -> Path:
    """Write a certificate for localhost, with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    made = made.add_extension(x509.BasicConstraints(True, None), True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "localhost.pem"
    path.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Listener]]]:
    """Listen on this machine by https; give the URL and what was told."""
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    kind = type("Heard", (Listener,), {"told": [], "answers": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(socket, "getaddrinfo", _loopback)
    yield f"https://localhost:{server.server_port}/hook?a=1", kind
    server.shutdown()
    thread.join()
    server.server_close()


def _loopback(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
    """Look names up without IPv6: nobody listens there."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if host == "localhost" else host, port))]


def waiting(folder: Path, url: str, **settings: Any) -> Webhooks:
    """Finish a job whose client wants to be told."""
    given = Settings(data=str(folder), **settings)
    database = Database(given)
    jobs = Jobs(database, given)
    jobs.create("", {}, [Sound("a", 1, iter([b"x"]))], webhook={"url": url, "secret": SECRET})
    (claim,) = jobs.claim(1)
    assert jobs.finish(claim, {"file": "a", "duration": 1.0, "predictions": []}, None)
    return Webhooks(database, given)


def states(hooks: Webhooks) -> list[tuple[str, int, str]]:
    with hooks._database.read() as connection:
        columns = DELIVERIES.c.state, DELIVERIES.c.attempts, DELIVERIES.c.answer
        return [tuple(row) for row in connection.execute(sa.select(*columns))]


def test_a_finished_job_is_told_signed(folder: Path, listener: tuple[str, type[Listener]]) -> None:
    url, heard = listener
    hooks = waiting(folder, url, webhook_networks="127.0.0.0/8")
    assert hooks.deliver_one()
    assert not hooks.deliver_one()
    assert states(hooks) == [("delivered", 1, "200")]
    ((headers, body),) = heard.told
    assert json.loads(body)["job"]["state"] == "succeeded"
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == jobs.signature(SECRET, headers["webhook-id"], stamp, body)


@pytest.mark.parametrize(("answer", "state"), [(500, "waiting"), (429, "waiting"), (302, "waiting"), (410, "given up")])
def test_what_fails_is_sent_again_under_the_same_id(
    folder: Path, listener: tuple[str, type[Listener]], answer: int, state: str
) -> None:
    url, heard = listener
    heard.answers.append(answer)
    hooks = waiting(folder, url, webhook_networks="127.0.0.0/8")
    assert hooks.deliver_one()
    assert states(hooks) == [(state, 1, str(answer))]
    assert not hooks.deliver_one()  # it is not due yet
    with hooks._database.begin() as connection:
        connection.execute(sa.update(DELIVERIES).values(due=0.0))
    assert hooks.deliver_one() is (state == "waiting")
    assert len({headers["webhook-id"] for headers, _ in heard.told}) == 1
    assert [path for _, path in heard.told if b"elsewhere" in path] == []


def test_no_private_address_is_reached_whatever_its_name(folder: Path, listener: tuple[str, type[Listener]]) -> None:
    url, heard = listener
    hooks = waiting(folder, url)
    assert hooks.deliver_one()
    assert states(hooks) == [("waiting", 1, "PermissionError")]
    assert heard.told == []


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "[::1]",
    "[::ffff:192.168.0.1]",
    "[fd00::1]",
    "0.0.0.0",
    "224.0.0.1",
]


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "https://",
        "https://u:p@a.example",
        "file:///etc/passwd",
        "https://[",
        "x",
        "https://a b.example/",
        "https://a.example/\r\nX: y",
    ],
)
def test_only_https_urls_are_taken(url: str) -> None:
    with pytest.raises(Problem, match="options_invalid"):
        jobs.checked(url, ())


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_at_once(host: str) -> None:
    with pytest.raises(Problem, match="options_invalid"):
        jobs.checked(f"https://{host}/x", ())
    assert not jobs.allowed(ipaddress.ip_address(host.strip("[]")), ())
    assert jobs.checked("https://10.1.2.3/x", ("10.0.0.0/8",)).hostname == "10.1.2.3"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.1", "2130706433", "0x7f.1", "0", "017700000001"])
def test_private_addresses_are_refused_however_they_are_written(host: str) -> None:
    with pytest.raises(Problem, match="options_invalid"):
        jobs.checked(f"https://{host}/x", ())


def test_a_job_tells_the_secret_once(folder: Path) -> None:
    with serving(folder) as client:
        for url, status in (("https://hooks.example/x", 202), ("https://192.168.0.1/", 422)):
            options = json.dumps({"webhook": {"url": url}})
            answer = client.post("/v1/jobs", files={"file": ("a.wav", wav())}, data={"options": options})
            assert answer.status_code == status
        refused(answer, 422, "options_invalid")
        (job,) = client.get("/v1/jobs").json()["jobs"]
        assert "webhook" not in job["options"]
