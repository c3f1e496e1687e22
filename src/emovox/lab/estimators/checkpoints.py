"""Checkpoints of training, from which an interrupted training is resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emovox.errors import ModelError
from emovox.storage import replacing


@dataclass(frozen=True)
class Stored:
    """Content of a checkpoint; empty if none was written.

    Attributes
    ----------
    state : mapping
        Plain values.
    tensors : mapping of str to Tensor
        Weights and state of the optimiser.
    source : str
        Name in messages.
    """

    state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tensors: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    source: str = ""

    def fill(self, targets: Mapping[str, Tensor]) -> None:
        """Copy tensors to others of the same names and shapes.

        Raises
        ------
        ModelError
            One is missing or of another shape.

        Examples
        --------
        >>> weight = torch.zeros(2)
        >>> Stored(tensors={"weight": torch.ones(2)}).fill({"weight": weight})
        >>> weight.tolist()
        [1.0, 1.0]
        """
        for name, target in targets.items():
            if name not in self.tensors:
                raise damaged(self.source, f"tensor {name} is missing")
            if (shape := tuple(self.tensors[name].shape)) != tuple(target.shape):
                raise damaged(self.source, f"tensor {name} has shape {shape}, expected {tuple(target.shape)}")
        with torch.no_grad():
            for name, target in targets.items():
                target.copy_(self.tensors[name])


class Checkpoint:
    """One file of tensors in safetensors format, with plain values as JSON in its header.

    A file is written under another name and renamed, so that it is always complete.

    Parameters
    ----------
    folder : Path or None
        Folder, created when first written.  None discards everything.
    key : str
        Identity of the training, different for different data or options.

    Examples
    --------
    >>> import tempfile
    >>> checkpoint = Checkpoint(Path(tempfile.mkdtemp()), "demo")
    >>> checkpoint.read().state
    {}
    >>> checkpoint.write({"epoch": 1}, {"weight": torch.ones(2)})
    >>> checkpoint.read().state, checkpoint.read().tensors["weight"].tolist()
    ({'epoch': 1}, [1.0, 1.0])
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.path = None if folder is None else folder / f"{key}.safetensors"

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the checkpoint, replacing an older one.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        if self.path is None:
            return
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with replacing(self.path, unique=True, advice="make room, or give another --out") as part:
            try:
                save_file(whole, part, metadata={"state": json.dumps(dict(state))})
            except SafetensorError as error:  # its name for an error of the disk
                raise OSError(str(error)) from error

    def read(self) -> Stored:
        """Read the checkpoint.

        Raises
        ------
        ModelError
            The file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        if self.path is None or not self.path.exists():
            return Stored()
        try:
            with safe_open(self.path, framework="pt") as file:
                state = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise damaged(str(self.path), str(error)) from error
        if not isinstance(state, dict):
            raise damaged(str(self.path), f"its state is {state!r}")
        return Stored(state, tensors, str(self.path))


def damaged(source: str, reason: str) -> ModelError:
    """Return the error for an invalid checkpoint."""
    return ModelError(f"{source} is not a checkpoint to go on from ({reason}): remove it to begin anew")
