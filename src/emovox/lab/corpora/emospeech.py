"""Reader of the Indian EmoSpeech Command Dataset: command words by phone and browser, labelled by the speakers."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from emovox.lab.corpora import named
from emovox.lab.corpora.table import Clip, Corpus, Provenance
from emovox.labels import canonical

PROVENANCE = Provenance(
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Banga S, Upadhyay U, Agarwal P, Sharma A, Mukherjee P (2019). Indian EmoSpeech Command Dataset: a dataset for "
        "emotion based speech recognition in the wild. arXiv 1910.13801"
    ),
    url="https://github.com/skbanga/Indian-EmoSpeech-Command-Dataset",
)

_NAME = re.compile(
    r"(?P<word>[a-z]+)-(?P<place>safe|scream|[a-z]+)-(?P<emotion>angry|calm|fearful|happy)-(?P<time>\d{10,}|\?\?)"
    r"(-(?P<speaker>[0-9a-f]{16,}))?",
    re.IGNORECASE,
)


def emospeech(root: Path) -> Corpus:
    """Read the corpus from its file names: word, kind, emotion, time, speaker.

    Parameters
    ----------
    root : Path
        Folder with the recordings, or any folder above it.

    Returns
    -------
    Corpus
        Speakers ``"emospeech/c7b43119"``, by the beginning of their digest; recordings of nobody in particular have no
        speaker.  Labels are what the speakers said they expressed, and noisy.

    Raises
    ------
    CorpusError
        No recording of the corpus in the folder.
    """
    return named.read(
        root,
        "emospeech",
        PROVENANCE,
        "EmoSpeech (named like help-safe-angry-1562996360436-c7b431195e28….wav)",
        matches,
        _clip,
    )


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of the corpus."""
    return _NAME.fullmatch(file.stem) is not None


def _clip(file: PurePosixPath) -> Clip:
    """Parse one file name."""
    found = _NAME.fullmatch(file.stem)
    assert found is not None  # `matches` holds
    speaker = (found["speaker"] or "")[:8].lower()
    return Clip(
        file=str(file),
        label=canonical(found["emotion"]),
        speaker=f"emospeech/{speaker}" if speaker else "",
        text=found["word"].lower(),
    )
