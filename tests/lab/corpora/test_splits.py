"""Protocols: disjointness, coverage, and independence from the order of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut

from emovox.errors import ProtocolError
from emovox.lab.corpora.protocol import Protocol
from emovox.lab.corpora.splits import (
    by_name,
    cross_corpus,
    leave_one_speaker_out,
    random_split,
    speaker_kfold,
    speaker_text_independent,
    split_column,
    text_independent,
)
from emovox.lab.corpora.table import Clip, Corpus, combine
from tests import examples
from tests.lab.corpora import assert_promises, factorial, keys, table_of, tables

PROTOCOLS: dict[str, Callable[[pd.DataFrame], Protocol]] = {
    "loso": leave_one_speaker_out,
    "speaker": lambda table: speaker_kfold(table, seed=3),
    "speaker-2": lambda table: speaker_kfold(table, 2, seed=1),
    "text": lambda table: text_independent(table, seed=1),
    "text-3": lambda table: text_independent(table, 3),
    "speaker-text": lambda table: speaker_text_independent(table, seed=2),
    "speaker-text-2": lambda table: speaker_text_independent(table, 2),
    "cross-corpus": cross_corpus,
    "split-column": split_column,
    "random": lambda table: random_split(table, seed=5),
    "random, not stratified": lambda table: random_split(table, 0.5, seed=5, stratified=False),
}


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=examples(60), deadline=None)
@given(table=tables(), seed=st.integers(0, 2**32 - 1))
def test_promises_hold_and_the_order_of_rows_does_not_matter(name: str, table: pd.DataFrame, seed: int) -> None:
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    try:
        protocol = PROTOCOLS[name](table)
    except ProtocolError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        with pytest.raises(ProtocolError, match=r"\S"):
            PROTOCOLS[name](shuffled)
        return
    assert_promises(protocol, table)
    again = PROTOCOLS[name](shuffled)
    assert again.note == protocol.note
    assert [fold.name for fold in again.folds] == [fold.name for fold in protocol.folds]
    for one, other in zip(protocol.folds, again.folds, strict=True):
        assert keys(table, one.train) == keys(shuffled, other.train)
        assert keys(table, one.test) == keys(shuffled, other.test)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_complete_design_allows_every_protocol(name: str) -> None:
    table = table_of(factorial(speakers=6, texts=4, corpora=2))
    protocol = PROTOCOLS[name](table)
    assert_promises(protocol, table)
    used = len(table) * 5 // 6 if name == "split-column" else len(table)  # one speaker has no split
    assert len(protocol.clips) == used


# --- each protocol


def test_speaker_kfold_balances_speakers_women_men_and_corpora() -> None:
    clips = [
        Clip(f"{corpus}{speaker}{label}.wav", label, f"{corpus}/{speaker}", sex)
        for corpus, women, men in (("big", 9, 7), ("small", 3, 2))
        for speaker, sex in enumerate(["female"] * women + ["male"] * men)
        for label in ("happy", "sad")
    ]
    table = table_of(clips)
    tested = [table.iloc[fold.test].drop_duplicates("speaker") for fold in speaker_kfold(table, 4, seed=1).folds]
    for kind in (["corpus", "sex"], ["corpus"], []):
        counts = pd.concat(
            [fold.assign(fold=number).groupby([*kind, "fold"]).size() for number, fold in enumerate(tested)]
        )
        spread = counts.unstack("fold", fill_value=0) if kind else counts.to_frame().T
        assert (spread.max(axis=1) - spread.min(axis=1) <= (1 if kind != ["corpus"] else 2)).all(), kind


def test_seed_decides_who_comes_together() -> None:
    table = table_of(factorial(speakers=8))
    tests = [{keys(table, fold.test) for fold in speaker_kfold(table, 4, seed).folds} for seed in (0, 0, 1)]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]


def test_loso_equals_scikit_learn() -> None:
    table = table_of(factorial(speakers=5))
    expected = LeaveOneGroupOut().split(table, groups=table["speaker"])
    for fold, (train, test) in zip(leave_one_speaker_out(table).folds, expected, strict=True):
        assert fold.train.tolist() == train.tolist()
        assert fold.test.tolist() == test.tolist()
        assert fold.name == table["speaker"].iloc[test[0]]


def test_sentences_that_sound_alike_stay_together() -> None:
    clips = [
        Clip(f"{text}{label}{take}.wav", label, text=text)
        for text in ("Hello", " hello ", "Bye", "bye")
        for label in ("sad", "happy")
        for take in range(2)
    ]
    with pytest.raises(ProtocolError, match="3 groups cannot be made of 2 sentences: choose from 2 to 2"):
        text_independent(table_of(clips), 3)
    assert len(text_independent(table_of(clips), 2).folds) == 2


def test_speaker_text_trains_on_neither() -> None:
    table = table_of(factorial(speakers=6, texts=2))
    protocol = speaker_text_independent(table, 3)
    assert len(protocol.folds) == 6
    for fold in protocol.folds:
        assert len(fold.train) == len(table) * 2 // 3 // 2
        assert len(fold.test) == len(table) // 3 // 2


def test_cross_corpus_uses_shared_labels_only() -> None:
    clips = [
        Clip(f"{corpus}{label}{take}.wav", label, f"{corpus}/{take}")
        for corpus, labels in {"a": "xyz", "b": "xy", "c": "wxy"}.items()
        for label in labels
        for take in range(2)
    ]
    table = table_of(clips)
    protocol = cross_corpus(table)
    assert [fold.name for fold in protocol.folds] == ["a", "b", "c"]
    assert set(table["label"].iloc[protocol.clips]) == {"x", "y"}
    assert len(protocol.clips) == 12
    assert protocol.speaker_independent
    with pytest.raises(ProtocolError, match="two labels that all of a, b have, and there are 1"):
        cross_corpus(table[table["corpus"].isin(["a", "b"]) & (table["label"] != "y")])
    with pytest.raises(ProtocolError, match="needs two corpora and has only 'a': add one"):
        cross_corpus(table[table["corpus"] == "a"])


def test_cross_corpus_leaves_out_each_real_corpus_in_turn(real: Callable[[str], Corpus]) -> None:
    chosen = {"angry", "happy", "neutral", "sad"}
    table = combine([real(name) for name in ("ravdess", "tess", "nemo")])
    table = table[table["label"].isin(chosen)]
    protocol = by_name("cross-corpus", table)
    assert_promises(protocol, table)
    assert protocol.speaker_independent
    assert protocol.tests_each_once
    assert len(protocol.clips) == len(table)
    assert [fold.name for fold in protocol.folds] == ["nemo", "ravdess", "tess"]
    for fold in protocol.folds:
        tested = table.iloc[fold.test]
        assert set(tested["corpus"]) == {fold.name}
        assert set(tested["label"]) == chosen
        assert len(tested) == (table["corpus"] == fold.name).sum()
        assert set(table["corpus"].iloc[fold.train]) == {"nemo", "ravdess", "tess"} - {fold.name}


def test_cross_corpus_tells_of_shared_voices() -> None:
    table = table_of(factorial(speakers=2))
    protocol = cross_corpus(table.assign(corpus=np.where(table["text"] == "Text 0", "ravdess", "ravdess-song")))
    assert not protocol.speaker_independent
    assert "NOT shown to be speaker-independent" in protocol.note


def test_random_split_says_that_it_leaks() -> None:
    table = table_of(factorial(speakers=4, takes=8))
    protocol = by_name("random-80/20", table)
    assert protocol.name == "random-80/20"
    assert not protocol.speaker_independent
    assert protocol.note.startswith("LEAKS SPEAKERS: 4 of the 4 test speakers are in training too")
    unknown = random_split(table.assign(speaker=""))
    assert unknown.note.startswith("LEAKS SPEAKERS, in all likelihood")


@settings(max_examples=examples(60), deadline=None)
@given(
    sizes=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_stratified_split_keeps_the_shares(sizes: list[int], share: float, seed: int) -> None:
    table = table_of(
        [Clip(f"{label}-{n}.wav", f"label{label}") for label, size in enumerate(sizes) for n in range(size)]
    )
    (fold,) = random_split(table, share, seed).folds
    tested = table["label"].iloc[fold.test].value_counts()
    for label, size in enumerate(sizes):
        count = int(tested.get(f"label{label}", 0))
        assert 1 <= count <= size - 1
        assert abs(count - size * share) < 1 or count in (1, size - 1)


def test_random_split_needs_two_of_each_label() -> None:
    table = table_of([*factorial(), Clip("only.wav", "proud", "demo/x")])
    with pytest.raises(ProtocolError, match="label 'proud' has only 1 clip, and a random split needs 2"):
        random_split(table)
    for share in (0.0, 1.0, -0.3, math.nan):
        with pytest.raises(ProtocolError, match=r"must be between 0 and 1, for example 0.3"):
            random_split(table, share)


def test_split_column_uses_what_the_manifest_says() -> None:
    table = table_of(factorial(speakers=4))
    (fold,) = split_column(table).folds
    assert set(table["speaker"].iloc[fold.train]) == {"corpus0/0", "corpus0/1"}
    assert set(table["speaker"].iloc[fold.test]) == {"corpus0/2"}
    assert split_column(table).speaker_independent
    leaking = split_column(table.assign(speaker="corpus0/0"))
    assert not leaking.speaker_independent
    assert "NOT shown to be speaker-independent" in leaking.note
    with pytest.raises(ProtocolError, match="needs a manifest with a split column"):
        split_column(table.drop(columns="split"))
    with pytest.raises(ProtocolError, match="no clip has the split 'test'; give it to some"):
        split_column(table.assign(split="train"))
