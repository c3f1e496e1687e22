"""``/v1/speakers`` and ``/v1/models``: whose voice it is, and who judges."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from emovox.errors import ModelError
from emovox.model.file import builtin, load_card
from emovox.model.names import check_name
from emovox.model.profiles import Profile
from emovox.serve import describe
from emovox.serve.bodies import received
from emovox.serve.guard import call_of, require
from emovox.serve.options import parsed
from emovox.serve.problems import Problem
from emovox.serve.service import service_of
from emovox.serve.work import Enrol, Upload

router = APIRouter()

#: Recordings that a profile is made of at most.
_RECORDINGS = 20
Name = Annotated[str, Path(max_length=64, description="Which one.")]


class EnrolOptions(BaseModel):
    """What is asked about a new profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=64, description="What to call the speaker: letters, digits, - and _.")
    replace: bool = Field(False, description="Replace a profile of that name.")


def _plain(profile: Profile) -> dict[str, Any]:
    """Describe a profile; its numbers stay here."""
    names = ("name", "model", "clips", "seconds", "created")
    return {name: getattr(profile, name) for name in names}


@router.get("/v1/speakers", **describe.operation("list_speakers", "List speakers", describe.SPEAKERS))
async def list_speakers(request: Request) -> JSONResponse:
    """List the caller's profiles of speakers; a damaged one has a name alone."""
    require(request, "profiles")
    profiles = service_of(request).profiles(request)

    def found() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name in profiles.names():
            try:
                rows.append(_plain(profiles.find(name)))
            except Problem as problem:
                rows.append({"name": name, "problem": problem.code})
        return rows

    return JSONResponse({"request_id": call_of(request).request_id, "speakers": await asyncio.to_thread(found)})


@router.post("/v1/speakers", **describe.operation("create_speaker", "Make a speaker", describe.SPEAKER_CREATE))
async def create_speaker(request: Request) -> JSONResponse:
    """Learn what a speaker's voice is ordinarily like, from parts `file` of calm speech; no sound is kept."""
    require(request, "profiles")
    service = service_of(request)
    profiles = service.profiles(request)
    async with received(request, files=_RECORDINGS) as got:
        options: EnrolOptions = parsed(EnrolOptions, got.options)
        name = check_name(options.name)
        if not options.replace and name in await asyncio.to_thread(profiles.names):
            raise Problem("exists", f"there is a speaker {name!r}: add replace, or delete it first")
        uploads = tuple(Upload(part.content, part.name) for part in got.parts)
        profile: Profile = await service.judge(Enrol(name, uploads, service.settings.seconds), kind="enrol")
    await asyncio.to_thread(profiles.save, profile)
    body = {"request_id": call_of(request).request_id, **_plain(profile)}
    return JSONResponse(body, 201, {"Location": f"/v1/speakers/{quote(profile.name)}"})


@router.get("/v1/speakers/{name}", **describe.operation("get_speaker", "See a speaker", describe.SPEAKER))
async def get_speaker(request: Request, name: Name) -> JSONResponse:
    """See a profile."""
    require(request, "profiles")
    found = await asyncio.to_thread(service_of(request).profiles(request).find, name)
    return JSONResponse({"request_id": call_of(request).request_id, **_plain(found)})


@router.delete(
    "/v1/speakers/{name}", **describe.operation("delete_speaker", "Delete a speaker", describe.SPEAKER_DELETE)
)
async def delete_speaker(request: Request, name: Name) -> Response:
    """Delete a profile."""
    require(request, "profiles")
    await asyncio.to_thread(service_of(request).profiles(request).remove, name)
    return Response(status_code=204)


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


@router.get("/v1/models", **describe.operation("list_models", "List models", describe.MODELS))
async def list_models(request: Request) -> JSONResponse:
    """List the models."""
    found = await asyncio.to_thread(_models, service_of(request).settings.model)
    return JSONResponse({"request_id": call_of(request).request_id, "object": "list", "data": found})


@router.get("/v1/models/{name}", **describe.operation("get_model", "See a model's card", describe.MODEL))
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
