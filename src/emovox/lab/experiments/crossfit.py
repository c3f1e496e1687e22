"""Parallel fitting of the models of all folds and seeds and of the final model, and their predictions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from emovox.batch.plan import Engine, gathered
from emovox.errors import InputError, ProtocolError
from emovox.features import sets
from emovox.lab.corpora.protocol import Fold, Protocol
from emovox.lab.corpora.table import RESERVED
from emovox.lab.estimators import families
from emovox.lab.estimators.adaptive import ORDINARY
from emovox.lab.estimators.estimator import Options, learner
from emovox.lab.estimators.progress import EpochLog, followed
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.evaluation.importance import over_folds, permuted
from emovox.lab.evaluation.scores import score
from emovox.lab.experiments.dataset import Data, Progress
from emovox.lab.experiments.recipe import Recipe
from emovox.lab.extraction import content
from emovox.recognition.workers import Work
from emovox.types import JOINT, FeatureSpec, Float32Array, ordered

#: No rows.
NONE: NDArray[np.intp] = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Task:
    """One model to fit.

    Attributes
    ----------
    family : str
        Model family.
    options : dataclass
        Its options, with the seed.
    train : ndarray of int
        Rows to fit on.
    test : ndarray of int or None
        Rows to predict, or None.
    enrolled, heard : ndarray of int
        Test rows that are the baseline of their speaker, and of their setting (the corpus), for estimators with
        baselines.
    keep : bool
        Whether to return the fitted pipeline.
    name : str
        Name in progress messages.
    features : tuple of str
        Names of the features, if their importance is wanted.
    """

    family: str
    options: Options
    train: NDArray[np.intp]
    test: NDArray[np.intp] | None
    enrolled: NDArray[np.intp] = dataclasses.field(default_factory=lambda: NONE)
    heard: NDArray[np.intp] = dataclasses.field(default_factory=lambda: NONE)
    keep: bool = False
    name: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Fitted:
    """Result of a task.

    Attributes
    ----------
    classes : ndarray of str
        Order of the probabilities.
    probabilities : ndarray of float32, shape (n_test, n_classes)
        Predictions for the test rows, if any.
    known : mapping of str to ndarray
        Predictions with a baseline of the speaker (``"enrolled"``), of the setting (``"setting"``) and of both
        (``"setting_enrolled"``); NaN for clips without one and for those in it.  Empty without baselines.
    pipeline : Pipeline or None
        Fitted pipeline, if `Task.keep`.
    curves : list of list of dict
        Learning curve of each network; empty for estimators without epochs.
    seconds : float
        Time of the fit.
    parts : mapping of str to ndarray
        Predictions of each member, see `Estimator.parts`.
    importance : mapping of str to float
        Loss in UAR on the test rows without each group of descriptors, see :mod:`emovox.lab.evaluation.importance`.
    """

    classes: NDArray[np.str_]
    probabilities: Float32Array
    known: Mapping[str, Float32Array] = dataclasses.field(default_factory=dict)
    pipeline: Pipeline | None = None
    curves: list[list[dict[str, Any]]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    parts: Mapping[str, Float32Array] = dataclasses.field(default_factory=dict)
    importance: Mapping[str, float] = dataclasses.field(default_factory=dict)


def fit_many(
    clips: TrainingSet,
    tasks: Sequence[Task],
    jobs: int = -1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    machines: Machines | None = None,
) -> list[Fitted]:
    """Fit models in parallel; models that fine-tune an encoder use all cores and are fitted sequentially.

    Parameters
    ----------
    clips : TrainingSet
        Clips of all tasks.
    tasks : sequence of Task
        Models to fit.
    jobs : int, default -1
        Number of processes; -1 is one per core.
    progress : callable, optional
        Progress callback, called with ("training", done, total) and after each epoch.
    machines : Machines, optional
        Where to fit, instead of in processes here.

    Returns
    -------
    list of Fitted
        One entry per task.

    Raises
    ------
    InputError
        The cluster is gone, or the model fine-tunes an encoder, which machines cannot share.
    """
    if machines:
        found = {}
        for number, fitted in machines.fit(clips, tasks):
            found[number] = fitted
            progress("training", len(found), len(tasks))
        return [found[number] for number in range(len(tasks))]
    results: list[Fitted] = []
    work: Iterable[Fitted]
    if clips.speech is not None:
        work = (fit_one(clips, task) for task in tasks)
    else:
        work = Parallel(n_jobs=jobs, return_as="generator")(delayed(fit_one)(clips, task) for task in tasks)
    with followed(_log(clips), sum(task.options.planned_epochs for task in tasks), progress):
        for result in work:
            results.append(result)
            progress("training", len(results), len(tasks))
    return results


@dataclass(frozen=True)
class _Fitting:
    """Makes what fits a model of some clips, in a process on another machine; both go there as bytes."""

    clips: bytes

    def __call__(self) -> Work[bytes, bytes]:
        import cloudpickle  # of the [cluster] extra

        clips = cloudpickle.loads(self.clips)
        return lambda task, tell: cloudpickle.dumps(fit_one(clips, cloudpickle.loads(task)))


class Machines:
    """Fits models elsewhere; the clips are sent once, as long as they are the same.

    Parameters
    ----------
    start : callable
        Returns the engine (`emovox.batch.plan`) for what is done in each of its processes.
    """

    def __init__(self, start: Callable[[Callable[[], Work[bytes, bytes]]], Engine[bytes, bytes]]) -> None:
        self._start = start
        self._engine: Engine[bytes, bytes] | None = None
        self._clips = b""

    def fit(self, clips: TrainingSet, tasks: Sequence[Task]) -> Iterator[tuple[int, Fitted]]:
        """Fit models, and yield each with its number as it comes.

        Raises
        ------
        InputError
            The engine is gone, or the clips have waveforms.
        """
        import cloudpickle

        engine = self._ready(clips)
        for number, found in gathered(engine, map(cloudpickle.dumps, tasks)):
            yield number, cloudpickle.loads(found)

    def _ready(self, clips: TrainingSet) -> Engine[bytes, bytes]:
        """Return the engine that has these clips."""
        if clips.speech is not None:
            raise InputError("--on: a model that tunes its encoder is fitted on one machine: leave --on out")
        import cloudpickle

        content = cloudpickle.dumps(dataclasses.replace(clips, kept=None))  # a folder of this machine
        if self._engine is None or content != self._clips:
            self.close()
            self._engine, self._clips = self._start(_Fitting(content)), content
        return self._engine

    def close(self) -> None:
        """Let go of the engine."""
        if self._engine is not None:
            self._engine.close(wait=False)
        self._engine = None


def fit_one(clips: TrainingSet, task: Task) -> Fitted:
    """Fit one model; scaler, early stopping and calibration use its training rows only.

    Raises
    ------
    ProtocolError
        A test row is among the training rows.
    """
    if task.test is not None and np.intersect1d(task.train, task.test).size:
        raise ProtocolError("a test clip is among the training clips: this must not happen, please report it")
    log, begin = _log(clips), time.perf_counter()
    logged = dataclasses.replace(clips, on_epoch=lambda epoch: log.write({"task": task.name, **epoch}))
    pipeline = families.fit(families.build(task.family, task.options), logged[task.train])
    seconds = time.perf_counter() - begin
    test = np.empty(0, dtype=np.intp) if task.test is None else task.test
    model = learner(pipeline)
    X = model.features(clips[test])
    return Fitted(
        classes=pipeline.classes_,
        probabilities=pipeline.predict_proba(X) if len(test) else np.empty((0, 0), dtype=np.float32),
        known=_known(model, clips[test], X, np.isin(test, task.enrolled), np.isin(test, task.heard)),
        pipeline=pipeline if task.keep else None,
        curves=model.curves,
        parts=model.parts(X) if len(test) else {},
        seconds=seconds,
        importance=_importance(pipeline, X, clips.y[test], task.features),
    )


def _importance(pipeline: Pipeline, X: Any, y: NDArray[Any], names: tuple[str, ...]) -> dict[str, float]:
    """Measure what the descriptors do for the test rows; nothing where the model takes something else besides."""
    if not len(y) or not isinstance(X, np.ndarray) or X.shape[1:] != (len(names),):
        return {}
    return permuted(pipeline.predict, X, y, names)


def _log(clips: TrainingSet) -> EpochLog:
    return EpochLog(clips.kept / "epochs.jsonl" if clips.kept else None)


def _known(
    model: Any, clips: TrainingSet, X: Any, enrolled: NDArray[np.bool_], heard: NDArray[np.bool_]
) -> dict[str, Float32Array]:
    """Predict test clips with baselines of those that are `enrolled` for their speaker and `heard` of their setting."""
    if not model.takes_baseline or clips.speakers is None or not (enrolled.any() or heard.any()):
        return {}
    values, corpora = model.values(X), np.full(len(clips), "") if clips.corpora is None else clips.corpora
    wanted = {"enrolled": (False, True), "setting": (True, False), "setting_enrolled": (True, True)}
    found = {name: np.full((len(clips), len(model.classes_)), np.nan, dtype=np.float32) for name in wanted}
    for corpus, speaker in sorted(set(zip(corpora.tolist(), clips.speakers.tolist(), strict=True))):
        there, voice = values[heard & (corpora == corpus)], values[enrolled & (clips.speakers == speaker)]
        own = (corpora == corpus) & (clips.speakers == speaker)
        for name, (of_setting, of_speaker) in wanted.items():
            if (of_setting and not len(there)) or (of_speaker and not len(voice)):
                continue
            rows = own & ~(heard & of_setting) & ~(enrolled & of_speaker)
            # Who is enrolled is enrolled with neutral clips, see `enrolment`.
            baseline = model.baseline(there if of_setting else None, voice if of_speaker else None, neutral=of_speaker)
            found[name][rows] = model.predict_proba(X[rows], baseline)
    return {name: answers for name, answers in found.items() if not np.isnan(answers).all()}


@dataclass(frozen=True, eq=False)
class Trained:
    """Result of training.

    Attributes
    ----------
    predictions : DataFrame
        One row per tested clip and seed.
    known : mapping of str to DataFrame
        The same with baselines, for models that use them, without the clips in them; see `Fitted.known`.
    promised : mapping of str to DataFrame
        Predictions of the protocol that the model is calibrated by, ``"predictions"`` and those of `known`; empty where
        it is that of the scores.
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
    importance : mapping of str to dict
        Loss in UAR without each group of descriptors, ``loss`` and ``sd`` over folds and seeds; empty for models whose
        features are no descriptors.
    """

    predictions: pd.DataFrame
    known: Mapping[str, pd.DataFrame]
    promised: Mapping[str, pd.DataFrame]
    final: Any
    folds: Mapping[str, Any]
    curves: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0
    members: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    digest: str = ""
    importance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def train(
    recipe: Recipe,
    data: Data,
    protocol: Protocol,
    promise: Protocol | None = None,
    *,
    jobs: int,
    progress: Progress,
    keep_folds: bool = False,
    kept: Path | None = None,
    machines: Machines | None = None,
) -> Trained:
    """Fit all folds with all seeds, those of `promise` with the first one, and the final model.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    data : Data
        Its clips.
    protocol, promise : Protocol
        Evaluation protocol, and that of the calibration, if it is another one.
    jobs, progress, machines
        As for :func:`fit_many`.
    keep_folds : bool, default False
        Whether to return the models of the folds with the first seed.
    kept : Path, optional
        Folder of checkpoints.
    """
    labels, seeds = ordered(data.y), recipe.protocol.seeds
    where = [(seed, fold) for seed in seeds for fold in protocol.folds]
    further = [(seeds[0], fold) for fold in promise.folds] if promise else []
    tasks = [_task(recipe, data, seed, fold, keep=keep_folds and seed == seeds[0]) for seed, fold in where]
    tasks += [_task(recipe, data, seed, fold, name="promise, ") for seed, fold in further]
    everything = Task(recipe.family, recipe.options(seeds[0]), protocol.clips, None, keep=True, name="all clips")
    clips = data.training_set(jobs, progress, kept)
    *fits, final = fit_many(clips, [*tasks, everything], jobs, progress, machines)
    tested, rest = fits[: len(where)], fits[len(where) :]
    promised = [_possible(data, fold, found) for (_, fold), found in zip(further, rest, strict=True)]
    known = _gathered(data, where, tested, labels)
    return Trained(
        known.pop("predictions"),
        known,
        {name: _evenly(table) for name, table in _gathered(data, further, promised, labels).items()},
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
        over_folds(found.importance for found in tested),
    )


def _task(recipe: Recipe, data: Data, seed: int, fold: Fold, *, keep: bool = False, name: str = "") -> Task:
    """Return the model of one fold."""
    enrolled = heard = NONE
    if families.family(recipe.family).takes_baseline:
        enrolled = enrolment(data, fold.test, recipe.protocol.enrol, seed)
        heard = settings(data, fold.test, recipe.protocol.heard, seed)
    options = recipe.options(seed)
    title = f"{name}seed {seed}, {fold.name}"
    names = () if name else descriptors(data.spec)
    return Task(recipe.family, options, fold.train, fold.test, enrolled, heard, keep=keep, name=title, features=names)


def descriptors(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the names of features that are descriptors of clips; none for embeddings, frames and stacks."""
    if spec.set in (JOINT, sets.ENCODER) or sets.get(spec.set).pretrained or sets.get(spec.set).level != "clip":
        return ()
    return sets.feature_names(spec)


def enrolment(data: Data, test: NDArray[np.intp], clips: int, seed: int) -> NDArray[np.intp]:
    """Draw the neutral clips to enrol, of each test speaker with more than `clips` of them.

    Returns
    -------
    ndarray of int
        Rows of the data.
    """
    if data.speakers is None:
        return NONE
    rng = np.random.default_rng(seed)
    drawn = []
    for speaker in np.unique(data.speakers[test]):
        own = test[(data.speakers[test] == speaker) & (data.y[test] == ORDINARY)]
        if len(own) > clips:
            drawn.append(rng.choice(own, clips, replace=False))
    return np.sort(np.concatenate(drawn)) if drawn else NONE


def settings(data: Data, test: NDArray[np.intp], clips: int, seed: int) -> NDArray[np.intp]:
    """Draw the clips, of any label, that are heard of each test corpus: so many, at most half of it.

    Returns
    -------
    ndarray of int
        Rows of the data.
    """
    rng, corpora = np.random.default_rng(seed), data.table["corpus"].to_numpy(str)[test]
    drawn = []
    for corpus in np.unique(corpora):
        own = test[corpora == corpus]
        drawn.append(rng.choice(own, min(clips, len(own) // 2), replace=False))
    return np.sort(np.concatenate(drawn))


def _gathered(
    data: Data, where: Sequence[tuple[int, Fold]], fits: Sequence[Fitted], labels: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """Return the tables of predictions of some folds, by what is known."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for (seed, fold), found in zip(where, fits, strict=True):
        table = data.table.iloc[fold.test]
        for name, answers in {"predictions": found.probabilities, **found.known}.items():
            given = ~np.isnan(answers[:, 0])
            rows = predictions_of(table[given], seed, fold.name, answers[given], found.classes, labels)
            parts.setdefault(name, []).append(rows)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def _possible(data: Data, fold: Fold, found: Fitted) -> Fitted:
    """Leave labels that the tested corpora lack out of the answers."""
    corpora = data.table["corpus"].to_numpy(str)
    there = np.isin(found.classes, data.y[np.isin(corpora, corpora[fold.test])])

    def among(answers: Float32Array) -> Float32Array:
        some = answers * there
        return np.asarray(some / some.sum(axis=1, keepdims=True), dtype=np.float32)

    known = {name: among(answers) for name, answers in found.known.items()}
    return dataclasses.replace(found, probabilities=among(found.probabilities), known=known)


def _evenly(predictions: pd.DataFrame) -> pd.DataFrame:
    """Draw as many clips of each corpus, so that large ones do not decide a calibration alone."""
    smallest = int(predictions["corpus"].value_counts().min())
    drawn = predictions.groupby("corpus").sample(smallest, random_state=0)
    return drawn.sort_index().reset_index(drop=True)


def _member_scores(
    name: str, data: Data, where: Sequence[tuple[int, Fold]], tested: Sequence[Fitted], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Score one member of a stack on the test clips of all folds."""
    tables = [
        predictions_of(data.table.iloc[fold.test], seed, fold.name, found.parts[name], found.classes, labels)
        for (seed, fold), found in zip(where, tested, strict=True)
    ]
    scores = score(pd.concat(tables, ignore_index=True), labels)
    return {key: scores[key] for key in ("uar", "wa", "macro_f1", "sd_folds", "sd_seeds")}


def predictions_of(
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
