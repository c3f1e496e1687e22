"""Speed of the feature sets compared with librosa and openSMILE, and agreement with librosa.

    python benchmarks/features.py --corpora ../shared/corpora --clips 200

One process, one thread, recordings decoded beforehand, extractors alternating on each clip.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from emovox.features import sets, spectral
from emovox.features.spectral import Analysis
from emovox.types import RATE, Float32Array

Extractor = Callable[[Float32Array], object]


def ours(name: str) -> Extractor:
    """Compute a feature set of emovox with its defaults."""
    chosen = sets.get(name)
    return chosen.compute


def published(samples: Float32Array) -> NDArray[np.float32]:
    """Compute the 193 features as published recipes do."""
    return classic_librosa(
        samples, lambda chroma: librosa.feature.tonnetz(y=librosa.effects.harmonic(samples), sr=RATE)
    )


def like_for_like(samples: Float32Array) -> NDArray[np.float32]:
    """Compute exactly the 193 features of ``classic193`` with librosa."""
    return classic_librosa(samples, lambda chroma: librosa.feature.tonnetz(chroma=chroma))


def classic_librosa(samples: Float32Array, tonnetz: Callable[[Float32Array], Float32Array]) -> NDArray[np.float32]:
    magnitude = np.abs(librosa.stft(samples))
    chroma = librosa.feature.chroma_stft(S=magnitude, sr=RATE)
    rows = (
        librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=40),
        chroma,
        librosa.feature.melspectrogram(y=samples, sr=RATE),
        librosa.feature.spectral_contrast(S=magnitude, sr=RATE),
        tonnetz(chroma),
    )
    return np.concatenate([row.mean(axis=1) for row in rows])


def egemaps() -> Extractor:
    """Compute the functionals of eGeMAPSv02 with openSMILE."""
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    return lambda samples: smile.process_signal(samples, RATE)


def comparisons() -> Iterator[tuple[str, str, Extractor, Extractor]]:
    yield "classic193", "librosa, its own tonnetz", ours("classic193"), published
    yield "classic193", "librosa, tonnetz of the same chroma", ours("classic193"), like_for_like
    yield "prosodic", "opensmile eGeMAPSv02", ours("prosodic"), egemaps()


def measure(clips: list[Float32Array], *extractors: Extractor) -> NDArray[np.float64]:
    """Return milliseconds per clip, shape (n_clips, n_extractors)."""
    for extractor in extractors:
        extractor(clips[0])
    times = np.empty((len(clips), len(extractors)))
    for row, clip in zip(times, clips, strict=True):
        for column, extractor in enumerate(extractors):
            start = time.perf_counter()
            extractor(clip)
            row[column] = 1000 * (time.perf_counter() - start)
    return times


def descriptors(samples: Float32Array) -> Iterator[tuple[str, Float32Array, NDArray[np.floating]]]:
    """Yield (name, emovox, librosa) for one clip, arrays of shape (n_features, n_frames)."""
    analysis, magnitude = Analysis(samples), np.abs(librosa.stft(samples))
    mel, chroma = spectral.mel_spectrogram(analysis), spectral.chroma(analysis)
    cepstrum = spectral.mfcc(spectral.decibels(mel), 40)
    yield "mel spectrogram", mel, librosa.feature.melspectrogram(y=samples, sr=RATE)
    yield "MFCC", cepstrum, librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=40)
    yield "delta of MFCC", spectral.delta(cepstrum), librosa.feature.delta(cepstrum)
    yield "delta-delta of MFCC", spectral.delta(cepstrum, 2), librosa.feature.delta(cepstrum, order=2)
    yield "chroma", chroma, librosa.feature.chroma_stft(S=magnitude, sr=RATE)
    yield "contrast", spectral.contrast(analysis), librosa.feature.spectral_contrast(S=magnitude, sr=RATE)
    yield "tonnetz of the same chroma", spectral.tonnetz(chroma), librosa.feature.tonnetz(chroma=chroma)


def agreement(clips: list[Float32Array]) -> dict[str, list[float]]:
    """Return the largest difference in each clip, relative to its largest value."""
    found: dict[str, list[float]] = {}
    for clip in clips:
        for name, mine, theirs in descriptors(clip):
            found.setdefault(name, []).append(np.abs(mine - theirs).max() / np.abs(theirs).max())
    return found


def main() -> None:
    default = os.environ.get("EMOVOX_CORPORA", Path(__file__).resolve().parents[2] / "shared" / "corpora")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, default=Path(default), help="folder that contains ravdess/")
    parser.add_argument("--clips", type=int, default=200, help="number of clips, spread over the corpus")
    options = parser.parse_args()

    files = sorted(options.corpora.glob("ravdess/**/*.flac")) or sorted(options.corpora.glob("ravdess/**/*.wav"))
    if not files:
        parser.error(f"no RAVDESS recordings below {options.corpora}: name the folder with --corpora")
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, options.clips).round().astype(int)]
    clips = [soundfile.read(file, dtype="float32")[0] for file in chosen]
    duration = np.median([len(clip) for clip in clips]) / RATE

    print(f"{len(clips)} clips, median duration {duration:.2f} s, one thread\n")
    print("| set | ms a clip (median) | yardstick | ms a clip (median) | times faster (median, 10-90 %) |")
    print("|---|---|---|---|---|")
    warnings.filterwarnings("ignore", module="librosa")
    for name, yardstick, mine, theirs in comparisons():
        with threadpool_limits(1):
            times = measure(clips, mine, theirs)
        own, other = np.median(times, axis=0)
        low, ratio, high = np.percentile(times[:, 1] / times[:, 0], (10, 50, 90))
        print(f"| {name} | {own:.1f} | {yardstick} | {other:.1f} | {ratio:.2g} ({low:.2g}-{high:.2g}) |")

    print("\n| descriptor | median clip | worst clip |")
    print("|---|---|---|")
    for name, differences in agreement(clips).items():
        print(f"| {name} | {np.median(differences):.0e} | {np.max(differences):.0e} |")


if __name__ == "__main__":
    main()
