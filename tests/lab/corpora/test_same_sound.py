"""Clips with sound in common: found by time and by content, never on both sides of a split that claims new voices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.errors import ProtocolError
from emovox.lab.corpora import splits
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.same_sound import moments, voices
from emovox.lab.corpora.table import Clip, Provenance, from_clips

LABELS = ("happy", "sad")


def crossed(speakers: int = 3, offset: float = 0.1) -> pd.DataFrame:
    """Each recording is labelled for two speakers, from times that differ by `offset`."""
    clips = [
        Clip(f"{s}{label}{take}.wav", label, f"m/{who}{s}", start=start, end=2.4, text=f"{take}", split=split)
        for s in range(speakers)
        for label in LABELS
        for take in range(4)
        for who, start, split in (("a", 0.2, "train" if s else "test"), ("b", 0.2 + offset, "train"))
    ]
    return from_clips(clips, "m", Provenance())


def test_one_moment_labelled_for_two_speakers_is_on_one_side() -> None:
    table = crossed()
    for name, folds in (("speaker-3", 3), ("loso", 3), ("speaker-text-3", 6)):
        protocol = splits.by_name(name, table)
        assert len(protocol.folds) == folds
        for fold in protocol.folds:
            files = table.index.get_level_values("file")
            assert not set(files[fold.train]) & set(files[fold.test])
        assert "Speakers with sound in common are kept together: m/a0 + m/b0, m/a1 + m/b1" in protocol.note
    with pytest.raises(ProtocolError, match=r"4 groups cannot be made of 3 speakers: .* kept together: m/a0 \+ m/b0"):
        splits.by_name("speaker-4", table)


def test_stretches_that_touch_are_no_overlap() -> None:
    clips = [Clip("a.wav", "sad", f"m/{k % 2}", start=k, end=k + 1.005) for k in range(4)]
    table = from_clips(clips, "m", Provenance())
    assert len(set(moments(table))) == 4
    assert voices(table).tolist() == ["m/0", "m/1", "m/0", "m/1"]


def test_a_split_of_ones_own_with_sound_on_both_sides_is_not_called_independent() -> None:
    protocol = splits.by_name("split-column", crossed())
    assert not protocol.speaker_independent
    assert protocol.note.endswith(
        "NOT shown to be speaker-independent. 8 of the test clips have sound in common with clips that are trained on."
    )


def test_the_same_sound_under_another_name_and_speaker_is_found_by_its_digest() -> None:
    clips = [Clip(f"{s}{label}{k}.wav", label, f"m/{s}") for s in range(4) for label in LABELS for k in range(3)]
    table = from_clips(clips, "m", Provenance())
    digests = [f"d{row}" for row in range(len(table))]
    digests[0] = digests[-1]
    groups = moments(table, digests=digests)
    assert (groups[0], len(set(groups))) == (groups[-1], len(table) - 1)
    table = table.assign(sound=pd.array([str(group) for group in groups], dtype="str"))
    protocol = splits.by_name("loso", table)
    assert [fold.name for fold in protocol.folds] == ["m/0 + m/3", "m/1", "m/2"]
    silent = moments(table.drop(columns="sound"), digests=[""] * len(table))
    assert len(set(silent)) == len(table), "clips without a digest have nothing in common"


def test_verify_refuses_sound_on_both_sides() -> None:
    table = crossed()
    speakers = table["speaker"].to_numpy(str)
    test = np.flatnonzero(speakers == "m/a0")
    fold = Fold("bad", np.flatnonzero(speakers != "m/a0"), test)
    for speaker, text in ((True, False), (False, True)):
        protocol = Protocol("own", (fold,), speaker, text, "", np.arange(len(table)), tests_each_once=False)
        if text:
            table = table.assign(text=speakers)
        with pytest.raises(
            ProtocolError, match=r"'0happy0.wav' from 0.2 s to 2.4 s is tested and has sound in common with"
        ):
            verify(protocol, table)


def test_a_tested_corpus_keeps_the_others_copies_of_its_sound_out_of_training() -> None:
    clips = [
        Clip(f"{corpus}{s}{label}{k}.wav", label, f"{corpus}/{s}")
        for corpus in "xy"
        for s in range(3)
        for label in LABELS
        for k in range(2)
    ]
    table = from_clips(clips, "", Provenance())
    table["corpus"] = table["speaker"].str[0]
    # y/0's clips are x/0's under other names.
    sound = [name if name not in ("y/0",) else "x/0" for name in table["speaker"]]
    table["sound"] = pd.array(sound, dtype="str")
    protocol = splits.by_name("loso", table, tested="x")
    for fold in protocol.folds:
        assert not set(table["sound"].iloc[fold.train]) & set(table["sound"].iloc[fold.test])
    cross = splits.by_name("cross-corpus", table)
    assert not cross.speaker_independent


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 6), st.sampled_from("wxyz")),
        min_size=1,
        max_size=12,
        unique_by=lambda one: one[:3],
    )
)
def test_groups_are_the_transitive_closure(rows: list[tuple[str, int, int, str]]) -> None:
    clips = [Clip(file, "sad", f"m/{who}", start=start, end=start + length) for file, start, length, who in rows]
    table = from_clips(clips, "m", Provenance())
    keys = table.index.tolist()
    linked = {(i, i) for i in range(len(keys))}
    for i, (file, start, end) in enumerate(keys):
        for j, (other, first, last) in enumerate(keys):
            if file == other and max(start, first) < min(end, last):
                linked.add((i, j))
    for _ in keys:
        linked |= {(i, k) for i, j in linked for one, k in linked if one == j}
    groups = moments(table)
    for i in range(len(keys)):
        assert {j for j in range(len(keys)) if groups[j] == groups[i]} == {j for one, j in linked if one == i}
