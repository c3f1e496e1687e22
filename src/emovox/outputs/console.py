"""The command line's own: commands with their help pages, messages, progress, writes that nothing interrupts.

A command is a function below its options::

    @command()
    @argument("sources", metavar="AUDIO...", nargs=-1, required=True, help="Files or folders.")
    @option("--out", "-o", metavar="FILE", help="Write to a file.")
    def predict(sources: tuple[str, ...], out: str | None) -> None: ...

Its docstring is the help: the first line, the list below ``Examples``, and the paragraphs after it.  Options that few
need name a ``section`` of the page.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import IO, Any, Protocol, TextIO, TypeVar, cast

import click

from emovox.errors import did_you_mean
from emovox.outputs.text import WIDE, Table, Text, columns, shown

Function = TypeVar("Function", bound=Callable[..., Any])


class Decorator(Protocol):
    """What adds an option to a function, or several."""

    def __call__(self, function: Function, /) -> Function: ...  # noqa: D102


#: Columns of a help page at most: longer lines are hard to read.
WIDEST = 80
#: Columns of the names of options; the meaning of a longer one begins on a line of its own.
NAMES = 27

#: Seconds between two drawings of what goes on.
_EVERY = 0.1
_EXAMPLES = re.compile(r"Examples\n-+\n(?P<list>(?:- `.+`\n?)+)")


class Option(click.Option):
    """An option that belongs to a section of the help page."""

    def __init__(self, *names: Any, section: str = "", **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.section = section


class Argument(click.Argument):
    """An argument with a meaning that the help page tells."""

    def __init__(self, *names: Any, help: str, **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.help = help


class Choice(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """One of the values of an enumeration."""

    name = "choice"

    def __init__(self, kind: type[StrEnum]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StrEnum:
        """Return the member of that value."""
        try:
            return self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is unknown: {did_you_mean(value, [one.value for one in self.kind])}", param, ctx)


class Command(click.Command):
    """A command whose help page fits a screen, and whose mistakes know where they belong."""

    def get_help(self, ctx: click.Context) -> str:
        """Return the help page."""
        return help_page(self, ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; the parser does not tell every mistake which command it is about."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class Group(Command, click.Group):
    """Commands below a name; a slip in a name is answered with the right one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without a word there is the help page, which is not what was asked for: exit code 2."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Give the commands with what each is for, by sections of the help page."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        yield "Commands", [(name, _summary(one)) for name, one in found if one]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word."""
        found = self.get_command(ctx, args[0])
        if found is None and not args[0].startswith("-"):
            ctx.fail(self.unknown(ctx, args[0]))
        return (args[0], found, args[1:]) if found else super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, word: str) -> str:
        """Say what is wrong with a first word that is no command."""
        return f"no such command {word!r}: {did_you_mean(word, self.list_commands(ctx))}"


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function; its name is that of the function, unless another is given."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(name or function.__name__, cls=Command)(function)

    return decorate


def option(*names: str, section: str = "", **attributes: Any) -> Decorator:
    """Declare an option; a `section` sets it apart on the help page."""
    return click.option(*names, cls=Option, section=section, **attributes)


def argument(name: str, *, metavar: str, help: str, **attributes: Any) -> Decorator:
    """Declare an argument."""
    return click.argument(name, cls=Argument, metavar=metavar, help=help, **attributes)


def all_of(*options: Decorator) -> Decorator:
    """Make one decorator of several options, which commands share."""

    def decorate(function: Function) -> Function:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


def usage_message(error: click.UsageError) -> str:
    """Say in one line what is wrong with a call, and where its help is.

    Examples
    --------
    >>> usage_message(click.UsageError("Missing option '--out'."))
    "missing option '--out': see emovox --help"
    """
    if isinstance(error, click.NoSuchOption):
        near = error.possibilities or ()
        text = f"no such option {error.option_name}" + (f": did you mean {' or '.join(sorted(near))}?" if near else "")
    else:
        text = error.format_message().strip().removesuffix(".")
        text = text[:1].lower() + text[1:]
    if "choose one of" in text:  # nothing is left to ask
        return text
    place = error.ctx.command_path if error.ctx else "emovox"
    return f"{text}{'' if text.endswith('?') else ':'} see {place} --help"


def help_page(command: click.Command, ctx: click.Context) -> str:
    """Write the help of a command: usage, purpose, examples, options by sections, notes; in 80 columns at most."""
    width = min(WIDEST, max(40, shutil.get_terminal_size().columns))
    examples, notes = _parts(inspect.cleandoc(command.help or ""))
    blocks = [
        f"{_bold('Usage:')} {_usage(command, ctx)}",
        textwrap.fill(_summary(command), width, break_on_hyphens=False),
    ]
    if examples:
        blocks.append("\n".join(f"  {one}" for one in examples))
    blocks += ["\n".join([_bold(f"{title}:"), *_rows(rows, width)]) for title, rows in _sections(command, ctx) if rows]
    blocks += [textwrap.fill(note, width, break_on_hyphens=False, break_long_words=False) for note in notes]
    return "\n\n".join(blocks)


def _summary(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Find the examples of a docstring, and the paragraphs that are neither they nor the first line."""
    match = _EXAMPLES.search(text)
    examples = re.findall(r"(?m)^- `(.+)`$", match["list"]) if match else []
    rest = _EXAMPLES.sub("", text).split("\n\n")[1:]
    return examples, [" ".join(one.split()).replace("`", "") for one in rest if one.strip()]


def _usage(command: click.Command, ctx: click.Context) -> str:
    words = [ctx.command_path, "[OPTIONS]"]
    for one in command.params:
        if isinstance(one, click.Argument):
            name = one.metavar or one.human_readable_name
            words.append(name if one.required or name.startswith("[") else f"[{name}]")
    return " ".join(words + (["COMMAND ..."] if isinstance(command, Group) else []))


def _sections(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    """Give the rows of the page: arguments and common options, the other sections, the commands of a group."""
    if isinstance(command, Group):
        yield from command.sections(ctx)
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for one in command.get_params(ctx):
        text = (getattr(one, "help", None) or "").removesuffix(".")
        if isinstance(one, click.Argument):
            found[""].append((one.metavar or one.human_readable_name, f"{text}."))
        elif isinstance(one, click.Option) and not one.hidden:
            found.setdefault(getattr(one, "section", ""), []).append((_names(one), f"{text}{_default(one)}."))
    for title, rows in found.items():
        yield title or "Options", rows


def _names(option: click.Option) -> str:
    """Write the names of an option, short ones first, and what stands for its value."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    names = f"    {names}" if names.startswith("--") else names
    return names if option.is_flag else f"{names} {option.metavar or option.type.name.upper()}"


def _default(option: click.Option) -> str:
    """Tell the default where there is one that the text does not tell."""
    if option.is_flag or not isinstance(option.default, str | int | float) or "default" in (option.help or ""):
        return ""
    shown = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
    return f" (default {shown})"


def _rows(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Write names and meanings in two columns; a name is never broken."""
    rows = list(rows)
    column = min(NAMES, max(len(name) for name, _ in rows) + 2)
    for name, text in rows:
        lines = textwrap.wrap(text, width - column - 2, break_on_hyphens=False, break_long_words=False) or [""]
        if len(name) + 2 > column:
            yield f"  {name}"
            name = ""
        for line in lines:
            yield f"  {name:{column}}{line}".rstrip()
            name = ""


def _bold(text: str) -> str:
    """Mark a heading; click takes the marks away where the page does not go to a terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, bold=True)


def say(message: str) -> None:
    """Write a line for people to standard error, where it does not mix with results."""
    sys.stderr.write(f"{shown(message)}\n")
    sys.stderr.flush()


@contextmanager
def whole_writes() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Give a function that does something which Ctrl-C comes before or after, and never in the midst of.

    What takes long stays outside, and is stopped at once as ever.

    Yields
    ------
    callable
        Calls its argument.
    """
    pressed: list[bool] = []
    inside = False
    before = signal.getsignal(signal.SIGINT)

    def hear(number: int, frame: FrameType | None) -> None:
        if inside:
            pressed.append(True)
        elif callable(before):
            before(number, frame)

    def whole(action: Callable[[], None]) -> None:
        nonlocal inside
        inside = True
        try:
            action()
        finally:
            inside = False
        if pressed:
            pressed.clear()
            raise KeyboardInterrupt

    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield whole  # nobody is interrupted here
        return
    signal.signal(signal.SIGINT, hear)
    try:
        yield whole
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float, float | None], None]]:
    """Show progress while the block runs; where nobody looks, nothing is loaded for it."""
    if not is_terminal(sys.stderr):
        yield lambda stage, done, total: None
        return
    with Progress(Console(sys.stderr)).shown() as progress:
        yield progress


class Console:
    """Where people read: a terminal, or a pipe or file, which have no width.

    Parameters
    ----------
    stream : text file, optional
        Where it writes; the default is standard output.
    width : int, optional
        Its columns; the default is asked for.
    colour : bool, optional
        Whether it has colours; the default is asked for.

    Attributes
    ----------
    width : int
        Columns.
    """

    def __init__(self, stream: TextIO | None = None, *, width: int | None = None, colour: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.is_terminal = is_terminal(self.stream)
        self.width = width or (shutil.get_terminal_size().columns if self.is_terminal else WIDE)
        self.colour = (
            self.is_terminal and not (os.environ.get("NO_COLOR") or self.is_dumb) if colour is None else colour
        )

    @property
    def is_dumb(self) -> bool:
        """Whether the terminal cannot move its cursor."""
        return os.environ.get("TERM", "").lower() in ("dumb", "unknown")

    @property
    def encoding(self) -> str:
        """The encoding of what is written."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def print(self, what: str | Text | Table = "", style: str = "") -> None:
        """Write a text, folded where it is wider, or a table."""
        text = Text(what, style) if isinstance(what, str) else what
        for line in text.lines(self.width):
            self.write(line)

    def write(self, line: Text) -> None:
        """Write a line."""
        click.echo(line.ansi() if self.colour else line.plain, file=self.stream, color=self.colour)


def is_terminal(stream: IO[Any]) -> bool:
    """Tell whether people look at a stream, or want it to look as if they did (``FORCE_COLOR``)."""
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


class Picture:
    """Lines on a terminal that are drawn over each other: the last ones stay."""

    def __init__(self, console: Console) -> None:
        self._console, self._count = console, 0

    def show_cursor(self, shown: bool) -> None:
        """Hide the cursor while the picture moves, or show it again."""
        self._write("\x1b[?25h" if shown else "\x1b[?25l")

    def draw(self, lines: Iterable[Text]) -> None:
        """Draw lines, none wider than the terminal, over those drawn before; what is too high is cut at its end."""
        console = self._console
        shown = list(lines)[: max(1, shutil.get_terminal_size().lines - 1)]
        text = "".join(f"\r{line.ansi() if console.colour else line.plain}\x1b[K\n" for line in shown)
        self._write(f"{self._up()}{text}\x1b[J")
        self._count = len(shown)

    def clear(self) -> None:
        """Take the picture away."""
        self._write(f"{self._up()}\r\x1b[J" if self._count else "")
        self._count = 0

    def _up(self) -> str:
        return f"\x1b[{self._count}A" if self._count else ""

    def _write(self, text: str) -> None:
        self._console.stream.write(text)
        self._console.stream.flush()


class Progress:
    """Bars on a terminal, one a stage, drawn below what is written meanwhile; used by any thread.

    Parameters
    ----------
    console : Console
        A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._picture = console, Picture(console)
        self._stages: dict[str, tuple[str, float, float | None, float]] = {}
        self._lock = threading.RLock()
        self._drawn = 0.0

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """Show that `done` of `total` is done of a stage; what stands after a colon changes from call to call."""
        with self._lock:
            name, now = stage.partition(":")[0], time.monotonic()
            begun = self._stages[name][3] if name in self._stages else now
            new = name not in self._stages
            self._stages[name] = stage, done, total, begun
            if new or done == total or now - self._drawn >= _EVERY:
                self.draw()

    def draw(self) -> None:
        """Draw the bars."""
        with self._lock:
            self._drawn = time.monotonic()
            self._picture.draw(self._bar(*one) for one in self._stages.values())

    def clear(self) -> None:
        """Take the bars away, for something that is written."""
        with self._lock:
            self._picture.clear()

    def _bar(self, stage: str, done: float, total: float | None, begun: float) -> Text:
        """Write a bar: stage, share, count, and the time that is left."""
        share = min(1.0, done / total) if total else 0.0
        spent = time.monotonic() - begun
        left = f"{_clock(spent / share - spent)} left" if 0 < share < 1 else _clock(spent) if share else ""
        count = f"{done:g}/{total:g}" if total is not None else f"{done:g}"
        size = max(4, min(40, self._console.width - columns(stage) - len(count) - len(left) - 8))
        full, empty = ("━", "─") if self._console.encoding.lower().startswith("utf") else ("#", ".")
        text = Text(f"{stage} ").append(full * round(size * share), "green")
        text.append(empty * (size - round(size * share)), "dim").append(f" {count} ").append(left, "cyan")
        text.truncate(self._console.width - 1)
        return text

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Keep the bars below what is written to a terminal while the block runs; they stay as they were at its end."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (cast(TextIO, _Above(one, self)) if is_terminal(one) else one for one in before)
        try:
            yield self
        finally:
            sys.stdout, sys.stderr = before
            if self._stages:
                self.draw()


class _Above:
    """A terminal's stream that writes above the bars."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> int:
        with self._progress._lock:
            self._progress.clear()
            count = self._stream.write(text)
            if text.endswith("\n"):
                self._progress.draw()
            return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
