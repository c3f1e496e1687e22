"""Recordings to numbers: the same as the sets and the model give, and a well-behaved step of scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.stats
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from emovox import AudioError, FeatureExtractor, InputError, SpeechFeatures, audio
from emovox.errors import FeatureError, ModelError
from emovox.features import sets
from emovox.model import profiles
from emovox.model.file import load
from emovox.model.profiles import Statistics
from emovox.recognition.recognizer import AxesExtractor, standardised
from tests import CLASSIC, EXAMPLES

PLAIN, SLOW = EXAMPLES / "plain.wav", EXAMPLES / "slow.wav"


def test_a_set_is_what_the_set_computes() -> None:
    extractor = FeatureExtractor("classic193")
    spec = sets.spec("classic193")
    assert np.array_equal(extractor(PLAIN), sets.extract(audio.read(PLAIN), spec))
    assert extractor.names == sets.feature_names(spec)
    sound = audio.read(PLAIN)
    assert np.array_equal(extractor(sound.samples, rate=16000), extractor(PLAIN))


def test_an_embedding_is_what_the_model_takes() -> None:
    extractor, model = FeatureExtractor("default"), load()
    assert np.array_equal(extractor(PLAIN), sets.extract(audio.read(PLAIN), model.card.features))
    assert len(extractor.names) == len(set(extractor.names)) == model.card.features.dimension


def test_axes_are_what_the_model_gives_and_profiles_are_made_of() -> None:
    extractor, model = AxesExtractor(), load()
    found = model.run(sets.extract(audio.read(PLAIN), model.card.features)[np.newaxis]).axes
    assert found is not None
    np.testing.assert_allclose(extractor(PLAIN), found[0], rtol=1e-6)
    assert len(set(extractor.names)) == model.axes_width == 3 * len(model.card.labels)


def test_axes_in_a_setting_are_standard_scores() -> None:
    plain = AxesExtractor()
    clips = [EXAMPLES / f"{name}.wav" for name in ("plain", "slow", "lively")]
    heard = np.stack([plain(clip) for clip in clips])
    profile = profiles.build("setting", "office", load(), Statistics.of(heard), clips=3, seconds=9.0)
    within = np.stack([AxesExtractor(setting=profile)(clip) for clip in clips])
    np.testing.assert_allclose(within, scipy.stats.zscore(heard, axis=0), atol=1e-3)
    np.testing.assert_allclose(standardised(list(heard)), scipy.stats.zscore(heard, axis=0), atol=1e-4)


def test_axes_tell_emotions_apart(corpora: Path) -> None:
    """The order of the axes' names: on clips of an actor the axis of an emotion is highest where it is meant."""
    names = {"03": "happy", "04": "sad", "05": "angry", "06": "fearful"}
    extractor = AxesExtractor()
    column = [extractor.names.index(f"absolute_{label}") for label in names.values()]
    clips = [sorted((corpora / "ravdess").rglob(f"03-01-{code}-0[12]-01-01-0[1-6].flac")) for code in names]
    means = [np.mean([extractor(clip)[column] for clip in some], axis=0) for some in clips]
    assert np.argmax(means, axis=0).tolist() == [0, 1, 2, 3]


def test_what_has_no_axes_is_refused() -> None:
    with pytest.raises(ModelError, match="takes no baseline"):
        AxesExtractor(CLASSIC)
    with pytest.raises(InputError, match="setting 'auto' is no profile"):
        AxesExtractor(setting="auto")


def test_long_recordings_are_means_by_duration() -> None:
    sound = audio.read(PLAIN)
    extractor = FeatureExtractor("prosodic", window=1.0)
    parts = list(extractor.stretches(PLAIN))
    assert [round(part.duration, 2) for part, _ in parts] == [1.0, 1.0, 1.1]
    rows = [
        sets.extract(audio.from_array(sound.samples[i : i + 16000], 16000), sets.spec("prosodic")) for i in (0, 16000)
    ]
    assert np.array_equal(parts[0][1], rows[0])
    assert np.array_equal(parts[1][1], rows[1])
    weights = np.array([part.duration for part, _ in parts])
    expected = (np.array([row for _, row in parts], dtype=np.float64) * weights[:, None]).sum(0) / weights.sum()
    assert extractor(PLAIN) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "window", "message"),
    [
        ("prosodik", None, "did you mean 'prosodic'"),
        ("defaul", None, "did you mean 'default'"),
        ("classic", None, "did you mean"),
        ("default", 31.0, "expected seconds from 0.5 to 30"),
        ("prosodic", 0.1, "expected seconds from 0.5 to inf"),
    ],
)
def test_what_cannot_be_is_refused(name: str, window: float | None, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        FeatureExtractor(name, window=window)


def test_frames_are_no_rows_of_a_table() -> None:
    assert FeatureExtractor("logmel")(PLAIN).ndim == 2
    with pytest.raises(FeatureError, match="gives frames"):
        SpeechFeatures("logmel").fit([PLAIN])


def test_the_transformer_takes_what_holds_recordings() -> None:
    step = SpeechFeatures("classic193", jobs=1)
    expected = np.stack([FeatureExtractor("classic193")(PLAIN)] * 2)
    names, clip = [str(PLAIN)] * 2, audio.read(PLAIN).samples
    for given in (names, np.array(names), pandas.Series(names), pandas.DataFrame({"file": names}), [PLAIN, PLAIN]):
        assert np.array_equal(step.fit_transform(given), expected)
    arrays = SpeechFeatures("classic193", rate=16000, jobs=2)
    for samples in ([clip, clip], np.stack([clip, clip])):
        assert np.array_equal(arrays.transform(samples), expected)
    assert step.transform([]).shape == (0, 193)
    with pytest.raises(InputError, match="give a list"):
        step.transform(str(PLAIN))
    with pytest.raises(AudioError, match="no file"):
        step.transform([Path("missing.wav")])


def test_the_transformer_is_a_step_like_any_other() -> None:
    pipe = Pipeline([("sound", SpeechFeatures("classic193", jobs=1)), ("judge", LogisticRegression())])
    clips, labels = [str(PLAIN), str(SLOW)] * 2, ["plain", "slow"] * 2
    search = GridSearchCV(pipe, {"sound__features": ["classic193", "prosodic"], "judge__C": [1e3]}, cv=2, refit=True)
    assert search.fit(clips, labels).best_score_ == 1
    assert list(pickle.loads(pickle.dumps(search)).predict(clips)) == labels
    step = SpeechFeatures("classic193", window=2.0)
    assert (
        clone(step).get_params()
        == step.get_params()
        == {"features": "classic193", "window": 2.0, "rate": None, "jobs": None}
    )
    table = SpeechFeatures("classic193").set_output(transform="pandas").fit_transform(clips[:1])
    assert (
        list(table.columns) == list(step.get_feature_names_out()) == list(sets.feature_names(sets.spec("classic193")))
    )
    assert not hasattr(pickle.loads(pickle.dumps(step)), "_extractor")
    sklearn.utils.get_tags(step)
