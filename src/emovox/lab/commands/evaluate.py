"""`emovox evaluate`: a finished model on a corpus it has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emovox.errors import InputError
from emovox.lab.commands.train import import_training, print_scores
from emovox.model.file import load
from emovox.outputs.console import named_folders, progress_bars, say


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, run folder or built-in name.")],
    corpus: Annotated[
        list[str], typer.Option("--corpus", "-c", metavar="NAME=DIR", help="Where a corpus lies; repeatable.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write predictions as CSV to this file.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes; -1 is one a core.")] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="Print all metrics as JSON instead of a table.")] = False,
) -> None:
    """Score a model on whole corpora, and say so if it was trained on them.

    Examples
    --------
    - `emovox evaluate runs/ravdess-ann/model.onnx --corpus tess=data/tess`
    - `emovox evaluate model.onnx --corpus mine=recordings.csv --json`
    """
    _, experiment = import_training()
    with progress_bars() as progress:
        results, predictions = experiment.evaluate(load(model), named_folders(corpus), jobs=jobs, progress=progress)
    for line in results["skipped"]:
        say(f"skipped: {line}")
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    else:
        print_scores(results)
    if out:
        try:
            predictions.to_csv(out, index=False, float_format="%.5f", lineterminator="\n")
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror}") from error
