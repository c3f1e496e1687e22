"""A timeline by speaker: how long each speaks, with which emotions, and who follows whom with what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from emovox.types import Prediction


@dataclass(frozen=True)
class Speaking:
    """What one speaker says in a recording.

    Attributes
    ----------
    seconds : float
        Talk time: length of the segments together.
    share : float
        Of the talk time of all, in [0, 1].
    segments : int
        Number of segments.
    emotions : mapping of str to float
        Share of the talk time of each label that occurs, the largest first.  What is not sure enough counts by its most
        probable label.
    transitions : mapping of (str, str) to int
        How often one label of the speaker was followed by another one of the speaker, the most frequent first.
    """

    seconds: float
    share: float
    segments: int
    emotions: Mapping[str, float]
    transitions: Mapping[tuple[str, str], int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {"seconds": self.seconds, "share": self.share, "segments": self.segments}
        changes = [{"from": one, "to": other, "count": count} for (one, other), count in self.transitions.items()]
        return {**plain, "emotions": dict(self.emotions), "transitions": changes}


@dataclass(frozen=True)
class Reply:
    """How often one speaker with one emotion is followed by another speaker with another.

    Attributes
    ----------
    speaker, label : str
        Who speaks first, and how.
    next_speaker, next_label : str
        Who follows, and how.
    count : int
        How often.
    """

    speaker: str
    label: str
    next_speaker: str
    next_label: str
    count: int


def by_speaker(parts: Sequence[Prediction]) -> dict[str, Speaking]:
    """Sum up what each speaker says, who speaks most first; nothing where fewer than two speakers are known.

    Examples
    --------
    >>> said = [("anna", "sad", 0, 3), ("ben", "calm", 3, 4), ("anna", "happy", 4, 5)]
    >>> parts = [Prediction("a", t, e, x, {x: 1.0}, 1.0, False, "m", speaker=who) for who, x, t, e in said]
    >>> anna = by_speaker(parts)["anna"]
    >>> anna.seconds, anna.share, anna.emotions["sad"], anna.transitions
    (4.0, 0.8, 0.75, {('sad', 'happy'): 1})
    >>> [(one.speaker, one.label, one.next_speaker, one.next_label) for one in replies(parts)]
    [('anna', 'sad', 'ben', 'calm'), ('ben', 'calm', 'anna', 'happy')]
    """
    own: dict[str, list[Prediction]] = {}
    for one in parts:
        if one.speaker is not None:
            own.setdefault(one.speaker, []).append(one)
    if len(own) < 2:
        return {}
    total = math.fsum(one.end - one.start for said in own.values() for one in said)
    found = {name: _speaking(said, total) for name, said in own.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def _speaking(said: Sequence[Prediction], total: float) -> Speaking:
    seconds = math.fsum(one.end - one.start for one in said)
    times: dict[str, float] = {}
    for one in said:
        if one.label:
            times[one.label] = times.get(one.label, 0.0) + one.end - one.start
    changes = Counter((one.label, then.label) for one, then in pairwise(said) if one.label != then.label)
    emotions = {label: time / seconds for label, time in sorted(times.items(), key=lambda item: -item[1])}
    return Speaking(seconds, seconds / total, len(said), emotions, dict(changes.most_common()))


def replies(parts: Sequence[Prediction]) -> tuple[Reply, ...]:
    """Count who follows whom with what, the most frequent first; segments of the same speaker are no replies."""
    counts = Counter(
        (one.speaker, one.label, then.speaker, then.label)
        for one, then in pairwise(sorted(parts, key=lambda part: part.start))
        if one.speaker is not None and then.speaker is not None and one.speaker != then.speaker
    )
    return tuple(Reply(*turn, count=count) for turn, count in counts.most_common())
