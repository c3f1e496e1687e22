"""One recording analysed by a voice: its answer, its timeline, and what the words add, where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from emovox import audio
from emovox.audio import Sound
from emovox.audio.sources import source_name
from emovox.errors import EmovoxError
from emovox.recognition.cutting import Judge, StreamEvent
from emovox.recognition.many import one_at_a_time
from emovox.recognition.streaming import StreamingRecognizer
from emovox.recognition.timeline import Timeline, TimelineOptions, tidied
from emovox.recognition.voice import Adapting, Memory, Recording, Voice, fused
from emovox.types import Prediction, Segment, Transcript, Waveform

if TYPE_CHECKING:  # emovox.text is imported where words are asked for: most recordings are judged without
    from emovox.text.classifier import TextClassifier
    from emovox.text.rules import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import Heard

#: Seconds of a long recording that are read at a time.
BLOCK = 10.0

#: Called with the seconds analysed so far.
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Analysis:
    """How recordings are analysed, whoever judges.

    Attributes
    ----------
    whole : TimelineOptions
        How a recording is cut that gets one answer.
    transcriber : Transcriber or None
        Who recognises the words.
    text_model : TextClassifier or None
        Who judges the emotion of the words.
    fuse : bool
        Whether words take part in the answer.
    rules : sequence of Rule
        Decision rules over voice and words.
    """

    whole: TimelineOptions
    transcriber: Transcriber | None
    text_model: TextClassifier | None
    fuse: bool
    rules: Sequence[Rule]

    def predict(
        self,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Recognise one recording, see :meth:`emovox.EmotionRecognizer.predict`."""
        judge = Recording(voice, keep=bool(self.transcriber or transcript) and self._takes_both(voice))
        sound = audio.as_sound(source, rate, name)
        found, heard = self._run(judge, sound, self.whole, name, transcript, progress, self.text_model)
        whole = judge.whole(found)
        return whole if heard is None else self.with_words(voice, whole, heard, *judge.seen(found))

    def timeline(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        transcript: Transcript | None = None,
        segments: Sequence[Segment | tuple[float, float]] | None = None,
        progress: Progress | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
    ) -> Timeline:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.timeline`."""
        if transcript:
            from emovox.text.words import require_times

            require_times(transcript)
        given = None if segments is None else [one if isinstance(one, Segment) else Segment(*one) for one in segments]
        untidied = replace(options, merge=None, min_segment=0.0)  # what is given stays, what is said is tidied with it
        options = options if given is None else untidied
        cut = untidied if self.transcriber or transcript else options
        sound = audio.as_sound(source, rate, name)
        judge: Judge = voice
        if options.speakers is not None:
            from emovox.recognition.speakers import first_pass, turns_of

            given = (turns_of(sound, options) or None) if given is None else given
            judge, progress = first_pass(voice, sound, cut, given, progress)
        found, heard = self._run(judge, sound, cut, name, transcript, progress, tell=tell, segments=given)
        if heard is None:
            return found
        parts = [(one, heard.within(one.start, one.end, self.text_model)) for one in found.predictions]
        return replace(found, predictions=tidied([self.with_words(voice, *part) for part in parts], options))

    def each(
        self,
        options: TimelineOptions,
        voice: Voice,
        source: Sound | NDArray[Any],
        *,
        rate: float | None = None,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Recognise one recording segment by segment, see :meth:`emovox.EmotionRecognizer.each_segment`."""
        if self.transcriber or options.speakers is not None:
            yield from self.timeline(options, voice, source, rate=rate, name=name, progress=progress)
            return
        sound = audio.as_sound(source, rate, name)
        blocks = audio.blocks(sound, BLOCK)
        found = StreamingRecognizer(voice, options).each(blocks, name or source_name(sound), progress)
        last: Prediction | None = None  # one behind: the last one knows all that reading has brought up
        try:
            for coming in found:
                if last is not None:
                    yield _noted(last, sound, blocks)
                last = coming
        except (EmovoxError, KeyboardInterrupt):
            if last is not None:
                yield _noted(last, sound, blocks)
            raise
        if last is not None:
            yield _noted(last, sound, blocks)

    def assess(self, voice: Voice, judge: Judge, window: Waveform, name: str, *, running: bool) -> Prediction | None:
        """Judge one window of a recording or stream, see :meth:`emovox.EmotionRecognizer.assess`."""
        found = judge.assess(window, name, running=running)
        if found is None or running or self.transcriber is None:
            return found
        from emovox.text.words import Hearing

        hearing = Hearing(self.transcriber, classifier=self.text_model)
        for _ in hearing.tap([window]):
            pass
        return self.with_words(voice, found, hearing.result(window.duration), [window], [window.duration])

    def with_words(
        self,
        voice: Voice,
        alone: Prediction,
        heard: Heard,
        seen: Sequence[Waveform] | None = None,
        weights: Sequence[float] = (),
    ) -> Prediction:
        """Put what was heard beside an answer of the voice or, where it may, into it; `seen` is the sound, if kept."""
        from emovox.text import fusion

        found = heard.beside(alone)
        if self.fuse:
            found = fused(found, heard, voice.model.card, voice.threshold, voice.output, seen, weights)
        return fusion.ruled(found, self.rules, heard, voice.threshold)

    def _run(
        self,
        judge: Judge,
        sound: Sound,
        options: TimelineOptions,
        name: str | None,
        transcript: Transcript | None,
        progress: Progress | None,
        classifier: TextClassifier | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> tuple[Timeline, Heard | None]:
        """Run a recording through a stream, and a listener of words beside it where words are asked for."""
        blocks, hearing = audio.blocks(sound, BLOCK), None
        if self.transcriber or transcript:
            from emovox.text.words import Hearing

            hearing = Hearing(one_at_a_time(self.transcriber), transcript, classifier)
        streams = StreamingRecognizer(judge, options)
        listen = hearing.hear if hearing else None
        found = streams.timeline(blocks, name or source_name(sound), progress, listen, tell, segments)
        found = replace(found, predictions=tuple(_noted(one, sound, blocks) for one in found.predictions))
        return found, hearing.result(found.duration) if hearing else None

    def _takes_both(self, voice: Voice) -> bool:
        """Say whether the model must see words and sound at once."""
        from emovox.text import fusion

        return self.fuse and fusion.pool_of(voice.model.card) is None


class StreamJudge:
    """The judge of one stream that is its own setting."""

    def __init__(self, voice: Voice, analysis: Analysis) -> None:
        self._judge, self._analysis = Adapting(voice), analysis

    @property
    def threshold(self) -> float:
        """Confidence under which the last answer would have been an abstention."""
        return self._judge.threshold

    @property
    def memory(self) -> Memory:
        """What it has heard so far; another judge that is given it goes on from there."""
        return self._judge.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._judge.memory = memory

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        """Judge one window by what was heard before it."""
        return self._analysis.assess(self._judge.learn(), self._judge, window, name, running=running)


def _noted(prediction: Prediction, sound: Sound, blocks: audio.Blocks) -> Prediction:
    """Add what reading the recording has brought up: the channel, what could not be read, what was done to channels."""
    channel = sound.number if isinstance(sound, audio.Channel) else None
    return replace(prediction, unread=blocks.unread, notes=blocks.notes, channel=channel)
