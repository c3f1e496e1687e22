"""Write the tables of docs/serve.md that are made of the code: settings and codes of errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from emovox.serve.settings import KINDS, table

PAGE = Path(__file__).parents[1] / "docs" / "serve.md"


def codes() -> Iterator[str]:
    """Write the table of codes, line by line."""
    yield "| status | code | what it means |"
    yield "|---|---|---|"
    for code, kind in KINDS.items():
        yield f"| {kind.status} | `{code}` | {kind.title} |"


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    for name, lines in {"settings": table(), "codes": codes()}.items():
        made = f"<!-- {name} -->\n\n" + "\n".join(lines) + "\n"
        text = re.sub(rf"<!-- {name} -->\n(\n\|[^\n]*(\n\|[^\n]*)*\n)?", lambda _, made=made: made, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    found = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(f"{PAGE.name} is out of date: run scripts/serve_reference.py" if page(found) != found else 0)
    PAGE.write_text(page(found), encoding="utf-8")
