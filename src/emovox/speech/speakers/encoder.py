"""The speaker encoder inside the package: stretches of speech to vectors that lie close where the voice is the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emovox.session import open_session
from emovox.types import RATE, Float32Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: What the encoder is called in profiles: only voices of the same one can be compared.
NAME = "cam++ 1"
#: Numbers of a voice.
WIDTH = 192
#: Samples of a frame of the filter bank, from one to the next, and of its spectrum; bands and their range in Hz.
_FRAME, _HOP, _FFT = 400, 160, 512
_BANDS, _LOW, _HIGH = 80, 20.0, 8000.0
#: Frames of the filter bank that the network makes one of.
_STRIDE = 2
#: Least energy of a band: the rounding of 32 bits.
_FLOOR = float(np.finfo(np.float32).eps)
#: Least samples that can be encoded, 0.3 s.
LEAST = 3 * RATE // 10


def filter_bank(samples: Float32Array) -> Float32Array:
    """Compute log energies of 80 mel bands, every 10 ms over 25 ms, less their means over time.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        16 kHz, :data:`LEAST` or more.

    Returns
    -------
    ndarray of float32, shape (1 + (n_samples - 400) // 160, 80)

    Source
    ------
    Kaldi, feat/feature-fbank.cc with its defaults and without dither, as the encoder was trained.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames - np.float32(0.97) * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window, bands = _window_and_bands()
    power = np.square(np.abs(np.fft.rfft(emphasised * window, _FFT)))
    energies = np.log(np.maximum(power @ bands, _FLOOR))
    found: Float32Array = (energies - energies.mean(axis=0)).astype(np.float32)
    return found


def voices(samples: Float32Array, spans: list[tuple[int, int]]) -> Float32Array:
    """Encode the voice in some spans of one stretch of speech, in one run of the network.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        16 kHz, :data:`LEAST` or more, nominally in [-1, 1].
    spans : list of pair of int
        First sample of each and the one after its last, at least :data:`LEAST` apart.

    Returns
    -------
    ndarray of float32, shape (n_spans, 192)
        Vectors of length 1: the product of two is their cosine similarity.

    Source
    ------
    H. Wang, S. Zheng, Y. Chen, L. Cheng and Q. Chen, "CAM++: A fast and efficient network for speaker verification
    using context-aware masking", Interspeech 2023.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    >>> voices(noise, [(0, 32000), (0, 16000)]).shape
    (2, 192)
    """
    bank = filter_bank(samples)
    count = -(-len(bank) // _STRIDE)
    weights = np.zeros((len(spans), count), np.float32)
    for row, (begin, end) in zip(weights, spans, strict=True):
        first = min(begin // (_HOP * _STRIDE), count - 2)
        row[first : max(first + 2, end // (_HOP * _STRIDE))] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    found = _session().run(None, {"fbank": bank[np.newaxis], "weights": weights})[0]
    unit: Float32Array = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _FLOOR)
    return unit


@lru_cache(maxsize=1)
def _window_and_bands() -> tuple[Float32Array, Float32Array]:
    """Return Povey's window, and the triangles of the bands over the bins of the spectrum."""
    window = np.hanning(_FRAME) ** 0.85
    low, high = (1127.0 * np.log1p(edge / 700.0) for edge in (_LOW, _HIGH))
    edges = np.linspace(low, high, _BANDS + 2)
    bins = 1127.0 * np.log1p(np.arange(_FFT // 2 + 1) * RATE / _FFT / 700.0)[:, np.newaxis]
    width = edges[1] - edges[0]
    bands = np.clip(np.minimum((bins - edges[:-2]) / width, (edges[2:] - bins) / width), 0, None)
    return window.astype(np.float32), bands.astype(np.float32)


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    """Open the encoder, once a process: all threads share it."""
    return open_session(Path(__file__).with_name("encoder.onnx"), "the speaker encoder")
