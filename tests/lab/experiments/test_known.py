"""Evaluation with what is known of setting and speaker, and calibration on corpora that were never heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emovox.errors import ProtocolError
from emovox.features import sets
from emovox.lab.corpora.splits import by_name, cross_corpus
from emovox.lab.corpora.table import Clip, Corpus, Provenance, combine, from_clips
from emovox.lab.evaluation.scores import score
from emovox.lab.experiments import crossfit, experiment, recipe
from emovox.lab.experiments.crossfit import Task, Trained, fit_one
from emovox.lab.experiments.dataset import Data
from emovox.lab.experiments.recipe import Recipe

#: Labels by corpus: "calm" is in one corpus only, and "c" lacks "sad".
SPOKEN = {"a": ("calm", "happy", "neutral", "sad"), "b": ("happy", "neutral", "sad"), "c": ("happy", "neutral")}
TAKES = 8
WIDTH = 6


@pytest.fixture(scope="module")
def one() -> Recipe:
    return recipe.validate(
        {
            "name": "known",
            "corpora": {name: {} for name in SPOKEN},
            "features": {"set": "default"},
            "model": {"family": "adaptive", "components": WIDTH, "epochs": 2, "draws": 2, "hidden": 8, "networks": 1},
            "protocol": {"name": "speaker-2", "heard": 10, "enrol": 2, "promise": "cross-corpus", "seeds": [0, 1]},
        },
        "known",
    )


@pytest.fixture(scope="module")
def data() -> Data:
    corpora = []
    for name, labels in SPOKEN.items():
        clips = [
            Clip(f"{voice}-{label}-{take}.wav", label, speaker=f"{name}/{voice}")
            for voice in range(4)
            for label in labels
            for take in range(TAKES)
        ]
        corpora.append(Corpus(name, Path(), Provenance("CC0"), from_clips(clips, name, Provenance("CC0"))))
    table = combine(corpora)
    rng = np.random.default_rng(0)
    order = sorted(SPOKEN["a"])
    X = rng.normal(size=(len(table), WIDTH)) / 2 + 2 * np.eye(WIDTH)[[order.index(label) for label in table["label"]]]
    X += rng.normal(size=(3, WIDTH))[np.unique(table["corpus"], return_inverse=True)[1]]
    return Data(table, X.astype(np.float32), sets.spec("default"), tuple(corpora), ())


@pytest.fixture(scope="module")
def trained(one: Recipe, data: Data) -> Trained:
    protocol = by_name("speaker-2", data.table, 0)
    promise = cross_corpus(data.table, every_label=True)
    return crossfit.train(one, data, protocol, promise, jobs=1, progress=lambda *_: None)


def test_clips_in_a_baseline_are_not_scored(trained: Trained, data: Data) -> None:
    # Two folds of six speakers: ten clips are heard of each corpus, and two of each speaker; with two seeds.
    counts = {name: len(table) for name, table in trained.known.items()}
    assert len(trained.predictions) == 2 * len(data.table)
    assert counts["setting"] == 2 * (len(data.table) - 2 * 3 * 10)
    assert counts["enrolled"] == 2 * (len(data.table) - 12 * 2)
    assert 2 * (len(data.table) - 2 * 3 * 10 - 12 * 2) <= counts["setting_enrolled"] < counts["setting"]
    taken = trained.predictions.merge(trained.known["enrolled"], how="left", indicator=True, on=["seed", "file"])
    left = taken[taken["_merge"] == "left_only"]
    assert set(left["label_x"]) == {"neutral"}


def test_answers_are_those_of_the_models_baselines(one: Recipe, data: Data) -> None:
    fold = by_name("speaker-2", data.table, 0).folds[0]
    enrolled = crossfit.enrolment(data, fold.test, 2, 0)
    heard = crossfit.settings(data, fold.test, 10, 0)
    task = Task("adaptive", one.options(0), fold.train, fold.test, enrolled, heard, keep=True)
    found = fit_one(data.training_set(1, lambda *_: None), task)
    model: Any = found.pipeline.named_steps["model"]  # type: ignore[union-attr]
    X = np.asarray(data.X)
    corpus, speakers = data.table["corpus"].to_numpy(str), data.speakers
    assert speakers is not None
    for place in (0, len(fold.test) // 2, len(fold.test) - 1):
        row = fold.test[place]
        there = model.values(X[[clip for clip in heard if corpus[clip] == corpus[row]]])
        voice = model.values(X[[clip for clip in enrolled if speakers[clip] == speakers[row]]])
        baselines: dict[str, NDArray[np.float32]] = {
            "setting": model.baseline(there),
            "enrolled": model.baseline(None, voice, neutral=True),
            "setting_enrolled": model.baseline(there, voice, neutral=True),
        }
        for name, baseline in baselines.items():
            hidden = (row in heard and name != "enrolled") or (row in enrolled and name != "setting")
            answer = found.known[name][place]
            if hidden:
                assert np.isnan(answer).all()
            else:
                np.testing.assert_allclose(answer, model.predict_proba(X[[row]], baseline)[0], atol=1e-5)


def test_half_of_a_small_corpus_is_heard_at_most(data: Data) -> None:
    few = np.arange(7)
    assert len(crossfit.settings(data, few, 50, 0)) == 3
    both = crossfit.settings(data, np.arange(len(data.table)), 50, 0)
    assert data.table["corpus"].iloc[both].value_counts().to_dict() == {"a": 50, "b": 48, "c": 32}
    assert len(np.unique(both)) == len(both)


def test_a_promise_is_tested_on_corpora_that_were_not_heard(trained: Trained, data: Data) -> None:
    table = trained.promised["predictions"]
    # Each corpus counts alike: as many clips as "c" has.
    assert table["corpus"].value_counts().to_dict() == dict.fromkeys("abc", 64)
    assert (table["fold"] == table["corpus"]).all()
    assert set(table["seed"]) == {0}
    assert "calm" not in set(table["label"])
    chances = table[[f"p_{label}" for label in SPOKEN["a"]]].to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)
    for corpus, lacks in (("a", ()), ("b", ("calm",)), ("c", ("calm", "sad"))):
        for label in lacks:
            assert not table.loc[table["corpus"] == corpus, f"p_{label}"].any()
    assert set(trained.promised) == {"predictions", "enrolled", "setting", "setting_enrolled"}


def test_all_clips_teach_a_promise(data: Data) -> None:
    protocol = cross_corpus(data.table, every_label=True)
    labels, corpus = data.y, data.table["corpus"].to_numpy(str)
    for fold in protocol.folds:
        assert set(corpus[fold.test]) == {fold.name}
        assert len(fold.train) == (corpus != fold.name).sum()
    assert set(labels[protocol.trained_only]) == {"calm"}
    assert protocol.speaker_independent
    with pytest.raises(ProtocolError, match="needs two corpora"):
        cross_corpus(data.table[corpus == "a"], every_label=True)


def test_the_model_is_calibrated_by_its_promise(one: Recipe, trained: Trained, data: Data) -> None:
    labels = ("neutral", "calm", "happy", "sad")
    own = experiment.known_scores(trained.known, one, labels)
    promise = {
        "protocol": {"name": "cross-corpus", "speaker_independent": True},
        **score(trained.promised["predictions"], labels),
        **experiment.known_scores(trained.promised, one, labels),
    }
    assert (own["enrolled"]["clips"], own["setting"]["clips"], own["setting_enrolled"]["speaker_clips"]) == (2, 10, 2)
    results = {"protocol": {"name": "speaker-2", "speaker_independent": True}, **own, "promise": promise}
    plain, known, neutral = experiment._calibrating(results)
    assert experiment._temperature(plain) == promise["calibration"]["temperature"]
    assert experiment._temperature(known) == promise["setting"]["calibration"]["temperature"]
    assert experiment._temperature(neutral) == promise["enrolled"]["calibration"]["temperature"]
    # The threshold that is meant for new corpora; where there is none, nothing is answered.
    found = promise["setting"]["selective"]["threshold"]
    assert experiment._threshold(known) == (1.0 if found is None else found)
    told = {**promise["setting"], "protocol": promise["protocol"]}
    for threshold, expected in ((0.62, 0.62), (None, 1.0)):
        assert experiment._threshold({**told, "selective": {"threshold": threshold}}) == expected
    without = {key: value for key, value in results.items() if key != "promise"}
    assert experiment._temperature(experiment._calibrating(without)[1]) == own["setting"]["calibration"]["temperature"]
    leaking = {**without, "protocol": {"speaker_independent": False}}
    assert experiment._temperature(experiment._calibrating(leaking)[1]) == 1
    short = experiment._promise(promise)
    assert set(short) == {
        "protocol", "uar", "n", "calibration", "selective", "enrolled", "setting", "setting_enrolled"
    }  # fmt: skip
    json.dumps(short)


def test_models_without_baselines_have_one_table(data: Data) -> None:
    values = {"name": "x", "corpora": {"a": {}}, "features": {"set": "default"}, "model": {"family": "logistic"}}
    plain = recipe.validate(values, "x")
    found = crossfit.train(plain, data, by_name("speaker-2", data.table, 0), jobs=1, progress=lambda *_: None)
    assert (dict(found.known), dict(found.promised)) == ({}, {})


def test_settings_go_with_their_clips(data: Data) -> None:
    names = np.stack([data.table["corpus"], np.arange(len(data.table)).astype(str)], axis=1)
    clips = Data(data.table, data.X, data.spec, data.corpora, (), settings=names).training_set(1, lambda *_: None)
    some = clips[np.array([3, 100])]
    assert some.settings is not None
    assert some.settings.tolist() == [["a", "3"], [names[100, 0], "100"]]
    assert clips[5:].settings is not None
    assert data.training_set(1, lambda *_: None)[5:].settings is None
