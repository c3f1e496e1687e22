"""`emovox features`: recordings to a table of features."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from emovox import audio
from emovox.audio.sources import recordings
from emovox.cli.options import Told, channels_option, numbered
from emovox.errors import EmovoxError, InputError, MissingExtraError
from emovox.features import sets
from emovox.model.subjects import AUTO
from emovox.outputs.console import argument, command, option, progress_bars, say
from emovox.outputs.text import csv_line, readable
from emovox.recognition.vectors import AxesExtractor, FeatureExtractor, standardised
from emovox.types import Float32Array
from emovox.writing import replacing, require_writable


@command()
@argument("sources", metavar="AUDIO...", nargs=-1, required=True, help="Files, folders or quoted patterns.")
@option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="Where to write: a .csv or .parquet file.",
)
@option(
    "--set",
    "-s",
    "name",
    metavar="NAME",
    default="prosodic",
    help=f"One of {', '.join(sets.available())}; axes, of the built-in model; or an encoder with its own weights, such "
    "as whisper-tiny.en.",
)
@option(
    "--window",
    "-w",
    type=float,
    metavar="SECONDS",
    help="Seconds of a row, longer recordings get several; 60, of default and axes 6.",
)
@option(
    "--setting",
    metavar="NAME|auto",
    help="Tell how far from ordinary: axes in a setting of emovox adapt; auto: any set, in the recordings given.",
)
@channels_option
def features(
    sources: tuple[str, ...], out: Path, name: str, window: float | None, setting: str | None, channels: str
) -> None:
    """Write acoustic features as CSV or Parquet.

    Examples
    --------
    - `emovox features clips/ --set prosodic -o features.csv`
    - `emovox features speech.wav --set logmel -o frames.parquet`
    - `emovox features clips/ --set default -o embeddings.parquet`
    - `emovox features clips/ --set axes --setting office -o axes.csv`

    Rows are keyed by file, start and end in seconds, and by channel where channels are named; frame-level sets give one
    row a frame. A recording of more than one and a half windows is cut into windows, and one of digital silence is
    left out. Where one cannot be read, or not whole, the exit code is 2. With --setting the mean of the setting is
    subtracted from each column, and the difference divided by its standard deviation.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out} must end in .csv or .parquet")
    import emovox.lab  # noqa: F401 - makes the sets of encoders known

    extractor = _extractor(name, window, setting)
    files, numbers = numbered(recordings(sources), channels)
    require_writable(out)
    keys: list[Key] = []
    rows: list[Float32Array] = []
    told = Told(len(files))
    with progress_bars() as progress:
        for done, (file, channel) in enumerate(zip(files, numbers, strict=True), 1):
            source = file if channel is None else audio.Channel(file, channel)
            try:
                for stretch, found in extractor.stretches(source, partial(told.read, file)):
                    keys += [(file, *span, channel) for span in extractor.spans(stretch, found)]
                    rows += list(found) if found.ndim == 2 else [found]
            except EmovoxError as error:
                told.failed(file, str(error), missing_extra=isinstance(error, MissingExtraError))
            progress("recordings", done, len(files))
    if rows:
        _write(out, keys, list(standardised(rows)) if setting == AUTO else rows, extractor.names)
        say(f"wrote {len(rows)} rows of {len(extractor.names)} features to {out}")
    if told.finish():
        raise click.exceptions.Exit(2)


def _extractor(name: str, window: float | None, setting: str | None) -> FeatureExtractor:
    profile = None if setting == AUTO else setting
    if name == "axes":
        return AxesExtractor(setting=profile, window=window)
    if profile:
        raise InputError(
            f"--setting {profile}: a setting's profile holds axes, and nothing of {name}: add --set axes, or take "
            "the recordings as their own setting by --setting auto"
        )
    return FeatureExtractor(name, window=window)


#: File, start and end in seconds, and the channel where one is named.
Key = tuple[str, float, float, int | None]


def _write(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    with replacing(out) as part:
        if out.suffix == ".parquet":
            _write_parquet(part, keys, rows, names)
        else:
            _write_csv(part, keys, rows, names)


def _write_csv(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        apart = any(channel is not None for *_, channel in keys)
        file.write(csv_line(["file", "start", "end", *(["channel"] if apart else []), *names]))
        for (source, start, end, channel), row in zip(keys, rows, strict=True):
            place = [source, start, end, *(["" if channel is None else channel] if apart else [])]
            file.write(csv_line([*place, *(f"{value:.7g}" for value in row.tolist())]))


def _write_parquet(out: Path, keys: list[Key], rows: list[Float32Array], names: tuple[str, ...]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet", "parquet") from error
    columns: dict[str, Any] = {
        "file": [readable(key[0]) for key in keys],
        "start": [key[1] for key in keys],
        "end": [key[2] for key in keys],
    }
    if any(channel is not None for *_, channel in keys):
        columns["channel"] = [channel for *_, channel in keys]
    for index, name in enumerate(names):
        columns[name] = pyarrow.array([row[index] for row in rows], type=pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
