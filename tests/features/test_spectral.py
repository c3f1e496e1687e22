"""Spectral descriptors against librosa, closed forms and properties."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from emovox.errors import FeatureError
from emovox.features import spectral
from emovox.features.spectral import Analysis, Stft
from emovox.types import RATE, Float32Array
from tests import examples
from tests.conftest import sine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    librosa = pytest.importorskip("librosa")

STFT = spectral.CLASSIC


def deviation(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Largest difference, relative to the largest value of the oracle."""
    reference = np.asarray(theirs)
    assert np.shape(ours) == reference.shape
    return float(np.abs(np.asarray(ours) - reference).max() / np.abs(reference).max())


def chirp(duration: float = 2.0) -> Float32Array:
    """Sweep from 100 Hz to 7 kHz with two overtones, so that all bands and pitch classes are visited."""
    time = np.arange(int(duration * RATE)) / RATE
    phase = 2 * np.pi * (100 * time + (7000 - 100) / (2 * duration) * time**2)
    return (0.4 * np.sin(phase) + 0.2 * np.sin(2 * phase) + 0.1 * np.sin(0.5 * phase)).astype(np.float32)


@pytest.fixture(scope="session")
def signals(ravdess_clips: list[Path]) -> list[Float32Array]:
    """Give real speech of both sexes and eight emotions, a sweep and noise."""
    noise = np.random.default_rng(1).normal(scale=0.1, size=RATE).astype(np.float32)
    return [soundfile.read(path, dtype="float32")[0] for path in ravdess_clips] + [chirp(), noise]


@pytest.fixture(scope="session")
def analyses(signals: list[Float32Array]) -> list[Analysis]:
    return [Analysis(samples) for samples in signals]


# --- the shared spectra ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stft", [STFT, Stft(400, 160, "hann", 512), Stft(1024, 256, "hamming")])
def test_magnitude_is_that_of_librosa(signals: list[Float32Array], stft: Stft) -> None:
    for samples in signals:
        theirs = np.abs(
            librosa.stft(samples, n_fft=stft.size, hop_length=stft.hop, win_length=stft.length, window=stft.shape)
        )
        ours = Analysis(samples).magnitude(*stft)
        # librosa centres a frame that is shorter than the transform in it, which shifts the phase only.
        assert deviation(ours, theirs) < 1e-6


def test_spectra_are_shared_and_read_only() -> None:
    analysis = Analysis(sine(440, 0.5))
    assert analysis.magnitude(*STFT) is analysis.magnitude(2048, 512)
    assert analysis.power(*STFT) is analysis.power(2048, 512, n_fft=2048)
    with pytest.raises(ValueError, match="read-only"):
        analysis.magnitude(*STFT)[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        analysis.power(*STFT)[0, 0] = 1


# --- mel and MFCC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_fft", "n_mels", "fmin", "fmax"),
    [(2048, 128, 0.0, None), (512, 64, 20.0, 8000.0), (1024, 40, 300.0, 3400.0)],
)
def test_mel_bank_is_that_of_librosa(n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> None:
    ours = spectral.mel_bank(RATE, n_fft, n_mels, fmin, fmax)
    theirs = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    assert deviation(ours, theirs) < 1e-6
    assert not ours.flags.writeable


def test_mel_spectrogram_is_that_of_librosa(signals: list[Float32Array], analyses: list[Analysis]) -> None:
    for samples, analysis in zip(signals, analyses, strict=True):
        theirs = librosa.feature.melspectrogram(y=samples, sr=RATE)
        assert deviation(spectral.mel_spectrogram(analysis), theirs) < 1e-6


def test_mfcc_is_that_of_librosa(signals: list[Float32Array], analyses: list[Analysis]) -> None:
    for samples, analysis in zip(signals, analyses, strict=True):
        ours = spectral.mfcc(spectral.decibels(spectral.mel_spectrogram(analysis)), 40)
        theirs = librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=40)
        assert deviation(ours, theirs) < 1e-5
        assert deviation(ours.mean(axis=1), theirs.mean(axis=1)) < 1e-5


@pytest.mark.parametrize("top_db", [80.0, None, 20.0])
def test_decibels_are_those_of_librosa(top_db: float | None, rng: np.random.Generator) -> None:
    power = (10 ** rng.uniform(-14, 3, size=(20, 30))).astype(np.float32)
    np.testing.assert_allclose(
        spectral.decibels(power, top_db), librosa.power_to_db(power, top_db=top_db), rtol=1e-6, atol=1e-4
    )


def test_mfcc_keeps_the_energy_of_the_level(rng: np.random.Generator) -> None:
    level = rng.normal(size=(32, 5)).astype(np.float32)
    complete = spectral.mfcc(level, 32)
    np.testing.assert_allclose(np.square(complete).sum(0), np.square(level).sum(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RATE, 512, 200), "n_mels=200 leaves .* bands without any of the 257 frequencies: use fewer bands"),
        ((RATE, 2048, 40, 0.0, 9000.0), "from 0 to 9000 Hz: choose a range within 0 and 8000 Hz"),
        ((RATE, 2048, 40, 500.0, 400.0), "from 500 to 400 Hz"),
    ],
)
def test_impossible_mel_bands_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        spectral.mel_bank(*arguments)


# --- derivatives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("width", [3, 5, 9])
def test_delta_is_that_of_librosa(order: int, width: int, rng: np.random.Generator) -> None:
    contours = rng.normal(size=(13, 50)).astype(np.float32)
    theirs = librosa.feature.delta(contours, order=order, width=width)
    assert deviation(spectral.delta(contours, order, width), theirs) < 1e-5


@settings(deadline=None)
@given(
    st.integers(min_value=3, max_value=30),
    st.floats(-50, 50, width=32),
    st.floats(-5, 5, width=32),
    st.floats(-1, 1, width=32),
)
def test_delta_of_a_parabola(n_frames: int, level: float, slope: float, bend: float) -> None:
    """Curvature is exact everywhere however short the contour, and slope in the middle of a fit."""
    time = np.arange(n_frames)
    contour = (level + slope * time + bend * time**2)[None, :].astype(np.float32)
    tolerance = 1e-5 * (1 + float(np.abs(contour).max()))
    np.testing.assert_allclose(spectral.delta(contour, 2), np.full((1, n_frames), 2 * bend), atol=tolerance)
    middle = n_frames // 2 if n_frames % 2 else n_frames // 2 - 1
    assert spectral.delta(contour)[0, middle] == pytest.approx(slope + 2 * bend * middle, abs=tolerance)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_delta_of_fewer_than_three_frames_is_zero(n_frames: int) -> None:
    assert spectral.delta(np.ones((4, n_frames), dtype=np.float32)).tolist() == [[0.0] * n_frames] * 4


@pytest.mark.parametrize("n_frames", [3, 4, 8])
def test_a_short_contour_is_fitted_over_the_frames_it_has(n_frames: int, rng: np.random.Generator) -> None:
    contours = rng.normal(size=(3, n_frames)).astype(np.float32)
    width = n_frames if n_frames % 2 else n_frames - 1
    assert deviation(spectral.delta(contours), librosa.feature.delta(contours, width=width)) < 1e-5


# --- chroma and tonnetz ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_fft", [2048, 4096])
@pytest.mark.parametrize("off", [-0.5, -0.13, 0.0, 0.49])
def test_chroma_bank_is_that_of_librosa(n_fft: int, off: float) -> None:
    theirs = librosa.filters.chroma(sr=RATE, n_fft=n_fft, tuning=off)
    assert deviation(spectral.chroma_bank(RATE, n_fft, off), theirs) < 1e-6


def test_tuning_is_exactly_that_of_librosa(analyses: list[Analysis]) -> None:
    for analysis in analyses:
        theirs = librosa.estimate_tuning(S=analysis.magnitude(*STFT), sr=RATE)
        assert spectral.tuning(analysis) == pytest.approx(theirs, abs=1e-12)


def test_chroma_is_that_of_librosa(analyses: list[Analysis]) -> None:
    for analysis in analyses:
        theirs = librosa.feature.chroma_stft(S=analysis.magnitude(*STFT), sr=RATE)
        assert deviation(spectral.chroma(analysis), theirs) < 1e-5


@pytest.mark.parametrize("cents", [-40, -20, 0, 30])
@pytest.mark.parametrize("pitch", [60, 69, 74])
def test_chroma_and_tuning_of_a_mistuned_note(pitch: int, cents: int) -> None:
    analysis = Analysis(sine(440 * 2 ** ((pitch - 69 + cents / 100) / 12), 1.0))
    assert spectral.tuning(analysis) == pytest.approx(cents / 100, abs=0.05)
    strongest = spectral.PITCH_CLASSES[int(spectral.chroma(analysis).mean(axis=1).argmax())]
    assert strongest == {60: "C", 69: "A", 74: "D"}[pitch]


def test_silence_has_no_tuning_and_no_chroma() -> None:
    analysis = Analysis(np.zeros(RATE, dtype=np.float32))
    assert spectral.tuning(analysis) == 0.0
    assert not spectral.chroma(analysis).any()
    assert not spectral.tonnetz(spectral.chroma(analysis)).any()


def test_a_spectrum_of_few_bins_has_no_tuning() -> None:
    assert spectral.tuning(Analysis(sine(440, 0.2)), Stft(2, 1)) == 0.0


def test_tonnetz_is_that_of_librosa(analyses: list[Analysis]) -> None:
    for analysis in analyses:
        chroma = spectral.chroma(analysis)
        theirs = librosa.feature.tonnetz(chroma=chroma, sr=RATE)
        assert deviation(spectral.tonnetz(chroma), theirs) < 1e-5


def test_a_fifth_lies_nearer_than_a_tritone() -> None:
    """The circles put harmonically related pitch classes next to each other."""
    centroids: NDArray[np.float32] = spectral.tonnetz(np.eye(12, dtype=np.float32))
    from_c = np.linalg.norm(centroids - centroids[:, :1], axis=0)
    assert from_c[7] < from_c[6]
    assert np.argsort(from_c)[1:3].tolist() in ([5, 7], [7, 5])


# --- contrast ----------------------------------------------------------------------------------------------


def test_contrast_is_that_of_librosa(analyses: list[Analysis]) -> None:
    for analysis in analyses:
        theirs = librosa.feature.spectral_contrast(S=analysis.magnitude(*STFT), sr=RATE)
        assert deviation(spectral.contrast(analysis), theirs) < 1e-5


@pytest.mark.parametrize(("fmin", "n_bands"), [(100.0, 6), (200.0, 4), (300.0, 5)])
def test_contrast_of_other_bands_is_that_of_librosa(analyses: list[Analysis], fmin: float, n_bands: int) -> None:
    stft = Stft(1024, 256, "hamming")
    for analysis in analyses[:3]:
        theirs = librosa.feature.spectral_contrast(S=analysis.magnitude(*stft), sr=RATE, fmin=fmin, n_bands=n_bands)
        assert deviation(spectral.contrast(analysis, stft, fmin, n_bands), theirs) < 1e-5


@pytest.mark.parametrize(
    ("stft", "fmin", "message"),
    [
        (STFT, 300.0, "6 octaves from 300 Hz exceeds 8000 Hz: lower either"),
        (Stft(64, 32), 100.0, "has no frequency: use a longer frame"),
    ],
)
def test_impossible_contrast_bands_are_refused(stft: Stft, fmin: float, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        spectral.contrast(Analysis(sine(440, 0.5)), stft, fmin)


# --- end to end --------------------------------------------------------------------------------------------


def test_from_the_waveform_to_chroma_and_contrast(signals: list[Float32Array], analyses: list[Analysis]) -> None:
    """Rounding the windowed samples, as single precision does, would show in quiet bands and in the tuning."""
    for samples, analysis in zip(signals, analyses, strict=True):
        magnitude = np.abs(librosa.stft(samples))
        theirs = librosa.feature.spectral_contrast(S=magnitude, sr=RATE)
        assert deviation(spectral.contrast(analysis), theirs) < 1e-5
        theirs = librosa.feature.chroma_stft(S=magnitude, sr=RATE)
        assert deviation(spectral.chroma(analysis), theirs) < 1e-5


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 4000), st.sampled_from([1e-20, 1e-6, 1.0, 1e4]), st.sampled_from([STFT, Stft(400, 160)]))
def test_every_descriptor_is_finite_and_has_its_shape(n_samples: int, scale: float, stft: Stft) -> None:
    noise = np.random.default_rng(n_samples).normal(scale=scale, size=n_samples)
    analysis = Analysis(noise.astype(np.float32))
    n_frames = 1 + n_samples // stft.hop
    mel = spectral.mel_spectrogram(analysis, stft, 40)
    level = spectral.decibels(mel)
    chroma = spectral.chroma(analysis, stft)
    for rows, descriptor in (
        (40, mel),
        (13, spectral.mfcc(level, 13)),
        (40, spectral.delta(level)),
        (12, chroma),
        (7, spectral.contrast(analysis, stft)),
        (6, spectral.tonnetz(chroma)),
    ):
        assert descriptor.shape == (rows, n_frames)
        assert descriptor.dtype == np.float32
        assert np.isfinite(descriptor).all()
