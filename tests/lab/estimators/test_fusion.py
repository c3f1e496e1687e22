"""Voice and words: the pool against its formula, the estimators, their files, and the rules."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emovox import EmotionRecognizer, audio
from emovox.errors import ModelError, ProtocolError, RecipeError
from emovox.features.sets import extract, spec
from emovox.lab.estimators import families
from emovox.lab.estimators.fusion import pair
from emovox.lab.estimators.training import Sentences, TrainingSet
from emovox.lab.experiments import spoken
from emovox.lab.experiments.recipe import load as load_recipe
from emovox.lab.experiments.recipe import to_toml, validate
from emovox.lab.experiments.spoken import development_sentences
from emovox.lab.export.export import export
from emovox.lab.extraction.sequences import Inputs
from emovox.model.file import ModelCard, load, temper
from emovox.text.fusion import (
    DEFAULT,
    EMOTIONS,
    GATE_INPUTS,
    LEAST,
    Mixture,
    Pool,
    Rule,
    apply,
    builtin,
    opinions,
    pool_of,
)
from emovox.text.words import NAMES, VERSION, words_vector
from emovox.types import COMMON, FeatureSpec, Transcript
from tests import CLASSIC, EXAMPLES, ROOT, examples

LABELS = ("neutral", "happy", "sad")
POOL = Pool(2.0, 0.3, {"confidence": 0.5, "length": -0.2, "sentiment": 0.7, "emotion": 1.5})
MIXTURE = Mixture(2.0, 0.3, POOL.gate, agreement=4.0, conflict=0.8)
TEXT = {"columns": list(NAMES), "version": VERSION, "method": "gated"}


def vector(text: str, confidence: float = 1.0) -> NDArray[np.float32]:
    return words_vector(Transcript(text, confidence=confidence), 2.0)


SAD, HAPPY, PLAIN = (
    vector("I miss her so much, I cried all night."),
    vector("I am so happy, this is wonderful!"),
    vector("The keys are on the table by the door."),
)


def test_a_pool_is_its_formula() -> None:
    words, voice = SAD.astype(float), np.array([0.5, 0.3, 0.2])
    column = dict(zip(NAMES, words, strict=True))
    emotions = np.array([column[f"emotion_{label}"] for label in LABELS])
    likeliest = max(column[f"emotion_{label}"] for label in COMMON if label != "neutral")
    count = column["word_count"]
    odds = 0.3 + 0.5 * column["confidence"] - 0.2 * count / (count + 5)
    odds += 0.7 * abs(column["compound"]) + 1.5 * likeliest
    weight = 1 / (1 + np.exp(-odds))
    read = np.array([0, emotions[1], emotions[2]]) + emotions[0] / 8
    expected = voice * np.maximum(read, 1e-3) ** (2 * weight)
    found, told = POOL.combine(voice[np.newaxis], words[np.newaxis], LABELS)
    np.testing.assert_allclose(found[0], expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(told, weight, rtol=1e-6)


def test_a_mixture_is_the_sum_of_its_cases() -> None:
    """Every pair of what the voice and the words may be, one by one."""
    voice = dict(zip((*LABELS, "boredom"), (0.4, 0.3, 0.2, 0.1), strict=True))
    weight = float(POOL.weight(SAD[np.newaxis].astype(float))[0])
    powers = np.maximum(SAD[EMOTIONS].astype(float), LEAST) ** 2.0
    words = {label: weight * power / powers.sum() for label, power in zip(COMMON, powers, strict=True)}
    words = {label: value for label, value in words.items() if label in LABELS and label != "neutral"}
    expected = {label: (1 - sum(words.values())) * value for label, value in voice.items()}
    for shown, heard in voice.items():
        for said, read in words.items():
            if shown in ("neutral", said):
                expected[said] += 4.0 * heard * read
            else:
                expected[shown] += 0.8 * heard * read / 2
                expected[said] += 0.8 * heard * read / 2
    found, told = MIXTURE.combine([list(voice.values())], SAD[np.newaxis], list(voice))
    total = sum(expected.values())
    np.testing.assert_allclose(found[0], [value / total for value in expected.values()], rtol=1e-6)
    np.testing.assert_allclose(told, weight, rtol=1e-6)


def test_where_voice_and_words_are_of_two_emotions_a_mixture_is_sure_of_neither() -> None:
    voice = [[0.02, 0.96, 0.02]]
    assert POOL.combine(voice, SAD[np.newaxis], LABELS)[0].max() > 0.9
    found = builtin().combine(voice, SAD[np.newaxis], LABELS)[0][0]
    assert max(found[1:]) < 0.75
    assert found[0] < 0.05


@given(
    st.lists(st.floats(1e-6, 1), min_size=3, max_size=3),
    st.floats(-3, 3),
    st.floats(0.1, 20),
    st.sampled_from(["sad", "happy", "plain", "none"]),
    st.sampled_from([Pool, Mixture]),
)
@settings(max_examples=examples(80), deadline=None)
def test_a_pool_gives_probabilities_and_nothing_changes_without_words(
    voice: list[float], bias: float, sharpness: float, which: str, kind: type[Pool]
) -> None:
    heard = np.array([voice]) / sum(voice)
    table: dict[str, NDArray[Any]] = {"sad": SAD, "happy": HAPPY, "plain": PLAIN, "none": np.zeros(len(NAMES))}
    words = table[which]
    found, weight = kind(sharpness, bias, {"emotion": 1.0}).combine(heard, words[np.newaxis], LABELS)
    assert found.sum() == pytest.approx(1)
    assert 0 <= weight[0] <= 1
    if which in ("none", "plain"):
        np.testing.assert_allclose(found, heard, atol=1e-9)
        assert weight[0] == 0
    elif kind is Pool:
        index = LABELS.index(which)
        assert found[0, index] >= heard[0, index] - 1e-12


def test_words_of_emotion_move_a_neutral_voice_and_unsure_words_less() -> None:
    voice = [[0.8, 0.1, 0.1]] * 2
    unsure = SAD.copy()
    unsure[NAMES.index("confidence")] = 0.2
    for pool in (POOL, MIXTURE):
        found, weight = pool.combine(voice, np.stack([SAD, unsure]), LABELS)
        assert weight[0] > weight[1]
        assert found[0, 2] > found[1, 2] > 0.1


@pytest.mark.parametrize("pool", [POOL, MIXTURE])
@pytest.mark.parametrize("temperature", [0.7, 1.6])
def test_beside_a_tempered_voice_is_the_same_answer_tempered(pool: Pool, temperature: float) -> None:
    voice, words = np.array([[0.5, 0.3, 0.2]] * 2), np.stack([SAD, HAPPY])
    expected = temper(pool.combine(voice, words, LABELS)[0], temperature)
    found, _ = pool.beside(temperature).combine(temper(voice, temperature), words, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_words_have_no_opinion_on_labels_they_cannot_know() -> None:
    read = opinions(SAD[np.newaxis].astype(float), ("sad", "boredom"))
    everything = opinions(SAD[np.newaxis].astype(float), COMMON)
    assert read[0, 1] == pytest.approx(everything.mean())


def test_a_pool_comes_back_from_json_and_damage_is_told() -> None:
    for pool in (POOL, MIXTURE):
        assert Pool.from_dict(json.loads(json.dumps(pool.to_dict()))) == pool
    before = {name: value for name, value in POOL.to_dict().items() if name != "kind"}
    assert Pool.from_dict(before) == POOL
    for broken in (
        {},
        {**before, "bias": "x"},
        {**before, "gate": {"mood": 1}},
        {**before, "kind": "mixture"},
        {**MIXTURE.to_dict(), "kind": "oracle"},
    ):
        with pytest.raises(ModelError):
            Pool.from_dict(broken)


def test_the_shipped_pool_lets_clear_words_win_over_a_neutral_voice_and_no_words_change_nothing() -> None:
    pool, voice = builtin(), np.full((1, 8), 0.05)
    voice[0, 0] = 0.65
    assert COMMON[int(pool.combine(voice, SAD[np.newaxis], COMMON)[0].argmax())] == "sad"
    faint = SAD.copy()
    faint[EMOTIONS] = [0.25, 0.05, 0.05, 0.44, 0.06, 0.05, 0.05, 0.05]
    voice = np.array([[0.91, 0.02, 0.01, 0.02, 0.01, 0.01, 0.01, 0.01]])
    assert 0.6 < pool.combine(voice, faint[np.newaxis], COMMON)[0][0, 3] < 0.91
    np.testing.assert_allclose(pool.combine(voice, PLAIN[np.newaxis], COMMON)[0], voice, atol=1e-9)


def test_the_development_sentences_are_not_those_of_the_test_set() -> None:
    path = ROOT / "benchmarks" / "word_set" / "sentences.csv"
    if not path.exists():
        pytest.skip("no benchmarks beside the tests")
    tested = path.read_text(encoding="utf-8").lower()
    source = Path(spoken.__file__).with_name("sentences.csv")
    for line in source.read_text(encoding="utf-8").splitlines()[1:]:
        _, confidence, text = line.split(",", 2)
        assert confidence != "1.00" or text.strip('"').lower() not in tested


@pytest.fixture(scope="module")
def clips() -> TrainingSet:
    """Six speakers who say one plain sentence in three emotions: 4 features and the words."""
    rng = np.random.default_rng(0)
    y = np.tile(LABELS, 36)
    speakers = np.repeat(list("abcdef"), 18)
    voice = rng.normal(size=(len(y), 4)) + 1.3 * np.eye(3, 4)[[LABELS.index(label) for label in y]]
    return TrainingSet(voiced(voice, PLAIN), y, speakers, sentences=development_sentences())


def voiced(voice: NDArray[Any], words: NDArray[Any]) -> Inputs:
    """Put the words beside features: the same to all clips, or a row for each."""
    rows = np.broadcast_to(words, (len(voice), len(NAMES)))
    return Inputs({"features": voice.astype(np.float32), "words": rows.astype(np.float32)})


ANN = {"family": "ann", "hidden": [8], "epochs": 15, "learning_rate": 0.01}
MODELS: dict[str, dict[str, Any]] = {
    "feature": {**ANN, "family": "fusion-feature", "epochs": 30, "sentences": 1},
    "late": {"family": "fusion-late", "folds": 3, "acoustic": ANN},
    "gated": {"family": "fusion-gated", "folds": 3, "acoustic": {"family": "svm", "calibration_folds": 2}},
}


@pytest.fixture(scope="module")
def fitted(clips: TrainingSet) -> dict[str, Any]:
    return {name: families.fit(families.build(*families.parse(table, 0)), clips) for name, table in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_fusion_learns_from_sentences_that_words_move_a_neutral_voice(name: str, fitted: Any, clips: Any) -> None:
    X, y = clips.X, clips.y
    plain = fitted[name].predict(X)
    assert (plain == y).mean() > 0.6
    said = voiced(X[y == "neutral"].parts["features"], SAD)
    moved = (fitted[name].predict(said) == "sad").mean()
    assert moved > (plain[y == "neutral"] == "sad").mean() + 0.4


@pytest.mark.parametrize("name", ["late", "gated"])
def test_without_words_a_pool_answers_as_its_acoustic_model(name: str, fitted: Any, clips: Any) -> None:
    voice = clips.X.parts["features"]
    heard = fitted[name].named_steps["model"].acoustic_.predict(voice)
    assert (fitted[name].predict(voiced(voice, np.zeros(len(NAMES)))) == heard).all()


def test_the_gate_and_the_constant_weight_have_their_parameters(fitted: Any) -> None:
    assert set(fitted["gated"].named_steps["model"].pool_.gate) == set(GATE_INPUTS)
    assert fitted["late"].named_steps["model"].pool_.gate == {}


def test_neutral_words_alone_teach_that_words_say_nothing(clips: Any) -> None:
    found = families.fit(families.build(*families.parse({**MODELS["late"], "sentences": 0}, 0)), clips)
    heard = found.named_steps["model"].acoustic_.predict(clips.X.parts["features"])
    np.testing.assert_array_equal(found.predict(clips.X), heard)


def test_pairs_are_what_the_page_says(clips: Any) -> None:
    words, y = clips.X.parts["words"], clips.y
    sentences = Sentences(np.stack([PLAIN, SAD, HAPPY]), np.array(["neutral", "sad", "happy"]))
    pairs = pair(y, words, sentences, 1, seed=0)
    compound = pairs.words[:, NAMES.index("compound")]
    labels, voice = pairs.labels, y[pairs.clips]
    assert (labels[compound > 0.2] == "happy").all()
    assert (labels[compound < -0.1] == "sad").all()
    assert set(voice[labels != voice]) == {"neutral"}
    assert (voice[(compound > 0.2) & (voice != "neutral")] == "happy").all()
    assert pairs.weights.sum() == pytest.approx(4)  # own words and three kinds of pairs
    disputed = pair(y, words, sentences, 1, seed=0, disputed=True)
    assert disputed.weights.sum() == pytest.approx(5)
    told = disputed.labels[len(labels) :]
    by_voice = told == y[disputed.clips[len(labels) :]]
    assert abs(by_voice.mean() - 0.5) < 0.02
    assert set(told) == {"happy", "sad"}


def test_pools_want_speakers(clips: Any) -> None:
    for speakers in (None, np.repeat("one", len(clips))):
        some = dataclasses.replace(clips, speakers=speakers)
        with pytest.raises(ProtocolError, match="fusion-feature"):
            families.fit(families.build(*families.parse(MODELS["late"], 0)), some)


@pytest.mark.parametrize("name", MODELS)
def test_one_file_computes_the_same_with_words_and_without(name: str, fitted: Any, clips: Any, tmp_path: Path) -> None:
    voice, words = clips.X.parts["features"][:20], np.tile(PLAIN, (20, 1))
    words[::3], words[1::3] = SAD, 0
    X = voiced(voice, words)
    card = ModelCard(name, f"fusion-{name}", LABELS, FeatureSpec("toy", 1, 4), text=TEXT)
    path = tmp_path / "model.onnx"
    export(fitted[name], card, path, X, temperature=1.3)
    model = load(path)
    order = [list(fitted[name].classes_).index(label) for label in LABELS]
    logs = np.log(fitted[name].predict_proba(X)[:, order]) / 1.3
    expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    silently = model.run(voice).probabilities
    np.testing.assert_allclose(silently[1::3], expected[1::3], atol=1e-5)
    if name == "feature":  # the network sees words and features together
        assert model.words_width == len(NAMES)
        np.testing.assert_allclose(model.run(voice, words=words).probabilities, expected, atol=1e-5)
    else:  # the pool in the card puts the words beside the answer of the voice
        assert model.words_width == 0
        outside = Pool.from_dict(model.card.text["pool"]).combine(silently, words, LABELS)[0]
        np.testing.assert_allclose(outside, expected, atol=1e-5)


def test_words_of_another_width_and_words_for_a_model_without_are_refused(
    fitted: Any, clips: Any, tmp_path: Path
) -> None:
    card = ModelCard("feature", "fusion-feature", LABELS, FeatureSpec("toy", 1, 4), text=TEXT)
    model = export(fitted["feature"], card, tmp_path / "model.onnx", clips.X[:4])
    with pytest.raises(ModelError, match="do not fit"):
        model.run(clips.X.parts["features"][:2], words=np.zeros((2, 3), dtype=np.float32))
    classic = load(CLASSIC)
    silent = np.zeros((1, classic.card.features.dimension), dtype=np.float32)
    with pytest.raises(ModelError, match="takes none"):
        classic.run(silent, words=np.zeros((1, 3), dtype=np.float32))
    wrong = dataclasses.replace(card, text={})
    with pytest.raises(ModelError, match="numbers of the words"):
        export(fitted["feature"], wrong, tmp_path / "other.onnx", clips.X[:4])


@pytest.mark.long
@pytest.mark.parametrize("name", ["fusion-feature", "fusion-gated"])
def test_behind_an_encoder_a_fusion_starts_from_samples(
    name: str, small_whisper: Path, clips: Any, tmp_path: Path
) -> None:
    features = spec("encoder", {"weights": str(small_whisper), "blocks": "2"}, {})
    rng = np.random.default_rng(1)
    X = voiced(rng.normal(size=(len(clips), features.dimension)), PLAIN)
    acoustic = {"family": "adaptive", "components": 8, "epochs": 2, "draws": 2, "hidden": 8}
    table = {"family": name, "folds": 2, "acoustic": acoustic} if name == "fusion-gated" else MODELS["feature"]
    found = families.fit(families.build(*families.parse(table, 0)), dataclasses.replace(clips, X=X))
    card = ModelCard("sound", name, LABELS, features, text=TEXT)
    model = export(found, card, tmp_path / "model.onnx", X[:8])
    assert model.takes_samples
    sound = rng.normal(scale=0.1, size=(1, 16000)).astype(np.float32)
    told: NDArray[Any]
    silent = model.run(sound).probabilities
    if name == "fusion-feature":
        told = model.run(sound, words=SAD).probabilities
    else:
        told = Pool.from_dict(model.card.text["pool"]).combine(silent, SAD[np.newaxis], LABELS)[0]
    assert told[0, 2] > silent[0, 2]
    assert told.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("voice", "words", "label"),
    [
        ({"neutral": 0.7, "sad": 0.1, "angry": 0.2}, {"has_words": 1, "compound": -0.8, "confidence": 0.9}, "angry"),
        ({"neutral": 0.7, "happy": 0.3}, {"has_words": 1, "compound": 0.8, "confidence": 0.9}, "happy"),
        ({"neutral": 0.7, "sad": 0.3}, {"has_words": 1, "compound": -0.2, "confidence": 0.9}, "neutral"),
        ({"neutral": 0.7, "sad": 0.3}, {"has_words": 1, "compound": -0.8, "confidence": 0.3}, "neutral"),
        ({"neutral": 0.7, "sad": 0.3}, {"has_words": 0, "compound": 0.0, "confidence": 0.0}, "neutral"),
        ({"happy": 0.45, "sad": 0.3}, {"has_words": 1, "compound": -0.8, "confidence": 0.9}, "sad"),
        ({"happy": 0.6, "sad": 0.4}, {"has_words": 1, "compound": -0.8, "confidence": 0.9}, "happy"),
        ({"angry": 0.45, "sad": 0.3}, {"has_words": 1, "compound": -0.8, "confidence": 0.9}, "angry"),
    ],
)
def test_rules_change_what_they_say_and_explain_it(
    voice: dict[str, float], words: dict[str, float], label: str
) -> None:
    decision = apply(DEFAULT, voice, words)
    assert decision.label == label
    changed = label != max(voice, key=lambda one: voice[one])
    assert (decision.why is not None) == changed
    if decision.why:
        assert all(word in decision.why for word in ("voice said", "words said", "rule", label))
    assert apply((), voice, words).why is None


def test_recipes_of_fusion_are_whole_and_tell_what_is_wrong() -> None:
    recipe = load_recipe("ravdess-fusion-gated")
    assert recipe.decision.rules == ()
    rule = {"name": "mine", "voice": ["neutral"], "words": "negative", "to": ["sad"]}
    changed = load_recipe("ravdess-fusion", {"decision.rules": [rule]})
    assert changed.decision.rules == (Rule("mine", ("neutral",), "negative", to=("sad",)),)
    import tomllib

    assert validate(tomllib.loads(to_toml(changed)), "again") == changed
    for overrides, match in (
        ({"decision.rules": [{**rule, "polarity": 3}]}, "polarity"),
        ({"decision.rules": [{**rule, "wrods": "x"}]}, "wrods"),
        ({"model.acoustic": {"family": "ann", "hiden": [3]}}, "hiden"),
        ({"model.acoustic": {"family": "fusion-late"}}, "acoustic part"),
        ({"model.acoustic": {"family": "nn"}}, "unknown model family"),
        ({"features.set": "comprehensive"}, "needs the embeddings"),
    ):
        with pytest.raises(RecipeError, match=match):
            load_recipe("ravdess-fusion-gated", overrides)


@pytest.fixture(scope="module")
def sad_clip() -> Path:
    return EXAMPLES / "plain.wav"


def test_words_take_part_in_the_answer_of_the_default_model_and_say_how(sad_clip: Path) -> None:
    recognizer = EmotionRecognizer(fuse=True)
    transcript = Transcript("I miss her so much, I cried all night.")
    alone, found = recognizer.predict(sad_clip), recognizer.predict(sad_clip, transcript=transcript)
    assert found.probabilities["sad"] > alone.probabilities["sad"]
    assert found.fusion is not None
    assert found.fusion["used"] == ["voice", "words"]
    assert found.fusion["words"]["label"] == "sad"
    assert found.fusion["voice"]["label"] == alone.label
    assert 0 < found.fusion["weight"] <= 1
    if found.label != alone.label:
        assert f"together {found.label}" in (found.why or ("",))[-1]
    json.dumps(found.to_dict())


def test_words_that_are_only_reported_and_words_that_say_nothing_change_nothing(sad_clip: Path) -> None:
    transcript = Transcript("I miss her so much, I cried all night.")
    alone = EmotionRecognizer().predict(sad_clip)
    reported = EmotionRecognizer().predict(sad_clip, transcript=transcript)
    assert reported.probabilities == alone.probabilities
    assert reported.fusion is None
    german = EmotionRecognizer(fuse=True).predict(sad_clip, transcript=Transcript("Ich bin so traurig.", language="de"))
    assert german.probabilities == alone.probabilities
    assert german.fusion is not None
    assert german.fusion["used"] == ["voice"]


def test_rules_of_the_caller_change_the_label_and_are_told(sad_clip: Path) -> None:
    rule = Rule("always", words="negative", polarity=0.1, to=("disgust",))
    recognizer = EmotionRecognizer(rules=[rule])
    found = recognizer.predict(sad_clip, transcript=Transcript("I miss her so much, I cried all night."))
    assert found.label == "disgust"
    assert found.confidence == found.probabilities["disgust"]
    assert "rule 'always' made it disgust" in (found.why or ("",))[-1]
    assert recognizer.predict(sad_clip).label != "disgust"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_voice_and_words_is_recognised_with(name: str, clips: Any, tmp_path: Path, sad_clip: Path) -> None:
    features = spec("prosodic", {}, {})
    rng = np.random.default_rng(2)
    # Clips around the one that is recognised, so that the model has some doubt.
    voice = extract(audio.read(sad_clip), features) * rng.normal(1, 0.3, size=(len(clips), features.dimension))
    X = voiced(voice, PLAIN)
    found = families.fit(families.build(*families.parse(MODELS[name], 0)), dataclasses.replace(clips, X=X))
    card = ModelCard(name, f"fusion-{name}", LABELS, features, text={**TEXT, "method": name})
    export(found, card, tmp_path / "model.onnx", X[:8])
    recognizer = EmotionRecognizer(tmp_path / "model.onnx")
    alone = recognizer.predict(sad_clip)
    told = recognizer.predict(sad_clip, transcript=Transcript("I miss her so much, I cried all night."))
    assert told.fusion is not None
    assert told.fusion["method"] == name
    assert (told.fusion["weight"] is None) == (name == "feature")
    assert told.fusion["voice"]["probabilities"] == pytest.approx(dict(alone.probabilities))
    assert told.probabilities != pytest.approx(dict(alone.probabilities))
    reported = EmotionRecognizer(tmp_path / "model.onnx", fuse=False).predict(
        sad_clip, transcript=Transcript("I miss her so much, I cried all night.")
    )
    assert reported.fusion is None
    assert reported.probabilities == pytest.approx(dict(alone.probabilities))


def test_a_model_fitted_on_other_features_of_words_is_refused() -> None:
    card = ModelCard("old", "fusion-late", LABELS, FeatureSpec("toy", 1, 4), text={**TEXT, "version": 99})
    with pytest.raises(ModelError, match="train it again"):
        pool_of(card)
