"""A profile is the mean of what a model hears in ordinary speech, is read strictly, and serves its own model only."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import emovox
from emovox import AudioError, EmotionRecognizer, Failure, ModelError, NoSpeechError, Profile, ProfileError
from emovox.features import sets
from emovox.model import file as model_file
from emovox.model import profiles
from emovox.model.file import Model
from emovox.types import Waveform
from tests.conftest import export_personal, sine, speech

ANNA = Profile("anna", "demo", "ab" * 32, clips=2, seconds=6.5, embedding=(0.5, -1.25), created="2026-01-31")


@pytest.fixture(scope="module")
def model(personal_model: Path) -> Model:
    return model_file.load(personal_model)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two recordings of 2 and 3 s, one window each."""
    paths = [tmp_path / "calm-1.wav", tmp_path / "calm-2.wav"]
    for path, seconds in zip(paths, (2, 3), strict=True):
        soundfile.write(path, speech(seconds, seconds), 16000, subtype="FLOAT")
    return paths


def heard(model: Model, samples: np.ndarray, baseline: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and embedding of one window by the model's own arithmetic, without the recogniser."""
    found = model.run(sets.extract(Waveform(samples), model.card.features)[None], baseline=baseline)
    assert found.embedding is not None
    return found.probabilities[0], found.embedding[0]


# --- making ------------------------------------------------------------------------------------------------


def test_a_profile_is_the_mean_weighted_by_length(model: Model, clips: list[Path]) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    embeddings = [heard(model, speech(seconds, seconds))[1] for seconds in (2, 3)]
    np.testing.assert_allclose(profile.embedding, np.average(embeddings, axis=0, weights=[2, 3]), rtol=1e-6)
    assert (profile.name, profile.model, profile.clips, profile.seconds) == ("anna", "personal", 2, 5.0)
    assert (profile.fingerprint, profile.software) == (model.fingerprint, emovox.__version__)


def test_one_long_recording_serves_as_well(model: Model) -> None:
    samples = np.concatenate([speech(6), speech(6, 2), speech(5, 4)])
    profile = EmotionRecognizer(model).enroll("anna", [as_wav(samples)])
    embeddings = [heard(model, samples[i : i + 96000])[1] for i in range(0, len(samples), 96000)]
    np.testing.assert_allclose(profile.embedding, np.average(embeddings, axis=0, weights=[6, 6, 5]), rtol=1e-6)
    assert (profile.clips, profile.seconds) == (1, 17.0)


def test_pauses_and_noises_between_the_words_do_not_count(model: Model) -> None:
    tone, silence = sine(440, 6), np.zeros(96000, np.float32)
    pure = EmotionRecognizer(model).enroll("anna", [as_wav(speech(6))])
    mixed = EmotionRecognizer(model).enroll("anna", [as_wav(np.concatenate([tone, speech(6), silence]))])
    assert mixed.embedding == pure.embedding
    assert mixed.seconds == 6.0


def test_a_profile_holds_no_sound(model: Model, tmp_path: Path) -> None:
    sizes = []
    for seconds in (2, 60):
        profiles.save(EmotionRecognizer(model).enroll("anna", [as_wav(speech(seconds))]), tmp_path / "anna.json")
        sizes.append((tmp_path / "anna.json").stat().st_size)
    assert max(sizes) < 1000  # as long as the speech may be: 8 numbers and where they come from
    assert abs(sizes[1] - sizes[0]) < 50


def as_wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.mark.parametrize(
    ("sounds", "error", "message"),
    [
        ([sine(440, 3)], NoSpeechError, "clip-0.wav holds no speech that can be judged"),
        ([speech(3), sine(440, 3)], NoSpeechError, "clip-1.wav holds no speech that can be judged"),
        ([speech(3), np.zeros(32000)], AudioError, "clip-1.wav is silent"),
        ([speech(0.1, 3)], ProfileError, r"0\.1 s of speech are too little for a profile: give 1 s"),
        ([speech(0.5), speech(0.4, 2)], ProfileError, r"0\.9 s of speech are too little"),
        ([speech(0.05)], AudioError, "clip-0.wav lasts 0.050 s, too short"),
        ([], ProfileError, r"0\.0 s of speech are too little"),
    ],
)
def test_what_makes_no_profile(
    sounds: list[np.ndarray], error: type[Exception], message: str, model: Model, tmp_path: Path
) -> None:
    paths = [tmp_path / f"clip-{number}.wav" for number in range(len(sounds))]
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound, 16000)
    with pytest.raises(error, match=message):
        EmotionRecognizer(model).enroll("anna", paths)


def test_a_model_without_a_baseline_is_refused(clips: list[Path]) -> None:
    with pytest.raises(ModelError, match="model 'classic' takes no personal baseline: use a model that does"):
        EmotionRecognizer("classic").enroll("anna", clips)
    with pytest.raises(ModelError, match="model 'classic' takes no personal baseline"):
        EmotionRecognizer("classic", speaker=ANNA)


# --- using -------------------------------------------------------------------------------------------------


def test_a_speaker_is_the_baseline_passed_by_hand(model: Model, clips: list[Path]) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    samples = speech(4, 9)
    expected, _ = heard(model, samples, np.array(profile.embedding, dtype=np.float32))
    found = EmotionRecognizer(model, speaker=profile).assess(Waveform(samples), "a")
    assert found is not None
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-6)
    assert found.speaker == "anna"
    plain = EmotionRecognizer(model).assess(Waveform(samples), "a")
    assert plain is not None
    assert plain.speaker is None
    assert np.abs(np.subtract(list(plain.probabilities.values()), expected)).max() > 0.01


def test_zeros_are_no_speaker(model: Model) -> None:
    nobody = Profile("nobody", "personal", model.fingerprint, clips=1, seconds=2.0, embedding=(0.0,) * 8)
    samples = speech(7.5)
    with_zeros = EmotionRecognizer(model, speaker=nobody).predict(samples, rate=16000)
    assert with_zeros.probabilities == EmotionRecognizer(model).predict(samples, rate=16000).probabilities


def test_many_are_one_by_one(model: Model, clips: list[Path], tmp_path: Path) -> None:
    recognizer = EmotionRecognizer(model, speaker=EmotionRecognizer(model).enroll("anna", clips))
    soundfile.write(tmp_path / "tone.wav", sine(440, 2), 16000)
    first, failure, second = recognizer.predict_many([clips[0], tmp_path / "tone.wav", clips[1]])
    assert [first, second] == [recognizer.predict(path) for path in clips]
    assert isinstance(failure, Failure)
    assert failure.kind == "NoSpeechError"


def test_utterances_of_a_long_recording_all_have_the_baseline(model: Model, clips: list[Path]) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    samples, baseline = speech(16), np.array(profile.embedding, dtype=np.float32)
    recognizer = EmotionRecognizer(model, speaker=profile)
    parts = recognizer.timeline(samples, rate=16000).predictions
    middle = parts[1]  # both of its ends are cuts within speech: nothing around it is heard with it
    cut = samples[round(middle.start * 16000) : round(middle.end * 16000)]
    expected, _ = heard(model, cut, baseline)
    assert len(parts) > 2
    np.testing.assert_allclose(list(middle.probabilities.values()), expected, atol=1e-6)
    rows = [list(one.probabilities.values()) for one in parts]
    mean = np.average(rows, axis=0, weights=[one.end - one.start for one in parts])
    found = recognizer.predict(samples, rate=16000)
    np.testing.assert_allclose(list(found.probabilities.values()), mean, atol=1e-6)


def test_a_profile_of_another_model_is_refused(model: Model, clips: list[Path], tmp_path: Path) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    other = export_personal(tmp_path / "other.onnx", seed=1)  # the same name, labels and width
    with pytest.raises(ProfileError, match=r"'anna' was made with another model \('personal', .*enrol anna again"):
        EmotionRecognizer(other, speaker=profile)


def test_a_profile_of_another_width_is_refused(model: Model) -> None:
    crooked = dataclasses.replace(ANNA, fingerprint=model.fingerprint)
    with pytest.raises(ProfileError, match=r"'anna' is damaged \(2 numbers, model 'personal' takes 8\): enrol again"):
        EmotionRecognizer(model, speaker=crooked)


# --- files -------------------------------------------------------------------------------------------------

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(embedding=st.lists(FLOATS, min_size=1, max_size=20), seconds=st.floats(1, 1e5), clips=st.integers(1, 10**6))
def test_a_file_reads_back(
    embedding: list[float], seconds: float, clips: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "back.json"
    profile = dataclasses.replace(ANNA, embedding=tuple(embedding), seconds=seconds, clips=clips)
    profiles.save(profile, path)
    assert profiles.read(path) == profile


def test_a_file_is_its_owners_only(tmp_path: Path) -> None:
    profiles.save(ANNA, tmp_path / "new" / "anna.json")
    assert (tmp_path / "new" / "anna.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def changed(**changes: Any) -> str:
    return json.dumps({**dataclasses.asdict(ANNA), **changes})


def without(key: str) -> str:
    values = dataclasses.asdict(ANNA)
    del values[key]
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is not a profile \(Expecting value"),
        ("{", "is not a profile"),
        ("[" * 100_000, "is not a profile"),
        ("1" * 5000, "is not a profile"),
        ("[]", "not a JSON object"),
        ('"anna"', "not a JSON object"),
        ("{}", "'.*' is missing"),
        (without("embedding"), "'embedding' is missing"),
        (without("format_version"), "'format_version' is missing"),
        (changed(colour="red"), "'colour' is no key of it"),
        (changed(format_version=2), "has profile format 2, expected 1: upgrade"),
        (changed(name=3), r"'name' is 3, not str"),
        (changed(clips=True), "'clips' is true, not int"),
        (changed(clips=2.0), "'clips' is 2.0, not int"),
        (changed(clips=0), "it holds no speech"),
        (changed(seconds=-1), "it holds no speech"),
        (changed(seconds=math.nan), "not a finite number"),
        (changed(embedding={"0": 1}), "'embedding' is .* not list"),
        (changed(embedding=[]), "it holds no speech"),
        (changed(embedding=[1, "2"]), "not a finite number"),
        (changed(embedding=[1, None]), "not a finite number"),
        (changed(embedding=[1, False]), "not a finite number"),
        (changed(embedding=[[1, 2]]), "not a finite number"),
        (changed(embedding=[1, math.nan]), "not a finite number"),
        (changed(embedding=[1, math.inf]), "not a finite number"),
        (changed(embedding=[1, 1e39]), "not a finite number"),
        (changed(embedding=[1, 10**400]), "not a finite number"),
        (changed(name="../anna"), r"cannot be called '\.\./anna'"),
    ],
)
def test_a_misshapen_file_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "anna.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=message) as caught:
        profiles.find(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "anna.json").write_bytes(b"\xff\xfe\x00RIFF")
    with pytest.raises(ProfileError, match=r"anna\.json is not a profile"):
        profiles.read(tmp_path / "anna.json")
    with pytest.raises(ProfileError, match=r"cannot read the profile .* \(Is a directory\): name a profile file"):
        profiles.find(f"{tmp_path}/")
    with pytest.raises(ProfileError, match=r"there is no profile .*none\.json: check the path"):
        profiles.find(str(tmp_path / "none.json"))


@pytest.mark.parametrize("embedding", [(), (math.nan,), (1.0, math.inf)])
def test_a_profile_made_by_hand_is_checked_too(embedding: tuple[float, ...]) -> None:
    with pytest.raises(ProfileError, match="profile 'anna' is damaged"):
        dataclasses.replace(ANNA, embedding=embedding)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "-a", "a b", "a.json", "a\u202eb", "\u0301a", "a\n", "x" * 65]
)
def test_names_that_are_no_file_names(name: str) -> None:
    with pytest.raises(ProfileError, match="a speaker cannot be called"):
        profiles.stored(name)


def test_a_speaker_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = dataclasses.replace(ANNA, name="other")
    profiles.save(other, tmp_path / "anna")
    assert profiles.find("anna") == other  # nobody of that name: a file
    profiles.save(ANNA, profiles.stored("anna"))
    assert profiles.find("anna") == ANNA  # the stored one comes first
    assert profiles.find("./anna") == other
    assert profiles.names() == ("anna",)


def test_an_unknown_speaker_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no profile of 'ana': choose one of \(none\), or make it"):
        profiles.find("ana")
    profiles.save(ANNA, profiles.stored("anna"))
    profiles.save(ANNA, profiles.stored("bert"))
    with pytest.raises(ProfileError, match=r"no profile of 'ana': did you mean 'anna'\? choose one of anna, bert"):
        profiles.find("ana")
    with pytest.raises(ProfileError, match="no profile of 'ana': did you mean 'anna'"):
        profiles.remove("ana")


def test_removing_removes_one(tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        profiles.save(ANNA, profiles.stored(name))
    assert profiles.remove("anna") == profiles.default_folder() / "anna.json"
    assert profiles.names() == ("bert",)


def test_where_writing_fails_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProfileError, match=r"cannot write .*anna\.json"):
        profiles.save(ANNA, tmp_path / "file" / "anna.json")
    (tmp_path / "folder" / "anna.json").mkdir(parents=True)
    with pytest.raises(ProfileError, match=r"cannot write .*anna\.json"):
        profiles.save(ANNA, tmp_path / "folder" / "anna.json")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["anna.json"]


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "{base}/emovox/profiles"),
        ("win32", "LOCALAPPDATA", "{base}/emovox/profiles"),
        ("linux", None, "{home}/.local/share/emovox/profiles"),
        ("darwin", None, "{home}/Library/Application Support/emovox/profiles"),
    ],
)
def test_the_folder_is_the_platforms_own(
    platform: str, variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EMOVOX_PROFILES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "base"))
    assert profiles.default_folder() == Path(expected.format(base=tmp_path / "base", home=tmp_path / "home"))
