"""Throughput of a folder: all cores against one, in paired runs.

    python benchmarks/many.py ../shared/corpora/ravdess

Prints a Markdown row for each repetition, and the median of the ratios.  On a machine that does other work at the same
time the ratio says little: let it be idle.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path

from emovox import EmotionRecognizer
from emovox.recognition.analysis import AUDIO_SUFFIXES, cores


def seconds(recognizer: EmotionRecognizer, files: list[Path], jobs: int) -> float:
    """Analyse the files; return the time that it takes."""
    begin = time.perf_counter()
    for _ in recognizer.predict_many(files, jobs=jobs):
        pass
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=cores())
    given = parser.parse_args()
    files = sorted(path for path in given.folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    files = random.Random(0).sample(files, min(given.files, len(files)))
    recognizer = EmotionRecognizer()
    seconds(recognizer, files[:5], given.jobs)
    print(f"| files | one thread | {given.jobs} threads | ratio |\n|---|---|---|---|")
    ratios = []
    for _ in range(given.times):
        one, many = seconds(recognizer, files, 1), seconds(recognizer, files, given.jobs)
        ratios.append(one / many)
        print(f"| {len(files)} | {one:.2f} s | {many:.2f} s | {one / many:.2f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
