"""What a model costs to use: bytes on disk, numbers inside, milliseconds for three seconds of speech."""

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

#: Length of the clip that latency is measured with, in seconds.
SECONDS = 3.0
#: The median of so many runs is the latency.
REPEATS = 15


def size(path: Path) -> int | None:
    """Return the size of a model file in bytes; None where there is none."""
    return path.stat().st_size if path.is_file() else None


def parameters(path: Path) -> int | None:
    """Count the numbers that a model file holds, learnt ones and fixed ones such as a filterbank's, as a run does.

    Parameters
    ----------
    path : Path
        ONNX file.

    Returns
    -------
    int or None
        None where there is no file, or it is not ONNX.
    """
    try:
        graph = onnx.load(str(path), load_external_data=False)
    except Exception:  # a missing or damaged file; protobuf and onnx raise kinds of their own
        return None
    return held(graph)


def latency(path: Path, *, seconds: float = SECONDS, repeats: int = REPEATS) -> float | None:
    """Measure how long a model takes for one clip, from samples to a label: features included, on one thread.

    Parameters
    ----------
    path : Path
        Model file.
    seconds : float, default 3
        Length of the clip, which is noise: what it holds costs no more and no less.
    repeats : int, default 15
        Measurements, after two that do not count.

    Returns
    -------
    float or None
        Median in milliseconds; None where the model cannot be run.
    """
    clip = 0.1 * np.random.default_rng(0).normal(size=round(seconds * RATE)).astype(np.float32)
    try:
        recognizer = EmotionRecognizer(path, gate=GateOptions(threshold=0))
        taken = []
        for _ in range(2 + repeats):
            begin = time.perf_counter()
            recognizer.predict_array(clip, RATE)
            taken.append(time.perf_counter() - begin)
    except EmovoxError:
        return None
    return 1000 * float(np.median(taken[2:]))


def costs(folder: Path, measured: dict[str, Any], *, measure: bool) -> dict[str, float | int | None]:
    """Say what a run's model costs.

    Parameters
    ----------
    folder : Path
        Run folder.
    measured : dict
        What the run itself says in ``metrics.json`` under ``costs``; nothing is fine.
    measure : bool
        Measure the latency now, on this machine, where one is comparable with the next.

    Returns
    -------
    dict
        ``bytes``, ``parameters``, ``fit_seconds`` of a fold (None where the run does not say), ``latency_ms`` of the
        whole chain (None where it was not measured).
    """
    model = folder / "model.onnx"
    return {
        "bytes": size(model),
        "parameters": measured.get("parameters") or parameters(model),
        "fit_seconds": measured.get("fit_seconds"),
        "latency_ms": latency(model) if measure and model.is_file() else None,
    }
