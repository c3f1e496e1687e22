"""The adaptive head: what it computes, what a baseline does, and how far it is believed."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from emovox.errors import ProtocolError, RecipeError
from emovox.features import sets
from emovox.lab.estimators.adaptive import AdaptiveClassifier, AdaptiveOptions
from emovox.lab.experiments.recipe import load
from tests.lab.estimators import voices

SMALL = AdaptiveOptions(components=5, epochs=6, draws=3, batch_size=64, hidden=8, networks=1)

#: Share of the offset of a speaker as varied as the setting that is believed, whatever the number of clips.
OPEN = 1 / (1 + SMALL.least_own_spread**12)

Voices = tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]


@pytest.fixture(scope="module")
def heard() -> Voices:
    return voices()


@pytest.fixture(scope="module")
def model(heard: Voices) -> AdaptiveClassifier:
    X, y, speakers = heard
    train = speakers != "s11"
    return AdaptiveClassifier(SMALL).fit(X[train], y[train], speakers[train])


def right(model: AdaptiveClassifier, X: NDArray[np.float32], y: NDArray[np.str_], baseline: object = None) -> float:
    answers = model.classes_[model.predict_proba(X, baseline).argmax(axis=1)]  # type: ignore[arg-type]
    return float((answers == y).mean())


def test_a_speakers_neutral_speech_removes_the_voice_where_one_mood_is_believed() -> None:
    rng = np.random.default_rng(0)
    emotion, speakers = np.tile(np.arange(3), 160), np.repeat([f"s{number:02d}" for number in range(20)], 24)
    voice = np.repeat(rng.normal(size=(20, 6)), 24, axis=0)
    X = (2 * np.eye(3, 6)[emotion] + 2 * voice + rng.normal(size=(480, 6)) / 4).astype(np.float32)
    y = np.array(["neutral", "happy", "sad"])[emotion]
    train = speakers < "s15"
    options = dataclasses.replace(SMALL, components=6, epochs=40, speaker_clips=0.2, least_own_spread=0.0)
    fitted = AdaptiveClassifier(options).fit(X[train], y[train], speakers[train])
    plain, told = [], []
    for who in np.unique(speakers[~train]):
        own = speakers == who
        known = fitted.baseline(None, fitted.values(X[own & (y == "neutral")]))
        plain.append(right(fitted, X[own], y[own]))
        told.append(right(fitted, X[own], y[own], known))
    assert np.mean(told) > np.mean(plain) + 0.2


def test_clips_known_to_be_neutral_are_believed_at_once() -> None:
    rng = np.random.default_rng(0)
    emotion, speakers = np.tile(np.arange(3), 160), np.repeat([f"s{number:02d}" for number in range(20)], 24)
    voice = np.repeat(rng.normal(size=(20, 6)), 24, axis=0)
    X = (2 * np.eye(3, 6)[emotion] + 2 * voice + rng.normal(size=(480, 6)) / 4).astype(np.float32)
    y = np.array(["neutral", "happy", "sad"])[emotion]
    train = speakers < "s15"
    fitted = AdaptiveClassifier(dataclasses.replace(SMALL, components=6)).fit(X[train], y[train], speakers[train])
    told: dict[bool, list[float]] = {True: [], False: []}
    for who in np.unique(speakers[~train]):
        own = speakers == who
        two = fitted.values(X[own & (y == "neutral")][:2])
        for neutral, scores in told.items():
            scores.append(right(fitted, X[own], y[own], fitted.baseline(None, two, neutral=neutral)))
    assert np.mean(told[True]) > np.mean(told[False]) + 0.1


def test_a_negative_count_says_that_a_speaker_was_neutral(model: AdaptiveClassifier, heard: Voices) -> None:
    X = heard[0]
    there, two = model.values(X), model.values(X[:2])
    told, untold = (model.baseline(there, two, neutral=neutral) for neutral in (True, False))
    (place,) = np.flatnonzero(told != untold)
    assert place == len(told) // 2
    assert (told[place], untold[place]) == (-2, 2)
    assert not np.allclose(model.logits(X, told), model.logits(X, untold))
    np.testing.assert_array_equal(model.baseline(there, neutral=True), model.baseline(there))


def test_where_nothing_neutral_was_learned_the_sign_changes_nothing(heard: Voices) -> None:
    X, y, speakers = heard
    fitted = AdaptiveClassifier(SMALL).fit(X, np.where(y == "neutral", "calm", y), speakers)
    assert fitted.neutral_stage_ is None
    two = fitted.values(X[:2])
    told, untold = (fitted.baseline(None, two, neutral=neutral) for neutral in (True, False))
    np.testing.assert_array_equal(fitted.logits(X, told), fitted.logits(X, untold))


def test_a_settings_speech_removes_the_microphone() -> None:
    rng = np.random.default_rng(0)
    target, corpora = np.arange(360) % 3, np.repeat(["a", "b", "c"], 120)
    X = (rng.normal(size=(360, 6)) / 2 + 2 * np.eye(3, 6)[target]).astype(np.float32)
    X += np.repeat(rng.normal(size=(3, 6)), 120, axis=0).astype(np.float32)
    y, speakers = np.array(["neutral", "happy", "sad"])[target], np.tile(np.repeat(["x", "y"], 60), 3)
    fitted = AdaptiveClassifier(SMALL).fit(X, y, speakers, corpora)
    there = X[:120] + np.array([4, 0, 0, 4, 4, 4], np.float32)
    known = fitted.baseline(fitted.values(there))
    assert right(fitted, there, y[:120], known) > max(0.9, right(fitted, there, y[:120]) + 0.1)


def test_baselines_are_count_mean_and_variance(model: AdaptiveClassifier, heard: Voices) -> None:
    values = model.values(heard[0])
    width = values.shape[1]
    assert width == 3 * len(model.classes_)
    found = model.baseline(values[:7], values[7:9])
    assert found.dtype == np.float32
    expected = [[7], values[:7].mean(0), values[:7].var(0), [2], values[7:9].mean(0), values[7:9].var(0)]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    assert found.shape == (2 + 4 * width,)
    assert not model.baseline().any()
    assert not model.baseline(values[:0], values[:0]).any()
    np.testing.assert_array_equal(
        model.baseline(None, values[:3])[1 + 2 * width :], model.baseline(values[:3])[: 1 + 2 * width]
    )


def test_a_count_of_zero_is_nothing_known(model: AdaptiveClassifier, heard: Voices) -> None:
    X = heard[0][:20]
    np.testing.assert_array_equal(model.logits(X), model.logits(X, model.baseline()))
    # What stands beside a count of 0 does not matter to a second stage.
    values = torch.from_numpy(model.values(X))
    width = values.shape[1]
    stray = np.abs(np.random.default_rng(0).normal(size=(20, 2 + 4 * width))).astype(np.float32)
    stray[:, [0, 1 + 2 * width]] = 0
    with torch.inference_mode():
        plain, same = (model.stage_(values, torch.from_numpy(one))[0] for one in (np.zeros_like(stray), stray))
    np.testing.assert_allclose(same.numpy(), plain.numpy(), atol=1e-5)


def centres(stage: Any, known: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a second stage takes as the centre of setting and speaker, from what reaches its layer."""
    seen: list[torch.Tensor] = []
    hook = stage.layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        stage.judge(torch.zeros(1, stage.width), torch.from_numpy(known)[None])
    hook.remove()
    columns = seen[0][0].double().numpy()
    return -columns[: stage.width], -columns[stage.width : 2 * stage.width]


def test_more_clips_of_a_speaker_are_believed_more(model: AdaptiveClassifier) -> None:
    width = model.stage_.width
    mean, nothing = np.random.default_rng(0).normal(size=width), np.zeros(1 + 2 * width)
    for count in (1, 4, 16, 64):
        known = np.concatenate([nothing, [count], mean, np.ones(width)]).astype(np.float32)
        setting, speaker = centres(model.stage_, known)
        assert not setting.any()
        np.testing.assert_allclose(speaker, OPEN * count / (count + SMALL.speaker_clips) * mean, atol=1e-5)


def test_a_speaker_is_shrunk_towards_the_setting(model: AdaptiveClassifier) -> None:
    width = model.stage_.width
    rng = np.random.default_rng(1)
    there, voice = rng.normal(size=(2, width))
    known = np.concatenate([[1e9], there, np.ones(width), [20], voice, np.ones(width)]).astype(np.float32)
    setting, speaker = centres(model.stage_, known)
    np.testing.assert_allclose(setting, there / (1 + np.exp(-6 * np.log(1 / SMALL.least_spread))), rtol=1e-3)
    np.testing.assert_allclose(speaker, setting + OPEN * (voice - setting) / 2, atol=1e-5)


def test_a_speaker_of_one_mood_is_believed_less(model: AdaptiveClassifier) -> None:
    width = model.stage_.width
    rng = np.random.default_rng(2)
    there, voice = rng.normal(size=(2, width))
    believed = []
    for setting_variance, variance in ((1.0, 1.0), (1.0, 0.1), (0.1, 0.1), (2.0, 0.1)):
        known = [[200], there, np.full(width, setting_variance), [6], voice, np.full(width, variance)]
        setting, speaker = centres(model.stage_, np.concatenate(known).astype(np.float32))
        believed.append(float(np.linalg.norm(speaker - setting) / np.linalg.norm(voice - setting)))
        # Six clips, and four of the setting's variance; then a logistic of the logarithm of the ratio.
        shrunk = (200 * setting_variance + 4) / 204
        ratio = (6 * variance + 4 * shrunk) / 10 / shrunk
        assert believed[-1] == pytest.approx(6 / 26 / (1 + (SMALL.least_own_spread / ratio) ** 12), rel=1e-3)
    assert believed[1] < believed[0] / 20
    assert believed[2] > 0.8 * believed[0]  # narrow, but so is the setting
    assert believed[3] < believed[1]


def test_a_narrow_setting_is_believed_less(model: AdaptiveClassifier, heard: Voices) -> None:
    width = model.stage_.width
    mean, nothing = np.random.default_rng(0).normal(size=width), np.zeros(1 + 2 * width)
    wide, narrow = (
        np.concatenate([[200], mean, np.full(width, variance), nothing]).astype(np.float32) for variance in (1.0, 0.1)
    )
    believed = [np.linalg.norm(centres(model.stage_, known)[0]) / np.linalg.norm(mean) for known in (wide, narrow)]
    assert believed[0] > 0.9
    assert believed[1] < 0.1
    X, y, speakers = heard
    ungated = AdaptiveClassifier(dataclasses.replace(SMALL, least_spread=0.0)).fit(X, y, speakers)
    assert np.linalg.norm(centres(ungated.stage_, narrow)[0]) / np.linalg.norm(mean) > 0.9


def test_answers_follow_the_spread_of_the_setting(model: AdaptiveClassifier, heard: Voices) -> None:
    X, r = heard[0][:40], model.stage_.width
    scale = model.stage_.scale.numpy()
    answers = {}
    for sharpening in (0.0, 1.0):
        fitted = copy.copy(model)
        fitted.options = dataclasses.replace(SMALL, sharpening=sharpening)
        for variance in (0.3, 1.0, 2.0):
            known = model.baseline()
            known[0], known[1 + r : 1 + 2 * r] = 96, variance * scale**2
            answers[sharpening, variance] = fitted.predict_proba(X, known)
    for variance in (0.3, 1.0, 2.0):
        known = model.baseline()
        known[0], known[1 + r : 1 + 2 * r] = 96, variance * scale**2
        with torch.inference_mode():
            trust = model.stage_(torch.from_numpy(model.values(X[:1])), torch.from_numpy(known[None]))[1].item()
        # A variance is shrunk as by four clips of the population's, and followed as far as the setting is believed.
        power = ((96 * variance + 4) / 100) ** trust
        expected = answers[0.0, variance].astype(float) ** power
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(answers[1.0, variance], expected, atol=1e-5)


def test_networks_answer_where_nothing_was_heard_and_the_second_stage_the_more_was(heard: Voices) -> None:
    X, y, speakers = heard
    fitted = AdaptiveClassifier(dataclasses.replace(SMALL, networks=2, least_own_spread=0.0)).fit(X, y, speakers)
    values = fitted.values(X)
    rows = np.stack([fitted.baseline(), fitted.baseline(values[:3]), fitted.baseline(values, values[:20])])
    known = rows[np.arange(len(X)) % 3]
    with torch.inference_mode():
        networks = [torch.softmax(one(torch.from_numpy(X)), dim=1).numpy() for one in fitted.networks_]
        logits, trust, width = fitted.stage_(torch.from_numpy(values), torch.from_numpy(known))
        stage, share = torch.softmax(logits, dim=1).numpy(), trust.numpy()
    assert not share[0::3].any()
    assert 0 < share[1::3].max() < share[2::3].min() < 1
    expected = ((1 - share) * np.mean(networks, axis=0) + share * stage) ** (width.numpy() ** share)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X, known), expected, atol=1e-5)
    assert not np.allclose(networks[0], networks[1])


def test_a_class_that_a_corpus_lacks_is_not_taught_as_absent() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(300) % 3
    X = (rng.normal(size=(300, 6)) + np.eye(3, 6)[target]).astype(np.float32)
    corpora = np.where(np.arange(300) < 150, "three", "two")
    kept = ~((corpora == "two") & (target == 2))
    speakers = np.array([f"{corpus}{index % 4}" for index, corpus in enumerate(corpora)])
    y = np.array(["neutral", "happy", "sad"])[target]
    masked, taught = (
        AdaptiveClassifier(dataclasses.replace(SMALL, absent=absent)).fit(
            X[kept], y[kept], speakers[kept], corpora[kept]
        )
        for absent in (0.01, 1.0)
    )
    column = list(masked.classes_).index("sad")
    third = X[target == 2]
    assert masked.predict_proba(third)[:, column].mean() > taught.predict_proba(third)[:, column].mean() + 0.02


def test_copies_and_their_settings_teach(heard: Voices) -> None:
    X, y, speakers = heard
    rng = np.random.default_rng(0)
    copies = X[:, np.newaxis] + rng.normal(size=(len(X), 2, 5)).astype(np.float32)
    settings = np.stack(
        [np.full(len(X), "x"), np.where(np.arange(len(X)) % 2, "x/0", "x/1"), np.full(len(X), "x/0")], 1
    )
    alone = AdaptiveClassifier(SMALL).fit(X, y, speakers)
    both = AdaptiveClassifier(SMALL).fit(X, y, speakers, copies=copies)
    apart = AdaptiveClassifier(SMALL).fit(X, y, speakers, copies=copies, settings=settings)
    # Networks do not know of settings, second stages do.
    told = [one.logits(X, one.baseline(one.values(X))) for one in (both, apart)]
    assert not np.allclose(alone.logits(X), both.logits(X))
    assert not np.allclose(told[0], told[1])


def test_the_same_seed_gives_the_same_answers(heard: Voices) -> None:
    X, y, speakers = heard
    fits = [AdaptiveClassifier(dataclasses.replace(SMALL, seed=seed)).fit(X, y, speakers) for seed in (1, 1, 2)]
    one, same, other = (fit.logits(X) for fit in fits)
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("baseline", [True, False])
def test_the_graph_is_the_estimator(model: AdaptiveClassifier, heard: Voices, baseline: bool) -> None:
    X = heard[0][:40]
    graph = model.graph(sets.spec("default"), baseline=baseline)
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    if not baseline:
        (found,) = session.run(None, {"features": X})
        np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)
        return
    rng = np.random.default_rng(0)
    width = model.values(X).shape[1]
    known = np.abs(rng.normal(size=(40, 2 + 4 * width))).astype(np.float32)
    known[:, [0, 1 + 2 * width]] = rng.choice([0, 1, 5, 60], size=(40, 2))
    known[::3, 1 + 2 * width] *= -1  # known to be neutral
    for given in (known, np.zeros_like(known)):
        probabilities, values = session.run(None, {"features": X, "baseline": given})
        np.testing.assert_allclose(values, model.values(X), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(probabilities, model.predict_proba(X, given), atol=1e-5)
    # One clip gives what it gives among others.
    alone = session.run(None, {"features": X[:1], "baseline": known[:1]})[0]
    np.testing.assert_allclose(alone, model.predict_proba(X[:1], known[:1]), atol=1e-5)


def test_speakers_are_needed() -> None:
    X, y, _ = voices()
    with pytest.raises(ProtocolError, match="these clips have no speakers"):
        AdaptiveClassifier().fit(X, y)


def test_a_recipe_needs_an_encoder_and_a_family_that_learns_from_copies() -> None:
    with pytest.raises(RecipeError, match="needs the embeddings of an encoder"):
        load("default", {"features": {"set": "classic193"}, "augment.copies": 0})
    with pytest.raises(RecipeError, match="needs a family that learns from copies"):
        load("ravdess-ann", {"augment.copies": 2})
    with pytest.raises(RecipeError, match=r"unknown key 'augment.options.speeed': did you mean 'speed'"):
        load("default", {"augment.options.speeed": 1.0})
