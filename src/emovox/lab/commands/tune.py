"""`emovox tune`: the settings of a recipe, searched and honestly scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from emovox.errors import InputError, MissingExtraError
from emovox.lab.commands.train import import_training, overrides
from emovox.outputs.console import named_folders, progress_bars, say, standard_output


def tune(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe in the package, or a TOML file.")],
    corpus: Annotated[
        list[str] | None, typer.Option("--corpus", "-c", metavar="NAME=DIR", help="Where a corpus lies; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of trials and report, default runs/RECIPE-tuning; the same one goes on."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Database of the trials, default OUT/study.db; machines that share one share the work.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", "-n", help="Trials of each search.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds after which a search starts no other trial.")
    ] = None,
    outer: Annotated[
        int | None,
        typer.Option("--outer", min=0, help="Search only for the first so many test parts; 0 gives no honest score."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: --set tune.inner=loso; repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes; -1 is one a core.")] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="Print tuning.json instead of a table.")] = False,
) -> None:
    """Search what the recipe's [tune] table says; score what is found on speakers that the search never saw.

    Examples
    --------
    - `emovox tune ravdess-svm-tune --corpus ravdess=data/ravdess`
    - `emovox tune mine.toml --corpus mine=recordings.csv --trials 20 --timeout 600 --outer 1`
    - `emovox tune mine.toml -c mine=recordings.csv --storage postgresql://user@host/studies`
    """
    recipes, _ = import_training()
    try:
        from emovox.lab.experiments import tuning
        from emovox.lab.reports import tuning_report
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"tuning (it imports {error.name})", "train") from error

    changes = overrides(None, None, change or [])
    changes |= {f"tune.{key}": value for key, value in (("trials", trials), ("timeout", timeout)) if value is not None}
    recipe = recipes.load(name, changes)
    folder = out or Path("runs") / f"{recipe.name}-tuning"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror}") from error
    where = storage or tuning.sqlite(folder / "study.db")
    try:
        with progress_bars() as progress:
            best, results = tuning.tune(
                recipe, named_folders(corpus or []), where, outer=outer, jobs=jobs, progress=progress
            )
    except KeyboardInterrupt:
        say("the trials that are done are kept: the same command goes on from there")
        raise
    tuning_report.write(folder, results, recipes.to_toml(best))
    if as_json:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        _print(results)
    say(f"wrote {folder}: best.toml, tuning.html, tuning.json")


def _print(results: dict[str, Any]) -> None:
    """Print inner and outer scores, and what was chosen."""
    from rich.table import Table

    from emovox.lab.reports.page import score, value

    console = standard_output()
    table = Table(box=None, pad_edge=False, header_style="bold")
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
