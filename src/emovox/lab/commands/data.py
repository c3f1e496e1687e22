"""`emovox data`: the corpora that emovox knows, getting them, and whether a folder holds one whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from emovox.lab.commands import data_copies
from emovox.lab.commands.options import jobs_option, json_option, registry
from emovox.lab.commands.sample import sample
from emovox.outputs.commands import Command, Group, argument, option
from emovox.outputs.console import Console, Table, progress_bars, shown


@click.group("data", cls=Group)
def data() -> None:
    """List, download, check and repair corpora.

    Examples
    --------
    - `emovox data list`
    - `emovox data check data/ravdess`
    """


for _command in (data_copies.download, data_copies.verify, data_copies.repair, data_copies.audit, sample):
    data.add_command(_command)


def _cards() -> Mapping[str, Any]:
    """Return the cards, by name."""
    registry()
    from emovox.lab.corpora.cards import cards

    return cards()


@data.command("list", cls=Command)
@option("--open", "only_open", is_flag=True, help="Only corpora that may be used for any purpose, commercial included.")
@option("--language", "-l", metavar="CODE", help="Only corpora of a language, such as de.")
@json_option("a list of objects")
def list_corpora(only_open: bool, language: str | None, as_json: bool) -> None:
    """List the corpora that emovox knows: numbers, licence, and how to get them.

    Examples
    --------
    - `emovox data list --open`
    - `emovox data list --language de --json`
    """
    found = [
        card
        for card in _cards().values()
        if (card.open or not only_open) and (not language or language.lower() in card.languages)
    ]
    if as_json:
        click.echo(json.dumps([card.summary() for card in found], ensure_ascii=False, indent=2))
        return
    table = Table()
    for column in ("name", "corpus", "languages", "clips", "speakers", "use", "licence", "access"):
        table.add_column(column)
    for card in found:
        numbers = (str(number or "?") for number in (card.clips, card.speakers))
        languages = ", ".join(card.languages) or "-"
        table.add_row(card.name, card.title, languages, *numbers, card.use, card.licence, card.access)
    Console().print(table)


@data.command("info", cls=Command)
@argument("name", metavar="NAME", help="Name of a corpus, as in emovox data list.")
@json_option("an object")
def info(name: str, as_json: bool) -> None:
    """Print the card of a corpus: licence, source, known faults, splits that leak.

    Examples
    --------
    - `emovox data info crema-d`
    - `emovox data info tess --json`
    """
    from emovox.lab.corpora.cards import card

    _cards()
    one = card(name)
    if as_json:
        click.echo(json.dumps(one.summary(), ensure_ascii=False, indent=2))
        return
    for line in _told(one):
        click.echo(shown(line))


def _told(card: Any) -> Iterator[str]:
    """Say what is known of a corpus, a line each."""
    yield card.title
    yield f"  languages: {', '.join(card.languages) or 'none'}; emotions: {card.style}"
    yield f"  clips: {card.clips or 'not known'}; speakers: {card.speakers or 'not known'}"
    if card.labels:
        yield f"  labels: {', '.join(f'{label} {count}' for label, count in card.labels.items())}"
    yield f"  licence: {card.licence}; use: {card.use}"
    yield f"  cite: {card.citation}"
    yield f"  address: {card.url}"
    for remote in card.remotes:
        size = f"{remote.bytes} bytes" if remote.bytes else "size not known"
        sums = "checksum known" if remote.checked else "no checksum known"
        yield f"  download: {remote.url} ({size}, {sums}; from {remote.source}); not tried by us"
    if card.how:
        yield f"  how to get it: {card.how}"
    yield f"  index of its files: {card.index or 'none yet: emovox data verify --record makes one of your copy'}"
    tested = (
        "the real recordings"
        if card.tested == "recordings"
        else "names and folders like its own; its numbers are from publications, not counted by us"
    )
    yield f"  reader tested on: {tested}"
    yield from (f"  note: {note}" for note in card.notes)
    yield from (f"  fault: {', '.join(fault.files)}: {fault.what}" for fault in card.faults)
    for split in card.splits:
        leak = "speakers on both sides" if split.speakers_shared else "no speaker on both sides"
        yield f"  split: {split.name}: {leak}. {split.text}"


@data.command("check", cls=Command)
@argument(
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of a corpus or of several, or a manifest.",
)
@option("--corpus", "-c", "name", metavar="NAME", help="Name of the corpus; by default detected from the content.")
@option("--quick", is_flag=True, help="Check names and tables only, without reading clips.")
@jobs_option
def check(folder: Path, name: str | None, quick: bool, jobs: int) -> None:
    """Read every clip of a corpus, and compare it with the published description.

    Examples
    --------
    - `emovox data check data/ravdess`
    - `emovox data check recordings.csv`
    """
    corpora = registry()
    found = [(name, folder)] if name else corpora.find(folder)
    several = len(found) > 1 or found[0][1] != folder
    for kind, place in found:
        if several:
            click.echo(f"{place}:")
        _check(corpora.load(kind, place), place, quick, jobs)
    if several and (strangers := corpora.strangers(folder, [place for _, place in found])):
        told = ", ".join(f"{count} in {name}" for name, count in strangers)
        click.echo(f"recordings of no corpus that emovox knows: {told}; check them by themselves")


def _check(corpus: Any, place: Path, quick: bool, jobs: int) -> None:
    """Print what is found in one corpus."""
    from emovox.lab.extraction.inspection import inspect

    table = corpus.table
    speakers = table["speaker"][table["speaker"] != ""].nunique()
    counts = [f"{count} {what}{'s' * (count != 1)}" for count, what in ((len(table), "clip"), (speakers, "speaker"))]
    click.echo(f"{corpus.name}: {', '.join(counts)}, licence {corpus.licence or 'not stated'}")
    for label, count in table["label"].value_counts().items():
        click.echo(f"  {label}: {count}")
    for note in (*corpus.notes, *_left_out(corpus, place)):
        click.echo(shown(note))
    findings = [*(str(one) for one in corpus.skipped), *registry().check(corpus)]
    card = _cards().get(corpus.name)
    if card is not None and card.clips and not findings:
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
