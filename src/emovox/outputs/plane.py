"""The valence-arousal plane: where a recording is, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emovox.drawing import clock
from emovox.outputs.plots import STYLE, require
from emovox.outputs.text import shown
from emovox.types import Prediction
from emovox.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The axes of the plane.
AXES = ("valence", "arousal")


def has_plane(predictions: Sequence[Prediction]) -> bool:
    """Say whether all predictions have valence and arousal.

    Examples
    --------
    >>> one = Prediction("a.wav", 0, 1, "", {}, 0.0, False, "m", dimensions={"valence": 0.1, "arousal": -0.2})
    >>> has_plane([one]), has_plane([])
    (True, False)
    """
    return bool(predictions) and all(set(AXES) <= set(one.dimensions or {}) for one in predictions)


def draw(predictions: Sequence[Prediction], title: str) -> Figure:
    """Draw the predictions of a recording as points on the plane, joined in the order of time.

    Larger points lasted longer; the colour is the time, from dark to light.
    """
    from matplotlib.figure import Figure

    points = np.array([[(one.dimensions or {})[name] for name in AXES] for one in predictions])
    times = np.array([one.start for one in predictions])
    sizes = np.array([one.end - one.start for one in predictions])
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.plot(*points.T, color="#999999", lw=0.7)
    drawn = axes.scatter(points[:, 0], points[:, 1], s=20 + 20 * sizes, c=times, cmap="viridis", zorder=2)
    reach = max(1.0, float(np.abs(points).max()) * 1.05)
    axes.axhline(0, color="#777777", lw=0.6)
    axes.axvline(0, color="#777777", lw=0.6)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=AXES[0], ylabel=AXES[1], aspect="equal")
    axes.set_title(shown(title), loc="left")
    bar = figure.colorbar(drawn, shrink=0.6, format=lambda seconds, _: clock(seconds))
    bar.set_label("time")
    return figure


def write(predictions: Sequence[Prediction], path: Path, title: str) -> None:
    """Draw the plane into a file: a name that ends in ``.png``, ``.svg`` or ``.pdf``; raises as ``plots.write``."""
    require(path)
    import matplotlib as mpl

    with mpl.rc_context(STYLE), replacing(path) as part:
        draw(predictions, title).savefig(part, format=path.suffix.lower()[1:], dpi=150)
