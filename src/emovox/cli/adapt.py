"""`emovox adapt`: a microphone, a room and a language, so that emotions are heard against them."""

from __future__ import annotations

from pathlib import Path

import click

from emovox.cli.profiles import Asked, LeftOut, profile_options
from emovox.outputs.commands import argument, command
from emovox.outputs.console import say


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
