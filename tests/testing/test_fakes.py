"""`emovox.testing`: the fake recogniser behaves as the real one, synthetic voices are what they say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovox import EmotionRecognizer, Failure, GateOptions, InputError, NoSpeechError, Waveform
from emovox.testing import FakeRecognizer, synthetic_voice


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    soundfile.write(path, synthetic_voice(4.0, seed=1), 16000)
    return path


def test_a_voice_is_its_seed_and_has_the_peak() -> None:
    one = synthetic_voice(1.5, seed=3)
    np.testing.assert_array_equal(one, synthetic_voice(1.5, seed=3))
    assert not np.array_equal(one, synthetic_voice(1.5, seed=4))
    assert one.shape == (24000,)
    assert one.dtype == np.float32
    assert np.abs(one).max() == pytest.approx(0.5)


@pytest.mark.parametrize("hertz", [120.0, 210.0])
def test_the_strongest_period_is_the_pitch(hertz: float) -> None:
    sound = synthetic_voice(3.0, pitch=hertz, pause=0.0)
    frame = sound[8000 : 8000 + 8000].astype(float)
    spectrum = np.abs(np.fft.rfft(frame, 1 << 16)) ** 2
    lags = np.fft.irfft(spectrum)[round(16000 / 400) : round(16000 / 60)]
    assert 16000 / (np.argmax(lags) + round(16000 / 400)) == pytest.approx(hertz, rel=0.12)


def test_impossible_voices_are_refused() -> None:
    impossible: tuple[dict[str, Any], ...] = ({"duration": 0.0}, {"pitch": 20.0}, {"pause": -1.0})
    for wrong in impossible:
        with pytest.raises(InputError, match="expected more than 0 s"):
            synthetic_voice(**wrong)


def test_the_fake_answers_by_its_rule(clip: Path, tmp_path: Path) -> None:
    fake = FakeRecognizer()
    assert isinstance(fake, EmotionRecognizer)
    first = fake.predict(clip)
    assert first == fake.predict(clip) == FakeRecognizer().predict(clip)
    assert first.label in fake.card.labels
    assert first.probabilities[first.label] == pytest.approx(0.7)
    assert FakeRecognizer(("calm", "angry"), answer="angry").predict(clip).label == "angry"
    found = list(fake.predict_many([clip, tmp_path / "missing.wav"]))
    assert isinstance(found[1], Failure)
    window = fake.assess(Waveform(synthetic_voice(2.0)), "x")
    assert window is not None
    assert window.confidence == pytest.approx(0.7)
    assert fake.timeline(clip).duration == pytest.approx(4.0)


def test_the_gate_is_the_real_one_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(scale=0.1, size=32000), 16000)
    assert FakeRecognizer(answer="sad").predict(path).label == "sad"
    with pytest.raises(NoSpeechError):
        FakeRecognizer(gate=GateOptions()).predict(path)


def test_a_fake_model_pickles(clip: Path) -> None:
    model = FakeRecognizer(answer="sad")._model
    assert pickle.loads(pickle.dumps(model)).card == model.card
    with pytest.raises(InputError, match="one of them"):
        FakeRecognizer(answer="bored")
