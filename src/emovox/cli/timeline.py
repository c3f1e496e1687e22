"""The options of `emovox predict --timeline`, and the summary of a recording for people and for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from emovox.errors import InputError
from emovox.outputs.console import standard_output
from emovox.outputs.formats import COLOURS, JSON_END, Format
from emovox.recognition.timeline import Summary, TimelineOptions

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


#: Columns of a summary beside its bars, for recordings of up to ten hours.
_BESIDE_BARS = 43


def options(wanted: bool, **given: Any) -> TimelineOptions | None:
    """Make the options of what was written on the command line.

    Parameters
    ----------
    wanted : bool
        Whether a timeline is wanted at all.
    **given : mode, window, hop, smoothing, merge
        None where nothing was written.

    Returns
    -------
    TimelineOptions or None
        None where no timeline is wanted.

    Raises
    ------
    InputError
        Something was written that has no meaning without a timeline, or a value is out of its range.

    Examples
    --------
    >>> options(True, mode="interval", window=None, hop=10.0).window
    10.0
    """
    written = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        if written:
            name = "smooth" if "smoothing" in written else next(iter(written))
            raise InputError(f"--{name} is about timelines: add --timeline or --summary")
        return None
    if "hop" in written and "window" not in written:
        written["window"] = max(written["hop"], TimelineOptions.window)
    return TimelineOptions(**written)


def require_summary_format(form: Format | None, out: str | None) -> None:
    """Refuse what a summary cannot be written as, before the first recording is read."""
    if form not in (None, Format.TABLE, Format.JSON):
        raise InputError(f"--summary is a table or json, not {form}: write --format json, or leave out --summary")
    if out is not None:
        raise InputError("--summary goes to standard output: redirect it, or leave out --out")


def print_summaries(summaries: Iterable[Summary], form: Format | None) -> None:
    """Print a summary of each recording; what came before an interruption is whole."""
    if form is not Format.JSON:
        console = standard_output()
        for summary in summaries:
            for line in to_lines(summary, console.width):
                console.print(line)
        return
    separator = "["
    try:
        for summary in summaries:
            sys.stdout.write(f"{separator}\n{json.dumps(summary.to_dict(), ensure_ascii=False)}")
            sys.stdout.flush()
            separator = ","
    finally:
        sys.stdout.write(JSON_END if separator == "," else "[]\n")
        sys.stdout.flush()


def to_lines(summary: Summary, width: int = 80) -> Iterator[Text | Table]:
    """Describe a recording on a terminal: shares of time, strongest moment of each emotion, what follows what.

    Parameters
    ----------
    summary : Summary
    width : int, default 80
        Columns of the terminal; where there are few, the bars get shorter, and go.
    """
    from rich.table import Table  # only people need them
    from rich.text import Text

    seen = f"{clock(summary.judged)} of {clock(summary.duration)} judged, {summary.segments} segments"
    yield Text(f"{summary.file}: {seen}, not sure in {summary.abstained:.0%} of it")
    bars = max(0, min(20, width - _BESIDE_BARS))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("emotion", "time", "share", "strongest"):
        table.add_column(name, no_wrap=name != "strongest", justify="right" if name == "time" else "left")
    for label, share in summary.share.items():
        best, colour = summary.strongest[label], COLOURS.get(label, "white")
        bar = "█" * round(bars * share) + "░" * (bars - round(bars * share)) + " " if bars else ""
        table.add_row(
            Text(label, colour),
            clock(share * summary.judged),
            Text(f"{bar}{share:.0%}", colour),
            f"{clock(best.start)} {best.confidence:.0%}",
        )
    yield table
    if summary.transitions:
        yield Text("changes: " + ", ".join(_changes(summary)))


def _changes(summary: Summary, most: int = 5) -> Iterator[str]:
    for (first, then), count in list(summary.transitions.items())[:most]:
        yield f"{first} to {then} {count}"
    if len(summary.transitions) > most:
        yield f"{sum(list(summary.transitions.values())[most:])} others"


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Examples
    --------
    >>> clock(59.96), clock(61.5), clock(3 * 3600)
    ('1:00.0', '1:01.5', '3:00:00.0')
    """
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
