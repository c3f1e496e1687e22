"""The `emovox` command: the one place where errors and interruptions become exit codes."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Run the command line; exit with 0 (done), 2 (bad usage or input), 1 (a failure of ours) or 130 (Ctrl-C)."""
    # Everything is imported inside: whoever stops the command while it loads is told the same as later.
    try:
        try:
            from emovox.cli.commands import app
            from emovox.outputs.commands import call

            code = call(app, "emovox", sys.argv[1:])
        finally:
            sys.stdout.flush()  # a pipe that is closed shows now, not while the interpreter ends
    except KeyboardInterrupt:
        code = _stopped()
    except BrokenPipeError:
        code = _unheard()
    except ImportError as error:
        from emovox.errors import was_interrupted

        if not was_interrupted(error):
            raise
        code = _stopped()
    sys.exit(code)


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
