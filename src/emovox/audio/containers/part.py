"""A stream of sound in a file: what one decoder reads from its beginning to its end, and how its bytes are had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

#: What a part is made of: bytes that stand for themselves, or (offset, length) in the file.
Slice: TypeAlias = bytes | tuple[int, int]


class Bytes(Protocol):
    """What is asked of a file to find the parts in it."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def at(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes from a place, fewer only where the file ends."""
        ...


@dataclass(frozen=True)
class Loss:
    """A stretch of a part that its bytes do not hold.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the part.
    reason : str
        Why, to be read after "0.0 to 1.0 s cannot be read: ".
    """

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Part:
    """A stream of its own in a file.

    Attributes
    ----------
    slices : tuple of bytes or (offset, length)
        What a decoder is given, see :class:`emovox.audio.decoders.View`.
    label : str
        What people call the format.
    demuxer : str
        ffmpeg's name of it.  It is named, not probed for, because ffmpeg also knows playlists, which open other files
        and URLs.  Empty where ffmpeg is not to be asked: the header would lead it astray.
    native : bool
        Whether libsndfile is asked first.
    duration : float or None
        Seconds of sound that the bytes hold or, where that is more, the header promises; None where it takes
        decoding to know.
    stated : float or None
        Seconds of sound as the header states it, for a length that is told without decoding.
    exact : bool
        Whether libsndfile may go by the header: a place in the part can be sought.
    clocked : bool
        Whether the container's timestamps count: sound may begin late or have gaps.
    zero : bool
        Whether the container's clock begins with 0; otherwise it begins with its earliest stream.
    losses : tuple of Loss
        What is known to be missing before anything is decoded.
    tracks : int
        How many streams of sound go side by side, as far as that is known before decoding; the first is read.
    """

    slices: tuple[Slice, ...]
    label: str
    demuxer: str
    native: bool = False
    duration: float | None = None
    stated: float | None = None
    exact: bool = False
    clocked: bool = False
    zero: bool = True
    losses: tuple[Loss, ...] = ()
    tracks: int = 1

    def but(self, **changes: object) -> Part:
        """Return the part with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def coalesced(slices: list[Slice]) -> tuple[Slice, ...]:
    """Join slices that follow one another in the file.

    Examples
    --------
    >>> coalesced([(0, 4), (4, 6), (12, 1), b"x"])
    ((0, 10), (12, 1), b'x')
    """
    joined: list[Slice] = []
    for one in slices:
        last = joined[-1] if joined else None
        if isinstance(last, tuple) and isinstance(one, tuple) and last[0] + last[1] == one[0]:
            joined[-1] = (last[0], last[1] + one[1])
        else:
            joined.append(one)
    return tuple(joined)
