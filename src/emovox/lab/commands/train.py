"""`emovox train`: a recipe to a scored, portable model."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emovox.errors import MissingExtraError, RecipeError
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
from emovox.outputs.commands import command, option
from emovox.outputs.console import Console, Table, progress_bars, say


@command()
@recipe_argument
@corpus_option(required=False)
@folder_option("Run folder; the default is runs/RECIPE-DATE-TIME.")
@option("--protocol", "-p", metavar="NAME", help="Evaluate by this protocol instead of the recipe's.")
@option("--seed", type=int, metavar="N", multiple=True, help="Seed of the model; repeat it for a mean over seeds.")
@set_option("model.epochs=50")
@jobs_option
@on_option
@option("--keep-folds", is_flag=True, help="Also write each fold's model, as folds/NAME.onnx.")
@json_option("metrics.json")
def train(
    name: str,
    corpus: tuple[str, ...],
    out: Path | None,
    protocol: str | None,
    seed: tuple[int, ...],
    change: tuple[str, ...],
    jobs: int,
    on: str | None,
    keep_folds: bool,
    as_json: bool,
) -> None:
    """Evaluate a recipe, then fit it on all data and write a model and a report.

    Examples
    --------
    - `emovox train ravdess-ann --corpus ravdess=data/ravdess`
    - `emovox train ravdess-svm --corpus ravdess=data/ravdess --protocol loso`
    - `emovox train ravdess-ann -c ravdess=data/ravdess --seed 0 --seed 1`

    The protocol says which clips test: then one model is fitted on everything. Where an encoder is being tuned,
    OUT.checkpoints keeps what is done until the run folder is there, and the same command with the same --out goes on
    from it.

    Protocols: `emobox`, `tfds`, `loso`, `speaker-K`, `text`, `speaker-text`, `cross-corpus`, `split-column` and
    `random-70/30`, which leaks speakers and says so.
    """
    recipes, experiment = import_training()
    recipe = recipes.load(name, overrides(protocol, seed, change))
    folder = out or Path("runs") / f"{recipe.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    try:
        with machines(on) as elsewhere, progress_bars() as progress:
            results = experiment.run(
                recipe,
                named_folders(corpus),
                folder,
                jobs=jobs,
                keep_folds=keep_folds,
                progress=progress,
                machines=elsewhere,
            )
    except KeyboardInterrupt:
        if (kept := experiment.checkpoints(folder)).exists():
            say(f"{kept} keeps what is done: the same command with --out {folder} goes on from there")
        raise
    for line in results["skipped"]:
        say(f"skipped: {line}")
    if as_json:
        click.echo((folder / "metrics.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_scores(results)
    say(f"wrote {folder}: model.onnx, metrics.json, predictions.csv, recipe.toml, report.html")


def overrides(protocol: str | None, seeds: Sequence[int], changes: Sequence[str]) -> dict[str, Any]:
    """Convert options to changes of a recipe; values are TOML, and a bare word is a string.

    Examples
    --------
    >>> overrides("loso", [1], ["model.hidden=[64]", "preprocess.level=none"])
    {'model.hidden': [64], 'preprocess.level': 'none', 'protocol.name': 'loso', 'protocol.seeds': [1]}
    """
    import tomllib

    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not (key and equals):
            raise RecipeError(f"--set {change!r} is not KEY=VALUE: write for example --set model.epochs=50")
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
    if protocol is not None:
        values["protocol.name"] = protocol
    if seeds:
        values["protocol.seeds"] = list(seeds)
    return values


def print_scores(results: dict[str, Any]) -> None:
    """Print the main scores with protocol, deviations and interval, then each class."""
    console = Console()
    protocol = results["protocol"]
    seeds = ", ".join(str(seed) for seed in protocol["seeds"])
    console.print(f"protocol {protocol['name']}, {protocol['folds']} folds, seeds {seeds}. {protocol['note']}")
    if not protocol["speaker_independent"]:
        console.print("This score is not speaker-independent.", style="bold yellow")
    spread = "" if results["sd_folds"] is None else f" ± {100 * results['sd_folds']:.1f} over folds"
    spread += "" if results["sd_seeds"] is None else f", ± {100 * results['sd_seeds']:.1f} over seeds"
    interval = results["interval"]
    if interval:
        spread += f", 95 % by speaker {100 * interval['low']:.1f} to {100 * interval['high']:.1f}"
    console.print(f"UAR {100 * results['uar']:.1f}{spread}", style="bold")
    console.print(
        f"WA {100 * results['wa']:.1f}  macro-F1 {100 * results['macro_f1']:.1f}  "
        f"precision {100 * results['precision']:.1f}  recall {100 * results['recall']:.1f}  "
        f"ECE {100 * results['calibration']['ece']:.1f}",
    )
    for name, told in (
        ("setting", "{clips} clips of the test corpus as the setting"),
        ("enrolled", "{clips} neutral clips of each test speaker as the baseline"),
        ("setting_enrolled", "both"),
    ):
        if name in results:
            known = results[name]
            error = 100 * known["calibration"]["ece"]
            console.print(f"UAR {100 * known['uar']:.1f} with {told.format(**known)}, ECE {error:.1f}", style="bold")
    if "promise" in results:
        promise = results["promise"]
        console.print(
            f"calibrated by protocol {promise['protocol']['name']}, {promise['protocol']['folds']} folds: "
            f"UAR {100 * promise['uar']:.1f}"
            + (f", {100 * promise['setting']['uar']:.1f} with the setting" if "setting" in promise else "")
        )
    table = Table()
    for column in ("class", "precision", "recall", "F1", "clips"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for label, scores in results["per_class"].items():
        cells = ["-" if scores[key] is None else f"{100 * scores[key]:.1f}" for key in ("precision", "recall", "f1")]
        table.add_row(label, *cells, str(scores.get("support", scores.get("n", ""))))
    console.print(table)


def import_training() -> tuple[Any, Any]:
    """Import the training code, or raise with the install command."""
    try:
        from emovox.lab.experiments import experiment, recipe
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training (it imports {error.name})", "train") from error
    return recipe, experiment
