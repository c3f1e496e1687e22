"""Segments that are given: read from CSV, TSV or RTTM, and found again by the recording that they belong to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emovox.errors import InputError
from emovox.outputs import lines
from emovox.types import Segment

#: Columns that have a meaning, and other names by which people call them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "path", "filepath", "audio", "audiofile", "audiopath", "wav", "recording"),
    "start": ("begin", "onset", "starttime", "begintime"),
    "end": ("stop", "offset", "endtime", "stoptime"),
    "duration": ("dur", "length"),
    "speaker": ("speakerid", "speakername", "spk"),
}
#: Endings of the files that are read.
ENDINGS = (".csv", ".tsv", ".rttm")
#: Fields of a line of RTTM: kind, recording, channel, start, duration, two unused, speaker.
_FIELDS = 8


@dataclass(frozen=True)
class _Row:
    """A segment, which recording and channel it belongs to, and where it stands."""

    recording: str
    channel: int | None
    segment: Segment


@dataclass(frozen=True)
class SegmentFile:
    """The segments of a file, by recording.

    Attributes
    ----------
    path : Path
        The file.
    rows : tuple
        Its segments.
    """

    path: Path
    rows: tuple[_Row, ...]

    def of(self, file: str | os.PathLike[str], channel: int | None = None) -> list[Segment]:
        """Return the segments of a recording.

        Parameters
        ----------
        file : str or path
            The recording.  Segments that name none belong to every one; others to that of this path (relative to the
            file of segments, or to the working folder), name, or name without ending, with ``_`` for blanks in RTTM.
        channel : int, optional
            Which channel is judged, where segments of several are given.

        Raises
        ------
        InputError
            There is none.
        """
        name = os.fsdecode(file)
        found = [row for row in self.rows if not row.recording or self._is(row.recording, name)]
        channels = {row.channel for row in found}
        if channel is not None and len(channels) > 1:
            found = [row for row in found if row.channel == channel]
        if not found:
            named = ", ".join(list(dict.fromkeys(row.recording for row in self.rows))[:3])
            of = f" channel {channel} of" if channel is not None and len(channels) > 1 else ""
            raise InputError(f"{self.path} has no segment of{of} {name}: it names {named}")
        return [row.segment for row in found]

    def _is(self, recording: str, name: str) -> bool:
        path = Path(name)
        if any(folder / recording == path or _same(folder / recording, path) for folder in (Path(), self.path.parent)):
            return True
        return len(Path(recording).parts) == 1 and recording in (path.name, path.stem, "_".join(path.stem.split()))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def read_segments(path: str | os.PathLike[str]) -> SegmentFile:
    r"""Read segments that are to be judged.

    Parameters
    ----------
    path : str or path
        CSV or TSV with a header: ``start`` and ``end``, or ``start`` and ``duration``, in seconds; where there are
        several recordings, ``file``; ``speaker``; further columns are carried along.  Or RTTM, as diarization programs
        write it.

    Returns
    -------
    SegmentFile
        Its :meth:`~SegmentFile.of` gives the segments of a recording.

    Raises
    ------
    InputError
        The file cannot be read, or a line of it is no segment.

    Source
    ------
    RTTM: NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.

    Examples
    --------
    >>> Path("turns.csv").write_text("start,end,speaker,turn\n0.0,1.5,anna,1\n1.5,3.0,ben,2\n")
    52
    >>> [(one.speaker, dict(one.columns)) for one in read_segments("turns.csv").of("examples/plain.wav")]
    [('anna', {'turn': '1'}), ('ben', {'turn': '2'})]
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"segments are read from {', '.join(ENDINGS)}, not from {path.name}")
    rows = tuple(_rttm(path) if path.suffix.lower() == ".rttm" else _table(path))
    if not rows:
        raise InputError(f"{path} holds no segment: give one line for each")
    return SegmentFile(path, rows)


def _table(path: Path) -> Iterator[_Row]:
    header, *rows = lines.read(path, str(path)) or [(1, [])]
    known = lines.columns(header[1], COLUMNS)
    named = {column: at for at, column in known.items()}
    if "start" not in named or not {"end", "duration"} & named.keys():
        raise InputError(f"{path} needs the columns start and end, or start and duration, not {', '.join(header[1])}")
    for number, cells in rows:
        row = {column: cells[at] for column, at in named.items()}
        more = {name: cells[at] for at, name in enumerate(header[1]) if at not in known and name}
        place = f"line {number} of {path}"
        start = _seconds(row["start"], place)
        end = _seconds(row["end"], place) if "end" in row else start + _seconds(row["duration"], place)
        yield _Row(row.get("file", ""), None, _segment(start, end, row.get("speaker") or None, more, place))


def _rttm(path: Path) -> Iterator[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    for number, line in enumerate(text.splitlines(), 1):
        fields: Sequence[str] = line.split()
        if not fields or fields[0] != "SPEAKER":  # comments, and lines about speakers or words
            continue
        place = f"line {number} of {path}"
        if len(fields) < _FIELDS:
            raise InputError(f"{place} has {len(fields)} fields: RTTM has {_FIELDS} or more")
        start = _seconds(fields[3], place)
        speaker = None if fields[7] == "<NA>" else fields[7]
        segment = _segment(start, start + _seconds(fields[4], place), speaker, {}, place)
        yield _Row(fields[1], int(fields[2]) if fields[2].isdecimal() else None, segment)


def _seconds(text: str, place: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{place} has the time {text!r}: expected seconds, such as 12.5") from None


def _segment(start: float, end: float, speaker: str | None, more: dict[str, str], place: str) -> Segment:
    try:
        return Segment(start, end, speaker, more)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
