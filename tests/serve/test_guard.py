"""Who may call, from where, how often and how much."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from emovox.errors import InputError
from emovox.serve.guard import JsonLines, Keys
from emovox.serve.jobs import Database
from emovox.serve.settings import Settings
from tests.serve import refused, serving, wav


def test_open_routes_and_headers_of_every_answer(client: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing"):
        found = client.get(path, headers={"X-Request-ID": "mine-1"})
        assert found.headers["x-request-id"] == "mine-1"
        assert found.headers["x-content-type-options"] == "nosniff"
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "access-control-allow-origin" not in found.headers
    assert [client.head(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]  # as monitors ask
    assert "emovox_requests_total" in client.get("/metrics").text


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\tb"])
def test_a_strange_request_id_is_not_taken_over(client: TestClient, name: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": name}).headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "[::1"])
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    refused(client.get("/healthz", headers={"Host": host}), 400, "host_unknown")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "192.0.2.7"])
def test_our_names_and_addresses_are_taken(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:99"])
def test_pages_of_others_are_refused(client: TestClient, origin: str) -> None:
    headers = {"Origin": origin}
    refused(client.post("/v1/predict", content=wav(), headers=headers), 403, "origin_forbidden")
    refused(client.options("/v1/predict", headers=headers), 403, "origin_forbidden")


def test_our_page_and_named_ones_may_call(client: TestClient, folder: Path) -> None:
    assert client.get("/readyz", headers={"Origin": "http://localhost"}).status_code == 200
    with serving(folder, origins="https://app.example") as other:
        Keys(Database(Settings(data=str(folder)))).create("x")
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        found = other.options("/v1/predict", headers=asked)
        assert found.headers["access-control-allow-origin"] == "https://app.example"


def test_keys_open_what_their_scopes_say(folder: Path) -> None:
    with serving(folder) as client:
        keys = Keys(Database(Settings(data=str(folder))))
        _, all_of_it = keys.create("anna")
        other, some = keys.create("ben", ["stream"])
        post: dict[str, Any] = {"content": wav(), "headers": {"Content-Type": "audio/wav"}}
        problem = client.post("/v1/predict", **post)
        assert problem.headers["www-authenticate"] == "Bearer"
        refused(problem, 401, "key_missing")
        for wrong in ("x", "emovox-1-2", all_of_it[:-1], all_of_it.replace("emovox-", "emovox-0"), "\xff"):
            headers = [(b"authorization", b"Bearer " + wrong.encode("latin-1")), (b"content-type", b"audio/wav")]
            refused(client.post("/v1/predict", content=wav(), headers=headers), 401, "key_invalid")
        post["headers"]["Authorization"] = f"Bearer {all_of_it}"
        assert client.post("/v1/predict", **post).status_code == 200
        post["headers"]["Authorization"] = f"Bearer {some}"
        refused(client.post("/v1/predict", **post), 403, "scope_missing")
        refused(client.get("/metrics", headers={"X-API-Key": some}), 403, "scope_missing")
        assert client.get("/healthz").status_code == 200
        keys.revoke([other.id])
        assert [one.valid(1e12) for one in keys.all()] == [True, False]


def test_keys_are_stored_as_digests(folder: Path) -> None:
    _, text = Keys(Database(Settings(data=str(folder)))).create("anna")
    secret = text.split("-", 2)[2].encode()
    assert all(secret not in path.read_bytes() for path in folder.iterdir())


def test_a_revoked_or_ended_key_is_refused(folder: Path) -> None:
    keys = Keys(Database(Settings(data=str(folder))))
    key, text = keys.create("anna", days=1)
    assert keys.find(text) == key
    assert not key.valid(key.created + 86401)
    assert keys.revoke([key.id]) == [key.id]
    assert keys.revoke([key.id]) == []
    assert keys.find(text) is None
    with pytest.raises(InputError, match="no key 'x'"):
        keys.revoke(["x"])
    with pytest.raises(InputError, match="did you mean 'predict'"):
        keys.create("b", ["predikt"])


def test_too_many_requests_are_told_when_to_come_back(folder: Path) -> None:
    with serving(folder, rate=3) as client:
        found = [client.get("/v1/nothing") for _ in range(4)]
        assert [one.status_code for one in found] == [404, 404, 404, 429]
        assert found[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
        assert [one.headers["ratelimit"][:14] for one in found[:3]] == [f'"requests";r={n}' for n in (2, 1, 0)]
        assert 1 <= int(found[3].headers["retry-after"]) <= 21
        refused(found[3], 429, "rate_limited")
        assert client.get("/healthz").status_code == 200


def test_a_key_has_limits_of_its_own(folder: Path) -> None:
    keys = Keys(Database(Settings(data=str(folder))))
    limited = {"X-API-Key": keys.create("anna", rate=30, streams=1, jobs=1)[1]}
    free = {"X-API-Key": keys.create("ben")[1]}
    with pytest.raises(InputError, match="streams 0: expected 1 or more"):
        keys.create("carl", streams=0)
    job: dict[str, Any] = {"files": {"file": ("a.wav", wav())}}
    stream = "ws://localhost/v1/stream"
    with serving(folder) as client:
        runner = client.app.state.service.runner  # type: ignore[attr-defined]
        runner._jobs.claim = lambda most: []  # nobody works on jobs
        assert client.post("/v1/jobs", **job, headers=limited).headers["ratelimit-policy"] == '"requests";q=30;w=60'
        refused(client.post("/v1/jobs", **job, headers=limited), 429, "too_many_jobs")
        assert [client.post("/v1/jobs", **job, headers=free).status_code for _ in range(2)] == [202, 202]
        with client.websocket_connect(stream, headers=limited), client.websocket_connect(stream, headers=free):
            with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(stream, headers=limited):
                pass
            refused(denied.value, 429, "too_many_streams")
            with client.websocket_connect(stream, headers=free):
                pass


def test_large_uploads_are_refused_whatever_they_say(folder: Path) -> None:
    with serving(folder, upload_mb=0.05) as client:
        big = wav(5.0)
        answer = client.post("/v1/predict", content=big, headers={"Content-Type": "audio/wav"})
        assert answer.headers["connection"] == "close"
        refused(answer, 413, "upload_too_large")
        chunks = (big[i : i + 4096] for i in range(0, len(big), 4096))  # no length is stated
        refused(
            client.post("/v1/predict", content=chunks, headers={"Content-Type": "audio/wav"}), 413, "upload_too_large"
        )
        refused(client.post("/v1/predict", files={"file": ("a.wav", big)}), 413, "upload_too_large")


def test_the_log_tells_no_name_and_no_path(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(folder) as client, caplog.at_level(logging.INFO, "emovox.serve"):
        client.post("/v1/predict?name=secretname", content=wav(), headers={"Content-Type": "audio/wav"})
        client.post("/v1/predict", files={"file": ("secretfile.wav", b"no sound")})
        client.get("/v1/secretpath")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "emovox.serve"]
    assert [json.loads(line)["status"] for line in lines] == [200, 422, 404]
    assert not any("secret" in line for line in lines)
