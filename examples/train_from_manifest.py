"""Train and evaluate a model on your own recordings, listed in a manifest.

The manifest is a CSV with the columns ``file``, ``label`` and ``speaker`` (docs/corpora.md)::

    python examples/train_from_manifest.py recordings.csv runs/mine
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from emovox.lab.experiments import experiment, recipe

RECIPE = {
    "name": "mine",
    "corpora": {"mine": {}},
    "features": {"set": "prosodic"},
    "model": {"family": "svm"},
    # Three groups of speakers, each tested by a model that was trained on the others.
    "protocol": {"name": "speaker-3"},
}


def train(manifest: Path, out: Path) -> dict[str, Any]:
    """Evaluate, train on all clips and write the run folder `out`; return the content of its metrics.json."""
    return experiment.run(recipe.validate(RECIPE, "RECIPE"), {"mine": manifest}, out, jobs=1)


if __name__ == "__main__":
    scores = train(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"UAR {100 * scores['uar']:.1f} by {scores['protocol']['name']}: {scores['protocol']['note']}")
    print(f"model in {Path(sys.argv[2]) / 'model.onnx'}")
