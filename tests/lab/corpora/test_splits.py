"""Protocols: disjointness, coverage, and independence from the order of the rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from emovox.errors import ProtocolError
from emovox.lab.corpora import registry
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.published import TFDS_VALID
from emovox.lab.corpora.splits import (
    EMOBOX_RAVDESS,
    NAMES,
    by_name,
    cross_corpus,
    emobox,
    held_out_speakers,
    leave_one_speaker_out,
    random_split,
    speaker_groups_kfold,
    speaker_kfold,
    speaker_text_independent,
    split_column,
    text_independent,
)
from emovox.lab.corpora.table import Clip, Provenance, combine, from_clips

Key = tuple[str, float, float]


def table_of(clips: list[Clip]) -> pd.DataFrame:
    """Make a table in which a speaker's prefix says the corpus."""
    table = from_clips(clips, "demo", Provenance())
    return table.assign(corpus=table["speaker"].str.partition("/")[0])


def keys(table: pd.DataFrame, positions: np.ndarray) -> frozenset[Key]:
    return frozenset(table.index[positions].tolist())


def factorial(speakers: int = 4, labels: int = 3, texts: int = 2, takes: int = 2, corpora: int = 1) -> list[Clip]:
    """Every speaker says every text in every emotion."""
    return [
        Clip(
            file=f"{speaker}/{label}-{text}-{take}.wav",
            label=f"label{label}",
            speaker=f"corpus{speaker % corpora}/{speaker}",
            sex="female" if speaker % 2 else "male",
            text=f"Text {text}",
            split=("train", "valid", "test", "")[speaker % 4],
        )
        for speaker in range(speakers)
        for label in range(labels)
        for text in range(texts)
        for take in range(takes)
    ]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Anything between a complete design and a few stray clips, its rows in any order."""
    corpora = draw(st.integers(1, 3))
    clips = factorial(
        speakers=draw(st.integers(1, 7)),
        labels=draw(st.integers(1, 4)),
        texts=draw(st.integers(1, 5)),
        takes=draw(st.integers(1, 2)),
        corpora=corpora,
    )
    keep = draw(st.sampled_from([1.0, 1.0, 0.9, 0.5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kept = [clip for clip in clips if rng.random() < keep]
    if draw(st.integers(0, 9)) == 0 and kept:
        kept[0] = replace(kept[0], speaker="", text="")
    assume(kept)
    table = table_of(kept)
    return table.iloc[rng.permutation(len(table))]


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


def assert_promises(protocol: Protocol, table: pd.DataFrame) -> None:
    """Check with plain sets what `verify` checks with arrays."""
    rows = table.reset_index().to_dict("records")
    tested: list[int] = []
    taking_part: set[int] = set()
    for fold in protocol.folds:
        train, test = set(fold.train.tolist()), set(fold.test.tolist())
        assert train
        assert test
        assert not train & test
        assert len(train) == len(fold.train)
        assert fold.train.tolist() == sorted(train)
        labels_train, labels_test = ({rows[i]["label"] for i in part} for part in (train, test))
        assert labels_test <= labels_train
        assert len(labels_train) >= 2
        if protocol.speaker_independent:
            assert not {rows[i]["speaker"] for i in train} & {rows[i]["speaker"] for i in test}
        if protocol.text_independent:
            assert not {rows[i]["text"] for i in train} & {rows[i]["text"] for i in test}
        tested += fold.test.tolist()
        taking_part |= train | test
    assert taking_part == set(protocol.clips.tolist())
    if protocol.tests_each_once:
        assert sorted(tested) == sorted(taking_part - set(protocol.trained_only.tolist()))
    assert not set(tested) & set(protocol.trained_only.tolist())


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=60, deadline=None)
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


def test_emobox_folds_are_the_published_ones(corpora: Path) -> None:
    published = corpora.parent / "protocols" / "emobox_speaker_folds.json"
    if not published.is_file():
        pytest.skip(f"no {published}")
    expected = json.loads(published.read_text())["ravdess"]
    table = registry.load("ravdess", corpora / "ravdess").table
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


@settings(max_examples=60, deadline=None)
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


def test_real_corpora_come_along_with_emobox(corpora: Path) -> None:
    table = combine([registry.load(name, corpora / name) for name in ("nemo", "ravdess", "tess")])
    protocol = by_name("emobox", table)
    assert "Only trained on, never tested: nemo, tess." in protocol.note
    for fold in protocol.folds:
        assert len(fold.test) == 240
        assert len(fold.train) == 1200 + (table["corpus"] != "ravdess").sum()
        assert set(table["corpus"].iloc[fold.test]) == {"ravdess"}


def crema_like(sentences: tuple[str, ...] = ("DFA", "ITH", "TIE", "WSI", "IWW")) -> pd.DataFrame:
    clips = [
        Clip(f"AudioWAV/{actor}_{sentence}_{emotion}_XX.wav", label, f"crema-d/{actor}")
        for actor in range(1001, 1092)
        for sentence in sentences
        for emotion, label in (("SAD", "sad"), ("DIS", "disgust"), ("FEA", "fearful"), ("NEU", "neutral"))
    ]
    clips = [replace(clip, file=clip.file.replace("1040_ITH_SAD_XX", "1040_ITH_SAD_X")) for clip in clips]
    return from_clips(clips, "crema-d", Provenance())


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
    assert {f"crema-d/{actor}" for actor in TFDS_VALID} == set(actors[63:72])
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


def test_cross_corpus_leaves_out_each_real_corpus_in_turn(corpora: Path) -> None:
    chosen = {"angry", "happy", "neutral", "sad"}
    table = combine([registry.load(name, corpora / name) for name in ("ravdess", "tess", "nemo")])
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


@settings(max_examples=60, deadline=None)
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


def test_every_listed_name_is_known(corpora: Path) -> None:
    ravdess = registry.load("ravdess", corpora / "ravdess").table
    two = combine([registry.load(name, corpora / name) for name in ("ravdess", "tess")])
    for name in NAMES:
        table = {"cross-corpus": two, "split-column": table_of(factorial()), "tfds": crema_like()}.get(name, ravdess)
        protocol = by_name(name, table)
        assert protocol.name == name
        assert_promises(protocol, table)


@pytest.mark.parametrize("corpus", ["ravdess", "tess", "nemo"])
@pytest.mark.parametrize("name", ["loso", "speaker", "text", "speaker-text", "random"])
def test_no_real_speaker_is_on_both_sides(corpora: Path, corpus: str, name: str) -> None:
    table = registry.load(corpus, corpora / corpus).table
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


def fold(train: list[int], test: list[int]) -> tuple[Fold, ...]:
    return (Fold("a", np.array(train, dtype=np.intp), np.array(test, dtype=np.intp)),)


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


@settings(max_examples=200, deadline=None)
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


@settings(max_examples=100, deadline=None)
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
