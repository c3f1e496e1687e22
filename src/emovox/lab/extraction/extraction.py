"""Parallel extraction of features of many recordings, and of augmented copies."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from emovox import audio
from emovox.errors import EmovoxError
from emovox.features.sets import extract, weights_digest
from emovox.lab.augmentation.augment import Augmenter, AugmentOptions, microphone
from emovox.lab.extraction.cache import FeatureCache
from emovox.types import RATE, FeatureSpec, Float32Array, Waveform

#: Clips per task of a worker process: some tenths of a second of work.
BATCH = 32

#: No distortion.
SILENT = microphone(AugmentOptions(tilt=0.0, band=0.0, telephone=0.0))

Stretch = tuple[Path, float, float]


def extract_many(
    stretches: Sequence[Stretch],
    spec: FeatureSpec,
    cache: FeatureCache,
    jobs: int = -1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Float32Array | str]:
    """Compute the features of many recordings or parts of them.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds; an infinite end is the end of the recording.
    spec : FeatureSpec
        Features to compute.
    cache : FeatureCache
        Feature cache.
    jobs : int, default -1
        Number of processes; -1 is one per core.
    progress : callable, optional
        Progress callback, called with ("features", done, total).

    Returns
    -------
    list of ndarray or str
        For each part its features, or one line with the reason why it has none.

    Raises
    ------
    ModelError
        The pretrained weights are not found.
    """
    # Missing weights are one error instead of one per clip; and weights on the hub are fetched once, here.
    weights_digest(spec)
    results: dict[int, Float32Array | str] = {}
    batches = by_file(stretches, jobs)
    work = (delayed(_extract)([stretches[one] for one in batch], spec, cache) for batch in batches)
    for batch, found in zip(batches, Parallel(n_jobs=jobs, return_as="generator")(work), strict=True):
        results.update(zip(batch, found, strict=True))
        progress("features", len(results), len(stretches))
    return [results[number] for number in range(len(stretches))]


def by_file(stretches: Sequence[Stretch], jobs: int = 1) -> list[list[int]]:
    """Divide stretches into batches for processes, so that each file is decoded as seldom as possible.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds.
    jobs : int, default 1
        Processes; -1 is one a core.

    Returns
    -------
    list of list of int
        Positions in `stretches`, file by file and by time.  The stretches of a file are in one batch, or, of a file
        with many, in one for each process.

    Examples
    --------
    >>> long, short = Path("long.flac"), Path("short.flac")
    >>> by_file([(long, 5, 9), (short, 0, 2), (long, 1, 4)])
    [[2, 0, 1]]
    """
    order = sorted(range(len(stretches)), key=lambda one: (str(stretches[one][0]), *stretches[one][1:]))
    batches: list[list[int]] = [[]]
    for _, group in itertools.groupby(order, key=lambda one: stretches[one][0]):
        file = list(group)
        if len(file) <= BATCH:
            if len(batches[-1]) + len(file) > BATCH:
                batches.append([])
            batches[-1] += file
            continue
        size = max(BATCH, -(-len(file) // effective_n_jobs(jobs)))
        batches += [file[begin : begin + size] for begin in range(0, len(file), size)]
        batches.append([])
    return [batch for batch in batches if batch]


def extract_copies(
    stretches: Sequence[Stretch],
    groups: Sequence[str],
    spec: FeatureSpec,
    options: AugmentOptions,
    copies: int,
    seed: int,
    cache: FeatureCache,
    jobs: int = -1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[list[Float32Array]]:
    """Compute the features of augmented copies of many recordings or parts of them.

    In one copy of a corpus all clips of a speaker have the same speed change, so that the copy sounds like another
    speaker, and all clips of a virtual setting the same microphone; all other distortions are drawn for each clip.
    Babble is made from the reversed clip itself, so that no other voice enters its features.

    Parameters
    ----------
    stretches, spec, cache, jobs, progress
        As for :func:`extract_many`; the stage of the progress callback is "copies".
    groups : sequence of str
        Speaker of each part.
    options : AugmentOptions
        Options of augmentation.
    copies : int
        Number of copies of each part.
    seed : int
        Seed; the copies of a clip depend on it, on the speaker and on the file name only.

    Returns
    -------
    list of list of ndarray of float32
        For each part, the features of each copy.
    """
    tasks = list(zip(stretches, groups, strict=True))
    rows: dict[int, list[Float32Array]] = {}
    batches = by_file(stretches, jobs)
    work = (delayed(_copies)([tasks[one] for one in batch], spec, options, copies, seed, cache) for batch in batches)
    for batch, found in zip(batches, Parallel(n_jobs=jobs, return_as="generator")(work), strict=True):
        rows.update(zip(batch, found, strict=True))
        progress("copies", len(rows), len(tasks))
    return [rows[number] for number in range(len(tasks))]


def _copies(
    batch: Sequence[tuple[Stretch, str]],
    spec: FeatureSpec,
    options: AugmentOptions,
    copies: int,
    seed: int,
    cache: FeatureCache,
) -> list[list[Float32Array]]:
    """Compute the copies of some parts in a worker process; each copy is one entry of the cache."""
    keys, results = [], []
    for (path, start, end), group in batch:
        own = [cache.key(path, spec, start, end, dataclasses.asdict(options), n, seed, group) for n in range(copies)]
        keys.append(own)
        results.append([cache.load(key) for key in own])
    missing = [one for one, found in enumerate(results) if any(copy is None for copy in found)]
    for path, same in itertools.groupby(missing, key=lambda one: batch[one][0][0]):
        numbers = list(same)
        for one, sound in audio.stretches(path, [batch[number][0][1:] for number in numbers]):
            if isinstance(sound, EmovoxError):
                raise sound
            row, group = numbers[one], batch[numbers[one]][1]
            for copy in (copy for copy, found in enumerate(results[row]) if found is None):
                samples = augmented(sound.samples, options, (seed, copy), group, path.name)
                results[row][copy] = computed = extract(Waveform(samples, 0.0), spec)
                cache.store(keys[row][copy], computed)
    return [[copy for copy in found if copy is not None] for found in results]


def augmented(
    samples: Float32Array, options: AugmentOptions, draw: tuple[int, int], group: str, clip: str
) -> Float32Array:
    """Return an augmented copy of a clip; `draw` is the seed and the number of the copy.

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
    own = dataclasses.replace(alike, tilt=0.0, band=0.0, telephone=0.0, crop=0.0) if options.settings else alike
    rng = np.random.default_rng([*draw, _number(clip)])
    result = Augmenter(own, voices=[np.ascontiguousarray(samples[::-1])])(samples, rng)
    if options.settings:
        setting = virtual_setting(options, draw, group)
        result = Augmenter(microphone(options))(result, np.random.default_rng([*draw, _number(setting)]))
        result = Augmenter(dataclasses.replace(SILENT, crop=options.crop, crop_range=options.crop_range))(result, rng)
    # A copy of a very short clip is padded with zeros, like the clip itself.
    lack = max(0, int(audio.MIN_DURATION * RATE) - len(result))
    return np.pad(result, (0, lack)) if lack else result


def virtual_setting(options: AugmentOptions, draw: tuple[int, int], group: str) -> str:
    """Return the setting of a speaker in an augmented copy: the corpus, and which of its virtual settings.

    Examples
    --------
    >>> virtual_setting(AugmentOptions(settings=1), (0, 1), "ravdess/03")
    'ravdess/0'
    """
    corpus = group.partition("/")[0]
    number = np.random.default_rng([*draw, _number(f"setting of {group}")]).integers(options.settings or 1)
    return f"{corpus}/{number}"


def _number(text: str) -> int:
    """Convert a name to a seed, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _extract(batch: Sequence[Stretch], spec: FeatureSpec, cache: FeatureCache) -> list[Float32Array | str]:
    """Compute the features of some parts in a worker process; errors are returned as text."""
    results: list[Float32Array | str] = []
    for path, same in itertools.groupby(batch, key=lambda one: one[0]):
        found = cache.features_of(path, spec, [(start, end) for _, start, end in same])
        results += [str(one) if isinstance(one, EmovoxError) else one for one in found]
    return results
