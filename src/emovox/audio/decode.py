"""Decode a sound file, whole and on its own clock: every stream in it, by the decoder that can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from emovox.audio import decoders
from emovox.audio.containers.find import find_parts
from emovox.audio.containers.part import Part
from emovox.audio.convert import MIN_RATE, checked_rate, to_float
from emovox.audio.decoders import Guard, NativeDecoder, Piece, RefusedError, View, av_pieces
from emovox.audio.sources import Channel, Samples, Source, as_sound, binary_file, source_name
from emovox.errors import AudioError, MissingExtraError
from emovox.types import Unread

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


@contextmanager
def open_recording(source: Source | Samples | Channel, skip: float = 0.0) -> Iterator[Recording]:
    """Open a recording in memory, or a file with whichever library knows its content; the name plays no part.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or Channel
        What to read.  A file object is read from its beginning and left open.
    skip : float, default 0
        Seconds of the beginning that are not needed.  They are left out where that is exact and cheap.

    Raises
    ------
    AudioError
        The source cannot be opened; while iterating over the pieces, nothing of it can be decoded.
    MissingExtraError
        Its format needs the [formats] extra.

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((10, 2)), 8000, format="WAV")
    >>> with open_recording(file) as recording:
    ...     recording.duration, [piece.samples.shape for piece in recording.pieces]
    (0.00125, [(10, 2)])
    """
    number = None
    while isinstance(source, Channel):
        number = number or source.number
        source = as_sound(source.source)
    with ExitStack() as stack:
        recording = _in_memory(source) if isinstance(source, Samples) else _in_file(source, skip, stack)
        recording.channel = number
        yield recording


def _in_memory(source: Samples) -> Recording:
    name, array = source.name, np.asarray(source.samples)
    if array.ndim not in (1, 2):
        raise AudioError(f"{name} has shape {array.shape}: expected (n_samples,) or (n_samples, n_channels)")
    if array.size == 0:
        raise AudioError(f"{name} has shape {array.shape}, no samples: expected a recording")
    if array.ndim == 2 and array.shape[1] > array.shape[0]:
        raise AudioError(
            f"{name} has shape {array.shape}, more channels than samples: expected (n_samples, n_channels), "
            "transpose it"
        )
    frames = array.reshape(len(array), -1)
    step = max(1, decoders.CHUNK // frames.shape[1])
    rate = checked_rate(source.rate, name)
    pieces = (Piece(rate, to_float(frames[i : i + step], name)) for i in range(0, len(frames), step))
    return Recording(name, len(frames) / rate, pieces=pieces)


def _in_file(source: Source, skip: float, stack: ExitStack) -> Recording:
    name = source_name(source)
    file = Guard(binary_file(source, name, stack), name)
    parts = _parts(source, file, name)
    return _Reading(file, parts, name, stack).open(skip)


def _parts(source: Source, file: Guard, name: str) -> tuple[Part, ...]:
    """Find the streams of a file; those of a path are remembered, so that its stretches cost no new search."""
    if isinstance(source, str | os.PathLike):
        state = Path(source).stat()
        parts = _remembered(_Key(os.fspath(source), state.st_ino, state.st_size, state.st_mtime_ns, file))
    else:
        parts = tuple(find_parts(file))
    file.check()
    if not parts and not len(file):
        raise AudioError(f"{name} is empty (0 bytes): expected a recording")
    if not parts:
        raise AudioError(
            f"{name} is not a recording in a known format (WAV, FLAC, Ogg, MP3, AIFF; m4a, webm and "
            "video with the [formats] extra): convert it"
        )
    return parts


@dataclass(frozen=True)
class _Key:
    """A state of a file; the open file itself is no part of it."""

    path: str
    inode: int
    size: int
    changed: int
    file: Guard = field(compare=False)


@lru_cache(maxsize=8)
def _remembered(key: _Key) -> tuple[Part, ...]:
    parts = tuple(find_parts(key.file))
    object.__setattr__(key, "file", None)  # the cache keeps the key, and must not keep the file
    return parts


class _Reading:
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
                return decoders.av_duration(self._file, part, self._name)[0]
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
            decoders.av_duration(self._file, part, self._name)
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
        from emovox.audio.containers.xiph import resume

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
            promised, sure = decoders.av_duration(self._file, part, self._name)
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
            count = min(left, max(1, decoders.CHUNK // channels))
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
