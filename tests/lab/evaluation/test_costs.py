"""What a model costs: parameters counted in the graph, seconds and bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emovox.lab.evaluation import costs
from tests import CLASSIC

# ---- costs -----------------------------------------------------------------------------------------------------------


def test_parameters_are_counted_in_initialisers_and_attributes(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["h"])
    scale = helper.make_node("Scaler", ["h"], ["y"], domain="ai.onnx.ml", offset=[0.0, 0.0], scale=[1.0, 1.0])
    graph = helper.make_graph(
        [node, scale],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [
            numpy_helper.from_array(np.zeros((3, 2), np.float32), "w"),
            numpy_helper.from_array(np.zeros(2, np.float32), "b"),
        ],
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    assert costs.parameters_of(tmp_path / "model.onnx") == 3 * 2 + 2 + 4
    (tmp_path / "model.onnx").write_text("no model")
    assert costs.parameters_of(tmp_path / "model.onnx") is None
    assert costs.parameters_of(tmp_path / "none.onnx") is None


def test_costs_of_a_real_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(CLASSIC.read_bytes())
    found = costs.run_costs(tmp_path, {"fit_seconds": 12.0, "latency_ms": 1e9}, measure=True)  # the graph alone, of old
    assert found["bytes"] == CLASSIC.stat().st_size
    assert found["fit_seconds"] == 12.0
    assert isinstance(found["parameters"], int)
    assert found["parameters"] > 1000
    assert found["clip_ms"] is not None
    assert 0 < found["clip_ms"] < 1e9
    assert "latency_ms" not in found
    (tmp_path / "model.onnx").write_text("no model")
    assert costs.latency(tmp_path / "model.onnx") is None
