"""Predictions for people and for machines: table, JSON, CSV, and the tracks of :mod:`emovox.outputs.tracks`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

from emovox.errors import InputError
from emovox.labels import TOO_SHORT
from emovox.outputs import tracks
from emovox.outputs.text import WIDE, Column, Table, Text, columns, csv_line, json_line, shown
from emovox.outputs.tracks import Mark
from emovox.types import Prediction


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

#: Columns below which the table leaves out what can be spared.
NARROW = 72

#: Columns of a table beside the names of files.
_BESIDE_NAMES = 50

#: Colour of each emotion on a terminal; labels not listed are white.
COLOURS = {
    "neutral": "white",
    "calm": "cyan",
    "happy": "yellow",
    "sad": "blue",
    "angry": "red",
    "fearful": "magenta",
    "disgust": "green",
    "surprised": "bright_yellow",
}


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

    Text that a spreadsheet would run as a formula has a quote before it, see :func:`emovox.outputs.text.csv_line`.

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
    spoken = first is not None and (first.transcript is not None or any(map(_about_words, first.why or ())))
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


def _below(one: Prediction) -> Iterator[str]:
    """Give the lines below a label: what was said, and what there is to explain."""
    if one.transcript is not None:
        yield f'"{one.transcript}"' if one.transcript else "(no words)"
    for line in one.why or ():
        if one.transcript is not None or not _about_words(line):
            yield line


def _about_words(line: str) -> bool:
    """Tell lines on words, which are told elsewhere where there are none, from that on too little speech."""
    return not line.startswith(TOO_SHORT)


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
            return tracks.to_vtt(predictions)
        case Format.SRT:
            return tracks.to_srt(predictions)
        case Format.TEXTGRID:
            return tracks.to_textgrid(predictions, duration, marks)
        case Format.RTTM:
            return tracks.to_rttm(predictions)
        case Format.AUDACITY:
            return tracks.to_audacity(predictions, marks)
        case Format.TABLE:
            raise InputError("a table is for a terminal: name a format for files")


def to_table(predictions: Sequence[Prediction], width: int = 80) -> Table:
    """Make a table for a terminal: the label, how sure it is and, where the terminal is wide enough, the runner-up.

    A long folder that all recordings are in stands above the table, and not in every row.  Where there are several
    channels or speakers, a column says which.  Where words were listened to, they stand below the label, and below them
    what there is to explain.
    """
    wide = width >= NARROW
    spoken = any(one.transcript is not None for one in predictions)
    told = [name for name in ("channel", "speaker") if len({getattr(one, name) for one in predictions}) > 1]
    common = _common_folder([one.file for one in predictions], width)
    shape = [
        Column("file"),
        Column("time", right=True, whole=True),
        *map(Column, told),
        Column("emotion", whole=wide and not spoken),
        Column("confidence" if wide else "sure", whole=True),
        *([Column("then", whole=True)] if wide else []),
    ]
    rows: list[list[str | list[tuple[str, str]]]] = []
    for one in predictions:
        file, time, label, sure, *rest = _cells(one, wide)
        colour = COLOURS.get(one.label, "white")
        who = [str(getattr(one, name) or "") for name in told]
        said = [(line, "dim") for line in _below(one)]
        rows.append([file.removeprefix(common), time, *who, [(label, colour), *said], [(sure, colour)], *rest])
    table = Table.of(shape, rows)
    if common:
        table.title = Text(f"in {shown(common)}", "dim")
    return table


def _common_folder(files: Sequence[str], width: int) -> str:
    """Find a folder that all files are in whose name would take much of a terminal; empty where there is none."""
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120 - as they are written
    if (
        max(map(columns, files), default=0) < width - _BESIDE_NAMES
        or len({Path(one).is_absolute() for one in folders}) > 1
    ):
        return ""
    common = os.path.commonpath(folders)
    return os.path.join(common, "") if common not in ("", ".") else ""  # noqa: PTH118 - ends in a separator


def to_text(predictions: Sequence[Prediction]) -> list[str]:
    """Write the lines of the same table for a pipe or a file: as wide as it needs to be, without colours.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> [line.rstrip() for line in to_text([example])]
    ['file       time  emotion  confidence      then', 'a.wav  0.0-1.5 s  sad      ████████░░ 75%  happy 25%']
    """
    return str(to_table(predictions, WIDE)).splitlines(keepends=True)


def _cells(one: Prediction, wide: bool) -> list[str]:
    """Give the cells of a prediction's row: file, time, label, how sure it is, the runner-up where there is room."""
    ranked = sorted(one.probabilities.items(), key=lambda item: -item[1])
    time = f"{one.start:.1f}-{one.end:.1f} s"
    if not one.label:
        return [one.file, time, dimensions(one.dimensions or {}), "", *([""] if wide else [])]
    label = f"don't know ({one.label})" if one.abstained else one.label
    bar = "█" * round(10 * one.confidence) + "░" * (10 - round(10 * one.confidence))
    sure = f"{bar} {one.confidence:.0%}" if wide else f"{one.confidence:.0%}"
    then = f"{ranked[1][0]} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
    return [one.file, time, label, sure, *([then] if wide else [])]


def dimensions(values: Mapping[str, float]) -> str:
    """Write emotion dimensions in a line: what stands for the label of a model that has no classes.

    Examples
    --------
    >>> dimensions({"arousal": 0.314, "valence": -0.1})
    'arousal +0.31, valence -0.10'
    """
    return ", ".join(f"{name} {value:+.2f}" for name, value in values.items())
