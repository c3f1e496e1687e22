"""A listening session: sound in, events out, which are shown and saved until the sound ends or the user stops it."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from emovox.live.keeping import SoundKeeper, TimelineKeeper
from emovox.live.sources import Feed, Notice
from emovox.live.state import SessionEvent, State, Streams
from emovox.live.terminal import Keys, Printer, none
from emovox.types import RATE, Float32Array, Prediction, Waveform

#: Seconds to wait for sound before looking at the keys again.
_TICK = 0.1

#: Seconds without sound after which the listener is told.
STALLED = 3.0

#: Seconds to wait at the end for what is still being transcribed.
_PATIENCE = 30.0

#: Seconds before and after an utterance that are transcribed with it: a word that is cut off is a wrong word.
_MARGIN = 0.3

#: Seconds of sound that are held for transcription: the longest window, and a pause.
_HELD = 40.0


class Session:
    """One session of listening.

    Parameters
    ----------
    feed : Feed
        Source of the sound.
    streams : Streams
        What hears its channels.
    state : State
        What the display shows; updated as events come.
    printer : Printer
        Display.
    timeline, sound : TimelineKeeper and SoundKeeper, optional
        Writers of the timeline and of the sound; the default saves nothing.
    transcribe : callable, optional
        Speech recogniser, from the sound of an utterance to its text; it runs in a thread of its own.

    Attributes
    ----------
    files : list of Path
        Files written by the time :meth:`run` ends, with or without an error.
    """

    def __init__(
        self,
        feed: Feed,
        streams: Streams,
        state: State,
        printer: Printer,
        *,
        timeline: TimelineKeeper | None = None,
        sound: SoundKeeper | None = None,
        transcribe: Callable[[Waveform], str] | None = None,
    ) -> None:
        self._feed, self._streams, self._state, self._printer = feed, streams, state, printer
        self._timeline, self._sound = timeline, sound
        self._words = UtteranceTranscriber(transcribe) if transcribe else None
        self._held: dict[int, Tail] = {}  # by channel
        self.files: list[Path] = []
        self._marks = 0
        self._wordless = False  # whether the listener knows that words are missing

    def run(self, stopped: threading.Event, keys: Keys = none) -> list[Path]:
        """Listen until the sound ends, the user presses ``q`` or `stopped` is set; ``m`` sets a mark.

        Parameters
        ----------
        stopped : Event
            Event that ends the session from another thread or a signal handler.
        keys : callable, optional
            Returns the keys pressed since its last call.

        Returns
        -------
        list of Path
            The files that were written.

        Raises
        ------
        EmovoxError
            The source failed, or a file could not be written; events until then are shown and saved.
        BrokenPipeError
            The reader of standard output has closed it; events until then are saved.
        """
        fault = _tried(lambda: self._listen(stopped, keys), None)
        self._feed.stop()
        for finish in (self._finish_stream, self._finish_words, lambda: self._printer.close(self._state)):
            fault = _tried(finish, fault)
        for keep in self._keepers():
            fault = _tried(lambda keep=keep: self.files.extend(keep()), fault)  # type: ignore[misc]
        if fault is not None:
            raise fault
        return self.files

    def _keepers(self) -> list[Callable[[], list[Path]]]:
        found: list[Callable[[], list[Path]]] = []
        timeline = self._timeline
        if timeline is not None:
            found.append(lambda: timeline.finish(self._streams.heard))
        if self._sound is not None:
            found.append(self._sound.finish)
        return found

    def _listen(self, stopped: threading.Event, keys: Keys) -> None:
        last, stalled = time.monotonic(), False
        while not stopped.is_set():
            for key in keys():
                if key in "qQ":
                    return
                if key in "mM":
                    self._mark()
            piece = self._feed.next(_TICK)
            if isinstance(piece, Notice):
                self._notice(piece.text)
            elif piece is not None:
                self._hear(piece)
                last, stalled = time.monotonic(), False
            elif self._feed.ended:
                return
            elif not stalled and time.monotonic() - last > STALLED:
                stalled = True
                self._notice(f"no sound has come for {STALLED:g} s")
            self._collect_words()
            self._printer.refresh(self._state)

    def _hear(self, samples: Float32Array) -> None:
        if self._sound is not None:
            self._sound.add_samples(samples)
        for advice in self._state.add_samples(samples, self._feed.source.rate):
            self._report(SessionEvent("notice", self._state.time, self._state.time, text=advice), shown=False)
        if self._words:
            self._hold(samples)
        self._report_all(self._streams.push(samples))

    def _hold(self, samples: Float32Array) -> None:
        """Keep the last sound of each channel for its words."""
        columns = [samples] if samples.ndim == 1 else samples.T
        for column, piece in enumerate(columns):
            self._held.setdefault(column, Tail(_HELD)).append(piece)

    def _report_all(self, events: Sequence[SessionEvent]) -> None:
        for one in events:
            self._report(one)
            if one.kind == "result" and one.prediction is not None and self._words:
                held = self._held[one.channel - 1 if one.channel and len(self._held) > 1 else 0]
                said = held.stretch(one.prediction.start - _MARGIN, one.prediction.end + _MARGIN)
                self._words.ask(one.prediction, said)

    def _report(self, one: SessionEvent, *, shown: bool = True) -> None:
        """Keep first, then show: what was seen is also there afterwards."""
        if self._timeline is not None:
            self._timeline.report(one)
        if shown:
            self._state.add_event(one)
        self._printer.report(one, self._state)

    def _mark(self) -> None:
        self._marks += 1
        self._report(SessionEvent("mark", self._streams.heard, self._streams.heard, text=f"mark {self._marks}"))

    def _notice(self, text: str) -> None:
        self._report(SessionEvent("notice", self._streams.heard, self._streams.heard, text=text))

    def _collect_words(self) -> None:
        if self._words is None:
            return
        for prediction, text in self._words.found():
            if text:
                heard, channel = self._streams.heard, prediction.channel
                self._report(SessionEvent("transcript", prediction.end, heard, text=text, channel=channel))
        if self._words.problem and not self._wordless:
            self._wordless = True
            self._notice(f"words are missing: {self._words.problem}")

    def _finish_stream(self) -> None:
        self._report_all(self._streams.finish())

    def _finish_words(self) -> None:
        if self._words:
            self._words.wait(_PATIENCE)
            self._collect_words()


def _tried(action: Callable[[], object], before: BaseException | None) -> BaseException | None:
    """Run one step of the shutdown and catch what it raises; return the first exception of all steps so far."""
    try:
        action()
    except BaseException as error:  # a second Ctrl-C, a reader that is gone: what was recorded is kept all the same
        return before or error
    return before


class Tail:
    """Buffer of the last seconds of a stream.

    Parameters
    ----------
    duration : float
        Length of the buffer in seconds.

    Examples
    --------
    >>> tail = Tail(2.0)
    >>> for second in range(5):
    ...     tail.append(np.full(16000, second, dtype=np.float32))
    >>> tail.stretch(3.5, 4.5).samples[[0, -1]].tolist()
    [3.0, 4.0]
    """

    def __init__(self, duration: float) -> None:
        self._size = round(duration * RATE)
        self._pieces: list[Float32Array] = []
        self._begin = self._end = 0

    def append(self, piece: Float32Array) -> None:
        """Add the next samples, shape (n,)."""
        self._pieces.append(piece)
        self._end += len(piece)
        while self._end - self._begin - len(self._pieces[0]) >= self._size:
            self._begin += len(self._pieces.pop(0))

    def stretch(self, start: float, end: float) -> Waveform:
        """Return the samples from `start` to `end` seconds, without those that have left the buffer."""
        first = max(self._begin, round(start * RATE))
        samples = np.concatenate([*self._pieces, np.empty(0, dtype=np.float32)])
        return Waveform(samples[first - self._begin : round(end * RATE) - self._begin], first / RATE)


class UtteranceTranscriber:
    """Transcribes utterances in order, in a background thread.

    Parameters
    ----------
    transcribe : callable
        From the sound of an utterance to its text; if it raises, that utterance has no text.

    Attributes
    ----------
    problem : str
        Message of the last exception, empty without one.

    Examples
    --------
    >>> words = UtteranceTranscriber(lambda waveform: f"{waveform.duration:g} s")
    >>> said = Prediction("a", 0.0, 1.5, "sad", {"sad": 1.0}, 1.0, False, "demo")
    >>> words.ask(said, Waveform(np.zeros(24000, dtype=np.float32)))
    >>> words.wait(60)
    >>> [text for _, text in words.found()]
    ['1.5 s']
    """

    def __init__(self, transcribe: Callable[[Waveform], str]) -> None:
        self._transcribe = transcribe
        self.problem = ""
        self._asked: queue.Queue[tuple[Prediction, Waveform]] = queue.Queue()
        self._done: queue.Queue[tuple[Prediction, str]] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="emovox-words", daemon=True)
        self._thread.start()

    def ask(self, prediction: Prediction, waveform: Waveform) -> None:
        """Queue an utterance for transcription."""
        self._asked.put((prediction, waveform))

    def found(self) -> Iterator[tuple[Prediction, str]]:
        """Yield the utterances transcribed since the last call, with their texts."""
        while True:
            try:
                yield self._done.get_nowait()
            except queue.Empty:
                return

    def wait(self, timeout: float) -> None:
        """Wait until the queue is empty, at most `timeout` seconds."""
        until = time.monotonic() + timeout
        while self._asked.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def _run(self) -> None:
        while True:
            prediction, waveform = self._asked.get()
            try:
                text = self._transcribe(waveform)
            except Exception as error:  # the words of one utterance are not worth a session
                text, self.problem = "", (str(error).splitlines() or [type(error).__name__])[0]
            self._done.put((prediction, text))
            self._asked.task_done()


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into an event until the block ends.

    A signal that was ignored when the program started stays ignored; a second signal has its usual effect.

    Yields
    ------
    Event
        Set by the first signal.
    """
    stopped = threading.Event()
    before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, before[number] or signal.SIG_DFL)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.getsignal(number)
            signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
