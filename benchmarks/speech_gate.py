"""Accuracy of the speech gate by kind of sound, and the fit of its constants.

    python benchmarks/speech_gate.py --corpora ../shared/corpora --packages material --json vad.json

`material` holds one folder for each Debian package named in gate_material.py, with its content (docs/vad.md says how).
Speech and other sound fall into two parts, by speaker, file, family of files or seed: `--fit` fits the constants in
the first and prints them, the table is made of the second.  One process, one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gate_material
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from emovox.speech import vad
from emovox.types import RATE

#: Fraction of the speech of the first part that the threshold accepts.
ACCEPTED = 0.995


@dataclass(frozen=True)
class Heard:
    """An item with the evidence that the gate computes."""

    speech: bool
    kind: str
    part: str
    name: str
    duration: float
    seconds: float
    probability: float
    measures: vad.Measures

    @property
    def right(self) -> bool:
        return (self.probability >= vad.GateOptions().threshold) == self.speech


def hear(items: Iterator[gate_material.Item]) -> Iterator[Heard]:
    """Compute the evidence of each item, without keeping the audio."""
    for item in items:
        begin = time.perf_counter()
        probability = vad.speech_probability(item.samples)
        seconds = time.perf_counter() - begin
        measures = vad.measure(item.samples)
        if measures is not None:
            duration = len(item.samples) / RATE
            yield Heard(item.speech, item.kind, item.part, item.name, duration, seconds, probability, measures)


def fit(heard: list[Heard]) -> tuple[vad.Measures, float, float]:
    """Fit weights, bias and threshold; kinds are weighted by the square root of their size, classes equally."""
    target = np.array([item.speech for item in heard])
    kinds = [item.kind for item in heard]
    share = np.array([1 / np.sqrt(kinds.count(kind)) for kind in kinds])
    scaler = StandardScaler().fit([item.measures for item in heard])
    features = scaler.transform([item.measures for item in heard])
    rule = LogisticRegression(C=1.0, class_weight="balanced").fit(features, target, sample_weight=share)
    weights = rule.coef_[0] / scaler.scale_
    bias = float(rule.intercept_[0] - weights @ scaler.mean_)
    odds = features @ rule.coef_[0] + rule.intercept_[0]
    lowest = float(np.quantile(odds[target], 1 - ACCEPTED))
    return vad.Measures(*weights.round(3).tolist()), round(bias, 3), 1 / (1 + np.exp(-lowest))


def rows(heard: list[Heard]) -> Iterator[tuple[str, int, int]]:
    """Return each kind with the number of correctly classified items, and of all."""
    for kind in dict.fromkeys(item.kind for item in heard):
        mine = [item.right for item in heard if item.kind == kind]
        yield kind, sum(mine), len(mine)


def silero_alone(heard: list[Heard]) -> float:
    """Return the rejection rate of other sound by Silero's mean log-odds, with a threshold chosen in the same way."""

    def voices(part: str, speech: bool) -> NDArray[np.float64]:
        return np.array([item.measures.voice for item in heard if (item.part, item.speech) == (part, speech)])

    lowest = np.quantile(voices("choose", True), 1 - ACCEPTED)
    return float(np.mean(voices("report", False) < lowest))


def tabulate(judged: list[Heard]) -> dict[str, dict[str, tuple[int, int]]]:
    """Print and return the table: title, kind, number of correctly classified items and of all."""
    table: dict[str, dict[str, tuple[int, int]]] = {}
    for speech, title in ((True, "speech, accepted"), (False, "other sound, refused")):
        mine = [item for item in judged if item.speech == speech]
        table[title] = {kind: (right, count) for kind, right, count in rows(mine)}
        table[title]["all"] = (sum(item.right for item in mine), len(mine))
        for kind, (right, count) in table[title].items():
            print(f"{title:22} {kind:36} {right:5} of {count:5}  {100 * right / count:6.2f} %")
    return table


def real_time_factors(judged: list[Heard]) -> dict[str, float]:
    """Return the median real-time factor."""
    return {
        title: round(float(np.median([i.seconds / i.duration for i in judged if i.speech == speech])), 4)
        for speech, title in ((True, "speech"), (False, "other sound"))
    }


def main() -> None:
    default = os.environ.get("EMOVOX_CORPORA", Path(__file__).resolve().parents[2] / "shared" / "corpora")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, default=Path(default), help="folder with ravdess/, tess/ and nemo/")
    parser.add_argument("--packages", type=Path, default=Path("material"), help="folder with unpacked packages")
    parser.add_argument("--json", type=Path, help="write the table there too")
    parser.add_argument("--fit", action="store_true", help="fit the constants of the gate and print them")
    parser.add_argument("--errors", action="store_true", help="name what is judged wrongly")
    options = parser.parse_args()

    for folder in (options.corpora / "ravdess", options.packages / gate_material.SAMPLES):
        if not folder.is_dir():
            parser.error(f"no folder {folder}: see docs/vad.md")
    heard = list(hear(gate_material.speech(options.corpora, options.packages)))
    heard += hear(gate_material.other_sound(options.packages))
    if options.fit:
        weights, bias, threshold = fit([item for item in heard if item.part == "choose"])
        print(f"{weights}\nbias {bias}, threshold {threshold:.3f}\n")

    judged = [item for item in heard if item.part == "report"]
    table = tabulate(judged)
    alone, factors = silero_alone(heard), real_time_factors(judged)
    print(f"\nrefused by Silero alone, where it accepts as much speech of the first part: {100 * alone:.2f} %")
    print("real-time factor on one thread, median:", factors)
    if options.errors:
        for item in (item for item in judged if not item.right):
            print(f"{item.kind}: {item.name}, {item.duration:.1f} s, probability {item.probability:.3f}")
    if options.json:
        found = {"table": table, "silero_alone_refused": alone, "real_time_factor": factors}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
