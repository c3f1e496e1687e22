"""The description of the service for programs: OpenAPI 3.1, made of the classes that check what comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from emovox.model.profiles import Subject
from emovox.serve.answers import EVENTS, TYPES
from emovox.serve.options import JobOptions, RecognitionOptions
from emovox.serve.problems import KINDS, MEDIA_TYPE
from emovox.types import Prediction
from emovox.version import __version__

_REF = "#/components/schemas/{model}"
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}

#: What may be wrong with any request to the service's data.
_ALWAYS = ("bad_request", "key_missing", "scope_missing", "rate_limited", "internal_error", "server_busy")


def ref(name: str) -> dict[str, str]:
    """Refer to a schema by its name."""
    return {"$ref": _REF.format(model=name)}


def problems(*codes: str) -> dict[int | str, Any]:
    """Describe answers with a problem; each status once, with the codes that it stands for."""
    found: dict[int | str, list[str]] = {}
    for code in (*_ALWAYS, *codes):
        found.setdefault(KINDS[code].status, []).append(code)
    return {
        status: {
            "description": ", ".join(f"`{code}`: {KINDS[code].title}" for code in dict.fromkeys(codes)),
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
        for status, codes in sorted(found.items())
    }


def recordings(options: type[BaseModel] | str, *, many: bool = False) -> dict[str, Any]:
    """Describe a body with one recording or several, and its options."""
    name = options if isinstance(options, str) else options.__name__
    file: dict[str, Any] = {"type": "array", "items": _BINARY, "minItems": 1} if many else _BINARY
    form = {"type": "object", "required": ["file"], "properties": {"file": file, "options": ref(name)}}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": form, "encoding": {"options": {"contentType": "application/json"}}}
    }
    if not many:
        content["application/octet-stream"] = {"schema": _BINARY}
    return {"required": True, "content": content}


def answer(schema: Mapping[str, Any], description: str, example: Any = None, **others: Any) -> dict[str, Any]:
    """Describe an answer in JSON, and in other kinds of content."""
    content: dict[str, Any] = {"application/json": {"schema": dict(schema)}}
    if example is not None:
        content["application/json"]["example"] = example
    for kind in others.get("kinds", ()):
        content[kind] = {"schema": {"type": "string"}}
    return {"description": description, "content": content}


def operation(name: str, summary: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a route is declared with, beside its path."""
    responses = {**problems(*more.get("problems", ())), **more.get("responses", {})}
    extra = {key: more[key] for key in ("requestBody", "parameters") if key in more}
    return {
        "operation_id": name,
        "summary": summary,
        "tags": [more.get("tag", "recordings")],
        "responses": {int(status): value for status, value in sorted(responses.items())},
        "openapi_extra": extra or None,
        "response_model": None,
        "status_code": more.get("status", 200),
    }


#: What an answer looks like, for people who read the description.
EXAMPLE_PREDICTION = Prediction(
    "call.wav",
    0.0,
    3.1,
    "happy",
    {"neutral": 0.08, "happy": 0.81, "sad": 0.03, "angry": 0.08},
    0.81,
    False,
    "default",
).to_dict()
EXAMPLE_ANSWER = {"request_id": "req-1", "file": "call.wav", "duration": 3.1, "predictions": [EXAMPLE_PREDICTION]}

#: Codes of a recording that cannot be judged.
UNJUDGED = (
    "upload_too_slow",
    "upload_too_large",
    "audio_too_long",
    "unsupported_media_type",
    "options_invalid",
    "audio_unreadable",
    "no_speech",
    "model_unsuitable",
    "profile_unusable",
    "words_unavailable",
    "worker_died",
    "timed_out",
    "not_found",
)


def query(options: type[BaseModel]) -> list[dict[str, Any]]:
    """Describe options that stand in the query."""
    schema = options.model_json_schema(ref_template=_REF)
    return [
        {"name": name, "in": "query", "required": False, "schema": one, "description": one.get("description", "")}
        for name, one in schema["properties"].items()
    ]


PREDICT: dict[str, Any] = {
    "requestBody": recordings(RecognitionOptions),
    "parameters": query(RecognitionOptions),
    "problems": (*UNJUDGED, "not_acceptable"),
    "responses": {
        200: answer(
            ref("Answer"),
            "What the recording expresses: the predictions of `emovox predict --format json`.",
            EXAMPLE_ANSWER,
            kinds=[*(kind for kinds in TYPES.values() for kind in kinds if kind != "application/json"), EVENTS],
        )
    },
}


_JOB = "not_found"
_NAME: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "The client's name for this request: sent again, it makes no second job.",
}


def _job_route(schema: str, description: str, *codes: str, status: int = 200, **more: Any) -> dict[str, Any]:
    """Describe a route about jobs."""
    responses = {status: answer(ref(schema), description, kinds=more.pop("kinds", ()))}
    return {"tag": "jobs", "problems": codes, "responses": responses, "status": status, **more}


JOB_CREATE = _job_route(
    "Job",
    "The job is made; Location tells where it is.",
    *UNJUDGED,
    "idempotency_conflict",
    "too_many_jobs",
    "storage_full",
    status=202,
    requestBody=recordings("JobOptions", many=True),
    parameters=[_NAME],
)
JOB_LIST = _job_route("Jobs", "The jobs.", "options_invalid")
JOB_GET = _job_route("Job", "The job.", _JOB, "options_invalid")
JOB_CANCEL = _job_route("Job", "The job is cancelled.", _JOB, "options_invalid", "already_finished")
JOB_DELETE: dict[str, Any] = {
    "tag": "jobs",
    "problems": (_JOB, "options_invalid"),
    "responses": {204: {"description": "Nothing of the job is left."}},
    "status": 204,
}
JOB_PARTS = _job_route("Recordings", "The recordings.", _JOB, "options_invalid")
JOB_EVENTS: dict[str, Any] = {
    "tag": "jobs",
    "problems": (_JOB, "options_invalid"),
    "responses": {200: {"description": "Events.", "content": {EVENTS: {"schema": {"type": "string"}}}}},
}
_FORMS = [kind for kinds in TYPES.values() for kind in kinds if kind != "application/json"]
JOB_RESULT = _job_route(
    "Results", "The results.", _JOB, "options_invalid", "not_finished", "not_acceptable", kinds=_FORMS
)
JOB_ONE = _job_route("Answer", "The result.", *UNJUDGED, "not_finished", "not_acceptable", kinds=_FORMS)
JOB_ARCHIVE: dict[str, Any] = {
    "tag": "jobs",
    "problems": (_JOB, "options_invalid", "not_finished"),
    "responses": {200: {"description": "A ZIP.", "content": {"application/zip": {"schema": _BINARY}}}},
}


def _profile_route(schema: str, description: str, *codes: str, status: int = 200, **more: Any) -> dict[str, Any]:
    """Describe a route about speakers or models."""
    responses = {status: answer(ref(schema), description)}
    return {"tag": more.pop("tag"), "problems": codes, "responses": responses, "status": status, **more}


_PROFILE_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}


def profiles(kind: Subject) -> dict[str, dict[str, Any]]:
    """Describe the routes about profiles of speakers or settings."""
    properties: dict[str, Any] = {
        "file": {"type": "array", "items": _BINARY, "minItems": 1},
        "name": _PROFILE_NAME,
        "replace": {"type": "boolean"},
    }
    if kind == "speaker":
        properties["setting"] = _PROFILE_NAME
    form = {"type": "object", "required": ["file", "name"], "properties": properties}
    body = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    tag = f"{kind}s"
    gone = {204: {"description": "It is gone."}}
    return {
        "list": _profile_route("Anything", "The profiles.", tag=tag),
        "create": _profile_route(
            "Anything", "The profile.", *UNJUDGED, "exists", status=201, requestBody=body, tag=tag
        ),
        "get": _profile_route("Anything", "The profile.", "not_found", "options_invalid", "profile_unusable", tag=tag),
        "delete": {"tag": tag, "problems": ("not_found", "options_invalid"), "responses": gone, "status": 204},
    }


MODELS = _profile_route("Anything", "The models.", tag="models")
MODEL = _profile_route("Anything", "The model's card.", "not_found", "options_invalid", tag="models")
_WORDS: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": _BINARY,
        "model": {"type": "string"},
        "language": {"type": "string", "pattern": "^[a-z]{2,3}$"},
        "response_format": {"type": "string", "enum": ["json", "text", "srt", "verbose_json", "vtt"]},
    },
}
TRANSCRIBE = {
    "problems": UNJUDGED,
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _WORDS}}},
    "responses": {200: answer(ref("Anything"), "The words.", kinds=("text/plain", "text/vtt", "application/x-subrip"))},
}


def prediction_schemas() -> dict[str, Any]:
    """Return the schema of a prediction, and those that it refers to."""
    found = TypeAdapter(Prediction).json_schema(ref_template=_REF, mode="serialization")
    return {**found.pop("$defs", {}), "Prediction": found}


@cache
def _schemas() -> dict[str, Any]:
    """Return the schemas that are not made by routes."""
    found = prediction_schemas()
    number, text = {"type": "number"}, {"type": "string"}
    found["Answer"] = _object(
        {
            "request_id": text,
            "file": text,
            "duration": number,
            "predictions": {"type": "array", "items": ref("Prediction")},
            "summary": ref("Summary"),
        },
        optional=("summary",),
    )
    change = _object({"from": text, "to": text, "count": {"type": "integer"}})
    found["Summary"] = _object(
        {
            "file": text,
            "duration": number,
            "judged": number,
            "segments": {"type": "integer"},
            "abstained": number,
            "share": {"type": "object", "additionalProperties": number},
            "transitions": {"type": "array", "items": change},
            "strongest": {"type": "object", "additionalProperties": ref("Prediction")},
            "speakers": {"type": "object", "additionalProperties": {"type": "object"}},
            "replies": {"type": "array", "items": {"type": "object"}},
        },
        optional=("speakers", "replies"),
    )
    mistake = _object({"pointer": text, "detail": text})
    found["Problem"] = _object(
        {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": list(KINDS)},
            "detail": text,
            "request_id": text,
            "errors": {"type": "array", "items": mistake},
        },
        optional=("errors",),
    )
    found |= _job_schemas()
    found["Anything"] = {"type": "object"}
    for kind in (RecognitionOptions, JobOptions):
        schema = kind.model_json_schema(ref_template=_REF)
        found |= schema.pop("$defs", {})
        found[kind.__name__] = schema
    return found


def _job_schemas() -> dict[str, Any]:
    number, text, count = {"type": "number"}, {"type": "string"}, {"type": "integer"}
    maybe: dict[str, Any] = {"type": ["number", "null"]}
    place: dict[str, Any] = {"type": ["string", "null"]}
    state = {"type": "string", "enum": ["queued", "running", "succeeded", "failed", "cancelled"]}
    counts = _object(dict.fromkeys(("total", *state["enum"]), count))
    job = {
        "id": text,
        "state": state,
        "created": number,
        "finished": maybe,
        "expires": maybe,
        "recordings": counts,
        "seconds": number,
        "options": {"type": "object"},
    }
    named = {"request_id": text, **job, "links": {"type": "object"}, "webhook": {"type": "object"}}
    problem: dict[str, Any] = {"type": ["object", "null"]}
    recording = {"number": count, "name": text, "size": count, "state": state, "seconds": number}
    recording |= {"duration": maybe, "problem": problem}
    one = {"number": count, "file": text, "duration": number, "problem": problem, "summary": ref("Summary")}
    one["predictions"] = {"type": "array", "items": ref("Prediction")}
    results = _object(one, optional=("duration", "problem", "summary", "predictions"))
    return {
        "Job": _object(named, optional=("webhook",)),
        "Jobs": _object({"request_id": text, "jobs": {"type": "array", "items": _object(job)}, "next": place}),
        "Recordings": _object(
            {"request_id": text, "recordings": {"type": "array", "items": _object(recording)}, "next": maybe}
        ),
        "Results": _object({"request_id": text, **job, "results": {"type": "array", "items": results}}),
    }


def _object(properties: Mapping[str, Any], optional: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def openapi(app: FastAPI) -> dict[str, Any]:
    """Describe all routes of an application."""
    found = get_openapi(
        title="emovox",
        version=__version__,
        summary="Speech emotion recognition",
        description="Every error is a problem of RFC 9457 with a stable `code` and the `request_id`.",
        routes=app.routes,
        openapi_version="3.1.0",
    )
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(_schemas())
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "emovox keys create"}}
    found["security"] = [{"key": []}, {}]
    return found
