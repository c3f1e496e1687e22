"""The encoder inside the package, as the feature set ``default``: one embedding a clip, without weights to download.

Models that use it share one file, so a model of one's own is small and trained without PyTorch's encoders.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.features.analysis import Analysis, padded
from emovox.session import open_session
from emovox.types import Float32Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Whisper's encoders in it, their width and the blocks whose outputs are pooled.
PARTS = (("whisper-tiny.en", 384, (1, 2, 3)), ("whisper-base", 512, (2, 3)))


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


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the encoder, once a process: all models and threads share it."""
    return open_session(Path(__file__).with_name("encoder.onnx"), "the encoder in the package")
