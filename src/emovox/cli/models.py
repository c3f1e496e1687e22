"""`emovox models`: what is installed, and what a model file says of itself."""

from __future__ import annotations

import json

import click

from emovox.model.card import ModelCard
from emovox.model.file import DEFAULT, builtin, load_card
from emovox.outputs.cards import percent, sections
from emovox.outputs.console import Console, argument, command, option
from emovox.outputs.text import Table, Text


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
