"""Experiments: evaluation by folds, a final model, and a run folder with model, metrics and report."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.errors import CorpusError
from emovox.lab.corpora import registry, splits
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.table import RESERVED, combine
from emovox.lab.estimators import families
from emovox.lab.estimators.adaptive import ORDINARY
from emovox.lab.evaluation.costs import graph_costs
from emovox.lab.evaluation.scores import score
from emovox.lab.experiments.crossfit import Fitted, Task, fit_many
from emovox.lab.experiments.dataset import (
    Data,
    Progress,
    features_of,
    load,
    recognised,
    shown_clips,
    stretches_of,
    summaries,
)
from emovox.lab.experiments.recipe import Recipe, to_toml
from emovox.lab.export.export import export
from emovox.lab.extraction import content
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.extraction.extraction import Stretch
from emovox.lab.reports import report
from emovox.labels import ordered
from emovox.model.card import ModelCard
from emovox.model.file import Model
from emovox.outputs.lines import write_csv
from emovox.text.evidence import NAMES, VERSION
from emovox.types import Float32Array
from emovox.version import __version__
from emovox.writing import creating_folder, require_new

#: No rows.
NOBODY: NDArray[np.intp] = np.empty(0, dtype=np.intp)

INTENDED_USE = (
    "Research and assistive software on recordings of acted or expressive speech. The label is the emotion that the "
    "voice expresses, not what the person feels."
)
LIMITATIONS = (
    "Trained on acted speech of few speakers; expect lower accuracy on spontaneous speech, other languages, other "
    "microphones and other ages. Inferring emotions of people at work or in education is prohibited in the European "
    "Union (Regulation 2024/1689, Article 5(1)(f))."
)


def run(
    recipe: Recipe,
    roots: Mapping[str, Path],
    out: Path,
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    keep_folds: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Evaluate a recipe by its protocol, then train on all clips, export and report.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    roots : mapping of str to Path
        Folder or manifest of each corpus of the recipe.
    out : Path
        Run folder, created atomically.
    cache : FeatureCache, optional
        Where features are kept; the default is the user's cache.
    jobs : int, default -1
        Number of processes; -1 is one per core.
    keep_folds : bool, default False
        Also write the model of each fold with the first seed as ``folds/NAME.onnx``, for further tests on the test
        speakers of the folds.
    progress : callable, optional
        Progress callback: stage, done, total.

    Returns
    -------
    dict
        Content of ``metrics.json``.

    Raises
    ------
    InputError
        A corpus or clip is invalid, the protocol is impossible, or `out` exists.
    """
    require_new(out)
    data = load(recipe, roots, cache=cache, jobs=jobs, progress=progress)
    wanted = recipe.protocol
    protocol = verify(splits.by_name(wanted.name, data.table, wanted.seeds[0], wanted.tested), data.table)
    kept = checkpoints(out)
    trained = train(recipe, data, protocol, jobs=jobs, keep_folds=keep_folds, progress=progress, kept=kept)
    labels = ordered(data.y)
    results = {
        "recipe": recipe.name,
        "family": recipe.family,
        "features": data.spec.set,
        "protocol": {
            "name": protocol.name,
            "folds": len(protocol.folds),
            "speaker_independent": protocol.speaker_independent,
            "text_independent": protocol.text_independent,
            "note": protocol.note,
            "seeds": list(recipe.protocol.seeds),
        },
        **score(trained.predictions, labels),
        **enrolled_scores(trained, recipe, labels),
        **({"members": dict(trained.members)} if trained.members else {}),
        "learning_curves": list(trained.curves),
        "costs": {"fit_seconds": trained.seconds},
        "corpora_used": [dataclasses.asdict(one) for one in summaries(data)],
        "skipped": list(data.skipped),
        "software": __version__,
    }
    with creating_folder(out) as part:
        write_run(part, recipe, data, trained, results)
    shutil.rmtree(kept, ignore_errors=True)
    return results


def checkpoints(out: Path) -> Path:
    """Return the folder of the checkpoints of an experiment, until its run folder is complete.

    An interrupted training is resumed if the same experiment is run with the same `out`.

    Examples
    --------
    >>> checkpoints(Path("runs/mine")).name
    'mine.checkpoints'
    """
    return out.with_name(out.name + ".checkpoints")


@dataclass(frozen=True, eq=False)
class Trained:
    """Result of training.

    Attributes
    ----------
    predictions : DataFrame
        One row per tested clip and seed.
    enrolled : DataFrame or None
        Predictions with baselines of the test speakers, for models that use one; without the enrolled clips.
    final : Pipeline
        Model trained on all clips of the protocol, with the first seed.
    folds : mapping of str to Pipeline
        Models of the folds with the first seed, if they are kept.
    curves : tuple of dict
        Learning curve of each network of each fold: ``seed``, ``fold``, ``member`` and ``epochs``, which
        :attr:`emovox.lab.estimators.estimator.Estimator.curves` describes.
    seconds : float
        Mean time of the fit of a fold.
    members : mapping of str to dict
        Scores of each member of a stack, and of their mean: ``uar``, ``wa``, ``macro_f1``, ``sd_folds``.
    digest : str
        What tells which clips `final` was fitted on, see :func:`emovox.lab.extraction.content.packed`.
    """

    predictions: pd.DataFrame
    enrolled: pd.DataFrame | None
    final: Any
    folds: Mapping[str, Any]
    curves: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0
    members: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    digest: str = ""


def train(
    recipe: Recipe,
    data: Data,
    protocol: Protocol,
    *,
    jobs: int,
    progress: Progress,
    keep_folds: bool = False,
    kept: Path | None = None,
) -> Trained:
    """Fit all folds with all seeds, and the final model; `kept` is the folder of checkpoints."""
    labels = ordered(data.y)
    clips = data.training_set(jobs, progress, kept)
    seeds = recipe.protocol.seeds
    where = [(seed, fold) for seed in seeds for fold in protocol.folds]
    tasks = [
        Task(
            recipe.family,
            recipe.options(seed),
            fold.train,
            fold.test,
            enrolment(data, fold.test, recipe.protocol.enrol, seed) if takes_baseline(recipe) else NOBODY,
            keep=keep_folds and seed == seeds[0],
            name=f"seed {seed}, {fold.name}",
        )
        for seed, fold in where
    ]
    everything = Task(recipe.family, recipe.options(seeds[0]), protocol.clips, None, keep=True, name="all clips")
    *tested, final = fit_many(clips, [*tasks, everything], jobs, progress)
    plain, enrolled = [], []
    for (seed, fold), task, found in zip(where, tasks, tested, strict=True):
        table = data.table.iloc[fold.test]
        plain.append(_predictions(table, seed, fold.name, found.probabilities, found.classes, labels))
        if found.enrolled is not None:
            known = ~np.isin(fold.test, task.enrolled) & ~np.isnan(found.enrolled[:, 0])
            enrolled.append(_predictions(table[known], seed, fold.name, found.enrolled[known], found.classes, labels))
    return Trained(
        pd.concat(plain, ignore_index=True),
        pd.concat(enrolled, ignore_index=True) if enrolled else None,
        final.pipeline,
        {fold.name: found.pipeline for (_, fold), found in zip(where, tested, strict=True) if found.pipeline},
        tuple(
            {"seed": seed, "fold": fold.name, "member": member, "epochs": epochs}
            for (seed, fold), found in zip(where, tested, strict=True)
            for member, epochs in enumerate(found.curves)
        ),
        float(np.mean([found.seconds for found in tested])),
        {name: _member_scores(name, data, where, tested, labels) for name in tested[0].parts},
        content.packed(data.table["content"].iloc[protocol.clips].tolist()) if "content" in data.table else "",
    )


def _member_scores(
    name: str, data: Data, where: Sequence[tuple[int, Fold]], tested: Sequence[Fitted], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Score one member of a stack on the test clips of all folds."""
    tables = [
        _predictions(data.table.iloc[fold.test], seed, fold.name, found.parts[name], found.classes, labels)
        for (seed, fold), found in zip(where, tested, strict=True)
    ]
    scores = score(pd.concat(tables, ignore_index=True), labels)
    return {key: scores[key] for key in ("uar", "wa", "macro_f1", "sd_folds", "sd_seeds")}


def takes_baseline(recipe: Recipe) -> bool:
    """Return whether the model of a recipe uses baselines of speakers."""
    return families.family(recipe.family).takes_baseline


def enrolment(data: Data, test: NDArray[np.intp], clips: int, seed: int) -> NDArray[np.intp]:
    """Draw the neutral clips to enrol, of each test speaker with more than `clips` of them.

    Returns
    -------
    ndarray of int
        Rows of the data.
    """
    if data.speakers is None:
        return NOBODY
    rng = np.random.default_rng(seed)
    drawn = []
    for speaker in np.unique(data.speakers[test]):
        own = test[(data.speakers[test] == speaker) & (data.y[test] == ORDINARY)]
        if len(own) > clips:
            drawn.append(rng.choice(own, clips, replace=False))
    return np.sort(np.concatenate(drawn)) if drawn else NOBODY


def enrolled_scores(trained: Trained, recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
    """Score the predictions with baselines; empty for models without."""
    if trained.enrolled is None:
        return {}
    return {"enrolled": {"clips": recipe.protocol.enrol, **score(trained.enrolled, labels)}}


def _predictions(
    table: pd.DataFrame, seed: int, fold: str, found: Float32Array, classes: NDArray[np.str_], labels: Sequence[str]
) -> pd.DataFrame:
    """Return the test rows of one fold with their predictions."""
    columns = dict(zip(classes.tolist(), found.T, strict=True))
    frame = table[["corpus", "speaker", "sex", "label"]].reset_index()
    further = [column for column in table.columns if column not in RESERVED]
    frame.insert(0, "fold", fold)
    frame.insert(0, "seed", seed)
    frame["predicted"] = classes[found.argmax(axis=1)]
    for label in labels:
        frame[f"p_{label}"] = columns.get(label, np.zeros(len(frame)))
    for column in further:
        if column not in frame:
            frame[column] = table[column].to_numpy()
    return frame


def model_card(recipe: Recipe, data: Data, results: Mapping[str, Any]) -> ModelCard:
    """Return the card of the final model."""
    corpora = summaries(data)
    restricted = any("NC" in corpus.licence for corpus in corpora)
    licences = ", ".join(sorted({corpus.licence for corpus in corpora}))
    kept = ("uar", "wa", "macro_f1", "precision", "recall", "sd_folds", "sd_seeds", "interval", "n")
    return ModelCard(
        name=recipe.name,
        family=recipe.family,
        labels=ordered(data.y),
        features=data.spec,
        threshold=_threshold(results),
        corpora=corpora,
        licence=("non-commercial use only; " if restricted else "") + f"inherited from the training data: {licences}",
        evaluation={
            "protocol": results["protocol"],
            **{key: results[key] for key in kept},
            "folds": results["folds"],
            "corpora": results["corpora"],
            "sexes": results["sexes"],
            "per_class": results["per_class"],
            "calibration": results["calibration"],
            "selective": results["selective"],
            **({"enrolled": _short(results["enrolled"], kept)} if "enrolled" in results else {}),
        },
        recipe=recipe.complete(),
        text=text_card(recipe),
        intended_use=INTENDED_USE,
        limitations=LIMITATIONS,
        software=__version__,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def text_card(recipe: Recipe) -> dict[str, Any]:
    """Return the entry of the card on words; empty for models without words."""
    if not families.family(recipe.family).takes_words:
        return {}
    return {
        "method": recipe.family.removeprefix("fusion-"),
        "columns": list(NAMES),
        "version": VERSION,
        **recipe.words.model_dump(),
        "note": "The transcriber is not in this file: without one, or without words, the voice answers alone.",
    }


def _threshold(results: Mapping[str, Any]) -> float:
    """Return the threshold of abstention; 0 if the protocol is not speaker-independent."""
    return results["selective"]["threshold"] or 0.0 if results["protocol"]["speaker_independent"] else 0.0


def _short(enrolled: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """Return the scores with baselines that are part of a card."""
    return {key: enrolled[key] for key in ("clips", *kept, "corpora", "per_class", "calibration")}


def write_run(folder: Path, recipe: Recipe, data: Data, trained: Trained, results: dict[str, Any]) -> Model:
    """Write model, metrics with costs, predictions, recipe and report."""
    (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    for name, table in (("predictions", trained.predictions), ("enrolled", trained.enrolled)):
        if table is not None:
            write_csv(table, folder / f"{name}.csv")
    card = dataclasses.replace(model_card(recipe, data, results), training_digest=trained.digest)
    model = _export(trained.final, card, folder / "model.onnx", recipe, data, results)
    results["costs"] = {**results["costs"], **graph_costs(model, folder / "model.onnx")}
    (folder / "metrics.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, pipeline in trained.folds.items():
        (folder / "folds").mkdir(exist_ok=True)
        limited = dataclasses.replace(card, name=f"{card.name}, fold {name}", evaluation={}, training_digest="")
        _export(pipeline, limited, folder / "folds" / f"{name.replace('/', '-')}.onnx", recipe, data, results)
    report.write(folder, results, trained.predictions, model.card)
    return model


def _export(
    pipeline: Any, card: ModelCard, path: Path, recipe: Recipe, data: Data, results: Mapping[str, Any]
) -> Model:
    """Export one model, calibrated by the temperatures of predictions for held-out speakers."""
    example, temperature = data.X[:: max(1, len(data.X) // 64)], _temperature(results, results["protocol"])
    return export(
        pipeline,
        card,
        path,
        example,
        temperature=temperature,
        enrolled_temperature=_temperature(results.get("enrolled"), results["protocol"]),
        int8=recipe.export.int8,
        clips=shown_clips(data) if recipe.export.int8 else (),
    )


def _temperature(scores: Mapping[str, Any] | None, protocol: Mapping[str, Any]) -> float:
    """Return the temperature of some scores, or 1 if the folds leak speakers."""
    if scores is None or not protocol["speaker_independent"]:
        return 1.0
    return scores["calibration"]["temperature"] or 1.0


def evaluate(
    model: Model,
    roots: Mapping[str, Path],
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Evaluate a model on corpora that it was not trained on.

    Parameters
    ----------
    model : Model
        Loaded with `emovox.model.file.load`.
    roots : mapping of str to Path
        Corpora by name.
    cache, jobs, progress
        As for :func:`run`.

    Returns
    -------
    metrics : dict
        As :func:`emovox.lab.evaluation.scores.score` gives them; ``protocol`` says whether the model was trained on
        these clips, by their sound where its card has digests, or on a corpus of that name.
    predictions : DataFrame
        One row per clip.
    """
    labels = model.card.labels
    corpora = tuple(registry.load(name, root) for name, root in roots.items())
    table = combine(corpora)
    known = table["label"].isin(labels).to_numpy()
    if not known.any():
        raise CorpusError(f"no clip has a label that {model.card.name!r} knows: it knows {', '.join(labels)}")
    paths = [path for corpus in corpora for path in corpus.paths()]
    chosen = [path for path, keep in zip(paths, known, strict=True) if keep]
    if not model.takes_vectors:
        found, usable, skipped = recognised(model, chosen, table[known], jobs, progress)
    else:
        X, usable, skipped = features_of(chosen, table[known], model.card.features, cache, jobs, progress)
        found = model.run(np.asarray(X)).probabilities
    predictions = _predictions(table[known][usable], 0, "all", found, np.array(labels), labels)
    stretches = [one for one, there in zip(stretches_of(chosen, table[known]), usable, strict=True) if there]
    unseen, note = _acquaintance(model.card, roots, stretches, (cache or FeatureCache()).folder, jobs, progress)
    if model.card.text:
        note += " It was given no words: this is the voice alone."
    protocol = {"name": "whole corpora", "folds": 1, "speaker_independent": unseen, "note": note, "seeds": [0]}
    left_out = [f"{int((~known).sum())} clips have labels that the model does not know"] if (~known).any() else []
    return {
        "model": model.card.name,
        "protocol": protocol,
        **score(predictions, labels),
        "skipped": left_out + skipped,
    }, predictions


def _acquaintance(
    card: ModelCard, names: Iterable[str], stretches: Sequence[Stretch], folder: Path, jobs: int, progress: Progress
) -> tuple[bool, str]:
    """Say whether a model was trained on clips: by their sound where its card tells it, and by the names of corpora."""
    named = sorted({corpus.name for corpus in card.corpora} & set(names))
    known = content.unpacked(card.training_digest)
    heard = content.listen(stretches, jobs, progress, folder) if known else []
    same = sum(one.digest[: 2 * content.SHORT] in known for one in heard)
    if same:
        note = f"The model was trained on {same} of these {len(heard)} clips, by their sound"
        return False, f"{note}: this is not a score on unseen voices."
    if named:
        return False, f"The model was trained on {', '.join(named)}: this is not a score on unseen voices."
    if known:
        return (
            True,
            "None of these clips was in the model's training data, by their sound and by the names of the corpora.",
        )
    return True, "No corpus of these names was in the model's training data; its card has no digests of the clips."
