"""`emovox data`: the corpora that emovox knows, and whether a folder holds one whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emovox.errors import MissingExtraError
from emovox.outputs.console import standard_output

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    help="Know and check corpora, for example `emovox data check data/ravdess`.",
)


def _registry() -> Any:
    try:
        from emovox.lab.corpora import registry
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading corpora (it imports {error.name})", "train") from error
    return registry


@app.command("list")
def list_corpora() -> None:
    """List the corpora with a reader, their licence and address."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "corpus", "licence", "address"):
        table.add_column(column, overflow="fold")
    for name, entry in _registry().CORPORA.items():
        table.add_row(name, entry.title, entry.provenance.licence, entry.provenance.url)
    standard_output().print(table)


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a corpus, or a manifest.")],
    name: Annotated[
        str | None, typer.Option("--corpus", "-c", help="Its name; the default is to guess from the content.")
    ] = None,
) -> None:
    """Read a corpus and compare it with what its authors published.

    Examples
    --------
    - `emovox data check data/ravdess`
    - `emovox data check recordings.csv`
    """
    registry = _registry()
    corpus = registry.load(name, folder) if name else registry.load(folder)
    table = corpus.table
    speakers = table["speaker"][table["speaker"] != ""].nunique()
    typer.echo(f"{corpus.name}: {len(table)} clips, {speakers} speakers, licence {corpus.licence or 'not stated'}")
    for label, count in table["label"].value_counts().items():
        typer.echo(f"  {label}: {count}")
    findings = [*(str(one) for one in corpus.skipped), *registry.check(corpus)]
    for finding in findings:
        typer.echo(finding)
    if not findings:
        typer.echo("complete, as published" if registry.CORPORA.get(corpus.name) else "no fault found")
