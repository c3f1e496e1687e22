"""Print what a page without a server has to know of the built-in model, as ``about.json`` of the service tells it.

python scripts/browser_about.py
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from emovox import __version__
from emovox.model.file import load_card
from emovox.outputs.pages import sections


def about() -> dict[str, Any]:
    """Return version, model, labels and the parts of the card."""
    card = load_card()
    return {
        "version": __version__,
        "model": card.name,
        "labels": list(card.labels),
        "dimensions": list(card.dimensions),
        "licence": card.licence,
        "card": [dataclasses.asdict(one) for one in sections(card)],
    }


if __name__ == "__main__":
    print(json.dumps(about()))
