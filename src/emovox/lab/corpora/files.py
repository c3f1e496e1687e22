"""Find the recordings below a folder, for the readers of corpora, and report the files that are skipped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError
from emovox.recognition.analysis import AUDIO_SUFFIXES, walk

#: Files that a reader skips: reason -> files.
Notes = defaultdict[str, list[str]]

_EMPTY = "empty (0 bytes)"
_MACOS = "macOS resource forks, not recordings"
_COPY = "second copies of a clip"
_POINTER = "Git LFS pointers, not sound (git lfs pull fetches it)"
_CLOSED = "in folders that cannot be read (change their permissions)"


def audio_files(root: Path, notes: Notes) -> list[PurePosixPath]:
    """List the recordings below a folder.

    Parameters
    ----------
    root : Path
        The folder; linked folders are followed, hidden ones are skipped.
    notes : Notes
        Receives macOS ``._`` files, empty files, broken links, Git LFS pointers, names that are not UTF-8, and folders
        that cannot be read.

    Returns
    -------
    list of PurePosixPath
        Relative to `root`, the least nested first, then by name.

    Raises
    ------
    CorpusError
        The folder is missing, is a file, cannot be read, or contains Git LFS pointers only.
    """
    if not root.exists():
        raise CorpusError(f"corpus folder {str(root)!r} does not exist: give the folder that holds the recordings")
    if not root.is_dir():
        raise CorpusError(f"{str(root)!r} is a file, not a corpus folder: give the folder that holds the recordings")
    found = []
    for file in _walk(root, notes):
        if file.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        name = file.relative_to(root).as_posix()
        if (shown := _shown(name)) != name:
            notes["names that are not text"].append(shown)
        elif reason := _unusable(file):
            notes[reason].append(name)
        elif not file.name.startswith("."):
            found.append(PurePosixPath(name))
    if not found and notes.get(_POINTER):
        raise CorpusError(
            f"all {len(notes[_POINTER])} recordings in {str(root)!r} are Git LFS pointers, not sound: "
            "install git-lfs and run 'git lfs pull' there"
        )
    return sorted(found, key=lambda file: (len(file.parts), file))


def _shown(name: str) -> str:
    """Return a name that can be printed: escaped where it has bytes that are not UTF-8."""
    return ascii(name) if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def _unusable(file: Path) -> str | None:
    """Return why a file cannot be a recording, or None."""
    if file.name.startswith("._"):
        return _MACOS
    if not file.is_file():
        return "broken links"
    if file.stat().st_size == 0:
        return _EMPTY
    return _POINTER if _is_pointer(file) else None


def _is_pointer(file: Path) -> bool:
    """Return whether a file is a Git LFS pointer, which a clone without git-lfs has in place of the recording."""
    if file.stat().st_size > 1024:  # a pointer has about 130 bytes
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(24) == b"version https://git-lfs."
    except OSError:  # reported when the recording is read
        return False


def other_files(root: Path) -> list[tuple[str, int]]:
    """Count the files below a folder that :func:`audio_files` does not look at, by ending.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    list of (str, int)
        Ending in lower case, ``""`` for none, and number of files; the most frequent first.
    """
    endings = (file.suffix.lower() for file in _walk(root, defaultdict(list)) if not file.name.startswith("."))
    return Counter(ending for ending in endings if ending not in AUDIO_SUFFIXES).most_common()


def _walk(root: Path, notes: Notes) -> Iterable[Path]:
    """Yield every file below a folder once, also if links form a loop."""

    def refuse(closed: Path, error: OSError) -> None:
        if closed == root:
            raise CorpusError(f"cannot read folder {str(root)!r}: {error.strerror}; change its permissions")
        notes[_CLOSED].append(_shown(closed.relative_to(root).as_posix()))

    return walk(root, refuse)


def distinct(
    files: Iterable[PurePosixPath], key: Callable[[PurePosixPath], Hashable], notes: Notes
) -> list[PurePosixPath]:
    """Keep the first file of each key, the least nested copy of a clip, and report the others as skipped."""
    first: dict[Hashable, PurePosixPath] = {}
    for file in files:
        if first.setdefault(key(file), file) is not file:
            notes[_COPY].append(str(file))
    return list(first.values())


def no_recordings(root: Path, files: Iterable[PurePosixPath], what: str) -> CorpusError:
    """Return the error for a folder without recordings of a corpus."""
    count = len(list(files))
    if count == 0:
        return CorpusError(f"no recordings in {str(root)!r}: give the folder that holds the corpus's sound files")
    return CorpusError(
        f"none of the {count} recordings in {str(root)!r} is {what}: for recordings of your own use "
        "the corpus 'folder' (a folder for each label) or a manifest"
    )
