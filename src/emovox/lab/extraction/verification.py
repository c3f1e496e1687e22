"""Whether a copy of a corpus is whole: every recording of its index is there, can be read and is as long as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emovox.lab.corpora.cards import Card
from emovox.lab.corpora.index import Row, keys
from emovox.lab.corpora.table import Corpus
from emovox.lab.extraction.content import Heard, listen
from emovox.storage import file_digest

#: Seconds by which the duration of a copy in another format or rate may differ.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Verdict:
    """What was found by comparing a copy with an index.

    Attributes
    ----------
    clips : int
        Recordings of the corpus in the folder.
    missing, surplus : tuple of str
        Keys of the index that are not there, and recordings that the index does not have; none without an index.
    damaged : mapping
        Why recordings are not as they should be, by key: they cannot be read (whole), hold nothing but digital silence,
        have another length or, where bytes can be compared, other bytes.
    compared : mapping
        How many recordings were compared by ``names``, ``durations`` and ``checksums``.
    durations : mapping
        Seconds of each recording that can be read.
    """

    clips: int
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    compared: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or damaged."""
        return not self.missing and not self.damaged

    def summary(self) -> dict[str, Any]:
        """Return it for machines."""
        parts: dict[str, Any] = {"clips": self.clips, "whole": self.whole, "compared": dict(self.compared)}
        return parts | {
            "missing": list(self.missing),
            "damaged": dict(self.damaged),
            "surplus": list(self.surplus),
        }


def verify(
    corpus: Corpus,
    card: Card,
    index: Mapping[str, Row],
    jobs: int = -1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Verdict:
    """Compare a copy of a corpus with an index, and listen to every recording.

    Parameters
    ----------
    corpus : Corpus
        The copy, as loaded.
    card : Card
        What is known of the corpus.
    index : mapping
        What it should hold; empty if nothing is known, then only what cannot be read is found.
    jobs : int, default -1
        Processes; -1 is one a core.
    progress : callable, optional
        Progress callback: stage, done, total.

    Returns
    -------
    Verdict
        Durations are compared within 0.1 s, checksums where the index has them.
    """
    files = keys(corpus, card)
    names = sorted(files)
    heard = dict(zip(names, listen([(files[name], 0.0, math.inf) for name in names], jobs, progress), strict=True))
    damaged = {}
    for name in names:
        if why := _damage(files[name], heard[name], index.get(name, Row())):
            damaged[name] = why
    there = [index[name] for name in names if name in index]
    return Verdict(
        clips=len(files),
        missing=tuple(sorted(index.keys() - files.keys())),
        surplus=tuple(sorted(files.keys() - index.keys())) if index else (),
        damaged=damaged,
        compared={
            "names": len(there),
            "durations": sum(row.seconds is not None for row in there),
            "checksums": sum(bool(row.sha256) for row in there),
        },
        durations={name: one.duration for name, one in heard.items() if not one.problem},
    )


def _damage(path: Path, heard: Heard, row: Row) -> str:
    """Return what is wrong with a recording, empty if nothing is."""
    if heard.problem or heard.partly:
        return heard.problem or heard.partly
    if not heard.digest:
        return "nothing but digital silence"
    if row.seconds is not None and abs(heard.duration - row.seconds) > TOLERANCE:
        return f"{heard.duration:.2f} s long, {row.seconds:.2f} s were expected"
    if row.bytes is not None and path.stat().st_size != row.bytes:
        return f"{path.stat().st_size} bytes, {row.bytes} were expected"
    if row.sha256 and file_digest(path) != row.sha256:
        return f"SHA-256 is {file_digest(path)[:12]}…, {row.sha256[:12]}… was expected"
    return ""
