"""What is given as sound, read as 16 kHz mono: whole, in part, block by block, or many stretches in one pass."""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emovox.audio.containers import parts_of
from emovox.audio.decoding import CHUNK, LOUDEST, Guard, Piece, Recording, checked_rate, decoded, to_float
from emovox.errors import AudioError, EmovoxError, reason
from emovox.types import RATE, Float32Array, Float64Array, Unread, Waveform

#: What can be read: a path, the bytes of a file, or a file opened in binary mode.
Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

#: A stream that cannot seek is kept in memory up to this many bytes, and on disk beyond.
SPOOL = 2**25


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
    step = max(1, CHUNK // frames.shape[1])
    rate = checked_rate(source.rate, name)
    pieces = (Piece(rate, to_float(frames[i : i + step], name)) for i in range(0, len(frames), step))
    return Recording(name, len(frames) / rate, pieces=pieces)


def _in_file(source: Source, skip: float, stack: ExitStack) -> Recording:
    name = source_name(source)
    file = Guard(binary_file(source, name, stack), name)
    parts = parts_of(file, source if isinstance(source, str | os.PathLike) else None)
    return decoded(file, parts, name, stack, skip)


#: Shortest sound that can be analysed, in seconds: a short syllable.
MIN_DURATION = 0.1

#: Seconds that are decoded at a time where many stretches are read.
_BLOCK = 10.0

#: Seconds read before a stretch, so that the resampling filter has settled when the stretch begins.
LEAD_IN = 0.5

#: Seconds of sound by which channels are compared at a time.
BLOCK = 0.05

#: Channels with a correlation below this are one sound upside down: their mean would cancel.  In the first moments,
#: where any two voices may happen to go against each other, it takes more, less by so much for each block as loud as
#: the rest.
OPPOSITE, DOUBT = -0.5, 0.05

#: Two channels hold different voices where their sound and its envelope are less alike than this.
UNLIKE, UNLIKE_ENVELOPE = 0.3, 0.7

#: Two channels are compared when both are within this of each other in energy, and after so many blocks.
QUIETER, ENOUGH = 1e-3, 40

#: More channels than these are averaged as they are: an array of microphones.
MOST = 16


def read(source: Sound, *, start: float = 0.0, end: float | None = None) -> Waveform:
    """Read a recording, or a stretch of one, as 16 kHz mono.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        What to read.  Its content decides the format, not its name.  A file object is read from its
        beginning and left open.
    start : float, default 0
        Where the stretch begins, in seconds.
    end : float, optional
        Where the stretch ends, in seconds.  An end beyond the recording's own means the recording's own.

    Returns
    -------
    Waveform
        Channels averaged, resampled to 16 kHz (soxr HQ).  A stretch differs from the same stretch of the
        whole recording by less than 1e-6 of full scale.

    Raises
    ------
    AudioError
        The source cannot be opened or decoded, has no samples or some that are not finite numbers, or `start`
        lies after its end.
    MissingExtraError
        The format needs the [formats] extra (m4a, mp4, mov, webm, mkv, wma, aac, amr, flv, avi, wavpack).

    Examples
    --------
    >>> import io, numpy as np, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((44100, 2)), 44100, format="WAV")
    >>> read(file, start=0.25).duration
    0.75
    """
    first, last = sample_span(start, end)
    source = as_sound(source)
    pieces: list[Float32Array] = []
    with open_recording(source, skip=max(0.0, start - LEAD_IN)) as recording:
        position = round(recording.origin * RATE)
        for piece in _resampled(recording, []):
            stop = len(piece) if last is None else max(0, last - position)
            pieces.append(piece[max(0, first - position) : stop])
            position += len(piece)
            if last is not None and position >= last:
                break
        unread = tuple(one for one in recording.unread if one.end >= start and (end is None or one.start < end))
    samples = _joined(pieces)
    if not len(samples) and position:
        name = source_name(source)
        raise AudioError(f"{name} ends at {position / RATE:g} s: a stretch from {start:g} s lies outside")
    return Waveform(_not_empty(samples, source), first / RATE, unread)


def blocks(source: Sound, duration: float = 30.0) -> Blocks:
    """Read a recording block by block, in memory that does not grow with its length.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        What to read, as in :func:`read`.
    duration : float, default 30
        Length of a block in seconds; the last one may be shorter.

    Returns
    -------
    Blocks
        Consecutive blocks at 16 kHz; put together they are exactly what :func:`read` gives.

    Raises
    ------
    AudioError, MissingExtraError
        As :func:`read`, when the fault is met: the blocks before it have been given by then.

    Examples
    --------
    >>> import io, numpy as np, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(40000), 16000, format="FLAC")
    >>> [(block.start, block.duration) for block in blocks(file, duration=1)]
    [(0.0, 1.0), (1.0, 1.0), (2.0, 0.5)]
    """
    if not (math.isfinite(duration) and round(duration * RATE) >= 1):
        raise AudioError(f"a block cannot last {duration:g} s: give a positive number of seconds")
    return Blocks(as_sound(source), round(duration * RATE))


class Blocks(Iterator[Waveform]):
    """The blocks of a recording, and what there is to say about it once they have been read.

    Attributes
    ----------
    name : str
        What to call the recording in a message.
    unread : list of Unread
        What cannot be read, as far as it has been met.
    notes : list of str
        What there is to say: a channel that is another upside down, two with different voices, sound tracks beside the
        one that is read.
    """

    def __init__(self, source: Source | Samples | Channel, size: int) -> None:
        self._source, self._size = source, size
        self.name = source_name(source)
        self.unread: list[Unread] = []
        self.notes: list[str] = []
        self._blocks = self._cut()

    def __next__(self) -> Waveform:
        return next(self._blocks)

    def _cut(self) -> Iterator[Waveform]:
        """Cut the recording into blocks."""
        pieces: list[Float32Array] = []
        held = given = 0
        with open_recording(self._source) as recording:
            self.unread = recording.unread
            for piece in _resampled(recording, self.notes):
                pieces.append(piece)
                held += len(piece)
                if held < self._size:
                    continue
                samples = _joined(pieces)
                whole = held // self._size * self._size
                for begin in range(0, whole, self._size):
                    yield Waveform(samples[begin : begin + self._size], (given + begin) / RATE)
                given += whole
                pieces = [samples[whole:]]
                held -= whole
        if held or not given:
            yield Waveform(_not_empty(_joined(pieces), self._source), given / RATE)


def stretches(source: Source, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[int, Waveform | EmovoxError]]:
    """Read many stretches of one recording as 16 kHz mono.

    An encoding in which seeking is exact and cheap is read stretch by stretch, any other once from its beginning to the
    end of the last stretch: the cost does not grow with the number of stretches, and memory only with their length.

    Parameters
    ----------
    source : str, path, bytes or binary file
        What to read, as in :func:`emovox.audio.read`.
    spans : sequence of (float, float)
        Start and end of each stretch in seconds, in any order, also overlapping; an infinite end is the recording's
        own.

    Yields
    ------
    int
        Position in `spans`, each once; in the order in which the stretches end.
    Waveform or EmovoxError
        Exactly what :func:`emovox.audio.read` gives for this stretch, or the error that it raises.

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(40000), 16000, format="FLAC")
    >>> [(number, one.start, one.duration) for number, one in stretches(file, [(0.5, 2), (0, 1)])]
    [(1, 0.0, 1.0), (0, 0.5, 1.5)]
    """
    if len(spans) == 1 or _seeks(source, max((start for start, _ in spans), default=0.0)):
        for number, span in sorted(enumerate(spans), key=lambda one: one[1]):
            yield number, _stretch(source, span)
    else:
        yield from _in_one_pass(source, spans)


def channels(source: Sound) -> int:
    """Count the channels of a recording.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        What to look at, as in :func:`read`.

    Returns
    -------
    int
        How many there are where the sound begins.

    Raises
    ------
    AudioError, MissingExtraError
        The source cannot be opened, or nothing in it decoded.

    Examples
    --------
    >>> import numpy as np
    >>> channels((np.zeros((1600, 2)), 16000))
    2
    """
    with open_recording(as_sound(source)) as recording:
        piece = next(recording.pieces, None)
        return 1 if piece is None else piece.samples.shape[1]


def from_array(samples: NDArray[Any], rate: float) -> Waveform:
    """Take samples that are already in memory.

    Parameters
    ----------
    samples : ndarray, shape (n_samples,) or (n_samples, n_channels)
        Floating-point numbers with full scale 1, or 16-bit, 32-bit or unsigned 8-bit integers.
    rate : float
        Sampling rate in Hz, a whole number from 1000 to 768000.

    Returns
    -------
    Waveform
        The same that :func:`read` gives for a file with these samples.

    Raises
    ------
    AudioError
        The array is empty, has another type or shape (channels first, for one) or samples that are not finite
        numbers, or the rate is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from_array(np.array([0, 16384, -32768], dtype=np.int16), 16000).samples.tolist()
    [0.0, 0.5, -1.0]
    """
    return read(Samples(samples, rate, "the array"))


def duration(source: Sound) -> float | None:
    """Tell how long a recording is by its header alone.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        What to look at, as in :func:`read`.

    Returns
    -------
    float or None
        Length in seconds as the header states it (a damaged file may hold less); None where the header does
        not tell, or where the source is a stream that can be read only once.

    Raises
    ------
    AudioError, MissingExtraError
        The source cannot be opened.

    Examples
    --------
    >>> import io, numpy as np, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(4000), 8000, format="WAV")
    >>> duration(file)
    0.5
    """
    if hasattr(source, "read") and not seekable(cast(BinaryIO, source)):
        return None
    with open_recording(as_sound(source)) as recording:
        return recording.duration


def require_signal(waveform: Waveform, name: str) -> Waveform:
    """Make sure that there is something to analyse.

    Parameters
    ----------
    waveform : Waveform
        What :func:`read` gave.
    name : str
        What to call the recording in an error.

    Returns
    -------
    Waveform
        The same waveform.

    Raises
    ------
    AudioError
        It is shorter than 0.1 s, or every sample is zero.

    Examples
    --------
    >>> import numpy as np
    >>> require_signal(Waveform(np.zeros(16000, dtype=np.float32)), "mute.wav")
    Traceback (most recent call last):
        ...
    emovox.errors.AudioError: mute.wav is silent, every sample is zero: check the microphone or the export
    """
    if len(waveform.samples) < MIN_DURATION * RATE:
        raise AudioError(
            f"{name} lasts {waveform.duration:.3f} s, too short to analyse: give at least {MIN_DURATION:g} s of sound"
        )
    if not waveform.samples.any():
        raise AudioError(f"{name} is silent, every sample is zero: check the microphone or the export")
    return waveform


def _resampled(recording: Recording, notes: list[str]) -> Iterator[Float32Array]:
    """Bring a recording to 16 kHz mono, in pieces of any length."""
    converter: Converter | None = None
    due = 0.0
    for piece in recording.pieces:
        shape = piece.rate, piece.samples.shape[1]
        if converter is None or shape != (converter.rate, converter.channels):
            if converter is not None:
                yield converter.finish()
                notes += converter.notes
            # A stretch of mono within a recording of more channels has but one.
            channel = None if shape[1] == 1 and converter is not None else recording.channel
            converter = Converter(*shape, recording.name, recording.origin + due, channel)
        due += len(piece.samples) / piece.rate
        yield converter.push(piece.samples)
    notes += recording.notes
    if converter:
        yield converter.finish()
        notes += converter.notes


def sample_span(start: float, end: float | None) -> tuple[int, int | None]:
    """Turn seconds into the first sample of a stretch at 16 kHz and the one after its last.

    Raises
    ------
    AudioError
        The stretch is empty, or begins before the recording.

    Examples
    --------
    >>> sample_span(0.5, 2), sample_span(1, None)
    ((8000, 32000), (16000, None))
    """
    if not (math.isfinite(start) and start >= 0):
        raise AudioError(f"a stretch cannot start at {start:g} s: give 0 or more")
    if end is None:
        return round(start * RATE), None
    if not (math.isfinite(end) and round(end * RATE) > round(start * RATE)):
        raise AudioError(f"a stretch from {start:g} s to {end:g} s is empty: give an end after the start")
    return round(start * RATE), round(end * RATE)


def _joined(pieces: list[Float32Array]) -> Float32Array:
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def _not_empty(samples: Float32Array, source: object) -> Float32Array:
    if not len(samples):
        raise AudioError(f"{source_name(source)} contains no samples: expected a recording")
    return samples


def _stretch(source: Source, span: tuple[float, float]) -> Waveform | EmovoxError:
    start, end = span
    try:
        return read(source, start=start, end=None if math.isinf(end) else end)
    except EmovoxError as error:
        return error.with_traceback(None)  # its frames hold samples


def _seeks(source: Source, start: float) -> bool:
    """Tell whether a stretch that begins there is reached without decoding what precedes it."""
    try:
        with open_recording(source, skip=max(0.0, start - LEAD_IN)) as recording:
            return recording.origin > 0
    except EmovoxError:
        return False  # whoever reads it says what is wrong


class _Cut:
    """One stretch while it is collected, in samples at 16 kHz."""

    def __init__(self, number: int, span: tuple[float, float]) -> None:
        self.number, self.span = number, span
        start, end = span
        self.first, last = sample_span(start, None if math.isinf(end) else end)
        self.last = math.inf if last is None else last
        self.pieces: list[Float32Array] = []

    def take(self, block: Float32Array, position: int) -> None:
        """Keep what belongs to it of a block that begins at `position`."""
        piece = block[max(0, self.first - position) : max(0, int(min(self.last - position, len(block))))]
        if len(piece):
            self.pieces.append(piece.copy())  # a copy: the rest of the block goes

    def waveform(self) -> Waveform:
        return Waveform(np.concatenate(self.pieces), self.first / RATE)


class _Pass:
    """The stretches of a recording while it is decoded: those to come, in order, and those that have begun."""

    def __init__(self, waiting: list[_Cut]) -> None:
        self.waiting = waiting
        self.open: list[_Cut] = []
        self.length = 0

    def take(self, block: Float32Array) -> list[_Cut]:
        """Take the next samples; return the stretches that end in them."""
        begin, self.length = self.length, self.length + len(block)
        begun = next((k for k, cut in enumerate(self.waiting) if cut.first >= self.length), len(self.waiting))
        self.open += self.waiting[:begun]
        del self.waiting[:begun]
        for cut in self.open:
            cut.take(block, begin)
        ended = sorted((cut for cut in self.open if cut.last <= self.length), key=lambda cut: cut.last)
        self.open = [cut for cut in self.open if cut.last > self.length]
        return ended


def _in_one_pass(source: Source, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[int, Waveform | EmovoxError]]:
    """Decode from the beginning, and give each stretch as soon as it is whole."""
    cuts = []
    for number, span in enumerate(spans):
        try:
            cuts.append(_Cut(number, span))
        except AudioError as error:
            yield number, error
    now = _Pass(sorted(cuts, key=lambda cut: (cut.first, cut.last)))
    try:
        for block in blocks(source, _BLOCK):
            for cut in now.take(block.samples):
                yield cut.number, cut.waveform()
            if not (now.open or now.waiting):
                return
    except EmovoxError as error:
        for cut in now.open + now.waiting:
            # Of the block with the fault a stretch may need only what precedes it.
            near = cut.first < now.length + _BLOCK * RATE
            yield cut.number, _stretch(source, cut.span) if near else error
        return
    for cut in now.open:
        yield cut.number, cut.waveform()
    for cut in now.waiting:
        place = f"ends at {now.length / RATE:g} s: a stretch from {cut.span[0]:g} s lies outside"
        yield cut.number, AudioError(f"{source_name(source)} {place}")


class Converter:
    """Bring sound that goes on to 16 kHz mono, from pieces of any size: files and streams alike.

    What is kept from piece to piece is the state of the resampling filter; the cut into pieces changes nothing.

    Parameters
    ----------
    rate : float, default 16000
        Sampling rate of what comes, in Hz, a whole number from 1000 to 768000.
    channels : int, default 1
        Number of channels of what comes; they are averaged, one that is another one upside down turned over first.
    name : str
        What to call the sound in an error.
    origin : float, default 0
        Seconds of the recording before the first piece, for errors.
    channel : int, optional
        The channel that is wanted, the first is 1; the default is the mean of all.

    Attributes
    ----------
    notes : list of str
        What there is to say about the channels: grows as they are heard.

    Raises
    ------
    AudioError
        The rate is out of its range, or there is no such channel.

    Examples
    --------
    >>> import numpy as np
    >>> converter = Converter(rate=8000, channels=2)
    >>> sum(len(converter.push(np.zeros((100, 2)))) for _ in range(80)) + len(converter.finish())
    16000
    """

    def __init__(
        self,
        rate: float = RATE,
        channels: int = 1,
        name: str = "the stream",
        origin: float = 0.0,
        channel: int | None = None,
    ) -> None:
        if channels < 1:
            raise AudioError(f"{name} cannot have {channels} channels: expected 1 or more")
        self.rate, self.channels, self.name = checked_rate(rate, name), channels, name
        self._mix = Downmix(self.rate, channels, channel, name)
        self.notes = self._mix.notes
        self._origin, self._frames = origin, 0
        self._resampler: Any = None
        if self.rate != RATE:
            import soxr  # recordings at 16 kHz need none

            self._resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="float32", quality="HQ")

    def push(self, samples: ArrayLike) -> Float32Array:
        """Take the next samples.

        Parameters
        ----------
        samples : array_like, shape (n_samples,) of one channel, or (n_samples, n_channels)
            Floating-point numbers with full scale 1, or 16-bit, 32-bit or unsigned 8-bit integers; any number of
            them, none included.

        Returns
        -------
        ndarray of float32, shape (n,)
            What there is to give at 16 kHz by now: the filter holds the last few milliseconds back.

        Raises
        ------
        AudioError
            Samples of another shape or type, or some that are not finite numbers; the converter is as it was before.
        """
        piece = np.asarray(samples)
        if piece.ndim == 1 and self.channels == 1:
            piece = piece[:, np.newaxis]
        if piece.ndim != 2 or piece.shape[1] != self.channels:
            promised = f"{self.channels} channel" + "s" * (self.channels > 1)
            raise AudioError(
                f"{self.name} gave samples of shape {piece.shape}, and {promised} were promised: "
                f"expected (n_samples{', ' + str(self.channels) if self.channels > 1 else ''})"
            )
        chunk = to_float(piece, self.name)
        # Written so that a comparison with NaN, which is never true, ends in the error.
        if not (chunk.max(initial=0) <= LOUDEST and chunk.min(initial=0) >= -LOUDEST):
            frame, channel = np.argwhere(~(np.abs(chunk) <= LOUDEST))[0]
            raise AudioError(
                f"{self.name} has a sample of {chunk[frame, channel]:g} at "
                f"{self._origin + (self._frames + frame) / self.rate:.3f} s: samples must be finite numbers with full "
                "scale 1, export it again"
            )
        self._frames += len(chunk)
        return self._resampled(self._mix.push(chunk))

    def finish(self) -> Float32Array:
        """End the sound: what the filter held back, shape (n,)."""
        return self._resampled(self._mix.finish(), last=True)

    def _resampled(self, mono: Float32Array, last: bool = False) -> Float32Array:
        if self._resampler is None:
            return mono
        return np.asarray(self._resampler.resample_chunk(mono, last=last), np.float32)


class Downmix:
    """Mix what comes into one channel.

    A channel that is another one upside down (a swapped wire, a karaoke effect) is turned over before the mean is
    taken: together they would cancel and leave nothing but noise.  The decision is taken for each 50 ms by all that has
    been heard so far, those included, so that cutting the sound into other pieces changes nothing.

    Parameters
    ----------
    rate : int
        Sampling rate in Hz.
    channels : int
        Number of channels.
    channel : int, optional
        The channel that is wanted, the first is 1; the default is the mean of all.
    name : str
        What to call the sound in an error.

    Attributes
    ----------
    notes : list of str
        What there is to say about the channels.

    Raises
    ------
    AudioError
        There is no such channel.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=1600).astype(np.float32)
    >>> mix = Downmix(16000, 2)
    >>> bool(np.allclose(mix.push(np.stack([x, -x], axis=1)), x))
    True
    >>> mix.notes
    ['channel 2 is upside down, and was turned over before the channels were mixed']
    """

    def __init__(self, rate: int, channels: int, channel: int | None = None, name: str = "the sound") -> None:
        if channel is not None and not 1 <= channel <= channels:
            there = "one channel" if channels == 1 else f"{channels} channels"
            raise AudioError(f"{name} has {there}: there is no channel {channel}")
        self.notes: list[str] = []
        self._channel, self._channels = channel, channels
        self._compare = channel is None and 1 < channels <= MOST
        self._size = max(1, round(BLOCK * rate))
        self._rest = np.empty((0, channels), np.float32)
        self._gram = np.zeros((channels, channels))
        self._energy = np.zeros(2)  # of the blocks, and its squares
        self._signs = np.ones(channels, np.float32)
        self._moments = np.zeros(6)  # number, sums, squares and product of the envelopes of two channels

    def push(self, samples: Float32Array) -> Float32Array:
        """Take samples, shape (n, n_channels); return what is mixed by now, shape (m,)."""
        if self._channel is not None:
            return samples[:, self._channel - 1]
        if self._channels == 1:
            return samples[:, 0]
        if not self._compare:
            return np.asarray(samples.mean(axis=1))
        waiting = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(waiting) // self._size * self._size
        self._rest = waiting[whole:].copy()
        return self._mixed(waiting[:whole], self._size)

    def finish(self) -> Float32Array:
        """End the sound: what was held back, shape (n,)."""
        rest, self._rest = self._rest, self._rest[:0]
        mixed = self._mixed(rest, max(1, len(rest)))
        if self._compare and self._different():
            self.notes.append("its two channels hold different voices: --channels each judges them one by one")
        return mixed

    def _mixed(self, samples: Float32Array, size: int) -> Float32Array:
        """Mix whole blocks."""
        if not len(samples):
            return np.empty(0, np.float32)
        blocks = samples.reshape(-1, size, self._channels)
        centred = (blocks - blocks.mean(axis=1, keepdims=True)).astype(np.float64)
        grams = centred.transpose(0, 2, 1) @ centred
        self._measure(grams, size)
        sums = self._gram + np.cumsum(grams, axis=0)
        heard = np.trace(np.concatenate([self._gram[np.newaxis], sums[:-1]]), axis1=1, axis2=2) > 0
        self._gram = sums[-1]
        power = np.trace(grams, axis1=1, axis2=2)
        energy = self._energy + np.cumsum(np.stack([power, power**2], axis=1), axis=0)
        self._energy = energy[-1]
        signs = _signs(sums, energy[:, 0] ** 2 / np.maximum(energy[:, 1], np.finfo(float).tiny))
        before = np.concatenate([self._signs[np.newaxis], signs[:-1]])
        before = np.where(heard[:, np.newaxis], before, signs)
        self._signs = signs[-1]
        if (signs > 0).all() and (before > 0).all():
            return np.asarray(samples.mean(axis=1))
        self._note(signs)
        # A change of sign is spread over a tenth of the block, so that it makes no click.
        ramp = np.minimum(1, np.arange(size, dtype=np.float32) * 10 / size)[:, np.newaxis]
        gains = before[:, np.newaxis] + (signs - before)[:, np.newaxis] * ramp
        return np.asarray((blocks * gains).reshape(len(samples), -1).mean(axis=1), np.float32)

    def _note(self, signs: Float32Array) -> None:
        for channel in np.flatnonzero((signs < 0).any(axis=0)):
            text = f"channel {channel + 1} is upside down, and was turned over before the channels were mixed"
            if text not in self.notes:
                self.notes.append(text)

    def _measure(self, grams: Float64Array, size: int) -> None:
        """Add blocks to what is known of the envelopes of two channels."""
        if self._channels == 2:
            first, second = np.sqrt(np.maximum(0, grams[:, 0, 0] / size)), np.sqrt(np.maximum(0, grams[:, 1, 1] / size))
            products = (np.ones_like(first), first, second, first**2, second**2, first * second)
            self._moments += [product.sum() for product in products]

    def _different(self) -> bool:
        """Tell whether two channels hold different voices."""
        count, first, second, first2, second2, both = self._moments
        energies = self._gram.diagonal()
        if self._channels != 2 or count < ENOUGH or energies.min() <= QUIETER * energies.max():
            return False
        alike = abs(self._gram[0, 1]) / np.sqrt(energies[0] * energies[1])
        spread = np.sqrt(max(0.0, count * first2 - first**2) * max(0.0, count * second2 - second**2))
        together = (count * both - first * second) / spread if spread > 0 else 1.0
        return bool(alike < UNLIKE and together < UNLIKE_ENVELOPE)


def _signs(sums: Float64Array, blocks: Float64Array) -> Float32Array:
    """Tell which channels are others upside down, shape (n_blocks, n_channels): -1 for those, 1 for others.

    `blocks` is how many blocks the sums are made of, those that are softer than others counted as less.
    """
    energies = np.diagonal(sums, axis1=1, axis2=2)
    loudest = energies.argmax(axis=1)
    cross = sums[np.arange(len(sums)), loudest]
    scale = np.sqrt(energies * energies.max(axis=1, keepdims=True))
    limit = np.minimum(OPPOSITE, DOUBT * blocks - 1)[:, np.newaxis]
    signs = np.where(cross < limit * scale, np.float32(-1), np.float32(1))
    return signs * signs[:, :1]  # by the first channel, because which is the loudest may change
