"""Per-file indexes: which recordings a corpus has, how long each is, and their bytes where these are known.

An index is a gzipped table, a row for each clip: the key that `emovox.lab.corpora.readers.key` gives it, whatever its
folder and format; duration in seconds; size in bytes and SHA-256 of the file.  What is not known is empty.  The indexes
of the package lie beside the cards, or are made of the scheme of names in the card; ``emovox data verify --record``
writes one for a copy, into its folder.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError
from emovox.lab.corpora.cards import Card
from emovox.lab.corpora.readers import key, listed
from emovox.lab.corpora.table import Corpus
from emovox.storage import file_digest, replacing

#: Name of the index of a copy, in its folder; hidden, so that it is no file of the corpus.
RECORDED = ".emovox-index.{name}.tsv.gz"
_BRACES = re.compile(r"{([^{}]*)}")
_HEADER = "key\tseconds\tbytes\tsha256"


@dataclass(frozen=True)
class Row:
    """What is known of a clip's file: duration in seconds, size in bytes, SHA-256; None and empty where unknown."""

    seconds: float | None = None
    bytes: int | None = None
    sha256: str = ""


def keys(corpus: Corpus, card: Card) -> dict[str, Path]:
    """Return the file of each clip of a corpus by its key."""
    files = corpus.table.index.get_level_values("file")
    return {key(card, PurePosixPath(file)): corpus.path(file) for file in files}


def published(card: Card) -> dict[str, Row]:
    """Return the index that the package has of a corpus, empty if it has none.

    Examples
    --------
    >>> from emovox.lab.corpora.cards import card
    >>> len(published(card("emodb"))), len(published(card("crema-d")))
    (535, 7441)
    """
    file = resources.files(__package__).joinpath("cards", f"{card.name}.index.tsv.gz")
    if file.is_file():
        return parse(file.read_bytes(), f"the index of {card.name}")
    return {key(card, PurePosixPath(f"{name}.wav")): Row() for name in scheme(card)}


def scheme(card: Card) -> list[str]:
    """Return the names that the published scheme of a corpus makes, without those that do not exist."""
    absent = {name for form in card.absent for name in expanded(form)}
    return [name for form in card.names for name in expanded(form) if name not in absent]


def expanded(form: str) -> Iterator[str]:
    """Expand ``{a,b}`` to each in turn, and ``{01..12}`` to each number, with as many digits as the first has.

    Examples
    --------
    >>> list(expanded("{01..03,10}-{a,n}"))[:4]
    ['01-a', '01-n', '02-a', '02-n']
    """
    parts = enumerate(_BRACES.split(form))
    return map("".join, itertools.product(*(_items(part) if inside % 2 else (part,) for inside, part in parts)))


def _items(inside: str) -> Iterator[str]:
    """Yield what stands between two braces."""
    for item in inside.split(","):
        first, dots, last = item.partition("..")
        yield from (f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)) if dots else (item,)


def of_copy(root: Path, card: Card) -> dict[str, Row]:
    """Return the index that was recorded of a copy, empty if none was."""
    file = recorded(root, card)
    return parse(file.read_bytes(), str(file)) if file.is_file() else {}


def recorded(root: Path, card: Card) -> Path:
    """Return where the index of a copy is recorded: several corpora may share a folder."""
    return root / RECORDED.format(name=card.name)


def known(card: Card, root: Path) -> tuple[dict[str, Row], str]:
    """Return the best index that there is of a copy, and where it is from; empty if there is none.

    That is the one recorded in its folder, else that of the package, else the names in the corpus's own tables.
    """
    if rows := of_copy(root, card):
        return rows, "recorded in its folder"
    rows = published(card) or {name: Row() for name in listed(card, root)}
    return rows, card.index


def parse(content: bytes, what: str) -> dict[str, Row]:
    """Read an index.

    Raises
    ------
    CorpusError
        It is none.

    Examples
    --------
    >>> parse(render({"a": Row(1.5)}), "mine")
    {'a': Row(seconds=1.5, bytes=None, sha256='')}
    """
    try:
        header, *lines = gzip.decompress(content).decode("utf-8").splitlines()
        if header != _HEADER:
            raise ValueError(header)
        cells = [line.split("\t") for line in lines]
        return {
            name: Row(float(seconds) if seconds else None, int(size) if size else None, digest)
            for name, seconds, size, digest in cells
        }
    except (OSError, EOFError, ValueError) as error:
        raise CorpusError(f"{what} is not an index of recordings ({error}): remove it and record it again") from None


def render(rows: Mapping[str, Row]) -> bytes:
    """Write an index: the same rows give the same bytes."""
    lines = []
    for name, row in sorted(rows.items()):
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        lines.append(f"{name}\t{seconds}\t{'' if row.bytes is None else row.bytes}\t{row.sha256}")
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write("\n".join([_HEADER, *lines]).encode("utf-8"))
    return buffer.getvalue()


def record(corpus: Corpus, card: Card, durations: Mapping[str, float] | None = None) -> Path:
    """Write the index of a copy into its folder: sizes, checksums and, where they are given, durations by key."""
    rows = {
        name: Row((durations or {}).get(name), path.stat().st_size, file_digest(path))
        for name, path in keys(corpus, card).items()
    }
    target = recorded(corpus.root, card)
    with replacing(target) as part:
        part.write_bytes(render(rows))
    return target
