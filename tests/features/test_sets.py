"""Named feature sets: against librosa, complete specifications, refusals, finite numbers from any sound."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emovox.audio.preprocess import PreprocessOptions
from emovox.errors import FeatureError, InputError
from emovox.features import prosody, sets, voicing
from emovox.features.spectral import Analysis
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform
from tests import ROOT, examples
from tests.conftest import sine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    librosa = pytest.importorskip("librosa")


#: Sets that need no pretrained weights; the others are tested in test_embeddings.py.
COMPLETE = [name for name in sets.available() if not sets.get(name).pretrained]
#: Preprocessing that does nothing.
RAW: dict[str, object] = {"dc": False, "level": "none"}


def click() -> Float32Array:
    samples = np.zeros(RATE, dtype=np.float32)
    samples[RATE // 3] = 1.0
    return samples


def awkward() -> dict[str, Float32Array]:
    """Sounds that make descriptors divide by nothing, saturate or run out of frames."""
    square = np.sign(sine(200, 1.0)) + np.float32(0)
    noise = np.random.default_rng(3).normal(scale=0.1, size=RATE).astype(np.float32)
    return {
        "click in silence": click(),
        "click in 0.1 s": click()[RATE // 3 - 800 : RATE // 3 + 800],
        "0.1 s of noise": noise[: RATE // 10],
        "direct current": np.full(RATE, 0.5, dtype=np.float32),
        "full-scale square wave": square,
        "one loud word in digital silence": np.pad(noise[:4000], (RATE, 2 * RATE)),
        "faintest 16-bit noise": (np.sign(noise) / 32768).astype(np.float32),
        "pure tone": sine(440, 0.5),
        "subnormal samples": noise * np.float32(1e-38),
    }


# --- against librosa ---------------------------------------------------------------------------------------


def classic_of_librosa(samples: Float32Array, window: str = "hann", length: int = 2048, hop: int = 512) -> Float32Array:
    """Compute the published recipe with librosa, with tonnetz from the same chroma."""
    options: dict[str, Any] = {"n_fft": max(2048, length), "hop_length": hop, "win_length": length}
    magnitude = np.abs(librosa.stft(samples, window=window, **options))
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE, window=window, **options)
    chroma = librosa.feature.chroma_stft(S=magnitude, sr=RATE)
    rows = (
        librosa.feature.mfcc(S=librosa.power_to_db(mel), sr=RATE, n_mfcc=40),
        chroma,
        mel,
        librosa.feature.spectral_contrast(S=magnitude, sr=RATE),
        librosa.feature.tonnetz(chroma=chroma, sr=RATE),
    )
    return np.concatenate([row.mean(axis=1) for row in rows])


def assert_agrees(ours: Float32Array, theirs: Float32Array) -> None:
    """Compare each descriptor to 1e-4 of its largest value."""
    for start, stop in ((0, 40), (40, 52), (52, 180), (180, 187), (187, 193)):
        scale = np.abs(theirs[start:stop]).max()
        assert np.abs(ours[start:stop] - theirs[start:stop]).max() < 1e-4 * scale


def test_classic193_is_that_of_librosa(ravdess_clips: list[Path]) -> None:
    for path in ravdess_clips:
        samples = soundfile.read(path, dtype="float32")[0]
        assert_agrees(sets.get("classic193").compute(samples), classic_of_librosa(samples))


@pytest.mark.parametrize(
    ("window", "length", "hop"), [("hamming", 2048, 512), ("hann", 1024, 256), ("blackman", 4096, 1024)]
)
def test_parameters_of_classic193_mean_what_they_mean_in_librosa(
    ravdess_clips: list[Path], window: str, length: int, hop: int
) -> None:
    samples = soundfile.read(ravdess_clips[4], dtype="float32")[0]
    ours = sets.get("classic193").compute(samples, window=window, frame_length=length, hop_length=hop)
    assert_agrees(ours, classic_of_librosa(samples, window, length, hop))


def test_logmel_is_that_of_librosa(ravdess_clips: list[Path]) -> None:
    for path in ravdess_clips[:4]:
        samples = soundfile.read(path, dtype="float32")[0]
        mel = librosa.feature.melspectrogram(
            y=samples, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20, fmax=8000
        )
        ours = sets.get("logmel").compute(samples)
        np.testing.assert_allclose(ours, librosa.power_to_db(mel).T, atol=2e-3)
        assert ours.shape == (1 + len(samples) // 160, 64)


def test_sequence_is_cepstrum_of_librosa_and_voice(ravdess_clips: list[Path]) -> None:
    samples = soundfile.read(ravdess_clips[2], dtype="float32")[0]
    analysis = Analysis(samples)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=40, fmin=20
    )
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=13)
    changes = [librosa.feature.delta(cepstrum, order=order) for order in (1, 2)]
    f0, strength, _ = voicing.track(analysis)
    with np.errstate(divide="ignore"):
        log_f0 = np.where(f0 > 0, np.log2(f0 / 27.5), 0)
    theirs = np.concatenate([cepstrum, *changes, [log_f0, prosody.energy(analysis), strength]]).T
    ours = sets.get("sequence").compute(samples)
    assert (f0 > 0).mean() > 0.2
    np.testing.assert_allclose(ours, theirs, atol=3e-3)


def test_sequence_of_a_note() -> None:
    spec = sets.spec("sequence", preprocess={"level": "none"})
    names = sets.get("sequence").names()
    middle = dict(zip(names, sets.extract(Waveform(sine(220, 1.0)), spec)[50], strict=True))
    assert middle["log_f0"] == pytest.approx(3, abs=0.01)  # A3 is three octaves above A0
    assert middle["energy"] == pytest.approx(10 * np.log10(0.5**2 / 2), abs=0.05)
    assert middle["voicing"] == pytest.approx(1, abs=0.02)
    assert middle["delta_mfcc_01"] == pytest.approx(0, abs=0.05)


# --- names and shapes --------------------------------------------------------------------------------------


def test_names_of_classic193() -> None:
    names = sets.get("classic193").names()
    assert len(set(names)) == len(names) == 193
    assert [names[i] for i in (0, 39, 40, 41, 51, 52, 179, 180, 186, 187, 192)] == [
        "mfcc_01",
        "mfcc_40",
        "chroma_C",
        "chroma_C#",
        "chroma_B",
        "mel_001",
        "mel_128",
        "contrast_1",
        "contrast_7",
        "tonnetz_1",
        "tonnetz_6",
    ]


@pytest.mark.parametrize("name", COMPLETE)
def test_every_number_has_a_name(name: str) -> None:
    spec = sets.spec(name)
    names = sets.feature_names(spec)
    assert len(set(names)) == len(names) == spec.dimension
    features = sets.extract(Waveform(sine(220, 0.8)), spec)
    assert features.dtype == np.float32
    assert features.ndim == {"clip": 1, "frame": 2}[sets.get(name).level]
    assert features.shape[-1] == spec.dimension


def test_logmel_has_as_many_bands_as_asked_for() -> None:
    spec = sets.spec("logmel", {"n_mels": 40, "hop_length": 320})
    assert spec.dimension == 40
    assert sets.feature_names(spec) == tuple(f"logmel_{i:02d}" for i in range(1, 41))
    assert sets.extract(Waveform(sine(220, 1.0)), spec).shape == (51, 40)


# --- specifications ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPLETE)
def test_a_specification_is_complete_and_survives_json(name: str) -> None:
    spec = sets.spec(name)
    assert dict(spec.parameters) == sets.get(name).defaults
    assert set(spec.preprocess) == {field.name for field in dataclasses.fields(PreprocessOptions)}
    again = FeatureSpec(**json.loads(json.dumps(dataclasses.asdict(spec))))
    assert again == spec
    sound = Waveform(sine(150, 0.5) + np.float32(0.1))
    np.testing.assert_array_equal(sets.extract(sound, again), sets.extract(sound, spec))


def test_numbers_take_the_type_of_the_parameter() -> None:
    parameters = sets.spec("logmel", {"n_mels": 32.0, "fmin": 50}).parameters
    assert (parameters["n_mels"], parameters["fmin"]) == (32, 50.0)
    assert [type(parameters[key]) for key in ("n_mels", "fmin")] == [int, float]


def test_preprocessing_is_applied() -> None:
    tone = Waveform(sine(440, 0.5, amplitude=0.1) + np.float32(0.3))
    values = [
        sets.extract(tone, sets.spec("classic193", preprocess={"dc": dc, "level": "none"})) for dc in (True, False)
    ]
    assert values[0][52] < 0.01 * values[1][52]  # power in the lowest mel band
    options = PreprocessOptions(dc=False, level="none")
    np.testing.assert_array_equal(sets.extract(tone, sets.spec("classic193", preprocess=options)), values[1])


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("clasic193", {}, "unknown feature set 'clasic193': did you mean 'classic193'.* classic193, prosodic"),
        ("zzz", {}, "unknown feature set 'zzz': choose one of classic193"),
        (
            "classic193",
            {"hop": 1},
            "'classic193' has no parameter 'hop': .*choose one of window, frame_length",
        ),
        ("classic193", {"window": "han"}, "classic193.window='han' is not possible: it must be one of hann,"),
        ("classic193", {"window": 3}, "classic193.window=3 is not possible"),
        (
            "classic193",
            {"hop_length": 0},
            "hop_length=0 is not possible: .* whole number from 40 to 8192 samples",
        ),
        ("classic193", {"hop_length": 51.5}, "hop_length=51.5 is not possible"),
        ("classic193", {"hop_length": True}, "hop_length=True is not possible"),
        ("classic193", {"hop_length": "512"}, "hop_length='512' is not possible"),
        ("classic193", {"frame_length": float("nan")}, "frame_length=nan is not possible"),
        (
            "logmel",
            {"fmax": float("inf")},
            "fmax=inf is not possible: it must be a number from 500 to 8000 Hz",
        ),
        ("logmel", {"n_mels": 200}, "n_mels=200 leaves .* use fewer bands or a longer frame"),
        (
            "logmel",
            {"frame_length": 401},
            "frame_length=401 is not possible: it must be an even number from 160",
        ),
        ("sequence", {"n_mels": 10}, "n_mfcc=13 exceeds the 10 mel bands: use more bands"),
        ("sequence", {"pitch_floor": 250, "pitch_ceiling": 220}, "pitch from 250 to 220 Hz"),
        ("logmel", {"fmin": 2000, "fmax": 1000}, "mel bands from 2000 to 1000 Hz"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        sets.spec(name, parameters)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ({"denoize": True}, "unknown preprocessing option 'denoize': did you mean 'denoise'"),
        ({"dc": "no"}, "preprocessing option dc='no' is not possible: give true or false"),
        ({"dc": 1}, "dc=1 is not possible: give true or false"),
        ({"peak": "high"}, "peak='high' is not possible: give a number"),
        ({"peak": True}, "peak=True is not possible: give a number"),
        ({"level": 3}, "level=3 is not possible: give a word"),
        ({"level": "rms"}, "unknown level 'rms'"),
    ],
)
def test_impossible_preprocessing_is_refused(preprocess: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sets.spec("classic193", preprocess=preprocess)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": 99},
            "'classic193' is wanted in version 99, this emovox computes version 1: use the emovox",
        ),
        ({"dimension": 180}, "'classic193' with these parameters has 193 features, not 180"),
        ({"set": "gemaps"}, "unknown feature set 'gemaps'"),
        ({"parameters": {"warp": 2}}, "'classic193' has no parameter 'warp'"),
        ({"preprocess": {"warp": 2}}, "unknown preprocessing option 'warp'"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(change: dict[str, Any], message: str) -> None:
    spec = dataclasses.replace(sets.spec("classic193"), **change)
    with pytest.raises(FeatureError, match=message):
        sets.extract(Waveform(sine(220, 0.5)), spec)


# --- any sound ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sound", awkward())
@pytest.mark.parametrize("preprocess", [{}, RAW], ids=["cleaned", "raw"])
@pytest.mark.parametrize("name", COMPLETE)
def test_features_of_awkward_sounds_are_finite(name: str, sound: str, preprocess: dict[str, object]) -> None:
    spec = sets.spec(name, preprocess=preprocess)
    assert np.isfinite(sets.extract(Waveform(awkward()[sound]), spec)).all()


@settings(deadline=None, max_examples=examples(25))
@given(
    st.sampled_from(COMPLETE),
    arrays(np.float32, st.integers(1600, 5000), elements=st.floats(-1, 1, width=32), fill=st.just(0)),
)
def test_features_of_any_samples_are_finite(name: str, samples: Float32Array) -> None:
    for preprocess in ({}, RAW):
        assert np.isfinite(sets.extract(Waveform(samples), sets.spec(name, preprocess=preprocess))).all()


@pytest.mark.parametrize("name", ["classic193", "logmel"])
def test_samples_beyond_float32_arithmetic_are_refused(name: str) -> None:
    loud = Waveform(sine(440, 0.5) * np.float32(1e30))
    spec = sets.spec(name, preprocess=RAW)
    with pytest.raises(FeatureError, match=r"largest sample is 5e\+29: give samples in the range -1 to 1"):
        sets.extract(loud, spec)


def test_a_clip_does_not_change_when_others_were_computed_before(rng: np.random.Generator) -> None:
    """Cached filter banks and shared spectra must not leak from one clip into the next."""
    spec = sets.spec("classic193")
    sound = Waveform(sine(330, 0.7))
    before = sets.extract(sound, spec)
    for scale in (0.01, 0.3):
        sets.extract(Waveform(rng.normal(scale=scale, size=9000).astype(np.float32)), spec)
    np.testing.assert_array_equal(sets.extract(sound, spec), before)


def test_a_model_of_samples_loads_no_signal_processing() -> None:
    """The built-in model starts faster without it."""
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from emovox.features import sets\n"
        "from emovox.types import Waveform\n"
        "sets.extract(Waveform(np.ones(8000, np.float32)), sets.spec('samples'))\n"
        "loaded = {name for name in sys.modules if name.startswith('emovox.features.')}\n"
        "assert loaded == {'emovox.features.sets'}, loaded\n"
        "sets.spec('logmel')\n"
        "assert 'emovox.features.spectral' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_documentation_lists_every_set_and_parameter() -> None:
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    for name in sets.available():
        chosen = sets.get(name)
        assert f"| `{name}` | {chosen.level} | {len(chosen.names())} |" in text
        for key, parameter in chosen.parameters.items():
            assert f"| `{name}` | `{key}` | {parameter.default} | {parameter.allowed()} |" in text
