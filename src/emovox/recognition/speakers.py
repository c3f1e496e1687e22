"""Speakers of a recording: the turns that are judged, and each judged against what they say in it.

Of the levels of a baseline that of the setting takes what a speaker says: on speakers of corpora that the built-in
model never heard this gains more than the level of the speaker, see ``python benchmarks/speakers.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import seekable, source_name
from emovox.errors import InputError
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import TimelineOptions
from emovox.recognition.voice import Adapting, Judge, Voice
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
    how = DiarizationOptions(count=count, vad=options.vad)
    return diarization.diarize(audio.blocks(sound, _BLOCK), how, diarization.prints_of(options.enrolled))


def first_pass(
    voice: Voice,
    sound: Sound,
    options: TimelineOptions,
    turns: Sequence[Segment] | None,
    progress: Progress | None,
) -> tuple[Judge, Progress | None]:
    """Hear what each speaker says in a recording; return who judges in the second pass, and whom to tell of it."""
    if not turns or not voice.may_learn:
        return voice, progress
    heard: dict[str, Adapting] = {}
    stream = StreamingRecognizer(Speakers(voice, lambda name: heard.setdefault(name, Adapting(voice))), options)
    half = progress and (lambda seconds: progress(seconds / 2))
    length = stream.timeline(audio.blocks(sound, _BLOCK), source_name(sound), half, segments=turns).duration
    rest = progress and (lambda seconds: progress((length + seconds) / 2))
    own = {name: voice.within(one.memory.heard) for name, one in heard.items()}
    return Speakers(voice, lambda name: own.get(name, voice)), rest


@dataclass(frozen=True)
class Named:
    """Judges what one speaker says.

    Attributes
    ----------
    judge : Judge
        Who judges.
    speaker : str
        Who speaks, which every answer says.
    """

    judge: Judge
    speaker: str

    @property
    def threshold(self) -> float:
        """That of the judge."""
        return self.judge.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window."""
        found = self.judge.assess(window, name, running=running)
        return found and replace(found, speaker=self.speaker)


class Speakers:
    """The judge of a recording or stream of several speakers, each of whom has a judge of their own.

    Parameters
    ----------
    others : Judge
        Who judges what nobody is known to say.
    make : callable
        Makes the judge of one more speaker, whose name it is given.
    """

    def __init__(self, others: Judge, make: Callable[[str], Judge]) -> None:
        self._others, self._make = others, make
        self._known: dict[str, Named] = {}

    @property
    def threshold(self) -> float:
        """Confidence under which an answer is an abstention, where nothing is known."""
        return self._others.threshold

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge what nobody is known to say."""
        return self._others.assess(window, name, running=running)

    def for_speaker(self, speaker: str | None) -> Judge:
        """Return who judges a speaker."""
        if speaker is None:
            return self._others
        if speaker not in self._known:
            self._known[speaker] = Named(self._make(speaker), speaker)
        return self._known[speaker]
