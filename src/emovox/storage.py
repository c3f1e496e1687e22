"""What is written and kept: whole files, the cache of emovox, models of the Hugging Face hub.

:func:`find` reads ``config.json`` and ``*.safetensors`` only, so nothing in a checkpoint can run code.  torch is loaded
with the first tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovox.errors import InputError, MissingExtraError, ModelError
from emovox.types import RATE

if TYPE_CHECKING:
    from torch import Tensor

#: What to do when nothing can be written, unless the caller knows better.
ADVICE = "name another file or folder"


@contextmanager
def replacing(path: Path, *, unique: bool = False, advice: str = ADVICE) -> Iterator[Path]:
    """Write a file in one step: the block writes a temporary file, which takes the final name if the block succeeds.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created if it does not exist.
    unique : bool, default False
        Whether the temporary name differs from call to call, for files that several processes or threads may write at
        the same time, such as the entries of a cache.  The last one to finish wins.
    advice : str, default :data:`ADVICE`
        What the message of the error tells the user to do.

    Yields
    ------
    Path
        The temporary file, in the same folder: ``<name>.part``, or ``<name>.<random>.part``.  An exception in the block
        removes it and leaves an existing file as it was.

    Raises
    ------
    InputError
        Nothing can be written there.

    Examples
    --------
    >>> with replacing(Path("out.txt")) as part:
    ...     _ = part.write_text("all of it")
    >>> Path("out.txt").read_text()
    'all of it'
    """
    part = _unique(path) if unique else partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error, advice) from error
    finally:
        with suppress(OSError):
            part.unlink()  # exists only after an exception


@contextmanager
def creating_folder(path: Path) -> Iterator[Path]:
    """Write a new folder in one step: the block fills a temporary one, which takes the final name if it succeeds.

    Parameters
    ----------
    path : Path
        The folder to create; its parents are created if they do not exist.

    Yields
    ------
    Path
        The temporary folder ``<name>.<random>.part``, beside the final one.  An exception in the block removes it.

    Raises
    ------
    InputError
        There is something of that name already, or nothing can be written there.

    Examples
    --------
    >>> with creating_folder(Path("run")) as part:
    ...     _ = (part / "metrics.json").write_text("{}")
    >>> [one.name for one in Path("run").iterdir()]
    ['metrics.json']
    """
    require_new(path)
    part = _unique(path)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # exists only after an exception


def require_new(path: Path) -> None:
    """Check before a long computation that nothing has the name of a folder to create.

    Raises
    ------
    InputError
        Something has it.

    Examples
    --------
    >>> require_new(Path("not-there-yet"))
    """
    if path.exists():
        raise InputError(f"{path} exists already: give another folder with --out, or remove it")


def require_writable(path: Path) -> None:
    """Check before a long computation that a file can be written; its folder is created.

    Parameters
    ----------
    path : Path
        The file to write later.

    Raises
    ------
    InputError
        The file cannot be written.

    Examples
    --------
    >>> require_writable(Path("results") / "call.csv")
    >>> [path.name for path in Path("results").iterdir()]
    []
    """
    part = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        part.touch()
        part.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def partial(path: Path) -> Path:
    """Return the name of a file while it is being written.

    Examples
    --------
    >>> partial(Path("call.vtt")).name
    'call.vtt.part'
    """
    return path.with_name(path.name + ".part")


def _unique(path: Path) -> Path:
    """Return a temporary name that no other writer has."""
    return partial(path.with_name(f"{path.name}.{os.urandom(6).hex()}"))


def cannot_write(path: Path, error: OSError, advice: str = ADVICE) -> InputError:
    """Return the error for a file or folder that cannot be written.

    Examples
    --------
    >>> str(cannot_write(Path("a.csv"), OSError(28, "No space left on device")))
    'cannot write a.csv (No space left on device): name another file or folder'
    """
    return InputError(f"cannot write {path} ({error.strerror or error}): {advice}")


def home_folder() -> Path:
    """Return the user's home folder; one in which nothing is and nothing can be where the user has none.

    A container may run as a user that the system does not know: then only what would be stored there is missing.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull) / "home"


def cache_folder() -> Path:
    """Return the cache folder: the environment variable ``EMOVOX_CACHE``, or the default of the operating system."""
    if "EMOVOX_CACHE" in os.environ:
        return Path(os.environ["EMOVOX_CACHE"])
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Caches" / "emovox"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else home_folder() / ".cache") / "emovox"


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
        parts += [file_digest(path) for path in self.files]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=2**16)
def _digest(path: Path, size: int, changed: int) -> str:
    """Digest of a file's bytes; size and time of change keep a replaced file apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(source: str | Path, kind: CheckpointKind | None = None) -> Weights:
    """Find a checkpoint in safetensors.

    Parameters
    ----------
    source : str or Path
        A folder with ``config.json`` and ``model.safetensors``; or a name such as ``whisper-tiny.en`` or
        ``openai/whisper-tiny.en``, which is looked up first in the folder that the environment variable
        ``EMOVOX_WEIGHTS`` names (as ``NAME`` or ``NAME-encoder...``) and then on the Hugging Face hub.
    kind : CheckpointKind, optional
        What kind it is; the default is the weights of a speech encoder.

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
    folder = locate(source, kind or ENCODERS)
    return Weights(folder, _json(folder / "config.json"), _files(folder))


@dataclass(frozen=True)
class CheckpointKind:
    """What one kind of checkpoint is called, and how a name becomes a folder.

    Attributes
    ----------
    what : str
        Name in messages, for example ``"encoder weights"``.
    holds : str
        What the folder must hold, for messages.
    example : str
        A name on the Hugging Face hub, for messages.
    files : tuple of str
        Patterns of the files to fetch; nothing else is.
    variable : str, default ""
        Environment variable that names a folder of checkpoint folders, looked through before the hub.
    repository : callable
        From a name to the repository on the hub, None where the name can be none.
    download : callable, optional
        From a repository to the path of the fetched folder; the default is the hub's client with `files`.
    """

    what: str
    holds: str
    example: str
    files: tuple[str, ...] = ()
    variable: str = ""
    repository: Callable[[str], str | None] = lambda name: name if is_repository(name) else None
    download: Callable[[str], str] | None = None


def is_repository(name: str) -> bool:
    """Tell whether a name is that of a repository on the hub, ``owner/model``.

    Examples
    --------
    >>> is_repository("openai/whisper-tiny.en"), is_repository("./whisper"), is_repository("tiny")
    (True, False, False)
    """
    return _REPOSITORY.fullmatch(name) is not None


def locate(source: str | Path, kind: CheckpointKind) -> Path:
    """Return the folder of a checkpoint: a local one, one beside others that a variable names, or one from the hub.

    Parameters
    ----------
    source : str or Path
        A folder, or a name.
    kind : CheckpointKind
        What is looked for.

    Returns
    -------
    Path
        A folder; what is in it is not checked.

    Raises
    ------
    ModelError
        There is no such folder or name, or the hub cannot be reached.
    MissingExtraError
        The name is on the hub only, and the hub's client is not installed.
    """
    name = str(source)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if kind.variable and (not path.is_absolute() and not name.startswith((".", "~"))):
        beside = _local(name.rsplit("/", 1)[-1], kind.variable)
        if beside is not None and ("/" not in name or is_repository(name)):
            return beside
    nowhere = path.exists() or path.is_absolute() or name.startswith((".", "~"))
    repository = None if nowhere else kind.repository(name)
    if repository is None:
        raise ModelError(
            f"no folder {name!r} with {kind.what}: give a folder that holds {kind.holds}, "
            f"or a Hugging Face name such as {kind.example}"
        )
    return _from_hub(repository, kind)


def _local(name: str, variable: str) -> Path | None:
    """Look a name up in the folder that an environment variable names."""
    home = os.environ.get(variable, "")
    if not home or not name:
        return None
    if not Path(home).is_dir():
        raise ModelError(f"{variable}={home} is not a folder: set it to the folder that holds the checkpoint folders")
    found = sorted(
        path
        for path in Path(home).iterdir()
        if path.is_dir() and (path.name == name or path.name.startswith(f"{name}-encoder"))
    )
    return found[0] if found else None


@lru_cache(maxsize=16)
def _from_hub(repository: str, kind: CheckpointKind) -> Path:
    """Fetch a checkpoint, or take it from the hub client's own cache."""
    download = kind.download
    if download is None:
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise MissingExtraError(f"fetching {repository} from the Hugging Face hub", "hub") from error

        def download(name: str) -> str:
            return str(snapshot_download(name, allow_patterns=list(kind.files)))

    try:
        return Path(download(repository))
    except Exception as error:  # a dozen kinds from three libraries: no network, no such name, no permission
        first = (str(error).strip().splitlines() or [""])[0].partition(". ")[0].removesuffix(".")
        reason = first[:200] or type(error).__name__
        beside = f", or set {kind.variable} to a folder that holds {repository.rsplit('/', 1)[-1]}"
        raise ModelError(
            f"cannot get {repository} from the Hugging Face hub ({reason}): connect once, or give a local folder"
            f"{beside if kind.variable else ''}"
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, computed once per process and version of the file."""
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns)


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


def _encoder_repository(name: str) -> str | None:
    """Return the repository of an encoder; the names of OpenAI's Whisper models may stand without their owner."""
    full = f"openai/{name}" if "/" not in name and name.startswith("whisper-") else name
    return full if is_repository(full) else None


#: The pretrained speech encoders that models are trained on.
ENCODERS = CheckpointKind(
    "encoder weights",
    "config.json and model.safetensors",
    "openai/whisper-tiny.en",
    HUB_FILES,
    VARIABLE,
    _encoder_repository,
)


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
