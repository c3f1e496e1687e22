"""From a recording to a label: every way in gives the same numbers, and long recordings cost no memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovox import (
    AudioError,
    EmotionRecognizer,
    Failure,
    InputError,
    ModelError,
    NoSpeechError,
    Prediction,
    TimelineOptions,
    WindowOptions,
    audio,
)
from emovox.features import sets
from emovox.model.file import builtin, load
from emovox.recognition.timeline import join_rest
from emovox.types import Waveform
from tests.conftest import ANY_SOUND, sine, speech


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer()


def test_every_built_in_model_works() -> None:
    found = {name: EmotionRecognizer(name).predict(speech(1), rate=16000) for name in builtin()}
    assert list(found) == ["default", "intensity"]
    assert sum(found["default"].probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert (found["intensity"].dimensions or {}).keys() == {"intensity"}


def test_a_recogniser_shows_what_it_judges_by(recognizer: EmotionRecognizer) -> None:
    assert repr(recognizer) == f"<EmotionRecognizer default, threshold {recognizer.threshold:.2f}>"
    assert (
        repr(EmotionRecognizer(setting="auto", threshold=0.5))
        == "<EmotionRecognizer default, setting auto, threshold 0.50>"
    )


def test_the_card_of_the_built_in_model_is_honest(recognizer: EmotionRecognizer) -> None:
    card = recognizer.card
    assert len(card.labels) == 8
    assert {corpus.name for corpus in card.corpora} == {"ravdess", "tess", "nemo", "emodb"}
    assert "non-commercial" in card.licence
    assert card.evaluation["protocol"]["speaker_independent"] is True
    assert 0.3 < card.evaluation["uar"] < 0.9
    assert card.intended_use
    assert card.limitations


def test_every_way_in_gives_the_same(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    samples = speech(2)
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    expected = recognizer.predict(samples, rate=16000)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert recognizer.predict(source).probabilities == expected.probabilities
    assert recognizer.predict(path).file == str(path)


@pytest.mark.corpora
def test_real_clips_are_better_than_chance(recognizer: EmotionRecognizer, ravdess_clips: list[Path]) -> None:
    # The built-in model was trained on these very clips: this is a test of the path, not of the accuracy.
    predictions = [recognizer.predict(path) for path in ravdess_clips]
    truth = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
    assert sum(p.label == t for p, t in zip(predictions, truth, strict=True)) >= 5


@pytest.mark.corpora
def test_a_clip_is_the_models_own_arithmetic(recognizer: EmotionRecognizer, ravdess_clips: list[Path]) -> None:
    for path in ravdess_clips:
        samples, rows, weights = audio.read(path).samples, [], []
        for one in recognizer.timeline(path).predictions:
            first, last = round((one.start - 0.1) * 16000), round((one.end + 0.1) * 16000)
            features = sets.extract(Waveform(samples[max(0, first) : last]), recognizer.card.features)
            rows.append(load().run(features[None]).probabilities[0])
            weights.append(one.end - one.start)
        expected = np.average(rows, axis=0, weights=weights)
        found = recognizer.predict(path)
        np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-6)
        assert found.confidence == max(found.probabilities.values())
        assert found.label == recognizer.card.labels[int(np.argmax(expected))]


def test_one_by_one_is_the_same_as_many(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.wav")
        soundfile.write(paths[-1], speech(1, i), 16000)
    assert list(recognizer.predict_many(paths)) == [recognizer.predict(path) for path in paths]


def test_a_bad_recording_among_many_is_reported(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    good = tmp_path / "good.wav"
    soundfile.write(good, speech(1), 16000)
    results = list(recognizer.predict_many([tmp_path / "missing.wav", good]))
    assert isinstance(results[0], Failure)
    assert "missing.wav" in results[0].error
    assert isinstance(results[1], Prediction)


def test_a_long_recording_is_the_mean_of_its_utterances(recognizer: EmotionRecognizer) -> None:
    samples = np.concatenate([speech(6), speech(6, 7), speech(6, 3), speech(4, 5)])
    whole = recognizer.predict(samples, rate=16000)
    parts = recognizer.timeline(samples, rate=16000).predictions
    assert len(parts) > 2
    rows = np.array([list(part.probabilities.values()) for part in parts])
    expected = np.average(rows, axis=0, weights=[part.end - part.start for part in parts])
    np.testing.assert_allclose(list(whole.probabilities.values()), expected, atol=1e-6)
    assert (whole.start, whole.end) == (0, 22)


@pytest.mark.parametrize("name", ["plain", "lively", "slow", "loud"])
def test_one_utterance_has_one_answer(recognizer: EmotionRecognizer, name: str) -> None:
    path = f"examples/{name}.wav"
    (part,) = recognizer.timeline(path).predictions
    whole = recognizer.predict(path)
    assert whole.probabilities == part.probabilities
    assert (whole.label, whole.confidence, whole.abstained) == (part.label, part.confidence, part.abstained)


def test_the_older_name_for_arrays_gives_the_same_and_warns(recognizer: EmotionRecognizer) -> None:
    samples = speech(1)
    with pytest.warns(DeprecationWarning, match="predict_array is called predict"):
        found = recognizer.predict_array(samples, 16000, "take 1")

    assert found == recognizer.predict(samples, rate=16000, name="take 1")


def test_a_file_is_windowed_like_an_array(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    samples = np.concatenate([speech(6), speech(8.5, 2)])
    path = tmp_path / "long.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    seen: list[float] = []
    prediction = recognizer.predict(path, progress=seen.append)
    assert prediction.probabilities == recognizer.predict(samples, rate=16000).probabilities
    assert seen == [10.0, 14.5]


@pytest.mark.parametrize(
    ("length", "expected"), [(5, [5]), (8.9, [8.9]), (9, [6, 3]), (14.9, [6, 8.9]), (18, [6, 6, 6])]
)
def test_a_short_rest_joins_the_window_before(length: float, expected: list[float]) -> None:
    samples = np.zeros(round(length * 16000), np.float32)
    blocks = [Waveform(samples[i : i + 96000], i / 16000) for i in range(0, len(samples), 96000)]
    windows = list(join_rest(blocks, 3.0))
    assert [round(window.duration, 3) for window in windows] == expected
    assert sum(len(window.samples) for window in windows) == len(samples)


def test_silent_stretches_do_not_count(recognizer: EmotionRecognizer) -> None:
    samples = speech(6)
    padded = np.concatenate([np.zeros(2 * 96000, np.float32), samples, np.zeros(96000, np.float32)])
    expected, found = recognizer.predict(samples, rate=16000), recognizer.predict(padded, rate=16000)
    assert found.label == expected.label
    assert found.confidence == pytest.approx(expected.confidence, abs=0.1)  # boundaries may move by a frame


def test_stretches_without_speech_do_not_count(recognizer: EmotionRecognizer) -> None:
    samples = speech(6)
    mixed = np.concatenate([sine(440, 12), samples, sine(300, 6)])
    found = recognizer.predict(mixed, rate=16000)
    assert found.label == recognizer.predict(samples, rate=16000).label
    assert (found.start, found.end) == (0, 24)


NOISE = np.random.default_rng(0).normal(scale=0.1, size=48000).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        sine(440, 3),
        NOISE,
        np.concatenate([sine(frequency, 0.3) for frequency in (262, 294, 330, 349, 392, 440, 494, 523)]),
        np.concatenate([np.zeros(96000, np.float32), NOISE, np.zeros(96000, np.float32)]),
    ],
    ids=["tone", "noise", "melody", "noise in silence"],
)
def test_what_is_no_speech_is_refused_unless_the_gate_is_off(
    samples: np.ndarray, recognizer: EmotionRecognizer
) -> None:
    with pytest.raises(NoSpeechError, match=r"^take 1 holds no speech that can be judged: give a recording of"):
        recognizer.predict(samples, rate=16000, name="take 1")
    prediction = EmotionRecognizer(gate=ANY_SOUND).predict(samples, rate=16000)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_the_gate_changes_no_answer(recognizer: EmotionRecognizer) -> None:
    samples = speech(20)
    without = EmotionRecognizer(gate=ANY_SOUND).predict(samples, rate=16000)
    assert without == recognizer.predict(samples, rate=16000)


def test_the_threshold_of_the_model_can_be_overruled(recognizer: EmotionRecognizer) -> None:
    assert recognizer.threshold == recognizer.card.threshold
    confidence = recognizer.predict(speech(3), rate=16000).confidence
    for threshold, abstained in ((0.0, False), (confidence, False), (confidence + 1e-6, True), (1.0, True)):
        assert EmotionRecognizer(threshold=threshold).predict(speech(3), rate=16000).abstained is abstained
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"threshold is .*: expected a confidence from 0 to 1"):
            EmotionRecognizer(threshold=threshold)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(16000, np.float32), "silent"),
        (np.zeros(0, np.float32), "no samples"),
        (sine(200, 0.02), "too short"),
        (np.full(16000, np.nan, np.float32), r"NaN|nan|finite"),
    ],
)
def test_unusable_samples_are_refused(recognizer: EmotionRecognizer, samples: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer.predict(samples, rate=16000)


def test_the_window_is_an_option() -> None:
    short = EmotionRecognizer(windows=WindowOptions(duration=2.0))
    long = speech(6)
    parts = short.timeline(long, TimelineOptions(window=2.0), rate=16000).predictions
    assert len(parts) >= 3
    rows = [list(one.probabilities.values()) for one in parts]
    expected = np.average(rows, axis=0, weights=[one.end - one.start for one in parts])
    np.testing.assert_allclose(list(short.predict(long, rate=16000).probabilities.values()), expected)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"no model 'nothing': .*built-in name \(default"):
        EmotionRecognizer("nothing")
