"""The model families by name: their options, and how to build and fit one."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from emovox.errors import RecipeError, did_you_mean
from emovox.features import sets
from emovox.lab.encoders.embeddings import JOINT
from emovox.lab.estimators.adaptive import AdaptiveClassifier, AdaptiveOptions
from emovox.lab.estimators.adaptive_kernel import AdaptiveKernelClassifier, AdaptiveKernelOptions
from emovox.lab.estimators.adaptive_net import AdaptiveNetClassifier, AdaptiveNetOptions
from emovox.lab.estimators.classical import MlpOptions, SvmClassifier, SvmOptions, mlp
from emovox.lab.estimators.encoder_tuning import FinetuneOptions, Speech
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.fusion import (
    FeatureFusionClassifier,
    FeatureFusionOptions,
    GatedFusionClassifier,
    GatedFusionOptions,
    LateFusionClassifier,
    LateFusionOptions,
    Sentences,
)
from emovox.lab.estimators.neural import AnnClassifier, AnnOptions
from emovox.lab.estimators.sequence import SequenceClassifier, curve
from emovox.lab.estimators.sequence_options import CnnOptions, FramesOptions, RnnOptions, SequenceOptions
from emovox.lab.estimators.stacking import StackClassifier, StackOptions
from emovox.lab.extraction.sequences import Features

Options = (
    AdaptiveOptions
    | AdaptiveKernelOptions
    | AdaptiveNetOptions
    | AnnOptions
    | CnnOptions
    | FeatureFusionOptions
    | FinetuneOptions
    | FramesOptions
    | GatedFusionOptions
    | LateFusionOptions
    | MlpOptions
    | RnnOptions
    | StackOptions
    | SvmOptions
)


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
        It is fitted on augmented copies of the clips too.
    takes_baseline : bool
        It sees the embeddings of an encoder, and may be told a speaker's baseline.
    tunes_encoder : bool
        It tunes the encoder of its features, and needs to hear the clips.
    level : {"clip", "frame", "joint"}
        It sees one vector a clip, or one a frame; or it is a stack, whose members see what they need.
    takes_words : bool
        Its features are followed by the words vector, see `emovox.text.evidence`.
    """

    options: type
    learner: Callable[[Any], Any]
    learns_copies: bool = False
    takes_baseline: bool = False
    tunes_encoder: bool = False
    level: Literal["clip", "frame", "joint"] = "clip"
    takes_words: bool = False

    @property
    def standardises(self) -> bool:
        """Whether the learner standardises features by itself."""
        return self.takes_baseline or self.takes_words or self.level != "clip"


def _stack(options: StackOptions) -> StackClassifier:
    """Make a stack of members of the families here."""
    return StackClassifier(options, build, fit)


FAMILIES: dict[str, Family] = {
    "adaptive": Family(AdaptiveOptions, AdaptiveClassifier, learns_copies=True, takes_baseline=True),
    "adaptive-kernel": Family(AdaptiveKernelOptions, AdaptiveKernelClassifier, learns_copies=True, takes_baseline=True),
    "adaptive-net": Family(AdaptiveNetOptions, AdaptiveNetClassifier, learns_copies=True, takes_baseline=True),
    "ann": Family(AnnOptions, AnnClassifier),
    "cnn": Family(CnnOptions, SequenceClassifier, learns_copies=True, level="frame"),
    "finetuned": Family(
        FinetuneOptions, FinetunedClassifier, learns_copies=True, takes_baseline=True, tunes_encoder=True
    ),
    "frames": Family(FramesOptions, SequenceClassifier, learns_copies=True, level="frame"),
    "fusion-feature": Family(FeatureFusionOptions, FeatureFusionClassifier, takes_words=True),
    "fusion-gated": Family(GatedFusionOptions, lambda one: _pooled(GatedFusionClassifier, one), takes_words=True),
    "fusion-late": Family(LateFusionOptions, lambda one: _pooled(LateFusionClassifier, one), takes_words=True),
    "mlp": Family(MlpOptions, mlp),
    "rnn": Family(RnnOptions, SequenceClassifier, learns_copies=True, level="frame"),
    "stack": Family(StackOptions, _stack, learns_copies=True, level="joint"),
    "svm": Family(SvmOptions, SvmClassifier),
}


def family(name: str) -> Family:
    """Look a family up; raise RecipeError with the nearest name when it does not exist."""
    if name not in FAMILIES:
        raise RecipeError(f"unknown model family {name!r}: {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def require_fit(name: str, options: Options, features: Mapping[str, Any], copies: int) -> None:
    """Refuse a family that does not go with the features or with augmented copies.

    Parameters
    ----------
    name : str
        Family.
    options : Options
        Its options.
    features : mapping
        A recipe's ``[features]``, complete.
    copies : int
        Augmented copies a clip.

    Raises
    ------
    RecipeError
        They do not go together; the message names what would.
    """
    chosen = sets.get(str(features["set"]))
    if (wanted := family(name).level) != chosen.level:
        able = ", ".join(one for one in sets.available() if sets.get(one).level == wanted)
        raise RecipeError(
            f'features.set = "{chosen.name}" is of level {chosen.level!r}, and model.family = "{name}" needs '
            f"one vector a {wanted}: choose one of {able}"
        )
    hearing = acoustic(options)[0] if isinstance(options, LateFusionOptions) else name
    if FAMILIES[hearing].takes_baseline and not chosen.pretrained:
        raise RecipeError(
            f'model.family = "{hearing}" needs the embeddings of an encoder: '
            'write for example features.set = "whisper-tiny.en"'
        )
    if FAMILIES[hearing].tunes_encoder and JOINT in {**chosen.defaults, **features}["weights"]:
        raise RecipeError(
            f'model.family = "{hearing}" tunes one encoder, and features.set = "{chosen.name}" has several: '
            'write for example features.set = "whisper-tiny.en"'
        )
    if copies and not FAMILIES[name].learns_copies:
        able = ", ".join(one for one, each in FAMILIES.items() if each.learns_copies)
        raise RecipeError(f"augment.copies needs a family that learns from copies ({able}), not {name!r}")


def build(name: str, options: Options) -> Pipeline:
    """Make an unfitted pipeline: standardisation where the family does not do it, then the family's learner.

    The scaler sits inside, so that whoever fits the pipeline on a training fold fits the scaler there too.
    """
    kind = family(name)
    steps: list[tuple[str, Any]] = [] if kind.standardises else [("scale", StandardScaler())]
    return Pipeline([*steps, ("model", kind.learner(options))])


def parse(values: Mapping[str, Any], seed: int) -> tuple[str, Options]:
    """Read the name and the options of a family out of a table of a recipe.

    Raises
    ------
    RecipeError
        No such family.
    pydantic.ValidationError
        An unknown option or an impossible value.
    """
    name = str(values.get("family"))
    given = {key: value for key, value in values.items() if key != "family"}
    options: Options = TypeAdapter(family(name).options).validate_python(given)
    return name, dataclasses.replace(options, seed=seed)


def acoustic(options: LateFusionOptions) -> tuple[str, Options]:
    """Read the acoustic model of a fusion; arguments and errors as for :func:`parse`."""
    name, found = parse(options.acoustic, options.seed)
    kind = FAMILIES[name]
    if kind.takes_words or kind.tunes_encoder or kind.level != "clip":
        raise RecipeError(f"a {name!r} model cannot be the acoustic part of a fusion: choose for example 'ann'")
    return name, found


def _pooled(kind: type[LateFusionClassifier], options: LateFusionOptions) -> LateFusionClassifier:
    """Make a fusion with its acoustic model inside."""
    return kind(build(*acoustic(options)), fit, options)


def fit(
    pipeline: Pipeline,
    X: Features,
    y: NDArray[Any],
    speakers: NDArray[Any] | None,
    corpora: NDArray[Any],
    copies: Features | None = None,
    speech: Speech | None = None,
    kept: Path | None = None,
    tell: Callable[[Mapping[str, Any]], None] = lambda epoch: None,
    sentences: Sentences | None = None,
) -> Pipeline:
    """Fit a pipeline, handing speakers, corpora, copies and the like to learners that use them.

    Parameters
    ----------
    pipeline : Pipeline
        As :func:`build` makes it.
    X : ndarray of float32, shape (n_clips, n_features), or Sequences
        Raw features.
    y, corpora : ndarray, shape (n_clips,)
        Labels and corpus names.
    speakers : ndarray, shape (n_clips,), or None
        Speakers, None where they are not known.
    copies : ndarray of float32, shape (n_clips, n_copies, n_features), or Sequences, optional
        Features of augmented copies.
    speech : Speech, optional
        The clips to be heard.
    kept : Path, optional
        Folder for finished networks, so that a training that was interrupted goes on.
    tell : callable, optional
        Called after each epoch of a network with what is known of it.
    sentences : Sentences, optional
        Development sentences, for learners that take words.
    """
    extras = {
        "speakers": speakers,
        "corpora": corpora,
        "copies": copies,
        "speech": speech,
        "sentences": sentences,
        "kept": kept,
        "tell": tell,
    }
    used = {
        f"model__{key}": value for key, value in extras.items() if has_fit_parameter(pipeline.named_steps["model"], key)
    }
    with warnings.catch_warnings():
        # The number of epochs is the recipe's choice, not a sign of trouble.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(X, y, **used)


def epochs(options: Options) -> int:
    """Count the epochs that are planned, of all networks; 0 for families whose epochs are not told."""
    if isinstance(options, StackOptions):
        times = 1 + (options.folds if options.combine == "svm" else 0)
        return times * sum(epochs(member.options) for member in options.members)
    return options.epochs * options.members if isinstance(options, SequenceOptions) else 0


def curves(pipeline: Pipeline) -> list[list[dict[str, Any]]]:
    """Return the learning curve of each network of a fitted model: a list of its epochs.

    An epoch has ``epoch`` and ``train_loss``, and where they are known ``train_uar``, ``valid_loss`` and ``valid_uar``.
    """
    learner = pipeline.named_steps["model"]
    if isinstance(learner, AnnClassifier):
        return [curve(net.history) for net in learner.members_]
    return list(getattr(learner, "curves_", []))
