"""The description of the socket for programs: AsyncAPI 3.0, made of the classes that check what comes in."""

from __future__ import annotations

from typing import Any

from emovox.serve.describe import prediction_schemas
from emovox.serve.options import StreamOptions
from emovox.serve.problems import KINDS
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


def asyncapi() -> dict[str, Any]:
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
