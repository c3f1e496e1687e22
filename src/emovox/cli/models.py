"""`emovox models`, `cache`, `enroll`, `adapt`, `features`: what is kept, and numbers of recordings."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from emovox import audio
from emovox.audio import Sound
from emovox.cli.commands import channels_option, model_option
from emovox.cli.predict import FailureReport, numbered
from emovox.errors import EmovoxError, InputError, MissingExtraError, ProfileError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import DEFAULT, ModelCard, builtin, load_card
from emovox.model.profiles import AUTO, Profile, Subject, default_folder
from emovox.outputs.commands import Choice, all_of, argument, command, option
from emovox.outputs.console import Console, Table, Text, csv_line, progress_bars, readable, say, shown
from emovox.outputs.pages import percent, sections
from emovox.recognition.analysis import recordings
from emovox.recognition.recognizer import AxesExtractor, EmotionRecognizer, FeatureExtractor, standardised
from emovox.storage import cache_folder, cannot_write, replacing, require_writable
from emovox.types import Float32Array


@command()
@argument("model", metavar="[MODEL]", required=False, help="Show the full card of this model.")
@option("--json", "as_json", is_flag=True, help="Print cards as JSON.")
def models(model: str | None, as_json: bool) -> None:
    """List the models in the package, or show a model's card.

    A card states data, licence, intended use, protocol and scores.

    Examples
    --------
    - `emovox models`
    - `emovox models runs/ravdess-ann/model.onnx`
    - `emovox models default --json`
    """
    if as_json:
        names = [model] if model else list(builtin())
        click.echo(json.dumps([load_card(name).to_dict() for name in names], indent=1))
    elif model:
        _show(load_card(model))
    else:
        _list()


def _list() -> None:
    console = Console()
    rows = [_row(name, load_card(name)) for name in builtin()]
    shown = next(columns for width, columns in _SHOWN if console.width >= width)
    table = Table()
    for column in shown:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in shown))
    console.print(table)


#: The columns that a terminal has room for, by its width; a model's own page has them all.
_SHOWN = (
    (110, ("name", "family", "features", "classes", "UAR", "protocol", "licence")),
    (60, ("name", "family", "classes", "UAR", "licence")),
    (0, ("name", "classes", "UAR")),
)


def _row(name: str, card: ModelCard) -> dict[str, str]:
    """Say of a model what the columns are about."""
    return {
        "name": f"{name} (default)" if name == DEFAULT else name,
        "family": card.family,
        "features": f"{card.features.set} ({card.features.dimension})",
        "classes": str(len(card.labels)),
        "UAR": percent(card.evaluation.get("uar")),
        "protocol": str(card.evaluation.get("protocol", {}).get("name", "")),
        "licence": card.licence,
    }


def _show(card: ModelCard) -> None:

    console = Console()
    for section in sections(card):
        console.print(Text(f"\n{section.title}", style="bold"))
        for paragraph in section.text:
            console.print(Text(paragraph))
        if section.rows:
            table = Table(show_header=bool(section.head), header_style="dim")
            for place, name in enumerate(section.head or [""] * len(section.rows[0])):
                table.add_column(name, justify="right" if section.head and place else "left")
            for row in section.rows:
                table.add_row(*map(Text, row))
            console.print(table)


#: How the names of cached entries end, in a folder of two hexadecimal digits each.
_ENDING = ".npy"


class Kind(StrEnum):
    """What can be cleared."""

    FEATURES = "features"
    TRANSCRIPTS = "transcripts"
    CONTENT = "content"
    ALL = "all"


class Kept(NamedTuple):
    """Something that is kept.

    Attributes
    ----------
    what : str
        A word for it.
    folder : Path
        Where it is.
    files : list of Path
        The files that belong to it.
    """

    what: str
    folder: Path
    files: list[Path]


def kept() -> Iterator[Kept]:
    """Look what is kept: features and digests of training, transcripts, profiles of voices."""
    folder = cache_folder()
    entries = sorted(folder.glob(f"[0-9a-f][0-9a-f]/*{_ENDING}"))
    yield Kept("features", folder, entries)
    for what in ("transcripts", "content"):
        yield Kept(what, folder / what, sorted(one for one in (folder / what).rglob("*") if one.is_file()))
    yield Kept("profiles", default_folder(), [profiles.stored(name) for name in profiles.names()])


@command()
@option("--clear", type=Choice(Kind), metavar="WHAT", help="Delete features, transcripts, content (digests) or all.")
def cache(clear: Kind | None) -> None:
    """Show what is stored on disk, and delete it.

    Examples
    --------
    - `emovox cache`
    - `emovox cache --clear transcripts`

    Training stores features and digests of recordings, predict --text stores transcripts; no sound is stored. Profiles
    of voices are listed, and deleted by name: emovox enroll --remove NAME.
    """
    if clear:
        for one in kept():
            if one.what == clear or (clear is Kind.ALL and one.what != "profiles"):
                _clear(one)
    _print(list(kept()))


def _clear(one: Kept) -> None:
    """Delete the files of one kind, and the folders that are empty then."""
    try:
        for file in one.files:
            file.unlink(missing_ok=True)
        if one.folder != cache_folder():
            shutil.rmtree(one.folder, ignore_errors=True)
        for folder in {file.parent for file in one.files}:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise cannot_write(one.folder, error) from error
    click.echo(f"cleared {one.what}: {len(one.files)} files")


def _print(found: list[Kept]) -> None:
    table = Table()
    for column in ("kept", "files", "size", "where"):
        table.add_column(column, justify="right" if column in ("files", "size") else "left")
    for one in found:
        size = sum(file.stat().st_size for file in one.files if file.exists())
        table.add_row(one.what, str(len(one.files)), _size(size), shown(str(one.folder)))
    Console().print(table)


def _size(count: int) -> str:
    """Write a number of bytes as people read it.

    Examples
    --------
    >>> _size(0), _size(1500), _size(2_500_000)
    ('0 kB', '2 kB', '2.5 MB')
    """
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{-(-count // 1000)} kB"


#: Called with recordings done and seconds analysed.
Progress = Callable[[int, float], None]
#: Makes a profile of recordings.
Learn = Callable[[EmotionRecognizer, str, Iterator[Sound], Progress], Profile]

profile_options = all_of(
    model_option,
    option(
        "--out",
        "-o",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write to this file instead of the folder of profiles.",
    ),
    option("--force", is_flag=True, help="Replace an existing profile."),
    option("--list", "listing", is_flag=True, help="List the stored profiles."),
    option("--remove", metavar="NAME", help="Delete a stored profile."),
)


@dataclass(frozen=True)
class ProfileOptions:
    """The options of `enroll` and `adapt`: a profile to make, the list of profiles, or one to remove.

    Attributes
    ----------
    kind : {"speaker", "setting"}
    name : str or None
    sources : tuple of str
    model : str or None
    out : Path or None
    force, listing : bool
    remove : str or None
        As on the command line.
    """

    kind: Subject
    name: str | None
    sources: tuple[str, ...]
    model: str | None
    out: Path | None
    force: bool
    listing: bool
    remove: str | None

    def do(self, learn: Learn) -> None:
        """Carry out the command."""
        command = profiles.COMMAND[self.kind]
        asked = [self.listing, self.remove is not None, self.name is not None]
        if sum(asked) != 1 or (self.name is not None and not self.sources):
            raise InputError(
                f"emovox {command} needs a name and recordings, or --list, or --remove NAME: "
                f"write for example emovox {command} {'anna calm.wav' if self.kind == 'speaker' else 'office calls/'}"
            )
        if self.listing:
            _list_profiles(self.kind)
        elif self.remove is not None:
            say(f"removed {profiles.remove(self.remove, self.kind)}")
        elif self.name is not None:
            self._make(self.name, learn)

    def _make(self, name: str, learn: Learn) -> None:
        """Make one profile; mistakes are found before the first recording is read."""
        path = profiles.stored(name, self.kind) if self.out is None else self.out
        if not self.force:
            profiles.require_free(path)
        recognizer = EmotionRecognizer(self.model)
        files = recordings(self.sources, lambda text: say(f"emovox: {text}"))
        with _progress(files) as told:
            given: Iterator[Sound] = (sys.stdin.buffer if file == "-" else file for file in files)
            profile = learn(recognizer, name, given, told)
        profiles.save(profile, path)
        say(f"wrote {path}: {profile.clips} recordings, {profile.seconds:.1f} s of speech, model {profile.model}")


@contextmanager
def _progress(files: Sequence[str]) -> Iterator[Progress]:
    """Show how many recordings are done or, of a single one, how much of it."""
    with progress_bars() as show:
        length = audio.duration(files[0]) if len(files) == 1 and files[0] != "-" else None

        def told(done: int, seconds: float) -> None:
            if len(files) > 1:
                show("recordings", done, len(files))
            else:
                show("seconds", round(seconds), length and round(length))

        yield told


class LeftOut:
    """Reports recordings that cannot be used, one by one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: EmovoxError) -> None:
        """Report one."""
        self.count += 1
        say(f"emovox: {error}")


def _list_profiles(kind: Subject) -> None:
    table = Table()
    further = ("setting",) if kind == "speaker" else ()
    for column in (kind, "model", "recordings", "speech", "made", *further):
        table.add_column(column)
    damaged = []
    for name in profiles.names(kind):
        try:
            one = profiles.find(name, kind)
        except ProfileError as error:
            damaged.append(error)
            continue
        model = f"{one.model} ({one.fingerprint[:8]})"
        speech = f"{one.seconds:.1f} s{' neutral' if one.neutral else ''}"
        row = [name, model, str(one.clips), speech, one.created]
        table.add_row(*row, *([one.setting or ""] if further else []))
    if table.row_count:
        Console().print(table)
    elif not damaged:
        folder, command = profiles.folder_of(kind), profiles.COMMAND[kind]
        say(f"no profile in {folder}: make one with emovox {command} NAME AUDIO")
    for fault in damaged:
        say(f"emovox: {fault}")
    if damaged:
        raise click.exceptions.Exit(2)


@command()
@argument("name", metavar="NAME", required=False, help="Name of the speaker.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Ordinary speech: files, folders, quoted patterns, or -.")
@option("--setting", metavar="NAME", help="The speaker belongs to this setting: see emovox adapt.")
@option("--neutral", is_flag=True, help="The speech is known to be neutral: few clips suffice.")
@option("--no-voice", is_flag=True, help="Store no voice print: --speakers cannot name this speaker.")
@profile_options
def enroll(setting: str | None, neutral: bool, no_voice: bool, **written: Any) -> None:
    """Store a profile of a speaker's ordinary voice.

    Examples
    --------
    - `emovox enroll anna calm-1.wav calm-2.wav`
    - `emovox enroll anna calm.wav --setting office`
    - `emovox enroll anna read-1.wav read-2.wav --neutral`
    - `emovox predict call.wav --speaker anna`
    - `emovox enroll --list`
    - `emovox enroll --remove anna`

    Two short sentences are enough, 5 to 60 s of calm, ordinary speech are better. The profile holds numbers and no
    sound, a voice print among them, and works with the model that made it only. If one recording cannot be used,
    nothing is written.
    """
    voice = not no_voice
    asked = ProfileOptions("speaker", **written)
    if setting is not None:
        if asked.name is None:
            raise InputError("--setting says where a speaker was recorded: name the speaker, or leave it out")
        setting = profiles.read(profiles.known(setting, "setting")).name
    asked.do(
        lambda recognizer, who, given, told: recognizer.enroll(
            who, given, setting, voice=voice, neutral=neutral, progress=told
        )
    )


@command()
@argument("name", metavar="NAME", required=False, help="Name of the setting.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Recordings made there: files, folders, quoted patterns, or -.")
@profile_options
def adapt(**written: Any) -> None:
    """Store a profile of a setting: microphone, room and language.

    Examples
    --------
    - `emovox adapt office calls/`
    - `emovox predict call.wav --setting office`
    - `emovox predict calls/ --setting auto`
    - `emovox adapt --list`
    - `emovox adapt --remove office`

    Give recordings as they come, of any speakers in any moods; labels are not needed. 50 are plenty, 10 help, 3 or 10 s
    of speech are the least. Recordings in which nobody speaks are reported and left out; the exit code is then 2. The
    profile holds numbers and no sound, and works with the model that made it only.
    """
    left_out = LeftOut()
    asked = ProfileOptions("setting", **written)
    asked.do(lambda recognizer, what, given, told: recognizer.adapt(what, given, progress=told, left_out=left_out))
    if left_out.count:
        say(f"emovox: {left_out.count} recordings were left out")
        raise click.exceptions.Exit(2)


@command()
@argument("sources", metavar="AUDIO...", nargs=-1, required=True, help="Files, folders or quoted patterns.")
@option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="Where to write: a .csv or .parquet file.",
)
@option(
    "--set",
    "-s",
    "name",
    metavar="NAME",
    default="prosodic",
    help=f"One of {', '.join(sets.available())}; axes, of the built-in model; or an encoder with its own weights, such "
    "as whisper-tiny.en.",
)
@option(
    "--window",
    "-w",
    type=float,
    metavar="SECONDS",
    help="Window of a row; default 60, of default and axes 6.",
)
@option(
    "--setting",
    metavar="NAME|auto",
    help="Standardise: axes by a setting of emovox adapt; auto: any set by the given recordings.",
)
@channels_option
def features(
    sources: tuple[str, ...], out: Path, name: str, window: float | None, setting: str | None, channels: str
) -> None:
    """Write acoustic features as CSV or Parquet.

    Examples
    --------
    - `emovox features clips/ --set prosodic -o features.csv`
    - `emovox features speech.wav --set logmel -o frames.parquet`
    - `emovox features clips/ --set default -o embeddings.parquet`
    - `emovox features clips/ --set axes --setting office -o axes.csv`

    Rows are keyed by file, start and end in seconds, and by channel where channels are named; frame-level sets give one
    row a frame. A recording of more than one and a half windows is cut into windows, and one of digital silence is
    left out. If a recording cannot be read in full, the exit code is 2. With --setting the mean of the setting is
    subtracted from each column, and the difference divided by its standard deviation.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out} must end in .csv or .parquet")
    import emovox.lab  # noqa: F401 - makes the sets of encoders known

    extractor = _extractor(name, window, setting)
    files, numbers = numbered(recordings(sources, lambda text: say(f"emovox: {text}")), channels)
    require_writable(out)
    keys: list[Key] = []
    rows: list[Float32Array] = []
    told = FailureReport(len(files))
    with progress_bars() as progress:
        for done, (file, channel) in enumerate(zip(files, numbers, strict=True), 1):
            source = file if channel is None else audio.Channel(file, channel)
            try:
                for stretch, found in extractor.stretches(source, partial(told.read, file)):
                    keys += [(file, *span, channel) for span in extractor.spans(stretch, found)]
                    rows += list(found) if found.ndim == 2 else [found]
            except EmovoxError as error:
                told.failed(file, str(error), missing_extra=isinstance(error, MissingExtraError))
            progress("recordings", done, len(files))
    if rows:
        _write(out, keys, list(standardised(rows)) if setting == AUTO else rows, extractor.names)
        say(f"wrote {len(rows)} rows of {len(extractor.names)} features to {out}")
    if told.finish():
        raise click.exceptions.Exit(2)


def _extractor(name: str, window: float | None, setting: str | None) -> FeatureExtractor:
    profile = None if setting == AUTO else setting
    if name == "axes":
        return AxesExtractor(setting=profile, window=window)
    if profile:
        raise InputError(
            f"--setting {profile}: a setting's profile holds axes, and nothing of {name}: add --set axes, or take "
            "the recordings as their own setting by --setting auto"
        )
    return FeatureExtractor(name, window=window)


#: File, start and end in seconds, and the channel where one is named.
Key = tuple[str, float, float, int | None]


def _write(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    with replacing(out) as part:
        if out.suffix == ".parquet":
            _write_parquet(part, keys, rows, names)
        else:
            _write_csv(part, keys, rows, names)


def _write_csv(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        apart = any(channel is not None for *_, channel in keys)
        file.write(csv_line(["file", "start", "end", *(["channel"] if apart else []), *names]))
        for (source, start, end, channel), row in zip(keys, rows, strict=True):
            place = [source, start, end, *(["" if channel is None else channel] if apart else [])]
            file.write(csv_line([*place, *(f"{value:.7g}" for value in row.tolist())]))


def _write_parquet(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet", "parquet") from error
    columns: dict[str, Any] = {
        "file": [readable(key[0]) for key in keys],
        "start": [key[1] for key in keys],
        "end": [key[2] for key in keys],
    }
    if any(channel is not None for *_, channel in keys):
        columns["channel"] = [channel for *_, channel in keys]
    for index, name in enumerate(names):
        columns[name] = pyarrow.array([row[index] for row in rows], type=pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
