"""Ranges of options of models, which pydantic enforces when a recipe is read."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

Share = Annotated[float, Ge(0), Lt(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]

#: Configuration of pydantic dataclasses: unknown keys are errors.
FORBID: Any = {"extra": "forbid"}
