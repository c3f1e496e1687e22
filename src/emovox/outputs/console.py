"""What the commands share: where to write, progress bars, and the recordings that arguments stand for."""

from __future__ import annotations

import glob
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from emovox.audio.sources import recordings_in
from emovox.errors import AudioError, InputError
from emovox.outputs.terminal import Console, Progress, is_terminal
from emovox.outputs.text import shown


def say(message: str) -> None:
    """Write a line for people to standard error, where it does not mix with results."""
    sys.stderr.write(f"{shown(message)}\n")
    sys.stderr.flush()


def recordings(arguments: Sequence[str]) -> list[str]:
    """Turn files, folders, patterns and ``-`` into a list of recordings.

    Parameters
    ----------
    arguments : sequence of str
        A folder stands for the audio files in it and below, a pattern such as ``calls/*.wav`` for what it matches.
        What does not exist stays in the list, so that its error is reported beside the others' results; so does a
        folder or pattern that holds no audio file.

    Returns
    -------
    list of str

    Raises
    ------
    AudioError
        There is nothing but folders and patterns that hold no audio file.

    Examples
    --------
    >>> recordings(["missing.wav", "-"])
    ['missing.wav', '-']
    """
    found: list[str] = []
    empty: list[str] = []
    for argument in arguments:
        # Not by pathlib, which raises where a folder may not be entered: it is reported with the recording.
        if argument != "-" and os.path.isdir(argument):  # noqa: PTH112
            inside = recordings_in(Path(argument))
            if not inside:
                empty.append(f"no audio file in the folder {argument}: name the files, or another folder")
            found += map(str, inside) if inside else [argument]
        elif argument != "-" and glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - pathlib has no absolute patterns
            if not matches:
                empty.append(f"nothing matches {argument}: check the pattern")
            found += recordings(matches) if matches else [argument]
        else:
            found.append(argument)
    if empty and len(empty) == len(found):
        raise AudioError(empty[0])
    return found


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
