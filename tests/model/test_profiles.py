"""Profiles are statistics of what a model hears of a speaker or setting, read strictly, for their own model only."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import emovox
from emovox import AudioError, EmotionRecognizer, Failure, ModelError, NoSpeechError, Profile, ProfileError
from emovox.errors import EmovoxError
from emovox.features import sets
from emovox.model import file as model_file
from emovox.model import profiles
from emovox.model.file import Model
from emovox.model.profiles import Statistics, default_folder
from emovox.types import Float32Array, Setting, Waveform
from tests import CLASSIC
from tests.conftest import export_personal, sine, speech

ANNA = Profile(
    "speaker",
    "anna",
    "demo",
    "ab" * 32,
    clips=2,
    seconds=6.5,
    count=3,
    mean=(0.5, -1.25),
    variance=(1.0, 0.25),
    created="2026-01-31",
)
OFFICE = dataclasses.replace(ANNA, kind="setting", name="office")


@pytest.fixture(scope="module")
def model(personal_model: Path) -> Model:
    return model_file.load(personal_model)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two recordings of 2 and 3 s, an utterance each."""
    paths = [tmp_path / "calm-1.wav", tmp_path / "calm-2.wav"]
    for path, seconds in zip(paths, (2, 3), strict=True):
        soundfile.write(path, speech(seconds, seconds), 16000, subtype="FLOAT")
    return paths


def heard(model: Model, samples: np.ndarray, baseline: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and axes of one window by the model's own arithmetic, without the recogniser."""
    found = model.run(sets.extract(Waveform(samples), model.card.features)[None], baseline=baseline)
    assert found.axes is not None
    return found.probabilities[0], found.axes[0]


def axes_of(model: Model, *recordings: np.ndarray) -> Float32Array:
    """Axes of the utterances of recordings, cut where a timeline cuts them, each with 0.1 s around it."""
    rows = []
    for samples in recordings:
        parts = EmotionRecognizer(model).timeline(samples, rate=16000).predictions
        for one, before, after in zip(parts, (None, *parts[:-1]), (*parts[1:], None), strict=True):
            if one.end - one.start < 0.3:  # too short to be judged by itself: it has the answer of the part before
                continue
            cut = before is not None and one.start == before.end, after is not None and one.end == after.start
            first, last = (round(16000 * edge) for edge in (one.start, one.end))
            first, last = first - (0 if cut[0] else 1600), last + (0 if cut[1] else 1600)
            rows.append(heard(model, samples[max(0, first) : last])[1])
    return np.stack(rows)


# --- making ------------------------------------------------------------------------------------------------


def test_a_profile_is_mean_and_variance_of_the_utterances_axes(model: Model, clips: list[Path]) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    axes = axes_of(model, speech(2, 2), speech(3, 3))
    np.testing.assert_allclose(profile.mean, axes.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(profile.variance, axes.var(axis=0), rtol=1e-3, atol=1e-5)
    assert (profile.kind, profile.name, profile.model) == ("speaker", "anna", "personal")
    assert (profile.clips, profile.count, profile.setting) == (2, len(axes), None)
    assert profile.seconds == pytest.approx(5.0, abs=0.5)
    assert (profile.fingerprint, profile.software) == (model.fingerprint, emovox.__version__)


def test_a_setting_is_heard_the_same_way(model: Model, clips: list[Path]) -> None:
    recognizer = EmotionRecognizer(model)
    speaker = recognizer.enroll("anna", [*clips, (speech(8), 16000)], "office", voice=False)
    setting = recognizer.adapt("office", [*clips, (speech(8), 16000)])
    assert speaker.setting == "office"
    assert dataclasses.replace(speaker, kind="setting", name="office", setting=None) == setting
    folder = recognizer.adapt("office", [clips[0].parent, (speech(8), 16000)])
    assert folder == setting


def test_one_long_recording_serves_as_well(model: Model) -> None:
    samples = np.concatenate([speech(6), speech(6, 2), speech(5, 4)])
    profile = EmotionRecognizer(model).enroll("anna", [as_wav(samples)])
    axes = axes_of(model, samples)
    assert profile.count == len(axes) > 2
    np.testing.assert_allclose(profile.mean, axes.mean(axis=0), rtol=1e-4)
    assert profile.clips == 1
    assert 12 < profile.seconds <= 17


def test_pauses_and_noises_between_the_words_do_not_count(model: Model) -> None:
    tone, silence = sine(440, 6), np.zeros(96000, np.float32)
    pure = EmotionRecognizer(model).enroll("anna", [as_wav(speech(6))])
    mixed = EmotionRecognizer(model).enroll("anna", [as_wav(np.concatenate([speech(6), silence, tone, silence]))])
    assert mixed.count == pure.count
    assert mixed.seconds == pytest.approx(pure.seconds, abs=0.2)
    np.testing.assert_allclose(mixed.mean, pure.mean, atol=0.05)


def test_a_profile_holds_nothing_but_the_numbers(model: Model, tmp_path: Path) -> None:
    sizes = []
    for seconds in (2, 60):
        profiles.save(EmotionRecognizer(model).enroll("anna", [as_wav(speech(seconds))]), tmp_path / "anna.json")
        sizes.append((tmp_path / "anna.json").stat().st_size)
        written = json.loads((tmp_path / "anna.json").read_text())
        assert set(written) == {one.name for one in dataclasses.fields(Profile)}
        assert (len(written.pop("mean")), len(written.pop("variance"))) == (model.axes_width, model.axes_width)
        assert len(written.pop("voice")) == 192
        assert all(isinstance(one, str | int | float | None) for one in written.values())
    assert max(sizes) < 8000  # as long as the speech may be: 16 numbers, a voice print, and where they come from


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
        ([speech(0.5), speech(0.4, 2)], ProfileError, r"0\.\d s of speech are too little"),
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


def test_a_setting_needs_ten_seconds_or_three_recordings(model: Model, clips: list[Path]) -> None:
    recognizer = EmotionRecognizer(model)
    with pytest.raises(ProfileError, match=r"s of speech in 2 recordings are too little for a setting: give 10 s or 3"):
        recognizer.adapt("office", clips)
    assert recognizer.adapt("office", [as_wav(speech(14))]).clips == 1
    assert recognizer.adapt("office", [*clips, clips[0]]).clips == 3
    with pytest.raises(ProfileError, match=r"0\.0 s of speech in 0 recordings"):
        recognizer.adapt("office", [])


def test_a_setting_may_leave_out_what_cannot_be_used(model: Model, clips: list[Path], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", sine(440, 2), 16000)
    given = [clips[0], tmp_path / "tone.wav", clips[1], tmp_path / "missing.wav", clips[0]]
    recognizer = EmotionRecognizer(model)
    with pytest.raises(NoSpeechError, match=r"tone\.wav"):
        recognizer.adapt("office", given)
    found: list[EmovoxError] = []
    progress: list[tuple[int, float]] = []
    profile = recognizer.adapt(
        "office", given, jobs=1, left_out=found.append, progress=lambda *one: progress.append(one)
    )
    assert [type(one).__name__ for one in found] == ["NoSpeechError", "AudioError"]
    assert profile == recognizer.adapt("office", [clips[0], clips[1], clips[0]])
    assert progress[-1][0] == 5
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_a_model_without_a_baseline_is_refused(clips: list[Path]) -> None:
    with pytest.raises(ModelError, match="model 'classic' takes no baseline: use a model that does"):
        EmotionRecognizer(CLASSIC).enroll("anna", clips)
    ways: list[dict[str, Any]] = [{"speaker": ANNA}, {"setting": OFFICE}, {"setting": "auto"}]
    for known in ways:
        with pytest.raises(ModelError, match="model 'classic' takes no baseline"):
            EmotionRecognizer(CLASSIC, **known)


# --- using -------------------------------------------------------------------------------------------------


def test_a_speaker_and_a_setting_are_the_baseline_passed_by_hand(model: Model, clips: list[Path]) -> None:
    recognizer, samples = EmotionRecognizer(model), speech(4, 9)
    speaker, setting = recognizer.enroll("anna", clips), recognizer.adapt("office", [as_wav(speech(20, 5))])
    nothing = np.zeros(17)
    levels = {
        "setting": np.concatenate([[setting.count], setting.mean, setting.variance]),
        "speaker": np.concatenate([[speaker.count], speaker.mean, speaker.variance]),
    }
    plain = recognizer.assess(Waveform(samples), "a")
    assert plain is not None
    assert (plain.speaker, plain.baseline, plain.setting) == (None, None, None)
    ways: list[dict[str, Any]] = [{"speaker": speaker}, {"setting": setting}, {"setting": setting, "speaker": speaker}]
    for known in ways:
        given = np.concatenate([levels[one] if one in known else nothing for one in levels]).astype(np.float32)
        expected, _ = heard(model, samples, given)
        found = EmotionRecognizer(model, **known).assess(Waveform(samples), "a")
        assert found is not None
        np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-6)
        assert found.baseline == found.speaker == ("anna" if "speaker" in known else None)
        assert found.setting == (Setting("office", setting.count) if "setting" in known else None)
        assert np.abs(np.subtract(list(plain.probabilities.values()), expected)).max() > 0.01


def test_what_was_used_stands_in_the_result(model: Model) -> None:
    setting = EmotionRecognizer(model).adapt("büro", [as_wav(speech(20, 5))])
    found = EmotionRecognizer(model, setting=setting).predict(speech(3), rate=16000)
    assert found.to_dict()["setting"] == {"name": "büro", "heard": setting.count}
    assert json.loads(json.dumps(found.to_dict()))["setting"]["name"] == "büro"
    assert found.to_row()["setting"] == "büro"


def test_a_speaker_brings_the_setting_along(model: Model, clips: list[Path]) -> None:
    recognizer = EmotionRecognizer(model)
    anna = recognizer.enroll("anna", clips, "office")
    with pytest.raises(ProfileError, match="'anna' belongs to the setting 'office', of which there is no profile"):
        EmotionRecognizer(model, speaker=anna)
    for name, seed in (("office", 5), ("car", 1)):
        profiles.save(recognizer.adapt(name, [as_wav(speech(20, seed))]), profiles.stored(name, "setting"))
    profiles.save(anna, profiles.stored("anna"))
    assert EmotionRecognizer(model, speaker="anna").setting == profiles.find("office", "setting")
    assert EmotionRecognizer(model, speaker="anna", setting="car").setting == profiles.find("car", "setting")
    assert EmotionRecognizer(model, speaker="anna", setting="auto").setting == "auto"


def test_profiles_of_the_other_kind_are_refused(model: Model, clips: list[Path], tmp_path: Path) -> None:
    anna = EmotionRecognizer(model).enroll("anna", clips)
    profiles.save(anna, tmp_path / "anna.json")
    for setting in (anna, tmp_path / "anna.json"):
        with pytest.raises(ProfileError, match="profile 'anna' is of a speaker, not of a setting: name it as speaker"):
            EmotionRecognizer(model, setting=setting)


def test_many_are_one_by_one(model: Model, clips: list[Path], tmp_path: Path) -> None:
    recognizer = EmotionRecognizer(model, speaker=EmotionRecognizer(model).enroll("anna", clips))
    soundfile.write(tmp_path / "tone.wav", sine(440, 2), 16000)
    first, failure, second = recognizer.predict_many([clips[0], tmp_path / "tone.wav", clips[1]])
    assert [first, second] == [recognizer.predict(path) for path in clips]
    assert isinstance(failure, Failure)
    assert failure.kind == "NoSpeechError"


def test_utterances_of_a_long_recording_all_have_the_baseline(model: Model, clips: list[Path]) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    samples, baseline = speech(16), profiles.baseline(model, None, profile)
    recognizer = EmotionRecognizer(model, speaker=profile)
    parts = recognizer.timeline(samples, rate=16000).predictions
    middle = parts[1]  # both of its ends are cuts within speech: nothing around it is heard with it
    cut = samples[round(middle.start * 16000) : round(middle.end * 16000)]
    expected, _ = heard(model, cut, baseline)
    np.testing.assert_allclose(list(middle.probabilities.values()), expected, atol=1e-5)


def test_a_profile_of_another_model_is_refused(model: Model, clips: list[Path], tmp_path: Path) -> None:
    profile = EmotionRecognizer(model).enroll("anna", clips)
    other = export_personal(tmp_path / "other.onnx", seed=1)  # the same name, labels and width
    with pytest.raises(ProfileError, match=r"'anna' was made with another model \('personal', .*emovox enroll anna"):
        EmotionRecognizer(other, speaker=profile)


def test_a_profile_of_another_width_is_refused(model: Model) -> None:
    crooked = dataclasses.replace(OFFICE, fingerprint=model.fingerprint)
    with pytest.raises(ProfileError, match=r"'office' is damaged \(2 axes, model 'personal' has 8\): .*emovox adapt"):
        EmotionRecognizer(model, setting=crooked)


def test_a_baseline_is_the_setting_and_then_the_speaker(model: Model) -> None:
    axes = np.random.default_rng(0).normal(size=(2, 5, 8))
    found = profiles.baseline(model, Statistics.of(axes[0]), Statistics.of(axes[1]))
    expected = [part for one in axes for part in ([5.0], one.mean(axis=0), one.var(axis=0))]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-6)
    np.testing.assert_array_equal(profiles.baseline(model), np.zeros(34))


# --- files -------------------------------------------------------------------------------------------------

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PAIRS = st.lists(st.tuples(FLOATS, st.floats(0, 1e30)), min_size=1, max_size=20)


@given(axes=PAIRS, seconds=st.floats(1, 1e5), clips=st.integers(1, 10**6), count=st.integers(1, 10**6))
def test_a_file_reads_back(
    axes: list[tuple[float, float]], seconds: float, clips: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "back.json"
    mean, variance = zip(*axes, strict=True)
    numbers = {"mean": mean, "variance": variance, "seconds": seconds, "clips": clips, "count": count}
    profile = dataclasses.replace(ANNA, **numbers)  # type: ignore[arg-type]
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


def test_profiles_of_the_versions_before_lack_what_came_later(tmp_path: Path) -> None:
    plain = dataclasses.asdict(ANNA)
    for version, later in ((2, ("voice", "encoder", "neutral")), (3, ("neutral",))):
        before = {key: value for key, value in plain.items() if key not in later} | {"format_version": version}
        (tmp_path / "anna.json").write_text(json.dumps(before))
        assert profiles.read(tmp_path / "anna.json") == ANNA
    assert (ANNA.voice, ANNA.neutral) == (None, False)


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
        (without("mean"), "'mean' is missing"),
        (without("kind"), "'kind' is missing"),
        (without("format_version"), "'format_version' is missing"),
        (changed(colour="red"), "'colour' is no key of it"),
        (changed(format_version=1), "has profile format 1, expected 4: an older emovox made it; enrol again"),
        (json.dumps({"format_version": 1, "name": "anna", "embedding": [1.0]}), "an older emovox made it; enrol again"),
        (changed(format_version=5), "has profile format 5, expected 4: upgrade"),
        (changed(voice=[1.0]), "its voice is not whole"),
        (changed(neutral=1), "'neutral' is 1, not bool"),
        (without("neutral"), "'neutral' is missing"),
        (changed(kind="setting", neutral=True), "a setting has no mood"),
        (changed(voice=[], encoder="cam++ 1"), "its voice is not whole"),
        (changed(voice=[math.nan], encoder="cam++ 1"), "not a finite number"),
        (changed(voice="deep"), "'voice' is .* not list or NoneType"),
        (changed(name=3), r"'name' is 3, not str"),
        (changed(clips=True), "'clips' is true, not int"),
        (changed(clips=2.0), "'clips' is 2.0, not int"),
        (changed(clips=0), "it holds no speech"),
        (changed(seconds=-1), "it holds no speech"),
        (changed(seconds=math.nan), "not a finite number"),
        (changed(mean={"0": 1}), "'mean' is .* not list"),
        (changed(mean=[], variance=[]), "it holds no speech"),
        (changed(mean=[1, "2"]), "not a finite number"),
        (changed(mean=[1, None]), "not a finite number"),
        (changed(mean=[1, False]), "not a finite number"),
        (changed(mean=[[1, 2]]), "not a finite number"),
        (changed(mean=[1, math.nan]), "not a finite number"),
        (changed(mean=[1, math.inf]), "not a finite number"),
        (changed(mean=[1, 1e39]), "not a finite number"),
        (changed(mean=[1, 10**400]), "not a finite number"),
        (changed(variance=[1.0]), "its mean and variance do not fit"),
        (changed(variance=[1.0, -0.5]), "its mean and variance do not fit"),
        (changed(count=0), "it holds no speech"),
        (changed(kind="dog"), "a profile is of a speaker or a setting, not of a 'dog'"),
        (changed(setting=3), r"'setting' is 3, not str or NoneType"),
        (changed(setting="a/b"), r"a setting cannot be called 'a/b'"),
        (changed(kind="setting", setting="office"), "a setting belongs to no other"),
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


@pytest.mark.parametrize("mean", [(), (math.nan, 0.0), (1.0, math.inf), (1.0,)])
def test_a_profile_made_by_hand_is_checked_too(mean: tuple[float, ...]) -> None:
    with pytest.raises(ProfileError, match="profile 'anna' is damaged"):
        dataclasses.replace(ANNA, mean=mean)


BAD_NAMES = ["", ".", "..", "a/b", "a\\b", "-a", "_a", "a b", "a.json", "a\n", "x" * 65, "a\u200b", "a:b"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "CON", "com1", "\u0301a", "½", "€", "a\x00", "語" * 67])
def test_names_that_are_no_file_names(name: str) -> None:
    for kind in ("speaker", "setting"):
        with pytest.raises(ProfileError, match=f"a {kind} cannot be called"):
            profiles.stored(name, kind)


@pytest.mark.parametrize("name", ["anna-2", "Zoë", "田中", "Анна_1", "سارة", "नीता", "김철수", "๑๒", "7of9", "x" * 64])
def test_names_in_any_script(name: str, tmp_path: Path) -> None:
    profiles.save(dataclasses.replace(ANNA, name=name), profiles.stored(name))
    assert profiles.find(name).name == name
    assert profiles.names() == (name,)


def test_a_name_is_one_however_it_is_composed() -> None:
    apart = unicodedata.normalize("NFD", "Zoë")
    profiles.save(dataclasses.replace(ANNA, name="Zoë"), profiles.stored("Zoë"))
    assert profiles.find(apart) == profiles.find("Zoë")
    assert profiles.stored(apart) == profiles.stored("Zoë")
    folder = default_folder()
    profiles.stored("Zoë").rename(folder / f"{apart}.json")  # as some file systems give names back
    assert profiles.names() == ("Zoë",)


def test_a_setting_is_not_called_auto() -> None:
    with pytest.raises(ProfileError, match="a setting cannot be called 'auto': that means the recordings at hand"):
        profiles.stored("auto", "setting")
    assert profiles.stored("auto").name == "auto.json"


def test_names_of_speakers_and_settings_do_not_meet() -> None:
    for one, name in ((ANNA, "settings"), (OFFICE, "anna"), (ANNA, "anna")):
        profiles.save(dataclasses.replace(one, name=name), profiles.stored(name, one.kind))
    assert (profiles.names(), profiles.names("setting")) == (("anna", "settings"), ("anna",))
    assert profiles.remove("anna", "setting") == default_folder() / "settings" / "anna.json"
    assert profiles.find("anna").kind == "speaker"
    with pytest.raises(ProfileError, match=r"no setting of 'anna'.*emovox adapt anna"):
        profiles.find("anna", "setting")


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
    assert profiles.remove("anna") == default_folder() / "anna.json"
    assert profiles.names() == ("bert",)


def test_where_writing_fails_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProfileError, match=r"cannot write .*anna\.json"):
        profiles.save(ANNA, tmp_path / "file" / "anna.json")
    (tmp_path / "folder" / "anna.json").mkdir(parents=True)
    with pytest.raises(ProfileError, match=r"cannot write .*anna\.json"):
        profiles.save(ANNA, tmp_path / "folder" / "anna.json")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["anna.json"]
