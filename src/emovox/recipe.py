"""A recipe: one experiment, written down completely in a TOML file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emovox.augment import AugmentOptions
from emovox.errors import InputError, RecipeError, did_you_mean
from emovox.features import sets
from emovox.models.families import FAMILIES, Options, family
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
        A name that `emovox.corpora.splits.by_name` takes.
    seeds : tuple of int
        Seeds of the model; the whole evaluation is repeated for each, and scores are means over them.
        The first one is that of the exported model, and of splits that are drawn.
    enrol : int
        Neutral clips that tell a speaker's baseline in a second evaluation of models that use one; these clips leave
        that test.
    """

    name: str = "speaker"
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


class Recipe(_Strict):
    """One experiment.

    Attributes
    ----------
    name, description : str
        For people; the name is that of the model.
    corpora : mapping of str to CorpusRecipe
        The corpora, by registry name or by a name that ``--corpus NAME=DIR`` gives a folder.
    preprocess : mapping
        Options of `emovox.preprocess.PreprocessOptions`.
    features : mapping
        ``set`` and that set's parameters.
    model : mapping
        ``family`` and that family's options.
    protocol : ProtocolRecipe
        Evaluation.
    augment : AugmentRecipe
        Augmented copies, for families that learn from them.
    export : ExportRecipe
        The model file.
    """

    name: str
    description: str = ""
    corpora: dict[str, CorpusRecipe] = Field(min_length=1)
    preprocess: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any]
    model: dict[str, Any]
    protocol: ProtocolRecipe = ProtocolRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    export: ExportRecipe = ExportRecipe()

    @property
    def family(self) -> str:
        """Name of the model family."""
        return str(self.model["family"])

    def options(self, seed: int) -> Options:
        """Options of the model, with their defaults and a seed."""
        given = {key: value for key, value in self.model.items() if key != "family"}
        options: Options = TypeAdapter(family(self.family).options).validate_python(given)
        return dataclasses.replace(options, seed=seed)

    def complete(self) -> dict[str, Any]:
        """Return the recipe as plain values, with every default of the model written out."""
        model = {"family": self.family, **dataclasses.asdict(self.options(self.protocol.seeds[0]))}
        return {**self.model_dump(mode="json"), "model": model}

    def feature_spec(self) -> FeatureSpec:
        """Write the front end down completely."""
        parameters = {key: value for key, value in self.features.items() if key != "set"}
        return sets.spec(str(self.features["set"]), parameters, self.preprocess)


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
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error, source, Recipe)) from error
    for section, key in (("features", "set"), ("model", "family")):
        if not isinstance(getattr(recipe, section).get(key), str):
            raise RecipeError(f'{source}: [{section}] needs {key} = "..."')
    try:
        recipe.feature_spec()
        family(recipe.family)
        recipe.options(seed=0)
        _require_fit(recipe)
    except ValidationError as error:
        raise RecipeError(_explain(error, f"{source}: [model]", FAMILIES[recipe.family].options)) from error
    except InputError as error:
        raise RecipeError(f"{source}: {error}") from error
    return recipe


def _require_fit(recipe: Recipe) -> None:
    """Refuse a family that does not go with the features or with augmented copies."""
    wanted, chosen = FAMILIES[recipe.family].level, sets.get(str(recipe.features["set"]))
    if wanted != chosen.level:
        able = ", ".join(name for name in sets.available() if sets.get(name).level == wanted)
        raise RecipeError(
            f'features.set = "{chosen.name}" is of level {chosen.level!r}, and model.family = "{recipe.family}" needs '
            f"one vector a {wanted}: choose one of {able}"
        )
    if FAMILIES[recipe.family].takes_baseline and not chosen.pretrained:
        raise RecipeError(
            f'model.family = "{recipe.family}" needs the embeddings of an encoder: '
            'write for example features.set = "whisper-tiny.en"'
        )
    if recipe.augment.copies and not FAMILIES[recipe.family].learns_copies:
        able = ", ".join(name for name, one in FAMILIES.items() if one.learns_copies)
        raise RecipeError(f"augment.copies needs a family that learns from copies ({able}), not {recipe.family!r}")


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
        "protocol": ProtocolRecipe,
        "augment": AugmentRecipe,
        "export": ExportRecipe,
    }
    if location[:2] == ("augment", "options"):
        model = AugmentOptions
    elif len(location) > 1 and location[0] in nested:
        model = nested[str(location[0])]
    if dataclasses.is_dataclass(model):
        return [field.name for field in dataclasses.fields(model) if field.name != "seed"]
    return list(getattr(model, "model_fields", {}))


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML that :func:`load` reads back to the same recipe."""
    lines: list[str] = []
    _write_table(recipe.model_dump(mode="json"), "", lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        lines += ["", f"[{path}]"]
    lines += [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict) and (value or path == "corpora"):
            _write_table(value, f"{path}.{key}" if path else key, lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML wants DEL escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
