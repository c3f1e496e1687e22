"""AIFF, AU, CAF: sizes in the header that do not reach the end of the file."""

from __future__ import annotations

import math
import struct

from emovox.audio.containers.part import Bytes, Loss, Part

#: Formats of AU with samples of a fixed size: bytes of each.
_AU = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}

#: Headers are looked at this far, in bytes.
_FAR = 2**20


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
    mended = head[:8] + b"\xff\xff\xff\xff" + file.at(begin + 12, min(place - 12, _FAR))
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
    if _chunks_lead(file, samples + stated, end) or not common or not byte_rate or at > begin + _FAR:
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
    if size == -1 or left <= 0 or not byte_rate or at > begin + _FAR:
        return part
    if stated > left:
        return _promised(part, stated, byte_rate)
    if _chunks_lead(file, samples + stated, end, wide=True):
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


def _chunks_lead(file: Bytes, at: int, end: int, *, wide: bool = False) -> bool:
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
