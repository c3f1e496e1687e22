"""Finished experiments side by side: a ranking with intervals, tests of every pair, and the clips most of them miss."""

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

from emovox.errors import InputError
from emovox.lab.evaluation import footprint, paired
from emovox.lab.evaluation.metrics import Counts
from emovox.lab.evaluation.runs import CLIP, Run, grouped, read, require_one_test
from emovox.version import __version__

#: Two models differ where the corrected p value of the bootstrap by speaker is below this.
ALPHA = 0.05
#: So many missed clips stand on the page; the JSON has them all.
MOST_MISSED = 40
#: The scores of others, beside this module.
PUBLISHED = "published.toml"
#: What a row of the ranking takes from a run's ``metrics.json`` as it is.
COPIED = (
    *("family", "features", "uar", "wa", "macro_f1", "precision", "recall", "sd_folds", "sd_seeds", "interval", "n"),
    *("per_class", "confusion", "speakers", "calibration", "software"),
)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that tested the same, and what comes of comparing them.

    Attributes
    ----------
    runs : tuple of Run
        The best first.
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
        Run folders, two at least, as `emovox train` writes them.
    separate : bool, default False
        Put runs that did not test the same into groups of their own, instead of refusing them.  Nothing is ever
        ranked or averaged over groups.
    measure : bool, default True
        Measure each model's latency now, on this machine.

    Returns
    -------
    list of Group
        One for each protocol, set of labels and set of tested clips.  Its ``results`` have:

        ``protocol``, ``labels``, ``corpora``, ``clips``, ``speakers``, ``chance``
            What was tested; `clips` and `speakers` count what all runs have in common.
        ``runs``
            The ranking by UAR: each run's ``name``, scores, ``interval`` by speaker, ``per_class``, ``confusion``,
            ``costs`` (`emovox.lab.evaluation.footprint.costs`), ``learning_curves`` (None where the run has none), and
            ``level_with_best``: no difference from the first was found.
        ``pairs``
            Every pair of runs on their common clips.  ``difference`` of UAR (first less second, pooled over folds,
            mean over seeds) with ``low``, ``high`` and ``p`` of a bootstrap by speaker (None where fewer than two
            speakers are known); ``only_first`` and ``only_second``, clips that only one of them has right with its
            first seed, and ``mcnemar``, the exact p value of McNemar's test of them; ``p_holm`` and
            ``mcnemar_holm``, corrected for the number of pairs; ``differ``, whether ``p_holm`` is below 0.05.
        ``missed``
            Clips that more than half of the answers get wrong: ``file``, ``label``, ``taken_for`` ..., worst first.
        ``published``
            Scores of others by the same protocol (``same`` is true), and on the same corpus by other ones.

    Raises
    ------
    InputError
        Fewer than two runs, a folder that is no run, or, without `separate`, runs that did not test the same.
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
    """Compare runs that tested the same."""
    answers = _Answers(runs)
    pairs = _pairs(runs, answers)
    best = runs[0].name
    level = {pair["second"] for pair in pairs if pair["first"] == best and not pair["differ"]}
    first = runs[0].metrics
    speakers = len(set(answers.speakers)) if answers.speakers is not None else None
    results = {
        "protocol": {key: value for key, value in first["protocol"].items() if key != "seeds"},
        "labels": list(runs[0].labels),
        "corpora": list(runs[0].corpora),
        "clips": len(answers.clips),
        "speakers": speakers,
        "least_p": paired.least_p(speakers, len(pairs)) if speakers and pairs else None,
        "chance": 1 / sum(1 for one in first["per_class"].values() if one["support"]),
        "runs": [{**_row(run, measure), "level_with_best": run.name == best or run.name in level} for run in runs],
        "pairs": pairs,
        "missed": _missed(runs, answers),
        "published": _published(runs[0]),
    }
    return Group(tuple(runs), results)


def _row(run: Run, measure: bool) -> dict[str, Any]:
    """Say of one run what the ranking shows."""
    return {
        "name": run.name,
        "recipe": run.metrics["recipe"],
        **{key: run.metrics.get(key) for key in COPIED},
        "labels": list(run.labels),
        "seeds": list(run.metrics["protocol"].get("seeds", [0])),
        "costs": footprint.costs(run.folder, run.metrics.get("costs") or {}, measure=measure),
        "learning_curves": run.metrics.get("learning_curves"),
    }


class _Answers:
    """What the runs of a group say of the clips that all of them tested, clip by clip in one order."""

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
            told = self.first_seed(run)["label"].to_numpy(str) != first["label"].to_numpy(str)
            if told.any():
                file = self.clips[int(told.argmax())][CLIP.index("file")]
                raise InputError(f"{runs[0].name} and {run.name} give {file} different labels: they cannot be compared")

    def seeds(self, run: Run) -> list[pd.DataFrame]:
        """Return a run's rows of the common clips, one table a seed."""
        return [rows.loc[self.clips] for _, rows in self._tables[run.name].groupby("seed", sort=False)]

    def first_seed(self, run: Run) -> pd.DataFrame:
        """Return those of the first seed."""
        return self.seeds(run)[0]

    def codes(self, labels: pd.Series) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Turn labels into their places."""
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


def _pairs(runs: Sequence[Run], answers: _Answers) -> list[dict[str, Any]]:
    """Test every pair, the better one first."""
    matrices = {run.name: answers.by_speaker(run) for run in runs}
    right = {run.name: answers.codes(answers.first_seed(run)["predicted"]) == answers.truth for run in runs}
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


def _missed(runs: Sequence[Run], answers: _Answers) -> list[dict[str, Any]]:
    """List the clips that more than half of the answers get wrong; every run counts alike, its seeds share its vote."""
    votes = np.zeros((len(answers.clips), len(answers.labels)))
    for run in runs:
        seeds = answers.seeds(run)
        for rows in seeds:
            said = answers.codes(rows["predicted"])
            votes[np.arange(len(said)), said] += 1 / (len(seeds) * len(runs))
    wrong = 1 - votes[np.arange(len(votes)), answers.truth]
    votes[np.arange(len(votes)), answers.truth] = -1
    # Among clips that all get wrong, those that all take for the same come first: there a label may be at fault.
    worst = np.lexsort((-votes.max(axis=1), -wrong))
    table = answers.first_seed(runs[0])
    missed = []
    for row in worst[wrong[worst] > 0.5 + 1e-9]:
        _, corpus, file, start, end = answers.clips[row]
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
                "taken_for": answers.labels[mistaken],
                "taken_for_share": float(votes[row, mistaken]),
            }
        )
    return missed


def _published(run: Run) -> list[dict[str, Any]]:
    """Find what others published for the tested corpus and labels; what differs in the protocol stands beside it."""
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
    """Return the scores of others that emovox knows, in percent, with their sources.

    Examples
    --------
    >>> max(one["uar"] for one in published() if one.get("protocol") == "emobox")
    75.32
    """
    text = resources.files("emovox.lab.evaluation").joinpath(PUBLISHED).read_text(encoding="utf-8")
    results: list[Mapping[str, Any]] = tomllib.loads(text)["result"]
    return results
