"""`emovox listen`, `serve` and `keys`: what runs until Ctrl-C."""

from __future__ import annotations

import dataclasses
import datetime
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np

from emovox.cli.commands import (
    channels_option,
    model_option,
    recognition_options,
    setting_option,
    speaker_option,
    threshold_option,
)
from emovox.cli.predict import RecognitionOptions, channel_choice, speaker_choice
from emovox.errors import InputError, MissingExtraError
from emovox.live import sources, state
from emovox.live.session import (
    JsonLines,
    Lines,
    Picture,
    Printer,
    Session,
    SoundKeeper,
    TimelineKeeper,
    ended_by_signals,
    keyboard,
)
from emovox.live.sources import ENCODINGS, Feed, Layout, Notice, PipeSource, SoundInput, standard_input
from emovox.live.state import CHECKED, State, Streams, Wanted
from emovox.model.profiles import Profile, voices
from emovox.outputs.commands import Choice, Decorator, Group, all_of, argument, command, option
from emovox.outputs.console import Console, Table, say, shown
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.serve import settings as table
from emovox.serve.settings import Settings, split
from emovox.types import RATE, Waveform

if TYPE_CHECKING:
    from emovox.serve.guard import Keys


class ListenFormat(StrEnum):
    """Output formats of listen."""

    TABLE = "table"
    JSON = "json"


_PIPE = "Raw sound from a pipe"
_CODES = ", ".join(ENCODINGS).replace("s16le", "s16le (default)")


@command()
@argument("source", metavar="[-]", required=False, help="Read WAV or raw PCM from standard input.")
@option("--device", "-d", metavar="NUMBER|NAME", help="Microphone: see --list-devices.")
@option("--list-devices", is_flag=True, help="List the microphones and stop.")
@option("--check", "only_check", is_flag=True, help="Check the sound for 5 s, give advice and stop.")
@option(
    "--format",
    "-f",
    "form",
    type=Choice(ListenFormat),
    metavar="FORMAT",
    default=ListenFormat.TABLE,
    help="table (default) or json, one event a line.",
)
@option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep the timeline: .json, .csv, .vtt, .srt, .TextGrid, .rttm or .txt (Audacity).",
)
@option("--save-audio", type=click.Path(path_type=Path), metavar="FILE", help="Save the sound as .wav.")
@model_option
@speaker_option
@setting_option
@threshold_option
@option("--no-gate", is_flag=True, help="Judge any sound, speech or not.")
@channels_option
@option(
    "--speakers",
    metavar="auto|N",
    section="Timeline",
    help="Separate speakers: auto, or their largest number.",
)
@option(
    "--window",
    type=float,
    metavar="SECONDS",
    default=TimelineOptions.window,
    section="Timeline",
    help="Longest segment.",
)
@option(
    "--hop",
    type=float,
    metavar="SECONDS",
    default=TimelineOptions.hop,
    section="Timeline",
    help="Seconds between running estimates.",
)
@recognition_options
@option("--encoding", metavar="NAME", section=_PIPE, help=_CODES)
@option("--rate", type=int, metavar="HZ", default=RATE, section=_PIPE, help="Sampling rate.")
@option("--pcm-channels", type=int, metavar="N", default=1, section=_PIPE, help="Number of channels.")
def listen(**written: Any) -> None:
    """Recognise emotions live, from a microphone or a pipe.

    Examples
    --------
    - `emovox listen`
    - `emovox listen --check`
    - `emovox listen --device usb --speaker anna --save talk.json`
    - `arecord -f S16_LE -r 16000 | emovox listen -`
    - `ffmpeg -i talk.mp4 -f wav - | emovox listen - --format json`

    Keys: m marks a moment, q or Ctrl-C ends; everything is saved and the exit code is 0. If the device fails, the
    results so far are saved and the exit code is 2. No sound is stored without --save-audio.
    """
    asked = ListenOptions(**written)
    if asked.list_devices:
        _print_devices()
        return
    if asked.save is not None and asked.save == asked.save_audio:
        raise InputError(f"--save and --save-audio are both {asked.save}: name two files")
    count = _speakers(asked.speakers)
    enrolled = voices() if count else ()
    options = TimelineOptions(window=asked.window, hop=asked.hop, speakers=count, enrolled=enrolled)
    heard = channel_choice(asked.channels)
    raw = Layout(asked.encoding or "s16le", asked.rate, asked.pcm_channels)
    origin = _open(asked.source, asked.device, asked.encoding, raw, heard)
    if asked.only_check:
        _check(origin)
        return
    transcribe = _transcription(asked.text, asked.asr, asked.language)
    recognizer = asked.recognizer()
    timeline = TimelineKeeper(asked.save, recognizer.card.labels) if asked.save else None
    sound = SoundKeeper(asked.save_audio) if asked.save_audio else None
    recognition = StreamingRecognizer(recognizer, options)
    streams = Streams(
        lambda number: recognition.open(origin.name, channel=number), heard if isinstance(heard, int) else None
    )
    with ended_by_signals() as stopped, keyboard() as pressed:
        state, printer = asked.state(origin.name, recognizer), _printer(asked.form)
        session = Session(Feed(origin), streams, state, printer, timeline=timeline, sound=sound, transcribe=transcribe)
        try:
            session.run(stopped, pressed)
        except BrokenPipeError:  # the reader (head, less) has enough; what is left in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            if state.time:
                say(state.summary())
            for path in session.files:
                say(f"wrote {path}")


@dataclass(frozen=True)
class ListenOptions(RecognitionOptions):
    """The options of one call, see ``emovox listen --help``."""

    source: str | None
    device: str | None
    list_devices: bool
    only_check: bool
    form: ListenFormat
    save: Path | None
    save_audio: Path | None
    window: float
    hop: float
    encoding: str | None
    rate: int
    pcm_channels: int

    def state(self, origin: str, recognizer: EmotionRecognizer) -> State:
        """Make the state of the session as it begins."""
        card, setting = recognizer.card, recognizer.setting
        known = setting.name if isinstance(setting, Profile) else setting
        kept = ", ".join(str(path) for path in (self.save, self.save_audio) if path)
        return State(origin, card.name, card.labels, self.speaker, f"saving {kept}" if kept else "", setting=known)


def _open(source: str | None, device: str | None, encoding: str | None, raw: Layout, channels: Wanted) -> SoundInput:
    """Find out where the sound comes from; options of the other kind of source are mistakes."""
    if source is None:
        if encoding is not None or raw != Layout():
            raise InputError(
                "--encoding, --rate and --pcm-channels describe raw sound from a pipe: add -, or leave them out"
            )
        return sources.DeviceSource(device, channels=channels)
    if source != "-":
        raise InputError(
            f"emovox listen hears a microphone, or standard input with -: for the file {source} write "
            f"emovox predict {source} --timeline"
        )
    if device is not None:
        raise InputError(f"sound comes from standard input with -, or from the device {device}: leave out one of them")
    return PipeSource(standard_input(), raw, raw=encoding is not None, channels=channels)


def _speakers(text: str | None) -> Literal["auto"] | int | None:
    """Read ``--speakers``: nobody has written down yet who will speak."""
    count, turns = speaker_choice(text)
    if turns is not None:
        raise InputError(f"--speakers {text}: when listening, auto or how many there are")
    return count


def _transcription(text: bool, asr: str | None, language: str | None) -> Callable[[Waveform], str] | None:
    """Get the speech recogniser ready, if one is wanted; what is missing is found out before anybody speaks."""
    if not (text or asr):
        if language:
            raise InputError("--language is about words: add --text")
        return None
    from emovox.text.transcribe import WhisperTranscriber

    transcriber = WhisperTranscriber(asr, language)
    transcriber.transcribe(Waveform(np.zeros(RATE, dtype=np.float32)))
    return lambda waveform: transcriber.transcribe(waveform).text.strip()


def _printer(form: ListenFormat) -> Printer:
    if form is ListenFormat.JSON:
        return JsonLines(sys.stdout)
    console = Console()
    if console.is_terminal and not console.is_dumb:
        return Picture(console)
    return Lines(sys.stdout, sys.stderr)


def _print_devices() -> None:
    found = sources.available(sources.load())
    if not found:
        sources.find(None, found)  # says what to do
    table = Table()
    for column in ("device", "name", "channels", "rate", ""):
        table.add_column(column, justify="right" if column in ("device", "channels", "rate") else "left")
    for one in found:
        table.add_row(str(one.index), one.name, str(one.channels), f"{one.rate} Hz", "default" if one.default else "")
    Console().print(table)


def _check(source: SoundInput) -> None:
    """Listen for some seconds, and say how good the sound is."""
    say(f"listening to {source.name} for {CHECKED:g} s: speak as you will")
    feed = Feed(source)
    pieces, length, until = [], 0, time.monotonic() + 2 * CHECKED
    while length < CHECKED * RATE and not feed.ended and time.monotonic() < until:
        piece = feed.next(0.1)
        if isinstance(piece, Notice):
            say(f"! {piece.text}")
        elif piece is not None:
            pieces.append(piece)
            length += len(piece)
    feed.stop()
    heard = state.loudest(np.concatenate(pieces)) if pieces else np.empty(0, dtype=np.float32)
    levels = state.measure(heard, source.rate)
    click.echo(
        f"{levels.duration:.1f} s at {levels.rate} Hz, peak {levels.peak:.0f} dB, voice {levels.loud:.0f} dB, "
        f"background {levels.noise:.0f} dB, cut off {levels.clipped:.1%}"
    )
    found = state.advice(levels)
    for line in found or ("the sound is fine",):
        click.echo(line)
    if found:
        raise click.exceptions.Exit(2)


def _options() -> Decorator:
    """Make an option of each setting; what is not written is looked up among the variables."""
    return all_of(
        *(
            option(
                table.option(one.name),
                type=type(one.default),
                metavar={int: "N", float: "N"}.get(type(one.default), "TEXT"),
                section=one.metadata["section"],
                hidden=one.metadata["section"] == table.RARE,
                help=_meaning(one),
            )
            for one in dataclasses.fields(Settings)
        )
    )


def _meaning(one: dataclasses.Field[Any]) -> str:
    text: str = one.metadata["help"].removesuffix(".")
    value = f"{one.default:g}" if isinstance(one.default, float) else str(one.default)
    return text if not value or "default" in text or "; 0 " in text else f"{text}; {value}"


@command()
@_options()
def serve(**given: Any) -> None:
    """Run the HTTP and WebSocket service until Ctrl-C.

    Examples
    --------
    - `emovox serve`
    - `curl -F file=@call.wav http://127.0.0.1:8000/v1/predict`
    - `emovox keys create phone-app && emovox serve --host 0.0.0.0`

    Every option is also a variable: --upload-mb is EMOVOX_UPLOAD_MB. Once there is a key, calls need one. The page
    "Serving" has the rarer limits.
    """
    settings = Settings.of(given)
    require_extra()
    from emovox.serve.server import serve as run

    run(settings, lambda address: say(f"emovox serves at {address} (Ctrl-C ends)"))


def require_extra() -> None:
    """Make sure that the [serve] extra is installed."""
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("emovox serve", "serve") from error


def _place() -> Decorator:
    """Where the keys are: the options of the same names of `emovox serve`."""
    return all_of(
        option("--data", metavar="FOLDER", help="Folder of the database; the default is the user's data folder."),
        option("--database", metavar="URL", help="URL of a PostgreSQL database; the default is SQLite."),
    )


@click.group("keys", cls=Group)
def keys() -> None:
    """Create, list and revoke API keys of the service.

    Examples
    --------
    - `emovox keys create phone-app --scopes predict,stream`
    - `emovox keys list`
    - `emovox keys revoke 3f2a9c01b7de`
    """


def _opened(data: str | None, database: str | None) -> Keys:
    require_extra()
    from emovox.serve.guard import Keys
    from emovox.serve.jobs import Database

    return Keys(Database(Settings.of({"data": data, "database": database})))


@command()
@argument("name", metavar="NAME", help="Name of its owner.")
@option("--scopes", metavar="LIST", default="", help="Comma-separated scopes; default all.")
@option("--rate", type=int, metavar="N", help="Requests a minute; the default is that of the server.")
@option("--streams", type=int, metavar="N", help="Live streams at a time; the default is that of the server.")
@option("--jobs", type=int, metavar="N", help="Unfinished jobs; the default is that of the server.")
@option("--days", type=float, metavar="N", help="Days until it expires; default never.")
@_place()
def create(
    name: str, scopes: str, days: float | None, data: str | None, database: str | None, **limits: int | None
) -> None:
    """Create a key and print it once: only its digest is stored.

    Examples
    --------
    - `emovox keys create phone-app`
    - `emovox keys create dashboard --scopes metrics --days 30`

    Scopes: predict, stream, jobs, profiles, metrics. Once there is a key, every call of the service needs one.
    """
    key, text = _opened(data, database).create(name, split(scopes), days=days, **limits)
    say(f"key {key.id} for {key.name}: {', '.join(key.scopes)}")
    click.echo(text)


@command("list")
@_place()
def list_keys(data: str | None, database: str | None) -> None:
    """List the keys, without their secrets."""
    table = Table()
    for column in ("id", "name", "scopes", "made", "state"):
        table.add_column(column)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    for one in _opened(data, database).all():
        state = "revoked" if one.revoked is not None else "works" if one.valid(now) else "ended"
        table.add_row(one.id, shown(one.name), " ".join(one.scopes), _day(one.created), state)
    Console().print(table)


@command()
@argument("ids", metavar="ID...", nargs=-1, required=True, help="Ids of keys.")
@_place()
def revoke(ids: tuple[str, ...], data: str | None, database: str | None) -> None:
    """Revoke keys: every server refuses them within two seconds.

    Examples
    --------
    - `emovox keys revoke 3f2a9c01b7de`
    """
    for one in _opened(data, database).revoke(ids):
        say(f"revoked {one}")


def _day(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).date().isoformat()


for _one in (create, list_keys, revoke):
    keys.add_command(_one)
