"""Clips with sound in common: stretches of one recording that overlap, and one sound under several names.

Such clips must not be on both sides of a split that claims new speakers: what is heard in both is the same moment,
whoever it is labelled for.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from emovox.lab.corpora.table import Positions, StringArray, strings

#: Seconds by which stretches may overlap because times are rounded.
TOLERANCE = 0.01


def moments(
    table: pd.DataFrame, recordings: Sequence[Hashable] | None = None, digests: Sequence[str] | None = None
) -> Positions:
    """Group the clips that have sound in common.

    Parameters
    ----------
    table : DataFrame
        The corpus table; its column ``sound``, where it has one, names the group of each clip as it was found by
        listening.
    recordings : sequence, optional
        What tells recordings apart, for each clip; the default is the column ``file``.
    digests : sequence of str, optional
        Digest of the content of each clip, empty where it is not known.

    Returns
    -------
    ndarray of int, shape (n_clips,)
        Number of the group of each clip: the same for clips of one recording that overlap by more than 0.01 s, for
        clips of the same content, and for clips that are linked by others.

    Examples
    --------
    >>> from emovox.lab.corpora.table import Clip, Provenance, from_clips
    >>> clips = [Clip("a.wav", "sad", start=0, end=2), Clip("a.wav", "sad", start=1, end=3), Clip("b.wav", "sad")]
    >>> moments(from_clips(clips, "demo", Provenance())).tolist()
    [0, 0, 1]
    """
    files = list(table.index.get_level_values("file")) if recordings is None else list(recordings)
    starts, ends = (table.index.get_level_values(name).to_numpy(dtype=float) for name in ("start", "end"))
    pairs = _overlapping(files, starts, ends)
    for names in (digests, strings(table, "sound") if "sound" in table else None):
        first: dict[str, int] = {}
        pairs += [
            (first.setdefault(name, row), row) for row, name in enumerate(names if names is not None else ()) if name
        ]
    return _components(pairs, len(table))


def merged(values: StringArray, groups: Positions) -> StringArray:
    """Join speakers, or sentences, that have sound in common.

    Parameters
    ----------
    values : ndarray of str, shape (n_clips,)
        Speaker or sentence of each clip; empty where unknown, which stays so.
    groups : ndarray of int, shape (n_clips,)
        As :func:`moments` gives it.

    Returns
    -------
    ndarray of str, shape (n_clips,)
        The values, except those that have sound in common with others: these become ``"a + b"``.

    Examples
    --------
    >>> merged(np.array(["a", "b", "c"]), np.array([0, 0, 1])).tolist()
    ['a + b', 'a + b', 'c']
    """
    names, which = np.unique(values, return_inverse=True)
    known = np.flatnonzero(values != "")
    # One node a name, one a group of clips, an edge for each clip.
    pairs = [(int(which[row]), len(names) + int(groups[row])) for row in known]
    part = _components(pairs, len(names) + len(values))[: len(names)]
    joined = {number: " + ".join(names[part == number].tolist()) for number in np.unique(part).tolist()}
    return np.array([joined[number] for number in part[which].tolist()], dtype=str)


def voices(table: pd.DataFrame) -> StringArray:
    """Return the speaker of each clip, those with sound in common joined, shape (n_clips,)."""
    return merged(strings(table, "speaker"), moments(table))


def _overlapping(
    files: list[Hashable], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Return pairs of clips of one file that overlap, enough of them to link all that do."""
    numbers = {file: number for number, file in enumerate(dict.fromkeys(files))}
    which = np.array([numbers[file] for file in files])
    pairs: list[tuple[int, int]] = []
    last = -1
    for row in np.lexsort((ends, starts, which)).tolist():
        if last >= 0 and which[row] == which[last] and starts[row] < ends[last] - TOLERANCE:
            pairs.append((last, row))
        if last < 0 or which[row] != which[last] or ends[row] > ends[last]:
            last = row
    return pairs


def _components(pairs: Sequence[tuple[int, int]], count: int) -> Positions:
    """Return the number of the connected component of each of `count` nodes."""
    ends = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)
