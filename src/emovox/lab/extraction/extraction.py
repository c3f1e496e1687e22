"""Features of many recordings at once, on all cores: as they are, and of augmented copies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from emovox import audio
from emovox.errors import EmovoxError
from emovox.features.sets import extract, weights_digest
from emovox.lab.augmentation.augment import Augmenter, AugmentOptions
from emovox.lab.extraction.cache import FeatureCache
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform

#: Clips a process takes at a time: some tenths of a second of work.
BATCH = 32

Stretch = tuple[Path, float, float]


def extract_many(
    stretches: Sequence[Stretch],
    spec: FeatureSpec,
    cache: FeatureCache,
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Float32Array | str]:
    """Compute the features of many stretches of recordings.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds; an infinite end is the recording's own.
    spec : FeatureSpec
        What to compute.
    cache : FeatureCache
        Where features are kept.
    jobs : int, default -1
        Processes; -1 is one a core.
    tell : callable, optional
        Called with ("features", done, total).

    Returns
    -------
    list of ndarray or str
        One entry a stretch: its features, or one line that says why it has none.

    Raises
    ------
    ModelError
        The pretrained weights that the features need cannot be found.
    """
    # Weights that cannot be had are one error, not one a clip; and those of the hub are fetched once, here.
    weights_digest(spec)
    batches = [stretches[begin : begin + BATCH] for begin in range(0, len(stretches), BATCH)]
    results: list[Float32Array | str] = []
    for batch in Parallel(n_jobs=jobs, return_as="generator")(delayed(_extract)(one, spec, cache) for one in batches):
        results += batch
        tell("features", len(results), len(stretches))
    return results


def extract_copies(
    stretches: Sequence[Stretch],
    groups: Sequence[str],
    spec: FeatureSpec,
    options: AugmentOptions,
    copies: int,
    seed: int,
    cache: FeatureCache,
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[list[Float32Array]]:
    """Compute the features of augmented copies of many stretches, all of which can be analysed.

    In one copy of a corpus all clips of a speaker have the same speed, so that the copy sounds like another speaker
    with a voice of her own; everything else is drawn for each clip.  The babble that is mixed in is made of the clip
    itself, backwards: no voice but the clip's own enters its features.

    Parameters
    ----------
    stretches, spec, cache, jobs, tell
        As for :func:`extract_many`; the stage is called "copies".
    groups : sequence of str
        Speaker of each stretch.
    options : AugmentOptions
        What is done to a copy.
    copies : int
        Copies of each stretch.
    seed : int
        Seed of the copies; a clip's copies depend on it, on the speaker and on the clip's file name only.

    Returns
    -------
    list of list of ndarray of float32
        For each stretch, the features of each copy.
    """
    tasks = list(zip(stretches, groups, strict=True))
    batches = [tasks[begin : begin + BATCH] for begin in range(0, len(tasks), BATCH)]
    rows: list[list[Float32Array]] = []
    work = (delayed(_copies)(one, spec, options, copies, seed, cache) for one in batches)
    for batch in Parallel(n_jobs=jobs, return_as="generator")(work):
        rows += batch
        tell("copies", len(rows), len(tasks))
    return rows


def _copies(
    batch: Sequence[tuple[Stretch, str]],
    spec: FeatureSpec,
    options: AugmentOptions,
    copies: int,
    seed: int,
    cache: FeatureCache,
) -> list[list[Float32Array]]:
    """Compute the copies of some stretches, in a worker process; one entry of the cache holds one copy."""
    results = []
    for (path, start, end), group in batch:
        keys = [cache.key(path, spec, start, end, dataclasses.asdict(options), n, seed, group) for n in range(copies)]
        stored = [cache.load(key) for key in keys]
        samples = None
        found: list[Float32Array] = []
        for number, (key, one) in enumerate(zip(keys, stored, strict=True)):
            if one is None:
                if samples is None:
                    samples = audio.read(path, start=start, end=None if np.isinf(end) else end).samples
                copy = augmented(samples, options, (seed, number), group, path.name)
                one = extract(Waveform(copy, 0.0), spec)
                cache.store(key, one)
            found.append(one)
        results.append(found)
    return results


def augmented(
    samples: Float32Array, options: AugmentOptions, draw: tuple[int, int], group: str, clip: str
) -> Float32Array:
    """Make one copy of a clip; `draw` is its seed and number.

    Examples
    --------
    >>> hiss = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 10
    >>> one, same = (augmented(hiss, AugmentOptions(), (0, 1), "ann", "a.wav") for _ in range(2))
    >>> bool(np.array_equal(one, same))
    True
    """
    voice = np.random.default_rng([*draw, _number(group)])
    speed = float(voice.uniform(*options.speed_range)) if voice.random() < options.speed else 1.0
    alike = dataclasses.replace(options, speed=1.0, speed_range=(speed, speed))
    chain = Augmenter(alike, voices=[np.ascontiguousarray(samples[::-1])])
    result = chain(samples, np.random.default_rng([*draw, _number(clip)]))
    # What a copy of a very short clip lacks is silence, as with the clip itself.
    lack = max(0, int(audio.MIN_DURATION * RATE) - len(result))
    return np.pad(result, (0, lack)) if lack else result


def _number(text: str) -> int:
    """Turn a name into a seed that is the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _extract(batch: Sequence[Stretch], spec: FeatureSpec, cache: FeatureCache) -> list[Float32Array | str]:
    """Compute the features of some stretches, in a worker process; a failure is a result too."""
    results: list[Float32Array | str] = []
    for path, start, end in batch:
        try:
            results.append(cache.features(path, spec, start, end))
        except EmovoxError as error:
            results.append(str(error))
    return results
