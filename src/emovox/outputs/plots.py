"""Pictures: waveforms, timelines, explanations, and the plane of valence and arousal."""

from __future__ import annotations

import atexit
import dataclasses
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emovox import audio, drawing
from emovox.audio import Sound
from emovox.audio.reading import source_name
from emovox.drawing import clock
from emovox.errors import InputError, MissingExtraError
from emovox.features import voicing
from emovox.model.file import combine
from emovox.outputs.console import shown
from emovox.storage import replacing
from emovox.types import RATE, Float32Array, Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Correlation with the explanations of models with shuffled weights from which one does not depend on the model.
ALIKE = 0.5
#: Parts of an explanation that are told in words, at most.
_FEW = 3


@dataclass(frozen=True)
class Reason:
    """A piece of time, a frequency band or a word, and its weight in an answer.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the recording; Hz for a band.
    weight : float
        Loss of log-odds of the answer when this part is left out, in natural units; negative if the part speaks
        against the answer.
    text : str
        The word; empty for time and bands.
    """

    start: float
    end: float
    weight: float
    text: str = ""


@dataclass(frozen=True)
class Trait:
    """An unusual trait of the voice.

    Attributes
    ----------
    name : str
        Name of the trait: ``"pitch"``, ``"loudness"``, ``"tempo"``, ...
    value, ordinary : float
        Measured and reference value, in `unit`.
    unit : str
        Unit of both.
    deviation : float
        The difference in standard deviations of the reference.
    text : str
        The difference in words: ``"12 semitones above ordinary pitch"``.
    """

    name: str
    value: float
    ordinary: float
    unit: str
    deviation: float
    text: str


@dataclass(frozen=True)
class Faithfulness:
    """Faithfulness of an explanation: how well it predicts the model's answers to modified sound.

    A quarter, half and three quarters of the time are cut out, or a third and two thirds of the bands, the parts with
    the highest weights first (deletion), or only as much of those is kept (insertion); the areas are mean probabilities
    of the answer.

    Attributes
    ----------
    deletion, insertion : float
        Areas of the explanation, in [0, 1]: a low deletion and a high insertion are better.
    random : tuple of float
        The area of each random order, for which deletion and insertion are the same.

    Source
    ------
    Petsiuk, Das and Saenko 2018, RISE: randomized input sampling for explanation of black-box models, BMVC.

    Examples
    --------
    >>> found = Faithfulness(0.25, 0.75, (0.5, 0.5))
    >>> found.score, found.better
    (0.5, True)
    """

    deletion: float
    insertion: float
    random: tuple[float, ...]

    @property
    def score(self) -> float:
        """Relative distance of the deletion area below that of random orders: 1 at best, 0 is no better."""
        mean = float(np.mean(self.random))
        return 1 - self.deletion / mean if mean else 0.0

    @property
    def better(self) -> bool:
        """Whether the explanation is distinguishable from random orders.

        That is so if random orders lie between deletion and insertion on average, and scatter less than these two
        differ.
        """
        gap, spread = self.insertion - self.deletion, max(self.random) - min(self.random)
        return self.deletion < float(np.mean(self.random)) < self.insertion and gap > spread


@dataclass(frozen=True)
class Explanation:
    """Explanation of the answer for a segment of a recording.

    Attributes
    ----------
    file : str
        The recording.
    start, end : float
        The segment, in seconds from the beginning of the recording.
    label : str
        The answer that is explained.
    confidence : float
        Its probability.
    model : str
        Name of the model.
    times, bands, words : tuple of Reason
        Weight of each piece of time, each frequency band and each word; no words if none took part.
    traits : tuple of Trait
        Unusual traits of the voice.
    against : str
        Reference of the traits: whose speech, and how much.
    faithfulness : Faithfulness or None
        Faithfulness of `times`; None if it was not measured, or there is too little sound.
    alike : float or None
        Absolute correlation of the weights of `times` with those from the same model with shuffled parameters,
        averaged over several shuffles; None if there is too little sound.
    abstained : bool
        Whether the answer is "don't know": `label` is only the most probable one.
    faithfulness_of_bands : Faithfulness or None
        Faithfulness of `bands`; None if it was not measured.
    """

    file: str
    start: float
    end: float
    label: str
    confidence: float
    model: str
    times: tuple[Reason, ...]
    bands: tuple[Reason, ...]
    words: tuple[Reason, ...] = ()
    traits: tuple[Trait, ...] = ()
    against: str = ""
    faithfulness: Faithfulness | None = None
    alike: float | None = None
    abstained: bool = False
    faithfulness_of_bands: Faithfulness | None = None

    @property
    def trusted(self) -> bool:
        """Whether `times` is better than random orders and depends on the model's parameters."""
        found, alike = self.faithfulness, self.alike
        return found is not None and found.better and alike is not None and alike < ALIKE

    @property
    def verdict(self) -> str:
        """How far the explanation can be trusted, in words."""
        if self.faithfulness is None or self.alike is None:
            return "not measured: do not rely on it"
        found = self.faithfulness
        if not found.better:
            return f"not told apart from random orders (deletion {found.score:.0%} below them): do not rely on it"
        if self.alike >= ALIKE:
            return f"much like that of a model with shuffled weights (r = {self.alike:.2f}): do not rely on it"
        return (
            f"deletion {found.score:.0%} below random orders; unlike a model with shuffled weights "
            f"(r = {self.alike:.2f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the keys are the attributes and properties."""
        plain = dataclasses.asdict(self)
        for key in ("faithfulness", "faithfulness_of_bands"):
            found = getattr(self, key)
            if found is not None:
                plain[key] |= {"score": found.score, "better": found.better}
        return {**plain, "trusted": self.trusted, "verdict": self.verdict}


def strongest(parts: Sequence[Reason], few: int = _FEW) -> list[tuple[Reason, float]]:
    """Return the parts with the largest weights and their shares of all positive weight; neighbours are merged.

    Examples
    --------
    >>> found = strongest([Reason(0, 1, 2.0), Reason(1, 2, 1.0), Reason(2, 3, -1.0), Reason(3, 4, 1.0)])
    >>> [(one.start, one.end, share) for one, share in found]
    [(0, 2, 0.75), (3, 4, 0.25)]
    """
    total = sum(max(one.weight, 0.0) for one in parts)
    runs: list[Reason] = []
    least = 0.5 * max((one.weight for one in parts), default=0.0)
    for one in parts:
        if one.weight <= 0 or one.weight < least:
            continue
        if runs and not one.text and runs[-1].end == one.start:
            runs[-1] = dataclasses.replace(runs[-1], end=one.end, weight=runs[-1].weight + one.weight)
        else:
            runs.append(one)
    best = sorted(runs, key=lambda one: -one.weight)[:few]
    return [(one, one.weight / total) for one in best]


def lines(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the lines of an explanation: a subject and a sentence each."""
    if explanation.times:
        said = [f"{one.start:.1f} to {one.end:.1f} s ({share:.0%})" for one, share in strongest(explanation.times)]
        yield "when", ", ".join(said) or "no stretch by itself"
    if explanation.bands:
        heard = [f"{one.start:.0f} to {one.end:.0f} Hz ({share:.0%})" for one, share in strongest(explanation.bands)]
        yield "where", f"{', '.join(heard) or 'no band by itself'}; {_of_bands(explanation.faithfulness_of_bands)}"
    if explanation.words:
        words = [f"“{shown(one.text)}” ({share:.0%})" for one, share in strongest(explanation.words)]
        yield "words", ", ".join(words) or "no word by itself"
    if explanation.against:
        traits = ", ".join(one.text for one in explanation.traits)
        yield "voice", f"{traits or 'nothing out of the ordinary'} (against {explanation.against})"
    yield "trust", explanation.verdict


def _of_bands(found: Faithfulness | None) -> str:
    """Say how far the bands can be trusted."""
    if found is None:
        return "not measured: do not rely on it"
    if not found.better:
        return "not told apart from random orders of bands: do not rely on it"
    return f"deletion {found.score:.0%} below random orders of bands"


def title(explanation: Explanation) -> str:
    """Return the heading of an explanation."""
    span = f"{clock(explanation.start)} to {clock(explanation.end)}"
    said = drawing.answer(explanation.label, explanation.abstained)
    return f"{shown(explanation.file)}, {span}: {shown(said)} {explanation.confidence:.0%}, because"


#: The axes of the plane.
AXES = ("valence", "arousal")


def has_plane(predictions: Sequence[Prediction]) -> bool:
    """Return whether all predictions have valence and arousal.

    Examples
    --------
    >>> one = Prediction("a.wav", 0, 1, "", {}, 0.0, False, "m", dimensions={"valence": 0.1, "arousal": -0.2})
    >>> has_plane([one]), has_plane([])
    (True, False)
    """
    return bool(predictions) and all(set(AXES) <= set(one.dimensions or {}) for one in predictions)


def draw_plane(predictions: Sequence[Prediction], title: str) -> Figure:
    """Draw the predictions of a recording as points in the valence-arousal plane, joined in order of time.

    Larger points lasted longer; the colour is the time, from dark to light.
    """
    from matplotlib.figure import Figure

    points = np.array([[(one.dimensions or {})[name] for name in AXES] for one in predictions])
    times = np.array([one.start for one in predictions])
    sizes = np.array([one.end - one.start for one in predictions])
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.plot(*points.T, color="#999999", lw=0.7)
    drawn = axes.scatter(points[:, 0], points[:, 1], s=20 + 20 * sizes, c=times, cmap="viridis", zorder=2)
    reach = max(1.0, float(np.abs(points).max()) * 1.05)
    axes.axhline(0, color="#777777", lw=0.6)
    axes.axvline(0, color="#777777", lw=0.6)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=AXES[0], ylabel=AXES[1], aspect="equal")
    axes.set_title(shown(title), loc="left")
    bar = figure.colorbar(drawn, shrink=0.6, format=lambda seconds, _: clock(seconds))
    bar.set_label("time")
    return figure


def write_plane(predictions: Sequence[Prediction], path: Path, title: str) -> None:
    """Draw the plane into a file: a name that ends in ``.png``, ``.svg`` or ``.pdf``; raises as ``plots.write``."""
    require(path)
    import matplotlib as mpl

    with mpl.rc_context(STYLE), replacing(path) as part:
        draw_plane(predictions, title).savefig(part, format=path.suffix.lower()[1:], dpi=150)


#: Formats of a picture, by the ending of its name.
ENDINGS = (".png", ".svg", ".pdf")

#: Points across the picture at most: more cannot be seen, and two hours need no more memory than a minute.
COLUMNS = 1600

#: F0 is drawn where the sound is at least this loud, relative to the recording's peak.
AUDIBLE = 0.01

#: Recordings of more than so many seconds get an F0 value every 40 ms: what would be drawn between cannot be seen.
LONG = 600.0

#: Predictions that are drawn one by one at most: each needs a few points of the picture's width.
PARTS = 400

#: More than those are put together to so many stretches of equal length at most.
STRETCHES = 150

#: Seconds between marks of a clock, or in a stretch.
_ROUND = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)

_BLOCK = 30.0  # seconds read at a time
_STEP = RATE // 100  # samples that share one value of the envelope, and of F0

#: How all pictures look.
STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.hashsalt": "emovox",
    "text.parse_math": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


class Contour(NamedTuple):
    """Sound over time, in steps of 10 ms or coarser.

    Attributes
    ----------
    times : ndarray, shape (n,)
        Beginnings of the steps in seconds.
    low, high : ndarray, shape (n,)
        Smallest and largest sample of each step.
    f0 : ndarray, shape (n,)
        Median F0 of the step's voiced frames in Hz; NaN where it has none.
    duration : float
        Length of the recording in seconds.
    """

    times: NDArray[np.float64]
    low: Float32Array
    high: Float32Array
    f0: Float32Array
    duration: float


def contour(source: Sound, columns: int = COLUMNS, *, melody: bool = True) -> Contour:
    """Read a recording block by block and keep what a picture shows of it.

    Parameters
    ----------
    source : str, path, bytes or binary file
        The recording, of any length; two hours of it take 10 MB.
    columns : int, default 1600
        Steps at most.
    melody : bool, default True
        Whether F0 is wanted, which takes longest; otherwise there is none.

    Returns
    -------
    Contour

    Raises
    ------
    AudioError
        The recording cannot be read.

    Examples
    --------
    >>> sound = contour("examples/plain.wav", columns=100)
    >>> len(sound.times), bool(100 < np.nanmedian(sound.f0) < 300)
    (78, True)
    """
    every = 4 if (audio.duration(source) or 0.0) > LONG else 1
    options = voicing.PitchOptions(hop=every * _STEP / RATE)
    lows, highs, tracks, length = [], [], [], 0
    for block in audio.blocks(source, _BLOCK):
        length += len(block.samples)
        steps = _steps(block.samples)
        lows.append(steps.min(axis=1))
        highs.append(steps.max(axis=1))
        f0 = voicing.track(block.samples, options).f0 if melody else np.zeros(-(-len(steps) // every), np.float32)
        tracks.append(np.repeat(f0, every)[: len(steps)])
    low, high, f0 = np.concatenate(lows), np.concatenate(highs), np.concatenate(tracks)
    loud = np.maximum(high, -low)
    f0[(f0 == 0) | (loud < AUDIBLE * loud.max())] = np.nan
    width = -(-len(low) // columns)
    return Contour(
        np.arange(0, len(low), width, dtype=np.float64) * (_STEP / RATE),
        _groups(low, width).min(axis=1),
        _groups(high, width).max(axis=1),
        _median(_groups(f0, width)),
        length / RATE,
    )


def _steps(samples: Float32Array) -> Float32Array:
    """Cut samples into rows of 10 ms; the last value fills up the last row."""
    return _groups(samples, _STEP)


def _groups(values: Float32Array, width: int) -> Float32Array:
    short = -len(values) % width
    return np.concatenate([values, np.repeat(values[-1:], short)]).reshape(-1, width)


def _median(rows: Float32Array) -> Float32Array:
    """Median of each row without its NaN; NaN where there is nothing else."""
    found = np.full(len(rows), np.nan, dtype=np.float32)
    some = ~np.isnan(rows).all(axis=1)
    found[some] = np.nanmedian(rows[some], axis=1)
    return found


def require(path: Path) -> None:
    """Make sure that a picture can be drawn, before anything is computed for it.

    Raises
    ------
    InputError
        The file's ending names no format of pictures.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> require(Path("call.gif"))
    Traceback (most recent call last):
        ...
    emovox.errors.InputError: a picture cannot be written as call.gif: end the name in .png, .svg or .pdf
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"a picture cannot be written as {path}: end the name in .png, .svg or .pdf")
    leave_no_cache()
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing a picture", "plot") from error


def leave_no_cache() -> None:
    """Let matplotlib keep its list of fonts in a folder that goes with the process.

    Otherwise its first import writes to the user's cache.  Where it is imported already, has a folder of its own in
    the home folder, or is told one by ``MPLCONFIGDIR``, that is left as it is.
    """
    homes = (Path("~/.config/matplotlib"), Path("~/.cache/matplotlib"), Path("~/.matplotlib"))
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ or any(_exists(home) for home in homes):
        return
    folder = tempfile.mkdtemp(prefix="emovox-matplotlib-")
    os.environ["MPLCONFIGDIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _exists(path: Path) -> bool:
    try:
        return path.expanduser().exists()
    except RuntimeError:  # nobody knows where the user's home is
        return False


def write(
    predictions: Sequence[Prediction],
    source: Sound,
    path: Path,
    title: str | None = None,
    explanations: Sequence[Explanation] = (),
) -> None:
    """Draw a recording with its predictions over time, in one step: a half-drawn picture is never left.

    Parameters
    ----------
    predictions : sequence of Prediction
        All of one recording, in the order of time.
    source : str, path, bytes or binary file
        The recording itself; it is read once more, block by block.
    path : Path
        Where to write: a name that ends in ``.png``, ``.svg`` or ``.pdf``.
    title : str, optional
        What to write above; the default is the recording's name.
    explanations : sequence of Explanation, optional
        Why some of them are as they are: a panel more.

    Raises
    ------
    InputError
        There is no such format, or the file cannot be written.
    AudioError
        The recording cannot be read.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> from emovox import EmotionRecognizer
    >>> write([EmotionRecognizer().predict("examples/plain.wav")], "examples/plain.wav", Path("plain.png"))
    >>> Path("plain.png").stat().st_size > 10_000
    True
    """
    require(path)
    import matplotlib as mpl

    sound = contour(source)
    with mpl.rc_context(STYLE), replacing(path) as part:
        figure = draw(predictions, sound, title or source_name(source), explanations)
        kind = path.suffix.lower()[1:]
        undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        figure.savefig(part, format=kind, dpi=150, metadata=undated)


def draw(
    predictions: Sequence[Prediction], sound: Contour, title: str, explanations: Sequence[Explanation] = ()
) -> Figure:
    """Draw the four panels over one axis of time, and a fifth with what speaks for the answers that are explained.

    Parameters
    ----------
    predictions : sequence of Prediction
        All of one recording, in the order of time.
    sound : Contour
        Of the same recording.
    title : str
        What to write above.

    Returns
    -------
    Figure
        Abstentions are hatched; what nobody judged is left white.  More than 400 predictions are drawn as means of
        equal stretches, see :func:`pooled`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7 if explanations else 6), layout="constrained")
    rows = list(dict.fromkeys(one.speaker or "" for one in predictions)) or [""]
    said = predictions  # means of stretches have no speaker
    heights = [2, 2, 0.5 * min(len(rows), 6), 3, *([1.5] if explanations else [])]
    wave, melody, answers, shares, *reasons = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    wave.set_title(shown(title), loc="left")
    wave.fill_between(sound.times, sound.low, sound.high, color="#555555", lw=0.3, step="post")
    peak = max(float(np.abs(sound.low).max(initial=0)), float(sound.high.max(initial=0)), 1e-3)
    wave.set(ylabel="amplitude", ylim=(-1.05 * peak, 1.05 * peak))
    melody.plot(sound.times, sound.f0, ".", color="#333333", ms=2)
    melody.set(ylabel="F0 in Hz", ylim=(50, max(350.0, float(np.nan_to_num(sound.f0).max(initial=0)) * 1.1)))
    melody.grid(axis="y", alpha=0.3)
    colours = drawing.colours(predictions[0].probabilities if predictions else ())
    about = "probability"
    if len(predictions) > PARTS:
        stretch = _round(sound.duration / STRETCHES)
        predictions = pooled(predictions, stretch)
        about = f"probability,\nmeans of {f'{stretch} s' if stretch < 60 else f'{stretch // 60} min'}"
    if len(rows) > 1:
        for row, who in enumerate(rows):
            own = [one for one in said if (one.speaker or "") == who]
            _draw_answers(answers, own, colours, sound.duration, place=(len(rows) - 1 - row, len(rows)))
        names = [shown(who) or "others" for who in reversed(rows)]
        answers.set_yticks([(row + 0.5) / len(rows) for row in range(len(rows))], names, fontsize=8)
        answers.set_ylabel("")
    else:
        _draw_answers(answers, predictions, colours, sound.duration)
    _draw_shares(shares, predictions, colours)
    shares.set(ylabel=about, xlim=(0, sound.duration))
    for panel in reasons:
        _draw_reasons(panel, explanations, colours)
    last = [shares, *reasons][-1]
    last.set(xlabel=_time_axis(last, sound.duration))
    _legend(figure, predictions, colours)
    return figure


def pooled(predictions: Sequence[Prediction], seconds: int) -> list[Prediction]:
    """Put the predictions of one recording together to stretches of equal length.

    Parameters
    ----------
    predictions : sequence of Prediction
        In the order of time.
    seconds : int
        Length of a stretch.

    Returns
    -------
    list of Prediction
        One for each stretch in which something was judged: probabilities are the mean over the judged time, the label
        is what most of the time was answered; it abstains where that was so most of the time.

    Examples
    --------
    >>> def one(label, start, end):
    ...     return Prediction("a.wav", start, end, label, {"sad": 0.0, "happy": 0.0} | {label: 1.0}, 1.0, False, "m")
    >>> found = pooled([one("sad", 1, 4), one("happy", 8, 12)], 10)
    >>> [(part.start, part.end, part.label, part.probabilities["sad"]) for part in found]
    [(0, 10, 'sad', 0.6), (10, 20, 'happy', 0.0)]
    """
    stretches: dict[int, list[tuple[float, Prediction]]] = {}
    for one in predictions:
        for index in range(int(one.start // seconds), math.ceil(one.end / seconds)):
            shared = min(one.end, (index + 1) * seconds) - max(one.start, index * seconds)
            if shared > 0:
                stretches.setdefault(index, []).append((shared, one))
    return [_mean(parts, index * seconds, (index + 1) * seconds) for index, parts in sorted(stretches.items())]


def _mean(parts: Sequence[tuple[float, Prediction]], start: int, end: int) -> Prediction:
    times, labels = [time for time, _ in parts], list(parts[0][1].probabilities)
    rows = [[one.probabilities[label] for label in labels] for _, one in parts]
    mean = dict(zip(labels, combine(rows, times).tolist(), strict=True))
    answered = dict.fromkeys(labels, 0.0)
    for time, one in parts:
        answered[one.label] += 0.0 if one.abstained else time
    abstained = sum(answered.values()) < sum(times) / 2
    counts = mean if abstained else answered
    label = max(counts, key=counts.__getitem__)
    return dataclasses.replace(
        parts[0][1],
        start=start,
        end=end,
        label=label,
        probabilities=mean,
        confidence=mean[label],
        abstained=abstained,
        transcript=None,
        words=None,
        linguistic=None,
        fusion=None,
        why=None,
    )


def _round(seconds: float) -> int:
    """Find the shortest round time that is no shorter."""
    return next((step for step in _ROUND if step >= seconds), math.ceil(seconds / _ROUND[-1]) * _ROUND[-1])


def _draw_answers(
    axes: Axes,
    predictions: Sequence[Prediction],
    colours: dict[str, str],
    duration: float,
    place: tuple[int, int] = (0, 1),
) -> None:
    """Draw one bar a run of the same answer, and its name where there is room, in one of so many rows from below."""
    low, height = place[0] / place[1], 1 / place[1]
    axes.set(ylim=(0, 1), yticks=[], ylabel="")
    axes.set_ylabel("answer", rotation=0, ha="right", va="center")
    axes.spines["left"].set_visible(False)
    for start, end, one in _runs(predictions):
        hatch = "////" if one.abstained else None
        face = "white" if one.abstained else colours.get(one.label, "#999999")
        axes.broken_barh(
            [(start, end - start)], (low, height), facecolor=face, hatch=hatch, edgecolor="#777777", lw=0.2
        )
        if not one.abstained and (end - start) / duration > 0.011 * len(one.label):
            dark = one.label in ("sad", "angry", "disgust")
            ink = "white" if dark else "black"
            axes.text(
                (start + end) / 2,
                low + 0.46 * height,
                one.label,
                ha="center",
                va="center",
                fontsize=8,
                color=ink,
                clip_on=True,
            )


def _runs(predictions: Sequence[Prediction]) -> list[tuple[float, float, Prediction]]:
    """Put together consecutive predictions that say the same."""
    runs: list[tuple[float, float, Prediction]] = []
    for one in predictions:
        if runs:
            start, end, before = runs[-1]
            same = (before.label, before.abstained) == (one.label, one.abstained)
            if same and one.start - end < 0.01:
                runs[-1] = (start, one.end, before)
                continue
        runs.append((one.start, one.end, one))
    return runs


def _draw_shares(axes: Axes, predictions: Sequence[Prediction], colours: dict[str, str]) -> None:
    """Stack the probabilities of each prediction over its stretch, and hatch the abstentions."""
    axes.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    if not predictions:
        return
    # Start, end and a hole after each: one outline a label, however many predictions there are.
    times = np.array([[one.start, one.end, np.nan] for one in predictions]).ravel()
    values = np.array([[one.probabilities[label] for label in colours] for one in predictions])
    tops = np.repeat(np.cumsum(values, axis=1), 3, axis=0)
    tops[2::3] = np.nan
    bottom = np.where(np.isnan(times), np.nan, 0.0)
    for column, label in enumerate(colours):
        axes.fill_between(times, bottom, tops[:, column], color=colours[label], lw=0)
        bottom = tops[:, column]
    abstained = np.repeat([one.abstained for one in predictions], 3)
    axes.fill_between(
        times,
        0,
        np.where(np.isnan(times), np.nan, 1.0),
        where=abstained.tolist(),
        facecolor="#ffffff80",
        edgecolor="#444444",
        hatch="////",
        lw=0,
    )


def _draw_reasons(axes: Axes, explanations: Sequence[Explanation], colours: dict[str, str]) -> None:
    """Draw what each piece of the time does for the answer that is explained: up for it, down against it.

    What is not told apart from chance is hatched.
    """
    for one in explanations:
        starts = [part.start for part in one.times]
        widths = [part.end - part.start for part in one.times]
        hatch = None if one.trusted else "////"
        weights = [part.weight for part in one.times]
        colour = colours.get(one.label, "#777777")
        axes.bar(starts, weights, widths, align="edge", color=colour, hatch=hatch, ec="#444444", lw=0.5)
    axes.axhline(0, color="#444444", lw=0.6)
    axes.set_ylabel("for the answer\n(log-odds)")


def _time_axis(axes: Axes, duration: float) -> str:
    """Label the axis of time in seconds, or as a clock where minutes are easier to read; return what it shows."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    if duration <= 120:
        return "time in seconds"
    clock = "h:mm:ss" if duration >= 3600 else "m:ss"

    def text(value: float, _position: object) -> str:
        hours, minutes, seconds = int(value) // 3600, int(value) // 60 % 60, int(value) % 60
        return f"{hours}:{minutes:02d}:{seconds:02d}" if duration >= 3600 else f"{int(value) // 60}:{seconds:02d}"

    axes.xaxis.set_major_locator(MultipleLocator(_round(duration / 9)))
    axes.xaxis.set_major_formatter(FuncFormatter(text))
    return f"time ({clock})"


def _legend(figure: Figure, predictions: Sequence[Prediction], colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    if any(one.abstained for one in predictions):
        handles.append(Patch(facecolor="white", edgecolor="#444444", hatch="////", label="don't know"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
