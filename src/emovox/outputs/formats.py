"""Results in the formats of others: JSON, CSV, WebVTT, SRT, TextGrid, RTTM, Audacity labels.

An abstention stays visible in each of them: ``don't know (sad)`` where there is room for words, ``unknown`` in RTTM.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from emovox.errors import InputError
from emovox.outputs.console import (
    about_words,
    csv_cell,
    csv_line,
    from_csv_cell,
    json_line,
    shown,
)
from emovox.storage import require_writable
from emovox.types import Prediction

if TYPE_CHECKING:
    from pandas import DataFrame


def read(path: Path, name: str) -> list[tuple[int, list[str]]]:
    """Read a table of text: CSV or TSV, see :func:`delimiter`.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.
    name : str
        What to call it in an error.

    Returns
    -------
    list of (int, list of str)
        As of :func:`rows`; nothing for an empty file.

    Raises
    ------
    InputError
        The file cannot be read, is no text, or is no table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {name} ({error.strerror}): check the path") from None
    head = text.lstrip().partition("\n")[0]
    found = rows(text, delimiter(head, path.suffix), name)
    return [(number, [from_csv_cell(cell) for cell in cells]) for number, cells in found]


def delimiter(head: str, suffix: str = "") -> str:
    r"""Return what stands between the cells of a table: a tab in a .tsv file, else what the first line has.

    Examples
    --------
    >>> delimiter("file,label"), delimiter("file;label"), delimiter("file\tlabel"), delimiter("file", ".tsv")
    (',', ';', '\t', '\t')
    """
    if suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in ",;\t" if mark in head), ",")


def rows(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    r"""Split a table of text into rows and cells.

    A line is a row wherever each line has as many cells as the first: then a quote that is never closed, or that opens
    in one line and seems to close in another, is a character like any other.  Only a table that is none in this manner
    is read by the rules of CSV, in which a cell between quotes may hold line breaks.

    Parameters
    ----------
    text : str
        Content of the file.
    delimiter : str
        What stands between cells, one character.
    name : str
        What to call the table in an error.

    Returns
    -------
    list of (int, list of str)
        Number of the line in which the row ends, from 1, and its cells without outer blanks, as many in every row;
        rows without any text are left out.  The first row is the header.

    Raises
    ------
    InputError
        A row has more or fewer cells than the header.

    Examples
    --------
    >>> rows('file\ttext\na.wav\t"Well\nb.wav\t"Well, no', "\t", "m.tsv")
    [(1, ['file', 'text']), (2, ['a.wav', '"Well']), (3, ['b.wav', '"Well, no'])]
    >>> rows('file,text\na.wav,"Well,\nno"', ",", "m.csv")
    [(1, ['file', 'text']), (3, ['a.wav', 'Well,\nno'])]
    """
    lines = [(number, line) for number, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line.strip()]
    if not lines:
        return []
    width = len(line_cells(lines[0][1], delimiter))
    by_line = [(number, line_cells(line, delimiter, width)) for number, line in lines]
    short = next(((number, cells) for number, cells in by_line if len(cells) != width), None)
    if short is None:
        return [one for one in by_line if any(one[1])]
    whole = _as_csv(text, delimiter)
    if whole and all(len(cells) == width for _, cells in whole):
        return [one for one in whole if any(one[1])]
    number, cells = short
    raise InputError(
        f"line {number} of {name} has {len(cells)} cells, its header {width}: "
        "put quotes around cells that hold the separator"
    )


def line_cells(line: str, delimiter: str, width: int | None = None) -> list[str]:
    """Split one line: by the rules of CSV, or at every delimiter where the quotes of the line are none of CSV."""
    plain = [cell.strip() for cell in line.split(delimiter)]
    quoted = _as_csv(line, delimiter)
    if not quoted or (width is not None and len(quoted[0][1]) != width == len(plain)):
        return plain
    return quoted[0][1]


def _as_csv(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Read CSV by the letter; nothing if it is not."""
    reader = csv.reader(
        re.split("(?<=\n)|(?<=\r)(?!\n)", text), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error:
        return []
    return [(number, cells) for number, cells in found if any(cells)]


def known_columns(names: Sequence[str], known: dict[str, tuple[str, ...]]) -> dict[int, str]:
    """Find the known columns of a table under their own names or under others.

    Parameters
    ----------
    names : sequence of str
        The header.
    known : dict of str to tuple of str
        Each column and the other names that it goes by, the likeliest first.

    Returns
    -------
    dict of int to str
        Position in the header and known column: for each the first name found, its own first; upper and lower case,
        blanks, hyphens and underscores make no difference.

    Examples
    --------
    >>> known_columns(["Path", "emotion", "noise"], {"file": ("filename", "path"), "label": ("emotion",)})
    {0: 'file', 1: 'label'}
    """
    plain = [re.sub("[ _-]+", "", name).casefold() for name in names]
    found: dict[int, str] = {}
    for column, others in known.items():
        if column in names:
            found[names.index(column)] = column
            continue
        for other in (column, *others):
            at = next((k for k, one in enumerate(plain) if one == other and names[k] not in known), None)
            if at is not None and at not in found:
                found[at] = column
                break
    return found


def write_csv(table: DataFrame, path: Path) -> None:
    r"""Write a table as CSV: numbers with five decimals, texts as :func:`emovox.outputs.console.csv_line` writes them.

    Parameters
    ----------
    table : DataFrame
        Its index is left out.
    path : Path
        File to write.

    Examples
    --------
    >>> import pandas as pd
    >>> write_csv(pd.DataFrame({"file": ["=1+1.wav"], "p_sad": [0.5]}), Path("out.csv"))
    >>> Path("out.csv").read_text()
    "file,p_sad\n'=1+1.wav,0.50000\n"
    """
    safe = table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
    safe.to_csv(path, index=False, float_format="%.5f", lineterminator="\n")


#: What an abstention is called where a label must be one word.
UNKNOWN = "unknown"

#: Overlap, in seconds, that is taken for rounding: half a sample at 16 kHz.
_ROUNDING = 0.5 / 16000

#: A moment that somebody marked: seconds from the beginning, and what to call it.
Mark = tuple[float, str]


def describe(prediction: Prediction) -> str:
    """Say in a few words what a prediction says.

    Examples
    --------
    >>> describe(Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo"))
    'sad 75%'
    """
    label = f"don't know ({prediction.label})" if prediction.abstained else prediction.label
    return f"{label} {prediction.confidence:.0%}"


def to_vtt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write WebVTT subtitles of one recording, one cue a prediction.

    Parameters
    ----------
    predictions : iterable of Prediction
        In the order of time.  A speaker becomes the cue's voice, what was said its second line.

    Yields
    ------
    str
        Pieces of the file, as predictions come.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Source
    ------
    W3C, WebVTT: The Web Video Text Tracks Format, https://www.w3.org/TR/webvtt1/.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_vtt([example])))
    WEBVTT
    <BLANKLINE>
    00:00:00.000 --> 00:00:01.500
    sad 75%
    <BLANKLINE>
    """
    yield "WEBVTT\n"
    for one in _of_one_recording(predictions, "WebVTT"):
        text = _vtt_text(describe(one))
        if one.speaker:
            text = f"<v {_vtt_text(one.speaker)}>{text}"
        said = f"{_vtt_text(one.transcript)}\n" if one.transcript and one.transcript.strip() else ""
        yield f"\n{_cue(one)}\n{text}\n{said}"


def to_srt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write SubRip subtitles of one recording, as players of films take them, one a prediction.

    Parameters
    ----------
    predictions : iterable of Prediction
        In the order of time.  What was said becomes the second line.

    Yields
    ------
    str
        Pieces of the file, as predictions come.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> from dataclasses import replace
    >>> print("".join(to_srt([replace(example, transcript="Oh no.")])), end="")
    1
    00:00:00,000 --> 00:00:01,500
    sad 75%
    Oh no.
    <BLANKLINE>
    """
    for number, one in enumerate(_of_one_recording(predictions, "SRT"), 1):
        said = f"{_one_line(one.transcript)}\n" if one.transcript and one.transcript.strip() else ""
        speaker = f"{_one_line(one.speaker)}: " if one.speaker else ""
        yield f"{number}\n{_cue(one).replace('.', ',')}\n{speaker}{_one_line(describe(one))}\n{said}\n"


def to_textgrid(
    predictions: Iterable[Prediction], duration: float | None = None, marks: Sequence[Mark] = ()
) -> Iterator[str]:
    """Write a Praat TextGrid of one recording: a tier of emotions and one of confidences, and one of marks.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of stretches that do not overlap; what lies between them becomes empty intervals.  Each channel, and each
        speaker where there are several, has tiers of its own.
    duration : float, optional
        Length of the recording in seconds; the default is the end of its last prediction.
    marks : sequence of (float, str), optional
        Moments in seconds with their names.

    Yields
    ------
    str
        Pieces of the file, in Praat's long text format; only when all predictions are there.

    Raises
    ------
    InputError
        The predictions are of more than one recording, overlap, or there is nothing that has a length.

    Source
    ------
    Praat manual, TextGrid file formats, https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.5, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> grid = "".join(to_textgrid([example], duration=2.0))
    >>> grid.count("intervals ["), grid.count('text = "sad"')
    (6, 1)
    """
    found = sorted(_of_one_recording(predictions, "a TextGrid"), key=lambda one: one.start)
    length = max([duration or 0.0, *(one.end for one in found), *(time for time, _ in marks)])
    if length <= 0:
        raise InputError("a TextGrid cannot be empty, and nothing was recognised: name another format")
    tiers = []
    several = len({one.speaker for one in found}) > 1
    for channel, who in sorted({_tier(one, several) for one in found}) or [(0, "")]:
        stretches = _without_gaps([one for one in found if _tier(one, several) == (channel, who)], length)
        about = [f"channel {channel}"] * bool(channel) + [shown(who)] * bool(who)
        of = f" ({', '.join(about)})" if about else ""
        tiers += [
            (f"emotion{of}", [(start, end, _emotion(one)) for start, end, one in stretches]),
            (
                f"confidence{of}",
                [(start, end, f"{one.confidence:.4f}" if one else "") for start, end, one in stretches],
            ),
        ]
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    yield f"xmin = 0\nxmax = {length:.9g}\ntiers? <exists>\nsize = {len(tiers) + bool(marks)}\nitem []:\n"
    for number, (name, intervals) in enumerate(tiers, 1):
        yield _tier_head(number, "IntervalTier", name, length) + f"        intervals: size = {len(intervals)}\n"
        for index, (start, end, text) in enumerate(intervals, 1):
            yield f"        intervals [{index}]:\n            xmin = {start:.9g}\n            xmax = {end:.9g}\n"
            yield f"            text = {_quoted(text)}\n"
    if marks:
        yield _tier_head(len(tiers) + 1, "TextTier", "marks", length) + f"        points: size = {len(marks)}\n"
        for index, (time, text) in enumerate(sorted(marks), 1):
            yield f"        points [{index}]:\n            number = {time:.9g}\n            mark = {_quoted(text)}\n"


def to_rttm(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write RTTM, one ``SPEAKER`` line a prediction.

    Where the speaker is known, the line is that of a diarization, with the emotion in the field of the orthography;
    elsewhere the emotion stands where diarization has the speaker.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of any number of recordings.  A recording is called what its file is, without folder and ending; blanks become
        ``_``, and of two with the same name the second gets a number.

    Yields
    ------
    str
        One line: recording, channel, start and duration in seconds, the emotion (``unknown`` for an abstention) beside
        a speaker, the speaker or the emotion, and the confidence of the emotion.

    Source
    ------
    NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.

    Examples
    --------
    >>> example = Prediction("my call.wav", 0.5, 2.0, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_rttm([example])), end="")
    SPEAKER my_call 1 0.500 1.500 <NA> <NA> sad 0.7500 <NA>
    """
    names = Names()
    for one in predictions:
        label = UNKNOWN if one.abstained else _one_word(one.label)
        start, end = round(one.start, 3), round(one.end, 3)
        said, who = ("<NA>", label) if one.speaker is None else (label, _one_word(one.speaker))
        yield (
            f"SPEAKER {_one_word(names(one.file))} {one.channel or 1} {start:.3f} {end - start:.3f} {said} <NA> "
            f"{who} {one.confidence:.4f} <NA>\n"
        )


def to_audacity(predictions: Iterable[Prediction], marks: Sequence[Mark] = ()) -> Iterator[str]:
    r"""Write an Audacity label track of one recording: start, end and label, and marks as point labels.

    Parameters
    ----------
    predictions : iterable of Prediction
        In any order.
    marks : sequence of (float, str), optional
        Moments in seconds with their names.

    Yields
    ------
    str
        One line, separated by tabs.

    Raises
    ------
    InputError
        The predictions are of more than one recording.

    Source
    ------
    Audacity manual, Importing and Exporting Labels.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> list(to_audacity([example], marks=[(1.0, "here")]))
    ['0.000000\t1.500000\tsad 75%\n', '1.000000\t1.000000\there\n']
    """
    for one in _of_one_recording(predictions, "an Audacity label track"):
        yield f"{one.start:.6f}\t{one.end:.6f}\t{_one_line(describe(one))}\n"
    for time, text in marks:
        yield f"{time:.6f}\t{time:.6f}\t{_one_line(text)}\n"


class Names:
    """Names of recordings without folder and ending, each given once.

    Examples
    --------
    >>> names = Names()
    >>> names("a/call.wav"), names("b/call.wav"), names("a/call.wav")
    ('call', 'call-2', 'call')
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._taken: set[str] = set()

    def __call__(self, file: str) -> str:
        """Return the name of a recording, the same for the same one."""
        if file not in self._of:
            stem = PurePath(file).stem.strip("<>") or "recording"
            name, number = stem, 2
            while name.casefold() in self._taken:  # "A.wav" and "a.wav" are one file to some systems
                name, number = f"{stem}-{number}", number + 1
            self._taken.add(name.casefold())
            self._of[file] = name
        return self._of[file]


def _of_one_recording(predictions: Iterable[Prediction], what: str) -> Iterator[Prediction]:
    file: str | None = None
    for one in predictions:
        file = one.file if file is None else file
        if one.file != file:
            raise InputError(
                f"{what} holds one recording, and these are {file} and {one.file}: write one file a recording "
                "(--out FOLDER/), or name another format"
            )
        yield one


def _tier(one: Prediction, several: bool) -> tuple[int, str]:
    """Say which tiers a prediction stands in: those of its channel and, of several, its speaker."""
    return one.channel or 0, (one.speaker or "") if several else ""


def _without_gaps(predictions: Sequence[Prediction], length: float) -> list[tuple[float, float, Prediction | None]]:
    """Cover a recording with intervals: the predictions', and None between them."""
    stretches: list[tuple[float, float, Prediction | None]] = []
    position = 0.0
    for one in predictions:
        if one.start < position - _ROUNDING:
            raise InputError(
                f"{one.file} has predictions that overlap at {one.start:g} s, which a TextGrid cannot hold: "
                "name another format"
            )
        start = one.start if one.start > position + _ROUNDING else position
        if start > position:
            stretches.append((position, start, None))
        if one.end > start:
            stretches.append((start, one.end, one))
        position = max(position, one.end)
    if length > position + _ROUNDING:
        stretches.append((position, length, None))
    elif stretches:
        start, _, last = stretches[-1]
        stretches[-1] = (start, length, last)
    return stretches


def _emotion(prediction: Prediction | None) -> str:
    if prediction is None:
        return ""
    return f"don't know ({prediction.label})" if prediction.abstained else prediction.label


def _tier_head(number: int, kind: str, name: str, length: float) -> str:
    return (
        f'    item [{number}]:\n        class = "{kind}"\n        name = {_quoted(name)}\n'
        f"        xmin = 0\n        xmax = {length:.9g}\n"
    )


def _cue(one: Prediction) -> str:
    """Write from when to when a cue is shown; it may not be empty."""
    start = round(1000 * one.start)
    return f"{_vtt_time(start)} --> {_vtt_time(max(start + 1, round(1000 * one.end)))}"


def _vtt_time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _vtt_text(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    doubled = _one_line(text).replace('"', '""')
    return f'"{doubled}"'


def _one_line(text: str) -> str:
    """Make one line of any text: a tab, a line break or a control character becomes a blank."""
    return shown(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip())


def _one_word(text: str) -> str:
    return shown(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "_", text.strip())) or UNKNOWN


class Format(StrEnum):
    """Formats of predictions."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    VTT = "vtt"
    SRT = "srt"
    TEXTGRID = "textgrid"
    RTTM = "rttm"
    AUDACITY = "audacity"

    @property
    def ending(self) -> str:
        """How the name of a file of this format ends."""
        return {"table": ".txt", "audacity": ".txt", "textgrid": ".TextGrid"}.get(self.value, f".{self.value}")

    @property
    def holds_one(self) -> bool:
        """Whether a file of this format is about one recording only."""
        return self in (Format.VTT, Format.SRT, Format.TEXTGRID, Format.AUDACITY)

    @property
    def has_marks(self) -> bool:
        """Whether a file of this format has a place for marked moments."""
        return self in (Format.TEXTGRID, Format.AUDACITY)


#: What closes a JSON list.
JSON_END = "\n]\n"


def to_json(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write a JSON list piece by piece: what was computed before an interruption is valid JSON too.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> import json
    >>> json.loads("".join(to_json([example])))[0]["label"]
    'sad'
    """
    yield "["
    separator = "\n"
    try:
        for prediction in predictions:
            yield separator + json_line(prediction.to_dict())
            separator = ",\n"
    except KeyboardInterrupt:
        yield JSON_END
        raise
    yield JSON_END


def to_csv(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Write CSV line by line: one column a field, and ``p_<label>`` for each probability.

    Text that a spreadsheet would run as a formula has a quote before it, see :func:`emovox.outputs.console.csv_line`.

    Where words were listened to in the first prediction, there is the column ``transcript`` after them; where it has
    emotion dimensions, there is ``d_<name>`` for each at the end.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_csv([example], ["sad", "happy"])).strip())
    file,start,end,label,confidence,abstained,model,speaker,p_sad,p_happy,baseline,channel,setting
    a.wav,0.000,1.500,sad,0.7500,false,demo,,0.7500,0.2500,,,
    """
    coming = iter(predictions)
    first = next(coming, None)
    # Words that could not be had are explained, so that this is known before any were recognised.
    spoken = first is not None and (first.transcript is not None or any(map(about_words, first.why or ())))
    example = first or Prediction("", 0.0, 0.0, "", dict.fromkeys(labels, 0.0), 0.0, False, "")
    fields = [name for name in example.to_row() if spoken or name != "transcript"]
    yield csv_line(fields)
    for one in chain([first] if first else (), coming):
        row = one.to_row()
        yield csv_line(_cell(name, row[name]) for name in fields)


def _cell(name: str, value: Any) -> str:
    """Write a value of a row: times to a millisecond, shares to four digits, nothing for what is not known."""
    if value is None:
        return ""
    if name in ("start", "end"):
        return f"{value:.3f}"
    if name == "confidence" or name.startswith(("p_", "d_")):
        return f"{value:.4f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_of(path: Path) -> Format:
    """Tell the format of a file by the ending of its name; ``.txt`` is an Audacity label track.

    Raises
    ------
    InputError
        The ending belongs to no format.

    Examples
    --------
    >>> format_of(Path("call.TextGrid")).value, format_of(Path("labels.txt")).value
    ('textgrid', 'audacity')
    """
    for form in (form for form in Format if form is not Format.TABLE):
        if path.suffix.lower() == form.ending.lower():
            return form
    endings = ", ".join(form.ending for form in Format if form is not Format.TABLE)
    raise InputError(f"the name {path} does not tell a format: end it in one of {endings}")


def pieces(
    form: Format,
    predictions: Iterable[Prediction],
    labels: Sequence[str],
    *,
    duration: float | None = None,
    marks: Sequence[Mark] = (),
) -> Iterator[str]:
    r"""Write predictions in a format for machines, piece by piece.

    Parameters
    ----------
    form : Format
        Any but the table, which is for a terminal (:func:`to_table`).
    predictions : iterable of Prediction
        In the order of time; of one recording, where the format holds no more.
    labels : sequence of str
        The model's labels: the columns of CSV.
    duration : float, optional
        Length of the recording in seconds, for formats that state it.
    marks : sequence of (float, str), optional
        Marked moments, for formats that have a place for them.

    Yields
    ------
    str

    Raises
    ------
    InputError
        The predictions do not fit the format.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> "".join(pieces(Format.RTTM, [example], ["sad", "happy"]))
    'SPEAKER a 1 0.000 1.500 <NA> <NA> sad 0.7500 <NA>\n'
    """
    match form:
        case Format.JSON:
            return to_json(predictions)
        case Format.CSV:
            return to_csv(predictions, labels)
        case Format.VTT:
            return to_vtt(predictions)
        case Format.SRT:
            return to_srt(predictions)
        case Format.TEXTGRID:
            return to_textgrid(predictions, duration, marks)
        case Format.RTTM:
            return to_rttm(predictions)
        case Format.AUDACITY:
            return to_audacity(predictions, marks)
        case Format.TABLE:
            raise InputError("a table is for a terminal: name a format for files")


@dataclass
class Place:
    """Where files are written: one file, or a folder with a file a recording.

    Attributes
    ----------
    target : Path
        The file or the folder.
    folder : bool
        Whether it is a folder.
    ending : str
        How the names of files in the folder end.
    """

    target: Path
    folder: bool
    ending: str
    _root: str = ""
    _names: dict[str, Names] = field(default_factory=lambda: defaultdict(Names))

    @classmethod
    def of(cls, text: str | None, option: str, ending: str, files: Sequence[str], *, one_file: bool) -> Place | None:
        """Read an option; a folder is one that exists, or a name that ends in a slash.

        Parameters
        ----------
        text : str or None
            The option's value; None gives None.
        option : str
            The option's name, for messages.
        ending : str
            How the names of files in a folder end.
        files : sequence of str
            The recordings of the call.
        one_file : bool
            Whether one file can hold several recordings.

        Raises
        ------
        InputError
            There are several recordings and one file would have to hold them, the place cannot be written to, or it
            is one of the recordings.
        """
        folder = text is not None and (text.endswith(("/", "\\")) or Path(text).is_dir())
        if len(files) > 1 and not (one_file or folder):
            what = f"one file holds one recording in this format, and {len(files)} are given"
            raise InputError(f"{what}: write {option} FOLDER/ for one file each, or name another format")
        if text is None:
            return None
        place = cls(Path(text), folder, ending, _root(files))
        if not folder and any(_same(place.target, file) for file in files):
            raise InputError(f"{option} {text} is one of the recordings: name another file")
        require_writable(place.target / "emovox" if folder else place.target)
        return place

    def path(self, file: str) -> Path:
        """Return where the file of a recording goes: in a folder, into the same folders below as the recordings'."""
        if not self.folder:
            return self.target
        below = os.path.relpath(_folder_of(file), self._root) if self._root and _is_path(file) else "."
        return self.target / below / (self._names[below](file) + self.ending)


def _is_path(file: str) -> bool:
    return file != "-" and not file.startswith("<")


def _folder_of(file: str) -> str:
    return os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120 - links stay what they are called


def _root(files: Sequence[str]) -> str:
    """Find the deepest folder that all recordings are in; none where there is no such folder."""
    try:
        return os.path.commonpath([_folder_of(file) for file in files if _is_path(file)])
    except ValueError:  # on several drives, or there is nothing but standard input
        return ""


def _same(path: Path, file: str) -> bool:
    try:
        return path.samefile(file)
    except OSError:  # one of them does not exist
        return False
