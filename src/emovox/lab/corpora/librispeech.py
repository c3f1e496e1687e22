"""Reader of LibriSpeech, read speech without emotion labels: what ordinary voices and rooms sound like."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from emovox.lab.corpora import named
from emovox.lab.corpora.table import Clip, Corpus, Provenance

PROVENANCE = Provenance(
    licence="CC BY 4.0",
    citation=(
        "Panayotov V, Chen G, Povey D, Khudanpur S (2015). LibriSpeech: an ASR corpus based on public domain audio "
        "books. ICASSP 2015"
    ),
    url="https://www.openslr.org/12",
)

#: Label of all its clips: what is read aloud is mostly neutral, and nobody has said so.
READ = "read"
_NAME = re.compile(r"(?P<speaker>\d{2,5})-(?P<chapter>\d{3,7})-(?P<number>\d{4})")


def librispeech(root: Path) -> Corpus:
    """Read LibriSpeech from its file names: speaker, chapter, number.

    Parameters
    ----------
    root : Path
        Folder with the recordings, or any folder above it.

    Returns
    -------
    Corpus
        Speakers ``"librispeech/103"`` and so on; the label of all clips is ``"read"``.

    Raises
    ------
    CorpusError
        No recording of LibriSpeech in the folder.
    """
    return named.read(root, "librispeech", PROVENANCE, "LibriSpeech (named like 103-1240-0000.flac)", matches, _clip)


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of LibriSpeech."""
    return _NAME.fullmatch(file.stem) is not None


def _clip(file: PurePosixPath) -> Clip:
    """Parse one file name."""
    return Clip(file=str(file), label=READ, speaker=f"librispeech/{file.stem.partition('-')[0]}")
