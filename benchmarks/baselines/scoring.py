"""Scores of a head on a corpus that it never heard: without baselines, with them, and with misleading ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.data import CLASSES, NEUTRAL, Embeddings, Flags, Integers
from baselines.draws import Baseline
from baselines.heads import Head
from emovox.types import Float32Array

#: What is known: nothing; 50 clips of the setting; those and two neutral clips of the speaker.
MODES = ("none", "setting", "speaker")
#: Log-probabilities, shape (n, 4), and labels of clips that are in no baseline.
Answers = tuple[Float32Array, Integers]


def uar(label: Integers, scores: Float32Array) -> float:
    """Return the unweighted average recall in percent."""
    answer = scores.argmax(1)
    return float(100 * np.mean([(answer[label == one] == one).mean() for one in np.unique(label)]))


class Trial:
    """A corpus as the head hears it, and baselines drawn from it.

    Parameters
    ----------
    head : Head
    data : Embeddings
    corpus : str
    kind, heard : str
        Kind of sound of the clips, and of those that baselines are made of.
    seed : int
    """

    def __init__(
        self, head: Head, data: Embeddings, corpus: str, *, kind: str = "clean", heard: str = "", seed: int = 0
    ) -> None:
        heard = heard or kind
        rows = np.flatnonzero(data.present[kind] & data.present[heard] & (data.corpus == corpus))
        self.pool = np.flatnonzero(data.present[heard] & (data.corpus == corpus))
        self.head, self.rows, self.rng = head, rows, np.random.default_rng(seed)
        self.values, self.heard = head.values(data.values[kind][rows]), head.values(data.values[heard][self.pool])
        self.label, self.speaker, self.duration = data.label[rows], data.speaker[rows], data.duration[kind][rows]
        self.pool_label, self.pool_speaker = data.label[self.pool], data.speaker[self.pool]

    def answer(self, setting: Baseline | None = None, speaker: Baseline | None = None) -> Float32Array:
        """Return log-probabilities, shape (n, 4)."""
        return self.head.log_probabilities(self.values, self.duration, setting, speaker)

    def score(self, answers: Float32Array, used: Flags | None = None) -> float:
        """Return the UAR of the clips that are in no baseline."""
        return uar(self.label, answers) if used is None else uar(self.label[~used], answers[~used])

    def setting(self, size: int, emotion: int | None = None) -> tuple[Baseline, Flags]:
        """Draw clips of the setting, of any emotion or of one; return the baseline and which clips are in it."""
        pool = np.arange(len(self.pool)) if emotion is None else np.flatnonzero(self.pool_label == emotion)
        chosen = self.rng.permutation(pool)[:size]
        baseline = Baseline.nothing(*self.values.shape)
        baseline.hear(slice(None), self.heard[chosen])
        return baseline, np.isin(self.rows, self.pool[chosen])

    def own(self, size: int, emotion: int | None = None, among: Flags | None = None) -> tuple[Baseline, Flags]:
        """Draw clips of each speaker, of any emotion or of one, optionally `among` some of the pool."""
        baseline, used = Baseline.nothing(*self.values.shape), np.zeros(len(self.values), bool)
        for speaker in np.unique(self.speaker):
            possible = self.pool_speaker == speaker
            if emotion is not None:
                possible = possible & (self.pool_label == emotion)
            if among is not None:
                possible = possible & among
            if possible.any():
                chosen = self.rng.permutation(np.flatnonzero(possible))[:size]
                baseline.hear(self.speaker == speaker, self.heard[chosen])
                used |= np.isin(self.rows, self.pool[chosen])
        return baseline, used


def score(head: Head, data: Embeddings, corpus: str, seed: int = 0) -> tuple[dict[str, float], dict[str, Answers]]:
    """Score one corpus.

    Returns
    -------
    scores : dict of str to float
        UAR by what is known; differences of UAR in points as ``"harm: ..."``, by emotion.
    answers : dict of str to Answers
        By `MODES`, for calibration.
    """
    trial = Trial(head, data, corpus, seed=seed)
    none = trial.answer()
    setting, used = trial.setting(50)
    known = trial.answer(setting)
    scores = {"none": trial.score(none), "setting 50": trial.score(known, used)}
    ten, used_ten = trial.setting(10)
    scores["setting 10"] = trial.score(trial.answer(ten), used_ten)
    two, used_two = trial.own(2, NEUTRAL)
    both = trial.answer(setting, two)
    scores["setting 50 + 2 neutral"] = trial.score(both, used | used_two)
    scores["2 neutral"] = trial.score(trial.answer(None, two), used_two)
    six, used_six = trial.own(6)
    scores["setting 50 + 6 any"] = trial.score(trial.answer(setting, six), used | used_six)
    scores["6 any"] = trial.score(trial.answer(None, six), used_six)
    scores |= _one_emotion(trial, setting, none, known) | _one_mood(trial, setting, none, known)
    free, free_two = ~used, ~(used | used_two)
    return scores, {
        "none": (none, trial.label),
        "setting": (known[free], trial.label[free]),
        "speaker": (both[free_two], trial.label[free_two]),
    }


def _one_emotion(trial: Trial, setting: Baseline, none: Float32Array, known: Float32Array) -> dict[str, float]:
    """Measure what baselines of one emotion cost."""
    harm = {}
    for emotion, name in enumerate(CLASSES):
        if not (trial.pool_label == emotion).any():
            continue
        own, used = trial.own(3, emotion)
        harm[f"harm: own 3 of one emotion/{name}"] = trial.score(trial.answer(None, own), used) - trial.score(
            none, used
        )
        with_setting = trial.score(trial.answer(setting, own), used) - trial.score(known, used)
        harm[f"harm: the same, setting known/{name}"] = with_setting
        narrow, used = trial.setting(50, emotion)
        found = trial.score(trial.answer(narrow), used) - trial.score(none, used)
        harm[f"harm: setting of one emotion/{name}"] = found
    return harm


def _one_mood(trial: Trial, setting: Baseline, none: Float32Array, known: Float32Array) -> dict[str, float]:
    """Measure what six of their own clips cost speakers who are mostly in one mood."""
    keep = np.zeros(len(trial.label), bool)
    for speaker in np.unique(trial.speaker):
        mood = trial.rng.integers(len(CLASSES))
        for emotion in range(len(CLASSES)):
            rows = np.flatnonzero((trial.speaker == speaker) & (trial.label == emotion))
            rows = trial.rng.permutation(rows)
            keep[rows[: len(rows) if emotion == mood else max(1, len(rows) // 6)]] = True
    six, _ = trial.own(6, among=keep)
    label = trial.label[keep]
    alone = uar(label, trial.answer(None, six)[keep]) - uar(label, none[keep])
    with_setting = uar(label, trial.answer(setting, six)[keep]) - uar(label, known[keep])
    return {"harm: own 6, one mood": alone, "harm: own 6, one mood, setting known": with_setting}


def altered(head: Head, data: Embeddings, corpus: str, kind: str) -> dict[str, float]:
    """Measure the UAR that altered clips lose, without a setting and with 50 clips of it in the same sound.

    Crops keep the setting of whole clips, for a profile is not made of crops.
    """
    changed = Trial(head, data, corpus, kind=kind, heard="clean" if kind in ("crop", "half") else kind)
    whole = Trial(head, data, corpus, kind="clean")
    same = np.isin(whole.rows, changed.rows)
    lost = changed.score(changed.answer()) - whole.score(whole.answer(), ~same)
    with_setting = changed.score(changed.answer(changed.setting(50)[0]))
    with_setting -= whole.score(whole.answer(whole.setting(50)[0]), ~same)
    return {f"{kind}": lost, f"{kind}, setting 50": with_setting}


def softened(answers: Float32Array, temperature: float) -> Float32Array:
    """Return probabilities at a temperature."""
    scaled = answers / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), dtype=np.float32)


def calibration_error(label: Integers, probabilities: Float32Array, bins: int = 10) -> float:
    """Return the expected calibration error in percent."""
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == label
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    found = [which == one for one in range(bins) if (which == one).any()]
    return float(100 * sum(abs(hit[one].mean() - confidence[one].mean()) * one.mean() for one in found))


def temperature(parts: Sequence[Answers]) -> float:
    """Return the temperature of the least log loss, corpora counting alike."""

    def loss(candidate: float) -> float:
        chosen = [softened(answers, candidate)[np.arange(len(label)), label] for answers, label in parts]
        return float(np.mean([-np.log(one + 1e-9).mean() for one in chosen]))

    return float(min(np.exp(np.linspace(-0.7, 1.8, 51)), key=loss))


def threshold(parts: Sequence[Answers], heat: float, goal: float) -> float:
    """Return the lowest confidence above which the share `goal` of answers is right; above 1 if there is none."""
    found = [softened(answers, heat) for answers, _ in parts]
    confidence = np.concatenate([one.max(1) for one in found])
    hit = np.concatenate([one.argmax(1) == label for one, (_, label) in zip(found, parts, strict=True)])
    weight = np.concatenate([np.full(len(one), 1 / len(one)) for one in found])
    order = np.argsort(-confidence)
    right = np.cumsum((hit * weight)[order]) / np.cumsum(weight[order])
    enough = np.flatnonzero((right >= goal) & (np.arange(len(order)) > 20))
    return float(confidence[order][enough[-1]]) if len(enough) else 1.01


def everyday(
    head: Head, data: Embeddings, heats: Mapping[str, float], thresholds: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Score ordinary speech, the prompts: mean over voices, in percent, alone and with 50 of a voice's prompts."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    prompts = data.corpus == "prompts"
    for voice in np.unique(data.speaker[prompts]):
        rows = np.flatnonzero((data.speaker == voice) & data.present["clean"])
        rows = np.random.default_rng(0).permutation(rows)
        if len(rows) < 55:
            continue
        values, duration = head.values(data.values["clean"][rows]), data.duration["clean"][rows]
        setting = Baseline.nothing(*values.shape)
        setting.hear(slice(None), values[:50])
        for mode, baseline, first in (("none", None, 0), ("setting", setting, 50)):
            answers = head.log_probabilities(values, duration, baseline)
            sure = softened(answers, heats[mode])[first:]
            given, answer = sure.max(1) >= thresholds[mode], sure.argmax(1)
            neutral, heavy = answer == NEUTRAL, np.isin(answer, [CLASSES.index("angry"), CLASSES.index("sad")])
            shares: tuple[Any, ...] = (neutral | ~given, given & heavy, given)
            found[mode].append(tuple(100 * float(one.mean()) for one in shares))
    names = ("neutral or don't know", "confident angry or sad", "given")
    return {mode: dict(zip(names, np.mean(each, 0).tolist(), strict=True)) for mode, each in found.items()}
