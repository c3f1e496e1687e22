"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox import audio
from emovox.types import Float32Array


@pytest.fixture(scope="module")
def speech(ravdess_clips: list[Path]) -> list[Float32Array]:
    return [audio.read(clip).samples for clip in ravdess_clips]
