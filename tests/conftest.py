"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

DEFAULT_CORPORA = Path(__file__).parents[2] / "shared" / "corpora"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real recordings; the test is skipped where there is none."""
    folder = Path(os.environ.get("EMOVOX_CORPORA", DEFAULT_CORPORA))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set EMOVOX_CORPORA")
    return folder


@pytest.fixture(scope="session")
def ravdess_clips(corpora: Path) -> list[Path]:
    """One clip of each emotion, strong where there is one, spread over actors of both sexes."""
    return [
        corpora / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.flac"
        for emotion, actor in zip(range(1, 9), (1, 2, 7, 12, 15, 18, 21, 24), strict=True)
    ]


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded generator, new for each test."""
    return np.random.default_rng(0)


def sine(frequency: float, duration: float, rate: int = 16000, amplitude: float = 0.5) -> NDArray[np.float32]:
    """Return a pure tone."""
    time = np.arange(round(duration * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
