"""Reader of LibriSpeech, read speech without emotion labels: what ordinary voices and rooms sound like."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped

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
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    named = [file for file in files if matches(file)]
    notes["not named like LibriSpeech"] += [str(file) for file in files if not matches(file)]
    if not named:
        raise no_recordings(root, files, "LibriSpeech (named like 103-1240-0000.flac)")
    clips = [
        Clip(file=str(file), label=READ, speaker=f"librispeech/{file.stem.partition('-')[0]}")
        for file in distinct(named, lambda file: file.stem, notes)
    ]
    return Corpus("librispeech", root, PROVENANCE, from_clips(clips, "librispeech", PROVENANCE), skipped(notes))


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of LibriSpeech."""
    return _NAME.fullmatch(file.stem) is not None
