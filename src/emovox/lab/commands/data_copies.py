"""`emovox data download`, `verify`, `repair`, `audit`: a copy of a corpus, whether it is whole and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from emovox.errors import CorpusError
from emovox.lab.commands.options import jobs_option, json_option, registry
from emovox.outputs.commands import Command, all_of, argument, option
from emovox.outputs.console import progress_bars, say, shown
from emovox.storage import require_writable

_copy = all_of(
    argument("folder", metavar="DIR", type=click.Path(path_type=Path), help="Folder of a copy, or of several."),
    option("--corpus", "-c", "name", metavar="NAME", help="Name of the corpus; by default detected from the content."),
    jobs_option,
    json_option("an object (a list for several corpora)"),
)


@click.command("download", cls=Command)
@argument("name", metavar="NAME", help="Name of a corpus, as in emovox data list.")
@option("--to", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Target folder; default data/NAME.")
@option("--accept", "licence", metavar="LICENCE", help="Accept the licence, by its name in emovox data info.")
@option("--keep", is_flag=True, help="Keep the archives, for repairs without network.")
def download(name: str, folder: Path | None, licence: str | None, keep: bool) -> None:
    """Download a corpus from its authors, verify and unpack it.

    The same command resumes an interrupted download. For corpora behind a form or a login it prints how to get them.

    Examples
    --------
    - `emovox data download ravdess --accept "CC BY-NC-SA 4.0"`
    - `emovox data download subesco --to /data/subesco --keep --accept "CC BY 4.0"`
    """
    corpora = registry()
    from emovox.lab.corpora import obtaining
    from emovox.lab.corpora.cards import card

    one = card(name)
    folder = folder or Path("data") / name
    with progress_bars() as progress:
        corpus = obtaining.download(one, folder, licence, progress, keep=keep)
    for remote in one.remotes:
        if not remote.checked:
            say(f"no checksum of {remote.file} is known: its bytes could not be verified")
    click.echo(f"{name}: {len(corpus.table)} clips in {folder}")
    for finding in [*(str(one) for one in corpus.skipped), *corpora.check(corpus)]:
        click.echo(shown(finding))


@click.command("verify", cls=Command)
@_copy
@option("--record", is_flag=True, help="Record the present state, to compare with later.")
@click.pass_context
def verify(context: click.Context, folder: Path, name: str | None, jobs: int, as_json: bool, record: bool) -> None:
    """Compare every recording of a copy with the index of the corpus.

    The index is the one recorded in the folder, else that of the package, which knows names and, of some corpora,
    durations; else the corpus's own tables. Of a folder above several corpora it verifies each. Exits with 1 if
    recordings are missing or damaged.

    Examples
    --------
    - `emovox data verify data/tess`
    - `emovox data verify data/savee --record`
    """
    from emovox.lab.corpora import index

    told, whole = [], True
    for place, card, corpus, verdict, source in _verified(folder, name, jobs):
        if record:
            index.record(corpus, card, verdict.durations)
        told.append({"corpus": card.name, "folder": str(place), "index": source, **verdict.summary()})
        whole = whole and verdict.whole
        if not as_json:
            _print(card, place if place != folder else None, verdict, source)
            if record:
                click.echo(f"recorded in {index.recorded(corpus.root, card)}")
    if as_json:
        _print_json(told)
    context.exit(0 if whole else 1)


@click.command("repair", cls=Command)
@_copy
@option("--accept", "licence", metavar="LICENCE", help="Accept the licence, by its name in emovox data info.")
@click.pass_context
def repair(
    context: click.Context, folder: Path, name: str | None, jobs: int, as_json: bool, licence: str | None
) -> None:
    """Restore missing or damaged recordings of a copy from the corpus's archives.

    Of a folder above several corpora it repairs each. Exits with 1 if something stays missing or damaged.

    Examples
    --------
    - `emovox data repair data/ravdess`
    """
    from emovox.lab.corpora import obtaining

    told, whole = [], True
    for place, card, corpus, verdict, _ in _verified(folder, name, jobs):
        back: list[str] = []
        if not verdict.whole:
            if licence is not None:
                obtaining.consent(card, licence)
            try:
                with progress_bars() as progress:
                    back = obtaining.repair(card, corpus, {*verdict.missing, *verdict.damaged}, progress)
            except CorpusError as error:  # the others can be repaired all the same
                if place == folder:
                    raise
                say(f"emovox: {error}")
            ((_, card, _, verdict, _),) = _verified(place, card.name, jobs)
        told.append({"corpus": card.name, "repaired": back, **verdict.summary()})
        whole = whole and verdict.whole
        if not as_json:
            click.echo(f"{card.name}: {len(back)} recordings brought back; ", nl=False)
            click.echo("whole" if verdict.whole else f"{len(verdict.missing)} missing, {len(verdict.damaged)} damaged")
    if as_json:
        _print_json(told)
    context.exit(0 if whole else 1)


@click.command("audit", cls=Command)
@argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), help="Folder of a corpus or of several, or a manifest."
)
@option("--corpus", "-c", "name", metavar="NAME", help="Name of the corpus; by default detected from the content.")
@option(
    "--out",
    "-o",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="Folder of the report.",
)
@jobs_option
@json_option("the findings")
def audit(folder: Path, name: str | None, out: Path, jobs: int, as_json: bool) -> None:
    """Measure every clip of a corpus and write a report of copies, leaks, imbalance and faulty clips.

    In a folder with several corpora each is audited, with its report in a folder of its own.

    Examples
    --------
    - `emovox data audit data/ravdess --out audits/ravdess`
    - `emovox data audit recordings.csv --json`
    """
    corpora = registry()
    from emovox.lab.extraction import audit as measuring
    from emovox.lab.reports import audit_report

    found, told = _copies(folder, name), []
    for kind, place in found:
        pages = out / kind if len(found) > 1 else out
        require_writable(pages / "audit.html")
        corpus = corpora.load(kind, place)
        with progress_bars() as progress:
            audited = measuring.audit(corpus, jobs, progress)
        audit_report.write(pages, audited)
        told.append(audited.summary())
        if not as_json:
            click.echo(f"{corpus.name}: {len(audited.clips)} clips, {told[-1]['hours']:.2f} hours")
            for one in audited.findings:
                examples = f" ({', '.join(one.examples[:3])})" if one.examples else ""
                click.echo(shown(f"{one.kind}: {one.clips} clips, {one.text}{examples}"))
            click.echo(f"page: {pages / 'audit.html'}")
    if as_json:
        _print_json(told)


def _copies(folder: Path, name: str | None) -> list[tuple[str, Path]]:
    """Return the corpora in a folder or below it, and where each lies."""
    return [(name, folder)] if name else registry().find(folder)


def _verified(folder: Path, name: str | None, jobs: int) -> Iterator[tuple[Path, Any, Any, Any, str]]:
    """Yield the copies of public corpora: where, card, corpus, verdict, and what it was compared with."""
    corpora = registry()
    from emovox.lab.corpora import index
    from emovox.lab.corpora.cards import card, cards
    from emovox.lab.extraction import verification

    found = [one for one in _copies(folder, name) if one[0] in cards()]
    if not found:
        raise CorpusError(f"{str(folder)!r} holds no public corpus: emovox data check looks at recordings of your own")
    for kind, place in found:
        one, corpus = card(kind), corpora.load(kind, place)
        rows, source = index.known(one, place)
        with progress_bars() as progress:
            verdict = verification.verify(corpus, one, rows, jobs, progress)
        yield place, one, corpus, verdict, source


def _print_json(told: Sequence[Any]) -> None:
    """Print an object, or a list of them where there are several corpora."""
    click.echo(json.dumps(told[0] if len(told) == 1 else told, ensure_ascii=False, indent=2))


def _print(card: Any, place: Path | None, verdict: Any, source: str) -> None:
    """Print a verdict for people."""
    if place:
        click.echo(f"{place}:")
    click.echo(f"{card.name}: {verdict.clips} clips")
    if source:
        compared = ", ".join(f"{count} {what}" for what, count in verdict.compared.items())
        click.echo(f"compared with the index ({source}): {compared}")
    else:
        click.echo("no index of this corpus yet: only listened; --record makes one of this copy")
    for what, names in (("missing", verdict.missing), ("not in the index", verdict.surplus)):
        if names:
            click.echo(shown(f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"))
    for key, why in list(verdict.damaged.items())[:20]:
        click.echo(shown(f"damaged: {key}: {why}"))
    if len(verdict.damaged) > 20:
        click.echo(f"... and {len(verdict.damaged) - 20} more damaged")
    if verdict.whole:
        click.echo(_wholeness(verdict.compared) if source else "no fault found")


def _wholeness(compared: Mapping[str, int]) -> str:
    """Say how much is known of a copy in which nothing is wrong."""
    if compared["checksums"]:
        return "whole"
    return (
        "whole by names and durations; checksums are not known"
        if compared["durations"]
        else ("whole by names; whether lengths and bytes are right is not known")
    )
