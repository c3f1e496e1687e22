"""What a model says of ordinary speech, which is neutral or calm, alone and with the setting known.

    python benchmarks/everyday.py SOUNDS [--model MODEL]

SOUNDS is a folder with a folder for each voice, such as /usr/share/asterisk/sounds of Debian's packages
`asterisk-core-sounds-*-wav`: telephone prompts, one announcer each.  Of 200 prompts of a voice, drawn with seed 1, 50
are the setting, and 150 are judged.  Prints two shares for each voice: answers that are neutral, calm or "don't know",
and answers given that are angry, sad, fearful or disgust.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emovox import EmotionRecognizer, Prediction

CALM, HEAVY = ("neutral", "calm"), ("angry", "sad", "fearful", "disgust")
#: Prompts of a voice, and those of them that make the setting.
PROMPTS, SETTING = 200, 50


def shares(found: Iterable[object]) -> tuple[float, float, int]:
    """Return percent of neutral, calm or "don't know", percent of heavy answers given, and how many were judged."""
    judged = [one for one in found if isinstance(one, Prediction)]
    ordinary = [one.abstained or one.label in CALM for one in judged]
    heavy = [not one.abstained and one.label in HEAVY for one in judged]
    return 100 * float(np.mean(ordinary)), 100 * float(np.mean(heavy)), len(judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, metavar="SOUNDS")
    parser.add_argument("--model")
    given = parser.parse_args()
    voices = sorted({folder.resolve() for folder in given.sounds.iterdir() if folder.is_dir()})  # links name one again
    for voice in voices:
        files = sorted(voice.rglob("*.wav"))
        drawn = [files[one] for one in np.random.default_rng(1).permutation(len(files))[:PROMPTS]]
        # The speech gate leaves out what is no speech, such as tones and silences among the prompts.
        setting = EmotionRecognizer(given.model).adapt(voice.name, drawn[:SETTING], left_out=lambda _: None)
        for known, profile in (("alone", None), ("setting", setting)):
            recognizer = EmotionRecognizer(given.model, setting=profile)
            ordinary, heavy, count = shares(recognizer.predict_many(drawn[SETTING:]))
            print(f"{voice.name:24} {known:8} {ordinary:5.1f} % ordinary, {heavy:5.1f} % heavy, of {count}", flush=True)


if __name__ == "__main__":
    main()
