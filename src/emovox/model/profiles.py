"""A speaker's personal baseline: what a voice is ordinarily like, as numbers without the sound, one small file each."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emovox.errors import InputError, ModelError, ProfileError, did_you_mean
from emovox.model.file import Model
from emovox.types import Float32Array
from emovox.version import __version__
from emovox.writing import home_folder, replacing

#: Version of the file's structure; a file with another one is refused.
FORMAT_VERSION = 1
#: Least speech that makes a baseline, in seconds: a short sentence.
LEAST_SPEECH = 1.0
#: What a speaker may be called; a name is also a file name, and nothing in it can be taken for a path.
#: Longest name of a speaker.
_LONGEST = 64
#: Largest number that the models' arithmetic holds.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Profile:
    """What the voice of a speaker is ordinarily like, as one model hears it.  There is no sound in it.

    Attributes
    ----------
    name : str
        The speaker: letters, digits, ``-`` and ``_``.
    model : str
        Name of the model that heard the voice.
    fingerprint : str
        Digest of that model's file: no other model understands the numbers.
    clips : int
        Number of recordings.
    seconds : float
        How long their windows with speech were together.
    embedding : tuple of float
        Mean of the windows' embeddings, weighted by their lengths.
    created : str
        Date, ISO 8601.
    software : str
        Version of emovox that made it.
    format_version : int
        Version of this structure.

    Raises
    ------
    ProfileError
        The name is not possible as a file name, or the embedding has no number or one that is not finite.
    """

    name: str
    model: str
    fingerprint: str
    clips: int
    seconds: float
    embedding: tuple[float, ...]
    created: str = ""
    software: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.embedding or not all(abs(value) <= _LARGEST for value in self.embedding):
            raise ProfileError(f"profile {self.name!r} is damaged (its numbers are not all finite): enrol again")

    def baseline(self, model: Model) -> Float32Array:
        """Return what a model takes as this speaker's baseline, float32 of shape (d,).

        Raises
        ------
        ModelError
            The model takes no baseline.
        ProfileError
            The profile was made with another model, or has another width than this one's.
        """
        require_baseline(model)
        if self.fingerprint != model.fingerprint:
            raise ProfileError(
                f"profile {self.name!r} was made with another model ({self.model!r}, {self.fingerprint[:8]}; this is "
                f"{model.card.name!r}, {model.fingerprint[:8]}): enrol {self.name} again with this one"
            )
        if len(self.embedding) != model.embedding_width:
            raise ProfileError(
                f"profile {self.name!r} is damaged ({len(self.embedding)} numbers, model {model.card.name!r} takes "
                f"{model.embedding_width}): enrol again"
            )
        return np.array(self.embedding, dtype=np.float32)


def require_baseline(model: Model) -> None:
    """Make sure that a model can use a baseline.

    Raises
    ------
    ModelError
        It cannot.
    """
    if not model.takes_baseline:
        raise ModelError(f"model {model.card.name!r} takes no personal baseline: use a model that does, or no speaker")


def _is_name(text: str) -> bool:
    """Tell whether a text is letters, with the marks on them, digits, ``-`` and ``_``, a letter or digit first."""
    kinds = [unicodedata.category(one)[0] for one in text]
    plain = all(kind in "LNM" or one in "-_" for one, kind in zip(text, kinds, strict=True))
    return plain and 0 < len(text) <= _LONGEST and kinds[0] in "LN"


def check_name(name: str) -> str:
    """Make sure that a speaker's name can be a file's name everywhere.

    Raises
    ------
    ProfileError
        It cannot.

    Examples
    --------
    >>> check_name("anna-2")
    'anna-2'
    """
    if not _is_name(name):
        raise ProfileError(
            f"a speaker cannot be called {name!r}: use up to 64 letters of any script, digits, - and _, "
            "beginning with a letter or digit"
        )
    return name


def build(name: str, model: Model, embeddings: Sequence[Float32Array], seconds: Sequence[float], clips: int) -> Profile:
    """Make a profile of what a model heard in a speaker's ordinary speech.

    Parameters
    ----------
    name : str
        The speaker.
    model : Model
        What heard it.
    embeddings : sequence of ndarray of float32, shape (d,)
        One a window.
    seconds : sequence of float
        The windows' lengths.
    clips : int
        Number of recordings that the windows come from.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        There is less than :data:`LEAST_SPEECH` in all, or the name is not possible.
    """
    total = math.fsum(seconds)
    if total < LEAST_SPEECH:
        raise ProfileError(
            f"{total:.1f} s of speech are too little for a profile: give {LEAST_SPEECH:g} s, better 5 s or more"
        )
    mean = np.average(np.asarray(embeddings, dtype=np.float64), axis=0, weights=np.asarray(seconds))
    return Profile(
        name=name,
        model=model.card.name,
        fingerprint=model.fingerprint,
        clips=clips,
        seconds=round(total, 3),
        embedding=tuple(mean.astype(np.float32).tolist()),
        created=datetime.date.today().isoformat(),
        software=__version__,
    )


def default_folder() -> Path:
    """Return the folder of the user's profiles, or what the environment variable EMOVOX_PROFILES says."""
    if "EMOVOX_PROFILES" in os.environ:
        return Path(os.environ["EMOVOX_PROFILES"])
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "emovox" / "profiles"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    return (Path(base) if base else home_folder() / ".local" / "share") / "emovox" / "profiles"


def stored(name: str) -> Path:
    """Return where the profile of a speaker is kept, or would be.

    Raises
    ------
    ProfileError
        The name is not possible.
    """
    return default_folder() / f"{check_name(name)}.json"


def names() -> tuple[str, ...]:
    """Return the speakers in the user's folder."""
    return tuple(sorted(path.stem for path in default_folder().glob("*.json") if _is_name(path.stem)))


def find(speaker: str) -> Profile:
    """Read the profile of a speaker.

    Parameters
    ----------
    speaker : str
        Name of a speaker in the user's folder, or path of a profile.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        There is none, or it cannot be used.
    """
    if not _is_name(speaker):  # a suffix or a folder: a path
        return read(Path(speaker))
    if speaker in names() or not Path(speaker).exists():
        return read(_known(speaker))
    return read(Path(speaker))


def remove(name: str) -> Path:
    """Delete the profile of a speaker from the user's folder, and return where it was.

    Raises
    ------
    ProfileError
        There is none, or it cannot be deleted.
    """
    path = _known(name)
    try:
        path.unlink()
    except OSError as error:
        raise ProfileError(f"cannot delete {path} ({error.strerror}): check its permissions") from error
    return path


def _known(name: str) -> Path:
    path = stored(name)
    if name not in names():
        raise ProfileError(
            f"there is no profile of {name!r}: {did_you_mean(name, names())}, "
            f"or make it with emovox enroll {name} AUDIO"
        )
    return path


def require_free(path: Path) -> None:
    """Make sure that a new profile would replace nothing, before any recording is read for it.

    Raises
    ------
    ProfileError
        There is a file or folder already, or no telling.
    """
    try:
        taken = path.exists()
    except OSError as error:
        raise _unwritable(path, error) from error
    if taken:
        raise ProfileError(f"{path} exists already: --force replaces it")


def _unwritable(path: Path, error: OSError) -> ProfileError:
    return ProfileError(f"cannot write {path} ({error.strerror}): name another file or folder")


def save(profile: Profile, path: Path) -> None:
    """Write a profile in one step, readable for its owner only; an existing file is replaced.

    Parameters
    ----------
    profile : Profile
        What to write.
    path : Path
        Where; :func:`stored` gives the place where ``--speaker`` looks for a name.

    Raises
    ------
    ProfileError
        It cannot be written there; nothing is left behind.

    Examples
    --------
    >>> anna = Profile("anna", "demo", "0" * 64, clips=2, seconds=6.5, embedding=(0.5, -1.0))
    >>> save(anna, Path("anna.json"))
    >>> read(Path("anna.json")) == anna
    True
    """
    text = json.dumps(dataclasses.asdict(profile), indent=1) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, unique=True) as part:
            part.touch(mode=0o600)
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error
    except InputError as error:
        raise ProfileError(str(error)) from error


def read(path: Path) -> Profile:
    """Read a profile strictly: nothing is guessed and nothing is left out.

    Parameters
    ----------
    path : Path
        A file that :func:`save` wrote.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        There is no such file, it is not a profile, or it is one of another format.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"there is no profile {path}: check the path, or make it with emovox enroll") from None
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path} ({error.strerror}): name a profile file") from error
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path} is not a profile ({_short(error)}): enrol again") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise ProfileError(f"{path} has profile format {version}, expected {FORMAT_VERSION}: upgrade, or enrol again")
    if complaint := _complaint(values):
        raise ProfileError(f"{path} is not a profile ({complaint}): enrol again")
    return Profile(**{**values, "embedding": tuple(map(float, values["embedding"]))})


#: The keys of a file and what each holds.
_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "model": (str,),
    "fingerprint": (str,),
    "clips": (int,),
    "seconds": (int, float),
    "embedding": (list,),
    "created": (str,),
    "software": (str,),
    "format_version": (int,),
}


def _complaint(values: Any) -> str:
    """Say what is wrong with a file's content, nothing where it is sound."""
    if not isinstance(values, dict):
        return "not a JSON object"
    if wrong := _KINDS.keys() ^ values.keys():
        key = min(wrong)
        return f"{key!r} is missing" if key in _KINDS else f"{key!r} is no key of it"
    for key, kinds in _KINDS.items():
        if not isinstance(values[key], kinds) or isinstance(values[key], bool):
            return f"{key!r} is {json.dumps(values[key])[:20]}, not {' or '.join(kind.__name__ for kind in kinds)}"
    # A comparison with NaN is never true.
    numbers = [values["seconds"], values["clips"], *values["embedding"]]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) <= _LARGEST for one in numbers):
        return "it holds something that is not a finite number"
    if not values["embedding"] or values["clips"] < 1 or values["seconds"] <= 0:
        return "it holds no speech"
    return ""


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
