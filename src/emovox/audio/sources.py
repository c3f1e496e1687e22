"""What a recording is read from: paths, folders, bytes and file objects, samples in memory, single channels of each."""

from __future__ import annotations

import glob
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from emovox.errors import AudioError

#: What can be read: a path, the bytes of a file, or a file opened in binary mode.
Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

#: A stream that cannot seek is kept in memory up to this many bytes, and on disk beyond.
SPOOL = 2**25

#: Endings that are looked for in folders (some need the [formats] extra); a file named outright may be called anything.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist"),
        *(".flac", ".fla", ".ogg", ".oga", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".mpa"),
        *(".m4a", ".m4b", ".m4r", ".m4v", ".mp4", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".aac", ".adts"),
        *(".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv", ".asf", ".amr", ".awb", ".avi", ".flv", ".f4v", ".f4a"),
        *(
            ".wv",
            ".tta",
            ".ape",
            ".ac3",
            ".eac3",
            ".ec3",
            ".dts",
            ".voc",
            ".mpg",
            ".mpeg",
            ".vob",
            ".ts",
            ".mts",
            ".m2t",
            ".m2ts",
        ),
    )
)


class Samples(NamedTuple):
    """A recording in memory: a pair of samples and rate that may have a name.

    Attributes
    ----------
    samples : ndarray, shape (n_samples,) or (n_samples, n_channels)
        Floating-point numbers with full scale 1, or 16-bit, 32-bit or unsigned 8-bit integers.
    rate : float
        Sampling rate in Hz, a whole number from 1000 to 768000.
    name : str, default "<array>"
        What to call it in results and messages.

    Examples
    --------
    >>> from emovox import audio
    >>> audio.read(Samples(np.zeros((44100, 2)), 44100)).duration
    1.0
    """

    samples: NDArray[Any]
    rate: float
    name: str = "<array>"


@dataclass(frozen=True)
class Channel:
    """One channel of a recording: an agent's side of a call, one of several microphones.

    Attributes
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        The recording.
    number : int
        Which channel, the first is 1.

    Examples
    --------
    >>> from emovox import audio
    >>> stereo = np.stack([np.full(1600, 0.5), np.zeros(1600)], axis=1)
    >>> audio.read(Channel((stereo, 16000), 1)).samples.max().item()
    0.5
    """

    source: Source | Samples | tuple[NDArray[Any], float]
    number: int

    @property
    def name(self) -> str:
        """What to call the recording."""
        return source_name(as_sound(self.source))


#: What can be analysed: a recording in a file (:data:`Source`), samples with their rate, or one channel of either.
Sound: TypeAlias = Source | Samples | tuple[NDArray[Any], float] | Channel


def as_sound(
    source: Sound | NDArray[Any], rate: float | None = None, name: str | None = None
) -> Source | Samples | Channel:
    """Make sure that a source is one, with a rate where it is an array.

    Parameters
    ----------
    source : str, path, bytes, binary file, array, Samples or pair of array and rate
        A recording in a file, or its samples.
    rate : float, optional
        Sampling rate in Hz of an array; everything else tells its own.
    name : str, optional
        What to call an array.

    Returns
    -------
    str, path, bytes, binary file or Samples
        What :func:`emovox.audio.read` and :func:`emovox.audio.blocks` take.

    Raises
    ------
    AudioError
        An array comes without its rate, a file with one, or a tuple is not such a pair.

    Examples
    --------
    >>> import numpy as np
    >>> as_sound(np.zeros(160))
    Traceback (most recent call last):
        ...
    emovox.errors.AudioError: an array does not tell its sampling rate: give rate=16000, or whatever it is in Hz, ...
    >>> as_sound((np.zeros(2), 8000), name="take 1").name
    'take 1'
    """
    if hasattr(source, "__array__"):
        if rate is None:
            raise AudioError(
                "an array does not tell its sampling rate: give rate=16000, or whatever it is in Hz, "
                "or a pair (samples, rate)"
            )
        return Samples(np.asarray(source), rate, name or "<array>")
    if rate is not None:
        raise AudioError(f"rate={rate:g} is given for {source_name(source)}, which tells its own: leave rate out")
    if not isinstance(source, tuple):
        return source
    pair = Samples(*source) if 2 <= len(source) <= 3 else None
    if pair is None or not hasattr(pair.samples, "__array__") or not np.isscalar(pair.rate):
        raise AudioError("a tuple is not a pair of an array and its rate: give (samples, rate), rate in Hz")
    return pair._replace(name=name) if name else pair


def source_name(source: object) -> str:
    """Tell what to call a source in a message.

    Examples
    --------
    >>> source_name("call.wav"), source_name(b"RIFF")
    ('call.wav', '<bytes>')
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes):
        return "<bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def seekable(file: BinaryIO) -> bool:
    """Tell whether a file object can go back to its beginning.

    Examples
    --------
    >>> seekable(io.BytesIO())
    True
    """
    try:
        return file.seekable()
    except AttributeError:  # an object with no more than read, seek and tell
        return hasattr(file, "seek") and hasattr(file, "tell")


def reason(failure: Exception) -> str:
    """Put in one line what a library said."""
    text = getattr(failure, "error_string", None) or getattr(failure, "strerror", None) or failure
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".") or type(failure).__name__


def binary_file(source: Source, name: str, stack: ExitStack) -> BinaryIO:
    """Open a source as a binary file that can seek.

    Raises
    ------
    AudioError
        It is not there, a folder, forbidden, of a wrong type, or cannot be read.
    """
    try:
        if isinstance(source, bytes):
            return io.BytesIO(source)
        if isinstance(source, str | os.PathLike):
            file: BinaryIO = stack.enter_context(Path(source).open("rb"))  # noqa: SIM115
        elif _gives_bytes(source):
            file = source
        else:
            raise AudioError(
                f"{name} is a {type(source).__name__}: expected a path, bytes or a file opened in binary "
                "mode; arrays go to from_array"
            )
        if seekable(file):
            return file
        # A pipe can be read only once, and decoders go back to the header.
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(SPOOL))  # noqa: SIM115
        shutil.copyfileobj(file, spool)
        return cast(BinaryIO, spool)
    except FileNotFoundError as failure:
        raise AudioError(f"there is no file {name}: check the path") from failure
    except IsADirectoryError as failure:
        raise AudioError(f"{name} is a folder, not a recording: name the files in it") from failure
    except PermissionError as failure:
        raise AudioError(f"{name} may not be read by this user: check its permissions") from failure
    except AudioError:
        raise
    except (OSError, ValueError) as failure:
        raise AudioError(f"{name} cannot be read: {reason(failure)}") from failure


def _gives_bytes(source: object) -> bool:
    return hasattr(source, "read") and not isinstance(source, io.TextIOBase)


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
        yield from (Path(folder, file) for file in sorted(files))


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
