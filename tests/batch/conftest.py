"""Recordings for the tests of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile


def write_tone(path: Path, number: int, *, seconds: float = 0.3, channels: int = 1) -> Path:
    """Write a recording that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.3 * np.random.default_rng(number).normal(size=(round(16000 * seconds), channels))
    soundfile.write(path, samples, 16000)
    return path


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of seven recordings in two folders, one of them silent and one no recording."""
    root = tmp_path_factory.mktemp("calls")
    for number in range(5):
        write_tone(root / ("a" if number < 3 else "b") / f"call{number}.wav", number)
    soundfile.write(root / "a" / "silent.wav", np.zeros(8000), 16000)
    (root / "b" / "broken.wav").write_bytes(b"RIFF, but no more")
    (root / "b" / "notes.txt").write_text("no recording", encoding="utf-8")
    return root
