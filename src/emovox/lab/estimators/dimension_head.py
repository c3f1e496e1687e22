"""Emotion dimensions from one vector a clip: a linear regression that maximises the concordance correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from emovox.lab.estimators.estimator import Options
from emovox.lab.ranges import Count, Natural, NotNegative, Positive
from emovox.model.file import DIMENSIONS, INPUT
from emovox.types import Float32Array

#: Before the names of the nodes and numbers in a graph, which other heads may share.
PREFIX = "dimension_head"


@dataclass(frozen=True)
class HeadOptions(Options):
    """Options of the regression.

    Attributes
    ----------
    epochs : int
        Steps of AdamW, each over all clips.
    learning_rate : float
        Step size.
    decay : float
        Weight decay.
    dropout : float
        Share of the features that are left out in a step.
    seed : int
        Seed of what is left out.
    """

    epochs: Count = 60
    learning_rate: Positive = 1e-4
    decay: NotNegative = 1.0
    dropout: NotNegative = 0.5
    seed: Natural = 0


class DimensionHead:
    """A linear regression of several dimensions on standardised features.

    Source
    ------
    Lin 1989, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45; as a loss: Trigeorgis et
    al. 2016, Adieu features? ICASSP.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 4)).astype(np.float32)
    >>> head = DimensionHead(HeadOptions(decay=0.0, dropout=0.0, learning_rate=0.05)).fit(X, X[:, :1] / 2)
    >>> bool(np.abs(head.predict(X)[:, 0] - X[:, 0] / 2).max() < 0.1)
    True
    """

    def __init__(self, options: HeadOptions | None = None) -> None:
        self.options = options or HeadOptions()

    def fit(self, X: Float32Array, y: NDArray[np.floating]) -> Self:
        """Fit on raw features, shape (n, n_features), and dimensions, shape (n, d); NaN where one is not known."""
        self.mean_ = X.mean(axis=0)
        self.scale_ = np.where(X.std(axis=0) > 1e-6, X.std(axis=0), 1).astype(np.float32)
        given, truth = torch.from_numpy((X - self.mean_) / self.scale_), torch.from_numpy(y.astype(np.float32))
        known = ~torch.isnan(truth)
        truth = torch.nan_to_num(truth)
        linear = torch.nn.Linear(X.shape[1], y.shape[1])
        torch.nn.init.zeros_(linear.weight)
        with torch.no_grad():
            linear.bias.copy_((truth * known).sum(0) / known.sum(0))
        plan = self.options
        steps = torch.optim.AdamW(linear.parameters(), lr=plan.learning_rate, weight_decay=plan.decay)
        random = torch.Generator().manual_seed(plan.seed)
        for _ in range(plan.epochs):
            kept = torch.rand(given.shape[1], generator=random) >= plan.dropout
            weight = linear.weight * kept / (1 - plan.dropout)  # as if the features were left out, and cheaper
            found = torch.nn.functional.linear(given, weight, linear.bias)
            loss = 1 - concordance(found, truth, known).mean()
            steps.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
        self.weight_ = linear.weight.detach().numpy()
        self.bias_ = linear.bias.detach().numpy()
        return self

    def predict(self, X: Float32Array) -> Float32Array:
        """Predict the dimensions, shape (n, d)."""
        found: Float32Array = (X - self.mean_) / self.scale_ @ self.weight_.T + self.bias_
        return found

    def nodes(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], onnx.ValueInfoProto]:
        """Return the regression as nodes from ``features`` to ``dimensions``, their numbers, and the output."""
        numbers = {"mean": self.mean_, "scale": self.scale_, "weight": self.weight_, "bias": self.bias_}
        name = {one: f"{PREFIX}.{one}" for one in (*numbers, "centred", "standard")}
        nodes = [
            helper.make_node("Sub", [INPUT, name["mean"]], [name["centred"]]),
            helper.make_node("Div", [name["centred"], name["scale"]], [name["standard"]]),
            helper.make_node("Gemm", [name["standard"], name["weight"], name["bias"]], [DIMENSIONS], transB=1),
        ]
        tensors = [numpy_helper.from_array(value.astype(np.float32), name[one]) for one, value in numbers.items()]
        return nodes, tensors, helper.make_tensor_value_info(DIMENSIONS, TensorProto.FLOAT, ["n", len(self.bias_)])


def concordance(found: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the concordance correlation coefficient of each dimension, over the clips where it is known."""
    count = known.sum(0)
    mean_found, mean_truth = (found * known).sum(0) / count, (truth * known).sum(0) / count
    off_found, off_truth = (found - mean_found) * known, (truth - mean_truth) * known
    shared = (off_found * off_truth).sum(0)
    spread = off_found.square().sum(0) + off_truth.square().sum(0) + count * (mean_found - mean_truth).square()
    return 2 * shared / spread.clamp_min(1e-9)
