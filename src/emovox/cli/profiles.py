"""`emovox enroll` and `emovox adapt`: ordinary voices and settings, so that emotions are heard against them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import recordings
from emovox.cli.options import model_option
from emovox.errors import EmovoxError, InputError, ProfileError
from emovox.model import profiles
from emovox.model.profiles import Profile, Subject
from emovox.outputs.console import Console, all_of, argument, command, option, progress_bars, say
from emovox.outputs.text import Table
from emovox.recognition.recognizer import EmotionRecognizer

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
    option("--force", is_flag=True, help="Replace a profile that exists already."),
    option("--list", "listing", is_flag=True, help="List the stored profiles."),
    option("--remove", metavar="NAME", help="Delete a stored profile."),
)


@dataclass(frozen=True)
class Asked:
    """What was asked for: a profile to make, or the list of them, or one to remove.

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
        """Do what was asked for."""
        command = profiles.COMMAND[self.kind]
        asked = [self.listing, self.remove is not None, self.name is not None]
        if sum(asked) != 1 or (self.name is not None and not self.sources):
            raise InputError(
                f"emovox {command} needs a name and recordings, or --list, or --remove NAME: "
                f"write for example emovox {command} {'anna calm.wav' if self.kind == 'speaker' else 'office calls/'}"
            )
        if self.listing:
            _list(self.kind)
        elif self.remove is not None:
            say(f"removed {profiles.remove(self.remove, self.kind)}")
        elif self.name is not None:
            self._make(self.name, learn)

    def _make(self, name: str, learn: Learn) -> None:
        """Make one profile; what must fail fails before the first recording is read."""
        path = profiles.stored(name, self.kind) if self.out is None else self.out
        if not self.force:
            profiles.require_free(path)
        recognizer = EmotionRecognizer(self.model)
        files = recordings(self.sources)
        with _progress(files) as told:
            given: Iterator[Sound] = (sys.stdin.buffer if file == "-" else file for file in files)
            profile = learn(recognizer, name, given, told)
        profiles.save(profile, path)
        say(f"wrote {path}: {profile.clips} recordings, {profile.seconds:.1f} s of speech, model {profile.model}")


def voices() -> tuple[Profile, ...]:
    """Return the stored speakers who have a voice print; what cannot be read is told by ``emovox enroll --list``."""
    found = []
    for name in profiles.names():
        with suppress(ProfileError):
            found.append(profiles.find(name))
    return tuple(one for one in found if one.voice)


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


def _list(kind: Subject) -> None:
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
        row = [name, model, str(one.clips), f"{one.seconds:.1f} s", one.created]
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
@argument("name", metavar="NAME", required=False, help="What to call the speaker.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Ordinary speech: files, folders, quoted patterns, or -.")
@option("--setting", metavar="NAME", help="The speaker belongs to this setting: see emovox adapt.")
@option("--no-voice", is_flag=True, help="Take no voice print: --speakers will not find this speaker by name.")
@profile_options
def enroll(
    name: str | None,
    sources: tuple[str, ...],
    setting: str | None,
    no_voice: bool,
    model: str | None,
    out: Path | None,
    force: bool,
    listing: bool,
    remove: str | None,
) -> None:
    """Store what a speaker's voice is ordinarily like.

    Examples
    --------
    - `emovox enroll anna calm-1.wav calm-2.wav`
    - `emovox enroll anna calm.wav --setting office`
    - `emovox predict call.wav --speaker anna`
    - `emovox enroll --list`
    - `emovox enroll --remove anna`

    Two short sentences are enough, 5 to 60 s of calm, ordinary speech are better. The profile holds numbers and no
    sound, a voice print among them, and works with the model that made it only. If one recording cannot be used,
    nothing is written.
    """
    voice = not no_voice
    asked = Asked("speaker", name, sources, model, out, force, listing, remove)
    if setting is not None:
        if name is None:
            raise InputError("--setting says where a speaker was recorded: name the speaker, or leave it out")
        setting = profiles.read(profiles.known(setting, "setting")).name
    asked.do(lambda recognizer, who, given, told: recognizer.enroll(who, given, setting, voice=voice, progress=told))


@command()
@argument("name", metavar="NAME", required=False, help="What to call the setting.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Recordings made there: files, folders, quoted patterns, or -.")
@profile_options
def adapt(
    name: str | None,
    sources: tuple[str, ...],
    model: str | None,
    out: Path | None,
    force: bool,
    listing: bool,
    remove: str | None,
) -> None:
    """Store what a microphone, room and language are ordinarily like.

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
    asked = Asked("setting", name, sources, model, out, force, listing, remove)
    asked.do(lambda recognizer, what, given, told: recognizer.adapt(what, given, progress=told, left_out=left_out))
    if left_out.count:
        say(f"emovox: {left_out.count} recordings were left out")
        raise click.exceptions.Exit(2)
