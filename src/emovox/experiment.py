"""An experiment: corpora -> features -> folds -> scores -> one model file and a run folder."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

import emovox
from emovox import audio
from emovox.corpora import registry, splits
from emovox.corpora.protocol import Protocol, verify
from emovox.corpora.table import Corpus, combine
from emovox.errors import CorpusError, EmovoxError, FeatureError, InputError
from emovox.evaluation import report
from emovox.evaluation.scores import score
from emovox.features import sets
from emovox.features.cache import FeatureCache
from emovox.features.extraction import Stretch, extract_many
from emovox.labels import ordered
from emovox.models.artifact import Model
from emovox.models.crossfit import Clips, Task, fit_many
from emovox.models.export import export
from emovox.recipe import Recipe, to_toml
from emovox.recognizer import EmotionRecognizer
from emovox.types import RATE, CorpusSummary, FeatureSpec, Float, ModelCard

#: Told how far a stage is: its name, what is done and how much there is.
Tell = Callable[[str, int, int], None]

INTENDED_USE = (
    "Research and assistive software on recordings of acted or expressive speech. The label is the emotion that the "
    "voice expresses, not what the person feels."
)
LIMITATIONS = (
    "Trained on acted speech of few speakers; expect lower accuracy on spontaneous speech, other languages, other "
    "microphones and other ages. Inferring emotions of people at work or in education is prohibited in the European "
    "Union (Regulation 2024/1689, Article 5(1)(f))."
)


@dataclass(frozen=True, eq=False)
class Data:
    """Clips with their features, row by row.

    Attributes
    ----------
    table : DataFrame
        Corpus table.
    X : ndarray of float32, shape (n_clips, n_features)
        Features of the same rows.
    spec : FeatureSpec
        How they were made.
    corpora : tuple of Corpus
        Where they come from.
    skipped : tuple of str
        Clips that could not be analysed, with the reason.
    """

    table: pd.DataFrame
    X: Float
    spec: FeatureSpec
    corpora: tuple[Corpus, ...]
    skipped: tuple[str, ...]

    @property
    def y(self) -> NDArray[np.str_]:
        """Labels."""
        return self.table["label"].to_numpy(str)

    @property
    def speakers(self) -> NDArray[np.str_] | None:
        """Speakers, None unless all are known."""
        speakers = self.table["speaker"].to_numpy(str)
        return None if (speakers == "").any() else speakers


def run(
    recipe: Recipe,
    roots: Mapping[str, Path],
    out: Path,
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    tell: Tell = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Evaluate by the recipe's protocol, then fit on everything, export and report.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    roots : mapping of str to Path
        Folder or manifest of each corpus that the recipe names.
    out : Path
        Run folder to make.  It appears whole, or not at all.
    cache : FeatureCache, optional
        Where features are kept; the default is the user's cache.
    jobs : int, default -1
        Processes; -1 is one a core.
    tell : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    dict
        What ``metrics.json`` holds.

    Raises
    ------
    InputError
        A corpus, a clip or the protocol does not allow the experiment, or `out` exists already.
    """
    if out.exists():
        raise InputError(f"{out} exists already: give another folder with --out, or remove it")
    data = load(recipe, roots, cache=cache, jobs=jobs, tell=tell)
    protocol = verify(splits.by_name(recipe.protocol.name, data.table, recipe.protocol.seeds[0]), data.table)
    predictions, final = train(recipe, data, protocol, jobs=jobs, tell=tell)
    labels = ordered(data.y)
    results = {
        "recipe": recipe.name,
        "family": recipe.family,
        "features": recipe.features["set"],
        "protocol": {
            "name": protocol.name,
            "folds": len(protocol.folds),
            "speaker_independent": protocol.speaker_independent,
            "text_independent": protocol.text_independent,
            "note": protocol.note,
            "seeds": list(recipe.protocol.seeds),
        },
        **score(predictions, labels),
        "corpora_used": [dataclasses.asdict(one) for one in summaries(data)],
        "skipped": list(data.skipped),
        "software": emovox.__version__,
    }
    partial = out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write_run(partial, recipe, data, predictions, results, final)
        partial.replace(out)
    except OSError as error:
        raise InputError(f"cannot write the run folder {out}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return results


def load(
    recipe: Recipe,
    roots: Mapping[str, Path],
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    tell: Tell = lambda stage, done, total: None,
) -> Data:
    """Read the recipe's corpora and compute their features.

    A clip that cannot be analysed is left out and listed; more than one in ten is an error, because then the corpus is
    not what the recipe means.
    """
    missing = [name for name in recipe.corpora if name not in roots]
    if missing:
        raise CorpusError(
            f"recipe {recipe.name!r} needs corpus {missing[0]!r}: say where it is with --corpus {missing[0]}=DIR"
        )
    unused = [name for name in roots if name not in recipe.corpora]
    if unused:
        raise CorpusError(
            f"recipe {recipe.name!r} does not use corpus {unused[0]!r}: it uses {', '.join(recipe.corpora)}"
        )
    corpora = tuple(
        select(registry.load(name, roots[name], **part.options), part.labels) for name, part in recipe.corpora.items()
    )
    spec = recipe.feature_spec()
    table = combine(corpora)
    paths = [path for corpus in corpora for path in corpus.paths()]
    X, kept, skipped = features_of(paths, table, spec, cache, jobs, tell)
    if len(skipped) > len(paths) / 10:
        raise CorpusError(f"{len(skipped)} of {len(paths)} clips cannot be analysed, the first: {skipped[0]}")
    return Data(table[kept], X, spec, corpora, tuple(skipped))


def features_of(
    paths: Sequence[Path], table: pd.DataFrame, spec: FeatureSpec, cache: FeatureCache | None, jobs: int, tell: Tell
) -> tuple[Float, NDArray[np.bool_], list[str]]:
    """Compute the features of a table's rows; say which rows have some, and why the others have none."""
    if (level := sets.get(spec.set).level) != "clip":
        raise FeatureError(
            f"feature set {spec.set!r} is of level {level!r}, and this model needs one vector a clip: "
            "choose another with features.set"
        )
    return _rows(extract_many(_stretches(paths, table), spec, cache or FeatureCache(), jobs, tell))


def recognised(
    model: Model, paths: Sequence[Path], table: pd.DataFrame, jobs: int, tell: Tell
) -> tuple[Float, NDArray[np.bool_], list[str]]:
    """Recognise a table's rows clip by clip, in windows as `emovox predict` does; say why some have no answer."""
    recognizer = EmotionRecognizer(model)

    def recognise(path: Path, start: float, end: float) -> Float | str:
        try:
            waveform = audio.read(path, start=start, end=None if np.isinf(end) else end)
            prediction = recognizer.predict_array(waveform.samples, RATE, str(path))
        except EmovoxError as error:
            return str(error)
        return np.array([prediction.probabilities[label] for label in model.card.labels], dtype=np.float32)

    stretches = _stretches(paths, table)
    results: list[Float | str] = []
    # Threads share one session of the graph, and it computes without holding the interpreter.
    parallel = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")
    for one in parallel(delayed(recognise)(*stretch) for stretch in stretches):
        results.append(one)
        tell("clips", len(results), len(stretches))
    return _rows(results)


def _stretches(paths: Sequence[Path], table: pd.DataFrame) -> list[Stretch]:
    """Return file, start and end of a table's rows."""
    starts, ends = (table.index.get_level_values(name) for name in ("start", "end"))
    return list(zip(paths, starts, ends, strict=True))


def _rows(results: Sequence[Float | str]) -> tuple[Float, NDArray[np.bool_], list[str]]:
    """Stack what there is, one row a clip; say which clips have a row, and why the others have none."""
    kept = np.array([not isinstance(one, str) for one in results])
    skipped = [one for one in results if isinstance(one, str)]
    if not kept.any():
        raise CorpusError(f"none of {len(results)} clips can be analysed, the first: {skipped[0]}")
    return np.stack([one for one in results if not isinstance(one, str)]), kept, skipped


def select(corpus: Corpus, labels: Sequence[str]) -> Corpus:
    """Keep the clips with these labels; none named keeps all."""
    unknown = [label for label in labels if label not in set(corpus.table["label"])]
    if unknown:
        raise CorpusError(
            f"corpus {corpus.name!r} has no label {unknown[0]!r}: it has {', '.join(ordered(corpus.table['label']))}"
        )
    if not labels:
        return corpus
    return dataclasses.replace(corpus, table=corpus.table[corpus.table["label"].isin(labels)])


def train(recipe: Recipe, data: Data, protocol: Protocol, *, jobs: int, tell: Tell) -> tuple[pd.DataFrame, Any]:
    """Fit every fold with every seed, and the model of all clips, side by side.

    Returns
    -------
    predictions : DataFrame
        One row a tested clip and seed.
    final : Pipeline
        Fitted on every clip that takes part in the protocol, with the first seed.
    """
    labels = ordered(data.y)
    clips = Clips(data.X, data.y, data.speakers, data.table["corpus"].to_numpy(str))
    seeds = recipe.protocol.seeds
    where = [(seed, fold) for seed in seeds for fold in protocol.folds]
    tasks = [Task(recipe.family, recipe.options(seed), fold.train, fold.test) for seed, fold in where]
    everything = Task(recipe.family, recipe.options(seeds[0]), protocol.clips, None)
    *tested, final = fit_many(clips, [*tasks, everything], jobs, tell)
    frames = [
        _predictions(data.table.iloc[fold.test], seed, fold.name, found, classes, labels)
        for (seed, fold), (found, classes) in zip(where, tested, strict=True)
    ]
    return pd.concat(frames, ignore_index=True), final


def _predictions(
    table: pd.DataFrame, seed: int, fold: str, found: Float, classes: NDArray[np.str_], labels: Sequence[str]
) -> pd.DataFrame:
    """Put the test rows of one fold beside what was predicted for them."""
    columns = dict(zip(classes.tolist(), found.T, strict=True))
    frame = table[["corpus", "speaker", "sex", "label"]].reset_index()
    frame.insert(0, "fold", fold)
    frame.insert(0, "seed", seed)
    frame["predicted"] = classes[found.argmax(axis=1)]
    for label in labels:
        frame[f"p_{label}"] = columns.get(label, np.zeros(len(frame)))
    return frame


def summaries(data: Data) -> tuple[CorpusSummary, ...]:
    """Describe the corpora of an experiment for the model card."""
    result = []
    for corpus in data.corpora:
        rows = data.table[data.table["corpus"] == corpus.name]
        result.append(
            CorpusSummary(
                name=corpus.name,
                licence=corpus.licence or "not stated",
                clips=len(rows),
                speakers=int((rows["speaker"].unique() != "").sum()),
                labels=ordered(rows["label"]),
            )
        )
    return tuple(result)


def model_card(recipe: Recipe, data: Data, results: Mapping[str, Any]) -> ModelCard:
    """Write the card of the model that is fitted on everything."""
    corpora = summaries(data)
    restricted = any("NC" in corpus.licence for corpus in corpora)
    licences = ", ".join(sorted({corpus.licence for corpus in corpora}))
    kept = ("uar", "wa", "macro_f1", "precision", "recall", "sd_folds", "sd_seeds", "interval", "n")
    return ModelCard(
        name=recipe.name,
        family=recipe.family,
        labels=ordered(data.y),
        features=data.spec,
        corpora=corpora,
        licence=("non-commercial use only; " if restricted else "") + f"inherited from the training data: {licences}",
        evaluation={
            "protocol": results["protocol"],
            **{key: results[key] for key in kept},
            "corpora": results["corpora"],
            "sexes": results["sexes"],
            "per_class": results["per_class"],
            "calibration": results["calibration"],
        },
        recipe=recipe.complete(),
        intended_use=INTENDED_USE,
        limitations=LIMITATIONS,
        software=emovox.__version__,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def write_run(
    folder: Path,
    recipe: Recipe,
    data: Data,
    predictions: pd.DataFrame,
    results: Mapping[str, Any],
    final: Any,
) -> Model:
    """Write model, metrics, predictions, recipe and report."""
    (folder / "metrics.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    predictions.to_csv(folder / "predictions.csv", index=False, float_format="%.5f", lineterminator="\n")
    # A temperature learnt from out-of-speaker predictions holds for new voices; one from leaking folds would not.
    fitted = results["calibration"]["temperature"] if results["protocol"]["speaker_independent"] else None
    example = data.X[:: max(1, len(data.X) // 64)]
    model = export(final, model_card(recipe, data, results), folder / "model.onnx", example, temperature=fitted or 1.0)
    report.write(folder, results, predictions, model.card)
    return model


def evaluate(
    model: Model,
    roots: Mapping[str, Path],
    *,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    tell: Tell = lambda stage, done, total: None,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a finished model on whole corpora, which it should not have been trained on.

    Parameters
    ----------
    model : Model
        Read with `emovox.models.artifact.load`.
    roots : mapping of str to Path
        Corpora by name.
    cache, jobs, tell
        As for :func:`run`.

    Returns
    -------
    metrics : dict
        As :func:`emovox.evaluation.scores.score` gives them; ``protocol`` says whether the model was trained on a
        corpus of that name.
    predictions : DataFrame
        One row a clip.
    """
    labels = model.card.labels
    corpora = tuple(registry.load(name, root) for name, root in roots.items())
    table = combine(corpora)
    known = table["label"].isin(labels).to_numpy()
    if not known.any():
        raise CorpusError(f"no clip has a label that {model.card.name!r} knows: it knows {', '.join(labels)}")
    paths = [path for corpus in corpora for path in corpus.paths()]
    chosen = [path for path, keep in zip(paths, known, strict=True) if keep]
    if model.takes_samples:
        found, usable, skipped = recognised(model, chosen, table[known], jobs, tell)
    else:
        X, usable, skipped = features_of(chosen, table[known], model.card.features, cache, jobs, tell)
        found = model.probabilities(X)
    predictions = _predictions(table[known][usable], 0, "all", found, np.array(labels), labels)
    seen = sorted({corpus.name for corpus in model.card.corpora} & {corpus.name for corpus in corpora})
    note = (
        f"The model was trained on {', '.join(seen)}: this is not a score on unseen voices."
        if seen
        else "No corpus of these names was in the model's training data."
    )
    protocol = {"name": "whole corpora", "folds": 1, "speaker_independent": not seen, "note": note, "seeds": [0]}
    left_out = [f"{int((~known).sum())} clips have labels that the model does not know"] if (~known).any() else []
    return {
        "model": model.card.name,
        "protocol": protocol,
        **score(predictions, labels),
        "skipped": left_out + skipped,
    }, predictions
