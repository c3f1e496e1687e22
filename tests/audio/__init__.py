"""Sounds whose signal is known, as files and as a pipe; audio inside containers."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray


def two_tones(rate: int, duration: float = 2.0, delay: float = 0.0) -> NDArray[np.float64]:
    """Return a signal known in closed form at every rate: 300 Hz and 1100 Hz."""
    time = np.arange(round(duration * rate)) / rate - delay
    return 0.4 * np.sin(2 * np.pi * 300 * time) + 0.3 * np.sin(2 * np.pi * 1100 * time + 1)


def encoded(samples: NDArray[Any], rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    """Return the bytes of a sound file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def noise(frames: int, channels: int = 1, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))


class Pipe(io.RawIOBase):
    """A stream that can be read only once."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


def contained(
    container: str, codec: str, rate: int = 48000, channels: int = 1, options: dict[str, str] | None = None
) -> bytes:
    """Return the two tones in a container, written with av."""
    av = pytest.importorskip("av")
    layout = "mono" if channels == 1 else "stereo"
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        wanted = stream.codec_context
        wanted.open()
        frame = av.AudioFrame.from_ndarray(
            np.repeat(two_tones(rate)[None].astype(np.float32), channels, axis=0), "fltp", layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        # The encoders here take one sample format each and, some of them, frames of a fixed size.
        fit = av.AudioResampler(wanted.codec.audio_formats[0].name, layout, rate, frame_size=wanted.frame_size or 0)
        for piece in [*fit.resample(frame), *fit.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()
