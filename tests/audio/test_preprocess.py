"""Preprocessing against closed forms, the loudness standard, librosa and real speech in noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray

from emovox import audio
from emovox.audio.preprocess import (
    Level,
    PreprocessOptions,
    loudness,
    normalise_loudness,
    normalise_peak,
    preprocess,
    reduce_noise,
    remove_dc,
    trim_silence,
)
from emovox.errors import InputError
from emovox.lab.augmentation import augment
from emovox.types import RATE, Float32Array, Waveform
from tests.conftest import sine

signals = numpy_strategies.arrays(
    np.float32, st.integers(0, 3000), elements=st.floats(-1e3, 1e3, width=32), fill=st.just(0)
)


def si_sdr(clean: Float32Array, estimate: Float32Array) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""
    target = clean * (clean @ estimate / (clean @ clean))
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


# The chain.
@settings(deadline=None)
@given(
    samples=signals,
    dc=st.booleans(),
    denoise=st.booleans(),
    trim=st.booleans(),
    level=st.sampled_from(["none", "peak", "loudness"]),
)
def test_any_signal_stays_finite_and_in_place(
    samples: Float32Array, dc: bool, denoise: bool, trim: bool, level: Level
) -> None:
    before = samples.copy()
    options = PreprocessOptions(dc=dc, denoise=denoise, trim=trim, level=level)
    cleaned = preprocess(Waveform(samples, start=3), options)

    assert cleaned.samples.dtype == np.float32
    assert np.isfinite(cleaned.samples).all()
    assert cleaned.start >= 3
    assert cleaned.end <= 3 + len(samples) / RATE + 1e-9
    if not trim:
        assert len(cleaned.samples) == len(samples)
    np.testing.assert_array_equal(samples, before)
    again = preprocess(Waveform(samples, start=3), options)
    np.testing.assert_array_equal(cleaned.samples, again.samples)


def test_defaults_remove_dc_and_set_the_peak() -> None:
    cleaned = preprocess(Waveform(sine(200, 1, amplitude=0.1) + np.float32(0.05))).samples

    assert abs(cleaned.mean()) < 1e-6
    assert 20 * np.log10(np.abs(cleaned).max()) == pytest.approx(-1, abs=1e-4)


def test_steps_run_in_their_order() -> None:
    """An offset would hide the silence from trimming, and trimming changes which peak there is to normalise."""
    speech = np.concatenate([np.zeros(RATE), sine(200, 1, amplitude=0.1), np.zeros(RATE)]).astype(np.float32)
    samples = speech + np.float32(0.5)
    cleaned = preprocess(Waveform(samples, start=10), PreprocessOptions(trim=True, trim_margin=0.25))

    assert cleaned.start == pytest.approx(10.75, abs=0.021)
    assert cleaned.duration == pytest.approx(1.5, abs=0.041)
    assert np.abs(cleaned.samples).max() == pytest.approx(10 ** (-1 / 20))
    dc_first, offset = trim_silence(remove_dc(samples), 40, 0.25)
    np.testing.assert_array_equal(cleaned.samples, normalise_peak(dc_first, -1))
    assert cleaned.start == 10 + offset / RATE


def test_everything_off_changes_nothing() -> None:
    waveform = Waveform(sine(200, 1))
    same = preprocess(waveform, PreprocessOptions(dc=False, level="none"))

    np.testing.assert_array_equal(same.samples, waveform.samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "rms"}, "unknown level 'rms': choose one of none, peak, loudness"),
        ({"peak": 3.0}, "peak is 3.0: expected a number from -60 to 0"),
        ({"peak": float("nan")}, "peak is nan: expected a number"),
        ({"loudness": 5.0}, "loudness is 5.0: expected a number from -60 to 0"),
        ({"denoise_floor": 1.0}, "denoise_floor is 1.0: expected a number from -100 to 0"),
        ({"trim_threshold": 0.0}, "trim_threshold is 0.0: expected a number from 1 to 200"),
        ({"trim_margin": -1.0}, "trim_margin is -1.0: expected a number from 0 to 60"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PreprocessOptions(**options)  # type: ignore[arg-type]


# Level.
@given(samples=signals, level=st.floats(-60, 0))
def test_peak_is_what_was_asked_for(samples: Float32Array, level: float) -> None:
    scaled = normalise_peak(samples, level)

    if samples.any():
        assert np.abs(scaled).max() == pytest.approx(10 ** (level / 20), rel=1e-6)
        np.testing.assert_array_equal(np.sign(scaled[np.abs(samples) > 1e-3]), np.sign(samples[np.abs(samples) > 1e-3]))
    else:
        assert not scaled.any()


def test_tone_of_the_standard_has_its_loudness() -> None:
    """BS.1770-4, annex 1: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS."""
    assert loudness(sine(997, 5, amplitude=1)) == pytest.approx(-3.01, abs=0.01)
    assert loudness(sine(997, 5, amplitude=0.1)) == pytest.approx(-23.01, abs=0.01)
    assert loudness(sine(997, 0.2, amplitude=1)) == pytest.approx(-3.01, abs=0.1)  # a single block


def levels(*parts: tuple[float, float]) -> Float32Array:
    """Return a 1 kHz tone that has each of some levels (dBFS) for some seconds."""
    return np.concatenate([sine(1000, seconds, amplitude=10 ** (level / 20)) for level, seconds in parts])


# EBU Tech 3341 (2016), table 1, cases 1 to 5: stereo tones there, one channel here, hence 3.01 LU less.
@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (levels((-23, 20)), -23),
        (levels((-33, 20)), -33),
        (levels((-36, 10), (-23, 60), (-36, 10)), -23),
        (levels((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), -23),
        (levels((-26, 20), (-20, 20.1), (-26, 20)), -23),
    ],
)
def test_gating_passes_the_cases_of_ebu_tech_3341(signal: Float32Array, expected: float) -> None:
    assert loudness(signal) == pytest.approx(expected - 3.01, abs=0.1)


def reference_power(samples: NDArray[np.float64], rate: int) -> float:
    """K-weight with the standard's own recursive filters, at their own rate of 48 kHz; no gate."""
    signal = pytest.importorskip("scipy.signal")
    assert rate == 48000
    shelf = ([1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585])
    high_pass = ([1, -2, 1], [1, -1.99004745483398, 0.99007225036621])
    weighted = signal.lfilter(*high_pass, signal.lfilter(*shelf, samples))
    return float(-0.691 + 10 * np.log10(np.mean(weighted**2)))


@pytest.mark.parametrize("frequency", [30, 50, 100, 300, 1000, 2000, 4000, 7500])
def test_weighting_is_that_of_the_standard(frequency: float) -> None:
    time = np.arange(48000 * 4) / 48000
    expected = reference_power(np.sin(2 * np.pi * frequency * time), 48000)

    assert loudness(sine(frequency, 4, amplitude=1)) == pytest.approx(expected, abs=0.05)


def test_loudness_of_speech_is_normalised(ravdess_clips: list[Path]) -> None:
    for path in ravdess_clips:
        # Without its pauses, which the absolute gate would count at one level and not at another.
        samples, _ = trim_silence(normalise_peak(audio.read(path).samples), 30, 0)
        for level in (-30, -23, -16):
            assert loudness(normalise_loudness(samples, level)) == pytest.approx(level, abs=0.01)


def test_silence_and_hardly_audible_noise_have_no_loudness() -> None:
    for samples in (np.zeros(RATE, np.float32), np.zeros(0, np.float32), sine(1000, 1, amplitude=1e-4)):
        assert loudness(samples) == -np.inf
        assert normalise_loudness(samples) is samples


# Trimming.
@pytest.mark.parametrize("threshold", [20, 30, 40, 60])
def test_trimming_agrees_with_librosa(ravdess_clips: list[Path], threshold: float) -> None:
    librosa = pytest.importorskip("librosa")
    for path in ravdess_clips:
        samples = audio.read(path).samples
        kept, offset = trim_silence(samples, threshold, margin=0)
        _, (begin, end) = librosa.effects.trim(samples, top_db=threshold, frame_length=320, hop_length=160)

        assert offset == pytest.approx(begin, abs=320)
        assert offset + len(kept) == pytest.approx(end, abs=480)
        np.testing.assert_array_equal(kept, samples[offset : offset + len(kept)])


@given(before=st.integers(0, RATE), inside=st.integers(400, RATE), after=st.integers(0, RATE), margin=st.floats(0, 0.5))
def test_trimming_keeps_the_sound_and_the_margin(before: int, inside: int, after: int, margin: float) -> None:
    samples = np.zeros(before + inside + after, dtype=np.float32)
    samples[before : before + inside] = 0.5
    kept, offset = trim_silence(samples, 40, margin)

    around = round(margin * RATE)
    assert max(0, before - around - 320) <= offset <= max(0, before - around)
    assert offset + len(kept) >= min(len(samples), before + inside + around)
    assert offset + len(kept) <= min(len(samples), before + inside + around + 320)


def test_silence_is_not_trimmed() -> None:
    for length in (0, 1, 100, RATE):
        kept, offset = trim_silence(np.zeros(length, dtype=np.float32))
        assert (len(kept), offset) == (length, 0)


# Noise reduction.
@pytest.mark.parametrize("length", [1, 100, 256, 511, 512, 513, 10_000, 64_001])
def test_gain_of_one_gives_the_input_back(length: int, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, length).astype(np.float32)

    np.testing.assert_allclose(reduce_noise(samples, floor=0), samples, atol=1e-6)


@settings(deadline=None)
@given(samples=signals, floor=st.floats(-60, 0))
def test_noise_reduction_never_amplifies(samples: Float32Array, floor: float) -> None:
    cleaned = reduce_noise(samples, floor)

    assert len(cleaned) == len(samples)
    assert np.sum(np.square(cleaned, dtype=float)) <= np.sum(np.square(samples, dtype=float)) * (1 + 1e-5)
    if not samples.any():
        assert not cleaned.any()


def test_stationary_noise_falls_to_the_floor() -> None:
    noise = augment.coloured_noise(5 * RATE, np.random.default_rng(0)) * np.float32(0.01)
    for floor in (-10, -20):
        left = reduce_noise(noise, floor)
        drop = 10 * np.log10(np.mean(left**2) / np.mean(noise**2))
        assert floor - 0.1 <= drop < floor + 2  # now and then the noise exceeds its own estimate


def test_tone_that_comes_and_goes_is_kept_while_noise_is_reduced(rng: np.random.Generator) -> None:
    tone = sine(1000, 4, amplitude=0.3)
    tone[: 2 * RATE] = 0
    noise = augment.coloured_noise(4 * RATE, rng) * np.float32(0.01)
    cleaned = reduce_noise(tone + noise)

    inside = slice(5 * RATE // 2, 7 * RATE // 2)
    assert np.sqrt(2 * np.mean(cleaned[inside] ** 2)) == pytest.approx(0.3, rel=0.01)
    assert np.std(cleaned[RATE // 2 : RATE]) < 0.35 * np.std(noise)


def test_speech_in_digital_silence_is_hardly_touched(ravdess_clips: list[Path]) -> None:
    speech = audio.read(ravdess_clips[4]).samples
    padded = np.concatenate([np.zeros(4 * RATE), speech, np.zeros(4 * RATE)]).astype(np.float32)

    np.testing.assert_allclose(reduce_noise(padded), padded, atol=1e-4 * np.abs(speech).max())


@pytest.mark.parametrize(("kind", "gain"), [("white", 6.0), ("babble", 0.5)])
@pytest.mark.parametrize("snr", [0, 5, 10])
def test_real_speech_in_noise_comes_out_cleaner(ravdess_clips: list[Path], kind: str, gain: float, snr: float) -> None:
    rng = np.random.default_rng(0)
    clips = [audio.read(path).samples for path in ravdess_clips]
    gains = []
    for index, clean in enumerate(clips):
        others = clips[:index] + clips[index + 1 :]
        noise = (
            augment.coloured_noise(len(clean), rng)
            if kind == "white"
            else augment.babble([trim_silence(voice, 30, 0)[0] for voice in others], len(clean), rng)
        )
        mixed = augment.mix(clean, noise, snr, rng)
        gains.append(si_sdr(clean, reduce_noise(mixed)) - si_sdr(clean, mixed))
    assert np.mean(gains) > gain
