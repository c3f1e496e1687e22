"""Routes about the server itself: is it alive, is it ready, how does it do, what does it speak."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from emovox.serve import describe
from emovox.serve.asyncapi import asyncapi as describe_socket
from emovox.serve.guard import require
from emovox.serve.problems import Problem
from emovox.serve.service import Service, service_of
from emovox.version import __version__

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
