"""Where live sound comes from: microphones, pipes, other programs."""

from __future__ import annotations

import os
import queue
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emovox.audio import LOUDEST
from emovox.audio.containers import CONTAINERS, SOUND_FILES
from emovox.audio.decoding import MAX_RATE, MIN_RATE
from emovox.errors import AudioError, InputError, MissingExtraError, did_you_mean
from emovox.live.state import Splitter, Wanted
from emovox.types import RATE, Float32Array

#: Length of the queue between the sound card and the recogniser, in blocks of 50 ms: two minutes.
_WAITING = 2400


@dataclass(frozen=True)
class Device:
    """A recording device.

    Attributes
    ----------
    index : int
        Index of the device in PortAudio.
    name : str
        Name of the device.
    channels : int
        Largest number of input channels.
    rate : int
        Default sampling rate in Hz.
    default : bool
        Whether it is the system's default input.
    """

    index: int
    name: str
    channels: int
    rate: int
    default: bool


def load() -> Any:
    """Import sounddevice.

    Raises
    ------
    MissingExtraError
        sounddevice is not installed.
    InputError
        The PortAudio library is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise MissingExtraError("listening to a microphone", "live") from error
    except OSError as error:
        raise InputError(
            "the system has no PortAudio, which microphones are reached through: apt install libportaudio2 "
            "(Debian, Ubuntu), dnf install portaudio (Fedora) or brew install portaudio (macOS); "
            "or pipe sound in: arecord -f S16_LE -r 16000 | emovox listen -"
        ) from error
    return sounddevice


def available(sounddevice: Any) -> list[Device]:
    """List the recording devices.

    Parameters
    ----------
    sounddevice : module
        From :func:`load`.
    """
    try:
        default = int(sounddevice.default.device[0])
        return [
            Device(
                number,
                str(one["name"]),
                int(one["max_input_channels"]),
                int(one["default_samplerate"]),
                number == default,
            )
            for number, one in enumerate(sounddevice.query_devices())
            if one["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the system's sound does not answer ({error}): is a sound card there?") from error


def find(wanted: str | None, devices: list[Device]) -> Device:
    """Choose a recording device.

    Parameters
    ----------
    wanted : str or None
        Index, name or part of a name, in any case; None for the system's default.
    devices : list of Device
        From :func:`available`.

    Raises
    ------
    InputError
        There is no such device, or several names match.

    Examples
    --------
    >>> find("usb", [Device(0, "Built-in", 2, 48000, True), Device(3, "USB Audio", 1, 44100, False)]).index
    3
    """
    listed = "; ".join(f"{one.index} {one.name}" for one in devices)
    if not devices:
        raise InputError(
            "there is no microphone: plug one in, let this program use it, or pipe sound in, for example "
            "arecord -f S16_LE -r 16000 | emovox listen -"
        )
    if wanted is None:
        return next((one for one in devices if one.default), devices[0])
    if wanted.strip().isdecimal():
        found = [one for one in devices if one.index == int(wanted)]
    else:
        found = [one for one in devices if one.name == wanted] or [
            one for one in devices if wanted.casefold() in one.name.casefold()
        ]
    if len(found) == 1:
        return found[0]
    if found:
        names = "; ".join(f"{one.index} {one.name}" for one in found)
        raise InputError(f"several devices have {wanted!r} in their name ({names}): give one's number")
    if wanted.strip().isdecimal():
        raise InputError(f"there is no recording device {wanted}: choose one of {listed}")
    raise InputError(f"there is no recording device {wanted!r}: {did_you_mean(wanted, [one.name for one in devices])}")


class DeviceSource:
    """Sound of a microphone, see :class:`emovox.live.sources.SoundInput`.

    Parameters
    ----------
    wanted : str, optional
        Device to record from, see :func:`find`.
    sounddevice : module, optional
        From :func:`load`.
    patience : float, default 15
        Seconds to wait for a device to come back.
    silence : float, default 3
        Seconds without samples after which a device counts as unplugged.
    channels : {"mix", "each"} or int, default "mix"
        Which channels are heard: all mixed, each by itself, or one by its number.

    Raises
    ------
    MissingExtraError, InputError, AudioError
        There is no such device or no such channel, or it cannot be opened.
    """

    def __init__(
        self,
        wanted: str | None = None,
        sounddevice: Any = None,
        *,
        patience: float = 15.0,
        silence: float = 3.0,
        channels: Wanted = "mix",
    ) -> None:
        self._sounddevice = load() if sounddevice is None else sounddevice
        self._device = find(wanted, available(self._sounddevice))
        self._patience, self._silence, self._wanted = patience, silence, channels
        self.name, self.rate = self._device.name, self._device.rate
        self._stopped = threading.Event()
        self._lost = 0
        self._pieces: queue.Queue[Any] = queue.Queue(_WAITING)
        self._stream: Any = None
        self._splitter = self._open()

    def stop(self) -> None:
        """Ask :meth:`read` to end soon."""
        self._stopped.set()

    def read(self) -> Iterator[Piece]:
        """Yield the sound as it is recorded, until :meth:`stop`.

        Yields
        ------
        ndarray of float32, shape (n_samples,) or (n_samples, n_channels), or Notice
            Samples at 16 kHz.  While a device is unplugged, silence takes its place, so that times keep to the clock.

        Raises
        ------
        AudioError
            The device was lost and did not come back.
        """
        told = 0
        last = time.monotonic()
        try:
            while not self._stopped.is_set():
                try:
                    block = self._pieces.get(timeout=min(0.2, self._silence))
                except queue.Empty:
                    if not self._gone(last):
                        continue
                    yield from self._return(last)
                else:
                    yield self._splitter.push(np.nan_to_num(block, posinf=0.0, neginf=0.0))
                last = time.monotonic()
                if self._lost > told:
                    told = self._lost
                    yield Notice("some sound was lost: this computer does not keep up, close other programs")
        finally:
            self._close()

    def _gone(self, last: float) -> bool:
        return not self._stream.active or time.monotonic() - last > self._silence

    def _return(self, last: float) -> Iterator[Piece]:
        """Wait for an unplugged device to come back."""
        yield self._splitter.finish()
        yield Notice(f"{self.name} is gone: waiting {self._patience:g} s for it to come back")
        self._close()
        begun = time.monotonic()
        while not self._stopped.is_set():
            try:
                self._look_again()
                self._splitter = self._open()
            except (AudioError, InputError) as error:
                if time.monotonic() - begun > self._patience:
                    raise AudioError(
                        f"{self.name} was lost and did not come back: plug it in and start again"
                    ) from error
                self._stopped.wait(min(1.0, self._patience / 10))
            else:
                yield self._splitter.silence(round((time.monotonic() - last) * RATE))
                yield Notice(f"{self.name} is back")
                return

    def _look_again(self) -> None:
        """Restart PortAudio, which lists the devices only when it starts."""
        with suppress(self._sounddevice.PortAudioError):
            self._sounddevice._terminate()
        try:
            self._sounddevice._initialize()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(f"the system's sound does not answer ({error})") from error
        devices = available(self._sounddevice)
        self._device = find(self.name, [one for one in devices if one.name == self.name])

    def _open(self) -> Splitter:
        """Open the device at its own rate, in mono where that is enough and possible."""
        errors = []
        enough = (1,) if self._wanted == "mix" else ()
        for channels in dict.fromkeys((*enough, self._device.channels)):
            pieces: queue.Queue[Any] = queue.Queue(_WAITING)
            try:
                self._stream = self._sounddevice.InputStream(
                    device=self._device.index,
                    samplerate=self._device.rate,
                    channels=channels,
                    dtype="float32",
                    blocksize=self._device.rate // 20,
                    callback=lambda block, _frames, _time, status, into=pieces: self._take(block, status, into),
                )
                self._stream.start()
            except self._sounddevice.PortAudioError as error:
                errors.append(str(error))
                self._close()
            else:
                self._pieces, self.rate = pieces, self._device.rate
                return Splitter(self._device.rate, channels, self.name, self._wanted)
        raise AudioError(f"{self.name} cannot be opened ({errors[-1]}): is another program using it, and may this one?")

    def _take(self, block: Any, status: Any, into: queue.Queue[Any]) -> None:
        """Queue a block of the sound card; this is its callback, in its thread, and must not wait."""
        if status and status.input_overflow:
            self._lost += 1
        try:
            into.put_nowait(block.copy())
        except queue.Full:
            self._lost += 1

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(self._sounddevice.PortAudioError):
                stream.close(ignore_errors=True)


#: Sample formats of raw PCM, by their names in ffmpeg and arecord.
ENCODINGS = {"u8": "u1", "s16le": "<i2", "s24le": "s24", "s32le": "<i4", "f32le": "<f4", "f64le": "<f8"}

#: Sizes in a WAV header from here on mean that the writer did not know: the sound goes on to the end of the stream.
_ENDLESS = 0x7FFF_0000

_READ = 8192  # bytes at a time at most; a pipe gives what it has
_TAGS = {1: {8: "u8", 16: "s16le", 24: "s24le", 32: "s32le"}, 3: {32: "f32le", 64: "f64le"}}
_EXTENSIBLE = 0xFFFE


@dataclass(frozen=True)
class Notice:
    """A message about the source for the user, in a sentence: a gap, a reconnection, a strange header."""

    text: str


#: What a source yields: samples at 16 kHz, shape (n,), or (n, n_channels) where each is heard by itself; or a notice.
Piece = Float32Array | Notice


class SoundInput(Protocol):
    """A source of live sound: a microphone, a pipe.

    Attributes
    ----------
    name : str
        Name for messages.
    rate : int
        Sampling rate of the source in Hz; for a stream with a header, known once that has been read.
    """

    name: str
    rate: int

    def read(self) -> Iterator[Piece]:
        """Yield the sound as it arrives, until its end."""
        ...

    def stop(self) -> None:
        """Ask :meth:`read`, which runs in another thread, to end soon."""
        ...


class Reader(Protocol):
    """A binary stream whose ``read(size)`` returns what has arrived, at most `size` bytes, and nothing at its end."""

    def read(self, size: int, /) -> bytes | None:
        """Return the next bytes."""
        ...


@dataclass(frozen=True)
class Layout:
    """Sample format of raw PCM.

    Attributes
    ----------
    encoding : str, default "s16le"
        One of :data:`ENCODINGS`.
    rate : int, default 16000
        Sampling rate in Hz.
    channels : int, default 1
        Number of interleaved channels, 1 to 64.

    Raises
    ------
    InputError
        The encoding is unknown, or a value is out of its range.

    Examples
    --------
    >>> Layout("f32le", 48000, 2).frame_bytes
    8
    """

    encoding: str = "s16le"
    rate: int = RATE
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise InputError(f"sound encoded as {self.encoding!r}: choose one of {', '.join(ENCODINGS)}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise InputError(f"a sampling rate of {self.rate} Hz: expected {MIN_RATE} to {MAX_RATE}")
        if not 1 <= self.channels <= 64:
            raise InputError(f"{self.channels} channels: expected 1 to 64")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: a sample of every channel."""
        return self.channels * (3 if self.encoding == "s24le" else np.dtype(ENCODINGS[self.encoding]).itemsize)

    def decoded(self, data: bytes) -> Float32Array:
        """Decode the bytes of whole frames; return samples of full scale 1, shape (n_frames, n_channels)."""
        if self.encoding == "s24le":
            wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
            wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
            values: NDArray[np.generic] = wide.view("<i4")[:, 0]
        else:
            values = np.frombuffer(data, dtype=ENCODINGS[self.encoding])
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                samples = values.astype(np.float32)
        else:
            middle, scale = (128, 128) if values.dtype.kind == "u" else (0, 2.0 ** (8 * values.dtype.itemsize - 1))
            samples = ((values.astype(np.float64) - middle) / scale).astype(np.float32)
        return samples.reshape(-1, self.channels)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


class PipeSource:
    """Raw PCM or WAV from a pipe or a file.

    Parameters
    ----------
    file : Reader
        The stream, read once from its current position.
    layout : Layout, optional
        Sample format of raw PCM; the default is 16-bit mono at 16 kHz.  The header of a WAV stream takes precedence.
    name : str
        Name for messages.
    raw : bool, default False
        Take the bytes as raw PCM even if they begin with a WAV header.
    channels : {"mix", "each"} or int, default "mix"
        Which channels are heard: all mixed, each by itself, or one by its number.

    Examples
    --------
    >>> import io
    >>> source = PipeSource(io.BytesIO(np.arange(4, dtype="<i2").tobytes()))
    >>> [len(piece) for piece in source.read()]
    [4, 0]
    """

    def __init__(
        self,
        file: Reader,
        layout: Layout | None = None,
        name: str = "<stdin>",
        *,
        raw: bool = False,
        channels: Wanted = "mix",
    ) -> None:
        self._file, self._layout, self._raw = file, layout or Layout(), raw
        self.name, self.rate = name, self._layout.rate
        self._rest = b""  # what was read and is not used yet
        self._stopped = False
        self._told: set[str] = set()
        self._wanted = channels
        self._splitter: Splitter | None = None

    def stop(self) -> None:
        """Ask :meth:`read` to end before the next block; a read that waits for one cannot be interrupted."""
        self._stopped = True

    def read(self) -> Iterator[Piece]:
        """Yield the sound as it arrives.

        Yields
        ------
        ndarray of float32, shape (n_samples,) or (n_samples, n_channels), or Notice

        Raises
        ------
        AudioError
            The stream is empty, cannot be read, is a sound file of another format, or has no such channel.
        """
        head = self._take(4)
        if not head:
            raise AudioError(f"{self.name} is empty: pipe sound into it, raw or WAV")
        if self._raw or head not in (b"RIFF", b"RF64"):
            if not self._raw:
                self._refuse_others(head)
            self._rest = head + self._rest
            self._require_channel()
            yield from self._samples(self._layout, None)
        while head in (b"RIFF", b"RF64") and not self._raw:
            layout, size = self._header(head)
            yield from self._contradiction(layout)
            yield from self._samples(layout, size)
            head = self._next_header()
        yield from self._end()

    def _end(self) -> Iterator[Piece]:
        """End the sound of one layout."""
        if self._splitter is not None:
            yield self._splitter.finish()
            for note in self._splitter.notes:
                yield from self._once(note)

    def _require_channel(self) -> None:
        """Refuse a channel that raw sound does not have: who gives it may mean how many there are."""
        count = self._layout.channels
        if isinstance(self._wanted, int) and self._wanted > count:
            raise InputError(
                f"--channels {self._wanted} is the channel to hear, and the raw sound has {_channels(count)}: "
                f"--pcm-channels {self._wanted} says how many there are"
            )

    def _refuse_others(self, head: bytes) -> None:
        self._rest = head + self._rest
        begin = self._take(12)
        self._rest = begin[4:] + self._rest
        known = begin.startswith(SOUND_FILES) or any(
            begin[place : place + len(mark)] == mark for place, mark, _, _ in CONTAINERS if place + len(mark) <= 12
        )
        # An MPEG frame's four bytes could be samples, but the marks with letters in them hardly.
        if known and begin[:2] not in (b"\xff\xf1", b"\xff\xf9"):
            raise AudioError(
                f"{self.name} is a sound file, and neither WAV nor raw: convert it, for example with "
                "ffmpeg -i FILE -f wav - | emovox listen -, or use emovox predict"
            )

    def _contradiction(self, header: Layout) -> Iterator[Notice]:
        """Report where a WAV header contradicts the format that was given."""
        given = self._layout
        for name, said in (("rate", f"{header.rate} Hz"), ("channels", _channels(header.channels))):
            told = getattr(given, name)
            if told not in (getattr(Layout, name), getattr(header, name)):
                option = "pcm-channels" if name == "channels" else name
                yield from self._once(f"the header says {said}, which counts: --{option} {told} is for raw sound")

    def _samples(self, layout: Layout, size: int | None) -> Iterator[Piece]:
        """Yield the samples of the next `size` bytes, or up to the end."""
        before = self._splitter
        if before is None or (before.rate, before.channels) != (layout.rate, layout.channels):
            yield from self._end()
            if before is not None:
                yield Notice(f"the sound goes on at {layout.rate} Hz with {_channels(layout.channels)}")
            width = None if before is None else before.width or 1
            self._splitter = Splitter(layout.rate, layout.channels, self.name, self._wanted, width)
        self.rate, left, held = layout.rate, size, b""
        while left is None or left > 0:
            data = self._some(_READ if left is None else min(_READ, left))
            if not data:
                break
            left = None if left is None else left - len(data)
            held += data
            whole = len(held) // layout.frame_bytes * layout.frame_bytes
            if whole:
                yield from self._cleaned(layout.decoded(held[:whole]))
                held = held[whole:]
        if left:
            yield from self._once(
                f"the sound ends {left / layout.frame_bytes / layout.rate:.1f} s before its header says"
            )
        if held:
            yield from self._once("the sound ends in the middle of a sample, which is left out")
        if size is not None and size % 2:
            self._take(1)  # chunks of a WAV file begin at even places

    def _cleaned(self, frames: Float32Array) -> Iterator[Piece]:
        """Convert frames to 16 kHz; samples that are not finite become silence: no fault ends a session."""
        assert self._splitter is not None
        if frames.shape[1] == 1 and "twice" not in self._told and len(frames) >= 200:
            pairs = frames[: len(frames) // 2 * 2, 0].reshape(-1, 2)
            moved = np.flatnonzero(pairs[1:, 0] != pairs[:-1, 0]) + 1  # silence and steady values tell nothing
            if len(moved) >= 50 and (pairs[moved, 0] == pairs[moved, 1]).mean() > 0.99:
                self._told.add("twice")
                yield Notice("every sample comes twice, as in stereo taken for mono: is it --pcm-channels 2?")
        wrong = ~(np.abs(frames) <= LOUDEST)
        if wrong.any():
            frames = np.where(wrong, np.float32(0), frames)
            yield from self._once("the sound has samples that are not finite numbers: they count as silence")
        yield self._splitter.push(frames)

    def _once(self, text: str) -> Iterator[Notice]:
        if text not in self._told:
            self._told.add(text)
            yield Notice(text)

    def _header(self, head: bytes) -> tuple[Layout, int | None]:
        """Read a WAV header up to its samples; return their format and their size in bytes, None if unknown."""
        if self._exactly(8)[4:] != b"WAVE":
            raise AudioError(f"{self.name} begins as a WAV file, but is none: convert it")
        layout: Layout | None = None
        long: int | None = None
        while True:
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"data":
                if layout is None:
                    raise AudioError(f"{self.name} is a WAV file that does not say how its samples are written")
                size = long if head == b"RF64" and long is not None else size
                return layout, None if size == 0 or (size >= _ENDLESS and head == b"RIFF") else size
            if kind == b"fmt " and size <= _READ:
                layout = self._format(self._exactly(size + size % 2))
            elif kind == b"ds64" and 16 <= size <= _READ:
                (long,) = struct.unpack_from("<Q", self._exactly(size), 8)
            else:
                self._skip(size + size % 2)

    def _format(self, content: bytes) -> Layout:
        if len(content) < 16:
            raise AudioError(f"{self.name} has a damaged WAV header")
        tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
        if tag == _EXTENSIBLE and len(content) >= 26:
            (tag,) = struct.unpack_from("<H", content, 24)
        encoding = _TAGS.get(tag, {}).get(bits)
        if encoding is None:
            raise AudioError(
                f"{self.name} is WAV with samples of kind {tag} and {bits} bits: convert it, for example with "
                "ffmpeg -i FILE -c:a pcm_s16le -f wav -"
            )
        try:
            return Layout(encoding, rate, channels)
        except InputError as error:
            raise AudioError(f"{self.name} has a WAV header with {error}") from error

    def _next_header(self) -> bytes:
        """Find the header of a WAV file that follows in the same stream, past trailing chunks of the one before."""
        while len(head := self._take(4)) == 4 and head not in (b"RIFF", b"RF64"):
            size = self._take(4)
            if len(size) < 4:
                return b""
            (length,) = struct.unpack("<I", size)
            self._skip(length + length % 2)
        return head

    def _skip(self, size: int) -> None:
        while size > 0 and (data := self._some(min(size, _READ))):
            size -= len(data)

    def _exactly(self, size: int) -> bytes:
        if len(data := self._take(size)) < size:
            raise AudioError(f"{self.name} ends in the middle of a WAV header: nothing of it is sound")
        return data

    def _take(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end."""
        parts, missing = [], size
        while missing > 0 and (data := self._some(min(missing, _READ))):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`, and nothing at the end."""
        if self._stopped:
            return b""
        if not self._rest:
            try:
                self._rest = self._file.read(_READ) or b""
            except OSError as error:
                raise AudioError(f"{self.name} cannot be read ({error.strerror or error})") from error
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class Feed:
    """Reads a source ahead in a thread of its own.

    Parameters
    ----------
    source : SoundInput
        Source to read.
    ahead : int, default 64
        Blocks to read ahead; then a pipe waits, and a microphone queues by itself.

    Examples
    --------
    >>> import io
    >>> feed = Feed(PipeSource(io.BytesIO(bytes(3200))))
    >>> len(feed.next(60))
    1600
    >>> feed.next(60) is None, feed.ended
    (True, True)
    """

    def __init__(self, source: SoundInput, ahead: int = 64) -> None:
        self.source = source
        self.ended = False
        self._pieces: queue.Queue[Piece | BaseException | None] = queue.Queue(ahead)
        self._stopped = threading.Event()
        # A daemon: a read that waits for a pipe cannot be interrupted, and must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="emovox-sound", daemon=True)
        self._thread.start()

    def next(self, timeout: float) -> Piece | None:
        """Return the next block or notice; None if none arrived within `timeout` seconds, or at the end (`ended`).

        Raises
        ------
        EmovoxError
            Error of the source, which ends it.
        """
        if self.ended:
            return None
        try:
            piece = self._pieces.get(timeout=timeout)
        except queue.Empty:
            return None
        if piece is None or isinstance(piece, BaseException):
            self.ended = True
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def stop(self) -> None:
        """Stop reading the source."""
        self._stopped.set()
        self.source.stop()

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for piece in self.source.read():
                if isinstance(piece, Notice) or len(piece):
                    self._put(piece)
                if self._stopped.is_set():
                    break
        except BaseException as error:  # raised again by next()
            last = error
        self._put(last)

    def _put(self, piece: Piece | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._pieces.put(piece, timeout=0.2)
            except queue.Full:
                continue
            return


def standard_input() -> Reader:
    """Return standard input as an unbuffered stream, whose reads return what has arrived.

    Raises
    ------
    InputError
        Standard input is a terminal.
    """
    if os.isatty(0):
        raise InputError(
            "standard input is a terminal: pipe sound into it, for example arecord -f S16_LE -r 16000 | "
            "emovox listen -, or leave out the - to listen to a microphone"
        )
    return open(0, "rb", buffering=0, closefd=False)
