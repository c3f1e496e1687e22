"""`emovox data`: the corpora that emovox knows, and whether a folder holds one whole."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import click

from emovox.errors import MissingExtraError
from emovox.lab.commands.options import jobs_option
from emovox.outputs.commands import Command, Group, argument, option
from emovox.outputs.console import progress_bars
from emovox.outputs.terminal import Console, Table
from emovox.outputs.text import shown


@click.group("data", cls=Group)
def data() -> None:
    """Know and check corpora.

    Examples
    --------
    - `emovox data list`
    - `emovox data check data/ravdess`
    """


def _registry() -> Any:
    try:
        from emovox.lab.corpora import registry
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading corpora (it imports {error.name})", "train") from error
    return registry


@data.command("list", cls=Command)
def list_corpora() -> None:
    """List the corpora with a reader, their licence and address."""
    table = Table()
    for column in ("name", "corpus", "licence", "address"):
        table.add_column(column)
    for name, entry in _registry().CORPORA.items():
        table.add_row(name, entry.title, entry.provenance.licence, entry.provenance.url)
    Console().print(table)


@data.command("check", cls=Command)
@argument(
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of a corpus or of several, or a manifest.",
)
@option("--corpus", "-c", "name", metavar="NAME", help="Its name; the default is to guess from the content.")
@option("--quick", is_flag=True, help="Look at names and tables only; listen to nothing.")
@jobs_option
def check(folder: Path, name: str | None, quick: bool, jobs: int) -> None:
    """Read a corpus, compare it with what its authors published, and listen to every clip.

    Examples
    --------
    - `emovox data check data/ravdess`
    - `emovox data check recordings.csv`
    """
    registry = _registry()
    found = [(name, folder)] if name else registry.find(folder)
    several = len(found) > 1 or found[0][1] != folder
    for kind, place in found:
        if several:
            click.echo(f"{place}:")
        _check(registry.load(kind, place), place, quick, jobs)
    if several and (strangers := registry.strangers(folder, [place for _, place in found])):
        told = ", ".join(f"{count} in {name}" for name, count in strangers)
        click.echo(f"recordings of no corpus that emovox knows: {told}; check them by themselves")


def _check(corpus: Any, place: Path, quick: bool, jobs: int) -> None:
    """Print what is found in one corpus."""
    from emovox.lab.corpora import registry
    from emovox.lab.extraction.inspection import inspect

    table = corpus.table
    speakers = table["speaker"][table["speaker"] != ""].nunique()
    click.echo(f"{corpus.name}: {len(table)} clips, {speakers} speakers, licence {corpus.licence or 'not stated'}")
    for label, count in table["label"].value_counts().items():
        click.echo(f"  {label}: {count}")
    for note in (*corpus.notes, *_left_out(corpus, place)):
        click.echo(shown(note))
    findings = [*(str(one) for one in corpus.skipped), *registry.check(corpus)]
    entry = registry.CORPORA.get(corpus.name)
    if entry is not None and entry.clips and not findings:
        findings.append("complete, as published")
    if not quick:
        with progress_bars() as progress:
            findings += inspect(corpus, jobs, progress)
    for finding in findings or ["no fault found"]:
        click.echo(shown(finding))


def _left_out(corpus: Any, place: Path) -> list[str]:
    """Say what is no part of the corpus: files of other endings, recordings that a manifest does not name."""
    from emovox.lab.corpora.files import audio_files, other_files

    if place.is_file():
        named = {path.resolve() for path in corpus.paths()}
        beside = audio_files(place.parent, defaultdict(list))
        count = sum((place.parent / file).resolve() not in named for file in beside)
        return [f"recordings beside the manifest that it does not name: {count}"] if count else []
    endings = [f"{count} {ending or 'without ending'}" for ending, count in other_files(place)]
    return [f"files of other endings, not looked at: {', '.join(endings)}"] if endings else []
