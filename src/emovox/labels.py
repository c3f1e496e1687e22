"""Common emotion labels, and their synonyms in corpora."""

from __future__ import annotations

from collections.abc import Iterable

#: Common labels: the eight emotions of RAVDESS, in its order.
COMMON: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

#: Synonyms and corpus codes of the common labels.
SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "ang": "angry",
    "calmness": "calm",
    "disgusted": "disgust",
    "dis": "disgust",
    "fear": "fearful",
    "fea": "fearful",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
    "ps": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}


def canonical(label: str) -> str:
    """Map a label of a corpus to the common label; labels without a counterpart are kept.

    Parameters
    ----------
    label : str
        Any spelling, such as ``"Fear"``, ``"ps"``, ``"boredom"``.

    Returns
    -------
    str
        A member of :data:`COMMON` if there is one, else the label in lower case with underscores for blanks.

    Examples
    --------
    >>> canonical("Fear"), canonical("ps"), canonical("boredom")
    ('fearful', 'surprised', 'boredom')
    """
    word = label.strip().lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(word, word)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: common ones first, in the order of :data:`COMMON`, then the others by name.

    Examples
    --------
    >>> ordered(["boredom", "sad", "neutral"])
    ('neutral', 'sad', 'boredom')
    """
    present = set(labels)
    return tuple(name for name in COMMON if name in present) + tuple(sorted(present - set(COMMON)))
