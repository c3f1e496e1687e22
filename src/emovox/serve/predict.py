"""``POST /v1/predict`` and ``POST /v1/audio/transcriptions``: one recording, answered while the client waits."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.serve import answers, describe
from emovox.serve.bodies import received
from emovox.serve.guard import call_of, require
from emovox.serve.options import RecognitionOptions, parsed
from emovox.serve.problems import Problem
from emovox.serve.service import Service, service_of
from emovox.serve.work import Ask, Recognise, Upload
from emovox.types import Prediction

router = APIRouter()

#: Seconds after which a stream of events says that it is still there.
HEARTBEAT = 10.0


@router.post("/v1/predict", **describe.operation("predict", "Judge one recording", describe.PREDICT))
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
        form = answers.format_of(request.headers.get("accept"), options.form())
        if form is None:
            options = options.model_copy(update={"timeline": True})
        task = options.task(got.one(), service.profiles(request), service.settings.seconds)
        request_id = call_of(request).request_id
        if form is None:
            events = _events(service, task, options, request_id, stack.pop_all())
            return StreamingResponse(events, media_type=answers.EVENTS, headers={"X-Accel-Buffering": "no"})
        found: Timeline = await service.judge(task)
        return answers.answer(form, found, request_id, summary=options.summary)


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
                    yield answers.event("segment", what.to_dict())
                else:
                    yield answers.event("progress", {"seconds": what})
            try:
                found = await work
            except Problem as problem:
                yield answers.event("problem", problem.to_dict(request_id))
            else:
                yield answers.event("result", answers.body(found, request_id, summary=options.summary))
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


@router.post("/v1/audio/transcriptions", **describe.operation("transcribe", "Transcribe", describe.TRANSCRIBE))
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
