"""How far a reader walks to follow one recording: the calls from one source file of emovox into another.

    python benchmarks/walk.py examples/plain.wav
    python benchmarks/walk.py --chain examples/plain.wav --timeline

Runs ``emovox predict`` with these arguments under a profiler, and counts each call of a function in one source file
by a function in another (calls through other libraries count from the file that called them); module bodies, lambdas
of imports and what runs while a module is imported do not count.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import emovox
from emovox.cli.main import run

#: The folder whose files count.
_HOME = str(Path(emovox.__file__).parent) + os.sep


class Walk:
    """A profiler that notes the steps from file to file.

    Attributes
    ----------
    steps : list of (str, str)
        Caller and callee of each step, as ``file:function``.
    files : Counter of str
        How many calls there were in each file.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.files: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Take note of a call."""
        if event != "call" or not _counts(frame.f_code) or _importing(frame):
            return
        self.files[_file(frame.f_code)] += 1
        caller = _caller(frame)
        if caller is not None and _file(caller.f_code) != _file(frame.f_code):
            self.steps.append((_called(caller.f_code), _called(frame.f_code)))


def _counts(code: CodeType) -> bool:
    return code.co_filename.startswith(_HOME) and code.co_name != "<module>"


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _caller(frame: FrameType) -> FrameType | None:
    """Find the function of emovox that a call comes from."""
    above = frame.f_back
    while above is not None and not _counts(above.f_code):
        above = above.f_back
    return above


def _file(code: CodeType) -> str:
    return code.co_filename.removeprefix(_HOME)


def _called(code: CodeType) -> str:
    return f"{_file(code)}:{code.co_qualname}"


def main() -> None:
    arguments = [one for one in sys.argv[1:] if one != "--chain"]
    chain = "--chain" in sys.argv
    sys.argv = ["emovox", "predict", *arguments]
    walk = Walk()
    with contextlib.suppress(SystemExit):
        sys.setprofile(walk)
        try:
            run()
        finally:
            sys.setprofile(None)
    if chain:
        for caller, callee in walk.steps:
            print(f"{caller} -> {callee}")
    else:
        for (caller, callee), count in Counter((a.split(":")[0], b) for a, b in walk.steps).most_common():
            print(f"{count:4d}  {caller} -> {callee}")
    print(f"{len(walk.files)} files, {len(walk.steps)} steps from file to file")


if __name__ == "__main__":
    main()
