"""Routes: predictions, jobs, profiles, and the socket of streams."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import math
import secrets
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import chain
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from emovox.errors import EmovoxError, InputError, ModelError
from emovox.model.file import builtin, load_card
from emovox.model.profiles import Profile, Subject, check_name
from emovox.outputs import formats
from emovox.outputs.console import json_line
from emovox.outputs.formats import Format, Names
from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.serve import contract
from emovox.serve.contract import JobOptions, Profiles, RecognitionOptions, StreamOptions, invalid, parsed, received
from emovox.serve.guard import PROTOCOL, call_of, require
from emovox.serve.jobs import CHUNK, FINISHED, Job, Sound, checked
from emovox.serve.pool import Ask, Learn, Recognise, Upload
from emovox.serve.service import Message, Service, Session, service_of
from emovox.serve.settings import Part, Problem, split
from emovox.types import Prediction, Unread, Word

router = APIRouter()

#: Seconds between looks at a job that somebody watches.
_LOOK = 0.5
#: Seconds after which a stream of events says that it is still there.
HEARTBEAT = 10.0

JobId = Annotated[str, Path(pattern="^job-[0-9a-f]{24}$", description="Which job.")]
Before = Annotated[str, Query(pattern=r"^[0-9]{1,12}\.[0-9]{1,9}:job-[0-9a-f]{24}$", description="`next` of a page.")]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Form = Literal["json", "csv", "vtt", "textgrid", "rttm", "audacity"]
Limit = Annotated[int, Query(ge=1, le=500)]


async def _call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask the database, in a thread."""
    return await asyncio.to_thread(function, *arguments, **options)


@router.post("/v1/jobs", **contract.operation("create_job", "Make a job", contract.JOB_CREATE))
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


@router.get("/v1/jobs", **contract.operation("list_jobs", "List jobs", contract.JOB_LIST))
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


@router.get("/v1/jobs/{job}", **contract.operation("get_job", "See a job", contract.JOB_GET))
async def see(request: Request, job: JobId) -> JSONResponse:
    """See how far a job is."""
    return JSONResponse(_body(request, await _found(request, job)))


@router.post("/v1/jobs/{job}/cancel", **contract.operation("cancel_job", "Cancel a job", contract.JOB_CANCEL))
async def cancel(request: Request, job: JobId) -> JSONResponse:
    """Cancel a job: results that it has already stay until they expire."""
    key = require(request, "jobs")
    service = service_of(request)
    found = await _call(service.jobs.cancel, key.id, job)
    service.webhooks.wake()
    return JSONResponse(_body(request, found))


@router.delete("/v1/jobs/{job}", **contract.operation("delete_job", "Delete a job", contract.JOB_DELETE))
async def delete(request: Request, job: JobId) -> Response:
    """Cancel a job if it is not finished, and forget its recordings and results at once."""
    key = require(request, "jobs")
    await _call(service_of(request).jobs.delete, key.id, job)
    return Response(status_code=204)


@router.get("/v1/jobs/{job}/recordings", **contract.operation("list_recordings", "List recordings", contract.JOB_PARTS))
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


@router.get("/v1/jobs/{job}/events", **contract.operation("watch_job", "Watch a job", contract.JOB_EVENTS))
async def events(request: Request, job: JobId) -> StreamingResponse:
    """Tell how far a job is whenever that changes, until it is finished (`text/event-stream`)."""
    found = await _found(request, job)
    key = call_of(request).key
    return StreamingResponse(_watch(service_of(request), key.id, found), media_type=contract.EVENTS)


async def _watch(service: Service, owner: str, job: Job) -> AsyncIterator[bytes]:
    told, quiet = None, 0.0
    while True:
        now = job.to_dict()
        if now != told:
            yield contract.event("finished" if job.state in FINISHED else "progress", now)
            told, quiet = now, 0.0
        elif quiet >= HEARTBEAT:
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


@router.get("/v1/jobs/{job}/result", **contract.operation("get_result", "Get results", contract.JOB_RESULT))
async def result(request: Request, job: JobId, format: Annotated[Form | None, Query()] = None) -> Response:
    """Get the results of all recordings in one answer: JSON, CSV or RTTM, other formats for one recording."""
    found = await _finished(request, job)
    form = contract.format_of(request.headers.get("accept"), None if format is None else Format(format))
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
    return StreamingResponse(chain([first], pieces), media_type=contract.TYPES[form][0])


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
        yield from formats.pieces(form, predictions, contract.labels_of(first), duration=first.duration)
    except InputError as error:
        raise Problem("not_acceptable", str(error)) from error


@router.get("/v1/jobs/{job}/archive", **contract.operation("get_archive", "Get an archive", contract.JOB_ARCHIVE))
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
            text = json_line(plain) if form is Format.JSON else contract.text(form, timeline_of(plain))
            file.writestr(names(f"{number}/{name}") + form.ending, text)  # two of one name are two files
            yield sink.take()
        if failed:
            file.writestr("failed.json", json.dumps(failed, indent=1))
    yield sink.take()


@router.get(
    "/v1/jobs/{job}/recordings/{number}", **contract.operation("get_recording", "Get one result", contract.JOB_ONE)
)
async def one_result(
    request: Request,
    job: JobId,
    number: Annotated[int, Path(ge=1, le=10**9)],
    format: Annotated[Form | None, Query()] = None,
) -> Response:
    """Get the result of one recording as soon as it is there, as /v1/predict answers; or its problem."""
    found = await _found(request, job)
    form = contract.format_of(request.headers.get("accept"), None if format is None else Format(format))
    row = await _call(service_of(request).jobs.one, job, number)
    if row is None or form is None:
        raise Problem("not_found" if row is None else "not_acceptable", f"the job has {found.total} recordings")
    plain, problem = row
    if plain is None and problem is None:
        raise Problem("not_finished", "the recording is not judged: come back later", retry_after=2)
    if plain is None:
        raise Problem(problem["code"], problem["detail"])
    summary = bool(found.options.get("summary"))
    return contract.answer(form, timeline_of(plain), call_of(request).request_id, summary=summary)


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


@router.post("/v1/predict", **contract.operation("predict", "Judge one recording", contract.PREDICT))
async def predict(request: Request) -> Response:
    """Judge one recording: one answer, its timeline, or its segments as they become certain.

    Send a form with the recording as the part `file` and options as the JSON part `options`, or the recording as the
    body, with options in the query. The header Accept chooses JSON, CSV, WebVTT, TextGrid, RTTM, Audacity labels, or
    `text/event-stream` for segments while they are judged.
    """
    require(request, "predict")
    service = service_of(request)
    service.require_room()
    async with AsyncExitStack() as stack:
        got = await stack.enter_async_context(received(request))
        options: RecognitionOptions = parsed(RecognitionOptions, got.options)
        form = contract.format_of(request.headers.get("accept"), options.form())
        if form is None:
            options = options.model_copy(update={"timeline": True})
        task = options.task(got.one(), service.profiles(request), service.settings.seconds)
        request_id = call_of(request).request_id
        if form is None:
            events = _events(service, task, options, request_id, stack.pop_all())
            return StreamingResponse(events, media_type=contract.EVENTS, headers={"X-Accel-Buffering": "no"})
        found: Timeline = await service.judge(task)
        return contract.answer(form, found, request_id, summary=options.summary)


async def _events(
    service: Service, task: Recognise, options: RecognitionOptions, request_id: str, stack: AsyncExitStack
) -> AsyncIterator[bytes]:
    """Yield what becomes known of a recording: progress, segments, and the whole answer or a problem at the end."""
    told: asyncio.Queue[object] = asyncio.Queue()
    async with stack:
        work = asyncio.ensure_future(service.judge(task, told.put_nowait))
        work.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        what = await told.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if what is None:
                    break
                if isinstance(what, Prediction):
                    yield contract.event("segment", what.to_dict())
                else:
                    yield contract.event("progress", {"seconds": what})
            try:
                found = await work
            except Problem as problem:
                yield contract.event("problem", problem.to_dict(request_id))
            else:
                yield contract.event("result", contract.body(found, request_id, summary=options.summary))
        finally:
            work.cancel()


class TranscriptionOptions(BaseModel):
    """What OpenAI's clients may ask for; what has no meaning here is taken and left."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    model: str | None = Field(None, max_length=200, description="Any name: the server has one recogniser of words.")
    language: str | None = Field(None, pattern="^[a-z]{2,3}$", description="What is spoken, such as en.")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = Field(
        "json", description="What to answer."
    )
    prompt: str | None = Field(None, description="Not used.")
    temperature: float | None = Field(None, description="Not used.")
    stream: Literal[False] = Field(False, description="Answers come whole; /v1/predict has events.")


@router.post("/v1/audio/transcriptions", **contract.operation("transcribe", "Transcribe", contract.TRANSCRIBE))
async def transcribe(request: Request) -> Response:
    """Recognise the words of a recording, and the emotion of each segment."""
    require(request, "predict")
    service = service_of(request)
    service.require_room()
    async with received(request) as got:
        options: TranscriptionOptions = parsed(TranscriptionOptions, got.options)
        part = got.one()
        ask = Ask(text=True, language=options.language)
        task = Recognise(Upload(part.content, part.name), ask, TimelineOptions(), longest=service.settings.seconds)
        found: Timeline = await service.judge(task, kind="transcribe")
    if options.response_format == "json":
        return JSONResponse({"text": text_of(found), "segments": segments(found)})
    if options.response_format == "verbose_json":
        return JSONResponse(verbose(found, options.language))
    if options.response_format == "text":
        return PlainTextResponse(text_of(found) + "\n")
    return PlainTextResponse(subtitles(found, options.response_format), media_type=_TYPES[options.response_format])


_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


def text_of(found: Timeline) -> str:
    """Return all that was said."""
    return " ".join(one.transcript for one in found.predictions if one.transcript)


def segments(found: Timeline) -> list[dict[str, Any]]:
    """Return what was said segment by segment, with its emotion."""
    return [_segment(number, one) for number, one in enumerate(found.predictions)]


def _segment(number: int, one: Prediction) -> dict[str, Any]:
    text = one.transcript or ""
    words = one.words or ()
    data = text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": one.start,
        "end": one.end,
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": math.fsum(math.log(max(word.confidence, 1e-6)) for word in words) / max(1, len(words)),
        "compression_ratio": len(data) / len(zlib.compress(data)),
        "no_speech_prob": 0.0,
        "emotion": one.label,
        "confidence": one.confidence,
        "abstained": one.abstained,
        "probabilities": dict(one.probabilities),
    }


def verbose(found: Timeline, language: str | None) -> dict[str, Any]:
    """Return everything about a transcript, in the shape of OpenAI's ``verbose_json``."""
    words = [word for one in found.predictions for word in one.words or ()]
    return {
        "task": "transcribe",
        "language": language,
        "duration": found.duration,
        "text": text_of(found),
        "segments": segments(found),
        "words": [{"word": word.text, "start": word.start, "end": word.end} for word in words],
    }


def subtitles(found: Timeline, form: str) -> str:
    """Write subtitles; each names the emotion after the words.

    Parameters
    ----------
    found : Timeline
    form : {"srt", "vtt"}

    Examples
    --------
    >>> one = Prediction("a", 0.0, 1.5, "sad", {"sad": 1.0}, 0.9, False, "demo", transcript="Oh no.")
    >>> print(subtitles(Timeline("a", 2.0, (one,)), "srt"))
    1
    00:00:00,000 --> 00:00:01,500
    Oh no. [sad]
    <BLANKLINE>
    """
    mark = "," if form == "srt" else "."
    lines = [] if form == "srt" else ["WEBVTT", ""]
    for number, one in enumerate(found.predictions, 1):
        label = f"don't know ({one.label})" if one.abstained else one.label
        text = " ".join(f"{one.transcript or ''} [{label}]".split()).replace("<", "&lt;").replace("-->", "->")
        lines += [str(number)] if form == "srt" else []
        lines += [f"{_clock(one.start, mark)} --> {_clock(one.end, mark)}", text, ""]
    return "\n".join(lines)


def _clock(seconds: float, mark: str) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"


#: Recordings that a profile is made of at most, by what it is of.
_RECORDINGS: dict[Subject, int] = {"speaker": 20, "setting": 100}
Name = Annotated[str, Path(max_length=64, description="Which one.")]


class SettingOptions(BaseModel):
    """What is asked about a new profile of a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=64, description="What to call it: letters, digits, - and _.")
    replace: bool = Field(False, description="Replace a profile of that name.")


class SpeakerOptions(SettingOptions):
    """What is asked about a new profile of a speaker."""

    setting: str | None = Field(None, max_length=64, description="The setting that the speaker belongs to.")
    voice: bool = Field(True, description="Take a voice print, by which the option speakers finds the speaker by name.")
    neutral: bool = Field(False, description="All of the speech is known to be neutral: it is believed at once.")


_OPTIONS: dict[Subject, type[SettingOptions]] = {"speaker": SpeakerOptions, "setting": SettingOptions}


def _plain(profile: Profile) -> dict[str, Any]:
    """Describe a profile; its numbers stay here."""
    names = ("name", "model", "clips", "seconds", "created", *(("setting", "neutral") * (profile.kind == "speaker")))
    return {name: getattr(profile, name) for name in names}


def _routes(kind: Subject) -> None:
    """Declare the routes of one kind of profile."""
    place, many = f"/v1/{kind}s", f"{kind}s"

    async def list_profiles(request: Request) -> JSONResponse:
        """List the caller's profiles; a damaged one has a name and a problem."""
        require(request, "profiles")
        rows = await asyncio.to_thread(_rows, service_of(request).profiles(request), kind)
        return JSONResponse({"request_id": call_of(request).request_id, many: rows})

    async def create_profile(request: Request) -> JSONResponse:
        """Learn what the parts `file` are ordinarily like; no sound is kept."""
        require(request, "profiles")
        profile, left_out = await _learnt(request, kind)
        body = {"request_id": call_of(request).request_id, **_plain(profile)}
        body |= {"left_out": left_out} if kind == "setting" else {}
        return JSONResponse(body, 201, {"Location": f"{place}/{quote(profile.name)}"})

    async def get_profile(request: Request, name: Name) -> JSONResponse:
        """See a profile."""
        require(request, "profiles")
        found = await asyncio.to_thread(service_of(request).profiles(request).find, name, kind)
        return JSONResponse({"request_id": call_of(request).request_id, **_plain(found)})

    async def delete_profile(request: Request, name: Name) -> Response:
        """Delete a profile."""
        require(request, "profiles")
        await asyncio.to_thread(service_of(request).profiles(request).remove, name, kind)
        return Response(status_code=204)

    asked = contract.profile_operations(kind)
    one = f"{place}/{{name}}"
    router.get(place, **contract.operation(f"list_{many}", f"List {many}", asked["list"]))(list_profiles)
    router.post(place, **contract.operation(f"create_{kind}", f"Make a {kind}", asked["create"]))(create_profile)
    router.get(one, **contract.operation(f"get_{kind}", f"See a {kind}", asked["get"]))(get_profile)
    router.delete(one, **contract.operation(f"delete_{kind}", f"Delete a {kind}", asked["delete"]))(delete_profile)


def _rows(profiles: Profiles, kind: Subject) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in profiles.names(kind):
        try:
            rows.append(_plain(profiles.find(name, kind)))
        except Problem as problem:
            rows.append({"name": name, "problem": problem.code})
    return rows


async def _learnt(request: Request, kind: Subject) -> tuple[Profile, list[str]]:
    """Make a profile of what a request has brought; return it with what was left out."""
    service = service_of(request)
    profiles = service.profiles(request)
    async with received(request, files=_RECORDINGS[kind]) as got:
        options: SettingOptions = parsed(_OPTIONS[kind], got.options)
        name = check_name(options.name, kind)
        asked: dict[str, Any] = {}
        if isinstance(options, SpeakerOptions):
            asked = options.model_dump(include={"setting", "voice", "neutral"})
        if asked.get("setting"):
            asked["setting"] = (await asyncio.to_thread(profiles.find, asked["setting"], "setting")).name
        if not options.replace and name in await asyncio.to_thread(profiles.names, kind):
            raise Problem("exists", f"there is a {kind} {name!r}: add replace, or delete it first")
        uploads = tuple(Upload(part.content, part.name) for part in got.parts)
        task = Learn(kind, name, uploads, longest=service.settings.seconds, **asked)
        found: tuple[Profile, list[str]] = await service.judge(task, kind="enrol")
    await asyncio.to_thread(profiles.save, found[0])
    return found


_routes("speaker")
_routes("setting")


def _models(default: str) -> list[dict[str, Any]]:
    """Describe the models that may be named, the server's own first."""
    own = load_card(default or None)
    cards = {own.name: own} | {name: load_card(name) for name in builtin()}
    return [
        {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "emovox",
            "default": name == own.name,
            "family": card.family,
            "labels": list(card.labels),
            "dimensions": list(card.dimensions),
            "licence": card.licence,
        }
        for name, card in cards.items()
    ]


@router.get("/v1/models", **contract.operation("list_models", "List models", contract.MODELS))
async def list_models(request: Request) -> JSONResponse:
    """List the models."""
    found = await asyncio.to_thread(_models, service_of(request).settings.model)
    return JSONResponse({"request_id": call_of(request).request_id, "object": "list", "data": found})


@router.get("/v1/models/{name}", **contract.operation("get_model", "See a model's card", contract.MODEL))
async def get_model(request: Request, name: Name) -> JSONResponse:
    """See the whole card of a model: data, licence, intended use, protocol and scores."""
    models = await asyncio.to_thread(_models, service_of(request).settings.model)
    row = next((one for one in models if one["id"] == name), None)
    if row is None:
        raise Problem("not_found", f"there is no model {name!r}: GET /v1/models lists them")
    try:
        card = await asyncio.to_thread(load_card, name if name in builtin() else service_of(request).settings.model)
    except ModelError as error:
        raise Problem("not_found", f"the model {name!r} cannot be read") from error
    return JSONResponse({"request_id": call_of(request).request_id, **row, "card": card.to_dict()})


LOG = logging.getLogger("emovox.serve")


#: Seconds that a client may take to read what it is sent.
_SLOWEST = 30.0
#: Messages that may be wrong before the session ends.
_PATIENCE = 10
#: Why a session ends, with the code that its connection is closed with.
REASONS = {"client_request": 1000, "idle_timeout": 1000, "server_shutdown": 1012, "error": 1008}


class GoneError(Exception):
    """The client is gone, or another connection has taken its session over."""


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Hear a live stream, and tell what becomes certain."""
    key = require(socket, "stream")
    service = service_of(socket)
    conversation = Conversation(service, socket, service.streams.open(key.id, key.streams))
    try:
        offered = split(socket.headers.get("sec-websocket-protocol", ""))
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        await conversation.run()
    finally:
        conversation.leave()


class Conversation:
    """What is said between the server and one connection.

    Parameters
    ----------
    service : Service
    socket : WebSocket
        A connection that is accepted.
    session : Session
        A new session; a client that comes back gets its old one instead.
    """

    def __init__(self, service: Service, socket: WebSocket, session: Session) -> None:
        self._service, self._socket, self.session = service, socket, session
        self._streams = service.streams
        self._taken = session.taken
        self._wrong = 0
        self._options: StreamOptions | None = None
        self._waiting: tuple[asyncio.Event, tuple[asyncio.Future[Any], asyncio.Future[Any]]] | None = None

    async def run(self) -> None:
        """Talk until one of the two ends it."""
        try:
            await self._say("session.created", session_id=self.session.id, limits=self._limits())
            reason = await self._listen()
            await self._close(reason)
        except (GoneError, WebSocketDisconnect, OSError, RuntimeError, TimeoutError):
            pass  # the client may come back

    def leave(self) -> None:
        """Keep a session that was not closed for its client, unless another connection has it."""
        self._forget()
        if not self._taken.is_set():
            self._streams.leave(self.session)

    def _limits(self) -> dict[str, float]:
        settings = self._service.settings
        return {"seconds": settings.stream_seconds, "idle": settings.idle, "resume": settings.resume}

    async def _listen(self) -> str:
        """Take messages until the session is to end; return why."""
        while True:
            message = await self._next()
            if isinstance(message, str):
                return message
            if message["type"] == "websocket.disconnect":
                raise GoneError
            try:
                if message.get("bytes") is not None:
                    await self._hear(message["bytes"])
                elif await self._order(message.get("text") or ""):
                    return "client_request"
            except Problem as problem:
                if await self._complain(problem):
                    return "error"
            except EmovoxError as error:  # samples that are no numbers: the stream is as it was before
                if await self._complain(Problem.of(error)):
                    return "error"

    async def _next(self) -> dict[str, Any] | str:
        """Wait for the next message, or for a reason to end."""
        received = asyncio.ensure_future(self._socket.receive())
        stopping, taken = self._reasons()
        idle = self._service.settings.idle
        done, _ = await asyncio.wait((received, stopping, taken), timeout=idle, return_when="FIRST_COMPLETED")
        if taken in done:
            received.cancel()
            raise GoneError
        if received in done:
            return received.result()  # type: ignore[return-value]
        received.cancel()
        return "server_shutdown" if stopping in done else "idle_timeout"

    def _reasons(self) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
        """Wait, once for all messages, for the end of the server and for a connection that takes the session over."""
        if self._waiting is None or self._waiting[0] is not self._taken:
            self._forget()
            ends = asyncio.ensure_future(self._streams.stopping.wait()), asyncio.ensure_future(self._taken.wait())
            self._waiting = self._taken, ends
        return self._waiting[1]

    def _forget(self) -> None:
        """Wait for nothing any more."""
        for one in self._waiting[1] if self._waiting else ():
            one.cancel()

    async def _hear(self, data: bytes) -> None:
        if self.session.options is None:
            await self._begin(self._options or StreamOptions.model_validate({}))
        await self._streams.hear(self.session, data, self._send)

    async def _begin(self, options: StreamOptions) -> None:
        profiles = self._service.profiles(self._socket)
        ask = await asyncio.to_thread(options.ask, profiles)
        enrolled = await asyncio.to_thread(profiles.voices) if options.speakers is not None else ()
        await self._streams.start(self.session, options, ask, enrolled)

    async def _order(self, text: str) -> bool:
        """Do what a message in JSON asks; say whether the session is to end."""
        try:
            order = json.loads(text)
        except (ValueError, RecursionError):
            order = None
        if not isinstance(order, dict) or not isinstance(order.get("type"), str):
            raise Problem("bad_request", "a text message is a JSON object with a type")
        kind = order.pop("type")
        if kind == "session.close":
            return True
        if kind == "session.update":
            await self._update(order)
        elif kind == "session.resume":
            await self._resume(order)
        else:
            raise Problem(
                "bad_request", f"type {kind[:40]!r}: expected session.update, session.resume or session.close"
            )
        return False

    async def _update(self, order: dict[str, Any]) -> None:
        """Take the options of the stream, before its first frame."""
        if self.session.options is not None:
            raise Problem("options_invalid", "options come before the first frame: open another session")
        given = order.get("options", {})
        if not isinstance(given, dict) or set(order) - {"options"}:
            raise Problem("bad_request", 'expected {"type": "session.update", "options": {...}}')
        options: StreamOptions = parsed(StreamOptions, given)
        options.cut()
        await asyncio.to_thread(options.ask, self._service.profiles(self._socket))
        self._options = options
        await self._say("session.updated", options=options.model_dump())

    async def _resume(self, order: dict[str, Any]) -> None:
        """Go on with a session whose connection broke."""
        after = order.get("after", 0)
        name = order.get("session_id")
        if not isinstance(name, str) or not isinstance(after, int) or self.session.options is not None:
            raise Problem("bad_request", 'expected {"type": "session.resume", "session_id": ..., "after": N} at first')
        found = self._streams.take(name, self.session.owner)
        self._streams.close(self.session)
        self.session, self._taken = found, found.taken
        async with found.lock:  # what its old connection still has to hear
            await self._say("session.resumed", session_id=found.id, received=found.received, produced=found.produced)
            for message in found.after(after):
                await self._send(message)

    async def _complain(self, problem: Problem) -> bool:
        """Tell a client what is wrong; say whether that was too much."""
        self._wrong += 1
        fatal = problem.kind.status >= 500 or problem.code in ("worker_died", "timed_out", "audio_too_long")
        over = fatal or self._wrong >= _PATIENCE
        body = problem.to_dict(call_of(self._socket).request_id)
        await self._say("error", **{**body, "type": "error"}, retryable=problem.code in ("server_busy", "not_found"))
        return over

    async def _close(self, reason: str) -> None:
        """Tell what is left to tell, and end."""
        try:
            for message in await self._streams.finish(self.session):
                await self._send(message)
        except (Problem, EmovoxError):
            reason = "error"
        session = self.session
        self._streams.close(session)
        await self._say(
            "session.closed", reason=reason, received=session.received, seconds=session.heard, produced=session.produced
        )
        LOG.info("stream", extra={"reason": reason, "seconds": round(session.heard, 1), "key": session.owner or None})
        await self._socket.close(REASONS[reason])

    async def _say(self, kind: str, **values: Any) -> None:
        await self._text(json.dumps({"type": kind, **values} if kind != "error" else values))

    async def _send(self, message: Message) -> None:
        await self._text(message.text)

    async def _text(self, text: str) -> None:
        """Send; a client that does not read holds its own stream back, and is left at last."""
        async with asyncio.timeout(_SLOWEST):
            await self._socket.send_text(text)
