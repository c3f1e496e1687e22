"""`emovox compare`: finished experiments side by side."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from emovox.lab.commands.options import folder_option, json_option
from emovox.lab.commands.train import import_training
from emovox.outputs.commands import argument, command, option
from emovox.outputs.console import Console, Table, say


@command()
@argument("run", metavar="RUN...", nargs=-1, required=True, help="Run folders that emovox train wrote.")
@folder_option("Folder of the comparison; the default is runs/comparison-DATE-TIME.")
@option(
    "--separate",
    is_flag=True,
    help="Show runs with other protocols, labels or clips in separate sections, instead of refusing them.",
)
@option("--latency/--no-latency", default=True, help="Measure the latency of each model on this machine.")
@json_option("comparison.json")
def compare(run: tuple[str, ...], out: Path | None, separate: bool, latency: bool, as_json: bool) -> None:
    """Rank runs, test every pair, and write a report.

    Examples
    --------
    - `emovox compare runs/ravdess-svm runs/ravdess-ann`
    - `emovox compare runs/* --separate --out comparison`
    - `emovox compare runs/a runs/b --json --no-latency`
    """
    import_training()
    from emovox.lab.evaluation import comparison
    from emovox.lab.reports import compare_report

    folder = out or Path("runs") / f"comparison-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    groups = comparison.compare(run, separate=separate, measure=latency)
    compare_report.write(groups, folder)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(groups), indent=1, ensure_ascii=False))
    else:
        for group in groups:
            _print(compare_report.title(group), group.results)
    say(f"wrote {folder}: comparison.html, comparison.md, comparison.json, plots")


def _print(title: str, results: Mapping[str, Any]) -> None:
    """Print one ranking with intervals and significance."""
    from emovox.lab.reports.page import p_value, score

    console = Console()
    console.print(title, style="bold")
    if not results["protocol"]["speaker_independent"]:
        console.print("These scores are not speaker-independent.", style="bold yellow")
    table = Table()
    for column in ("run", "UAR", "95 % by speaker", "WA", "macro-F1", "behind the first", "p"):
        table.add_column(column, justify="left" if column == "run" else "right")
    first = {pair["second"]: pair for pair in results["pairs"] if pair["first"] == results["runs"][0]["name"]}
    for run in results["runs"]:
        interval, pair = run["interval"], first.get(run["name"])
        known = pair is not None and pair["difference"] is not None
        table.add_row(
            run["name"],
            score(run["uar"]),
            f"{score(interval['low'])} to {score(interval['high'])}" if interval else "–",
            score(run["wa"]),
            score(run["macro_f1"]),
            score(pair["difference"]) if pair and known else "",
            p_value(pair["p_holm"]) if pair and known else "",
        )
    console.print(table)
