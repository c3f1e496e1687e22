"""Commands of a command line: options, help pages that fit a screen, groups that import late, exit codes.

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
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from importlib import import_module
from typing import Any, NamedTuple, Protocol, TypeVar

import click

from emovox.errors import EmovoxError, did_you_mean, was_interrupted
from emovox.outputs.console import never_fail, shown

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


class Home(NamedTuple):
    """Where a command is, and what it is for: the help page of its group need not import it."""

    module: str
    summary: str


class Group(Command, click.Group):
    """Commands below a name; a slip in a name is answered with the right one.

    Parameters
    ----------
    *names, **attributes
        As for click.Group.
    homes : mapping of str to (mapping of str to Home), optional
        Commands that are imported when they are asked for, by sections of the help page; a module holds the command of
        that name.
    """

    def __init__(self, *names: Any, homes: Mapping[str, Mapping[str, Home]] | None = None, **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self._homes = homes or {}
        self._all = {name: home for section in self._homes.values() for name, home in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*self._all, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported where it must be; None where there is none of this name."""
        if cmd_name not in self._all:
            return super().get_command(ctx, cmd_name)
        found: Any = getattr(import_module(self._all[cmd_name].module), cmd_name)
        return found  # type: ignore[no-any-return]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without a word there is the help page, which is not what was asked for: exit code 2."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Give the commands with what each is for, by sections of the help page."""
        for title, homes in self._homes.items():
            yield title, [(name, home.summary) for name, home in homes.items()]
        found = ((name, super(Group, self).get_command(ctx, name)) for name in super().list_commands(ctx))
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


def call(group: Group, name: str, arguments: list[str]) -> int:
    """Parse what was written after a name, do it, and return the exit code; what is wrong is said in one line.

    Parameters
    ----------
    group : Group
        The commands.
    name : str
        The program's.
    arguments : list of str
        What was written.

    Returns
    -------
    int
        0 (done), 2 (bad usage or input), or what a command chose.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed, also where a library made another error of it.
    """
    never_fail()
    if asked := os.environ.get(f"_{name.upper()}_COMPLETE"):  # the shell asks for completions
        from click.shell_completion import shell_complete

        return shell_complete(group, {}, name, f"_{name.upper()}_COMPLETE", asked)
    try:
        with group.make_context(name, arguments) as context:
            group.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        click.echo(f"{name}: {shown(usage_message(error))}", err=True)
        return 2
    except EmovoxError as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        click.echo(f"{name}: {shown(str(error))}", err=True)
        return 2
    return 0


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
    """Return the default in brackets, or nothing if there is none or the text states it."""
    if option.is_flag or not isinstance(option.default, str | int | float) or "default" in (option.help or ""):
        return ""
    if option.default == "":
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
