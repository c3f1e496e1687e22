"""Effect of each preprocessing step on accuracy, for clean speech and speech in babble.

    python benchmarks/preprocessing.py --corpora ../shared/corpora

The recipe `ravdess-comprehensive` with one network instead of five, on the six EmoBox folds: trained on clean clips,
tested on clean ones and on the same clips with babble at 10 dB (six simultaneous voices of nEMO).  Every step is
enabled alone; the last line is the choice of the recipe.  The training clips are always clean, so the second column
shows models that were trained without noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from emovox import audio
from emovox.features import sets
from emovox.lab.augmentation.augment import babble, mix
from emovox.lab.corpora import registry, splits
from emovox.lab.corpora.table import Corpus
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.evaluation import metrics
from emovox.lab.experiments import recipe
from emovox.lab.experiments.crossfit import Task as Fit
from emovox.lab.experiments.crossfit import fit_many
from emovox.types import FeatureSpec, Float32Array, Waveform

SNR = 10.0
STEPS: dict[str, dict[str, object]] = {
    "none": {"dc": False, "level": "none"},
    "DC removal": {"dc": True, "level": "none"},
    "noise reduction": {"dc": False, "level": "none", "denoise": True},
    "trimming": {"dc": False, "level": "none", "trim": True},
    "peak level": {"dc": False, "level": "peak"},
    "loudness": {"dc": False, "level": "loudness"},
    "DC + trimming + peak (the recipe)": {"dc": True, "trim": True, "level": "peak"},
    "the recipe + noise reduction": {"dc": True, "denoise": True, "trim": True, "level": "peak"},
}


def voices(nemo: Corpus, count: int = 60) -> list[Float32Array]:
    """Read voices for the babble, evenly from the speakers of nEMO."""
    rows = nemo.table.reset_index().groupby("speaker").head(count // 9 + 1)
    return [audio.read(nemo.path(file)).samples for file in rows["file"]]


def pairs(
    path: Path, number: int, talkers: list[Float32Array], specs: list[FeatureSpec]
) -> list[tuple[Float32Array, Float32Array]]:
    """Compute the features of a clip without and with babble, for each specification."""
    clean = audio.read(path)
    rng = np.random.default_rng([2026, number])
    noisy = Waveform(mix(clean.samples, babble(talkers, len(clean.samples), rng), SNR, rng))
    return [(sets.extract(clean, spec), sets.extract(noisy, spec)) for spec in specs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()

    base = recipe.load("ravdess-comprehensive", {"model.members": 1})
    ravdess = registry.load("ravdess", arguments.corpora / "ravdess")
    talkers = voices(registry.load("nemo", arguments.corpora / "nemo"))
    specs = [sets.spec("comprehensive", preprocess=options) for options in STEPS.values()]
    print(f"{len(ravdess.table)} clips, {len(specs)} settings, seeds {list(range(arguments.seeds))}", flush=True)
    found = Parallel(n_jobs=-1, batch_size=16)(
        delayed(pairs)(path, number, talkers, specs) for number, path in enumerate(ravdess.paths())
    )

    y = ravdess.table["label"].to_numpy(str)
    speakers = ravdess.table["speaker"].to_numpy(str)
    corpora = ravdess.table["corpus"].to_numpy(str)
    protocol = splits.emobox(ravdess.table)
    n = len(y)
    print(f"\n| step | UAR clean | UAR babble {SNR:g} dB |\n|---|---|---|")
    for place, name in enumerate(STEPS):
        X = np.concatenate([np.stack([clip[place][noisy] for clip in found]) for noisy in (0, 1)])
        clips = TrainingSet(X, np.tile(y, 2), np.tile(speakers, 2), np.tile(corpora, 2))
        # The test clips are concatenated: first clean, then noisy from row n on.
        fits = [
            Fit(base.family, base.options(seed), fold.train, np.r_[fold.test, fold.test + n])
            for seed in range(arguments.seeds)
            for fold in protocol.folds
        ]
        scores = []
        for fit, found in zip(fits, fit_many(clips, fits), strict=True):
            probabilities, classes = found.probabilities, found.classes
            assert fit.test is not None
            predicted, half = classes[probabilities.argmax(axis=1)], len(fit.test) // 2
            truth = y[fit.test[:half]]
            scores.append(
                [metrics.summary(truth, part, sorted(set(y)))["uar"] for part in (predicted[:half], predicted[half:])]
            )
        clean, noisy_score = 100 * np.mean(scores, axis=0)
        print(f"| {name} | {clean:.1f} | {noisy_score:.1f} |", flush=True)


if __name__ == "__main__":
    main()
