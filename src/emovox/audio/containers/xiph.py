"""Containers of Xiph.Org: FLAC and Ogg."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from emovox.audio.containers.part import Bytes, Loss, Part, Slice, coalesced

_MARK = b"fLaC\0\0\0\x22"  # a stream and its first block, STREAMINFO of 34 bytes; \x80 where that is the only block
_STEP = 2**20
_BLOCKS = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}


@dataclass(frozen=True)
class _Info:
    """What STREAMINFO states."""

    block: int
    rate: int
    frames: int
    bits: int


def flac_parts(file: Bytes, begin: int, end: int) -> list[Part]:
    """Find the streams in a FLAC file: one, or several that were joined.

    Parameters
    ----------
    file : Bytes
        The file.
    begin, end : int
        Where the first stream begins, and where the file ends.
    """
    begins = [begin, *_streams(file, begin + 42, end)]
    return [_flac_part(file, at, stop) for at, stop in zip(begins, [*begins[1:], end], strict=True)]


def _streams(file: Bytes, at: int, end: int) -> list[int]:
    """Find where further streams begin."""
    found = []
    while at < end:
        chunk = file.at(at, _STEP + 7)
        place = -1
        while (place := chunk.find(b"fLaC", place + 1, _STEP + 3)) >= 0:
            head = chunk[place : place + 8]
            if head in (_MARK, b"fLaC\x80\0\0\x22") and _info(file.at(at + place, 42)) is not None:
                found.append(at + place)
        if len(chunk) < _STEP + 7:
            break
        at += _STEP
    return found


def _info(head: bytes) -> _Info | None:
    """Read STREAMINFO; None where it is none."""
    if len(head) < 42:
        return None
    packed = int.from_bytes(head[18:26], "big")
    info = _Info(
        block=int.from_bytes(head[10:12], "big"),
        rate=packed >> 44,
        frames=packed & (2**36 - 1),
        bits=(packed >> 36 & 31) + 1,
    )
    return info if info.block >= 16 and info.rate else None


def _flac_part(file: Bytes, begin: int, end: int) -> Part:
    head = file.at(begin, 42)
    whole: tuple[Slice, ...] = ((begin, end - begin),)
    info = _info(head)
    if info is None:
        return Part(whole, "flac", "flac", native=True)
    stop = end - 128 if file.at(end - 128, 3) == b"TAG" else end
    counted = _last(file, begin + 42, stop, info)
    stated = info.frames / info.rate if info.frames else None
    losses: tuple[Loss, ...] = ()
    if counted is not None and info.frames and counted < info.frames:
        losses = (
            Loss(
                counted / info.rate, info.frames / info.rate, f"the file ends early, its header promises {stated:.2f} s"
            ),
        )
    exact = counted == info.frames and counted is not None
    if not exact:
        # 0 says that the number of samples is not known: the decoder goes on to the end.
        unknown = (int.from_bytes(head[18:26], "big") >> 36 << 36).to_bytes(8, "big")
        whole = (head[:18] + unknown + head[26:], (begin + 42, stop - begin - 42))
    return Part(
        whole,
        "flac",
        "flac",
        native=True,
        duration=None if counted is None else counted / info.rate,
        stated=stated if counted is None else counted / info.rate if info.frames else None,
        exact=exact,
        losses=losses,
    )


def _last(file: Bytes, begin: int, end: int, info: _Info) -> int | None:
    """Count the samples up to the end of the last frame; None where none is found."""
    reach = max(begin, end - 2**18)
    tail = file.at(reach, end - reach)
    place, later = len(tail), list[tuple[int, int]]()
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        frame = frame_header(tail[place : place + 16], info.block)
        if frame is None:
            continue
        # A checksum of 8 bits is right by chance now and then: the frame must end where one is known to begin or end.
        ends = frame[0] + frame[1]
        if ends == info.frames:
            return ends
        following = next((one for one in later if one[0] == ends), None)
        if following is not None:
            return following[0] + following[1]
        later.append(frame)
    return later[0][0] + later[0][1] if len(later) == 1 else None


def resume(stream: Bytes, part: Part, after: int) -> tuple[Part, int] | None:
    """Find where a damaged stream goes on.

    Parameters
    ----------
    stream : Bytes
        The bytes of the stream.
    part : Part
        Where they are in the file.
    after : int
        Samples that have been decoded before the damage.

    Returns
    -------
    tuple of Part and int, or None
        The rest as a stream of its own and the sample with which it begins; None where there is no rest.
    """
    head = stream.at(0, 42)
    info = _info(head)
    if info is None:
        return None
    at = 42
    while at < len(stream):
        chunk = stream.at(at, _STEP + 16)
        place = -1
        while (place := chunk.find(b"\xff", place + 1, _STEP)) >= 0:
            frame = frame_header(chunk[place : place + 16], info.block)
            if (
                frame is not None
                and after <= frame[0] <= after + 3600 * info.rate
                and _goes_on(stream, at + place, frame)
            ):
                unknown = (int.from_bytes(head[18:26], "big") >> 36 << 36).to_bytes(8, "big")
                streaminfo = b"fLaC\x80\0\0\x22" + head[8:18] + unknown + head[26:42]
                return part.but(slices=(streaminfo, *_from(part.slices, at + place)), exact=False, losses=()), frame[0]
        at += _STEP
    return None


def _goes_on(stream: Bytes, at: int, frame: tuple[int, int]) -> bool:
    """Tell whether a frame is followed by the next one, or by nothing."""
    chunk = stream.at(at + 2, 2**18)
    place = -1
    while (place := chunk.find(b"\xff", place + 1)) >= 0:
        following = frame_header(chunk[place : place + 16], frame[1])
        if following is not None and following[0] == frame[0] + frame[1]:
            return True
    return len(chunk) < 2**18


def _from(slices: tuple[Slice, ...], at: int) -> list[Slice]:
    """Leave out what comes before a place."""
    rest: list[Slice] = []
    for one in slices:
        length = len(one) if isinstance(one, bytes) else one[1]
        if at < length:
            rest.append(one[at:] if isinstance(one, bytes) else (one[0] + at, length - at))
        at = max(0, at - length)
    return rest


def frame_header(head: bytes, block: int) -> tuple[int, int] | None:
    """Read the header of a frame.

    Parameters
    ----------
    head : bytes
        16 bytes from where it may begin.
    block : int
        Samples of a frame, where all have the same number.

    Returns
    -------
    tuple of int or None
        Number of its first sample and how many it has; None where this is no header (its checksum tells).
    """
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[2] >> 4 == 0:
        return None
    lead = head[4]
    more = 0 if lead < 0x80 else next((n for n in range(1, 7) if not lead >> (6 - n) & 1), 7)
    if more == 7 or (lead >= 0x80 and more == 0) or 0x80 <= lead < 0xC0:
        return None
    number = lead & (0x7F if more == 0 else 0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    at = 5 + more
    code, rate = head[2] >> 4, head[2] & 15
    count = _BLOCKS.get(code, 0)
    if code in (6, 7):
        count = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    at += 1 if rate == 12 else 2 if rate in (13, 14) else 0
    if rate == 15 or at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return (number if head[1] & 1 else number * block), count


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        table.append(value & 0xFF)
    return tuple(table)


_CRC8 = _table()


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
    tracks: int = 1


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
            stream = _stream(page)
            if stream is None or chosen:
                if stream is not None:
                    streams[-1].tracks += 1
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
    return [_ogg_part(stream) for stream in streams if stream.slices]


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


def _ogg_part(stream: _Stream) -> Part:
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
        tracks=stream.tracks,
    )
