"""Search space of hyper-parameters: the table `[tune]` of a recipe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

#: Tables of a recipe that a search may change; with other protocols or corpora, scores would not be comparable.
TUNABLE = ("model", "features", "preprocess", "augment", "members")


@dataclass(frozen=True)
class Range:
    """A range of numbers, both ends included.

    Attributes
    ----------
    low, high : float or int
        Ends of the range; values are integers if both are.
    log : bool
        Sample uniformly on a logarithmic scale.
    step : float, int or None
        Spacing of the values; the default is 1 for integers and none for floats.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Return whether the values are integers."""
        return all(isinstance(one, int) for one in (self.low, self.high, self.step or 1))

    def ends(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        return self.low, self.high


@dataclass(frozen=True)
class Choices:
    """A list of values of any type that a recipe can contain.

    Attributes
    ----------
    values : tuple
        At least two values.
    """

    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        """Return all values."""
        return self.values


def dimension(given: Any) -> Range | Choices:
    """Parse the range or the choices of one parameter.

    Parameters
    ----------
    given : mapping or list
        ``{low, high, log, step}``, or values to choose from.

    Returns
    -------
    Range or Choices

    Raises
    ------
    ValueError
        Neither, or an invalid range; pydantic prefixes the message with the key.

    Examples
    --------
    >>> dimension({"low": 0.1, "high": 10.0, "log": True})
    Range(low=0.1, high=10.0, log=True, step=None)
    >>> dimension([[64], [128, 32]])
    Choices(values=([64], [128, 32]))
    """
    if isinstance(given, Range | Choices):
        return given
    if isinstance(given, list | tuple):
        if len(given) < 2:
            raise ValueError("give two values at least to choose from")
        return Choices(tuple(given))
    if not isinstance(given, Mapping) or not {"low", "high"} <= given.keys() <= {"low", "high", "log", "step"}:
        raise ValueError("expected a list of values, or low and high with log = true or a step")
    one = Range(**given)
    numbers = [value for value in (one.low, one.high, one.step) if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
        raise ValueError("low, high and step must be numbers")
    if not isinstance(one.log, bool):
        raise ValueError("log must be true or false")
    if not one.low < one.high:
        raise ValueError("low must be less than high")
    if one.log and (one.low <= 0 or one.step is not None):
        raise ValueError("a logarithmic scale needs low above 0 and no step")
    if one.step is not None and one.step <= 0:
        raise ValueError("step must be above 0")
    return one


class TuneRecipe(BaseModel):
    """Hyper-parameter search by `emovox tune`; `emovox train` ignores it.

    Attributes
    ----------
    trials : int
        Number of trials per search.  There is one search for each test part of the protocol and one on all clips.
    timeout : float or None
        Time in seconds after which a search starts no more trials; unlimited by default.
    inner : str
        Protocol by which trials are scored within the training part, named as in ``[protocol]``.
    pruning : bool
        Stop a trial if its mean after some inner folds is below the median of earlier trials.
    seed : int
        Seed of the search.
    space : mapping of str to Range or Choices
        Search space: keys of the recipe such as ``"model.dropout"``, each with ``{low, high, log, step}`` or a list of
        values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=50, ge=1)
    timeout: float | None = Field(default=None, gt=0)
    inner: str = "speaker-3"
    pruning: bool = True
    seed: int = Field(default=0, ge=0)
    space: dict[str, Annotated[Range | Choices, BeforeValidator(dimension)]] = Field(min_length=1)

    def plain(self) -> dict[str, Any]:
        """Return the table as plain values."""
        space: dict[str, Any] = {}
        for path, one in self.space.items():
            if isinstance(one, Choices):
                space[path] = list(one.values)
            else:
                values = {key: value for key, value in dataclasses.asdict(one).items() if value is not None}
                space[path] = values if one.log else {key: value for key, value in values.items() if key != "log"}
        kept = {key: value for key, value in self.model_dump(exclude={"space"}).items() if value is not None}
        return {**kept, "space": space}


def suggest(trial: BaseTrial, space: Mapping[str, Range | Choices]) -> dict[str, Any]:
    """Sample a value of each parameter.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
        Trial that samples and records the values.
    space : mapping of str to Range or Choices
        The parameters.

    Returns
    -------
    dict
        Values by key of the recipe.

    Examples
    --------
    >>> from optuna.trial import FixedTrial
    >>> suggest(FixedTrial({"model.C": 2.0}), {"model.C": Range(0.1, 10.0)})
    {'model.C': 2.0}
    """
    chosen: dict[str, Any] = {}
    for path, one in space.items():
        if isinstance(one, Choices):
            # Studies store text: lists such as layer sizes are encoded as JSON.
            chosen[path] = json.loads(trial.suggest_categorical(path, [json.dumps(value) for value in one.values]))
        elif one.whole:
            low, high, step = int(one.low), int(one.high), int(one.step or 1)
            chosen[path] = trial.suggest_int(path, low, high, step=step, log=one.log)
        else:
            chosen[path] = trial.suggest_float(path, one.low, one.high, step=one.step, log=one.log)
    return chosen


def extremes(space: Mapping[str, Range | Choices]) -> Iterator[tuple[str, Any]]:
    """Yield the values of each parameter that must be valid for all to be: the ends of a range, every choice.

    Yields
    ------
    tuple of (str, value)
    """
    for path, one in space.items():
        for value in one.ends():
            yield path, value
