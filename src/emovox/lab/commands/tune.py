"""`emovox tune`: the settings of a recipe, searched and honestly scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from emovox.errors import InputError, MissingExtraError
from emovox.lab.commands.options import (
    corpus_option,
    folder_option,
    jobs_option,
    json_option,
    machines,
    named_folders,
    on_option,
    recipe_argument,
    set_option,
)
from emovox.lab.commands.train import import_training, overrides
from emovox.outputs.commands import command, option
from emovox.outputs.console import Console, Table, progress_bars, say


@command()
@recipe_argument
@corpus_option(required=False)
@folder_option("Folder of trials and report, default runs/RECIPE-tuning; the same one goes on.")
@option(
    "--storage",
    metavar="URL",
    help="Database of the trials, default OUT/study.db; machines that share one share the work.",
)
@option("--trials", "-n", type=int, metavar="N", help="Trials per search.")
@option("--timeout", type=float, metavar="SECONDS", help="Time after which a search starts no more trials.")
@option(
    "--outer",
    type=click.IntRange(min=0),
    metavar="N",
    help="Search only for the first N test parts; 0 gives no outer score.",
)
@set_option("tune.inner=loso")
@jobs_option
@on_option
@json_option("tuning.json")
def tune(
    name: str,
    corpus: tuple[str, ...],
    out: Path | None,
    storage: str | None,
    trials: int | None,
    timeout: float | None,
    outer: int | None,
    change: tuple[str, ...],
    jobs: int,
    on: str | None,
    as_json: bool,
) -> None:
    """Search the hyper-parameters of a recipe, and score the result.

    The recipe's [tune] table defines the search space. The outer score is of speakers that the search has not seen.

    Examples
    --------
    - `emovox tune ravdess-svm-tune --corpus ravdess=data/ravdess`
    - `emovox tune mine.toml -c mine=recordings.csv --trials 20 --outer 1`
    - `emovox tune mine.toml -c mine=clips.csv --storage postgresql://user@host/db`
    """
    recipes, _ = import_training()
    try:
        from emovox.lab.experiments import tuning
        from emovox.lab.reports import tuning_report
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"tuning (it imports {error.name})", "train") from error

    changes = overrides(None, [], change)
    changes |= {f"tune.{key}": value for key, value in (("trials", trials), ("timeout", timeout)) if value is not None}
    recipe = recipes.load(name, changes)
    folder = out or Path("runs") / f"{recipe.name}-tuning"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror}") from error
    where = storage or tuning.sqlite(folder / "study.db")
    try:
        with machines(on) as elsewhere, progress_bars() as progress:
            best, results = tuning.tune(
                recipe, named_folders(corpus), where, outer=outer, jobs=jobs, progress=progress, machines=elsewhere
            )
    except KeyboardInterrupt:
        say("the trials that are done are kept: the same command goes on from there")
        raise
    tuning_report.write(folder, results, recipes.to_toml(best))
    if as_json:
        click.echo(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        _print(results)
    say(f"wrote {folder}: best.toml, tuning.html, tuning.json")


def _print(results: dict[str, Any]) -> None:
    """Print inner and outer scores, and what was chosen."""
    from emovox.lab.reports.page import score, value

    console = Console()
    table = Table()
    for column in ("test part", "inner", "outer", "optimism", "untuned", "trials", "pruned"):
        table.add_column(column, justify="left" if column == "test part" else "right")
    for part in results["outer"]:
        table.add_row(
            part["fold"],
            score(part["inner"]),
            score(part["outer"]),
            f"{100 * part['optimism']:+.1f}",
            score(part["untuned"]),
            str(sum(part["trials"].values())),
            str(part["trials"]["pruned"]),
        )
    if results["outer"]:
        console.print(results["protocol"]["note"])
        console.print(table)
        console.print(
            f"UAR {score(results['outer_score'])} on speakers that no search saw; {score(results['inner_score'])} in "
            f"the search, so {100 * results['optimism']:+.1f} points of optimism; {score(results['untuned'])} untuned",
            style="bold",
        )
    else:
        console.print("No test part was searched for, so there is no honest score.", style="bold yellow")
    chosen = ", ".join(f"{key} = {value(one)}" for key, one in results["best"]["chosen"].items())
    console.print(f"chosen with all clips: {chosen}")
