"""Exceptions of emovox.

::

    EmovoxError
    ├── InputError (ValueError)          invalid input or option; the command line exits with 2
    │   ├── AudioError                   a recording cannot be opened, decoded or analysed
    │   │   └── NoSpeechError            a recording contains no speech
    │   ├── CorpusError                  a corpus folder or manifest cannot be read
    │   ├── ProtocolError                a split is impossible, or violates its guarantees
    │   ├── RecipeError                  a recipe has an unknown key or an invalid value
    │   ├── FeatureError                 an unknown feature set, or an invalid parameter of one
    │   ├── ModelError                   a model file is invalid, or needs another version of emovox
    │   ├── ProfileError                 a speaker profile is missing, damaged, or made with another model
    │   └── TranscriptError              a transcript is missing, cannot be recognised, or does not match its recording
    ├── WorkerError                      a process that worked on a recording, beside others that go on
    │   ├── WorkerKilledError            ... was killed, by the system or by the recording itself
    │   └── WorkerHungError              ... gave no sign of life for too long
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Every message is one line with the value, what was expected and what to do.  Each class has a `code`, which stays the
same from version to version: programs go by it, and not by the wording.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class EmovoxError(Exception):
    """Base class of all exceptions of emovox."""

    #: Name of the kind of error for programs.
    code: ClassVar[str] = "error"


class InputError(EmovoxError, ValueError):
    """Invalid input or option."""

    code = "invalid_input"


class AudioError(InputError):
    """A recording cannot be opened, decoded or analysed."""

    code = "invalid_audio"


class NoSpeechError(AudioError):
    """A recording contains no speech, according to the speech gate."""

    code = "no_speech"


class CorpusError(InputError):
    """A corpus folder or a manifest cannot be read."""

    code = "invalid_corpus"


class ProtocolError(InputError):
    """A split is impossible, or violates its guarantees."""

    code = "invalid_protocol"


class RecipeError(InputError):
    """A recipe has an unknown key or an invalid value."""

    code = "invalid_recipe"


class FeatureError(InputError):
    """An unknown feature set, or an invalid parameter of one."""

    code = "invalid_feature"


class ModelError(InputError):
    """A model file is invalid, or needs another version of emovox."""

    code = "invalid_model"


class ProfileError(InputError):
    """A speaker profile is missing, damaged, or made with another model."""

    code = "invalid_profile"


class TranscriptError(InputError):
    """A transcript is missing, cannot be recognised, or does not match its recording."""

    code = "invalid_transcript"


class WorkerError(EmovoxError):
    """A process that worked on a recording failed; the others go on."""

    code = "internal_error"


class WorkerKilledError(WorkerError):
    """A process that worked on a recording was killed, by the system or by the recording itself."""

    code = "worker_killed"


class WorkerHungError(WorkerError):
    """A process that worked on a recording gave no sign of life for too long."""

    code = "worker_hung"


class MissingExtraError(EmovoxError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    what : str
        What needs the dependency, as the subject of a sentence: ``"reading m4a"``.
    extra : str
        The extra that brings the dependency: ``"formats"``.
    package : str, optional
        What has to be installed besides the extra.

    Examples
    --------
    >>> str(MissingExtraError("training", "train"))
    "training needs the [train] extra, which is not installed: pip install 'emovox[train]'"
    >>> str(MissingExtraError("gs://calls", "cloud", "gcsfs"))
    "gs://calls needs the [cloud] extra and gcsfs, which are not installed: pip install 'emovox[cloud]' gcsfs"
    """

    code = "missing_extra"

    def __init__(self, what: str, extra: str, package: str = "") -> None:
        self.extra = extra
        missing = f"[{extra}] extra and {package}, which are" if package else f"[{extra}] extra, which is"
        install = f"'emovox[{extra}]' {package}".rstrip()
        super().__init__(f"{what} needs the {missing} not installed: pip install {install}")


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return the remedy for messages about an unknown name: the closest match and the allowed names.

    Examples
    --------
    >>> did_you_mean("hapy", ["happy", "sad"])
    "did you mean 'happy'? choose one of happy, sad"
    """
    import difflib

    names = list(allowed)
    near = difflib.get_close_matches(word, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"choose one of {', '.join(names) or '(none)'}"


def reason(failure: Exception) -> str:
    """Put in one line what a library said."""
    text = getattr(failure, "error_string", None) or getattr(failure, "strerror", None) or failure
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".") or type(failure).__name__


def was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: a library in C that is stopped while it loads raises ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None
