"""What a client may ask for: the options of recordings and of live streams, checked once, where they come in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emovox.live.sources import Layout
from emovox.model.file import builtin
from emovox.model.subjects import AUTO
from emovox.outputs.formats import Format
from emovox.recognition.timeline import MOST_SPEAKERS, TimelineOptions
from emovox.serve.parts import Part
from emovox.serve.problems import Problem
from emovox.serve.profiles import Profiles
from emovox.serve.work import Ask, Recognise, Upload

Seconds = Annotated[float, Field(allow_inf_nan=False)]
#: How many speakers there are.
Speakers = Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_SPEAKERS)]
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

    name: str | None = Field(None, max_length=255, description="What answers call it; else its file name.")
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

    name: str = Field("<stream>", min_length=1, max_length=255, description="What its answers call it.")
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
