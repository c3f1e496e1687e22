"""Quality and speed of noise reduction, compared with noisereduce.

    python benchmarks/noise_reduction.py --corpora ../shared/corpora --clips 48

RAVDESS clips at 16 kHz with white noise and with the babble of six other voices.  One process, one thread, the
methods alternating on each mixture, all with their defaults.  The gain is the improvement in scale-invariant
signal-to-distortion ratio (Le Roux et al. 2019) over the mixture.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import noisereduce
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from emovox import audio
from emovox.audio.preprocess import reduce_noise, trim_silence
from emovox.lab.augmentation.augment import babble, coloured_noise, mix
from emovox.types import RATE, Float32Array

METHODS: dict[str, Callable[[Float32Array], NDArray[np.floating]]] = {
    "emovox": reduce_noise,
    "noisereduce, stationary": lambda samples: noisereduce.reduce_noise(y=samples, sr=RATE, stationary=True),
    "noisereduce, non-stationary": lambda samples: noisereduce.reduce_noise(y=samples, sr=RATE),
}
RATIOS = (0, 5, 10)


def si_sdr(clean: Float32Array, estimate: NDArray[np.floating]) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB."""
    clean, estimate = clean - clean.mean(), estimate - estimate.mean()
    target = clean * (clean @ estimate / (clean @ clean))
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


def mixtures(clips: list[Float32Array], kind: str, snr: float) -> Iterator[tuple[Float32Array, Float32Array]]:
    """Yield each clip, clean and in noise."""
    rng = np.random.default_rng(0)
    voices = [trim_silence(clip, 30, 0)[0] for clip in clips]
    for index, clean in enumerate(clips):
        if kind == "white":
            noise = coloured_noise(len(clean), rng)
        else:
            noise = babble(voices[:index] + voices[index + 1 :], len(clean), rng)
        yield clean, mix(clean, noise, snr, rng)


def measure(clips: list[Float32Array], kind: str, snr: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gains in dB and times in ms, each of shape (n_clips, n_methods)."""
    gains, times = np.empty((2, len(clips), len(METHODS)))
    for row, (clean, noisy) in enumerate(mixtures(clips, kind, snr)):
        before = si_sdr(clean, noisy)
        for column, method in enumerate(METHODS.values()):
            start = time.perf_counter()
            estimate = method(noisy)
            times[row, column] = 1000 * (time.perf_counter() - start)
            gains[row, column] = si_sdr(clean, estimate) - before
    return gains, times


def main() -> None:
    default = os.environ.get("EMOVOX_CORPORA", Path(__file__).resolve().parents[2] / "shared" / "corpora")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, default=Path(default), help="folder that contains ravdess/")
    parser.add_argument("--clips", type=int, default=48, help="number of clips, spread over the corpus")
    options = parser.parse_args()
    files = sorted(path for ending in ("flac", "wav") for path in options.corpora.glob(f"ravdess/**/*.{ending}"))
    if not files:
        parser.error(f"no RAVDESS recordings below {options.corpora}: name the folder with --corpora")
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, options.clips).round().astype(int)]
    clips = [audio.read(file).samples for file in chosen]
    for method in METHODS.values():
        method(clips[0])

    print(f"{len(clips)} clips, median duration {np.median([len(clip) for clip in clips]) / RATE:.2f} s\n")
    print(f"| noise | SNR, dB | {' | '.join(f'{name}, dB' for name in METHODS)} |")
    print("|---|---|" + "---|" * len(METHODS))
    taken = []
    for kind in ("white", "babble"):
        for snr in RATIOS:
            with threadpool_limits(1):
                gains, times = measure(clips, kind, snr)
            taken.append(times)
            print(f"| {kind} | {snr} | {' | '.join(f'{gain:+.1f}' for gain in gains.mean(axis=0))} |")
    times = np.concatenate(taken)
    print(f"| ms a clip (median) | | {' | '.join(f'{value:.1f}' for value in np.median(times, axis=0))} |")
    ratios = np.median(times / times[:, :1], axis=0)
    print(f"| times as long | | {' | '.join(f'{value:.0f}' for value in ratios)} |")


if __name__ == "__main__":
    main()
