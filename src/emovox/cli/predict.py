"""`emovox predict`: recordings to emotions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated

import typer

from emovox import audio, outputs, profiles
from emovox.cli.console import progress_bars, recordings, say, standard_output
from emovox.errors import EmovoxError
from emovox.gate import GateOptions
from emovox.recognizer import EmotionRecognizer
from emovox.types import Prediction

#: A recording must be longer than this, in seconds, before it gets a progress bar of its own.
LONG = 120.0


class Format(StrEnum):
    """Output formats of predict."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="AUDIO...", help="Files, folders, quoted patterns, or - for standard input."),
    ],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model file, run folder or built-in name.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="For people, or for machines.")] = Format.TABLE,
    speaker: Annotated[
        str | None, typer.Option("--speaker", "-s", metavar="NAME", help="Whose voice it is: see emovox enroll.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="0..1", help="Confidence of an answer; the default is the model's, 0 never abstains."
        ),
    ] = None,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Analyse any sound, speech or not.")] = False,
) -> None:
    """Say which emotion each recording expresses, and how sure that is.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict interviews/ --format csv > emotions.csv`
    - `cat call.mp3 | emovox predict - --format json`
    - `emovox predict call.wav --speaker anna`

    A recording that cannot be analysed, or in which nobody speaks, is reported on standard error and the rest are
    done; the exit code is then 2.
    """
    recognizer = EmotionRecognizer(
        model,
        speaker=profiles.find(speaker) if speaker else None,
        gate=GateOptions(threshold=0) if no_gate else None,
        threshold=threshold,
    )
    work = Work(recognizer, recordings(sources))
    if form is Format.TABLE:
        _print_table(work)
    elif form is Format.JSON:
        _print_json(work)
    else:
        _stream(outputs.to_csv(work.predictions(), recognizer.card.labels))
    if work.failed:
        say(f"emovox: {work.failed} of {len(work.sources)} recordings could not be analysed")
        raise typer.Exit(2)


class Work:
    """The recordings of one call, done one after the other."""

    def __init__(self, recognizer: EmotionRecognizer, sources: list[str]) -> None:
        self.recognizer = recognizer
        self.sources = sources
        self.failed = 0

    def predictions(self) -> Iterator[Prediction]:
        """Yield results as they come; report what fails and go on."""
        with progress_bars() as tell:
            for number, source in enumerate(self.sources):
                if len(self.sources) > 1:
                    tell("recordings", number, len(self.sources))
                try:
                    yield self._one(source, tell)
                except EmovoxError as error:
                    self.failed += 1
                    say(f"emovox: {error}")
            if len(self.sources) > 1:
                tell("recordings", len(self.sources), len(self.sources))

    def _one(self, source: str, tell: Callable[[str, float, float | None], None]) -> Prediction:
        if source == "-":
            return self.recognizer.predict(sys.stdin.buffer)
        length = audio.duration(source)
        if length is None or length < LONG:
            return self.recognizer.predict(source)
        return self.recognizer.predict(source, progress=lambda done: tell("seconds", round(done), round(length)))


def _print_table(work: Work) -> None:
    """Print a table at the end, or what there is of it when the user stops."""
    done: list[Prediction] = []
    try:
        done.extend(work.predictions())  # keeps what came before an interruption
    finally:
        if done:
            console = standard_output()
            console.print(outputs.to_table(done, console.width))


def _print_json(work: Work) -> None:
    """Print a list that is whole wherever the user stops: the interruption may come at any line of this process."""
    pieces, last = outputs.to_json(work.predictions()), ""
    try:
        for last in pieces:
            sys.stdout.write(last)
            sys.stdout.flush()
    finally:
        if not last.endswith(outputs.JSON_END):
            sys.stdout.write(outputs.JSON_END if last else "[]\n")
            sys.stdout.flush()


def _stream(pieces: Iterator[str]) -> None:
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
