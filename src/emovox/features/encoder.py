"""The encoder inside the package, as the feature set ``default``: one embedding a clip, without weights to download.

Models that use it share one file, so a model of one's own is small and trained without PyTorch's encoders.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emovox.features.analysis import Analysis, padded
from emovox.session import open_session, with_outputs
from emovox.types import Float32Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Whisper's encoders in it, their width and the blocks whose outputs are pooled.
PARTS = (("whisper-tiny.en", 384, (1, 2, 3)), ("whisper-base", 512, (2, 3)))

#: What the graph in the file calls the states that are pooled, in the order of :func:`names`.
_POOLED = tuple(
    f"/embedder/encoder/layers.{block - 1}{'_1' if number else ''}/Add_2_output_0"
    for number, (_, _, blocks) in enumerate(PARTS)
    for block in blocks
)
_FILE = Path(__file__).with_name("encoder.onnx")


def names() -> tuple[str, ...]:
    """Return the names of the embedding's numbers: of each encoder and block the means, then the deviations, over time.

    Examples
    --------
    >>> len(names()), names()[0]
    (4352, 'whisper-tiny.en_b1_mean_000')
    """
    return tuple(
        f"{encoder}_b{block}_{statistic}_{index:03d}"
        for encoder, width, blocks in PARTS
        for block in blocks
        for statistic in ("mean", "sd")
        for index in range(width)
    )


def embedding(analysis: Analysis) -> Float32Array:
    """Compute the embedding of a preprocessed waveform, shape (4352,)."""
    found: Float32Array = _session().run(None, {"samples": padded(analysis.samples)[None]})[0][0]
    return found


def states(samples: Float32Array) -> Float32Array:
    """Compute what the embedding is a statistic of: the states of the pooled blocks, every 20 ms.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Preprocessed, 0.3 s at least.

    Returns
    -------
    ndarray of float32, shape (n_frames, 2176)
    """
    found = _states_session().run(list(_POOLED), {"samples": samples[None]})
    return np.concatenate([one[0] for one in found], axis=1)


def pooled(states: Float32Array, kept: NDArray[np.floating[Any]]) -> Float32Array:
    """Compute the embeddings of parts of a recording from its states, as if the encoder had heard all around them.

    Parameters
    ----------
    states : ndarray, shape (n_frames, 2176)
        From :func:`states`.
    kept : ndarray, shape (n, n_frames)
        Weight of each frame in each part, 0 or more; a part has some that are more than 0.

    Returns
    -------
    ndarray of float32, shape (n, 4352)

    Examples
    --------
    >>> from emovox import audio
    >>> samples = audio.read("examples/plain.wav").samples
    >>> found = states(samples)
    >>> bool(np.allclose(pooled(found, np.ones((1, len(found))))[0], embedding(Analysis(samples)), atol=1e-3))
    True
    """
    centre = states.mean(axis=0)
    centred, shares = states - centre, kept / kept.sum(axis=1, keepdims=True)
    mean = shares @ centred
    deviation = np.sqrt(np.maximum(shares @ np.square(centred) - np.square(mean), 0))
    edges = np.cumsum([0] + [width for _, width, used in PARTS for _ in used])
    columns = [np.arange(*span) for span in pairwise(edges)]
    both = [part[:, one] for one in columns for part in (mean + centre, deviation)]
    return np.concatenate(both, axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def _states_session() -> InferenceSession:
    """Open the encoder once more, with the states among its outputs."""
    return open_session(with_outputs(_FILE.read_bytes(), _POOLED), "the encoder in the package")


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the encoder, once a process: all models and threads share it."""
    return open_session(_FILE, "the encoder in the package")
