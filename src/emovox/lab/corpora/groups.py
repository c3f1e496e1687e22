"""Groups of speakers and of sentences, for protocols and for inner validation.

Groups depend on the set of rows and the seed, never on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.errors import ProtocolError
from emovox.lab.corpora.same_sound import merged, moments, voices
from emovox.lab.corpora.table import Positions, StringArray, sentences, strings


def known_speakers(table: pd.DataFrame, needed: int = 2) -> StringArray:
    """Return the speaker of each clip, after checking that all are known.

    Parameters
    ----------
    table : DataFrame
        The corpus table.
    needed : int, default 2
        Minimum number of speakers.

    Returns
    -------
    ndarray of str, shape (n_clips,)
        No value is empty.  Speakers with sound in common are one (:func:`emovox.lab.corpora.same_sound.voices`).

    Raises
    ------
    ProtocolError
        A clip has no speaker, or there are fewer than `needed`.
    """
    speakers = strings(table, "speaker")
    _require_known(speakers)
    joined = voices(table)
    _require_speakers(np.unique(joined), needed, joined_remark(speakers, joined))
    return joined


def joined_remark(speakers: StringArray, joined: StringArray) -> str:
    """Tell which speakers count as one because they have sound in common; empty where none do.

    Examples
    --------
    >>> joined_remark(np.array(["a", "b", "c"]), np.array(["a + b", "a + b", "c"]))
    'Speakers with sound in common are kept together: a + b.'
    """
    together = sorted(set(joined.tolist()) - set(speakers.tolist()))
    if not together:
        return ""
    shown = ", ".join(name if len(name) <= 80 else f"{name[:77]}..." for name in together[:3])
    more = f" and {len(together) - 3} more" if len(together) > 3 else ""
    return f"Speakers with sound in common are kept together: {shown}{more}."


def speaker_groups(table: pd.DataFrame, k: int | None, seed: int) -> tuple[Positions, int]:
    """Assign speakers to groups, balanced over corpus and sex.

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a speaker.
    k : int or None
        Number of groups; None is 5, or the number of speakers if that is smaller.
    seed : int
        Seed of the assignment.

    Returns
    -------
    group : ndarray of int, shape (n_clips,)
        Group of the speaker of each clip, from 0.
    k : int
        Number of groups.

    Raises
    ------
    ProtocolError
        A clip has no speaker, or there are fewer speakers than groups.
    """
    speakers = known_speakers(table)
    names, first = np.unique(speakers, return_index=True)
    k = min(5, len(names)) if k is None else k
    _require_groups(k, len(names), "speakers", joined_remark(strings(table, "speaker"), speakers))
    kinds = np.char.add(strings(table, "corpus")[first], np.char.add("/", strings(table, "sex")[first]))
    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    return _assign(speakers, names[order], k), k


def text_groups(table: pd.DataFrame, k: int, seed: int) -> Positions:
    """Assign sentences to groups.

    Parameters
    ----------
    table : DataFrame
        The corpus table; every clip needs a text.
    k : int
        Number of groups.
    seed : int
        Seed of the assignment.

    Returns
    -------
    ndarray of int, shape (n_clips,)
        Group of the sentence of each clip, from 0.

    Raises
    ------
    ProtocolError
        A clip has no text, or there are fewer sentences than groups.
    """
    texts = sentences(table)
    unknown = int((texts == "").sum())
    if unknown:
        raise ProtocolError(
            f"{unknown} of {len(table)} clips have no text, so sentences cannot be held out: "
            "give a manifest with a text column"
        )
    texts = merged(texts, moments(table))
    names = np.unique(texts)
    _require_groups(k, len(names), "sentences")
    return _assign(texts, np.random.default_rng(seed).permutation(names), k)


def held_out_speakers(
    speakers: Sequence[str] | StringArray,
    labels: Sequence[str] | Sequence[int] | NDArray[Any],
    fraction: float = 0.2,
    seed: int = 0,
) -> tuple[Positions, Positions]:
    """Split a training set by speaker into training and validation, for early stopping.

    Parameters
    ----------
    speakers : sequence of str, length n
        Speaker of each training clip.
    labels : sequence of str or int, length n
        Label of each training clip.
    fraction : float, default 0.2
        Fraction of the speakers to hold out, between 0 and 1.  At least one is held out and at least one kept.
    seed : int, default 0
        Seed of the choice.

    Returns
    -------
    train, valid : ndarray of int
        Positions in `speakers`, ascending and disjoint; together all of them.  No speaker is in both, and every label
        is in `train`: fewer speakers than `fraction` are held out if necessary to keep every label.

    Raises
    ------
    ProtocolError
        The fraction is out of range, a speaker is unknown, there is only one speaker, or none can be held out without
        losing a label.

    Examples
    --------
    >>> train, valid = held_out_speakers(["a", "a", "b", "b"], ["happy", "sad", "happy", "sad"])
    >>> train.tolist(), valid.tolist()
    ([2, 3], [0, 1])
    """
    if not 0 < fraction < 1:
        raise ProtocolError(f"share of held-out speakers {fraction}: must be between 0 and 1, for example 0.2")
    voices, classes = np.asarray(speakers, dtype=str), np.asarray(labels)
    _require_known(voices)
    names, voice = np.unique(voices, return_inverse=True)
    _require_speakers(names, 2)
    spoken = np.zeros((len(names), len(np.unique(classes))), dtype=int)
    np.add.at(spoken, (voice, np.unique(classes, return_inverse=True)[1]), 1)
    wanted = min(max(round(fraction * len(names)), 1), len(names) - 1)
    left, held = spoken.sum(axis=0), np.zeros(len(names), dtype=bool)
    for candidate in np.random.default_rng(seed).permutation(len(names)):
        if held.sum() < wanted and (left > spoken[candidate]).all():
            left, held[candidate] = left - spoken[candidate], True
    if not held.any():
        raise ProtocolError(
            f"none of the {len(names)} speakers can be held out without losing a label from training: "
            "add speakers that say every label, or train without early stopping"
        )
    return np.flatnonzero(~held[voice]), np.flatnonzero(held[voice])


def speaker_groups_kfold(speakers: Sequence[str] | StringArray, k: int) -> list[tuple[Positions, Positions]]:
    """Split a training set into groups of whole speakers, for inner cross-validation.

    Parameters
    ----------
    speakers : sequence of str, length n
        Speaker of each training clip.
    k : int
        Number of groups, at least 2.

    Returns
    -------
    list of (train, valid)
        `k` pairs of positions in `speakers`, ascending; each position is in one validation part.  The groups are
        balanced in clips: in order of decreasing number of clips, each speaker joins the smallest group so far.

    Raises
    ------
    ProtocolError
        A speaker is unknown, or there are fewer speakers than `k`.

    Examples
    --------
    >>> [(train.tolist(), valid.tolist()) for train, valid in speaker_groups_kfold(["a", "b", "a"], 2)]
    [([1], [0, 2]), ([0, 2], [1])]
    """
    voices = np.asarray(speakers, dtype=str)
    _require_known(voices)
    names, voice, counts = np.unique(voices, return_inverse=True, return_counts=True)
    _require_groups(k, len(names), "speakers")
    group, load = np.zeros(len(names), dtype=int), np.zeros(k, dtype=int)
    for speaker in np.argsort(-counts, kind="stable"):
        group[speaker] = load.argmin()
        load[group[speaker]] += counts[speaker]
    return [(np.flatnonzero(group[voice] != fold), np.flatnonzero(group[voice] == fold)) for fold in range(k)]


def _assign(values: StringArray, names: StringArray, k: int) -> Positions:
    """Assign names to `k` groups in turn, and return the group of each value."""
    group_of = {name: number % k for number, name in enumerate(names.tolist())}
    return np.array([group_of[value] for value in values.tolist()], dtype=np.intp)


def _require_known(speakers: StringArray) -> None:
    """Raise if a clip has no speaker."""
    unknown = int((speakers == "").sum())
    if unknown:
        raise ProtocolError(
            f"{unknown} of {len(speakers)} clips have no speaker, so speakers cannot be held out: "
            "give a manifest with a speaker column, or use the protocol 'random'"
        )


def _require_speakers(names: StringArray, needed: int, remark: str = "") -> None:
    """Raise if there are too few speakers."""
    if len(names) < needed:
        only = f", {str(names[0])!r}" if len(names) == 1 else ""
        raise ProtocolError(
            f"there are only {len(names)} speakers{only}, and {needed} are needed to hold one out: "
            "add speakers, or use the protocol 'random' without early stopping" + (remark and f". {remark}")
        )


def _require_groups(k: int, count: int, what: str, remark: str = "") -> None:
    """Raise if there are fewer members than groups."""
    if not 2 <= k <= count:
        remedy = f"choose from 2 to {count}" if count > 1 else "at least 2 are needed"
        raise ProtocolError(f"{k} groups cannot be made of {count} {what}: {remedy}" + (remark and f". {remark}"))
