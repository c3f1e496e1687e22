"""Compare finished experiments: ranking with intervals, pairwise tests, and clips that most models misclassify."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox import __version__
from emovox.errors import InputError
from emovox.lab.evaluation import paired
from emovox.lab.evaluation.costs import run_costs
from emovox.lab.evaluation.metrics import Counts
from emovox.lab.evaluation.runs import CLIP, Run, grouped, read, require_one_test

#: Significance level of the corrected p values of the bootstrap by speaker.
ALPHA = 0.05
#: Misclassified clips listed on the page; the JSON has all.
MAX_MISSED = 40
#: Published scores, beside this module.
PUBLISHED = "published.toml"
#: Keys that a row of the ranking copies from the ``metrics.json`` of a run.
COPIED = (
    *("family", "features", "uar", "wa", "macro_f1", "precision", "recall", "sd_folds", "sd_seeds", "interval", "n"),
    *("per_class", "confusion", "speakers", "calibration", "software"),
)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs with the same test set and protocol, and their comparison.

    Attributes
    ----------
    runs : tuple of Run
        Sorted by decreasing UAR.
    results : dict
        Plain values, see :func:`compare`.
    """

    runs: tuple[Run, ...]
    results: dict[str, Any]


def compare(folders: Sequence[str | Path], *, separate: bool = False, measure: bool = True) -> list[Group]:
    """Compare finished experiments.

    Parameters
    ----------
    folders : sequence of path
        Run folders, at least two, as written by `emovox train`.
    separate : bool, default False
        Compare runs with different tests in separate groups, instead of raising.  Nothing is ranked or averaged across
        groups.
    measure : bool, default True
        Measure the latency of each model now, on this machine.

    Returns
    -------
    list of Group
        One group per protocol, set of labels and set of tested clips.  Its ``results`` have:

        ``protocol``, ``labels``, ``corpora``, ``clips``, ``speakers``, ``chance``
            What was tested; ``clips`` and ``speakers`` count those that all runs have in common.
        ``runs``
            The ranking by UAR: each run's ``name``, scores, ``interval`` by speaker, ``per_class``, ``confusion``,
            ``costs`` (`emovox.lab.evaluation.costs.run_costs`), ``learning_curves`` (None if the run has none), and
            ``level_with_best``: whether it does not differ significantly from the first.
        ``pairs``
            Every pair of runs on their common clips.  ``difference`` of UAR (first minus second, pooled over folds,
            mean over seeds) with ``low``, ``high`` and ``p`` of a bootstrap by speaker (None with fewer than two
            speakers); ``only_first`` and ``only_second``, numbers of clips that only one of them classifies correctly
            with its first seed, and ``mcnemar``, the exact p value of McNemar's test; ``p_holm`` and ``mcnemar_holm``,
            adjusted for the number of pairs; ``differ``, whether ``p_holm`` is below 0.05.
        ``missed``
            Clips that more than half of the predictions misclassify: ``file``, ``label``, ``taken_for`` (most frequent
            wrong label) ..., worst first.
        ``published``
            Published scores by the same protocol (``same`` is true), and on the same corpus by other protocols.

    Raises
    ------
    InputError
        Fewer than two runs, a folder that is no run, or, without `separate`, runs with different tests.
    """
    if len(folders) < 2:
        raise InputError("a comparison needs two runs at least: give more run folders")
    groups = grouped(read(folders))
    if not separate:
        require_one_test(groups)
    return [_group(sorted(runs, key=lambda run: -run.metrics["uar"]), measure) for runs in groups]


def to_dict(groups: Sequence[Group]) -> dict[str, Any]:
    """Return a comparison as plain values, ready for JSON."""
    return {"software": __version__, "alpha": ALPHA, "groups": [group.results for group in groups]}


def _group(runs: Sequence[Run], measure: bool) -> Group:
    """Compare runs with the same test."""
    aligned = _Aligned(runs)
    pairs = _pairs(runs, aligned)
    best = runs[0].name
    level = {pair["second"] for pair in pairs if pair["first"] == best and not pair["differ"]}
    first = runs[0].metrics
    speakers = len(set(aligned.speakers)) if aligned.speakers is not None else None
    results = {
        "protocol": {key: value for key, value in first["protocol"].items() if key != "seeds"},
        "labels": list(runs[0].labels),
        "corpora": list(runs[0].corpora),
        "clips": len(aligned.clips),
        "speakers": speakers,
        "least_p": paired.least_p(speakers, len(pairs)) if speakers and pairs else None,
        "chance": 1 / sum(1 for one in first["per_class"].values() if one["support"]),
        "runs": [{**_row(run, measure), "level_with_best": run.name == best or run.name in level} for run in runs],
        "pairs": pairs,
        "missed": _missed(runs, aligned),
        "published": _published(runs[0]),
    }
    return Group(tuple(runs), results)


def _row(run: Run, measure: bool) -> dict[str, Any]:
    """Return the row of a run in the ranking."""
    return {
        "name": run.name,
        "recipe": run.metrics["recipe"],
        **{key: run.metrics.get(key) for key in COPIED},
        "labels": list(run.labels),
        "seeds": list(run.metrics["protocol"].get("seeds", [0])),
        "costs": run_costs(run.folder, run.metrics.get("costs") or {}, measure=measure),
        "learning_curves": run.metrics.get("learning_curves"),
    }


class _Aligned:
    """Predictions of the runs of a group for the clips that all of them tested, in one order."""

    def __init__(self, runs: Sequence[Run]) -> None:
        common = runs[0].clips
        for run in runs[1:]:
            common = common.intersection(run.clips)
        self.clips = common.sort_values()
        self.labels = runs[0].labels
        self._tables = {run.name: run.predictions.set_index(CLIP) for run in runs}
        first = self.first_seed(runs[0])
        self.truth = self.codes(first["label"])
        speakers = first["speaker"].to_numpy(str)
        self.speakers = None if (speakers == "").any() else speakers
        for run in runs[1:]:
            differing = self.first_seed(run)["label"].to_numpy(str) != first["label"].to_numpy(str)
            if differing.any():
                file = self.clips[int(differing.argmax())][CLIP.index("file")]
                raise InputError(f"{runs[0].name} and {run.name} give {file} different labels: they cannot be compared")

    def seeds(self, run: Run) -> list[pd.DataFrame]:
        """Return the predictions of a run for the common clips, one table per seed."""
        return [rows.loc[self.clips] for _, rows in self._tables[run.name].groupby("seed", sort=False)]

    def first_seed(self, run: Run) -> pd.DataFrame:
        """Return the predictions of the first seed."""
        return self.seeds(run)[0]

    def codes(self, labels: pd.Series) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Return the indices of labels."""
        return pd.Index(self.labels).get_indexer(pd.Index(labels))

    def by_speaker(self, run: Run) -> Counts | None:
        """Return the confusion matrix of each speaker, summed over seeds."""
        if self.speakers is None:
            return None
        found = [
            paired.by_group(self.speakers, self.truth, self.codes(rows["predicted"]), len(self.labels))[1]
            for rows in self.seeds(run)
        ]
        return np.asarray(np.sum(found, axis=0), dtype=np.int64)


def _pairs(runs: Sequence[Run], aligned: _Aligned) -> list[dict[str, Any]]:
    """Test every pair of runs, the better one first."""
    matrices = {run.name: aligned.by_speaker(run) for run in runs}
    right = {run.name: aligned.codes(aligned.first_seed(run)["predicted"]) == aligned.truth for run in runs}
    pairs: list[dict[str, Any]] = []
    for first, second in itertools.combinations([run.name for run in runs], 2):
        one, other = matrices[first], matrices[second]
        found = paired.bootstrap_difference(one, other) if one is not None and other is not None else None
        only_first = int((right[first] & ~right[second]).sum())
        only_second = int((~right[first] & right[second]).sum())
        pairs.append(
            {
                "first": first,
                "second": second,
                "difference": found.value if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "p": found.p if found else None,
                "only_first": only_first,
                "only_second": only_second,
                "mcnemar": paired.mcnemar(only_first, only_second),
            }
        )
    for name in ("p", "mcnemar"):
        known = [pair for pair in pairs if pair[name] is not None]
        for pair, corrected in zip(known, paired.holm([pair[name] for pair in known]), strict=True):
            pair[f"{name}_holm"] = corrected
    return [{**pair, "p_holm": pair.get("p_holm"), "differ": pair.get("p_holm", 1.0) < ALPHA} for pair in pairs]


def _missed(runs: Sequence[Run], aligned: _Aligned) -> list[dict[str, Any]]:
    """List the clips that more than half of the predictions misclassify; all runs have the same weight."""
    votes = np.zeros((len(aligned.clips), len(aligned.labels)))
    for run in runs:
        seeds = aligned.seeds(run)
        for rows in seeds:
            said = aligned.codes(rows["predicted"])
            votes[np.arange(len(said)), said] += 1 / (len(seeds) * len(runs))
    wrong = 1 - votes[np.arange(len(votes)), aligned.truth]
    votes[np.arange(len(votes)), aligned.truth] = -1
    # Among clips that all runs misclassify, those with the same wrong label come first: the reference may be wrong.
    worst = np.lexsort((-votes.max(axis=1), -wrong))
    table = aligned.first_seed(runs[0])
    missed = []
    for row in worst[wrong[worst] > 0.5 + 1e-9]:
        _, corpus, file, start, end = aligned.clips[row]
        mistaken = int(votes[row].argmax())
        missed.append(
            {
                "file": str(file),
                "start": float(start),
                "end": None if np.isinf(end) else float(end),
                "corpus": str(corpus),
                "speaker": str(table["speaker"].iloc[row]),
                "label": str(table["label"].iloc[row]),
                "wrong": float(wrong[row]),
                "taken_for": aligned.labels[mistaken],
                "taken_for_share": float(votes[row, mistaken]),
            }
        )
    return missed


def _published(run: Run) -> list[dict[str, Any]]:
    """Return published scores for the tested corpus and labels, marked by whether the protocol is the same."""
    if len(run.corpora) != 1:
        return []
    found = []
    for one in published():
        if one["corpus"] == run.corpora[0] and one["labels"] == len(run.labels):
            same = one.get("protocol") == run.protocol
            by = one.get("protocol") or one["by"]
            scores = {key: one[key] / 100 if key in one else None for key in ("uar", "wa", "macro_f1")}
            found.append(
                {
                    **{key: one[key] for key in ("system", "source", "url")},
                    **scores,
                    "same": same,
                    "by": by,
                    "speaker_independent": one.get("speaker_independent", True),
                }
            )
    return sorted(found, key=lambda one: (not one["same"], -(one["uar"] or one["wa"] or 0)))


def published() -> list[Mapping[str, Any]]:
    """Return the published scores that emovox knows, in percent, with their sources.

    Examples
    --------
    >>> max(one["uar"] for one in published() if one.get("protocol") == "emobox")
    75.32
    """
    text = resources.files("emovox.lab.evaluation").joinpath(PUBLISHED).read_text(encoding="utf-8")
    results: list[Mapping[str, Any]] = tomllib.loads(text)["result"]
    return results
