"""``POST /v1/predict``: one recording, one answer or its timeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from emovox.recognition.timeline import Timeline
from emovox.serve import answers, describe
from emovox.serve.bodies import received
from emovox.serve.guard import call_of, require
from emovox.serve.options import RecognitionOptions, parsed
from emovox.serve.problems import Problem
from emovox.serve.service import Service, service_of
from emovox.serve.work import Recognise
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
