"""`emovox evaluate`: a finished model on a corpus it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import click

from emovox.errors import InputError
from emovox.lab.commands.options import corpus_option, jobs_option, json_option, named_folders
from emovox.lab.commands.train import import_training, print_scores
from emovox.model import profiles
from emovox.model.file import load
from emovox.model.profiles import Profile
from emovox.outputs.commands import argument, command, option
from emovox.outputs.console import progress_bars, say
from emovox.outputs.formats import write_csv


@command()
@argument("model", metavar="MODEL", help="Model file, run folder or built-in name.")
@corpus_option(required=True)
@option(
    "--out", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Also write predictions as CSV to this file."
)
@option("--setting", metavar="NAME|auto", help="Setting of the clips: see emovox adapt; auto: each corpus is its own.")
@jobs_option
@json_option("all metrics as JSON")
def evaluate(
    model: str, corpus: tuple[str, ...], out: Path | None, setting: str | None, jobs: int, as_json: bool
) -> None:
    """Score a model on other corpora.

    Examples
    --------
    - `emovox evaluate runs/ravdess-ann/model.onnx --corpus tess=data/tess`
    - `emovox evaluate model.onnx --corpus mine=recordings.csv --json`
    - `emovox evaluate default --corpus mine=recordings.csv --setting auto`
    """
    _, experiment = import_training()
    _, known = profiles.given(None, setting)
    judge, folders = load(model), named_folders(corpus)
    if known:
        profiles.baseline(judge, known if isinstance(known, Profile) else None)  # what does not fit is told at once
    with progress_bars() as progress:
        results, predictions = experiment.evaluate(judge, folders, setting=known, jobs=jobs, progress=progress)
    for line in results["skipped"]:
        say(f"skipped: {line}")
    for line in results["partly_read"]:
        say(f"judged by the rest of it: {line}")
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        print_scores(results)
    if out:
        try:
            write_csv(predictions, out)
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror}") from error
