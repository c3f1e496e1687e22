"""How the built-in model's recipe does on corpora that it never heard: whole corpora are left out in turn.

    EMOVOX_WEIGHTS=DIR python benchmarks/strangers.py --corpora ../shared/corpora [--seeds 0 1 2]

Four classes: angry, happy, neutral (with calm), sad.  Of the left-out corpus nothing is heard but, where a row says so,
50 unlabelled recordings (the setting) and two neutral ones, or six of any emotion, of the speaker; clips in a baseline
are not scored.  Rows `harm` are changes of UAR in points by misleading baselines, of the four emotions the worst.
Rows `known neutral` say to the head that the clips are neutral (`emovox enroll --neutral`).  With `--without-calm` all
rows come once more, for calm clips left out and the label calm no answer, as in the recipe `cross-corpus`.

`--altered` scores altered clips as well: the middle second, spectral tilts of 3 dB per octave, the telephone's band.
`--promise` fits temperature and threshold leaving each training corpus out, and scores them on the outer corpus.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emovox import audio
from emovox.audio.preprocess import trim_silence
from emovox.errors import EmovoxError
from emovox.features import sets
from emovox.lab.augmentation import augment, distortions
from emovox.lab.estimators.adaptive import AdaptiveClassifier, AdaptiveOptions
from emovox.lab.evaluation import metrics
from emovox.lab.experiments import dataset, recipe
from emovox.lab.experiments.dataset import Data
from emovox.lab.extraction.cache import FeatureCache
from emovox.model.file import temper
from emovox.outputs.console import progress_bars
from emovox.types import RATE, Float32Array, Waveform

CORPORA: dict[str, dict[str, Any]] = {"ravdess": {"kind": "speech"}, "tess": {}, "nemo": {}, "emodb": {}, "ased": {}}
THREE = ("ravdess", "tess", "nemo")
CLASSES = ("angry", "happy", "neutral", "sad")
#: Labels that count as another one of the four classes.
SAME = {"calm": "neutral"}
#: Recordings that make a setting.
SETTING = 50
#: What is known, in the order of the table.
KNOWN = ("nothing", "setting", "setting, 2 neutral")
#: Probabilities and labels of the scored clips, by what is known.
Answers: TypeAlias = dict[str, tuple[Float32Array, NDArray[Any]]]


class Corpus:
    """A left-out corpus as a head hears it, and baselines drawn from it.

    Parameters
    ----------
    head : AdaptiveClassifier
    X : ndarray of float32, shape (n, d)
        Embeddings of its clips of the four classes.
    label, speaker : ndarray of str, shape (n,)
    """

    def __init__(self, head: AdaptiveClassifier, X: Float32Array, label: NDArray[Any], speaker: NDArray[Any]) -> None:
        self.head, self.X, self.values, self.label, self.speaker = head, X, head.values(X), label, speaker
        self.rng = np.random.default_rng(0)

    def answers(
        self,
        setting: NDArray[np.intp] | None = None,
        own: Mapping[str, NDArray[np.intp]] | None = None,
        *,
        neutral: bool = False,
    ) -> Float32Array:
        """Return probabilities of the four classes with baselines of some rows, shape (n, 4)."""
        heard = None if setting is None else self.values[setting]
        baselines = {
            who: self.head.baseline(
                heard, None if not own or who not in own else self.values[own[who]], neutral=neutral
            )
            for who in np.unique(self.speaker)
        }
        logits = self.head.logits(self.X, np.stack([baselines[who] for who in self.speaker]))
        return four(logits, self.head.classes_)

    def uar(self, answers: Float32Array, *used: NDArray[np.intp]) -> float:
        """Return the UAR in percent of the clips that are in no baseline."""
        free = np.ones(len(self.label), dtype=bool)
        for rows in used:
            free[rows] = False
        return uar(self.label[free], answers[free])

    def setting(self, size: int = SETTING, emotion: str | None = None) -> NDArray[np.intp]:
        """Draw rows of any emotion, or of one."""
        pool = np.arange(len(self.label)) if emotion is None else np.flatnonzero(self.label == emotion)
        return self.rng.permutation(pool)[:size]

    def own(
        self, size: int, emotion: str | None = None, among: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.intp]]:
        """Draw rows of each speaker."""
        possible = np.ones(len(self.label), dtype=bool) if among is None else among
        if emotion is not None:
            possible = possible & (self.label == emotion)
        pools = {who: np.flatnonzero(possible & (self.speaker == who)) for who in np.unique(self.speaker)}
        return {who: self.rng.permutation(pool)[:size] for who, pool in pools.items() if len(pool)}

    def one_mood(self) -> NDArray[np.bool_]:
        """Choose clips so that each speaker is mostly in one mood, five parts of six."""
        keep = np.zeros(len(self.label), dtype=bool)
        for who in np.unique(self.speaker):
            mood = self.rng.choice(CLASSES)
            for emotion in CLASSES:
                rows = self.rng.permutation(np.flatnonzero((self.speaker == who) & (self.label == emotion)))
                keep[rows[: len(rows) if emotion == mood else max(1, len(rows) // 6)]] = True
        return keep


@contextmanager
def calm_left_out() -> Iterator[None]:
    """Let calm be another emotion than neutral for a while."""
    same = dict(SAME)
    SAME.clear()
    try:
        yield
    finally:
        SAME.update(same)


def four(logits: NDArray[np.floating], classes: NDArray[Any]) -> Float32Array:
    """Return the probabilities of the four classes, others left out, shape (n, 4)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums = [powers[:, [SAME.get(one, one) == label for one in classes]].sum(axis=1) for label in CLASSES]
    found = np.stack(sums, axis=1)
    return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float32)


def uar(label: NDArray[Any], answers: Float32Array) -> float:
    """Return the unweighted average recall in percent."""
    found = np.array(CLASSES)[answers.argmax(axis=1)]
    return 100 * float(np.mean([(found[label == one] == one).mean() for one in np.unique(label)]))


def score(corpus: Corpus) -> tuple[dict[str, float], Answers]:
    """Return the rows of the table for one corpus, and answers by what is known."""
    nothing, setting = corpus.answers(), corpus.setting()
    known = corpus.answers(setting)
    ten, two, six = corpus.setting(10), corpus.own(2, "neutral"), corpus.own(6)
    both = corpus.answers(setting, two)
    used = [*two.values()], [*six.values()]
    rows = {
        "nothing": corpus.uar(nothing),
        "setting": corpus.uar(known, setting),
        "setting of 10": corpus.uar(corpus.answers(ten), ten),
        "setting, 2 neutral": corpus.uar(both, setting, *used[0]),
        "2 neutral": corpus.uar(corpus.answers(None, two), *used[0]),
        "setting, 2 known neutral": corpus.uar(corpus.answers(setting, two, neutral=True), setting, *used[0]),
        "2 known neutral": corpus.uar(corpus.answers(None, two, neutral=True), *used[0]),
        "setting, 6 any": corpus.uar(corpus.answers(setting, six), setting, *used[1]),
        "6 any": corpus.uar(corpus.answers(None, six), *used[1]),
        **_harm(corpus, nothing, known, setting),
    }
    free, free_two = (np.ones(len(corpus.label), dtype=bool) for _ in range(2))
    free[setting] = free_two[setting] = False
    for one in used[0]:
        free_two[one] = False
    answers = (nothing, corpus.label), (known[free], corpus.label[free]), (both[free_two], corpus.label[free_two])
    return rows, dict(zip(KNOWN, answers, strict=True))


def _harm(corpus: Corpus, nothing: Float32Array, known: Float32Array, setting: NDArray[np.intp]) -> dict[str, float]:
    """Return what misleading baselines change."""
    alone, with_setting, narrow = [], [], []
    for emotion in np.unique(corpus.label):
        own = corpus.own(3, emotion)
        used = list(own.values())
        alone.append(corpus.uar(corpus.answers(None, own), *used) - corpus.uar(nothing, *used))
        with_setting.append(corpus.uar(corpus.answers(setting, own), *used) - corpus.uar(known, *used))
        one = corpus.setting(SETTING, emotion)
        narrow.append(corpus.uar(corpus.answers(one), one) - corpus.uar(nothing, one))
    keep = corpus.one_mood()
    six = corpus.own(6, among=keep)
    label = corpus.label[keep]
    return {
        "harm: 3 of one emotion": min(alone),
        "harm: the same, setting known": min(with_setting),
        "harm: setting of one emotion": min(narrow),
        "harm: 6 of a speaker in one mood": uar(label, corpus.answers(None, six)[keep]) - uar(label, nothing[keep]),
        "harm: the same with setting": uar(label, corpus.answers(setting, six)[keep]) - uar(label, known[keep]),
    }


class Material:
    """Embeddings of all corpora and their copies by the recipe."""

    def __init__(self, folder: Path, jobs: int, cache: FeatureCache) -> None:
        shipped = recipe.load("default")
        corpora = {name: shipped.corpora.get(name, recipe.CorpusRecipe(options=more)) for name, more in CORPORA.items()}
        self.recipe = shipped.model_copy(update={"corpora": corpora})
        with progress_bars() as progress:
            self.data: Data = dataset.load(
                self.recipe, {name: folder / name for name in CORPORA}, cache=cache, jobs=jobs, progress=progress
            )
        self.clips = self.data.training_set(jobs, lambda *_: None)
        self.corpus = self.data.table["corpus"].to_numpy(str)

    @property
    def label(self) -> NDArray[Any]:
        """Labels of all clips, those that count as another one as that."""
        return np.array([SAME.get(one, one) for one in self.data.y])

    def head(self, corpora: Sequence[str], options: AdaptiveOptions) -> AdaptiveClassifier:
        """Train on some corpora, with all their labels."""
        clips = self.clips[np.isin(self.corpus, list(corpora))]
        return AdaptiveClassifier(options).fit(
            np.asarray(clips.X), clips.y, clips.speakers, clips.corpora, clips.copies, clips.settings
        )

    def rows(self, corpus: str) -> NDArray[np.intp]:
        """Return the clips of a corpus of the four classes."""
        return np.flatnonzero((self.corpus == corpus) & np.isin(self.label, CLASSES))

    def left_out(self, head: AdaptiveClassifier, corpus: str) -> Corpus:
        """Return a corpus as a head hears it."""
        rows = self.rows(corpus)
        return Corpus(
            head, np.asarray(self.data.X[rows]), self.label[rows], self.data.table["speaker"].to_numpy(str)[rows]
        )


ALTERED: dict[str, Callable[[Float32Array], Float32Array]] = {
    "middle second": lambda samples: _middle(samples, RATE),
    "tilt +3 dB": lambda samples: augment.tilt(samples, 3.0),
    "tilt -3 dB": lambda samples: augment.tilt(samples, -3.0),
    "telephone band": lambda samples: distortions.band_limit(samples, 300.0, 3400.0),
}


def _middle(samples: Float32Array, length: int) -> Float32Array:
    speech = trim_silence(samples, 30.0, 0.1)[0]
    begin = max(len(speech) - length, 0) // 2
    return speech[begin : begin + length]


def altered(
    material: Material, head: AdaptiveClassifier, corpus: str, cache: FeatureCache, most: int = 300
) -> dict[str, float]:
    """Return changes of UAR in altered clips, nothing known and with a setting of that sound (crops: of whole ones)."""
    rows = np.random.default_rng(1).permutation(material.rows(corpus))[:most]
    whole = material.left_out(head, corpus)
    where = np.searchsorted(material.rows(corpus), rows)
    setting = np.setdiff1d(np.arange(len(whole.label)), where)[:: max(1, (len(whole.label) - len(rows)) // SETTING)][
        :SETTING
    ]
    result = {}
    for name, change in ALTERED.items():
        same = name == "middle second"
        X = _heard(material, rows, name, change, cache)
        there = (
            whole.values[setting]
            if same
            else head.values(_heard(material, material.rows(corpus)[setting], name, change, cache))
        )
        label = whole.label[where]
        for known, clean_setting, changed_setting in (("", None, None), (", setting", whole.values[setting], there)):
            clean = four(head.logits(whole.X[where], head.baseline(clean_setting)), head.classes_)
            changed = four(head.logits(X, head.baseline(changed_setting)), head.classes_)
            result[f"{name}{known}"] = uar(label, changed) - uar(label, clean)
    return result


def _heard(
    material: Material,
    rows: NDArray[np.intp],
    name: str,
    change: Callable[[Float32Array], Float32Array],
    cache: FeatureCache,
) -> Float32Array:
    """Return the embeddings of altered clips."""
    found = []
    for row in rows:
        path = material.data.paths[row]
        key = cache.key(path, material.data.spec, 0.0, np.inf, "altered", name)
        stored = cache.load(key)
        if stored is None:
            stored = sets.extract(
                Waveform(np.ascontiguousarray(change(audio.read(path).samples)), 0.0), material.data.spec
            )
            cache.store(key, stored)
        found.append(stored)
    return np.stack(found)


def promise(
    material: Material, options: AdaptiveOptions, outer: Mapping[str, Any], names: Sequence[str], goal: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Return calibration error and share of right answers; fitted leaving out each training corpus in turn."""
    result: dict[str, dict[str, dict[str, float]]] = {known: {} for known in KNOWN}
    # A head without two corpora answers for each of them as the inner one while the other is the outer one.
    inner: dict[tuple[str, str], Answers] = {}
    for pair in itertools.combinations(CORPORA, 2):
        if set(pair) & set(names):
            head = material.head([one for one in CORPORA if one not in pair], options)
            inner |= {(held, other): score(material.left_out(head, held))[1] for held, other in (pair, pair[::-1])}
    for corpus in names:
        fitted = [inner[held, corpus] for held in CORPORA if held != corpus]
        for known in KNOWN:
            heat, limit = calibrated([one[known] for one in fitted], goal)
            answers, label = outer[corpus][known]
            sure = temper(answers, heat)
            given = sure.max(axis=1) >= limit
            right = np.array(CLASSES)[sure.argmax(axis=1)] == label
            target = np.searchsorted(CLASSES, label)
            result[known][corpus] = {
                "calibration error": 100 * metrics.ece(sure, target),
                "right": 100 * float(right[given].mean()) if given.any() else np.nan,
                "given": 100 * float(given.mean()),
            }
    return result


def calibrated(parts: Sequence[tuple[Float32Array, NDArray[Any]]], goal: float) -> tuple[float, float]:
    """Return temperature and threshold, corpora counting alike: from the threshold on a share `goal` is right."""
    weight = np.concatenate([np.full(len(label), 1 / len(label)) for _, label in parts])
    answers, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    target = np.searchsorted(CLASSES, label)
    heats = np.exp(np.linspace(-0.7, 1.8, 51))
    losses = [
        -np.average(np.log(np.maximum(temper(answers, one)[np.arange(len(target)), target], 1e-9)), weights=weight)
        for one in heats
    ]
    heat = float(heats[int(np.argmin(losses))])
    sure = temper(answers, heat)
    order = np.argsort(-sure.max(axis=1))
    hit = (sure.argmax(axis=1) == target)[order]
    right = np.cumsum(hit * weight[order]) / np.cumsum(weight[order])
    enough = np.flatnonzero((right >= goal) & (np.arange(len(order)) > 20))
    return heat, float(sure.max(axis=1)[order][enough[-1]]) if len(enough) else 1.01


def show(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print the table: each corpus, mean of all, mean of the three; of harm the worst."""
    names = list(rows)
    print(f"{'':36}" + "".join(f"{name:>9}" for name in names) + f"{'all':>9}{'three':>9}{'sd':>6}")
    for row in rows[names[0]][0]:
        each = {name: np.array([seed[row] for seed in rows[name]]) for name in names}
        mean = {name: float(values.mean()) for name, values in each.items()}
        spread = float(np.mean(list(each.values()), axis=0).std(ddof=1)) if len(each[names[0]]) > 1 else 0.0
        three = [mean[name] for name in THREE if name in mean]
        kind = min if row.startswith("harm") else np.mean
        means = f"{kind(list(mean.values())):9.1f}" + (f"{kind(three):9.1f}" if three else "")
        print(f"{row:44}" + "".join(f"{mean[name]:9.1f}" for name in names) + means + f"{spread:6.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help=f"folder of {', '.join(CORPORA)}")
    parser.add_argument("--only", nargs="+", default=list(CORPORA), choices=list(CORPORA), help="corpora to leave out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--altered", action="store_true")
    parser.add_argument("--without-calm", action="store_true", help="and with calm clips left out, not neutral")
    parser.add_argument("--promise", action="store_true")
    parser.add_argument(
        "--goal", type=float, default=0.87, help="share of right answers that thresholds are fitted for"
    )
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    given = parser.parse_args()
    cache = FeatureCache()
    try:
        material = Material(given.corpora, given.jobs, cache)
    except EmovoxError as error:
        parser.error(str(error))
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in given.only}
    answers: dict[str, Any] = {}
    base = material.recipe.options(0)
    assert isinstance(base, AdaptiveOptions)
    for name in given.only:
        for seed in given.seeds:
            head = material.head([one for one in CORPORA if one != name], dataclasses.replace(base, seed=seed))
            found, by_known = score(material.left_out(head, name))
            answers.setdefault(name, by_known)
            if given.without_calm:
                with calm_left_out():
                    more, _ = score(material.left_out(head, name))
                found |= {f"{row}, without calm": value for row, value in more.items()}
            rows[name].append(found | (altered(material, head, name, cache) if given.altered else {}))
        print(name, {key: round(value, 1) for key, value in rows[name][0].items()}, flush=True)
    show(rows)
    promises = promise(material, base, answers, given.only, given.goal) if given.promise else {}
    for known, each in promises.items():
        for what in ("calibration error", "right", "given"):
            numbers = [one[what] for one in each.values()]
            print(f"{known:20} {what:18} {np.nanmean(numbers):5.1f}   " + " ".join(f"{one:5.1f}" for one in numbers))
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "promise": promises}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
