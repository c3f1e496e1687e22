"""Corpora whose file names say everything: one way to read them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped


def read(
    root: Path,
    name: str,
    provenance: Provenance,
    example: str,
    matches: Callable[[PurePosixPath], bool],
    clip: Callable[[PurePosixPath], Clip],
) -> Corpus:
    """Read the recordings below a folder that are named like those of a corpus; the others are skipped.

    Parameters
    ----------
    root : Path
        Folder with the recordings, or any folder above it.
    name : str
        Name of the corpus.
    provenance : Provenance
        Licence and citation.
    example : str
        The corpus and one of its file names, for the message where there is none.
    matches : callable
        Says whether a recording is named like those of the corpus.
    clip : callable
        Reads a file name.

    Raises
    ------
    CorpusError
        No recording of the corpus in the folder.
    """
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    named = [file for file in files if matches(file)]
    if others := [str(file) for file in files if not matches(file)]:
        notes[f"not named like {example.partition(' ')[0]}"] += others
    if not named:
        raise no_recordings(root, files, example)
    clips = [clip(file) for file in distinct(named, lambda file: file.stem.lower(), notes)]
    return Corpus(name, root, provenance, from_clips(clips, name, provenance), skipped(notes))
