"""The terminal of a session: the keys that are pressed, and what is shown as a picture, as lines or as JSON lines."""

from __future__ import annotations

import math
import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Protocol

from emovox.live.state import ABSTAINED, SPAN, SessionEvent, State, clock
from emovox.outputs.console import Console
from emovox.outputs.console import Picture as Drawing
from emovox.outputs.formats import COLOURS
from emovox.outputs.text import Text, json_line, shown
from emovox.types import Prediction

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
