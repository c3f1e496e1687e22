"""One table of all parts, or a track for each recording: what other programs read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

from emovox.batch.places import Place
from emovox.batch.plan import Plan
from emovox.batch.tables import parquet_writer
from emovox.batch.tasks import Values
from emovox.errors import InputError
from emovox.outputs import formats, tracks
from emovox.outputs.formats import Format
from emovox.outputs.text import csv_line, json_line
from emovox.types import Prediction
from emovox.writing import replacing


class Merged(StrEnum):
    """What parts become."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    RTTM = "rttm"
    TEXTGRID = "textgrid"
    VTT = "vtt"
    SRT = "srt"
    AUDACITY = "audacity"

    @property
    def one_each(self) -> bool:
        """Whether there is a file for each recording."""
        return self in (Merged.TEXTGRID, Merged.VTT, Merged.SRT, Merged.AUDACITY)


def form_of(target: str, form: Merged | None) -> Merged:
    """Tell the format of what is merged: that which is asked for, or the one of the target's name.

    Raises
    ------
    InputError
        The name tells none.

    Examples
    --------
    >>> form_of("all.parquet", None).value, form_of("tracks/", Merged.TEXTGRID).value
    ('parquet', 'textgrid')
    """
    if form is not None:
        return form
    ending = Path(target).suffix.lower().removeprefix(".")
    if ending not in ("csv", "jsonl", "parquet", "rttm"):
        raise InputError(
            f"the name {target} tells no format: end it in .csv, .jsonl, .parquet or .rttm, or add --format"
        )
    return Merged(ending)


def merge(plan: Plan, place: Place, target: Path, form: Merged) -> int:
    """Write the rows of all parts that are there, in the order of the inputs.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output.
    target : Path
        The file to write, or the folder for formats with a file a recording.
    form : Merged
        Its format.

    Returns
    -------
    int
        How many rows were written.

    Raises
    ------
    InputError
        The output has no answers, and the format is about answers; the rows of a recording lie apart, and the format is
        a file for each; or nothing can be written there.
    """
    if form in (Merged.CSV, Merged.JSONL, Merged.PARQUET):
        return _table(plan, place, target, form)
    if form is Merged.RTTM:
        with replacing(target) as part, part.open("w", encoding="utf-8") as file:
            lines = tracks.to_rttm(one for one, _ in answers(plan, place))
            return sum(bool(file.write(line)) for line in lines)
    return _tracks(plan, place, target, Format(form.value))


def rows(plan: Plan, place: Place) -> Iterator[Values]:
    """Give the rows of all parts that are there, in order."""
    for part in sorted(plan.done(place)):
        yield from plan.rows(place, part)


def answers(plan: Plan, place: Place) -> Iterator[tuple[Prediction, Mapping[str, Any]]]:
    """Give all rows as predictions, each with the row it comes from.

    Raises
    ------
    InputError
        The output holds features or embeddings.
    """
    if "label" not in plan.columns:
        raise InputError(f"{place.name} holds {plan.manifest['output']}, not answers: merge it to CSV or Parquet")
    for values in rows(plan, place):
        row = dict(zip(plan.columns, values, strict=True))
        yield _prediction(row, plan.labels), row


def _prediction(row: Mapping[str, Any], labels: list[str]) -> Prediction:
    return Prediction(
        file=row["file"],
        start=row["start"],
        end=row["end"],
        label=row["label"],
        probabilities={label: row[f"p_{label}"] for label in labels},
        confidence=row["confidence"],
        abstained=row["abstained"],
        model=row["model"],
        speaker=row["speaker"],
        transcript=row.get("transcript"),
        channel=row["channel"],
    )


def _table(plan: Plan, place: Place, target: Path, form: Merged) -> int:
    count = 0
    with replacing(target) as part:
        if form is Merged.PARQUET:
            with parquet_writer(part, plan.columns) as write:
                for number in sorted(plan.done(place)):
                    count += write(list(plan.rows(place, number)))
            return count
        with part.open("w", encoding="utf-8", newline="") as file:
            if form is Merged.CSV:
                file.write(csv_line(plan.columns))
            for values in rows(plan, place):
                line = json_line(dict(zip(plan.columns, values, strict=True))) + "\n"
                file.write(line if form is Merged.JSONL else csv_line(_cells(values)))
                count += 1
    return count


def _cells(values: Values) -> Iterator[str | float]:
    """Write values as cells: nothing where there is none, JSON where there is more than a cell holds."""
    for value in values:
        if value is None:
            yield ""
        elif isinstance(value, bool):
            yield str(value).lower()
        elif isinstance(value, str | int | float):
            yield value
        else:
            yield json.dumps(value)


def _require_together(plan: Plan, place: Place) -> None:
    """Make sure, before anything is written, that the rows of a recording follow each other."""
    over: set[str] = set()
    before = None
    for one, _ in answers(plan, place):
        if one.file in over and one.file != before:
            raise InputError(
                f"the rows of {one.file} lie apart in this output, and a track holds a whole recording: sort the input "
                "by file, or merge to CSV, JSON lines, Parquet or RTTM"
            )
        over.add(one.file)
        before = one.file


def _tracks(plan: Plan, place: Place, target: Path, form: Format) -> int:
    """Write a file for each recording."""
    _require_together(plan, place)
    names, count = tracks.Names(), 0
    for file, group in groupby(answers(plan, place), key=lambda one: one[0].file):
        found = list(group)
        length = max(max(one.end, row["duration"]) for one, row in found)
        with replacing(target / (names(file) + form.ending)) as part, part.open("w", encoding="utf-8") as written:
            pieces = formats.pieces(form, [one for one, _ in found], plan.labels, duration=length)
            written.writelines(pieces)
        count += len(found)
    return count
