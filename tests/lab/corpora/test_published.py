"""Protocols that others published: EmoBox's folds of RAVDESS, TensorFlow Datasets' division of CREMA-D."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emovox.errors import ProtocolError
from emovox.lab.corpora.protocol import verify
from emovox.lab.corpora.splits import (
    EMOBOX_RAVDESS,
    by_name,
    emobox,
)
from emovox.lab.corpora.table import Clip, Corpus, combine
from tests import examples
from tests.lab.corpora import assert_promises, crema_like, factorial, keys, table_of, tables


def test_emobox_folds_are_the_published_ones(corpora: Path, real: Callable[[str], Corpus]) -> None:
    published = corpora.parent / "protocols" / "emobox_speaker_folds.json"
    if not published.is_file():
        pytest.skip(f"no {published}")
    expected = json.loads(published.read_text())["ravdess"]
    table = real("ravdess").table
    protocol = by_name("emobox", table)
    assert len(protocol.folds) == len(expected) == 6
    for number, fold in enumerate(protocol.folds, 1):
        entry = expected[f"fold_{number}"]
        assert set(table["speaker"].iloc[fold.test]) == {f"ravdess/{actor}" for actor in entry["test_speakers"]}
        assert len(fold.test) == entry["n_test"]
        # 32 clips of each class, 16 of neutral, as the benchmark says.
        counts = table["label"].iloc[fold.test].value_counts().to_dict()
        assert counts.pop("neutral") == 16
        assert set(counts.values()) == {32}


def test_emobox_constant_names_each_actor_once() -> None:
    assert sorted(actor for fold in EMOBOX_RAVDESS for actor in fold) == list(range(1, 25))


def ravdess_like(actors: list[int], corpus: str = "ravdess") -> pd.DataFrame:
    return table_of(
        [
            Clip(f"{actor:02d}{label}.wav", label, f"ravdess/{actor:02d}")
            for actor in actors
            for label in ("happy", "sad")
        ]
    ).assign(corpus=corpus)


def test_emobox_is_for_all_of_ravdess_speech() -> None:
    alone = emobox(ravdess_like(list(range(1, 25))))
    assert len(alone.folds) == 6
    assert len(alone.trained_only) == 0
    assert "trained on" not in alone.note
    with pytest.raises(
        ProtocolError, match="needs all 24 actors of RAVDESS, and 2 are missing, the first is 'ravdess/07'"
    ):
        emobox(ravdess_like([actor for actor in range(1, 25) if actor not in (7, 9)]))
    with pytest.raises(ProtocolError, match="defined on RAVDESS speech, and the clips are from ravdess-song: add the"):
        emobox(ravdess_like(list(range(1, 25)), "ravdess-song"))
    with pytest.raises(ProtocolError, match="the clips are from corpus0"):
        emobox(table_of(factorial()))
    with pytest.raises(ProtocolError, match="'ravdess/25' is not one of the 24 actors of RAVDESS: use 'speaker'"):
        emobox(ravdess_like(list(range(1, 26))))


ALL_ACTORS = list(range(1, 25))


@settings(max_examples=examples(60), deadline=None)
@given(extra=tables(), seed=st.integers(0, 2**32 - 1))
def test_emobox_trains_on_other_corpora_and_tests_none(extra: pd.DataFrame, seed: int) -> None:
    assume((extra["speaker"] != "").all())
    alone = ravdess_like(ALL_ACTORS)
    both = pd.concat([alone, extra.drop(columns="split", errors="ignore")])
    table = both.iloc[np.random.default_rng(seed).permutation(len(both))]
    protocol = emobox(table)
    assert_promises(protocol, table)
    other = set(np.flatnonzero(table["corpus"] != "ravdess").tolist())
    assert set(protocol.trained_only.tolist()) == other
    assert protocol.note.endswith(f"Only trained on, never tested: {', '.join(sorted(set(extra['corpus'])))}.")
    for fold, single in zip(protocol.folds, emobox(alone).folds, strict=True):
        assert other <= set(fold.train.tolist()), "in every fold"
        assert keys(table, fold.test) == keys(alone, single.test), "the same clips are tested as without them"
        assert keys(table, fold.train) == keys(alone, single.train) | keys(table, np.array(sorted(other)))


def test_emobox_never_trains_on_the_song_of_a_tested_actor() -> None:
    song = ravdess_like([actor for actor in ALL_ACTORS if actor != 18], "ravdess-song")
    table = pd.concat([ravdess_like(ALL_ACTORS), song.rename(index=lambda file: f"song/{file}", level="file")])
    protocol = emobox(table)
    assert_promises(protocol, table)
    for fold, actors in zip(protocol.folds, EMOBOX_RAVDESS, strict=True):
        left_out = np.setdiff1d(np.arange(len(table)), np.concatenate([fold.train, fold.test]))
        assert set(table["corpus"].iloc[left_out]) == {"ravdess-song"}
        assert set(table["speaker"].iloc[left_out]) == {f"ravdess/{actor:02d}" for actor in actors if actor != 18}


def test_emobox_needs_to_know_who_speaks() -> None:
    stray = table_of([Clip("x.wav", "happy")]).assign(corpus="mine")
    with pytest.raises(ProtocolError, match="1 of 49 clips have no speaker, so speakers cannot be held out: give"):
        emobox(pd.concat([ravdess_like(ALL_ACTORS), stray]))


def test_a_voice_that_leaks_from_another_corpus_is_found() -> None:
    table = pd.concat([ravdess_like(ALL_ACTORS), table_of(factorial(takes=1)).drop(columns="split")])
    protocol = emobox(table)
    for promised in (protocol, replace(protocol, trained_only=np.empty(0, dtype=np.intp), tests_each_once=False)):
        with pytest.raises(ProtocolError, match="speaker 'ravdess/01' is in both training and test"):
            verify(promised, table.assign(speaker=table["speaker"].replace("corpus0/0", "ravdess/01")))


def test_a_fold_without_its_other_corpora_is_found() -> None:
    table = pd.concat([ravdess_like(ALL_ACTORS), table_of(factorial(takes=1)).drop(columns="split")])
    protocol = emobox(table)
    first, *others = protocol.folds
    short = replace(first, train=np.setdiff1d(first.train, protocol.trained_only[:3]))
    with pytest.raises(ProtocolError, match="'fold 1': 3 clips that should always be trained on are not"):
        verify(replace(protocol, folds=(short, *others)), table)


def test_real_corpora_come_along_with_emobox(real: Callable[[str], Corpus]) -> None:
    table = combine([real(name) for name in ("nemo", "ravdess", "tess")])
    protocol = by_name("emobox", table)
    assert "Only trained on, never tested: nemo, tess." in protocol.note
    for fold in protocol.folds:
        assert len(fold.test) == 240
        assert len(fold.train) == 1200 + (table["corpus"] != "ravdess").sum()
        assert set(table["corpus"].iloc[fold.test]) == {"ravdess"}


def test_tfds_divides_as_tensorflow_datasets_does() -> None:
    """Its builder shuffles the sorted actors with NumPy's old generator and cuts at 70 and 80 percent."""
    actors = [f"crema-d/{actor}" for actor in range(1001, 1092)]
    np.random.RandomState(0).shuffle(actors)
    table = crema_like()
    protocol = by_name("tfds", table)
    assert_promises(protocol, table)
    (fold,) = protocol.folds
    assert set(table["speaker"].iloc[fold.test]) == set(actors[72:])
    assert set(table["speaker"].iloc[fold.train]) == set(actors[:72])
    left_out = table.index.get_level_values("file")[np.setdiff1d(np.arange(len(table)), protocol.clips)]
    assert sorted(Path(file).stem for file in left_out) == [
        "1006_TIE_NEU_XX",
        "1013_WSI_DIS_XX",
        "1017_IWW_FEA_XX",
        "1040_ITH_SAD_X",
    ]
    shuffled = table.iloc[::-1]
    assert keys(shuffled, by_name("tfds", shuffled).folds[0].test) == keys(table, fold.test)


def test_tfds_is_for_all_of_crema_d() -> None:
    table = crema_like(("DFA",))
    with pytest.raises(ProtocolError, match="defined on CREMA-D alone, and the clips are from corpus0: use 'speaker'"):
        by_name("tfds", table_of(factorial()))
    with pytest.raises(
        ProtocolError, match="needs all 91 actors of CREMA-D, and 1 are missing, the first is 'crema-d/1044'"
    ):
        by_name("tfds", table[table["speaker"] != "crema-d/1044"])


def test_two_sentences_are_tested_both_ways() -> None:
    table = table_of(factorial(texts=2))
    protocol = by_name("text", table)
    assert protocol.name == "text-2"
    assert not protocol.speaker_independent
    assert "NOT speaker-independent" in protocol.note
    first, second = protocol.folds
    assert first.train.tolist() == second.test.tolist()
    assert set(table["text"].iloc[first.test]) == {"Text 0"}
