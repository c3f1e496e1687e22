"""``/v1/speakers``, ``/v1/settings`` and ``/v1/models``: whose voice it is and where, and who judges."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from emovox.errors import ModelError
from emovox.model.file import builtin, load_card
from emovox.model.profiles import Profile, Subject
from emovox.model.subjects import check_name
from emovox.serve import describe
from emovox.serve.bodies import received
from emovox.serve.guard import call_of, require
from emovox.serve.options import parsed
from emovox.serve.problems import Problem
from emovox.serve.profiles import Profiles
from emovox.serve.service import service_of
from emovox.serve.work import Learn, Upload

router = APIRouter()

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


_OPTIONS: dict[Subject, type[SettingOptions]] = {"speaker": SpeakerOptions, "setting": SettingOptions}


def _plain(profile: Profile) -> dict[str, Any]:
    """Describe a profile; its numbers stay here."""
    names = ("name", "model", "clips", "seconds", "created", *(("setting",) if profile.kind == "speaker" else ()))
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

    asked = describe.profiles(kind)
    one = f"{place}/{{name}}"
    router.get(place, **describe.operation(f"list_{many}", f"List {many}", asked["list"]))(list_profiles)
    router.post(place, **describe.operation(f"create_{kind}", f"Make a {kind}", asked["create"]))(create_profile)
    router.get(one, **describe.operation(f"get_{kind}", f"See a {kind}", asked["get"]))(get_profile)
    router.delete(one, **describe.operation(f"delete_{kind}", f"Delete a {kind}", asked["delete"]))(delete_profile)


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
        belongs, voice = (options.setting, options.voice) if isinstance(options, SpeakerOptions) else (None, False)
        if belongs:
            belongs = (await asyncio.to_thread(profiles.find, belongs, "setting")).name
        if not options.replace and name in await asyncio.to_thread(profiles.names, kind):
            raise Problem("exists", f"there is a {kind} {name!r}: add replace, or delete it first")
        uploads = tuple(Upload(part.content, part.name) for part in got.parts)
        task = Learn(kind, name, uploads, belongs, service.settings.seconds, voice)
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
