"""`emovox cache`: what is kept on disk, where, how much, and its end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import click

from emovox.model import profiles
from emovox.outputs.console import Choice, Console, command, option
from emovox.outputs.text import Table, shown
from emovox.writing import cache_folder, cannot_write

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
    yield Kept("profiles", profiles.default_folder(), [profiles.stored(name) for name in profiles.names()])


@command()
@option(
    "--clear", type=Choice(Kind), metavar="WHAT", help="Delete features, transcripts, content (digests), or all three."
)
def cache(clear: Kind | None) -> None:
    """Show what is kept on disk, and clear it.

    Examples
    --------
    - `emovox cache`
    - `emovox cache --clear transcripts`

    Features and digests of recordings are kept by training, transcripts by predict --text; no sound is. Profiles of
    voices are listed, and deleted by name: emovox enroll --remove NAME.
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
