"""Bytes to samples, whole and on the clock: two decoders, of which one reads what the other cannot."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from emovox.audio.packets import Part, Slice
from emovox.errors import AudioError, MissingExtraError, reason
from emovox.types import Float32Array, Unread

#: Samples (frames times channels) that are decoded at a time, which bounds the memory in use.
CHUNK = 2**18

#: Encodings in which seeking is exact and cheap: a stretch is reached without decoding what precedes it.
SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})

#: Sampling rates that a recording may have, in Hz.
MIN_RATE, MAX_RATE = 1_000, 768_000

#: Largest sample accepted.  Full scale is 1, integers stored as float reach 2**31; from about 1e16 on, powers
#: summed over a spectrum no longer fit float32.
LOUDEST = 1e12


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


def to_float(samples: NDArray[Any], name: str) -> Float32Array:
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


#: Seconds by which decoded sound may be shorter than its bytes promise without a word.
TOLERANCE = 0.05

#: Seconds between a container's clock and its samples that are rounding, not a gap.
JITTER = 0.04

#: Longest silence that is filled in, in seconds, in a container that tells its length and in one that does not: beyond
#: it, and beyond that length, a timestamp is taken for damaged.
LONGEST_GAP, LONGEST_UNKNOWN = 3600.0, 600.0


@dataclass
class Recording:
    """An open recording.

    Attributes
    ----------
    name : str
        What to call it in a message.
    duration : float or None
        Seconds that the header states, or that can be counted without decoding; None where it takes decoding.
    origin : float
        Seconds of the beginning that are left out.
    pieces : iterator of Piece
        Samples in the order in which they are heard, silence where the container's clock has a gap.  The sampling rate
        and the number of channels may change from one to the next.
    unread : list of Unread
        What cannot be read: grows while the pieces are taken.
    notes : list of str
        What else there is to say about what is read: grows as well.
    channel : int or None
        The channel that is wanted, the first is 1; None for a mix of all.
    """

    name: str
    duration: float | None
    origin: float = 0.0
    pieces: Iterator[Piece] = field(default_factory=lambda: iter(()))
    unread: list[Unread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    channel: int | None = None


def decoded(file: Guard, parts: tuple[Part, ...], name: str, stack: ExitStack, skip: float = 0.0) -> Recording:
    """Open the parts of a file as one recording, decoded as it is read.

    Parameters
    ----------
    file : Guard
        The file.
    parts : tuple of Part
        What :func:`emovox.audio.containers.parts_of` found in it.
    name : str
        What to call it in a message.
    stack : ExitStack
        Closes what is opened.
    skip : float, default 0
        Seconds of the beginning that are left out where that is exact and cheap.

    Raises
    ------
    AudioError, MissingExtraError
        The file cannot be read, has no part, or its first one cannot be decoded.
    """
    file.check()
    if not parts and not len(file):
        raise AudioError(f"{name} is empty (0 bytes): expected a recording")
    if not parts:
        raise AudioError(
            f"{name} is not a recording in a known format (WAV, FLAC, Ogg, MP3, AIFF; m4a, webm and "
            "video with the [formats] extra): convert it"
        )
    return _Decoded(file, parts, name, stack).open(skip)


class _Decoded:
    """One pass over the parts of a file."""

    def __init__(self, file: Guard, parts: tuple[Part, ...], name: str, stack: ExitStack) -> None:
        self._file, self._parts, self._name, self._stack = file, parts, name, stack
        self._recording = Recording(name, None)
        self._first: NativeDecoder | None = None
        self._heard = False

    def open(self, skip: float) -> Recording:
        """Open the first part, so that what cannot be read is refused at once."""
        recording, first = self._recording, self._parts[0]
        recording.duration = self._stated()
        if first.native:
            self._first = self._native(first)
            if self._first is not None and skip and len(self._parts) == 1 and not first.losses:
                recording.origin = self._first.skip(skip) / self._first.rate
        recording.pieces = self._pieces()
        return recording

    def _stated(self) -> float | None:
        lengths = [part.stated for part in self._parts]
        if any(length is None for length in lengths):
            if len(self._parts) > 1:
                return None
            return self._asked(self._parts[0])
        return sum(length or 0.0 for length in lengths)

    def _asked(self, part: Part) -> float | None:
        """Ask the decoder of a part how long it is."""
        if not part.native:
            try:
                return av_duration(self._file, part, self._name)[0]
            except RefusedError as refusal:
                raise AudioError(f"{self._name} is damaged or incomplete ({part.label}): {refusal}") from refusal
        with ExitStack() as stack:
            try:
                native = NativeDecoder(self._file, part, self._name, stack)
            except RefusedError:
                return None
            return None if native.frames is None else native.frames / native.rate

    def _native(self, part: Part) -> NativeDecoder | None:
        """Open a part with libsndfile; None where only the other decoder reads it."""
        try:
            return NativeDecoder(self._file, part, self._name, self._stack)
        except RefusedError as refusal:
            checked_rate(_wav_rate(self._file, part), self._name)
            self._require_other(part, refusal)
            return None

    def _require_other(self, part: Part, refusal: RefusedError) -> None:
        """Refuse a part only where the other decoder refuses it as well, or is not there."""
        try:
            av_duration(self._file, part, self._name)
        except MissingExtraError as missing:
            raise AudioError(
                f"{self._name} is damaged or incomplete, or in an encoding that needs the [formats] extra "
                f"(pip install 'emovox[formats]'): {refusal}"
            ) from missing
        except AudioError as second:
            raise AudioError(f"{self._name} is damaged or incomplete: {refusal}") from second

    def _pieces(self) -> Iterator[Piece]:
        """Decode the parts one after the other."""
        base = self._recording.origin
        for number, part in enumerate(self._parts):
            clock = _Clock(base, self._recording.unread)
            self._note(part.tracks)
            for loss in part.losses:
                clock.report(loss.start, loss.end, loss.reason)
            native = self._first if number == 0 else None
            for piece in self._decoded(part, native, clock, number):
                self._heard = self._heard or len(piece.samples) > 0
                yield from clock.placed(piece)
            base = clock.now
        self._recording.unread[:] = _merged(self._recording.unread)

    def _note(self, tracks: int) -> None:
        """Say that there are sound tracks beside the one that is read."""
        if tracks > 1:
            how = "ffmpeg -map 0:a:1 takes the second one out"
            self._recording.notes.append(f"the first of its {tracks} sound tracks is read: {how}")

    def _decoded(self, part: Part, native: NativeDecoder | None, clock: _Clock, number: int) -> Iterator[Piece]:
        """Decode one part with the decoder that can, and the rest with the other one where the first stops early."""
        if not part.native or (number == 0 and native is None) or (part.clocked and _av_is_there()):
            yield from self._by_av(part, clock)
            return
        try:
            native = native or NativeDecoder(self._file, part, self._name, self._stack)
        except RefusedError:
            yield from self._by_av(part, clock)
            return
        count = 0
        for samples in native.pieces():
            count += len(samples)
            yield Piece(native.rate, samples)
        seconds = clock.base_origin(self._recording.origin) + count / native.rate
        short = part.duration is not None and seconds < part.duration - TOLERANCE
        if native.failure or short:
            yield from self._rest(part, native, seconds, clock)

    def _rest(self, part: Part, native: NativeDecoder, seconds: float, clock: _Clock) -> Iterator[Piece]:
        """Read what libsndfile has left of a part."""
        why = native.failure or "the decoder stops early"
        end = part.duration
        if end is not None and seconds >= end - TOLERANCE:  # what follows the sound is no sound
            return
        if part.demuxer == "flac":
            yield from self._rest_of_flac(part, native, seconds, clock, why)
            return
        if _av_is_there():
            try:
                skipped = seconds
                for piece in av_pieces(self._file, part.but(clocked=False), self._name, clock.report, self._note):
                    length = len(piece.samples) / piece.rate
                    if skipped >= length:
                        skipped -= length
                        continue
                    rest = piece.samples[round(skipped * piece.rate) :]
                    skipped, seconds = 0.0, seconds + len(rest) / piece.rate
                    yield Piece(piece.rate, rest)
            except AudioError:
                pass
        if not seconds and not self._heard:
            raise AudioError(f"{self._name} is damaged or incomplete: {why}")
        if end is None or seconds < end - TOLERANCE:
            clock.report(seconds, end or seconds, why)

    def _rest_of_flac(
        self, part: Part, native: NativeDecoder, seconds: float, clock: _Clock, why: str
    ) -> Iterator[Piece]:
        """Go on behind the damage of a FLAC stream, whose frames know their place."""
        from emovox.audio.packets import resume

        rate, channels = native.rate, native.channels
        after = round(seconds * rate)
        while True:
            found = resume(View(self._file, part.slices), part, after)
            if found is None:
                break
            rest, first = found
            if first > after:
                clock.report(after / rate, first / rate, why)
                yield Piece(rate, np.zeros((0, channels), np.float32), clock.base + first / rate)
            try:
                native = NativeDecoder(self._file, rest, self._name, self._stack)
            except RefusedError:
                break
            count = 0
            for samples in native.pieces():
                count += len(samples)
                yield Piece(native.rate, samples)
            part, after = rest, first + max(1, count)
            if native.failure is None:
                break
        if not after and not self._heard:
            raise AudioError(f"{self._name} is damaged or incomplete: {why}")
        end = part.duration
        if end is not None and after / rate < end - TOLERANCE:
            clock.report(after / rate, end, why)

    def _by_av(self, part: Part, clock: _Clock) -> Iterator[Piece]:
        """Decode a part with ffmpeg's libraries."""
        heard = False
        failures: list[str] = []

        def report(start: float, end: float, why: str) -> None:
            failures.append(why)
            clock.report(start, end, why)

        try:
            promised, sure = av_duration(self._file, part, self._name)
            clock.end = None if promised is None else clock.base + promised
            for piece in av_pieces(self._file, part, self._name, report, self._note):
                heard = heard or len(piece.samples) > 0
                start = None if piece.start is None else clock.base + piece.start
                yield Piece(piece.rate, piece.samples, start)
        except RefusedError as refusal:
            if not self._heard:
                raise AudioError(f"{self._name} is damaged or incomplete ({part.label}): {refusal}") from refusal
            clock.report(0.0, part.duration or 0.0, str(refusal))
            return
        if not heard and failures and not self._heard:
            raise AudioError(f"{self._name} is damaged or incomplete ({part.label}): {failures[0]}")
        end = part.duration or (promised if sure else None)
        now = clock.now - clock.base
        slack = TOLERANCE if part.demuxer in ("mp4", "mov", "wav", "flac", "ogg", "wv") else 0.5
        if end is not None and now < end - slack:
            clock.report(now, end, "the file ends early")


class _Clock:
    """Puts the pieces of a part where the container says: silence where there is a gap."""

    def __init__(self, base: float, unread: list[Unread]) -> None:
        self.base = self.now = base
        self.end: float | None = None  # where the container says that the sound ends
        self._shift = 0.0
        self._filled = 0.0
        self._unread = unread

    def base_origin(self, origin: float) -> float:
        """Seconds of the part that were left out."""
        return origin if self.base == origin else 0.0

    def report(self, start: float, end: float, why: str) -> None:
        """Note what cannot be read, in seconds of the part."""
        self._unread.append(Unread(self.base + max(0.0, start), self.base + max(0.0, start, end), why))

    def placed(self, piece: Piece) -> Iterator[Piece]:
        """Yield a piece, and silence before it where it is not due yet."""
        samples = piece.samples
        if piece.start is not None:
            late = piece.start + self._shift - self.now
            if self._impossible(late):
                # A timestamp that starts anew, or nonsense: sound is not lost over it.
                self._shift -= late
            elif late > JITTER:
                self._filled += late
                yield from self._silence(late, piece)
            elif late < -JITTER:
                samples = samples[round(-late * piece.rate) :]
        if len(samples):
            self.now += len(samples) / piece.rate
            yield Piece(piece.rate, samples)

    def _impossible(self, late: float) -> bool:
        """Tell whether a timestamp that is so many seconds late cannot be meant."""
        longest = LONGEST_UNKNOWN if self.end is None else LONGEST_GAP
        beyond = self.end is not None and late > JITTER and self.now + late > self.end + 1
        return late < -0.5 or self._filled + late > longest or beyond

    def _silence(self, seconds: float, piece: Piece) -> Iterator[Piece]:
        left, channels = round(seconds * piece.rate), piece.samples.shape[1]
        self.now += left / piece.rate
        while left > 0:
            count = min(left, max(1, CHUNK // channels))
            yield Piece(piece.rate, np.zeros((count, channels), np.float32))
            left -= count


def _merged(unread: list[Unread]) -> list[Unread]:
    """Put what overlaps or touches into one."""
    merged: list[Unread] = []
    for one in sorted(unread, key=lambda one: (one.start, one.end)):
        last = merged[-1] if merged else None
        if last is not None and one.start <= last.end + TOLERANCE:
            merged[-1] = Unread(last.start, max(last.end, one.end), last.reason)
        else:
            merged.append(one)
    return merged


def _av_is_there() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def _wav_rate(file: Guard, part: Part) -> int:
    """Find the sampling rate in a WAV header; where there is none, answer one that nobody objects to."""
    head = View(file, part.slices).at(0, 4096)
    order: Literal["little", "big"] = "big" if head.startswith(b"RIFX") else "little"
    at = head.find(b"fmt ") + 12
    return int.from_bytes(head[at : at + 4], order) if head.startswith(b"RIF") and at > 12 else MIN_RATE
