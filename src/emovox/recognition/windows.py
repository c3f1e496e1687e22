"""Windows of one length: the pieces in which a recording of any length is read and judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emovox.types import Waveform


@dataclass(frozen=True)
class WindowOptions:
    """How a recording is cut.

    Attributes
    ----------
    duration : float
        Longest stretch that is judged at once, in seconds, 0.3 to 30: about the length of the utterances the models
        were trained on.  Longer utterances are cut, see :class:`emovox.TimelineOptions`.  Where no utterance is found,
        windows of this length are judged, a rest shorter than half of it with the window before.
    """

    duration: float = 6.0


def join_rest(blocks: Iterable[Waveform], shortest: float) -> Iterator[Waveform]:
    """Append a last block shorter than `shortest` seconds to the one before it."""
    before: Waveform | None = None
    for block in blocks:
        if before is not None and block.duration < shortest:
            block = Waveform(np.concatenate([before.samples, block.samples]), before.start)
        elif before is not None:
            yield before
        before = block
    if before is not None:
        yield before
