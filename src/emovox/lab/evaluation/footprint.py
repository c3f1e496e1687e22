"""Costs of a model in use: file size, number of parameters, latency from samples to label."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from emovox.errors import EmovoxError
from emovox.lab.evaluation.costs import parameters as held
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.gate import GateOptions
from emovox.types import RATE

#: Length of the clip that is timed, in seconds.
SECONDS = 3.0
#: Number of timed runs; the latency is their median.
REPEATS = 15


def size(path: Path) -> int | None:
    """Return the size of a model file in bytes, None if it does not exist."""
    return path.stat().st_size if path.is_file() else None


def parameters(path: Path) -> int | None:
    """Count the parameters of a model file, trained and fixed ones (filter banks), as :mod:`costs` does.

    Parameters
    ----------
    path : Path
        ONNX file.

    Returns
    -------
    int or None
        None if the file does not exist or is not ONNX.
    """
    try:
        graph = onnx.load(str(path), load_external_data=False)
    except Exception:  # a missing or damaged file; protobuf and onnx raise kinds of their own
        return None
    return held(graph)


def latency(path: Path, *, seconds: float = SECONDS, repeats: int = REPEATS) -> float | None:
    """Measure the latency of a model from samples to label: features included, on one thread.

    Parameters
    ----------
    path : Path
        Model file.
    seconds : float, default 3
        Length of the clip, which is noise: the time does not depend on the content.
    repeats : int, default 15
        Number of timed runs, after two warm-up runs.

    Returns
    -------
    float or None
        Median in milliseconds; None if the model cannot be run.
    """
    clip = 0.1 * np.random.default_rng(0).normal(size=round(seconds * RATE)).astype(np.float32)
    try:
        recognizer = EmotionRecognizer(path, gate=GateOptions(threshold=0))
        taken = []
        for _ in range(2 + repeats):
            begin = time.perf_counter()
            recognizer.predict(clip, rate=RATE)
            taken.append(time.perf_counter() - begin)
    except EmovoxError:
        return None
    return 1000 * float(np.median(taken[2:]))


def costs(folder: Path, measured: dict[str, Any], *, measure: bool) -> dict[str, float | int | None]:
    """Return the costs of the model of a run.

    Parameters
    ----------
    folder : Path
        Run folder.
    measured : dict
        Costs that the run recorded in ``metrics.json``; may be empty.
    measure : bool
        Measure the latency now, on this machine, so that runs are comparable.

    Returns
    -------
    dict
        ``bytes``, ``parameters``, ``fit_seconds`` per fold (None if not recorded), ``clip_ms``, the latency from
        samples to label in milliseconds (None if not measured).
    """
    model = folder / "model.onnx"
    return {
        "bytes": size(model),
        "parameters": measured.get("parameters") or parameters(model),
        "fit_seconds": measured.get("fit_seconds"),
        "clip_ms": latency(model) if measure and model.is_file() else None,
    }
