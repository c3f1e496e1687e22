"""Measure what is ordinary in neutral speech of many speakers: src/emovox/recognition/population.json.

::

    python scripts/population.py --corpora ../shared/corpora [--out FILE]

Of each speaker of the corpora that the built-in model is trained on, at most twelve neutral clips are measured.  For
each trait of :mod:`emovox.recognition.timeline` the file holds the mean over speakers of their means, the standard
deviation of those between speakers, and the mean standard deviation within a speaker.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from emovox import audio
from emovox.lab.corpora import registry
from emovox.recognition import timeline

HOME = Path(__file__).parents[1] / "src" / "emovox" / "recognition" / "population.json"
#: The corpora of the recipe `default`, and clips of a speaker that are measured at most.
CORPORA, CLIPS = ("ravdess", "tess", "nemo", "emodb"), 12


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help=f"folder that holds {', '.join(CORPORA)}")
    parser.add_argument("--out", type=Path, default=HOME)
    given = parser.parse_args()
    speakers = [one for name in CORPORA for one in measured(name, given.corpora / name)]
    means = np.array([one.mean(axis=0) for one in speakers])
    between, within = means.std(axis=0, ddof=1), np.mean([one.std(axis=0, ddof=1) for one in speakers], axis=0)
    columns = zip(timeline.KINDS, means.mean(axis=0), between, within, strict=True)
    found = {name: [round(float(value), 3) for value in values] for name, *values in columns}
    text = {"speakers": len(speakers), "clips": sum(map(len, speakers)), "corpora": CORPORA, "traits": found}
    given.out.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {given.out}: {len(speakers)} speakers, {text['clips']} clips")


def measured(name: str, root: Path) -> list[np.ndarray]:
    """Return the traits of each speaker's neutral clips, shape (n_clips, n_traits)."""
    corpus = registry.load(name, root)
    neutral = corpus.table[corpus.table["label"] == "neutral"]
    found = []
    for _, clips in neutral.groupby("speaker"):
        files = clips.index.get_level_values("file")[:CLIPS]
        rows = [list(timeline.measured(audio.read(corpus.path(file))).values()) for file in files]
        if len(rows) >= timeline.LEAST:
            found.append(np.array(rows))
    return found


if __name__ == "__main__":
    main()
