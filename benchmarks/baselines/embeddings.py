"""Embeddings of a balanced subset of all corpora, clean and altered, from the built-in model's own graph.

    PYTHONPATH=benchmarks python -m baselines.embeddings --corpora DIR [--prompts DIR] --out EMB KIND...

`DIR` holds the folders ravdess, tess, nemo, emodb, ased, emospeech-in and librispeech-1; a missing one is left out.
`--prompts` is the folder of Asterisk's core sounds (a folder for each voice).  In `EMB`: `table.csv` without a header,
its columns corpus, speaker, label, path, label in the corpus; for each kind `KIND.npy` (float16, a row a clip, NaN: not
computed) and `KIND.dur.npy` (seconds heard).  A run that was interrupted goes on where it stopped.

Kinds: `clean`; `augN` (speed by speaker, distortions of the recipe `default`, one microphone for each of three virtual
settings a corpus, random crops; N numbers the draw); `crop` and `half` (the middle 1 s and 0.5 s); `tilt+` and `tilt-`
(3 dB an octave); `phone` (300 to 3400 Hz).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emovox import audio
from emovox.audio.preprocess import trim_silence
from emovox.errors import EmovoxError
from emovox.features import sets
from emovox.lab.augmentation import distortions
from emovox.lab.augmentation.augment import Augmenter, AugmentOptions
from emovox.lab.experiments import recipe
from emovox.model.file import Model, load
from emovox.types import RATE, Float32Array, Waveform

#: Labels of all corpora that are one of the four classes.
FOUR = {"angry": "angry", "happy": "happy", "neutral": "neutral", "calm": "neutral", "sad": "sad"}
#: Kinds with half of the clips of the large corpora, and those with half of that again.
HALF, QUARTER = ("crop", "half", "tilt+", "tilt-", "phone"), ("tilt+", "tilt-", "phone")
SHORTEST = int(0.3 * RATE)


@dataclass(frozen=True)
class Source:
    """Where a corpus lies, how its names are read, and how much of it is taken.

    Attributes
    ----------
    name : str
        Name in the table.
    files : str
        Pattern of the recordings below the folder of corpora.
    read : callable
        Takes a path, returns speaker and label.
    most : int
        Clips of a speaker and emotion; where the corpus has no emotions, of a speaker.
    total : int
        Clips in all; 0: no limit.
    """

    name: str
    files: str
    read: Callable[[Path], tuple[str, str]]
    most: int
    total: int = 0


_RAVDESS = dict(zip(("01", "02", "03", "04", "05"), ("neutral", "calm", "happy", "sad", "angry"), strict=True))
_NEMO = {"anger": "angry", "happiness": "happy", "sadness": "sad"}
_EMODB = {"W": "angry", "F": "happy", "T": "sad", "N": "neutral"}


def _dashes(path: Path) -> list[str]:
    return path.stem.split("-")


SOURCES = (
    Source("ravdess", "ravdess/*/*.flac", lambda p: (_dashes(p)[6], _RAVDESS.get(_dashes(p)[2], "other")), 5),
    Source("tess", "tess/*/*.ogg", lambda p: (p.parent.name.split("_")[0], p.parent.name.split("_", 1)[1].lower()), 50),
    Source(
        "nemo",
        "nemo/samples/*.ogg",
        lambda p: (p.stem.split("_")[0], _NEMO.get(p.stem.split("_")[1], p.stem.split("_")[1])),
        14,
    ),
    Source("emodb", "emodb/wav/*.ogg", lambda p: (p.stem[:2], _EMODB.get(p.stem[5], "other")), 99),
    Source("ased", "ased/*/*.ogg", lambda p: (_dashes(p)[-1], p.parent.name[2:].lower()), 3),
    Source("emospeech", "emospeech-in/*/*.ogg", lambda p: (_dashes(p)[-1], _dashes(p)[2].lower()), 2),
    Source("libri", "librispeech-1/*/*.ogg", lambda p: (_dashes(p)[0], "read"), 1, 140),
)
PROMPTS = Source("prompts", "*/**/*.wav", lambda p: ("", "prompt"), 80)
#: The order in which embeddings are computed.
ORDER = ("ased", "emodb", "nemo", "ravdess", "tess", "prompts", "emospeech", "libri")
EMOTIONLESS = ("libri", "prompts")

Row = tuple[str, str, str, str, str]


def table(corpora: Path, prompts: Path | None, seed: int = 1) -> list[Row]:
    """Choose clips at random, as many of each emotion and speaker.

    Returns
    -------
    list of tuple of str
        Corpus, speaker, one of the four classes (or ``"read"``, ``"prompt"``), path, label in the corpus.
    """
    rows: list[tuple[Source, str, str, Path]] = []
    for source in SOURCES:
        rows += [(source, *source.read(path), path) for path in sorted(corpora.glob(source.files))]
    if prompts is not None:
        found = sorted(prompts.glob("??_??_?_*/**/*.wav"))
        rows += [(PROMPTS, path.relative_to(prompts).parts[0], "prompt", path) for path in found]
    seen: Counter[tuple[str, ...]] = Counter()
    kept: list[Row] = []
    for index in np.random.default_rng(seed).permutation(len(rows)):
        source, speaker, label, path = rows[index]
        plain = source.name in EMOTIONLESS
        if not plain and label not in FOUR:
            continue
        key = (source.name, speaker) if plain else (source.name, speaker, FOUR[label])
        if seen[key] >= source.most or (source.total and seen[(source.name,)] >= source.total):
            continue
        seen.update([key, (source.name,)])
        kept.append((source.name, speaker, FOUR.get(label, label), str(path), label))
    return sorted(kept, key=lambda row: ORDER.index(row[0]))


def number(text: str) -> int:
    """Turn a name into a seed."""
    return zlib.crc32(text.encode())


def tilt(samples: Float32Array, decibels: float) -> Float32Array:
    """Tilt the spectrum by so many dB an octave around 1 kHz."""
    frequency = np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 50)
    spectrum = np.fft.rfft(samples) * 10 ** (decibels * np.log2(frequency / 1000) / 20)
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def telephone_band(samples: Float32Array) -> Float32Array:
    """Keep 300 to 3400 Hz, the rest 60 dB lower."""
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum = np.fft.rfft(samples)
    spectrum[(frequency < 300) | (frequency > 3400)] *= 1e-3
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def middle(samples: Float32Array, length: int) -> Float32Array:
    """Cut silence off the ends and keep the middle."""
    samples = trim_silence(samples, 30.0, 0.1)[0]
    begin = max(len(samples) - length, 0) // 2
    return samples[begin : begin + length]


def virtual_setting(corpus: str, speaker: str, draw: int) -> tuple[int, float]:
    """Return which of a corpus's three virtual settings a speaker is in, and the factor of the speaker's speed."""
    rng = np.random.default_rng([number(corpus + speaker), draw])
    speed = rng.uniform(0.82, 1.22) if rng.random() < 0.85 else 1.0
    return int(rng.integers(3)), speed


def microphone(samples: Float32Array, setting: str, draw: int) -> Float32Array:
    """Apply the microphone and line of a virtual setting, the same to all its clips."""
    rng = np.random.default_rng([number(setting), draw])
    if rng.random() < 0.7:
        samples = tilt(samples, rng.uniform(-4, 4))
    kind = rng.random()
    if kind < 0.25:
        return distortions.telephone(samples / np.float32(2 * np.abs(samples).max() + 1e-9))
    if kind < 0.5:
        return distortions.band_limit(samples, rng.uniform(50, 300), rng.uniform(3000, 7500))
    return samples


def augmented(samples: Float32Array, row: Sequence[str], draw: int, options: AugmentOptions) -> Float32Array:
    """Apply a virtual setting and voice, the recipe's distortions and, to half of the clips, a crop of 0.5 to 2.5 s."""
    corpus, speaker, _, path = row[:4]
    rng = np.random.default_rng(number(f"aug{draw}{Path(path).name}"))
    setting, speed = virtual_setting(corpus, speaker, draw)
    options = dataclasses.replace(options, speed=1.0, speed_range=(speed, speed), band=0.0, telephone=0.0)
    samples = Augmenter(options, voices=[np.ascontiguousarray(samples[::-1])])(samples, rng)
    samples = trim_silence(microphone(samples, f"{corpus}{setting}", draw), 30.0, 0.1)[0]
    if rng.random() < 0.5 and len(samples) > 0.6 * RATE:
        length = int(np.exp(rng.uniform(np.log(0.5 * RATE), np.log(min(len(samples), 2.5 * RATE)))))
        begin = rng.integers(0, len(samples) - length + 1)
        samples = samples[begin : begin + length]
    return samples


def altered(samples: Float32Array, kind: str, row: Sequence[str], options: AugmentOptions) -> Float32Array:
    """Return a clip as a kind of copy has it."""
    if kind.startswith("aug"):
        return augmented(samples, row, int(kind[3:]), options)
    if kind in ("crop", "half"):
        return middle(samples, RATE if kind == "crop" else RATE // 2)
    if kind == "phone":
        return telephone_band(samples)
    return tilt(samples, 3.0 if kind == "tilt+" else -3.0) if kind != "clean" else samples


def wanted(kind: str, corpus: str, index: int) -> bool:
    """Say whether a clip has a copy of a kind: read speech and prompts have none, some kinds a part of the clips."""
    if kind != "clean" and corpus in (*EMOTIONLESS, "emospeech"):
        return False
    if kind in HALF and corpus != "emodb" and index % 2:
        return False
    return not (kind in QUARTER and index % 4)


def embed(model: Model, rows: Sequence[Sequence[str]], kind: str, out: Path, options: AugmentOptions) -> None:
    """Compute what is missing of one kind."""
    file, durations = out / f"{kind}.npy", out / f"{kind}.dur.npy"
    if file.exists():
        embeddings, seconds = np.load(file, mmap_mode="r+"), np.load(durations, mmap_mode="r+")
    else:
        shape = (len(rows), model.embedding_width)
        embeddings = np.lib.format.open_memmap(file, "w+", np.float16, shape)
        embeddings[:] = np.nan
        seconds = np.lib.format.open_memmap(durations, "w+", np.float32, (len(rows),))
    for index, row in enumerate(rows):
        if not wanted(kind, row[0], index) or np.isfinite(embeddings[index, 0]):
            continue
        try:
            heard = audio.read(row[3], end=8.0 if kind == "clean" else 5.0).samples
            samples = np.ascontiguousarray(altered(heard, kind, row, options), dtype=np.float32)
            samples = np.pad(samples, (0, max(SHORTEST - len(samples), 0)))
            cleaned = sets.extract(Waveform(samples), model.card.features)
            embedding = model.run(cleaned[None]).embedding
        except EmovoxError as error:
            print(kind, row[3], error, flush=True)
            continue
        assert embedding is not None, "the built-in model gives an embedding"
        embeddings[index], seconds[index] = embedding[0], len(cleaned) / RATE
    embeddings.flush()
    seconds.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--corpora", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--prompts", type=Path, help="folder of Asterisk's core sounds")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    place = given.out / "table.csv"
    if not place.exists():
        with place.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table(given.corpora, given.prompts))
    with place.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    model, options = load(), recipe.load("default").augment.options
    for kind in given.kinds:
        embed(model, rows, kind, given.out, options)
        print(kind, "done", flush=True)


if __name__ == "__main__":
    main()
