"""A small labelled corpus of synthetic voices, to learn and to try training with: nobody speaks in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from emovox.recognition.fakes import synthetic_voice
from emovox.storage import creating_folder
from emovox.types import RATE, Float32Array

#: Length of a clip in seconds, and clips of each speaker and emotion.
DURATION, TAKES = 1.6, 3

_ABOUT = """\
Synthetic voices, made by `emovox data sample`. Nobody speaks here: harmonics under the formants of an open vowel,
whose pitch, pauses, loudness and brightness follow what the literature reports of angry, happy, neutral and sad
speech. They are there to try training with. A model that is trained on them knows nothing of people.

recordings.csv  the manifest: file, label, speaker, sex
recipe.toml     a recipe for it: emovox train recipe.toml --corpus practice=recordings.csv
new/            clips of a speaker who is not in the manifest, named by what they are meant to be

Free of rights: CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/
"""

_RECIPE = """\
name = "practice"
description = "Support vector machine on prosody, synthetic voices"

[corpora.practice]

[features]
set = "prosodic"

[model]
family = "svm"

# Three groups of speakers, each tested by a model that was trained on the others.
[protocol]
name = "speaker-3"
"""


class Manner(NamedTuple):
    """How an emotion changes a voice, as factors of what is ordinary for the speaker.

    Attributes
    ----------
    pitch, pause, level : float
        Mean fundamental frequency, length of pauses, root mean square.
    brightness : float
        How much of the sample before is taken away from each, in [-1, 1]: above 0 high frequencies gain, below 0 they
        lose.
    """

    pitch: float
    pause: float
    level: float
    brightness: float


#: Directions after Juslin and Laukka 2003, Communication of emotions in vocal expression and music performance.
MANNERS = {
    "angry": Manner(1.2, 0.5, 1.0, 0.7),
    "happy": Manner(1.35, 0.8, 0.7, 0.3),
    "neutral": Manner(1.0, 1.0, 0.5, 0.0),
    "sad": Manner(0.9, 2.0, 0.3, -0.5),
}
#: Ordinary pitch in Hz and sex of the speakers; the last one is the stranger.
SPEAKERS = ((105.0, "m"), (205.0, "f"), (125.0, "m"), (185.0, "f"), (115.0, "m"), (225.0, "f"), (140.0, "m"))


def clip(label: str, speaker: int, take: int, seed: int = 0) -> Float32Array:
    """Make one clip.

    Parameters
    ----------
    label : str
        One of :data:`MANNERS`.
    speaker : int
        Index into :data:`SPEAKERS`.
    take : int
        Number of the clip among those of the speaker and the label.
    seed : int, default 0
        Which corpus it is.

    Returns
    -------
    ndarray of float32, shape (25600,)
        1.6 s at 16 kHz.

    Examples
    --------
    >>> float(np.abs(clip("angry", 0, 0)).max()) > 2 * float(np.abs(clip("sad", 0, 0)).max())
    True
    """
    rng = np.random.default_rng((seed, speaker, list(MANNERS).index(label), take))
    manner, (pitch, _) = MANNERS[label], SPEAKERS[speaker]

    def about(value: float, spread: float) -> float:
        return float(value * np.exp(spread * rng.standard_normal()))

    sound = synthetic_voice(
        DURATION,
        pitch=min(480.0, about(pitch * manner.pitch, 0.08)),
        pause=about(0.12 * manner.pause, 0.3),
        seed=int(rng.integers(2**32)),
    )
    weight = np.float32(np.clip(manner.brightness + 0.15 * rng.standard_normal(), -0.9, 0.9))
    sound[1:] = sound[1:] - weight * sound[:-1]
    loud = about(manner.level, 0.2) * 0.15 / float(np.sqrt(np.mean(np.square(sound))))
    return np.asarray(np.clip(sound * np.float32(loud), -1, 1), dtype=np.float32)


def write(folder: Path, seed: int = 0, made: Callable[[], None] = lambda: None) -> int:
    """Write the corpus with manifest, recipe and a stranger's clips.

    Parameters
    ----------
    folder : Path
        A folder that does not exist yet.
    seed : int, default 0
        Another one gives other clips of the same speakers.
    made : callable, optional
        Called after each clip.

    Returns
    -------
    int
        Number of clips in the manifest.

    Raises
    ------
    InputError
        The folder exists, or cannot be written.
    """
    *known, _ = range(len(SPEAKERS))
    lines = ["file,label,speaker,sex"]
    with creating_folder(folder) as part:
        for speaker in range(len(SPEAKERS)):
            for label in MANNERS:
                for take in range(TAKES if speaker in known else 1):
                    name = f"speaker{speaker + 1}/{label}-{take + 1}.flac" if speaker in known else f"new/{label}.flac"
                    (part / name).parent.mkdir(exist_ok=True)
                    soundfile.write(part / name, clip(label, speaker, take, seed), RATE, subtype="PCM_16")
                    if speaker in known:
                        lines.append(f"{name},{label},speaker{speaker + 1},{SPEAKERS[speaker][1]}")
                    made()
        (part / "recordings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (part / "recipe.toml").write_text(_RECIPE, encoding="utf-8")
        (part / "README.txt").write_text(_ABOUT, encoding="utf-8")
    return len(lines) - 1
