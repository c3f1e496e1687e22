"""A recording and its emotions over time as one HTML page: player, waveform, timeline, probabilities, table, model.

The page is one file that asks nobody for anything, which its content security policy holds the browser to.  The sound
is beside it, under a relative address, or inside it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from emovox import audio, drawing
from emovox.audio import Sound
from emovox.drawing import Scale, clock, escape
from emovox.model.card import ModelCard
from emovox.outputs.cards import Section, sections
from emovox.outputs.explanations import Explanation, lines
from emovox.outputs.formats import dimensions
from emovox.outputs.plots import Contour
from emovox.outputs.text import shown
from emovox.types import RATE, Prediction
from emovox.version import __version__

#: Width of a segment in the picture that can be hit with a finger, and the widest picture.
_FINGER, _WIDEST = 24, 16_000
#: Heights of the waveform, a timeline, the probabilities below it, and the axis.
_WAVE, _BAND, _SHARES, _AXIS = 60, 28, 90, 26
_GAP = 8
#: Height of the weights of an explanation.
_REASONS = 60


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes
    ----------
    title : str
        What the recording is called.
    predictions : sequence of Prediction
        All of one recording; those of several channels get a timeline each.
    duration : float
        Length of the recording in seconds.
    sound : Contour
        Of the same recording.
    card : ModelCard
        That of the model.
    address : str
        What the player plays: a relative address or a ``data:`` URL; without a player if empty.
    summary : mapping
        As :meth:`emovox.Summary.to_dict` gives it.
    explanations : sequence of Explanation
        Of the strongest answers, where they are asked for.
    """

    title: str
    predictions: Sequence[Prediction]
    duration: float
    sound: Contour
    card: ModelCard
    address: str = ""
    summary: Mapping[str, Any] | None = None
    explanations: Sequence[Explanation] = ()

    @property
    def labels(self) -> list[str]:
        """The emotions that are judged."""
        return list(self.predictions[0].probabilities) if self.predictions else list(self.card.labels)


def beside(file: str, page: Path) -> str:
    """Return the address of a recording relative to a page.

    Examples
    --------
    >>> beside("calls/a b.wav", Path("out/a.html"))
    '../calls/a%20b.wav'
    """
    try:
        way = os.path.relpath(file, page.parent)
    except ValueError:  # another drive
        return Path(file).absolute().as_uri()
    return quote(os.fsencode(way.replace(os.sep, "/")))


def inside(source: Sound) -> str:
    """Return a recording as a ``data:`` URL: FLAC at 16 kHz, what was judged, without the file's own tags.

    Raises
    ------
    AudioError
        The recording cannot be read.
    """
    import soundfile

    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC", subtype="PCM_16") as flac:
        for block in audio.blocks(source, 30.0):
            flac.write(np.clip(block.samples, -1, 1))
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def to_html(page: Page) -> Iterator[str]:
    """Write a page, piece by piece.

    Yields
    ------
    str
    """
    style, script = (resources.files("emovox.outputs").joinpath(f"page.{kind}").read_text() for kind in ("css", "js"))
    title = escape(shown(page.title))
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_policy(style, script))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="emovox {__version__}">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""
    yield from _head(page)
    yield from _picture(page)
    yield from _summary(page)
    yield from _reasons(page)
    yield from _table(page)
    yield from _model(page.card)
    yield f"</main>\n<script>{script}</script>\n</body>\n</html>\n"


def _policy(style: str, script: str) -> str:
    """Allow this style, this script and sound from here, and nothing else."""
    sums = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    styles, scripts = (f"'sha256-{one}'" for one in sums)
    media = "'self' file: data:"
    return (
        f"default-src 'none'; style-src {styles}; script-src {scripts}; media-src {media}; "
        "base-uri 'none'; form-action 'none'"
    )


def _head(page: Page) -> Iterator[str]:
    """Write what the recording is, what is to be said about it, and the player."""
    count = len(page.predictions)
    yield f"<p>{clock(page.duration)}, {count} segment{'' if count == 1 else 's'}, judged by {escape(page.card.name)}"
    unsure = sum(one.abstained for one in page.predictions)
    yield f"; the model is not sure of {unsure} of them (hatched)</p>\n" if unsure else "</p>\n"
    if not count:
        yield '<p class="warn">Nobody speaks in it.</p>\n'
    for prediction in page.predictions[:1]:
        for stretch in prediction.unread:
            yield f'<p class="warn">Cannot be read {escape(shown(str(stretch)))}</p>\n'
        for note in prediction.notes:
            yield f'<p class="warn">{escape(shown(note))}</p>\n'
    if page.address:
        yield (
            f'<div class="player"><audio controls preload="metadata" src="{escape(page.address)}"></audio>'
            '<p id="silent" class="warn" hidden>The browser cannot play the recording, or does not find it beside this '
            "page: write the page again with --embed.</p></div>\n"
        )


def _picture(page: Page) -> Iterator[str]:
    """Draw waveform, timeline and probabilities over one axis of time."""
    channels = sorted({one.channel or 0 for one in page.predictions}) or [0]
    most = max(sum((one.channel or 0) == channel for one in page.predictions) for channel in channels)
    scale = Scale(page.duration, max(drawing.WIDTH, min(_WIDEST, _FINGER * most)))
    body = [f"<defs>{drawing.HATCH}</defs>"]
    body.append(f'<g fill-opacity=".6">{drawing.waveform(*_steps(page.sound), scale, _WAVE)}</g>')
    top = float(_WAVE + _GAP)
    for channel in channels:
        if channel:
            body.append(f'<text y="{top + 12:g}">channel {channel}</text>')
            top += 18
        parts = [(number, one) for number, one in enumerate(page.predictions) if (one.channel or 0) == channel]
        body.append(f'<g transform="translate(0,{top:g})">{_timeline(page, parts, scale)}</g>')
        top += _BAND + _GAP
        if page.labels:
            drawn = drawing.shares([one for _, one in parts], page.labels, scale, _SHARES)
            body.append(f'<g transform="translate(0,{top:g})">{drawn}</g>')
            top += _SHARES
    body.append(drawing.axis(scale, top))
    body.append(f'<line class="head" y1="0" y2="{top:g}" visibility="hidden"/>')
    more = {"data-duration": f"{page.duration:.6f}"}
    picture = drawing.svg("".join(body), scale.width, top + _AXIS, "Sound, answers and probabilities over time", **more)
    picture = picture.replace('role="img"', 'role="group"', 1)  # it holds buttons
    yield f'<h2>Over time</h2>\n<div class="scroll time">{picture}</div>\n<ul class="keys">'
    paint, signs = drawing.colours(page.labels), drawing.letters(page.labels)
    for label in page.labels:
        yield f"<li>{_swatch(paint[label], signs[label])}{escape(label)}</li>"
    if any(one.abstained for one in page.predictions):
        yield f"<li>{_swatch('url(#emovox-unsure)', '')}{escape(drawing.UNSURE)}</li>"
    yield (
        '</ul>\n<p class="quiet">From top to bottom: the sound, the answers, the probability of each emotion. Choose '
        "an answer to hear it; the arrow keys go from one to the next.</p>\n"
    )


def _steps(sound: Contour) -> tuple[list[float], list[float]]:
    return sound.low.tolist(), sound.high.tolist()


def _timeline(page: Page, parts: Sequence[tuple[int, Prediction]], scale: Scale) -> str:
    """Draw the answers of a channel as buttons."""
    paint, signs = drawing.colours(page.labels), drawing.letters(page.labels)
    drawn = [f'<rect width="{scale.width:g}" height="{_BAND}" fill-opacity=".08"/>']
    for number, one in parts:
        about = f"{_answer(one)}, {clock(one.start)} to {clock(one.end)}"
        drawn.append(
            f'<g class="seg" role="button" tabindex="{-1 if number else 0}" {_times(number, one)} '
            f'aria-label="{escape(about)}"><title>{escape(about)}</title>'
            f"{drawing.stretch(one, scale, paint, signs)}</g>"
        )
    return "".join(drawn)


def _times(number: int, one: Prediction) -> str:
    return f'data-number="{number}" data-start="{one.start:.3f}" data-end="{one.end:.3f}"'


def _answer(one: Prediction) -> str:
    if not one.label:
        return shown(dimensions(one.dimensions or {}))
    return f"{shown(drawing.answer(one.label, one.abstained))} {one.confidence:.0%}"


def _swatch(fill: str, sign: str) -> str:
    """Draw what a colour and a letter stand for."""
    letter = f'<text x="8" y="12" text-anchor="middle" fill="{drawing.ink(fill)}">{escape(sign)}</text>' if sign else ""
    body = f'<rect width="16" height="16" fill="{fill}" stroke="#777" stroke-width=".5"/>{letter}'
    return drawing.svg(body, 16, 16, sign or drawing.UNSURE)


def _summary(page: Page) -> Iterator[str]:
    """Write how much there is of each emotion, when it is strongest, and what follows what."""
    found = page.summary
    if not found or not found["share"]:
        return
    yield f"<h2>Summary</h2>\n<p>{clock(found['judged'])} of {clock(found['duration'])} judged"
    yield f", not sure in {found['abstained']:.0%} of it</p>\n" if found["abstained"] else "</p>\n"
    yield f'<div class="bars">{drawing.bars(found["share"])}</div>\n<p>Strongest: '
    yield "; ".join(
        f"{escape(shown(label))} at {clock(one['start'])} ({one['confidence']:.0%})"
        for label, one in found["strongest"].items()
    )
    changes = [f"{one['from']} to {one['to']} {one['count']}" for one in found["transitions"][:8]]
    yield f".</p>\n<p>Changes: {escape(shown(', '.join(changes)))}.</p>\n" if changes else ".</p>\n"
    for name, own in found.get("speakers", {}).items():
        yield f"<h3>{escape(shown(name))}: {clock(own['seconds'])}, {own['share']:.0%} of the talk time</h3>\n"
        yield f'<div class="bars">{drawing.bars(own["emotions"])}</div>\n'


def _reasons(page: Page) -> Iterator[str]:
    """Write and draw why the strongest answers are as they are."""
    if not page.explanations:
        return
    yield "<h2>Why</h2>\n"
    for one in page.explanations:
        said = f"{shown(drawing.answer(one.label, one.abstained))} {one.confidence:.0%}"
        yield f"<h3>{clock(one.start)} to {clock(one.end)}: {escape(said)}</h3>\n"
        if one.times:
            yield f'<div class="scroll">{_weights(one)}</div>\n'
        rows = (f'<tr><th scope="row">{about}</th><td>{escape(text)}</td></tr>' for about, text in lines(one))
        yield f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>\n'


def _weights(one: Explanation) -> str:
    """Draw what each piece of the time does for an answer: up for it, down against it."""
    first = one.times[0].start
    scale = Scale(one.times[-1].end - first, drawing.WIDTH)
    most = max(abs(part.weight) for part in one.times) or 1.0
    bars = []
    for part in one.times:
        x, width = scale.at(part.start - first), scale.at(part.end - part.start)
        height = _REASONS / 2 * abs(part.weight) / most
        y = _REASONS / 2 - (height if part.weight > 0 else 0)
        paint = "" if part.weight > 0 else ' fill-opacity=".4"'
        about = f"{part.start:.1f} to {part.end:.1f} s: {part.weight:+.2f}"
        bars.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width - 1, 1):.1f}" height="{height:.1f}"{paint}>'
            f"<title>{about}</title></rect>"
        )
    middle = f'<line x2="{scale.width:g}" y1="{_REASONS / 2:g}" y2="{_REASONS / 2:g}" stroke="#777"/>'
    return drawing.svg("".join(bars) + middle, scale.width, _REASONS, "Weight of each piece of the time for the answer")


def _table(page: Page) -> Iterator[str]:
    """Write the answers as a table, each with a button that plays it."""
    if not page.predictions:
        return
    paint, signs = drawing.colours(page.labels), drawing.letters(page.labels)
    more = [name for name in ("channel", "speaker", "transcript") if any(_of(one, name) for one in page.predictions)]
    head = "".join(f"<th>{name}</th>" for name in more)
    yield (
        '<h2>Segments</h2>\n<div class="scroll" tabindex="0" role="region" aria-label="Segments"><table>\n<thead><tr>'
        '<th>time</th><th>answer</th><th class="number">confidence</th><th class="wide">then</th>'
        f"{head}</tr></thead>\n<tbody>\n"
    )
    for number, one in enumerate(page.predictions):
        ranked = sorted(one.probabilities.items(), key=lambda item: -item[1])
        then = f"{ranked[1][0]} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
        swatch = ""
        if one.label:
            swatch = _swatch(*(("url(#emovox-unsure)", "") if one.abstained else (paint[one.label], signs[one.label])))
        said = drawing.answer(one.label, one.abstained) if one.label else dimensions(one.dimensions or {})
        sure = f"{one.confidence:.0%}" if one.label else ""
        cells = "".join(f"<td>{escape(shown(_of(one, name)))}</td>" for name in more)
        yield (
            f'<tr {_times(number, one)}><td><button type="button">{clock(one.start)} – {clock(one.end)}</button></td>'
            f'<td class="answer">{swatch}{escape(shown(said))}</td><td class="number">{sure}</td>'
            f'<td class="wide">{escape(shown(then))}</td>{cells}</tr>\n'
        )
    yield "</tbody></table></div>\n"


def _of(one: Prediction, name: str) -> str:
    value = getattr(one, name)
    return "" if value is None else str(value)


def _model(card: ModelCard) -> Iterator[str]:
    """Write the model's card: what it is, what it learnt from, what it is not for, how good it is."""
    yield "<h2>The model</h2>\n<p>It judges the emotion that a voice expresses, not what somebody feels.</p>\n"
    for part in sections(card):
        yield f"<details><summary>{escape(part.title)}</summary>\n"
        yield "".join(f"<p>{escape(text)}</p>\n" for text in part.text)
        yield from _rows(part)
        yield "</details>\n"


def _rows(part: Section) -> Iterator[str]:
    if part.rows:
        head = "".join(f"<th>{escape(one)}</th>" for one in part.head)
        yield f'<div class="scroll"><table>{f"<thead><tr>{head}</tr></thead>" if head else ""}<tbody>\n'
        yield from (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in part.rows)
        yield "</tbody></table></div>\n"
