"""The application: every route behind the guard, every error in one shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from emovox.errors import EmovoxError
from emovox.serve import describe, job_routes, predict, profile_routes, socket, system, transcriptions
from emovox.serve.database import AWAY
from emovox.serve.guard import Guard, call_of
from emovox.serve.options import mistakes
from emovox.serve.page_routes import page_router
from emovox.serve.problems import BY_STATUS, MEDIA_TYPE, Problem
from emovox.serve.service import Service
from emovox.serve.settings import split
from emovox.version import __version__


def create_app(service: Service) -> FastAPI:
    """Put the routes together.

    Parameters
    ----------
    service : Service
        What they share; the application starts and stops it.

    Returns
    -------
    FastAPI
        An ASGI application.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="emovox",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its pages come from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for module in (system, predict, transcriptions, job_routes, profile_routes, socket):
        app.include_router(module.router)
    app.include_router(page_router())
    app.openapi = _described(app)  # type: ignore[method-assign]
    for kind in (Problem, EmovoxError, HTTPException, RequestValidationError, *AWAY):
        app.add_exception_handler(kind, _refused)
    if origins := split(service.settings.origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID"],
            expose_headers=["Location", "Retry-After", "X-Request-ID", "RateLimit", "RateLimit-Policy"],
        )
    app.add_middleware(Guard, settings=service.settings, keys=service.keys, metrics=service.metrics)
    return app


def _described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def found() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = describe.openapi(app)
        return app.openapi_schema

    return found


async def _refused(request: Request, error: Exception) -> Response:
    """Answer an exception with a problem."""
    problem = _problem(error)
    request_id = call_of(request).request_id
    headers = {**problem.headers, **({"Connection": "close"} if problem.kind.status in (408, 413) else {})}
    return Response(problem.body(request_id), problem.kind.status, headers, MEDIA_TYPE)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, EmovoxError):
        return Problem.of(error)
    if isinstance(error, AWAY):
        return Problem("server_busy", "the database does not answer: send it later", retry_after=5)
    if isinstance(error, RequestValidationError):
        return Problem("options_invalid", mistakes(error.errors())[0]["detail"], errors=mistakes(error.errors()))
    status = getattr(error, "status_code", 400)
    headers = getattr(error, "headers", None) or {}
    detail = str(getattr(error, "detail", "")) if status == 400 else ""
    return Problem(BY_STATUS.get(status, "bad_request"), detail, headers=headers)
