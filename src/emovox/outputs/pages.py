"""Pages to read: model cards, and a recording with its answer and timeline in HTML.

A model card shows what its ``evaluation`` holds and leaves out what it does not: the scores of
`emovox.lab.evaluation.scores.score`, and, where somebody measured them, ``enrolled``, ``setting`` and
``setting_enrolled`` (the same scores with so many ``clips`` of each speaker or setting as the baseline), ``promise``
(all these by the protocol that calibrates the model), ``robustness`` (``uar`` and ``loss`` of each condition),
``cross_corpus`` (``uar``, ``enrolled_uar`` and ``ece`` on each corpus by a model that never heard it) and ``cost`` (see
:data:`COSTS`).

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

from emovox import __version__, audio, drawing
from emovox.audio import Sound
from emovox.drawing import Scale, clock, escape
from emovox.model.file import ModelCard
from emovox.outputs.console import dimensions, shown
from emovox.outputs.plots import Contour, Explanation, lines
from emovox.types import RATE, Prediction

#: What no model of ours is for; docs/responsible-use.md says why.
NOT_INTENDED = (
    "judging people: hiring, admission, marking, promotion, dismissal, insurance, credit, policing, border control, "
    "lie detection",
    "watching people at work or in education",
    "diagnosis or triage, in particular of depression or suicide risk, without the trials and approvals of a medical "
    "device",
    "analysing people who do not know about it",
    "decisions about a single person from a single recording, by a machine alone",
)

#: What ``evaluation["cost"]`` may hold: key, name and how it is written.
COSTS = (
    ("bytes", "file", lambda value: f"{value / 1e6:.1f} MB"),
    ("parameters", "parameters", lambda value: f"{value / 1e6:.2f} million"),
    ("real_time_factor", "real-time factor, one CPU thread, 3 s clips", lambda value: f"{value:.4f}"),
    ("predict_seconds", "`emovox predict` of one clip, whole process", lambda value: f"{value:.2f} s"),
    ("machine", "machine", str),
)


@dataclass(frozen=True)
class Section:
    """One part of a card.

    Attributes
    ----------
    title : str
        What it is about.
    text : tuple of str
        Paragraphs.
    head : tuple of str
        Names of a table's columns; empty where there is no table, or one without a head.
    rows : tuple of tuple of str
        The table, every row as long as the head.
    """

    title: str
    text: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(card: ModelCard) -> list[Section]:
    """Put a card into words.

    Parameters
    ----------
    card : ModelCard
        Of any model; parts that it lacks are left out.

    Returns
    -------
    list of Section
        Details, training data, intended use, what is not intended, limitations, and :func:`analyses`.

    Examples
    --------
    >>> from emovox.types import FeatureSpec
    >>> card = ModelCard("demo", "ann", ("happy", "sad"), FeatureSpec("classic193", 1, 193))
    >>> [part.title for part in sections(card)]
    ['Details', 'Not intended']
    """
    parts = [
        details(card),
        training_data(card),
        Section("Intended use", _given(card.intended_use)),
        Section("Not intended", rows=tuple((use,) for use in NOT_INTENDED)),
        Section("Limitations", _given(card.limitations)),
    ]
    return [part for part in parts if part.text or part.rows] + analyses(card)


def details(card: ModelCard) -> Section:
    """Say what kind of model it is."""
    fronts = []
    for name, one in card.features.parts().items():
        numbers = f"{one.set} version {one.version}, {one.dimension} numbers"
        fronts.append(f"{name}: {'samples' if one.set == 'samples' else numbers}")
    features = "; ".join(front.removeprefix(": ") for front in fronts)
    rows = (
        ("name", card.name),
        ("recipe", str(card.recipe.get("description", ""))),
        ("family", card.family),
        ("emotions", ", ".join(card.labels)),
        ("input", f"samples at {card.rate} Hz, mono" if card.features.set == "samples" else features),
        ("abstains", _abstains(card)),
        ("licence of the weights", card.licence),
        ("made", " ".join(filter(None, [card.created, card.software and f"with emovox {card.software}"]))),
    )
    return Section("Details", rows=tuple(row for row in rows if row[1]))


def _abstains(card: ModelCard) -> str:
    """Say when the answer is "don't know"."""
    parts = [f"below a confidence of {card.threshold:.2f}"] if card.threshold else []
    if card.known_threshold:
        parts.append(f"with a setting or speaker known below {card.known_threshold:.2f}")
    if card.neutral_threshold:
        parts.append(f"with clips of the speaker known to be neutral below {card.neutral_threshold:.2f}")
    if card.shortest:
        parts.append(f"below {card.shortest:g} s of speech")
    return ", ".join(parts) or "never by itself"


def training_data(card: ModelCard) -> Section:
    """Say what the model was trained on."""
    return Section(
        "Training data",
        tuple(
            f"{one.name}: {one.clips} clips, {one.speakers or 'unknown'} speakers; "
            f"{', '.join(one.labels)}; licence: {one.licence}"
            for one in card.corpora
        ),
    )


def analyses(card: ModelCard) -> list[Section]:
    """Put the card's scores into words and tables, each in percent; what was not measured is left out.

    Parameters
    ----------
    card : ModelCard
        Its ``evaluation`` is what counts.

    Returns
    -------
    list of Section
    """
    found: Mapping[str, Any] = card.evaluation
    parts = [
        _scores(found),
        _folds(found),
        _emotions(found),
        _groups(found, "sexes", "Sexes", "sex"),
        _groups(found, "corpora", "Corpora", "corpus"),
        _calibration(found),
        _abstaining(found, card.threshold),
        _known(found),
        _promised(found),
        _table("Robustness", "condition", found.get("robustness"), {"uar": "UAR", "loss": "loss, points"}),
        _table(
            "Corpora that the model never heard",
            "corpus",
            found.get("cross_corpus"),
            {"uar": "UAR", "enrolled_uar": "UAR with enrolment", "ece": "ECE"},
        ),
        _dimensions(found),
        _cost(found),
    ]
    return [part for part in parts if part.text or part.rows]


def risk_curve(card: ModelCard) -> Section:
    """Tabulate accuracy and threshold by coverage, in steps of a tenth."""
    points = card.evaluation.get("selective", {}).get("curve", ())[::2]
    return Section(
        "Accuracy of the surest answers",
        head=("clips with an answer", "of these right", "least confidence"),
        rows=tuple((percent(one["coverage"]), percent(one["accuracy"]), f"{one['threshold']:.2f}") for one in points),
    )


def percent(value: float | None) -> str:
    """Write a share in percent; a dash where there is none.

    Examples
    --------
    >>> percent(0.1234), percent(None)
    ('12.3', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}"


def _given(text: str) -> tuple[str, ...]:
    """Make a paragraph of a text, if there is one."""
    return (text,) if text else ()


def _scores(found: Mapping[str, Any]) -> Section:
    """Say how right the model is, and by which protocol that is known."""
    protocol = found.get("protocol", {})
    text = f"{protocol['name']}: {protocol.get('note', '')}" if protocol else ""
    rows = [
        (name, _headline(found) if key == "uar" else percent(found[key]))
        for key, name in (("uar", "UAR"), ("wa", "WA"), ("macro_f1", "macro-F1"), ("precision", "macro precision"))
        if key in found
    ]
    if "n" in found:
        rows.append(("clips tested", str(found["n"])))
    return Section("Scores in percent", _given(text), rows=tuple(rows))


def _headline(found: Mapping[str, Any]) -> str:
    """Write a UAR with its interval and spreads."""
    parts = [percent(found["uar"])]
    if interval := found.get("interval"):
        parts.append(
            f"{100 * interval['level']:.0f} % by speaker {percent(interval['low'])} to {percent(interval['high'])}"
        )
    for key, over in (("sd_folds", "folds"), ("sd_seeds", "seeds")):
        if found.get(key) is not None:
            parts.append(f"± {percent(found[key])} over {over}")
    return ", ".join(parts)


def _folds(found: Mapping[str, Any]) -> Section:
    """Tabulate the folds, and seeds where there are several."""
    folds = found.get("folds", ())
    return Section(
        "Folds",
        head=("fold", "seed", "clips", "UAR", "WA"),
        rows=tuple(
            (one["fold"], str(one["seed"]), str(one["n"]), percent(one["uar"]), percent(one["wa"])) for one in folds
        ),
    )


def _emotions(found: Mapping[str, Any]) -> Section:
    """Tabulate the classes; their clips are counted once, however many seeds there were."""
    seeds = len(found.get("protocol", {}).get("seeds", ())) or 1
    return Section(
        "Emotions",
        head=("emotion", "precision", "recall", "F1", "clips"),
        rows=tuple(
            (name, *(percent(one[key]) for key in ("precision", "recall", "f1")), str(one["support"] // seeds))
            for name, one in found.get("per_class", {}).items()
        ),
    )


def _groups(found: Mapping[str, Any], key: str, title: str, column: str) -> Section:
    """Tabulate sexes or corpora."""
    columns = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1", "ece_tempered": "ECE"}
    return _table(title, column, found.get(key), columns)


def _table(title: str, column: str, groups: Mapping[str, Mapping[str, Any]] | None, keys: Mapping[str, str]) -> Section:
    """Tabulate shares of groups in percent; a column that no group has is left out."""
    groups = groups or {}
    present = [key for key in keys if any(one.get(key) is not None for one in groups.values())]
    return Section(
        title,
        head=(column, *(keys[key] for key in present)),
        rows=tuple((name, *(percent(one.get(key)) for key in present)) for name, one in groups.items()),
    )


def _calibration(found: Mapping[str, Any]) -> Section:
    """Say how far confidence is from accuracy."""
    told = found.get("calibration", {})
    text = []
    if told.get("ece_tempered") is not None:
        text.append(
            f"Expected calibration error (ECE) {percent(told['ece_tempered'])} %, each fold at the temperature that "
            f"the others teach, and {percent(told['ece'])} % without; over all folds the temperature is "
            f"{told['temperature']:.2f}."
        )
    elif "ece" in told:
        text.append(f"Expected calibration error (ECE) {percent(told['ece'])} %.")
    return Section("Calibration", tuple(text))


def _abstaining(found: Mapping[str, Any], threshold: float) -> Section:
    """Say what the threshold promises and what it was worth."""
    told = found.get("selective", {})
    if not told:
        return Section("Abstaining")
    if not found.get("protocol", {}).get("speaker_independent"):
        return Section("Abstaining", ("The scores are not speaker-independent: nothing is promised for new speakers.",))
    promise = f"at least {percent(told['target'])} % of the answers are right for new speakers"
    if told["threshold"] is None:
        text = f"No threshold promises that {promise} and still answers a tenth of the clips."
        return Section("Abstaining", (text,))
    own = "the model's own" if threshold == told["threshold"] else f"the model's own is {threshold:.2f}"
    how = f"At a threshold of {told['threshold']:.2f} ({own})" if told["threshold"] else "Without abstaining"
    text = (
        f"{how} {promise}, at a confidence level of "
        f"{100 * told['level']:.0f} %. It answers {percent(told['coverage'])} % of the tested clips, and "
        f"{percent(told['accuracy'])} % of these answers are right."
    )
    honest = told["cross_fitted"]
    if not honest:
        return Section("Abstaining", (text,))
    parts = [honest[part] for part in ("corpora", "sexes", "labels") if len(honest[part]) > 1]
    groups = {"all": honest} | {name: one for part in parts for name, one in part.items()}
    table = _table("", "clips", groups, {"coverage": "answered", "accuracy": "of these right"})
    return Section("Abstaining", (text, "With thresholds that each fold has from the others:"), table.head, table.rows)


def _known(found: Mapping[str, Any]) -> Section:
    """Say what it is worth to know the setting or a speaker's ordinary voice."""
    ways = {
        "setting": "With {clips} clips of each tested corpus as the setting: UAR",
        "enrolled": "With {clips} neutral clips of each test speaker as the baseline: UAR",
        "setting_enrolled": "With both: UAR",
    }
    title, text = "With setting or speaker known", []
    for name, way in ways.items():
        if told := found.get(name):
            sentences = [f"{way.format(**told)} {_headline(told)}."]
            if (error := told.get("calibration", {}).get("ece_tempered")) is not None:
                sentences.append(f"Expected calibration error {percent(error)} %.")
            text.append(" ".join(sentences))
    each = {name: found.get(name, {}).get("corpora", {}) for name in ways}
    corpora = dict.fromkeys(corpus for one in each.values() for corpus in one)
    groups = {corpus: {name: one[corpus]["uar"] for name, one in each.items() if corpus in one} for corpus in corpora}
    columns = {"setting": "UAR, setting known", "enrolled": "speaker known", "setting_enrolled": "both"}
    table = _table(title, "corpus", groups, columns)
    several = len(groups) > 1
    return Section(title, tuple(text), table.head if several else (), table.rows if several else ())


def _promised(found: Mapping[str, Any]) -> Section:
    """Say how the model does on corpora that it never heard, if these calibrate it."""
    promise = found.get("promise", {})
    kinds = {"nothing": promise, "setting": promise.get("setting"), "both": promise.get("setting_enrolled")}
    rows = [(name, told, told["selective"]) for name, told in kinds.items() if told]
    note = promise.get("protocol", {}).get("note", "")
    return Section(
        "Calibrated on corpora that the model never heard",
        _given(f"Temperature and threshold of the model come from these answers. {note}" if promise else ""),
        head=("known", "UAR", "ECE", "threshold", "answered", "of these right") if rows else (),
        rows=tuple(
            (
                name,
                percent(told["uar"]),
                percent(told["calibration"]["ece_tempered"]),
                "none" if sure["threshold"] is None else f"{sure['threshold']:.2f}",
                percent((sure["cross_fitted"] or sure)["coverage"]),
                percent((sure["cross_fitted"] or sure)["accuracy"]),
            )
            for name, told, sure in rows
        ),
    )


def _dimensions(found: Mapping[str, Any]) -> Section:
    """Tabulate how good emotion dimensions are: CCC and, between two extremes, the area under the ROC curve."""

    def ranged(scores: Mapping[str, Any], key: str, interval: str) -> str:
        low_high = scores.get(interval)
        span = f" ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        return "" if scores.get(key) is None else f"{scores[key]:.3f}{span}"

    scored = found.get("dimensions", {})
    return Section(
        "Emotion dimensions",
        head=("dimension", "clips", "CCC (95 % by speaker)", "AUC (95 % by speaker)"),
        rows=tuple(
            (name, str(one["n"]), ranged(one, "ccc", "interval"), ranged(one, "auc", "auc_interval"))
            for name, one in scored.items()
            if isinstance(one, Mapping) and "n" in one  # beside them stand the folds, the corpora and the settings
        ),
    )


def _cost(found: Mapping[str, Any]) -> Section:
    """Say how large and how fast the model is."""
    told = found.get("cost", {})
    return Section("Size and speed", rows=tuple((name, write(told[key])) for key, name, write in COSTS if key in told))


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
        All of one recording; channels get a timeline each, and speakers a row of answers each, where they are several.
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
    yield from _page_table(page)
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
    lanes = _lanes(page)
    most = max(len(own) for tier in lanes.values() for own in tier.values())
    scale = Scale(page.duration, max(drawing.WIDTH, min(_WIDEST, _FINGER * most)))
    body = [f"<defs>{drawing.HATCH}</defs>"]
    body.append(f'<g fill-opacity=".6">{drawing.waveform(*_steps(page.sound), scale, _WAVE)}</g>')
    top = float(_WAVE + _GAP)
    for tier in lanes.values():
        for title, parts in tier.items():
            if title:
                body.append(f'<text y="{top + 12:g}">{escape(shown(title))}</text>')
                top += 18
            body.append(f'<g transform="translate(0,{top:g})">{_timeline(page, parts, scale)}</g>')
            top += _BAND + _GAP
        if page.labels:
            own = sorted((part for parts in tier.values() for part in parts), key=lambda part: part[0])
            drawn = drawing.shares([one for _, one in own], page.labels, scale, _SHARES)
            body.append(f'<g transform="translate(0,{top:g})">{drawn}</g>')
            top += _SHARES + _GAP
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
        '</ul>\n<p class="quiet">From top to bottom: the sound, the answers, the probability of each emotion. Several '
        "speakers have a row each. Choose an answer to hear it; the arrow keys go from one to the next.</p>\n"
    )


def _lanes(page: Page) -> dict[int, dict[str, list[tuple[int, Prediction]]]]:
    """Return the numbered answers by channel, and there by what their row is called: one a speaker as they begin."""
    several = len({one.speaker for one in page.predictions}) > 1
    lanes: dict[int, dict[str, list[tuple[int, Prediction]]]] = {}
    for number, one in sorted(enumerate(page.predictions), key=lambda part: part[1].channel or 0):
        about = [f"channel {one.channel}"] if one.channel else []
        about += [one.speaker or "others"] if several else []
        lanes.setdefault(one.channel or 0, {}).setdefault(": ".join(about), []).append((number, one))
    return lanes or {0: {"": []}}


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


def _page_table(page: Page) -> Iterator[str]:
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
