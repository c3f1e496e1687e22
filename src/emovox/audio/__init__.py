"""Sound to 16 kHz mono: decoding, resampling, blocks, cleaning."""

from __future__ import annotations

from emovox.audio.convert import LOUDEST, Converter
from emovox.audio.reading import (
    LEAD_IN,
    MIN_DURATION,
    Blocks,
    blocks,
    channels,
    duration,
    from_array,
    read,
    require_signal,
    stretches,
)
from emovox.audio.sources import Channel, Samples, Sound, Source, as_sound, source_name

__all__ = [
    "LEAD_IN",
    "LOUDEST",
    "MIN_DURATION",
    "Blocks",
    "Channel",
    "Converter",
    "Samples",
    "Sound",
    "Source",
    "as_sound",
    "blocks",
    "channels",
    "duration",
    "from_array",
    "read",
    "require_signal",
    "source_name",
    "stretches",
]
