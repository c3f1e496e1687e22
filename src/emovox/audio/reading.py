"""Read a recording as 16 kHz mono, whole, in part or block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from emovox.audio import decoders
from emovox.audio.decode import (
    Piece,
    Recording,
    Source,
    checked_rate,
    open_recording,
    seekable,
    source_name,
    to_float,
)
from emovox.errors import AudioError
from emovox.types import RATE, Float32Array, Waveform

__all__ = [
    "MIN_DURATION",
    "Converter",
    "Samples",
    "Sound",
    "Source",
    "as_sound",
    "blocks",
    "duration",
    "from_array",
    "read",
    "require_signal",
]

#: Shortest sound that can be analysed, in seconds: a short syllable.
MIN_DURATION = 0.1

#: Largest sample accepted.  Full scale is 1, integers stored as float reach 2**31; from about 1e16 on, powers
#: summed over a spectrum no longer fit float32.
LOUDEST = 1e12

#: Seconds read before a stretch, so that the resampling filter has settled when the stretch begins.
LEAD_IN = 0.5


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
    >>> import numpy as np
    >>> read(Samples(np.zeros((44100, 2)), 44100)).duration
    1.0
    """

    samples: NDArray[Any]
    rate: float
    name: str = "<array>"


#: What can be analysed: a recording in a file (:data:`Source`), or samples with their rate.
Sound: TypeAlias = Source | Samples | tuple[NDArray[Any], float]


def as_sound(source: Sound | NDArray[Any], rate: float | None = None, name: str | None = None) -> Source | Samples:
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
        What :func:`read` and :func:`blocks` take.

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
    with _opened(source, skip=max(0.0, start - LEAD_IN)) as recording:
        position = round(recording.origin * RATE)
        for piece in _resampled(recording):
            stop = len(piece) if last is None else max(0, last - position)
            pieces.append(piece[max(0, first - position) : stop])
            position += len(piece)
            if last is not None and position >= last:
                break
    samples = _joined(pieces)
    if not len(samples) and position:
        name = source_name(source)
        raise AudioError(f"{name} ends at {position / RATE:g} s: a stretch from {start:g} s lies outside")
    return Waveform(_not_empty(samples, source_name(source)), first / RATE)


def blocks(source: Sound, duration: float = 30.0) -> Iterator[Waveform]:
    """Read a recording block by block, in memory that does not grow with its length.

    Parameters
    ----------
    source : str, path, bytes, binary file, Samples or pair of array and rate
        What to read, as in :func:`read`.
    duration : float, default 30
        Length of a block in seconds; the last one may be shorter.

    Returns
    -------
    iterator of Waveform
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
    return _blocks(as_sound(source), round(duration * RATE))


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
    with _opened(as_sound(source)) as recording:
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


class Converter:
    """Bring sound that goes on to 16 kHz mono, from pieces of any size: files and streams alike.

    What is kept from piece to piece is the state of the resampling filter; the cut into pieces changes nothing.

    Parameters
    ----------
    rate : float, default 16000
        Sampling rate of what comes, in Hz, a whole number from 1000 to 768000.
    channels : int, default 1
        Number of channels of what comes; they are averaged.
    name : str
        What to call the sound in an error.
    origin : float, default 0
        Seconds of the recording before the first piece, for errors.

    Raises
    ------
    AudioError
        The rate is out of its range, or there are no channels.

    Examples
    --------
    >>> import numpy as np
    >>> converter = Converter(rate=8000, channels=2)
    >>> sum(len(converter.push(np.zeros((100, 2)))) for _ in range(80)) + len(converter.finish())
    16000
    """

    def __init__(self, rate: float = RATE, channels: int = 1, name: str = "the stream", origin: float = 0.0) -> None:
        if channels < 1:
            raise AudioError(f"{name} cannot have {channels} channels: expected 1 or more")
        self.rate, self.channels, self.name = checked_rate(rate, name), channels, name
        self._origin, self._frames = origin, 0
        self._resampler: Any = None
        if self.rate != RATE:
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
        mono = chunk[:, 0] if self.channels == 1 else chunk.mean(axis=1)
        return mono if self._resampler is None else np.asarray(self._resampler.resample_chunk(mono), np.float32)

    def finish(self) -> Float32Array:
        """End the sound: what the filter held back, shape (n,)."""
        if self._resampler is None:
            return np.empty(0, np.float32)
        return np.asarray(self._resampler.resample_chunk(np.empty(0, np.float32), last=True), np.float32)


@contextmanager
def _opened(source: Source | Samples, skip: float = 0.0) -> Iterator[Recording]:
    """Open a recording in a file or in memory."""
    if isinstance(source, Samples):
        yield _in_memory(source)
    else:
        with open_recording(source, skip) as recording:
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


def _resampled(recording: Recording) -> Iterator[Float32Array]:
    """Bring a recording to 16 kHz mono, in pieces of any length."""
    converter: Converter | None = None
    due = 0.0
    for piece in recording.pieces:
        shape = piece.rate, piece.samples.shape[1]
        if converter is None or shape != (converter.rate, converter.channels):
            if converter is not None:
                yield converter.finish()
            converter = Converter(*shape, recording.name, recording.origin + due)
        due += len(piece.samples) / piece.rate
        yield converter.push(piece.samples)
    if converter:
        yield converter.finish()


def _blocks(source: Source | Samples, size: int) -> Iterator[Waveform]:
    """Cut a recording into blocks of `size` samples."""
    pieces: list[Float32Array] = []
    held = given = 0
    with _opened(source) as recording:
        for piece in _resampled(recording):
            pieces.append(piece)
            held += len(piece)
            if held < size:
                continue
            samples = _joined(pieces)
            whole = held // size * size
            for begin in range(0, whole, size):
                yield Waveform(samples[begin : begin + size], (given + begin) / RATE)
            given += whole
            pieces = [samples[whole:]]
            held -= whole
    if held or not given:
        yield Waveform(_not_empty(_joined(pieces), source_name(source)), given / RATE)


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


def _not_empty(samples: Float32Array, name: str) -> Float32Array:
    if not len(samples):
        raise AudioError(f"{name} contains no samples: expected a recording")
    return samples
