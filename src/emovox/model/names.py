"""What speakers and settings may be called: names in any script that are file names everywhere, too."""

from __future__ import annotations

import unicodedata

from emovox.errors import ProfileError

#: The setting that is no profile: the recordings at hand.
AUTO = "auto"
#: Longest name, in characters and in bytes of UTF-8.
_LONGEST, _LONGEST_BYTES = 64, 200
#: What no file may be called on Windows, whatever its ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def check_name(name: str, kind: str = "speaker") -> str:
    """Make sure that a name can be a file's name everywhere, and return it in Unicode's composed form (NFC).

    Raises
    ------
    ProfileError
        It cannot, or it is a setting's and means something else.

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
    """Tell whether a text can be a name: nothing in it can be taken for a path."""
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
