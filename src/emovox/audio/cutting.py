"""Many stretches of one recording, decoded in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from emovox.audio.decode import Source, open_recording, source_name
from emovox.audio.reading import LEAD_IN, blocks, read, sample_span
from emovox.errors import AudioError, EmovoxError
from emovox.types import RATE, Float32Array, Waveform

#: Seconds that are decoded at a time.
BLOCK = 10.0


def stretches(source: Source, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[int, Waveform | EmovoxError]]:
    """Read many stretches of one recording as 16 kHz mono.

    An encoding in which seeking is exact and cheap is read stretch by stretch, any other once from its beginning to the
    end of the last stretch: the cost does not grow with the number of stretches, and memory only with their length.

    Parameters
    ----------
    source : str, path, bytes or binary file
        What to read, as in :func:`emovox.audio.read`.
    spans : sequence of (float, float)
        Start and end of each stretch in seconds, in any order, also overlapping; an infinite end is the recording's
        own.

    Yields
    ------
    int
        Position in `spans`, each once; in the order in which the stretches end.
    Waveform or EmovoxError
        Exactly what :func:`emovox.audio.read` gives for this stretch, or the error that it raises.

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(40000), 16000, format="FLAC")
    >>> [(number, one.start, one.duration) for number, one in stretches(file, [(0.5, 2), (0, 1)])]
    [(1, 0.0, 1.0), (0, 0.5, 1.5)]
    """
    if len(spans) == 1 or _seeks(source, max((start for start, _ in spans), default=0.0)):
        for number, span in sorted(enumerate(spans), key=lambda one: one[1]):
            yield number, _read(source, span)
    else:
        yield from _in_one_pass(source, spans)


def _read(source: Source, span: tuple[float, float]) -> Waveform | EmovoxError:
    start, end = span
    try:
        return read(source, start=start, end=None if math.isinf(end) else end)
    except EmovoxError as error:
        return error.with_traceback(None)  # its frames hold samples


def _seeks(source: Source, start: float) -> bool:
    """Tell whether a stretch that begins there is reached without decoding what precedes it."""
    try:
        with open_recording(source, skip=max(0.0, start - LEAD_IN)) as recording:
            return recording.origin > 0
    except EmovoxError:
        return False  # whoever reads it says what is wrong


class _Cut:
    """One stretch while it is collected, in samples at 16 kHz."""

    def __init__(self, number: int, span: tuple[float, float]) -> None:
        self.number, self.span = number, span
        start, end = span
        self.first, last = sample_span(start, None if math.isinf(end) else end)
        self.last = math.inf if last is None else last
        self.pieces: list[Float32Array] = []

    def take(self, block: Float32Array, position: int) -> None:
        """Keep what belongs to it of a block that begins at `position`."""
        piece = block[max(0, self.first - position) : max(0, int(min(self.last - position, len(block))))]
        if len(piece):
            self.pieces.append(piece.copy())  # a copy: the rest of the block goes

    def waveform(self) -> Waveform:
        return Waveform(np.concatenate(self.pieces), self.first / RATE)


class _Pass:
    """The stretches of a recording while it is decoded: those to come, in order, and those that have begun."""

    def __init__(self, waiting: list[_Cut]) -> None:
        self.waiting = waiting
        self.open: list[_Cut] = []
        self.length = 0

    def take(self, block: Float32Array) -> list[_Cut]:
        """Take the next samples; return the stretches that end in them."""
        begin, self.length = self.length, self.length + len(block)
        begun = next((k for k, cut in enumerate(self.waiting) if cut.first >= self.length), len(self.waiting))
        self.open += self.waiting[:begun]
        del self.waiting[:begun]
        for cut in self.open:
            cut.take(block, begin)
        ended = sorted((cut for cut in self.open if cut.last <= self.length), key=lambda cut: cut.last)
        self.open = [cut for cut in self.open if cut.last > self.length]
        return ended


def _in_one_pass(source: Source, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[int, Waveform | EmovoxError]]:
    """Decode from the beginning, and give each stretch as soon as it is whole."""
    cuts = []
    for number, span in enumerate(spans):
        try:
            cuts.append(_Cut(number, span))
        except AudioError as error:
            yield number, error
    now = _Pass(sorted(cuts, key=lambda cut: (cut.first, cut.last)))
    try:
        for block in blocks(source, BLOCK):
            for cut in now.take(block.samples):
                yield cut.number, cut.waveform()
            if not (now.open or now.waiting):
                return
    except EmovoxError as error:
        for cut in now.open + now.waiting:
            # Of the block with the fault a stretch may need only what precedes it.
            near = cut.first < now.length + BLOCK * RATE
            yield cut.number, _read(source, cut.span) if near else error
        return
    for cut in now.open:
        yield cut.number, cut.waveform()
    for cut in now.waiting:
        place = f"ends at {now.length / RATE:g} s: a stretch from {cut.span[0]:g} s lies outside"
        yield cut.number, AudioError(f"{source_name(source)} {place}")
