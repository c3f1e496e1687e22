"""How far a timeline is from the truth: time missed, added and mislabelled, boundaries, emotion diarization error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emovox.errors import InputError

#: What a stretch without speech counts as in the emotion diarization error.
NEUTRAL = "neutral"


class Labelled(Protocol):
    """Anything with a start, an end and a label: a turn of the truth, or a prediction."""

    @property
    def start(self) -> float:
        """Seconds."""

    @property
    def end(self) -> float:
        """Seconds."""

    @property
    def label(self) -> str:
        """Emotion."""


@dataclass(frozen=True)
class Turn:
    """What was really said with which emotion.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording.
    label : str
        Emotion.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class TimelineScores:
    """Times in seconds, and the shares made of them; scores of several recordings are added by :func:`total`.

    Attributes
    ----------
    scored : float
        Time that counts: the recording without collars.
    speech : float
        Of it, time with speech in truth.
    missed : float
        Speech that was not found.
    false_alarm : float
        Found, but no speech.
    confusion : float
        Speech found with another emotion.
    unlike : float
        Time in which the emotions differ, where no speech counts as neutral.
    """

    scored: float
    speech: float
    missed: float
    false_alarm: float
    confusion: float
    unlike: float

    @property
    def missed_rate(self) -> float:
        """Missed speech over speech."""
        return self.missed / self.speech

    @property
    def false_rate(self) -> float:
        """What is found and no speech, over speech."""
        return self.false_alarm / self.speech

    @property
    def confusion_rate(self) -> float:
        """Speech with another emotion, over speech."""
        return self.confusion / self.speech

    @property
    def diarization_error(self) -> float:
        """Missed, added and mislabelled time over the time of speech, as the diarization error rate of speakers."""
        return (self.missed + self.false_alarm + self.confusion) / self.speech

    @property
    def segment_error(self) -> float:
        """Time wrongly labelled, missed and added time included, over all time."""
        return (self.missed + self.false_alarm + self.confusion) / self.scored

    @property
    def emotion_diarization_error(self) -> float:
        """SpeechBrain's EDER: time with another emotion over all time, where no speech counts as neutral."""
        return self.unlike / self.scored


def score(
    truth: Sequence[Labelled], found: Sequence[Labelled], duration: float, *, collar: float = 0.0
) -> TimelineScores:
    """Compare a timeline with the truth, exactly, not frame by frame.

    Parameters
    ----------
    truth, found : sequence of Turn or Prediction
        Not overlapping, in order of time.
    duration : float
        Length of the recording in seconds.
    collar : float, default 0
        Seconds on either side of each true boundary that do not count.

    Returns
    -------
    TimelineScores

    Raises
    ------
    InputError
        Segments overlap or are not in order, or the collar is negative.

    Source
    ------
    Emotion diarization error: Wang et al. 2023, Speech Emotion Diarization, arXiv 2306.12991; SpeechBrain,
    ``speechbrain.utils.EDER``, which is one less the share of the recording's time with the right emotion.  Diarization
    error and collar: NIST, Rich Transcription evaluations.

    Examples
    --------
    >>> one = score([Turn(0.39, 1.10, "angry")], [Turn(0.6, 1.2, "angry")], 1.22)
    >>> round(one.emotion_diarization_error, 4), round(one.missed, 2), round(one.false_alarm, 2)
    (0.2541, 0.21, 0.1)
    """
    if not 0 <= collar < math.inf:
        raise InputError(f"collar is {collar}: expected seconds, 0 or more")
    edges = sorted({edge for one in truth for edge in (one.start, one.end)})
    cuts = {0.0, duration, *edges, *(edge for one in found for edge in (one.start, one.end))}
    cuts |= {edge + side for edge in edges for side in (-collar, collar)}
    times = np.array(sorted(cut for cut in cuts if 0 <= cut <= duration))
    middles, lengths = (times[:-1] + times[1:]) / 2, np.diff(times)
    if collar and edges:
        far = np.abs(middles[:, np.newaxis] - np.array(edges)).min(axis=1) >= collar
        middles, lengths = middles[far], lengths[far]
    real, said = _labels_at(middles, truth, "truth"), _labels_at(middles, found, "found")
    speaking, heard = real != "", said != ""
    other = real != said
    unlike = np.where(speaking, real, NEUTRAL) != np.where(heard, said, NEUTRAL)

    def seconds(chosen: NDArray[np.bool_]) -> float:
        return math.fsum(lengths[chosen])

    return TimelineScores(
        scored=math.fsum(lengths),
        speech=seconds(speaking),
        missed=seconds(speaking & ~heard),
        false_alarm=seconds(~speaking & heard),
        confusion=seconds(speaking & heard & other),
        unlike=seconds(unlike),
    )


def _labels_at(times: NDArray[np.float64], parts: Sequence[Labelled], which: str) -> NDArray[np.str_]:
    """Tell the label at each time, the empty one where there is none."""
    for before, after in pairwise(parts):
        if after.start < before.end - 1e-9:
            raise InputError(f"segments of {which} overlap at {after.start:g} s: expected them one after the other")
    if not parts:
        return np.full(len(times), "", dtype=np.str_)
    starts, ends = np.array([one.start for one in parts]), np.array([one.end for one in parts])
    index = np.searchsorted(starts, times, side="right") - 1
    inside = (index >= 0) & (times < ends[np.maximum(index, 0)])
    return np.where(inside, np.array([one.label for one in parts])[np.maximum(index, 0)], "")


def total(scores: Sequence[TimelineScores]) -> TimelineScores:
    """Add the times of several recordings.

    Examples
    --------
    >>> one = score([Turn(0, 2, "sad")], [], 4)
    >>> total([one, one]).speech
    4.0
    """
    names = ("scored", "speech", "missed", "false_alarm", "confusion", "unlike")
    return TimelineScores(*(math.fsum(getattr(one, name) for one in scores) for name in names))


def boundary_errors(truth: Sequence[Labelled], found: Sequence[Labelled]) -> NDArray[np.float64]:
    """Measure how far from each true boundary the nearest found one of its kind is.

    Parameters
    ----------
    truth, found : sequence of Turn or Prediction

    Returns
    -------
    ndarray, shape (2 * n_truth,)
        Seconds, of the starts and then of the ends; infinite where nothing was found.

    Examples
    --------
    >>> boundary_errors([Turn(1, 2, "sad")], [Turn(1.5, 3, "sad"), Turn(4, 5, "sad")]).tolist()
    [0.5, 1.0]
    """
    distances = []
    for edge in ("start", "end"):
        real = np.array([getattr(one, edge) for one in truth], dtype=np.float64)
        near = np.array([getattr(one, edge) for one in found], dtype=np.float64)
        gaps = np.abs(real[:, np.newaxis] - near)
        distances.append(gaps.min(axis=1, initial=np.inf))
    return np.concatenate(distances)
