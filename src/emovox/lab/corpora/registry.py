"""Corpora by name: load one, detect the corpus in a folder, check it against the published numbers."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora import readers
from emovox.lab.corpora.cards import Card, cards
from emovox.lab.corpora.files import audio_files
from emovox.lab.corpora.manifest import SUFFIXES, manifest
from emovox.lab.corpora.readers import kind_of
from emovox.lab.corpora.table import Corpus

#: Readers of the user's own recordings.
OWN: dict[str, Callable[..., Corpus]] = {"folder": readers.folder, "manifest": manifest}


def names() -> list[str]:
    """Return the names of everything that can be loaded: public corpora, ``folder`` and ``manifest``."""
    return [*cards(), *OWN]


def load(name_or_path: str | Path, root: Path | None = None, **options: Any) -> Corpus:
    """Load a corpus.

    Parameters
    ----------
    name_or_path : str or Path
        A name of :func:`names` with the folder in `root`; a folder or manifest, whose corpus is detected by
        :func:`detect`; or any other name, with a folder of labels or a manifest in `root`.
    root : Path, optional
        Folder or manifest of the corpus.
    **options
        Passed to the reader: ``kind`` of RAVDESS; ``name`` and ``licence`` of a folder or manifest.

    Returns
    -------
    Corpus
        The corpus, its table validated.

    Raises
    ------
    CorpusError
        Unknown name or option, or the reader cannot read `root`.
    """
    name = str(name_or_path)
    if root is None:
        if name in names():
            raise CorpusError(f"corpus {name!r} needs its folder: give it as {name}=DIR")
        root = Path(name_or_path)
        name = detect(root)
    elif name not in names():
        if difflib.get_close_matches(name, names(), n=1, cutoff=0.8):
            raise CorpusError(f"unknown corpus {name!r}: {did_you_mean(name, names())}")
        options = {"name": name, **options}
        name = "manifest" if root.is_file() else "folder"
    reader, known = _reader(name)
    for option in options:
        if option not in known:
            remedy = did_you_mean(option, known) if known else "it has none"
            raise CorpusError(f"corpus {name!r} has no option {option!r}: {remedy}")
    return reader(Path(root), **options)


def _reader(name: str) -> tuple[Callable[..., Corpus], list[str]]:
    """Return the reader of a corpus, and the names of its options."""
    if name in OWN:
        return OWN[name], list(inspect.signature(OWN[name]).parameters)[1:]
    one = cards()[name]
    return partial(readers.read, one), ["kind"] if one.reader.kinds else []


def detect(root: Path) -> str:
    """Detect which corpus is at a path.

    Parameters
    ----------
    root : Path
        A folder or a manifest.

    Returns
    -------
    str
        A name of :func:`names`: the corpus whose table is in the folder, else the one that most recordings are named
        after.  Corpora that share a scheme of names with another are never detected.

    Raises
    ------
    CorpusError
        No reader can read `root`.
    """
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            raise CorpusError(f"{str(root)!r} is not a corpus: give a folder or a {', '.join(SUFFIXES)} manifest")
        return "manifest"
    files = audio_files(root, defaultdict(list))  # raises if it is not a folder
    if listed := _listed_at(root):
        return listed
    kinds = Counter(kind for kind in map(_kind_of, files) if kind)
    if kinds:
        return kinds.most_common(1)[0][0]
    raise CorpusError(
        f"nothing in {str(root)!r} is a corpus: give a folder with a folder for each label, or a manifest"
    )


def _listed_at(root: Path) -> str:
    """Return the corpus whose tables lie directly in a folder or in a folder of it, empty if none do."""
    for name, one in cards().items():
        found = readers.index_of(root, one)
        if found and all(len(path.relative_to(root).parts) <= 2 for path in found):
            return name
    return ""


def find(root: Path) -> list[tuple[str, Path]]:
    """Find the corpora at a path and below it.

    Parameters
    ----------
    root : Path
        A folder or a manifest.

    Returns
    -------
    list of (str, Path)
        Names of :func:`names` and where each lies: `root` itself, as :func:`detect` says, unless recordings of
        several corpora lie below it; then the folder nearest to the recordings of each, which is `root` for those that
        lie directly in it.  Recordings in such a folder that are named after none are of none.

    Raises
    ------
    CorpusError
        No reader can read `root`.
    """
    if root.is_file():
        return [(detect(root), root)]
    files = audio_files(root, defaultdict(list))
    places = _listed_below(root)
    found: dict[str, list[PurePosixPath]] = {}
    for file in files:
        if any(file.is_relative_to(folder) for _, folder in places):
            continue
        kind = kind_of(file)
        if kind:
            found.setdefault(kind, []).append(file)
    places += [(kind, _common_folder(files)) for kind, files in found.items()]
    if len(places) <= 1:
        return [(detect(root), root)]
    return [(kind, root / folder) for kind, folder in sorted(places, key=lambda one: (str(one[1]), one[0]))]


def _listed_below(root: Path) -> list[tuple[str, PurePosixPath]]:
    """Return the corpora whose tables lie below a folder, and the folder that holds tables and recordings."""
    found = []
    for name, one in cards().items():
        if one.reader.listing is None:
            continue
        for table in sorted(root.rglob(one.reader.listing.tables[0])):
            folder = table.parent.parent if table.parent.name == "metadata" else table.parent
            if folder.is_relative_to(root) and readers.index_of(folder, one):
                found.append((name, PurePosixPath(folder.relative_to(root))))
    return found


def strangers(root: Path, places: Sequence[Path]) -> list[tuple[str, int]]:
    """Count the recordings below a folder that lie in none of the corpora found there, by folder or file in it."""
    inside = [PurePosixPath(place.relative_to(root)) for place in places]
    others = (file for file in audio_files(root, defaultdict(list)) if not any(map(file.is_relative_to, inside)))
    return Counter(file.parts[0] for file in others).most_common()


def _common_folder(files: list[PurePosixPath]) -> PurePosixPath:
    """Return the deepest folder that holds all files."""
    folders = [file.parent.parts for file in files]
    shared = (
        level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))
    )
    return PurePosixPath(*shared)


def _kind_of(file: PurePosixPath) -> str | None:
    """Return the name of the corpus that a recording is named after, ``folder`` if none and it has one, or None."""
    return kind_of(file) or ("folder" if len(file.parts) > 1 else None)


def check(corpus: Corpus) -> list[str]:
    """Check a corpus against its published numbers of clips, speakers and labels.

    Parameters
    ----------
    corpus : Corpus
        As loaded.

    Returns
    -------
    list of str
        One sentence per deviation: missing or surplus clips, speakers and labels; empty if there is none.  For skipped
        files see `Corpus.skipped`.
    """
    card = cards().get(corpus.name)
    if card is None or not card.clips:
        return _own_findings(corpus)
    table = corpus.table
    counts, speakers = table["label"].value_counts(), table["speaker"].value_counts()
    findings = []
    if len(table) != card.clips:
        findings.append(f"{len(table)} clips, {card.clips} were published")
    if card.speakers and len(speakers) != card.speakers:
        findings.append(f"{len(speakers)} speakers, {card.speakers} were published")
    for label in sorted({*counts.index, *card.labels}) if card.labels else ():
        found, published = int(counts.get(label, 0)), card.labels.get(label, 0)
        if found != published:
            findings.append(f"label {label!r}: {found} clips, {published} were published")
    return findings + _uneven(card, {str(speaker): int(count) for speaker, count in speakers.items()})


def _uneven(card: Card, speakers: dict[str, int]) -> list[str]:
    """Return the speakers who have another number of clips than was published."""
    return [
        f"speaker {speaker!r}: {count} clips, {card.per_speaker} were published"
        for speaker, count in sorted(speakers.items())
        if card.per_speaker and count != card.per_speaker
    ]


def _own_findings(corpus: Corpus) -> list[str]:
    """Return what is to be said of recordings about which nothing was published."""
    counts = corpus.table["label"].value_counts()
    unknown = int((corpus.table["speaker"] == "").sum())
    findings = []
    if unknown:
        findings.append(
            f"{unknown} of {len(corpus.table)} clips have no speaker: protocols that hold out speakers fail"
        )
    return findings + [f"label {label!r} has only 1 clip" for label in sorted(counts.index[counts == 1])]
