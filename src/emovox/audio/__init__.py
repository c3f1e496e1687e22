"""Sound to 16 kHz mono: decoding, resampling, blocks, cleaning."""

from __future__ import annotations

from emovox.audio.decoding import LOUDEST
from emovox.audio.reading import (
    LEAD_IN,
    MIN_DURATION,
    Blocks,
    Channel,
    Converter,
    Samples,
    Sound,
    Source,
    as_sound,
    blocks,
    channels,
    duration,
    from_array,
    read,
    require_signal,
    source_name,
    stretches,
)

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
