"""Robustness to noise, rooms, lines and codecs: UAR on speakers outside the training set, as `emovox predict` runs.

    emovox train RECIPE --corpus ravdess=DIR --keep-folds --out RUN
    python benchmarks/robustness.py RUN --corpus ravdess=DIR [--only "fold 1"] [--json robustness.json]

The model of each fold recognises the test clips of its fold, clean and distorted; distortions are applied before any
preprocessing.  Babble consists of six voices of other test speakers of the fold, which are unknown to the model too; if
a fold tests a single speaker, `--babble NAME=DIR` gives other voices.  The speech gate is off:
benchmarks/speech_gate.py measures it.  The key `robustness` of the JSON file is what a model card contains.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import ArrayLike

from emovox import audio
from emovox.errors import InputError
from emovox.lab.augmentation import distortions
from emovox.lab.augmentation.augment import babble, coloured_noise, mix
from emovox.lab.commands.options import named_folders
from emovox.lab.corpora import registry
from emovox.lab.evaluation import metrics
from emovox.model.file import Model, load
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.vad import GateOptions
from emovox.types import RATE, Float32Array, ordered

Rng = np.random.Generator
#: Function from a clip, voices of other speakers and a generator to the distorted clip.
Distort = Callable[[Float32Array, Sequence[Float32Array], Rng], Float32Array]

SNR, TALKERS = 10.0, 6
#: A small room: reverberation time in s, direct-to-reverberant ratio in dB (about 0.6 m from the mouth).
RT60, DRR = 0.4, 0.0
CLIPPED, SOFT = -12.0, -20.0


def noise(exponent: float) -> Distort:
    """Add noise with a power density of ``1 / f ** exponent``."""

    def distort(samples: Float32Array, _: Sequence[Float32Array], rng: Rng) -> Float32Array:
        hiss = coloured_noise(distortions.fast_length(len(samples)), rng, exponent)
        return mix(samples, hiss, SNR, rng)

    return distort


def talk(samples: Float32Array, voices: Sequence[Float32Array], rng: Rng) -> Float32Array:
    """Add babble."""
    chosen = rng.choice(len(voices), TALKERS, replace=len(voices) < TALKERS)
    return mix(samples, babble([voices[one] for one in chosen], len(samples), rng, TALKERS), SNR, rng)


def sent(line: Callable[[Float32Array], Float32Array]) -> Distort:
    """Apply a line at half of full scale, and restore the level."""

    def distort(samples: Float32Array, _: Sequence[Float32Array], rng: Rng) -> Float32Array:
        scale = 2 * np.abs(samples).max() or np.float32(1)
        return line(samples / scale) * scale

    return distort


CONDITIONS: dict[str, Distort] = {
    "clean": lambda samples, voices, rng: samples,
    f"white noise {SNR:g} dB": noise(0),
    f"pink noise {SNR:g} dB": noise(1),
    f"babble {SNR:g} dB": talk,
    "telephone": sent(distortions.telephone),
    "MP3 32 kbit/s": sent(lambda samples: distortions.codec(samples, "mp3")),
    "Opus 20 kbit/s": sent(lambda samples: distortions.codec(samples, "opus")),
    f"room, RT60 {RT60:g} s": lambda samples, voices, rng: distortions.reverberate(samples, RT60, DRR, rng),
    f"clipped at {CLIPPED:g} dB": lambda samples, voices, rng: distortions.clip(samples, CLIPPED),
    f"gain {SOFT:g} dB": lambda samples, voices, rng: distortions.gain(samples, SOFT),
}


@dataclass(frozen=True, eq=False)
class Fold:
    """A model, and clips of speakers outside its training set.

    Attributes
    ----------
    name : str
        Of the fold.
    model : Model
        Fitted without the fold.
    clips : DataFrame
        Columns ``path``, ``start``, ``end``, ``speaker``, ``label``, and ``predicted`` by the run itself.
    """

    name: str
    model: Model
    clips: pd.DataFrame


def measure(
    folds: Sequence[Fold],
    conditions: Mapping[str, Distort],
    *,
    voices: Sequence[Float32Array] = (),
    seed: int = 0,
    jobs: int = -1,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Recognise the clips of each fold under each condition.

    Parameters
    ----------
    folds : sequence of Fold
        Models with their test clips.
    conditions : mapping of str to callable
        How to distort.
    voices : sequence of ndarray of float32
        Speech for the babble; the default is that of the fold's other speakers.
    seed : int, default 0
        With one seed a clip has the same noise whichever model is measured.
    jobs : int, default -1
        Threads; -1 is one a core.
    progress : callable, optional
        Told one line a fold and condition.

    Returns
    -------
    DataFrame
        UAR in [0, 1], a row a fold and a column a condition.
    """
    rows: dict[str, dict[str, float]] = {}
    for fold in folds:
        recognizer = EmotionRecognizer(fold.model, gate=GateOptions(threshold=0))
        clips = [
            audio.read(path, start=start, end=None if np.isinf(end) else end).samples
            for path, start, end in zip(fold.clips["path"], fold.clips["start"], fold.clips["end"], strict=True)
        ]
        speakers, truth = (fold.clips[column].to_numpy(str) for column in ("speaker", "label"))
        others = [
            voices or [other for other, speaker in zip(clips, speakers, strict=True) if speaker != who]
            for who in speakers
        ]
        labels = ordered({*truth, *fold.model.card.labels})
        rows[fold.name] = {}
        for name, distort in conditions.items():
            # The noise of a clip depends on nothing but the seed, its place, its fold and the condition.
            key = [seed, zlib.crc32(fold.name.encode()), zlib.crc32(name.encode())]
            predicted = Parallel(n_jobs=jobs, prefer="threads")(
                delayed(recognise)(recognizer, distort, clip, others[place], np.random.default_rng([*key, place]))
                for place, clip in enumerate(clips)
            )
            rows[fold.name][name] = uar(truth, predicted, labels)
            progress(f"{fold.name}, {name}: UAR {100 * rows[fold.name][name]:.1f}")
    return pd.DataFrame.from_dict(rows, orient="index")


def recognise(
    recognizer: EmotionRecognizer, distort: Distort, clip: Float32Array, others: Sequence[Float32Array], rng: Rng
) -> str:
    """Distort a clip and recognise it."""
    return recognizer.predict(distort(clip, others, rng), rate=RATE).label


def uar(truth: ArrayLike, predicted: ArrayLike, labels: Sequence[str]) -> float:
    """Score labels."""
    return float(metrics.uar(metrics.confusion(truth, predicted, labels)))


def losses(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Return the mean ``uar`` over folds of each condition, its ``loss`` against clean, and the SD of the loss."""
    lost = -table.sub(table["clean"], axis=0)
    return {
        str(name): {
            "uar": float(table[name].mean()),
            "loss": float(lost[name].mean()),
            "sd_loss": float(lost[name].std(ddof=1)) if len(table) > 1 else None,
        }
        for name in table
    }


def read_folds(run: Path, models: Path, roots: Mapping[str, Path], only: Sequence[str] = ()) -> list[Fold]:
    """Return the models of the folds of a run, with the clips tested by its first seed."""
    source = run / "predictions.csv"
    if not source.is_file():
        raise InputError(f"no predictions.csv in {run}: give the folder of a finished run")
    words = dict.fromkeys(("fold", "file", "corpus", "speaker", "label", "predicted"), str)
    table = pd.read_csv(source, keep_default_na=False, dtype=words)
    table = table[table["seed"] == table["seed"].iloc[0]]
    if missing := sorted(set(table["corpus"]) - set(roots)):
        raise InputError(f"the run tests corpus {missing[0]!r}: say where it is with --corpus {missing[0]}=DIR")
    corpora = {name: registry.load(name, roots[name]) for name in table["corpus"].unique()}
    table["path"] = [
        corpora[corpus].path(file.removeprefix(f"{corpus}/"))
        for corpus, file in zip(table["corpus"], table["file"], strict=True)
    ]
    if unknown := sorted(set(only) - set(table["fold"])):
        raise InputError(f"the run has no fold {unknown[0]!r}: it has {', '.join(table['fold'].unique())}")
    return [
        Fold(str(name), load(models / f"{str(name).replace('/', '-')}.onnx"), clips)
        for name, clips in table.groupby("fold", sort=False)
        if not only or name in only
    ]


def read_voices(roots: Mapping[str, Path], count: int = 60) -> list[Float32Array]:
    """Read voices for the babble, evenly from each corpus."""
    paths = [registry.load(name, root).paths() for name, root in roots.items()]
    return [audio.read(path).samples for some in paths for path in some[:: max(1, len(some) // count)]]


def check_voices(folds: Sequence[Fold], voices: Sequence[Float32Array]) -> None:
    """Raise if a fold has no other speakers for babble."""
    for fold in folds:
        if not voices and fold.clips["speaker"].nunique() < 2:
            raise InputError(f"{fold.name} tests one speaker: bring voices for the babble with --babble NAME=DIR")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder that `emovox train --keep-folds` wrote")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--folds", type=Path, help="where the folds' models are (RUN/folds)")
    parser.add_argument("--only", action="append", default=[], metavar="FOLD", help="measure this fold; repeatable")
    parser.add_argument("--babble", action="append", default=[], metavar="NAME=DIR", help="voices from this corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    try:
        roots = named_folders(arguments.corpus)
        folds = read_folds(arguments.run, arguments.folds or arguments.run / "folds", roots, arguments.only)
        voices = read_voices(named_folders(arguments.babble))
        check_voices(folds, voices)
    except InputError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 2
    table = measure(
        folds,
        CONDITIONS,
        voices=voices,
        seed=arguments.seed,
        jobs=arguments.jobs,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    found = losses(table)
    said = [uar(one.clips["label"], one.clips["predicted"], one.model.card.labels) for one in folds]
    print(f"{len(folds)} folds, {sum(len(one.clips) for one in folds)} clips, seed {arguments.seed}; ", end="")
    print(f"by the run's own predictions the UAR is {100 * np.mean(said):.1f}\n")
    print("| condition | UAR | loss, points | ± over folds |\n|---|---|---|---|")
    for name, one in found.items():
        spread = "-" if one["sd_loss"] is None else f"{100 * one['sd_loss']:.1f}"
        print(f"| {name} | {100 * (one['uar'] or 0):.1f} | {100 * (one['loss'] or 0):.1f} | {spread} |")
    if arguments.json:
        by_fold = {str(name): row.to_dict() for name, row in table.iterrows()}
        result = {"robustness": found, "folds": by_fold, "seed": arguments.seed}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
