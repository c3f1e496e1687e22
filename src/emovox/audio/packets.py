"""Frames of MPEG audio, pages of Ogg and frames of FLAC: which stretches of a file are one recording."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeAlias

#: What a part is made of: bytes that stand for themselves, or (offset, length) in the file.
Slice: TypeAlias = bytes | tuple[int, int]


class Bytes(Protocol):
    """What is asked of a file to find the parts in it."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def at(self, offset: int, size: int, /) -> bytes:
        """Return `size` bytes from a place, fewer only where the file ends."""
        ...


@dataclass(frozen=True)
class Loss:
    """A stretch of a part that its bytes do not hold.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the part.
    reason : str
        Why, to be read after "0.0 to 1.0 s cannot be read: ".
    """

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Part:
    """A stream of its own in a file.

    Attributes
    ----------
    slices : tuple of bytes or (offset, length)
        What a decoder is given, see :class:`emovox.audio.decoding.View`.
    label : str
        What people call the format.
    demuxer : str
        ffmpeg's name of it.  It is named, not probed for, because ffmpeg also knows playlists, which open other files
        and URLs.  Empty where ffmpeg is not to be asked: the header would lead it astray.
    native : bool
        Whether libsndfile is asked first.
    duration : float or None
        Seconds of sound that the bytes hold or, where that is more, the header promises; None where it takes
        decoding to know.
    stated : float or None
        Seconds of sound as the header states it, for a length that is told without decoding.
    exact : bool
        Whether libsndfile may go by the header: a place in the part can be sought.
    clocked : bool
        Whether the container's timestamps count: sound may begin late or have gaps.
    zero : bool
        Whether the container's clock begins with 0; otherwise it begins with its earliest stream.
    losses : tuple of Loss
        What is known to be missing before anything is decoded.
    tracks : int
        How many streams of sound go side by side, as far as that is known before decoding; the first is read.
    """

    slices: tuple[Slice, ...]
    label: str
    demuxer: str
    native: bool = False
    duration: float | None = None
    stated: float | None = None
    exact: bool = False
    clocked: bool = False
    zero: bool = True
    losses: tuple[Loss, ...] = ()
    tracks: int = 1

    def but(self, **changes: object) -> Part:
        """Return the part with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def coalesced(slices: list[Slice]) -> tuple[Slice, ...]:
    """Join slices that follow one another in the file.

    Examples
    --------
    >>> coalesced([(0, 4), (4, 6), (12, 1), b"x"])
    ((0, 10), (12, 1), b'x')
    """
    joined: list[Slice] = []
    for one in slices:
        last = joined[-1] if joined else None
        if isinstance(last, tuple) and isinstance(one, tuple) and last[0] + last[1] == one[0]:
            joined[-1] = (last[0], last[1] + one[1])
        else:
            joined.append(one)
    return tuple(joined)


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


_MARK = b"fLaC\0\0\0\x22"  # a stream and its first block, STREAMINFO of 34 bytes; \x80 where that is the only block
_OGG_STEP = 2**20
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
        chunk = file.at(at, _OGG_STEP + 7)
        place = -1
        while (place := chunk.find(b"fLaC", place + 1, _OGG_STEP + 3)) >= 0:
            head = chunk[place : place + 8]
            if head in (_MARK, b"fLaC\x80\0\0\x22") and _info(file.at(at + place, 42)) is not None:
                found.append(at + place)
        if len(chunk) < _OGG_STEP + 7:
            break
        at += _OGG_STEP
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
        frame = flac_header(tail[place : place + 16], info.block)
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
        chunk = stream.at(at, _OGG_STEP + 16)
        place = -1
        while (place := chunk.find(b"\xff", place + 1, _OGG_STEP)) >= 0:
            frame = flac_header(chunk[place : place + 16], info.block)
            if (
                frame is not None
                and after <= frame[0] <= after + 3600 * info.rate
                and _goes_on(stream, at + place, frame)
            ):
                unknown = (int.from_bytes(head[18:26], "big") >> 36 << 36).to_bytes(8, "big")
                streaminfo = b"fLaC\x80\0\0\x22" + head[8:18] + unknown + head[26:42]
                return part.but(slices=(streaminfo, *_from(part.slices, at + place)), exact=False, losses=()), frame[0]
        at += _OGG_STEP
    return None


def _goes_on(stream: Bytes, at: int, frame: tuple[int, int]) -> bool:
    """Tell whether a frame is followed by the next one, or by nothing."""
    chunk = stream.at(at + 2, 2**18)
    place = -1
    while (place := chunk.find(b"\xff", place + 1)) >= 0:
        following = flac_header(chunk[place : place + 16], frame[1])
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


def flac_header(head: bytes, block: int) -> tuple[int, int] | None:
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
            buffer, base = file.at(at, _OGG_STEP), at
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
