"""MPEG audio (MP3, MP2): frames counted one by one, joined streams apart, tags and garbage left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from emovox.audio.containers.part import Bytes, Loss, Part, Slice, coalesced

_RATES = (44100, 48000, 32000)
#: Bit rates in kbit/s by (MPEG-1 or not, layer).
_BITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_STEP = 2**20

#: Samples by which MP3 decoders are late: what a LAME tag states of padding includes them.
_DECODER_DELAY = 529


class Frame(NamedTuple):
    """What the four bytes of a frame's header say."""

    shape: tuple[int, int, int, int]  # version, layer, rate, channels: what a decoder must not meet a change of
    length: int
    samples: int


@lru_cache(maxsize=4096)
def frame_header(head: int) -> Frame | None:
    """Read the header of a frame, four bytes as a number; None where it is none or of free format.

    Examples
    --------
    >>> frame_header(0xFFFB9064)
    Frame(shape=(3, 3, 44100, 2), length=417, samples=1152)
    """
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    bits, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or bits in (0, 15) or rate == 3 or head & 3 == 2:
        return None
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = head >> 9 & 1
    bits = 1000 * _BITS[version == 3, layer][bits - 1]
    if layer == 1:
        length, samples = (12 * bits // hertz + padding) * 4, 384
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        length = samples // 8 * bits // hertz + padding
    return Frame((version, layer, hertz, 1 if head >> 6 & 3 == 3 else 2), length, samples)


@dataclass
class _Run:
    """Frames of one shape in a row: the stream that a decoder is given."""

    shape: tuple[int, int, int, int]
    samples: int
    head: bytes  # of the first frame
    tag: bytes | None = None  # a frame at the beginning that describes the stream and has no sound
    slices: list[Slice] = field(default_factory=list)
    frames: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)  # (frames before, bytes that are no frames)
    size: int = 0


def mpeg_parts(file: Bytes, begin: int, end: int) -> list[Part]:
    """Find the streams in an MPEG audio file; none where there are no frames.

    Parameters
    ----------
    file : Bytes
        The file.
    begin, end : int
        Where to look for the first frame, and where the file ends.
    """
    runs: list[_Run] = []
    for at, head, frame, describes, junk in _frames(file, begin, end):
        run = runs[-1] if runs else None
        if run is None or frame.shape != run.shape or describes is not None:
            run = _Run(frame.shape, frame.samples, head, describes)
            runs.append(run)
            if describes is not None:
                run.slices.append((at, frame.length))
                continue
        elif junk > 0:
            run.lost.append((run.frames, junk))
        run.slices.append((at, frame.length))
        run.size += frame.length
        run.frames += 1
    return [part for run in runs if run.frames for part in _parts(run)]


def _frames(file: Bytes, at: int, end: int) -> Iterator[tuple[int, bytes, Frame, bytes | None, int]]:
    """Yield place, header, what it says, its body if it is a tag, and how many bytes before it are nothing."""
    buffer, base, junk = b"", at, 0
    shape: tuple[int, int, int, int] | None = None
    while at + 4 <= end:
        if at + 8192 > base + len(buffer) and base + len(buffer) < end:
            buffer, base = file.at(at, _STEP), at
        place = at - base
        head = buffer[place : place + 4]
        frame = frame_header(int.from_bytes(head, "big"))
        if frame is not None and (frame.shape == shape or _chained(buffer, place, frame, at, end)):
            if at + frame.length > end:  # cut in the middle
                return
            body = buffer[place : place + frame.length]
            yield at, head, frame, _tag(body, frame), junk
            shape, junk = frame.shape, 0
            at += frame.length
            continue
        skipped = tag_length(buffer[place : place + 64])
        if skipped:
            at += skipped
            continue
        following = buffer.find(b"\xff", place + 1)
        step = (following if following >= 0 else len(buffer)) - place
        if any(buffer[place : place + step]):
            junk += step
        at += max(1, step)


def _chained(buffer: bytes, place: int, frame: Frame, at: int, end: int) -> bool:
    """Tell whether a frame of a new shape is followed by two of the same, or by the end of the file."""
    for _ in range(2):
        place, at = place + frame.length, at + frame.length
        if at >= end:
            return at == end
        head = buffer[place : place + 4]
        following = frame_header(int.from_bytes(head, "big")) if len(head) == 4 else None
        if following is None or following.shape[:3] != frame.shape[:3]:
            return tag_length(buffer[place : place + 64]) > 0
        frame = following
    return True


def tag_length(head: bytes) -> int:
    r"""Tell how long a tag is that begins here; 0 where none does.

    Examples
    --------
    >>> tag_length(b"ID3\x04\0\0\0\0\x02\x01"), tag_length(b"TAG"), tag_length(b"RIFF")
    (267, 128, 0)
    """
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"3DI"):
        return 10
    if head.startswith(b"TAG"):
        return 227 if head.startswith(b"TAG+") else 128
    if head.startswith(b"APETAGEX") and len(head) >= 32:
        size = int.from_bytes(head[12:16], "little")
        return size + 32 if head[23] & 0x20 else 32
    return 0


def _side(frame: Frame) -> int:
    """Bytes of a layer III frame before its data."""
    version, _, _, channels = frame.shape
    return 4 + ((32 if channels == 2 else 17) if version == 3 else (17 if channels == 2 else 9))


def _tag(body: bytes, frame: Frame) -> bytes | None:
    """Return the frame if it describes the stream (Xing, Info, VBRI)."""
    if frame.shape[1] != 3:
        return None
    at = _side(frame)
    return body if body[at : at + 4] in (b"Xing", b"Info") or body[36:40] == b"VBRI" else None


def _stated(tag: bytes, frame: Frame) -> int | None:
    """Read how many frames a tag promises."""
    at = _side(frame)
    if tag[36:40] == b"VBRI":
        return int.from_bytes(tag[50:54], "big")
    return int.from_bytes(tag[at + 8 : at + 12], "big") if tag[at + 7] & 1 else None


def _trim(tag: bytes, frame: Frame) -> int:
    """Read how many samples of delay and padding a LAME tag lets the decoder cut."""
    at = _side(frame)
    if tag[36:40] == b"VBRI":
        return 0
    flags = tag[at + 7]
    at += 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if len(tag) < at + 24 or not any(tag[at : at + 9]):
        return 0
    both = int.from_bytes(tag[at + 21 : at + 24], "big")
    return (both >> 12) + (both & 0xFFF)


def _parts(run: _Run) -> Iterator[Part]:
    """Describe a run, whose tag may be missing or tell of another number of frames."""
    frame = frame_header(int.from_bytes(run.head, "big"))
    assert frame is not None
    stated = _stated(run.tag, frame) if run.tag else None
    rate, count = run.shape[2], run.frames
    slices = list(run.slices)
    cut = 0
    losses = list(_lost(run))
    if run.shape[1] == 3:
        if run.tag is None or stated is None or stated < count or run.tag[36:40] == b"VBRI":
            if run.tag is not None:
                slices = slices[1:]
            slices.insert(0, _description(run))
        else:
            cut = _trim(run.tag, frame)
    seconds = max(0, count * run.samples - cut) / rate
    if stated is not None and stated > count:
        promised = max(0, stated * run.samples - cut) / rate
        losses.append(Loss(seconds, promised, f"the file ends early, its header promises {promised:.2f} s"))
    name = "mp3" if run.shape[1] == 3 else "mp2"
    yield Part(coalesced(slices), name, "mp3", True, duration=seconds, stated=seconds, losses=tuple(losses))


def _lost(run: _Run) -> Iterator[Loss]:
    """Name the places where there may have been a frame that is none any more."""
    typical = run.size / run.frames
    for before, junk in run.lost:
        if junk >= typical / 2:
            begin = before * run.samples / run.shape[2]
            length = junk / typical * run.samples / run.shape[2]
            yield Loss(begin, begin + length, f"{junk} bytes between frames are no sound")


def _description(run: _Run) -> bytes:
    """Make what tells a decoder how many frames follow: without it, it guesses from the first.

    A decoder that meets such a tag also cuts its own delay.  A frame of silence behind the tag is there to be cut, so
    that everything else is heard.
    """
    head = bytes(
        (run.head[0], run.head[1] | 1, 0x80 | run.head[2] & 0x0C, run.head[3])
    )  # no checksum, 64 or 112 kbit/s
    frame = frame_header(int.from_bytes(head, "big"))
    assert frame is not None
    tag = head.ljust(_side(frame), b"\0") + b"Info\0\0\0\x03"
    tag += (run.frames + 1).to_bytes(4, "big") + (run.size + 2 * frame.length).to_bytes(4, "big")
    tag += b"LAME3.100".ljust(21, b"\0") + ((frame.samples - _DECODER_DELAY) << 12).to_bytes(3, "big")
    return tag.ljust(frame.length, b"\0") + head.ljust(frame.length, b"\0")
