"""The `emovox` command: the one place where errors and interruptions become exit codes."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Run the command line; exit with 0 (done), 2 (bad usage or input), 1 (a failure of ours) or 130 (Ctrl-C)."""
    # Everything is imported inside: whoever stops the command while it loads is told the same as later.
    try:
        try:
            code = _run()
        finally:
            sys.stdout.flush()  # a pipe that is closed shows now, not while the interpreter ends
    except KeyboardInterrupt:
        code = _stopped()
    except BrokenPipeError:
        code = _unheard()
    except ImportError as error:
        if not _was_interrupted(error):
            raise
        code = _stopped()
    sys.exit(code)


def _run() -> int:
    """Parse and call, and return the exit code."""
    import click

    from emovox.cli.commands import app
    from emovox.errors import EmovoxError
    from emovox.outputs.console import usage_message
    from emovox.outputs.text import never_fail, shown

    never_fail()

    if asked := os.environ.get("_EMOVOX_COMPLETE"):  # the shell asks for completions
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "emovox", "_EMOVOX_COMPLETE", asked)
    try:
        with app.make_context("emovox", sys.argv[1:]) as context:
            app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        click.echo(f"emovox: {shown(usage_message(error))}", err=True)
        return 2
    except EmovoxError as error:
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        click.echo(f"emovox: {shown(str(error))}", err=True)
        return 2
    return 0


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: a library in C that is stopped while it loads raises ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _unheard() -> int:
    """End where the reader of a pipe (head, less) has enough; Python must not complain while it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _stopped() -> int:
    """Say that Ctrl-C was heard; another one, while threads and the interpreter finish, ends the process at once."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stderr.write("emovox: stopped\n")
    return 130
