"""The sub-commands of `emovox`, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from emovox.outputs.console import Group
from emovox.version import __version__


class Home(NamedTuple):
    """Where a command is, and what it is for: the help of `emovox` need not import it."""

    module: str
    summary: str


_RECOGNISE = {
    "predict": Home("emovox.cli.predict", "Say which emotion each recording expresses, and how sure that is."),
    "listen": Home("emovox.cli.listen", "Hear a microphone or a pipe, and say what emotion it is."),
    "enroll": Home("emovox.cli.profiles", "Store what a speaker's voice is ordinarily like."),
    "adapt": Home("emovox.cli.profiles", "Store what a microphone, room and language are ordinarily like."),
    "batch": Home("emovox.cli.batch", "Judge very many recordings; the same command goes on where it stopped."),
    "features": Home("emovox.cli.features", "Write acoustic features as CSV or Parquet."),
    "models": Home("emovox.cli.models", "List the models in the package, or show a model's card."),
    "cache": Home("emovox.cli.models", "Show what is kept on disk, and clear it."),
}
_SERVE = {
    "serve": Home("emovox.cli.serve", "Answer over HTTP and WebSocket until Ctrl-C."),
    "keys": Home("emovox.cli.serve", "Make, list and revoke keys of the service."),
}
_LAB = {
    "train": Home("emovox.lab.commands.train", "Evaluate a recipe, then fit it and write a model and a report."),
    "tune": Home("emovox.lab.commands.tune", "Search the settings of a recipe, and score what is found."),
    "evaluate": Home("emovox.lab.commands.evaluate", "Score a model on whole corpora."),
    "dimensions": Home(
        "emovox.lab.commands.dimensions", "Train intensity, arousal and the like beside the classes of a model."
    ),
    "compare": Home("emovox.lab.commands.compare", "Rank runs, test every pair, and write a page about it."),
    "data": Home("emovox.lab.commands.data", "Know, download and check corpora."),
}
#: The sub-commands by name: the module holds the command of that name.
COMMANDS = _RECOGNISE | _SERVE | _LAB


class Commands(Group):
    """Sub-commands that are imported when they are asked for: `emovox --version` need not load them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the sub-commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a sub-command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        found: Any = getattr(import_module(COMMANDS[cmd_name].module), cmd_name)
        return found  # type: ignore[no-any-return]

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Give the commands with what each is for; what trains needs another install, and stands apart."""
        yield "Recognise", [(name, home.summary) for name, home in _RECOGNISE.items()]
        yield "Serve", [(name, home.summary) for name, home in _SERVE.items()]
        yield "Train and compare", [(name, home.summary) for name, home in _LAB.items()]

    def unknown(self, ctx: click.Context, word: str) -> str:
        """Say what is wrong with a first word; who names a recording at once most likely means to judge it."""
        if Path(word).exists():
            return f"{word} is no command: did you mean emovox predict {word}?"
        return super().unknown(ctx, word)


@click.group("emovox", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="emovox %(version)s", help="Print the version and stop.")
def app() -> None:
    """Speech emotion recognition: from a recording to a label.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict --help`
    """
