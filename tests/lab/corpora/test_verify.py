"""Protocols that are refused, and the guard that verifies every one; speakers held out inside a training part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from emovox.errors import ProtocolError
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.splits import (
    NAMES,
    by_name,
    held_out_speakers,
    leave_one_speaker_out,
    speaker_groups_kfold,
    speaker_kfold,
    speaker_text_independent,
    text_independent,
)
from emovox.lab.corpora.table import Clip, Corpus, combine
from tests import examples
from tests.lab.corpora import assert_promises, crema_like, factorial, table_of


def fold(train: list[int], test: list[int]) -> tuple[Fold, ...]:
    return (Fold("a", np.array(train, dtype=np.intp), np.array(test, dtype=np.intp)),)


# --- refusals


def test_unknown_speakers_cannot_be_held_out() -> None:
    table = table_of([*factorial(), Clip("loose.wav", "label0", text="Text 0")])
    for make in (leave_one_speaker_out, speaker_kfold, speaker_text_independent):
        with pytest.raises(
            ProtocolError, match=r"1 of 49 clips have no speaker, .*: give a manifest with a speaker column"
        ):
            make(table)


def test_one_speaker_cannot_be_held_out() -> None:
    table = table_of(factorial(speakers=1))
    for make in (leave_one_speaker_out, speaker_kfold, speaker_text_independent):
        with pytest.raises(ProtocolError, match="there are only 1 speakers, 'corpus0/0', and 2 are needed"):
            make(table)
    with pytest.raises(ProtocolError, match="9 groups cannot be made of 4 speakers: choose from 2 to 4"):
        speaker_kfold(table_of(factorial()), 9)
    with pytest.raises(ProtocolError, match="1 groups cannot be made of 4 speakers"):
        by_name("speaker-1", table_of(factorial()))


def test_unknown_or_single_sentences_cannot_be_held_out() -> None:
    with pytest.raises(ProtocolError, match=r"24 of 24 clips have no text, .*: give a manifest with a text column"):
        text_independent(table_of(factorial(speakers=2)).assign(text=""))
    with pytest.raises(ProtocolError, match="2 groups cannot be made of 1 sentences: at least 2 are needed"):
        text_independent(table_of(factorial(texts=1)))


def test_label_of_one_speaker_is_named() -> None:
    table = table_of([*factorial(), Clip("p.wav", "proud", "corpus0/0", text="Text 0")])
    with pytest.raises(
        ProtocolError, match=r"'corpus0/0': label 'proud' is tested but never trained, its only clip is"
    ):
        leave_one_speaker_out(table)
    twice = table_of([*factorial(), *(Clip(f"{n}.wav", "proud", "corpus0/0", text="Text 0") for n in "12")])
    with pytest.raises(ProtocolError, match=r"label 'proud' is tested but never trained, all its 2 clips are"):
        speaker_kfold(twice)


def test_one_label_is_not_a_task() -> None:
    with pytest.raises(ProtocolError, match="training has only the label 'label0': at least two are needed"):
        leave_one_speaker_out(table_of(factorial(labels=1)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("emo-box", r"unknown protocol 'emo-box': did you mean 'emobox'\? choose one of emobox, tfds, loso"),
        ("randm-70/30", r"did you mean 'random-70/30'\?"),
        ("random-70/40", "unknown protocol 'random-70/40'"),
        ("random-100/0", "unknown protocol 'random-100/0'"),
        ("speaker-", "unknown protocol 'speaker-'"),
        ("speaker-٣", "unknown protocol 'speaker-٣'"),
        ("", "unknown protocol '': choose one of emobox"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        by_name(name, table_of(factorial()))


def test_every_listed_name_is_known(real: Callable[[str], Corpus]) -> None:
    ravdess = real("ravdess").table
    two = combine([real(name) for name in ("ravdess", "tess")])
    for name in NAMES:
        table = {"cross-corpus": two, "split-column": table_of(factorial()), "tfds": crema_like()}.get(name, ravdess)
        protocol = by_name(name, table)
        assert protocol.name == name
        assert_promises(protocol, table)


@pytest.mark.parametrize("corpus", ["ravdess", "tess", "nemo"])
@pytest.mark.parametrize("name", ["loso", "speaker", "text", "speaker-text", "random"])
def test_no_real_speaker_is_on_both_sides(real: Callable[[str], Corpus], corpus: str, name: str) -> None:
    table = real(corpus).table
    assert_promises(by_name(name, table, seed=1), table)


# --- verify


def broken(**changes: object) -> Protocol:
    """Make a protocol of two speakers that keeps its promises, but for the changes."""
    everything = np.arange(8)
    sound = Protocol(
        name="demo",
        folds=(Fold("a", everything[4:], everything[:4]), Fold("b", everything[:4], everything[4:])),
        speaker_independent=True,
        text_independent=False,
        note="",
        clips=everything,
        tests_each_once=True,
    )
    return replace(sound, **changes)  # type: ignore[arg-type]


def test_verify_accepts_a_sound_protocol() -> None:
    protocol = broken()
    assert verify(protocol, table_of(factorial(speakers=2, labels=2, takes=1))) is protocol


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (broken(folds=()), "has no folds"),
        (broken(folds=fold([], [0])), "its training part is empty"),
        (broken(folds=fold([0, 1], [])), "its test part is empty"),
        (broken(folds=fold([4, 5, 6, 7], [8])), "test part has positions outside the table of 8 clips"),
        (broken(folds=fold([-1, 5], [1])), "training part has positions outside the table"),
        (broken(folds=fold([4, 4, 6], [0])), "training part has a clip twice"),
        (broken(folds=fold([3, 4, 6], [0, 3])), "1 clips are in both training and test"),
        (broken(folds=fold([3, 4, 6], [0])), "speaker 'corpus0/0' is in both training and test"),
        (broken(text_independent=True), "text 'text 0' is in both training and test"),
        (
            broken(folds=fold([4, 5], [0, 3])),
            "label 'label1' is tested but never trained, .*outside training",
        ),
        (broken(folds=fold([4, 5], [0, 1])), "training has only the label 'label0'"),
        (broken(folds=fold([4, 5, 6, 7], [0, 1, 2])), "1 clips take part against its promise"),
        (broken(folds=fold([4, 5, 6, 7], [0, 1, 2, 3])), "4 clips are not tested exactly once"),
        (broken(clips=np.arange(7)), "1 clips take part against its promise"),
        (broken(trained_only=np.array([0, 7])), "'a': 1 clips are tested that should only be trained on"),
    ],
)
def test_verify_refuses(protocol: Protocol, message: str) -> None:
    table = table_of(factorial(speakers=2, labels=2, takes=1))
    with pytest.raises(ProtocolError, match=message):
        verify(protocol, table)


def test_verify_refuses_unknown_speakers() -> None:
    with pytest.raises(ProtocolError, match="a clip has no speaker, so training and test cannot be told apart by it"):
        verify(broken(), table_of(factorial(speakers=2, labels=2, takes=1)).assign(speaker=""))


# --- inside a training part

SPOKEN = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("xyz")), min_size=1, max_size=60)


@settings(max_examples=examples(200), deadline=None)
@given(spoken=SPOKEN, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_held_out_speakers_property(spoken: list[tuple[str, str]], fraction: float, seed: int) -> None:
    speakers, labels = [speaker for speaker, _ in spoken], [label for _, label in spoken]
    # Some speaker can be spared unless each has a label that no other has.
    spared = [
        speaker for speaker in set(speakers) if {label for other, label in spoken if other != speaker} == set(labels)
    ]
    if not spared:
        with pytest.raises(ProtocolError, match=r"only 1 speakers|can be held out without losing a label"):
            held_out_speakers(speakers, labels, fraction, seed)
        return
    train, valid = held_out_speakers(speakers, labels, fraction, seed)
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(len(spoken)))
    inside, outside = {speakers[i] for i in train}, {speakers[i] for i in valid}
    assert inside
    assert outside
    assert not inside & outside
    assert {labels[i] for i in train} == set(labels)
    assert len(outside) <= max(round(fraction * len(set(speakers))), 1)
    again = held_out_speakers(speakers[::-1], labels[::-1], fraction, seed)[1]
    assert {speakers[::-1][i] for i in again} == outside, "the order of the rows does not matter"


def test_held_out_speakers_takes_the_fraction() -> None:
    speakers = [f"s{n % 20:02d}" for n in range(200)]
    labels = [n // 20 % 2 for n in range(200)]
    for fraction, expected in ((0.2, 4), (0.5, 10), (0.01, 1), (0.99, 19)):
        assert len({speakers[i] for i in held_out_speakers(speakers, labels, fraction)[1]}) == expected
    one, other = ({speakers[i] for i in held_out_speakers(speakers, labels, seed=seed)[1]} for seed in (0, 1))
    assert one != other


def test_held_out_speakers_refuses() -> None:
    with pytest.raises(ProtocolError, match=r"share of held-out speakers 1.0: must be between 0 and 1"):
        held_out_speakers(["a", "b"], ["x", "x"], 1.0)
    with pytest.raises(ProtocolError, match=r"only 1 speakers, 'a', .*: add speakers, or use the protocol 'random'"):
        held_out_speakers(["a", "a"], ["x", "y"])
    with pytest.raises(ProtocolError, match="1 of 2 clips have no speaker"):
        held_out_speakers(["a", ""], ["x", "y"])
    with pytest.raises(ProtocolError, match="none of the 2 speakers can be held out without losing a label"):
        held_out_speakers(["a", "b"], ["x", "y"])


@settings(max_examples=examples(100), deadline=None)
@given(speakers=st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=60), k=st.integers(2, 5))
def test_speaker_groups_are_as_even_as_scikit_learns(speakers: list[str], k: int) -> None:
    if len(set(speakers)) < k:
        with pytest.raises(ProtocolError, match=f"{k} groups cannot be made of"):
            speaker_groups_kfold(speakers, k)
        return
    folds = speaker_groups_kfold(speakers, k)
    assert sorted(i for _, valid in folds for i in valid.tolist()) == list(range(len(speakers)))
    for train, valid in folds:
        assert sorted([*train.tolist(), *valid.tolist()]) == list(range(len(speakers)))
        assert not {speakers[i] for i in train} & {speakers[i] for i in valid}
    expected = [len(valid) for _, valid in GroupKFold(k).split(speakers, groups=speakers)]
    assert sorted(len(valid) for _, valid in folds) == sorted(expected)
