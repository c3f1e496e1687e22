"""`emovox data sample`: a small labelled corpus of synthetic voices, to learn with."""

from __future__ import annotations

from pathlib import Path

import click

from emovox.outputs.commands import Command, argument, option
from emovox.outputs.console import say


@click.command("sample", cls=Command)
@argument("folder", metavar="DIR", type=click.Path(path_type=Path), help="Folder to make; it must not exist yet.")
@option("--seed", type=int, metavar="N", default=0, help="Seed of the clips; the speakers stay the same.")
def sample(folder: Path, seed: int) -> None:
    """Write a small corpus of synthetic voices with manifest and recipe, for the tutorial.

    Examples
    --------
    - `emovox data sample practice`
    - `emovox train practice/recipe.toml --corpus practice=practice/recordings.csv`
    """
    from emovox.lab.corpora import sample as corpus

    count = corpus.write(folder, seed)
    say(f"wrote {folder}: {count} clips of {len(corpus.SPEAKERS) - 1} speakers, recordings.csv, recipe.toml, new/")
