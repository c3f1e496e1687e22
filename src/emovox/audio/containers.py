"""Bytes to the recordings that they hold: from the first bytes of a file to its parts, by the headers of containers.

Who reads MPEG, Ogg and FLAC, which have no header that tells all, is :mod:`emovox.audio.packets`.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from emovox.audio.packets import Bytes, Loss, Part

#: Sizes that programs write which do not know the length: they mean "to the end".
_PLACEHOLDERS = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 0x1_0000_0000), range(2**62, 2**64))

#: Formats whose samples have a fixed size: PCM, float, A-law, mu-law.
_PLAIN = frozenset({1, 3, 6, 7})

#: Formats whose header says how many samples a block holds: MS ADPCM, IMA ADPCM, GSM 6.10.  What it says of bytes a
#: second is often that of another format.
_BLOCKS = frozenset({2, 0x11, 0x31})

#: Chunks that may follow the samples, and marks of tags that other programs append.
_CHUNKS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"fact", b"PEAK", b"_PMX", b"afsp", b"JUNK")
#: Chunks that stand right behind a text of odd length where a program left out the byte that fills it up.
_UNPADDED = (b"fmt ", b"data", *_CHUNKS)
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS", b"RIFF", b"fLaC", b"OggS")

#: A tail of zeros shorter than this many bytes pads a file to the size of a block.
_PADDING = 4096

#: Root mean square beyond which what follows the samples is taken for other data: speech is not that loud.
_LOUD = 0.4


@dataclass(frozen=True)
class _Sound:
    """What the chunks of a file say: the body of ``fmt``, where the samples begin and how many bytes they have."""

    form: bytes
    begin: int
    size: int
    big: bool
    w64: bool = False

    def numbers(self) -> tuple[int, int, int, int, int, int]:
        """Format, channels, rate, bytes a second, bytes a frame, bits."""
        return struct.unpack(">HHIIHH" if self.big else "<HHIIHH", self.form[:16])

    @property
    def kind(self) -> int:
        """Number of the encoding: 1 for PCM, 3 for float."""
        form = self.numbers()[0]
        if form == 0xFFFE and len(self.form) >= 26:
            form = int.from_bytes(self.form[24:26], "big" if self.big else "little")
        return form

    @property
    def plain(self) -> bool:
        """Whether samples have a fixed size."""
        return self.kind in _PLAIN

    @property
    def byte_rate(self) -> int:
        """Bytes a second, 0 where that is not known."""
        _, _, rate, stated, align, _ = self.numbers()
        if self.plain:
            return rate * align
        block = int.from_bytes(self.form[18:20], "big" if self.big else "little")
        return rate * align // block if self.kind in _BLOCKS and block else stated


def riff_parts(file: Bytes, begin: int, end: int) -> list[Part]:
    """Find the parts of a WAV file: one, or several that were joined.

    Parameters
    ----------
    file : Bytes
        The file.
    begin, end : int
        Where the first header stands, and where the file ends.
    """
    parts: list[Part] = []
    while end - begin >= 12 and len(parts) < 10_000:
        sound = _look(file, begin, end)
        if sound is None:
            break
        stop, following = _end(file, sound, end)
        parts.append(_part(sound, begin, stop))
        parts += _further(file, sound, stop, end)
        if following is None:
            return parts
        begin = following
    if parts:
        return parts
    big = file.at(begin, 4) == b"RIFX"
    # ffmpeg believes the size of a text and takes as much memory, 4 GB and half a minute of a file of 8 kB.
    told = all(at + size <= end + 1 for name, at, size in _chunks(file, begin + 12, end, big) if name != b"data")
    return [Part(((begin, end - begin),), "wav", "wav" if told else "", native=True)]


def _further(file: Bytes, sound: _Sound, stop: int, end: int) -> Iterator[Part]:
    """Yield further chunks of samples in the same file, which some recorders begin after a pause."""
    start = None if sound.w64 else _leading(file, stop, end, sound.big)
    if start is None:
        return
    for name, at, size in _chunks(file, start, end, sound.big):
        if name in (b"RIFF", b"RIFX", b"RF64"):
            return
        if name == b"data":
            one = replace(sound, begin=at, size=size)
            # A header of its own: the part begins at its samples.
            yield _part(one, at, min(at + size, end), alone=True)


def _look(file: Bytes, begin: int, end: int) -> _Sound | None:
    """Read the chunks before the samples."""
    head = file.at(begin, 40)
    if head[:4] == b"riff":
        return _look_w64(file, begin, end)
    big = head[:4] == b"RIFX"
    form, large = b"", 0
    for name, at, size in _chunks(file, begin + 12, end, big):
        if name == b"ds64":
            large = int.from_bytes(file.at(at + 8, 8), "little")
        elif name == b"fmt ":
            form = file.at(at, min(size, 4096))
        elif name == b"data":
            wide = head[:4] in (b"RF64", b"BW64") and size == 0xFFFF_FFFF
            return _Sound(form, at, large if wide else size, big) if len(form) >= 16 else None
    return None


def _look_w64(file: Bytes, begin: int, end: int) -> _Sound | None:
    at, form = begin + 40, b""
    for _ in range(1000):
        head = file.at(at, 24)
        if len(head) < 24 or at >= end:
            return None
        size = int.from_bytes(head[16:], "little")
        if head[:4] == b"fmt ":
            form = file.at(at + 24, min(max(0, size - 24), 4096))
        elif head[:4] == b"data":
            return _Sound(form, at + 24, max(0, size - 24), False, w64=True) if len(form) >= 16 else None
        at += max(24, (size + 7) // 8 * 8)
    return None


def _chunks(file: Bytes, at: int, end: int, big: bool) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, place of the body, size) of chunks."""
    for _ in range(1000):
        head = file.at(at, 8)
        if len(head) < 8 or at >= end:
            return
        size = int.from_bytes(head[4:], "big" if big else "little")
        yield head[:4], at + 8, size
        at += 8 + size
        if size % 2 and file.at(at, 4) not in _UNPADDED:
            at += 1


def _end(file: Bytes, sound: _Sound, end: int) -> tuple[int, int | None]:
    """Find where the samples end, and where another file begins behind them, if one does."""
    stated = sound.begin + sound.size
    if any(sound.size in sizes for sizes in _PLACEHOLDERS) and stated > end:
        return _without_tail(file, sound, end), None
    if stated >= end:
        return end, None
    for pad in (0, 1):
        head = file.at(stated + pad, 12)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
            return stated, stated + pad
    start = _leading(file, stated, end, sound.big)
    if start is not None:
        return stated, _joined_behind(file, start, end, sound.big)
    if _is_sound(file, sound, stated, end):
        return _without_tail(file, sound, end), None
    return stated, None


def _joined_behind(file: Bytes, at: int, end: int, big: bool) -> int | None:
    """Find a file that begins behind the chunks from a place on."""
    for name, body, _ in _chunks(file, at, end, big):
        if name in (b"RIFF", b"RIFX", b"RF64") and file.at(body, 4) == b"WAVE":
            return body - 8
    return None


def _leading(file: Bytes, at: int, end: int, big: bool) -> int | None:
    """Find where chunks begin, here or one byte on, that lead to the end of the file or to one that was joined."""
    for start in (at, at + 1):
        last = start
        for name, body, size in _chunks(file, start, end, big):
            if name in (b"RIFF", b"RIFX", b"RF64") and last > start:
                return start
            if not all(32 <= letter < 127 for letter in name):
                break
            last = body + size + size % 2
            if last in (end, end + 1):
                return start
    return None


def _is_sound(file: Bytes, sound: _Sound, at: int, end: int) -> bool:
    """Tell whether bytes behind the stated end are samples, and not tags, padding or other data."""
    tail = file.at(at, min(end - at, 2**16))
    if tail.startswith(_TAGS) or (end - at < _PADDING and not any(tail)):
        return False
    _, _, _, _, align, bits = sound.numbers()
    kinds = {16: "i2", 32: "f4" if sound.kind == 3 else "i4"}
    if not sound.plain or bits not in kinds or align == 0:
        return sound.size == 0 or end - at >= _PADDING
    usable = tail[(-(at - sound.begin)) % align :]
    dtype = np.dtype(kinds[bits]).newbyteorder(">" if sound.big else "<")
    with np.errstate(all="ignore"):  # bytes that are no samples may be NaN, and the cast of some of them is reported
        values = np.frombuffer(usable[: len(usable) // dtype.itemsize * dtype.itemsize], dtype).astype(np.float64)
        if dtype.kind == "i":
            values /= 2.0 ** (bits - 1)
        return len(values) > 0 and bool(np.sqrt(np.mean(values**2)) <= _LOUD)


def _without_tail(file: Bytes, sound: _Sound, end: int) -> int:
    """Find the end of samples that go on to the end of the file but for tags there."""
    if file.at(end - 128, 3) == b"TAG" and end - 128 > sound.begin:
        end -= 128
    reach = max(sound.begin, end - 2**16)
    tail = file.at(reach, end - reach)
    ends = [at for name in _CHUNKS if (at := tail.rfind(name)) >= 0]
    for at in sorted(ends):
        if _leading(file, reach + at, end, sound.big) is not None:
            return reach + at
    return end


def _part(sound: _Sound, begin: int, stop: int, *, alone: bool = False) -> Part:
    """Describe a stream whose samples end at `stop`; one that is `alone` has no header before it."""
    size, byte_rate = stop - sound.begin, sound.byte_rate
    unknown = any(sound.size in sizes for sizes in _PLACEHOLDERS) or sound.size == 0
    # Readers look for chunks at even places only.
    right = size == sound.size and not alone and (sound.begin - begin) % 2 == 0
    seconds = size / byte_rate if byte_rate else None
    losses: tuple[Loss, ...] = ()
    if not (right or unknown) and size < sound.size and byte_rate:
        promised = sound.size / byte_rate
        losses = (Loss(size / byte_rate, promised, f"the file ends early, its header promises {promised:.2f} s"),)
    # What follows the samples is left out: texts there may state any size as well.
    slices = ((begin, stop - begin),) if right else (_header(sound, size), (sound.begin, size))
    return Part(
        slices,
        "wav",
        "w64" if right and sound.w64 else "wav",
        native=True,
        duration=seconds if sound.plain else None,
        stated=seconds,
        exact=True,
        losses=losses,
    )


def _header(sound: _Sound, size: int) -> bytes:
    """Make a header that states the size of the samples."""
    order = ">" if sound.big else "<"
    form = b"fmt " + struct.pack(order + "I", len(sound.form)) + sound.form + bytes(len(sound.form) % 2)
    if size < 2**32 - 2**16:
        riff = b"RIFX" if sound.big else b"RIFF"
        sizes = struct.pack(order + "I", 4 + len(form) + 8 + size + size % 2)
        return riff + sizes + b"WAVE" + form + b"data" + struct.pack(order + "I", size)
    large = struct.pack("<IQQQI", 28, 4 + 36 + len(form) + 8 + size, size, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVEds64" + large + form + b"data\xff\xff\xff\xff"


#: Formats of AU with samples of a fixed size: bytes of each.
_AU = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}

#: Headers are looked at this far, in bytes.
_HEADER_REACH = 2**20


def headed_parts(file: Bytes, begin: int, end: int) -> list[Part]:
    """Describe an AIFF, AIFC, CAF or AU file: one stream, for nothing can follow it."""
    mark = file.at(begin, 4)
    if mark == b"FORM":
        return [_aiff(file, begin, end)]
    return [_caf(file, begin, end) if mark == b"caff" else _au(file, begin, end)]


def _au(file: Bytes, begin: int, end: int) -> Part:
    """Describe an AU file."""
    head = file.at(begin, 24)
    whole = Part(((begin, end - begin),), "au", "au", native=True, exact=True)
    if len(head) < 24:
        return whole
    order = "<" if head.startswith(b"dns.") else ">"
    place, size, encoding, rate, channels = struct.unpack(order + "5I", head[4:])
    left = end - begin - place
    if not 24 <= place <= end - begin:
        return whole
    byte_rate = _AU.get(encoding, 0) * rate * channels
    part = _timed(whole, left, byte_rate)
    if size == left or size >= 2**32 - 2**16:
        return part
    if size > left:
        return _promised(part, size, byte_rate)
    # 2**32 - 1 means "to the end".
    mended = head[:8] + b"\xff\xff\xff\xff" + file.at(begin + 12, min(place - 12, _HEADER_REACH))
    return part.but(slices=(mended, (begin + place, left)))


def _aiff(file: Bytes, begin: int, end: int) -> Part:
    """Describe an AIFF or AIFC file."""
    whole = Part(((begin, end - begin),), "aiff", "aiff", native=True, exact=True)
    common, at = 0, begin + 12
    frame_bytes = rate = 0
    plain = True
    for _ in range(1000):
        head = file.at(at, 8)
        if len(head) < 8:
            return whole
        name, size = head[:4], int.from_bytes(head[4:], "big")
        if name == b"COMM":
            body = file.at(at + 8, 22)
            if len(body) < 18:
                return whole
            common, channels, bits = at, int.from_bytes(body[:2], "big"), int.from_bytes(body[6:8], "big")
            rate, frame_bytes = _extended(body[8:18]), channels * ((bits + 7) // 8)
            plain = size < 22 or body[18:22] in (b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"in24", b"in32")
        elif name == b"SSND":
            break
        at += 8 + size + size % 2
    else:
        return whole
    samples = at + 16
    left, stated = end - samples, size - 8
    byte_rate = rate * frame_bytes if plain else 0
    if stated >= 2**31 - 2**16 or left <= 0:
        return _timed(whole, left, byte_rate)
    if stated > left:
        return _promised(_timed(whole, left, byte_rate), stated, byte_rate)
    if _caf_chunks_lead(file, samples + stated, end) or not common or not byte_rate or at > begin + _HEADER_REACH:
        return _timed(whole, stated, byte_rate)
    mended = bytearray(file.at(begin, samples - begin))
    struct.pack_into(">I", mended, 4, min(end - begin - 8, 2**32 - 1))
    struct.pack_into(">I", mended, common - begin + 10, left // frame_bytes)
    struct.pack_into(">I", mended, at - begin + 4, left + 8)
    return _timed(whole, left, byte_rate).but(slices=(bytes(mended), (samples, left)))


def _caf(file: Bytes, begin: int, end: int) -> Part:
    """Describe a CAF file."""
    whole = Part(((begin, end - begin),), "caf", "caf", native=True, exact=True)
    at, byte_rate = begin + 8, 0.0
    for _ in range(1000):
        head = file.at(at, 12)
        if len(head) < 12:
            return whole
        name, size = head[:4], int.from_bytes(head[4:], "big", signed=True)
        if name == b"desc":
            body = file.at(at + 12, 32)
            rate, packet, frames = struct.unpack(">d8xII8x", body) if len(body) == 32 else (0.0, 0, 1)
            byte_rate = rate * packet / max(1, frames) if math.isfinite(rate) else 0.0
        elif name == b"data":
            break
        if size < 0:
            return whole
        at += 12 + size
    else:
        return whole
    samples = at + 16
    left, stated = end - samples, size - 4
    part = _timed(whole, left, byte_rate)
    if size == -1 or left <= 0 or not byte_rate or at > begin + _HEADER_REACH:
        return part
    if stated > left:
        return _promised(part, stated, byte_rate)
    if _caf_chunks_lead(file, samples + stated, end, wide=True):
        return _timed(whole, stated, byte_rate)
    head = file.at(begin, samples - begin)
    return part.but(slices=(head[: at - begin + 4] + b"\xff" * 8 + head[at - begin + 12 :], (samples, left)))


def _timed(part: Part, size: int, byte_rate: float) -> Part:
    seconds = size / byte_rate if byte_rate else None
    return part.but(duration=seconds, stated=seconds)


def _promised(part: Part, size: int, byte_rate: float) -> Part:
    """Note that the header promises more than there is."""
    if not byte_rate or part.duration is None:
        return part
    promised = size / byte_rate
    return part.but(
        losses=(Loss(part.duration, promised, f"the file ends early, its header promises {promised:.2f} s"),)
    )


def _caf_chunks_lead(file: Bytes, at: int, end: int, *, wide: bool = False) -> bool:
    """Tell whether chunks lead from a place to the end of the file."""
    header = 12 if wide else 8
    for start in (at, at + 1):
        last = start
        for _ in range(1000):
            if last in (end, end + 1):
                return True
            head = file.at(last, header)
            if len(head) < header or not all(32 <= letter < 127 for letter in head[:4]):
                break
            size = int.from_bytes(head[4:], "big", signed=wide)
            last += header + max(0, size) + (0 if wide else size % 2)
    return False


def _extended(number: bytes) -> int:
    """Read a whole number in 80-bit floating point."""
    exponent = (int.from_bytes(number[:2], "big") & 0x7FFF) - 16383 - 63
    mantissa = int.from_bytes(number[2:], "big")
    return mantissa >> -exponent if -64 < exponent <= 0 else 0


#: How the files begin that libsndfile is asked to read: the formats in use, and not all it knows, because its
#: readers for some old ones print what they meet.  MPEG frames begin with eleven set bits and come on top.
SOUND_FILES = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff"),  # WAV and its 64-bit kin
    *(b"FORM", b"caff", b".snd", b"dns."),  # AIFF, CAF, AU
    *(b"fLaC", b"OggS", b"ID3", b"NIST_1A"),
)

#: What libsndfile does not read: where the mark stands, the mark, what people call it, ffmpeg's demuxer.
CONTAINERS = (
    (4, b"ftyp", "m4a or mp4", "mp4"),
    *((4, mark, "mov", "mov") for mark in (b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot", b"styp", b"uuid")),
    (0, b"\x1a\x45\xdf\xa3", "webm or mkv", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma", "asf"),
    (0, b"\xff\xf1", "aac", "aac"),
    (0, b"\xff\xf9", "aac", "aac"),
    (0, b"\xff\xf0", "aac", "aac"),
    (0, b"\xff\xf8", "aac", "aac"),
    (0, b"#!AMR", "amr", "amr"),
    (0, b"FLV\x01", "flv", "flv"),
    (8, b"AVI ", "avi", "avi"),
    (0, b"wvpk", "wavpack", "wv"),
    (0, b"TTA1", "tta", "tta"),
    (0, b"MAC ", "ape", "ape"),
    (0, b"\x0b\x77", "ac3", "ac3"),
    (0, b"\x7f\xfe\x80\x01", "dts", "dts"),
    (0, b"Creative Voice File\x1a", "voc", "voc"),
    (0, b"nut/multimedia container\0", "nut", "nut"),
    (0, b".SoX", "sox", "sox"),
    (0, b"\0\0\x01\xba", "mpeg", "mpeg"),
)

#: Demuxers whose timestamps say when something is heard, and those of them whose clock begins with 0.
CLOCKED = frozenset({"mp4", "mov", "matroska", "asf", "flv", "avi", "mpegts", "mpeg", "nut"})
FROM_ZERO = frozenset({"mp4", "mov", "matroska", "avi"})

#: Bytes of the beginning that are read at once.
_AHEAD = 4096
#: How far a recording may lie behind garbage, in bytes.
_FAR = 2**16


class _Ahead:
    """A file whose first bytes are read once: headers are looked at field by field."""

    def __init__(self, file: Bytes) -> None:
        self._file, self._size = file, len(file)
        self._head = file.at(0, _AHEAD)

    def __len__(self) -> int:
        return self._size

    def at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from a place, fewer only where the file ends."""
        end = offset + size
        return self._head[offset:end] if end <= len(self._head) else self._file.at(offset, size)


def find_parts(file: Bytes) -> list[Part]:
    """Find the streams of sound in a file.

    Parameters
    ----------
    file : Bytes
        The file.

    Returns
    -------
    list of Part
        In the order in which they are heard; empty where this is no recording in a known format.
    """
    file = _Ahead(file)
    end = len(file)
    begin = _behind_tags(file, 0)
    parts = _parts_at(file, begin, end)
    if not parts:
        place = _behind_garbage(file, begin)
        parts = _parts_at(file, place, end) if place is not None else _mpeg(file, begin, min(end, begin + _FAR))
        if parts and place is None:
            parts = _mpeg(file, begin, end) if sum(part.duration or 0 for part in parts) > 0.2 else []
    return parts


def _behind_tags(file: Bytes, at: int) -> int:
    """Pass over ID3 tags."""
    for _ in range(100):
        head = file.at(at, 64)
        if not head.startswith(b"ID3"):
            break
        from emovox.audio.packets import tag_length

        if not (length := tag_length(head)):
            break
        at += length
    return at


def _behind_garbage(file: Bytes, begin: int) -> int | None:
    """Find a header of a file that does not begin with one."""
    head = file.at(begin, _FAR)
    places = [head.find(mark) for mark in (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22", b"OggS\0\x02")]
    wav = head.find(b"RIFF")
    if wav >= 0 and head[wav + 8 : wav + 12] == b"WAVE":
        places.append(wav)
    found = [place for place in places if place >= 0]
    return begin + min(found) if found else None


def _parts_at(file: Bytes, begin: int, end: int) -> list[Part]:
    """Find the streams of a file whose header stands at a place; none where it is not known."""
    head = file.at(begin, 1024)
    for offset, mark, label, demuxer in CONTAINERS:
        if head[offset : offset + len(mark)] == mark:
            return [_foreign(begin, end, label, demuxer)]
    if head[:1] == b"\x47" and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        return [_foreign(begin, end, "mpeg transport stream", "mpegts")]
    for marks, reader in _READERS:
        if head.startswith(marks):
            return reader(file, begin, end)
    # Behind an ID3 tag there is mostly MPEG audio.
    if (head[:1] == b"\xff" and head[1:2] >= b"\xe0") or 0 < begin < end:
        return _mpeg(file, begin, end) or [Part(((begin, end - begin),), "mp3", "mp3", native=True)]
    return []


def _flac(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.packets import flac_parts

    return flac_parts(file, begin, end)


def _ogg(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.packets import ogg_parts

    return ogg_parts(file, begin, end) or [Part(((begin, end - begin),), "ogg", "ogg", native=True)]


def _mpeg(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.packets import mpeg_parts

    return mpeg_parts(file, begin, end)


def _nist(_: Bytes, begin: int, end: int) -> list[Part]:
    return [Part(((begin, end - begin),), "nist", "nistsphere", native=True, exact=True)]


#: Who reads what begins how.
_READERS: tuple[tuple[tuple[bytes, ...], Callable[[Bytes, int, int], list[Part]]], ...] = (
    ((b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff"), riff_parts),
    ((b"fLaC",), _flac),
    ((b"OggS",), _ogg),
    ((b"FORM", b"caff", b".snd", b"dns."), headed_parts),
    ((b"NIST_1A",), _nist),
)


def _foreign(begin: int, end: int, label: str, demuxer: str) -> Part:
    """Describe a file that only ffmpeg's libraries read."""
    clocked = demuxer in CLOCKED
    return Part(((begin, end - begin),), label, demuxer, clocked=clocked, zero=demuxer in FROM_ZERO)


def parts_of(file: Bytes, path: str | os.PathLike[str] | None = None) -> tuple[Part, ...]:
    """Find the streams of sound in a file, see :func:`find_parts`.

    Parameters
    ----------
    file : Bytes
        The file.
    path : str or path, optional
        Where it is: its parts are remembered, so that its stretches cost no new search.
    """
    if path is None:
        return tuple(find_parts(file))
    state = Path(path).stat()
    return _remembered(_Key(os.fspath(path), state.st_ino, state.st_size, state.st_mtime_ns, file))


@dataclass(frozen=True)
class _Key:
    """A state of a file; the open file itself is no part of it."""

    path: str
    inode: int
    size: int
    changed: int
    file: Bytes = field(compare=False)


@lru_cache(maxsize=8)
def _remembered(key: _Key) -> tuple[Part, ...]:
    parts = tuple(find_parts(key.file))
    object.__setattr__(key, "file", None)  # the cache keeps the key, and must not keep the file
    return parts
