"""Noise and mixtures against closed forms: the ratio asked for is the ratio got, the colour is the slope."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.augment import babble, coloured_noise, mix
from emovox.errors import InputError
from emovox.types import Float
from tests.conftest import sine


def ratio_db(signal: Float, noise: Float) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=float)) / np.mean(np.square(noise, dtype=float))))


@given(snr=st.floats(-10, 40), length=st.integers(10, 60000), seed=st.integers(0, 99))
def test_mixture_has_the_ratio_that_was_asked_for(snr: float, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    speech = sine(220, 1, amplitude=0.02)
    noise = rng.normal(0, 0.01, length).astype(np.float32)
    mixed = mix(speech, noise, snr, rng)

    assert mixed.dtype == np.float32
    assert len(mixed) == len(speech)
    assert np.abs(mixed).max() < 1  # nothing was scaled: speech and noise can be told apart again
    assert ratio_db(speech, mixed - speech) == pytest.approx(snr, abs=0.01)


def test_mixture_beyond_full_scale_is_scaled_as_a_whole(rng: np.random.Generator) -> None:
    speech = sine(220, 1, amplitude=0.9)
    constant = np.ones(16000, dtype=np.float32)
    mixed = mix(speech, constant, 0, rng)

    assert np.abs(mixed).max() == pytest.approx(1)
    unscaled = speech + np.sqrt(np.mean(np.square(speech)))
    np.testing.assert_allclose(mixed, unscaled / unscaled.max(), atol=1e-6)


def test_noise_longer_than_the_speech_is_cropped_at_random(rng: np.random.Generator) -> None:
    speech = sine(220, 0.1, amplitude=0.1)
    ramp = np.linspace(1 / 16000, 1, 16000, dtype=np.float32)
    starts = set()
    for _ in range(20):
        added = mix(speech, ramp, 20, rng) - speech
        np.testing.assert_allclose(np.diff(added), np.diff(added).mean(), rtol=0.2)  # one piece of the ramp
        starts.add(round(float(added[0] / np.diff(added).mean())))
    assert len(starts) > 10


def test_noise_shorter_than_the_speech_goes_round() -> None:
    speech = np.full(10, 0.1, dtype=np.float32)
    noise = np.array([1, 2, 3], dtype=np.float32)
    added = mix(speech, noise, 20, np.random.default_rng(0)) - speech

    np.testing.assert_allclose(added[:7], added[3:], rtol=1e-4)
    np.testing.assert_allclose(np.sort(added[:3] / added[:3].min()), [1, 2, 3], rtol=1e-4)


def test_silence_cannot_be_mixed(rng: np.random.Generator) -> None:
    tone, silence = sine(220, 0.1), np.zeros(1600, dtype=np.float32)
    with pytest.raises(InputError, match="ratio of 10 dB: the noise is silent"):
        mix(tone, silence, 10, rng)
    with pytest.raises(InputError, match="ratio of 10 dB: the noise is silent"):
        mix(tone, np.zeros(0, dtype=np.float32), 10, rng)
    with pytest.raises(InputError, match="ratio of 10 dB: the speech is silent"):
        mix(silence, tone, 10, rng)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_colour_is_the_slope_of_the_spectrum(exponent: float, rng: np.random.Generator) -> None:
    noise = coloured_noise(2**19, rng, exponent)
    power = np.square(np.abs(np.fft.rfft(noise.astype(float))))
    octaves = 2.0 ** np.arange(8, 18)
    levels = [power[int(low) : int(2 * low)].mean() for low in octaves]
    slope = np.polyfit(np.log2(octaves), 10 * np.log10(levels), 1)[0]

    assert slope == pytest.approx(-10 * np.log10(2) * exponent, abs=0.15)  # -3.01 dB an octave for each 1 / f
    assert np.mean(np.square(noise, dtype=float)) == pytest.approx(1, abs=1e-4)
    assert noise.mean() == pytest.approx(0, abs=1e-4)


def test_white_noise_is_gaussian(rng: np.random.Generator) -> None:
    noise = coloured_noise(100_001, rng)

    assert len(noise) == 100_001
    assert np.mean(np.abs(noise) < 1) == pytest.approx(0.6827, abs=0.01)
    assert np.mean(noise.astype(float) ** 4) == pytest.approx(3, abs=0.1)


def test_babble_weighs_voices_equally(rng: np.random.Generator) -> None:
    """Tones of very different levels and lengths arrive with equal power, each within a third of the total."""
    voices = [sine(hertz, 0.8, amplitude=level) for hertz, level in ((500, 0.01), (1000, 0.1), (2000, 0.9))]
    mixed = babble(voices, 32000, rng, talkers=3)
    power = np.square(np.abs(np.fft.rfft(mixed.astype(float)))) / (32000**2 / 2)

    assert mixed.dtype == np.float32
    assert np.mean(mixed**2) == pytest.approx(1, abs=0.01)
    for hertz in (500, 1000, 2000):
        assert power[2 * hertz - 20 : 2 * hertz + 20].sum() == pytest.approx(1 / 3, abs=0.01)


def test_babble_does_not_repeat_a_voice_while_there_are_others(rng: np.random.Generator) -> None:
    voices = [sine(300 * (k + 1), 1) for k in range(6)]
    for _ in range(5):
        power = np.square(np.abs(np.fft.rfft(babble(voices, 16000, rng))))
        assert [int(np.argmax(power[300 * k + 150 : 300 * k + 450])) for k in range(6)] == [150] * 6
    assert len(babble(voices[:1], 1000, rng, talkers=4)) == 1000


def test_babble_needs_a_voice(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="babble needs voices: none of the 2 given has any sound"):
        babble([np.zeros(100, dtype=np.float32), np.zeros(0, dtype=np.float32)], 100, rng)
    one_silent = babble([np.zeros(100, dtype=np.float32), sine(500, 0.1)], 1000, rng, talkers=2)
    assert np.isfinite(one_silent).all()
    assert one_silent.any()


def test_everything_is_repeatable() -> None:
    def make(seed: int) -> Float:
        rng = np.random.default_rng(seed)
        voices = [coloured_noise(2000, rng, exponent) for exponent in (0, 1, 2)]
        return mix(sine(220, 0.2), babble(voices, 1000, rng), 5, rng)

    np.testing.assert_array_equal(make(3), make(3))
    assert not np.array_equal(make(3), make(4))
