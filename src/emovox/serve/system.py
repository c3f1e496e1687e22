"""Routes about the server itself: is it alive, is it ready, how does it do, what does it speak."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from emovox.serve import describe
from emovox.serve.describe import prediction_schemas
from emovox.serve.guard import require
from emovox.serve.options import StreamOptions
from emovox.serve.problems import KINDS, Problem
from emovox.serve.service import Service, service_of
from emovox.serve.socket import REASONS
from emovox.version import __version__

_REF = "#/components/schemas/{model}"
_NUMBER, _TEXT, _COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def _message(kind: str, summary: str, **properties: Any) -> dict[str, Any]:
    """Describe a message in JSON."""
    schema = {"type": "object", "properties": {"type": {"const": kind}, **properties}, "required": ["type"]}
    return {"name": kind, "summary": summary, "contentType": "application/json", "payload": schema}


def _messages() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a client may say, and what the server says."""
    options: dict[str, Any] = {"$ref": _REF.format(model="StreamOptions")}
    place = {"number": _COUNT, "time": _NUMBER, "decided": _NUMBER}
    prediction = {"prediction": {"$ref": _REF.format(model="Prediction")}}
    counts = {"received": _COUNT, "produced": _COUNT}
    client = [
        _message("session.update", "Options, before the first frame", options=options),
        _message("session.resume", "Go on with a session whose connection broke", session_id=_TEXT, after=_COUNT),
        _message("session.close", "End the session"),
    ]
    server = [
        _message("session.created", "The session is open", session_id=_TEXT, limits={"type": "object"}),
        _message("session.updated", "The options that hold", options=options),
        _message("session.resumed", "How far the session is", session_id=_TEXT, **counts),
        _message("utterance.start", "Speech begins", **place),
        _message("estimate", "What an utterance that goes on sounds like so far", **place, **prediction),
        _message("result", "The judgement of an utterance or a part of it", **place, **prediction),
        _message("utterance.end", "Speech ends", **place),
        _message("error", "A problem", code={"enum": list(KINDS)}, detail=_TEXT, retryable={"type": "boolean"}),
        _message("session.closed", "The end", reason={"enum": list(REASONS)}, seconds=_NUMBER, **counts),
    ]
    sound = {
        "name": "sound",
        "summary": "Raw PCM, any number of bytes up to 1 MiB",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    return {"sound": sound, **{one["name"]: one for one in client}}, {one["name"]: one for one in server}


def describe_socket() -> dict[str, Any]:
    """Describe ``WS /v1/stream``."""
    client, server = _messages()
    both = {**client, **server}
    schema = StreamOptions.model_json_schema(ref_template=_REF)
    schemas = prediction_schemas() | schema.pop("$defs", {}) | {"StreamOptions": schema}

    def refs(names: dict[str, Any]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]

    return {
        "asyncapi": "3.0.0",
        "info": {"title": "emovox live streams", "version": __version__},
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in both},
            }
        },
        "operations": {
            "hear": {"action": "receive", "channel": {"$ref": "#/channels/stream"}, "messages": refs(client)},
            "tell": {"action": "send", "channel": {"$ref": "#/channels/stream"}, "messages": refs(server)},
        },
        "components": {"messages": both, "schemas": schemas},
    }


router = APIRouter()

_STATE: dict[str, Any] = {"tag": "server", "responses": {200: describe.answer(describe.ref("Anything"), "It is.")}}


@router.get("/healthz", **describe.operation("health", "Is the server alive?", _STATE))
async def healthz() -> dict[str, str]:
    """Say that the server is alive."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", **describe.operation("ready", "Can the server judge a recording now?", _STATE))
async def readyz(request: Request) -> dict[str, str]:
    """Say whether a worker has read its model and the database answers."""
    service = service_of(request)
    if service.stopping:
        raise Problem("server_busy", "the server is about to stop", retry_after=5)
    if not service.workers.ready:
        raise Problem("server_busy", "no worker has started yet", retry_after=1)
    if not await asyncio.to_thread(_answers, service):
        raise Problem("server_busy", "the database does not answer", retry_after=5)
    return {"status": "ready"}


def _answers(service: Service) -> bool:
    try:
        with service.database.read() as connection:
            connection.execute(sa.text("select 1"))
    except sa.exc.SQLAlchemyError:
        return False
    return True


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Give the metrics in the format of Prometheus."""
    require(request, "metrics")
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi() -> JSONResponse:
    """Describe the socket for programs."""
    return JSONResponse(describe_socket())


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Describe the service for programs."""
    return JSONResponse(request.app.openapi())
