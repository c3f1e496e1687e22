"""Functionals against numpy and scipy, the prosodic set against closed forms and openSMILE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emovox.audio import read
from emovox.errors import FeatureError
from emovox.features import functionals, prosody
from emovox.features.functionals import prosodic, prosodic_names, summarise, summary_names
from emovox.features.spectral import Analysis
from emovox.features.voicing import PitchOptions
from emovox.types import RATE, Float32Array
from tests import examples
from tests.conftest import sine

Array = NDArray[np.float64]


def buzz(f0: float, duration: float) -> Float32Array:
    """Make a voice-like sound: twenty harmonics that fall by 6 dB per octave."""
    time = np.arange(round(duration * RATE)) / RATE
    total = np.sum([np.cos(2 * np.pi * f0 * n * time) / n for n in range(1, 21)], axis=0)
    return np.asarray(0.1 * total, dtype=np.float32)


def noise(duration: float, scale: float = 0.1) -> Float32Array:
    return np.random.default_rng(3).normal(0, scale, round(duration * RATE)).astype(np.float32)


def features(samples: Float32Array) -> dict[str, float]:
    """Compute the prosodic set, by name."""
    return dict(zip(prosodic_names(), prosodic(Analysis(samples)).tolist(), strict=True))


# --- functionals -------------------------------------------------------------------------------------------


def reference(values: Array, positions: NDArray[np.floating]) -> dict[str, float]:
    """Compute every functional of the frames that count with numpy and scipy."""
    constant = np.ptp(values) == 0
    low, high = np.percentile(values, [20, 80])
    return {
        "mean": values.mean(),
        "sd": values.std(),
        "cov": values.std() / abs(values.mean()),
        "skewness": 0.0 if constant else float(scipy.stats.skew(values)),
        "kurtosis": 0.0 if constant else float(scipy.stats.kurtosis(values, fisher=False)),
        "min": values.min(),
        "max": values.max(),
        "range": np.ptp(values),
        "p20": low,
        "p37": np.percentile(values, 37),
        "p20_80": high - low,
        "slope": np.polyfit(positions, values, 1)[0] if len(values) > 1 else 0.0,
    }


@given(seed=st.integers(0, 10**6), n_frames=st.integers(1, 60), share=st.floats(0.1, 1))
@settings(max_examples=examples(80), deadline=None)
def test_functionals_are_those_of_numpy_and_scipy(seed: int, n_frames: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    contours = rng.normal(rng.uniform(5, 10), rng.uniform(0.1, 3), (3, n_frames)).astype(np.float32)
    mask = rng.random((3, n_frames)) < share
    mask[:, 0] = True
    names = tuple(reference(np.ones(2), np.arange(2.0)))
    found = summarise(contours, names, mask, step=0.02).reshape(3, -1)
    for row, inside, got in zip(contours, mask, found, strict=True):
        expected = reference(row[inside].astype(np.float64), 0.02 * np.flatnonzero(inside))
        assert dict(zip(names, got.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_rises_and_falls_of_a_zigzag() -> None:
    up, down = np.arange(0, 20, 1.0), np.arange(20, 0, -0.5)
    contour = np.concatenate([up, down])[None].astype(np.float32)
    rising = np.ones_like(contour, dtype=bool)
    rising[0, 18:23] = False  # the turn itself
    found = summarise(contour, ("rise_mean", "rise_sd", "fall_mean", "fall_sd"), rising, step=0.01)
    np.testing.assert_allclose(found, [100, 0, 50, 0], atol=1e-3)


def test_rises_are_not_measured_across_gaps() -> None:
    contour = np.array([[1, 1, 1, 1, 1, 9, 9, 9, 9, 9]], dtype=np.float32)
    assert summarise(contour, ("rise_mean",))[0] > 100
    mask = np.ones(10, dtype=bool)
    mask[4] = False
    assert summarise(contour, ("rise_mean",), mask)[0] == 0


@pytest.mark.parametrize("n_frames", [1, 2, 4, 30])
def test_no_frame_that_counts_gives_zeros(n_frames: int) -> None:
    contours = np.full((2, n_frames), 7, dtype=np.float32)
    every = (*functionals._FUNCTIONALS, "p0", "p50", "p20_80")
    assert not summarise(contours, every, np.zeros(n_frames, dtype=bool)).any()


def test_variation_around_a_mean_of_nothing_is_limited() -> None:
    assert summarise(np.array([[-1, 1]], dtype=np.float32), ("cov",))[0] == pytest.approx(1e6)
    assert summarise(np.zeros((1, 3), dtype=np.float32), ("cov",))[0] == 0


@pytest.mark.parametrize("name", ["average", "p101", "p", "p20_", "p5_101", "P20"])
def test_an_unknown_functional(name: str) -> None:
    with pytest.raises(FeatureError, match=rf"unknown functional '{name}': choose from mean, sd, .*, p0 to p100"):
        summarise(np.ones((1, 5), dtype=np.float32), ("mean", name))


def test_names_go_with_values() -> None:
    contours = np.array([[1, 2, 3], [40, 50, 60]], dtype=np.float32)
    which = ("max", "mean")
    found = dict(zip(summary_names(("a", "b"), which), summarise(contours, which).tolist(), strict=True))
    assert found == {"a_max": 3, "a_mean": 2, "b_max": 60, "b_mean": 50}


# --- the prosodic set --------------------------------------------------------------------------------------


def test_size_and_names() -> None:
    names = prosodic_names()
    assert len(set(names)) == len(names) == len(prosodic(Analysis(buzz(120, 0.5))))
    assert 80 <= len(names) <= 110


def test_melody_of_a_steady_and_of_a_rising_voice() -> None:
    steady = features(buzz(220, 1.0))
    assert steady["f0_semitones_mean"] == pytest.approx(36, abs=0.01)  # three octaves above 27.5 Hz
    assert steady["f0_semitones_sd"] == pytest.approx(0, abs=0.05)
    time = np.arange(RATE) / RATE
    f0 = 110 * 2 ** (0.5 * time)  # six semitones per second
    samples = np.cos(2 * np.pi * np.cumsum(f0) / RATE).astype(np.float32)
    rising = features(samples)
    assert rising["f0_semitones_slope"] == pytest.approx(6, rel=0.02)
    assert rising["f0_semitones_rise_mean"] == pytest.approx(6, rel=0.05)
    assert rising["f0_semitones_p20_80"] == pytest.approx(0.6 * 6, rel=0.05)


def test_rhythm_of_voiced_stretches() -> None:
    gap = noise(0.1, 0.02)
    samples = np.concatenate([buzz(150, 0.2), gap, buzz(150, 0.4), gap, buzz(150, 0.3)])
    found = features(samples)
    assert found["voiced_length_mean"] == pytest.approx(0.3, abs=0.02)
    assert found["voiced_length_sd"] == pytest.approx(0.0816, abs=0.015)
    assert found["gap_length_mean"] == pytest.approx(0.1, abs=0.02)
    assert found["gap_length_sd"] == pytest.approx(0, abs=0.011)
    assert found["voiced_rate"] == pytest.approx(3 / 1.1, rel=0.03)
    assert found["voiced_fraction"] == pytest.approx(0.9 / 1.1, rel=0.03)


@pytest.mark.parametrize("rate", [2, 4, 6])
def test_peaks_of_loudness(rate: int) -> None:
    time = np.arange(2 * RATE) / RATE
    samples = buzz(150, 2.0) * (0.55 - 0.45 * np.cos(2 * np.pi * rate * time)).astype(np.float32)
    assert features(samples)["loudness_peak_rate"] == pytest.approx(rate, rel=0.1)


def test_level_is_the_mean_power() -> None:
    samples = sine(200, 2.0, amplitude=0.1)
    assert features(samples)["level"] == pytest.approx(-23.01, abs=0.15)


def test_silence_around_the_speech_does_not_matter(ravdess_clips: list[Path]) -> None:
    samples = read(ravdess_clips[2]).samples
    padded = np.concatenate([np.zeros(100 * 160, np.float32), samples, np.zeros(12345, np.float32)])
    np.testing.assert_allclose(prosodic(Analysis(padded)), prosodic(Analysis(samples)), rtol=2e-3, atol=2e-3)


def test_gain_shifts_levels_and_nothing_else(ravdess_clips: list[Path]) -> None:
    samples = read(ravdess_clips[5]).samples
    plain, softer = features(samples), features(samples / np.float32(4))
    levels = {"level", *(f"loudness_{name}" for name in ("mean", "p20", "p50", "p80"))}
    assert levels < set(plain)
    expected = {name: value - 12.041 if name in levels else value for name, value in plain.items()}
    assert softer == pytest.approx(expected, rel=5e-3, abs=0.02)


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(RATE, np.float32), id="silence"),
        pytest.param(noise(0.1), id="100 ms of noise"),
        pytest.param(np.ones(1, np.float32), id="one sample"),
        pytest.param(np.zeros(0, np.float32), id="nothing"),
    ],
)
def test_where_nothing_is_voiced_the_voice_is_at_rest(samples: Float32Array) -> None:
    found = features(samples)
    assert np.isfinite(list(found.values())).all()
    assert found["f0_semitones_mean"] == found["f0_semitones_p80"] == 30
    assert [found[f"formant_{number}_mean"] for number in (1, 2, 3)] == [500, 1500, 2500]
    assert [found[f"bandwidth_{number}_mean"] for number in (1, 2, 3)] == [150, 250, 350]
    zero = ("f0_semitones_sd", "hnr_mean", "jitter_mean", "shimmer_local", "voiced_rate", "gap_length_mean")
    assert [found[name] for name in zero] == [0] * len(zero)
    # Spectral shape is that of all frames, whatever kind of frames is asked for.
    assert found["mfcc_2_voiced_mean"] == pytest.approx(found["mfcc_2_mean"])
    assert found["flux_voiced_mean"] == pytest.approx(found["flux_unvoiced_mean"])


@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 8000),
    voice=st.floats(70, 620),
    share=st.floats(0, 1),
)
@settings(max_examples=examples(50), deadline=None)
def test_always_finite(seed: int, length: int, voice: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    gate = (rng.random(length // 500 + 1) < share).repeat(500)[:length]
    samples = gate * np.sin(2 * np.pi * voice * np.arange(length) / RATE) + rng.normal(0, 1e-3, length)
    found = prosodic(Analysis(samples.astype(np.float32)))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_options_reach_the_pitch_tracker() -> None:
    samples = buzz(100, 0.5)
    high = dict(zip(prosodic_names(), prosodic(Analysis(samples), PitchOptions(150, 600)), strict=True))
    assert features(samples)["f0_semitones_p50"] == pytest.approx(22.35, abs=0.05)
    assert high["f0_semitones_p50"] > 29


def test_descriptors_at_hand_give_the_same(ravdess_clips: list[Path]) -> None:
    analysis = Analysis(read(ravdess_clips[0]).samples)
    found = functionals.prosodic_of(prosody.descriptors(analysis))
    np.testing.assert_array_equal(found, prosodic(analysis))


@pytest.mark.corpora
@pytest.mark.parametrize("count", [15, pytest.param(30, marks=pytest.mark.long)])
def test_agreement_with_egemaps(count: int, corpora: Path) -> None:
    """Clips spread over RAVDESS: what both sets measure goes together, though the formulas differ."""
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    theirs_of = {
        "f0_semitones_mean": "F0semitoneFrom27.5Hz_sma3nz_amean",
        "f0_semitones_p50": "F0semitoneFrom27.5Hz_sma3nz_percentile50.0",
        "loudness_p80": "loudness_sma3_percentile80.0",
        "hnr_mean": "HNRdBACF_sma3nz_amean",
        "alpha_ratio_voiced_mean": "alphaRatioV_sma3nz_amean",
        "hammarberg_voiced_mean": "hammarbergIndexV_sma3nz_amean",
        "slope_0_500_voiced_mean": "slopeV0-500_sma3nz_amean",
        "mfcc_1_voiced_mean": "mfcc1V_sma3nz_amean",
        "mfcc_2_voiced_mean": "mfcc2V_sma3nz_amean",
        "level": "equivalentSoundLevel_dBp",
    }
    files = sorted((corpora / "ravdess").rglob("*.flac"))[24 :: 1440 // count]
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in theirs_of}
    for path in files:
        samples = read(path).samples
        ours, theirs = features(samples), smile.process_signal(samples, RATE).iloc[0]
        for name, column in theirs_of.items():
            other = np.log(theirs[column]) if name.startswith("loudness") else theirs[column]
            pairs[name].append((ours[name], float(other)))
    assert len(files) == count
    agreement = {name: float(scipy.stats.pearsonr(*np.transpose(both)).statistic) for name, both in pairs.items()}
    assert {name: value for name, value in agreement.items() if value < 0.75} == {}
