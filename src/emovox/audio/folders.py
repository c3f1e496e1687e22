"""The files of a folder and which of them are recordings: what the command line and the corpora both go by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

#: Endings that are looked for in folders (some need the [formats] extra); a file named outright may be called anything.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist"),
        *(".flac", ".fla", ".ogg", ".oga", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".mpa"),
        *(".m4a", ".m4b", ".m4r", ".m4v", ".mp4", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".aac", ".adts"),
        *(".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv", ".asf", ".amr", ".awb", ".avi", ".flv", ".f4v", ".f4a"),
        *(".wv", ".tta", ".ape", ".ac3", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts"),
    )
)


def walk(root: Path, closed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """Yield the files in a folder and below; links are followed, and what they lead to is given once, loops or not.

    Parameters
    ----------
    root : Path
        The folder.  Folders with a hidden name below it are left out.
    closed : callable
        Called with a folder that cannot be read, and why.

    Examples
    --------
    >>> sorted(path.name for path in walk(Path("examples"), print) if path.suffix.lower() in AUDIO_SUFFIXES)[0]
    'lively.wav'
    """
    seen: set[Path] = set()

    def refuse(error: OSError) -> None:
        closed(Path(os.fsdecode(error.filename or root)), error)

    for folder, children, files in os.walk(root, onerror=refuse, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(child for child in children if not child.startswith("."))
        yield from (Path(folder, file) for file in files)


def recordings_in(root: Path) -> list[Path]:
    """Return the recordings in a folder and below, by their endings, sorted; then the folders that cannot be read.

    Those stay in the list so that they are reported as what cannot be read.

    Examples
    --------
    >>> recordings_in(Path("examples"))[0].name
    'lively.wav'
    """
    closed: list[Path] = []
    files = walk(root, lambda folder, _: closed.append(folder))
    inside = sorted(file for file in files if file.suffix.lower() in AUDIO_SUFFIXES)
    return [file for file in (*inside, *closed) if not file.name.startswith("._")]
