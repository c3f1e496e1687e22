"""The model families by name: their options, and how to build and fit one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from emovox.errors import RecipeError, did_you_mean
from emovox.models.adaptive import AdaptiveClassifier, AdaptiveOptions
from emovox.models.adaptive_net import AdaptiveNetClassifier, AdaptiveNetOptions
from emovox.models.classical import MlpOptions, SvmClassifier, SvmOptions, mlp
from emovox.models.finetuning import FinetunedClassifier
from emovox.models.neural import AnnClassifier, AnnOptions
from emovox.models.tuning import FinetuneOptions, Speech

Options = AdaptiveOptions | AdaptiveNetOptions | AnnOptions | FinetuneOptions | MlpOptions | SvmOptions


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes
    ----------
    options : type
        Frozen dataclass of its settings.
    learner : callable
        Makes the unfitted classifier from options.
    learns_copies : bool
        It is fitted on augmented copies of the clips too, standardises by itself, and takes a speaker's baseline.
    tunes_encoder : bool
        It tunes the encoder of its features, and needs to hear the clips.
    """

    options: type
    learner: Callable[[Any], Any]
    learns_copies: bool = False
    tunes_encoder: bool = False


FAMILIES: dict[str, Family] = {
    "adaptive": Family(AdaptiveOptions, AdaptiveClassifier, learns_copies=True),
    "adaptive-net": Family(AdaptiveNetOptions, AdaptiveNetClassifier, learns_copies=True),
    "ann": Family(AnnOptions, AnnClassifier),
    "finetuned": Family(FinetuneOptions, FinetunedClassifier, learns_copies=True, tunes_encoder=True),
    "mlp": Family(MlpOptions, mlp),
    "svm": Family(SvmOptions, SvmClassifier),
}


def family(name: str) -> Family:
    """Look a family up; raise RecipeError with the nearest name when it does not exist."""
    if name not in FAMILIES:
        raise RecipeError(f"unknown model family {name!r}: {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def build(name: str, options: Options) -> Pipeline:
    """Make an unfitted pipeline: standardisation where the family does not do it, then the family's learner.

    The scaler sits inside, so that whoever fits the pipeline on a training fold fits the scaler there too.
    """
    kind = family(name)
    steps: list[tuple[str, Any]] = [] if kind.learns_copies else [("scale", StandardScaler())]
    return Pipeline([*steps, ("model", kind.learner(options))])


def fit(
    pipeline: Pipeline,
    X: NDArray[np.float32],
    y: NDArray[Any],
    speakers: NDArray[Any] | None,
    corpora: NDArray[Any],
    copies: NDArray[np.float32] | None = None,
    speech: Speech | None = None,
) -> Pipeline:
    """Fit a pipeline, handing speakers, corpora, copies and speech to learners that use them.

    Parameters
    ----------
    pipeline : Pipeline
        As :func:`build` makes it.
    X : ndarray of float32, shape (n_clips, n_features)
        Raw features.
    y, corpora : ndarray, shape (n_clips,)
        Labels and corpus names.
    speakers : ndarray, shape (n_clips,), or None
        Speakers, None where they are not known.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), optional
        Features of augmented copies.
    speech : Speech, optional
        The clips to be heard.
    """
    extras = {"speakers": speakers, "corpora": corpora, "copies": copies, "speech": speech}
    used = {
        f"model__{key}": value for key, value in extras.items() if has_fit_parameter(pipeline.named_steps["model"], key)
    }
    with warnings.catch_warnings():
        # The number of epochs is the recipe's choice, not a sign of trouble.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(X, y, **used)
