"""Reader of ASED, the Amharic speech emotion dataset: 65 ordinary speakers in ordinary rooms."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from emovox.lab.corpora import named
from emovox.lab.corpora.table import Clip, Corpus, Provenance

PROVENANCE = Provenance(
    licence="not stated; the authors call it freely available",
    citation=(
        "Retta EA, Almekhlafi E, Sutcliffe R, Mhamed M, Ali H, Feng J (2022). A new Amharic speech emotion dataset and "
        "classification benchmark. ACM TALLIP 22(1)"
    ),
    url="https://github.com/Ethio2021/ASED_V1",
)

_EMOTIONS = {"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"}
_SEXES = {"01": "male", "02": "female"}
_NAME = re.compile(
    rf"(?P<emotion>{'|'.join(_EMOTIONS)})-(?P<sentence>\d\d)-(?P<repetition>\d\d)-(?P<sex>01|02)-(?P<speaker>\d\d)",
    re.IGNORECASE,
)


def ased(root: Path) -> Corpus:
    """Read ASED from its file names: emotion, sentence, repetition, sex, speaker.

    Parameters
    ----------
    root : Path
        Folder with the recordings (a folder for each emotion), or any folder above it.

    Returns
    -------
    Corpus
        Speakers ``"ased/01"`` to ``"ased/65"``.  The sentences differ by emotion, so that scores inside this corpus
        also measure the text; it is named by emotion and number, such as ``"s4-02"``.

    Raises
    ------
    CorpusError
        No recording of ASED in the folder.
    """
    return named.read(root, "ased", PROVENANCE, "ASED (named like n1-04-02-02-01.wav)", matches, _clip)


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of ASED."""
    return _NAME.fullmatch(file.stem) is not None


def _clip(file: PurePosixPath) -> Clip:
    """Parse one file name such as ``n1-04-02-02-01``."""
    emotion, sentence, _, sex, speaker = file.stem.lower().split("-")
    return Clip(
        file=str(file),
        label=_EMOTIONS[emotion],
        speaker=f"ased/{speaker}",
        sex=_SEXES[sex],
        text=f"{emotion}-{sentence}",
    )
