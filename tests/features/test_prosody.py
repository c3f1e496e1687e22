"""F0, voice quality, formants and loudness against closed forms, brute force, Praat and openSMILE."""

from __future__ import annotations

import itertools
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import parselmouth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from parselmouth.praat import call

from emovox.audio import read
from emovox.errors import FeatureError
from emovox.features import prosody, voicing
from emovox.features.prosody import Descriptors, descriptors
from emovox.features.spectral import Analysis
from emovox.features.voicing import FormantOptions, PitchOptions, formants, track
from emovox.types import RATE, Float32Array
from tests import ROOT, examples
from tests.conftest import sine

Array = NDArray[np.float64]

BENCHMARK = ROOT / "benchmarks" / "praat_agreement.py"
INNER = slice(5, -5)  # frames that lie wholly inside the signal


def harmonics(f0: float, numbers: tuple[int, ...], duration: float = 1.0) -> Float32Array:
    """Add cosines of equal amplitude and of zero phase: pulses without frequencies above their band."""
    time = np.arange(round(duration * RATE)) / RATE
    total = np.sum([np.cos(2 * np.pi * f0 * number * time) for number in numbers], axis=0)
    return np.asarray(0.5 * total / np.abs(total).max(), dtype=np.float32)


def pulse_train(f0: float, duration: float = 1.0) -> Float32Array:
    """Make a pulse train limited to 5 kHz, about where the harmonics of speech end."""
    return harmonics(f0, tuple(range(1, int(5000 / f0) + 1)), duration)


def vowel(
    times: Array, amplitudes: Array, duration: float, resonances: tuple[tuple[float, float], ...]
) -> Float32Array:
    """Sum the ringing of resonators (frequency, bandwidth in Hz) after a stroke at each time, exactly in time."""
    result = np.zeros(round(duration * RATE))
    for start, amplitude in zip(times, amplitudes, strict=True):
        first = int(np.ceil(start * RATE))
        after = np.arange(first, min(first + RATE // 25, len(result))) / RATE - start
        for frequency, bandwidth in resonances:
            ringing = np.exp(-np.pi * bandwidth * after) * np.sin(2 * np.pi * frequency * after)
            result[first : first + len(after)] += amplitude * ringing
    return np.asarray(0.5 * result / np.abs(result).max(), dtype=np.float32)


def all_pole(excitation: Array, resonances: tuple[tuple[float, float], ...]) -> Float32Array:
    """Filter through poles at the given frequencies and bandwidths (Hz), in the frequency domain."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(len(excitation)))
    denominator = np.ones(len(z), dtype=complex)
    for frequency, bandwidth in resonances:
        pole = np.exp((-np.pi * bandwidth + 2j * np.pi * frequency) / RATE)
        denominator *= (1 - pole * z) * (1 - np.conj(pole) * z)
    result = np.fft.irfft(np.fft.rfft(excitation) / denominator, len(excitation))
    return np.asarray(0.5 * result / np.abs(result).max(), dtype=np.float32)


def noise(seed: int, duration: float = 1.0, scale: float = 0.1) -> Float32Array:
    """Make white noise."""
    return np.random.default_rng(seed).normal(0, scale, round(duration * RATE)).astype(np.float32)


# --- pitch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f0", [80, 101.3, 150, 217, 330, 440, 590])
@pytest.mark.parametrize("sound", [sine, pulse_train])
def test_f0_of_periodic_sounds(f0: float, sound: Callable[[float, float], Float32Array]) -> None:
    found = track(sound(f0, 1.0))
    assert found.voiced[INNER].all()
    np.testing.assert_allclose(found.f0[INNER], f0, rtol=5e-4)
    assert found.strength[INNER].min() > 0.98


def test_f0_of_a_missing_fundamental() -> None:
    np.testing.assert_allclose(track(harmonics(120, (3, 4, 5))).f0[INNER], 120, rtol=5e-4)


def test_f0_follows_a_glide() -> None:
    time = np.arange(2 * RATE) / RATE
    rising = 120 + 60 * time
    samples = np.cos(2 * np.pi * np.cumsum(rising) / RATE).astype(np.float32)
    found = track(samples)
    np.testing.assert_allclose(found.f0[INNER], 120 + 60 * found.times[INNER], rtol=5e-3)


def test_frames_are_centred_on_multiples_of_the_hop() -> None:
    samples = np.concatenate([np.zeros(8000, np.float32), sine(200, 0.5), np.zeros(8037, np.float32)])
    found = track(samples)
    assert len(found.f0) == len(found.strength) == len(found.times) == 1 + len(samples) // 160
    np.testing.assert_allclose(found.times, np.arange(len(found.times)) / 100)
    voiced = found.times[found.voiced]
    assert 0.47 <= voiced[0] <= 0.52
    assert 0.98 <= voiced[-1] <= 1.03


def test_silence_and_noise_are_unvoiced() -> None:
    assert not track(np.zeros(RATE, np.float32)).voiced.any()
    assert track(noise(3, 5.0)).voiced.mean() < 0.02


def test_a_faint_hum_after_speech_is_silence() -> None:
    loud_then_faint = np.concatenate([sine(200, 0.5), 0.01 * sine(200, 0.5)])
    voiced = track(loud_then_faint).voiced
    assert voiced[5:45].all()
    assert not voiced[55:].any()


def test_the_offset_of_the_recording_does_not_matter() -> None:
    samples = pulse_train(130)
    np.testing.assert_array_equal(track(samples + np.float32(0.25)).voiced, track(samples).voiced)


def test_range_of_f0() -> None:
    assert track(sine(120, 0.5), PitchOptions(floor=150)).f0.max() != pytest.approx(120, rel=0.1)
    assert track(sine(560, 0.5), PitchOptions(ceiling=400)).f0.max() <= 400


@pytest.mark.parametrize(("floor", "ceiling"), [(300, 200), (10, 600), (75, 2001), (75, float("nan"))])
def test_impossible_range(floor: float, ceiling: float) -> None:
    with pytest.raises(FeatureError, match=r"pitch from .* choose a range within 20 and 2000 Hz"):
        PitchOptions(floor, ceiling)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=examples(30), deadline=None)
def test_best_path_is_the_best_of_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = PitchOptions()
    frequencies = np.column_stack([np.zeros(5), rng.uniform(75, 600, (5, 2))])
    strengths = np.column_stack([np.zeros(5), rng.uniform(0.2, 1, (5, 2))])
    level = rng.uniform(0, 0.1, 5).astype(np.float32)

    def worth(path: tuple[int, ...]) -> float:
        total = 0.0
        for t, place in enumerate(path):
            f0 = frequencies[t, place]
            if f0 == 0:
                total += options.voicing + max(0, 2 - level[t] / (options.silence / (1 + options.voicing)))
            else:
                total += strengths[t, place] - options.octave_cost * np.log2(options.ceiling / f0)
            before = frequencies[t - 1, path[t - 1]] if t else f0
            if (before == 0) != (f0 == 0):
                total -= options.voicing_cost
            elif f0 > 0:
                total -= options.jump_cost * abs(np.log2(before / f0))
        return total

    best = max(itertools.product(range(3), repeat=5), key=worth)
    found = voicing._best_path(frequencies, strengths, level, options)
    assert worth(tuple(found)) == pytest.approx(worth(best))


# --- voice quality -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(ravdess_clips: list[Path]) -> Float32Array:
    return read(ravdess_clips[4]).samples


@pytest.mark.parametrize("f0", [100, 160, 250, 400])
def test_a_periodic_sound_has_neither_jitter_nor_shimmer(f0: float) -> None:
    found = descriptors(Analysis(pulse_train(f0)))
    assert found.jitter_local < 2e-3
    assert found.shimmer_local < 0.02
    assert np.median(found["hnr"][INNER]) > 18  # what a window of only three periods of the floor can tell


@pytest.mark.parametrize("f0", [100, 180])
@pytest.mark.parametrize("spread", [0.01, 0.02])
def test_jitter_of_a_known_voice(f0: float, spread: float) -> None:
    """Stronger jitter is underestimated, by Praat too: docs/prosody.md states by how much."""
    periods = np.random.default_rng(1).normal(1, spread, int(1.8 * f0)) / f0
    times = 0.05 + np.cumsum(periods)
    truth = np.abs(np.diff(periods)).mean() / periods.mean()
    samples = vowel(times, np.ones(len(times)), times[-1] + 0.1, ((700, 130), (1300, 150)))
    assert descriptors(Analysis(samples)).jitter_local == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.15])
def test_shimmer_of_a_known_voice(spread: float) -> None:
    amplitudes = np.random.default_rng(2).normal(1, spread, 200)
    times = 0.05 + np.arange(200) / 110
    truth = np.abs(np.diff(amplitudes)).mean() / amplitudes.mean()
    samples = vowel(times, amplitudes, times[-1] + 0.1, ((700, 130), (1300, 150)))
    assert descriptors(Analysis(samples)).shimmer_local == pytest.approx(truth, rel=0.15)


def test_jitter_and_shimmer_are_praats_on_praats_pulses(clip: Float32Array) -> None:
    sound = parselmouth.Sound(clip.astype(np.float64), RATE)
    process = call(sound, "To PointProcess (periodic, cc)...", 75, 600)
    number = call(process, "Get number of points")
    points = np.array([call(process, "Get time from index...", i + 1) for i in range(number)]) - 0.5 / RATE
    limits = (0, 0, 1e-4, 0.02, 1.3)
    jitter = call(process, "Get jitter (local)...", *limits)
    shimmer = call([sound, process], "Get shimmer (local)...", *limits, 1.6)
    assert voicing.jitter(points).local == pytest.approx(jitter, rel=1e-6)
    assert voicing.shimmer(clip, RATE, points).local == pytest.approx(shimmer, rel=5e-3)


def test_pulses_stand_in_every_period_of_speech(clip: Float32Array) -> None:
    found = track(clip)
    points = voicing.pulses(clip, RATE, found.f0, found.times)
    periods = np.diff(points)
    assert (periods > 0).all()
    expected = 1 / np.interp((points[1:] + points[:-1]) / 2, found.times[found.voiced], found.f0[found.voiced])
    assert np.mean(np.abs(periods / expected - 1) < 0.1) > 0.85


def test_measures_without_pulses_are_zero() -> None:
    for count in range(3):
        points = np.arange(count) / 100
        assert voicing.jitter(points).local == 0
        assert voicing.shimmer(sine(100, 0.1), RATE, points).local == 0
    assert len(voicing.pulses(sine(100, 0.1), RATE, np.zeros(11, np.float32), np.arange(11) / 100)) == 0


def test_jitter_around_a_time_is_that_of_the_pairs_there() -> None:
    points = np.cumsum([0.1] + [0.01, 0.0102] * 10 + [0.01] * 20)
    around = voicing.jitter(points).around(np.array([0.2, 0.42, 0.9]))
    np.testing.assert_allclose(around, [0.0002 / 0.0101, 0, 0], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("ratio", [0, 5, 10, 20])
def test_hnr_of_harmonics_in_noise(ratio: float) -> None:
    harmonic = pulse_train(200, 3.0)
    scale = harmonic.std() * 10 ** (-ratio / 20)
    found = descriptors(Analysis(harmonic + noise(5, 3.0, scale)))
    assert np.median(found["hnr"][found.voiced]) == pytest.approx(ratio, abs=1.0)


def test_level_of_harmonics() -> None:
    time = np.arange(RATE) / RATE
    tones = np.cos(2 * np.pi * 200 * time) + 0.5 * np.cos(2 * np.pi * 400 * time)
    found = descriptors(Analysis((0.5 * tones).astype(np.float32)))
    assert np.median(found["h1_h2"]) == pytest.approx(20 * np.log10(2), abs=0.5)


# --- formants ----------------------------------------------------------------------------------------------

VOWELS = [
    ((730, 90), (1090, 110), (2440, 170), (3500, 250), (4500, 300)),
    ((270, 60), (2290, 100), (3010, 170), (3700, 250), (4600, 300)),
    ((530, 60), (1840, 90), (2480, 150), (3500, 250), (4500, 300)),
]  # Peterson and Barney's men


@pytest.mark.parametrize("resonances", VOWELS)
def test_formants_of_a_whispered_vowel(resonances: tuple[tuple[float, float], ...]) -> None:
    samples = all_pole(noise(7, 3.0).astype(np.float64), resonances)
    power = voicing.correlogram(Analysis(samples)).power[INNER]
    frequency, bandwidth = formants(power, RATE, FormantOptions(emphasis=2e4))
    np.testing.assert_allclose(np.median(frequency, axis=0), [f for f, _ in resonances[:3]], rtol=0.04)
    assert (np.median(bandwidth, axis=0) < 300).all()


@pytest.mark.parametrize("resonances", VOWELS)
def test_formants_of_a_spoken_vowel(resonances: tuple[tuple[float, float], ...]) -> None:
    pulses = np.zeros(RATE)
    pulses[::160] = 1  # 100 Hz
    glottis = np.convolve(pulses, 0.98 ** np.arange(400))[:RATE]  # 6 dB per octave from 50 Hz down, as speech
    found = descriptors(Analysis(all_pole(glottis, resonances)))
    middle = [np.median(found[f"formant_{number}"][INNER]) for number in (1, 2, 3)]
    np.testing.assert_allclose(middle, [f for f, _ in resonances[:3]], rtol=0.08)


def test_formants_of_odd_spectra_are_finite() -> None:
    line, silence = np.eye(513, dtype=np.float32)[[1, 30, 100]], np.zeros((2, 513), np.float32)
    frequency, bandwidth = formants(np.concatenate([line, silence]), RATE)
    assert np.isfinite(frequency).all()
    assert (bandwidth >= 0).all()
    assert (frequency[3:] == 0).all()
    assert formants(np.zeros((0, 513), np.float32), RATE)[0].shape == (0, 3)


def test_impossible_formant_settings() -> None:
    with pytest.raises(FeatureError, match=r"4 formants from order 6: choose 1 to 3"):
        FormantOptions(order=6, count=4)
    with pytest.raises(FeatureError, match=r"formants up to 9000 Hz: choose a ceiling of at most 8000 Hz"):
        formants(np.ones((1, 513), np.float32), RATE, FormantOptions(ceiling=9000))


# --- energy, loudness, balance -----------------------------------------------------------------------------


def test_energy_is_the_mean_square() -> None:
    samples = noise(11, 2.0)
    power = np.mean(10 ** (prosody.energy(Analysis(samples))[INNER] / 10))
    assert 10 * np.log10(power) == pytest.approx(10 * np.log10(np.mean(np.square(samples))), abs=0.1)
    assert prosody.energy(Analysis(np.zeros(800, np.float32))).tolist() == pytest.approx([-120.0] * 6)


def test_loudness_of_a_kilohertz_is_its_level() -> None:
    assert prosody.loudness(Analysis(sine(1000, 0.5, amplitude=1.0)))[25] == pytest.approx(-3.01, abs=0.05)
    assert prosody.loudness(Analysis(np.zeros(800, np.float32))).tolist() == pytest.approx([-120.0] * 6)


def test_the_ear_hears_1_khz_better_than_60_hz() -> None:
    low, middle = (prosody.loudness(Analysis(sine(f, 0.5)))[25] for f in (60, 1000))
    assert middle - low > 15


def test_spectral_balance_of_a_known_spectrum() -> None:
    # A line at 500 Hz and one at 3 kHz that is 20 dB weaker.
    samples = sine(500, 0.5) + sine(3000, 0.5, amplitude=0.05)
    alpha, hammarberg, *_ = prosody.spectral_balance(Analysis(samples))[:, 25]
    assert alpha == pytest.approx(-20, abs=0.1)
    assert hammarberg == pytest.approx(20, abs=0.1)


def test_slopes_of_a_known_spectrum() -> None:
    # One pulse whose spectrum loses 25 dB per kHz, in the middle of a frame.
    frequency = np.fft.rfftfreq(RATE, 1 / RATE)
    samples = np.fft.fftshift(np.fft.irfft(10 ** (-25 * frequency / 1000 / 20))).astype(np.float32)
    slopes = prosody.spectral_balance(Analysis(samples))[2:4, 50]
    np.testing.assert_allclose(slopes, -25, rtol=0.05)


def test_flux_tells_change_from_steadiness() -> None:
    steady = prosody.spectral_balance(Analysis(sine(500, 1.0)))[4]
    change = prosody.spectral_balance(Analysis(np.concatenate([sine(500, 0.5), sine(2500, 0.5)])))[4]
    assert steady[INNER].max() < 0.01
    assert change[48:53].max() > 0.5
    assert (change <= np.sqrt(2) + 1e-6).all()


# --- all of them -------------------------------------------------------------------------------------------


def gain_invariant(found: Descriptors) -> dict[str, float]:
    """Summarise what the level must not change."""
    names = ("f0", "voicing", "hnr", "formant_1", "alpha_ratio", "hammarberg", "slope_0_500", "flux", "mfcc_2")
    rows = {name: float(found[name].mean()) for name in names}
    return {**rows, "jitter": found.jitter_local, "shimmer": found.shimmer_local}


@given(gain=st.floats(-40, 6))
@settings(max_examples=examples(15), deadline=None)
def test_gain_shifts_loudness_and_nothing_else(gain: float) -> None:
    periods = np.random.default_rng(4).normal(1, 0.02, 100) / 140
    times = 0.02 + np.cumsum(periods)
    amplitudes = np.random.default_rng(5).normal(1, 0.05, 100)
    samples = vowel(times, amplitudes, 0.75, ((700, 100), (1300, 120), (2500, 160))) + noise(6, 0.75, 1e-3)
    plain = descriptors(Analysis(samples))
    louder = descriptors(Analysis(samples * np.float32(10 ** (gain / 20))))
    assert gain_invariant(louder) == pytest.approx(gain_invariant(plain), rel=1e-3, abs=1e-3)
    for name in ("energy", "loudness"):
        np.testing.assert_allclose(louder[name], plain[name] + gain, atol=0.02)


def click(n_samples: int) -> Float32Array:
    samples = np.zeros(n_samples, np.float32)
    samples[n_samples // 2] = 1
    return samples


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(0, np.float32), id="nothing"),
        pytest.param(np.ones(1, np.float32), id="one sample"),
        pytest.param(np.zeros(RATE, np.float32), id="silence"),
        pytest.param(np.full(RATE, 0.5, np.float32), id="constant"),
        pytest.param(click(RATE), id="click"),
        pytest.param(click(100), id="short click"),
        pytest.param(sine(150, 0.1), id="100 ms"),
        pytest.param(sine(150, 0.02), id="20 ms"),
        pytest.param(noise(1), id="noise"),
        pytest.param(np.float32(1e-30) * sine(150, 0.5), id="minute"),
        pytest.param(np.sign(sine(300, 0.5)), id="square"),
        pytest.param(np.tile(np.array([1, -1], np.float32), 4000), id="Nyquist"),
    ],
)
def test_descriptors_are_finite(samples: Float32Array) -> None:
    found = descriptors(Analysis(samples))
    assert found.values.shape == (len(found.names), 1 + len(samples) // 160)
    assert np.isfinite(found.values).all()
    assert np.isfinite([found.jitter_local, found.shimmer_local]).all()
    for name in prosody.VOICED:
        assert (found[name][~found.voiced] == 0).all()


@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 6000),
    kind=st.sampled_from(["noise", "clicks", "gated tone", "steps"]),
)
@settings(max_examples=examples(60), deadline=None)
def test_descriptors_of_anything_are_finite(seed: int, length: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    samples = {
        "noise": rng.normal(0, rng.uniform(1e-6, 1), length),
        "clicks": (rng.random(length) < 0.01) * rng.choice([-1.0, 1.0], length),
        "gated tone": np.sin(np.arange(length) * rng.uniform(0.02, 3))
        * (rng.random(length // 400 + 1) > 0.5).repeat(400)[:length],
        "steps": rng.uniform(-1, 1, length // 50 + 1).repeat(50)[:length],
    }[kind]
    found = descriptors(Analysis(samples.astype(np.float32)))
    assert np.isfinite(found.values).all()


def test_an_unknown_descriptor() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        descriptors(Analysis(sine(150, 0.1)))["formant_9"]


# --- real speech against Praat and openSMILE ---------------------------------------------------------------


@pytest.mark.corpora
@pytest.mark.parametrize("count", [12, pytest.param(48, marks=pytest.mark.long)])
def test_agreement_with_praat(count: int, corpora: Path) -> None:
    """Clips of as many actors as there are; all 1440 are measured by the benchmark (docs/prosody.md)."""
    benchmark: dict[str, Any] = runpy.run_path(str(BENCHMARK))
    clips = [benchmark["compare"](read(path).samples) for path in benchmark["spread"](corpora, count)]
    found = benchmark["agreement"](clips)
    least = {
        "F0 within 10 %": 0.98,
        "voicing": 0.97,
        "jitter (local)": 0.85,
        "shimmer (local)": 0.85,
        "mean HNR, dB": 0.85,
        "F1, Hz": 0.9,
        "F2, Hz": 0.9,
        "F3, Hz": 0.9,
    }
    assert {name: value for name, value in found.items() if value < least.get(name, 0.8)} == {}


@pytest.mark.corpora
def test_agreement_with_opensmile(ravdess_clips: list[Path]) -> None:
    """Frames of eight clips, one of each emotion, against eGeMAPS descriptors of the same 10 ms."""
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
    theirs_of = {
        "loudness": "Loudness_sma3",
        "alpha_ratio": "alphaRatio_sma3",
        "hammarberg": "hammarbergIndex_sma3",
        "slope_0_500": "slope0-500_sma3",
        "slope_500_1500": "slope500-1500_sma3",
        "mfcc_1": "mfcc1_sma3",
        "mfcc_2": "mfcc2_sma3",
    }
    pairs: dict[str, list[Array]] = {name: [] for name in theirs_of}
    for path in ravdess_clips:
        samples = read(path).samples
        found, table = descriptors(Analysis(samples)), smile.process_signal(samples, RATE)
        start = table.index.get_level_values("start").total_seconds().to_numpy()
        frames = np.rint((start + 0.01) / 0.01).astype(int)  # openSMILE's frames of 20 ms begin there
        inside = frames < len(found.times)
        speech = inside.copy()
        speech[inside] = found["energy"][frames[inside]] > -60
        for name, column in theirs_of.items():
            other = table[column].to_numpy()[speech]
            other = np.log(np.maximum(other, 1e-4)) if name == "loudness" else other
            pairs[name].append(np.stack([found[name][frames[speech]], other]))
    agreement = {name: correlation(np.concatenate(parts, axis=1)) for name, parts in pairs.items()}
    assert {name: value for name, value in agreement.items() if value < 0.8} == {}


def correlation(pairs: Array) -> float:
    """Pearson's correlation of two rows."""
    own, other = pairs
    return float(np.asarray(np.corrcoef(own, other))[0, 1])
