"""Pretrained encoder weights: finding them by folder or name, and telling one checkpoint from another.

Only ``config.json`` and ``*.safetensors`` are ever read, so nothing in a checkpoint can run code.  torch is loaded
with the first tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovox.errors import MissingExtraError, ModelError
from emovox.types import RATE

if TYPE_CHECKING:
    from torch import Tensor

#: Environment variable that names a folder of checkpoint folders.
VARIABLE = "EMOVOX_WEIGHTS"
#: Files that are fetched from the Hugging Face hub, and nothing else.
HUB_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "model-*-of-*.safetensors")
#: Formats that hold pickled objects or other frameworks' files: seen, named in the message, never opened.
REFUSED = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Weights:
    """A checkpoint that was found.

    Attributes
    ----------
    folder : Path
        Where it lies.
    config : mapping
        Its ``config.json``.
    files : tuple of Path
        Its safetensors files: one, or the shards of a large model.
    """

    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    files: tuple[Path, ...]

    @property
    def kind(self) -> str:
        """Architecture as transformers names it: ``"whisper"``, ``"wav2vec2"``, ``"hubert"``, ``"wavlm"``, ..."""
        return str(self.config.get("model_type", ""))

    def number(self, key: str) -> int:
        """Return a positive whole number of the configuration.

        Raises
        ------
        ModelError
            It is missing or of another type.
        """
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(
                f"{self.folder / 'config.json'}: {key} is {value!r}, expected a positive whole number: "
                "get the checkpoint again"
            )
        return value

    def preprocessor(self) -> Mapping[str, Any]:
        """Read ``preprocessor_config.json``, empty where there is none; refuse another sampling rate than ours."""
        path = self.folder / "preprocessor_config.json"
        values = _json(path) if path.is_file() else {}
        if values.get("sampling_rate", RATE) != RATE:
            raise ModelError(
                f"{path}: sampling_rate is {values['sampling_rate']!r}, expected {RATE}: use a 16 kHz encoder"
            )
        return values

    @property
    def digest(self) -> str:
        """Identity of the weights: a digest of configuration and tensors, computed once per process and file."""
        config = json.dumps(self.config, sort_keys=True)
        parts = [hashlib.sha256(config.encode()).hexdigest()]
        for path in self.files:
            state = path.stat()
            parts.append(_digest(path, state.st_size, state.st_mtime_ns))
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    """Digest of a file's bytes; size and time of change make a replaced file a new question."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(source: str | Path) -> Weights:
    """Find a checkpoint.

    Parameters
    ----------
    source : str or Path
        A folder with ``config.json`` and ``model.safetensors``; or a name such as ``whisper-tiny.en`` or
        ``openai/whisper-tiny.en``, which is looked up first in the folder that the environment variable
        ``EMOVOX_WEIGHTS`` names (as ``NAME`` or ``NAME-encoder...``) and then on the Hugging Face hub.

    Returns
    -------
    Weights

    Raises
    ------
    ModelError
        There is no such folder or name, no readable configuration, or no safetensors file.
    MissingExtraError
        The name is on the hub only, and the hub's client is not installed.

    Examples
    --------
    >>> find("no/such/folder")
    Traceback (most recent call last):
    emovox.errors.ModelError: no folder 'no/such/folder' with encoder weights: give a folder that holds config.json ...
    """
    folder = _folder(str(source))
    return Weights(folder, _json(folder / "config.json"), _files(folder))


def _folder(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    name = source.rsplit("/", 1)[-1]
    if (beside := _local(name)) is not None and (source == name or _REPOSITORY.fullmatch(source)):
        return beside
    repository = f"openai/{name}" if source == name and name.startswith("whisper-") else source
    if not _REPOSITORY.fullmatch(repository):
        raise ModelError(
            f"no folder {source!r} with encoder weights: give a folder that holds config.json and model.safetensors, "
            f"or a Hugging Face name such as openai/whisper-tiny.en"
        )
    return _from_hub(repository)


def _local(name: str) -> Path | None:
    """Look a name up in the folder that the environment names."""
    home = os.environ.get(VARIABLE, "")
    if not home or not name:
        return None
    if not Path(home).is_dir():
        raise ModelError(f"{VARIABLE}={home} is not a folder: set it to the folder that holds the checkpoint folders")
    found = sorted(
        path
        for path in Path(home).iterdir()
        if path.is_dir() and (path.name == name or path.name.startswith(f"{name}-encoder"))
    )
    return found[0] if found else None


@lru_cache(maxsize=16)
def _from_hub(repository: str) -> Path:
    """Fetch a checkpoint, or take it from the hub client's own cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(f"fetching {repository} from the Hugging Face hub", "hub") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # a dozen kinds from three libraries: no network, no such name, no permission
        reason = (str(error).strip().splitlines() or [""])[0][:120] or type(error).__name__
        raise ModelError(
            f"cannot get {repository} from the Hugging Face hub ({reason}): give a local folder, "
            f"or set {VARIABLE} to a folder that holds {repository.rsplit('/', 1)[-1]}"
        ) from error


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}: give the folder of a Hugging Face checkpoint") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path} ({error}): get the checkpoint again") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not a JSON object: get the checkpoint again")
    return values


def _files(folder: Path) -> tuple[Path, ...]:
    whole = folder / "model.safetensors"
    files = (whole,) if whole.is_file() else tuple(sorted(folder.glob("model-*-of-*.safetensors")))
    if not files:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in REFUSED)
        seen = f"only {others[0]}, which may run code when it is read" if others else "no model.safetensors"
        raise ModelError(f"{folder} has {seen}: emovox reads safetensors only; get the checkpoint in that format")
    return files


def read_tensors(
    weights: Weights, wanted: dict[str, tuple[int, ...]], prefixes: Sequence[str] = ("",)
) -> dict[str, Tensor]:
    """Read some tensors of a checkpoint as float32; the others are not even loaded.

    Parameters
    ----------
    weights : Weights
        Where they are.
    wanted : dict of str to tuple of int
        Names, without prefix, and shapes.
    prefixes : sequence of str
        What the names may begin with in the file.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    ModelError
        A tensor is missing, of another shape or not finite, or a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    names = {prefix + name: name for name in wanted for prefix in prefixes}
    for path in weights.files:
        try:
            with safe_open(path, framework="pt") as file:
                found |= {names[key]: file.get_tensor(key).float() for key in file.keys() if key in names}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is not a safetensors file that can be read ({error}): get it again") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelError(
            f"{weights.folder} lacks {len(missing)} tensors, the first is {prefixes[0]}{missing[0]}: "
            "get the checkpoint again"
        )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ModelError(
                f"{weights.folder}: tensor {prefixes[0]}{name} has shape {tuple(found[name].shape)}, expected {shape}: "
                "config.json and model.safetensors do not belong together"
            )
        if not found[name].isfinite().all():
            raise ModelError(f"{weights.folder}: tensor {prefixes[0]}{name} is not finite: get the checkpoint again")
    return found
