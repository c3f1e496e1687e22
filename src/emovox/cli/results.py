"""What `emovox predict` delivers: results in one place or many, pictures and pages, explanations, summaries."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from emovox.audio import Sound
from emovox.audio.sources import SPOOL, Source
from emovox.drawing import clock
from emovox.errors import InputError
from emovox.outputs import explanations, formats, tracks
from emovox.outputs.console import Console, is_terminal, say, whole_writes
from emovox.outputs.explanations import Explanation
from emovox.outputs.formats import COLOURS, JSON_END, Format
from emovox.outputs.text import Table, Text, json_line, shown
from emovox.recognition.timeline import Summary, Timeline
from emovox.types import Prediction
from emovox.writing import replacing, require_writable

if TYPE_CHECKING:
    from emovox.model.card import ModelCard


#: Columns of a summary beside its bars, for recordings of up to ten hours.
_BESIDE_BARS = 43


@dataclass(frozen=True)
class Found:
    """What was found in one recording, or the next segment of one that is still read.

    Attributes
    ----------
    file : str
        Where the sound came from.
    predictions : tuple of Prediction
        In the order of time.
    duration : float
        Length of the recording in seconds, or of what is read of it so far.
    source : str, path, bytes, binary file, or pair of array and rate
        Where it can be read once more.
    explanations : tuple of Explanation
        Of the strongest answers, where they are asked for.
    """

    file: str
    predictions: tuple[Prediction, ...]
    duration: float
    source: Sound = ""
    explanations: tuple[Explanation, ...] = ()


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
    _names: dict[str, tracks.Names] = field(default_factory=lambda: defaultdict(tracks.Names))

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


def picture_place(plot: str | None, files: Sequence[str]) -> Place | None:
    """Read the option ``--plot``; what must fail fails before the first recording is read."""
    place = Place.of(plot, "--plot", ".png", files, one_file=plot is None)
    if place:
        from emovox.outputs import plots  # it brings the arithmetic of pitch

        plots.require(place.target / "picture.png" if place.folder else place.target)
    return place


def draw(found: Found, source: Sound, path: Path) -> None:
    """Draw the picture of one recording, and beside it the plane of valence and arousal, where a model gives them."""
    from emovox.outputs import plane, plots

    plots.write(found.predictions, source, path, found.file, found.explanations)
    say(f"wrote {path}")
    if plane.has_plane(found.predictions):
        beside = path.with_stem(f"{path.stem}-plane")
        plane.write(found.predictions, beside, found.file)
        say(f"wrote {beside}")


@dataclass(frozen=True)
class Pages:
    """Where the pages of ``--html`` go, and what they hold beside the answers.

    Attributes
    ----------
    place : Place
        One file, or a folder with one a recording.
    embed : bool
        Whether the sound is inside them; otherwise it is beside them, where it is a file.
    card : ModelCard
        That of the model.
    """

    place: Place
    embed: bool
    card: ModelCard

    def write(self, found: Found) -> None:
        """Write the page of one recording."""
        from emovox.outputs import page, plots

        path, source = self.place.path(found.file), found.source
        address = page.inside(source) if self.embed else ""
        if not self.embed and isinstance(source, str | os.PathLike):
            address = page.beside(os.fsdecode(source), path)
        shown = page.Page(
            found.file,
            found.predictions,
            found.duration,
            plots.contour(source, melody=False),
            self.card,
            address,
            Timeline(found.file, found.duration, found.predictions).summary().to_dict(),
            found.explanations,
        )
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(page.to_html(shown))
        say(f"wrote {path}")


@contextmanager
def standard_input(again: bool) -> Iterator[Source]:
    """Give standard input as a recording; it is kept where it will be read `again`."""
    if not again:
        yield sys.stdin.buffer
    else:
        with _Kept(max_size=SPOOL) as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            yield cast(BinaryIO, kept)


class _Kept(tempfile.SpooledTemporaryFile[bytes]):
    """Standard input, kept."""

    name = "<stdin>"


def streams(form: Format, place: Place | None) -> bool:
    """Tell whether a timeline can be delivered while it is made: all but what states the length before the segments."""
    return form is not Format.TEXTGRID and not (place and place.folder)


def deliver(found: Iterable[Found], form: Format, place: Place | None, labels: Sequence[str]) -> None:
    """Write results as they come, in one format to one place.

    Parameters
    ----------
    found : iterable of Found
        The recordings' results; what came before an interruption is kept.
    form : Format
        For people, or for machines.
    place : Place or None
        None is standard output.
    labels : sequence of str
        The model's labels.
    """
    if place is not None and place.folder:
        for one in found:
            _save(one.predictions, form, place.path(one.file), labels, one.duration)
    elif place is not None or form is Format.TABLE:
        _at_the_end(found, form, place, labels)
    elif form is Format.JSON:
        _print_json(one for each in found for one in each.predictions)
    else:
        _print_pieces(found, form, labels)


def _at_the_end(found: Iterable[Found], form: Format, place: Place | None, labels: Sequence[str]) -> None:
    """Write when all is done, or what there is of it when the user stops."""
    done: list[Prediction] = []
    duration = 0.0
    try:
        for one in found:
            done.extend(one.predictions)
            duration = max(duration, one.duration)
    finally:
        if done and place is not None:
            _save(done, form, place.target, labels, duration)
        elif done and is_terminal(sys.stdout):
            console = Console()
            console.print(formats.to_table(done, console.width))
        elif done:  # nobody looks: the library for colours need not be loaded
            sys.stdout.writelines(formats.to_text(done))


def _save(predictions: Sequence[Prediction], form: Format, path: Path, labels: Sequence[str], duration: float) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        if form is Format.TABLE:
            file.writelines(formats.to_text(predictions))
        else:
            file.writelines(formats.pieces(form, predictions, labels, duration=duration))
    say(f"wrote {path}")


class _Printer:
    """Prints pieces as they come, each whole: the interruption may come at any line of this process."""

    def __init__(self, whole: Callable[[Callable[[], None]], None]) -> None:
        self._whole, self.last = whole, ""

    def print(self, pieces: Iterable[str]) -> None:
        """Print pieces; `last` is the one that was printed last."""
        for piece in pieces:
            self._whole(partial(self._print, piece))

    def _print(self, piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()
        self.last = piece


def _print_json(predictions: Iterator[Prediction]) -> None:
    """Print a list that is whole wherever the user stops."""
    with whole_writes() as whole:
        printer = _Printer(whole)
        try:
            printer.print(formats.to_json(predictions))
        finally:
            if not printer.last.endswith(formats.JSON_END):
                printer.print([formats.JSON_END if printer.last else "[]\n"])


def _print_pieces(found: Iterable[Found], form: Format, labels: Sequence[str]) -> None:
    """Print as results come; a format that holds one recording gets one, and where it states its length, whole."""
    with whole_writes() as whole:
        printer = _Printer(whole)
        if form is Format.TEXTGRID:
            for one in found:
                printer.print(formats.pieces(form, one.predictions, labels, duration=one.duration))
            return
        coming = (one for each in found for one in each.predictions)
        first = [one for one in [next(coming, None)] if one]
        if first or not form.holds_one:  # a track of nothing is no track; a table of nothing has a header
            printer.print(formats.pieces(form, chain(first, coming), labels))


def require_plain_format(option: str, form: Format | None, out: str | None) -> None:
    """Refuse what a summary or an explanation cannot be written as, before the first recording is read."""
    if form not in (None, Format.TABLE, Format.JSON):
        raise InputError(f"{option} is a table or json, not {form}: write --format json, or leave out {option}")
    if out is not None:
        raise InputError(f"{option} goes to standard output: redirect it, or leave out --out")


def print_explanations(found: Iterable[Found], form: Format | None) -> None:
    """Print the explanations of each recording; what came before an interruption is whole."""
    if form is Format.JSON:
        print_list(one for each in found for one in each.explanations)
        return
    for each in found:
        for one in each.explanations:
            said = [explanations.title(one), *(f"  {about:6} {text}" for about, text in explanations.lines(one))]
            sys.stdout.write("\n".join(said) + "\n")
            sys.stdout.flush()


class _Plain(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


def print_list(values: Iterable[_Plain]) -> None:
    """Print a list of JSON that is whole wherever the user stops."""
    separator = "["
    try:
        for one in values:
            sys.stdout.write(f"{separator}\n{json_line(one.to_dict())}")
            sys.stdout.flush()
            separator = ","
    finally:
        sys.stdout.write(JSON_END if separator == "," else "[]\n")
        sys.stdout.flush()


def print_summaries(summaries: Iterable[Summary], form: Format | None) -> None:
    """Print a summary of each recording; what came before an interruption is whole."""
    if form is not Format.JSON:
        console = Console()
        for summary in summaries:
            for line in to_lines(summary, console.width):
                console.print(line)
        return
    print_list(summaries)


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
