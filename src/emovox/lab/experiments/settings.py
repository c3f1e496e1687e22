"""Settings in an evaluation: one that is named, or each corpus as its own, unlabelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import EmovoxError
from emovox.lab.experiments.dataset import Progress, stretches_of, usable
from emovox.lab.extraction.extraction import Stretch
from emovox.model import profiles
from emovox.model.file import Model
from emovox.model.profiles import AUTO, Profile, Statistics
from emovox.recognition.recognizer import EmotionRecognizer
from emovox.speech.vad import GateOptions
from emovox.types import RATE, Float32Array, Waveform

#: An evaluation includes all clips, also those that the speech gate would reject.
ANY = GateOptions(threshold=0)


def answers(model: Model, X: Float32Array, corpora: NDArray[Any], setting: Profile | str | None = None) -> Float32Array:
    """Return the probabilities of clips by a model of vectors, shape (n, n_classes).

    Parameters
    ----------
    model : Model
        A model of one vector a clip.
    X : ndarray of float32, shape (n, n_features)
        Features.
    corpora : ndarray, shape (n,)
        Corpus of each clip.
    setting : Profile or "auto", optional
        What is known of the setting; ``"auto"`` takes all clips of a corpus as what was heard of it.
    """
    if setting is None:
        return model.run(X).probabilities
    baseline = np.empty((len(X), profiles.baseline(model).size), dtype=np.float32)
    if isinstance(setting, Profile):
        baseline[:] = profiles.baseline(model, setting)
    else:
        axes = np.asarray(model.run(X).axes)
        for one in np.unique(corpora):
            baseline[corpora == one] = profiles.baseline(model, Statistics.of(axes[corpora == one]))
    return model.run(X, baseline=baseline).probabilities


def recognised(
    model: Model,
    paths: Sequence[Path],
    table: pd.DataFrame,
    jobs: int,
    progress: Progress,
    setting: Profile | str | None = None,
) -> tuple[Float32Array, NDArray[np.bool_], list[str]]:
    """Recognise the rows of a table as `emovox predict` does; return why some have no prediction.

    Parameters
    ----------
    model : Model
        Any model.
    paths : sequence of Path
        File of each row.
    table : DataFrame
        Corpus table.
    jobs : int
        Number of threads; -1 is one per core.
    progress : callable
        Progress callback: stage, done, total.
    setting : Profile or "auto", optional
        As for :func:`answers`.
    """
    stretches, corpora = stretches_of(paths, table), table["corpus"].to_numpy(str)
    judges = {
        one: _judge(model, [stretches[i] for i in np.flatnonzero(corpora == one)], setting) for one in set(corpora)
    }
    results: list[Float32Array | str] = []
    # Threads share one session, which releases the interpreter lock.
    parallel = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")
    for one in parallel(
        delayed(_recognise)(judges[corpus], *row) for corpus, row in zip(corpora, stretches, strict=True)
    ):
        results.append(one)
        progress("clips", len(results), len(stretches))
    found, kept, skipped = usable(results)
    return np.stack(found), kept, skipped


def _judge(model: Model, stretches: Sequence[Stretch], setting: Profile | str | None) -> EmotionRecognizer:
    """Return the recogniser of a corpus, which has heard all of it where it is its own setting."""
    if setting != AUTO:
        return EmotionRecognizer(model, gate=ANY, setting=setting)
    heard = EmotionRecognizer(model, gate=ANY).adapt("corpus", _waveforms(stretches), left_out=_leave_out)
    return EmotionRecognizer(model, gate=ANY, setting=heard)


def _waveforms(stretches: Sequence[Stretch]) -> Iterator[tuple[Float32Array, float]]:
    for stretch in stretches:
        try:
            yield _read(*stretch).samples, RATE
        except EmovoxError:  # it has no prediction either
            continue


def _leave_out(_error: EmovoxError) -> None:
    """Leave a clip out that has no prediction either."""


def _read(path: Path, start: float, end: float) -> Waveform:
    return audio.read(path, start=start, end=None if np.isinf(end) else end)


def _recognise(recognizer: EmotionRecognizer, path: Path, start: float, end: float) -> Float32Array | str:
    try:
        prediction = recognizer.predict(_read(path, start, end).samples, rate=RATE, name=str(path))
    except EmovoxError as error:
        return str(error)
    return np.array([prediction.probabilities[label] for label in recognizer.card.labels], dtype=np.float32)


def told(setting: Profile | str | None) -> str:
    """Say in words what was known of the setting."""
    if setting is None:
        return ""
    if isinstance(setting, Profile):
        return f" Against the setting {setting.name}, {setting.count} utterances heard."
    return " Each corpus is its own setting: all its clips were heard, without their labels."
