"""Model families by name: options, and functions to build and fit a pipeline."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from emovox.errors import RecipeError, did_you_mean
from emovox.features import sets
from emovox.lab.encoders.embeddings import encoders
from emovox.lab.estimators.adaptive import AdaptiveClassifier, AdaptiveOptions
from emovox.lab.estimators.classical import MlpClassifier, MlpOptions, SvmClassifier, SvmOptions
from emovox.lab.estimators.encoder_tuning import FinetuneOptions
from emovox.lab.estimators.estimator import Estimator, Level, Options
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.fusion import (
    FeatureFusionClassifier,
    FeatureFusionOptions,
    GatedFusionClassifier,
    GatedFusionOptions,
    LateFusionClassifier,
    LateFusionOptions,
)
from emovox.lab.estimators.logistic import LogisticClassifier, LogisticOptions
from emovox.lab.estimators.neural import AnnClassifier, AnnOptions
from emovox.lab.estimators.sequence import SequenceClassifier
from emovox.lab.estimators.sequence_options import CnnOptions, FramesOptions, RnnOptions
from emovox.lab.estimators.stacking import StackClassifier, StackOptions
from emovox.lab.estimators.training import TrainingSet

#: Former names of families, and their present ones.
RENAMED = {"adaptive-kernel": "adaptive", "adaptive-net": "adaptive"}


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes
    ----------
    options : type
        Frozen dataclass of hyper-parameters, a subclass of `Options`.
    estimator : type
        Subclass of `Estimator`, which declares what it needs.
    make : callable, optional
        Builds the unfitted estimator from options, if that takes more than calling the class.
    """

    options: type[Options]
    estimator: type[Estimator]
    make: Callable[[Any], Estimator] | None = None

    def unfitted(self, options: Options) -> Estimator:
        """Return an estimator with these options."""
        return (self.make or self.estimator)(options)

    @property
    def level(self) -> Level:
        """Kind of input per clip, see `Estimator.level`."""
        return self.estimator.level

    @property
    def learns_copies(self) -> bool:
        """Whether it is also fitted on augmented copies of the clips."""
        return "copies" in self.estimator.needs

    @property
    def learns_votes(self) -> bool:
        """Whether it learns the distribution of the raters' votes, where a corpus has them, in place of one label."""
        return "votes" in self.estimator.needs

    @property
    def takes_baseline(self) -> bool:
        """Whether its input are embeddings of an encoder, with an optional baseline of setting and speaker."""
        return self.estimator.takes_baseline

    @property
    def tunes_encoder(self) -> bool:
        """Whether it fine-tunes the encoder of its features, and needs the waveforms of the clips."""
        return "speech" in self.estimator.needs

    @property
    def takes_words(self) -> bool:
        """Whether it uses linguistic features beside the acoustic ones, see `emovox.text.words`."""
        return "sentences" in self.estimator.needs


def _stack(options: Any) -> StackClassifier:
    """Build a stack with members of these families."""
    return StackClassifier(options, build, fit)


def _late(options: Any) -> LateFusionClassifier:
    """Build a late fusion with its acoustic model."""
    return LateFusionClassifier(build(*acoustic(options)), fit, options)


def _gated(options: Any) -> GatedFusionClassifier:
    """Build a gated fusion with its acoustic model."""
    return GatedFusionClassifier(build(*acoustic(options)), fit, options)


FAMILIES: dict[str, Family] = {
    "adaptive": Family(AdaptiveOptions, AdaptiveClassifier),
    "ann": Family(AnnOptions, AnnClassifier),
    "cnn": Family(CnnOptions, SequenceClassifier),
    "finetuned": Family(FinetuneOptions, FinetunedClassifier),
    "frames": Family(FramesOptions, SequenceClassifier),
    "fusion-feature": Family(FeatureFusionOptions, FeatureFusionClassifier),
    "fusion-gated": Family(GatedFusionOptions, GatedFusionClassifier, _gated),
    "fusion-late": Family(LateFusionOptions, LateFusionClassifier, _late),
    "logistic": Family(LogisticOptions, LogisticClassifier),
    "mlp": Family(MlpOptions, MlpClassifier),
    "rnn": Family(RnnOptions, SequenceClassifier),
    "stack": Family(StackOptions, StackClassifier, _stack),
    "svm": Family(SvmOptions, SvmClassifier),
}


def family(name: str) -> Family:
    """Return a family by name; raise RecipeError, with its present or the closest name, if it does not exist."""
    if name in RENAMED:
        raise RecipeError(f'model.family = "{name}" is no more: write "{RENAMED[name]}", and leave its options out')
    if name not in FAMILIES:
        raise RecipeError(f"unknown model family {name!r}: {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def require_fit(name: str, options: Options, features: Mapping[str, Any], copies: int) -> None:
    """Raise if a family is incompatible with the features or with augmented copies.

    Parameters
    ----------
    name : str
        Family.
    options : Options
        Its options.
    features : mapping
        The table ``[features]`` of a recipe, complete.
    copies : int
        Augmented copies per clip.

    Raises
    ------
    RecipeError
        They are incompatible; the message names compatible ones.
    """
    chosen = sets.get(str(features["set"]))
    if (wanted := family(name).level) != chosen.level:
        able = ", ".join(one for one in sets.available() if sets.get(one).level == wanted)
        raise RecipeError(
            f'features.set = "{chosen.name}" is of level {chosen.level!r}, and model.family = "{name}" needs '
            f"one vector a {wanted}: choose one of {able}"
        )
    hearing = acoustic(options)[0] if options.hears else name
    if FAMILIES[hearing].takes_baseline and not (chosen.pretrained or chosen.name == sets.ENCODER):
        raise RecipeError(
            f'model.family = "{hearing}" needs the embeddings of an encoder: '
            f'write for example features.set = "{sets.ENCODER}"'
        )
    if FAMILIES[hearing].tunes_encoder and chosen.name == sets.ENCODER:
        raise RecipeError(
            f'model.family = "{hearing}" tunes the weights of an encoder, and that of features.set = "{chosen.name}" '
            'is fixed: write for example features.set = "whisper-tiny.en"'
        )
    if FAMILIES[hearing].tunes_encoder and len(encoders({**chosen.defaults, **features})) > 1:
        raise RecipeError(
            f'model.family = "{hearing}" tunes one encoder, and features.set = "{chosen.name}" has several: '
            'write for example features.set = "whisper-tiny.en"'
        )
    if copies and not FAMILIES[name].learns_copies:
        able = ", ".join(one for one, each in FAMILIES.items() if each.learns_copies)
        raise RecipeError(f"augment.copies needs a family that learns from copies ({able}), not {name!r}")


def build(name: str, options: Options) -> Pipeline:
    """Build an unfitted pipeline: standardisation, unless the family does it itself, and the estimator.

    The scaler is part of the pipeline, so that it is fitted on the training fold only.
    """
    kind = family(name)
    steps: list[tuple[str, Any]] = [] if kind.estimator.standardises else [("scale", StandardScaler())]
    return Pipeline([*steps, ("model", kind.unfitted(options))])


def parse(values: Mapping[str, Any], seed: int) -> tuple[str, Options]:
    """Parse the family and its options from a table of a recipe.

    Raises
    ------
    RecipeError
        The family is unknown.
    pydantic.ValidationError
        An option is unknown or a value is invalid.
    """
    name = str(values.get("family"))
    kind: Any = family(name).options
    given = {key: value for key, value in values.items() if key != "family"}
    options: Any = TypeAdapter(kind).validate_python(given)
    return name, dataclasses.replace(options, seed=seed)


def acoustic(options: Options) -> tuple[str, Options]:
    """Parse the acoustic model of a fusion; errors as for :func:`parse`."""
    name, found = parse(options.hears or {}, options.seed)
    kind = FAMILIES[name]
    if kind.takes_words or kind.tunes_encoder or kind.level != "clip":
        raise RecipeError(f"a {name!r} model cannot be the acoustic part of a fusion: choose for example 'ann'")
    return name, found


def fit(pipeline: Pipeline, clips: TrainingSet) -> Pipeline:
    """Fit a pipeline, and pass to its estimator what it needs from the training set.

    Parameters
    ----------
    pipeline : Pipeline
        From :func:`build`.
    clips : TrainingSet
        Training data.
    """
    used = {f"model__{name}": getattr(clips, name) for name in pipeline.named_steps["model"].needs}
    with warnings.catch_warnings():
        # The number of epochs is chosen by the recipe; reaching it is no failure to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(clips.X, clips.y, **used)
