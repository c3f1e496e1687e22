"""From a table of predictions to the numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.decision import fit_temperature, temper
from emovox.evaluation import metrics

#: The scores of a headline, each the mean over folds and seeds.
HEADLINE = ("uar", "wa", "macro_f1", "precision", "recall")


def score(predictions: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Score the predictions of all folds and seeds.

    Parameters
    ----------
    predictions : DataFrame
        One row a tested clip and seed, with columns ``seed``, ``fold``, ``corpus``, ``speaker``, ``sex``, ``label``
        (the truth), ``predicted``, and ``p_<label>`` for each label.
    labels : sequence of str
        The model's labels in order.

    Returns
    -------
    dict
        Plain values: the headline (means over folds, then seeds), its spread over folds and over seeds,
        ``interval`` (bootstrap by speaker), ``per_class``, ``confusion``, ``labels``, ``folds``, ``speakers``,
        ``sexes``, ``corpora`` and ``calibration``.  Per-class scores and the confusion matrix are pooled over folds
        and seeds.

    Examples
    --------
    >>> rows = {"seed": 0, "fold": "1", "corpus": "demo", "sex": "", "speaker": ["a", "b"], "label": ["sad", "happy"],
    ...         "predicted": ["sad", "sad"], "p_sad": [0.9, 0.6], "p_happy": [0.1, 0.4]}
    >>> score(pd.DataFrame(rows), ["sad", "happy"])["uar"]
    0.5
    """
    folds = [
        {"seed": int(str(seed)), "fold": str(fold), **_short(rows, labels)}
        for (seed, fold), rows in predictions.groupby(["seed", "fold"], sort=False)
    ]
    table = pd.DataFrame(folds)
    by_seed = table.groupby("seed")[list(HEADLINE)].mean()
    pooled = metrics.summary(
        predictions["label"].to_numpy(str),
        predictions["predicted"].to_numpy(str),
        labels,
        probabilities(predictions, labels),
    )
    return {
        **{name: float(by_seed[name].mean()) for name in HEADLINE},
        "aggregation": "mean over folds, then over seeds",
        "sd_folds": float(table.groupby("fold")["uar"].mean().std(ddof=1)) if table["fold"].nunique() > 1 else None,
        "sd_seeds": float(by_seed["uar"].std(ddof=1)) if len(by_seed) > 1 else None,
        "interval": _interval(predictions, labels),
        "n": int(len(predictions) / len(by_seed)),
        "labels": list(labels),
        "per_class": pooled["per_class"],
        "confusion": pooled["confusion"],
        "folds": folds,
        "speakers": _grouped(predictions, "speaker", labels),
        "sexes": _grouped(predictions, "sex", labels),
        "corpora": _grouped(predictions, "corpus", labels),
        "calibration": {"ece": pooled["ece"], "nll": pooled["nll"], **_tempered(predictions, labels)},
    }


def probabilities(predictions: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.float64]:
    """Take the class probabilities out of a table of predictions, shape (n, n_labels)."""
    return predictions[[f"p_{label}" for label in labels]].to_numpy(np.float64)


def _short(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Score some rows without the details."""
    full = metrics.summary(rows["label"].to_numpy(str), rows["predicted"].to_numpy(str), labels)
    return {"n": len(rows), **{name: full[name] for name in HEADLINE}}


def _grouped(predictions: pd.DataFrame, column: str, labels: Sequence[str]) -> dict[str, Any]:
    """Score each speaker, sex or corpus by itself; unknown ones are left out."""
    known = predictions[predictions[column] != ""]
    groups = {str(name): _short(rows, labels) for name, rows in known.groupby(column)}
    if column == "speaker":
        sex = known.groupby("speaker")["sex"].first().to_dict()
        groups = {name: {"sex": sex[name], **scores} for name, scores in groups.items()}
    return groups


def _interval(predictions: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any] | None:
    """Bootstrap the pooled UAR over speakers; there is none where fewer than two are known."""
    speakers = predictions["speaker"].to_numpy(str)
    if (speakers == "").any():
        return None
    interval = metrics.bootstrap_by_speaker(
        predictions["label"].to_numpy(str), predictions["predicted"].to_numpy(str), speakers, labels
    )
    if interval is None:
        return None
    return {"statistic": "pooled uar", "level": 0.95, "by": "speaker", "low": interval.low, "high": interval.high}


def _tempered(predictions: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Measure calibration after a temperature that each fold takes from the other folds."""
    folds = predictions["fold"].to_numpy(str)
    given = probabilities(predictions, labels)
    index = predictions["label"].map({label: i for i, label in enumerate(labels)}).to_numpy(int)
    if len(np.unique(folds)) < 2:
        return {"ece_tempered": None, "temperature": None}
    tempered = np.empty_like(given)
    for fold in np.unique(folds):
        here = folds == fold
        tempered[here] = temper(given[here], fit_temperature(given[~here], index[~here]))
    return {
        "ece_tempered": metrics.ece(tempered, index),
        "temperature": fit_temperature(given, index),
    }
