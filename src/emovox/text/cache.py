"""Transcripts on disk, so that no stretch of speech is recognised twice by the same model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path

from emovox.text.transcribe import Transcriber
from emovox.types import Transcript, Waveform, Word
from emovox.writing import cache_folder


class CachedTranscriber:
    """A recogniser that remembers.

    The key is a digest of the samples of a piece and of the recogniser's name.  Each piece is written when it is done:
    a long recording that was interrupted goes on where it stopped.

    Parameters
    ----------
    transcriber : Transcriber
        The recogniser; not even loaded for what is remembered.
    folder : Path, optional
        Where transcripts are kept; the default is the folder ``transcripts`` in the user's cache (``EMOVOX_CACHE``).

    Examples
    --------
    >>> import numpy as np
    >>> class Counting:
    ...     name, calls = "counting-1", 0
    ...     def transcribe(self, waveform):
    ...         self.calls += 1
    ...         return Transcript("hello")
    >>> counting = Counting()
    >>> remembering = CachedTranscriber(counting)
    >>> silence = Waveform(np.zeros(16000, dtype=np.float32))
    >>> remembering.transcribe(silence) == remembering.transcribe(silence), counting.calls
    (True, 1)
    """

    def __init__(self, transcriber: Transcriber, folder: Path | None = None) -> None:
        self.transcriber = transcriber
        self.folder = folder or cache_folder() / "transcripts"

    @property
    def name(self) -> str:
        """That of the recogniser."""
        return self.transcriber.name

    def transcribe(self, waveform: Waveform) -> Transcript:
        """Recognise one piece of speech, or remember it."""
        digest = hashlib.sha256(f"{self.name}\0".encode())
        digest.update(waveform.samples.tobytes())
        path = self.folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.json"
        found = _load(path)
        if found is None:
            found = self.transcriber.transcribe(waveform)
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time, but no words
                _store(path, found)
        return found


def _load(path: Path) -> Transcript | None:
    """Read an entry, None where there is none or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Transcript(**{**values, "words": tuple(Word(**word) for word in values["words"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _store(path: Path, transcript: Transcript) -> None:
    """Write an entry: other processes see all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as file:
        json.dump(dataclasses.asdict(transcript), file, ensure_ascii=False)
    Path(file.name).replace(path)
