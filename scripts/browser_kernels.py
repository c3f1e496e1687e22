"""Measure the filters of soxr that the browser's resampler takes over, and write them into its source.

    python scripts/browser_kernels.py > web/src/audio/kernels.ts

What soxr's quality HQ does to a sample depends on the time between it and a sample of the result alone: one even
function of time for each pair of rates, which answers to impulses show. It is written at a step that its band allows;
what interpolation between the steps adds lies 130 dB below the sound.
"""

from __future__ import annotations

import base64

import numpy as np
import soxr

from emovox.types import RATE

#: Rates in Hz for which no closed form comes close, and every how many of the times that occur is written.
STEPS = {8000: 1, 11025: 160, 12000: 1, 22050: 110, 32000: 1, 44100: 110, 88200: 110}
#: Smallest value that is written, as a share of the largest.
SMALLEST = 1e-7


def kernel(rate: int, step: int) -> np.ndarray:
    """Return the filter from 0 on, in steps of `step / lcm(rate, 16000)` seconds."""
    fine, begin = int(np.lcm(rate, RATE)), rate // 5
    found: dict[int, float] = {}
    for impulse in range(begin, begin + rate // int(np.gcd(rate, RATE))):
        sound = np.zeros(2 * begin)
        sound[impulse] = 1.0
        for place, value in enumerate(soxr.resample(sound, rate, RATE, quality="HQ")):
            away = place * (fine // RATE) - impulse * (fine // rate)
            if 0 <= away < fine // 50 and away % step == 0:
                found[away // step] = float(value)
    values = np.array([found[number] for number in range(len(found))])
    return values[: 1 + int(np.flatnonzero(np.abs(values) > SMALLEST * values.max())[-1])]


def main() -> None:
    """Write the source."""
    print("/** Filters of soxr, quality HQ, by scripts/browser_kernels.py: rate, step, values as float32. */")
    print("export const KERNELS: Readonly<Record<number, readonly [step: number, values: string]>> = {")
    for rate, step in STEPS.items():
        values = base64.b64encode(kernel(rate, step).astype("<f4").tobytes()).decode()
        print(f'  {rate}: [{step}, "{values}"],')
    print("};")


if __name__ == "__main__":
    main()
