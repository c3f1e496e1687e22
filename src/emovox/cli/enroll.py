"""`emovox enroll`: a speaker's ordinary voice, so that emotions are heard against it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from emovox.cli.options import model_option
from emovox.errors import InputError, ProfileError
from emovox.model import profiles
from emovox.outputs.commands import argument, command, option
from emovox.outputs.console import recordings, say
from emovox.outputs.terminal import Console, Table
from emovox.recognition.recognizer import EmotionRecognizer


@command()
@argument("name", metavar="NAME", required=False, help="What to call the speaker.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Ordinary speech: files, folders, quoted patterns, or -.")
@model_option
@option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to this file instead of the folder of profiles.",
)
@option("--force", is_flag=True, help="Replace a profile that exists already.")
@option("--list", "listing", is_flag=True, help="List the stored profiles.")
@option("--remove", metavar="NAME", help="Delete a stored profile.")
def enroll(
    name: str | None,
    sources: tuple[str, ...],
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
    - `emovox predict call.wav --speaker anna`
    - `emovox enroll --list`
    - `emovox enroll --remove anna`

    Two short sentences are enough, 5 to 60 s of calm, ordinary speech are better. The profile holds numbers and no
    sound, and works with the model that made it only. If one recording cannot be used, nothing is written.
    """
    asked = [listing, remove is not None, name is not None]
    if sum(asked) != 1 or (name is not None and not sources):
        raise InputError(
            "emovox enroll needs a name and recordings, or --list, or --remove NAME: "
            "write for example emovox enroll anna calm.wav"
        )
    if listing:
        _list()
    elif remove is not None:
        say(f"removed {profiles.remove(remove)}")
    elif name is not None:
        _enroll(name, sources, model, out, force)


def _enroll(name: str, sources: Sequence[str], model: str | None, out: Path | None, force: bool) -> None:
    """Make one profile; what must fail fails before the first recording is read."""
    path = profiles.stored(name) if out is None else out
    if not force:
        profiles.require_free(path)
    recognizer = EmotionRecognizer(model)
    files = recordings(sources)
    profile = recognizer.enroll(name, (sys.stdin.buffer if file == "-" else file for file in files))
    profiles.save(profile, path)
    say(f"wrote {path}: {profile.clips} recordings, {profile.seconds:.1f} s of speech, model {profile.model}")


def _list() -> None:

    table = Table()
    for column in ("speaker", "model", "recordings", "speech", "made"):
        table.add_column(column)
    damaged = []
    for name in profiles.names():
        try:
            one = profiles.read(profiles.stored(name))
        except ProfileError as error:
            damaged.append(error)
        else:
            table.add_row(
                name, f"{one.model} ({one.fingerprint[:8]})", str(one.clips), f"{one.seconds:.1f} s", one.created
            )
    if table.row_count:
        Console().print(table)
    elif not damaged:
        say(f"no profile in {profiles.default_folder()}: make one with emovox enroll NAME AUDIO")
    for fault in damaged:
        say(f"emovox: {fault}")
    if damaged:
        raise click.exceptions.Exit(2)
