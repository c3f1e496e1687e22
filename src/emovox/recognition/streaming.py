"""Emotion as it happens: samples in pieces of any size -> voice activity -> windows -> events.

A file is a stream whose pieces are its blocks: :meth:`StreamingRecognizer.timeline` is nothing else, so live sound and
files give the same.  The network of voice activity runs once, here: its probabilities go with every window to the
speech gate, and with the samples to whoever listens for words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from emovox.audio import Converter
from emovox.errors import InputError
from emovox.recognition.cutting import Cutter, Listen, StreamEvent, Who
from emovox.recognition.timeline import Timeline, TimelineOptions, tidied, tidying
from emovox.recognition.voice import Judge, Listener
from emovox.speech.vad import VoiceActivity
from emovox.types import RATE, Float32Array, Prediction, Segment, Waveform

if TYPE_CHECKING:  # imported where speakers are asked for
    from emovox.speech.speakers.turns import TurnFinder

#: Samples that are taken at a time, 4 s: bounds the memory of a piece of any size.
_PIECE = 4 * RATE


class StreamingRecognizer:
    """Opens streams that share one recogniser; as many as you like, each used by one thread at a time.

    Parameters
    ----------
    recognizer : EmotionRecognizer
        Who judges; what one learns of a stream, with ``setting="auto"``, stays with that stream.
    options : TimelineOptions, optional
        How the streams are cut and judged.

    Examples
    --------
    >>> from emovox import EmotionRecognizer
    >>> from emovox import audio
    >>> stream = StreamingRecognizer(EmotionRecognizer()).open("microphone")
    >>> speech = audio.read("examples/plain.wav").samples
    >>> events = [event for i in range(0, len(speech), 1600) for event in stream.push(speech[i : i + 1600])]
    >>> events += stream.finish()
    >>> [event.kind for event in events][0], [event.kind for event in events][-2:]
    ('start', ['result', 'end'])
    """

    def __init__(self, recognizer: Judge, options: TimelineOptions | None = None) -> None:
        self.recognizer = recognizer
        self.options = options or TimelineOptions()

    def open(
        self,
        name: str = "<stream>",
        *,
        rate: float = RATE,
        channels: int = 1,
        estimates: bool = True,
        listen: Listen | None = None,
        channel: int | None = None,
        pieces: TurnFinder | None = None,
    ) -> Stream:
        """Begin a stream.

        Parameters
        ----------
        name : str
            What its predictions call it.
        rate : float, default 16000
            Its sampling rate in Hz, a whole number from 1000 to 768000.
        channels : int, default 1
            Its number of channels; they are averaged.
        estimates : bool, default True
            Whether to judge what is going on every `hop` seconds; the timeline needs no such thing.
        listen : callable, optional
            Called with the stream's next samples, at 16 kHz, and the probabilities of speech of the frames that they
            complete, as :meth:`emovox.text.words.Hearing.hear` takes them.
        channel : int, optional
            The channel that it is, where each is heard by itself: with the option ``speakers="auto"`` a channel is one
            speaker's, and nobody is told apart in it.
        pieces : callable, optional
            Where speakers are told apart, who cuts utterances where the speaker changes and encodes the voices; the
            default does it here, see :func:`emovox.speech.speakers.turns.pieces`.

        Returns
        -------
        Stream
            With the option `speakers` utterances are cut where the speaker changes, and each judgement has its
            `speaker`, by what was heard so far: nothing is changed later.

        Raises
        ------
        AudioError
            There is no such rate, or there are no channels.
        """
        judge, who = self.recognizer, self._who(channel, pieces)
        if isinstance(judge, Listener):
            judge = judge.for_stream(speakers=who is not None)
        converter = Converter(rate, channels, name)
        return Stream(judge, self.options, converter, estimates=estimates, listen=listen, who=who)

    def _who(self, channel: int | None, pieces: TurnFinder | None) -> Who | None:
        """Return who tells the speakers of a stream apart."""
        if self.options.speakers is None:
            return None
        if channel is not None and self.options.speakers == "auto":
            return lambda samples, begin: [Segment(begin / RATE, (begin + len(samples)) / RATE, f"speaker {channel}")]
        from emovox.speech.speakers.diarization import DiarizationOptions, Listener, prints_of

        count = None if self.options.speakers == "auto" else self.options.speakers
        return Listener(DiarizationOptions(count=count), prints_of(self.options.enrolled), pieces).heard

    def timeline(
        self,
        blocks: Iterable[Waveform],
        name: str,
        progress: Callable[[float], None] | None = None,
        listen: Listen | None = None,
        tell: Callable[[StreamEvent], None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> Timeline:
        """Run a recording through a stream, block by block, and collect what it tells.

        Parameters
        ----------
        blocks : iterable of Waveform
            All of the recording in consecutive blocks, see :func:`emovox.audio.blocks`.
        name : str
            What its predictions call it.
        progress : callable, optional
            Called with the seconds analysed so far.
        listen, tell : callable, optional
            As for :meth:`open`; called with each event as it comes.
        segments : sequence of Segment, optional
            What is to be judged, each by itself; the default is what voice activity detection finds.

        Returns
        -------
        Timeline
        """
        stream = self._of_file(name, listen, segments)
        parts = tidied(list(_results(stream.events(blocks, progress), tell)), self.options)
        found = Timeline(name, stream.heard, parts)
        return found if segments is None else _in_order(found, segments)

    def each(
        self, blocks: Iterable[Waveform], name: str, progress: Callable[[float], None] | None = None
    ) -> Iterator[Prediction]:
        """Give the same segments one by one, each as soon as it is certain; what was given is not kept.

        Parameters
        ----------
        blocks, name, progress
            As for :meth:`timeline`.

        Yields
        ------
        Prediction
        """
        yield from tidying(_results(self._of_file(name).events(blocks, progress)), self.options)

    def _of_file(self, name: str, listen: Listen | None = None, segments: Sequence[Segment] | None = None) -> Stream:
        converter = Converter(RATE, 1, name)
        return Stream(self.recognizer, self.options, converter, estimates=False, listen=listen, segments=segments)


def collect(events: Iterable[StreamEvent], name: str, duration: float, options: TimelineOptions) -> Timeline:
    """Make the timeline of a stream from its events.

    Parameters
    ----------
    events : iterable of StreamEvent
        All events, or those of kind "result" at least, in order.
    name : str
        What the stream is called.
    duration : float
        Length of the stream in seconds, see :attr:`Stream.heard`.
    options : TimelineOptions
        Those of the stream.

    Returns
    -------
    Timeline
        Exactly that of a file with the same samples.
    """
    return Timeline(name, duration, tidied(_results(events), options))


def _results(events: Iterable[StreamEvent], tell: Callable[[StreamEvent], None] | None = None) -> Iterator[Prediction]:
    """Give what belongs into a timeline, and tell of everything."""
    for event in events:
        if tell:
            tell(event)
        if event.kind == "result" and event.prediction is not None:
            yield event.prediction


def _in_order(found: Timeline, segments: Sequence[Segment]) -> Timeline:
    """Bring judgements of given segments, which come as these end, in the order of time, and say which have none."""
    judged = Counter((one.start, one.end) for one in found.predictions)
    left = []
    for one in segments:
        span = one.start, min(one.end, found.duration)
        judged[span] -= 1
        left += [one] if judged[span] < 0 else []
    ordered = sorted(found.predictions, key=lambda one: (one.start, one.end))
    return Timeline(found.file, found.duration, tuple(ordered), tuple(left))


class Stream:
    """One stream; :meth:`StreamingRecognizer.open` makes it.

    What is kept of the sound is a window and a pause, however long the stream lasts.
    """

    def __init__(
        self,
        judge: Judge,
        options: TimelineOptions,
        converter: Converter,
        *,
        estimates: bool,
        listen: Listen | None = None,
        segments: Sequence[Segment] | None = None,
        who: Who | None = None,
    ) -> None:
        self.name = converter.name
        self._converter = converter
        self._activity = VoiceActivity(options.vad)
        self._cutter = Cutter(
            judge,
            options,
            self.name,
            self._activity.reach,
            estimates=estimates,
            listen=listen,
            segments=segments,
            who=who,
        )
        self._samples = 0
        self._finished = False

    @property
    def heard(self) -> float:
        """How much of the stream has been heard, in seconds."""
        return self._samples / RATE

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended, by the events given so far."""
        return self._activity.speaking

    def push(self, samples: ArrayLike) -> list[StreamEvent]:
        """Take the next samples and tell what became certain.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) of one channel, or (n_samples, n_channels)
            At the rate of the stream, in pieces of any size: floating-point numbers with full scale 1, or 16-bit,
            32-bit or unsigned 8-bit integers.

        Returns
        -------
        list of StreamEvent

        Raises
        ------
        AudioError
            Samples of another shape or type, or some that are not finite numbers: the stream is as it was before and
            goes on with the next samples.
        InputError
            The stream is finished.
        """
        if self._finished:
            raise InputError(f"stream {self.name!r} is finished: open another one")
        return self._take(self._converter.push(samples))

    def finish(self) -> list[StreamEvent]:
        """End the stream and tell what is left to tell; further calls tell nothing."""
        if self._finished:
            return []
        self._finished = True
        return [*self._take(self._converter.finish()), *self._end()]

    def events(
        self, blocks: Iterable[Waveform], progress: Callable[[float], None] | None = None
    ) -> Iterator[StreamEvent]:
        """Take a whole recording, block by block, and tell what becomes certain.

        Parameters
        ----------
        blocks : iterable of Waveform
            All of it in consecutive blocks.
        progress : callable, optional
            Called with the seconds analysed so far.

        Yields
        ------
        StreamEvent
        """
        for block in blocks:
            yield from self._take(block.samples)  # it is what the converter makes of other sound
            if progress:
                progress(self.heard)
        yield from self._end()

    def _take(self, samples: Float32Array) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for begin in range(0, len(samples), _PIECE):
            piece = samples[begin : begin + _PIECE]
            self._samples += len(piece)
            events += self._cutter.take(piece, self._activity.frames(piece))
        return events

    def _end(self) -> list[StreamEvent]:
        return self._cutter.finish(self._activity.finish_frames())
