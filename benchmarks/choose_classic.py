"""Model selection of the recipe `ravdess-comprehensive`: cross-validation on the training speakers of each fold.

    python benchmarks/choose_classic.py --corpora ../shared/corpora [--folds 1 3 5]

For each EmoBox fold, its 20 training speakers are split into five groups; each candidate is trained on four groups
and scored on the fifth.  The test speakers of the fold are not used.  Prints the inner UAR of each candidate in each
fold: a candidate that is best in every fold would have been chosen in every fold.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from emovox.lab.corpora import splits
from emovox.lab.corpora.groups import speaker_groups_kfold
from emovox.lab.evaluation import metrics
from emovox.lab.experiments import dataset, recipe
from emovox.lab.experiments.crossfit import Task, fit_many

#: Candidates, as changes of the recipe; all with one network instead of five, to save time.
CANDIDATES: dict[str, dict[str, Any]] = {
    "classic193, SVM": {"features": {"set": "classic193"}, "model": {"family": "svm"}},
    "prosodic, SVM": {"features": {"set": "prosodic"}, "model": {"family": "svm"}},
    "comprehensive, SVM": {"model": {"family": "svm"}},
    "prosodic, network": {"features": {"set": "prosodic"}},
    "comprehensive, network, dropout 0.5/0.3, 30 epochs": {
        "model.dropout": 0.5,
        "model.input_dropout": 0.3,
        "model.epochs": 30,
    },
    "comprehensive, network, dropout 0.6/0.5, 40 epochs (the recipe)": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    arguments = parser.parse_args()
    folds = ", ".join(f"fold {fold}" for fold in arguments.folds)
    print(f"inner UAR on the training speakers of {folds}\n\n| candidate | each fold | mean |\n|---|---|---|")
    for name, changes in CANDIDATES.items():
        # Another family replaces the whole table, so that no option of the network remains.
        one = recipe.load("ravdess-comprehensive", {"model.members": 1} | changes)
        data = dataset.load(one, {"ravdess": arguments.corpora / "ravdess"})
        assert data.speakers is not None
        clips = data.training_set(1, lambda stage, done, total: None)
        outer = splits.emobox(data.table).folds
        scores = []
        for number in arguments.folds:
            train = outer[number - 1].train
            inner = speaker_groups_kfold(data.speakers[train], 5)
            tasks = [Task(one.family, one.options(0), train[fit], train[test]) for fit, test in inner]
            predicted = np.empty(len(data.y), dtype=data.y.dtype)
            for task, found in zip(tasks, fit_many(clips, tasks), strict=True):
                probabilities, classes = found.probabilities, found.classes
                predicted[task.test] = classes[probabilities.argmax(axis=1)]
            scores.append(100 * metrics.summary(data.y[train], predicted[train], sorted(set(data.y)))["uar"])
        each = " ".join(f"{score:.1f}" for score in scores)
        print(f"| {name} | {each} | {np.mean(scores):.1f} |", flush=True)


if __name__ == "__main__":
    main()
