"""A whole recording to one judgement: the mean of its utterances', weighted by duration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from emovox import decision
from emovox.errors import AudioError, NoSpeechError
from emovox.recognition.streaming import Judge, StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.voice import Voice
from emovox.recognition.windows import join_rest
from emovox.types import Prediction, Waveform


def judge_whole(
    voice: Voice,
    judge: Judge,
    blocks: Iterable[Waveform],
    name: str,
    window: float,
    progress: Callable[[float], None] | None = None,
) -> Prediction:
    """Judge a recording by its timeline, so that a recording with one utterance has one answer.

    Where voice activity finds no utterance, as in a short scream or whisper, windows of one length are judged.

    Parameters
    ----------
    voice : Voice
        Makes the answer.
    judge : Judge
        Asked for each stretch: the voice, or what stands before it.
    blocks : iterable of Waveform
        All of the recording, `window` seconds at a time.
    name : str
        What the prediction calls it.
    window : float
        Longest stretch that is judged at once, in seconds.
    progress : callable, optional
        Called with the seconds analysed so far.

    Returns
    -------
    Prediction
        From 0 to the end of the recording.

    Raises
    ------
    AudioError
        It is too short or silent.
    NoSpeechError
        Nobody speaks in it.
    """
    options = TimelineOptions(window=window, hop=min(window, TimelineOptions.hop))
    stream = StreamingRecognizer(judge, options).open(name, estimates=False)
    found: list[Prediction] = []
    reserve = _Reserve(voice, judge, name)
    for block in join_rest(blocks, window / 2):
        found += [one.prediction for one in stream.push(block.samples) if one.kind == "result" and one.prediction]
        reserve.take(block, needed=not found)
        if progress:
            progress(block.end)
    found += [one.prediction for one in stream.finish() if one.kind == "result" and one.prediction]
    found = found or reserve.finish()
    if len(found) == 1:
        return dataclasses.replace(found[0], start=0.0, end=stream.heard)
    rows = [list(one.probabilities.values()) for one in found]
    mean = decision.combine(rows, [one.end - one.start for one in found])
    return voice.decided(mean, name, 0.0, stream.heard)


class _Reserve:
    """Windows of one length, each judged once it is known that no utterance has ended by the next."""

    def __init__(self, voice: Voice, judge: Judge, name: str) -> None:
        self._voice, self._judge, self._name = voice, judge, name
        self._waiting: Waveform | None = None
        self._found: list[Prediction] = []
        self._refused: AudioError | None = None

    def take(self, block: Waveform, *, needed: bool) -> None:
        """Take the next window, and judge the one before if it is needed."""
        if needed and self._waiting is not None:
            self._assess(self._waiting)
        self._waiting = block

    def finish(self) -> list[Prediction]:
        """Return what was judged; raise the reason where nothing could be."""
        if self._waiting is not None:
            self._assess(self._waiting)
        if not self._found:
            raise self._refused or AudioError(f"{self._name} has no samples: give a recording that is not empty")
        return self._found

    def _assess(self, window: Waveform) -> None:
        if one := self._judge.assess(window, self._name):
            self._found.append(one)
        elif not isinstance(self._refused, NoSpeechError):
            self._refused = self._voice.refusal(window, self._name)
