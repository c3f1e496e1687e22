"""Toy clips as training batches for tuning an encoder; voices for the adaptive heads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emovox.features import sets
from emovox.lab.estimators.adaptive import AdaptiveOptions
from emovox.lab.estimators.encoder_tuning import FinetuneOptions
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.experiments import recipe
from emovox.types import FeatureSpec, Float32Array, Waveform
from tests.conftest import toy_clip

VIEWS, TAKES, SPEAKERS = 3, 2, 5
HEAD = AdaptiveOptions(components=8, epochs=2, draws=2, hidden=8, networks=1)
QUICK = FinetuneOptions(
    epochs=2, learning_rate=1e-3, head_rate=1e-3, batch_size=8, patience=0, penalty=0.005, threads=1, head=HEAD
)


@dataclasses.dataclass(frozen=True)
class Toy:
    """A toy clip, in other takes as its copies."""

    label: str
    speaker: int
    take: int

    def __call__(self, view: int) -> Float32Array:
        return toy_clip(self.label, self.speaker, self.take + 10 * view)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Preprocessed as the features are."""

    toy: Toy
    spec: FeatureSpec

    def __call__(self, view: int) -> Float32Array:
        return sets.extract(Waveform(self.toy(view)), sets.samples_spec(self.spec.preprocess))


def fitted(training_set: TrainingSet, options: FinetuneOptions, **speech: Any) -> FinetunedClassifier:
    told = dataclasses.replace(training_set.recordings, **speech)
    return FinetunedClassifier(options).fit(
        training_set.X, training_set.y, training_set.speakers, training_set.corpora, training_set.copies, speech=told
    )


# --- from corpus to model file -----------------------------------------------------------------------------


def toy(weights: Path, **changes: Any) -> recipe.Recipe:
    return recipe.validate(
        {
            "name": "toy-tuned",
            "corpora": {"toy": {}},
            "features": {"set": "encoder", "weights": str(weights), "blocks": "1 2"},
            "preprocess": {"trim": True},
            "augment": {"copies": 2, "options": {"codec": 0.0, "pitch": 0.0, "tempo": 0.0, "speed": 1.0}},
            "model": {
                "family": "finetuned",
                "epochs": 1,
                "patience": 0,
                "learning_rate": 1e-3,
                "threads": 1,
                "head": {"components": 8, "epochs": 2, "draws": 2, "hidden": 8, "networks": 1},
            },
            "protocol": {"name": "speaker-2"},
            **changes,
        },
        "toy",
    )


def voices(n_speakers: int = 12, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """Embeddings in which a speaker's voice is several times as loud as her emotion."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"s{index}" for index in range(n_speakers)], 24)
    labels = np.tile(("neutral", "happy", "sad"), len(speakers) // 3)
    voice = rng.normal(size=(n_speakers, 5))[np.repeat(np.arange(n_speakers), 24)]
    emotion = np.eye(3, 5)[np.tile(np.arange(3), len(speakers) // 3)]
    noise = rng.normal(size=(len(speakers), 5))
    return (3 * voice + emotion + noise / 10).astype(np.float32), labels, speakers
