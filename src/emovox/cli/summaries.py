"""Summaries of recordings on a terminal and as JSON: shares of time, strongest moments, changes, speakers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emovox.cli import results
from emovox.drawing import clock
from emovox.outputs import formats
from emovox.outputs.console import Console
from emovox.outputs.formats import COLOURS, Format
from emovox.outputs.text import Table, Text, shown
from emovox.recognition.timeline import Summary

#: Columns of a summary beside its bars, for recordings of up to ten hours.
_BESIDE_BARS = 43


def print_summaries(summaries: Iterable[Summary], form: Format | None) -> None:
    """Print a summary of each recording; what came before an interruption is whole."""
    if form is not Format.JSON:
        console = Console()
        for summary in summaries:
            for line in to_lines(summary, console.width):
                console.print(line)
        return
    results.print_list(summaries)


def to_lines(summary: Summary, width: int = 80) -> Iterator[Text | Table]:
    """Describe a recording on a terminal: shares of time, strongest moment of each emotion, what follows what.

    Parameters
    ----------
    summary : Summary
    width : int, default 80
        Columns of the terminal; where there are few, the bars get shorter, and go.
    """
    seen = f"{clock(summary.judged)} of {clock(summary.duration)} judged, {summary.segments} segments"
    yield Text(f"{shown(summary.file)}: {seen}, not sure in {summary.abstained:.0%} of it")
    bars = max(0, min(20, width - _BESIDE_BARS))
    table = Table()
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
    if summary.share or not summary.dimensions:
        yield table
    if summary.dimensions:
        yield Text(shown(f"mean: {formats.dimensions(summary.dimensions)}"))
    if summary.transitions:
        yield Text("changes: " + ", ".join(_changes(summary)))
    if summary.speakers:
        yield from _speakers(summary)


def _speakers(summary: Summary) -> Iterator[Text | Table]:
    """Describe who speaks how long and how, and who follows whom with what."""
    table = Table()
    for name in ("speaker", "time", "share", "emotions"):
        table.add_column(name, no_wrap=name != "emotions", justify="right" if name in ("time", "share") else "left")
    for name, one in summary.speakers.items():
        said = ", ".join(f"{label} {share:.0%}" for label, share in one.emotions.items())
        table.add_row(Text(shown(name)), clock(one.seconds), f"{one.share:.0%}", said)
    yield table
    most = summary.replies[:3]
    lines = (f"{one.speaker} {one.label}, then {one.next_speaker} {one.next_label} {one.count}" for one in most)
    yield Text(shown("replies: " + "; ".join(lines)))


def _changes(summary: Summary, most: int = 5) -> Iterator[str]:
    for (first, then), count in list(summary.transitions.items())[:most]:
        yield f"{first} to {then} {count}"
    if len(summary.transitions) > most:
        yield f"{sum(list(summary.transitions.values())[most:])} others"
