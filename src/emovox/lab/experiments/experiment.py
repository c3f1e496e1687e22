"""Experiments: evaluation by folds, a final model, and a run folder with model, metrics and report."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox import __version__
from emovox.errors import CorpusError
from emovox.lab.corpora import registry, splits
from emovox.lab.corpora.protocol import Protocol, verify
from emovox.lab.corpora.table import combine
from emovox.lab.estimators import families
from emovox.lab.evaluation import raters
from emovox.lab.evaluation.costs import graph_costs
from emovox.lab.evaluation.scores import probabilities, score
from emovox.lab.experiments.crossfit import Machines, Trained, predictions_of, train
from emovox.lab.experiments.dataset import (
    Data,
    Progress,
    features_of,
    load,
    shown_clips,
    stretches_of,
    summaries,
)
from emovox.lab.experiments.recipe import Recipe, to_toml
from emovox.lab.experiments.settings import answers, recognised, told
from emovox.lab.export.export import export
from emovox.lab.extraction import content
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.reports import report
from emovox.model.file import Model, ModelCard
from emovox.model.profiles import Profile
from emovox.outputs.formats import write_csv
from emovox.storage import creating_folder, require_new
from emovox.text.words import NAMES, VERSION
from emovox.types import ordered

#: What may be known besides the clip, by its key in the results.
KNOWN = ("enrolled", "setting", "setting_enrolled")

#: Protocol by which models are calibrated for strangers.
CROSS_CORPUS = "cross-corpus"

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
    machines: Machines | None = None,
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
    machines : Machines, optional
        Where the models are fitted, instead of here.

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
    promise = splits.cross_corpus(data.table, every_label=True) if wanted.promise else None
    trained = train(
        recipe,
        data,
        protocol,
        promise,
        jobs=jobs,
        keep_folds=keep_folds,
        progress=progress,
        kept=kept,
        machines=machines,
    )
    results = _results(recipe, data, protocol, promise, trained)
    with creating_folder(out) as part:
        write_run(part, recipe, data, trained, results)
    shutil.rmtree(kept, ignore_errors=True)
    return results


def _results(
    recipe: Recipe, data: Data, protocol: Protocol, promise: Protocol | None, trained: Trained
) -> dict[str, Any]:
    """Gather what ``metrics.json`` holds."""
    labels, seeds = ordered(data.y), recipe.protocol.seeds
    promised: dict[str, Any] = {}
    if promise:
        promised = {
            "protocol": _described(promise, seeds[:1]),
            **score(trained.promised["predictions"], labels),
            **known_scores(trained.promised, recipe, labels),
        }
    return {
        "recipe": recipe.name,
        "family": recipe.family,
        "features": data.spec.set,
        "protocol": _described(protocol, seeds),
        **score(trained.predictions, labels),
        **known_scores(trained.known, recipe, labels),
        **({"promise": promised} if promised else {}),
        **({"members": dict(trained.members)} if trained.members else {}),
        **({"importance": dict(trained.importance)} if trained.importance else {}),
        **agreement_with_people(trained.predictions, labels),
        "learning_curves": list(trained.curves),
        "costs": {"fit_seconds": trained.seconds},
        "corpora_used": [dataclasses.asdict(one) for one in summaries(data)],
        "skipped": list(data.skipped),
        "software": __version__,
    }


def agreement_with_people(predictions: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Score the agreement with raters, where the corpora have their votes; empty otherwise."""
    shares = raters.votes(predictions, labels)
    return {} if shares is None else {"raters": raters.agreement(shares, probabilities(predictions, labels))}


def checkpoints(out: Path) -> Path:
    """Return the folder of the checkpoints of an experiment, until its run folder is complete.

    An interrupted training is resumed if the same experiment is run with the same `out`.

    Examples
    --------
    >>> checkpoints(Path("runs/mine")).name
    'mine.checkpoints'
    """
    return out.with_name(out.name + ".checkpoints")


def known_scores(tables: Mapping[str, pd.DataFrame], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
    """Score predictions with baselines by what is known, see `crossfit.Fitted.known`; empty without baselines.

    ``clips`` is the number of clips heard, neutral ones of the speaker (`enrolled`) or any of the setting.
    """
    counts: dict[str, dict[str, int]] = {
        "enrolled": {"clips": recipe.protocol.enrol},
        "setting": {"clips": recipe.protocol.heard},
        "setting_enrolled": {"clips": recipe.protocol.heard, "speaker_clips": recipe.protocol.enrol},
    }
    return {name: {**counts[name], **score(tables[name], labels)} for name in counts if name in tables}


def _described(protocol: Protocol, seeds: Sequence[int]) -> dict[str, Any]:
    """Describe a protocol."""
    return {
        "name": protocol.name,
        "folds": len(protocol.folds),
        "speaker_independent": protocol.speaker_independent,
        "text_independent": protocol.text_independent,
        "note": protocol.note,
        "seeds": list(seeds),
    }


def model_card(recipe: Recipe, data: Data, results: Mapping[str, Any]) -> ModelCard:
    """Return the card of the final model."""
    corpora = summaries(data)
    restricted = any("NC" in corpus.licence for corpus in corpora)
    licences = ", ".join(sorted({corpus.licence for corpus in corpora}))
    calibration, known, neutral = _calibrating(results)
    kept = ("uar", "wa", "macro_f1", "precision", "recall", "sd_folds", "sd_seeds", "interval", "n")
    return ModelCard(
        name=recipe.name,
        family=recipe.family,
        labels=ordered(data.y),
        features=data.spec,
        threshold=_threshold(calibration),
        known_threshold=_threshold(known) if known else None,
        neutral_threshold=_threshold(neutral) if neutral else None,
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
            **{name: results[name] for name in ("importance", "raters") if name in results},
            **{name: _short(results[name], kept) for name in KNOWN if name in results},
            **({"promise": _promise(results["promise"])} if "promise" in results else {}),
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


def _calibrating(results: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """Return the scores that a model is calibrated by: nothing, a setting, and neutral clips of the speaker known.

    Each has its ``protocol``; those of what nobody measured are empty.  Neutral clips are without a setting: the model
    has one threshold for them, whether a setting is known besides or not.
    """
    source = results.get("promise", results)
    neutral = source.get("enrolled", {})
    known = source.get("setting", neutral)
    return source, *({**one, "protocol": source["protocol"]} if one else {} for one in (known, neutral))


def _threshold(scores: Mapping[str, Any]) -> float:
    """Return the threshold of abstention; 0 if the protocol is not speaker-independent.

    Where whole corpora were left out and none keeps the promise, nothing is answered.
    """
    if not scores["protocol"]["speaker_independent"]:
        return 0.0
    found = scores["selective"]["threshold"]
    if found is None:
        return 1.0 if scores["protocol"]["name"] == CROSS_CORPUS else 0.0
    return float(found)


def _temperature(scores: Mapping[str, Any]) -> float:
    """Return the temperature of some scores, or 1 if there are none or the folds leak speakers."""
    if not scores or not scores["protocol"]["speaker_independent"]:
        return 1.0
    return scores["calibration"]["temperature"] or 1.0


def _short(known: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """Return the scores with baselines that are part of a card."""
    further = ("clips", "speaker_clips", *kept, "corpora", "per_class", "calibration")
    return {key: known[key] for key in further if key in known}


def _promise(promise: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says of the protocol that the model is calibrated by."""
    kept = ("protocol", "clips", "speaker_clips", "uar", "n", "calibration", "selective", *KNOWN)
    return {key: _promise(promise[key]) if key in KNOWN else promise[key] for key in kept if key in promise}


def write_run(folder: Path, recipe: Recipe, data: Data, trained: Trained, results: dict[str, Any]) -> Model:
    """Write model, metrics with costs, predictions, recipe and report."""
    (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    for name, table in {"predictions": trained.predictions, **trained.known}.items():
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
    calibration, known, neutral = _calibrating(results)
    return export(
        pipeline,
        card,
        path,
        data.X[:: max(1, len(data.X) // 64)],
        temperature=_temperature(calibration),
        known_temperature=_temperature(known),
        neutral_temperature=_temperature(neutral),
        int8=recipe.export.int8,
        clips=shown_clips(data) if recipe.export.int8 else (),
    )


def evaluate(
    model: Model,
    roots: Mapping[str, Path],
    *,
    setting: Profile | str | None = None,
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
    setting : Profile or "auto", optional
        Setting of the clips; ``"auto"`` takes each corpus as its own, unlabelled.
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
        found, usable, skipped = recognised(model, chosen, table[known], jobs, progress, setting)
    else:
        X, usable, skipped = features_of(chosen, table[known], model.card.features, cache, jobs, progress)
        found = answers(model, np.asarray(X), table["corpus"][known][usable].to_numpy(str), setting)
    predictions = predictions_of(table[known][usable], 0, "all", found, np.array(labels), labels)
    stretches = [one for one, there in zip(stretches_of(chosen, table[known]), usable, strict=True) if there]
    heard = content.listen(stretches, jobs, progress, (cache or FeatureCache()).folder)
    unseen, note = _acquaintance(model.card, roots, heard)
    note += told(setting)
    if model.card.text:
        note += " It was given no words: this is the voice alone."
    protocol = {"name": "whole corpora", "folds": 1, "speaker_independent": unseen, "note": note, "seeds": [0]}
    left_out = [f"{int((~known).sum())} clips have labels that the model does not know"] if (~known).any() else []
    return {
        "model": model.card.name,
        "protocol": protocol,
        **score(predictions, labels),
        "skipped": left_out + skipped,
        "partly_read": [one.partly for one in heard if one.partly],
    }, predictions


def _acquaintance(card: ModelCard, names: Iterable[str], heard: Sequence[content.Heard]) -> tuple[bool, str]:
    """Say whether a model was trained on clips: by their sound where its card tells it, and by the names of corpora."""
    named = sorted({corpus.name for corpus in card.corpora} & set(names))
    known = content.unpacked(card.training_digest)
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
