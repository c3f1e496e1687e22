"""ASED, EmoSpeech and LibriSpeech on made-up trees, and the copies at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.errors import CorpusError
from emovox.lab.corpora.registry import check, detect, load
from tests.lab.corpora import reasons, tree

DIGEST = "c7b431195e2871a0c0b0825234c1e22b"
NAMES = {
    "ased": ("01Neutral/n1-04-02-02-01.wav", "04Sad/S4-02-01-01-65.wav", "04Sad/s4-02-01-01.wav"),
    "emospeech": (
        f"webservice/help-safe-angry-1562996360436-{DIGEST}.wav",
        "webservice/no-safe-calm-??-3d9d3e0eb86e940e.wav",
        "webservice/help-safe-bored-1562996360436.wav",
    ),
    "librispeech": ("train/103/1240/103-1240-0000.flac", "test/1688/142285/1688-142285-0001.flac", "test/x.flac"),
}
FOUND = {
    "ased": [("neutral", "ased/01", "female"), ("sad", "ased/65", "male")],
    "emospeech": [("angry", "emospeech/c7b43119", ""), ("calm", "emospeech/3d9d3e0e", "")],
    "librispeech": [("read", "librispeech/103", ""), ("read", "librispeech/1688", "")],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_say_label_and_speaker(name: str, tmp_path: Path) -> None:
    tree(tmp_path, *NAMES[name])
    corpus = load(name, tmp_path)
    found = corpus.table[["label", "speaker", "sex"]].itertuples(index=False, name=None)
    assert sorted(found) == sorted(FOUND[name])
    assert any("not named like" in reason for reason in reasons(corpus))
    assert detect(tmp_path) == name


@pytest.mark.parametrize("name", NAMES)
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    tree(tmp_path, "a/b.wav")
    with pytest.raises(CorpusError):
        load(name, tmp_path)


def test_the_copy_of_ased_is_what_was_published(corpora: Path) -> None:
    assert check(load("ased", corpora / "ased")) == []
