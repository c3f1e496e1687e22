"""The page for people: its files at ``/``, and what it has to know of the server."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from emovox.model.file import load_card
from emovox.outputs.cards import sections
from emovox.serve.options import RecognitionOptions
from emovox.serve.service import service_of
from emovox.serve.settings import Settings
from emovox.version import __version__

#: Media types of the files of the page.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
}
#: Recordings to try: their files, and what is in them.
SAMPLES = {
    "samples/conversation.flac": ("A conversation", "Two synthetic voices, one on each channel."),
    "samples/lively.flac": ("A lively sentence", "One synthetic voice, high and quick."),
    "samples/plain.flac": ("A plain sentence", "One synthetic voice, as it comes."),
}


@dataclass
class Asset:
    """One file of the page.

    Parameters
    ----------
    name : str
        Its path below the page's folder.
    data : bytes
    """

    name: str
    data: bytes = field(repr=False)

    @property
    def type(self) -> str:
        """The media type."""
        return TYPES[self.name[self.name.rindex(".") :]]

    @cached_property
    def tag(self) -> str:
        """The entity tag: another one for other bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:24]}"'

    @cached_property
    def packed(self) -> bytes | None:
        """The bytes as gzip; None for sound, which is small already."""
        return None if self.type.startswith("audio/") else gzip.compress(self.data, mtime=0)

    def answer(self, request: Request) -> Response:
        """Answer with the file, or say that the client's copy is still good."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.type)
        return Response(self.data, headers=headers, media_type=self.type)


def assets() -> list[Asset]:
    """Read the files of the page."""

    def within(folder: Traversable, path: str) -> list[Asset]:
        found = []
        for one in sorted(folder.iterdir(), key=lambda one: one.name):
            if one.is_dir():
                found += within(one, f"{path}{one.name}/")
            elif one.name[one.name.rfind(".") :] in TYPES:
                found.append(Asset(path + one.name, one.read_bytes()))
        return found

    return within(resources.files("emovox.serve") / "page", "")


def about(settings: Settings) -> dict[str, Any]:
    """Say what the page has to know before anybody is known: the model, its card, options and limits.

    Returns
    -------
    dict
        A static page has the same as a file, see ``page/engine.js``.
    """
    card = load_card(settings.model or None)
    options = [name for name in RecognitionOptions.model_fields if name not in _NOT_CHOSEN]
    return {
        "version": __version__,
        "model": card.name,
        "labels": list(card.labels),
        "dimensions": list(card.dimensions),
        "licence": card.licence,
        "options": options,
        "words": importlib.util.find_spec("faster_whisper") is not None,
        "profiles": ["speakers", *(["settings"] if "setting" in options else [])],
        "limits": {"bytes": settings.upload_bytes, "seconds": settings.job_seconds, "jobs": settings.jobs},
        "card": [
            {
                "title": one.title,
                "text": list(one.text),
                "head": list(one.head),
                "rows": [list(row) for row in one.rows],
            }
            for one in sections(card)
        ],
        "samples": [{"address": path, "name": name, "about": text} for path, (name, text) in SAMPLES.items()],
    }


#: Options that are no choice of a person.
_NOT_CHOSEN = ("name", "encoding", "rate", "pcm_channels", "format", "summary", "timeline")


def page_router() -> APIRouter:
    """Make the routes of the page: each file has its own, so that whatever else is asked for is not found."""
    router = APIRouter()
    told: dict[str, Any] = {}

    def serving(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return asset.answer(request)

        return serve

    async def tell(request: Request) -> Response:
        if not told:
            told.update(await asyncio.to_thread(about, service_of(request).settings))
        return JSONResponse(told, headers={"Cache-Control": "no-cache"})

    for asset in assets():
        paths = [f"/{asset.name}"] + (["/"] if asset.name == "index.html" else [])
        for path in paths:
            router.add_api_route(path, serving(asset), methods=["GET", "HEAD"], include_in_schema=False)
    router.add_api_route("/about.json", tell, methods=["GET"], include_in_schema=False)
    return router
