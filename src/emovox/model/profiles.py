"""Baselines of settings and speakers: statistics of their utterances, and the profiles that store them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from emovox import __version__
from emovox.errors import InputError, ProfileError, did_you_mean
from emovox.model.file import Model
from emovox.storage import home_folder, replacing
from emovox.types import Float32Array, Float64Array

#: The setting that is no profile: the recordings at hand.
AUTO = "auto"
#: Longest name, in characters and in bytes of UTF-8.
_LONGEST, _LONGEST_BYTES = 64, 200
#: What no file may be called on Windows, whatever its ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def check_name(name: str, kind: str = "speaker") -> str:
    """Check that a name is a valid file name on every system, and return it in Unicode's composed form (NFC).

    Raises
    ------
    ProfileError
        The name is not valid, or is reserved.

    Examples
    --------
    >>> check_name("anna-2"), check_name("Zoe\u0308"), check_name("田中")
    ('anna-2', 'Zoë', '田中')
    """
    name = composed(name)
    if not is_name(name):
        raise ProfileError(
            f"a {kind} cannot be called {name!r}: use up to {_LONGEST} letters and digits of any script, - and _, "
            "beginning with a letter or digit, and no word that Windows keeps for itself"
        )
    if kind == "setting" and name.lower() == AUTO:
        raise ProfileError(f"a setting cannot be called {name!r}: that means the recordings at hand, take another name")
    return name


def is_name(text: str) -> bool:
    """Return whether a text is a valid name, without anything that could be a path."""
    text = composed(text)
    fitting = 0 < len(text) <= _LONGEST and len(text.encode("utf-8", "replace")) <= _LONGEST_BYTES
    if not fitting or text.lower() in _RESERVED:
        return False
    kinds = [unicodedata.category(one) for one in text]
    first = kinds[0][0] == "L" or kinds[0] == "Nd"
    # Letters, marks and decimal digits: many scripts write vowels as marks.
    return first and all(kind[0] in "LM" or kind == "Nd" or one in "-_" for kind, one in zip(kinds, text, strict=True))


def composed(text: str) -> str:
    """Return a text in Unicode's composed form: file systems may give back another one."""
    return unicodedata.normalize("NFC", text)


def default_folder() -> Path:
    """Return the folder of the user's profiles, or that of the environment variable EMOVOX_PROFILES."""
    if "EMOVOX_PROFILES" in os.environ:
        return Path(os.environ["EMOVOX_PROFILES"])
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "emovox" / "profiles"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    return (Path(base) if base else home_folder() / ".local" / "share") / "emovox" / "profiles"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and variance of the axes of utterances: one level of a baseline.

    Attributes
    ----------
    count : int
        Number of utterances; 0: unknown.
    mean, variance : ndarray of float64, shape (r,)
        Mean and variance of their axes, see :class:`emovox.model.file.Model`; the variance is the sum of squares
        divided by `count`.
    neutral : bool
        Whether the utterances are known to be neutral (of a speaker only).

    Examples
    --------
    >>> first, then = Statistics.of([[0.0, 2.0]]), Statistics.of([[2.0, 2.0], [4.0, 5.0]])
    >>> both = first.merged(then)
    >>> both.count, both.mean.tolist(), both.variance.round(3).tolist()
    (3, [2.0, 3.0], [2.667, 2.0])
    """

    count: int
    mean: Float64Array
    variance: Float64Array
    neutral: bool = False

    @classmethod
    def of(cls, axes: ArrayLike) -> Statistics:
        """Compute the statistics of the axes of utterances, shape (n, r)."""
        rows = np.asarray(axes, dtype=np.float64)
        if not len(rows):
            return cls.nothing(rows.shape[1])
        return cls(len(rows), rows.mean(axis=0), rows.var(axis=0))

    @classmethod
    def nothing(cls, width: int) -> Statistics:
        """Return the statistics of no utterances, with the given number of axes."""
        return cls(0, np.zeros(width), np.zeros(width))

    def merged(self, other: Statistics) -> Statistics:
        """Return the statistics of the utterances of both.

        Source
        ------
        T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance", 1983.
        """
        count = self.count + other.count
        if not count:
            return self
        share, apart = other.count / count, other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * apart**2
        return Statistics(count, self.mean + share * apart, variance, self.neutral and other.neutral)

    def packed(self) -> Float32Array:
        """Return one level of a model's input ``baseline``, shape (1 + 2 r,): the count is negative where `neutral`."""
        count = -self.count if self.neutral else self.count
        return np.concatenate([[count], self.mean, self.variance]).astype(np.float32)


#: What a profile can be of.
Subject: TypeAlias = Literal["speaker", "setting"]
#: Version of the file's structure; a file with another one is refused.
FORMAT_VERSION = 4
#: Earlier versions of which files are read, and what they lack.
_EARLIER: dict[int, dict[str, Any]] = {2: {"voice": None, "encoder": None, "neutral": False}, 3: {"neutral": False}}
#: Least speech that makes the baseline of a speaker, in seconds: a short sentence.
LEAST_SPEECH = 1.0
#: Least that makes the baseline of a setting: seconds of speech, or as many recordings.
LEAST_OF_SETTING, LEAST_RECORDINGS = 10.0, 3
#: Command that makes a profile.
COMMAND = {"speaker": "enroll", "setting": "adapt"}
#: Largest number that the models' arithmetic holds.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Profile:
    """Profile of a setting or of a speaker's ordinary voice, valid for one model. It contains no sound.

    Attributes
    ----------
    kind : {"speaker", "setting"}
        A person's voice, or microphone, room and language.
    name : str
        Letters and digits of any script, ``-`` and ``_``.
    model : str
        Name of the model.
    fingerprint : str
        SHA-256 of the model file; the numbers are valid for this model only.
    clips : int
        Number of recordings.
    seconds : float
        Total duration of their utterances in seconds.
    count : int
        Number of utterances.
    mean, variance : tuple of float
        Mean and variance of the utterances' axes, see :class:`emovox.model.profiles.Statistics`.
    setting : str or None
        Name of the setting in which a speaker was recorded, which is used with the profile; None if unknown.
    voice : tuple of float or None
        Voice print of a speaker, by which the speaker is identified; None if none was stored.
    encoder : str or None
        Encoder of the voice print, see :data:`emovox.speech.diarization.NAME`.
    neutral : bool
        Whether the speech of a speaker is known to be neutral.
    created : str
        Date, ISO 8601.
    software : str
        Version of emovox that made it.
    format_version : int
        Version of this structure.

    Raises
    ------
    ProfileError
        The name is not valid, or the numbers are not those of a baseline.
    """

    kind: Subject
    name: str
    model: str
    fingerprint: str
    clips: int
    seconds: float
    count: int
    mean: tuple[float, ...]
    variance: tuple[float, ...]
    setting: str | None = None
    voice: tuple[float, ...] | None = None
    encoder: str | None = None
    neutral: bool = False
    created: str = ""
    software: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.kind not in get_args(Subject):
            raise ProfileError(f"a profile is of a {' or a '.join(get_args(Subject))}, not of a {self.kind!r}")
        check_name(self.name, self.kind)
        if self.setting is not None:
            check_name(self.setting, "setting")
        if complaint := self._complaint():
            raise ProfileError(f"profile {self.name!r} is damaged ({complaint}): {self.again}")

    def _complaint(self) -> str:
        """Say what is wrong with the numbers."""
        # A comparison with NaN is never true.
        if not all(abs(value) <= _LARGEST for value in (*self.mean, *self.variance, *(self.voice or ()), self.seconds)):
            return "its numbers are not all finite"
        if not self.mean or self.count < 1 or self.clips < 1 or self.seconds <= 0:
            return "it holds no speech"
        if len(self.mean) != len(self.variance) or min(self.variance) < 0:
            return "its mean and variance do not fit"
        if self.kind == "setting" and self.setting is not None:
            return "a setting belongs to no other"
        if self.kind == "setting" and self.neutral:
            return "a setting has no mood"
        if (self.voice is None) != (self.encoder is None) or self.voice == ():
            return "its voice is not whole"
        return ""

    @property
    def again(self) -> str:
        """Remedy for error messages about the profile."""
        return f"make it again with emovox {COMMAND[self.kind]} {self.name} AUDIO"

    @property
    def statistics(self) -> Statistics:
        """Count, mean and variance, as arrays."""
        return Statistics(self.count, np.array(self.mean), np.array(self.variance), self.neutral)


def baseline(
    model: Model, setting: Profile | Statistics | None = None, speaker: Profile | Statistics | None = None
) -> Float32Array:
    """Build the input ``baseline`` of a model, float32 of shape (2 + 4 r,), from setting and speaker.

    Parameters
    ----------
    model : Model
        The model; r is its `axes_width`.
    setting, speaker : Profile or Statistics, optional
        Profile or statistics of each; by default unknown.

    Raises
    ------
    ModelError
        The model takes no baseline.
    ProfileError
        A profile was made with another model, has another width than this one's, or is of the other kind.
    """
    model.require_baseline()
    levels = []
    for kind, one in (("setting", setting), ("speaker", speaker)):
        if isinstance(one, Profile):
            _require_fit(one, model, kind)
            one = one.statistics
        levels.append((one or Statistics.nothing(model.axes_width)).packed())
    return np.concatenate(levels)


def _require_fit(profile: Profile, model: Model, kind: str) -> None:
    require_kind(profile, kind)
    if profile.fingerprint != model.fingerprint:
        raise ProfileError(
            f"profile {profile.name!r} was made with another model ({profile.model!r}, {profile.fingerprint[:8]}; this "
            f"is {model.card.name!r}, {model.fingerprint[:8]}): {profile.again}"
        )
    if len(profile.mean) != model.axes_width:
        raise ProfileError(
            f"profile {profile.name!r} is damaged ({len(profile.mean)} axes, model {model.card.name!r} has "
            f"{model.axes_width}): {profile.again}"
        )


def require_neutral(model: Model) -> None:
    """Raise an error if a model does not support speech that is known to be neutral.

    Raises
    ------
    ProfileError
        The model treats such speech as any other.
    """
    if model.card.neutral_threshold is None:
        raise ProfileError(
            f"model {model.card.name!r} makes no difference between neutral and other speech of a speaker: enrol "
            "without --neutral (neutral=True), or train it anew"
        )


def require_kind(profile: Profile, kind: str) -> None:
    """Raise an error if a profile is of the other kind.

    Raises
    ------
    ProfileError
        It is of the other kind.
    """
    if profile.kind != kind:
        raise ProfileError(
            f"profile {profile.name!r} is of a {profile.kind}, not of a {kind}: name it as {profile.kind}"
        )


def build(
    kind: Subject,
    name: str,
    model: Model,
    heard: Statistics,
    *,
    clips: int,
    seconds: float,
    setting: str | None = None,
    voice: Float32Array | None = None,
    encoder: str | None = None,
    neutral: bool = False,
) -> Profile:
    """Build a profile from the statistics of utterances.

    Parameters
    ----------
    kind : {"speaker", "setting"}
        Kind of the profile.
    name : str
        Name of the profile.
    model : Model
        The model that computed the axes.
    heard : Statistics
        Statistics of the axes of the utterances.
    clips : int
        Number of recordings.
    seconds : float
        Total duration of the utterances in seconds.
    setting : str, optional
        The setting in which a speaker was recorded.
    voice, encoder : ndarray of float32 and str, optional
        Voice print of a speaker, and name of its encoder.
    neutral : bool, default False
        Whether the speech of a speaker is known to be neutral; see :func:`require_neutral`.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        Too little was heard: less than :data:`LEAST_SPEECH` of a speaker; of a setting less than
        :data:`LEAST_OF_SETTING` in fewer than :data:`LEAST_RECORDINGS` recordings.  Or the name is not possible.
    """
    if kind == "speaker" and seconds < LEAST_SPEECH:
        raise ProfileError(
            f"{seconds:.1f} s of speech are too little for a profile: give {LEAST_SPEECH:g} s, better 5 s or more"
        )
    if kind == "setting" and seconds < LEAST_OF_SETTING and clips < LEAST_RECORDINGS:
        raise ProfileError(
            f"{seconds:.1f} s of speech in {clips} recordings are too little for a setting: give "
            f"{LEAST_OF_SETTING:g} s or {LEAST_RECORDINGS} recordings, better 50 of different moods and speakers"
        )
    mean, variance = (tuple(values.astype(np.float32).tolist()) for values in (heard.mean, heard.variance))
    return Profile(
        kind=kind,
        name=check_name(name, kind),
        model=model.card.name,
        fingerprint=model.fingerprint,
        clips=clips,
        seconds=round(seconds, 3),
        count=heard.count,
        mean=mean,
        variance=variance,
        setting=setting and check_name(setting, "setting"),
        voice=None if voice is None else tuple(voice.astype(np.float32).tolist()),
        encoder=encoder,
        neutral=neutral,
        created=datetime.date.today().isoformat(),
        software=__version__,
    )


def folder_of(kind: Subject) -> Path:
    """Return the folder of the user's profiles of a kind: those of settings are in a folder of their own."""
    return default_folder() / "settings" if kind == "setting" else default_folder()


def stored(name: str, kind: Subject = "speaker") -> Path:
    """Return the path at which the profile of a speaker or setting is or would be stored.

    Raises
    ------
    ProfileError
        The name is not valid.
    """
    return folder_of(kind) / f"{check_name(name, kind)}.json"


def names(kind: Subject = "speaker") -> tuple[str, ...]:
    """Return the names of the speakers, or settings, in the user's folder."""
    found = (composed(path.stem) for path in folder_of(kind).glob("*.json"))
    return tuple(sorted(name for name in found if is_name(name)))


def find(name: str | os.PathLike[str], kind: Subject = "speaker") -> Profile:
    """Read the profile of a speaker or setting.

    Parameters
    ----------
    name : str or path
        Name in the user's folder, or path of a profile.
    kind : {"speaker", "setting"}, default "speaker"
        Expected kind.

    Raises
    ------
    ProfileError
        The profile does not exist, or cannot be used.
    """
    text = os.fspath(name)  # what is not possible as a name has a suffix or a folder: it is a path
    there = os.path.exists(text)  # noqa: PTH110 - pathlib raises where a folder may not be entered
    here = is_name(text) and (composed(text) in names(kind) or not there)
    profile = read(known(text, kind) if here else Path(text))
    require_kind(profile, kind)
    return profile


def given(
    speaker: Profile | str | os.PathLike[str] | None, setting: Profile | str | os.PathLike[str] | None
) -> tuple[Profile | None, Profile | str | None]:
    """Read profiles by name or path; without a setting, use the one that the speaker belongs to.

    Returns
    -------
    speaker : Profile or None
    setting : Profile, "auto" or None

    Raises
    ------
    ProfileError
        A profile does not exist, or is of the other kind.
    """
    who = _given(speaker, "speaker")
    if setting == AUTO:
        return who, AUTO
    if setting is None and who and who.setting:
        if who.setting not in names("setting"):
            raise ProfileError(
                f"speaker {who.name!r} belongs to the setting {who.setting!r}, of which there is no profile: make it "
                f"with emovox adapt {who.setting} AUDIO, or name another setting"
            )
        setting = who.setting
    return who, _given(setting, "setting")


def _given(one: Profile | str | os.PathLike[str] | None, kind: Subject) -> Profile | None:
    if isinstance(one, Profile):
        require_kind(one, kind)
    return find(one, kind) if isinstance(one, str | os.PathLike) else one


def remove(name: str, kind: Subject = "speaker") -> Path:
    """Delete a profile from the user's folder, and return its path.

    Raises
    ------
    ProfileError
        The profile does not exist, or cannot be deleted.
    """
    path = known(name, kind)
    try:
        path.unlink()
    except OSError as error:
        raise ProfileError(f"cannot delete {path} ({error.strerror}): check its permissions") from error
    return path


def known(name: str, kind: Subject = "speaker") -> Path:
    """Return the path of an existing profile; otherwise raise a ProfileError with the nearest name."""
    path, there = stored(name, kind), names(kind)
    if composed(name) not in there:
        what = "profile" if kind == "speaker" else kind
        raise ProfileError(
            f"there is no {what} of {name!r}: {did_you_mean(name, there)}, "
            f"or make it with emovox {COMMAND[kind]} {name} AUDIO"
        )
    return path


def require_free(path: Path) -> None:
    """Raise an error if a new profile would replace a file; called before recordings are read.

    Raises
    ------
    ProfileError
        A file or folder exists, or its existence cannot be determined.
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
        Target path; ``--speaker`` and ``--setting`` look for names at :func:`stored`.

    Raises
    ------
    ProfileError
        The file cannot be written; no partial file is left.

    Examples
    --------
    >>> numbers = {"count": 3, "mean": (0.5, -1.0), "variance": (1.0, 0.25)}
    >>> anna = Profile("speaker", "anna", "demo", "0" * 64, clips=2, seconds=6.5, **numbers)
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
    """Read a profile strictly, without defaults for missing values.

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
        The file does not exist, is not a profile, or has another format version.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"there is no profile {path}: check the path, or make it with emovox enroll") from None
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path} ({error.strerror}): name a profile file") from error
    except (ValueError, RecursionError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise ProfileError(f"{path} is not a profile ({why}): enrol again") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version in _EARLIER:
        values, version = {**_EARLIER[version], **values, "format_version": FORMAT_VERSION}, FORMAT_VERSION
    if isinstance(version, int) and not isinstance(version, bool) and version != FORMAT_VERSION:
        older = version < FORMAT_VERSION
        raise ProfileError(
            f"{path} has profile format {version}, expected {FORMAT_VERSION}: "
            + ("an older emovox made it; enrol again" if older else "upgrade, or enrol again")
        )
    if complaint := _complaint(values):
        raise ProfileError(f"{path} is not a profile ({complaint}): enrol again")
    lists = {key: tuple(map(float, values[key])) for key in ("mean", "variance", "voice") if values[key] is not None}
    return Profile(**(values | lists))


#: The keys of a file and what each holds.
_KINDS: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "name": (str,),
    "model": (str,),
    "fingerprint": (str,),
    "clips": (int,),
    "seconds": (int, float),
    "count": (int,),
    "mean": (list,),
    "variance": (list,),
    "setting": (str, type(None)),
    "voice": (list, type(None)),
    "encoder": (str, type(None)),
    "neutral": (bool,),
    "created": (str,),
    "software": (str,),
    "format_version": (int,),
}


def _complaint(values: Any) -> str:
    """Say what is wrong with the form of a file's content, nothing where it is sound."""
    if not isinstance(values, dict):
        return "not a JSON object"
    if wrong := _KINDS.keys() ^ values.keys():
        key = min(wrong)
        return f"{key!r} is missing" if key in _KINDS else f"{key!r} is no key of it"
    for key, kinds in _KINDS.items():
        if not isinstance(values[key], kinds) or isinstance(values[key], bool) is not (kinds == (bool,)):
            return f"{key!r} is {json.dumps(values[key])[:20]}, not {' or '.join(kind.__name__ for kind in kinds)}"
    # A comparison with NaN is never true, and larger whole numbers are no floats.
    numbers = [values[key] for key in ("seconds", "clips", "count")]
    numbers += [one for key in ("mean", "variance", "voice") for one in values[key] or ()]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) <= _LARGEST for one in numbers):
        return "it holds something that is not a finite number"
    return ""


def voices() -> tuple[Profile, ...]:
    """Return the stored speakers with a voice print; unreadable profiles are skipped."""
    found = []
    for name in names():
        with suppress(ProfileError):
            found.append(find(name))
    return tuple(one for one in found if one.voice)
