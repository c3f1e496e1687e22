"""Evaluation protocols: speaker k-fold, LOSO, text-independent, cross-corpus, published and random splits.

Folds depend on the set of rows of the table and, for protocols that draw at random, on the seed, never on the order of
the rows.  Every protocol is checked against the table by :func:`emovox.lab.corpora.protocol.verify`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.errors import ProtocolError, did_you_mean
from emovox.lab.corpora.groups import (
    held_out_speakers,
    joined_remark,
    known_speakers,
    speaker_groups,
    speaker_groups_kfold,
    text_groups,
)
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.published import EMOBOX_RAVDESS, emobox, tfds
from emovox.lab.corpora.same_sound import moments, voices
from emovox.lab.corpora.table import Positions, StringArray, sentences, strings

__all__ = [
    "EMOBOX_RAVDESS",
    "NAMES",
    "Fold",
    "Protocol",
    "by_name",
    "cross_corpus",
    "emobox",
    "held_out_speakers",
    "leave_one_speaker_out",
    "random_split",
    "speaker_groups_kfold",
    "speaker_kfold",
    "speaker_text_independent",
    "split_column",
    "text_independent",
    "tfds",
    "verify",
]

#: Names accepted by :func:`by_name`; the numbers are the defaults and may be changed or omitted.
NAMES = (
    "emobox",
    "tfds",
    "loso",
    "speaker-5",
    "text-2",
    "speaker-text-5",
    "cross-corpus",
    "split-column",
    "random-70/30",
)


def speaker_kfold(table: pd.DataFrame, k: int | None = None, seed: int = 0) -> Protocol:
    """Leave one group of speakers out (speaker-independent k-fold).

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a speaker.
    k : int, default 5, or the number of speakers if that is smaller
        Number of groups, at least 2.  Their sizes differ by one speaker at most, in total and for each corpus and sex.
    seed : int, default 0
        Seed of the assignment of speakers to groups.

    Returns
    -------
    Protocol
        ``"speaker-k"``: `k` folds, each clip tested once.

    Raises
    ------
    ProtocolError
        A clip has no speaker, or there are fewer than `k`.
    """
    group, k = speaker_groups(table, k, seed)
    count = len(np.unique(strings(table, "speaker")))
    return _leave_group_out(
        table,
        f"speaker-{k}",
        group,
        [f"fold {number + 1}" for number in range(k)],
        speaker_independent=True,
        note=f"Speaker-independent: {k} folds over {count} speakers, each testing voices new to its model."
        + _joined(table),
    )


def leave_one_speaker_out(table: pd.DataFrame) -> Protocol:
    """Leave one speaker out (LOSO).

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a speaker.

    Returns
    -------
    Protocol
        ``"loso"``: one fold per speaker, named after the speaker; each clip tested once.

    Raises
    ------
    ProtocolError
        A clip has no speaker, or there is only one.
    """
    names, group = np.unique(known_speakers(table), return_inverse=True)
    return _leave_group_out(
        table,
        "loso",
        group,
        names.tolist(),
        speaker_independent=True,
        note=f"Speaker-independent: each of the {len(names)} speakers is new to the model that it tests."
        + _joined(table),
    )


def text_independent(table: pd.DataFrame, k: int = 2, seed: int = 0) -> Protocol:
    """Leave one group of sentences out.

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a text.
    k : int, default 2
        Number of groups.  With the two sentences of RAVDESS: train on one, test on the other, both ways.
    seed : int, default 0
        Seed of the assignment of sentences to groups.

    Returns
    -------
    Protocol
        ``"text-k"``: `k` folds, each clip tested once.  The speakers are the same in training and test.

    Raises
    ------
    ProtocolError
        A clip has no text, or there are fewer than `k`.
    """
    return _leave_group_out(
        table,
        f"text-{k}",
        text_groups(table, k, seed),
        [f"fold {number + 1}" for number in range(k)],
        text_independent=True,
        note="Text-independent, NOT speaker-independent: the model never heard the tested sentences, "
        "but it knows the voices.",
    )


def speaker_text_independent(table: pd.DataFrame, k: int | None = None, seed: int = 0) -> Protocol:
    """Test new speakers on new sentences.

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a speaker and a text.
    k : int, default 5, or the number of speakers if that is smaller
        Number of groups of speakers; each is combined with two groups of sentences.
    seed : int, default 0
        Seed of both assignments.

    Returns
    -------
    Protocol
        ``"speaker-text-k"``: ``2 k`` folds, each clip tested once.  A fold trains on the clips that share
        neither the speaker group nor the sentence group with its test clips: less than half of the corpus.

    Raises
    ------
    ProtocolError
        A clip has no speaker or no text, or there are too few of either.
    """
    speaker_group, k = speaker_groups(table, k, seed)
    text_group = text_groups(table, 2, seed)
    folds = (
        Fold(
            f"fold {voice + 1}.{text + 1}",
            np.flatnonzero((speaker_group != voice) & (text_group != text)),
            np.flatnonzero((speaker_group == voice) & (text_group == text)),
        )
        for voice in range(k)
        for text in range(2)
    )
    protocol = Protocol(
        name=f"speaker-text-{k}",
        folds=tuple(fold for fold in folds if len(fold.test)),
        speaker_independent=True,
        text_independent=True,
        note="Speaker- and text-independent: the model never heard the tested speakers or sentences." + _joined(table),
        clips=np.arange(len(table)),
        tests_each_once=True,
    )
    return verify(protocol, table)


def cross_corpus(table: pd.DataFrame, *, every_label: bool = False) -> Protocol:
    """Leave one corpus out.

    Parameters
    ----------
    table : DataFrame
        Two or more corpora (`emovox.lab.corpora.table.combine`).
    every_label : bool, default False
        Use all clips, and test those with a label that another corpus has too.

    Returns
    -------
    Protocol
        ``"cross-corpus"``: one fold per corpus, named after it.  Only clips with a label that all corpora have are
        used, unless `every_label`; each of them is tested once.

    Raises
    ------
    ProtocolError
        There is one corpus only, or they share fewer than two labels.
    """
    corpora, labels, speakers = (strings(table, column) for column in ("corpus", "label", "speaker"))
    names = np.unique(corpora).tolist()
    if len(names) < 2:
        raise ProtocolError(f"protocol 'cross-corpus' needs two corpora and has only {names[0]!r}: add one")
    each = [set(labels[corpora == name].tolist()) for name in names]
    shared = set.intersection(*each)
    if every_label:
        shared = {label for label in set.union(*each) if sum(label in one for one in each) > 1}
    if len(shared) < 2:
        raise ProtocolError(
            f"protocol 'cross-corpus' needs two labels that all of {', '.join(names)} have, and there are "
            f"{len(shared)}: give their labels common words"
        )
    heard_in = np.unique(np.stack([speakers, corpora]), axis=1)
    sounds = moments(table)
    heard = np.unique(np.stack([sounds, np.unique(corpora, return_inverse=True)[1]]), axis=1)
    independent = "" not in speakers and heard_in.shape[1] == len(np.unique(speakers))
    independent = independent and heard.shape[1] == len(np.unique(sounds))
    remark = "Its speakers are new too." if independent else "NOT shown to be speaker-independent."
    number, testable = np.unique(corpora, return_inverse=True)[1], np.isin(labels, sorted(shared))
    whose = f"labels that two of {', '.join(names)} have" if every_label else f"labels that {', '.join(names)} share"
    return _leave_group_out(
        table,
        "cross-corpus",
        number if every_label else np.where(testable, number, -1),
        names,
        testable,
        speaker_independent=independent,
        note=f"Cross-corpus over the {len(shared)} {whose}: "
        f"each corpus is tested by a model that never heard it. {remark}",
    )


def split_column(table: pd.DataFrame) -> Protocol:
    """Use the split column of a manifest.

    Parameters
    ----------
    table : DataFrame
        The corpus table, with the column ``split``.

    Returns
    -------
    Protocol
        ``"split-column"``: one fold.  ``valid`` clips are used for training, because early stopping holds out
        speakers of its own; clips without a split are not used.  Whether the split is speaker- and text-independent is
        determined from the table.

    Raises
    ------
    ProtocolError
        The column is missing, or has no ``train`` or no ``test``.
    """
    if "split" not in table.columns:
        raise ProtocolError("protocol 'split-column' needs a manifest with a split column (train, valid, test)")
    split = strings(table, "split")
    for part in ("train", "test"):
        if part not in split:
            raise ProtocolError(f"protocol 'split-column': no clip has the split {part!r}; give it to some")
    fold = Fold("split", np.flatnonzero(np.isin(split, ("train", "valid"))), np.flatnonzero(split == "test"))
    sounds = moments(table)
    common = int(np.isin(sounds[fold.test], sounds[fold.train]).sum())
    independent = _shares_none(fold, strings(table, "speaker")) and not common
    remark = "Speaker-independent." if independent else "NOT shown to be speaker-independent."
    if common:
        remark += f" {common} of the test clips have sound in common with clips that are trained on."
    protocol = Protocol(
        name="split-column",
        folds=(fold,),
        speaker_independent=independent,
        text_independent=_shares_none(fold, sentences(table)) and not common,
        note=f"The manifest's own split: {len(fold.train)} clips train, {len(fold.test)} test. {remark}",
        clips=np.flatnonzero(split != ""),
        tests_each_once=False,
    )
    return verify(protocol, table)


def random_split(table: pd.DataFrame, test: float = 0.3, seed: int = 0, *, stratified: bool = True) -> Protocol:
    """Draw test clips at random, as many public projects do; speakers leak, and the note says so.

    Parameters
    ----------
    table : DataFrame
        The corpus table.
    test : float, default 0.3
        Fraction of test clips, between 0 and 1.
    seed : int, default 0
        Seed of the draw.
    stratified : bool, default True
        Draw this fraction of each label; every label then has at least one clip in training and one in test.

    Returns
    -------
    Protocol
        ``"random-70/30"``, with the percentages of training and test: one fold.

    Raises
    ------
    ProtocolError
        The fraction is out of range, or a label has only one clip and the split is stratified.
    """
    if not 0 < test < 1:
        raise ProtocolError(f"share of test clips {test}: must be between 0 and 1, for example 0.3")
    labels, order = strings(table, "label"), _canonical_order(table)
    pools = [order[labels[order] == label] for label in np.unique(labels)] if stratified else [order]
    for pool in pools:
        if len(pool) < 2:
            raise ProtocolError(
                f"label {str(labels[pool[0]])!r} has only 1 clip, and a random split needs 2: "
                "add a clip of it, or leave the label out"
            )
    rng = np.random.default_rng(seed)
    counts = _apportion([len(pool) for pool in pools], test)
    drawn = [rng.permutation(pool)[:count] for pool, count in zip(pools, counts, strict=True)]
    everything = np.arange(len(table))
    tested = np.sort(np.concatenate(drawn))
    fold = Fold("split", np.setdiff1d(everything, tested), tested)
    protocol = Protocol(
        name=f"random-{100 * (1 - test):.0f}/{100 * test:.0f}",
        folds=(fold,),
        speaker_independent=False,
        text_independent=False,
        note=_leak_note(fold, strings(table, "speaker")),
        clips=everything,
        tests_each_once=False,
    )
    return verify(protocol, table)


def by_name(name: str, table: pd.DataFrame, seed: int = 0, tested: str = "") -> Protocol:
    """Build a protocol from its name.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`, with any number or none: ``"speaker"``, ``"speaker-10"``, ``"random-80/20"``.
    table : DataFrame
        The corpus table.
    seed : int, default 0
        Seed of the protocols that draw at random.
    tested : str, default ""
        Name of the only corpus to test.  The protocol is built from its clips; those of the other corpora are added to
        the training part of every fold, except, if the protocol is speaker-independent, clips of tested speakers.

    Returns
    -------
    Protocol
        Verified against the table.

    Raises
    ------
    ProtocolError
        The name or the corpus is unknown, or the protocol is impossible with this table.
    """
    if tested:
        return _with_others(name, table, seed, tested)
    plain: dict[str, Callable[[], Protocol]] = {
        "emobox": lambda: emobox(table),
        "tfds": lambda: tfds(table),
        "loso": lambda: leave_one_speaker_out(table),
        "cross-corpus": lambda: cross_corpus(table),
        "split-column": lambda: split_column(table),
        "speaker": lambda: speaker_kfold(table, seed=seed),
        "text": lambda: text_independent(table, seed=seed),
        "speaker-text": lambda: speaker_text_independent(table, seed=seed),
        "random": lambda: random_split(table, seed=seed),
    }
    grouped: dict[str, Callable[[int], Protocol]] = {
        "speaker": lambda k: speaker_kfold(table, k, seed),
        "text": lambda k: text_independent(table, k, seed),
        "speaker-text": lambda k: speaker_text_independent(table, k, seed),
    }
    if name in plain:
        return plain[name]()
    if match := re.fullmatch(r"(speaker|text|speaker-text)-([0-9]{1,4})", name):
        return grouped[match[1]](int(match[2]))
    match = re.fullmatch(r"random-([0-9]{1,2})/([0-9]{1,2})", name)
    if match and int(match[1]) + int(match[2]) == 100:
        return random_split(table, int(match[2]) / 100, seed)
    raise ProtocolError(f"unknown protocol {name!r}: {did_you_mean(name, NAMES)}")


def _with_others(name: str, table: pd.DataFrame, seed: int, tested: str) -> Protocol:
    """Build a protocol from one corpus, with the others added to training."""
    corpora, speakers = strings(table, "corpus"), voices(table)
    own, others = np.flatnonzero(corpora == tested), np.flatnonzero(corpora != tested)
    if not len(own):
        raise ProtocolError(
            f"protocol {name!r} shall test {tested!r}, and the clips are from {', '.join(np.unique(corpora).tolist())}"
        )
    protocol = by_name(name, table.iloc[own], seed)
    if not len(others):
        return protocol
    folds = []
    for fold in protocol.folds:
        test = own[fold.test]
        new = others[~np.isin(speakers[others], speakers[test])] if protocol.speaker_independent else others
        folds.append(Fold(fold.name, np.sort(np.concatenate([own[fold.train], new])), test))
    changed = dataclasses.replace(
        protocol,
        folds=tuple(folds),
        note=f"{protocol.note} Only trained on, never tested: {', '.join(np.unique(corpora[others]).tolist())}.",
        clips=np.sort(np.concatenate([own[protocol.clips], others])),
        trained_only=np.sort(np.concatenate([own[protocol.trained_only], others])),
    )
    return verify(changed, table)


def _leave_group_out(
    table: pd.DataFrame,
    name: str,
    group: Positions,
    names: Sequence[str],
    testable: NDArray[np.bool_] | None = None,
    *,
    note: str,
    speaker_independent: bool = False,
    text_independent: bool = False,
) -> Protocol:
    """Test each group of clips, as far as `testable`, in turn and train on all others; group -1 is not used."""
    used = group >= 0
    tested = used if testable is None else used & testable
    folds = tuple(
        Fold(fold, np.flatnonzero(used & (group != number)), np.flatnonzero(tested & (group == number)))
        for number, fold in enumerate(names)
    )
    clips, rest = np.flatnonzero(used), np.flatnonzero(used & ~tested)
    return verify(
        Protocol(name, folds, speaker_independent, text_independent, note, clips, True, trained_only=rest), table
    )


def _canonical_order(table: pd.DataFrame) -> Positions:
    """Order the rows by their index, so that a draw does not depend on the order of the table."""
    file, start, end = (table.index.get_level_values(level) for level in ("file", "start", "end"))
    return np.lexsort((end.to_numpy(dtype=float), start.to_numpy(dtype=float), file.to_numpy(dtype=str)))


def _apportion(sizes: Sequence[int], share: float) -> list[int]:
    """Apportion a fraction of each stratum by largest remainder, at least one and at most all but one."""
    exact = [size * share for size in sizes]
    counts = [int(amount) for amount in exact]
    largest_remainder = sorted(range(len(sizes)), key=lambda stratum: counts[stratum] - exact[stratum])
    for stratum in largest_remainder[: round(sum(exact)) - sum(counts)]:
        counts[stratum] += 1
    return [min(max(count, 1), size - 1) for count, size in zip(counts, sizes, strict=True)]


def _joined(table: pd.DataFrame) -> str:
    """Return the sentence that says which speakers have sound in common, after a blank."""
    remark = joined_remark(strings(table, "speaker"), voices(table))
    return remark and f" {remark}"


def _shares_none(fold: Fold, values: StringArray) -> bool:
    """Return whether training and test are known to have no value in common."""
    train, test = set(values[fold.train].tolist()), set(values[fold.test].tolist())
    return "" not in train | test and not train & test


def _leak_note(fold: Fold, speakers: StringArray) -> str:
    """Return the note of a random split: how many speakers it leaks."""
    train, test = set(speakers[fold.train].tolist()), set(speakers[fold.test].tolist())
    if "" in train | test:
        return "LEAKS SPEAKERS, in all likelihood: clips are drawn at random, and speakers are not known."
    return (
        f"LEAKS SPEAKERS: {len(train & test)} of the {len(test)} test speakers are in training too, "
        "so expect a lower score for a new voice."
    )
