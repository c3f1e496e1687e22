"""Corpora whose raters disagree: their votes as distributions, and how well a model agrees with people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from emovox.errors import CorpusError
from emovox.types import Float64Array

#: Before the label in the name of a column that holds votes, or shares of them.
COLUMN = "votes_"
#: Least probability whose logarithm is taken.
_LEAST = 1e-6


def votes(table: pd.DataFrame, labels: Sequence[str]) -> Float64Array | None:
    """Read the shares of the raters' votes from columns ``votes_<label>``, shape (n, n_labels); None without any.

    Rows without a vote are wholly for their label.

    Raises
    ------
    CorpusError
        A cell is no number of 0 or more, or a column's label is that of no clip.

    Examples
    --------
    >>> table = pd.DataFrame({"label": ["sad", "sad"], "votes_sad": ["3", ""], "votes_happy": ["1", ""]})
    >>> votes(table, ["happy", "sad"]).tolist()
    [[0.25, 0.75], [0.0, 1.0]]
    """
    columns = [str(name) for name in table.columns if str(name).startswith(COLUMN)]
    if not columns:
        return None
    unknown = [name for name in columns if name.removeprefix(COLUMN) not in labels]
    if unknown:
        raise CorpusError(f"column {unknown[0]!r} has a label that no clip has: there are {', '.join(labels)}")
    counts = np.zeros((len(table), len(labels)))
    for name in columns:
        cells = pd.to_numeric(table[name].replace("", "0"), errors="coerce").to_numpy(float)
        wrong = ~(np.isfinite(cells) & (cells >= 0))
        if wrong.any():
            raise CorpusError(f"{name} is {table[name].iloc[int(wrong.argmax())]!r}: expected a number of 0 or more")
        counts[:, list(labels).index(name.removeprefix(COLUMN))] = cells
    silent = counts.sum(axis=1) == 0
    counts[silent] = table["label"].to_numpy(str)[silent, np.newaxis] == np.array(labels)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)


def agreement(shares: Float64Array, probabilities: Float64Array) -> dict[str, Any]:
    """Score probabilities against the shares of raters' votes, both of shape (n, n_labels).

    Returns
    -------
    dict
        ``kl``, the divergence of the model from people in nats; ``entropy`` of people and ``entropy_model``, and
        ``entropy_r``, their correlation: whether the model is unsure where people disagree; ``top1`` and ``top2``, how
        often the label that most people chose is the first, or among the first two, of the model; ``agreement``, how
        often a draw of the model is what a rater says, and ``agreement_people``, how often a second rater does.

    Examples
    --------
    >>> same = np.array([[0.5, 0.5], [1.0, 0.0]])
    >>> found = agreement(same, same)
    >>> found["kl"], found["top2"], found["agreement"], found["agreement_people"]
    (0.0, 1.0, 0.75, 0.75)
    """
    people, model = (np.clip(one, _LEAST, 1) for one in (shares, probabilities))
    entropies = [-(one * np.log(np.clip(one, _LEAST, 1))).sum(axis=1) for one in (shares, probabilities)]
    varied = min(np.ptp(one) for one in entropies) > 0
    ranks = np.argsort(-probabilities, axis=1)
    chosen = shares.argmax(axis=1)
    return {
        "n": len(shares),
        "kl": float(np.sum(shares * np.log(people / model), axis=1).mean()),
        "entropy": float(entropies[0].mean()),
        "entropy_model": float(entropies[1].mean()),
        "entropy_r": float(np.corrcoef(*entropies)[0, 1]) if varied else None,
        "top1": float((ranks[:, 0] == chosen).mean()),
        "top2": float((ranks[:, :2] == chosen[:, np.newaxis]).any(axis=1).mean()),
        "agreement": float((shares * probabilities).sum(axis=1).mean()),
        "agreement_people": float(np.square(shares).sum(axis=1).mean()),
    }
