"""Compute the scores of an experiment from its table of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.lab.evaluation import metrics, selective
from emovox.model.file import fit_temperature, temper

Array = NDArray[np.float64]

#: Main scores, means over folds and seeds.
HEADLINE = ("uar", "wa", "macro_f1", "precision", "recall")


def score(predictions: pd.DataFrame, labels: Sequence[str], *, target: float = selective.TARGET) -> dict[str, Any]:
    """Score the predictions of all folds and seeds.

    Parameters
    ----------
    predictions : DataFrame
        One row per tested clip and seed, with columns ``seed``, ``fold``, ``corpus``, ``speaker``, ``sex``, ``label``
        (true label), ``predicted``, and ``p_<label>`` for each label.
    labels : sequence of str
        Labels of the model, in order.
    target : float, default 0.85
        Target accuracy of the answered clips (selective accuracy), in (0, 1).

    Returns
    -------
    dict
        Plain values: the main scores (means over folds, then seeds), their standard deviation over folds and over
        seeds, ``interval`` (bootstrap by speaker), ``per_class``, ``confusion``, ``labels``, ``folds``, ``speakers``,
        ``sexes``, ``corpora``, ``calibration`` and ``selective``.  Per-class scores and the confusion matrix are
        pooled over folds and seeds.

        ``calibration`` has the ``ece`` and ``nll`` of the uncalibrated probabilities, the ``temperature`` fitted to all
        of them, and ``ece_tempered``, the ECE with the temperature of each fold fitted to the other folds; the last two
        are None with a single fold.  Each corpus has its own ``ece`` and ``ece_tempered``.

        ``selective`` describes abstention after temperature scaling: the ``target``, the ``threshold`` that meets it
        for new speakers (`emovox.lab.evaluation.selective.threshold_for`) or, where several corpora were left out
        whole, for new corpora (`threshold_for_corpora`; None if none does), its ``coverage`` and
        ``accuracy``, and ``cross_fitted``, the same with temperature and threshold from the other folds, overall and
        for each of ``sexes``, ``corpora`` and ``labels`` (None with a single fold); the ``curve`` of
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
    pooled = metrics.summary(
        predictions["label"].to_numpy(str),
        predictions["predicted"].to_numpy(str),
        labels,
        probabilities(predictions, labels),
    )
    held_out = _cross_fitted(predictions, labels, target) if predictions["fold"].nunique() > 1 else None
    temperature = fit_temperature(probabilities(predictions, labels), _truth(predictions, labels)) if held_out else None
    return {
        **_headline(folds),
        "interval": _interval(predictions, labels),
        "n": int(len(predictions) / predictions["seed"].nunique()),
        "labels": list(labels),
        "per_class": pooled["per_class"],
        "confusion": pooled["confusion"],
        "folds": folds,
        "speakers": _grouped(predictions, "speaker", labels),
        "sexes": _grouped(predictions, "sex", labels),
        "corpora": _corpora(predictions, labels, held_out),
        "calibration": {
            **{name: pooled[name] for name in ("ece", "nll")},
            "ece_tempered": metrics.ece(held_out.tempered, _truth(predictions, labels)) if held_out else None,
            "temperature": temperature,
        },
        "selective": _selective(predictions, labels, target, temperature or 1.0, held_out),
    }


def _headline(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the main scores over folds, then over seeds; tell how they vary over both, None for a single one."""
    table = pd.DataFrame(folds)
    by_seed, by_fold = table.groupby("seed")[list(HEADLINE)].mean(), table.groupby("fold")["uar"].mean()
    return {
        **{name: float(by_seed[name].mean()) for name in HEADLINE},
        "aggregation": "mean over folds, then over seeds",
        "sd_folds": float(by_fold.std(ddof=1)) if len(by_fold) > 1 else None,
        "sd_seeds": float(by_seed["uar"].std(ddof=1)) if len(by_seed) > 1 else None,
    }


def probabilities(predictions: pd.DataFrame, labels: Sequence[str]) -> Array:
    """Return the class probabilities of a table of predictions, shape (n, n_labels)."""
    return predictions[[f"p_{label}" for label in labels]].to_numpy(np.float64)


def _short(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Compute the main scores of some rows."""
    full = metrics.summary(rows["label"].to_numpy(str), rows["predicted"].to_numpy(str), labels)
    return {"n": len(rows), **{name: full[name] for name in HEADLINE}}


def _grouped(predictions: pd.DataFrame, column: str, labels: Sequence[str]) -> dict[str, Any]:
    """Compute the main scores of each speaker, sex or corpus; rows without one are excluded."""
    known = predictions[predictions[column] != ""]
    groups = {str(name): _short(rows, labels) for name, rows in known.groupby(column)}
    if column == "speaker":
        sex = known.groupby("speaker")["sex"].first().to_dict()
        groups = {name: {"sex": sex[name], **scores} for name, scores in groups.items()}
    return groups


def _interval(predictions: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any] | None:
    """Bootstrap the pooled UAR over speakers; None with unknown speakers or fewer than two."""
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
class _CrossFitted:
    """Calibrated probabilities and threshold of each clip, with parameters fitted to the other folds."""

    tempered: Array
    threshold: Array


def _cross_fitted(predictions: pd.DataFrame, labels: Sequence[str], target: float) -> _CrossFitted:
    """Fit temperature and threshold of each fold to the other folds."""
    given, truth = probabilities(predictions, labels), _truth(predictions, labels)
    folds = predictions["fold"].to_numpy(str)
    tempered, threshold = np.empty_like(given), np.full(len(given), np.inf)
    for fold in np.unique(folds):
        here = folds == fold
        temperature = fit_temperature(given[~here], truth[~here])
        tempered[here] = temper(given[here], temperature)
        others = temper(given[~here], temperature).max(axis=1)
        found = _threshold(predictions[~here], others, target)
        if found is not None:
            threshold[here] = found
    return _CrossFitted(tempered, threshold)


def _corpora(predictions: pd.DataFrame, labels: Sequence[str], held_out: _CrossFitted | None) -> dict[str, Any]:
    """Score each corpus, calibration included."""
    groups = _grouped(predictions, "corpus", labels)
    given, truth = probabilities(predictions, labels), _truth(predictions, labels)
    for name, scores in groups.items():
        here = predictions["corpus"].to_numpy(str) == name
        scores["ece"] = metrics.ece(given[here], truth[here])
        scores["ece_tempered"] = metrics.ece(held_out.tempered[here], truth[here]) if held_out else None
    return groups


def _selective(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    target: float,
    temperature: float,
    held_out: _CrossFitted | None,
) -> dict[str, Any]:
    """Describe abstention: the threshold of the exported model, and its cross-fitted coverage and accuracy."""
    confidence, right = temper(probabilities(predictions, labels), temperature).max(axis=1), _right(predictions)
    threshold = _threshold(predictions, confidence, target)
    unbiased = None
    if held_out:
        unseen = held_out.tempered.max(axis=1)
        unbiased = {
            **selective.outcome(unseen, right, held_out.threshold),
            **{
                name: {
                    str(one): selective.outcome(unseen[rows], right[rows], held_out.threshold[rows])
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
        "cross_fitted": unbiased,
        "aurc": selective.aurc(confidence, right),
        "curve": selective.risk_coverage(confidence, right),
    }


def _threshold(predictions: pd.DataFrame, confidence: Array, target: float) -> float | None:
    """Choose a threshold for new speakers or, if corpora were left out whole, for new corpora."""
    whole = predictions.groupby("corpus")["fold"].nunique()
    if len(whole) > 1 and whole.max() == 1:
        return selective.threshold_for_corpora(
            confidence, _right(predictions), predictions["corpus"].to_numpy(str), accuracy=target
        )
    return selective.threshold_for(
        confidence, _right(predictions), predictions["speaker"].to_numpy(str), accuracy=target
    )


def _truth(predictions: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the index of the true label of each clip."""
    return pd.Index(labels).get_indexer(pd.Index(predictions["label"]))


def _right(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which predictions are correct."""
    return np.asarray(predictions["predicted"].to_numpy(str) == predictions["label"].to_numpy(str))
