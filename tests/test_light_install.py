"""The light install in an environment of its own: no torch, no scikit-learn, and every family's file still predicts."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from emovox import EmotionRecognizer
from emovox.lab.experiments import experiment, recipe
from tests import ROOT
from tests.conftest import ANY_SOUND

HEAVY = ("torch", "sklearn", "skorch", "scipy", "pandas", "librosa", "onnx", "matplotlib", "joblib")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package, without extras, where nothing else is."""
    folder = tmp_path_factory.mktemp("light") / "venv"
    venv.create(folder)
    # The pip that is here installs there, and leaves bytecode to what is imported: half the time of a pip of its own.
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    done = subprocess.run([*pip, "install", *options, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def json_of(*command: Any) -> Any:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_heavy_comes_along(programs: Path) -> None:
    code = f"import importlib.util, json; print(json.dumps([n for n in {HEAVY} if importlib.util.find_spec(n)]))"
    assert json_of(programs / "python", "-c", code) == []


def test_the_built_in_model_predicts_there_as_here(programs: Path) -> None:
    clips = sorted((ROOT / "examples").glob("*.wav"))
    found = json_of(programs / "emovox", "predict", *clips, "--format", "json")
    recognizer = EmotionRecognizer()
    for clip, there in zip(clips, found, strict=True):
        here = recognizer.predict(str(clip)).to_dict()
        assert there["label"] == here["label"]
        for label, probability in here["probabilities"].items():
            assert there["probabilities"][label] == pytest.approx(probability, abs=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("family", ["ann", "mlp", "svm"])
def test_every_family_predicts_there_as_here(family: str, programs: Path, toy_manifest: Path, tmp_path: Path) -> None:
    one = recipe.validate(
        {
            "name": family,
            "corpora": {"toy": {}},
            "features": {"set": "classic193"},
            "model": {"family": family},
            "protocol": {"name": "speaker-2"},
        },
        "toy",
    )
    experiment.run(one, {"toy": toy_manifest}, tmp_path / "run", jobs=1)
    clip = toy_manifest.parent / "s3-sad-1.wav"
    (there,) = json_of(
        programs / "emovox", "predict", clip, "--model", tmp_path / "run", "--format", "json", "--no-gate"
    )
    here = EmotionRecognizer(tmp_path / "run", gate=ANY_SOUND).predict(str(clip)).to_dict()
    assert there["probabilities"] == pytest.approx(here["probabilities"], abs=1e-4)


def test_training_there_says_what_to_install(programs: Path) -> None:
    done = subprocess.run([programs / "emovox", "train", "ravdess-ann"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'emovox[train]'" in done.stderr
