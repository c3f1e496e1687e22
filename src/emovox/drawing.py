"""Small pictures of results as HTML and SVG: colours and letters of emotions, bars, timelines, shares, waveforms.

Notebooks show results with them (``_repr_html_``), and the pages of :mod:`emovox.outputs.pages` are made of them.  They
are text, need nothing, refer to nothing outside themselves, and take the colour of the text around them
(``currentColor``), so that they can be read on a light and on a dark page.  Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

#: Okabe and Ito's colours, which colour-blind readers can tell apart, near the meaning that colours have for most.
PALETTE = {
    "neutral": "#999999",
    "calm": "#56B4E9",
    "happy": "#F0E442",
    "sad": "#0072B2",
    "angry": "#D55E00",
    "fearful": "#CC79A7",
    "disgust": "#009E73",
    "surprised": "#E69F00",
}

#: Colours of other labels, in turn.
MORE = ("#7F4F24", "#B5A6E3", "#2B2B2B", "#A3C586")

#: Letters of the common labels; of other labels it is the first letter that is free.
LETTERS = {"surprised": "U"} | {label: label[0].upper() for label in PALETTE if label != "surprised"}

#: What an abstention is called, and the pattern that it is drawn with: a picture with abstentions holds it once.
UNSURE = "don't know"
HATCH = (
    '<pattern id="emovox-unsure" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="#fff"/><rect width="2" height="6" fill="#777"/></pattern>'
)
#: Width of the pictures that have an axis of time: they shrink to the page.
WIDTH = 640
_FONT = 'font-family="system-ui,sans-serif" font-size="12"'
#: Seconds between the marks of an axis.
_MARKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


class Part(Protocol):
    """A stretch of a recording and what is said of it: a :class:`emovox.Prediction` is one."""

    @property
    def start(self) -> float:
        """Where it begins, in seconds."""
        ...

    @property
    def end(self) -> float:
        """Where it ends, in seconds."""
        ...

    @property
    def label(self) -> str:
        """The most probable emotion."""
        ...

    @property
    def abstained(self) -> bool:
        """Whether the answer is "don't know"."""
        ...

    @property
    def probabilities(self) -> Mapping[str, float]:
        """One for each label."""
        ...


class Run(NamedTuple):
    """Stretches that touch and have the same answer.

    Attributes
    ----------
    start, end : float
        In seconds from the beginning of the recording.
    label : str
        The most probable emotion.
    abstained : bool
        Whether the answer is "don't know".
    """

    start: float
    end: float
    label: str
    abstained: bool

    @property
    def about(self) -> str:
        """The answer and its time in words."""
        return f"{answer(self.label, self.abstained)}, {clock(self.start)} to {clock(self.end)}"


def escape(text: str) -> str:
    """Escape a text for HTML; the library is loaded where something is drawn."""
    import html

    return html.escape(text)


class Scale(NamedTuple):
    """An axis of time.

    Attributes
    ----------
    duration : float
        Length of the recording in seconds.
    width : float, default 640
        Width of the picture.

    Examples
    --------
    >>> Scale(10.0).at(2.5)
    160.0
    """

    duration: float
    width: float = WIDTH

    def at(self, seconds: float) -> float:
        """Return where a time is, or how wide a stretch of it."""
        return self.width * seconds / self.duration if self.duration else 0.0


def answer(label: str, abstained: bool) -> str:
    """Say an answer in words.

    Examples
    --------
    >>> answer("sad", False), answer("sad", True)
    ('sad', "don't know (sad)")
    """
    return f"{UNSURE} ({label})" if abstained else label


def colours(labels: Iterable[str]) -> dict[str, str]:
    """Give each label a colour; that of a common label is the same everywhere.

    Examples
    --------
    >>> colours(["sad", "bored"])
    {'sad': '#0072B2', 'bored': '#7F4F24'}
    """
    names = list(labels)
    others = [label for label in names if label not in PALETTE]
    return {label: PALETTE.get(label) or MORE[others.index(label) % len(MORE)] for label in names}


def letters(labels: Iterable[str]) -> dict[str, str]:
    """Give each label a letter of its own, for readers who do not see colours.

    Examples
    --------
    >>> letters(["sad", "surprised", "satisfied"])
    {'sad': 'S', 'surprised': 'U', 'satisfied': 'A'}
    """
    names = list(labels)
    found = {label: LETTERS[label] for label in names if label in LETTERS}
    for label in names:
        if label not in found:
            free = (one for one in f"{label.upper()}ABCDEFGHIJKLMNOPQRSTUVWXYZ" if one.isalnum())
            found[label] = next((one for one in free if one not in found.values()), "*")
    return {label: found[label] for label in names}


def ink(colour: str) -> str:
    """Choose black or white for writing on a colour: what has the higher contrast.

    Source: relative luminance, W3C, Web Content Accessibility Guidelines 2.2.

    Examples
    --------
    >>> ink("#F0E442"), ink("#0072B2")
    ('#000', '#fff')
    """
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#fff"


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


def svg(body: str, width: float, height: float, title: str, **attributes: str) -> str:
    """Put a drawing into a picture that shrinks to its place and tells those who cannot see it what it shows."""
    more = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(title)}" {_FONT} fill="currentColor"{more}>{body}</svg>'
    )


def bars(probabilities: Mapping[str, float]) -> str:
    """Draw probabilities as bars, the largest first.

    Parameters
    ----------
    probabilities : mapping of str to float
        One for each label, in [0, 1].

    Returns
    -------
    str
        An SVG picture.

    Examples
    --------
    >>> picture = bars({"sad": 0.75, "happy": 0.25})
    >>> picture.index("sad") < picture.index("happy"), picture.count("<rect")
    (True, 4)
    """
    ranked, paint = sorted(probabilities.items(), key=lambda item: -item[1]), colours(probabilities)
    left = 14 + 7.5 * max(map(len, probabilities), default=0)
    rows = []
    for number, (label, share) in enumerate(ranked):
        top = 20 * number
        rows.append(
            f'<text x="{left - 8:g}" y="{top + 14}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{left:g}" y="{top + 4}" width="160" height="12" fill-opacity=".12"/>'
            f'<rect x="{left:g}" y="{top + 4}" width="{160 * share:.1f}" height="12" fill="{paint[label]}"/>'
            f'<text x="{left + 168:g}" y="{top + 14}">{share:.0%}</text>'
        )
    told = ", ".join(f"{label} {share:.0%}" for label, share in ranked)
    return svg("".join(rows), left + 210, 20 * len(ranked), told)


def timeline(parts: Sequence[Part], duration: float, labels: Sequence[str] = ()) -> str:
    """Draw who sounded how when: a coloured stretch with a letter for each answer, and the time below.

    Parameters
    ----------
    parts : sequence of Part
        In the order of time; neighbours with the same answer are drawn as one.
    duration : float
        Length of the recording in seconds.
    labels : sequence of str, optional
        All that may occur; the default is those of the parts.

    Returns
    -------
    str
        An SVG picture, with a legend below.

    Examples
    --------
    >>> from emovox import Prediction
    >>> picture = timeline([Prediction("a.wav", 0, 2, "sad", {"sad": 1.0}, 1.0, False, "demo")], 5)
    >>> "sad, 0:00.0 to 0:02.0" in picture, ">S<" in picture
    (True, True)
    """
    known = list(labels) or list(dict.fromkeys(label for one in parts for label in (*one.probabilities, one.label)))
    paint, signs, scale, found = colours(known), letters(known), Scale(duration), runs(parts)
    body = f'<defs>{HATCH}</defs><rect width="{WIDTH}" height="28" fill-opacity=".08"/>'
    body += "".join(f"<g><title>{escape(one.about)}</title>{stretch(one, scale, paint, signs)}</g>" for one in found)
    body += axis(scale, 28)
    said = dict.fromkeys(one.label for one in parts if one.label)
    keys, height = legend([(label, paint[label], signs[label]) for label in said], any(one.abstained for one in parts))
    told = "; ".join(one.about for one in found[:20])
    return svg(f'{body}<g transform="translate(0,52)">{keys}</g>', WIDTH, 52 + height, told or "nobody speaks")


def runs(parts: Iterable[Part | Run]) -> list[Run]:
    """Put neighbours that touch and have the same answer together.

    Examples
    --------
    >>> [one[:3] for one in runs([Run(0, 1, "sad", False), Run(1, 2, "sad", False)])]
    [(0, 2, 'sad')]
    """
    found: list[Run] = []
    for one in parts:
        before = found[-1] if found else None
        if before and (before.label, before.abstained) == (one.label, one.abstained) and one.start - before.end < 0.01:
            found[-1] = before._replace(end=one.end)
        else:
            found.append(Run(one.start, one.end, one.label, one.abstained))
    return found


def stretch(one: Part | Run, scale: Scale, paint: Mapping[str, str], signs: Mapping[str, str]) -> str:
    """Draw an answer over its stretch of time, with its letter where there is room; gray where there is no label."""
    left, width = scale.at(one.start), max(1.0, scale.at(one.end - one.start))
    colour = paint[one.label] if one.label and not one.abstained else "#ffffff" if one.abstained else "#999999"
    fill = "url(#emovox-unsure)" if one.abstained else colour
    drawn = f'<rect x="{left:.1f}" width="{width:.1f}" height="28" fill="{fill}" stroke="#777" stroke-width=".5"/>'
    if width >= 12 and one.label:
        sign = "?" if one.abstained else signs[one.label]
        halo = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if one.abstained else ""
        middle = left + width / 2
        drawn += f'<text x="{middle:.1f}" y="18" text-anchor="middle" fill="{ink(colour)}"{halo}>{escape(sign)}</text>'
    return drawn


def axis(scale: Scale, top: float) -> str:
    """Draw the marks of the time below a picture, one for about 80 points."""
    step = next((mark for mark in _MARKS if scale.duration / mark <= scale.width / 80), _MARKS[-1])
    drawn = []
    for number in range(int(scale.duration / step) + 1):
        left, seconds = scale.at(number * step), number * step
        text = f"{seconds:g} s" if scale.duration < 60 else clock(seconds)[:-2]
        side = "start" if left < 12 else "end" if left > scale.width - 16 else "middle"
        drawn.append(
            f'<path d="M{left:.1f} {top:g}v4" stroke="currentColor"/>'
            f'<text x="{left:.1f}" y="{top + 16:g}" text-anchor="{side}">{text}</text>'
        )
    return "".join(drawn)


def legend(keys: Sequence[tuple[str, str, str]], unsure: bool) -> tuple[str, float]:
    """Draw what colours and letters stand for.

    Parameters
    ----------
    keys : sequence of (str, str, str)
        Label, colour and letter.
    unsure : bool
        Whether there are abstentions as well.

    Returns
    -------
    str
        The inside of an SVG picture.
    float
        Its height.
    """
    keys = [*keys, (UNSURE, "", "")] if unsure else list(keys)
    drawn, left, top = [], 0.0, 0
    for label, fill, sign in keys:
        width = 30 + 7.5 * len(label)
        if left + width > WIDTH:
            left, top = 0.0, top + 22
        drawn.append(
            f'<rect x="{left:.1f}" y="{top}" width="16" height="16" fill="{fill or "url(#emovox-unsure)"}" '
            f'stroke="#777" stroke-width=".5"/><text x="{left + 21:.1f}" y="{top + 12}">{escape(label)}</text>'
        )
        if sign:
            at = f'x="{left + 8:.1f}" y="{top + 12}" text-anchor="middle"'
            drawn.append(f'<text {at} fill="{ink(fill)}">{escape(sign)}</text>')
        left += width
    return "".join(drawn), top + 18 if keys else 0


def shares(parts: Sequence[Part], labels: Sequence[str], scale: Scale, height: float = 120) -> str:
    """Draw the probabilities over time, stacked: one path a label, however many answers there are.

    Parameters
    ----------
    parts : sequence of Part
        In the order of time.
    labels : sequence of str
        From the bottom to the top.
    scale : Scale
        The axis of time.
    height : float, default 120
        Of the picture.

    Returns
    -------
    str
        The inside of an SVG picture.

    Examples
    --------
    >>> from emovox import Prediction
    >>> one = Prediction("a.wav", 0, 1, "sad", {"sad": 0.75, "happy": 0.25}, 0.75, False, "demo")
    >>> shares([one], ["sad", "happy"], Scale(2), height=100)
    '<path d="M0.0 100.0h320.0v-75.0h-320.0z" fill="#0072B2"/><path d="M0.0 25.0h320.0v-25.0h-320.0z" fill="#F0E442"/>'
    """
    paint, bottoms, drawn = colours(labels), [height] * len(parts), []
    for label in labels:
        path = []
        for number, one in enumerate(parts):
            left, width = scale.at(one.start), scale.at(one.end - one.start)
            tall = height * one.probabilities[label]
            path.append(f"M{left:.1f} {bottoms[number]:.1f}h{width:.1f}v{-tall:.1f}h{-width:.1f}z")
            bottoms[number] -= tall
        drawn.append(f'<path d="{"".join(path)}" fill="{paint[label]}"/>')
    return "".join(drawn)


def waveform(low: Sequence[float], high: Sequence[float], scale: Scale, height: float = 60) -> str:
    """Draw a waveform by the smallest and largest sample of equal steps.

    Parameters
    ----------
    low, high : sequence of float
        One of each a step.
    scale : Scale
        The axis of time, which they fill.
    height : float, default 60
        Of the picture; the largest sample fills it.

    Returns
    -------
    str
        The inside of an SVG picture.
    """
    peak = max(1e-3, max(map(abs, low), default=0.0), max(map(abs, high), default=0.0))
    step = scale.width / max(1, len(low))
    middle = height / 2
    above = [f"{step * i:.1f} {middle - middle * value / peak:.1f}" for i, value in enumerate(high)]
    below = [f"{step * i:.1f} {middle - middle * value / peak:.1f}" for i, value in enumerate(low)]
    return (
        f'<path d="M{"L".join([*above, *reversed(below)])}z" stroke="currentColor" stroke-width=".6"/>' if low else ""
    )


def framed(head: str, *pictures: str) -> str:
    """Put pictures below a line of text, for a notebook.

    Parameters
    ----------
    head : str
        Plain text; it is escaped.
    *pictures : str
        HTML or SVG.
    """
    body = "".join(f"<div>{one}</div>" for one in pictures)
    line = f'<div style="margin-bottom:4px">{escape(head)}</div>'
    return f'<div style="font:13px system-ui,sans-serif;max-width:100%;overflow-x:auto">{line}{body}</div>'
