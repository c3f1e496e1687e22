"""The microphone check finds each fault that is built into good speech, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from emovox.live.state import advice, measure
from tests.conftest import sine, speech

Samples = NDArray[np.float32]


def noise(level: float, duration: float = 5.0) -> Samples:
    return (10 ** (level / 20) * np.random.default_rng(0).normal(size=round(duration * 16000))).astype(np.float32)


def good() -> Samples:
    return speech(5) + noise(-70)


def advised(samples: Samples, rate: int = 16000) -> str:
    return " / ".join(advice(measure(samples, rate)))


def test_good_speech_needs_no_advice() -> None:
    for seed in range(4):
        assert advised(speech(5, seed) + noise(-70)) == ""


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(80000, np.float32), "every sample is zero"),
        (noise(-80), "very quiet"),
        (good() * 0.005, "very quiet"),
        (np.clip(good() * 8, -1, 1), "cut off at full scale"),
        (good() + noise(-22), "above the background"),
        (np.asarray(soxr.resample(soxr.resample(good(), 16000, 7000), 7000, 16000), np.float32), "Bluetooth"),
        (good() * 0.5 + 0.2, "constant offset of +0.20"),
        (good()[:4000], "too little to check"),
        (good()[:0], "too little to check"),
        (np.ones(80000, np.float32), "cut off at full scale"),
    ],
)
def test_each_fault_is_named(samples: Samples, words: str) -> None:
    assert words in advised(samples)


def test_a_low_sampling_rate_is_named() -> None:
    assert "8000 Hz is less than the 16000 Hz" in advised(good(), 8000)
    assert advised(good(), 48000) == ""


def test_levels_are_those_of_a_tone() -> None:
    found = measure(sine(400, 1, amplitude=0.5))
    assert found.peak == pytest.approx(-6.02, abs=0.01)
    assert found.loud == pytest.approx(-9.03, abs=0.01)
    assert found.noise == pytest.approx(-9.03, abs=0.05)
    assert found.offset == pytest.approx(0, abs=1e-4)
    assert found.high < 1e-6


def test_noise_floor_and_distance_are_those_that_were_mixed() -> None:
    samples = np.concatenate([sine(400, 1, amplitude=0.1), np.zeros(16000, np.float32)]) + noise(-60, 2)
    found = measure(samples)
    assert found.noise == pytest.approx(-60, abs=1)
    assert found.snr == pytest.approx(-23 + 60, abs=1)


@pytest.mark.parametrize("length", [1, 2, 319, 320, 321, 7999, 8001])
def test_any_length_is_measured(length: int) -> None:
    assert measure(speech(1)[:length]).duration == length / 16000
