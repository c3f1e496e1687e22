"""kill -9 of coordinators and workers at random moments, with processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emovox.batch.places import Inputs
from tests import ROOT, size
from tests.batch import content, run
from tests.batch.conftest import write_tone


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("times", [2, pytest.param(size(8, 30), marks=pytest.mark.long)])
def test_killed_at_random_the_bytes_are_those_of_an_undisturbed_run(times: int, tmp_path: Path) -> None:
    for number in range(90 if times > 2 else 30):
        write_tone(tmp_path / "in" / f"{number:02d}.wav", number, seconds=1)
    run(Inputs(str(tmp_path / "in")), tmp_path / "whole", part_size=3)
    choose = random.Random(times)
    command = [sys.executable, "-m", "tests.batch.killed", str(tmp_path / "in"), str(tmp_path / "out")]
    killed = {"worker": 0, "coordinator": 0}
    while min(killed.values()) < times / 2:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout
            worker = int(running.stdout.readline().split()[1])
            time.sleep(choose.uniform(0, 0.3))
            who = min(killed, key=lambda name: killed[name])
            with contextlib.suppress(ProcessLookupError):  # all may be done already: then another try
                os.kill(worker if who == "worker" else running.pid, signal.SIGKILL)
                killed[who] += who == "worker"
            ended = running.wait()
            killed[who] += ended == -signal.SIGKILL
            assert ended in ((0,) if who == "worker" else (0, -signal.SIGKILL))
        if ended == 0:
            assert content(tmp_path / "out") == content(tmp_path / "whole")
            parts = sorted((tmp_path / "out" / "parts").iterdir())
            for part in choose.sample(parts, 2 * len(parts) // 3):
                part.unlink()  # so that there is something to do again
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
