"""Read a recording as 16 kHz mono: whole, in part, block by block, or many stretches of it in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from emovox.audio.convert import Converter
from emovox.audio.decode import Recording, open_recording
from emovox.audio.sources import Channel, Samples, Sound, Source, as_sound, seekable, source_name
from emovox.errors import AudioError, EmovoxError
from emovox.types import RATE, Float32Array, Unread, Waveform

#: Shortest sound that can be analysed, in seconds: a short syllable.
MIN_DURATION = 0.1

#: Seconds that are decoded at a time where many stretches are read.
_BLOCK = 10.0

#: Seconds read before a stretch, so that the resampling filter has settled when the stretch begins.
LEAD_IN = 0.5


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
    unread : tuple of Unread
        What cannot be read, as far as it has been met.
    notes : tuple of str
        What there is to say: a channel that is another upside down, two with different voices, sound tracks beside the
        one that is read.
    """

    def __init__(self, source: Source | Samples | Channel, size: int) -> None:
        self._source, self._size = source, size
        self._unread: list[Unread] = []
        self._notes: list[str] = []
        self._blocks = self._cut()

    def __next__(self) -> Waveform:
        return next(self._blocks)

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What cannot be read, as far as it has been met."""
        return tuple(self._unread)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about channels and tracks, once all is read."""
        return tuple(dict.fromkeys(self._notes))

    def _cut(self) -> Iterator[Waveform]:
        """Cut the recording into blocks."""
        pieces: list[Float32Array] = []
        held = given = 0
        with open_recording(self._source) as recording:
            self._unread = recording.unread
            for piece in _resampled(recording, self._notes):
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
    if waveform.duration < MIN_DURATION:
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
