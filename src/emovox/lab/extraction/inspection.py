"""What is wrong with the recordings of a corpus, found by listening to them before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from emovox.lab.corpora.protocol import clip_name
from emovox.lab.corpora.same_sound import moments
from emovox.lab.corpora.table import Corpus, Positions, StringArray, strings
from emovox.lab.extraction.content import Heard, listen

#: Seconds by which a stretch may end after its recording because times are rounded.
ROUNDING = 0.05


def inspect(
    corpus: Corpus, jobs: int = -1, progress: Callable[[str, int, int], None] = lambda stage, done, total: None
) -> list[str]:
    """Listen to every clip of a corpus.

    Parameters
    ----------
    corpus : Corpus
        As loaded.
    jobs : int, default -1
        Processes; -1 is one a core.
    progress : callable, optional
        Progress callback: stage, done, total.

    Returns
    -------
    list of str
        One sentence for each kind of fault, with the first example: clips that cannot be read, or not whole, or hold
        digital silence, stretches that end after their recording, overlapping stretches of one recording, and the same
        sound under several names; with how many of these are of different speakers or labels.  Empty if there is none.

    Notes
    -----
    The same sound is found where the decoded samples are the same at 16 kHz and 16 bits, zeros at both ends apart:
    copies, other names, lossless formats.  A copy that was encoded with loss, made louder or cut is not found.
    """
    table = corpus.table
    starts, ends = (table.index.get_level_values(name).to_numpy(dtype=float) for name in ("start", "end"))
    heard = listen(list(zip(corpus.paths(), starts.tolist(), ends.tolist(), strict=True)), jobs, progress)
    unread = np.flatnonzero([bool(one.problem) for one in heard])
    silent = np.flatnonzero([not (one.problem or one.digest) for one in heard])
    late = np.flatnonzero(np.isfinite(ends) & ~np.isin(np.arange(len(heard)), unread))
    late = late[[ends[row] - starts[row] - heard[row].duration > ROUNDING for row in late]]
    findings = []
    if len(unread):
        findings.append(f"{_clips(len(unread))} cannot be read, the first: {heard[unread[0]].problem}")
    partly = [one.partly for one in heard if one.partly]
    if partly:
        findings.append(f"{_clips(len(partly))} cannot be read whole, the first: {partly[0]}")
    if len(silent):
        hold = _clips(len(silent), "holds", "hold")
        findings.append(f"{hold} nothing but digital silence, the first: {clip_name(table, silent[0])}")
    if len(late):
        row = late[0]
        where = f"{clip_name(table, row)}, which ends at {starts[row] + heard[row].duration:.2f} s"
        end = _clips(len(late), "ends after its recording", "end after their recordings")
        findings.append(f"{end}, the first: {where}")
    return findings + _in_common(corpus, heard)


def _in_common(corpus: Corpus, heard: Sequence[Heard]) -> list[str]:
    """Tell which clips overlap in time, and which have the same content."""
    digests = np.array([one.digest or f"clip {row}" for row, one in enumerate(heard)])
    same = np.unique(digests, return_inverse=True)[1]
    overlapping = moments(corpus.table, [one.recording or row for row, one in enumerate(heard)])
    alone = ~_in_mixed(digests, overlapping)  # whole copies are told as the same sound
    overlapping = np.where(alone, len(heard) + np.arange(len(heard)), overlapping)
    kinds = (("overlap others of the same recording", overlapping), ("hold the same sound as another", same))
    return [line for what, groups in kinds if (line := _shared(corpus, what, groups))]


def _shared(corpus: Corpus, what: str, groups: Positions) -> str:
    """Return one sentence about clips that are in one group; empty where each is alone."""
    _, which, counts = np.unique(groups, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[which] > 1)
    if not len(rows):
        return ""
    first, second = np.flatnonzero(groups == groups[rows[0]])[:2]
    line = f"{_clips(len(rows))} {what}, the first: "
    line += f"{clip_name(corpus.table, first)} and {clip_name(corpus.table, second)}"
    mixed = {name: int(_in_mixed(strings(corpus.table, name), groups).sum()) for name in ("speaker", "label")}
    told = [f"{count} under different {name}s" for name, count in mixed.items() if count]
    if told:
        line += f" ({', '.join(told)})"
    if mixed["speaker"]:
        line += "; speaker-independent protocols keep these speakers together"
    return line


def _in_mixed(values: StringArray, groups: Positions) -> NDArray[np.bool_]:
    """Return which clips are of a group that has more than one value."""
    pairs = np.unique(np.stack([groups.astype(str), values]), axis=1)[0]
    names, counts = np.unique(pairs, return_counts=True)
    return np.isin(groups.astype(str), names[counts > 1])


def _clips(count: int, does: str = "", do: str = "") -> str:
    return f"1 clip {does}".rstrip() if count == 1 else f"{count} clips {do}".rstrip()
