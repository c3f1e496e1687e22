"""Searching settings: nested without a leak, pruned, resumed, shared, reported; bad input."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from emovox.errors import CorpusError, InputError, ProtocolError, RecipeError
from emovox.lab.corpora.splits import by_name
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.experiments import crossfit, dataset, experiment, recipe, tuning
from emovox.lab.experiments.crossfit import Fitted, Task, fit_many
from emovox.lab.experiments.search_space import Choices, Range, dimension, suggest
from emovox.lab.reports import tuning_report
from emovox.model.file import load as load_model
from emovox.text.words import words_vector
from emovox.types import Transcript
from tests.cli import emovox_command
from tests.lab.reports import Page

SPACE: dict[str, Any] = {
    "model.C": {"low": 0.01, "high": 10.0, "log": True},
    "model.gamma": ["scale", 0.01],
}
BASE: dict[str, Any] = {
    "name": "toy",
    "corpora": {"toy": {}},
    "features": {"set": "classic193"},
    "model": {"family": "svm", "calibration_folds": 2},
    "protocol": {"name": "speaker-3"},
}


def toy(space: Any = None, *, base: dict[str, Any] | None = None, **tune: Any) -> recipe.Recipe:
    values = {"trials": 4, "inner": "speaker-2", "space": SPACE if space is None else space, **tune}
    return recipe.validate({**BASE, **(base or {}), "tune": values}, "toy.toml")


class Spy:
    """Fit, and remember what was fitted and tested."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def __call__(self, clips: TrainingSet, tasks: Sequence[Task], *rest: Any, **more: Any) -> list[Fitted]:
        self.tasks += tasks
        return fit_many(clips, tasks, 1)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(tuning, "fit_many", spy)
    return spy


def search(
    manifest: Path, folder: Path, one: recipe.Recipe | None = None, **options: Any
) -> tuple[recipe.Recipe, dict[str, Any]]:
    return tuning.tune(one or toy(), {"toy": manifest}, tuning.sqlite(folder / "study.db"), jobs=1, **options)


def states(folder: Path) -> dict[str, list[str]]:
    """Return the states of the trials of every study in a folder's database, by the name of the test part."""
    storage = tuning.open_storage(tuning.sqlite(folder / "study.db"))
    return {
        one.study_name.split("/")[-1]: [
            trial.state.name for trial in optuna.load_study(study_name=one.study_name, storage=storage).trials
        ]
        for one in optuna.get_all_study_summaries(storage)
    }


# ---- nested ----------------------------------------------------------------------------------------------------------


def test_no_test_speaker_reaches_an_objective(toy_manifest: Path, tmp_path: Path, spy: Spy) -> None:
    one = toy(pruning=False, trials=2)
    _, results = search(toy_manifest, tmp_path, one)
    data = dataset.load(one, {"toy": toy_manifest}, jobs=1)
    speakers = data.table["speaker"].to_numpy(str)
    folds = by_name("speaker-3", data.table, 0).folds
    # Each search: two trials of two inner folds; then the tuned and the untuned recipe on the test part.
    assert len(spy.tasks) == 3 * (2 * 2 + 2) + 2 * 2
    for number, fold in enumerate(folds):
        unseen = set(speakers[fold.test])
        *objectives, tuned, untuned = spy.tasks[6 * number : 6 * number + 6]
        for task in objectives:
            assert task.test is not None
            touched = set(speakers[np.concatenate([task.train, task.test])])
            assert not touched & unseen
            assert not set(speakers[task.train]) & set(speakers[task.test])
        for task in (tuned, untuned):
            np.testing.assert_array_equal(task.train, fold.train)
            np.testing.assert_array_equal(task.test, fold.test)
    assert [part["fold"] for part in results["outer"]] == [fold.name for fold in folds]


@pytest.mark.long
def test_scores_are_those_of_the_chosen_settings(toy_manifest: Path, tmp_path: Path) -> None:
    space = {"model.C": SPACE["model.C"], "preprocess.level": ["none", "peak"]}
    best, results = search(toy_manifest, tmp_path, toy(space))
    data = dataset.load(toy(), {"toy": toy_manifest}, jobs=1)
    protocol = by_name("speaker-3", data.table, 0)
    plain = recipe.validate(BASE, "plain")
    before = crossfit.train(plain, data, protocol, jobs=1, progress=lambda *_: None).predictions
    by_fold = before.groupby("fold").apply(lambda rows: (rows["label"] == rows["predicted"]).mean())
    assert [part["untuned"] for part in results["outer"]] == pytest.approx(by_fold.tolist())
    for name in ("inner", "outer", "optimism", "untuned"):
        mean = np.mean([part[name] for part in results["outer"]])
        assert results[name if name in ("optimism", "untuned") else f"{name}_score"] == pytest.approx(mean)
    for part in results["outer"]:
        assert part["optimism"] == pytest.approx(part["inner"] - part["outer"])
        assert sum(part["trials"].values()) == 4
    # What the best recipe says is what the last search found, and a run of it is as good as that search says.
    assert best.tune is None
    assert best.model["C"] == results["best"]["chosen"]["model.C"]
    assert best.preprocess["level"] == results["best"]["chosen"]["preprocess.level"]
    finished = [one["score"] for one in results["history"] if one["state"] == "complete"]
    assert results["best"]["inner"] == max(finished)
    inner = best.model_copy(update={"protocol": recipe.ProtocolRecipe(name="speaker-2")})
    again = experiment.run(inner, {"toy": toy_manifest}, tmp_path / "run", jobs=1)
    assert again["uar"] == pytest.approx(results["best"]["inner"])


@pytest.mark.long
def test_a_search_repeats(toy_manifest: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(search(toy_manifest, tmp_path / name, outer=1)[1])
    assert found[0] == found[1]


FUSED: dict[str, Any] = {
    "features": {"set": "prosodic"},
    "model": {"family": "fusion-late", "folds": 2, "acoustic": {"family": "logistic"}},
}


def test_tune_learns_from_the_same_clips_as_train(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fusion learns from words and development sentences, in a search as in a training."""
    said = words_vector(Transcript("I miss her so much, I cried all night."), 2.0)
    monkeypatch.setattr(dataset, "words_of", lambda clips, *_: (np.tile(said, (len(clips), 1)), []))
    seen: list[TrainingSet] = []

    def spied(clips: TrainingSet, tasks: Sequence[Task], *rest: Any, **more: Any) -> list[Fitted]:
        seen.append(clips)
        return fit_many(clips, tasks, 1)

    for module in (tuning, crossfit):
        monkeypatch.setattr(module, "fit_many", spied)
    one = toy({"model.penalty": [1e-3, 1e-2]}, base=FUSED, trials=1, pruning=False)
    search(toy_manifest, tmp_path, one, outer=0)
    experiment.run(one.model_copy(update={"tune": None}), {"toy": toy_manifest}, tmp_path / "run", jobs=1)
    tuned, trained = seen
    assert tuned.sentences is not None
    assert trained.sentences is not None
    np.testing.assert_array_equal(tuned.sentences.words, trained.sentences.words)
    for name in ("features", "words"):
        np.testing.assert_array_equal(tuned.X.parts[name], trained.X.parts[name])
    for name in ("y", "speakers", "corpora"):
        np.testing.assert_array_equal(getattr(tuned, name), getattr(trained, name))
    card = load_model(tmp_path / "run").card
    assert set(card.text) >= {"pool", "columns"}


def test_outer_limits_the_test_parts(toy_manifest: Path, tmp_path: Path) -> None:
    _, results = search(toy_manifest, tmp_path, toy(trials=1), outer=1)
    assert len(results["outer"]) == 1
    assert (results["protocol"]["searched"], results["protocol"]["folds"]) == (1, 3)
    _, results = search(toy_manifest, tmp_path, toy(trials=1), outer=0)
    assert (results["outer"], results["outer_score"], results["optimism"], results["gain"]) == ([], None, None, None)


# ---- budget, pruning, going on ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_going_on_adds_only_the_missing_trials(toy_manifest: Path, tmp_path: Path, spy: Spy) -> None:
    search(toy_manifest, tmp_path, toy(trials=2, pruning=False), outer=1)
    begun = len(spy.tasks)
    _, results = search(toy_manifest, tmp_path, toy(trials=3, pruning=False), outer=1)
    # One trial more of two inner folds in each search, and the two scores on the test part again.
    assert len(spy.tasks) - begun == 2 * 2 + 2
    assert {name: len(found) for name, found in states(tmp_path).items()} == {"fold 1": 3, "all clips": 3}
    chosen = [one["chosen"]["model.C"] for one in results["history"]]
    assert len(set(chosen)) == 3  # a search that goes on does not draw the same again
    (tmp_path / "other").mkdir()
    _, at_once = search(toy_manifest, tmp_path / "other", toy(trials=3, pruning=False), outer=1)
    assert results == at_once


def test_an_interruption_keeps_what_is_done(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(*arguments: Any, **more: Any) -> list[Fitted]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return fit_many(*arguments, **more)

    monkeypatch.setattr(tuning, "fit_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(toy_manifest, tmp_path, toy(trials=3, pruning=False), outer=0)
    assert states(tmp_path) == {"all clips": ["COMPLETE", "COMPLETE", "FAIL"]}
    _, results = search(toy_manifest, tmp_path, toy(trials=3, pruning=False), outer=0)
    assert results["best"]["trials"]["complete"] == 3


def test_bad_trials_are_pruned(toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skill = iter([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9])
    asked = 0

    def scores(self: Any, one: recipe.Recipe, folds: Sequence[Any], seeds: Sequence[int]) -> list[Any]:
        nonlocal asked
        asked += 1
        return [tuning._Scored(next(skill))]

    monkeypatch.setattr(tuning._Search, "scores", scores)
    _, results = search(toy_manifest, tmp_path, toy(trials=7), outer=0)
    # Five trials of two folds, a bad one that ends after its first, and one more.
    assert asked == 5 * 2 + 1 + 2
    assert [one["state"] for one in results["history"]] == ["complete"] * 5 + ["pruned", "complete"]
    assert results["history"][5]["score"] == 0.1
    assert results["best"]["trials"] == {"complete": 6, "pruned": 1, "impossible": 0}


def test_the_time_budget_ends_a_search_after_a_trial(toy_manifest: Path, tmp_path: Path) -> None:
    _, results = search(toy_manifest, tmp_path, toy(trials=1000, timeout=1e-6), outer=0)
    assert results["best"]["trials"]["complete"] == 1


def test_another_question_is_another_study(toy_manifest: Path, tmp_path: Path) -> None:
    search(toy_manifest, tmp_path, toy(trials=1), outer=0)
    changed = toy(trials=1, base={"model": {"family": "svm", "calibration_folds": 3}})
    search(toy_manifest, tmp_path, changed, outer=0)
    storage = tuning.open_storage(tuning.sqlite(tmp_path / "study.db"))
    assert len(optuna.get_all_study_summaries(storage)) == 2


def test_settings_that_do_not_go_together_are_counted_and_passed_over(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(self: Any, *_: Any) -> list[Any]:
        return [tuning._Scored(0.5)]

    monkeypatch.setattr(tuning._Search, "scores", scores)
    # Each value is possible by itself, but the highest floor does not go with the lowest ceiling.
    space = {
        "features.pitch_floor": [60.0, 300.0],
        "features.pitch_ceiling": [250.0, 500.0],
    }
    one = toy(space, trials=8, base={"features": {"set": "prosodic"}}, pruning=False)
    with pytest.raises(RecipeError):
        one.changed({"features.pitch_floor": 300.0, "features.pitch_ceiling": 250.0}, "both")
    _, results = search(toy_manifest, tmp_path, one, outer=0)
    assert results["best"]["trials"]["impossible"] > 0
    assert sum(results["best"]["trials"].values()) == 8


# ---- the space -------------------------------------------------------------------------------------------------------


def test_values_are_drawn_as_they_are_written() -> None:
    space = {
        "a": dimension({"low": 1, "high": 9, "step": 2}),
        "b": dimension({"low": 0.001, "high": 1.0, "log": True}),
        "c": dimension([[64], [128, 32]]),
        "d": dimension([True, False]),
        "e": dimension(["scale", 0.01]),
        "f": dimension({"low": 0, "high": 1.0}),
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space) for _ in range(200)]
    assert {one["a"] for one in drawn} == {1, 3, 5, 7, 9}
    assert all(isinstance(one["a"], int) and isinstance(one["f"], float) for one in drawn)
    assert 0.3 < np.mean([one["b"] < 10**-1.5 for one in drawn]) < 0.7
    assert {tuple(one["c"]) for one in drawn} == {(64,), (128, 32)}
    assert {one["d"] for one in drawn} == {True, False}
    assert {one["e"] for one in drawn} == {"scale", 0.01}


def test_a_recipe_keeps_its_table(tmp_path: Path) -> None:
    one = toy({**SPACE, "model.gamma": ["scale", 0.01], "model.calibration_folds": {"low": 2, "high": 4}}, timeout=9.0)
    (tmp_path / "r.toml").write_text(recipe.to_toml(one), encoding="utf-8")
    assert recipe.load(tmp_path / "r.toml") == one
    assert one.tune is not None
    assert one.tune.space["model.C"] == Range(0.01, 10.0, log=True)
    assert one.tune.space["model.gamma"] == Choices(("scale", 0.01))
    assert "tune" not in one.complete()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"model.D": [1.0, 2.0]}, r'tune\.space\."model\.D": .*unknown key \'D\''),
        ({"model.C": [1.0, 0.0]}, r'tune\.space\."model\.C": .*C = 0\.0 is not possible: .*greater than 0'),
        ({"model.C": {"low": 0.0, "high": 1.0}}, r"C = 0\.0 is not possible"),
        ({"model.C": {"low": 2.0, "high": 1.0}}, r"tune\.space\.model\.C = .*low must be less than high"),
        ({"model.C": {"low": 0.0, "high": 1.0, "log": True}}, "a logarithmic scale needs low above 0"),
        ({"model.C": {"low": 1.0, "high": 2.0, "step": 0.0}}, "step must be above 0"),
        ({"model.C": {"low": "a", "high": 2.0}}, "must be numbers"),
        ({"model.C": {"low": 1.0, "high": 2.0, "log": 1}}, "log must be true or false"),
        ({"model.C": {"from": 1.0, "high": 2.0}}, "expected a list of values, or low and high"),
        ({"model.C": 1.0}, "expected a list of values, or low and high"),
        ({"model.C": [1.0]}, "two values at least"),
        ({"protocol.name": ["loso", "random"]}, r'"protocol\.name" cannot be tuned: choose keys of model, features'),
        ({"model": ["svm", "ann"]}, "cannot be tuned"),
        ({"features.set": ["prosodic", "prosody"]}, r"unknown feature set 'prosody': did you mean 'prosodic'"),
        ({}, "at least 1 item"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_once(space: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        toy(space)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_of_the_table_is_named() -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'tune\.trails': did you mean 'trials'"):
        toy(trails=3)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_a_recipe_without_a_table_is_refused(toy_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe 'toy' has nothing to tune: add a table \[tune\.space\]"):
        search(toy_manifest, tmp_path, recipe.validate(BASE, "toy"))


def test_an_inner_protocol_that_cannot_be_is_refused_before_any_trial(
    toy_manifest: Path, tmp_path: Path, spy: Spy
) -> None:
    for inner in ("speaker-9", "speeker", "emobox"):
        with pytest.raises(ProtocolError, match=r"choose another with tune\.inner"):
            search(toy_manifest, tmp_path, toy(inner=inner))
    assert spy.tasks == []


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="needs corpus 'toy'"):
        tuning.tune(toy(), {}, tuning.sqlite(tmp_path / "study.db"))


def not_a_database(folder: Path) -> str:
    (folder / "text.db").write_text("this is no database, however long one looks at it", encoding="utf-8")
    return tuning.sqlite(folder / "text.db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (lambda _: "study.db", "is not a database URL: write for example sqlite:///study.db"),
        (lambda folder: tuning.sqlite(folder / "none" / "study.db"), "cannot be used .*check that it is reachable"),
        (lambda _: "nosuch://user:secret@host/base", "cannot be used"),
        (not_a_database, "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_in_one_line(
    url: Callable[[Path], str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tuning.open_storage(url(tmp_path))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_is_lost_on_the_way_is_one_line(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **more: Any) -> list[Fitted]:
        raise optuna.exceptions.StorageInternalError("gone")

    monkeypatch.setattr(tuning, "fit_many", lost)
    with pytest.raises(InputError, match="the study database was lost on the way"):
        search(toy_manifest, tmp_path)


# ---- the report and the command --------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_report_shows_both_scores_and_their_difference(toy_manifest: Path, tmp_path: Path) -> None:
    best, results = search(toy_manifest, tmp_path)
    for _ in range(2):  # going on replaces the report
        tuning_report.write(tmp_path, results, recipe.to_toml(best))
    page = Page((tmp_path / "tuning.html").read_text(encoding="utf-8"))
    assert f"{100 * results['outer_score']:.1f} % UAR on speakers that no search saw" in page.text
    assert f"optimism {100 * results['optimism']:+.1f} points" in page.text
    rows = page.table("UAR in percent")
    assert [row[:3] for row in rows[:-1]] == [
        [part["fold"], f"{100 * part['inner']:.1f}", f"{100 * part['outer']:.1f}"] for part in results["outer"]
    ]
    assert not page.named("script")
    assert not page.named("img")
    assert json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8")) == results
    assert recipe.load(tmp_path / "best.toml") == best
    assert (tmp_path / "plots" / "history.png").exists()
    assert not list(tmp_path.glob("*.part"))
    tuning_report.write(tmp_path, {**results, "outer": [], "outer_score": None}, recipe.to_toml(best))
    assert "No honest score" in (tmp_path / "tuning.html").read_text(encoding="utf-8")


def test_the_command_tunes(toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(recipe.to_toml(toy()), encoding="utf-8")
    corpus = f"toy={toy_manifest}"
    code, out, errors = emovox_command("tune", "toy.toml", "-c", corpus, "--trials", "1", "--outer", "1", "-j", "1")
    assert code == 0, errors
    assert "points of optimism" in out
    folder = tmp_path / "runs" / "toy-tuning"
    assert {"study.db", "best.toml", "tuning.html", "tuning.json"} <= {path.name for path in folder.iterdir()}
    code, _, errors = emovox_command("tune", "toy.toml", "-c", corpus, "--storage", "sqlite:////none/none/study.db")
    assert code == 2
    assert errors.startswith("emovox: the study database sqlite:////none/none/study.db cannot be used")
    assert len(errors.strip().splitlines()) == 1
