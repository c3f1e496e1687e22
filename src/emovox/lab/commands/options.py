"""The options that several commands of the lab share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from emovox.errors import InputError, MissingExtraError
from emovox.outputs.commands import Decorator, argument, option

recipe_argument = argument("name", metavar="RECIPE", help="Name of a recipe in the package, or a TOML file.")
jobs_option = option(
    "--jobs", "-j", type=int, metavar="N", default=-1, help="Number of processes; default one per core."
)


on_option = option("--on", metavar="ADDRESS", help="Fit on a Dask cluster: tcp://host:8786; [cluster] extra.")


@contextmanager
def machines(address: str | None) -> Iterator[Any]:
    """Give where models are fitted: on a cluster by its address, or None for here."""
    if address is None:
        yield None
        return
    from emovox.batch.plan import Cluster
    from emovox.lab.experiments.crossfit import Machines

    Cluster(partial(partial, print), address).close()  # a wrong address is told before hours of features
    found = Machines(lambda make: Cluster(make, address, patience=float("inf")))
    try:
        yield found
    finally:
        found.close()


def corpus_option(*, required: bool) -> Decorator:
    """Declare where the corpora lie."""
    text = "Folder or manifest of a corpus; repeatable."
    return option("--corpus", "-c", metavar="NAME=DIR", multiple=True, required=required, help=text)


def set_option(example: str) -> Decorator:
    """Declare changes of a recipe."""
    text = f"Change the recipe: --set {example}; repeatable."
    return option("--set", "change", metavar="KEY=VALUE", multiple=True, help=text)


def folder_option(text: str) -> Decorator:
    """Declare the folder that a command writes."""
    return option("--out", "-o", type=click.Path(path_type=Path), metavar="DIR", help=text)


def json_option(what: str) -> Decorator:
    """Declare that a command prints for machines."""
    return option("--json", "as_json", is_flag=True, help=f"Print {what} instead of tables.")


def registry() -> Any:
    """Return `emovox.lab.corpora.registry`.

    Raises
    ------
    MissingExtraError
        What it needs is not installed.
    """
    try:
        from emovox.lab.corpora import registry
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading corpora (it imports {error.name})", "train") from error
    return registry


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=DIR`` options.

    Examples
    --------
    >>> named_folders(["ravdess=data/ravdess"])["ravdess"].name
    'ravdess'
    """
    folders: dict[str, Path] = {}
    for one in arguments:
        name, equals, folder = one.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--corpus {one!r} is not NAME=DIR: write for example --corpus ravdess=data/ravdess")
        folders[name] = Path(folder).expanduser()
    return folders
