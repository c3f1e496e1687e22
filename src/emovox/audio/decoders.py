"""The two decoders, each reading one part of a file: libsndfile, and ffmpeg's libraries from the [formats] extra."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from emovox.audio.containers.part import Part, Slice
from emovox.audio.convert import checked_rate, to_float
from emovox.audio.sources import reason
from emovox.errors import AudioError, MissingExtraError
from emovox.types import Float32Array

#: Samples (frames times channels) that are decoded at a time, which bounds the memory in use.
CHUNK = 2**18

#: Encodings in which seeking is exact and cheap: a stretch is reached without decoding what precedes it.
SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})


@dataclass(frozen=True)
class Piece:
    """Decoded samples.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz.
    samples : ndarray of float32, shape (n, n_channels)
        Full scale is 1; not yet checked.
    start : float or None
        Seconds on the container's clock; None where the samples follow those before.
    """

    rate: int
    samples: Float32Array
    start: float | None = None


#: Types of samples by ffmpeg's names of their formats.
_KINDS = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}

#: Told of a stretch that cannot be read: seconds of the part, and why.
Report = Callable[[float, float, str], None]


class RefusedError(AudioError):
    """A decoder cannot open a part."""


class Guard:
    """A binary file whose failures, and Ctrl-C, are kept for later: the C code that reads it would swallow them."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return max(0, self.seek(0, os.SEEK_END))

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end or where reading fails."""
        try:
            # Sliced, because a file that gives more than it was asked for would overrun the caller's buffer.
            return bytes(self._file.read(size) or b"")[:size]
        except BaseException as failure:
            self._failure = failure
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it; -1 where that fails."""
        try:
            self._file.seek(offset, whence)
            return self._file.tell()
        except BaseException as failure:
            self._failure = failure
            return -1

    def at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from a place, fewer only where the file ends."""
        self.seek(offset)
        pieces: list[bytes] = []
        while size > 0 and (piece := self.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def check(self) -> None:
        """Report a failure that has been kept."""
        if self._failure is not None:
            if not isinstance(self._failure, Exception):
                raise self._failure
            raise AudioError(f"{self._name} cannot be read: {reason(self._failure)}") from self._failure


class View:
    """A file put together of slices of another one and of bytes: headers mended, tags and other streams left out.

    Parameters
    ----------
    file : Guard
        The file that slices are taken of.
    slices : sequence of bytes or (offset, length)
        What the view consists of, in order.

    Examples
    --------
    >>> import io
    >>> View(Guard(io.BytesIO(b"0123456789"), "x"), [b"<", (2, 3), (7, 1), b">"]).read(10)
    b'<2347>'
    """

    def __init__(self, file: Guard, slices: Sequence[Slice]) -> None:
        self._file = file
        self._slices = [one for one in slices if (len(one) if isinstance(one, bytes) else one[1]) > 0]
        lengths = (len(one) if isinstance(one, bytes) else one[1] for one in self._slices)
        self._ends = list(accumulate(lengths))
        self._place = 0

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        pieces: list[bytes] = []
        index = bisect_right(self._ends, self._place)
        while size > 0 and index < len(self._slices):
            one = self._slices[index]
            length = len(one) if isinstance(one, bytes) else one[1]
            inside = self._place - (self._ends[index] - length)
            count = min(size, length - inside)
            if isinstance(one, bytes):
                piece = one[inside : inside + count]
            else:
                self._file.seek(one[0] + inside)
                piece = self._file.read(count)
            if not piece:  # the file is shorter than it was
                break
            pieces.append(piece)
            self._place += len(piece)
            size -= len(piece)
            index += len(piece) == length - inside
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self)}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from a place, fewer only at the end."""
        self.seek(offset)
        return self.read(size)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file read from front to back.

    soundfile seeks to where it already is after each read from a seekable file.  That fails in a FLAC stream
    of unknown length, decodes Opus twice and makes MP3 inexact.
    """

    def seekable(self) -> bool:
        return False


class NativeDecoder:
    """libsndfile on one part.

    Parameters
    ----------
    file : Guard
        The file.
    part : Part
        The part of it.
    name : str
        What to call the recording in a message.
    stack : ExitStack
        Closes what is opened.

    Attributes
    ----------
    rate, channels : int
        What it gives.
    failure : str or None
        Why decoding ended before the end, once it has.

    Raises
    ------
    RefusedError
        libsndfile cannot open the part.
    """

    def __init__(self, file: Guard, part: Part, name: str, stack: ExitStack) -> None:
        self._file, self._name = file, name
        try:
            # As a file object: given a path, libsndfile also goes by its ending and by a "._" file beside it.
            self._sound = stack.enter_context(_Sequential(View(file, part.slices)))
        except soundfile.LibsndfileError as failure:
            file.check()
            raise RefusedError(reason(failure)) from failure
        self.rate = checked_rate(self._sound.samplerate, name)
        self.channels: int = self._sound.channels
        # libsndfile gives a very large number where the header does not tell.
        self.frames: int | None = self._sound.frames if self._sound.frames < 2**48 else None
        self._exact = part.exact
        self.failure: str | None = None

    def skip(self, seconds: float) -> int:
        """Leave out whole seconds of the beginning, where that is exact and cheap; return the frame that comes next."""
        # At a rate without a simple ratio to 16 kHz the phase of resampling would depend on where it begins.
        if not (self._exact and self.frames and self._sound.subtype in SEEKABLE and self.rate % 25 == 0):
            return 0
        # Whole seconds are a whole number of samples at every rate.
        origin = min(int(seconds), self.frames // self.rate) * self.rate
        if origin == self.frames and self._sound.format == "FLAC":
            origin -= self.rate  # there is no seeking to the end of FLAC
        if origin:
            self._sound.seek(origin)
        return origin

    def pieces(self) -> Iterator[Float32Array]:
        """Yield samples, shape (n, n_channels), to the end or to where decoding fails."""
        size = max(1, CHUNK // self.channels)
        while True:
            # NaN marks what has not been written when decoding fails in the middle of a read.
            chunk = np.full((size, self.channels), np.nan, np.float32)
            try:
                got = self._sound.read(size, always_2d=True, out=chunk)
            except soundfile.SoundFileError as failure:
                self._file.check()
                self.failure = reason(failure)
                empty = np.isnan(chunk[:, 0])
                got = chunk[: int(empty.argmax()) if empty.any() else size]
            self._file.check()
            if len(got):
                yield got
            if self.failure or not len(got):
                return


def av_pieces(file: Guard, part: Part, name: str, report: Report, tracks: Callable[[int], None]) -> Iterator[Piece]:
    """Decode a part with ffmpeg's libraries.

    Parameters
    ----------
    file : Guard
        The file.
    part : Part
        The part of it.
    name : str
        What to call the recording in a message.
    report : callable
        Told of packets that cannot be decoded.
    tracks : callable
        Told how many sound tracks there are.

    Yields
    ------
    Piece
        With times where the part has a clock.

    Raises
    ------
    MissingExtraError
        The [formats] extra is not installed.
    RefusedError
        ffmpeg cannot open the part.
    """
    with ExitStack() as stack:
        container, stream = _open_av(file, part, name, stack)
        tracks(len(container.streams.audio))
        yield from _Decoding(container, stream, file, part, name).pieces(report)


class _Decoding:
    """One pass of ffmpeg's libraries over a stream."""

    def __init__(self, container: Any, stream: Any, file: Guard, part: Part, name: str) -> None:
        self._container, self._stream, self._file, self._part, self._name = container, stream, file, part, name
        start = None if part.zero else container.start_time
        self._zero = 0.0 if start is None else start / 1_000_000
        self._begun = False
        self._now = 0.0  # seconds by the samples, for packets without a time

    def pieces(self, report: Report) -> Iterator[Piece]:
        """Decode packet by packet; one that cannot be decoded costs no other."""
        for packet in self._packets(report):
            try:
                frames = packet.decode()
            except Exception as failure:
                self._file.check()
                if not _is_av_failure(failure):
                    raise
                begin = self._seconds(packet.pts, packet.time_base)
                at = self._now if begin is None else begin
                length = float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0
                report(at, at + length, reason(failure).lower())
                continue
            if not self._begun and packet.duration and self._stream.codec_context.name.startswith("wmav"):
                self._zero += float(packet.duration * packet.time_base)  # ffmpeg stamps this codec one packet late
            self._begun = True
            for frame in frames:
                yield self._piece(frame)
            self._file.check()

    def _packets(self, report: Report) -> Iterator[Any]:
        """Yield the packets of the stream; report where the container breaks off."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except Exception as failure:
                self._file.check()
                if isinstance(failure, IndexError):  # by PyAV, for a stream that turned up late, after all packets
                    return
                if not _is_av_failure(failure):
                    raise
                report(self._now, self._now, reason(failure).lower())
                return
            self._file.check()
            if packet is None:
                return
            if packet.stream.index == self._stream.index:
                yield packet

    def _seconds(self, ticks: int | None, base: Any) -> float | None:
        """Turn a timestamp into seconds on the container's clock; None where there is none that counts."""
        if ticks is None or base is None or not self._part.clocked:
            return None
        return float(ticks * base) - self._zero

    def _piece(self, frame: Any) -> Piece:
        chunk = _samples(frame, self._name)
        rate = checked_rate(frame.sample_rate, self._name)
        start = self._seconds(frame.pts, frame.time_base)
        self._now = (self._now if start is None else start) + len(chunk) / rate
        return Piece(rate, to_float(chunk, self._name), start)


def _samples(frame: Any, name: str) -> NDArray[Any]:
    """Return the samples of a frame, shape (n, n_channels).

    PyAV's own `to_ndarray` takes planes that do not exist where there are 8 channels or more, and ends the process.
    """
    channels, kind = frame.layout.nb_channels, frame.format.name.removesuffix("p")
    if kind not in _KINDS:
        raise AudioError(f"{name} has samples of type {frame.format.name}: expected float, int16, int32 or uint8")
    if not frame.format.is_planar:
        return np.frombuffer(frame.planes[0], _KINDS[kind], frame.samples * channels).reshape(-1, channels)
    planes = frame.planes[:channels]
    return np.stack([np.frombuffer(plane, _KINDS[kind], frame.samples) for plane in planes], axis=1)


def av_duration(file: Guard, part: Part, name: str) -> tuple[float | None, bool]:
    """Tell when the sound of a part ends by its container, and whether that is sure to be the sound's own end.

    Returns
    -------
    tuple of float or None, and bool
        Seconds from the clock's zero, None where it would be a guess from the bit rate; False where it may be the end
        of the pictures.
    """
    with ExitStack() as stack:
        container, stream = _open_av(file, part, name, stack)
        whole = None if container.duration is None else container.duration / 1_000_000
        alone = len(container.streams) == 1
        if not part.clocked:
            return None if part.demuxer in ("aac", "mp3", "amr", "ac3") else whole, alone
        if part.demuxer not in ("mp4", "mov", "mpegts", "mpeg", "ogg") or stream.duration is None:
            return whole, alone
        start = 0.0
        if stream.start_time is not None:
            zero = 0.0 if part.zero else (container.start_time or 0) / 1_000_000
            start = max(0.0, float(stream.start_time * stream.time_base) - zero)
        return start + float(stream.duration * stream.time_base), True


def _open_av(file: Guard, part: Part, name: str, stack: ExitStack) -> tuple[Any, Any]:
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading {name} ({part.label})", "formats") from None
    if not part.demuxer:
        raise RefusedError("sizes in its header lead beyond its end")
    try:
        container = stack.enter_context(av.open(View(file, part.slices), mode="r", format=part.demuxer))
    except (av.FFmpegError, ValueError) as failure:
        file.check()
        raise RefusedError(reason(failure)) from failure
    if not container.streams.audio:
        raise AudioError(f"{name} ({part.label}) has no sound track: expected a recording")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(f"{name} ({part.label}) has a sound track in an unknown encoding: convert it")
    return container, stream


def _is_av_failure(failure: Exception) -> bool:
    import av

    return isinstance(failure, av.FFmpegError | ValueError)
