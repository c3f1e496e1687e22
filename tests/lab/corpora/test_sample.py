"""The synthetic corpus of the tutorial: it is what it says, and the prosody of its emotions can be measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parselmouth
import pytest

from emovox.errors import InputError
from emovox.lab.corpora import registry
from emovox.lab.corpora.sample import MANNERS, SPEAKERS, TAKES, clip, write


def test_the_manifest_names_what_is_there(tmp_path: Path) -> None:
    made: list[None] = []
    count = write(tmp_path / "practice", made=lambda: made.append(None))
    corpus = registry.load("practice", tmp_path / "practice" / "recordings.csv")
    assert len(corpus.table) == count == len(MANNERS) * TAKES * (len(SPEAKERS) - 1)
    assert all(path.is_file() for path in corpus.paths())
    assert corpus.table.groupby(["speaker", "label"]).size().unique().tolist() == [TAKES]
    assert sorted(path.stem for path in (tmp_path / "practice" / "new").iterdir()) == sorted(MANNERS)
    assert len(made) == count + len(MANNERS)
    assert registry.check(corpus) == []
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "practice")


def test_the_same_seed_gives_the_same_clips() -> None:
    np.testing.assert_array_equal(clip("sad", 1, 2), clip("sad", 1, 2))
    assert not np.array_equal(clip("sad", 1, 2), clip("sad", 1, 2, seed=1))


def test_emotions_sound_as_the_literature_reports() -> None:
    def measured(label: str) -> tuple[float, float]:
        """Pitch relative to the speaker's and level, means over speakers and takes, by Praat."""
        found = []
        for speaker, (ordinary, _) in enumerate(SPEAKERS[:3]):
            for take in range(TAKES):
                sound = parselmouth.Sound(clip(label, speaker, take).astype(float), 16000)
                pitch = sound.to_pitch(pitch_floor=60, pitch_ceiling=500).selected_array["frequency"]
                found.append((np.median(pitch[pitch > 0]) / ordinary, sound.get_intensity()))
        pitch_mean, level = np.mean(found, axis=0)
        return float(pitch_mean), float(level)

    heard = {label: measured(label) for label in MANNERS}
    by_pitch = sorted(heard, key=lambda label: heard[label][0])
    by_level = sorted(heard, key=lambda label: heard[label][1])
    assert by_pitch == ["sad", "neutral", "angry", "happy"]
    assert by_level == ["sad", "neutral", "happy", "angry"]
