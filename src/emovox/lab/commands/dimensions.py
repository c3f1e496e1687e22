"""`emovox dimensions`: intensity, arousal, valence and the like, beside the classes of a model or by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import click

from emovox.lab.commands.options import corpus_option, jobs_option, json_option, named_folders
from emovox.lab.commands.train import import_training
from emovox.outputs.commands import argument, command, option
from emovox.outputs.console import progress_bars, say


@command()
@argument("model", metavar="MODEL", help="Model whose features are used: file, run folder or built-in name.")
@corpus_option(required=True)
@option("--name", "-n", "names", multiple=True, required=True, metavar="COLUMN", help="Dimension; repeat for several.")
@option("--out", "-o", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Model file to write.")
@option("--alone", is_flag=True, help="Write the dimensions only, without classes: 54 kB.")
@jobs_option
@json_option("the scores")
def dimensions(
    model: str, corpus: tuple[str, ...], names: tuple[str, ...], out: Path, alone: bool, jobs: int, as_json: bool
) -> None:
    """Train dimensions such as arousal or intensity for a model.

    Examples
    --------
    - `emovox dimensions default -c ravdess=data/ravdess -n intensity -o my.onnx`
    - `emovox dimensions default -c mine=a.csv -n arousal -n valence -o mine.onnx`

    The columns hold numbers; intensity may be normal, medium or strong. Empty cells are unknown values.
    """
    import_training()
    from emovox.lab.experiments import dimensions as experiment

    with progress_bars() as progress:
        results = experiment.run(model, named_folders(corpus), names, out, alone=alone, jobs=jobs, progress=progress)
    for line in results["skipped"]:
        say(f"skipped: {line}")
    if as_json:
        click.echo(json.dumps(results, indent=1))
    else:
        for name in names:
            click.echo(told(name, results[name]))
    say(f"wrote {out}")


def told(name: str, scores: dict[str, object]) -> str:
    """Say how good a dimension is, in a line.

    Examples
    --------
    >>> told("arousal", {"ccc": 0.5, "interval": [0.4, 0.6], "n": 30})
    'arousal: CCC 0.500 (0.400 to 0.600 by speaker), 30 clips of unheard speakers'
    """
    spans = {key: scores.get(key) for key in ("interval", "auc_interval")}
    text = f"{name}: CCC {scores['ccc']:.3f}{_span(spans['interval'], ' by speaker')}"
    if "auc" in scores:
        text += f", AUC {scores['auc']:.3f}{_span(spans['auc_interval'], '')}"
    return f"{text}, {scores['n']} clips of unheard speakers"


def _span(interval: object, more: str) -> str:
    return f" ({interval[0]:.3f} to {interval[1]:.3f}{more})" if isinstance(interval, list) else ""
