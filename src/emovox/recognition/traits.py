"""A voice in terms that people use: pitch, loudness, tempo and voice quality, against what is ordinary."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean

from emovox.features import sets
from emovox.outputs.explanations import Trait
from emovox.types import FeatureSpec, Waveform

#: Standard deviations from which something is out of the ordinary.
NOTEWORTHY = 1.0
#: Utterances of a voice that tell what is ordinary for it.
LEAST = 3


@dataclass(frozen=True)
class _Kind:
    """A trait: its feature in the set ``prosodic``, its unit, and how more and less of it are called."""

    feature: str
    unit: str
    more: str
    less: str
    relative: bool = False
    """Whether it is told as a ratio, in per cent."""
    absolute: bool = True
    """Whether it means the same in every recording, so that voices can be compared: a level does not."""


#: The traits, by name.
KINDS: Mapping[str, _Kind] = {
    "pitch": _Kind("f0_semitones_p50", "semitones", "above ordinary pitch", "below ordinary pitch"),
    "melody": _Kind("f0_semitones_p20_80", "semitones", "more melody", "less melody"),
    "loudness": _Kind("level", "dB", "louder", "softer", absolute=False),
    "tempo": _Kind("loudness_peak_rate", "peaks of loudness a second", "faster", "slower", relative=True),
    "brightness": _Kind("alpha_ratio_voiced_mean", "dB", "brighter, as with more effort", "darker, with less effort"),
    "clearness": _Kind("hnr_mean", "dB", "clearer (harmonics to noise)", "rougher (harmonics to noise)"),
    "breathiness": _Kind("h1_h2_mean", "dB", "breathier (H1-H2)", "tenser (H1-H2)"),
}


@dataclass(frozen=True)
class Ordinary:
    """What is ordinary: of one voice, or of many.

    Attributes
    ----------
    about : str
        Whose voice, and how much of it.
    means : mapping of str to float
        By the name of the trait.
    deviations : mapping of str to float
        Standard deviations, likewise.
    """

    about: str
    means: Mapping[str, float]
    deviations: Mapping[str, float]


def measured(waveform: Waveform) -> dict[str, float]:
    """Measure the traits of a stretch of speech, by name.

    Examples
    --------
    >>> from emovox import audio
    >>> found = measured(audio.read("examples/plain.wav"))
    >>> 1 < found["tempo"] < 9
    True
    """
    values = sets.extract(waveform, _spec())
    return {name: float(values[_columns()[kind.feature]]) for name, kind in KINDS.items()}


def of_voice(utterances: Iterable[Mapping[str, float]], about: str) -> Ordinary | None:
    """Say what is ordinary for one voice, by the traits of some utterances; None where they are too few.

    How far a voice goes from one utterance to the next is taken from the many voices of the corpora.
    """
    found = list(utterances)
    if len(found) < LEAST:
        return None
    means = {name: fmean(one[name] for one in found) for name in KINDS}
    return Ordinary(f"{len(found)} {about}", means, {name: within for name, (_, _, within) in _population().items()})


def of_people() -> Ordinary:
    """Say what is ordinary in neutral speech of many speakers, see ``scripts/population.py``.

    Examples
    --------
    >>> sorted(of_people().means)
    ['breathiness', 'brightness', 'clearness', 'melody', 'pitch', 'tempo']
    """
    known = {name: values for name, values in _population().items() if KINDS[name].absolute}
    means = {name: mean for name, (mean, _, _) in known.items()}
    deviations = {name: math.hypot(between, within) for name, (_, between, within) in known.items()}
    return Ordinary(f"neutral speech of {_file()['speakers']} speakers", means, deviations)


def compared(found: Mapping[str, float], ordinary: Ordinary) -> tuple[Trait, ...]:
    """Return the traits that are out of the ordinary, the most unusual first."""
    traits = []
    for name, mean in ordinary.means.items():
        difference = found[name] - mean
        deviation = difference / ordinary.deviations[name]
        if abs(deviation) >= NOTEWORTHY:
            text = _told(KINDS[name], difference, mean)
            traits.append(Trait(name, found[name], mean, KINDS[name].unit, deviation, text))
    return tuple(sorted(traits, key=lambda one: -abs(one.deviation)))


def _told(kind: _Kind, difference: float, mean: float) -> str:
    """Put a difference into words."""
    word = kind.more if difference > 0 else kind.less
    if kind.relative:
        return f"{abs(difference) / mean:.0%} {word}" if mean else word
    size = abs(difference)
    amount = f"{size:.0f}" if size >= 2 else f"{size:.1f}"
    unit = kind.unit.removesuffix("s") if amount in ("1", "1.0") else kind.unit
    return f"{amount} {unit} {word}"


@cache
def _spec() -> FeatureSpec:
    return sets.spec("prosodic", preprocess={"level": "none"})  # how loud it is counts


@cache
def _columns() -> dict[str, int]:
    return {name: index for index, name in enumerate(sets.feature_names(_spec()))}


@cache
def _file() -> dict[str, int | dict[str, tuple[float, float, float]]]:
    text = (resources.files("emovox.recognition") / "population.json").read_text(encoding="utf-8")
    found: dict[str, int | dict[str, tuple[float, float, float]]] = json.loads(text)
    return found


def _population() -> dict[str, tuple[float, float, float]]:
    """Return of each trait the mean, and the deviations between speakers and within one."""
    found = _file()["traits"]
    return found if isinstance(found, dict) else {}
