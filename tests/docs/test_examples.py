"""The example programs do what their first line says; the example clips are what examples/README.md says."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from emovox import EmotionRecognizer
from tests import EXAMPLES
from tests.cli import Done
from tests.conftest import ANY_SOUND

CLIPS = sorted(EXAMPLES.glob("*.wav"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return what runs an example program in this process, where warnings are errors."""

    def run(script: str, *arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        code: object = None
        try:
            runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return Done(int(str(code or 0)), *capsys.readouterr())

    return run


def test_clips_are_small_and_plain() -> None:
    assert [clip.name for clip in CLIPS] == ["lively.wav", "loud.wav", "plain.wav", "slow.wav"]
    for clip in CLIPS:
        info = soundfile.info(clip)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 1 < info.duration < 5
        assert clip.stat().st_size < 150_000
        assert f"`{clip.name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_predict_folder_lists_each_clip_once_under_its_label() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "predict_folder.py"), str(EXAMPLES)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr
    groups = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    recognizer = EmotionRecognizer()
    for clip in CLIPS:
        assert [label for label, names in groups.items() if clip.name in names.split(", ")] == [
            recognizer.predict(clip).label
        ]


def test_predict_folder_reports_a_bad_recording(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("not sound")
    done = run("predict_folder.py", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("failed: ")
    assert "bad.wav" in done.stderr


@pytest.mark.usefixtures("unpainted")
def test_train_from_manifest_writes_a_run_folder(
    run: Callable[..., Done], toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOVOX_CACHE", str(tmp_path / "cache"))
    done = run("train_from_manifest.py", toy_manifest, tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "mine" / "metrics.json").read_text(encoding="utf-8"))
    assert done.stdout.startswith(f"UAR {100 * scores['uar']:.1f} by speaker-3: ")
    assert scores["protocol"]["speaker_independent"]
    # The toy emotions are easy to tell apart, also for new voices; a quarter would be chance.
    assert scores["uar"] > 0.6
    clip = toy_manifest.parent / "s0-sad-0.wav"
    assert EmotionRecognizer(tmp_path / "mine", gate=ANY_SOUND).predict(clip).label == "sad"
