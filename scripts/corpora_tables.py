"""Write the tables of docs/corpora.md and docs/leakage.md from the cards of the corpora.

    python scripts/corpora_tables.py --write

Without --write it says whether they are up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from emovox.lab.corpora.cards import Card, cards

DOCS = Path(__file__).resolve().parent.parent / "docs"
ACCESS = {"direct": "download", "form": "form", "page": "by hand"}


def corpora() -> Iterator[str]:
    """Yield the table of all corpora."""
    yield "| name | corpus | clips | speakers | licence | use | how | index | reader tested on |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for card in cards().values():
        numbers = " | ".join(str(number or "not known") for number in (card.clips, card.speakers))
        title = card.title.removesuffix("; commercial use allowed")
        yield (
            f"| [`{card.name}`]({card.url}) | {title} | {numbers} | {card.licence} | {card.use} "
            f"| {ACCESS[card.access]} | {_index(card)} | {card.tested} |"
        )


def _index(card: Card) -> str:
    """Say in a word what the index of a corpus holds."""
    if card.index.startswith("names by the published scheme"):
        return "names by the scheme"
    return "names, durations" if card.index.startswith("names and durations") else "names" if card.index else "-"


def remotes() -> Iterator[str]:
    """Yield the table of what can be downloaded."""
    yield "| name | file | bytes | checksum | where size and checksum come from |"
    yield "|---|---|---|---|---|"
    for card in cards().values():
        for remote in card.remotes:
            sums = " and ".join(kind for kind in ("md5", "sha256") if getattr(remote, kind)) or "not known"
            yield f"| `{card.name}` | {remote.file} | {remote.bytes or 'not known'} | {sums} | {remote.source} |"


def splits() -> Iterator[str]:
    """Yield the table of published splits."""
    yield "| corpus | split | speakers on both sides | what was counted | source |"
    yield "|---|---|---|---|---|"
    for card in cards().values():
        for split in card.splits:
            shared = "**yes**" if split.speakers_shared else "no"
            yield f"| {_name(card)} | {split.name} | {shared} | {split.text} | {split.source or '-'} |"


def _name(card: Card) -> str:
    return card.title.partition(":")[0]


#: Tables of each page.
TABLES: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "corpora.md": {"corpora": corpora, "remotes": remotes},
    "leakage.md": {"splits": splits},
}


def filled(text: str, tables: Mapping[str, Callable[[], Iterator[str]]]) -> str:
    """Return a page with its tables as they should be, between comments that name them."""
    for name, make in tables.items():
        before, start, rest = text.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{start}\n" + "\n".join(make()) + f"\n\n{end}{after}"
    return text


def main() -> int:
    """Compare or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the pages")
    write = parser.parse_args().write
    stale = []
    for page, tables in TABLES.items():
        text = (DOCS / page).read_text(encoding="utf-8")
        new = filled(text, tables)
        if new != text:
            stale.append(page)
            if write:
                (DOCS / page).write_text(new, encoding="utf-8")
    print(f"{'written' if write else 'not up to date'}: {', '.join(stale) or 'none'}")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
