"""Costs of a model: number of parameters, file size, time of the graph alone, latency from samples to label."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from emovox.errors import EmovoxError
from emovox.features import sets
from emovox.model.file import Model
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.vad import GateOptions
from emovox.types import RATE, Waveform

#: Length of the timed clip in seconds, and numbers of runs of the graph alone and from samples to label.
SECONDS, TIMES, REPEATS = 3.0, 21, 15


def graph_costs(model: Model, path: Path) -> dict[str, Any]:
    """Measure parameters, size and time of a model graph, for a clip of 3 s of amplitude-modulated noise.

    Parameters
    ----------
    model : Model
        Read from `path`.
    path : Path
        The file.

    Returns
    -------
    dict
        ``parameters`` in the graph, trained and pretrained; ``bytes``, size of the file; ``graph_ms``, median time of
        the graph alone for a clip of 3 s, on one thread of this machine, in milliseconds.
    """
    moment = np.arange(round(SECONDS * RATE)) / RATE
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(moment)) * np.square(np.sin(2 * np.pi * moment))
    waveform = Waveform(noise.astype(np.float32))
    given = {name: sets.extract(waveform, spec)[np.newaxis] for name, spec in model.inputs.items()}
    times = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        model.run(given)
        times.append(time.perf_counter() - begin)
    return {
        "parameters": parameters(onnx.load_model(path)),
        "bytes": path.stat().st_size,
        "graph_ms": round(1000 * float(np.median(times)), 3),
    }


def parameters(graph: onnx.ModelProto) -> int:
    """Count the parameters of a graph: floating-point and quantised constants.

    Examples
    --------
    >>> weight = onnx.numpy_helper.from_array(np.zeros((3, 2), dtype=np.float32), "weight")
    >>> parameters(onnx.helper.make_model(onnx.helper.make_graph([], "demo", [], [], [weight])))
    6
    """
    integers = (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    stored = [one for one in graph.graph.initializer if one.data_type not in integers]
    lists = [len(attribute.floats) for node in graph.graph.node for attribute in node.attribute]
    constants = [
        int(np.prod(attribute.t.dims))
        for node in graph.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.t.dims and attribute.t.data_type not in integers
    ]
    return int(sum(int(np.prod(one.dims)) for one in stored) + sum(lists) + sum(constants))


def parameters_of(path: Path) -> int | None:
    """Count the parameters of a model file, trained and fixed ones (filter banks), see :func:`parameters`.

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
    return parameters(graph)


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


def run_costs(folder: Path, measured: dict[str, Any], *, measure: bool) -> dict[str, float | int | None]:
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
        "bytes": model.stat().st_size if model.is_file() else None,
        "parameters": measured.get("parameters") or parameters_of(model),
        "fit_seconds": measured.get("fit_seconds"),
        "clip_ms": latency(model) if measure and model.is_file() else None,
    }
