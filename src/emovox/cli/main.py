"""The `emovox` command: its sub-commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from emovox.cli import compare, data, enroll, evaluate, features, listen, models, predict, train, tune
from emovox.errors import EmovoxError
from emovox.version import __version__

app = typer.Typer(
    name="emovox",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Speech emotion recognition: from a recording to a label, honestly scored and portable.",
)
app.command("predict")(predict.predict)
app.command("listen")(listen.listen)
app.command("enroll")(enroll.enroll)
app.command("features")(features.features)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("models")(models.models)
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emovox {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command line; exit with 0 (done), 2 (bad usage or input), 1 (a failure of ours) or 130 (Ctrl-C)."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a pipe that is closed shows now, not while the interpreter ends
    except EmovoxError as error:
        typer.echo(f"emovox: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("emovox: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        _end_quietly()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer makes exit code 1 of it
            _end_quietly()
        raise


def _end_quietly() -> NoReturn:
    """End where the reader of a pipe (head, less) has enough; Python must not complain while it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
