"""The model families by name: their options, and how to build and fit one."""

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
from emovox.lab.estimators.adaptive_kernel import AdaptiveKernelClassifier, AdaptiveKernelOptions
from emovox.lab.estimators.adaptive_net import AdaptiveNetClassifier, AdaptiveNetOptions
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

#: Options that had another name in recipes and model cards of before.
RENAMED = {"most": "max_per_speaker"}


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes
    ----------
    options : type
        Frozen dataclass of its settings, a kind of `Options`.
    estimator : type
        What learns, a kind of `Estimator`, which says of itself what it needs.
    make : callable, optional
        Makes the unfitted estimator from options, where that takes more than calling it.
    """

    options: type[Options]
    estimator: type[Estimator]
    make: Callable[[Any], Estimator] | None = None

    def unfitted(self, options: Options) -> Estimator:
        """Return an estimator with these options."""
        return (self.make or self.estimator)(options)

    @property
    def level(self) -> Level:
        """What it sees of a clip, see `Estimator.level`."""
        return self.estimator.level

    @property
    def learns_copies(self) -> bool:
        """Whether it is fitted on augmented copies of the clips too."""
        return "copies" in self.estimator.needs

    @property
    def takes_baseline(self) -> bool:
        """Whether it sees the embeddings of an encoder, and may be told a speaker's baseline."""
        return self.estimator.takes_baseline

    @property
    def tunes_encoder(self) -> bool:
        """Whether it tunes the encoder of its features, and needs to hear the clips."""
        return "speech" in self.estimator.needs

    @property
    def takes_words(self) -> bool:
        """Whether it takes words vectors beside the features, see `emovox.text.evidence`."""
        return "sentences" in self.estimator.needs


def _stack(options: Any) -> StackClassifier:
    """Make a stack of members of the families here."""
    return StackClassifier(options, build, fit)


def _late(options: Any) -> LateFusionClassifier:
    """Make a late fusion with its acoustic model inside."""
    return LateFusionClassifier(build(*acoustic(options)), fit, options)


def _gated(options: Any) -> GatedFusionClassifier:
    """Make a gated fusion with its acoustic model inside."""
    return GatedFusionClassifier(build(*acoustic(options)), fit, options)


FAMILIES: dict[str, Family] = {
    "adaptive": Family(AdaptiveOptions, AdaptiveClassifier),
    "adaptive-kernel": Family(AdaptiveKernelOptions, AdaptiveKernelClassifier),
    "adaptive-net": Family(AdaptiveNetOptions, AdaptiveNetClassifier),
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
    hearing = acoustic(options)[0] if options.hears else name
    if FAMILIES[hearing].takes_baseline and not chosen.pretrained:
        raise RecipeError(
            f'model.family = "{hearing}" needs the embeddings of an encoder: '
            'write for example features.set = "whisper-tiny.en"'
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
    """Make an unfitted pipeline: standardisation where the family does not do it, then the estimator.

    The scaler sits inside, so that whoever fits the pipeline on a training fold fits the scaler there too.
    """
    kind = family(name)
    steps: list[tuple[str, Any]] = [] if kind.estimator.standardises else [("scale", StandardScaler())]
    return Pipeline([*steps, ("model", kind.unfitted(options))])


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
    kind: Any = family(name).options
    known = {field.name for field in dataclasses.fields(kind)}
    renamed = {old: new for old, new in RENAMED.items() if new in known}
    given = {renamed.get(key, key): value for key, value in values.items() if key != "family"}
    options: Any = TypeAdapter(kind).validate_python(given)
    return name, dataclasses.replace(options, seed=seed)


def acoustic(options: Options) -> tuple[str, Options]:
    """Read the acoustic model of a fusion; arguments and errors as for :func:`parse`."""
    name, found = parse(options.hears or {}, options.seed)
    kind = FAMILIES[name]
    if kind.takes_words or kind.tunes_encoder or kind.level != "clip":
        raise RecipeError(f"a {name!r} model cannot be the acoustic part of a fusion: choose for example 'ann'")
    return name, found


def fit(pipeline: Pipeline, clips: TrainingSet) -> Pipeline:
    """Fit a pipeline, handing to its estimator what it needs of a training set.

    Parameters
    ----------
    pipeline : Pipeline
        As :func:`build` makes it.
    clips : TrainingSet
        What it is trained on.
    """
    used = {f"model__{name}": getattr(clips, name) for name in pipeline.named_steps["model"].needs}
    with warnings.catch_warnings():
        # The number of epochs is the recipe's choice, not a sign of trouble.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(clips.X, clips.y, **used)
