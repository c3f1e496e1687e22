"""Recipes: what is accepted, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emovox.errors import RecipeError
from emovox.lab.corpora.splits import NAMES
from emovox.lab.estimators.neural import AnnOptions
from emovox.lab.experiments import recipe

MINIMAL: dict[str, Any] = {
    "name": "demo",
    "corpora": {"ravdess": {}},
    "features": {"set": "classic193"},
    "model": {"family": "ann"},
}


def changed(section: str, **values: Any) -> dict[str, Any]:
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), **values}}


@pytest.mark.parametrize("name", recipe.builtin())
def test_packaged_recipes_are_valid_and_complete(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    assert loaded.description
    assert loaded.protocol.name.split("-")[0] in {one.split("-")[0] for one in NAMES}


def test_the_named_recipes_are_in_the_package() -> None:
    assert {"ravdess-ann", "ravdess-mlp", "ravdess-svm", "tess-ann", "nemo-ann"} <= set(recipe.builtin())


@pytest.mark.parametrize("name", recipe.builtin())
def test_toml_round_trip(name: str, tmp_path: Path) -> None:
    original = recipe.load(name)
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe.to_toml(original), encoding="utf-8")
    assert recipe.load(copy) == original


def test_awkward_words_survive_toml(tmp_path: Path) -> None:
    original = recipe.validate({**MINIMAL, "description": 'say "hi"\n\\ \x7f \u20ac'}, "test")
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe.to_toml(original), encoding="utf-8")
    assert recipe.load(copy) == original


def test_the_published_network_is_the_default() -> None:
    options = recipe.load("ravdess-ann").options(seed=3)
    assert isinstance(options, AnnOptions)
    assert options.hidden == (300, 50, 20, 10)
    assert (options.activation, options.dropout, options.seed) == ("relu", 0.0, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**MINIMAL, "modle": {}}, r"unknown key 'modle': did you mean 'model'\?"),
        ({key: value for key, value in MINIMAL.items() if key != "features"}, r"\[features\] needs set"),
        (changed("model", hiden=[3]), r"\[model\]: unknown key 'hiden': did you mean 'hidden'\?"),
        (changed("model", dropout=1.5), r"dropout = 1.5 is not possible: input should be less than 1"),
        (changed("model", activation="relux"), r"activation = 'relux' is not possible: .*'relu', 'gelu' or 'tanh'"),
        (changed("model", hidden=[0]), r"hidden.0 = 0 is not possible"),
        (changed("model", epochs="many"), r"epochs = 'many' is not possible"),
        (changed("model", family="adaptive-kernel"), r'"adaptive-kernel" is no more: write "adaptive", and leave its'),
        (changed("model", family="adaptive-net", hidden=9), r'"adaptive-net" is no more: write "adaptive"'),
        (changed("protocol", promise="loso"), r"protocol.promise = 'loso' is not possible"),
        (changed("model", family="anm"), r"unknown model family 'anm': did you mean 'ann'\?"),
        (changed("features", set="clasic193"), r"unknown feature set 'clasic193': did you mean 'classic193'\?"),
        (changed("features", hop=3), r"no parameter 'hop'"),
        (changed("preprocess", denoize=True), r"unknown preprocessing option 'denoize': did you mean 'denoise'\?"),
        (changed("protocol", nam="loso"), r"unknown key 'protocol.nam': did you mean 'name'\?"),
        (changed("protocol", seeds=[]), r"protocol.seeds = \[\] is not possible"),
        ({**MINIMAL, "corpora": {}}, r"corpora = \{\} is not possible"),
        ({**MINIMAL, "corpora": {"ravdess": {"label": []}}}, r"unknown key .*did you mean 'labels'\?"),
        ({**MINIMAL, "model": {}}, r"\[model\] needs family"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        recipe.validate(values, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'ravdes-ann': did you mean 'ravdess-ann'\?"):
        recipe.load("ravdes-ann")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"broken.toml is not TOML: Invalid value"):
        recipe.load(broken)
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        recipe.load(tmp_path)


def test_overrides_replace_values() -> None:
    loaded = recipe.load("ravdess-ann", {"protocol.name": "loso", "model.epochs": 3})
    assert loaded.protocol.name == "loso"
    options = loaded.options(0)
    assert isinstance(options, AnnOptions)
    assert options.epochs == 3


def test_an_override_through_a_value_is_refused() -> None:
    with pytest.raises(RecipeError, match="'name' is not a table"):
        recipe.load("ravdess-ann", {"name.x": 1})


@pytest.mark.parametrize("name", ["tess-default", "cross-corpus", "commercial"])
def test_the_built_in_models_recipe_is_measured_as_it_is(name: str) -> None:
    own, default = recipe.load(name), recipe.load("default")
    for part in ("preprocess", "features", "augment", "model"):
        assert getattr(own, part) == getattr(default, part)
