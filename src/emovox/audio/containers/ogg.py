"""Ogg: one stream of sound out of its pages, chained files apart, lost pages named."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from emovox.audio.containers.part import Bytes, Loss, Part, Slice, coalesced

_STEP = 2**20
_UNKNOWN = 2**64 - 1
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

#: How the first packet of a stream begins: mark, what people call it, whether libsndfile reads it.
_CODECS = (
    (b"\x01vorbis", "Ogg Vorbis", True),
    (b"OpusHead", "Ogg Opus", True),
    (b"\x7fFLAC", "Ogg FLAC", False),
    (b"Speex   ", "Speex", False),
)


@dataclass(frozen=True)
class _Page:
    at: int
    length: int
    serial: int
    number: int
    flags: int
    granule: int
    lacing: bytes
    body: bytes
    sound: bool  # whether its checksum is right


@dataclass
class _Stream:
    """One stream of one link of the chain."""

    serial: int
    label: str
    native: bool
    rate: int
    preskip: int
    channels: int
    block: int  # samples that a packet may hold
    slices: list[Slice] = field(default_factory=list)
    first: int | None = None  # granule position at the end of the first page with sound, and samples it may hold
    room: int = 0
    granule: int = 0
    promised: int = 0
    number: int = -1
    losses: list[Loss] = field(default_factory=list)
    missing: bool = False
    clocked: bool = False


def ogg_parts(file: Bytes, begin: int, end: int) -> list[Part]:
    """Find the streams of sound in an Ogg file: one, or several that follow one another.

    Parameters
    ----------
    file : Bytes
        The file.
    begin, end : int
        Where the first page stands, and where the file ends.
    """
    streams: list[_Stream] = []
    others: set[int] = set()
    beginning = multiplexed = chosen = False
    for page in _pages(file, begin, end):
        if page.flags & 2:
            if not beginning:  # a new link of the chain
                others, multiplexed, beginning, chosen = set(), False, True, False
            stream = None if chosen else _stream(page)
            if stream is None:
                others.add(page.serial)
                multiplexed = multiplexed or not page.body.startswith(b"fishead")
            else:
                streams.append(stream)
                chosen = True
        else:
            beginning = False
        if streams and page.serial == streams[-1].serial and page.serial not in others:
            _take(streams[-1], page)
            streams[-1].clocked = multiplexed
    return [_part(stream) for stream in streams if stream.slices]


def _pages(file: Bytes, at: int, end: int) -> Iterator[_Page]:
    """Yield the pages; bytes between them are passed over."""
    buffer, base = b"", at
    while at + 27 <= end:
        if at + 65_307 > base + len(buffer) and base + len(buffer) < end:
            buffer, base = file.at(at, _STEP), at
        page = _page(buffer, at - base, at, base + len(buffer) >= end)
        if page is not None:
            yield page
            at += page.length
            continue
        following = buffer.find(b"OggS", at - base + 1)
        at = base + following if following >= 0 else max(at + 1, base + len(buffer) - 3)


def _page(buffer: bytes, place: int, at: int, last: bool) -> _Page | None:
    head = buffer[place : place + 27]
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    lacing = buffer[place + 27 : place + 27 + head[26]]
    length = 27 + head[26] + sum(lacing)
    data = buffer[place : place + length]
    cut = len(data) < length
    if len(lacing) < head[26] or (cut and not last):
        return None
    return _Page(
        at,
        length,
        int.from_bytes(head[14:18], "little"),
        int.from_bytes(head[18:22], "little"),
        head[5],
        int.from_bytes(head[6:14], "little"),
        lacing,
        data[27 + head[26] :],
        not cut and _checksum(data) == int.from_bytes(head[22:26], "little"),
    )


def _checksum(page: bytes) -> int:
    """Compute the CRC of a page: that of zlib with the bits of every byte, and of the result, in reverse."""
    plain = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    crc = zlib.crc32(plain, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _stream(page: _Page) -> _Stream | None:
    """Recognise a stream of sound by its first packet."""
    body = page.body
    for mark, label, native in _CODECS:
        if not body.startswith(mark):
            continue
        rate, preskip, channels, block = 48000, 0, 1, 0
        if mark == b"OpusHead" and len(body) >= 12:
            preskip, channels = int.from_bytes(body[10:12], "little"), body[9]
        elif mark == b"\x01vorbis" and len(body) >= 16:
            rate, channels = int.from_bytes(body[12:16], "little"), body[11]
            block = 1 << (body[28] >> 4) >> 1 if len(body) > 28 else 0
        elif mark == b"Speex   " and len(body) >= 52:
            rate = int.from_bytes(body[36:40], "little")
        elif len(body) >= 30:
            rate = int.from_bytes(body[27:30], "big") >> 4
        return _Stream(page.serial, label, native, max(1, rate), preskip, channels, block)
    return None


def _take(stream: _Stream, page: _Page) -> None:
    """Add a page to its stream, and note what is missing before it."""
    hole = stream.number >= 0 and page.number != stream.number + 1
    stream.missing = stream.missing or hole
    stream.number = page.number
    if not page.sound:  # a decoder drops it
        stream.missing = True
        stream.promised = 0 if page.granule == _UNKNOWN else page.granule
        return
    stream.slices.append((page.at, page.length))
    if page.granule in (0, _UNKNOWN):
        return
    seconds = page.granule / stream.rate
    packets = sum(one < 255 for one in page.lacing)
    if stream.first is None:
        stream.first = page.granule
        stream.room = _opus_samples(page) if stream.label == "Ogg Opus" else packets * stream.block
    elif stream.missing:
        # How much of this page is lost as well, only a decoder can tell: a packet may have begun on the lost one.
        before = max(0, stream.granule - stream.preskip) / stream.rate
        stream.losses.append(
            Loss(before, max(before, seconds - stream.preskip / stream.rate), "pages are damaged or missing")
        )
    stream.missing = False
    stream.granule = page.granule


def _opus_samples(page: _Page) -> int:
    """Count the samples, at 48 kHz, of the packets of Opus that end on a page."""
    total = at = begin = 0
    for one in page.lacing:
        at += one
        if one < 255:
            packet, begin = page.body[begin:at], at
            if packet:
                config, code = packet[0] >> 3, packet[0] & 3
                sizes = (
                    (480, 960, 1920, 2880) if config < 12 else (480, 960) * 2 if config < 16 else (120, 240, 480, 960)
                )
                frames = 1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
                total += sizes[config & 3] * frames
    return total


def _part(stream: _Stream) -> Part:
    first = stream.first or 0
    known = stream.native and first <= stream.room
    seconds = max(0, stream.granule - stream.preskip) / stream.rate if known and stream.granule else None
    losses = stream.losses
    if stream.missing:
        end = max(0, stream.granule - stream.preskip) / stream.rate
        promised = max(0, stream.promised - stream.preskip) / stream.rate
        losses.append(
            Loss(end, promised if end < promised < end + 60 else end, "the file ends in the middle of a page")
        )
    return Part(
        coalesced(stream.slices),
        stream.label,
        "ogg",
        stream.native,
        duration=seconds,
        stated=seconds,
        clocked=bool(stream.losses) or stream.clocked,
        zero=stream.clocked,
        losses=tuple(losses),
    )
