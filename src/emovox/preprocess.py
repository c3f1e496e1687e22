"""Cleaning a waveform before anything is measured on it, and cutting it into windowed frames."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from emovox.errors import FeatureError
from emovox.types import Float

#: Window shapes by name; all periodic (DFT-even), as scipy.signal.get_window makes them with fftbins=True.
WINDOWS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}


@lru_cache(maxsize=32)
def window(name: str, length: int) -> Float:
    """Make a window as a sum of cosines.

    Parameters
    ----------
    name : {"hann", "hamming", "blackman", "rectangular"}
        Shape of the window.
    length : int
        Number of samples.

    Returns
    -------
    ndarray of float32, shape (length,)
        Periodic window with values in [0, 1]; read-only, because it is cached.

    Raises
    ------
    FeatureError
        The name is not known.

    Examples
    --------
    >>> window("hann", 4).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if name not in WINDOWS:
        raise FeatureError(f"unknown window {name!r}: choose one of {', '.join(WINDOWS)}")
    phase = 2 * np.pi * np.arange(length) / length
    shape = sum((-1) ** k * weight * np.cos(k * phase) for k, weight in enumerate(WINDOWS[name]))
    result = np.asarray(shape, dtype=np.float32)
    result.setflags(write=False)
    return result


def frame(samples: Float, length: int, hop: int, *, center: bool = True) -> Float:
    """Cut a signal into overlapping frames without copying it.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono signal.
    length, hop : int
        Frame length and step in samples.
    center : bool, default True
        Pad with ``length // 2`` zeros on both sides, so that frame ``t`` is centred on sample ``t * hop`` and
        a signal shorter than one frame still gives one.

    Returns
    -------
    ndarray of float32, shape (n_frames, length)
        Read-only view.  ``n_frames = 1 + n_samples // hop`` when centred and ``length`` is even.

    Examples
    --------
    >>> import numpy as np
    >>> frame(np.arange(6, dtype=np.float32), 4, 2, center=False).tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    """
    padded = np.pad(samples, length // 2) if center else samples
    if len(padded) < length:
        padded = np.pad(padded, (0, length - len(padded)))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
