"""What `emovox enroll` and `emovox adapt` have in common: profiles are made, listed and removed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from emovox import audio
from emovox.audio import Sound
from emovox.cli.options import model_option
from emovox.errors import EmovoxError, InputError, ProfileError
from emovox.model import profiles
from emovox.model.profiles import Profile, Subject
from emovox.outputs.commands import all_of, option
from emovox.outputs.console import progress_bars, recordings, say
from emovox.outputs.terminal import Console, Table
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
