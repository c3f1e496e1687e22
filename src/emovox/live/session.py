"""A listening session: from a source to what the terminal shows and what is kept.

Events and samples are written as they come, to ``<name>.jsonl.part`` and ``<name>.wav.part``; the final files are made
at the end.  A session that is killed leaves these two: a journal with one JSON object a line, and a valid WAV file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import queue
import select
import shutil
import signal
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

import numpy as np

from emovox.errors import InputError
from emovox.live.sources import Feed, Notice
from emovox.live.state import ABSTAINED, SPAN, SessionEvent, State, Streams, clock
from emovox.outputs import formats
from emovox.outputs.console import COLOURS, Console, Text, json_line, shown
from emovox.outputs.console import Picture as Drawing
from emovox.outputs.formats import Mark, to_audacity
from emovox.storage import cannot_write, partial, replacing, require_writable
from emovox.types import RATE, Float32Array, Prediction, Waveform


class TimelineKeeper:
    r"""Writes a session's timeline.

    Parameters
    ----------
    path : Path
        File to write at the end; its ending determines the format.
    labels : sequence of str
        The model's labels.

    Raises
    ------
    InputError
        The file or the journal of a killed session exists, the ending is no known format, or the folder is not
        writable.

    Examples
    --------
    >>> keeper = TimelineKeeper(Path("talk.rttm"), ["sad"])
    >>> said = Prediction("talk", 0.0, 1.5, "sad", {"sad": 1.0}, 1.0, False, "demo")
    >>> keeper.report(SessionEvent("result", 1.5, 2.0, said))
    >>> [path.name for path in keeper.finish(duration=3.0)]
    ['talk.rttm']
    >>> Path("talk.rttm").read_text()
    'SPEAKER talk 1 0.000 1.500 <NA> <NA> sad 1.0000 <NA>\n'
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path, self._labels = path, labels
        self._form = formats.format_of(path)
        self.journal = partial(path.with_name(path.name + ".jsonl"))
        _require_new(path, self.journal)
        if not self._form.has_marks:
            _require_new(self._marks_path)
        try:
            self._file = self.journal.open("x", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error

    @property
    def _marks_path(self) -> Path:
        """Where marks go that the format has no place for: an Audacity label track of their own."""
        return self.path.with_name(self.path.stem + ".marks.txt")

    def report(self, one: SessionEvent) -> None:
        """Append an event to the journal, if it belongs into the timeline.

        Raises
        ------
        InputError
            The journal cannot be written; earlier events are safe.
        """
        if one.kind not in ("result", "mark", "transcript"):
            return
        try:
            self._file.write(json_line(one.to_dict()) + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finish(self, duration: float) -> list[Path]:
        """Write the timeline from the journal, and return the files written.

        Parameters
        ----------
        duration : float
            Length of the session in seconds.

        Raises
        ------
        InputError
            The timeline cannot be written; the journal stays.
        """
        with contextlib.suppress(OSError):
            self._file.close()
        marks = [(one.time, one.text or "") for one in self._written() if one.kind == "mark"]
        words = {(one.time, one.channel): one.text for one in self._written() if one.kind == "transcript"}
        channels = {one.channel for one in self._written() if one.kind == "result"}
        predictions = (
            dataclasses.replace(one.prediction, transcript=words.get((one.time, one.channel)))
            for channel in sorted(channels, key=lambda number: number or 0)  # one after the other, as of a file
            for one in self._written()
            if one.kind == "result" and one.prediction is not None and one.channel == channel
        )
        written = [self.path]
        with replacing(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            pieces = formats.pieces(self._form, predictions, self._labels, duration=duration, marks=marks)
            file.writelines(pieces)
        if marks and not self._form.has_marks:
            self._write_marks(marks)
            written.append(self._marks_path)
        self.journal.unlink()
        return written

    def _write_marks(self, marks: Sequence[Mark]) -> None:
        with replacing(self._marks_path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(to_audacity([], marks))

    def _written(self) -> Iterator[SessionEvent]:
        """Read the journal; a last line that was not finished is no news."""
        with self.journal.open(encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    values = json.loads(line)
                    if values["prediction"] is not None:
                        values["prediction"] = Prediction(**values["prediction"])
                    yield SessionEvent(**values)


class SoundKeeper:
    """Writes the sound of a session: WAV, 16 kHz, 16 bits, mono or the channels that are heard one by one.

    Parameters
    ----------
    path : Path
        A name that ends in ``.wav``.

    Raises
    ------
    InputError
        The file or that of a killed session exists, or the folder is not writable.

    Examples
    --------
    >>> keeper = SoundKeeper(Path("talk.wav"))
    >>> keeper.add_samples(np.zeros(16000, dtype=np.float32))
    >>> [path.stat().st_size for path in keeper.finish()]
    [32044]
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".wav":
            raise InputError(f"sound cannot be saved as {path}: end the name in .wav")
        self.path = path
        _require_new(path, partial(path))
        try:
            # The file outlives this function, and `wave` mends its header whenever something was written.
            self._file = partial(path).open("xb")
        except OSError as error:
            raise cannot_write(path, error) from error
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - closed by finish
        self._wave.setnchannels(1)
        self._wave.setsampwidth(2)
        self._wave.setframerate(RATE)

    def add_samples(self, samples: Float32Array) -> None:
        """Append samples, shape (n,) or (n, n_channels), from -1 to 1; louder ones are clipped.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        values = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
        try:
            if samples.ndim == 2 and not self._wave.getnframes():
                self._wave.setnchannels(samples.shape[1])
            self._wave.writeframes(values.tobytes())
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finish(self) -> list[Path]:
        """Close the file, give it its final name and return it."""
        try:
            self._wave.close()
            self._file.close()
            partial(self.path).replace(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return [self.path]


def _require_new(*paths: Path) -> None:
    """Make sure that nothing would be overwritten: what was recorded once cannot be recorded again."""
    for path in paths:
        if path.exists():
            left = " (left by a session that was killed)" if path.suffix == ".part" else ""
            raise InputError(f"{path} exists already{left}: move it away, or name another file")
    require_writable(paths[0])


#: Seconds between two pictures at least: more often is work for the processor and nothing for the eye.
_EVERY = 0.1

#: Quietest level that the meter shows, in dBFS.
_FLOOR = -60.0

#: Columns from which the probabilities stand in two columns.
_WIDE = 76

#: Lines of transcript that are shown.
_LINES = 4

#: A function that returns the keys pressed since its last call.
Keys = Callable[[], str]


class Printer(Protocol):
    """Display of a session."""

    def report(self, one: SessionEvent, state: State) -> None:
        """Show an event."""
        ...

    def refresh(self, state: State) -> None:
        """Show the current state; called several times a second."""
        ...

    def close(self, state: State) -> None:
        """Show the final state."""
        ...


class Picture:
    """Draws the session on a terminal, each picture over the one before.

    Parameters
    ----------
    console : Console
        A terminal that can move its cursor.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawing = Drawing(console)
        self._drawing.show_cursor(False)
        self._drawn = 0.0

    def report(self, one: SessionEvent, state: State) -> None:
        """Draw marks at once; other events wait for the next picture."""
        if one.kind == "mark":
            self._draw(state)

    def refresh(self, state: State) -> None:
        """Draw, at most ten times a second."""
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw(state)

    def close(self, state: State) -> None:
        """Draw the last picture, which stays on the terminal."""
        self._draw(state)
        self._drawing.show_cursor(True)

    def _draw(self, state: State) -> None:
        self._drawn = time.monotonic()
        width = shutil.get_terminal_size().columns  # it may have been changed since the last picture
        self._drawing.draw(render(state, width, self._console.colour, glyphs(self._console)))


def glyphs(console: Console) -> Glyphs:
    """Return glyphs that the encoding of the terminal can show."""
    return Glyphs() if console.encoding.lower().startswith("utf") else ASCII


class Lines:
    """Prints a line for each utterance, each mark and each text, and notices beside them.

    Parameters
    ----------
    out, notes : text file
        Where results and notices go.
    """

    def __init__(self, out: IO[str], notes: IO[str]) -> None:
        self._out, self._notes = out, notes

    def report(self, one: SessionEvent, state: State) -> None:
        """Print utterances, marks and texts to `out`, notices to `notes`."""
        if one.kind == "notice":
            print(shown(f"! {one.text}"), file=self._notes, flush=True)
        elif (line := self._line(one)) is not None:
            print(shown(line), file=self._out, flush=True)

    def refresh(self, state: State) -> None:
        """Print nothing: lines stay."""

    def close(self, state: State) -> None:
        """Print nothing more."""

    def _line(self, one: SessionEvent) -> str | None:
        if one.kind == "result" and one.prediction is not None:
            said = one.prediction
            label = f"{ABSTAINED} ({said.label})" if said.abstained else said.label
            who = f"{_of(one.channel)}{_by(said)}"
            return f"{clock(said.start)}-{clock(said.end)}  {who}{label}  {said.confidence:.0%}"
        if one.kind == "transcript":
            return f'{clock(one.time)}  {_of(one.channel)}"{one.text}"'
        return f"{clock(one.time)}  {one.text}" if one.kind == "mark" else None


def _of(channel: int | None) -> str:
    """Say which channel a line is about."""
    return f"channel {channel}  " if channel else ""


def _by(said: Prediction) -> str:
    """Say who speaks, unless it is the one whose baseline was named."""
    return f"{said.speaker}  " if said.speaker and said.speaker != said.baseline else ""


class JsonLines:
    """Prints every event as JSON, one object a line, without buffering.

    Parameters
    ----------
    out : text file
        Where to.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def report(self, one: SessionEvent, state: State) -> None:
        """Print an event."""
        print(json_line(one.to_dict()), file=self._out, flush=True)

    def refresh(self, state: State) -> None:
        """Print nothing: only events are of interest to a program."""

    def close(self, state: State) -> None:
        """Print nothing more."""


@dataclass(frozen=True)
class Glyphs:
    """Characters that bars and strips are drawn with."""

    full: str = "█"
    empty: str = "░"
    unsure: str = "▒"
    silence: str = "·"
    mark: str = "▲"
    dot: str = "●"
    separator: str = " · "
    cut: str = "…"


#: For terminals and encodings that know no others.
ASCII = Glyphs("#", ".", "?", ".", "^", "*", " | ", "~")


def render(state: State, width: int, colour: bool = True, glyphs: Glyphs | None = None) -> list[Text]:
    """Draw a session.

    Parameters
    ----------
    state : State
        What there is to show.
    width : int
        Columns of the terminal; 40 is enough.
    colour : bool, default True
        Whether there are colours; without them, letters tell emotions apart in the strip.
    glyphs : Glyphs, optional
        Signs to draw with; :data:`ASCII` for terminals without others.

    Returns
    -------
    list of Text
        No line is longer than `width`.

    Examples
    --------
    >>> render(State("pipe", "demo", ("happy", "sad"), time=61.0), 40, False)[0].plain
    'pipe · demo                         1:01'
    """
    signs = glyphs or Glyphs()
    lines = [
        _head(state, width, signs),
        _meter(state, width, signs),
        Text(),
        _answer(state.now, width, signs, colour),
        *_probabilities(state, width, signs, colour),
        Text(),
        *_strip(state, width, signs, colour),
    ]
    if state.transcripts:
        lines += [Text(), *_transcript(state, width)]
    lines.append(Text())
    lines += [
        _cut(Text(shown(f"! {one}"), "bold"), width * 3, signs) for one in (*state.advice[:2], state.notice) if one
    ]
    keys = signs.separator.join(["m marks a moment", "q ends", *([shown(state.saving)] if state.saving else [])])
    lines.append(_cut(Text(keys, "dim"), width, signs))
    return [piece for line in lines for piece in line.lines(width)]


def _cut(text: Text, width: int, signs: Glyphs) -> Text:
    if text.cell_len > width:
        text.truncate(width - 1)
        text.append(signs.cut)
    return text


def _head(state: State, width: int, signs: Glyphs) -> Text:

    time = clock(state.time)
    names = signs.separator.join(name for name in (state.source, state.model, state.speaker, state.setting) if name)
    left = _cut(Text(shown(" ".join(names.split())), "bold"), width - len(time) - 1, signs)
    left.append(" " * (width - len(time) - left.cell_len) + time)
    return left


def _meter(state: State, width: int, signs: Glyphs) -> Text:
    """Show the level on a scale of decibels; red where sound is about to be cut off."""
    number = f"{state.level:4.0f} dB" if math.isfinite(state.level) else " off   "
    word = "speech" if state.speaking else "      "
    size = max(4, min(40, width - 24))
    filled = round(size * min(1.0, max(0.0, 1 - state.level / _FLOOR)))
    bar = Text("level  ")
    bar.append(signs.full * filled, "red" if state.level > -1 else "yellow" if state.level > -6 else "green")
    bar.append(signs.empty * (size - filled), "dim")
    bar.append(f" {number} ")
    return bar.append(word, "bold")


def _answer(now: Prediction | None, width: int, signs: Glyphs, colour: bool) -> Text:

    if now is None:
        return _cut(Text("listening: nobody has spoken yet", "dim"), width, signs)
    style = _style(now.label, colour) if not now.abstained else "bold"
    label = ABSTAINED if now.abstained else now.label
    text = Text(f"{signs.dot} {_of(now.channel)}{_by(now)}", style).append(label, f"bold {style}".strip())
    if now.abstained and width >= 60:
        text.append(f" (perhaps {now.label})", "dim")
    size = max(4, min(30, width - text.cell_len - 8))
    filled = round(size * now.confidence)
    text.append("  ").append(signs.full * filled, style).append(signs.empty * (size - filled), "dim")
    return text.append(f" {now.confidence:4.0%}", "bold")


def _style(label: str, colour: bool) -> str:
    return COLOURS.get(label, "white") if colour else ""


def _probabilities(state: State, width: int, signs: Glyphs, colour: bool) -> list[Text]:
    """One line a label, or two labels a line where there is room."""
    columns = 2 if width >= _WIDE else 1
    space = (width - 3 * (columns - 1)) // columns
    names = max((len(label) for label in state.labels), default=0)
    names = min(names, space // 2)
    size = max(2, min(24, space - names - 8))
    letters = _letters(state.labels)
    cells = []
    for label in state.labels:
        share = state.now.probabilities.get(label, 0.0) if state.now else 0.0
        filled = round(size * share)
        cell = Text("" if colour else f"{letters[label]} ").append(f"{label[:names]:<{names}} ")
        cell.append(signs.full * filled, _style(label, colour)).append(signs.empty * (size - filled), "dim")
        cells.append(cell.append(f" {share:4.0%}"))
    rows = -(-len(cells) // columns)
    lines = cells[:rows]
    for left, right in zip(lines, cells[rows:], strict=False):
        left.append(" " * (space - left.cell_len) + "   ").append(right)
    return [piece for line in lines for piece in line.lines(width)]


def _letters(labels: tuple[str, ...]) -> dict[str, str]:
    """Give each label a letter of its own, its first where that is free."""
    found: dict[str, str] = {}
    for label in labels:
        free = [one for one in label.lower() + "abcdefghijklmnopqrstuvwxyz0123456789" if one.isalnum()]
        found[label] = next((one for one in free if one not in found.values()), "+")
    return found


def _strip(state: State, width: int, signs: Glyphs, colour: bool) -> list[Text]:
    """Draw the last two minutes, a strip a channel: a column for what was judged in its middle; marks below."""
    size = min(width, 120)
    begin = state.time - SPAN
    below = [" "] * size
    for moment, _ in state.marks:
        place = int((moment - begin) / SPAN * size)
        if 0 <= place <= size:
            below[min(place, size - 1)] = signs.mark
    scale = Text("2 min ago" + " " * (size - 12) + "now", "dim")
    strips = [_channel_strip(state, channel, size, signs, colour) for channel in state.channels or [None]]
    return [*strips, *([Text("".join(below), "bold")] if state.marks else []), scale]


def _channel_strip(state: State, channel: int | None, size: int, signs: Glyphs, colour: bool) -> Text:
    """Draw the last two minutes of one channel, with its number before it if there are several."""
    head = f"{channel} " if channel and len(state.channels) > 1 else ""
    strip, letters, size = Text(head, "bold"), _letters(state.labels), size - len(head)
    judged = [one for one in state.recent if one.channel == channel]
    for column in range(size):
        moment = state.time - SPAN + (column + 0.5) * SPAN / size
        one = next((one for one in reversed(judged) if one.start <= moment < one.end), None)
        if one is None:
            strip.append(signs.silence, "dim")
        elif one.abstained:
            strip.append(signs.unsure, "dim")
        else:
            strip.append(signs.full if colour else letters.get(one.label, "+"), _style(one.label, colour))
    return strip


def _transcript(state: State, width: int) -> list[Text]:
    """Write the last lines of what was said, the newest at the bottom."""
    import textwrap

    lines: list[str] = []
    for moment, text in list(state.transcripts)[-_LINES:]:
        head = f"{clock(moment)}  "
        lines += textwrap.wrap(" ".join(text.split()), width, initial_indent=head, subsequent_indent=" " * len(head))
    return [Text(shown(line)[:width]) for line in lines[-_LINES:]]


def none() -> str:
    """Return no keys, for programs without a terminal."""
    return ""


@contextmanager
def keyboard() -> Iterator[Keys]:
    """Read keys one by one, without Enter, until the block ends; the terminal is as before then.

    Standard input may be the sound, so the keys come from the terminal itself.

    Yields
    ------
    callable
        Returns the keys pressed since the last call, without waiting.

    Examples
    --------
    >>> with keyboard() as keys:
    ...     isinstance(keys(), str)
    True
    """
    if sys.platform == "win32":  # pragma: no cover - not the system of the project's tests
        yield _windows
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        yield none
        return
    try:
        with _cbreak(terminal):
            yield lambda: _posix(terminal)
    finally:
        os.close(terminal)


@contextmanager
def _cbreak(terminal: int) -> Iterator[None]:
    """Let a terminal give each key at once and not show it; Ctrl-C stays what it is."""
    import termios
    import tty

    try:
        before = termios.tcgetattr(terminal)
        # A job in the background may not touch the terminal: it would be stopped.
        if os.tcgetpgrp(terminal) == os.getpgrp():
            tty.setcbreak(terminal, termios.TCSANOW)
    except (OSError, termios.error):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError, termios.error):
            if os.tcgetpgrp(terminal) == os.getpgrp():
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _posix(terminal: int) -> str:
    with suppress(OSError, ValueError):
        if select.select([terminal], [], [], 0)[0]:
            return os.read(terminal, 64).decode(errors="replace")
    return ""


def _windows() -> str:  # pragma: no cover - not the system of the project's tests
    import importlib

    console = importlib.import_module("msvcrt")
    found = ""
    while console.kbhit():
        found += console.getwch()
    return found


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
