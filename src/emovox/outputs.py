"""Predictions for people and for machines: table, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from emovox.types import Prediction

if TYPE_CHECKING:
    from rich.table import Table

#: What closes a JSON list.
JSON_END = "\n]\n"

#: Columns below which the table leaves out what can be spared.
NARROW = 72

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
    >>> json.loads("".join(to_json([example])))[0]["label"]
    'sad'
    """
    yield "["
    separator = "\n"
    try:
        for prediction in predictions:
            yield separator + json.dumps(prediction.to_dict(), ensure_ascii=False)
            separator = ",\n"
    except KeyboardInterrupt:
        yield JSON_END
        raise
    yield JSON_END


def to_csv(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Write CSV line by line: one column a field, and ``p_<label>`` for each probability.

    Examples
    --------
    >>> example = Prediction("a.wav", 0.0, 1.5, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> print("".join(to_csv([example], ["sad", "happy"])).strip())
    file,start,end,label,confidence,abstained,model,speaker,p_sad,p_happy
    a.wav,0.000,1.500,sad,0.7500,false,demo,,0.7500,0.2500
    """
    fields = ("file", "start", "end", "label", "confidence", "abstained", "model", "speaker")
    yield _csv_line([*fields, *(f"p_{label}" for label in labels)])
    for one in predictions:
        values = [
            one.file,
            f"{one.start:.3f}",
            f"{one.end:.3f}",
            one.label,
            f"{one.confidence:.4f}",
            str(one.abstained).lower(),
            one.model,
            one.speaker or "",
        ]
        yield _csv_line(values + [f"{one.probabilities[label]:.4f}" for label in labels])


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def to_table(predictions: Sequence[Prediction], width: int = 80) -> Table:
    """Make a table for a terminal: the label, how sure it is and, where the terminal is wide enough, the runner-up."""
    from rich.table import Table  # only people need it
    from rich.text import Text

    wide = width >= NARROW
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("emotion", no_wrap=wide)
    table.add_column("confidence" if wide else "sure", no_wrap=True)
    if wide:
        table.add_column("then", no_wrap=True)
    for one in predictions:
        ranked = sorted(one.probabilities.items(), key=lambda item: -item[1])
        colour = COLOURS.get(one.label, "white")
        label = f"don't know ({one.label})" if one.abstained else one.label
        bar = "█" * round(10 * one.confidence) + "░" * (10 - round(10 * one.confidence))
        sure = f"{bar} {one.confidence:.0%}" if wide else f"{one.confidence:.0%}"
        cells: list[Text | str] = [
            Text(one.file),
            f"{one.start:.1f}-{one.end:.1f} s",
            Text(label, colour),
            Text(sure, colour),
        ]
        if wide:
            cells.append(f"{ranked[1][0]} {ranked[1][1]:.0%}" if len(ranked) > 1 else "")
        table.add_row(*cells)
    return table
