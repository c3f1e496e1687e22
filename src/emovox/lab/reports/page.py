"""Shared parts of the HTML reports: templates, style sheet and number formats."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jinja2


@cache
def template(name: str) -> jinja2.Template:
    """Load one of the templates beside this module.

    Parameters
    ----------
    name : str
        File name; a template may include the others, for example ``page.css``.

    Returns
    -------
    jinja2.Template
        With autoescape; an undefined name raises.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("emovox.lab.reports", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters |= {"score": score, "percent": percent, "value": value, "p_value": p_value}
    return environment.get_template(name)


def score(share: float | None) -> str:
    """Format a fraction in percent, without unit; a dash for None.

    Examples
    --------
    >>> score(0.756), score(None)
    ('75.6', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}"


def percent(share: float | None) -> str:
    """Format a fraction in percent, with unit and without line break; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def p_value(p: float | None) -> str:
    """Format a p value; a dash for None.

    Examples
    --------
    >>> p_value(0.0312), p_value(1e-9), p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def value(setting: Any) -> str:
    """Format an option of a recipe."""
    if isinstance(setting, (list, tuple)):
        return ", ".join(map(value, setting))
    return setting if isinstance(setting, str) else json.dumps(setting)
