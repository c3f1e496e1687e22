"""Recipes: the complete specification of an experiment in a TOML file."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emovox.errors import InputError, RecipeError, did_you_mean
from emovox.features import sets
from emovox.lab.augmentation.augment import AugmentOptions
from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.families import FAMILIES, family, parse, require_fit
from emovox.lab.estimators.stacking import Member
from emovox.lab.experiments.search_space import TUNABLE, TuneRecipe, extremes
from emovox.text.fusion import Rule
from emovox.types import FeatureSpec

#: Package with the built-in recipes.
HOME = "emovox.recipes"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusRecipe(_Strict):
    """A corpus of a recipe.

    Attributes
    ----------
    labels : tuple of str
        Use only clips with these labels; empty uses all.
    options : mapping
        Options of the reader, for example ``kind = "speech"``.
    """

    labels: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)


class ProtocolRecipe(_Strict):
    """Evaluation protocol of a recipe.

    Attributes
    ----------
    name : str
        Name of the protocol, see `emovox.lab.corpora.splits.by_name`.
    seeds : tuple of int
        Seeds of the model; the whole evaluation is repeated for each, and scores are means over them.
        The first is also the seed of the exported model and of random splits.
    tested : str
        Name of the only corpus to test, with the others used for training; empty tests what the protocol tests.
    enrol : int
        Number of neutral clips per speaker to enrol in a second evaluation of models with baselines; these clips are
        excluded from that evaluation.
    heard : int
        Number of clips of each tested corpus, of any emotion and without their labels, that tell the setting in a third
        evaluation of models with baselines, without them; at most half of the tested clips.
    promise : {"", "cross-corpus"}
        Protocol by whose answers the exported model is calibrated, temperature and threshold; empty is `name`.
        ``"cross-corpus"`` tests each corpus by a model that never heard it, with the first seed, on the labels that
        another corpus has too; labels that the tested corpus lacks are left out of the answers.
    """

    name: str = "speaker"
    tested: str = ""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    enrol: int = Field(default=2, ge=1)
    heard: int = Field(default=50, ge=1)
    promise: Literal["", "cross-corpus"] = ""


class AugmentRecipe(_Strict):
    """Augmented copies of the training clips.

    Attributes
    ----------
    copies : int
        Number of copies of each clip.
    seed : int
        Seed of the copies.
    options : AugmentOptions
        Options of augmentation.
    """

    copies: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    options: AugmentOptions = AugmentOptions()


class ExportRecipe(_Strict):
    """Options of the model file.

    Attributes
    ----------
    int8 : bool
        Quantise the encoder to 8 bits: a third of the size, and faster.
    """

    int8: bool = False


class WordsRecipe(_Strict):
    """Transcription of the clips, for families that use words.

    Attributes
    ----------
    transcriber : str
        Whisper model: a name, a folder or a Hugging Face id.
    language : str
        Two-letter code of the language; linguistic features exist for English only.
    """

    transcriber: str = "tiny.en"
    language: str = "en"


class DecisionRecipe(_Strict):
    """Decision rules.

    Attributes
    ----------
    rules : tuple of Rule
        Rules that may change the label if voice and words disagree; the first that applies is used.  None by default.
    """

    rules: tuple[Rule, ...] = ()


class ModelRecipe(_Strict):
    """A model with its features and augmentation: that of a recipe, or a member of its stack.

    Attributes
    ----------
    preprocess : mapping
        Options of `emovox.audio.preprocess.PreprocessOptions`.
    features : mapping
        ``set`` and its parameters; a stack has none of its own.
    model : mapping
        ``family`` and its options.
    augment : AugmentRecipe
        Augmented copies, for families that use them.
    """

    preprocess: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any]
    augment: AugmentRecipe = AugmentRecipe()

    @property
    def family(self) -> str:
        """Name of the model family."""
        return str(self.model["family"])

    def options(self, seed: int) -> Options:
        """Return the options of the model, with defaults and a seed."""
        return parse(self.model, seed)[1]

    def feature_spec(self) -> FeatureSpec:
        """Return the complete specification of preprocessing and features."""
        parameters = {key: value for key, value in self.features.items() if key != "set"}
        return sets.spec(str(self.features["set"]), parameters, self.preprocess)


class Recipe(ModelRecipe):
    """One experiment.

    Attributes
    ----------
    name, description : str
        Name of the recipe and of its model, and a description.
    corpora : mapping of str to CorpusRecipe
        Corpora by name: a registered one, or any name with a folder given by ``--corpus NAME=DIR``.
    members : mapping of str to ModelRecipe
        Members of a stack (``model.family = "stack"``) by name.  ``recipe = "ravdess-cnn"`` copies preprocessing,
        features, augmentation and model of another recipe; other keys override them.
    protocol : ProtocolRecipe
        Evaluation protocol.
    export : ExportRecipe
        Options of the model file.
    tune : TuneRecipe or None
        Hyper-parameter search by `emovox tune`.
    words : WordsRecipe
        Transcription, for families that use words.
    decision : DecisionRecipe
        Decision rules on voice and words.
    """

    name: str
    description: str = ""
    corpora: dict[str, CorpusRecipe] = Field(min_length=1)
    members: dict[str, ModelRecipe] = Field(default_factory=dict)
    protocol: ProtocolRecipe = ProtocolRecipe()
    export: ExportRecipe = ExportRecipe()
    tune: TuneRecipe | None = None
    words: WordsRecipe = WordsRecipe()
    decision: DecisionRecipe = DecisionRecipe()

    def options(self, seed: int) -> Options:
        """Return the options of the model, with defaults and a seed that the members of a stack share."""
        options: Any = super().options(seed)
        if family(self.family).level != "joint":
            return options  # type: ignore[no-any-return]
        members = [Member(name, one.family, one.options(seed)) for name, one in self.members.items()]
        return dataclasses.replace(options, members=tuple(members))  # type: ignore[no-any-return]

    def parts(self) -> Mapping[str, ModelRecipe]:
        """Return the models with features: the members of a stack by name, or the model itself."""
        return self.members or {"": self}

    def complete(self) -> dict[str, Any]:
        """Return the recipe as plain values, with all defaults of the model."""
        options: Any = self.options(self.protocol.seeds[0])
        model = {"family": self.family, **dataclasses.asdict(options)}
        return {**self.model_dump(mode="json", exclude={"tune"}), "model": model}

    def changed(self, changes: Mapping[str, Any], source: str) -> Recipe:
        """Return a recipe with changed values and without the table ``[tune]``.

        Parameters
        ----------
        changes : mapping
            Dotted keys with values.
        source : str
            Name in messages.

        Raises
        ------
        RecipeError
            The values are not possible together.
        """
        values = self.model_dump(mode="json", exclude={"tune"})
        for dotted, value in changes.items():
            _override(values, dotted, value)
        return validate(values, source)

    def feature_spec(self) -> FeatureSpec:
        """Write the front end down completely: of a stack, those of its members."""
        if not self.members:
            return super().feature_spec()
        return FeatureSpec.joint({name: one.feature_spec() for name, one in self.members.items()})


def load(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Load a recipe.

    Parameters
    ----------
    name : str or Path
        Name of a recipe inside the package (:func:`builtin`), or a TOML file.
    overrides : mapping, optional
        Dotted keys with values that replace the recipe's: ``{"protocol.name": "loso"}``.

    Returns
    -------
    Recipe
        Validated, with everything in it known to exist.

    Raises
    ------
    RecipeError
        The recipe does not exist, is not TOML, or has an unknown key or an invalid value, which the message names.

    Examples
    --------
    >>> load("ravdess-ann").family
    'ann'
    """
    text, source = _read(name)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is not TOML: {error}") from error
    for dotted, value in (overrides or {}).items():
        _override(values, dotted, value)
    return validate(values, source)


def builtin() -> tuple[str, ...]:
    """Return the names of the recipes inside the package."""
    files = resources.files(HOME).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _read(name: str | Path) -> tuple[str, str]:
    """Return the text of a recipe, and its name for messages."""
    if str(name) in builtin():
        return (resources.files(HOME) / f"{name}.toml").read_text(encoding="utf-8"), f"recipe {name}"
    path = Path(name)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        raise RecipeError(f"no recipe {str(name)!r}: {did_you_mean(str(name), builtin())}, or a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error


def _override(values: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise RecipeError(f"cannot set {dotted!r}: {part!r} is not a table of the recipe")
    values[last] = value


def validate(values: Mapping[str, Any], source: str) -> Recipe:
    """Validate a recipe; all names are resolved before training."""
    values = {**values, "members": _expanded(values, source)} if values.get("members") else values
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error, source, Recipe)) from error
    for name, part in recipe.parts().items():
        _check_model(part, f"{source}: members.{name}" if name else source)
    if recipe.members:
        _check_stack(recipe, source)
    elif FAMILIES[recipe.family].level == "joint":
        raise RecipeError(
            f'{source}: a stack needs members: write for example [members.cnn] with recipe = "ravdess-cnn"'
        )
    if recipe.tune:
        _require_space(recipe, recipe.tune, source)
    return recipe


def _require_space(recipe: Recipe, tune: TuneRecipe, source: str) -> None:
    """Raise if a search space has unknown keys or invalid values."""
    for path, value in extremes(tune.space):
        key = f'{source}: tune.space."{path}"'
        if path.split(".")[0] not in TUNABLE or "." not in path:
            raise RecipeError(f"{key} cannot be tuned: choose keys of {', '.join(TUNABLE)}, such as model.dropout")
        recipe.changed({path: value}, key)


def _expanded(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Replace the recipes named by members by their content."""
    if not isinstance(values["members"], dict):
        raise RecipeError(f"{source}: members is no table: write for example [members.cnn]")
    result = {}
    for name, member in values["members"].items():
        if not isinstance(member, dict) or "recipe" not in member:
            result[name] = member
            continue
        base = load(str(member["recipe"]))
        _require_same_labels(base, values.get("corpora", {}), f"{source}: members.{name}")
        whole = base.model_dump(mode="json", include={"preprocess", "features", "model", "augment"})
        for section, changes in member.items():
            if section != "recipe":
                merge = isinstance(changes, dict) and section in ("preprocess", "features", "model")
                whole[section] = {**whole[section], **changes} if merge else changes
        result[name] = whole
    return result


def _require_same_labels(base: Recipe, corpora: Mapping[str, Any], source: str) -> None:
    """Raise if the recipe of a member uses other labels of a corpus than the stack."""
    for name in base.corpora.keys() & corpora.keys():
        own = tuple(base.corpora[name].labels)
        wanted = tuple(corpora[name].get("labels", ())) if isinstance(corpora[name], dict) else own
        if sorted(own) != sorted(wanted):
            raise RecipeError(
                f"{source}: recipe {base.name!r} uses {', '.join(own) or 'all labels'} of {name}, and this one "
                f"{', '.join(wanted) or 'all labels'}: give the model's tables themselves in place of the recipe"
            )


def _check_model(part: ModelRecipe, source: str) -> None:
    """Validate a model and its features."""
    if not isinstance(part.model.get("family"), str):
        raise RecipeError(f'{source}: [model] needs family = "..."')
    try:
        kind = family(part.family)
        if kind.level == "joint":
            part.options(seed=0)
            return
        if not isinstance(part.features.get("set"), str):
            raise RecipeError('[features] needs set = "..."')
        part.feature_spec()
        part.options(seed=0)
        require_fit(part.family, part.options(seed=0), part.features, part.augment.copies)
    except ValidationError as error:
        raise RecipeError(_explain(error, f"{source}: [model]", FAMILIES[part.family].options)) from error
    except InputError as error:
        text = str(error)
        raise RecipeError(text if text.startswith(source) else f"{source}: {text}") from error


def _check_stack(recipe: Recipe, source: str) -> None:
    """Raise if members exist without a stack, or are invalid."""
    if not isinstance(recipe.model.get("family"), str):
        raise RecipeError(f'{source}: [model] needs family = "..."')
    if family(recipe.family).level != "joint":
        raise RecipeError(f'{source}: members are for a stack: set model.family = "stack", or leave them out')
    if recipe.features or recipe.preprocess or recipe.augment.copies:
        raise RecipeError(
            f"{source}: a stack sees nothing by itself: move features, preprocess and augment to its members"
        )
    if "members" in recipe.model:
        raise RecipeError(f"{source}: model.members is not possible: write a table [members.NAME] for each member")
    if recipe.export.int8:
        raise RecipeError(f"{source}: export.int8 is not possible for a stack: leave it out")
    for name, member in recipe.members.items():
        if FAMILIES[member.family].tunes_encoder or FAMILIES[member.family].level == "joint":
            raise RecipeError(f"{source}: members.{name}: family {member.family!r} cannot be a member of a stack")
        if not name.isidentifier():
            raise RecipeError(f"{source}: members.{name}: a name is letters, digits and _, for example cnn")
    try:
        recipe.options(seed=0)
    except ValidationError as error:
        raise RecipeError(_explain(error, f"{source}: [model]", FAMILIES[recipe.family].options)) from error


def _explain(error: ValidationError, source: str, model: type) -> str:
    """Convert the first error of pydantic to one line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{source}: unknown key {key!r}: {did_you_mean(str(first['loc'][-1]), _keys(model, first['loc']))}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{source}: {key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{source}: {key} = {first['input']!r} is not possible: {message[0].lower()}{message[1:]}"


def _keys(model: type, location: tuple[int | str, ...]) -> list[str]:
    """Return the allowed keys at the place of an unknown one."""
    nested = {
        "corpora": CorpusRecipe,
        "members": ModelRecipe,
        "protocol": ProtocolRecipe,
        "augment": AugmentRecipe,
        "export": ExportRecipe,
        "tune": TuneRecipe,
        "words": WordsRecipe,
        "decision": DecisionRecipe,
    }
    if location[:2] == ("augment", "options"):
        model = AugmentOptions
    elif len(location) > 1 and location[0] in nested:
        model = nested[str(location[0])]
    if dataclasses.is_dataclass(model):
        fields = [field for field in dataclasses.fields(model) if field.metadata.get("given", field.name != "seed")]
        return [field.name for field in fields]
    return list(getattr(model, "model_fields", {}))


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML that :func:`load` reads back to the same recipe."""
    lines: list[str] = []
    tune = {"tune": recipe.tune.plain()} if recipe.tune else {}
    _write_table({**recipe.model_dump(mode="json", exclude={"tune"}), **tune}, "", lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        lines += ["", f"[{path}]"]
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict) and (value or path == "corpora"):
            _write_table(value, f"{path}.{_toml_key(key)}" if path else _toml_key(key), lines)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON and TOML have the same escapes, but TOML requires DEL to be escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
