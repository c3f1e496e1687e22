"""Settings: named ones change answers as the estimator says, recordings are their own setting, streams learn theirs."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovox import EmotionRecognizer, InputError, Timeline, TimelineOptions
from emovox.errors import ProfileError
from emovox.features import sets
from emovox.model import file as model_file
from emovox.model import profiles
from emovox.model.file import Model, ModelCard
from emovox.model.profiles import Statistics
from emovox.recognition.streaming import StreamingRecognizer, collect
from emovox.types import FeatureSpec, Float32Array, Prediction, Setting, Waveform, too_short
from tests.conftest import ANY_SOUND, export_personal, speech


@pytest.fixture(scope="module")
def model(personal_model: Path) -> Model:
    return model_file.load(personal_model)


@pytest.fixture(scope="module")
def talk() -> Float32Array:
    """Six utterances with pauses between them."""
    parts = [part for seed in range(6) for part in (np.zeros(16000, np.float32), speech(1.0 + 0.3 * seed, seed))]
    return np.concatenate([*parts, np.zeros(16000, np.float32)])


def numbers(one: Prediction) -> list[float]:
    return list(one.probabilities.values())


def same(one: Timeline, other: Timeline) -> bool:
    """Whether two timelines are equal but for the names of their settings."""
    unnamed = [
        [dataclasses.replace(part, setting=part.setting and Setting("", part.setting.heard)) for part in each]
        for each in (one, other)
    ]
    return unnamed[0] == unnamed[1]


def test_a_setting_changes_answers_as_the_estimator_says(tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline

    adaptive = pytest.importorskip("emovox.lab.estimators.adaptive")
    from emovox.lab.export.export import export

    rng, spec = np.random.default_rng(0), sets.spec("classic193")
    heard = np.stack([sets.extract(Waveform(speech(1.0, seed)), spec) for seed in range(12)])
    y, speakers = np.tile(["neutral", "sad"], 60), np.repeat(["ann", "bob", "cem", "dan"], 30)
    noise = rng.normal(size=(120, heard.shape[1])) + 0.3 * (y == "sad")[:, np.newaxis]
    X = (heard.mean(axis=0) + heard.std(axis=0) * noise).astype(np.float32)
    options = adaptive.AdaptiveOptions(components=4, batch_size=32, epochs=2, draws=2, least_spread=0.0)
    estimator = adaptive.AdaptiveClassifier(options).fit(X, y, speakers)
    card = ModelCard("tiny", "adaptive", ("neutral", "sad"), spec)
    model = export(Pipeline([("model", estimator)]), card, tmp_path / "model.onnx", X[:8])

    plain = EmotionRecognizer(model, gate=ANY_SOUND)
    windows = [Waveform(speech(1.0, seed)) for seed in range(12)]
    axes = estimator.values(heard)
    level = Statistics.of(axes)
    kept = {"clips": 12, "seconds": 12.0}
    setting = profiles.build("setting", "office", model, level, **kept)  # type: ignore[arg-type]
    speaker = profiles.build("speaker", "anna", model, Statistics.of(axes[:3]), **kept)  # type: ignore[arg-type]
    for known, baseline in (
        ({}, estimator.baseline()),
        ({"setting": setting}, estimator.baseline(axes)),
        ({"speaker": speaker}, estimator.baseline(None, axes[:3])),
        ({"setting": setting, "speaker": speaker}, estimator.baseline(axes, axes[:3])),
    ):
        judge = EmotionRecognizer(model, gate=ANY_SOUND, **known)  # type: ignore[arg-type]
        found = [judge.assess(window, "a") for window in windows]
        expected = estimator.predict_proba(heard, baseline)
        np.testing.assert_allclose([numbers(one) for one in found if one], expected, atol=2e-4)
    changed = np.abs(estimator.predict_proba(heard, estimator.baseline(axes)) - estimator.predict_proba(heard))
    assert changed.max() > 0.01
    assert plain.assess(windows[0], "a") is not None


def test_a_stream_is_the_file_with_a_fixed_setting(model: Model, talk: Float32Array) -> None:
    setting = EmotionRecognizer(model).adapt("office", [(speech(14, 5), 16000)])
    recognizer, options = EmotionRecognizer(model, setting=setting), TimelineOptions(smoothing=1.0)
    stream = StreamingRecognizer(recognizer, options).open("talk")
    events = [event for piece in np.array_split(talk, 37) for event in stream.push(piece)] + stream.finish()
    live = collect(events, "talk", stream.heard, options)
    assert live == recognizer.timeline(talk, options, rate=16000, name="talk")
    assert {one.setting for one in live} == {Setting("office", setting.count)}


def test_recordings_are_their_own_setting_as_if_they_had_been_heard_before(
    model: Model, talk: Float32Array, tmp_path: Path
) -> None:
    plain, auto = EmotionRecognizer(model), EmotionRecognizer(model, setting="auto")
    own = EmotionRecognizer(model, setting=plain.adapt("talk", [(talk, 16000)]))
    options = TimelineOptions(smoothing=1.0, merge=0.5)
    expected = own.timeline(talk, options, rate=16000)
    found = auto.timeline(talk, options, rate=16000)
    assert same(found, expected)
    assert found != plain.timeline(talk, options, rate=16000)
    assert {one.setting and one.setting.name for one in found} == {"auto"}
    assert numbers(auto.predict(talk, rate=16000)) == numbers(own.predict(talk, rate=16000))

    for seed in range(4):
        soundfile.write(tmp_path / f"{seed}.wav", speech(1.5, seed), 16000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    everything = plain.adapt("folder", tmp_path, left_out=lambda error: None)
    expected_many = list(EmotionRecognizer(model, setting=everything).predict_many(tmp_path))
    told: list[tuple[int, float]] = []
    found_many = list(auto.predict_many(tmp_path, jobs=2, progress=lambda *one: told.append(one)))
    assert [getattr(one, "kind", "") for one in found_many] == [""] * 4 + ["AudioError"]
    for one, other in zip(found_many[:4], expected_many, strict=False):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert numbers(one) == numbers(other)
        assert one.setting == Setting("auto", everything.count)
    assert max(seconds for index, seconds in told if index == 0) == pytest.approx(1.5)


def test_a_short_file_stays_as_it_is(model: Model) -> None:
    samples = speech(1.5)
    found = EmotionRecognizer(model, setting="auto").predict(samples, rate=16000)
    assert found == EmotionRecognizer(model).predict(samples, rate=16000)
    assert found.setting is None
    silence = np.zeros(32000, np.float32)
    assert len(EmotionRecognizer(model, setting="auto").timeline(silence, rate=16000)) == 0


def test_a_stream_knows_what_it_has_heard_before(model: Model, talk: Float32Array) -> None:
    speaker = EmotionRecognizer(model).enroll("anna", [(speech(3, 9), 16000)])
    recognizer = EmotionRecognizer(model, setting="auto", speaker=speaker)
    heard: list[Waveform] = []

    class Spy:
        """Remembers the windows of a stream."""

        def __init__(self) -> None:
            self.judge = recognizer.for_stream()
            self.threshold = self.judge.threshold

        def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
            found = self.judge.assess(window, name, running=running)
            if found and not running:
                heard.append(window)
            return found

    stream = StreamingRecognizer(Spy()).open("talk")
    results = [one.prediction for one in (*stream.push(talk), *stream.finish()) if one.kind == "result"]
    assert len(results) == len(heard) >= 6
    level = Statistics.nothing(model.axes_width)
    for window, found in zip(heard, results, strict=True):
        known = None if level.count < 3 else level
        given = sets.extract(window, model.card.features)[np.newaxis]
        output = model.run(given, baseline=profiles.baseline(model, known, speaker))
        assert found is not None
        np.testing.assert_allclose(numbers(found), output.probabilities[0], atol=1e-5)
        assert found.setting == (known and Setting("auto", level.count))
        assert output.axes is not None
        level = level.merged(Statistics.of(output.axes))
    again = StreamingRecognizer(recognizer).open("again").push(talk[:40000])
    assert all(one.prediction.setting is None for one in again if one.prediction)


def test_overlapping_windows_of_intervals_count_once(model: Model) -> None:
    samples, options = speech(20), TimelineOptions("interval", window=4.0, hop=1.0)
    stream = StreamingRecognizer(EmotionRecognizer(model, setting="auto"), options).open("talk")
    found = [one.prediction for one in (*stream.push(samples), *stream.finish()) if one.prediction]
    assert found[-1].setting is not None
    assert found[-1].setting.heard <= 6


def test_what_can_be_read_only_once_is_refused(model: Model) -> None:
    class Pipe(io.RawIOBase):
        """A stream that does not go back."""

        name = "pipe"

        def readable(self) -> bool:
            return True

    with pytest.raises(InputError, match="setting 'auto' reads a recording twice, and pipe can be read only once"):
        EmotionRecognizer(model, setting="auto").predict(Pipe())  # type: ignore[arg-type]


def variant(tmp_path: Path, **card: Any) -> Model:
    return model_file.load(export_personal(tmp_path / "variant.onnx", seed=0, **card))


def test_neutral_speech_has_a_negative_count() -> None:
    plain = Statistics.of([[0.0, 2.0], [2.0, 2.0]])
    neutral = dataclasses.replace(plain, neutral=True)
    np.testing.assert_array_equal(plain.packed(), [2, 1, 2, 1, 0])
    np.testing.assert_array_equal(neutral.packed(), [-2, 1, 2, 1, 0])
    assert [one.merged(other).neutral for one in (neutral, plain) for other in (neutral, plain)] == [True, *[False] * 3]


def test_neutral_speech_is_told_to_the_model_and_has_a_threshold_of_its_own(tmp_path: Path, talk: Float32Array) -> None:
    model = variant(tmp_path, threshold=0.0, known_threshold=0.0, neutral_threshold=1.0)
    recognizer = EmotionRecognizer(model)
    clips = [(speech(4, 5), 16000)]
    known, other = (recognizer.enroll("anna", clips, voice=False, neutral=neutral) for neutral in (True, False))
    assert dataclasses.replace(known, neutral=False) == other
    answers = [EmotionRecognizer(model, speaker=one).predict((talk, 16000)) for one in (known, other)]
    assert [one.abstained for one in answers] == [True, False]
    assert answers[0].probabilities != answers[1].probabilities
    with pytest.raises(ProfileError, match="makes no difference between neutral and other speech"):
        EmotionRecognizer(variant(tmp_path)).enroll("anna", clips, neutral=True)


def test_what_is_known_has_a_threshold_of_its_own(tmp_path: Path, talk: Float32Array) -> None:
    model = variant(tmp_path, threshold=0.0, known_threshold=1.0)
    setting = EmotionRecognizer(model).adapt("office", [(speech(14, 5), 16000)])
    cases: dict[str, dict[str, Any]] = {
        "nothing": {},
        "setting": {"setting": setting},
        "auto": {"setting": "auto"},
        "given": {"setting": setting, "threshold": 0.0},
    }
    answers = {
        name: [one.abstained for one in EmotionRecognizer(model, **known).timeline(talk, rate=16000)]
        for name, known in cases.items()
    }
    assert (set(answers["nothing"]), set(answers["setting"])) == ({False}, {True})
    assert (set(answers["auto"]), set(answers["given"])) == ({True}, {False})
    stream = StreamingRecognizer(EmotionRecognizer(model, setting="auto"), TimelineOptions(smoothing=1.0)).open()
    results = [one.prediction for one in (*stream.push(talk), *stream.finish()) if one.kind == "result"]
    assert [one.abstained for one in results if one][:3] == [False] * 3
    assert [one.abstained for one in results if one][3:] == [True] * (len(results) - 3)


def test_too_little_speech_is_no_answer(tmp_path: Path) -> None:
    recognizer = EmotionRecognizer(variant(tmp_path, threshold=0.0, shortest=1.0))
    samples = np.concatenate([np.zeros(16000), speech(0.5, 1), np.zeros(24000), speech(3, 4), np.zeros(16000)])
    parts = recognizer.timeline(samples.astype(np.float32), rate=16000).predictions
    long = [one.end - one.start > 1.3 for one in parts]
    assert any(long)
    assert not all(long)
    assert [one.abstained for one in parts] == [not one for one in long]
    assert next(one.why for one in parts if one.abstained) == ("too little speech: less than 1 s",)
    whole = recognizer.predict(samples.astype(np.float32), rate=16000)
    assert (whole.abstained, whole.why) == (False, None)
    short = recognizer.predict(samples[:40000].astype(np.float32), rate=16000)
    assert (short.abstained, too_short(short)) == (True, True)
    assert short.to_dict()["why"] == ["too little speech: less than 1 s"]


def test_a_card_says_when_it_abstains() -> None:
    from emovox.outputs.pages import details

    card = ModelCard("x", "y", ("a", "b"), FeatureSpec("s", 1, 2), threshold=0.5, known_threshold=0.4, shortest=0.6)
    (row,) = (row[1] for row in details(card).rows if row[0] == "abstains")
    assert row == "below a confidence of 0.50, with a setting or speaker known below 0.40, below 0.6 s of speech"
    assert ModelCard.from_dict(card.to_dict()) == card
