"""Build the built-in model and measure everything that its card reports, from the corpora to the file in the package.

::

    EMOVOX_WEIGHTS=DIR python scripts/build_default.py --corpora ../shared/corpora --out runs/default

The steps, each skipped if its result exists: `emovox train default --keep-folds`, which also leaves each corpus out in
turn to calibrate for strangers, benchmarks/robustness.py on the models of the folds, and the cost of the final file on
this machine.  The results are written into the card and, with ``--ship``, the file into the package.  The encoder is in
the package already (`scripts/build_encoder.py`) and is not stored again.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from emovox.features import sets
from emovox.model.file import CARD_KEY, Model, load
from emovox.outputs.console import progress_bars
from emovox.types import RATE, Waveform

ROOT = Path(__file__).parents[1]
ENCODER = ROOT / "src" / "emovox" / "features" / "encoder.onnx"
SHIPPED = ROOT / "src" / "emovox" / "pretrained"
#: Seconds of speech below which the model does not answer: shorter crops are not in its training.  Not tuned.
SHORTEST = 0.5
CORPORA = ("ravdess", "tess", "nemo", "emodb")


def main() -> int:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help=f"folder that holds {', '.join(CORPORA)}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the evaluation; the file has the first"
    )
    parser.add_argument(
        "--folds", action="append", default=[], metavar="FOLD", help="folds whose robustness is measured"
    )
    parser.add_argument("--ship", action="store_true", help="write the model into the package")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    roots = {name: arguments.corpora / name for name in CORPORA}
    run = train("default", roots, arguments.out / "default", tuple(arguments.seeds))
    evaluation = {
        "robustness": robustness(run, roots["ravdess"], arguments.out / "robustness.json", arguments.folds),
        "cross_corpus": cross_corpus(json.loads((run / "metrics.json").read_text())["promise"]),
        "cost": cost(run / "model.onnx", next(roots["ravdess"].rglob("*.flac"))),
    }
    finished = arguments.out / "default.onnx"
    with_evaluation(run / "model.onnx", evaluation, finished)
    print(json.dumps(evaluation, indent=1))
    if arguments.ship:
        shutil.copyfile(finished, SHIPPED / finished.name)
        print(f"wrote {SHIPPED / finished.name}")
    return 0


def train(name: str, roots: dict[str, Path], out: Path, seeds: tuple[int, ...]) -> Path:
    """Run a recipe and keep the models of its folds, unless its run folder exists."""
    from emovox.lab.experiments import experiment, recipe

    if not out.exists():
        with progress_bars() as progress:
            known = recipe.load(name)
            protocol = known.protocol.model_copy(update={"seeds": seeds})
            experiment.run(
                known.model_copy(update={"protocol": protocol}), roots, out, keep_folds=True, progress=progress
            )
    return out


def robustness(run: Path, corpus: Path, out: Path, folds: list[str]) -> dict[str, Any]:
    """Measure the robustness of the models of the folds."""
    if not out.exists():
        script = str(ROOT / "benchmarks" / "robustness.py")
        command = [sys.executable, script, str(run), "--corpus", f"ravdess={corpus}", "--json", str(out)]
        command += [word for fold in folds for word in ("--only", fold)]
        subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(out.read_text())["robustness"]
    return found


def cross_corpus(promise: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of each corpus left out, with nothing known, with its setting, and with the speaker too."""
    further = {"setting_uar": "setting", "enrolled_uar": "setting_enrolled"}
    return {
        name: {
            "uar": scores["uar"],
            **{key: promise[known]["corpora"][name]["uar"] for key, known in further.items() if known in promise},
            "ece": scores["ece_tempered"],
        }
        for name, scores in promise["corpora"].items()
    }


def cost(path: Path, recording: Path) -> dict[str, Any]:
    """Measure size and latency of a model file, with the encoder, on this machine."""
    model = load(path)
    clip = Waveform(np.random.default_rng(0).standard_normal(3 * RATE, dtype=np.float32) / np.float32(10))
    each = [_seconds(lambda: model.run(sets.extract(clip, model.card.features)[np.newaxis])) for _ in range(21)]
    command = [sys.executable, "-m", "emovox", "predict", str(recording), "--model", str(path)]
    whole = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)]
    graph, encoder = (onnx.load(str(one)).graph for one in (path, ENCODER))
    return {
        "bytes": path.stat().st_size + ENCODER.stat().st_size,
        "parameters": int(sum(np.prod(tensor.dims) for one in (graph, encoder) for tensor in one.initializer)),
        "real_time_factor": statistics.median(each) / 3,
        "predict_seconds": statistics.median(whole),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def with_evaluation(path: Path, more: dict[str, Any], out: Path) -> Model:
    """Rewrite a model file with more evaluation results in its card."""
    graph = onnx.load(str(path))
    card = load(path).card.to_dict()
    card["evaluation"], card["shortest"] = {**card["evaluation"], **more}, SHORTEST
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card)})
    out.write_bytes(graph.SerializeToString())
    return load(out)


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
