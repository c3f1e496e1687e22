"""Scores of who spoke when: the diarization error rate, with overlap, and errors of emotions by speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

#: A turn: start and end in seconds, and who speaks.
Turn = tuple[float, float, str]


@dataclass(frozen=True)
class DiarizationScores:
    """Seconds of speakers' time: two who speak at once for a second are two seconds.

    Attributes
    ----------
    speech : float
        Reference.
    missed : float
        Of it, where fewer speakers are found than there are.
    false_alarm : float
        Where more are found than there are.
    confusion : float
        Where another speaker is found.
    """

    speech: float
    missed: float
    false_alarm: float
    confusion: float

    @property
    def error(self) -> float:
        """Diarization error rate (DER): missed, false and confused time divided by reference time."""
        return (self.missed + self.false_alarm + self.confusion) / self.speech

    def __add__(self, other: DiarizationScores) -> DiarizationScores:
        return DiarizationScores(
            self.speech + other.speech,
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confusion + other.confusion,
        )


def score(truth: Sequence[Turn], found: Sequence[Turn], *, collar: float = 0.25) -> DiarizationScores:
    """Compare who was found to speak with who speaks, exactly, by the mapping of speakers that is best.

    Parameters
    ----------
    truth, found : sequence of (start, end, speaker)
        Turns in any order, which may overlap.
    collar : float, default 0.25
        Seconds around each start and end of the reference that are not scored.

    Source
    ------
    NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, section 6; md-eval.pl.

    Examples
    --------
    >>> score([(0, 10, "a"), (10, 20, "b")], [(0, 12, "1"), (12, 20, "2")], collar=0).error
    0.1
    >>> score([(0, 10, "a"), (5, 10, "b")], [(0, 10, "1")], collar=0).missed
    5.0
    """
    lengths, there, said = _pieces(truth, found, collar)
    pairs = mapping(truth, found, collar=collar)
    names, others = _names(truth), _names(found)
    right = np.zeros(len(lengths))
    for one, other in pairs.items():
        right += there[names.index(other)] & said[others.index(one)]
    count, count_found = there.sum(axis=0), said.sum(axis=0)
    both = np.minimum(count, count_found)
    return DiarizationScores(
        speech=float(lengths @ count),
        missed=float(lengths @ (count - both)),
        false_alarm=float(lengths @ (count_found - both)),
        confusion=float(lengths @ (both - right)),
    )


def mapping(truth: Sequence[Turn], found: Sequence[Turn], *, collar: float = 0.25) -> dict[str, str]:
    """Return which speaker of the reference each speaker that was found is, as shares the most time with it.

    Examples
    --------
    >>> mapping([(0, 5, "anna"), (5, 9, "ben")], [(0, 4, "1"), (4, 9, "2")], collar=0)
    {'1': 'anna', '2': 'ben'}
    """
    lengths, there, said = _pieces(truth, found, collar)
    shared = (said * lengths) @ there.T
    rows, columns = linear_sum_assignment(-shared)
    names, others = _names(truth), _names(found)
    return {others[row]: names[column] for row, column in zip(rows, columns, strict=True) if shared[row, column] > 0}


def _names(turns: Sequence[Turn]) -> list[str]:
    return sorted({speaker for _, _, speaker in turns})


def _pieces(
    truth: Sequence[Turn], found: Sequence[Turn], collar: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Cut time at all boundaries; return lengths that are scored, and who speaks, by reference and result."""
    edges = {time for start, end, _ in truth for time in (start, end)}
    near = {edge + side for edge in edges for side in (-collar, collar)}
    cuts = np.array(sorted(edges | near | {time for start, end, _ in found for time in (start, end)}))
    middle, lengths = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    bounds = np.array(sorted(edges))
    if len(bounds) and len(middle):
        after = np.clip(np.searchsorted(bounds, middle), 1, max(1, len(bounds) - 1))
        nearest = np.minimum(
            np.abs(middle - bounds[after - 1]), np.abs(middle - bounds[np.minimum(after, len(bounds) - 1)])
        )
        lengths = np.where(nearest < collar, 0.0, lengths)
    return lengths, _speaking(truth, middle), _speaking(found, middle)


def _speaking(turns: Sequence[Turn], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    names = _names(turns)
    found = np.zeros((len(names), len(times)), dtype=bool)
    for start, end, speaker in turns:
        found[names.index(speaker), np.searchsorted(times, start) : np.searchsorted(times, end)] = True
    return found
