"""Effect of enrolment on accuracy, with good and bad baselines, for speakers outside the training set.

    emovox train RECIPE --corpus ravdess=DIR --keep-folds --out RUN
    python benchmarks/enrolment.py RUN --corpus ravdess=DIR [--only FOLD] [--json enrolment.json]

The model of each fold recognises its test clips with and without a baseline of the speaker.  The baseline is the mean
embedding of some clips of the speaker, which are excluded from the test: neutral ones, clips of all emotions
(unlabelled everyday speech), or clips of one other emotion only (the worst case).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from robustness import Fold, read_folds, uar

from emovox import audio
from emovox.errors import InputError
from emovox.features import sets
from emovox.outputs.console import named_folders
from emovox.types import Float32Array

#: Function from the labels of the clips of a speaker and a generator to the clips to enrol with.
Choose = Callable[[NDArray[np.str_], np.random.Generator], NDArray[np.intp]]


def of(count: int, label: str = "") -> Choose:
    """Draw clips of one emotion, or of any."""

    def choose(labels: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.intp]:
        pool = np.flatnonzero(labels == label) if label else np.arange(len(labels))
        return rng.choice(pool, min(count, len(pool) - 1), replace=False)

    return choose


def ways(labels: NDArray[np.str_]) -> dict[str, Choose]:
    """Return the kinds of baselines."""
    single = {f"3 {label} clips only": of(3, label) for label in np.unique(labels)}
    return {"2 neutral clips": of(2, "neutral"), "6 clips of any emotion": of(6), **single}


def embed(fold: Fold) -> Float32Array:
    """Compute the embedding of each test clip of a fold."""
    rows = zip(fold.clips["path"], fold.clips["start"], fold.clips["end"], strict=True)
    result = []
    for path, start, end in rows:
        waveform = audio.read(path, start=start, end=None if np.isinf(end) else end)
        embedding = fold.model.run(sets.extract(waveform, fold.model.card.features)[np.newaxis]).embedding
        if embedding is None:
            raise InputError(f"the model of {fold.name} takes no baseline: give a run of an adaptive recipe")
        result.append(embedding[0])
    return np.stack(result)


def measure(fold: Fold, draws: int, seed: int) -> Mapping[str, tuple[float, float]]:
    """Return the UAR without and with each kind of baseline on the same clips, means over draws."""
    embedding, clips = embed(fold), fold.clips
    truth, speakers, before = (clips[column].to_numpy(str) for column in ("label", "speaker", "predicted"))
    names = fold.model.card.labels
    found = {}
    for name, choose in ways(truth).items():
        scores = []
        for draw in range(draws):
            rng = np.random.default_rng([seed, draw])
            after, tested = before.copy(), np.ones(len(truth), dtype=bool)
            for speaker in np.unique(speakers):
                own = np.flatnonzero(speakers == speaker)
                chosen = own[choose(truth[own], rng)]
                tested[chosen] = False
                after[own] = [names[i] for i in answer(fold, own, embedding[chosen].mean(axis=0))]
            scores.append([uar(truth[tested], said[tested], names) for said in (before, after)])
        without, enrolled = np.mean(scores, axis=0)
        found[name] = (float(without), float(enrolled))
    return found


def answer(fold: Fold, rows: NDArray[np.intp], baseline: Float32Array) -> list[int]:
    """Recognise some clips of a fold with a baseline."""
    result = []
    for path, start, end in fold.clips.iloc[rows][["path", "start", "end"]].itertuples(index=False):
        waveform = audio.read(path, start=start, end=None if np.isinf(end) else end)
        samples = sets.extract(waveform, fold.model.card.features)[np.newaxis]
        probabilities = fold.model.run(samples, baseline=baseline).probabilities
        result.append(int(probabilities[0].argmax()))
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder that `emovox train --keep-folds` wrote")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--only", action="append", default=[], metavar="FOLD", help="measure this fold; repeatable")
    parser.add_argument("--draws", type=int, default=1, help="baselines drawn for each speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    try:
        folds = read_folds(arguments.run, arguments.run / "folds", named_folders(arguments.corpus), arguments.only)
        found = {fold.name: measure(fold, arguments.draws, arguments.seed) for fold in folds}
    except InputError as error:
        print(f"enrolment: {error}", file=sys.stderr)
        return 2
    table = pd.DataFrame(found).T
    print(f"{len(folds)} folds, {arguments.draws} draws, seed {arguments.seed}\n")
    print("| baseline | UAR without | UAR with | difference, points |\n|---|---|---|---|")
    means = {name: np.mean(table[name].tolist(), axis=0) for name in table}
    for name, (without, enrolled) in means.items():
        print(f"| {name} | {100 * without:.1f} | {100 * enrolled:.1f} | {100 * (enrolled - without):+.1f} |")
    if arguments.json:
        plain = {name: {"without": float(one[0]), "with": float(one[1])} for name, one in means.items()}
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
