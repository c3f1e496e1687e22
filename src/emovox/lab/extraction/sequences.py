"""Arrays of sequences of different lengths, and of several named inputs, for estimators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox.types import Float32Array


@dataclass(frozen=True, eq=False)
class Sequences:
    """An array of sequences, indexed like a numpy array; an element is the frames of one clip.

    All frames are in one block, so that selecting sequences copies no frames, and processes can share the block.

    Attributes
    ----------
    frames : ndarray of float32, shape (n_frames, n_features)
        The frames of all sequences, concatenated.
    starts, lengths : ndarray of int, shape (n_clips,) or (n_clips, n_copies)
        Position of each sequence in `frames`.

    Examples
    --------
    >>> both = pack([np.zeros((3, 2)), np.ones((5, 2))])
    >>> len(both), both[1].shape, both[[1]].lengths.tolist()
    (2, (5, 2), [5])
    """

    frames: Float32Array
    starts: NDArray[np.intp]
    lengths: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of clips and, if any, of copies of each."""
        return self.starts.shape

    @property
    def width(self) -> int:
        """Number of features per frame."""
        return int(self.frames.shape[1])

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """Return the frames of one sequence, or several sequences."""
        start, length = self.starts[index], self.lengths[index]
        if np.ndim(start):
            return Sequences(self.frames, start, length)
        return self.frames[start : start + length]


def pack(clips: Sequence[Any] | NDArray[Any] | Sequences) -> Sequences:
    """Build an array of sequences; one that is already packed is returned unchanged.

    Parameters
    ----------
    clips : sequence of ndarray, shape (n_frames, n_features) each, or (n_copies,) lists of those
        At least one; all with the same number of features and of copies.

    Returns
    -------
    Sequences
        Of the shape (n_clips,), or (n_clips, n_copies).

    Examples
    --------
    >>> pack([[np.zeros((3, 2)), np.zeros((4, 2))]]).shape
    (1, 2)
    """
    if isinstance(clips, Sequences):
        return clips
    flat: list[Any] = list(clips)
    shape: tuple[int, ...] = (len(flat),)
    if isinstance(flat[0], list):
        shape = (len(flat), len(flat[0]))
        flat = [copy for copies in flat for copy in copies]
    lengths = np.array([len(one) for one in flat], dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)
    frames = np.concatenate([np.asarray(one, dtype=np.float32) for one in flat])
    return Sequences(frames, starts.reshape(shape), lengths.reshape(shape))


@dataclass(frozen=True, eq=False)
class Inputs:
    """Several named inputs of the same clips: of the members of a stack, or features and words of a fusion.

    Attributes
    ----------
    parts : mapping of str to ndarray or Sequences, or None
        Inputs with one row per clip; None for a missing one, such as copies of a member without augmentation.

    Examples
    --------
    >>> both = Inputs({"a": np.zeros((3, 2)), "b": pack([np.zeros((4, 5))] * 3)})
    >>> len(both), len(both[:2]), both[[0]].parts["b"].shape
    (3, 2, (1,))
    """

    parts: Mapping[str, Any]

    def __len__(self) -> int:
        return max((len(part) for part in self.parts.values() if part is not None), default=0)

    def __getitem__(self, rows: Any) -> Inputs:
        """Select clips."""
        return Inputs({name: None if part is None else part[rows] for name, part in self.parts.items()})


#: Features of clips: one row per clip, sequences of frames, or several named inputs.
Features = Float32Array | Sequences | Inputs


def gather(clips: Sequence[Any], level: str) -> Features:
    """Combine the features of clips: vectors into rows of an array, frames into `Sequences`.

    Parameters
    ----------
    clips : sequence of ndarray, or of lists of the copies' ndarray
        Features of each clip.
    level : {"clip", "frame"}
        Level of the feature set.
    """
    return pack(clips) if level == "frame" else np.stack(clips)


def padded(clips: Sequence[Float32Array]) -> tuple[Float32Array, NDArray[np.int64]]:
    """Pad sequences with zeros to the length of the longest.

    Returns
    -------
    frames : ndarray of float32, shape (n_clips, n_frames, n_features)
    lengths : ndarray of int, shape (n_clips,)

    Examples
    --------
    >>> frames, lengths = padded([np.ones((1, 2)), np.ones((3, 2))])
    >>> frames.shape, lengths.tolist(), float(frames[0].sum())
    ((2, 3, 2), [1, 3], 2.0)
    """
    lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    frames = np.zeros((len(clips), int(lengths.max()), clips[0].shape[1]), dtype=np.float32)
    for row, clip in zip(frames, clips, strict=True):
        row[: len(clip)] = clip
    return frames, lengths
