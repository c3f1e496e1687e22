"""``/v1/jobs``: recordings that are judged while nobody waits, and their results."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import secrets
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from emovox.errors import InputError
from emovox.outputs import formats
from emovox.outputs.formats import Format
from emovox.outputs.text import json_line
from emovox.outputs.tracks import Names
from emovox.recognition.timeline import Timeline
from emovox.serve import answers, describe
from emovox.serve.bodies import received
from emovox.serve.guard import call_of, require
from emovox.serve.jobs import CHUNK, FINISHED, Job, Sound
from emovox.serve.options import JobOptions, invalid, parsed
from emovox.serve.parts import Part
from emovox.serve.problems import Problem
from emovox.serve.service import Service, service_of
from emovox.serve.settings import split
from emovox.serve.webhooks import checked
from emovox.types import Prediction, Unread, Word

router = APIRouter()

#: Seconds between looks at a job that somebody watches.
_LOOK = 0.5
_HEARTBEAT = 10.0

JobId = Annotated[str, Path(pattern="^job-[0-9a-f]{24}$", description="Which job.")]
Before = Annotated[str, Query(pattern=r"^[0-9]{1,12}\.[0-9]{1,9}:job-[0-9a-f]{24}$", description="`next` of a page.")]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Form = Literal["json", "csv", "vtt", "textgrid", "rttm", "audacity"]
Limit = Annotated[int, Query(ge=1, le=500)]


async def _call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask the database, in a thread."""
    return await asyncio.to_thread(function, *arguments, **options)


@router.post("/v1/jobs", **describe.operation("create_job", "Make a job", describe.JOB_CREATE))
async def create(request: Request) -> Response:
    """Take recordings (parts `file`) and options (JSON part `options`), and answer at once where the job is."""
    key = require(request, "jobs")
    service = service_of(request)
    service.require_room()
    async with received(request, files=service.settings.job_recordings) as got:
        options: JobOptions = parsed(JobOptions, got.options)
        webhook = _webhook(options, service)
        if options.name is not None and len(got.parts) > 1:
            raise invalid("/name", "name is for one recording: several have the names of their files")
        await _call(options.ask, service.profiles(request))
        options.cut()
        plain = options.model_dump(exclude_defaults=True, exclude={"webhook"})
        name = request.headers.get("idempotency-key")
        if name is not None and not 1 <= len(name) <= 200:
            raise Problem("bad_request", "an Idempotency-Key has 1 to 200 characters")
        digest = await _call(_digest, got.parts, options.model_dump(exclude={"webhook"})) if name else ""
        sounds = [Sound(options.name or part.name, part.size, _chunks(part)) for part in got.parts]
        job, new = await _call(
            service.jobs.create,
            key.id,
            plain,
            sounds,
            webhook=webhook,
            idempotency=(name, digest) if name else None,
            most=key.jobs,
        )
    service.runner.wake()
    body = _body(request, job)
    if webhook and new:
        body["webhook"] = webhook
    return JSONResponse(body, 202, {"Location": f"/v1/jobs/{job.id}"})


def _webhook(options: JobOptions, service: Service) -> dict[str, str] | None:
    """Check where a client wants to be told; make a secret where it has none."""
    if options.webhook is None:
        return None
    checked(options.webhook.url, split(service.settings.webhook_networks))
    return {"url": options.webhook.url, "secret": options.webhook.secret or secrets.token_urlsafe(32)}


def _chunks(part: Part) -> Iterator[bytes]:
    with io.BytesIO(part.content) if isinstance(part.content, bytes) else open(part.content, "rb") as file:  # noqa: PTH123
        while data := file.read(CHUNK):
            yield data


def _digest(parts: list[Part], options: dict[str, Any]) -> str:
    """Digest a request: the same recordings and options have the same."""
    found = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for part in parts:
        found.update(json.dumps([part.name, part.size]).encode())
        for data in _chunks(part):
            found.update(data)
    return found.hexdigest()


def _body(request: Request, job: Job) -> dict[str, Any]:
    place = f"/v1/jobs/{job.id}"
    links = {"self": place, "events": f"{place}/events", "result": f"{place}/result", "archive": f"{place}/archive"}
    return {"request_id": call_of(request).request_id, **job.to_dict(), "links": links}


@router.get("/v1/jobs", **describe.operation("list_jobs", "List jobs", describe.JOB_LIST))
async def list_jobs(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    before: Before | None = None,
    limit: Limit = 50,
) -> JSONResponse:
    """List the caller's jobs, the newest first; `next` is the `before` of the next page."""
    key = require(request, "jobs")
    jobs = await _call(service_of(request).jobs.all, key.id, state=state, before=before, limit=limit)
    following = jobs[-1].place if len(jobs) == limit else None
    body = {"request_id": call_of(request).request_id, "jobs": [one.to_dict() for one in jobs], "next": following}
    return JSONResponse(body)


@router.get("/v1/jobs/{job}", **describe.operation("get_job", "See a job", describe.JOB_GET))
async def see(request: Request, job: JobId) -> JSONResponse:
    """See how far a job is."""
    return JSONResponse(_body(request, await _found(request, job)))


@router.post("/v1/jobs/{job}/cancel", **describe.operation("cancel_job", "Cancel a job", describe.JOB_CANCEL))
async def cancel(request: Request, job: JobId) -> JSONResponse:
    """Cancel a job: results that it has already stay until they expire."""
    key = require(request, "jobs")
    service = service_of(request)
    found = await _call(service.jobs.cancel, key.id, job)
    service.webhooks.wake()
    return JSONResponse(_body(request, found))


@router.delete("/v1/jobs/{job}", **describe.operation("delete_job", "Delete a job", describe.JOB_DELETE))
async def delete(request: Request, job: JobId) -> Response:
    """Cancel a job if it is not finished, and forget its recordings and results at once."""
    key = require(request, "jobs")
    await _call(service_of(request).jobs.delete, key.id, job)
    return Response(status_code=204)


@router.get("/v1/jobs/{job}/recordings", **describe.operation("list_recordings", "List recordings", describe.JOB_PARTS))
async def recordings(
    request: Request, job: JobId, after: Annotated[int, Query(ge=0, le=10**9)] = 0, limit: Limit = 100
) -> JSONResponse:
    """List the recordings of a job: how far each is, and why one failed."""
    key = require(request, "jobs")
    rows = await _call(service_of(request).jobs.recordings, key.id, job, after=after, limit=limit)
    following = rows[-1]["number"] if len(rows) == limit else None
    return JSONResponse({"request_id": call_of(request).request_id, "recordings": rows, "next": following})


async def _found(request: Request, job: str) -> Job:
    key = require(request, "jobs")
    found: Job = await _call(service_of(request).jobs.find, key.id, job)
    return found


@router.get("/v1/jobs/{job}/events", **describe.operation("watch_job", "Watch a job", describe.JOB_EVENTS))
async def events(request: Request, job: JobId) -> StreamingResponse:
    """Tell how far a job is whenever that changes, until it is finished (`text/event-stream`)."""
    found = await _found(request, job)
    key = call_of(request).key
    return StreamingResponse(_watch(service_of(request), key.id, found), media_type=answers.EVENTS)


async def _watch(service: Service, owner: str, job: Job) -> AsyncIterator[bytes]:
    told, quiet = None, 0.0
    while True:
        now = job.to_dict()
        if now != told:
            yield answers.event("finished" if job.state in FINISHED else "progress", now)
            told, quiet = now, 0.0
        elif quiet >= _HEARTBEAT:
            yield b": still here\n\n"
            quiet = 0.0
        if job.state in FINISHED or service.stopping:
            return
        await asyncio.sleep(_LOOK)
        quiet += _LOOK
        try:
            job = await _call(service.jobs.find, owner, job.id)
        except Problem:  # deleted meanwhile
            return


async def _finished(request: Request, job: str) -> Job:
    """Return a job that is finished.

    Raises
    ------
    Problem
        It is not.
    """
    found = await _found(request, job)
    if found.state not in FINISHED:
        raise Problem("not_finished", f"the job is {found.state}: come back when it is finished", retry_after=2)
    return found


@router.get("/v1/jobs/{job}/result", **describe.operation("get_result", "Get results", describe.JOB_RESULT))
async def result(request: Request, job: JobId, format: Annotated[Form | None, Query()] = None) -> Response:
    """Get the results of all recordings in one answer: JSON, CSV or RTTM, other formats for one recording."""
    found = await _finished(request, job)
    form = answers.format_of(request.headers.get("accept"), None if format is None else Format(format))
    if form is None:
        raise Problem("not_acceptable", "events of a finished job are at /v1/jobs/{job}/events")
    if form.holds_one and found.total > 1:
        raise Problem(
            "not_acceptable", f"{form.value} holds one recording: get /v1/jobs/{{job}}/archive?format={form.value}"
        )
    summary = bool(found.options.get("summary"))
    service = service_of(request)
    pieces = (
        _json(service, found, call_of(request).request_id, summary)
        if form is Format.JSON
        else _text(service, found, form)
    )
    first = await run_in_threadpool(next, pieces, "")  # what cannot be written is told with the right status
    return StreamingResponse(chain([first], pieces), media_type=answers.TYPES[form][0])


def _json(service: Service, job: Job, request_id: str, summary: bool) -> Iterator[str]:
    """Write the results of a job, recording by recording: each as /v1/predict answers, or its problem."""
    head = json_line({"request_id": request_id, **job.to_dict()})
    yield head[:-1] + ', "results": ['
    separator = "\n"
    for number, name, plain, problem in service.jobs.results(job.id):
        one: dict[str, Any] = {"number": number, "file": name}
        if plain is None:
            one["problem"] = problem or None
        else:
            one |= plain
            if summary:
                one["summary"] = timeline_of(plain).summary().to_dict()
        yield separator + json_line(one)
        separator = ",\n"
    yield "\n]}\n"


def _text(service: Service, job: Job, form: Format) -> Iterator[str]:
    """Write the results of a job in another format."""
    timelines = (timeline_of(plain) for _, _, plain, _ in service.jobs.results(job.id) if plain is not None)
    first = next(timelines, None)
    if first is None:
        raise Problem("not_acceptable", "no recording of the job has a result: get it as JSON, which tells why")
    both = chain([first], timelines)
    predictions = (one for timeline in both for one in timeline.predictions)
    try:
        yield from formats.pieces(form, predictions, answers.labels_of(first), duration=first.duration)
    except InputError as error:
        raise Problem("not_acceptable", str(error)) from error


@router.get("/v1/jobs/{job}/archive", **describe.operation("get_archive", "Get an archive", describe.JOB_ARCHIVE))
async def archive(request: Request, job: JobId, format: Annotated[Form, Query()] = "json") -> StreamingResponse:
    """Get the results as a ZIP with a file for each recording, and `failed.json` where some have none."""
    found = await _finished(request, job)
    headers = {"Content-Disposition": f'attachment; filename="{found.id}.zip"'}
    pieces = _archive(service_of(request), found, Format(format))
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


class _Sink(io.RawIOBase):
    """Where an archive is written to, and taken from before it is whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        found = bytes(self._held)
        self._held.clear()
        return found


def _archive(service: Service, job: Job, form: Format) -> Iterator[bytes]:
    sink, names, failed = _Sink(), Names(), []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        for number, name, plain, problem in service.jobs.results(job.id):
            if plain is None:
                failed.append({"number": number, "file": name, "problem": problem or None})
                continue
            text = json_line(plain) if form is Format.JSON else answers.text(form, timeline_of(plain))
            file.writestr(names(f"{number}/{name}") + form.ending, text)  # two of one name are two files
            yield sink.take()
        if failed:
            file.writestr("failed.json", json.dumps(failed, indent=1))
    yield sink.take()


@router.get(
    "/v1/jobs/{job}/recordings/{number}", **describe.operation("get_recording", "Get one result", describe.JOB_ONE)
)
async def one_result(
    request: Request,
    job: JobId,
    number: Annotated[int, Path(ge=1, le=10**9)],
    format: Annotated[Form | None, Query()] = None,
) -> Response:
    """Get the result of one recording as soon as it is there, as /v1/predict answers; or its problem."""
    found = await _found(request, job)
    form = answers.format_of(request.headers.get("accept"), None if format is None else Format(format))
    row = await _call(service_of(request).jobs.one, job, number)
    if row is None or form is None:
        raise Problem("not_found" if row is None else "not_acceptable", f"the job has {found.total} recordings")
    plain, problem = row
    if plain is None and problem is None:
        raise Problem("not_finished", "the recording is not judged: come back later", retry_after=2)
    if plain is None:
        raise Problem(problem["code"], problem["detail"])
    summary = bool(found.options.get("summary"))
    return answers.answer(form, timeline_of(plain), call_of(request).request_id, summary=summary)


def timeline_of(plain: dict[str, Any]) -> Timeline:
    """Read a timeline that was written with :meth:`emovox.Timeline.to_dict`."""
    return Timeline(plain["file"], plain["duration"], tuple(_prediction(one) for one in plain["predictions"]))


def _prediction(plain: dict[str, Any]) -> Prediction:
    values = dict(plain)
    values["unread"] = tuple(Unread(**one) for one in values["unread"])
    values["notes"] = tuple(values["notes"])
    for name, kind in (("words", lambda one: Word(**one)), ("why", str)):
        if values[name] is not None:
            values[name] = tuple(map(kind, values[name]))
    return Prediction(**values)
