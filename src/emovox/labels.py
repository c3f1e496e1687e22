"""The emotion vocabulary, and how each corpus's own words map onto it."""

from __future__ import annotations

from collections.abc import Iterable

#: The common set: RAVDESS's eight emotions, in RAVDESS's order.
COMMON: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

#: Words that corpora and people use for a common label.  Labels not listed here are kept as they are.
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
    """Map a corpus's own word onto the common set; words without a counterpart are kept.

    Parameters
    ----------
    label : str
        Any spelling: ``"Fear"``, ``"ps"``, ``"boredom"``.

    Returns
    -------
    str
        Lower case, a member of :data:`COMMON` where one fits.

    Examples
    --------
    >>> canonical("Fear"), canonical("ps"), canonical("boredom")
    ('fearful', 'surprised', 'boredom')
    """
    word = label.strip().lower().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(word, word)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: the common ones first, in their fixed order, then the others by name.

    Examples
    --------
    >>> ordered(["boredom", "sad", "neutral"])
    ('neutral', 'sad', 'boredom')
    """
    present = set(labels)
    return tuple(name for name in COMMON if name in present) + tuple(sorted(present - set(COMMON)))
