"""The `emovox` command: its sub-commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from emovox.errors import EmovoxError
from emovox.version import __version__

#: The sub-commands in the order of the help, and the package of each: its module of that name holds a function of that
#: name, or an ``app`` with sub-commands of its own.
COMMANDS = {
    "predict": "emovox.cli",
    "listen": "emovox.cli",
    "enroll": "emovox.cli",
    "features": "emovox.cli",
    "train": "emovox.lab.commands",
    "tune": "emovox.lab.commands",
    "evaluate": "emovox.lab.commands",
    "compare": "emovox.lab.commands",
    "models": "emovox.cli",
    "data": "emovox.lab.commands",
}


class Commands(TyperGroup):
    """Sub-commands that are imported when they are asked for: `emovox --version` need not load them all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = dict.fromkeys(COMMANDS)  # their names, for "did you mean"

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the sub-commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a sub-command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        if self.commands[cmd_name] is None:
            module = import_module(f"{COMMANDS[cmd_name]}.{cmd_name}")
            found = getattr(module, "app", None)
            if found is None:
                found = typer.Typer(rich_markup_mode="markdown", add_completion=False)
                found.command(cmd_name)(getattr(module, cmd_name))
            self.commands[cmd_name] = typer.main.get_command(found)
        return self.commands[cmd_name]


app = typer.Typer(
    name="emovox",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Speech emotion recognition: from a recording to a label, honestly scored and portable.",
)


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
