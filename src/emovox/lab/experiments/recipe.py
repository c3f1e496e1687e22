"""A recipe: one experiment, written down completely in a TOML file."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emovox.errors import InputError, RecipeError, did_you_mean
from emovox.features import sets
from emovox.lab.augmentation.augment import AugmentOptions
from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.families import FAMILIES, family, parse, require_fit
from emovox.lab.estimators.stacking import Member
from emovox.lab.experiments.search_space import TUNABLE, TuneRecipe, extremes
from emovox.text.rules import Rule
from emovox.types import FeatureSpec

#: Where the recipes inside the package lie.
HOME = "emovox.recipes"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusRecipe(_Strict):
    """How one corpus takes part.

    Attributes
    ----------
    labels : tuple of str
        Use only clips with these labels; empty uses all.
    options : mapping
        Options of the corpus's reader, for example ``kind = "speech"``.
    """

    labels: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)


class ProtocolRecipe(_Strict):
    """How the model is evaluated.

    Attributes
    ----------
    name : str
        A name that `emovox.lab.corpora.splits.by_name` takes.
    seeds : tuple of int
        Seeds of the model; the whole evaluation is repeated for each, and scores are means over them.
        The first one is that of the exported model, and of splits that are drawn.
    tested : str
        The one corpus that is tested, while others are trained on; where it is empty, the protocol says.
    enrol : int
        Neutral clips that tell a speaker's baseline in a second evaluation of models that use one; these clips leave
        that test.
    """

    name: str = "speaker"
    tested: str = ""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    enrol: int = Field(default=2, ge=1)


class AugmentRecipe(_Strict):
    """Augmented copies of the training clips.

    Attributes
    ----------
    copies : int
        Copies of each clip; 0 is none.
    seed : int
        Seed of the copies.
    options : AugmentOptions
        What is done to a copy.
    """

    copies: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    options: AugmentOptions = AugmentOptions()


class ExportRecipe(_Strict):
    """How the model file is written.

    Attributes
    ----------
    int8 : bool
        Store the matrices of an encoder in 8 bits: a third of the size, and faster.
    """

    int8: bool = False


class WordsRecipe(_Strict):
    """How the words of the clips are had, for families that take them.

    Attributes
    ----------
    transcriber : str
        Whisper model that recognises them: a name, a folder or a Hugging Face id.
    language : str
        Two-letter code of what is spoken; features of the words are known for English only.
    """

    transcriber: str = "tiny.en"
    language: str = "en"


class DecisionRecipe(_Strict):
    """What is made of the probabilities in the end.

    Attributes
    ----------
    rules : tuple of Rule
        Rules that may change the label where voice and words disagree; the first that applies does.  None by default.
    """

    rules: tuple[Rule, ...] = ()


class ModelRecipe(_Strict):
    """A model and what it sees: a recipe's own, or a member of its stack.

    Attributes
    ----------
    preprocess : mapping
        Options of `emovox.audio.preprocess.PreprocessOptions`.
    features : mapping
        ``set`` and that set's parameters; a stack has none of its own.
    model : mapping
        ``family`` and that family's options.
    augment : AugmentRecipe
        Augmented copies, for families that learn from them.
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
        """Options of the model, with their defaults and a seed."""
        return parse(self.model, seed)[1]

    def feature_spec(self) -> FeatureSpec:
        """Write the front end down completely."""
        parameters = {key: value for key, value in self.features.items() if key != "set"}
        return sets.spec(str(self.features["set"]), parameters, self.preprocess)


class Recipe(ModelRecipe):
    """One experiment.

    Attributes
    ----------
    name, description : str
        For people; the name is that of the model.
    corpora : mapping of str to CorpusRecipe
        The corpora, by registry name or by a name that ``--corpus NAME=DIR`` gives a folder.
    members : mapping of str to ModelRecipe
        The models of a stack (``model.family = "stack"``), by names of your choice.  ``recipe = "ravdess-cnn"`` takes
        preprocessing, features, augmentation and model of another recipe; what else is given changes them.
    protocol : ProtocolRecipe
        Evaluation.
    export : ExportRecipe
        The model file.
    tune : TuneRecipe or None
        What `emovox tune` searches.
    words : WordsRecipe
        How the words are had, for families that take them.
    decision : DecisionRecipe
        Rules that look at voice and words together.
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
        """Options of the model, with their defaults and a seed, which the members of a stack share."""
        options: Any = super().options(seed)
        if family(self.family).level != "joint":
            return options  # type: ignore[no-any-return]
        members = [Member(name, one.family, one.options(seed)) for name, one in self.members.items()]
        return dataclasses.replace(options, members=tuple(members))  # type: ignore[no-any-return]

    def parts(self) -> Mapping[str, ModelRecipe]:
        """Return what sees features: the members of a stack by name, or the model itself without one."""
        return self.members or {"": self}

    def complete(self) -> dict[str, Any]:
        """Return the recipe as plain values, with every default of the model written out."""
        options: Any = self.options(self.protocol.seeds[0])
        model = {"family": self.family, **dataclasses.asdict(options)}
        return {**self.model_dump(mode="json", exclude={"tune"}), "model": model}

    def changed(self, changes: Mapping[str, Any], source: str) -> Recipe:
        """Return a recipe with other values and nothing left to tune.

        Parameters
        ----------
        changes : mapping
            Dotted keys with values.
        source : str
            What to call it in messages.

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
        No such recipe, not TOML, an unknown key or an impossible value; the message names key and value.

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
    """Return a recipe's text and what to call it."""
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
    """Check a recipe's values; every name in it is looked up now, not after an hour of training."""
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
    """Refuse a search of something that is not there, or of values that are not possible."""
    for path, value in extremes(tune.space):
        key = f'{source}: tune.space."{path}"'
        if path.split(".")[0] not in TUNABLE or "." not in path:
            raise RecipeError(f"{key} cannot be tuned: choose keys of {', '.join(TUNABLE)}, such as model.dropout")
        recipe.changed({path: value}, key)


def _expanded(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Put the recipes that members name in place of their names."""
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
    """Refuse a member whose recipe uses a corpus with other labels than the stack does."""
    for name in base.corpora.keys() & corpora.keys():
        own = tuple(base.corpora[name].labels)
        wanted = tuple(corpora[name].get("labels", ())) if isinstance(corpora[name], dict) else own
        if sorted(own) != sorted(wanted):
            raise RecipeError(
                f"{source}: recipe {base.name!r} uses {', '.join(own) or 'all labels'} of {name}, and this one "
                f"{', '.join(wanted) or 'all labels'}: give the model's tables themselves in place of the recipe"
            )


def _check_model(part: ModelRecipe, source: str) -> None:
    """Look up every name of a model and its features."""
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
    """Refuse members without a stack, and those that cannot be one."""
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
    """Put pydantic's first complaint into one line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{source}: unknown key {key!r}: {did_you_mean(str(first['loc'][-1]), _keys(model, first['loc']))}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{source}: {key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{source}: {key} = {first['input']!r} is not possible: {message[0].lower()}{message[1:]}"


def _keys(model: type, location: tuple[int | str, ...]) -> list[str]:
    """List the keys allowed where an unknown one was found."""
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
        # JSON's escapes are TOML's, except that TOML wants DEL escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
