"""Speakers and settings that a manifest names, and a setting for all: the answers of the recogniser that knows them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emovox import EmotionRecognizer
from emovox.batch.places import Entry, Inputs
from emovox.batch.tasks import Recognition, Task
from emovox.cli import batch as command
from emovox.errors import InputError, ProfileError
from emovox.model import profiles
from emovox.model.profiles import Profile
from emovox.types import Prediction
from tests import EXAMPLES

PLAIN = str(EXAMPLES / "plain.wav")


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer()


@pytest.fixture(scope="module")
def learnt(recognizer: EmotionRecognizer) -> tuple[Profile, Profile]:
    """Learn a setting, and a speaker who belongs to it."""
    office = recognizer.adapt("office", str(EXAMPLES))
    return office, recognizer.enroll("anna", [PLAIN], office)


@pytest.fixture
def stored(learnt: tuple[Profile, Profile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store both."""
    monkeypatch.setenv("EMOVOX_PROFILES", str(tmp_path / "profiles"))
    for one in learnt:
        profiles.save(one, profiles.stored(one.name, one.kind))


def task(inputs: Inputs, **options: Any) -> Task:
    """Make the task of some options of the command line."""
    names = ["kind", "text", "asr", "language", "text_model", "features", "mode", "window", "hop", "merge", "smooth"]
    names += ["model", "threshold", "no_gate", "fuse", "rules", "setting", "profiles", "speakers"]
    return command._task({**dict.fromkeys(names), "channels": "mix", **options}, inputs)


def answer(made: Task, entry: Entry) -> tuple[Any, ...]:
    """Return confidence, speaker and setting of a recording."""
    work = pickle.loads(pickle.dumps(made))()
    (row,) = work(entry, lambda what=None: None).rows
    columns = dict(zip(made.columns(made.facts()), row, strict=True))
    return columns["confidence"], columns["speaker"], columns["setting"]


def manifest(folder: Path, speaker: str, setting: str) -> Inputs:
    (folder / "m.csv").write_text(f"file,speaker,setting\n{PLAIN},{speaker},{setting}\n", encoding="utf-8")
    return Inputs(str(folder / "m.csv"))


def known(recognizer: EmotionRecognizer, **what: str) -> Prediction:
    return EmotionRecognizer(recognizer._model, **what).predict(PLAIN)  # type: ignore[arg-type]


def test_a_manifest_names_profiles_where_it_is_asked_to(
    stored: None, recognizer: EmotionRecognizer, tmp_path: Path
) -> None:
    alone, office, both = (
        known(recognizer, **what).confidence for what in ({}, {"setting": "office"}, {"speaker": "anna"})
    )
    assert len({alone, office, both}) == 3
    for speaker, setting, want in (("anna", "", both), ("", "office", office), ("anna", "office", both)):
        inputs = manifest(tmp_path, speaker, setting)
        (entry,) = inputs
        found = answer(task(inputs, profiles=True), entry)
        assert found == (want, speaker or None, "office")
        assert answer(task(inputs), entry) == (alone, speaker or None, setting or None)
    with pytest.raises(ProfileError, match="there is no profile of 'ben'"):
        task(manifest(tmp_path, "ben", ""), profiles=True)


def test_one_setting_for_all(stored: None, recognizer: EmotionRecognizer) -> None:
    inputs = Inputs(PLAIN)
    (entry,) = inputs
    assert answer(task(inputs, setting="office"), entry)[::2] == (
        known(recognizer, setting="office").confidence,
        "office",
    )
    assert answer(task(inputs, setting="auto"), entry)[0] == known(recognizer, setting="auto").confidence
    with pytest.raises(InputError, match="no meaning for --output features"):
        task(inputs, setting="office", kind="features")


def test_what_is_known_is_in_the_fingerprint_and_fits_the_model(stored: None) -> None:
    office = profiles.find("office", "setting")
    other = replace(office, count=office.count + 1)
    options = [Recognition(setting=one).options() for one in (None, office, other, "auto")]
    assert all(options[i] != options[j] for i in range(4) for j in range(i))
    assert "profiles" not in options[0]
    with pytest.raises(ProfileError, match="'office' was made with another model"):
        Recognition(setting=replace(office, fingerprint="0" * 64)).facts()
