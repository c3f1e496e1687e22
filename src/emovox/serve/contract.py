"""What the service takes and gives: options, bodies, answers, and their description for machines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Annotated, Any, Literal

import anyio.to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from emovox import __version__
from emovox.errors import InputError, ProfileError
from emovox.live.sources import Layout
from emovox.model import profiles
from emovox.model.file import builtin
from emovox.model.profiles import AUTO, Profile, Subject, check_name, default_folder
from emovox.outputs import formats
from emovox.outputs.console import json_line, readable
from emovox.outputs.formats import Format
from emovox.recognition.timeline import MOST_SPEAKERS, Timeline, TimelineOptions
from emovox.serve import settings
from emovox.serve.pool import Ask, Recognise, Upload
from emovox.serve.settings import KINDS, MEDIA_TYPE, Part, Problem, kept
from emovox.types import Prediction


class Profiles:
    """The profiles of one caller.

    Parameters
    ----------
    folder : Path
        Folder of the profiles: that of the command line for this machine's user, else one for each key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, owner: str, data: Path) -> Profiles:
        """Return those of the owner of a key; without keys, those of ``emovox enroll`` and ``emovox adapt``."""
        return cls(data / "profiles" / owner if owner else default_folder())

    def _of_kind(self, kind: Subject) -> Path:
        return self._folder / "settings" if kind == "setting" else self._folder

    def path(self, name: str, kind: Subject) -> Path:
        """Return where a profile is kept, or would be.

        Raises
        ------
        ProfileError
            The name is not possible.
        """
        return self._of_kind(kind) / f"{check_name(name, kind)}.json"

    def names(self, kind: Subject) -> list[str]:
        """Return the names of all profiles of a kind."""
        return sorted(path.stem for path in self._of_kind(kind).glob("*.json"))

    def find(self, name: str, kind: Subject) -> Profile:
        """Read a profile.

        Raises
        ------
        Problem
            There is none, or it is damaged.
        """
        try:
            path = self.path(name, kind)
            if not path.is_file():
                raise Problem("not_found", f"there is no {kind} {name!r}: POST /v1/{kind}s makes one")
            found = profiles.read(path)
            profiles.require_kind(found, kind)
        except ProfileError as error:
            raise Problem("profile_unusable", _without(str(error), self._of_kind(kind))) from error
        return found

    def voices(self) -> tuple[Profile, ...]:
        """Return the speakers who have a voice print; what is damaged takes no part."""
        found = []
        for name in self.names("speaker"):
            with suppress(Problem):
                found.append(self.find(name, "speaker"))
        return tuple(one for one in found if one.voice)

    def save(self, profile: Profile) -> None:
        """Write a profile."""
        profiles.save(profile, self.path(profile.name, profile.kind))

    def remove(self, name: str, kind: Subject) -> None:
        """Delete a profile.

        Raises
        ------
        Problem
            There is none.
        """
        try:
            path = self.path(name, kind)
        except ProfileError as error:
            raise Problem("not_found", str(error)) from error
        if not path.is_file():
            raise Problem("not_found", f"there is no {kind} {name!r}")
        path.unlink(missing_ok=True)


def _without(text: str, folder: Path) -> str:
    """Take the server's folder out of a message."""
    return text.replace(f"{folder}/", "").replace(str(folder), "")


Seconds = Annotated[float, Field(allow_inf_nan=False)]
#: How many speakers there are.
Speakers = Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_SPEAKERS)]
#: What answers call a recording; PostgreSQL keeps no text with a NUL in it.
Called = Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")]
#: The formats that an answer or a result may have.
Form = Literal["json", "csv", "vtt", "srt", "textgrid", "rttm", "audacity"]


class Options(BaseModel):
    """What every kind of recognition takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, max_length=64, description="Name of a built-in model; else the server's own.")
    speaker: str | None = Field(None, max_length=64, description="Whose voice it is: a profile of /v1/speakers.")
    setting: str | None = Field(
        None, max_length=64, description="Where it was recorded: a profile of /v1/settings; auto: its own setting."
    )
    threshold: float | None = Field(None, ge=0, le=1, description="Confidence that an answer needs; 0 never abstains.")
    gate: bool = Field(True, description="Whether sound without speech is refused.")

    def ask(self, profiles: Profiles) -> Ask:
        """Say who judges.

        Raises
        ------
        Problem
            There is no such model or profile.
        """
        if self.model is not None and self.model not in builtin():
            raise invalid("/model", f"there is no model {self.model!r}: choose one of {', '.join(builtin())}")
        speaker = profiles.find(self.speaker, "speaker") if self.speaker else None
        # The setting that the speaker belongs to is looked up here, among the profiles of this caller.
        name = self.setting or (speaker.setting if speaker else None)
        setting = profiles.find(name, "setting") if name and name != AUTO else name
        return Ask(self.model, speaker, setting, self.threshold, self.gate)


class Cut(Options):
    """How sound that goes on is cut and judged, see :class:`emovox.TimelineOptions`."""

    mode: Literal["utterance", "interval"] = Field("utterance", description="What a segment is.")
    window: Seconds | None = Field(None, ge=0.3, le=30, description="Seconds judged at once at most; 6.")
    hop: Seconds | None = Field(None, ge=0.1, le=30, description="Length of an interval, or from estimate to estimate.")
    smooth: Seconds = Field(0.0, ge=0, le=600, description="Time constant of smoothing.")

    def _cut(self, merge: float | None = None, speakers: Literal["auto"] | int | None = None) -> TimelineOptions:
        hop = TimelineOptions.hop if self.hop is None else self.hop
        # As on the command line: a long interval is judged whole.
        window = max(TimelineOptions.window, self.hop or 0.0) if self.window is None else self.window
        if hop > window:
            raise invalid("/hop", f"hop is {hop:g}: expected at most window, {window:g} s")
        if speakers is not None and self.mode == "interval":
            raise invalid(
                "/speakers", "speakers are told apart by utterances: leave out the mode interval, or the speakers"
            )
        return TimelineOptions(self.mode, window, hop, self.smooth, merge, speakers=speakers)


class RecognitionOptions(Cut):
    """What is asked about a recording."""

    name: Called | None = Field(None, description="What answers call it; else its file name.")
    timeline: bool = Field(False, description="Answer segment by segment.")
    summary: bool = Field(False, description="Add shares of time, changes and strongest moments; implies timeline.")
    merge: Seconds | None = Field(None, ge=0, le=600, description="Join equal neighbours with such a pause at most.")
    speakers: Speakers | None = Field(
        None, description="Tell speakers apart: auto, or how many there are; implies timeline."
    )
    channels: str = Field("mix", pattern="^(mix|each|[1-9][0-9]?)$", description="mix, each or the number of one.")
    text: bool = Field(False, description="Recognise the words, too.")
    language: str | None = Field(None, pattern="^[a-z]{2,3}$", description="What is spoken, such as en.")
    encoding: Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"] | None = Field(
        None, description="The sound is raw PCM of this sample format."
    )
    rate: int | None = Field(None, ge=1000, le=768000, description="Sampling rate of raw PCM in Hz.")
    pcm_channels: int | None = Field(None, ge=1, le=64, description="Interleaved channels of raw PCM; 1.")
    format: Form | None = Field(None, description="Format of the answer, instead of the header Accept.")

    @model_validator(mode="after")
    def _complete(self) -> RecognitionOptions:
        if self.encoding is None and (self.rate is not None or self.pcm_channels is not None):
            raise ValueError("rate and pcm_channels describe raw PCM: add encoding, or leave them out")
        if self.encoding is not None and self.rate is None:
            raise ValueError("raw PCM does not tell its sampling rate: add rate, in Hz")
        if self.language is not None and not self.text:
            raise ValueError("language is about words: add text")
        return self

    def ask(self, profiles: Profiles) -> Ask:
        """Say who judges."""
        return replace(super().ask(profiles), text=self.text, language=self.language)

    def cut(self) -> TimelineOptions | None:
        """Say how the recording is cut; None where one answer is wanted."""
        wanted = self.timeline or self.summary or self.speakers is not None
        return self._cut(self.merge, self.speakers) if wanted else None

    def task(self, part: Part, profiles: Profiles, longest: float) -> Recognise:
        """Make the task of a recording of at most so many seconds.

        Raises
        ------
        Problem
            There is no such model or profile, or the options contradict each other.
        """
        layout = None if self.encoding is None else Layout(self.encoding, self.rate or 0, self.pcm_channels or 1)
        upload = Upload(part.content, self.name or part.name, layout)
        cut = self.cut()
        if cut and cut.speakers is not None:
            cut = replace(cut, enrolled=profiles.voices())
        return Recognise(upload, self.ask(profiles), cut, self.channels, longest)

    def form(self) -> Format | None:
        """Return the format of the answer, where one is named."""
        return None if self.format is None else Format(self.format)


class Webhook(BaseModel):
    """Where a client wants to be told that a job is finished."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(max_length=2000, description="An https URL that leads to a public address.")
    secret: str | None = Field(None, min_length=16, max_length=200, description="Signs the message; else one is made.")


class JobOptions(RecognitionOptions):
    """What is asked about the recordings of a job."""

    webhook: Webhook | None = Field(None, description="Where to tell that the job is finished.")


class StreamOptions(Cut):
    """What is asked about a live stream."""

    name: Called = Field("<stream>", min_length=1, description="What its answers call it.")
    encoding: Literal["s16le", "f32le"] = Field("s16le", description="Sample format of the frames.")
    rate: int = Field(16000, ge=1000, le=768000, description="Sampling rate in Hz.")
    channels: int = Field(1, ge=1, le=2, description="Interleaved channels; they are averaged.")
    speakers: Speakers | None = Field(
        None, description="Tell speakers apart, by what was heard so far: auto, or how many there can be."
    )
    estimates: bool = Field(False, description="Send estimates while somebody speaks, where there is time for them.")

    def cut(self) -> TimelineOptions:
        """Say how the stream is cut."""
        return self._cut(speakers=self.speakers)


def parsed(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Check what a client has sent.

    Parameters
    ----------
    kind : type
        One of the classes above.
    values : mapping
        What has come: JSON, or text of a query.

    Raises
    ------
    Problem
        An option is unknown, or its value is not possible.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        found = mistakes(error.errors(include_url=False, include_input=False, include_context=False))
        raise Problem("options_invalid", found[0]["detail"], errors=found) from error


def mistakes(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Say of each mistake where it is, as a JSON pointer, and what it is."""
    found = []
    for one in errors:
        place = "/".join(str(part)[:80].replace("~", "~0").replace("/", "~1") for part in one["loc"])
        text = str(one["msg"]).removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            text = "there is no such option"
        found.append({"pointer": f"/{place}" if place else "", "detail": f"{place}: {text}" if place else text})
    return found


def invalid(pointer: str, detail: str) -> Problem:
    """Make the problem of one option."""
    return Problem("options_invalid", detail, errors=[{"pointer": pointer, "detail": detail}])


def from_json(text: str | bytes) -> dict[str, Any]:
    """Read options that come as JSON.

    Raises
    ------
    Problem
        They are no JSON object.

    Examples
    --------
    >>> from_json('{"timeline": true}')
    {'timeline': True}
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem("bad_request", 'options are not JSON: expected an object such as {"timeline": true}') from error
    if not isinstance(found, dict):
        raise Problem("bad_request", 'options are not a JSON object: expected one such as {"timeline": true}')
    return found


#: Bytes of the options of a request.
_OPTIONS = 65_536
#: Bytes of a recording that neither a form nor a body has put into a file.
_IN_MEMORY = min(settings.SPOOL, 1 << 20)
#: What a recording without a name is called.
NAMELESS = "recording"
#: Kinds of content that may be a recording.
_SOUND = ("audio/", "video/", "application/octet-stream", "application/ogg")
#: Raw PCM, whose options may stand in the header.
_PCM = ("audio/pcm", "audio/raw")


@dataclass
class Received:
    """What a request has brought.

    Attributes
    ----------
    parts : list of Part
        The recordings.
    options : dict
        What was asked, unchecked.
    """

    parts: list[Part] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def one(self) -> Part:
        """Return the only recording.

        Raises
        ------
        Problem
            There is none, or more than one.
        """
        if len(self.parts) != 1:
            raise Problem("bad_request", f"{len(self.parts)} recordings came: send one, as the part file or the body")
        return self.parts[0]


@asynccontextmanager
async def received(request: Request, *, files: int = 1) -> AsyncIterator[Received]:
    """Read the body of a request; temporary files are gone after the block.

    Parameters
    ----------
    request : Request
        Either a form with the recordings as parts ``file`` and options as the part ``options``, or a recording as it
        is; options may also stand in the query.
    files : int, default 1
        How many recordings may come.

    Raises
    ------
    Problem
        The body is no such thing.
    """
    found = Received(options=dict(request.query_params))
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise Problem("unsupported_media_type", f"content-encoding {coding[:40]!r}: send the recording as it is")
    try:
        kind, parameters = parse_options_header(request.headers.get("content-type", ""))
        if kind == b"multipart/form-data":
            await _form(request, files, found)
        elif kind.decode("latin-1").startswith(_SOUND):
            if kind.decode("latin-1") in _PCM:
                found.options |= _pcm(parameters)
            found.parts.append(await _raw(request, found.options))
        else:
            raise Problem(
                "unsupported_media_type",
                f"content of type {kind.decode('latin-1')[:80]!r}: send multipart/form-data, audio/* or "
                "application/octet-stream",
            )
        yield found
    except ClientDisconnect:
        raise Problem("bad_request", "the upload broke off") from None
    finally:
        for part in found.parts:
            part.close()


async def _form(request: Request, files: int, found: Received) -> None:
    async with request.form(max_files=files + 1, max_fields=20, max_part_size=_OPTIONS) as form:
        for name, value in form.multi_items():
            if name == "file" and isinstance(value, UploadFile):
                found.parts.append(await _kept(value.file, value.size or 0, value.filename))
            elif name == "options":
                text = await value.read(_OPTIONS) if isinstance(value, UploadFile) else value
                found.options |= from_json(text)
            elif isinstance(value, str):
                found.options[name] = value
            else:
                raise Problem("bad_request", f"a file came as the part {name[:40]!r}: expected file")
    if not found.parts:
        raise Problem("bad_request", "no recording came: send it as the part file, with a file name")


async def _raw(request: Request, options: Mapping[str, Any]) -> Part:
    with tempfile.SpooledTemporaryFile(settings.SPOOL) as spool:
        async for chunk in request.stream():
            if spool.tell() + len(chunk) > settings.SPOOL:
                await anyio.to_thread.run_sync(spool.write, chunk)
            else:
                spool.write(chunk)
        return await _kept(spool, spool.tell(), str(options.get("name") or ""))


async def _kept(file: IO[bytes], size: int, name: str | None) -> Part:
    """Keep a recording; one that is in memory costs less to keep at once than to hand to a thread."""
    if size <= _IN_MEMORY:
        return kept(file, plain(name))
    return await anyio.to_thread.run_sync(kept, file, plain(name))


def _pcm(parameters: Mapping[bytes, bytes]) -> dict[str, str]:
    """Read the options of raw PCM from the header: ``audio/pcm;encoding=s16le;rate=16000;channels=1``."""
    names = {b"encoding": "encoding", b"rate": "rate", b"channels": "pcm_channels"}
    given = {names[key]: value.decode("latin-1") for key, value in parameters.items() if key in names}
    return {"encoding": "s16le"} | given


def plain(name: str | None) -> str:
    r"""Return the last part of a file name: whatever a client calls its recording, it is no path here.

    Examples
    --------
    >>> plain("C:\\calls\\a.wav"), plain("../../etc/passwd"), plain("")
    ('a.wav', 'passwd', 'recording')
    """
    text = PurePosixPath(PureWindowsPath(readable(name or "").replace("\x00", "")).name).name
    return text[-255:] or NAMELESS


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
        The header Accept; None or empty accepts all. Of two ranges that match, the narrower one counts.
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
    >>> accepted("application/json;q=0, */*;q=0.1", {"application/json": 0, "text/csv": 1})
    'text/csv'
    """
    wanted: dict[str, float] = {"": 0.0}
    for one in (header or "*/*").split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        wanted[name] = max(_quality(parameters), wanted.get(name, 0.0))
    ranked = []
    for place, one in enumerate(offered):
        named = (name for name in (one, f"{one.partition('/')[0]}/*", "*/*") if name in wanted)
        quality = wanted[next(named, "")]
        ranked.append((-quality, place, one))
    best = min(ranked, default=None)
    return best[2] if best and best[0] < 0 else None


def _quality(parameters: list[str]) -> float:
    for one in parameters:
        if one.startswith("q="):
            with suppress(ValueError):
                value = float(one[2:])
                return value if 0 <= value <= 1 else 0.0
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


def described(schema: Mapping[str, Any], description: str, example: Any = None, **others: Any) -> dict[str, Any]:
    """Describe an described in JSON, and in other kinds of content."""
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


#: What an described looks like, for people who read the description.
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
        200: described(
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
    responses = {status: described(ref(schema), description, kinds=more.pop("kinds", ()))}
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
    responses = {status: described(ref(schema), description)}
    return {"tag": more.pop("tag"), "problems": codes, "responses": responses, "status": status, **more}


_PROFILE_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}


def profile_operations(kind: Subject) -> dict[str, dict[str, Any]]:
    """Describe the routes about profiles of speakers or settings."""
    properties: dict[str, Any] = {
        "file": {"type": "array", "items": _BINARY, "minItems": 1},
        "name": _PROFILE_NAME,
        "replace": {"type": "boolean"},
    }
    if kind == "speaker":
        properties |= {"setting": _PROFILE_NAME, "voice": {"type": "boolean"}, "neutral": {"type": "boolean"}}
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
    "responses": {
        200: described(ref("Anything"), "The words.", kinds=("text/plain", "text/vtt", "application/x-subrip"))
    },
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
