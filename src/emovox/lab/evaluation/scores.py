"""From a table of predictions to the numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.decision import fit_temperature, temper
from emovox.lab.evaluation import metrics, selective

Array = NDArray[np.float64]

#: The scores of a headline, each the mean over folds and seeds.
HEADLINE = ("uar", "wa", "macro_f1", "precision", "recall")


def score(predictions: pd.DataFrame, labels: Sequence[str], *, target: float = selective.TARGET) -> dict[str, Any]:
    """Score the predictions of all folds and seeds.

    Parameters
    ----------
    predictions : DataFrame
        One row a tested clip and seed, with columns ``seed``, ``fold``, ``corpus``, ``speaker``, ``sex``, ``label``
        (the truth), ``predicted``, and ``p_<label>`` for each label.
    labels : sequence of str
        The model's labels in order.
    target : float, default 0.85
        Share of the answers that should be right where the model may abstain, in (0, 1).

    Returns
    -------
    dict
        Plain values: the headline (means over folds, then seeds), its spread over folds and over seeds,
        ``interval`` (bootstrap by speaker), ``per_class``, ``confusion``, ``labels``, ``folds``, ``speakers``,
        ``sexes``, ``corpora``, ``calibration`` and ``selective``.  Per-class scores and the confusion matrix are
        pooled over folds and seeds.

        ``calibration`` has the ``ece`` and ``nll`` of the probabilities as they are, the ``temperature`` that fits
        them best, and ``ece_tempered``, for which each fold is tempered with what the other folds teach; the last
        two are None where there is one fold.  Each corpus has its own ``ece`` and ``ece_tempered``.

        ``selective`` says what abstaining does, after that temperature: the ``target``, the ``threshold`` that keeps
        it for new speakers (`emovox.lab.evaluation.selective.threshold_for`; None if none does), the ``coverage`` and
        ``accuracy`` there, and ``cross_fitted``, the same with temperature and threshold from the other folds, in all
        and for each of ``sexes``, ``corpora`` and ``labels`` (None where there is one fold); the ``curve`` of
        `emovox.lab.evaluation.selective.risk_coverage` and its area ``aurc``.

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
    crossed = _cross_fitted(predictions, labels, target) if table["fold"].nunique() > 1 else None
    temperature = fit_temperature(probabilities(predictions, labels), _truth(predictions, labels)) if crossed else None
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
        "corpora": _corpora(predictions, labels, crossed),
        "calibration": {
            "ece": pooled["ece"],
            "nll": pooled["nll"],
            "ece_tempered": metrics.ece(crossed.tempered, _truth(predictions, labels)) if crossed else None,
            "temperature": temperature,
        },
        "selective": _selective(predictions, labels, target, temperature or 1.0, crossed),
    }


def probabilities(predictions: pd.DataFrame, labels: Sequence[str]) -> Array:
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


@dataclass(frozen=True, eq=False)
class _Crossed:
    """What each fold has from the other folds: its tempered probabilities, and a threshold for each clip."""

    tempered: Array
    threshold: Array


def _cross_fitted(predictions: pd.DataFrame, labels: Sequence[str], target: float) -> _Crossed:
    """Take temperature and threshold of each fold from the others."""
    given, truth = probabilities(predictions, labels), _truth(predictions, labels)
    folds, speakers = predictions["fold"].to_numpy(str), predictions["speaker"].to_numpy(str)
    tempered, threshold = np.empty_like(given), np.full(len(given), np.inf)
    for fold in np.unique(folds):
        here = folds == fold
        temperature = fit_temperature(given[~here], truth[~here])
        tempered[here] = temper(given[here], temperature)
        others = temper(given[~here], temperature).max(axis=1)
        found = selective.threshold_for(others, _right(predictions[~here]), speakers[~here], accuracy=target)
        if found is not None:
            threshold[here] = found
    return _Crossed(tempered, threshold)


def _corpora(predictions: pd.DataFrame, labels: Sequence[str], crossed: _Crossed | None) -> dict[str, Any]:
    """Score each corpus by itself, calibration included."""
    groups = _grouped(predictions, "corpus", labels)
    given, truth = probabilities(predictions, labels), _truth(predictions, labels)
    for name, scores in groups.items():
        here = predictions["corpus"].to_numpy(str) == name
        scores["ece"] = metrics.ece(given[here], truth[here])
        scores["ece_tempered"] = metrics.ece(crossed.tempered[here], truth[here]) if crossed else None
    return groups


def _selective(
    predictions: pd.DataFrame, labels: Sequence[str], target: float, temperature: float, crossed: _Crossed | None
) -> dict[str, Any]:
    """Say what abstaining does: the threshold of the exported model, and what it was worth in folds it is not from."""
    confidence, right = temper(probabilities(predictions, labels), temperature).max(axis=1), _right(predictions)
    threshold = selective.threshold_for(confidence, right, predictions["speaker"].to_numpy(str), accuracy=target)
    honest = None
    if crossed:
        unseen = crossed.tempered.max(axis=1)
        honest = {
            **selective.outcome(unseen, right, crossed.threshold),
            **{
                name: {
                    str(one): selective.outcome(unseen[rows], right[rows], crossed.threshold[rows])
                    for one, rows in predictions.reset_index(drop=True).groupby(column).indices.items()
                    if one != ""
                }
                for name, column in (("sexes", "sex"), ("corpora", "corpus"), ("labels", "label"))
            },
        }
    return {
        "target": target,
        "level": selective.LEVEL,
        "threshold": threshold,
        **selective.outcome(confidence, right, threshold),
        "cross_fitted": honest,
        "aurc": selective.aurc(confidence, right),
        "curve": selective.risk_coverage(confidence, right),
    }


def _truth(predictions: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the column of each clip's true label."""
    return pd.Index(labels).get_indexer(pd.Index(predictions["label"]))


def _right(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Say which predictions are right."""
    return np.asarray(predictions["predicted"].to_numpy(str) == predictions["label"].to_numpy(str))
