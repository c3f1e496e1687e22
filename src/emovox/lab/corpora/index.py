"""Per-file indexes: which recordings a corpus has, how long each is, and their bytes where these are known.

An index is a gzipped table, a row for each clip: the key that `emovox.lab.corpora.readers.key` gives it, whatever its
folder and format; duration in seconds; size in bytes and SHA-256 of the file.  What is not known is empty.  The indexes
of the package lie beside the cards; ``emovox data verify --record`` writes one for a copy, into its folder.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError
from emovox.hub import file_digest
from emovox.lab.corpora.cards import Card
from emovox.lab.corpora.readers import key
from emovox.lab.corpora.table import Corpus
from emovox.writing import replacing

#: Name of the index of a copy, in its folder; hidden, so that it is no file of the corpus.
RECORDED = ".emovox-index.tsv.gz"
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
    >>> len(published(card("emodb")))
    535
    """
    file = resources.files(__package__).joinpath("cards", f"{card.name}.index.tsv.gz")
    return parse(file.read_bytes(), f"the index of {card.name}") if file.is_file() else {}


def of_copy(root: Path) -> dict[str, Row]:
    """Return the index that was recorded of a copy, empty if none was."""
    file = root / RECORDED
    return parse(file.read_bytes(), str(file)) if file.is_file() else {}


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
    target = corpus.root / RECORDED
    with replacing(target) as part:
        part.write_bytes(render(rows))
    return target
