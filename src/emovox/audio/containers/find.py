"""From the first bytes of a file to the streams of sound in it; who reads a format is imported when it is met."""

from __future__ import annotations

from collections.abc import Callable

from emovox.audio.containers.part import Bytes, Part

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

#: How far a recording may lie behind garbage, in bytes.
_FAR = 2**16


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
        from emovox.audio.containers.mpeg import tag_length

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


def _riff(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.containers.headers import riff_parts

    return riff_parts(file, begin, end)


def _flac(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.containers.xiph import flac_parts

    return flac_parts(file, begin, end)


def _ogg(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.containers.xiph import ogg_parts

    return ogg_parts(file, begin, end) or [Part(((begin, end - begin),), "ogg", "ogg", native=True)]


def _mpeg(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.containers.mpeg import mpeg_parts

    return mpeg_parts(file, begin, end)


def _headed(file: Bytes, begin: int, end: int) -> list[Part]:
    from emovox.audio.containers.headers import headed_parts

    return headed_parts(file, begin, end)


def _nist(_: Bytes, begin: int, end: int) -> list[Part]:
    return [Part(((begin, end - begin),), "nist", "nistsphere", native=True, exact=True)]


#: Who reads what begins how.
_READERS: tuple[tuple[tuple[bytes, ...], Callable[[Bytes, int, int], list[Part]]], ...] = (
    ((b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff"), _riff),
    ((b"fLaC",), _flac),
    ((b"OggS",), _ogg),
    ((b"FORM", b"caff", b".snd", b"dns."), _headed),
    ((b"NIST_1A",), _nist),
)


def _foreign(begin: int, end: int, label: str, demuxer: str) -> Part:
    """Describe a file that only ffmpeg's libraries read."""
    clocked = demuxer in CLOCKED
    return Part(((begin, end - begin),), label, demuxer, clocked=clocked, zero=demuxer in FROM_ZERO)
