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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import click

from emovox.errors import InputError, did_you_mean
from emovox.outputs.terminal import Console, Progress, is_terminal
from emovox.outputs.text import shown

Function = TypeVar("Function", bound=Callable[..., Any])


class Decorator(Protocol):
    """What adds an option to a function, or several."""

    def __call__(self, function: Function, /) -> Function: ...  # noqa: D102


#: Columns of a help page at most: longer lines are hard to read.
WIDEST = 80
#: Columns of the names of options; the meaning of a longer one begins on a line of its own.
NAMES = 27

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
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(self.unknown(ctx, args[0]))
        return super().resolve_command(ctx, args)

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


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=DIR`` options.

    Examples
    --------
    >>> named_folders(["ravdess=data/ravdess"])["ravdess"].name
    'ravdess'
    """
    folders: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--corpus {argument!r} is not NAME=DIR: write for example --corpus ravdess=data/ravdess")
        folders[name] = Path(folder).expanduser()
    return folders
