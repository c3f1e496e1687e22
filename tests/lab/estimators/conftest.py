"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emovox.features import sets
from emovox.lab.estimators.training import Speech, TrainingSet
from emovox.types import FeatureSpec, Waveform
from tests.conftest import LABELS
from tests.lab.estimators import SPEAKERS, TAKES, VIEWS, Prepared, Toy


@pytest.fixture(scope="session")
def spec(small_whisper: Path) -> FeatureSpec:
    return sets.spec("encoder", {"weights": str(small_whisper), "blocks": "1 2"})


@pytest.fixture(scope="session")
def training_set(spec: FeatureSpec) -> TrainingSet:
    toys = [Toy(label, voice, take) for voice in range(SPEAKERS) for label in LABELS for take in range(TAKES)]
    views = np.stack([[sets.extract(Waveform(toy(view)), spec) for toy in toys] for view in range(VIEWS)], axis=1)
    y, speakers = np.array([toy.label for toy in toys]), np.array([f"s{toy.speaker}" for toy in toys])
    corpora = np.full(len(y), "toy")
    prepared = [Prepared(toy, spec) for toy in toys]
    return TrainingSet(views[:, 0], y, speakers, corpora, views[:, 1:], Speech(prepared, spec))
