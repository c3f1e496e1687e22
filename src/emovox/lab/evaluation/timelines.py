"""Scores of timelines: missed, false-alarm and mislabelled time, boundary errors, emotion diarization error rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emovox.errors import InputError

#: Label of time without speech in the emotion diarization error rate (EDER).
NEUTRAL = "neutral"


class Labelled(Protocol):
    """Anything with a start, an end and a label: a reference turn, or a prediction."""

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
    """A reference segment: speech with one emotion.

    Attributes
    ----------
    start, end : float
        Start and end in seconds from the beginning of the recording.
    label : str
        Emotion.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class TimelineScores:
    """Durations in seconds, and error rates derived from them; :func:`total` adds several recordings.

    Attributes
    ----------
    scored : float
        Scored time: the recording without collars.
    speech : float
        Scored time with speech in the reference.
    missed : float
        Reference speech that was not detected.
    false_alarm : float
        Detected speech without reference speech.
    confusion : float
        Detected speech with a wrong emotion.
    wrong_emotion : float
        Time with a wrong emotion if time without speech counts as neutral, in reference and result.
    """

    scored: float
    speech: float
    missed: float
    false_alarm: float
    confusion: float
    wrong_emotion: float

    @property
    def missed_rate(self) -> float:
        """Missed speech divided by speech."""
        return self.missed / self.speech

    @property
    def false_rate(self) -> float:
        """False-alarm time divided by speech."""
        return self.false_alarm / self.speech

    @property
    def confusion_rate(self) -> float:
        """Speech with a wrong emotion divided by speech."""
        return self.confusion / self.speech

    @property
    def diarization_error(self) -> float:
        """Diarization error rate (DER): missed, false-alarm and mislabelled time divided by speech."""
        return (self.missed + self.false_alarm + self.confusion) / self.speech

    @property
    def segment_error(self) -> float:
        """Missed, false-alarm and mislabelled time divided by scored time."""
        return (self.missed + self.false_alarm + self.confusion) / self.scored

    @property
    def emotion_diarization_error(self) -> float:
        """EDER of SpeechBrain: time with a wrong emotion divided by scored time; no speech counts as neutral."""
        return self.wrong_emotion / self.scored


def score(
    truth: Sequence[Labelled], found: Sequence[Labelled], duration: float, *, collar: float = 0.0
) -> TimelineScores:
    """Score a timeline against a reference, exactly, without quantisation to frames.

    Parameters
    ----------
    truth, found : sequence of Turn or Prediction
        Reference and result: without overlap, in order of time.
    duration : float
        Length of the recording in seconds.
    collar : float, default 0
        Seconds on both sides of each reference boundary that are not scored.

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
    ``speechbrain.utils.EDER``: one minus the fraction of time with the correct emotion.  Diarization
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
    wrong_emotion = np.where(speaking, real, NEUTRAL) != np.where(heard, said, NEUTRAL)

    def seconds(chosen: NDArray[np.bool_]) -> float:
        return math.fsum(lengths[chosen])

    return TimelineScores(
        scored=math.fsum(lengths),
        speech=seconds(speaking),
        missed=seconds(speaking & ~heard),
        false_alarm=seconds(~speaking & heard),
        confusion=seconds(speaking & heard & other),
        wrong_emotion=seconds(wrong_emotion),
    )


def _labels_at(times: NDArray[np.float64], parts: Sequence[Labelled], which: str) -> NDArray[np.str_]:
    """Return the label at each time, ``""`` outside the segments."""
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
    """Add the scores of several recordings.

    Examples
    --------
    >>> one = score([Turn(0, 2, "sad")], [], 4)
    >>> total([one, one]).speech
    4.0
    """
    names = ("scored", "speech", "missed", "false_alarm", "confusion", "wrong_emotion")
    return TimelineScores(*(math.fsum(getattr(one, name) for one in scores) for name in names))


def boundary_errors(truth: Sequence[Labelled], found: Sequence[Labelled]) -> NDArray[np.float64]:
    """Compute the distance from each reference boundary to the nearest detected one of the same kind.

    Parameters
    ----------
    truth, found : sequence of Turn or Prediction
        Reference and result.

    Returns
    -------
    ndarray, shape (2 * n_truth,)
        Distances in seconds, of all starts and then of all ends; infinite if nothing was detected.

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
