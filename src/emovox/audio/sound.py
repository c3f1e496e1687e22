"""What can be analysed: recordings in files, samples in memory, single channels of either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox.audio import decoders
from emovox.audio.decode import Piece, Recording, Source, checked_rate, open_recording, source_name, to_float
from emovox.errors import AudioError


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


@contextmanager
def opened(source: Source | Samples | Channel, skip: float = 0.0) -> Iterator[Recording]:
    """Open a recording in a file or in memory."""
    if isinstance(source, Channel):
        with opened(as_sound(source.source), skip) as recording:
            recording.channel = source.number
            yield recording
    elif isinstance(source, Samples):
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
