"""How well explanations tell what carries an answer, and what they cost.

    python benchmarks/explain.py ased=../shared/corpora/ased emospeech=../shared/corpora/emospeech-in --clips 24
    python benchmarks/explain.py ravdess=../shared/corpora/ravdess --run runs/default --clips 8

The built-in model on corpora that it was not trained on, or another model; or, with ``--run``, the models of the folds
of a run, each on clips of the speakers that it has not heard.  Of each clip the strongest segment is explained.  Areas
are the mean probability of the answer with a quarter, half and three quarters of the sound cut out: the most important
pieces first (deletion), the least important first (insertion), or at random.  Labels are not used.  The time is
processor time, with one thread, for 3 s of sound.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox import AudioError, EmotionRecognizer, ExplainOptions, explain
from emovox.lab.corpora import registry
from emovox.outputs.plots import Explanation, Faithfulness


def main() -> None:
    """Explain and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--clips", type=int, default=30, help="of each corpus, or of each fold of a run")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--model", help="a model file; the default is the built-in model")
    models.add_argument("--run", type=Path, help="a run folder that kept the models of its folds")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    roots = {name: Path(root) for name, _, root in (one.partition("=") for one in given.corpora)}
    if given.run:
        found = {name: measured(strangers(given.run, name, root, given.clips)) for name, root in roots.items()}
    else:
        recognizer = opened(given.model)
        found = {
            name: measured((recognizer, path) for path in clips(name, root, given.clips))
            for name, root in roots.items()
        }
    for name, one in found.items():
        print(f"{name}: {json.dumps(one)}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def opened(model: Path | str | None) -> EmotionRecognizer:
    """Open a model, and explain a clip with it: what is opened once is not counted."""
    recognizer = EmotionRecognizer(model)
    explained(recognizer, Path(__file__).parents[1] / "examples" / "plain.wav")
    return recognizer


def strangers(run: Path, name: str, root: Path, count: int) -> Iterator[tuple[EmotionRecognizer, Path]]:
    """Give clips of each fold by chance, always the same, and the model that has not heard their speakers."""
    table = pd.read_csv(run / "predictions.csv", usecols=["fold", "file", "corpus"]).query("corpus == @name")
    for fold in sorted(set(table["fold"].astype(str))):
        recognizer = opened(run / "folds" / f"{fold.replace('/', '-')}.onnx")
        files = sorted(set(table.loc[table["fold"] == fold, "file"].astype(str)))
        for file in random.Random(0).sample(files, min(count, len(files))):
            yield recognizer, root / file.removeprefix(f"{name}/")


def clips(name: str, root: Path, count: int) -> list[Path]:
    """Choose clips of a corpus by chance, always the same."""
    paths = registry.load(name, root).paths()
    return random.Random(0).sample(paths, min(count, len(paths)))


def explained(recognizer: EmotionRecognizer, path: Path) -> tuple[Explanation, float] | None:
    """Explain the strongest segment; return the processor time for 3 s of sound too."""
    try:
        predictions = recognizer.timeline(str(path)).predictions
    except AudioError:
        return None
    if not predictions:
        return None
    begin = time.process_time()
    (one,) = explain(recognizer, str(path), predictions, ExplainOptions(moments=1))
    return one, (time.process_time() - begin) * 3 / (one.end - one.start)


def measured(judged: Iterable[tuple[EmotionRecognizer, Path]]) -> dict[str, Any]:
    """Explain clips, each with its model, and return means over them."""
    both = [one for recognizer, path in judged if (one := explained(recognizer, path))]
    found = [one for one, _ in both if one.faithfulness]
    return {
        "clips": len(found),
        **areas([one.faithfulness for one in found if one.faithfulness]),
        "trusted": round(float(np.mean([one.trusted for one in found])), 2),
        "alike": round(float(np.mean([one.alike for one in found])), 2),
        "seconds": round(float(np.median([cost for _, cost in both])), 2),
        "bands": areas([one.faithfulness_of_bands for one in found if one.faithfulness_of_bands]),
    }


def areas(found: list[Faithfulness]) -> dict[str, Any]:
    """Return mean areas, how far deletion lies below random orders, and how often it is told apart from them."""
    deletion, insertion, chance = np.array([(one.deletion, one.insertion, np.mean(one.random)) for one in found]).T
    draws = np.random.default_rng(0).integers(len(found), size=(2000, len(found)))
    below = 1 - deletion[draws].mean(axis=1) / chance[draws].mean(axis=1)
    return {
        "deletion": round(float(deletion.mean()), 3),
        "insertion": round(float(insertion.mean()), 3),
        "random": round(float(chance.mean()), 3),
        "below": round(float(1 - deletion.mean() / chance.mean()), 3),
        "interval": [round(float(edge), 3) for edge in np.percentile(below, [2.5, 97.5])],
        "better": round(float(np.mean([one.better for one in found])), 2),
    }


if __name__ == "__main__":
    main()
