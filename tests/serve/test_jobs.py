"""Jobs: made, watched, judged, delivered, forgotten."""

from __future__ import annotations

import asyncio
import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from emovox.outputs.formats import Format
from emovox.serve.guard import Keys
from emovox.serve.jobs import JOBS, METADATA, RECORDINGS, Database, Jobs, Sound
from emovox.serve.routes import _archive
from emovox.serve.service import Service
from emovox.serve.settings import Settings
from tests import EXAMPLES, size
from tests.serve import Inline, refused, serving, wav
from tests.serve.test_predict import events

CLIP = (EXAMPLES / "plain.wav").read_bytes()


def service(client: TestClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found


def made(client: TestClient, *recordings: tuple[str, bytes], **options: Any) -> dict[str, Any]:
    """Make a job."""
    headers = {"Authorization": options.pop("key")} if "key" in options else {}
    found = client.post(
        "/v1/jobs",
        files=[("file", one) for one in recordings],
        data={"options": json.dumps(options)},
        headers=headers,
    )
    assert found.status_code == 202, found.text
    body: dict[str, Any] = found.json()
    assert found.headers["location"] == body["links"]["self"] == f"/v1/jobs/{body['id']}"
    return body


def finished(client: TestClient, job: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
    """Wait for a job."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(job["links"]["self"]).json()
        if found["state"] not in ("queued", "running"):
            return found
        time.sleep(0.02)
    raise AssertionError(f"not finished: {found}")


def sounds(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("select count(*) from sound").scalar_one())


def test_a_job_from_its_making_to_its_end(client: TestClient) -> None:
    job = made(client, ("a.wav", CLIP), ("dir/a.wav", wav(2.0)), ("bad.wav", b"no sound"), timeline=False)
    assert job["state"] in ("queued", "running")
    assert job["recordings"]["total"] == 3
    end = finished(client, job)
    assert end["state"] == "succeeded"
    assert (end["recordings"]["succeeded"], end["recordings"]["failed"]) == (2, 1)
    assert end["expires"] == end["finished"] + 86400
    assert end["seconds"] == pytest.approx(5.1)
    assert sounds(service(client).database) == 0
    results = client.get(job["links"]["result"]).json()["results"]
    want = client.post("/v1/predict", files={"file": ("a.wav", CLIP)}).json()
    assert results[0]["predictions"] == want["predictions"]
    assert [one["file"] for one in results] == ["a.wav", "a.wav", "bad.wav"]
    assert results[2]["problem"]["code"] == "audio_unreadable"
    assert "request_id" not in results[2]["problem"]
    one = client.get(f"{job['links']['self']}/recordings/1").json()
    assert one["predictions"] == want["predictions"]
    refused(client.get(f"{job['links']['self']}/recordings/3"), 422, "audio_unreadable")
    refused(client.get(f"{job['links']['self']}/recordings/4"), 404, "not_found")
    rows = client.get(f"{job['links']['self']}/recordings?after=1").json()["recordings"]
    assert [(row["number"], row["state"]) for row in rows] == [(2, "succeeded"), (3, "failed")]
    lines = client.get(job["links"]["result"], headers={"Accept": "text/csv"}).text.splitlines()
    assert lines[0].startswith("file,start,end,label")
    assert len(lines) == 3
    refused(client.get(f"{job['links']['result']}?format=vtt"), 406, "not_acceptable")
    with zipfile.ZipFile(io.BytesIO(client.get(f"{job['links']['archive']}?format=vtt").content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.vtt", "a-2.vtt", "failed.json"]
        form = {"Accept": "text/vtt"}
        assert (
            archive.read("a.vtt").decode() == client.post("/v1/predict", files={"file": ("a", CLIP)}, headers=form).text
        )
    told = events(client.get(job["links"]["events"]).text)
    assert [name for name, _ in told] == ["finished"]
    refused(client.post(f"{job['links']['self']}/cancel"), 409, "already_finished")
    assert client.delete(job["links"]["self"]).status_code == 204
    refused(client.get(job["links"]["self"]), 404, "not_found")
    refused(client.delete(job["links"]["self"]), 404, "not_found")


def test_a_job_in_which_nothing_can_be_read_has_failed(client: TestClient) -> None:
    job = made(client, ("bad.wav", b"no sound"))
    assert finished(client, job)["state"] == "failed"
    refused(client.get(f"{job['links']['result']}?format=csv"), 406, "not_acceptable")
    with zipfile.ZipFile(io.BytesIO(client.get(job["links"]["archive"]).content)) as archive:
        assert json.loads(archive.read("failed.json"))[0]["problem"]["status"] == 422


def test_nobody_sees_the_jobs_of_another_key(folder: Path) -> None:
    keys = Keys(Database(Settings(data=str(folder))))
    mine, theirs = (f"Bearer {keys.create(name)[1]}" for name in ("anna", "ben"))
    with serving(folder) as client:
        job = made(client, ("a.wav", CLIP), key=mine)
        links = job["links"]
        for path in (links["self"], links["result"], links["archive"], links["events"], f"{links['self']}/recordings"):
            refused(client.get(path, headers={"Authorization": theirs}), 404, "not_found")
        refused(client.delete(links["self"], headers={"Authorization": theirs}), 404, "not_found")
        refused(client.post(f"{links['self']}/cancel", headers={"Authorization": theirs}), 404, "not_found")
        assert client.get("/v1/jobs", headers={"Authorization": theirs}).json()["jobs"] == []
        assert len(client.get("/v1/jobs", headers={"Authorization": mine}).json()["jobs"]) == 1


def test_pages_of_jobs(folder: Path) -> None:
    with serving(folder) as client:
        names = [made(client, ("a.wav", CLIP))["id"] for _ in range(5)]
        found: list[str] = []
        place = "/v1/jobs?limit=2"
        while True:
            page = client.get(place).json()
            found += [one["id"] for one in page["jobs"]]
            if page["next"] is None:
                break
            place = f"/v1/jobs?limit=2&before={page['next']}"
        assert found == names[::-1]


def test_the_same_request_makes_one_job(client: TestClient) -> None:
    def post(body: bytes, **options: Any) -> Any:
        return client.post(
            "/v1/jobs",
            files={"file": ("a.wav", body)},
            data={"options": json.dumps(options)},
            headers={"Idempotency-Key": "mine"},
        )

    first, second = post(CLIP).json(), post(CLIP).json()
    assert first["id"] == second["id"]
    refused(post(CLIP, timeline=True), 409, "idempotency_conflict")
    refused(post(wav()), 409, "idempotency_conflict")


def test_limits_of_jobs(folder: Path) -> None:
    with serving(folder, jobs=1, storage_mb=0.2, job_recordings=2, job_seconds=3) as client:
        files = [("file", (f"{n}.wav", wav(0.2))) for n in range(4)]
        refused(client.post("/v1/jobs", files=files), 400, "bad_request")
        refused(client.post("/v1/jobs", files={"file": ("a.wav", wav(20.0))}), 507, "storage_full")
        long = made(client, ("a.wav", wav(4.0)))
        finished(client, long)
        rows = client.get(f"{long['links']['self']}/recordings").json()["recordings"]
        assert rows[0]["problem"]["code"] == "audio_too_long"


@pytest.fixture(params=["sqlite", "postgres"])
def jobs(folder: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Give a store of jobs with leases of 10 s, in either database."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    settings = Settings(data=str(folder), database=url, lease=10)
    database = Database(settings)
    yield Jobs(database, settings)
    with database.begin() as connection:
        METADATA.drop_all(connection)
    database.close()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_archive_of_thousands_of_results_takes_little_memory(folder: Path) -> None:
    with serving(folder) as client:
        jobs, count = service(client).jobs, size(3_000, 10_000)
        plain = client.post("/v1/predict?timeline=true", files={"file": ("a.wav", CLIP)}).json()
        del plain["request_id"]
        job, _ = jobs.create("", {}, [Sound(f"{n:05d}.wav", 0, iter(())) for n in range(count)])
        with service(client).database.begin() as connection:
            done = {"state": "succeeded", "result": json.dumps(plain), "duration": 3.0, "lease": None}
            connection.execute(sa.update(RECORDINGS).where(RECORDINGS.c.job == job.id).values(done))
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(state="succeeded"))
        tracemalloc.start()
        data = b"".join(_archive(service(client), jobs.find("", job.id), Format.VTT))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * len(data) + 40e6
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert len(archive.namelist()) == count
            assert archive.testzip() is None


def test_no_job_is_left_out_between_pages(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 1e9 + 0.1, 1e9 + 0.1, 1e9 + 0.1, 1e9 + 0.1, 2e9])
    monkeypatch.setattr(jobs._database, "now", lambda _: next(clock))
    made = {jobs.create("anna", {}, [Sound("a", 1, iter([b"x"]))])[0].id for _ in range(6)}
    monkeypatch.undo()
    found: list[str] = []
    place: str | None = None
    while page := jobs.all("anna", before=place, limit=2):
        found += [job.id for job in page]
        place = page[-1].place
        if len(found) == 4:  # the last of a page may go meanwhile
            jobs.delete("anna", page[-1].id)
    assert len(found) == 6
    assert set(found) == made


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of the database be so much later than it is."""
    monkeypatch.undo()
    clock = Database.now
    monkeypatch.setattr(Database, "now", lambda database, connection: clock(database, connection) + seconds)


def test_a_lease_is_worth_something_while_it_is_in_force(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = jobs.create("anna", {}, [Sound("a", 3, iter([b"ab", b"c"])), Sound("b", 1, iter([b"d"]))])
    first = jobs.claim(1)
    (one,) = first
    assert b"".join(jobs.sound(one.recording)) == b"abc"
    assert jobs.find("anna", job.id).state == "running"
    later(monkeypatch, 9)
    assert [claim.name for claim in jobs.claim(5)] == ["b"]
    assert jobs.beat(first) == []
    later(monkeypatch, 18)
    assert jobs.claim(5) == []
    later(monkeypatch, 40)
    again = jobs.claim(5)
    assert [(claim.name, claim.attempts) for claim in again] == [("a", 2), ("b", 2)]
    assert jobs.beat(first) == first
    result = {"file": "a", "duration": 1.0, "predictions": []}
    assert not jobs.finish(one, result, None)
    assert jobs.finish(again[0], result, None)
    assert not jobs.finish(again[0], result, None)
    assert jobs.find("anna", job.id).state == "running"
    jobs.give_back(again[1:])
    (last,) = jobs.claim(1)
    assert last.attempts == 2
    assert jobs.finish(last, None, {"code": "no_speech"})
    assert jobs.find("anna", job.id).state == "succeeded"
    assert jobs.claim(5) == []


def test_a_cancelled_job_keeps_what_is_done(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = jobs.create("anna", {}, [Sound(name, 1, iter([b"x"])) for name in "abc"])
    one, two = jobs.claim(2)
    assert jobs.finish(one, {"file": "a", "duration": 1.0, "predictions": []}, None)
    found = jobs.cancel("anna", job.id)
    assert (found.state, dict(found.counts)) == ("cancelled", {"succeeded": 1, "cancelled": 2})
    assert jobs.beat([two]) == [two]
    assert not jobs.finish(two, {"file": "b", "duration": 1.0, "predictions": []}, None)
    assert sounds(jobs._database) == 0
    later(monkeypatch, 86401)
    assert jobs.sweep() == 1
    assert jobs.all("anna") == []


@pytest.mark.parametrize("steps", range(4))
def test_news_at_the_moment_of_stopping_do_not_keep_the_service(folder: Path, steps: int) -> None:
    async def served() -> None:
        service = Service(Settings(data=str(folder)), Inline())
        await service.start()
        await asyncio.sleep(0.2)  # until it waits for news
        service.runner.wake()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await service.stop()

    asyncio.run(served())
