"""`emovox features`: sets by name, those of encoders too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas

from tests import EXAMPLES
from tests.cli import emovox_command


def test_sets_of_encoders_are_known(weights: Path, tmp_path: Path) -> None:
    clip = Path(__file__).parents[2] / "examples" / "plain.wav"
    done = emovox_command(
        "features", clip, "--set", "whisper-tiny.en", "--out", tmp_path / "x.csv", EMOVOX_WEIGHTS=str(weights)
    )
    assert done.returncode == 0, done.stderr
    header = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[:3] == ["file", "start", "end"]
    assert len(header) == 3 + 2304


def test_an_unknown_set_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    done = emovox_command("features", tmp_path, "--set", "prosodik", "--out", "x.csv")
    assert done.returncode == 2
    assert "did you mean 'prosodic'" in done.stderr


def test_a_setting_is_of_axes_or_of_the_recordings_at_hand(tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    done = emovox_command("features", EXAMPLES, "--setting", "office", "--out", out)
    assert done.returncode == 2
    assert "a setting's profile holds axes, and nothing of prosodic: add --set axes" in done.stderr
    done = emovox_command("features", EXAMPLES, "--setting", "auto", "--out", out)
    assert done.returncode == 0, done.stderr
    table = pandas.read_csv(out).drop(columns=["file", "start", "end"])
    np.testing.assert_allclose(table.mean(), 0, atol=1e-5)
    assert set(table.std(ddof=0).round(4)) <= {0.0, 1.0}
