"""The exceptions emovox raises on purpose.

::

    EmovoxError
    ├── InputError (ValueError)          something the user gave cannot be used; the command line exits with 2
    │   ├── AudioError                   a recording cannot be opened, decoded or analysed
    │   │   └── NoSpeechError            nobody speaks in it, so there is nothing to recognise
    │   ├── CorpusError                  a corpus folder or manifest cannot be read
    │   ├── ProtocolError                a split cannot be made, or would not be what it claims to be
    │   ├── RecipeError                  a recipe has an unknown key or an impossible value
    │   ├── FeatureError                 an unknown feature set or a parameter it does not have
    │   ├── ModelError                   a model file is not one of ours or cannot be reproduced by this version
    │   ├── ProfileError                 a speaker's profile is not there, damaged, or made with another model
    │   └── TranscriptError              the words of a recording cannot be had, or do not belong to it
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Every message is one line that names the value, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EmovoxError(Exception):
    """Base of every exception emovox raises on purpose."""


class InputError(EmovoxError, ValueError):
    """Something the user gave cannot be used."""


class AudioError(InputError):
    """A recording cannot be opened, decoded or analysed."""


class NoSpeechError(AudioError):
    """Nobody speaks in a recording, as far as the speech gate can tell."""


class CorpusError(InputError):
    """A corpus folder or a manifest cannot be read."""


class ProtocolError(InputError):
    """A split cannot be made, or would not be what it claims to be."""


class RecipeError(InputError):
    """A recipe has an unknown key or an impossible value."""


class FeatureError(InputError):
    """An unknown feature set, or a parameter it does not have."""


class ModelError(InputError):
    """A model file is not one of ours, or this version cannot reproduce it."""


class ProfileError(InputError):
    """A speaker's profile is not there, is damaged, or was made with another model."""


class TranscriptError(InputError):
    """The words of a recording cannot be had, or do not belong to it."""


class MissingExtraError(EmovoxError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    what : str
        What the user wanted to do, as the subject of a sentence: ``"reading m4a"``.
    extra : str
        The extra that brings the dependency: ``"formats"``.

    Examples
    --------
    >>> str(MissingExtraError("training", "train"))
    "training needs the [train] extra, which is not installed: pip install 'emovox[train]'"
    """

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the [{extra}] extra, which is not installed: pip install 'emovox[{extra}]'")


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Tell what is allowed, the nearest first: the remedy in messages about a name that is not known.

    Examples
    --------
    >>> did_you_mean("hapy", ["happy", "sad"])
    "did you mean 'happy'? choose one of happy, sad"
    """
    names = list(allowed)
    near = difflib.get_close_matches(word, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"choose one of {', '.join(names) or '(none)'}"
