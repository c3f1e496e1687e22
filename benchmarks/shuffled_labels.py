"""Negative control of a recipe: trained with shuffled labels, its score must be at chance level.

    python benchmarks/shuffled_labels.py RECIPE --corpus ravdess=DIR [--folds 2] [--set model.epochs=10]

The labels of all clips are permuted before anything is fitted; leakage from test to training would raise the score.
The interval contains 95 % of the scores of random guessing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np

from emovox.lab.commands.options import named_folders
from emovox.lab.commands.train import overrides
from emovox.lab.corpora import splits
from emovox.lab.evaluation.scores import score
from emovox.lab.experiments import crossfit, recipe
from emovox.lab.experiments.dataset import load
from emovox.outputs.console import progress_bars
from emovox.types import ordered


def chance(labels: np.ndarray, seed: int, times: int = 2000) -> tuple[float, float, float]:
    """Return mean and 95 % interval of the UAR of random permutations of the labels."""
    rng = np.random.default_rng(seed)
    names = np.unique(labels)
    scores = []
    for _ in range(times):
        answers = rng.permutation(labels)
        scores.append(np.mean([(answers[labels == name] == name).mean() for name in names]))
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(np.mean(scores)), float(low), float(high)


def main() -> int:
    """Run the control and print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--corpus", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folds", type=int, help="only the first so many folds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=-1)
    given = parser.parse_args()
    one = recipe.load(given.recipe, overrides(None, [given.seed], given.set))
    with progress_bars() as progress:
        data = load(one, named_folders(given.corpus), jobs=given.jobs, progress=progress)
        wrong = np.random.default_rng(given.seed).permutation(data.table["label"].to_numpy(str))
        data = dataclasses.replace(data, table=data.table.assign(label=wrong))
        protocol = splits.by_name(one.protocol.name, data.table, given.seed)
        chosen = dataclasses.replace(protocol, folds=protocol.folds[: given.folds])
        trained = crossfit.train(one, data, chosen, jobs=given.jobs, progress=progress)
    found = score(trained.predictions, ordered(data.y))
    middle, low, high = (100 * value for value in chance(trained.predictions["label"].to_numpy(str), given.seed))
    inside = "inside" if low <= 100 * found["uar"] <= high else "OUTSIDE"
    print(
        f"{one.name}, labels shuffled, {len(chosen.folds)} folds of {protocol.name}, {found['n']} clips: "
        f"UAR {100 * found['uar']:.1f}, {inside} chance ({middle:.1f}, 95 % {low:.1f} to {high:.1f})"
    )
    return 0 if inside == "inside" else 1


if __name__ == "__main__":
    sys.exit(main())
