"""A session for whoever reads along: a picture of the terminal, plain lines, or JSON lines."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import IO, Protocol

from rich.console import Console
from rich.live import Live

from emovox.live.state import CLUELESS, SessionEvent, State, clock
from emovox.live.view import ASCII, Glyphs, render

#: Seconds between two pictures at least: more often is work for the processor and nothing for the eye.
_EVERY = 0.1


class Printer(Protocol):
    """Shows a session."""

    def tell(self, one: SessionEvent, state: State) -> None:
        """Show something that happened."""
        ...

    def refresh(self, state: State) -> None:
        """Show how things stand, several times a second."""
        ...

    def close(self, state: State) -> None:
        """Show how it ended."""
        ...


class Picture:
    """Draws the session on a terminal, again and again in the same place.

    Parameters
    ----------
    console : Console
        A terminal that can move its cursor.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stack = ExitStack()
        self._live = self._stack.enter_context(Live(console=console, auto_refresh=False, transient=False))
        self._drawn = 0.0

    def tell(self, one: SessionEvent, state: State) -> None:
        """Draw at once what somebody did; the rest waits for the next picture."""
        if one.kind == "mark":
            self._draw(state)

    def refresh(self, state: State) -> None:
        """Draw, if it was not done just now."""
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw(state)

    def close(self, state: State) -> None:
        """Leave the last picture standing."""
        self._draw(state)
        self._stack.close()

    def _draw(self, state: State) -> None:
        self._drawn = time.monotonic()
        colour = self._console.color_system is not None and not self._console.no_color
        self._live.update(render(state, self._console.width, colour, glyphs(self._console)), refresh=True)


def glyphs(console: Console) -> Glyphs:
    """Choose signs that the terminal's encoding has."""
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

    def tell(self, one: SessionEvent, state: State) -> None:
        """Print what is worth a line."""
        if one.kind == "notice":
            print(f"! {one.text}", file=self._notes, flush=True)
        elif (line := self._line(one)) is not None:
            print(line, file=self._out, flush=True)

    def refresh(self, state: State) -> None:
        """Print nothing: lines stay."""

    def close(self, state: State) -> None:
        """Print nothing more."""

    def _line(self, one: SessionEvent) -> str | None:
        if one.kind == "result" and one.prediction is not None:
            said = one.prediction
            label = f"{CLUELESS} ({said.label})" if said.abstained else said.label
            return f"{clock(said.start)}-{clock(said.end)}  {label}  {said.confidence:.0%}"
        if one.kind == "transcript":
            return f'{clock(one.time)}  "{one.text}"'
        return f"{clock(one.time)}  {one.text}" if one.kind == "mark" else None


class JsonLines:
    """Prints everything that happens as JSON, an object a line, at once.

    Parameters
    ----------
    out : text file
        Where to.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def tell(self, one: SessionEvent, state: State) -> None:
        """Print it."""
        print(json.dumps(one.to_dict(), ensure_ascii=False), file=self._out, flush=True)

    def refresh(self, state: State) -> None:
        """Print nothing: only events are of interest to a program."""

    def close(self, state: State) -> None:
        """Print nothing more."""
