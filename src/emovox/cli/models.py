"""`emovox models`: what is installed, and what a model file says of itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from emovox.cli.console import standard_output
from emovox.models.artifact import DEFAULT, builtin, load
from emovox.types import ModelCard


def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Show the whole card of this model file or name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print cards as JSON.")] = False,
) -> None:
    """List the models inside the package, or show a model's card: data, licence, protocol, scores, intended use.

    Examples
    --------
    - `emovox models`
    - `emovox models runs/ravdess-ann/model.onnx`
    - `emovox models classic --json`
    """
    if as_json:
        names = [model] if model else list(builtin())
        typer.echo(json.dumps([load(name).card.to_dict() for name in names], indent=1))
    elif model:
        _show(load(model).card)
    else:
        _list()


def _list() -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "family", "features", "classes", "UAR", "protocol", "licence"):
        table.add_column(column, overflow="fold")
    for name in builtin():
        card = load(name).card
        table.add_row(
            f"{name} (default)" if name == DEFAULT else name,
            card.family,
            f"{card.features.set} ({card.features.dimension})",
            str(len(card.labels)),
            _percent(card.evaluation.get("uar")),
            str(card.evaluation.get("protocol", {}).get("name", "")),
            card.licence,
        )
    standard_output().print(table)


def _show(card: ModelCard) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _lines(card):
        table.add_row(key, value)
    standard_output().print(table)


def _lines(card: ModelCard) -> list[tuple[str, str]]:
    """Put a card into words."""
    evaluation: dict[str, Any] = dict(card.evaluation)
    protocol = evaluation.get("protocol", {})
    interval = evaluation.get("interval") or {}
    bounds = f" (95 % by speaker {_percent(interval['low'])} to {_percent(interval['high'])})" if interval else ""
    by_corpus = ", ".join(f"{name} {_percent(one['uar'])}" for name, one in evaluation.get("corpora", {}).items())
    by_sex = ", ".join(f"{name} {_percent(one['uar'])}" for name, one in evaluation.get("sexes", {}).items())
    recall = ", ".join(f"{name} {_percent(one['recall'])}" for name, one in evaluation.get("per_class", {}).items())
    data = "; ".join(f"{one.name}: {one.clips} clips, {one.speakers} speakers, {one.licence}" for one in card.corpora)
    return [
        ("name", card.name),
        ("family", card.family),
        ("labels", ", ".join(card.labels)),
        ("features", f"{card.features.set} version {card.features.version}, {card.features.dimension} numbers"),
        ("training data", data),
        ("licence", card.licence),
        ("protocol", f"{protocol.get('name', '')}: {protocol.get('note', '')}"),
        ("UAR", _percent(evaluation.get("uar")) + bounds),
        ("WA, macro-F1", f"{_percent(evaluation.get('wa'))}, {_percent(evaluation.get('macro_f1'))}"),
        ("UAR by corpus", by_corpus),
        ("UAR by sex", by_sex),
        ("recall by class", recall),
        ("intended use", card.intended_use),
        ("limitations", card.limitations),
        ("made", f"{card.created} with emovox {card.software}"),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
