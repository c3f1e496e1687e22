"""How to cut a recording before it is judged: fixed windows, or utterances by voice activity with what around them.

    emovox train default --corpus ravdess=../shared/corpora/ravdess \\
        --set 'corpora={ravdess={options={kind="speech"}}}' --set augment.copies=1 --seed 0 \\
        --keep-folds --out runs/judging
    python benchmarks/judging.py runs/judging ../shared/corpora

Every test clip of RAVDESS is judged by the model of its fold, which never heard the speaker.  Three kinds of material:
single clips as they are; the same with noise at 15 dB; and long recordings, 5 to 8 clips of one speaker and emotion
with pauses of 0.3 to 1.5 s between them, silent or with room noise.  Prints Markdown rows: UAR and negative
log-likelihood of the answer for the whole recording, which is the mean of its pieces' probabilities weighted by
duration, and the difference of hits against fixed windows with a bootstrap interval over speakers.

The rule is chosen by this comparison, on test folds: of the rules within the interval of the best one the simplest is
taken, and nothing else is tuned on it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from emovox import audio
from emovox.features import sets
from emovox.model.file import Model, combine, load
from emovox.recognition.timeline import TimelineOptions
from emovox.speech.vad import FRAME, SpeechProbability, segments
from emovox.types import RATE, Float32Array, Waveform

WINDOW = 6.0
Stretch = tuple[float, float]


def fixed(length: float, speech: list[Stretch], quiet: Callable[[float, float], float]) -> list[Stretch]:
    """Windows from the beginning to the end, a rest below half a window with the one before."""
    count = max(1, int(length / WINDOW + 0.5))
    return [(i * WINDOW, (i + 1) * WINDOW if i < count - 1 else length) for i in range(count)]


def cut(parts: list[Stretch], quiet: Callable[[float, float], float]) -> list[Stretch]:
    """Cut what is longer than a window at the least probable speech of the window's second half."""
    found = []
    for begin, end in parts:
        while end - begin > WINDOW:
            middle = quiet(begin + WINDOW / 2, begin + WINDOW)
            found.append((begin, middle))
            begin = middle
        found.append((begin, end))
    return [one for one in found if one[1] - one[0] >= 0.3] or found


def utterances(
    length: float, speech: list[Stretch], quiet: Callable[[float, float], float], around: float = 0.0
) -> list[Stretch]:
    """Utterances with so many seconds before and after them, at most to the middle of a pause."""
    edges = [0.0, *[(a[1] + b[0]) / 2 for a, b in pairwise(speech)], length]
    wider = [(max(begin - around, edges[i]), min(end + around, edges[i + 1])) for i, (begin, end) in enumerate(speech)]
    return cut(wider, quiet)


def alone(
    length: float, speech: list[Stretch], quiet: Callable[[float, float], float], around: float = 0.0
) -> list[Stretch]:
    """As utterances, but a recording of up to 1.5 windows with one utterance as it is."""
    if length <= 1.5 * WINDOW and len(speech) == 1:
        return [(0.0, length)]
    return utterances(length, speech, quiet, around)


def merged(
    length: float, speech: list[Stretch], quiet: Callable[[float, float], float], pause: float = 1.0
) -> list[Stretch]:
    """Neighbouring utterances judged together, pauses of up to so many seconds included, while a window holds them."""
    found: list[Stretch] = []
    for begin, end in speech:
        if found and begin - found[-1][1] <= pause and end - found[-1][0] <= WINDOW:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return cut(found, quiet)


RULES: dict[str, Callable[..., list[Stretch]]] = {
    "fixed windows of 6 s": fixed,
    "utterances": utterances,
    "utterances, 0.1 s around": partial(utterances, around=0.1),
    "utterances, 0.25 s around": partial(utterances, around=0.25),
    "utterances, 0.5 s around": partial(utterances, around=0.5),
    "a short recording with one utterance whole, else utterances": alone,
    "utterances merged over pauses up to 1 s": merged,
}


class Judge:
    """One fold's model; what it has judged once it remembers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.known: dict[bytes, Float32Array] = {}

    def rows(self, samples: Float32Array, cuts: list[Stretch]) -> np.ndarray:
        """Return the answer for a recording that is cut like this."""
        found = []
        for begin, end in cuts:
            part = sets.extract(
                Waveform(samples[round(begin * RATE) : round(end * RATE)]), next(iter(self.model.inputs.values()))
            )
            key = hashlib.sha1(part.tobytes()).digest()
            if key not in self.known:
                self.known[key] = self.model.run(part[np.newaxis]).probabilities[0]
            found.append(self.known[key])
        return combine(found, [end - begin for begin, end in cuts])


def by_all_rules(judge: Judge, samples: Float32Array) -> list[np.ndarray]:
    """Judge a recording by every rule; one without utterances is judged by fixed windows."""
    waveform = Waveform(samples)
    stream = SpeechProbability()
    trace = np.concatenate([stream.push(samples), stream.finish()])

    def quiet(begin: float, end: float) -> float:
        first, last = round(begin * RATE / FRAME), round(end * RATE / FRAME)
        return (first + int(np.argmin(trace[first:last])) + 0.5) * FRAME / RATE

    speech = [(one.start, one.end) for one in segments(waveform, TimelineOptions().vad)]
    cuts = [
        rule(waveform.duration, speech, quiet) if speech else fixed(waveform.duration, [], quiet)
        for rule in RULES.values()
    ]
    return [judge.rows(samples, one) for one in cuts]


def material(rows: list[dict[str, str]], corpora: Path, every: int) -> Iterator[tuple[str, str, str, Float32Array]]:
    """Yield (kind, speaker, label, samples) of one fold."""
    rng = np.random.default_rng(0)
    noises = sorted((corpora / "noise").rglob("*.ogg"))
    groups: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
    for number, row in enumerate(rows):
        path = corpora / row["file"]
        groups[row["speaker"], row["label"]].append(path)
        if number % every:
            continue
        clip = audio.read(path).samples
        yield "clips", row["speaker"], row["label"], clip
        yield "clips in noise", row["speaker"], row["label"], noisy(clip, noises, rng, 15.0)
    for number, ((speaker, label), paths) in enumerate(groups.items()):
        if number % every:
            continue
        chosen = rng.permutation(len(paths))[: rng.integers(5, 9)]
        parts: list[Float32Array] = []
        for index in chosen:
            parts += [audio.read(paths[index]).samples, np.zeros(round(rng.uniform(0.3, 1.5) * RATE), np.float32)]
        whole = np.concatenate(parts[:-1])
        yield "long", speaker, label, noisy(whole, noises, rng, 30.0) if number // every % 2 else whole


def noisy(samples: Float32Array, noises: list[Path], rng: np.random.Generator, snr: float) -> Float32Array:
    """Add a recording of noise."""
    noise = audio.read(noises[rng.integers(len(noises))]).samples
    noise = np.resize(noise, len(samples))
    loud = np.square(samples).reshape(-1)[np.abs(samples) > np.abs(samples).max() / 10].mean()
    scale = np.sqrt(loud / max(float(np.square(noise).mean()), 1e-12)) * 10 ** (-snr / 20)
    return np.asarray(samples + scale * noise, dtype=np.float32)


def fold(
    name: str, rows: list[dict[str, str]], run: Path, corpora: Path, every: int
) -> list[tuple[str, str, str, list[np.ndarray]]]:
    """Judge the material of one fold."""
    judge = Judge(load(run / "folds" / f"{name}.onnx"))
    return [
        (kind, speaker, label, by_all_rules(judge, samples))
        for kind, speaker, label, samples in material(rows, corpora, every)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only each so manieth clip and recording")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with (given.run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folds: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        folds[row["fold"]].append(row)
    labels = list(load(given.run / "folds" / f"{rows[0]['fold']}.onnx").card.labels)
    with ProcessPoolExecutor(given.jobs) as pool:
        waiting = [pool.submit(fold, *one, given.run, given.corpora, given.every) for one in folds.items()]
        found = [item for one in waiting for item in one.result()]
    for kind in ("clips", "clips in noise", "long"):
        report(kind, [item for item in found if item[0] == kind], labels)


def report(kind: str, found: list[tuple[str, str, str, list[np.ndarray]]], labels: list[str]) -> None:
    """Print a table."""
    truth = np.array([labels.index(label) for _, _, label, _ in found])
    speakers = np.array([speaker for _, speaker, _, _ in found])
    answers = np.array([rows for _, _, _, rows in found])  # (n, rules, classes)
    hits = answers.argmax(axis=2) == truth[:, np.newaxis]
    names, of = np.unique(speakers, return_inverse=True)
    rng = np.random.default_rng(0)
    print(
        f"\n| {kind}, {len(found)} | UAR | NLL | hits against fixed windows, points | mean confidence |"
        "\n|---|---|---|---|---|"
    )
    for number, rule in enumerate(RULES):
        uar = np.mean([hits[truth == index, number].mean() for index in np.unique(truth)])
        chosen = answers[np.arange(len(truth)), number, truth]
        gain = hits[:, number].astype(float) - hits[:, 0]
        sums = np.array([gain[of == i].sum() for i in range(len(names))])
        counts = np.bincount(of)
        draws = rng.integers(len(names), size=(2000, len(names)))
        means = 100 * sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        print(
            f"| {rule} | {100 * uar:.1f} | {-np.log(np.maximum(chosen, 1e-9)).mean():.3f} | "
            f"{100 * gain.mean():+.1f} ({low:+.1f} to {high:+.1f}) | {answers[:, number].max(axis=1).mean():.3f} |"
        )


if __name__ == "__main__":
    main()
