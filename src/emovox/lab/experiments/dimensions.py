"""Emotion dimensions put beside the classes of a model, or by themselves: trained, scored by speaker, in one file."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.model_selection import GroupKFold

from emovox import __version__
from emovox.errors import CorpusError, InputError, ModelError
from emovox.lab.corpora import registry
from emovox.lab.corpora.table import Corpus, combine
from emovox.lab.estimators.dimension_head import DimensionHead, HeadOptions
from emovox.lab.estimators.graphs import OPSET
from emovox.lab.evaluation import dimensions as scores
from emovox.lab.experiments.dataset import Progress, features_of
from emovox.lab.extraction.cache import FeatureCache
from emovox.model.file import CARD_KEY, INPUT, CorpusSummary, Model, ModelCard, load
from emovox.session import sealed
from emovox.storage import replacing
from emovox.types import FeatureSpec, Float32Array, Float64Array

#: Words for how strongly something is expressed, as the readers of corpora write them, on a scale from 0 to 1.
WORDS = {"low": 0.0, "mild": 0.0, "normal": 0.0, "medium": 0.5, "moderate": 0.5, "strong": 1.0, "high": 1.0}
#: Speaker folds of the evaluation, and those inside its training speakers on which a setting is chosen, at most.
FOLDS, INNER_FOLDS = 6, 3
#: What is chosen among; the first where there are too few speakers to choose.
SETTINGS = (
    HeadOptions(),
    HeadOptions(learning_rate=3e-4),
    HeadOptions(epochs=100, learning_rate=3e-4),
    HeadOptions(epochs=200, learning_rate=1e-3),
    HeadOptions(epochs=300, learning_rate=1e-3, decay=10.0),
)
#: Labels that have no strength: they are no part of what is learnt about it.
UNEXPRESSED = ("neutral",)


def targets(table: pd.DataFrame, names: Sequence[str]) -> Float64Array:
    """Read dimensions from the columns of a corpus table, shape (n, d); NaN where a cell is empty.

    A column holds numbers, or the words of :data:`WORDS`.  The intensity of what is neutral is not known.

    Raises
    ------
    CorpusError
        There is no such column, it is empty, or a cell is neither.

    Examples
    --------
    >>> table = pd.DataFrame({"label": ["sad", "sad"], "arousal": ["0.25", ""], "intensity": ["strong", "normal"]})
    >>> targets(table, ["arousal", "intensity"]).tolist()
    [[0.25, 1.0], [nan, 0.0]]
    """
    columns = []
    for name in names:
        if name not in table:
            raise CorpusError(
                f"no column {name!r}: a manifest has one a dimension, and this has {', '.join(map(str, table.columns))}"
            )
        values = np.array([_number(cell, name) for cell in table[name]])
        if name == "intensity":
            values[table["label"].isin(UNEXPRESSED)] = np.nan
        if np.isnan(values).all():
            raise CorpusError(f"column {name!r} is empty: it must hold numbers")
        columns.append(values)
    return np.stack(columns, axis=1)


def _number(cell: str, name: str) -> float:
    if not cell:
        return math.nan
    try:
        value = WORDS[cell] if cell in WORDS else float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise CorpusError(f"{name} is {cell!r}: expected a number, or one of {', '.join(WORDS)}")
    return value


def run(
    model: Path | str | None,
    roots: Mapping[str, Path],
    names: Sequence[str],
    out: Path,
    *,
    alone: bool = False,
    options: HeadOptions | None = None,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Train dimensions over the front end of a model, score them by speaker folds, and write them into one file.

    Parameters
    ----------
    model : path or str
        Model file, run folder or built-in name; it must take one vector of features a clip.
    roots : mapping of str to Path
        Corpora or manifests by name.
    names : sequence of str
        Dimensions, columns of the corpora.
    out : Path
        The file; an existing one is replaced.
    alone : bool, default False
        Whether the file has dimensions only, and not the classes of the model.
    options : HeadOptions, optional
        Of the regression; by default they are chosen among :data:`SETTINGS`, by the mean CCC on held-out speakers.
        Each fold of the evaluation chooses by its own training speakers, so that no speaker is scored who took part in
        the choice.
    cache, jobs, progress
        As for :func:`emovox.lab.experiments.experiment.run`.

    Returns
    -------
    dict
        By dimension what :func:`emovox.lab.evaluation.dimensions.score` gives; and ``corpora``, ``folds``, ``setting``
        (the options of the regression), ``settings_of_folds`` (those that each fold of the evaluation chose).

    Raises
    ------
    ModelError
        The model takes no such vector, or has dimensions already.
    CorpusError
        A column is missing or wrong, or speakers are not known.
    """
    base = load(model)
    _require_vectors(base, alone=alone)
    corpora = tuple(registry.load(name, root) for name, root in roots.items())
    table, y, rows, skipped = _material(corpora, names, base, cache, jobs, progress)
    speakers = table["speaker"].to_numpy(str)
    settings = SETTINGS if options is None else (options,)
    found, of_folds = _held_out(rows, y, speakers, settings)
    setting = _chosen(rows, y, speakers, settings)
    results: dict[str, Any] = {
        **{name: scores.score(y[:, index], found[:, index], speakers) for index, name in enumerate(names)},
        "setting": dataclasses.asdict(setting),
        "settings_of_folds": [dataclasses.asdict(one) for one in of_folds],
        "folds": len(of_folds),
        "corpora": sorted(roots),
        "speaker_independent": True,
        "skipped": skipped,
    }
    described = tuple(_described(one, table[table["corpus"] == one.name], names) for one in corpora)
    head = DimensionHead(setting).fit(rows, y)
    write(base, head, names, results, described, out, alone=alone)
    return results


def _material(
    corpora: Sequence[Corpus],
    names: Sequence[str],
    base: Model,
    cache: FeatureCache | None,
    jobs: int,
    progress: Progress,
) -> tuple[pd.DataFrame, Float64Array, Float32Array, list[str]]:
    """Return table, targets and features of the clips with a rating, and the lines on those that cannot be read."""
    table = combine(corpora)
    y, paths = targets(table, names), [path for corpus in corpora for path in corpus.paths()]
    there: NDArray[np.bool_] = np.asarray(~np.isnan(y).all(axis=1))
    table, y = table.loc[there], y[there]
    chosen = [path for path, keep in zip(paths, there, strict=True) if keep]
    X, kept, skipped = features_of(chosen, table, base.card.features, cache, jobs, progress)
    return table.loc[kept], y[kept], np.asarray(X), skipped


def _described(corpus: Corpus, rows: pd.DataFrame, names: Sequence[str]) -> CorpusSummary:
    """Describe a corpus for the card, by its clips that took part."""
    licence = corpus.licence or "not stated"
    return CorpusSummary(corpus.name, licence, len(rows), int(rows["speaker"].nunique()), tuple(names))


def _require_vectors(base: Model, *, alone: bool) -> None:
    if list(base.inputs) != [INPUT] or not base.takes_vectors:
        raise ModelError(f"model {base.card.name!r} takes no vector of features a clip: name another, such as default")
    if base.card.dimensions and not alone:
        raise ModelError(f"model {base.card.name!r} has dimensions already: {', '.join(base.card.dimensions)}")


def _held_out(
    X: Float32Array, y: Float64Array, speakers: NDArray[np.str_], settings: Sequence[HeadOptions]
) -> tuple[Float64Array, list[HeadOptions]]:
    """Predict each clip by a regression that has not heard its speaker; return what each fold chose too."""
    count = len(np.unique(speakers))
    if (speakers == "").any() or count < 2:
        raise CorpusError("dimensions are scored on speakers that were not heard: name the speaker of every clip")
    found, chosen = np.empty(y.shape), []
    for train, test in GroupKFold(min(FOLDS, count)).split(X, groups=speakers):
        chosen.append(_chosen(X[train], y[train], speakers[train], settings))
        found[test] = DimensionHead(chosen[-1]).fit(X[train], y[train]).predict(X[test])
    return found, chosen


def _chosen(
    X: Float32Array, y: Float64Array, speakers: NDArray[np.str_], settings: Sequence[HeadOptions]
) -> HeadOptions:
    """Choose the setting with the highest mean CCC on speakers that are held out; the first where there are too few."""
    count = len(np.unique(speakers))
    if len(settings) == 1 or count < 2:
        return settings[0]
    folds = list(GroupKFold(min(INNER_FOLDS, count)).split(X, groups=speakers))
    means = []
    for one in settings:
        found = np.empty(y.shape)
        for train, test in folds:
            found[test] = DimensionHead(one).fit(X[train], y[train]).predict(X[test])
        known = ~np.isnan(y)
        means.append(np.mean([scores.ccc(t[k], f[k]) for t, f, k in zip(y.T, found.T, known.T, strict=True)]))
    return settings[int(np.argmax(means))]


def write(
    base: Model,
    head: DimensionHead,
    names: Sequence[str],
    results: Mapping[str, Any],
    corpora: tuple[CorpusSummary, ...],
    out: Path,
    *,
    alone: bool,
) -> Model:
    """Write a head beside the classes of a model, or by itself, and read the file again to compare it.

    Raises
    ------
    ModelError
        The file gives other numbers than the head.
    """
    told = {"dimensions": {key: value for key, value in results.items() if key != "skipped"}}
    nodes, tensors, output = head.nodes()
    if alone:
        features = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", base.card.features.dimension])
        body = helper.make_graph(nodes, "dimensions", [features], [output], tensors)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSET.items() if not domain]
        graph = helper.make_model(body, opset_imports=opsets, ir_version=8)
        card = _card(names, base.card.features, corpora, told)
    else:
        graph = onnx.load_model_from_string(base.content)
        graph.graph.node.extend(nodes)
        graph.graph.initializer.extend(tensors)
        graph.graph.output.append(output)
        evaluation = {**base.card.evaluation, **told}
        card = dataclasses.replace(base.card, dimensions=tuple(names), evaluation=evaluation)
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card.to_dict())})
    content = sealed(graph.SerializeToString())
    model = Model(content, str(out))
    rows = np.random.default_rng(0).standard_normal((5, len(head.mean_))).astype(np.float32) * head.scale_ + head.mean_
    if not np.allclose(np.asarray(model.run(rows).dimensions), head.predict(rows), atol=1e-3):
        raise ModelError(f"{out} gives other dimensions than the regression: this must not happen, please report it")
    with replacing(out) as part:
        part.write_bytes(content)
    return model


def _card(
    names: Sequence[str], features: FeatureSpec, corpora: tuple[CorpusSummary, ...], told: Mapping[str, Any]
) -> ModelCard:
    """Return the card of a file with dimensions only."""
    if not names:
        raise InputError("no dimension is named: name a column of the corpus")
    return ModelCard(
        name="-".join(names),
        family="dimension-head",
        labels=(),
        features=features,
        corpora=corpora,
        licence=f"inherited from the training data: {', '.join(sorted({one.licence for one in corpora}))}",
        evaluation=told,
        intended_use="Research on recordings of acted or expressive speech.",
        limitations="Trained on acted speech: what actors do when they are told to be strong.",
        software=__version__,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        dimensions=tuple(names),
    )
