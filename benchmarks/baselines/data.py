"""Embeddings of the subset in memory, as tables for training, and their principal components."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.embeddings import virtual_setting
from emovox.types import Float32Array

CLASSES = ("angry", "happy", "neutral", "sad")
NEUTRAL = CLASSES.index("neutral")
#: Corpora that are left out in turn, and those of them that the project's goals name.
ACTED = ("ravdess", "tess", "nemo", "emodb", "ased")
THREE = ("ravdess", "tess", "nemo")
#: Columns of the smaller encoder, Whisper tiny.en, in the built-in model's embedding.
TINY = slice(0, 2304)

Names = NDArray[np.str_]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


class Embeddings:
    """The subset's embeddings.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of sound to train on.
    corpus, speaker : ndarray of str, shape (n,)
        Of each clip; speakers as ``corpus/speaker``.
    label : ndarray of int, shape (n,)
        Index in `CLASSES`; -1 for read speech and prompts.
    values : dict of str to ndarray of float32, shape (n, d)
        Embeddings by kind of sound.
    present : dict of str to ndarray of bool, shape (n,)
        Clips that have an embedding of this kind.
    duration : dict of str to ndarray of float32, shape (n,)
        Seconds heard.
    """

    def __init__(
        self, folder: Path, kinds: Sequence[str] = ("clean",), tests: Sequence[str] = (), *, one_encoder: bool = False
    ) -> None:
        with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self.kinds = tuple(kinds)
        self.corpus = np.array([row[0] for row in rows])
        self.speaker = np.array([f"{row[0]}/{row[1]}" for row in rows])
        self.label = np.array([CLASSES.index(row[2]) if row[2] in CLASSES else -1 for row in rows])
        self.values: dict[str, Float32Array] = {}
        self.present: dict[str, Flags] = {}
        self.duration: dict[str, Float32Array] = {}
        for kind in dict.fromkeys((*kinds, *tests)):
            stored = np.load(folder / f"{kind}.npy", mmap_mode="r")
            self.values[kind] = np.asarray(stored[:, TINY] if one_encoder else stored, dtype=np.float32)
            self.present[kind] = np.asarray(np.isfinite(self.values[kind]).all(axis=1), dtype=np.bool_)
            self.duration[kind] = np.load(folder / f"{kind}.dur.npy")

    def labelled(self, kind: str, corpora: Sequence[str]) -> Flags:
        """Return which clips of some corpora have a label and an embedding."""
        return self.present[kind] & (self.label >= 0) & np.isin(self.corpus, list(corpora))


@dataclass
class Table:
    """Training clips, all copies one below the other.

    Attributes
    ----------
    embedding : ndarray of float32, shape (n, d)
    label : ndarray of int, shape (n,)
    corpus, speaker, setting : ndarray of str, shape (n,)
        A copy is another speaker in another setting: its speed and microphone differ.
    duration : ndarray of float32, shape (n,)
        Seconds.
    """

    embedding: Float32Array
    label: Integers
    corpus: Names
    speaker: Names
    setting: Names
    duration: Float32Array


def flat(data: Embeddings, corpora: Sequence[str]) -> Table:
    """Lay all copies of some corpora one below the other."""
    parts: list[tuple[Any, ...]] = []
    for kind in data.kinds:
        chosen = data.labelled(kind, corpora)
        corpus, speaker = data.corpus[chosen], data.speaker[chosen]
        copies = np.array([f"{name}|{kind}" for name in speaker])
        settings = np.array([f"{c}|{kind}|{_part(c, s, kind)}" for c, s in zip(corpus, speaker, strict=True)])
        duration = data.duration[kind][chosen]
        parts.append((data.values[kind][chosen], data.label[chosen], corpus, copies, settings, duration))
    return Table(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _part(corpus: str, speaker: str, kind: str) -> int:
    return virtual_setting(corpus, speaker.split("/", 1)[1], int(kind[3:]))[0] if kind.startswith("aug") else 0


def balance(label: Integers, corpus: Names, speaker: Names, most: float = 6.0) -> Float32Array:
    """Weigh clips so that corpora count alike, within them speakers, within those emotions; mean about 1."""
    weight = np.zeros(len(label))
    person = np.array([name.split("|")[0] for name in speaker])
    corpora = np.unique(corpus)
    for one in corpora:
        people = np.unique(person[corpus == one])
        for who in people:
            emotions = np.unique(label[person == who])
            for emotion in emotions:
                rows = (person == who) & (label == emotion)
                weight[rows] = 1 / len(corpora) / len(people) / len(emotions) / rows.sum()
    return np.minimum(weight * len(label), most).astype(np.float32)


@dataclass(frozen=True)
class Components:
    """Principal components within settings, scaled by the strongest.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (d,)
        Mean of the settings' means; standard deviation within settings.
    directions : ndarray of float32, shape (d, p)
    """

    mean: Float32Array
    deviation: Float32Array
    directions: Float32Array

    def project(self, embedding: Float32Array) -> Float32Array:
        """Project embeddings, shape (n, d), to (n, p)."""
        return np.asarray((embedding - self.mean) / self.deviation @ self.directions, dtype=np.float32)


def components(data: Embeddings, corpora: Sequence[str], size: int) -> Components:
    """Fit principal components to the clips of some corpora, each kind of sound of each centred on itself."""
    most = 300 if len(data.kinds) > 1 else 500
    chosen, means = [], []
    for kind in data.kinds:
        for corpus in corpora:
            rows = data.labelled(kind, [corpus])
            if rows.sum() < 20:
                continue
            found = data.values[kind][rows]
            means.append(found.mean(0))
            chosen.append(found[np.random.default_rng(0).permutation(len(found))[:most]] - means[-1])
    centred = np.concatenate(chosen)
    deviation = centred.std(0) + 1e-4
    torch.manual_seed(0)
    _, singular, directions = torch.svd_lowrank(torch.from_numpy(centred / deviation), q=size + 16, niter=2)
    scale = np.sqrt((singular[0] ** 2 / len(centred)).numpy())
    return Components(np.mean(means, 0), deviation, directions[:, :size].numpy() / scale)
