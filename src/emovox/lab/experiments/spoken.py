"""Words of an experiment: transcripts of its clips, and the development sentences for fusion."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from emovox import audio
from emovox.errors import EmovoxError, ModelError
from emovox.lab.estimators.training import Sentences
from emovox.text.transcribe import CachedTranscriber, Transcriber, WhisperTranscriber, transcribe
from emovox.text.words import NAMES, words_vector
from emovox.types import Float32Array, Transcript

#: Nominal duration of development sentences in seconds; affects only the speech rate, which training replaces.
SENTENCE = 2.5


def words_of(
    stretches: Sequence[tuple[Path, float, float]],
    model: str,
    language: str | None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    transcriber: Transcriber | None = None,
) -> tuple[Float32Array, list[str]]:
    """Transcribe clips and compute their linguistic features; transcripts are cached.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds.
    model, language : str, and None where it is to be detected
        Whisper model and what is spoken, see `emovox.text.transcribe.WhisperTranscriber`.
    progress : callable, optional
        Progress callback: called with the stage ("transcripts"), the clips done and their number.
    transcriber : Transcriber, optional
        Another recogniser instead.

    Returns
    -------
    words : ndarray of float32, shape (n_clips, len(NAMES))
        Linguistic features; zeros for clips without words.
    problems : list of str
        One line for each clip without words.

    Raises
    ------
    ModelError
        The Whisper model is not found, or no clip could be transcribed.
    MissingExtraError
        The [text] extra is not installed.
    """
    listener = transcriber or CachedTranscriber(WhisperTranscriber(model, language))
    _ = listener.name  # raises now if the model is missing, instead of for each clip
    rows, problems = np.zeros((len(stretches), len(NAMES)), dtype=np.float32), []
    words_vector(Transcript("now"), 1.0)  # a missing extra is one error, instead of one per clip
    for index, (path, start, end) in enumerate(stretches):
        try:
            waveform = audio.read(path, start=start, end=None if np.isinf(end) else end)
            rows[index] = words_vector(transcribe(waveform, listener), waveform.duration)
        except EmovoxError as error:
            problems.append(f"no words of {path}, the voice alone: {error}")
        progress("transcripts", index + 1, len(stretches))
    if len(problems) == len(stretches):
        raise ModelError(f"no clip could be transcribed, the first: {problems[0]}")
    return rows, problems


def development_sentences() -> Sentences:
    """Return the development sentences on which fusion is trained; see docs/fusion.md.

    Examples
    --------
    >>> found = development_sentences()
    >>> len(found.labels) == len(found.words) >= 320
    True
    """
    text = (resources.files("emovox.lab.experiments") / "sentences.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    spoken = [Transcript(row["text"], confidence=float(row["confidence"])) for row in rows]
    return Sentences(
        np.stack([words_vector(one, SENTENCE) for one in spoken]), np.array([row["label"] for row in rows])
    )
