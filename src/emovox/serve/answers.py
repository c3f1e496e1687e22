"""Results on their way out: in the format that a client accepts, or as events while they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from emovox.errors import InputError
from emovox.outputs import formats
from emovox.outputs.formats import Format
from emovox.outputs.text import json_line
from emovox.recognition.timeline import Timeline
from emovox.serve.problems import Problem

#: Media types of the formats, the first of each is what answers carry.
TYPES: Mapping[Format, tuple[str, ...]] = {
    Format.JSON: ("application/json",),
    Format.CSV: ("text/csv",),
    Format.VTT: ("text/vtt",),
    Format.SRT: ("application/x-subrip",),
    Format.TEXTGRID: ("text/x-textgrid", "application/x-praat-textgrid"),
    Format.RTTM: ("text/x-rttm", "application/x-rttm"),
    Format.AUDACITY: ("text/x-audacity-labels",),
}
#: Media type of answers that come piece by piece.
EVENTS = "text/event-stream"


def accepted(header: str | None, offered: Mapping[str, Any]) -> str | None:
    """Choose what a client likes best of what there is.

    Parameters
    ----------
    header : str or None
        The header Accept; None or empty accepts all.
    offered : mapping of str to anything
        Media types, the best first.

    Returns
    -------
    str or None
        A media type; None where nothing is acceptable.

    Examples
    --------
    >>> accepted("text/csv;q=0.5, text/vtt", {"application/json": 0, "text/csv": 1, "text/vtt": 2})
    'text/vtt'
    >>> accepted("*/*", {"application/json": 0, "text/csv": 1})
    'application/json'
    """
    ranked: list[tuple[float, int, str]] = []
    for wanted in (header or "*/*").split(","):
        name, *parameters = (part.strip().lower() for part in wanted.split(";"))
        quality = _quality(parameters)
        for place, one in enumerate(offered):
            if quality > 0 and (name in (one, "*/*") or (name.endswith("/*") and one.startswith(name[:-1]))):
                ranked.append((-quality, place, one))
    return min(ranked)[2] if ranked else None


def _quality(parameters: list[str]) -> float:
    for one in parameters:
        if one.startswith("q="):
            try:
                return float(one[2:])
            except ValueError:
                return 0.0
    return 1.0


def format_of(header: str | None, named: Format | None) -> Format | None:
    """Choose the format of an answer; None where events are wanted.

    Raises
    ------
    Problem
        None of the formats is acceptable.
    """
    if named is not None:
        return named
    offered: dict[str, Format | None] = {one: form for form, names in TYPES.items() for one in names}
    offered[EVENTS] = None
    found = accepted(header, offered)
    if found is None:
        raise Problem("not_acceptable", f"there is no such format: accept one of {', '.join(offered)}")
    return offered[found]


def labels_of(found: Timeline) -> tuple[str, ...]:
    """Return the labels of the model that judged."""
    return tuple(found.predictions[0].probabilities) if found.predictions else ()


def body(found: Timeline, request_id: str, *, summary: bool) -> dict[str, Any]:
    """Make the JSON of an answer: what ``emovox predict --format json`` prints, with the request's name around it."""
    plain = {"request_id": request_id, **found.to_dict()}
    return plain | ({"summary": found.summary().to_dict()} if summary else {})


def text(form: Format, found: Timeline) -> str:
    """Write what was found in another format than JSON.

    Raises
    ------
    Problem
        It does not fit the format.
    """
    try:
        return "".join(formats.pieces(form, found.predictions, labels_of(found), duration=found.duration))
    except InputError as error:
        raise Problem("not_acceptable", str(error)) from error


def answer(form: Format, found: Timeline, request_id: str, *, summary: bool) -> Response:
    """Make the whole answer about one recording."""
    if form is Format.JSON:
        return Response(json_line(body(found, request_id, summary=summary)), media_type=TYPES[form][0])
    return Response(text(form, found), media_type=f"{TYPES[form][0]}; charset=utf-8")


def event(name: str, data: Any, number: int | None = None) -> bytes:
    r"""Write one event of ``text/event-stream``.

    Examples
    --------
    >>> event("progress", {"seconds": 10.0})
    b'event: progress\ndata: {"seconds": 10.0}\n\n'
    """
    lines = [] if number is None else [f"id: {number}"]
    return "\n".join([*lines, f"event: {name}", f"data: {json_line(data)}", "", ""]).encode()
