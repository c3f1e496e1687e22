"""Page of an audit: what was found in a corpus, with plots, in one self-contained HTML file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from emovox import __version__
from emovox.lab.extraction.audit import NARROW, Audit
from emovox.lab.reports import plots
from emovox.lab.reports.page import template
from emovox.storage import cannot_write, replacing
from emovox.types import ordered

#: Template of the page, beside this module.
TEMPLATE = "audit.html.j2"
#: Rows of the table of clips with faults; ``clips.csv`` has all.
MOST = 200


def write(folder: Path, audited: Audit) -> None:
    """Write ``audit.html``, ``audit.json``, ``clips.csv`` and the plots; an audit that is there is replaced.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    audited : Audit
        What was found.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = plots.save(folder / "plots", lambda: _draw(audited))
        texts = {
            "audit.json": json.dumps(audited.summary(), indent=1, ensure_ascii=False) + "\n",
            "audit.html": render(audited, drawn),
            "clips.csv": audited.clips.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        }
        for name, text in texts.items():
            with replacing(folder / name, unique=True) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(folder, error) from error


def render(audited: Audit, drawn: Mapping[str, str]) -> str:
    """Render the page.

    Parameters
    ----------
    audited : Audit
        What was found.
    drawn : mapping of str to str
        SVG elements by name.

    Returns
    -------
    str
        HTML.
    """
    faulty = audited.clips[audited.clips["flags"] != ""]
    return template(TEMPLATE).render(
        audit=audited.summary(),
        faulty=faulty.head(MOST).to_dict("records"),
        faults=len(faulty),
        labels=_by_label(audited.clips),
        plots={name: Markup(svg) for name, svg in drawn.items()},  # our own drawing, escaped where it was made
        captions=CAPTIONS,
        software=__version__,
    )


CAPTIONS = {
    "speakers": "Clips of each speaker and label. A dash: none.",
    "durations": "Durations by label: median, quartiles, and the 5th and 95th percentile.",
    "levels": "Level of the loudest 32 ms by label. A label that its microphone makes louder gives itself away.",
    "bandwidths": "Frequency above which a millionth of the power is left. Steps come from telephones and codecs.",
}


def _by_label(clips: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each label: clips, speakers, seconds, level and bandwidth."""
    rows = []
    for label in ordered(set(clips["label"])):
        of = clips[clips["label"] == label]
        loud = of["level"][np.isfinite(of["level"])]
        rows.append(
            {
                "label": label,
                "clips": len(of),
                "speakers": len(set(of["speaker"]) - {""}),
                "duration": float(of["duration"].median()),
                "level": float(loud.median()) if len(loud) else None,
                "bandwidth": float(of["bandwidth"].median()) / 1000,
                "faults": int((of["flags"] != "").sum()),
            }
        )
    return rows


def _draw(audited: Audit) -> dict[str, plots.Drawing]:
    """Draw the plots for which there are data."""
    clips = audited.clips[audited.clips["problem"] == ""]
    drawings: dict[str, Callable[[pd.DataFrame], plots.Drawing | None]] = {
        "speakers": _speakers,
        "durations": lambda found: _boxes(found, "duration", "seconds"),
        "levels": lambda found: _boxes(found[np.isfinite(found["level"])], "level", "dB of full scale"),
        "bandwidths": _bandwidths,
    }
    made = {name: draw(clips) for name, draw in drawings.items()}
    return {name: drawing for name, drawing in made.items() if drawing is not None}


def _speakers(clips: pd.DataFrame) -> plots.Drawing | None:
    """Draw how many clips each speaker has of each label."""
    known = clips[clips["speaker"] != ""]
    counts = pd.crosstab(known["speaker"], known["label"])
    if counts.empty or len(counts) > plots.MAX_NAMES:
        return None
    counts = counts[list(ordered(counts.columns))]
    figure = Figure(figsize=(plots.WIDTH, 1.2 + 0.19 * len(counts)), layout="constrained")
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("share", [(*to_rgb(plots.BLUE), 0.0), (*to_rgb(plots.BLUE), 0.6)])
    axes.imshow(counts, aspect="auto", cmap=shades, vmin=0)
    for row, values in enumerate(counts.to_numpy()):
        for column, count in enumerate(values):
            axes.text(column, row, str(count) if count else "–", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(counts.shape[1]), list(counts.columns), rotation=40, ha="right")
    axes.set_yticks(range(len(counts)), list(counts.index))
    return figure, f"Clips of {len(counts)} speakers and {counts.shape[1]} labels."


def _boxes(clips: pd.DataFrame, column: str, unit: str) -> plots.Drawing | None:
    """Draw the spread of a measure by label."""
    labels = ordered(set(clips["label"]))
    if not labels:
        return None
    values = [clips.loc[clips["label"] == label, column].to_numpy() for label in labels]
    figure = Figure(figsize=(plots.WIDTH, 0.9 + 0.3 * len(labels)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(labels))
    spread = np.array([np.percentile(one, (5, 25, 50, 75, 95)) for one in values])
    axes.hlines(rows, spread[:, 0], spread[:, 4], color=plots.BLUE, lw=1)
    axes.hlines(rows, spread[:, 1], spread[:, 3], color=plots.BLUE, lw=8)
    axes.plot(spread[:, 2], rows, "o", color=plots.VERMILION, ms=5)
    axes.set_yticks(rows, labels)
    axes.invert_yaxis()
    axes.set(xlabel=unit)
    axes.grid(axis="x")
    medians = ", ".join(f"{label} {np.median(one):.2f}" for label, one in zip(labels, values, strict=True))
    return figure, f"Median {column} in {unit}: {medians}."


def _bandwidths(clips: pd.DataFrame) -> plots.Drawing | None:
    """Draw how many clips reach up to which frequency."""
    heights = clips.loc[clips["bandwidth"] > 0, "bandwidth"].to_numpy() / 1000
    if not len(heights):
        return None
    figure = Figure(figsize=(plots.WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.hist(heights, bins=np.arange(0, heights.max() + 0.5, 0.25).tolist(), color=plots.BLUE)
    axes.axvline(NARROW / 1000, color=plots.VERMILION, ls="--", lw=1)
    axes.set(xlabel="bandwidth, kHz", ylabel="clips")
    axes.grid()
    narrow = int((heights < NARROW / 1000).sum())
    return figure, f"{narrow} of {len(heights)} clips hold nothing above {NARROW / 1000:g} kHz."
