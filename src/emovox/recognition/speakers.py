"""Speakers of a recording: the turns that are judged, and each judged against what they say in it.

Of the levels of a baseline that of the setting takes what a speaker says: on speakers of corpora that the built-in
model never heard this gains more than the level of the speaker, see ``python benchmarks/speakers.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import seekable, source_name
from emovox.errors import AudioError, InputError
from emovox.model.subjects import AUTO, Statistics
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.voice import Judge, Voice
from emovox.speech import vad
from emovox.speech.speakers import diarization
from emovox.speech.speakers.diarization import DiarizationOptions
from emovox.types import Prediction, Segment, Waveform

#: Seconds of a recording that are read at a time.
_BLOCK = 10.0

#: Called with the seconds analysed so far.
Progress = Callable[[float], None]


def turns_of(sound: Sound, options: TimelineOptions) -> list[Segment]:
    """Find who speaks when in a recording; a channel that is judged by itself is one speaker's, without clustering.

    Raises
    ------
    InputError
        The recording can be read only once.
    """
    if isinstance(sound, audio.Channel) and options.speakers == "auto":
        name = f"speaker {sound.number}"
        return [Segment(one.start, one.end, name) for one in vad.segments(audio.blocks(sound, _BLOCK), options.vad)]
    source: Any = sound
    if hasattr(source, "read") and not seekable(source):
        raise InputError(
            f"speakers are told apart by reading a recording twice, and {source_name(source)} can be read only once: "
            "give a file or bytes"
        )
    count = None if options.speakers == "auto" else options.speakers
    return diarization.diarize(audio.blocks(sound, _BLOCK), DiarizationOptions(count=count, vad=options.vad))


def first_pass(
    voice: Voice,
    sound: Sound,
    options: TimelineOptions,
    turns: Sequence[Segment] | None,
    progress: Progress | None,
) -> tuple[Judge, Progress | None]:
    """Hear what each speaker says in a recording; return who judges in the second pass, and whom to tell of it."""
    if not turns or not may_learn(voice):
        return voice, progress
    learning = Speakers(voice)
    stream = StreamingRecognizer(learning, options)
    half = progress and (lambda seconds: progress(seconds / 2))
    length = stream.timeline(audio.blocks(sound, _BLOCK), source_name(sound), half, segments=turns).duration
    rest = progress and (lambda seconds: progress((length + seconds) / 2))
    return Speakers(voice, learning.heard, learning=False), rest


def may_learn(voice: Voice) -> bool:
    """Say whether speakers become their own baseline: the model takes one, and no setting or speaker is named."""
    named = voice.speaker is not None or (voice.setting is not None and voice.setting.name != AUTO)
    return voice.model.takes_baseline and not named


@dataclass
class Speakers:
    """Judges turns of speakers whose ordinary voices it gets to know: each is judged against what was heard of it.

    Attributes
    ----------
    voice : Voice
        Who judges where little is heard of a speaker.
    heard : dict of str to Statistics
        What was heard of each.
    learning : bool
        Whether what is judged is heard besides: so in streams, and in the first pass through a recording.
    """

    voice: Voice
    heard: dict[str, Statistics] = field(default_factory=dict)
    learning: bool = True

    @property
    def threshold(self) -> float:
        """Confidence under which an answer is an abstention, where nothing is known."""
        return self.voice.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge what nobody is known to say."""
        return self.voice.assess(window, name, running=running)

    def for_speaker(self, speaker: str | None) -> Voice | Speaker:
        """Return who judges a speaker."""
        return self.voice if speaker is None else Speaker(self, speaker)

    def known(self, speaker: str) -> Voice:
        """Return the voice whose setting is what was heard of a speaker; the first one where that is little."""
        heard = self.heard.get(speaker)
        return self.voice if heard is None else self.voice.within(heard)


@dataclass
class Speaker:
    """Judges one of the speakers; what it judges is heard of them."""

    all: Speakers
    name: str

    @property
    def threshold(self) -> float:
        """That of the voice that knows the speaker."""
        return self.all.known(self.name).threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window."""
        found = self.all.known(self.name).judged(window, name, gate=not running)
        if isinstance(found, AudioError):
            return None
        prediction, axes = found
        if axes is not None and not running and self.all.learning:
            before = self.all.heard.get(self.name, Statistics.nothing(len(axes)))
            self.all.heard[self.name] = before.merged(Statistics.of(axes[np.newaxis]))
        return replace(prediction, speaker=self.name)
