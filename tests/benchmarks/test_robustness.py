"""The robustness benchmark on a toy run: the fold's own model, voices of others only, and numbers that repeat."""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovox.errors import InputError
from emovox.lab.experiments import experiment, recipe
from emovox.model.file import load
from emovox.outputs import pages as card
from emovox.types import Float32Array
from tests import ROOT
from tests.conftest import sine

SCRIPT = ROOT / "benchmarks" / "robustness.py"
BENCHMARK: dict[str, Any] = runpy.run_path(str(SCRIPT))
CONDITIONS = BENCHMARK["CONDITIONS"]


@pytest.fixture(scope="module")
def run(unpainted: None, tmp_path_factory: pytest.TempPathFactory, toy_manifest: Path) -> Path:
    out = tmp_path_factory.mktemp("robust") / "run"
    toy = {
        "name": "toy",
        "corpora": {"toy": {}},
        "features": {"set": "classic193"},
        "model": {"family": "svm"},
        "protocol": {"name": "speaker-3", "seeds": [0, 1]},
    }
    experiment.run(recipe.validate(toy, "toy"), {"toy": toy_manifest}, out, jobs=1, keep_folds=True)
    return out


def folds(run: Path, manifest: Path, *only: str) -> list[Any]:
    found: list[Any] = BENCHMARK["read_folds"](run, run / "folds", {"toy": manifest}, only)
    return found


def test_clean_clips_score_as_in_the_run(run: Path, toy_manifest: Path) -> None:
    clean = BENCHMARK["measure"](folds(run, toy_manifest), {"clean": CONDITIONS["clean"]}, jobs=1)
    own = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["folds"]
    expected = {one["fold"]: one["uar"] for one in own if one["seed"] == 0}
    assert clean["clean"].to_dict() == pytest.approx(expected)
    assert len(expected) == 3


def test_each_fold_has_the_model_that_never_heard_its_clips(run: Path, toy_manifest: Path) -> None:
    for fold in folds(run, toy_manifest):
        assert fold.name in fold.model.card.name
        assert fold.clips["speaker"].nunique() == 2
        assert all(path.is_file() for path in fold.clips["path"])
    speakers = [set(fold.clips["speaker"]) for fold in folds(run, toy_manifest)]
    assert len(set.union(*speakers)) == 6


def test_noise_repeats_with_the_seed_and_in_a_part_of_the_folds(run: Path, toy_manifest: Path) -> None:
    heard: list[list[float]] = []

    def listen(samples: Float32Array, others: Sequence[Float32Array], rng: np.random.Generator) -> Float32Array:
        noisy: Float32Array = CONDITIONS["babble 10 dB"](samples, others, rng)
        heard[-1].append(float(noisy.sum()))
        return samples

    for only, seed in (((), 0), (("fold 2",), 0), (("fold 2",), 1)):
        heard.append([])
        BENCHMARK["measure"](folds(run, toy_manifest, *only), {"babble": listen}, seed=seed, jobs=1)
    assert heard[1] == heard[0][32:64]
    assert not set(heard[1]) & set(heard[2])


def test_the_babble_is_never_the_speakers_own_voice(run: Path, toy_manifest: Path) -> None:
    (fold,) = folds(run, toy_manifest, "fold 1")
    seen: list[tuple[float, list[float]]] = []

    def listen(samples: Float32Array, others: Sequence[Float32Array], rng: np.random.Generator) -> Float32Array:
        seen.append((float(samples.sum()), [float(one.sum()) for one in others]))
        return samples

    BENCHMARK["measure"]([fold], {"babble": listen}, jobs=1)
    speakers = fold.clips["speaker"].to_numpy(str)
    sums = np.array([own for own, _ in seen])
    for who, (_, others) in zip(speakers, seen, strict=True):
        assert others == sums[speakers != who].tolist()
    given = [np.ones(10, np.float32)]
    seen.clear()
    BENCHMARK["measure"]([fold], {"babble": listen}, voices=given, jobs=1)
    assert all(others == [10.0] for _, others in seen)


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name != "clean"])
def test_every_condition_does_something_and_keeps_the_length(name: str, rng: np.random.Generator) -> None:
    clip = sine(1000, 1) * np.linspace(0, 1, 16000, dtype=np.float32) / 4
    voices = [sine(frequency, 0.7) for frequency in (500, 900, 1300)]
    heard = CONDITIONS[name](clip, voices, rng)
    assert heard.shape == clip.shape
    assert heard.dtype == np.float32
    # Lines and codecs hand back the level; a sine passes them with little change.
    least = 0.0005 if "kbit" in name or name == "telephone" else 0.01
    assert np.abs(heard - clip).max() > least
    if name.endswith("10 dB"):
        assert 10 * np.log10(np.mean(clip**2) / np.mean((heard - clip) ** 2)) == pytest.approx(10, abs=0.01)
    elif name == "gain -20 dB":
        np.testing.assert_allclose(heard, clip / 10, rtol=1e-5)
    elif name.startswith("clipped"):
        assert np.abs(heard).max() == pytest.approx(np.abs(clip).max() * 10 ** (-12 / 20))
    else:
        assert np.sqrt(np.mean(heard**2) / np.mean(clip**2)) == pytest.approx(1, abs=0.1)


def test_losses_are_those_of_the_folds_against_clean() -> None:
    table = pd.DataFrame({"clean": [0.8, 0.6], "hiss": [0.7, 0.4]}, index=["a", "b"])
    found = BENCHMARK["losses"](table)
    assert found["clean"] == pytest.approx({"uar": 0.7, "loss": 0.0, "sd_loss": 0.0})
    assert found["hiss"] == pytest.approx({"uar": 0.55, "loss": 0.15, "sd_loss": np.std([0.1, 0.2], ddof=1)})


def test_the_command_writes_what_a_card_shows(
    run: Path,
    toy_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in CONDITIONS.keys() - {"clean", "white noise 10 dB", "babble 10 dB"}:
        monkeypatch.delitem(CONDITIONS, name)
    target = tmp_path / "robustness.json"
    command = [str(run), "--corpus", f"toy={toy_manifest}", "--only", "fold 3", "--jobs", "1", "--json", str(target)]
    monkeypatch.setattr(sys, "argv", ["robustness.py", *command])
    assert BENCHMARK["main"]() == 0
    shown = capsys.readouterr().out
    found = json.loads(target.read_text(encoding="utf-8"))
    assert list(found["robustness"]) == list(CONDITIONS)
    for name, one in found["robustness"].items():
        assert f"| {name} | {100 * one['uar']:.1f} |" in shown
        assert one["uar"] == found["folds"]["fold 3"][name]
    # A hiss at 10 dB drowns the toys' melodies.
    assert found["robustness"]["white noise 10 dB"]["loss"] > 0.1
    shown_card = dataclasses.replace(load(run).card, evaluation={"robustness": found["robustness"]})
    (table,) = card.analyses(shown_card)
    assert [row[0] for row in table.rows] == list(CONDITIONS)


def test_bad_input_is_one_line(run: Path, toy_manifest: Path, tmp_path: Path) -> None:
    read = BENCHMARK["read_folds"]
    roots = {"toy": toy_manifest}
    with pytest.raises(InputError, match=r"no predictions.csv in .*finished run"):
        read(tmp_path, tmp_path, roots)
    with pytest.raises(InputError, match=r"the run tests corpus 'toy': .*--corpus toy=DIR"):
        read(run, run / "folds", {})
    with pytest.raises(InputError, match=r"no fold 'fold 9': it has fold 1, fold 2, fold 3"):
        read(run, run / "folds", roots, ["fold 9"])
    with pytest.raises(InputError, match=r"no model .*fold 1.onnx"):
        read(run, tmp_path, roots)
    (fold,) = folds(run, toy_manifest, "fold 1")
    alone = dataclasses.replace(fold, clips=fold.clips.assign(speaker="one"))
    with pytest.raises(InputError, match="fold 1 tests one speaker: bring voices"):
        BENCHMARK["check_voices"]([alone], [])
    BENCHMARK["check_voices"]([alone], [np.ones(10, np.float32)])
