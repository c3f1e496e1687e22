"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.lab.evaluation.comparison import Group, compare
from tests.lab import write_run


@pytest.fixture(scope="module", autouse=True)
def unpainted(unpainted: None) -> None:
    """Paint no figures here; `tests/lab/reports` puts a fixture that does nothing in the place of this one."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    curve = [{"epoch": k, "train_loss": 2 / k, "valid_loss": 2.2 / k, "valid_uar": 0.5} for k in (1, 2, 3)]
    return [
        write_run(home / "middle", 0.6, seeds=(0, 1), learning_curves={"fold 1": [curve, curve[:2]]}),
        write_run(home / "good", 0.9, costs={"fit_seconds": 90.0, "parameters": 1234}),
        write_run(home / "other-middle", 0.6),
    ]


@pytest.fixture(scope="module")
def group(three: list[Path]) -> Group:
    (only,) = compare(three, measure=False)
    return only
