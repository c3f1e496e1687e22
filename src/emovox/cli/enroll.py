"""`emovox enroll`: a speaker's ordinary voice, so that emotions are heard against it."""

from __future__ import annotations

from pathlib import Path

from emovox.cli.profiles import Asked, profile_options
from emovox.errors import InputError
from emovox.model import profiles
from emovox.outputs.commands import argument, command, option


@command()
@argument("name", metavar="NAME", required=False, help="What to call the speaker.")
@argument("sources", metavar="AUDIO...", nargs=-1, help="Ordinary speech: files, folders, quoted patterns, or -.")
@option("--setting", metavar="NAME", help="The speaker belongs to this setting: see emovox adapt.")
@profile_options
def enroll(
    name: str | None,
    sources: tuple[str, ...],
    setting: str | None,
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
    sound, and works with the model that made it only. If one recording cannot be used, nothing is written.
    """
    asked = Asked("speaker", name, sources, model, out, force, listing, remove)
    if setting is not None:
        if name is None:
            raise InputError("--setting says where a speaker was recorded: name the speaker, or leave it out")
        setting = profiles.read(profiles.known(setting, "setting")).name
    asked.do(lambda recognizer, who, given, told: recognizer.enroll(who, given, setting, progress=told))
