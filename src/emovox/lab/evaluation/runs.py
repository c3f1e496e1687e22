"""Read run folders for comparison, and group runs with the same test set and protocol."""

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
from emovox.outputs.console import from_csv_cell

#: Columns that identify a tested clip.
CLIP = ["fold", "corpus", "file", "start", "end"]
#: Required columns of predictions.csv, beside the probabilities.
COLUMNS = ("seed", *CLIP, "speaker", "sex", "label", "predicted")
#: Required keys of metrics.json.
KEYS = ("recipe", "family", "features", "protocol", "uar", "wa", "macro_f1", "labels", "per_class", "confusion", "n")
#: Fraction of the clips that two comparable runs must share; clips that could not be read may be missing.
MIN_COMMON = 0.9


@dataclass(frozen=True, eq=False)
class Run:
    """One finished experiment.

    Attributes
    ----------
    name : str
        Name in the comparison.
    folder : Path
        Run folder.
    metrics : dict
        Its ``metrics.json``.
    predictions : DataFrame
        Its ``predictions.csv``: one row per tested clip and seed.
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
        """Tested corpora, sorted by name."""
        return tuple(sorted(self.predictions["corpus"].unique()))

    @cached_property
    def clips(self) -> pd.MultiIndex:
        """Tested clips and their folds, without duplicates."""
        return pd.MultiIndex.from_frame(self.predictions[CLIP]).unique()

    def describe(self) -> str:
        """Describe what was tested, for messages.

        Returns
        -------
        str
            For example "runs/a tests 1440 clips of ravdess with 8 labels by the protocol emobox".
        """
        return (
            f"{self.name} tests {self.metrics['n']} clips of {', '.join(self.corpora)} with {len(self.labels)} labels "
            f"by the protocol {self.protocol}"
        )


def read(folders: Sequence[str | Path]) -> list[Run]:
    """Read run folders and give them unique names.

    Parameters
    ----------
    folders : sequence of path
        Run folders, as written by `emovox train`.

    Returns
    -------
    list of Run
        Named by their folders, with as many parent folders as needed to be unique.

    Raises
    ------
    InputError
        A folder is given twice, is no run folder, or its files are inconsistent.
    """
    paths = [Path(folder) for folder in folders]
    twice = [path for k, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:k]}]
    if twice:
        raise InputError(f"the run {twice[0]} is given twice: give each once")
    return [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """Name folders by their last parts, as few as are needed to be unique."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max((len(one) for one in parts), default=1) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read(folder: Path, name: str) -> Run:
    """Read one run folder; raise if it is incomplete or inconsistent."""
    try:
        found: Any = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        predictions = pd.read_csv(
            folder / "predictions.csv",
            dtype={"fold": str, "corpus": str, "file": str, "speaker": str, "sex": str, "label": str, "predicted": str},
            keep_default_na=False,
        )
        predictions = predictions.map(lambda cell: from_csv_cell(cell) if isinstance(cell, str) else cell)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a run folder, {Path(error.filename).name} is missing: give one that emovox train wrote"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read the run folder {folder}: {error.strerror}") from error
    except ValueError as error:  # invalid JSON, CSV or UTF-8
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
    """Return whether two runs have the same protocol, labels and tested clips in the same folds."""
    if one.protocol != other.protocol or set(one.labels) != set(other.labels) or one.corpora != other.corpora:
        return False
    common = len(one.clips.intersection(other.clips))
    return common >= MIN_COMMON * max(len(one.clips), len(other.clips))


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Group comparable runs, keeping their order."""
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
    """Raise if runs are not comparable.

    Raises
    ------
    InputError
        There is more than one group; the message describes one run of each.
    """
    if len(groups) > 1:
        tested = "; ".join(group[0].describe() for group in groups)
        raise InputError(
            f"these runs cannot be ranked together: {tested}. Compare runs of one test, or set the tests apart with "
            "--separate"
        )
