"""Evaluation protocols: folds with stated guarantees, and the check that the folds satisfy them.

:func:`verify` checks the guarantees against the table; `emovox.lab.corpora.splits` calls it for every protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from emovox.errors import ProtocolError
from emovox.lab.corpora.same_sound import moments, voices
from emovox.lab.corpora.table import Positions, StringArray, sentences, strings


@dataclass(frozen=True, eq=False)
class Fold:
    """One split into training and test clips.

    Attributes
    ----------
    name : str
        Short name, for reports.
    train, test : ndarray of int
        Positions in the table, ascending.
    """

    name: str
    train: Positions
    test: Positions


@dataclass(frozen=True, eq=False)
class Protocol:
    """An evaluation protocol: its folds and what they guarantee.

    Attributes
    ----------
    name : str
        Name, accepted by `emovox.lab.corpora.splits.by_name`.
    folds : tuple of Fold
        At least one.
    speaker_independent : bool
        No speaker of a test part is in the training part of the same fold, nor any of its sound
        (:func:`emovox.lab.corpora.same_sound.moments`).
    text_independent : bool
        No sentence of a test part is in the training part of the same fold, nor any of its sound.
    note : str
        One sentence that is printed with every score.
    clips : ndarray of int
        Positions of the clips that are used, ascending: exactly those in the training or test part of some fold.
    tests_each_once : bool
        Each of `clips` except those of `trained_only` is in exactly one test part, so that the predictions of the folds
        can be pooled.
    trained_only : ndarray of int
        Positions of the clips that are never tested and are in the training part of every fold that does not test their
        speaker, ascending; none by default.
    """

    name: str
    folds: tuple[Fold, ...]
    speaker_independent: bool
    text_independent: bool
    note: str
    clips: Positions
    tests_each_once: bool
    trained_only: Positions = field(default_factory=lambda: np.empty(0, dtype=np.intp))


def verify(protocol: Protocol, table: pd.DataFrame) -> Protocol:
    """Check that the folds of a protocol satisfy its guarantees on a table.

    Parameters
    ----------
    protocol : Protocol
        Protocol to check.
    table : DataFrame
        Corpus table to which its positions refer.

    Returns
    -------
    Protocol
        The argument, so that functions can end with ``return verify(...)``.

    Raises
    ------
    ProtocolError
        There is no fold; a part is empty, or has positions outside the table or duplicates; the parts of a fold share a
        clip, or a speaker, a sentence or sound although the protocol excludes it; training has fewer than two labels or
        lacks a tested one; a clip is unused, or tested more than once; or a clip of `trained_only` is tested, or
        missing from training although its speaker is not tested.
    """
    if not protocol.folds:
        raise ProtocolError(f"protocol {protocol.name!r} has no folds: give it a corpus with more speakers or labels")
    labels, sounds, speakers = strings(table, "label"), moments(table), voices(table)
    for fold in protocol.folds:
        where = f"protocol {protocol.name!r}, {fold.name!r}"
        _verify_positions(fold, len(table), where)
        if protocol.speaker_independent:
            _verify_disjoint(fold, strings(table, "speaker"), "speaker", where)
        if protocol.text_independent:
            _verify_disjoint(fold, sentences(table), "text", where)
        if protocol.speaker_independent or protocol.text_independent:
            _verify_sounds(fold, sounds, table, where)
        _verify_labels(fold, labels, where)
        _verify_trained_only(fold, protocol.trained_only, speakers, where)
    _verify_coverage(protocol, len(table))
    return protocol


def _verify_positions(fold: Fold, count: int, where: str) -> None:
    """Check that both parts are non-empty sets of clips and disjoint."""
    for part, positions in (("training", fold.train), ("test", fold.test)):
        if len(positions) == 0:
            raise ProtocolError(f"{where}: its {part} part is empty")
        if positions.min() < 0 or positions.max() >= count:
            raise ProtocolError(f"{where}: its {part} part has positions outside the table of {count} clips")
        if len(np.unique(positions)) < len(positions):
            raise ProtocolError(f"{where}: its {part} part has a clip twice")
    common = np.intersect1d(fold.train, fold.test)
    if len(common):
        raise ProtocolError(f"{where}: {len(common)} clips are in both training and test")


def _verify_disjoint(fold: Fold, values: StringArray, what: str, where: str) -> None:
    """Check that every clip has a value, and that training and test have none in common."""
    train, test = np.unique(values[fold.train]), np.unique(values[fold.test])
    if "" in train or "" in test:
        raise ProtocolError(f"{where}: a clip has no {what}, so training and test cannot be told apart by it")
    common = np.intersect1d(train, test)
    if len(common):
        raise ProtocolError(f"{where}: {what} {str(common[0])!r} is in both training and test")


def _verify_sounds(fold: Fold, sounds: Positions, table: pd.DataFrame, where: str) -> None:
    """Check that training and test have no sound in common."""
    common = np.intersect1d(sounds[fold.train], sounds[fold.test])
    if len(common):
        heard, tested = (clip_name(table, part[sounds[part] == common[0]][0]) for part in (fold.train, fold.test))
        raise ProtocolError(
            f"{where}: {tested} is tested and has sound in common with {heard}, which is trained on: "
            "leave one of them out"
        )


def clip_name(table: pd.DataFrame, row: int) -> str:
    """Name a clip in a message: its file, and the seconds of a stretch.

    Examples
    --------
    >>> from emovox.lab.corpora.table import Clip, Provenance, from_clips
    >>> clip_name(from_clips([Clip("a.wav", "sad", start=1, end=2.5)], "demo", Provenance()), 0)
    "'a.wav' from 1 s to 2.5 s"
    """
    file, start, end = table.index[row]
    if start == 0 and np.isinf(end):
        return repr(file)
    return f"{file!r} from {start:g} s " + ("on" if np.isinf(end) else f"to {end:g} s")


def _verify_labels(fold: Fold, labels: StringArray, where: str) -> None:
    """Check that training has at least two labels, and every label that is tested."""
    trained = set(labels[fold.train].tolist())
    unseen = sorted(set(labels[fold.test].tolist()) - trained)
    if unseen:
        total = int((labels == unseen[0]).sum())
        clips = "its only clip is" if total == 1 else f"all its {total} clips are"
        there = "in the test part" if (labels[fold.test] == unseen[0]).sum() == total else "outside training"
        raise ProtocolError(
            f"{where}: label {unseen[0]!r} is tested but never trained, {clips} {there}: add clips of it "
            "by other speakers and sentences, or leave the label out"
        )
    if len(trained) < 2:
        raise ProtocolError(f"{where}: training has only the label {min(trained)!r}: at least two are needed")


def _verify_trained_only(fold: Fold, clips: Positions, speakers: StringArray, where: str) -> None:
    """Check that these clips are not tested, and are in training unless their speaker is tested."""
    tested = np.intersect1d(clips, fold.test)
    if len(tested):
        raise ProtocolError(f"{where}: {len(tested)} clips are tested that should only be trained on")
    absent = np.setdiff1d(clips, fold.train)
    needless = absent[~np.isin(speakers[absent], speakers[fold.test])]
    if len(needless):
        raise ProtocolError(f"{where}: {len(needless)} clips that should always be trained on are not")


def _verify_coverage(protocol: Protocol, count: int) -> None:
    """Check that exactly the stated clips are used."""
    tested, used = np.zeros(count, dtype=int), np.zeros(count, dtype=bool)
    for fold in protocol.folds:
        tested[fold.test] += 1
        used[fold.train] = used[fold.test] = True
    promised = np.zeros(count, dtype=bool)
    promised[protocol.clips] = True
    if (used != promised).any():
        wrong = int((used != promised).sum())
        raise ProtocolError(f"protocol {protocol.name!r}: {wrong} clips take part against its promise, or do not")
    testable = np.setdiff1d(protocol.clips, protocol.trained_only)
    if protocol.tests_each_once and (tested[testable] != 1).any():
        wrong = int((tested[testable] != 1).sum())
        raise ProtocolError(f"protocol {protocol.name!r}: {wrong} clips are not tested exactly once")
