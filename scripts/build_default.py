"""Build the built-in model and measure everything that its card reports, from the corpora to the file in the package.

::

    EMOVOX_WEIGHTS=DIR python scripts/build_default.py --corpora ../shared/corpora --out runs/default

The steps, each skipped if its result exists: `emovox train default --keep-folds`, `emovox train
cross-corpus`, benchmarks/robustness.py on the models of the folds, and the cost of the final file on this machine.  The
results are written into the card and, with ``--ship``, the file into the package.
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

from emovox.model.file import CARD_KEY, Model, load
from emovox.outputs.console import progress_bars
from emovox.types import RATE

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "src" / "emovox" / "pretrained"
CORPORA = ("ravdess", "tess", "nemo")


def main() -> int:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder that holds ravdess, tess and nemo")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--ship", action="store_true", help="write the model into the package")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    roots = {name: arguments.corpora / name for name in CORPORA}
    run = train("default", roots, arguments.out / "default")
    crossed = train("cross-corpus", roots, arguments.out / "cross-corpus")
    evaluation = {
        "robustness": robustness(run, roots["ravdess"], arguments.out / "robustness.json"),
        "cross_corpus": cross_corpus(json.loads((crossed / "metrics.json").read_text())),
        "cost": cost(run / "model.onnx", next(roots["ravdess"].rglob("*.flac"))),
    }
    finished = arguments.out / "default.onnx"
    with_evaluation(run / "model.onnx", evaluation, finished)
    print(json.dumps(evaluation, indent=1))
    if arguments.ship:
        shutil.copyfile(finished, SHIPPED / finished.name)
        print(f"wrote {SHIPPED / finished.name}")
    return 0


def train(name: str, roots: dict[str, Path], out: Path) -> Path:
    """Run a recipe and keep the models of its folds, unless its run folder exists."""
    from emovox.lab.experiments import experiment, recipe

    if not out.exists():
        with progress_bars() as progress:
            experiment.run(recipe.load(name), roots, out, keep_folds=True, progress=progress)
    return out


def robustness(run: Path, corpus: Path, out: Path) -> dict[str, Any]:
    """Measure the robustness of the models of the folds."""
    if not out.exists():
        script = str(ROOT / "benchmarks" / "robustness.py")
        command = [sys.executable, script, str(run), "--corpus", f"ravdess={corpus}", "--json", str(out)]
        subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(out.read_text())["robustness"]
    return found


def cross_corpus(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the cross-corpus scores of a run."""
    known = metrics["enrolled"]["corpora"]
    return {
        name: {"uar": scores["uar"], "enrolled_uar": known[name]["uar"], "ece": scores["ece_tempered"]}
        for name, scores in metrics["corpora"].items()
    }


def cost(path: Path, recording: Path) -> dict[str, Any]:
    """Measure size and latency of a model file on this machine."""
    model = load(path)
    clip = np.random.default_rng(0).standard_normal((1, 3 * RATE), dtype=np.float32) / np.float32(10)
    each = [_seconds(lambda: model.run(clip)) for _ in range(21)]
    command = [str(Path(sys.executable).with_name("emovox")), "predict", str(recording), "--model", str(path)]
    whole = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)]
    graph = onnx.load(str(path)).graph
    return {
        "bytes": path.stat().st_size,
        "parameters": int(sum(np.prod(tensor.dims) for tensor in graph.initializer)),
        "real_time_factor": statistics.median(each) / 3,
        "predict_seconds": statistics.median(whole),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def with_evaluation(path: Path, more: dict[str, Any], out: Path) -> Model:
    """Rewrite a model file with more evaluation results in its card."""
    graph = onnx.load(str(path))
    card = load(path).card.to_dict()
    card["evaluation"] = {**card["evaluation"], **more}
    helper.set_model_props(graph, {CARD_KEY: json.dumps(card)})
    out.write_bytes(graph.SerializeToString())
    return load(out)


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
