"""The light install in an environment of its own: no torch, no scikit-learn, and every family's file still predicts."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from emovox import EmotionRecognizer
from emovox.cli.commands import COMMANDS
from emovox.lab.experiments import experiment, recipe
from tests import ROOT
from tests.conftest import ANY_SOUND

HEAVY = ("torch", "sklearn", "skorch", "scipy", "pandas", "librosa", "onnx", "matplotlib", "joblib")


def required() -> set[str]:
    """Return the distributions that the package requires without extras, and those that they require."""
    found: set[str] = set()
    waiting: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    while waiting:
        one = Requirement(waiting.pop())
        name = canonicalize_name(one.name)
        if name not in found and (not one.marker or one.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += metadata.requires(name) or []
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment of what pip would install for the package without extras, by links, which is quicker."""
    folder = tmp_path_factory.mktemp("light") / "venv"
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in required():
        one = metadata.distribution(name)
        for top in {file.parts[0] for file in one.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(Path(str(one.locate_file(top))))
    (site / "emovox.pth").write_text(f"{ROOT / 'src'}\n", encoding="utf-8")
    return folder / "bin" / "python"


@pytest.mark.long
def test_pip_installs_what_the_other_tests_take_for_the_light_install(tmp_path: Path) -> None:
    venv.create(tmp_path)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "bin" / "python"), "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--quiet", str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode and "connection" in done.stderr.lower():
        pytest.skip("pip reaches no index of packages here")
    assert done.returncode == 0, done.stderr
    listed = json_of(*pip, "list", "--format", "json")
    assert {canonicalize_name(one["name"]) for one in listed} == required() | {"emovox"}
    clip = ROOT / "examples" / "plain.wav"
    assert json_of(tmp_path / "bin" / "emovox", "predict", clip, "--format", "json")
    (site,) = tmp_path.glob("lib/python*/site-packages")
    files = [path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 190e6


def json_of(*command: Any) -> Any:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_heavy_comes_along(python: Path) -> None:
    code = f"import importlib.util, json; print(json.dumps([n for n in {HEAVY} if importlib.util.find_spec(n)]))"
    assert json_of(python, "-c", code) == []


def test_the_built_in_model_predicts_there_as_here(python: Path) -> None:
    clips = sorted((ROOT / "examples").glob("*.wav"))
    found = json_of(python, "-m", "emovox", "predict", *clips, "--format", "json")
    recognizer = EmotionRecognizer()
    for clip, there in zip(clips, found, strict=True):
        here = recognizer.predict(str(clip)).to_dict()
        assert there["label"] == here["label"]
        for label, probability in here["probabilities"].items():
            assert there["probabilities"][label] == pytest.approx(probability, abs=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("family", ["ann", "mlp", "svm"])
def test_every_family_predicts_there_as_here(family: str, python: Path, toy_manifest: Path, tmp_path: Path) -> None:
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
        python, "-m", "emovox", "predict", clip, "--model", tmp_path / "run", "--format", "json", "--no-gate"
    )
    here = EmotionRecognizer(tmp_path / "run", gate=ANY_SOUND).predict(str(clip)).to_dict()
    assert there["probabilities"] == pytest.approx(here["probabilities"], abs=1e-4)


def test_training_there_says_what_to_install(python: Path) -> None:
    done = subprocess.run([python, "-m", "emovox", "train", "ravdess-ann"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'emovox[train]'" in done.stderr


def test_every_command_has_its_help_there(python: Path) -> None:
    code = (
        "import sys\nfrom emovox.cli.commands import COMMANDS\nfrom emovox.cli.main import run\n"
        "for name in COMMANDS:\n"
        "    sys.argv = ['emovox', name, '--help']\n"
        "    try:\n        run()\n"
        "    except SystemExit as end:\n        print(name, end.code, file=sys.stderr)\n"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert dict(line.split() for line in done.stderr.splitlines()) == dict.fromkeys(COMMANDS, "0")


def test_what_needs_another_extra_says_which(python: Path) -> None:
    for arguments, extra in ((("serve",), "serve"), (("listen", "--device", "99"), "live")):
        done = subprocess.run([python, "-m", "emovox", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.splitlines()
        assert f"pip install 'emovox[{extra}]'" in line
