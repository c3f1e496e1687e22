"""Agreement of F0, voicing, jitter, shimmer, HNR and formants with Praat on RAVDESS.

    python benchmarks/praat_agreement.py --corpora ../shared/corpora

Praat runs through parselmouth, with the same range of F0 and its own defaults otherwise.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import parselmouth
from numpy.typing import NDArray
from parselmouth.praat import call

from emovox.audio import read
from emovox.features import prosody
from emovox.features.spectral import Analysis
from emovox.features.voicing import PitchOptions
from emovox.types import RATE, Float32Array

Array = NDArray[np.float64]

PERIODS = (0, 0, 1e-4, 0.02, 1.3)  # Praat's defaults: whole recording, periods from 0.1 to 20 ms, factor 1.3
CLIP_LEVEL = ("jitter (local)", "shimmer (local)", "mean HNR, dB")
FORMANTS = ("F1, Hz", "F2, Hz", "F3, Hz", "B1, Hz", "B2, Hz", "B3, Hz")


class Clip(NamedTuple):
    """Measures of one recording; in each pair, emovox comes first."""

    f0: Array  # (2, n_frames), Hz, 0 where unvoiced, at Praat's times
    formants: Array  # (2, n_jointly_voiced, 6)
    measures: Array  # (2, 3), see CLIP_LEVEL


def praat_measures(sound: parselmouth.Sound, options: PitchOptions) -> tuple[float, float, float]:
    """Measure jitter, shimmer and mean HNR as the manual of Praat describes."""
    points = call(sound, "To PointProcess (periodic, cc)...", options.floor, options.ceiling)
    jitter = call(points, "Get jitter (local)...", *PERIODS)
    shimmer = call([sound, points], "Get shimmer (local)...", *PERIODS, 1.6)
    harmonicity = call(sound, "To Harmonicity (cc)...", 0.01, options.floor, 0.1, 1.0)
    return jitter, shimmer, call(harmonicity, "Get mean...", 0, 0)


def praat_formants(sound: parselmouth.Sound, times: Array) -> Array:
    """Return frequencies and bandwidths of three formants by Praat's Burg analysis, (n_times, 6)."""
    found = sound.to_formant_burg(0.01, 5, 5500.0, 0.025, 50.0)
    rows = [
        [found.get_value_at_time(number, time) for number in (1, 2, 3)]
        + [found.get_bandwidth_at_time(number, time) for number in (1, 2, 3)]
        for time in times
    ]
    return np.array(rows).reshape(-1, 6)


def compare(samples: Float32Array, options: PitchOptions | None = None) -> Clip:
    """Analyse one recording with both; each frame of Praat is paired with the nearest one, at most 5 ms away."""
    options = options or PitchOptions()
    found = prosody.descriptors(Analysis(samples), options)
    sound = parselmouth.Sound(samples.astype(np.float64), RATE)
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=options.floor, pitch_ceiling=options.ceiling)
    nearest = np.rint(pitch.xs() / 0.01).astype(int)
    f0 = np.stack([found["f0"][nearest], pitch.selected_array["frequency"]])
    both = (f0 > 0).all(axis=0)
    rows = [found[f"{kind}_{number}"] for kind in ("formant", "bandwidth") for number in (1, 2, 3)]
    own = np.stack(rows, axis=1)[nearest[both]]
    hnr = float(found["hnr"][found.voiced].mean()) if found.voiced.any() else np.nan
    measures = [(found.jitter_local, found.shimmer_local, hnr), praat_measures(sound, options)]
    return Clip(f0, np.stack([own, praat_formants(sound, pitch.xs()[both])]), np.array(measures))


def agreement(clips: Sequence[Clip]) -> dict[str, float]:
    """Compute fractions of frames and correlations over clips; all are 1 for perfect agreement."""
    f0 = np.concatenate([clip.f0 for clip in clips], axis=1)
    both = (f0 > 0).all(axis=0)
    measures = np.stack([clip.measures for clip in clips if np.isfinite(clip.measures).all()])
    medians = clip_medians(clips)
    return {
        "F0 within 10 %": float((np.abs(f0[0, both] / f0[1, both] - 1) < 0.1).mean()),
        "voicing": float(((f0[0] > 0) == (f0[1] > 0)).mean()),
        **{name: correlation(measures[:, :, k]) for k, name in enumerate(CLIP_LEVEL)},
        **{name: correlation(medians[:, :, k]) for k, name in enumerate(FORMANTS)},
    }


def clip_medians(clips: Sequence[Clip]) -> Array:
    """Return the median formants over the jointly voiced frames of each clip, (n_clips, 2, 6)."""
    return np.array([np.nanmedian(clip.formants, axis=1) for clip in clips if clip.formants.shape[1]])


def correlation(pairs: Array) -> float:
    """Return Pearson's correlation of pairs, shape (n, 2)."""
    own, other = pairs.T
    return float(np.asarray(np.corrcoef(own, other))[0, 1])


def spread(corpora: Path, count: int | None = None) -> list[Path]:
    """Choose RAVDESS clips at equal distances in the sorted list; all by default."""
    files = sorted(path for path in corpora.glob("ravdess/**/*") if path.suffix in (".flac", ".wav"))
    if not files:
        raise SystemExit(f"no RAVDESS recordings below {corpora}: name the folder with --corpora")
    return [files[i] for i in np.linspace(0, len(files) - 1, count or len(files)).round().astype(int)]


def table(clips: Sequence[Clip]) -> str:
    """Format the agreement as a Markdown table."""
    found = agreement(clips)
    f0 = np.concatenate([clip.f0 for clip in clips], axis=1)
    close = [np.abs(np.log2(np.divide(*clip.f0[:, (clip.f0 > 0).all(axis=0)]))) for clip in clips]
    voicing = [((clip.f0[0] > 0) == (clip.f0[1] > 0)).mean() for clip in clips]
    f0_worst = np.percentile([(c < np.log2(1.1)).mean() for c in close if len(c)], 5)
    typical = 100 * (2 ** np.median(np.concatenate(close)) - 1)
    lines = [
        "| what | agreement | ours | Praat's |",
        "|---|---|---|---|",
        f"| F0 within 10 %, of {int((f0 > 0).all(axis=0).sum())} jointly voiced frames "
        f"| {found['F0 within 10 %']:.1%} (5th percentile of clips {f0_worst:.1%}; median difference "
        f"{typical:.2f} %) | | |",
        f"| voiced or not, of {f0.shape[1]} frames | {found['voicing']:.1%} (5th percentile of clips "
        f"{np.percentile(voicing, 5):.1%}) | {(f0[0] > 0).mean():.1%} voiced | {(f0[1] > 0).mean():.1%} voiced |",
    ]
    measures = np.stack([clip.measures for clip in clips])
    for k, name in enumerate(CLIP_LEVEL):
        own, other = np.nanmean(measures[:, :, k], axis=0)
        lines.append(f"| {name} | correlation {found[name]:.3f} | mean {own:.3g} | mean {other:.3g} |")
    frames = np.concatenate([clip.formants for clip in clips], axis=1)
    medians = clip_medians(clips)
    for k, name in enumerate(FORMANTS):
        own, other = np.median(medians[:, :, k], axis=0)
        within = np.nanmean(np.abs(frames[0, :, k] / frames[1, :, k] - 1) < 0.1)
        lines.append(
            f"| {name}, median of a clip | correlation {found[name]:.3f} (frames within 10 %: {within:.0%}) "
            f"| {own:.0f} | {other:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    default = os.environ.get("EMOVOX_CORPORA", Path(__file__).resolve().parents[2] / "shared" / "corpora")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, default=Path(default), help="folder that contains ravdess/")
    parser.add_argument("--clips", type=int, help="number of clips, spread over the corpus; the default is all")
    options = parser.parse_args()
    clips = [compare(read(path).samples) for path in spread(options.corpora, options.clips)]
    print(f"{len(clips)} clips of RAVDESS\n")
    print(table(clips))


if __name__ == "__main__":
    main()
