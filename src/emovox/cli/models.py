"""`emovox models` and `emovox cache`: what there is, in the package and on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import click

from emovox.model import profiles
from emovox.model.card import ModelCard
from emovox.model.file import DEFAULT, builtin, load_card
from emovox.model.subjects import default_folder
from emovox.outputs.cards import percent, sections
from emovox.outputs.console import Choice, Console, argument, command, option
from emovox.outputs.text import Table, Text, shown
from emovox.writing import cache_folder, cannot_write


@command()
@argument("model", metavar="[MODEL]", required=False, help="Show the whole card of this model file or name.")
@option("--json", "as_json", is_flag=True, help="Print cards as JSON.")
def models(model: str | None, as_json: bool) -> None:
    """List the models in the package, or show a model's card.

    A card tells data, licence, intended use, protocol and scores.

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
