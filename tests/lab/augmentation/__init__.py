"""Levels of what is heard."""

from __future__ import annotations

import numpy as np

from emovox.types import RATE, Float32Array


def ratio_db(signal: Float32Array, noise: Float32Array) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=float)) / np.mean(np.square(noise, dtype=float))))


def power_at(samples: Float32Array, low: float, high: float) -> float:
    """Share of the energy between two frequencies."""
    power = np.square(np.abs(np.fft.rfft(samples.astype(float))))
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(power[(frequency >= low) & (frequency < high)].sum() / power.sum())
