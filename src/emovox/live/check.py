"""Quality of a microphone's signal: level, clipping, noise floor, offset and bandwidth, measured, with advice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emovox.types import RATE, Float32Array

#: Shortest signal that can be checked, in seconds.
SHORTEST = 0.5

#: Limits of an acceptable signal.
QUIET = -45.0  # dBFS of the loudest parts: below, quantisation and noise are in reach
NOISY = 15.0  # dB from the noise floor to the loudest parts: below, a listener begins to strain
CLIPPED = 0.001  # share of samples at full scale
NARROW = 1e-6  # power above 4 kHz over power below: speech through a telephone band has next to nothing there
OFFSET = 0.05  # mean of the samples, full scale 1

_FRAME = RATE // 50  # 20 ms
_EDGE = 0.995  # of full scale: a sample so large has most likely been cut off


@dataclass(frozen=True)
class Levels:
    """Measurements of a stretch of a signal.

    Attributes
    ----------
    duration : float
        Its length in seconds.
    peak : float
        Peak level in dBFS; -inf for digital silence.
    loud : float
        Level of the loudest parts in dBFS: 95th percentile of the root mean square over 20 ms.
    noise : float
        Noise floor in dBFS: 10th percentile of the same.
    clipped : float
        Share of samples at full scale, in [0, 1].
    offset : float
        Mean of the samples (DC offset), full scale 1.
    zeros : float
        Share of samples that are exactly 0, in [0, 1].
    high : float
        Ratio of the power above 4 kHz to the power below.
    rate : int
        Sampling rate of the microphone in Hz.
    """

    duration: float
    peak: float
    loud: float
    noise: float
    clipped: float
    offset: float
    zeros: float
    high: float
    rate: int

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio in dB: from the noise floor to the loudest parts."""
        return self.loud - self.noise if math.isfinite(self.noise) else math.inf


def measure(samples: Float32Array, rate: int = RATE) -> Levels:
    """Measure level, noise, clipping, offset and bandwidth of a signal.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_samples,)
        Mono at 16 kHz, full scale 1.
    rate : int, default 16000
        Sampling rate of the microphone before resampling, in Hz.

    Returns
    -------
    Levels

    Examples
    --------
    >>> tone = 0.5 * np.sin(np.arange(16000) * 0.1).astype(np.float32)
    >>> found = measure(tone)
    >>> round(found.peak), round(found.loud), found.clipped
    (-6, -9, 0.0)
    """
    if not len(samples):
        return Levels(0.0, -math.inf, -math.inf, -math.inf, 0.0, 0.0, 1.0, 0.0, rate)
    offset = float(samples.mean())
    frames = (samples[: max(1, len(samples) // _FRAME) * _FRAME] - offset).reshape(-1, min(_FRAME, len(samples)))
    power = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))
    spectrum = np.abs(np.fft.rfft(samples - offset)) ** 2
    split = round(len(spectrum) / 2)
    size = np.abs(samples)
    return Levels(
        duration=len(samples) / RATE,
        peak=decibels(float(size.max()) ** 2),
        loud=decibels(float(np.quantile(power, 0.95))),
        noise=decibels(float(np.quantile(power, 0.1))),
        clipped=float((size >= _EDGE).mean()),
        offset=offset,
        zeros=float((samples == 0).mean()),
        high=float(spectrum[split:].sum() / max(float(spectrum[:split].sum()), 1e-30)),
        rate=rate,
    )


def loudest(samples: Float32Array) -> Float32Array:
    """Return the channel with most energy of samples of shape (n,) or (n, n_channels).

    Examples
    --------
    >>> loudest(np.array([[0.1, 0.5], [0.2, -0.5]], dtype=np.float32)).tolist()
    [0.5, -0.5]
    """
    return samples if samples.ndim == 1 else samples[:, np.square(samples).sum(axis=0).argmax()]


def decibels(power: float) -> float:
    """Convert a power ratio to decibels; 0 gives -inf.

    Examples
    --------
    >>> decibels(0.01), decibels(0.0)
    (-20.0, -inf)
    """
    return 10 * math.log10(power) if power > 0 else -math.inf


def advice(levels: Levels) -> tuple[str, ...]:
    """Return advice on how to improve a signal, a sentence each, the most urgent first; empty if it is fine.

    Parameters
    ----------
    levels : Levels
        Measurements of at least 0.5 s in which somebody speaks.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> advice(measure(np.zeros(16000, dtype=np.float32)))
    ('nothing arrives, every sample is zero: unmute the microphone, and let this program use it',)
    """
    if levels.duration < SHORTEST:
        return (f"only {levels.duration:.1f} s of sound: too little to check the microphone",)
    if not math.isfinite(levels.peak):
        return ("nothing arrives, every sample is zero: unmute the microphone, and let this program use it",)
    found = []
    if levels.clipped > CLIPPED:
        found.append(
            f"{levels.clipped:.1%} of the sound is cut off at full scale: lower the input level, or move away a little"
        )
    if levels.loud < QUIET:
        found.append(
            f"very quiet, {-levels.loud:.0f} dB below full scale at its loudest: speak, come closer, "
            "or raise the input level"
        )
    elif levels.snr < NOISY:
        found.append(
            f"the voice is only {levels.snr:.0f} dB above the background: come closer, or find a quieter place"
        )
    if levels.rate < RATE:
        found.append(
            f"{levels.rate} Hz is less than the {RATE} Hz the model knows: choose another device or setting, "
            "for a headset the one for music"
        )
    elif levels.loud >= QUIET and levels.high < NARROW:
        found.append(
            "nothing above 4 kHz, as on a telephone: a Bluetooth headset does that while its own microphone is in use"
        )
    if abs(levels.offset) > OFFSET:
        found.append(f"the sound has a constant offset of {levels.offset:+.2f}: the input is defective or miswired")
    return tuple(found)
