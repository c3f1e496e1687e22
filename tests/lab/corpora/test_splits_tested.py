"""Protocols that test one corpus and train on others besides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from emovox.errors import ProtocolError
from emovox.lab.corpora.splits import by_name
from emovox.lab.corpora.table import Clip, Provenance, from_clips


@pytest.fixture
def two() -> pd.DataFrame:
    """Two speakers each in two corpora, in mixed order, one of whom speaks in both."""
    clips = [
        Clip(file=f"{corpus}/{speaker}/{label}-{take}.wav", label=label, speaker=speaker)
        for take in range(3)
        for corpus, speaker in (("a", "ann"), ("b", "ann"), ("a", "bob"), ("b", "eve"))
        for label in ("happy", "sad")
    ]
    table = from_clips(clips, "demo", Provenance())
    return table.assign(corpus=[name[0] for name in table.index.get_level_values("file")])


def test_one_corpus_is_tested_and_the_other_trained_on(two: pd.DataFrame) -> None:
    protocol = by_name("loso", two, tested="a")
    corpus, speaker = two["corpus"].to_numpy(str), two["speaker"].to_numpy(str)
    assert [fold.name for fold in protocol.folds] == ["ann", "bob"]
    for fold in protocol.folds:
        assert set(fold.test) == set(np.flatnonzero((corpus == "a") & (speaker == fold.name)))
        assert set(fold.train) == set(np.flatnonzero(speaker != fold.name)), "nor is her voice from the other corpus"
    assert set(protocol.trained_only) == set(np.flatnonzero(corpus == "b"))
    assert protocol.note.endswith("Only trained on, never tested: b.")
    assert protocol.speaker_independent


@pytest.mark.parametrize("name", ["loso", "random-70/30", "speaker-2"])
def test_the_tested_corpus_is_divided_as_if_it_were_alone(name: str, two: pd.DataFrame) -> None:
    alone = two[two["corpus"] == "a"]
    files = two.index.get_level_values("file").to_numpy(str)
    own = alone.index.get_level_values("file").to_numpy(str)
    folds = by_name(name, two, 3, tested="a").folds
    assert [set(files[fold.test]) for fold in folds] == [set(own[fold.test]) for fold in by_name(name, alone, 3).folds]
    same, without = by_name(name, alone, 3, tested="a"), by_name(name, alone, 3)
    assert same.note == without.note


def test_a_corpus_that_is_not_there_is_told(two: pd.DataFrame) -> None:
    with pytest.raises(ProtocolError, match="'loso' shall test 'tess', and the clips are from a, b"):
        by_name("loso", two, tested="tess")
