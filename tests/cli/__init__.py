"""The command, run as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

EMOVOX = [sys.executable, "-c", "from emovox.cli.main import run; run()"]


def emovox_command(*arguments: object, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its own process; standard error must never hold a traceback."""
    done = subprocess.run(
        [*EMOVOX, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )
    result = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result
