"""The settings of feature sets: defaults, limits, and messages when a value is not possible."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from emovox.errors import FeatureError

Value = int | float | str


@dataclass(frozen=True)
class Parameter:
    """One setting of a feature set.

    Attributes
    ----------
    default : int, float or str
        Value when none is given; its type is the type of the parameter.
    choices : tuple of str
        Allowed words, for a str.
    pattern, form : str
        For a str of one's own: the regular expression that it must match, and what that means in words.
    low, high : float
        Allowed range, both included, for a number.
    multiple : int
        A whole number must be a multiple of this.
    unit : str
        Unit, for messages and documents.
    """

    default: Value
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    low: float = -np.inf
    high: float = np.inf
    multiple: int = 1
    unit: str = ""

    def allowed(self) -> str:
        """Say in words what a value may be."""
        if self.pattern:
            return self.form
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a number" if isinstance(self.default, float) else "a whole number"
        kind = "an even number" if self.multiple == 2 else kind
        return f"{kind} from {self.low:g} to {self.high:g} {self.unit}".rstrip()

    def accept(self, label: str, value: object) -> Value:
        """Return the value in the parameter's own type, or raise FeatureError naming `label`."""
        if isinstance(self.default, str):
            if isinstance(value, str) and (
                re.fullmatch(self.pattern, value) if self.pattern else value in self.choices
            ):
                return value
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high:
            if isinstance(self.default, float):
                return float(value)
            if value % self.multiple == 0:
                return int(value)
        raise FeatureError(f"{label}={value!r} is not possible: it must be {self.allowed()}")
