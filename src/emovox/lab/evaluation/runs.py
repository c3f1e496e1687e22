"""Run folders, read back to be compared: what they tested, and whether two of them tested the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from emovox.errors import InputError
from emovox.lab.evaluation import metrics

#: What tells a tested clip apart from the others.
CLIP = ["fold", "corpus", "file", "start", "end"]
#: What a table of predictions must have beside the probabilities.
COLUMNS = ("seed", *CLIP, "speaker", "sex", "label", "predicted")
#: What metrics.json must have.
KEYS = ("recipe", "family", "features", "protocol", "uar", "wa", "macro_f1", "labels", "per_class", "confusion", "n")
#: Share of the clips that two runs must have in common; a few may be missing where they could not be analysed.
COMMON = 0.9


@dataclass(frozen=True, eq=False)
class Run:
    """One finished experiment.

    Attributes
    ----------
    name : str
        What it is called in a comparison.
    folder : Path
        Run folder.
    metrics : dict
        Its ``metrics.json``.
    predictions : DataFrame
        Its ``predictions.csv``: one row a tested clip and seed.
    """

    name: str
    folder: Path
    metrics: dict[str, Any]
    predictions: pd.DataFrame

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.metrics["protocol"]["name"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the confusion matrix."""
        return tuple(self.metrics["labels"])

    @cached_property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that were tested, in order of their names."""
        return tuple(sorted(self.predictions["corpus"].unique()))

    @cached_property
    def clips(self) -> pd.MultiIndex:
        """Tested clips with their folds, each once."""
        return pd.MultiIndex.from_frame(self.predictions[CLIP]).unique()

    def describe(self) -> str:
        """Say in words what was tested.

        Returns
        -------
        str
            As in "runs/a tests 1440 clips of ravdess with 8 labels by the protocol emobox".
        """
        return (
            f"{self.name} tests {self.metrics['n']} clips of {', '.join(self.corpora)} with {len(self.labels)} labels "
            f"by the protocol {self.protocol}"
        )


def read(folders: Sequence[str | Path]) -> list[Run]:
    """Read run folders and name them apart.

    Parameters
    ----------
    folders : sequence of path
        As `emovox train` writes them.

    Returns
    -------
    list of Run
        Named by their folders, with as many of the folders above as it takes to tell them apart.

    Raises
    ------
    InputError
        A folder is given twice, is no run folder, or its files do not belong together.
    """
    paths = [Path(folder) for folder in folders]
    twice = [path for k, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:k]}]
    if twice:
        raise InputError(f"the run {twice[0]} is given twice: give each once")
    return [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """Name folders by as few of their last parts as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max((len(one) for one in parts), default=1) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read(folder: Path, name: str) -> Run:
    """Read one run folder; refuse what is not whole."""
    try:
        found: Any = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        predictions = pd.read_csv(
            folder / "predictions.csv",
            dtype={"fold": str, "corpus": str, "file": str, "speaker": str, "sex": str, "label": str, "predicted": str},
            keep_default_na=False,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a run folder, {Path(error.filename).name} is missing: give one that emovox train wrote"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read the run folder {folder}: {error.strerror}") from error
    except ValueError as error:  # JSON, CSV and text that are none
        raise InputError(f"the run folder {folder} is damaged ({error}): train it again") from error
    missing = [key for key in KEYS if not isinstance(found, dict) or key not in found]
    columns = (*COLUMNS, *(f"p_{label}" for label in found["labels"])) if not missing else COLUMNS
    missing += [column for column in columns if column not in predictions.columns]
    if missing:
        raise InputError(f"the run folder {folder} has no {missing[0]!r}: train it again with this version")
    run = Run(name, folder, found, predictions)
    counted = metrics.confusion(predictions["label"], predictions["predicted"], run.labels)
    if counted.tolist() != found["confusion"]:
        raise InputError(f"predictions.csv and metrics.json in {folder} are not of one run: train it again")
    return run


def same_test(one: Run, other: Run) -> bool:
    """Say whether two runs answered the same question: same protocol, same labels, same clips in the same folds.

    Returns
    -------
    bool
    """
    if one.protocol != other.protocol or set(one.labels) != set(other.labels) or one.corpora != other.corpora:
        return False
    common = len(one.clips.intersection(other.clips))
    return common >= COMMON * max(len(one.clips), len(other.clips))


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Put runs that can be compared together, in the order in which they come.

    Returns
    -------
    list of list of Run
    """
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            if same_test(group[0], run):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def require_one_test(groups: Sequence[Sequence[Run]]) -> None:
    """Refuse runs that did not test the same.

    Raises
    ------
    InputError
        There is more than one group; the message says of one run of each what it tested.
    """
    if len(groups) > 1:
        tested = "; ".join(group[0].describe() for group in groups)
        raise InputError(
            f"these runs cannot be ranked together: {tested}. Compare runs of one test, or set the tests apart with "
            "--separate"
        )
