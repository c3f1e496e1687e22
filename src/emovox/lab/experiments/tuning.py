"""Hyper-parameter search with nested cross-validation, scored on unseen speakers."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from joblib import effective_n_jobs
from numpy.typing import NDArray
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from emovox import __version__
from emovox.errors import InputError, ProtocolError, RecipeError
from emovox.lab.corpora import splits
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.evaluation import metrics, paired
from emovox.lab.evaluation.metrics import Counts
from emovox.lab.experiments.crossfit import Fitted, Machines, Task, fit_many
from emovox.lab.experiments.dataset import Data, Progress, load
from emovox.lab.experiments.recipe import Recipe
from emovox.lab.experiments.search_space import TuneRecipe, suggest
from emovox.lab.extraction.cache import FeatureCache
from emovox.types import ordered

Rows = NDArray[np.intp]

#: Note of a trial whose values are incompatible.
IMPOSSIBLE = "impossible"
#: Name of the search on all clips.
EVERYTHING = "all clips"
#: Number of data sets (settings of features and copies) kept in memory; the cache on disk has all.
KEPT = 4
#: Complete trials before pruning starts.
BEFORE_PRUNING = 5
#: Final states of trials.
STATES = ("complete", "pruned", "impossible")


def tune(
    recipe: Recipe,
    roots: Mapping[str, Path],
    storage: str,
    *,
    outer: int | None = None,
    cache: FeatureCache | None = None,
    jobs: int = -1,
    progress: Progress = lambda stage, done, total: None,
    machines: Machines | None = None,
) -> tuple[Recipe, dict[str, Any]]:
    """Search the hyper-parameters in the table ``[tune]`` of a recipe by nested cross-validation.

    For each test part of the protocol, a search on its training part alone scores trials by the inner protocol; the
    best recipe is trained on the training part and scored on the test part.  A final search on all clips gives the
    returned recipe.

    Parameters
    ----------
    recipe : Recipe
        Recipe with a table ``[tune]``.
    roots : mapping of str to Path
        Folder or manifest of each corpus.
    storage : str
        SQLAlchemy URL of the database of trials; the same call, also on other machines with the same database, resumes
        the search.
    outer : int, optional
        Number of test parts to search for, the first ones; 0 gives no outer score.
    cache : FeatureCache, optional
        Feature cache; the default is that of the user.
    jobs : int, default -1
        Number of processes for features, and for the inner folds without pruning; -1 is one per core.  To parallelise
        trials, run the same command several times with the same database.
    progress : callable, optional
        Progress callback: stage, done, total.
    machines : Machines, optional
        Where the models are fitted, instead of here.

    Returns
    -------
    best : Recipe
        Best recipe of the final search, for `emovox.lab.experiments.experiment.run`.
    results : dict
        ``outer``: for each test part ``chosen`` settings, ``inner`` and ``outer`` score (UAR), their difference
        ``optimism``, the score ``untuned`` of the original recipe, and counts of trials; ``inner_score``,
        ``outer_score``, ``optimism`` and ``untuned`` as means over these; ``gain`` of tuning with a bootstrap by
        speaker; ``best``: values and inner score of the final search, and ``history``, its trials.

    Raises
    ------
    RecipeError
        The recipe has no table ``[tune]``, or all trials failed.
    InputError
        A corpus is invalid, the protocol is impossible, or the database cannot be used.
    """
    if recipe.tune is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has nothing to tune: add a table [tune.space] "
            'with lines such as "model.dropout" = [0.0, 0.5]'
        )
    material = _Material(roots, cache, jobs, progress, machines)
    data = material.data(recipe)
    wanted = recipe.protocol
    protocol = verify(splits.by_name(wanted.name, data.table, wanted.seeds[0], wanted.tested), data.table)
    with database():
        return _tune(_Search(recipe, recipe.tune, material, data, storage), protocol, outer, progress)


def _tune(search: _Search, protocol: Protocol, outer: int | None, progress: Progress) -> tuple[Recipe, dict[str, Any]]:
    """Search for each test part, then on all clips."""
    recipe = search.recipe
    parts = protocol.folds if outer is None else protocol.folds[:outer]
    # Impossible inner protocols are detected before the first trial.
    for part in parts:
        search.inner_folds(part.train)
    tested = [_test(search, part, progress) for part in parts]
    study = search.run(EVERYTHING, protocol.clips, progress)
    best = recipe.changed(_settings(study.best_trial, search.tune), EVERYTHING)
    words = f"{recipe.description}; tuned by emovox" if recipe.description else "Tuned by emovox"
    best = best.model_copy(update={"name": f"{recipe.name}-tuned", "description": words})
    return best, _results(search, protocol, tested, study)


@dataclass(frozen=True, eq=False)
class _Tested:
    """Result of a search on unseen speakers."""

    summary: dict[str, Any]
    tuned: Counts | None
    untuned: Counts | None


def _test(search: _Search, part: Fold, progress: Progress) -> _Tested:
    """Search on the training part of a fold; score the best and the original recipe on its test part."""
    study = search.run(part.name, part.train, progress, unseen=part.test)
    chosen = _settings(study.best_trial, search.tune)
    scores, matrices = [], []
    for recipe in (search.recipe.changed(chosen, part.name), search.recipe):
        scored = search.scores(recipe, [part], search.recipe.protocol.seeds)
        scores.append(float(np.mean([one.uar for one in scored])))
        known = [one.by_speaker for one in scored if one.by_speaker is not None]
        matrices.append(np.asarray(np.sum(known, axis=0), dtype=np.int64) if known else None)
    summary = {
        "fold": part.name,
        "inner": float(study.best_value),
        "outer": scores[0],
        "optimism": float(study.best_value) - scores[0],
        "untuned": scores[1],
        "chosen": chosen,
        "trials": counts(study),
    }
    return _Tested(summary, *matrices)


class _Material:
    """Cache of data sets by settings of features and copies, shared by trials."""

    def __init__(
        self,
        roots: Mapping[str, Path],
        cache: FeatureCache | None,
        jobs: int,
        progress: Progress,
        machines: Machines | None,
    ) -> None:
        self.roots, self.cache, self.jobs, self.progress, self.machines = roots, cache, jobs, progress, machines
        self._kept: dict[str, Data] = {}

    def data(self, recipe: Recipe) -> Data:
        """Return the data set of a recipe."""
        parts = [
            [name, part.family, part.model_dump(mode="json", include={"preprocess", "features", "augment"})]
            for name, part in recipe.parts().items()
        ]
        key = json.dumps([recipe.model_dump(mode="json", include={"corpora"}), parts], sort_keys=True)
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = load(recipe, self.roots, cache=self.cache, jobs=self.jobs, progress=self.progress)
        return self._kept[key]


@dataclass(frozen=True, eq=False)
class _Scored:
    """The score of one fitted model."""

    uar: float
    by_speaker: Counts | None = field(default=None)


class _Search:
    """Shared state of the searches of one recipe."""

    def __init__(self, recipe: Recipe, tune: TuneRecipe, material: _Material, data: Data, storage: str) -> None:
        self.recipe, self.tune, self.material, self.data = recipe, tune, material, data
        self.labels = ordered(data.y)
        self.storage = open_storage(storage)
        # Trials of another recipe, other clips or another version are not comparable: they get another study.
        budget = {"trials", "timeout", "pruning"}
        asked = recipe.model_copy(update={"tune": None}).model_dump(mode="json")
        space = {key: value for key, value in tune.plain().items() if key not in budget}
        clips = [list(map(str, row)) for row in data.table.reset_index()[["corpus", "file", "speaker", "label"]].values]
        text = json.dumps([asked, space, clips, __version__], sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:12]

    def inner_folds(self, rows: Rows) -> list[Fold]:
        """Split some rows by the inner protocol; positions refer to all rows."""
        try:
            inner = splits.by_name(self.tune.inner, self.data.table.iloc[rows], self.tune.seed)
        except ProtocolError as error:
            raise ProtocolError(
                f"the training part does not allow the inner protocol ({error}): choose another with tune.inner"
            ) from error
        return [Fold(fold.name, rows[fold.train], rows[fold.test]) for fold in inner.folds]

    def run(self, name: str, rows: Rows, progress: Progress, unseen: Rows | None = None) -> optuna.Study:
        """Search on some rows until the budget is used; existing trials count."""
        folds = self.inner_folds(rows)
        seen = np.unique(np.concatenate([np.concatenate([fold.train, fold.test]) for fold in folds]))
        if unseen is not None and np.intersect1d(seen, unseen).size:
            raise ProtocolError("a search would see a test clip: this must not happen, please report it")
        study = optuna.create_study(
            storage=self.storage,
            study_name=f"{self.recipe.name}/{self.digest}/{name}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING),
            load_if_exists=True,
        )
        self._trials(study, folds, f"trials, {name}", progress)
        if not counts(study)["complete"]:
            reasons = (one.user_attrs[IMPOSSIBLE] for one in study.trials if IMPOSSIBLE in one.user_attrs)
            raise RecipeError(f"no trial of {name} was possible, the first: {next(reasons)}")
        return study

    def _trials(self, study: optuna.Study, folds: Sequence[Fold], stage: str, progress: Progress) -> None:
        begin = time.monotonic()
        while (done := sum(counts(study).values())) < self.tune.trials:
            progress(stage, done, self.tune.trials)
            late = self.tune.timeout is not None and time.monotonic() - begin > self.tune.timeout
            if late and counts(study)["complete"]:
                break
            self._trial(study, folds)
        progress(stage, done, self.tune.trials)

    def _trial(self, study: optuna.Study, folds: Sequence[Fold]) -> None:
        """Run one trial with its own seed, so that resumed and shared searches do not repeat trials."""
        trial = study.ask()
        seed = int(np.random.default_rng([self.tune.seed, trial.number]).integers(2**31))
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        try:
            study.tell(trial, self._objective(trial, folds))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except InputError as error:
            trial.set_user_attr(IMPOSSIBLE, str(error))
            study.tell(trial, state=TrialState.FAIL)
        except BaseException:  # also on Ctrl-C, so that the trial is not left open
            study.tell(trial, state=TrialState.FAIL)
            raise

    def _objective(self, trial: optuna.Trial, folds: Sequence[Fold]) -> float:
        """Return the mean UAR of the inner folds of a trial."""
        recipe = self.recipe.changed(suggest(trial, self.tune.space), f"trial {trial.number}")
        seeds = self.recipe.protocol.seeds[:1]
        if not self.tune.pruning:
            return float(np.mean([one.uar for one in self.scores(recipe, folds, seeds)]))
        scores: list[float] = []
        for step, fold in enumerate(folds):
            scores += [one.uar for one in self.scores(recipe, [fold], seeds)]
            trial.report(float(np.mean(scores)), step)
            if step < len(folds) - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))

    def scores(self, recipe: Recipe, folds: Sequence[Fold], seeds: Sequence[int]) -> list[_Scored]:
        """Fit on the training part of each fold with each seed, and score on the test parts."""
        data = self.material.data(recipe)
        tasks = [
            Task(recipe.family, recipe.options(seed), self._rows(data, fold.train), self._rows(data, fold.test))
            for fold in folds
            for seed in seeds
        ]
        clips = data.training_set(self.material.jobs, self.material.progress)
        jobs = min(len(tasks), effective_n_jobs(self.material.jobs))
        found = fit_many(clips, tasks, jobs, machines=self.material.machines)
        return [self._scored(one, data, task) for one, task in zip(found, tasks, strict=True)]

    def _scored(self, found: Fitted, data: Data, task: Task) -> _Scored:
        test = np.asarray(task.test)
        true, said = data.y[test], found.classes[found.probabilities.argmax(axis=1)]
        matrix = metrics.confusion(true, said, self.labels)
        if data.speakers is None:
            return _Scored(float(metrics.uar(matrix)))
        codes = {label: k for k, label in enumerate(self.labels)}
        rows, columns = (np.array([codes[str(one)] for one in values], dtype=np.intp) for values in (true, said))
        by_speaker = paired.by_group(data.speakers[test], rows, columns, len(self.labels))[1]
        return _Scored(float(metrics.uar(matrix)), by_speaker)

    def _rows(self, data: Data, rows: Rows) -> Rows:
        """Return the rows of clips in another data set, in which clips may be missing."""
        if data is self.data:
            return rows
        found = data.table.index.get_indexer(self.data.table.index[rows])
        return np.asarray(found[found >= 0], dtype=np.intp)


def sqlite(path: Path) -> str:
    """Return the URL of a database in a file.

    Examples
    --------
    >>> sqlite(Path("runs/study.db"))
    'sqlite:///runs/study.db'
    """
    return sqlalchemy.URL.create("sqlite", database=path.as_posix()).render_as_string()


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open the database of the trials, and create its tables if they are missing.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, for example ``sqlite:///study.db`` or ``postgresql://user:password@host/base``.

    Raises
    ------
    InputError
        Invalid URL, missing driver, or unreachable database; the message does not contain the password.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise InputError(
            "--storage is not a database URL: write for example sqlite:///study.db or postgresql://user@host/base"
        ) from None
    try:
        return optuna.storages.RDBStorage(url)
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) and "import" not in str(error).lower():
            raise
        name = getattr(error, "name", None) or "its driver"
        raise InputError(f"the study database {shown} needs {name}, which is not installed: pip install it") from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise InputError(
            f"the study database {shown} cannot be used ({reason}): check that it is reachable, or leave --storage away"
        ) from None


@contextmanager
def database() -> Iterator[None]:
    """Convert errors of the database to one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise InputError(
            "the study database was lost on the way; the trials in it are kept, and the same command goes on from there"
        ) from error


def _settings(trial: optuna.trial.FrozenTrial, tune: TuneRecipe) -> dict[str, Any]:
    """Return the values of a finished trial as changes of the recipe."""
    return suggest(optuna.trial.FixedTrial(trial.params), tune.space)


def counts(study: optuna.Study) -> dict[str, int]:
    """Count the finished trials of a study; interrupted ones are ignored.

    Returns
    -------
    dict
        ``complete``, ``pruned`` and ``impossible`` (incompatible values).
    """
    trials = study.get_trials(deepcopy=False)
    return dict(zip(STATES, (sum(_state(one) == state for one in trials) for state in STATES), strict=True))


def _state(trial: optuna.trial.FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return IMPOSSIBLE if IMPOSSIBLE in trial.user_attrs else "stopped"
    return str(trial.state.name).lower()


def _results(search: _Search, protocol: Protocol, tested: Sequence[_Tested], study: optuna.Study) -> dict[str, Any]:
    """Return the content of the report."""
    parts = [one.summary for one in tested]
    means = {
        name: float(np.mean([part[key] for part in parts])) if parts else None
        for name, key in (
            ("inner_score", "inner"),
            ("outer_score", "outer"),
            ("optimism", "optimism"),
            ("untuned", "untuned"),
        )
    }
    return {
        "recipe": search.recipe.name,
        "protocol": {
            "name": protocol.name,
            "folds": len(protocol.folds),
            "searched": len(parts),
            "speaker_independent": protocol.speaker_independent,
            "note": protocol.note,
            "seeds": list(search.recipe.protocol.seeds),
        },
        "tune": search.tune.plain(),
        "chance": 1 / len(search.labels),
        "outer": parts,
        **means,
        "gain": _gain(tested) if protocol.speaker_independent else None,
        "best": {
            "inner": float(study.best_value),
            "chosen": _settings(study.best_trial, search.tune),
            "trials": counts(study),
        },
        "history": _history(study, search.tune),
        "software": __version__,
    }


def _gain(tested: Sequence[_Tested]) -> dict[str, float] | None:
    """Return the gain of tuning on unseen speakers."""
    pairs = [(one.tuned, one.untuned) for one in tested if one.tuned is not None and one.untuned is not None]
    if not pairs:
        return None
    tuned, untuned = (np.concatenate(side) for side in zip(*pairs, strict=True))
    found = paired.bootstrap_difference(tuned, untuned)
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high, "p": found.p}


def _history(study: optuna.Study, tune: TuneRecipe) -> list[dict[str, Any]]:
    """Return the trials of a study; the score of a pruned one is the mean of its completed folds."""
    rows: list[dict[str, Any]] = []
    for trial in study.trials:
        if _state(trial) in STATES:
            reported = [value for _, value in sorted(trial.intermediate_values.items())]
            value = trial.value if trial.value is not None else next(reversed(reported), None)
            chosen = _settings(trial, tune) if len(trial.params) == len(tune.space) else {}
            rows.append({"number": trial.number, "state": _state(trial), "score": value, "chosen": chosen})
    finished = (float(row["score"]) if row["state"] == "complete" else 0.0 for row in rows)
    best = itertools.accumulate(finished, max)
    return [{**row, "best": value or None} for row, value in zip(rows, best, strict=True)]
