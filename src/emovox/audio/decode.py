"""Decode a sound file into chunks at its own rate, with libsndfile or else with ffmpeg's libraries."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from emovox.errors import AudioError, MissingExtraError

#: What can be read: a path, the bytes of a file, or a file opened in binary mode.
Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

#: Sampling rates that a recording may have, in Hz.
MIN_RATE, MAX_RATE = 1_000, 768_000

#: Samples (frames times channels) that are decoded at a time, which bounds the memory in use.
CHUNK = 2**18

#: A stream that cannot seek is kept in memory up to this many bytes, and on disk beyond.
SPOOL = 2**25

#: Endings that are looked for in folders (some need the [formats] extra); a file named outright may be called anything.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
        *(
            ".rf64",
            ".m4a",
            ".m4v",
            ".mp4",
            ".mov",
            ".webm",
            ".mkv",
            ".mka",
            ".aac",
            ".wma",
            ".wmv",
            ".amr",
            ".avi",
            ".3gp",
        ),
    )
)

#: Encodings in which seeking is exact and cheap: a stretch is reached without decoding what precedes it.
UNCOMPRESSED = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})

#: How the files begin that libsndfile is asked to read: the formats in use, and not all it knows, because its
#: readers for some old ones print what they meet.  MPEG frames begin with eleven set bits and come on top.
SOUND_FILES = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff"),  # WAV and its 64-bit kin
    *(b"FORM", b"caff", b".snd", b"dns."),  # AIFF, CAF, AU
    *(b"fLaC", b"OggS", b"ID3", b"NIST_1A"),
)

#: What libsndfile does not read: where the mark stands, the mark, what people call it, ffmpeg's demuxer.
#: The demuxer is named, not probed for, because ffmpeg also knows playlists, which open other files and URLs.
CONTAINERS = (
    (4, b"ftyp", "m4a or mp4", "mp4"),
    (4, b"moov", "mov", "mov"),
    (4, b"mdat", "mov", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "webm or mkv", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma", "asf"),
    (0, b"\xff\xf1", "aac", "aac"),
    (0, b"\xff\xf9", "aac", "aac"),
    (0, b"#!AMR", "amr", "amr"),
    (0, b"FLV\x01", "flv", "flv"),
    (8, b"AVI ", "avi", "avi"),
    (0, b"wvpk", "wavpack", "wv"),
)


@dataclass(frozen=True)
class Recording:
    """An open recording at its own rate.

    Attributes
    ----------
    name : str
        What to call it in a message.
    rate : int
        Sampling rate in Hz.
    frames : int or None
        Length that the header states; None where it does not.
    origin : int
        Frame with which `chunks` begins.
    chunks : iterator of ndarray of float32, shape (n, n_channels)
        Samples with full scale 1, not yet checked.
    """

    name: str
    rate: int
    frames: int | None
    origin: int
    chunks: Iterator[NDArray[np.float32]]


@contextmanager
def open_recording(source: Source, skip: float = 0.0) -> Iterator[Recording]:
    """Open a recording with whichever library knows its content; the name plays no part.

    Parameters
    ----------
    source : str, path, bytes or binary file
        What to read.  A file object is read from its beginning and left open.
    skip : float, default 0
        Seconds of the beginning that are not needed.  They are left out where that is exact and cheap.

    Raises
    ------
    AudioError
        The source cannot be opened; while iterating over the chunks, it cannot be decoded.
    MissingExtraError
        Its format needs the [formats] extra.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((10, 2)), 8000, format="WAV")
    >>> with open_recording(file) as recording:
    ...     recording.rate, recording.frames, [chunk.shape for chunk in recording.chunks]
    (8000, 10, [(10, 2)])
    """
    name = source_name(source)
    with ExitStack() as stack:
        file = _Guard(_binary_file(source, name, stack), name)
        file.seek(0)
        head = file.read(4096)
        file.seek(0)
        file.check()
        if not head:
            raise AudioError(f"{name} is empty (0 bytes): expected a recording")
        for offset, mark, label, demuxer in CONTAINERS:
            if head[offset : offset + len(mark)] == mark:
                yield _open_av(file, name, label, demuxer, stack)
                return
        if not (head.startswith(SOUND_FILES) or (head[0] == 0xFF and head[1:] >= b"\xe0")):
            raise AudioError(
                f"{name} is not a recording in a known format (WAV, FLAC, Ogg, MP3, AIFF; m4a, webm and "
                "video with the [formats] extra): convert it"
            )
        yield _open_soundfile(file, name, head, skip, stack)


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


def checked_rate(rate: float, name: str) -> int:
    """Return a sampling rate in Hz that is a whole number from 1000 to 768000.

    Examples
    --------
    >>> checked_rate(44100.0, "call.wav")
    44100
    """
    if not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(
            f"{name} has a sampling rate of {rate:g} Hz: expected a whole number from {MIN_RATE} to "
            f"{MAX_RATE}, correct it or convert the recording"
        )
    return int(rate)


def to_float(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Bring samples of any common type to float32 with full scale 1.

    Examples
    --------
    >>> to_float(np.array([0, 192], dtype=np.uint8), "call.wav").tolist()
    [-1.0, 0.5]
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        # What float32 cannot hold becomes infinite, which is found, with its place, when samples are checked.
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return samples.astype(np.float32) / np.float32(128) - np.float32(1)
    if kind == "i" and size in (2, 4):
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * size - 1))
    raise AudioError(f"{name} has samples of type {samples.dtype}: expected float, int16, int32 or uint8")


class _Guard:
    """A binary file whose failures, and Ctrl-C, are kept for later: the C code that calls it would swallow them."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            # Sliced, because a file that gives more than it was asked for would overrun the caller's buffer.
            return bytes(self._file.read(size) or b"")[:size]
        except BaseException as failure:
            self._failure = failure
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            self._file.seek(offset, whence)
            return self._file.tell()
        except BaseException as failure:
            self._failure = failure
            return -1

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def check(self) -> None:
        """Report a failure that has been kept."""
        if self._failure is not None:
            if not isinstance(self._failure, Exception):
                raise self._failure
            raise AudioError(f"{self._name} cannot be read: {_reason(self._failure)}") from self._failure


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file read from front to back.

    soundfile seeks to where it already is after each read from a seekable file.  That fails in a FLAC stream
    of unknown length, decodes Opus twice and makes MP3 inexact.
    """

    def seekable(self) -> bool:
        return False


def _binary_file(source: Source, name: str, stack: ExitStack) -> BinaryIO:
    """Open the source as a binary file that can seek."""
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
        # A pipe can be read only once, and libsndfile goes back to the header.
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
        raise AudioError(f"{name} cannot be read: {_reason(failure)}") from failure


def _gives_bytes(source: object) -> bool:
    return hasattr(source, "read") and not isinstance(source, io.TextIOBase)


def _open_soundfile(file: _Guard, name: str, head: bytes, skip: float, stack: ExitStack) -> Recording:
    """Open with libsndfile."""
    try:
        # As a file object: given a path, libsndfile also goes by its ending and by a "._" file beside it.
        sound = stack.enter_context(_Sequential(file))
    except soundfile.LibsndfileError as failure:
        file.check()
        checked_rate(_wav_rate(head), name)
        raise AudioError(f"{name} is damaged or incomplete: {_reason(failure)}") from failure
    rate = checked_rate(sound.samplerate, name)
    origin = 0
    # At a rate without a simple ratio to 16 kHz the phase of resampling would depend on where it begins.
    if skip and sound.subtype in UNCOMPRESSED and sound.format != "FLAC" and rate % 25 == 0:
        # Whole seconds are a whole number of samples at every rate.
        origin = min(int(skip), sound.frames // rate) * rate
        sound.seek(origin)
    # libsndfile gives a very large number where the header does not tell.
    frames = sound.frames if sound.frames < 2**48 else None
    return Recording(name, rate, frames, origin, _soundfile_chunks(sound, file, name))


def _soundfile_chunks(sound: _Sequential, file: _Guard, name: str) -> Iterator[NDArray[np.float32]]:
    """Decode with libsndfile from the frame where the file stands."""
    size = max(1, CHUNK // sound.channels)
    while True:
        try:
            chunk = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as failure:
            file.check()
            raise AudioError(f"{name} is damaged or incomplete: {_reason(failure)}") from failure
        file.check()
        if not len(chunk):
            return
        yield chunk


def _open_av(file: _Guard, name: str, label: str, demuxer: str, stack: ExitStack) -> Recording:
    """Open with ffmpeg's libraries."""
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading {name} ({label})", "formats") from None
    try:
        container = stack.enter_context(av.open(file, mode="r", format=demuxer))
    except (av.FFmpegError, ValueError) as failure:
        file.check()
        raise AudioError(f"{name} is damaged or incomplete ({label}): {_reason(failure)}") from failure
    if not container.streams.audio:
        raise AudioError(f"{name} ({label}) has no sound track: expected a recording")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(f"{name} ({label}) has a sound track in an unknown encoding: convert it")
    rate = checked_rate(stream.rate or 0, name)
    frames = None if container.duration is None else round(container.duration * rate / av.time_base)
    return Recording(name, rate, frames, 0, _av_chunks(container.decode(stream), rate, file, name))


def _av_chunks(decoded: Iterator[Any], rate: int, file: _Guard, name: str) -> Iterator[NDArray[np.float32]]:
    """Decode with ffmpeg's libraries; `decoded` gives their frames."""
    import av

    shape = None
    while True:
        try:
            frame = next(decoded, None)
            samples = None if frame is None else frame.to_ndarray()
        except (av.FFmpegError, ValueError) as failure:
            file.check()
            raise AudioError(f"{name} is damaged or incomplete: {_reason(failure)}") from failure
        file.check()
        if frame is None or samples is None:
            return
        channels = frame.layout.nb_channels
        shape = shape or (rate, channels)
        if (frame.sample_rate, channels) != shape:
            raise AudioError(f"{name} changes its rate or channels midway: convert it to WAV")
        chunk = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
        yield to_float(chunk, name)


def _wav_rate(head: bytes) -> int:
    """Find the sampling rate in a WAV header; where there is none, answer one that nobody objects to."""
    order: Literal["little", "big"] = "big" if head.startswith(b"RIFX") else "little"
    at = head.find(b"fmt ") + 12
    return int.from_bytes(head[at : at + 4], order) if head.startswith(b"RIF") and at > 12 else MIN_RATE


def _reason(failure: Exception) -> str:
    """Put in one line what a library said."""
    text = getattr(failure, "error_string", None) or getattr(failure, "strerror", None) or failure
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".") or type(failure).__name__
